/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * From a packet to the one that it carries: the twin of crates/wire/src/tunnel.rs. The rules stand in the module
 * documentation of crates/wire/src/parse.rs, the identifier's formula in that of tunnel.rs.
 *
 * tunnel_step_xdp() and tunnel_step_skb() open one tunnel. They and their parts are global functions: the verifier checks
 * each once, on its own, and the ways through one are not multiplied by those through the next. Tunnels cost plain
 * packets nothing. Positions are kept in memory (volatile) for the same reason: what the verifier reads from there is
 * any number, so that it finds the second round of a loop to be like the first.
 *
 * Headers are read in the linear part of a packet, of which tc gets TUNNEL_PULL_BYTES, and up to INNER_REACH. What lies
 * further behind only user space can follow.
 */
#ifndef AUTOINMUNE_TUNNEL_H
#define AUTOINMUNE_TUNNEL_H

#include "parse.h"

#define MAX_TUNNELS 3
#define MAX_MPLS_LABELS 8

/* Room for three tunnels with IPv6 outside and Ethernet inside each, and the innermost headers. */
#define TUNNEL_PULL_BYTES 512

/* wire::tunnel::Kind */
enum tunnel_kind {
	TUNNEL_IPV4 = 1,
	TUNNEL_IPV6 = 2,
	TUNNEL_GRE = 3,
	TUNNEL_ERSPAN = 4,
	TUNNEL_VXLAN = 5,
	TUNNEL_GENEVE = 6,
	TUNNEL_PPPOE = 7,
	TUNNEL_PSEUDOWIRE = 8,
};

/* What a step returns besides 0 (the packet inside carries no other), PARSED_OUTER (it may) and COUNTER_* of wire::Skip
 * (no packet at all). The packet is then still the outer one. */
#define TUNNEL_NONE 3      /* it carries nothing */
#define TUNNEL_OPAQUE 4    /* what it carries cannot be read */
#define TUNNEL_USER_ONLY 5 /* what it carries is out of reach here */

#define ETHERTYPE_ETHERNET 0x6558
#define GRE_ERSPAN 0x88be
#define GRE_ERSPAN_III 0x22eb

/* What a tunnel holds. */
struct tunnel_content {
	__u32 at;         /* offset where it begins */
	__u32 limit;      /* offset where its captured bytes end, unless the frame does before */
	__u32 stated_end; /* offset where it ends on the wire */
	__u32 tunnel;     /* identifier inside */
	__u32 tunnels;    /* passed inside */
	__u32 kind;       /* EtherType */
};

static __always_inline __u32 tunnel_identifier(__u32 outer, enum tunnel_kind kind, __u32 id)
{
	__u32 t = outer * 0x9e3779b1U ^ (__u32)kind << 24 ^ ((id ^ id >> 24) & 0xffffff);

	return t ? t : 1;
}

/* `n` bytes at c->at, or NULL: not captured. An offset out of reach is not captured either. */
static __always_inline const __u8 *content_bytes(const volatile struct tunnel_content *c, const void *data,
						 const void *data_end, __u32 n)
{
	__u32 at = c->at;
	const __u8 *bytes;

	if (at > INNER_REACH || at + n > c->limit)
		return NULL;
	/* The verifier wants the bound on the register that is added. */
	asm volatile("%0 &= 0xfff" : "+r"(at));
	bytes = (const __u8 *)data + at;
	if ((const void *)(bytes + n) > data_end)
		return NULL;
	return bytes;
}

