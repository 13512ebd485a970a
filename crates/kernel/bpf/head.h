/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The heads of flows: the first payload bytes of each direction go to user space, which reads the messages in them.
 *
 * How many is decided by the direction's payload bytes so far, which are counted anyway: a flow whose head is done pays one
 * compare. Retransmitted bytes count. The first payload of either direction says whether the flow speaks in messages
 * throughout, and then more of it is wanted: all of it up to head_bytes_long, and after that the packets that begin a
 * message. Connections of Modbus live for months and files over SMB are long; what is commanded is in the beginnings. Of
 * HTTP only the packets that begin a message are wanted after the head, since the rest is bodies.
 *
 * The records have a ring of their own, so that they never displace events, and are bounded per source and second and per
 * CPU and second; what is not sent is counted. A record is reserved in one of a few sizes, which the verifier wants to know
 * beforehand, and the payload is copied into it once, wherever in the frame it lies.
 */
#ifndef AUTOINMUNE_HEAD_H
#define AUTOINMUNE_HEAD_H

#include "maps.h"
#include "parse.h"
#include "source.h"
#include "tunables.h"

/* The sizes of records: of a question, of an ordinary request, and the most. */
#define HEAD_SMALL 168
#define HEAD_MEDIUM 680
#define HEAD_LARGE HEAD_PACKET_MAX

/* User space is woken when so much waits; else it looks a few dozen times a second anyway, and is spared the switch. */
#define HEAD_WAKE_BYTES 65536

#define be_word(b0, b1, b2, b3) ((__u32)(b0) << 24 | (b1) << 16 | (b2) << 8 | (b3))

/* DNS header (RFC 1035 §4.1.1): one question, an ordinary opcode, reserved bit clear. */
static __always_inline int is_dns(const __u8 *h)
{
	return (h[2] & 0x78) == 0 && (h[3] & 0x40) == 0 && h[4] == 0 && h[5] == 1 && h[6] == 0;
}

/* What a flow speaks, in flow_stats::long_head. */
#define SPEAKS_MESSAGES 1 /* DNS, DHCP, SMB, DCE/RPC, Modbus */
#define SPEAKS_HTTP 2

/* HTTP/1: the beginning of a status line, or of a request by one of the methods of RFC 9110 and RFC 5789 that carry load. */
static __always_inline int is_http(const __u8 *h)
{
	__u32 word = be_word(h[0], h[1], h[2], h[3]);

	return word == be_word('G', 'E', 'T', ' ') || word == be_word('P', 'O', 'S', 'T') ||
	       word == be_word('H', 'T', 'T', 'P') || word == be_word('H', 'E', 'A', 'D') ||
	       word == be_word('P', 'U', 'T', ' ') || word == be_word('O', 'P', 'T', 'I') ||
	       word == be_word('P', 'A', 'T', 'C') || word == be_word('D', 'E', 'L', 'E');
}

/* What a flow speaks of which a packet begins with the eight bytes `h`: SPEAKS_*, or 0. */
static __noinline int speaks_in_messages(const struct packet *p, const __u8 *h)
{
	__u16 low = p->src_port < p->dst_port ? p->src_port : p->dst_port;

	if (p->protocol == PROTOCOL_UDP)
		return low == 53 || low == 67 || p->src_port == 5353 || p->dst_port == 5353 || p->src_port == 5355 ||
		       p->dst_port == 5355 || is_dns(h);
	if (p->protocol != PROTOCOL_TCP)
		return 0;
	if (p->src_port == 53 || p->dst_port == 53 || p->src_port == 502 || p->dst_port == 502)
		return SPEAKS_MESSAGES;
	if (is_http(h))
		return SPEAKS_HTTP;
	/* NetBIOS session message with the mark of SMB 2 or 1. */
	if (h[0] == 0 && (h[4] == 0xfe || h[4] == 0xff) && h[5] == 'S' && h[6] == 'M' && h[7] == 'B')
		return SPEAKS_MESSAGES;
	/* DCE/RPC 5.0 or 5.1 over a connection: packet type of C706 §12.6, little- or big-endian integers. */
	if (h[0] == 5 && h[1] <= 1 && h[2] <= 19 && (h[4] == 0x10 || h[4] == 0) && h[5] == 0 && h[6] == 0 && h[7] == 0)
		return SPEAKS_MESSAGES;
	/* Modbus (MBAP): protocol 0, length of unit and at most 253 bytes, function code with or without the error bit. */
	return h[2] == 0 && h[3] == 0 && (be_word(0, 0, h[4], h[5]) - 2) <= 252 && (h[7] & 0x7f) != 0 &&
	       p->payload_len == be_word(0, 0, h[4], h[5]) + 6;
}

/* Whether a packet belongs to the head of its flow; its payload is in the sums already. */
static __always_inline int head_due(const struct packet *p, const struct flow_stats *f, __u32 dir)
{
	__u64 before = f->dir[dir & 1].payload_bytes - p->payload_len;

	return before < head_bytes || (f->long_head == SPEAKS_MESSAGES && before < head_bytes_long);
}

