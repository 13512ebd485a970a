/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What user space may set before load. The verifier sees constants, so what is switched off costs nothing.
 * crates/kernel/src/abi.rs names them in `tunable`.
 */
#ifndef AUTOINMUNE_TUNABLES_H
#define AUTOINMUNE_TUNABLES_H

#include "abi.h"

/* 1: blocks drop. 0: never drop, count COUNTER_WOULD_DROP_* instead (shadow mode's second safety catch). */
const volatile __u8 enforce = 1;
/* 1: SYNs over the limit of their service are answered with SYN cookies (Linux 6.0, net.ipv4.tcp_syncookies=2). */
const volatile __u8 syn_cookies = 0;
/* 1: sensor_tc_egress accounts flows. 0: it only counts frames. */
const volatile __u8 account_egress = 1;
/* Tests only. 1: the clock is the variable test_now_ns. */
const volatile __u8 test_clock = 0;

/* Thresholds of a source per one-second window, in packets or flows; reaching one sends EVENT_SOURCE_OVER. */
const volatile __u32 source_syn_pending = 100;
const volatile __u32 source_udp = 1000;
const volatile __u32 source_icmp = 100;
const volatile __u32 source_flows = 50;

/* Most flow-start events per second, and as many flow-end events: of one source, and of one CPU over all sources. */
const volatile __u32 source_event_budget = 100;
const volatile __u32 cpu_event_budget = 5000;

/* Payload bytes of each direction of a flow that go to user space, 0: none; and of flows that speak in messages. */
const volatile __u32 head_bytes = 2048;
const volatile __u32 head_bytes_long = 65536;
/* Most of them out of one packet: at most HEAD_PACKET_MAX. */
const volatile __u32 head_packet_bytes = HEAD_PACKET_MAX;
/* Most head records of one source per second, and bytes of heads of one CPU per second. */
const volatile __u32 source_head_budget = 2000;
const volatile __u32 cpu_head_budget = 32 * 1024 * 1024;

/* Silence after which the same key is a new flow, ns: TCP, and everything else. */
const volatile __u64 idle_tcp_ns = 300000000000ULL;
const volatile __u64 idle_ns = 60000000000ULL;

#endif
