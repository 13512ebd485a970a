/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * SYN cookies (RFC 4987 §3.6): SYNs over the limit of their service are answered here instead of dropped, with the cookie
 * that the host's own TCP would have sent, so that whoever is really there can still connect. What is kept of a SYN is nothing.
 *
 * The acknowledgement goes to the host's TCP, which checks the cookie itself and opens the connection. It does so only if
 * net.ipv4.tcp_syncookies is 2 and it has sent a cookie for that listener within the last two minutes. Hence only SYNs over
 * a limit are answered here, while those within it go on to the listener; and only if the egress program has seen the
 * listener answer some lately, which it does not where there is no route to a forged source. The cookie has room for a maximum segment size
 * only: such connections have no window scaling and no selective acknowledgements (timestamps, in which the host's TCP
 * would keep those, need a secret of its own).
 *
 * XDP only, and outside tunnels; what cannot be answered is dropped. Helpers of Linux 6.0: user space sets `syn_cookies`
 * only there, and older verifiers never see the calls.
 */
#ifndef AUTOINMUNE_COOKIE_H
#define AUTOINMUNE_COOKIE_H

#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "limit.h"
#include "maps.h"
#include "parse.h"
#include "tunables.h"

/* How long after its last answer a service's acknowledgements may carry cookies of ours. */
#define COOKIE_LIFE_NS 120000000000ULL
/* What an unscaled first window of Linux is with segments of 1460 bytes. */
#define COOKIE_WINDOW 64240
#define COOKIE_TTL 64
/* TCP header with one option, the maximum segment size. */
#define COOKIE_TCP_LEN 24

/* A TCP header with the longest options, as the helpers read it. */
struct tcp_room {
	struct tcphdr head;
	__u8 options[40];
};

/* What is sent back from the TCP header on. */
struct cookie_tcp {
	struct tcphdr head;
	__be32 mss;
};

struct ethernet_addrs {
	__u8 to[6];
	__u8 from[6];
};

/* Whether the SYN stands where its answer can be put in its place: no tunnel, no fragment, no IP options. */
static __always_inline int cookie_able(const struct packet *p)
{
	__u32 ip_len = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	return !p->tunnel && !p->tunnels && !p->fragment && p->payload_at == p->ip_at + ip_len + p->transport_len;
}

static __always_inline __u16 checksum_fold(__s64 sum)
{
	__u64 s = sum;

	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/* Makes the answer's TCP header of the SYN's. `sum` is that of the addresses of the pseudo-header. */
static __always_inline void cookie_tcp_fill(struct cookie_tcp *t, const struct tcphdr *syn, __u64 cookie, __s64 sum)
{
	__builtin_memset(t, 0, sizeof(*t));
	t->head.source = syn->dest;
	t->head.dest = syn->source;
	t->head.seq = bpf_htonl((__u32)cookie);
	t->head.ack_seq = bpf_htonl(bpf_ntohl(syn->seq) + 1);
	t->head.doff = COOKIE_TCP_LEN / 4;
	t->head.syn = 1;
	t->head.ack = 1;
	t->head.window = bpf_htons(COOKIE_WINDOW);
	t->mss = bpf_htonl(2 << 24 | 4 << 16 | (__u16)(cookie >> 32));
	sum += bpf_htons(PROTOCOL_TCP) + bpf_htons(COOKIE_TCP_LEN);
	t->head.check = checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)t, sizeof(*t), (__u32)checksum_fold(sum) ^ 0xffff));
}

/* Shortens or lengthens the frame to `length` and turns it round. Whether it could. */
static __always_inline int cookie_frame(struct xdp_md *ctx, __u32 length)
{
	struct ethernet_addrs came, goes;

	if (bpf_xdp_adjust_tail(ctx, (int)(length - (__u32)bpf_xdp_get_buff_len(ctx))) ||
	    bpf_xdp_load_bytes(ctx, 0, &came, sizeof(came)))
		return 0;
	__builtin_memcpy(goes.to, came.from, 6);
	__builtin_memcpy(goes.from, came.to, 6);
	return !bpf_xdp_store_bytes(ctx, 0, &goes, sizeof(goes));
}

static __always_inline int cookie_answer_v4(struct xdp_md *ctx, __u32 ip_at, const struct tcp_room *syn, __u32 syn_len)
{
	struct iphdr ip;
	struct cookie_tcp tcp;
	__s64 cookie;
	__be32 from;

	if (bpf_xdp_load_bytes(ctx, ip_at, &ip, sizeof(ip)))
		return 0;
	cookie = bpf_tcp_raw_gen_syncookie_ipv4(&ip, (struct tcphdr *)&syn->head, syn_len);
	if (cookie < 0)
		return 0;
	from = ip.saddr;
	__builtin_memset(&ip, 0, 12);
	ip.version = 4;
	ip.ihl = sizeof(ip) / 4;
	ip.tot_len = bpf_htons(sizeof(ip) + COOKIE_TCP_LEN);
	ip.frag_off = bpf_htons(0x4000);
	ip.ttl = COOKIE_TTL;
	ip.protocol = PROTOCOL_TCP;
	ip.saddr = ip.daddr;
	ip.daddr = from;
	ip.check = checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
	cookie_tcp_fill(&tcp, &syn->head, cookie, bpf_csum_diff(NULL, 0, &ip.saddr, 8, 0));
	return cookie_frame(ctx, ip_at + sizeof(ip) + COOKIE_TCP_LEN) &&
	       !bpf_xdp_store_bytes(ctx, ip_at, &ip, sizeof(ip)) &&
	       !bpf_xdp_store_bytes(ctx, ip_at + sizeof(ip), &tcp, sizeof(tcp));
}

