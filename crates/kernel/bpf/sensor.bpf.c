/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#include "maps.h"
#include "tunables.h"

SEC("xdp.frags")
int sensor_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("classifier")
int sensor_tc_ingress(struct __sk_buff *skb)
{
	return -1;
}

SEC("classifier")
int sensor_tc_egress(struct __sk_buff *skb)
{
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
