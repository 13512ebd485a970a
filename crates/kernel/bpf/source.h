/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Per-source counts and the events. What a flow's packets do counts for the flow's initiator, whichever way they go, so
 * that one lookup per packet serves both the sender's counts and the replies to it. A server's answers therefore never
 * look like a flood of the server's.
 *
 * Most packets belong to flows that are under way, and theirs are gathered in the flow and added in batches: those of
 * established TCP flows, and those of every other flow beyond its first SOURCE_BATCH packets as long as they leave its TCP
 * state as it is. A batch is SOURCE_BATCH packets, or SOURCE_SMALL_BATCH of the kinds that have low thresholds: of TCP that
 * is not established, where SYNs are, and of ICMP. What a flow holds back when it falls silent is less than a batch and than
 * what it has told, and counts when it next moves or ends.
 *
 * Counts are plain, not atomic: a source served by several CPUs at once may lose single packets from its second.
 */
#ifndef AUTOINMUNE_SOURCE_H
#define AUTOINMUNE_SOURCE_H

#include "account.h"
#include "maps.h"
#include "tunables.h"

#define SECOND_NS 1000000000LL

static const struct source_stats no_source;

/* Whether a one-second window that began at `start` is over. Clocks of two CPUs may differ a little: not over then. */
static __always_inline int second_over(__u64 start, __u64 now)
{
	return start == 0 || (__s64)(now - start) >= SECOND_NS;
}

/* The current window of `addr`; NULL if there is none and `create` is 0, or none to be had. */
static __always_inline struct source_stats *source_window(const struct addr *addr, int create, __u64 now,
							  struct counters *c)
{
	struct source_stats *s = bpf_map_lookup_elem(&sources, addr);

	if (!s) {
		if (!create)
			return NULL;
		bpf_map_update_elem(&sources, addr, &no_source, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&sources, addr);
		if (!s) {
			c->v[COUNTER_SOURCE_INSERT_FAILED]++;
			return NULL;
		}
	}
	if (second_over(s->start_ns, now)) {
		__builtin_memset(s, 0, sizeof(*s));
		s->start_ns = now;
	}
	return s;
}

/* Whether a packet that left its flow's state as it was is gathered; a refusal, which is counted by itself, is not. */
static __always_inline int source_gathers(const struct flow_stats *f, const struct packet *p)
{
	return f->state == TCP_STATE_ESTABLISHED ||
	       (f->dir[0].packets + f->dir[1].packets > SOURCE_BATCH && !(p->tcp_flags & TCP_RST));
}

/* Gathers a packet; returns whether the batch is due. */
static __always_inline int source_gather(struct flow_stats *f, const struct packet *p, __u32 dir)
{
	__u32 most = f->state == TCP_STATE_ESTABLISHED || p->protocol == PROTOCOL_UDP ? SOURCE_BATCH : SOURCE_SMALL_BATCH;

	f->pending_packets[dir & 1]++;
	f->pending_bytes[dir & 1] += p->ip_len;
	if (f->state != TCP_STATE_ESTABLISHED && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		f->dir[dir & 1].pending_syns++;
	return f->pending_packets[0] + f->pending_packets[1] >= most;
}

/*
 * Whether a packet is ICMP that counts towards a flood: not an error (wire::is_icmp_error), which answers a packet. A host
 * that is flooded sends many; user space knows whether somebody provoked them.
 */
static __always_inline int source_icmp_counts(const struct packet *p)
{
	__u16 type = p->src_port;

	if (p->protocol == PROTOCOL_ICMPV6)
		return type >= 128;
	return p->protocol == PROTOCOL_ICMP && type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
}

/* Adds what the flow of packet `p`, initiated by `s`, has gathered. */
static __always_inline void source_settle(struct source_stats *s, struct flow_stats *f, const struct packet *p)
{
	__u32 from = f->initiator & 1;
	__u32 back = from ^ 1;

	if (!(f->pending_packets[0] + f->pending_packets[1]))
		return;
	s->packets += f->pending_packets[from];
	if (p->protocol == PROTOCOL_TCP) {
		s->tcp_packets += f->pending_packets[from];
		s->syn_packets += f->dir[from].pending_syns;
	} else if (p->protocol == PROTOCOL_UDP) {
		s->udp_packets += f->pending_packets[from];
		s->udp_reply_packets += f->pending_packets[back];
	} else if (source_icmp_counts(p)) {
		s->icmp_packets += f->pending_packets[from];
	}
	s->bytes += f->pending_bytes[from];
	s->reply_packets += f->pending_packets[back];
	s->reply_bytes += f->pending_bytes[back];
	f->pending_packets[0] = 0;
	f->pending_packets[1] = 0;
	f->pending_bytes[0] = 0;
	f->pending_bytes[1] = 0;
	f->dir[0].pending_syns = 0;
	f->dir[1].pending_syns = 0;
}

/* Counts one packet of a flow that `s` initiated. */
static __always_inline void source_account(struct source_stats *s, const struct packet *p, int from_initiator)
{
	if (from_initiator) {
		s->packets++;
		s->bytes += p->ip_len;
		if (p->protocol == PROTOCOL_TCP) {
			s->tcp_packets++;
			if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
				s->syn_packets++;
		} else if (p->protocol == PROTOCOL_UDP) {
			s->udp_packets++;
		} else if (source_icmp_counts(p)) {
			s->icmp_packets++;
		}
	} else {
		s->reply_packets++;
		s->reply_bytes += p->ip_len;
		if (p->protocol == PROTOCOL_UDP)
			s->udp_reply_packets++;
		else if (p->tcp_flags & TCP_RST)
			s->reply_resets++;
	}
}

/* Not inlined, like flow_event_fill(): rare, and functions of their own put the event types into the object's BTF. */
static __noinline int source_event_fill(struct source_event *e, const struct addr *addr,
					const struct source_stats *s, enum crossing crossed, __u64 now)
{
	e->head.kind = EVENT_SOURCE_OVER;
	e->head.time_ns = now;
	e->addr = *addr;
	e->counts = *s;
	e->crossed = crossed;
	e->pad = 0;
	return 0;
}

/* Tells of each threshold the first time it is reached in the window. */
static __always_inline void source_check(struct source_stats *s, const struct addr *addr, __u64 now, __u32 ifindex,
					 struct counters *c)
{
	__u32 crossed = 0;
	struct source_event *e;

	if ((__s32)(s->syn_packets - s->handshakes) >= (__s32)source_syn_pending)
		crossed |= CROSSING_SYN_PENDING;
	if (s->udp_packets >= source_udp)
		crossed |= CROSSING_UDP;
	if (s->icmp_packets >= source_icmp)
		crossed |= CROSSING_ICMP;
	if (s->flows >= source_flows)
		crossed |= CROSSING_FLOWS;
	crossed &= ~s->crossed;
	if (__builtin_expect(!crossed, 1))
		return;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		c->v[COUNTER_SOURCE_OVER_LOST]++;
		return;
	}
	s->crossed |= crossed;
	e->head.ifindex = ifindex;
	source_event_fill(e, addr, s, crossed, now);
	bpf_ringbuf_submit(e, 0);
}