static __always_inline int cookie_answer_v6(struct xdp_md *ctx, __u32 ip_at, const struct tcp_room *syn, __u32 syn_len)
{
	struct ipv6hdr ip;
	struct cookie_tcp tcp;
	struct in6_addr from;
	__s64 cookie;

	if (bpf_xdp_load_bytes(ctx, ip_at, &ip, sizeof(ip)))
		return 0;
	cookie = bpf_tcp_raw_gen_syncookie_ipv6(&ip, (struct tcphdr *)&syn->head, syn_len);
	if (cookie < 0)
		return 0;
	from = ip.saddr;
	__builtin_memset(&ip, 0, 8);
	ip.version = 6;
	ip.payload_len = bpf_htons(COOKIE_TCP_LEN);
	ip.nexthdr = PROTOCOL_TCP;
	ip.hop_limit = COOKIE_TTL;
	ip.saddr = ip.daddr;
	ip.daddr = from;
	cookie_tcp_fill(&tcp, &syn->head, cookie, bpf_csum_diff(NULL, 0, (__be32 *)&ip.saddr, 32, 0));
	return cookie_frame(ctx, ip_at + sizeof(ip) + COOKIE_TCP_LEN) &&
	       !bpf_xdp_store_bytes(ctx, ip_at, &ip, sizeof(ip)) &&
	       !bpf_xdp_store_bytes(ctx, ip_at + sizeof(ip), &tcp, sizeof(tcp));
}

/* Puts the answer in the place of the SYN `p`. Whether it could; if not, the frame is not to be passed. */
__noinline int cookie_answer(struct xdp_md *ctx, const struct packet *p)
{
	struct tcp_room syn = {};
	__u32 length;
	__u32 ip_at;

	if (!p || !syn_cookies)
		return 0;
	ip_at = p->ip_at & OUTER_REACH;
	length = p->transport_len;
	asm volatile("" : "+r"(length));
	if (length < sizeof(struct tcphdr) || length > sizeof(syn))
		return 0;
	if (bpf_xdp_load_bytes(ctx, ip_at + (p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)), &syn, length))
		return 0;
	return p->v6 ? cookie_answer_v6(ctx, ip_at, &syn, length) : cookie_answer_v4(ctx, ip_at, &syn, length);
}

/* Notes that a service over or under its limit, the sender of `p`, has answered a SYN itself. */
__noinline int cookie_note_answer(const struct packet *p, __u64 now)
{
	struct service_key key __attribute__((aligned(8)));
	struct limit_state *service;

	if (!p || !syn_cookies)
		return 0;
	__builtin_memcpy(&key.addr, &p->src, 16);
	key.port = p->src_port;
	key.protocol = p->protocol;
	key.pad = 0;
	service = bpf_map_lookup_elem(&limit_services, &key);
	if (service)
		service->tat_ns[SERVICE_ANSWERED] = now;
	return 0;
}

/*
 * An acknowledgement of no known flow: if its service was over its limit lately, whether it carries a valid cookie is
 * counted, and who sent one is known good: no forged address has seen the cookie. The host's TCP decides all the same.
 */
__noinline int cookie_ack(struct xdp_md *ctx, const struct packet *p, __u64 now, struct counters *c)
{
	struct service_key key __attribute__((aligned(8)));
	struct limit_state *service;
	struct tcphdr tcp;
	__u32 ip_at;
	int valid;

	if (!p || !c || !syn_cookies || !cookie_able(p))
		return 0;
	service_key_of(&key, p);
	service = bpf_map_lookup_elem(&limit_services, &key);
	if (!service || !service->since_ns || now - service->last_ns > COOKIE_LIFE_NS)
		return 0;
	ip_at = p->ip_at & OUTER_REACH;
	if (!p->v6) {
		struct iphdr ip;

		if (bpf_xdp_load_bytes(ctx, ip_at, &ip, sizeof(ip)) ||
		    bpf_xdp_load_bytes(ctx, ip_at + sizeof(ip), &tcp, sizeof(tcp)))
			return 0;
		valid = !bpf_tcp_raw_check_syncookie_ipv4(&ip, &tcp);
	} else {
		struct ipv6hdr ip;

		if (bpf_xdp_load_bytes(ctx, ip_at, &ip, sizeof(ip)) ||
		    bpf_xdp_load_bytes(ctx, ip_at + sizeof(ip), &tcp, sizeof(tcp)))
			return 0;
		valid = !bpf_tcp_raw_check_syncookie_ipv6(&ip, &tcp);
	}
	c->v[valid ? COUNTER_COOKIES_VALID : COUNTER_COOKIES_INVALID]++;
	if (valid) {
		struct addr who __attribute__((aligned(8)));

		limit_addr(&who, p);
		bpf_map_update_elem(&known, &who, &now, BPF_ANY);
	}
	return 0;
}

#endif
