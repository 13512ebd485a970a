/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Yardsticks for the benchmark, loaded by nothing else: what TEST_RUN itself costs, and what the parser costs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"

SEC("xdp.frags")
int bench_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int bench_parse(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	struct packet p;

	p.frame_len = data_end - data;
	if (parse_ip(&p, data, data_end, 0, 0) || parse_transport(&p, data, data_end))
		return XDP_ABORTED;
	/* Every result is used, or the compiler would leave the work out. */
	asm volatile("" : : "r"(&p) : "memory");
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