/* GRE at c->at. 0, COUNTER_LINK_TRUNCATED (not captured) or TUNNEL_OPAQUE. */
static __always_inline int open_gre(volatile struct tunnel_content *c, __u32 outer, const void *data,
				    const void *data_end)
{
	const __u8 *h = content_bytes(c, data, data_end, 4);
	enum tunnel_kind kind = TUNNEL_GRE;
	__u16 flags;
	__u16 type;
	__u32 id = 0;

	if (!h)
		return COUNTER_LINK_TRUNCATED;
	flags = be16_at(h, 0);
	type = be16_at(h, 2);
	if (flags & 0x4007) /* routing, version */
		return TUNNEL_OPAQUE;
	c->at += flags & 0x8000 ? 8 : 4; /* checksum */
	if (flags & 0x2000) {
		h = content_bytes(c, data, data_end, 4);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		id = be32_at(h, 0);
		c->at += 4;
		if (type == ETHERTYPE_ETHERNET && !(flags & 0x9000))
			id >>= 8;
	}
	if (flags & 0x1000) /* sequence number */
		c->at += 4;
	if (type == GRE_ERSPAN) {
		kind = TUNNEL_ERSPAN;
		type = ETHERTYPE_ETHERNET;
		id = 0;
		if (flags & 0x1000) {
			h = content_bytes(c, data, data_end, 8);
			if (!h)
				return COUNTER_LINK_TRUNCATED;
			if (h[0] >> 4 != 1)
				return TUNNEL_OPAQUE;
			id = be16_at(h, 2) & 0x3ff;
			c->at += 8;
		}
	} else if (type == GRE_ERSPAN_III) {
		__u8 frame_type;

		kind = TUNNEL_ERSPAN;
		type = ETHERTYPE_ETHERNET;
		h = content_bytes(c, data, data_end, 12);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		if (h[0] >> 4 != 2)
			return TUNNEL_OPAQUE;
		id = be16_at(h, 2) & 0x3ff;
		frame_type = h[10] >> 2 & 0x1f;
		c->at += h[11] & 1 ? 20 : 12;
		if (frame_type == 2) {
			h = content_bytes(c, data, data_end, 1);
			if (!h)
				return COUNTER_LINK_TRUNCATED;
			type = h[0] >> 4 == 4 ? ETHERTYPE_IPV4 : h[0] >> 4 == 6 ? ETHERTYPE_IPV6 : 0;
		} else if (frame_type != 0) {
			return TUNNEL_OPAQUE;
		}
	}
	c->kind = type;
	c->tunnel = tunnel_identifier(outer, kind, id);
	return 0;
}

/* What packet `p` holds. As open_gre(), or TUNNEL_NONE. */
static __always_inline int tunnel_open(volatile struct tunnel_content *c, const struct packet *p, const void *data,
				       const void *data_end)
{
	__u32 type = ETHERTYPE_ETHERNET;
	const __u8 *h;

	c->at = p->payload_at;
	if (p->protocol == PROTOCOL_GRE)
		return open_gre(c, p->tunnel, data, data_end);
	if (p->protocol == PROTOCOL_IPV4 || p->protocol == PROTOCOL_IPV6) {
		int v4 = p->protocol == PROTOCOL_IPV4;

		c->kind = v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
		c->tunnel = tunnel_identifier(p->tunnel, v4 ? TUNNEL_IPV4 : TUNNEL_IPV6, 0);
		return 0;
	}
	if (p->payload_len < 8)
		return TUNNEL_NONE;
	h = content_bytes(c, data, data_end, 8);
	if (!h)
		return COUNTER_LINK_TRUNCATED;
	c->at += 8;
	if (p->dst_port == PORT_GENEVE) {
		type = be16_at(h, 2);
		if (h[0] >> 6 != 0 || (type != ETHERTYPE_ETHERNET && type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6))
			return TUNNEL_NONE;
		c->at += (h[0] & 0x3f) * 4;
		c->tunnel = tunnel_identifier(p->tunnel, TUNNEL_GENEVE, be32_at(h, 4) >> 8);
	} else {
		if (be32_at(h, 0) != 0x08000000 || h[7] != 0)
			return TUNNEL_NONE;
		c->tunnel = tunnel_identifier(p->tunnel, TUNNEL_VXLAN, be32_at(h, 4) >> 8);
	}
	c->kind = type;
	return 0;
}

/*
 * From the Ethernet header, tags, labels or session at c->at to the IP header. 0, PARSED_OUTER (a pseudowire: c->at is
 * at the Ethernet header inside) or a COUNTER_* of wire::Skip.
 */
