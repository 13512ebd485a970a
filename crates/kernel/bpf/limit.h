/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Limits: what is over a hard rate is dropped here and now, without waiting for user space, and only for as long as the
 * excess lasts.
 *
 * Per source (IPv6: its /64): TCP SYNs, UDP packets of flows that nobody answered, ICMP echo requests. Per service (address,
 * port and protocol of the destination): SYNs of sources that are not known good, so that a flood from many or forged
 * addresses leaves those who have used a service lately their way in. Known good is a source to whom a service has sent
 * payload over TCP, which no forged address brings about: the service's own TCP has checked the handshake.
 *
 * Each bucket is one time, the generic cell rate algorithm (ITU-T I.371): a packet may pass if the bucket's time lies less
 * than LIMIT_BURST_NS ahead of now, and moves it on by the interval of its rate. A source may thus send a second's worth at
 * once, and its rate from then on.
 *
 * A packet over a limit whose source is on the allowlist passes; in shadow mode every packet passes and is counted. The
 * rates lie in the map `limits`, zeros (off) until user space has written them, and take effect at once when it changes them.
 *
 * Bucket times are plain writes: CPUs that serve one source at the same moment may let a few packets more pass.
 */
#ifndef AUTOINMUNE_LIMIT_H
#define AUTOINMUNE_LIMIT_H

#include "account.h"
#include "maps.h"
#include "parse.h"
#include "tunables.h"

#define LIMIT_BURST_NS 1000000000ULL
/* Quiet that ends an excess. */
#define LIMIT_QUIET_NS 2000000000ULL
/* How often an excess that lasts is told of. */
#define LIMIT_TELL_NS 1000000000ULL

/* In tat_ns of a service. */
#define SERVICE_BUCKET 0
#define SERVICE_ANSWERED 1

/* How long after a service's own last answer SYNs to it may be answered in its place; see cookie.h. */
#define LIMIT_ANSWERS_NS 60000000000ULL
/* limit_over(): the SYN may be answered instead of dropped. */
#define LIMIT_ANSWERABLE 8

static const struct limit_state no_limit_state;