/* Whether this CPU may send another flow event of `kind` in this second; counts what it may not. */
static __always_inline int cpu_may_send(__u32 kind, __u64 now, struct counters *c)
{
	__u32 zero = 0;
	struct cpu_state *b = bpf_map_lookup_elem(&cpu, &zero);

	if (!b)
		return 0;
	if (second_over(b->second_ns, now)) {
		b->second_ns = now;
		b->starts_sent = 0;
		b->ends_sent = 0;
	}
	if (kind == EVENT_FLOW_START) {
		if (b->starts_sent >= cpu_event_budget) {
			c->v[COUNTER_FLOW_START_SUPPRESSED_CPU]++;
			return 0;
		}
		b->starts_sent++;
	} else {
		if (b->ends_sent >= cpu_event_budget) {
			c->v[COUNTER_FLOW_END_SUPPRESSED_CPU]++;
			return 0;
		}
		b->ends_sent++;
	}
	return 1;
}

/* Likewise for the source, which may be unknown. */
static __always_inline int source_may_send(__u32 kind, struct source_stats *s, struct counters *c)
{
	if (!s)
		return 1;
	if (kind == EVENT_FLOW_START) {
		if (s->starts_sent >= source_event_budget) {
			c->v[COUNTER_FLOW_START_SUPPRESSED_SOURCE]++;
			return 0;
		}
		s->starts_sent++;
	} else {
		if (s->ends_sent >= source_event_budget) {
			c->v[COUNTER_FLOW_END_SUPPRESSED_SOURCE]++;
			return 0;
		}
		s->ends_sent++;
	}
	return 1;
}

static __noinline int flow_event_fill(struct flow_event *e, enum event_kind kind, const struct flow_key *key,
				      const struct flow_stats *stats, __u64 now)
{
	e->head.kind = kind;
	e->head.time_ns = now;
	e->key = *key;
	e->pad = 0;
	e->stats = *stats;
	return 0;
}

/* Sends one flow event, budgets permitting. */
static __always_inline void flow_tell(__u32 kind, const struct flow_key *key, const struct flow_stats *stats,
				      struct source_stats *s, __u64 now, __u32 ifindex, struct counters *c)
{
	struct flow_event *e;

	if (!source_may_send(kind, s, c) || !cpu_may_send(kind, now, c))
		return;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		c->v[kind == EVENT_FLOW_START ? COUNTER_FLOW_START_LOST : COUNTER_FLOW_END_LOST]++;
		return;
	}
	e->head.ifindex = ifindex;
	flow_event_fill(e, kind, key, stats, now);
	bpf_ringbuf_submit(e, 0);
}

#endif
