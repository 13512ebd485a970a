/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The header parser: the twin of crates/wire/src/parse.rs, whose module documentation is the specification of both.
 * Same limits, same order of checks, same reasons; the differential test drives captures through both.
 *
 * It comes in two halves, so that a block is decided before any work on the rest of the packet:
 *   parse_ip()        link layer, VLAN tags, fixed IP header: addresses are known, nothing further is promised;
 *   parse_transport() the rest.
 * Both return 0, PARSED_OUTER or a COUNTER_* of wire::Skip (none of which is one of the former). Tunnels are followed
 * from there by tunnel.h.
 */
#ifndef AUTOINMUNE_PARSE_H
#define AUTOINMUNE_PARSE_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

#define MAX_VLAN_TAGS 4
#define MAX_EXTENSION_HEADERS 8

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_OLD_QINQ 0x9100
#define ETHERTYPE_OLDER_QINQ 0x9200
#define ETHERTYPE_MPLS 0x8847
#define ETHERTYPE_MPLS_MULTICAST 0x8848
#define ETHERTYPE_PPPOE_SESSION 0x8864

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV4 4
#define PROTOCOL_IPV6 41
#define PROTOCOL_GRE 47
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_SCTP 132

#define PORT_VXLAN 4789
#define PORT_VXLAN_OLD 8472
#define PORT_GENEVE 6081

/* There may be another packet inside: of the one that was parsed, or behind labels or a session (p->content). */
#define PARSED_OUTER 2

/* No end to the bytes of a packet but the frame's. */
#define NO_LIMIT (~0U)

#define ICMP_ECHO 8
#define ICMPV6_ECHO 128

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* wire::Fragment */
enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,
};

/* wire::Packet, as far as accounting needs it. Host byte order. */
struct packet {
	struct addr src __attribute__((aligned(8)));
	struct addr dst __attribute__((aligned(8)));
	__u32 ip_at;      /* offset of the IP header in the frame */
	__u32 payload_at; /* offset of the transport payload in the frame */
	__u32 frame_len;
	__u32 ifindex;
	__u32 ip_len; /* as stated; 0: to the end of the frame, resolved by parse_transport() */
	__u32 payload_len;
	__u32 limit; /* offset where the bytes end that the innermost tunnel holds, or NO_LIMIT; the frame may end sooner */
	__u32 tcp_seq;
	__u32 tunnel;      /* wire::tunnel::identifier; 0 outside tunnels */
	__u32 fragment_id; /* identification of a fragmented datagram, else 0 */
	__u16 fragment_offset; /* bytes */
	__u16 tcp_window;
	__u16 src_port;
	__u16 dst_port;
	__u16 vlan;
	__u16 content; /* the EtherType at ip_at if there is no IP header yet, else 0 */
	__u8 tunnels;  /* passed so far */
	__u8 v6;
	__u8 protocol;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 direction; /* of its flow: 0 from lo to hi, 1 back */
	__u8 fragment; /* enum fragment */
	__u8 transport_len; /* bytes of the transport header as stated; 0 without one */
};

/* The addresses as words: struct addr has byte alignment by type, struct packet and flow_key place them better. */
#define ADDR_U64(a) ((__u64 *)(a)->b)
#define ADDR_U32(a) ((__u32 *)(a)->b)

#define be16_at(p, at) bpf_ntohs(*(const __be16 *)((const __u8 *)(p) + (at)))
#define be32_at(p, at) bpf_ntohl(*(const __be32 *)((const __u8 *)(p) + (at)))

/*
 * Whether `n` bytes at `at` were not captured. `inside` is a constant: only what a tunnel holds can end before the frame
 * does, and packets outside of tunnels are not asked.
 */
#define MISSING(at, n)                                                                                      \
	((const void *)((at) + (n)) > data_end ||                                                           \
	 (inside && (__u32)((at) - (const __u8 *)data) + (n) > p->limit))

