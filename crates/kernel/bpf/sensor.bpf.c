/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The sensor: sees every frame of an interface, drops what is blocked or over a limit (ingress only), accounts the rest,
 * and sends the heads of flows to user space.
 *
 *   sensor_xdp         ingress by XDP, multi-buffer frames included
 *   sensor_tc_ingress  ingress by tc, for interfaces that cannot take XDP
 *   sensor_tc_egress   egress by tc; never drops
 *
 * A frame that does not parse passes and is counted by reason. A block needs only the source address: it also covers
 * fragments, and frames whose transport header is broken.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"
#include "tunables.h"
#include "clock.h"
#include "parse.h"
#include "tunnel.h"
#include "account.h"
#include "source.h"
#include "fragment.h"
#include "arp.h"
#include "head.h"
#include "limit.h"
#include "cookie.h"

/* Expired blocks that may hide a shorter one in force: so many are looked behind. */
#define MAX_EXPIRED_BLOCKS 8

/* tc headers that lie outside the linear part are pulled up to this many bytes: room for link layer, tags, the longest
 * IPv4 header or IPv6 with several extension headers, and the longest TCP header. */
#define PULL_BYTES 256

enum hook {
	HOOK_XDP,
	HOOK_TC_INGRESS,
	HOOK_TC_EGRESS,
};

/* What sense() returns besides 0 (pass) and COUNTER_LINK_TRUNCATED... (passed, did not parse). */
#define VERDICT_DROP 1
/* The SYN is to be answered in its place; XDP only. */
#define VERDICT_ANSWER 6

static __always_inline int allowed(const struct packet *p)
{
	if (!p->v6) {
		struct prefix_v4 key = { .prefix_len = 32 };

		*(__u32 *)key.addr = ADDR_U32(&p->src)[3];
		return bpf_map_lookup_elem(&allow_v4, &key) != NULL;
	} else {
		struct prefix_v6 key = { .prefix_len = 128 };

		__builtin_memcpy(key.addr, p->src.b, 16);
		return bpf_map_lookup_elem(&allow_v6, &key) != NULL;
	}
}

/* A block in force that covers the source although `b`, a longer one, has expired. Rare, hence not inlined. */
static __noinline struct block *block_behind(const struct packet *p, struct block *b, __u64 now)
{
	for (int i = 0; i < MAX_EXPIRED_BLOCKS; i++) {
		__u32 shorter;

		if (!b || b->prefix_len == 0)
			return NULL;
		shorter = b->prefix_len - 1;
		if (!p->v6) {
			struct prefix_v4 key = { .prefix_len = shorter };

			*(__u32 *)key.addr = ADDR_U32(&p->src)[3];
			b = bpf_map_lookup_elem(&block_v4, &key);
		} else {
			struct prefix_v6 key = { .prefix_len = shorter };

			__builtin_memcpy(key.addr, p->src.b, 16);
			b = bpf_map_lookup_elem(&block_v6, &key);
		}
		if (b && now < b->expires_ns)
			return b;
	}
	return NULL;
}

/*
 * Whether to drop. The allowlist comes before the block list, but is looked up only behind a hit in the latter, and only
 * if the block may overlap it: the verdict is the same, and most packets are spared a lookup.
 */
static __always_inline int blocked(const struct packet *p, struct counters *c, struct interface_stats *i)
{
	struct block *b;
	__u64 now;

	if (!p->v6) {
		struct prefix_v4 key = { .prefix_len = 32 };

		*(__u32 *)key.addr = ADDR_U32(&p->src)[3];
		b = bpf_map_lookup_elem(&block_v4, &key);
	} else {
		struct prefix_v6 key = { .prefix_len = 128 };

		__builtin_memcpy(key.addr, p->src.b, 16);
		b = bpf_map_lookup_elem(&block_v6, &key);
	}
	if (__builtin_expect(!b, 1))
		return 0;
	now = tick_ns();
	if (__builtin_expect(now >= b->expires_ns, 0)) {
		b = block_behind(p, b, now);
		if (!b) {
			c->v[COUNTER_EXPIRED_BLOCK_PACKETS]++;
			return 0;
		}
	}
	if (!b->not_allowed && allowed(p)) {
		c->v[COUNTER_ALLOWED_PACKETS]++;
		return 0;
	}
	__sync_fetch_and_add(&b->packets, 1);
	__sync_fetch_and_add(&b->bytes, p->frame_len);
	if (!enforce) {
		c->v[COUNTER_WOULD_DROP_PACKETS]++;
		c->v[COUNTER_WOULD_DROP_BYTES] += p->frame_len;
		return 0;
	}
	c->v[COUNTER_DROPPED_PACKETS]++;
	c->v[COUNTER_DROPPED_BYTES] += p->frame_len;
	if (i) {
		i->dropped_packets++;
		i->dropped_bytes += p->frame_len;
	}
	return 1;
}