/* Whether this CPU may send `bytes` more of heads in this second. */
static __always_inline int head_cpu_may(__u32 bytes, __u64 now)
{
	__u32 zero = 0;
	struct cpu_state *b = bpf_map_lookup_elem(&cpu, &zero);

	if (!b)
		return 0;
	if (second_over(b->head_second_ns, now)) {
		b->head_second_ns = now;
		b->head_bytes = 0;
	}
	if (b->head_bytes + bytes > cpu_head_budget)
		return 0;
	b->head_bytes += bytes;
	return 1;
}

static __noinline int head_event_fill(struct head_event *e, const struct packet *p, const struct flow_key *key,
				      const struct flow_stats *f, __u64 now)
{
	__u32 dir = p->direction & 1;

	e->head.kind = EVENT_HEAD;
	e->head.ifindex = p->ifindex;
	e->head.time_ns = now;
	e->key = *key;
	e->payload_len = p->payload_len;
	e->seq = p->tcp_seq;
	e->ack = 0;
	e->begins = f->dir[dir].flags[1] > 0;
	e->start = f->dir[dir].first_seq + 1;
	e->flags = p->tcp_flags;
	e->direction = dir;
	e->initiator = f->initiator;
	__builtin_memset(e->pad, 0, sizeof(e->pad));
	return 0;
}

/* Fills one record of the given size with the first `length` payload bytes; both are at most `room`. */
static __always_inline int head_copy(void *ctx, int xdp, const struct packet *p, __u8 *to, __u32 at, __u32 length,
				     __u32 room)
{
	asm volatile("" : "+r"(length));
	if (length == 0 || length > room)
		return -1;
	return xdp ? bpf_xdp_load_bytes(ctx, at, to, length) : bpf_skb_load_bytes(ctx, at, to, length);
}

/* One record in `room` bytes of payload. */
#define HEAD_SEND(room)                                                                                              \
	do {                                                                                                         \
		struct head_event *e = bpf_ringbuf_reserve(&heads, sizeof(struct head_event) + (room), 0);           \
                                                                                                                     \
		if (!e) {                                                                                            \
			c->v[COUNTER_HEAD_LOST]++;                                                                   \
			return 0;                                                                                    \
		}                                                                                                    \
		head_event_fill(e, p, key, f, now);                                                                  \
		if (p->protocol == PROTOCOL_TCP &&                                                                   \
		    !head_copy(ctx, xdp, p, (__u8 *)&e->ack, p->payload_at - p->transport_len + 8, 4, 4))            \
			e->ack = bpf_ntohl(e->ack);                                                                  \
		e->captured = length;                                                                                \
		if (head_copy(ctx, xdp, p, (__u8 *)(e + 1), p->payload_at, length, (room)))                          \
			e->captured = 0;                                                                             \
		bpf_ringbuf_submit(e, bpf_ringbuf_query(&heads, BPF_RB_AVAIL_DATA) >= HEAD_WAKE_BYTES ?              \
						  BPF_RB_FORCE_WAKEUP :                                              \
						  BPF_RB_NO_WAKEUP);                                                 \
	} while (0)

/* Sends the start of the packet's payload, budgets permitting. `p->direction` and `p->ifindex` are set. */
static __always_inline int head_send(void *ctx, int xdp, const struct packet *p, const struct flow_key *key,
				     const struct flow_stats *f, __u64 now)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&counters, &zero);
	struct source_stats *s;
	__u32 length = p->payload_len;
	__u32 end = p->limit < p->frame_len ? p->limit : p->frame_len;
	__u32 captured;

	if (!c || p->payload_at >= end)
		return 0;
	captured = end - p->payload_at;
	if (length > captured)
		length = captured;
	if (length > head_packet_bytes)
		length = head_packet_bytes;
	s = source_window((p->direction & 1) == f->initiator ? &p->src : &p->dst, 0, now, c);
	if (s) {
		if (s->heads_sent >= source_head_budget) {
			c->v[COUNTER_HEAD_SUPPRESSED_SOURCE]++;
			return 0;
		}
		s->heads_sent++;
	}
	if (!head_cpu_may(length, now)) {
		c->v[COUNTER_HEAD_SUPPRESSED_CPU]++;
		return 0;
	}
	if (length <= HEAD_SMALL)
		HEAD_SEND(HEAD_SMALL);
	else if (length <= HEAD_MEDIUM)
		HEAD_SEND(HEAD_MEDIUM);
	else
		HEAD_SEND(HEAD_LARGE);
	c->v[COUNTER_HEADS_SENT]++;
	c->v[COUNTER_HEAD_BYTES] += length;
	return 0;
}

__noinline int head_send_xdp(struct xdp_md *ctx, const struct packet *p, const struct flow_key *key,
			     const struct flow_stats *f, __u64 now)
{
	if (!p || !key || !f)
		return 0;
	return head_send(ctx, 1, p, key, f, now);
}

__noinline int head_send_skb(struct __sk_buff *ctx, const struct packet *p, const struct flow_key *key,
			     const struct flow_stats *f, __u64 now)
{
	if (!p || !key || !f)
		return 0;
	return head_send(ctx, 0, p, key, f, now);
}

#endif