static __always_inline int parse_ipv4_fixed(struct packet *p, const __u8 *h, const void *data,
					    const void *data_end, int inside)
{
	if (MISSING(h, 20))
		return COUNTER_IP_TRUNCATED;
	if ((h[0] >> 4) != 4 || (h[0] & 0x0f) < 5)
		return COUNTER_IP_MALFORMED;
	ADDR_U64(&p->src)[0] = 0;
	ADDR_U32(&p->src)[2] = bpf_htonl(0xffff);
	ADDR_U32(&p->src)[3] = *(const __u32 *)(h + 12);
	ADDR_U64(&p->dst)[0] = 0;
	ADDR_U32(&p->dst)[2] = bpf_htonl(0xffff);
	ADDR_U32(&p->dst)[3] = *(const __u32 *)(h + 16);
	p->v6 = 0;
	p->ip_len = be16_at(h, 2);
	return 0;
}

static __always_inline int parse_ipv6_fixed(struct packet *p, const __u8 *h, const void *data,
					    const void *data_end, int inside)
{
	if (MISSING(h, 40))
		return COUNTER_IP_TRUNCATED;
	if ((h[0] >> 4) != 6)
		return COUNTER_IP_MALFORMED;
	ADDR_U64(&p->src)[0] = *(const __u64 *)(h + 8);
	ADDR_U64(&p->src)[1] = *(const __u64 *)(h + 16);
	ADDR_U64(&p->dst)[0] = *(const __u64 *)(h + 24);
	ADDR_U64(&p->dst)[1] = *(const __u64 *)(h + 32);
	p->v6 = 1;
	p->ip_len = be16_at(h, 4);
	if (p->ip_len != 0 || h[6] == 59)
		p->ip_len += 40;
	return 0;
}

static __always_inline int is_tag(__u16 kind)
{
	return kind == ETHERTYPE_VLAN || kind == ETHERTYPE_QINQ || kind == ETHERTYPE_OLD_QINQ ||
	       kind == ETHERTYPE_OLDER_QINQ;
}

/* A frame whose IP header, if any, is behind labels or a session that begin at `at`: for tunnel.h to follow. */
static __always_inline int parsed_link(struct packet *p, __u32 at, __u16 kind, __u16 vlan)
{
	__u32 frame_len = p->frame_len;

	if (kind != ETHERTYPE_MPLS && kind != ETHERTYPE_MPLS_MULTICAST && kind != ETHERTYPE_PPPOE_SESSION)
		return COUNTER_NOT_IP;
	__builtin_memset(p, 0, sizeof(*p));
	p->frame_len = frame_len;
	p->limit = NO_LIMIT;
	p->vlan = vlan;
	p->ip_at = at;
	p->content = kind;
	return PARSED_OUTER;
}

/*
 * `tags` and `vlan`: what the kernel already took off the frame (tc keeps the outermost tag beside the data); 0 and 0
 * otherwise. frame_len is the caller's to set.
 */
static __always_inline int parse_ip(struct packet *p, const void *data, const void *data_end, __u32 tags,
				    __u16 vlan)
{
	const __u8 *at = data;
	__u16 kind;

	if ((const void *)(at + 14) > data_end)
		return COUNTER_LINK_TRUNCATED;
	kind = be16_at(at, 12);
	at += 14;
	if (__builtin_expect(is_tag(kind), 0)) {
#pragma clang loop unroll(full)
		for (int i = 0; i < MAX_VLAN_TAGS + 1; i++) {
			if (!is_tag(kind))
				break;
			if (tags == MAX_VLAN_TAGS)
				return COUNTER_TOO_MANY_TAGS;
			if ((const void *)(at + 4) > data_end)
				return COUNTER_LINK_TRUNCATED;
			if (tags == 0)
				vlan = be16_at(at, 0) & 0x0fff;
			tags++;
			kind = be16_at(at, 2);
			at += 4;
		}
	}
	p->vlan = vlan;
	p->ip_at = at - (const __u8 *)data;
	p->limit = NO_LIMIT;
	p->content = 0;
	p->tunnels = 0;
	if (kind == ETHERTYPE_IPV4)
		return parse_ipv4_fixed(p, at, data, data_end, 0);
	if (kind == ETHERTYPE_IPV6)
		return parse_ipv6_fixed(p, at, data, data_end, 0);
	return parsed_link(p, at - (const __u8 *)data, kind, vlan);
}

