/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The ABI between the kernel programs and user space: the one definition of every map key, map value, event and
 * counter. crates/kernel/src/abi.rs mirrors it with size and offset assertions, and a test compares both with the
 * BTF of the compiled object. Naturally aligned, no implicit padding, host byte order unless said otherwise;
 * addresses are 16 bytes in network order, IPv4 as IPv4-mapped IPv6.
 */
#ifndef AUTOINMUNE_ABI_H
#define AUTOINMUNE_ABI_H

#include <linux/types.h>

struct addr {
	__u8 b[16];
};

/* Identity of a flow; endpoints in canonical order (see flow::FlowKey). */
struct flow_key {
	struct addr lo;
	struct addr hi;
	__u16 lo_port;
	__u16 hi_port;
	__u16 vlan;
	__u8 protocol;
	__u8 pad;
	__u32 tunnel;
};

/* Sums over one direction of a flow (see flow::Accumulator for units and meaning). */
struct dir_stats {
	__u64 packets;
	__u64 bytes;
	__u64 payload_bytes;
	__u64 len_squares;
	__u64 gap_squares;
	__u64 first_ns;
	__u64 last_ns;
	__u32 gap_min_us;
	__u32 gap_max_us;
	__u32 flags[8];
	__u32 data_packets;
	__u32 fragments;
	__u32 first_seq;
	__u16 first_window;
	__u16 len_min;
	__u16 len_max;
	__u8 ttl_min;
	__u8 ttl_max;
	__u8 head[8];
	__u32 pad;
};

/* One flow (see flow::FlowStats). Times are CLOCK_BOOTTIME ns. */
struct flow_stats {
	struct dir_stats dir[2];
	__u64 syn_ns;
	__u64 synack_ns;
	__u64 established_ns;
	__u8 initiator; /* index of the initiator's dir */
	__u8 state;     /* enum tcp_state */
	__u8 first_flags;
	__u8 fin_mask;
	__u8 rst_mask;
	__u8 pad[3];
};

#endif
