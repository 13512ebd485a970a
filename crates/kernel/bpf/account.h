/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Accounting of one packet to its flow: the twin of flow::FlowStats::begin and ::account. The differential test
 * compares every field.
 *
 * Specification, shared by both; arithmetic on sequence numbers is modulo 2^32 and compares by the sign of differences:
 *
 *  Per direction, with `now` in ns: packets + 1; bytes + ip_len; payload_bytes + payload_len; payload_squares +
 *  payload_len²; header_bytes + transport_len; flags[i] + bit i of the TCP control bits; data_packets + 1 if
 *  payload_len > 0; fragments + 1 if the packet is a fragment; payload_min, payload_max over payload_len capped at 65535;
 *  transport_min over transport_len > 0; ttl_min, ttl_max. The first packet of a direction sets first_ns = now, first_seq
 *  and first_window (TCP only, zero from later fragments). Each further one adds gap_us = (now - last_ns) / 1000, capped at
 *  MAX_GAP_US, 0 if the clock went back: gap_sum_us + gap_us; gap_squares + gap_us²; gap_min_us, gap_max_us. last_ns =
 *  max(last_ns, now). Before the first packet: gap_min_us = 2^32 - 1, payload_min = 65535, ttl_min = transport_min = 255,
 *  all else 0, for both directions from the flow's creation.
 *
 *  Sequence, TCP but for later fragments: length = payload_len + 1 for SYN + 1 for FIN; end = tcp_seq + length. First packet
 *  of the direction: next_seq = end. Further ones with length > 0 and without RST: end <= next_seq: retransmitted + 1; else
 *  lost + 1 if tcp_seq > next_seq, and next_seq = end.
 *
 *  Gaps and periods of the flow, before the direction's part: the flow's first packet sets active_start_ns = now. Further
 *  ones: gap_us as above, since the last packet of either direction, into the flow's gap_sum_us, gap_squares, gap_min_us,
 *  gap_max_us. If gap_us > ACTIVITY_TIMEOUT_US: the time from active_start_ns to that last packet in whole µs, capped at
 *  MAX_PERIOD_US, goes into `active` if above 0; gap_us goes into `idle`; active_start_ns = now.
 *
 *  head: the first eight captured payload bytes of the direction's first packet with payload_len > 0, zero-padded; zero
 *  if that packet is a later fragment or none of its payload was captured; never overwritten.
 *
 *  initiator: the sender of the first packet; if that has SYN and ACK, the other side. first_flags: TCP control bits of
 *  the first packet.
 *
 *  TCP state. Not TCP: NONE, for good. First packet: RST -> RESET; SYN+ACK -> SYN_RECEIVED, synack_ns = now; SYN ->
 *  SYN_SENT, syn_ns = now; else MIDSTREAM. Further packets, the first rule that fits:
 *   (1) RST: state = RESET.
 *   (2) SYN+ACK from the responder: synack_ns = now if unset; SYN_SENT -> SYN_RECEIVED.
 *   (3) SYN without ACK from the initiator: syn_ns = now if unset.
 *   (4) ACK from the initiator in SYN_SENT or SYN_RECEIVED: ESTABLISHED, established_ns = now.
 *  Then, for every packet: RST sets the direction's bit in rst_mask; FIN without RST sets its bit in fin_mask and, unless
 *  the state is RESET, makes it CLOSED if both directions have sent FIN, else CLOSING. RESET and CLOSED are final, but
 *  for CLOSED -> RESET.
 *
 *  A new flow under a known key (decided by the table, not here): SYN without ACK in CLOSED or RESET, or more than the
 *  idle timeout since the last packet of either direction.
 *
 * Concurrency: plain, not atomic writes. Each direction of a flow is served by one CPU at a time (one receive queue, one
 * sending thread), and only the fields below `dir` are shared by both: where the directions are counted on two CPUs at the
 * same moment, a gap of the flow may be lost from its sums. When the network moves a flow between CPUs
 * while packets are in flight, single packets may be lost from the sums. COUNTER_FLOW_CPU_MIGRATIONS counts how often a
 * direction changed its CPU: an upper bound on the occasions for that.
 */
#ifndef AUTOINMUNE_ACCOUNT_H
#define AUTOINMUNE_ACCOUNT_H

#include "parse.h"

#define MAX_GAP_US 300000000ULL
#define ACTIVITY_TIMEOUT_US 5000000
#define MAX_PERIOD_US 3600000000ULL

