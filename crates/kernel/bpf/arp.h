/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * ARP (RFC 826), which has no flow: whole frames go to user space, which reads who claims which address. Both directions,
 * because an answer is only suspicious if nobody asked.
 */
#ifndef AUTOINMUNE_ARP_H
#define AUTOINMUNE_ARP_H

#include "maps.h"
#include "source.h"

static __noinline int arp_event_fill(struct arp_event *e, __u32 ifindex, __u64 now)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->head.kind = EVENT_ARP;
	e->head.ifindex = ifindex;
	e->head.time_ns = now;
	return 0;
}

/*
 * A frame without IP: sent up if it is ARP, which user space sees nowhere else. `tag` is the one the kernel has taken off
 * (0: none, and VLAN 0 is none).
 */
static __always_inline int tell_arp(void *ctx, int xdp, __u32 frame_len, __u32 ifindex, __u16 tag,
				    struct counters *c)
{
	__u32 zero = 0;
	__u8 kinds[10] = {};
	__u32 length = ARP_FRAME_MAX - 4;
	__u32 at = 0;
	struct cpu_state *b;
	struct arp_event *e;
	__u64 now;

	if (frame_len < 42)
		return 0;
	if (xdp ? bpf_xdp_load_bytes(ctx, 12, kinds, sizeof(kinds)) :
			       bpf_skb_load_bytes(ctx, 12, kinds, sizeof(kinds)))
		return 0;
	if ((kinds[0] == 0x81 && kinds[1] == 0) || (kinds[0] == 0x88 && kinds[1] == 0xa8)) {
		at = 4;
		if (kinds[4] == 0x81 && kinds[5] == 0)
			at = 8;
	}
	if (kinds[at] != 0x08 || kinds[at + 1] != 0x06)
		return 0;
	b = bpf_map_lookup_elem(&cpu, &zero);
	if (!b)
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (second_over(b->arp_second_ns, now)) {
		b->arp_second_ns = now;
		b->arps_sent = 0;
	}
	e = b->arps_sent < ARP_PER_SECOND ? bpf_ringbuf_reserve(&events, sizeof(*e), 0) : NULL;
	if (!e) {
		c->v[COUNTER_ARP_LOST]++;
		return 0;
	}
	b->arps_sent++;
	arp_event_fill(e, ifindex, now);
	if (length > frame_len)
		length = frame_len;
	length -= 12;
	asm volatile("" : "+r"(length));
	if (length == 0 || length > ARP_FRAME_MAX - 16) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	e->captured = length + (tag ? 16 : 12);
	if (xdp) {
		bpf_xdp_load_bytes(ctx, 0, e->frame, 12);
		bpf_xdp_load_bytes(ctx, 12, e->frame + 12, length);
	} else {
		bpf_skb_load_bytes(ctx, 0, e->frame, 12);
		if (tag) {
			e->frame[12] = 0x81;
			e->frame[14] = tag >> 8;
			e->frame[15] = tag & 0xff;
			bpf_skb_load_bytes(ctx, 12, e->frame + 16, length);
		} else {
			bpf_skb_load_bytes(ctx, 12, e->frame + 12, length);
		}
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

__noinline int tell_arp_xdp(struct xdp_md *ctx, __u32 frame_len, __u32 ifindex)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&counters, &zero);

	return c ? tell_arp(ctx, 1, frame_len, ifindex, 0, c) : 0;
}

__noinline int tell_arp_skb(struct __sk_buff *ctx, __u32 frame_len, __u32 ifindex, __u16 tag)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&counters, &zero);

	return c ? tell_arp(ctx, 0, frame_len, ifindex, tag, c) : 0;
}

#endif