/* The limit that a packet without an answered flow may be under, or LIMITS. */
static __always_inline __u32 limit_of(const struct packet *p, const struct flow_stats *f, __u32 dir)
{
	if (p->protocol == PROTOCOL_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? LIMIT_SOURCE_SYN : LIMITS;
	if (p->protocol == PROTOCOL_UDP)
		return !f || !f->dir[(dir & 1) ^ 1].packets ? LIMIT_SOURCE_UDP : LIMITS;
	if (p->protocol == PROTOCOL_ICMP)
		return p->src_port == ICMP_ECHO ? LIMIT_SOURCE_ICMP : LIMITS;
	if (p->protocol == PROTOCOL_ICMPV6)
		return p->src_port == ICMPV6_ECHO ? LIMIT_SOURCE_ICMP : LIMITS;
	return LIMITS;
}

/* The rates, if one is set for packets of that kind: where limits are off, that is all they cost. */
static __always_inline const struct limits *limits_of(__u32 kind)
{
	__u32 zero = 0;
	const struct limits *l = bpf_map_lookup_elem(&limits, &zero);

	if (!l || kind >= LIMITS)
		return NULL;
	return l->interval_ns[kind] || (kind == LIMIT_SOURCE_SYN && l->interval_ns[LIMIT_SERVICE_SYN]) ? l : NULL;
}

/* Takes a token; whether there was none. */
static __always_inline int limit_take(__u64 *tat, __u64 interval, __u64 now)
{
	__u64 at = *tat > now ? *tat : now;

	if (at - now >= LIMIT_BURST_NS)
		return 1;
	*tat = at + interval;
	return 0;
}

/* The service that `p` goes to. */
static __always_inline void service_key_of(struct service_key *key, const struct packet *p)
{
	__builtin_memcpy(&key->addr, &p->dst, 16);
	key->port = p->dst_port;
	key->protocol = p->protocol;
	key->pad = 0;
}

static __always_inline void limit_addr(struct addr *to, const struct packet *p)
{
	ADDR_U64(to)[0] = ADDR_U64(&p->src)[0];
	ADDR_U64(to)[1] = p->v6 ? 0 : ADDR_U64(&p->src)[1];
}

static __noinline int limited_event_fill(struct limited_event *e, const struct packet *p, const struct limit_state *s,
					 enum limit kind, __u64 now)
{
	e->head.kind = EVENT_LIMITED;
	e->head.time_ns = now;
	e->since_ns = s->since_ns;
	e->packets = s->packets;
	e->bytes = s->bytes;
	e->limit = kind;
	e->protocol = p->protocol;
	e->enforced = enforce;
	return 0;
}

/* Notes a packet over a limit in the bucket's excess, and tells of it when it is time. */
static __noinline int limit_excess(struct limit_state *s, const struct packet *p, __u32 kind, __u64 now,
				   struct counters *c)
{
	struct limited_event *e;

	if (now - s->last_ns > LIMIT_QUIET_NS) {
		s->since_ns = now;
		s->told_ns = 0;
		s->kinds = 0;
		s->packets = 0;
		s->bytes = 0;
	}
	s->last_ns = now;
	s->kinds |= 1U << (kind & 31);
	s->packets++;
	s->bytes += p->frame_len;
	if (s->told_ns && now - s->told_ns < LIMIT_TELL_NS)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		c->v[COUNTER_LIMITED_LOST]++;
		return 0;
	}
	s->told_ns = now;
	e->head.ifindex = p->ifindex;
	if (kind == LIMIT_SERVICE_SYN) {
		__builtin_memcpy(&e->addr, &p->dst, 16);
		e->port = p->dst_port;
	} else {
		ADDR_U64(&e->addr)[0] = ADDR_U64(&p->src)[0];
		ADDR_U64(&e->addr)[1] = p->v6 ? 0 : ADDR_U64(&p->src)[1];
		e->port = 0;
	}
	limited_event_fill(e, p, s, kind, now);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Whether the packet's source is known good. */
static __always_inline int limit_known(const struct packet *p, const struct limits *l, __u64 now)
{
	struct addr who __attribute__((aligned(8)));
	__u64 *seen;

	limit_addr(&who, p);
	seen = bpf_map_lookup_elem(&known, &who);
	return seen && now - *seen < l->known_ns;
}

/* Notes that `p`, on its way out, carries payload of a service to the side that began the connection. */
static __noinline int limit_note_known(const struct packet *p, __u64 now)
{
	struct addr who __attribute__((aligned(8)));

	ADDR_U64(&who)[0] = ADDR_U64(&p->dst)[0];
	ADDR_U64(&who)[1] = p->v6 ? 0 : ADDR_U64(&p->dst)[1];
	bpf_map_update_elem(&known, &who, &now, BPF_ANY);
	return 0;
}

/*
 * Whether a packet that limits are about, of that kind of its source, is over one: 0, or the limit plus one, with
 * LIMIT_ANSWERABLE added where SYN cookies are on and the service has sent some itself lately. Lookups come before
 * insertions: what a flood of forged sources has dropped leaves nothing behind. `l`: of limits_of().
 */
__noinline int limit_over(const struct packet *p, __u32 kind, __u64 now, struct counters *c, const struct limits *l)
{
	struct addr who __attribute__((aligned(8)));
	struct limit_state *source;
	__u64 interval;

	if (!p || !c || !l || kind >= LIMITS)
		return 0;
	limit_addr(&who, p);
	interval = l->interval_ns[kind];
	source = NULL;
	if (interval) {
		source = bpf_map_lookup_elem(&limit_sources, &who);
		if (source && limit_take(&source->tat_ns[kind < LIMIT_SERVICE_SYN ? kind : 0], interval, now)) {
			limit_excess(source, p, kind, now, c);
			return kind + 1;
		}
	}
	if (kind == LIMIT_SOURCE_SYN && l->interval_ns[LIMIT_SERVICE_SYN]) {
		struct service_key key __attribute__((aligned(8)));
		struct limit_state *service;

		service_key_of(&key, p);
		service = bpf_map_lookup_elem(&limit_services, &key);
		if (!service) {
			bpf_map_update_elem(&limit_services, &key, &no_limit_state, BPF_NOEXIST);
			service = bpf_map_lookup_elem(&limit_services, &key);
		}
		if (service && limit_take(&service->tat_ns[SERVICE_BUCKET], l->interval_ns[LIMIT_SERVICE_SYN], now) &&
		    !limit_known(p, l, now)) {
			int answerable = syn_cookies && service->tat_ns[SERVICE_ANSWERED] &&
					 now - service->tat_ns[SERVICE_ANSWERED] < LIMIT_ANSWERS_NS;

			limit_excess(service, p, LIMIT_SERVICE_SYN, now, c);
			return (LIMIT_SERVICE_SYN + 1) | (answerable ? LIMIT_ANSWERABLE : 0);
		}
	}
	if (interval && !source) {
		bpf_map_update_elem(&limit_sources, &who, &no_limit_state, BPF_NOEXIST);
		source = bpf_map_lookup_elem(&limit_sources, &who);
		if (source)
			limit_take(&source->tat_ns[kind < LIMIT_SERVICE_SYN ? kind : 0], interval, now);
	}
	return 0;
}

#endif
