/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Fragments to their datagrams: the twin of crates/flow/src/fragment.rs, whose module documentation is the specification
 * of both. Later fragments learn the ports of their first here, so that they are accounted to its flow; beyond the twin,
 * a datagram of which one fragment was dropped loses the rest of them too.
 */
#ifndef AUTOINMUNE_FRAGMENT_H
#define AUTOINMUNE_FRAGMENT_H

#include "account.h"
#include "maps.h"
#include "parse.h"
#include "source.h"

/* flow::fragment::LIFE_NS and ::MIN_CONTENT. */
#define FRAGMENT_LIFE_NS 30000000000ULL
#define FRAGMENT_MIN_CONTENT 256

static __always_inline void fragment_key_of(struct fragment_key *k, const struct packet *p)
{
	__builtin_memcpy(&k->src, &p->src, 16);
	__builtin_memcpy(&k->dst, &p->dst, 16);
	k->id = p->fragment_id;
	k->tunnel = p->tunnel;
	k->vlan = p->vlan;
	k->protocol = p->protocol;
	k->pad = 0;
}

/* Rule "The region". */
static __always_inline __u32 fragment_place(struct fragment_state *e, __u32 at, __u32 end)
{
	__u32 finding = 0;

	if (at == e->last_at && end == e->last_end)
		return 0;
	if (at < e->high && end > e->low) {
		finding = FRAGMENT_OVERLAP;
		if (at < e->low)
			e->low = at;
		if (end > e->high)
			e->high = end;
	} else if (at == e->high) {
		if (e->last_at > 0 && e->last_end == e->high && e->last_end - e->last_at < FRAGMENT_MIN_CONTENT)
			finding = FRAGMENT_TINY;
		e->high = end;
	} else if (end == e->low) {
		e->low = at;
	} else {
		return 0;
	}
	e->last_at = at;
	e->last_end = end;
	return finding;
}

/*
 * Takes a fragment: sets its ports if it is a later one and they are known, and returns what is odd about it, bits
 * FRAGMENT_TINY to FRAGMENT_ORPHAN. Not inlined: fragments are rare.
 */
__noinline __u32 fragment_resolve(struct packet *p, __u64 now)
{
	struct fragment_key key __attribute__((aligned(8)));
	struct fragment_state *e;
	__u32 at, end, finding;
	int first;

	if (!p)
		return 0;
	first = p->fragment == FRAGMENT_FIRST;
	at = p->fragment_offset;
	end = at + p->transport_len + p->payload_len;
	finding = first ? end < FRAGMENT_MIN_CONTENT : at < FRAGMENT_MIN_CONTENT; /* FRAGMENT_TINY */
	fragment_key_of(&key, p);
	e = bpf_map_lookup_elem(&fragments, &key);
	if (!e || (now > e->made_ns && now - e->made_ns > FRAGMENT_LIFE_NS)) {
		struct fragment_state made = {
			.made_ns = now,
			.low = at,
			.high = end,
			.last_at = at,
			.last_end = end,
			.first_end = first ? end : 0,
			.src_port = p->src_port,
			.dst_port = p->dst_port,
		};

		bpf_map_update_elem(&fragments, &key, &made, BPF_ANY);
		return first ? finding : finding | FRAGMENT_ORPHAN;
	}
	if (first) {
		int again = e->first_end == end;

		e->src_port = p->src_port;
		e->dst_port = p->dst_port;
		e->first_end = end;
		if (again) {
			e->low = at;
			e->high = end;
			e->last_at = at;
			e->last_end = end;
			e->dropped = 0;
			return finding;
		}
	} else if (e->first_end == 0) {
		finding |= FRAGMENT_ORPHAN;
	} else {
		p->src_port = e->src_port;
		p->dst_port = e->dst_port;
	}
	return finding | fragment_place(e, at, end);
}

static __noinline int odd_event_fill(struct odd_event *e, const struct packet *p, const struct flow_key *key, __u32 found,
				     __u64 now)
{
	e->head.kind = EVENT_ODD;
	e->head.ifindex = p->ifindex;
	e->head.time_ns = now;
	e->key = *key;
	e->found = found;
	e->direction = p->direction;
	e->initiator = p->direction;
	e->pad = 0;
	return 0;
}

/* Counts an odd fragment and tells whose it is, unless that was told of this direction of its flow. */
__noinline int fragment_note(struct packet *p, __u32 finding, __u64 now, struct counters *c)
{
	struct flow_key key __attribute__((aligned(8)));
	__u32 found = finding & (FRAGMENT_TINY | FRAGMENT_OVERLAP);
	struct source_stats *s;
	struct flow_stats *f;
	struct odd_event *e = NULL;
	struct cpu_state *b;
	__u32 zero = 0;
	__u32 dir;

	if (!p || !c)
		return 0;
	c->v[COUNTER_FRAGMENTS_TINY] += finding & FRAGMENT_TINY;
	c->v[COUNTER_FRAGMENTS_OVERLAPPING] += finding >> 1 & 1;
	c->v[COUNTER_FRAGMENTS_ORPHANED] += finding >> 2 & 1;
	dir = flow_key_of(&key, p) & 1;
	f = bpf_map_lookup_elem(&flows, &key);
	if (!(f ? found & ~f->dir[dir].odd : found))
		return 0;
	b = bpf_map_lookup_elem(&cpu, &zero);
	s = source_window(&p->src, 1, now, c);
	if (!b || !s)
		return 0;
	if (second_over(b->odd_second_ns, now)) {
		b->odd_second_ns = now;
		b->odds_sent = 0;
	}
	if (b->odds_sent < ODD_PER_CPU && s->odds_sent < ODD_PER_SOURCE)
		e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		c->v[COUNTER_ODD_LOST]++;
		return 0;
	}
	b->odds_sent++;
	s->odds_sent++;
	p->direction = dir;
	odd_event_fill(e, p, &key, found, now);
	if (f) {
		f->dir[dir].odd |= found;
		e->initiator = f->initiator;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Whether an earlier fragment of the datagram was dropped. */
static __noinline int fragment_dropped(const struct packet *p)
{
	struct fragment_key key __attribute__((aligned(8)));
	struct fragment_state *e;

	fragment_key_of(&key, p);
	e = bpf_map_lookup_elem(&fragments, &key);
	return e && e->dropped;
}

/* Condemns what is still to come of the datagram. */
static __noinline int fragment_drop(const struct packet *p)
{
	struct fragment_key key __attribute__((aligned(8)));
	struct fragment_state *e;

	fragment_key_of(&key, p);
	e = bpf_map_lookup_elem(&fragments, &key);
	if (e)
		e->dropped = 1;
	return 0;
}

#endif