static __always_inline int is_extension(__u8 next)
{
	switch (next) {
	case 0:   /* hop-by-hop options */
	case 43:  /* routing */
	case 44:  /* fragment */
	case 51:  /* authentication header */
	case 60:  /* destination options */
	case 135: /* mobility */
	case 139: /* host identity protocol */
	case 140: /* shim6 */
		return 1;
	default:
		return 0;
	}
}

/* The type that answers or asks for `type`, or -1 for one-way types (wire::icmp_counterpart). */
static __always_inline int icmp_counterpart(__u8 protocol, __u8 type)
{
	if (protocol == PROTOCOL_ICMP) {
		switch (type) {
		case 8: return 0;
		case 0: return 8;
		case 9: return 10;
		case 10: return 9;
		case 13: case 15: case 17: return type + 1;
		case 14: case 16: case 18: return type - 1;
		default: return -1;
		}
	}
	switch (type) {
	case 128: case 130: case 133: case 135: case 139: case 144: return type + 1;
	case 129: case 131: case 134: case 136: case 140: case 145: return type - 1;
	default: return -1;
	}
}

/*
 * Follows the extension headers from `offset` behind the IPv6 header. On success *offset is the bytes of all IP headers.
 * Not inlined: rare, and one copy keeps the programs small.
 */
static __noinline int parse_extensions(struct packet *p, const __u8 *ip, const void *data, const void *data_end,
				       __u32 *offset)
{
	const int inside = 1;
	__u32 header = 40;
	__u8 next = p->protocol;

	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		const __u8 *e = ip + header;
		__u8 length;

		if (MISSING(e, 8))
			return COUNTER_IP_TRUNCATED;
		length = e[1];
		if (next == 44)
			header += 8;
		else if (next == 51)
			header += (length + 2) * 4;
		else
			header += (length + 1) * 8;
		if (header > p->ip_len)
			return COUNTER_IP_MALFORMED;
		if (next == 44) {
			__u16 field = be16_at(e, 2);

			next = e[0];
			if (field & 0xfff9) {
				p->fragment_id = be32_at(e, 4);
				p->fragment_offset = field & 0xfff8;
			}
			if (field & 0xfff8) {
				p->fragment = FRAGMENT_LATER;
				goto done;
			}
			if (field & 1)
				p->fragment = FRAGMENT_FIRST;
		} else {
			next = e[0];
		}
		if (!is_extension(next))
			goto done;
	}
	return COUNTER_TOO_MANY_EXTENSIONS;
done:
	p->protocol = next;
	*offset = header;
	return 0;
}

/* Where the IP header of a packet outside of tunnels begins at most: 14 + 4 * 4, as a mask for the verifier. */
#define OUTER_REACH 0x3f
/* Where that of a packet inside begins at most; one further behind is left to user space. */
#define INNER_REACH 0x0fff

