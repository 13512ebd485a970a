/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The time, as cheaply as it is to be had. */
#ifndef AUTOINMUNE_CLOCK_H
#define AUTOINMUNE_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "tunables.h"

/* The clock of tests (see test_clock); not zero, so that it lies in .data and not in .bss. */
volatile __u64 test_now_ns = 1;

/* More than two clock readings in a row lie apart, less than any suspension lasts. */
#define CLOCK_GAP_NS 1000000ULL

/*
 * This CPU's notes, with the clock's parts brought up to the current tick. CLOCK_BOOTTIME differs from CLOCK_MONOTONIC
 * by the time suspended, which changes only while no tick passes; remembering the difference lets the cheaper clock be
 * read per packet.
 */
static __always_inline struct cpu_state *cpu_at_tick(void)
{
	__u32 zero = 0;
	struct cpu_state *s = bpf_map_lookup_elem(&cpu, &zero);
	__u64 tick = bpf_jiffies64();

	if (s && __builtin_expect(s->tick != tick, 0)) {
		__u64 suspended;

		s->tick_ns = bpf_ktime_get_boot_ns();
		suspended = s->tick_ns - bpf_ktime_get_ns();
		/* Two readings are never of one moment: only what can be no such gap is a suspension. */
		if (suspended - s->suspended_ns + CLOCK_GAP_NS > 2 * CLOCK_GAP_NS)
			s->suspended_ns = suspended;
		s->tick = tick;
	}
	return s;
}

static __always_inline __u64 now_ns(void)
{
	struct cpu_state *s;

	if (test_clock)
		return test_now_ns;
	s = cpu_at_tick();
	return s ? bpf_ktime_get_ns() + s->suspended_ns : bpf_ktime_get_boot_ns();
}

/*
 * The time of the last tick: exact enough for an expiry (a tick is 1 to 10 ms), at a small part of the clock's price.
 */
static __always_inline __u64 tick_ns(void)
{
	struct cpu_state *s;

	if (test_clock)
		return test_now_ns;
	s = cpu_at_tick();
	return s ? s->tick_ns : bpf_ktime_get_boot_ns();
}

#endif