static __always_inline int tunnel_link(volatile struct tunnel_content *c, const void *data, const void *data_end)
{
	const __u8 *h;

	if (c->kind == ETHERTYPE_ETHERNET) {
		h = content_bytes(c, data, data_end, 14);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		c->kind = be16_at(h, 12);
		c->at += 14;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (!is_tag(c->kind))
			break;
		h = content_bytes(c, data, data_end, 4);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		c->kind = be16_at(h, 2);
		c->at += 4;
	}
	if (is_tag(c->kind))
		return COUNTER_TOO_MANY_TAGS;
	if (c->kind == ETHERTYPE_PPPOE_SESSION) {
		__u16 protocol;

		h = content_bytes(c, data, data_end, 8);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		if (be16_at(h, 0) != 0x1100)
			return COUNTER_NOT_IP;
		protocol = be16_at(h, 6);
		c->kind = protocol == 0x0021 ? ETHERTYPE_IPV4 : protocol == 0x0057 ? ETHERTYPE_IPV6 : 0;
		c->tunnel = tunnel_identifier(c->tunnel, TUNNEL_PPPOE, be16_at(h, 2));
		c->at += 8;
	} else if (c->kind == ETHERTYPE_MPLS || c->kind == ETHERTYPE_MPLS_MULTICAST) {
		__u8 bottom = 0;
		__u8 first;

#pragma clang loop unroll(disable)
		for (int i = 0; i < MAX_MPLS_LABELS; i++) {
			h = content_bytes(c, data, data_end, 4);
			if (!h)
				return COUNTER_LINK_TRUNCATED;
			bottom = h[2] & 1;
			c->at += 4;
			if (bottom)
				break;
		}
		if (!bottom)
			return COUNTER_TOO_MANY_TAGS;
		h = content_bytes(c, data, data_end, 1);
		if (!h)
			return COUNTER_LINK_TRUNCATED;
		first = h[0] >> 4;
		c->kind = first == 4 ? ETHERTYPE_IPV4 : first == 6 ? ETHERTYPE_IPV6 : 0;
		if (first == 0) {
			h = content_bytes(c, data, data_end, 4);
			if (!h)
				return COUNTER_LINK_TRUNCATED;
			if (be16_at(h, 0) != 0 || c->tunnels >= MAX_TUNNELS)
				return COUNTER_NOT_IP;
			c->tunnel = tunnel_identifier(c->tunnel, TUNNEL_PSEUDOWIRE, 0);
			c->tunnels++;
			c->at += 4;
			c->kind = ETHERTYPE_ETHERNET;
			return PARSED_OUTER;
		}
	}
	return c->kind == ETHERTYPE_IPV4 || c->kind == ETHERTYPE_IPV6 ? 0 : COUNTER_NOT_IP;
}

/* The packet at c->at, written over `p` if it parses. 0, PARSED_OUTER or a COUNTER_* of wire::Skip. */
static __always_inline int tunnel_packet(struct packet *p, const struct tunnel_content *c, const void *data,
					 const void *data_end)
{
	struct packet inner = {};
	const __u8 *ip = (const __u8 *)data + (c->at & INNER_REACH);
	int result;

	if (c->at > INNER_REACH)
		return COUNTER_IP_TRUNCATED;
	inner.ip_at = c->at;
	inner.frame_len = c->stated_end;
	inner.limit = c->limit;
	inner.tunnel = c->tunnel;
	inner.tunnels = c->tunnels;
	inner.vlan = p->vlan;
	if (c->kind == ETHERTYPE_IPV4)
		result = parse_ipv4_fixed(&inner, ip, data, data_end, 1);
	else
		result = parse_ipv6_fixed(&inner, ip, data, data_end, 1);
	if (!result)
		result = parse_transport_at(&inner, data, data_end, 1);
	if (result && result != PARSED_OUTER)
		return result;
	inner.frame_len = p->frame_len;
	*p = inner;
	return result;
}