/* parse_transport() outside and inside of tunnels; see MISSING for `inside`. */
static __always_inline int parse_transport_at(struct packet *p, const void *data, const void *data_end, int inside)
{
	__u32 ip_at = p->ip_at & (inside ? INNER_REACH : OUTER_REACH);
	const __u8 *ip = (const __u8 *)data + ip_at;
	const __u8 *t;
	__u32 header;
	__u32 stated;
	int skip;

	p->fragment = FRAGMENT_NONE;
	p->src_port = 0;
	p->dst_port = 0;
	p->tcp_flags = 0;
	p->tcp_seq = 0;
	p->tcp_window = 0;
	if (!inside)
		p->tunnel = 0;
	p->fragment_id = 0;
	p->fragment_offset = 0;
	p->transport_len = 0;

	if (!p->v6) {
		__u16 field;

		if (MISSING(ip, 20))
			return COUNTER_IP_TRUNCATED;
		header = (ip[0] & 0x0f) * 4;
		if (MISSING(ip, header))
			return COUNTER_IP_TRUNCATED;
		if (p->ip_len == 0)
			p->ip_len = p->frame_len - ip_at;
		else if (p->ip_len < header)
			return COUNTER_IP_MALFORMED;
		field = be16_at(ip, 6);
		if (__builtin_expect(field & 0x3fff, 0)) {
			p->fragment = field & 0x1fff ? FRAGMENT_LATER : FRAGMENT_FIRST;
			p->fragment_id = be16_at(ip, 4);
			p->fragment_offset = (field & 0x1fff) << 3;
		}
		p->ttl = ip[8];
		p->protocol = ip[9];
	} else {
		if (MISSING(ip, 40))
			return COUNTER_IP_TRUNCATED;
		p->protocol = ip[6];
		p->ttl = ip[7];
		if (p->ip_len == 0)
			p->ip_len = p->frame_len - ip_at;
		header = 40;
		if (is_extension(p->protocol)) {
			skip = parse_extensions(p, ip, data, data_end, &header);
			if (skip)
				return skip;
			/* 40 + 8 * 2048 at most, and within ip_len */
			header &= 0x7fff;
		}
	}

	stated = p->ip_len > header ? p->ip_len - header : 0;
	t = ip + header;
	p->payload_at = ip_at + header;
	p->payload_len = stated;
	if (p->fragment == FRAGMENT_LATER)
		return 0;

	if (p->protocol == PROTOCOL_TCP) {
		__u32 tcp_header;

		if (MISSING(t, 20))
			return COUNTER_TRANSPORT_TRUNCATED;
		tcp_header = (t[12] >> 4) * 4;
		if (tcp_header < 20 || tcp_header > stated)
			return COUNTER_TRANSPORT_MALFORMED;
		p->src_port = be16_at(t, 0);
		p->dst_port = be16_at(t, 2);
		p->tcp_seq = be32_at(t, 4);
		p->tcp_flags = t[13];
		p->tcp_window = be16_at(t, 14);
		p->transport_len = tcp_header;
		p->payload_at += tcp_header;
		p->payload_len = stated - tcp_header;
	} else if (p->protocol == PROTOCOL_UDP) {
		__u32 length;

		if (MISSING(t, 8))
			return COUNTER_TRANSPORT_TRUNCATED;
		if (stated < 8)
			return COUNTER_TRANSPORT_MALFORMED;
		length = be16_at(t, 4);
		if (length == 0)
			length = stated;
		else if (length < 8)
			return COUNTER_TRANSPORT_MALFORMED;
		else if (length > stated) {
			if (p->fragment != FRAGMENT_FIRST)
				return COUNTER_TRANSPORT_MALFORMED;
			length = stated;
		}
		p->src_port = be16_at(t, 0);
		p->dst_port = be16_at(t, 2);
		p->transport_len = 8;
		p->payload_at += 8;
		p->payload_len = length - 8;
		if (__builtin_expect(p->dst_port == PORT_VXLAN || p->dst_port == PORT_VXLAN_OLD ||
				     p->dst_port == PORT_GENEVE, 0))
			return p->fragment ? 0 : PARSED_OUTER;
	} else if (p->protocol == PROTOCOL_ICMP || p->protocol == PROTOCOL_ICMPV6) {
		int counterpart;

		if (MISSING(t, 4))
			return COUNTER_TRANSPORT_TRUNCATED;
		if (stated < 4)
			return COUNTER_TRANSPORT_MALFORMED;
		counterpart = icmp_counterpart(p->protocol, t[0]);
		p->src_port = t[0];
		p->dst_port = counterpart < 0 ? t[1] : counterpart;
		p->transport_len = 8;
		p->payload_at += 8;
		p->payload_len = stated > 8 ? stated - 8 : 0;
	} else if (p->protocol == PROTOCOL_SCTP) {
		if (MISSING(t, 12))
			return COUNTER_TRANSPORT_TRUNCATED;
		if (stated < 12)
			return COUNTER_TRANSPORT_MALFORMED;
		p->src_port = be16_at(t, 0);
		p->dst_port = be16_at(t, 2);
		p->transport_len = 12;
		p->payload_at += 12;
		p->payload_len = stated - 12;
	} else if (p->protocol == PROTOCOL_GRE || p->protocol == PROTOCOL_IPV4 || p->protocol == PROTOCOL_IPV6) {
		return p->fragment ? 0 : PARSED_OUTER;
	}
	return 0;
}

