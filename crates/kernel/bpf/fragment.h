/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Fragments to their datagrams: the twin of crates/flow/src/fragment.rs, whose module documentation is the specification
 * of both. Later fragments learn the ports of their first here, so that they are accounted to its flow; beyond the twin,
 * a datagram of which one fragment was dropped loses the rest of them too.
 */
#ifndef AUTOINMUNE_FRAGMENT_H
#define AUTOINMUNE_FRAGMENT_H

#include "maps.h"
#include "parse.h"

/* flow::fragment::LIFE_NS and ::MIN_CONTENT. */
#define FRAGMENT_LIFE_NS 30000000000ULL
#define FRAGMENT_MIN_CONTENT 256

/* What a fragment's place tells: bits of the result of fragment_resolve(). */
#define FRAGMENT_TINY 1
#define FRAGMENT_OVERLAP 2
#define FRAGMENT_ORPHAN 4

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
 * Takes a fragment: sets its ports if it is a later one and they are known, and returns what is odd about it. Not
 * inlined: fragments are rare.
 */
static __noinline __u32 fragment_resolve(struct packet *p, __u64 now)
{
	struct fragment_key key __attribute__((aligned(8)));
	struct fragment_state *e;
	int first = p->fragment == FRAGMENT_FIRST;
	__u32 at = p->fragment_offset;
	__u32 end = at + p->transport_len + p->payload_len;
	__u32 finding = first ? end < FRAGMENT_MIN_CONTENT : at < FRAGMENT_MIN_CONTENT; /* FRAGMENT_TINY */

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