/* The first bytes of the payload, wherever they lie; shorter payloads leave zeros. */
static __always_inline void read_head(void *ctx, enum hook hook, const struct packet *p, __u8 *head)
{
	__u8 bytes[8] = {};
	__u32 length = p->payload_len;
	__u32 end = p->limit < p->frame_len ? p->limit : p->frame_len;
	__u32 captured;

	if (p->payload_at >= end)
		return;
	captured = end - p->payload_at;
	if (length > captured)
		length = captured;
	if (length > sizeof(bytes))
		length = sizeof(bytes);
	/* The verifier wants both bounds at the call, on the register that is passed. */
	asm volatile("" : "+r"(length));
	if (length == 0 || length > sizeof(bytes))
		return;
	if (hook == HOOK_XDP) {
		if (bpf_xdp_load_bytes(ctx, p->payload_at, bytes, length))
			return;
	} else {
		if (bpf_skb_load_bytes(ctx, p->payload_at, bytes, length))
			return;
	}
	__builtin_memcpy(head, bytes, sizeof(bytes));
}

/* Whether a packet after the head of its flow begins a message of what the flow speaks. */
static __always_inline int begins_message(void *ctx, enum hook hook, const struct packet *p,
					  const struct flow_stats *f)
{
	__u8 first[8] = {};

	if (!f->long_head)
		return 0;
	read_head(ctx, hook, p, first);
	return speaks_in_messages(p, first) == f->long_head;
}

static __always_inline void note_cpu(struct dir_stats *d, struct counters *c)
{
	__u32 cpu = bpf_get_smp_processor_id() + 1;

	if (d->cpu != cpu) {
		if (d->cpu)
			c->v[COUNTER_FLOW_CPU_MIGRATIONS]++;
		d->cpu = cpu;
	}
}

/* What flow_account() wants of its caller. */
#define WANT_FIRST_BYTES 1 /* the direction's first payload: fill its `head` */
#define WANT_HEAD 2        /* the payload may be wanted in user space */

/*
 * Accounts `p` to a flow in memory: its first packet if FIRST_PACKET, else one after a packet at `last`. Returns WANT_*.
 * Inlined, and in XDP so is account(), which saves 17 ns per packet; other functions with many branches are global: the
 * verifier checks each once, not once per path that leads to it.
 */
#define FIRST_PACKET 2
static __always_inline int flow_account(struct flow_stats *f, const struct packet *p, __u32 dir_first, __u64 last, __u64 now)
{
	__u32 dir = dir_first & 1;
	int first = dir_first & FIRST_PACKET;
	struct dir_stats *d;
	__u64 before;
	int want = 0;

	if (!f || !p)
		return 0;
	d = &f->dir[dir];
	before = d->payload_bytes;
	if (!first)
		flow_pause(f, last, now);
	if (dir_account(d, p, now))
		want = WANT_FIRST_BYTES;
	if (p->protocol == PROTOCOL_TCP) {
		if (!first)
			tcp_advance(f, p->tcp_flags, dir, now);
		tcp_close(f, p->tcp_flags, dir);
	}
	if (p->payload_len && (before < head_bytes_long || f->long_head) && p->fragment != FRAGMENT_LATER)
		want |= WANT_HEAD;
	return want;
}

/* When the flow's last packet passed; 0 if none did, which is an entry just inserted. */
static __always_inline __u64 flow_last(const struct flow_stats *f)
{
	return f->dir[0].last_ns > f->dir[1].last_ns ? f->dir[0].last_ns : f->dir[1].last_ns;
}