/* Whether `p` is a packet, whose tunnel is to be opened, or labels or a session, which are the content themselves. */
static __always_inline int tunnel_begin(struct tunnel_content *c, const struct packet *p)
{
	c->tunnels = p->tunnels;
	c->limit = p->limit;
	if (p->content) {
		c->at = p->ip_at;
		c->kind = p->content;
		c->stated_end = p->frame_len;
		return 0;
	}
	c->stated_end = p->payload_at + p->payload_len;
	if (c->stated_end < c->limit)
		c->limit = c->stated_end;
	return 1;
}

/* What a step returns that came to `result`, `linear` bytes of the frame being in sight. */
static __always_inline int tunnel_end(const struct tunnel_content *c, const struct packet *p, __u32 linear, int result)
{
	if (!result || result == PARSED_OUTER || result == TUNNEL_NONE || p->content)
		return result;
	/* Cut off here, but not on the wire. */
	if ((result == COUNTER_LINK_TRUNCATED || result == COUNTER_IP_TRUNCATED ||
	     result == COUNTER_TRANSPORT_TRUNCATED) &&
	    (c->at > INNER_REACH || (linear < p->frame_len && linear < c->limit)))
		return TUNNEL_USER_ONLY;
	return TUNNEL_OPAQUE;
}

/*
 * The global functions, for both kinds of context. tunnel_step_*() opens the tunnel, the labels or the session that `p`
 * holds, as parse_ip() and parse_transport() left it.
 */
#define TUNNEL_FUNCTIONS(hook, context)                                                                     \
	__noinline int tunnel_open_##hook(struct context *ctx, struct tunnel_content *c, struct packet *p)  \
	{                                                                                                   \
		if (!c || !p)                                                                               \
			return TUNNEL_OPAQUE;                                                               \
		return tunnel_open(c, p, (const void *)(long)ctx->data, (const void *)(long)ctx->data_end); \
	}                                                                                                   \
                                                                                                            \
	__noinline int tunnel_link_##hook(struct context *ctx, struct tunnel_content *c)                    \
	{                                                                                                   \
		if (!c)                                                                                     \
			return COUNTER_NOT_IP;                                                              \
		return tunnel_link(c, (const void *)(long)ctx->data, (const void *)(long)ctx->data_end);    \
	}                                                                                                   \
                                                                                                            \
	__noinline int tunnel_packet_##hook(struct context *ctx, struct tunnel_content *c, struct packet *p) \
	{                                                                                                   \
		if (!c || !p)                                                                               \
			return COUNTER_NOT_IP;                                                              \
		return tunnel_packet(p, c, (const void *)(long)ctx->data, (const void *)(long)ctx->data_end); \
	}                                                                                                   \
                                                                                                            \
	__noinline int tunnel_step_##hook(struct context *ctx, struct packet *p)                            \
	{                                                                                                   \
		struct tunnel_content c = {};                                                               \
		int result = 0;                                                                             \
                                                                                                            \
		if (!p)                                                                                     \
			return TUNNEL_NONE;                                                                 \
		if (tunnel_begin(&c, p)) {                                                                  \
			result = tunnel_open_##hook(ctx, &c, p);                                            \
			if (!result && ++c.tunnels > MAX_TUNNELS)                                           \
				result = TUNNEL_OPAQUE;                                                     \
		}                                                                                           \
		if (!result) {                                                                              \
			for (int i = 0; i <= MAX_TUNNELS; i++) {                                            \
				result = tunnel_link_##hook(ctx, &c);                                       \
				if (result != PARSED_OUTER)                                                 \
					break;                                                              \
			}                                                                                   \
			if (!result)                                                                        \
				result = tunnel_packet_##hook(ctx, &c, p);                                  \
		}                                                                                           \
		return tunnel_end(&c, p, ctx->data_end - ctx->data, result);                                \
	}

TUNNEL_FUNCTIONS(xdp, xdp_md)
TUNNEL_FUNCTIONS(skb, __sk_buff)

#endif