/*
 * The second half for nearly all packets, of which it must make the same: TCP or UDP right behind an IP header without
 * options, whole, of a known length, and no tunnel. Returns whether it was one; else *p is as before, but for fields that
 * parse_transport() sets anyway. In XDP it spares them the call of parse_transport_xdp(), some 10 ns.
 */
static __always_inline int parse_plain(struct packet *p, const void *data, const void *data_end)
{
	const __u8 *ip = (const __u8 *)data + (p->ip_at & OUTER_REACH);
	__u32 header = p->v6 ? 40 : 20;
	const __u8 *t = ip + header;
	__u32 stated = p->ip_len - header;
	__u8 protocol;

	if ((const void *)(t + 20) > data_end || p->ip_len < header + 8)
		return 0;
	if (p->v6) {
		p->ttl = ip[7];
		protocol = ip[6];
	} else {
		if (ip[0] != 0x45 || be16_at(ip, 6) & 0x3fff)
			return 0;
		p->ttl = ip[8];
		protocol = ip[9];
	}
	if (protocol == PROTOCOL_TCP) {
		__u32 tcp_header = (t[12] >> 4) * 4;

		if (tcp_header < 20 || tcp_header > stated)
			return 0;
		p->tcp_seq = be32_at(t, 4);
		p->tcp_flags = t[13];
		p->tcp_window = be16_at(t, 14);
		p->transport_len = tcp_header;
		p->payload_at = p->ip_at + header + tcp_header;
		p->payload_len = stated - tcp_header;
	} else if (protocol == PROTOCOL_UDP) {
		__u32 length = be16_at(t, 4);
		__u16 port = be16_at(t, 2);

		if (length < 8 || length > stated || port == PORT_VXLAN || port == PORT_VXLAN_OLD || port == PORT_GENEVE)
			return 0;
		p->tcp_flags = 0;
		p->tcp_seq = 0;
		p->tcp_window = 0;
		p->transport_len = 8;
		p->payload_at = p->ip_at + header + 8;
		p->payload_len = length - 8;
	} else {
		return 0;
	}
	p->protocol = protocol;
	p->src_port = be16_at(t, 0);
	p->dst_port = be16_at(t, 2);
	p->fragment = FRAGMENT_NONE;
	p->tunnel = 0;
	p->fragment_id = 0;
	p->fragment_offset = 0;
	return 1;
}

/* The second half; needs a struct packet on which parse_ip() succeeded with the same data. */
static __always_inline int parse_transport(struct packet *p, const void *data, const void *data_end)
{
	return parse_transport_at(p, data, data_end, 0);
}

/*
 * parse_transport() as global functions, one for each kind of context. The verifier checks them on their own and knows
 * nothing of *p afterwards, so that what comes next is checked once and not once for each way through the parser.
 */
#define PARSE_TRANSPORT(hook, context)                                                                      \
	__noinline int parse_transport_##hook(struct context *ctx, struct packet *p)                        \
	{                                                                                                   \
		if (!p)                                                                                     \
			return COUNTER_NOT_IP;                                                              \
		return parse_transport(p, (const void *)(long)ctx->data, (const void *)(long)ctx->data_end); \
	}

PARSE_TRANSPORT(xdp, xdp_md)
PARSE_TRANSPORT(skb, __sk_buff)

#endif