/* Whether the flow under this key is over, so that `p` begins another. */
static __always_inline int flow_over(const struct flow_stats *f, const struct packet *p, __u64 last, __u64 now)
{
	__u64 idle = idle_ns;

	if (p->protocol == PROTOCOL_TCP) {
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
		    (f->state == TCP_STATE_CLOSED || f->state == TCP_STATE_RESET))
			return 1;
		idle = idle_tcp_ns;
	}
	return now > last && now - last > idle;
}

static const struct flow_stats no_flow;

static __always_inline int ended(__u8 state)
{
	return state == TCP_STATE_CLOSED || state == TCP_STATE_RESET;
}

/* Counts a frame as dropped for the reason `counter`. */
static __always_inline void count_drop(const struct packet *p, enum counter counter, struct counters *c)
{
	__u32 ifindex = p->ifindex;
	struct interface_stats *i = bpf_map_lookup_elem(&interfaces, &ifindex);

	if (counter < COUNTERS)
		c->v[counter]++;
	if (i) {
		i->dropped_packets++;
		i->dropped_bytes += p->frame_len;
	}
}

/*
 * What becomes of a packet that is to be dropped for the reason `counter`: 0 if it is spared, VERDICT_DROP, or where it may
 * be answered instead VERDICT_ANSWER. Not inlined: rare.
 */
__noinline int drop_or_spare(const struct packet *p, enum counter counter, __u32 answerable, struct counters *c)
{

	if (!p || !c)
		return 0;
	if (allowed(p)) {
		c->v[COUNTER_LIMITED_ALLOWED]++;
		return 0;
	}
	if (!enforce) {
		c->v[COUNTER_LIMITED_WOULD_DROP]++;
		return 0;
	}
	if (syn_cookies && answerable && cookie_able(p))
		return VERDICT_ANSWER;
	count_drop(p, counter, c);
	if (p->fragment)
		fragment_drop(p);
	return VERDICT_DROP;
}

/* Whether a fragment of which fragment_resolve() told `finding` is dropped, as it is or with its datagram. */
__noinline int fragment_limit(const struct packet *p, __u32 finding, struct counters *c)
{
	__u32 zero = 0;
	struct limits *l = bpf_map_lookup_elem(&limits, &zero);

	if (!p || !c || !l)
		return 0;
	if (!(finding & FRAGMENT_TINY && l->block_tiny) && !(finding & FRAGMENT_OVERLAP && l->block_overlapping) &&
	    !fragment_dropped(p))
		return 0;
	return drop_or_spare(p, COUNTER_FRAGMENTS_DROPPED, 0, c);
}

/* A fragment: takes its ports from the datagram's first, tells what is odd about it; whether it is dropped. */
static __always_inline int sense_fragment(struct packet *p, enum hook hook, __u64 now, struct counters *c)
{
	__u32 finding = fragment_resolve(p, now);

	if (finding)
		fragment_note(p, finding, now, c);
	return hook != HOOK_TC_EGRESS && fragment_limit(p, finding, c);
}