/* Writes the key of `p` and returns the packet's direction: 0 from lo to hi, 1 back. */
static __always_inline __u32 flow_key_of(struct flow_key *k, const struct packet *p)
{
	__u64 src_high = bpf_be64_to_cpu(ADDR_U64(&p->src)[0]);
	__u64 dst_high = bpf_be64_to_cpu(ADDR_U64(&p->dst)[0]);
	__u32 reverse;

	if (src_high != dst_high) {
		reverse = src_high > dst_high;
	} else {
		__u64 src_low = bpf_be64_to_cpu(ADDR_U64(&p->src)[1]);
		__u64 dst_low = bpf_be64_to_cpu(ADDR_U64(&p->dst)[1]);

		reverse = src_low != dst_low ? src_low > dst_low : p->src_port > p->dst_port;
	}
	if (reverse) {
		ADDR_U64(&k->lo)[0] = ADDR_U64(&p->dst)[0];
		ADDR_U64(&k->lo)[1] = ADDR_U64(&p->dst)[1];
		ADDR_U64(&k->hi)[0] = ADDR_U64(&p->src)[0];
		ADDR_U64(&k->hi)[1] = ADDR_U64(&p->src)[1];
		k->lo_port = p->dst_port;
		k->hi_port = p->src_port;
	} else {
		ADDR_U64(&k->lo)[0] = ADDR_U64(&p->src)[0];
		ADDR_U64(&k->lo)[1] = ADDR_U64(&p->src)[1];
		ADDR_U64(&k->hi)[0] = ADDR_U64(&p->dst)[0];
		ADDR_U64(&k->hi)[1] = ADDR_U64(&p->dst)[1];
		k->lo_port = p->src_port;
		k->hi_port = p->dst_port;
	}
	k->vlan = p->vlan;
	k->protocol = p->protocol;
	k->pad = 0;
	k->tunnel = p->tunnel;
	return reverse;
}

/*
 * ns / 1000, at most MAX_GAP_US. Below 2^35 ns the division is a multiplication: with x = ns / 8 < 2^32 and
 * m = (2^35 + 7) / 125, x * m / 2^35 exceeds x / 125 by less than 1 / 125, so the floors are equal.
 */
static __always_inline __u64 gap_us_of(__u64 ns)
{
	if (ns < (1ULL << 35))
		return ((ns >> 3) * 274877907ULL) >> 35;
	if (ns >= MAX_GAP_US * 1000)
		return MAX_GAP_US;
	return ns / 1000;
}

static __always_inline void dir_begin(struct dir_stats *d)
{
	d->gap_min_us = ~0U;
	d->payload_min = 0xffff;
	d->ttl_min = 0xff;
	d->transport_min = 0xff;
}