/* Fragments, limits, flow, source, events. 0 to pass, or VERDICT_*. */
static __always_inline int account(void *ctx, enum hook hook, struct packet *p, struct counters *c)
{
	__u64 now = now_ns();
	struct flow_key key __attribute__((aligned(8)));
	struct flow_stats *f;
	struct source_stats *s;
	const struct addr *initiator;
	int from_initiator;
	int begun = 0;
	int want;
	__u64 last;
	__u32 dir;
	__u8 before;

	if (__builtin_expect(p->fragment, 0) && sense_fragment(p, hook, now, c))
		return VERDICT_DROP;
	dir = flow_key_of(&key, p);
	f = bpf_map_lookup_elem(&flows, &key);
	if (hook != HOOK_TC_EGRESS) {
		__u32 kind = limit_of(p, f, dir);
		const struct limits *l = kind == LIMITS ? NULL : limits_of(kind);

		if (l) {
			__u32 over = limit_over(p, kind, now, c, l);

			if (over) {
				__u32 limit = (over & ~LIMIT_ANSWERABLE) - 1;
				int verdict = drop_or_spare(p, COUNTER_LIMITED_SOURCE_SYN + limit,
							    hook == HOOK_XDP && over & LIMIT_ANSWERABLE, c);

				if (verdict)
					return verdict;
			}
		}
	}
	if (syn_cookies && hook == HOOK_TC_EGRESS && p->protocol == PROTOCOL_TCP &&
	    (p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		cookie_note_answer(p, now);
	if (__builtin_expect(!f, 0)) {
		if (syn_cookies && hook == HOOK_XDP && p->protocol == PROTOCOL_TCP &&
		    (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_ACK)
			cookie_ack(ctx, p, now, c);
		/* Inserted empty and begun in place: a whole flow does not fit on the stack beside the packet. */
		bpf_map_update_elem(&flows, &key, &no_flow, BPF_NOEXIST);
		f = bpf_map_lookup_elem(&flows, &key);
		if (!f) {
			c->v[COUNTER_FLOW_INSERT_FAILED]++;
			return 0;
		}
	}
	last = flow_last(f);
	if (__builtin_expect(last == 0, 0)) {
		begun = 1;
	} else if (__builtin_expect(flow_over(f, p, last, now), 0)) {
		begun = 1;
		c->v[COUNTER_FLOWS_REUSED]++;
	}
	if (begun) {
		c->v[COUNTER_FLOWS_STARTED]++;
		flow_begin(f, p, dir, now);
	}
	before = f->state;
	want = flow_account(f, p, dir | (begun ? FIRST_PACKET : 0), last, now);
	note_cpu(&f->dir[dir & 1], c);
	if (want & WANT_FIRST_BYTES) {
		read_head(ctx, hook, p, f->dir[dir & 1].head);
		if (head_bytes && !f->long_head)
			f->long_head = speaks_in_messages(p, f->dir[dir & 1].head);
	}
	if (want & WANT_HEAD && head_bytes && (head_due(p, f, dir) || begins_message(ctx, hook, p, f))) {
		p->direction = dir;
		if (hook == HOOK_XDP)
			head_send_xdp(ctx, p, &key, f, now);
		else
			head_send_skb(ctx, p, &key, f, now);
	}
	if (p->fragment)
		c->v[COUNTER_FRAGMENTS]++;

	from_initiator = dir == f->initiator;
	initiator = from_initiator ? &p->src : &p->dst;
	/* A service answers whom its own TCP has found to be there. The second packet may be the first seen here. */
	if (hook == HOOK_TC_EGRESS && before == TCP_STATE_ESTABLISHED && f->state == TCP_STATE_ESTABLISHED &&
	    !from_initiator && p->payload_len && f->dir[dir & 1].data_packets <= 2)
		limit_note_known(p, now);
	if (!begun && before == f->state && source_gathers(f, p)) {
		if (!source_gather(f, p, dir))
			return 0;
		s = source_window(initiator, 1, now, c);
		if (s) {
			source_settle(s, f, p);
			source_check(s, initiator, now, p->ifindex, c);
		}
		return 0;
	}
	s = source_window(initiator, from_initiator, now, c);
	if (s) {
		source_account(s, p, from_initiator);
		source_settle(s, f, p);
		s->flows += begun;
		s->handshakes += before != TCP_STATE_ESTABLISHED && f->state == TCP_STATE_ESTABLISHED;
		source_check(s, initiator, now, p->ifindex, c);
	}
	if (begun)
		flow_tell(EVENT_FLOW_START, &key, f, s, now, p->ifindex, c);
	else if (!ended(before) && ended(f->state))
		flow_tell(EVENT_FLOW_END, &key, f, s, now, p->ifindex, c);
	return 0;
}

__noinline int account_ingress(struct __sk_buff *ctx, struct packet *p, struct counters *c)
{
	return p && c ? account(ctx, HOOK_TC_INGRESS, p, c) : 0;
}

__noinline int account_egress_packet(struct __sk_buff *ctx, struct packet *p, struct counters *c)
{
	return p && c ? account(ctx, HOOK_TC_EGRESS, p, c) : 0;
}

/*
 * blocked() for packets in tunnels and for tc. Global: the verifier checks it once, apart from the programs; and its stack
 * is not theirs, of which tc's has none to spare.
 */
__noinline int blocked_apart(struct packet *p, struct counters *c, struct interface_stats *i)
{
	return p && c && blocked(p, c, i);
}

/* Goes from the outermost packet to the innermost. As sense(); a block of any source on the way drops the frame. */
static __noinline int enter_tunnels(void *ctx, enum hook hook, struct packet *p, struct counters *c,
				    struct interface_stats *i)
{
	if (hook != HOOK_XDP) {
		struct __sk_buff *skb = ctx;
		__u32 wanted = p->frame_len < TUNNEL_PULL_BYTES ? p->frame_len : TUNNEL_PULL_BYTES;

		/* Failing, it leaves the linear part as it is, and the headers behind it to user space. */
		if ((__u32)(skb->data_end - skb->data) < wanted)
			bpf_skb_pull_data(skb, wanted);
	}
	for (int step = 0; step < MAX_TUNNELS + 2; step++) {
		int result = hook == HOOK_XDP ? tunnel_step_xdp(ctx, p) : tunnel_step_skb(ctx, p);

		if (result == TUNNEL_OPAQUE)
			c->v[COUNTER_TUNNEL_OPAQUE]++;
		else if (result == TUNNEL_USER_ONLY)
			c->v[COUNTER_TUNNEL_USER_ONLY]++;
		else if (result && result != PARSED_OUTER && result != TUNNEL_NONE)
			return result;
		else if (result != TUNNEL_NONE && hook != HOOK_TC_EGRESS && blocked_apart(p, c, i))
			return VERDICT_DROP;
		if (result != PARSED_OUTER)
			break;
	}
	c->v[COUNTER_TUNNEL_PACKETS] += p->tunnel != 0;
	return 0;
}

/* A frame on which parse_ip() returned `result`: 0 to pass, VERDICT_*, or why it did not parse (passes too). */
static __always_inline int sense(void *ctx, enum hook hook, struct packet *p, const void *data, const void *data_end,
				 int result, __u32 ifindex, struct counters *c, struct interface_stats *i)
{
	if (!result) {
		if (hook == HOOK_XDP ? blocked(p, c, i) : hook == HOOK_TC_INGRESS && blocked_apart(p, c, i))
			return VERDICT_DROP;
		if (hook != HOOK_XDP || !parse_plain(p, data, data_end))
			result = hook == HOOK_XDP ? parse_transport_xdp(ctx, p) : parse_transport_skb(ctx, p);
	}
	if (__builtin_expect(result, 0)) {
		if (result == PARSED_OUTER)
			result = enter_tunnels(ctx, hook, p, c, i);
		if (result)
			return result;
	}
	p->ifindex = ifindex;
	if (hook == HOOK_XDP)
		return account(ctx, HOOK_XDP, p, c);
	if (hook == HOOK_TC_INGRESS)
		return account_ingress(ctx, p, c) ? VERDICT_DROP : 0;
	if (account_egress)
		account_egress_packet(ctx, p, c);
	return 0;
}

static __always_inline struct interface_stats *interface_of(__u32 ifindex, struct counters *c)
{
	struct interface_stats *i = bpf_map_lookup_elem(&interfaces, &ifindex);

	if (!i)
		c->v[COUNTER_INTERFACE_UNCOUNTED]++;
	return i;
}

static __always_inline void count_frame(enum hook hook, __u32 frame_len, struct counters *c, struct interface_stats *i)
{
	if (hook == HOOK_TC_EGRESS) {
		c->v[COUNTER_EGRESS_PACKETS]++;
		c->v[COUNTER_EGRESS_BYTES] += frame_len;
		if (i) {
			i->egress_packets++;
			i->egress_bytes += frame_len;
		}
	} else {
		c->v[COUNTER_PACKETS]++;
		c->v[COUNTER_BYTES] += frame_len;
		if (i) {
			i->packets++;
			i->bytes += frame_len;
		}
	}
}

static __noinline int count_skip(enum counter skip, struct counters *c)
{
	if (skip >= COUNTER_LINK_TRUNCATED && skip <= COUNTER_TRANSPORT_MALFORMED)
		c->v[skip]++;
	return 0;
}

SEC("xdp.frags")
int sensor_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	__u32 zero = 0;
	__u32 ifindex = ctx->ingress_ifindex;
	struct counters *c = bpf_map_lookup_elem(&counters, &zero);
	struct interface_stats *i;
	struct packet p;
	int verdict;

	if (!c)
		return XDP_PASS;
	p.frame_len = data_end - data;
	verdict = parse_ip(&p, data, data_end, 0, 0);
	/*
	 * The helper costs as much as the parser: asked only where the linear part is not all the IP header promises.
	 * An IP header that is yet to be found promises nothing (ip_len 0).
	 */
	if ((!verdict || verdict == PARSED_OUTER) && (p.ip_len == 0 || p.ip_at + p.ip_len > p.frame_len))
		p.frame_len = bpf_xdp_get_buff_len(ctx);
	i = interface_of(ifindex, c);
	count_frame(HOOK_XDP, p.frame_len, c, i);
	if (!verdict || verdict == PARSED_OUTER)
		verdict = sense(ctx, HOOK_XDP, &p, data, data_end, verdict, ifindex, c, i);
	if (verdict == VERDICT_DROP)
		return XDP_DROP;
	if (syn_cookies && verdict == VERDICT_ANSWER) {
		if (cookie_answer(ctx, &p)) {
			c->v[COUNTER_COOKIES_SENT]++;
			return XDP_TX;
		}
		count_drop(&p, COUNTER_LIMITED_SERVICE_SYN, c);
		return XDP_DROP;
	}
	if (verdict)
		count_skip(verdict, c);
	if (verdict == COUNTER_NOT_IP)
		tell_arp_xdp(ctx, p.frame_len, ifindex);
	return XDP_PASS;
}

/* Both tc programs. Whether to drop. */
static __always_inline int sense_skb(struct __sk_buff *skb, enum hook hook)
{
	__u32 zero = 0;
	__u32 ifindex = skb->ifindex;
	__u32 tags = 0;
	__u16 vlan = 0;
	struct counters *c = bpf_map_lookup_elem(&counters, &zero);
	struct interface_stats *i;
	struct packet p;
	int verdict = 0;

	if (!c)
		return 0;
	i = interface_of(ifindex, c);
	p.frame_len = skb->len;
	count_frame(hook, p.frame_len, c, i);
	if (skb->vlan_present) {
		tags = 1;
		vlan = skb->vlan_tci & 0x0fff;
	}
	/* Twice at most: when headers turn out to lie outside the linear part, they are pulled into it. */
#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2; attempt++) {
		const void *data = (const void *)(long)skb->data;
		const void *data_end = (const void *)(long)skb->data_end;

		verdict = parse_ip(&p, data, data_end, tags, vlan);
		if (!verdict || verdict == PARSED_OUTER)
			verdict = sense(skb, hook, &p, data, data_end, verdict, ifindex, c, i);
		if (verdict != COUNTER_LINK_TRUNCATED && verdict != COUNTER_IP_TRUNCATED &&
		    verdict != COUNTER_TRANSPORT_TRUNCATED)
			break;
		if (bpf_skb_pull_data(skb, p.frame_len < PULL_BYTES ? p.frame_len : PULL_BYTES))
			break;
	}
	if (verdict == VERDICT_DROP)
		return 1;
	if (verdict)
		count_skip(verdict, c);
	if (verdict == COUNTER_NOT_IP)
		tell_arp_skb(skb, p.frame_len, ifindex, vlan);
	return 0;
}

SEC("classifier")
int sensor_tc_ingress(struct __sk_buff *skb)
{
	/* Not TC_ACT_OK: -1, TCX_NEXT, leaves the verdict to programs behind this one. */
	return sense_skb(skb, HOOK_TC_INGRESS) ? 2 /* TC_ACT_SHOT, TCX_DROP */ : -1 /* TC_ACT_UNSPEC, TCX_NEXT */;
}

SEC("classifier")
int sensor_tc_egress(struct __sk_buff *skb)
{
	sense_skb(skb, HOOK_TC_EGRESS);
	return -1;
}

/* Dual, because helpers used here are for GPL-compatible programs only. */
char _license[] SEC("license") = "Dual BSD/GPL";