/* A flow whose first packet is `p`, not yet accounted. */
static __always_inline void flow_begin(struct flow_stats *f, const struct packet *p, __u32 dir, __u64 now)
{
	__u8 flags = p->tcp_flags;

	__builtin_memset(f, 0, sizeof(*f));
	dir_begin(&f->dir[0]);
	dir_begin(&f->dir[1]);
	f->gap_min_us = ~0U;
	f->active.min_us = ~0U;
	f->idle.min_us = ~0U;
	f->active_start_ns = now;
	f->initiator = dir;
	if (p->protocol != PROTOCOL_TCP)
		return;
	f->first_flags = flags;
	if ((flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		f->initiator = dir ^ 1;
	if (flags & TCP_RST) {
		f->state = TCP_STATE_RESET;
	} else if (!(flags & TCP_SYN)) {
		f->state = TCP_STATE_MIDSTREAM;
	} else if (flags & TCP_ACK) {
		f->state = TCP_STATE_SYN_RECEIVED;
		f->synack_ns = now;
	} else {
		f->state = TCP_STATE_SYN_SENT;
		f->syn_ns = now;
	}
}

/* FIN and RST, first packets included. */
static __always_inline void tcp_close(struct flow_stats *f, __u8 flags, __u32 dir)
{
	if (!(flags & (TCP_FIN | TCP_RST)))
		return;
	if (flags & TCP_RST) {
		f->state = TCP_STATE_RESET;
		f->rst_mask |= 1 << dir;
		return;
	}
	f->fin_mask |= 1 << dir;
	if (f->state != TCP_STATE_RESET)
		f->state = f->fin_mask == 3 ? TCP_STATE_CLOSED : TCP_STATE_CLOSING;
}

/* What the packet, not the flow's first, does to the handshake. */
static __always_inline void tcp_advance(struct flow_stats *f, __u8 flags, __u32 dir, __u64 now)
{
	__u32 from_initiator = dir == f->initiator;

	if (flags & TCP_RST)
		return;
	if (flags & TCP_SYN) {
		if (flags & TCP_ACK) {
			if (!from_initiator) {
				if (!f->synack_ns)
					f->synack_ns = now;
				if (f->state == TCP_STATE_SYN_SENT)
					f->state = TCP_STATE_SYN_RECEIVED;
				return;
			}
		} else if (from_initiator) {
			if (!f->syn_ns)
				f->syn_ns = now;
			return;
		}
	}
	if ((flags & TCP_ACK) && from_initiator &&
	    (f->state == TCP_STATE_SYN_SENT || f->state == TCP_STATE_SYN_RECEIVED)) {
		f->state = TCP_STATE_ESTABLISHED;
		f->established_ns = now;
	}
}

static __always_inline void period_add(struct periods *p, __u64 us)
{
	p->sum_us += us;
	p->squares += us * us;
	p->count++;
	if (us < p->min_us)
		p->min_us = us;
	if (us > p->max_us)
		p->max_us = us;
}

/* The gap before a packet that is not the flow's first; `last` is the time of the last one of either direction. */
static __always_inline void flow_pause(struct flow_stats *f, __u64 last, __u64 now)
{
	__u64 gap = now > last ? gap_us_of(now - last) : 0;

	f->gap_sum_us += gap;
	f->gap_squares += gap * gap;
	if (gap < f->gap_min_us)
		f->gap_min_us = gap;
	if (gap > f->gap_max_us)
		f->gap_max_us = gap;
	if (__builtin_expect(gap > ACTIVITY_TIMEOUT_US, 0)) {
		__u64 active = last > f->active_start_ns ? (last - f->active_start_ns) / 1000 : 0;

		if (active > MAX_PERIOD_US)
			active = MAX_PERIOD_US;
		if (active)
			period_add(&f->active, active);
		period_add(&f->idle, gap);
		f->active_start_ns = now;
	}
}

/* Follows the sequence numbers of a direction. */
static __always_inline void dir_sequence(struct dir_stats *d, const struct packet *p, int first)
{
	__u8 flags = p->tcp_flags;
	__u32 length = p->payload_len + (flags >> 1 & 1) + (flags & TCP_FIN);
	__u32 end = p->tcp_seq + length;

	if (first) {
		d->next_seq = end;
	} else if (length && !(flags & TCP_RST)) {
		if ((__s32)(end - d->next_seq) <= 0) {
			d->retransmitted++;
		} else {
			if ((__s32)(p->tcp_seq - d->next_seq) > 0)
				d->lost++;
			d->next_seq = end;
		}
	}
}

/* The sums of one direction. Returns whether the caller shall fill d->head. */
static __always_inline int dir_account(struct dir_stats *d, const struct packet *p, __u64 now)
{
	__u64 length = p->ip_len;
	__u64 payload = p->payload_len;
	__u16 capped = payload > 0xffff ? 0xffff : payload;
	__u8 flags = p->tcp_flags;
	int first = d->packets == 0;
	int want_head = 0;

	if (first) {
		d->first_ns = now;
		d->first_seq = p->tcp_seq;
		d->first_window = p->tcp_window;
		d->last_ns = now;
	} else {
		__u64 gap = 0;

		if (now > d->last_ns) {
			gap = gap_us_of(now - d->last_ns);
			d->last_ns = now;
		}
		d->gap_sum_us += gap;
		d->gap_squares += gap * gap;
		if (gap < d->gap_min_us)
			d->gap_min_us = gap;
		if (gap > d->gap_max_us)
			d->gap_max_us = gap;
	}
	if (p->protocol == PROTOCOL_TCP && p->fragment != FRAGMENT_LATER)
		dir_sequence(d, p, first);
	d->packets++;
	d->bytes += length;
	d->header_bytes += p->transport_len;
	if (p->transport_len && p->transport_len < d->transport_min)
		d->transport_min = p->transport_len;
	if (capped < d->payload_min)
		d->payload_min = capped;
	if (capped > d->payload_max)
		d->payload_max = capped;
	if (p->ttl < d->ttl_min)
		d->ttl_min = p->ttl;
	if (p->ttl > d->ttl_max)
		d->ttl_max = p->ttl;
	if (flags) {
		/* One test per bit: most packets have one or two set, and an untaken branch is cheaper than a store. */
#pragma clang loop unroll(full)
		for (int i = 0; i < 8; i++)
			if (flags & (1 << i))
				d->flags[i]++;
	}
	if (payload) {
		want_head = d->data_packets == 0 && p->fragment != FRAGMENT_LATER;
		d->payload_bytes += payload;
		d->payload_squares += payload * payload;
		d->data_packets++;
	}
	if (p->fragment)
		d->fragments++;
	return want_head;
}

#endif
