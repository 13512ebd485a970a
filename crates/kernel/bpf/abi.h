/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The ABI between the kernel programs and user space: the one definition of every map key, map value, event and
 * counter. crates/kernel/src/abi.rs mirrors it with size and offset assertions, and a test compares both with the
 * BTF of the compiled object. Naturally aligned, no implicit padding, host byte order unless said otherwise;
 * addresses are 16 bytes in network order, IPv4 as IPv4-mapped IPv6. Times are CLOCK_BOOTTIME ns.
 */
#ifndef AUTOINMUNE_ABI_H
#define AUTOINMUNE_ABI_H

#include <linux/types.h>

struct addr {
	__u8 b[16];
};

/* ---- flows ------------------------------------------------------------------------------------------------- */

/* Identity of a flow; endpoints in canonical order (see flow::FlowKey). Key of the map `flows`. */
struct flow_key {
	struct addr lo;
	struct addr hi;
	__u16 lo_port;
	__u16 hi_port;
	__u16 vlan;
	__u8 protocol;
	__u8 pad;
	__u32 tunnel;
};

/* Values of flow_stats.state, those of flow::TcpState. */
enum tcp_state {
	TCP_STATE_NONE = 0,
	TCP_STATE_SYN_SENT = 1,
	TCP_STATE_SYN_RECEIVED = 2,
	TCP_STATE_ESTABLISHED = 3,
	TCP_STATE_CLOSING = 4,
	TCP_STATE_CLOSED = 5,
	TCP_STATE_RESET = 6,
	TCP_STATE_MIDSTREAM = 7,
};

/* Sums over one direction of a flow (see flow::Accumulator for units and meaning). */
struct dir_stats {
	__u64 packets;
	__u64 bytes;
	__u64 payload_bytes;
	__u64 payload_squares;
	__u64 header_bytes;
	__u64 gap_sum_us;
	__u64 gap_squares;
	__u64 first_ns;
	__u64 last_ns;
	__u32 gap_min_us;
	__u32 gap_max_us;
	__u32 flags[8];
	__u32 data_packets;
	__u32 fragments;
	__u32 first_seq;
	__u32 next_seq;
	__u32 retransmitted;
	__u32 lost;
	__u16 first_window;
	__u16 payload_min;
	__u16 payload_max;
	__u8 ttl_min;
	__u8 ttl_max;
	__u8 head[8];
	__u8 transport_min;
	/* Kernel only, and so is what follows. */
	__u8 pending_syns; /* of flow_stats.pending_packets, SYNs without ACK */
	__u8 odd;          /* what user space was told of this direction's fragments: bits of odd_event.found */
	__u8 pad;
	__u32 cpu; /* that counted this direction's last packet, plus one; 0 before the first */
};

/* Sums over periods of one kind (see flow::stats::Periods). */
struct periods {
	__u64 sum_us;
	__u64 squares;
	__u32 count;
	__u32 min_us;
	__u32 max_us;
	__u32 pad;
};

/* One flow (see flow::FlowStats). Value of the map `flows`. */
struct flow_stats {
	struct dir_stats dir[2];
	__u64 syn_ns;
	__u64 synack_ns;
	__u64 established_ns;
	__u64 gap_sum_us;
	__u64 gap_squares;
	__u64 active_start_ns;
	__u32 gap_min_us;
	__u32 gap_max_us;
	struct periods active;
	struct periods idle;
	__u8 initiator; /* index of the initiator's dir */
	__u8 state;     /* enum tcp_state */
	__u8 first_flags;
	__u8 fin_mask;
	__u8 rst_mask;
	/* Kernel only: packets and IP bytes by direction that the source's window has yet to learn of (see source.h). */
	__u8 pending_packets[2];
	__u8 long_head; /* what the flow speaks, if in messages (SPEAKS_* of head.h) */
	__u32 pending_bytes[2];
};

/* ---- sources ----------------------------------------------------------------------------------------------- */

/*
 * What one address did as the initiator of flows, in one second. Value of the map `sources`, keyed by struct addr.
 * A window opens with the first packet after the previous one ran out. "Reply" is what came back to the initiator.
 * Packets are added at once, or gathered in their flow and added in batches (see source.h).
 */
#define SOURCE_BATCH 32
#define SOURCE_SMALL_BATCH 8

struct source_stats {
	__u64 start_ns;
	__u64 bytes;       /* IP bytes sent */
	__u64 reply_bytes; /* IP bytes back */
	__u32 packets;
	__u32 tcp_packets;
	__u32 udp_packets;
	__u32 icmp_packets; /* ICMP and ICMPv6, without errors */
	__u32 syn_packets;  /* SYN without ACK */
	__u32 handshakes;   /* flows that became established */
	__u32 flows;        /* flows begun */
	__u32 reply_packets;
	__u32 udp_reply_packets;
	__u32 reply_resets;  /* RST from the other side: refused or aborted connections */
	__u32 crossed;       /* bits of enum crossing already reported in this window */
	__u32 starts_sent;   /* flow-start events sent for this source in this window */
	__u32 ends_sent;     /* flow-end events, likewise */
	__u32 heads_sent;    /* records of flow heads, likewise */
	__u32 odds_sent;     /* odd_events, likewise; of the address as a sender, whoever began the flow */
	__u32 pad;
};

/* Which threshold a source crossed; bits of source_stats.crossed and source_event.crossed. */
enum crossing {
	CROSSING_SYN_PENDING = 1, /* syn_packets - handshakes >= source_syn_pending */
	CROSSING_UDP = 2,         /* udp_packets >= source_udp */
	CROSSING_ICMP = 4,        /* icmp_packets >= source_icmp */
	CROSSING_FLOWS = 8,       /* flows >= source_flows */
};

/* ---- blocks and allowlist ---------------------------------------------------------------------------------- */

/* Keys of the LPM tries allow_v4, block_v4 and allow_v6, block_v6; the address in network order. */
struct prefix_v4 {
	__u32 prefix_len;
	__u8 addr[4];
};

struct prefix_v6 {
	__u32 prefix_len;
	__u8 addr[16];
};

/* Value of block_v4 and block_v6. The program only adds to packets and bytes (frame bytes). */
struct block {
	__u64 expires_ns; /* the block is in force while now < expires_ns */
	__u64 packets;
	__u64 bytes;
	__u32 reason;     /* user space's id for the reason or the offence; carried, not read */
	__u16 prefix_len; /* the key's prefix_len again: lets the program look behind an expired block for a shorter one */
	__u8 not_allowed; /* 1: user space sees to it that no prefix in allow_* overlaps this one; 0: look there */
	__u8 pad;
};

/* Value of allow_v4 and allow_v6. */
struct allow {
	__u32 why; /* user space's id for the reason; carried, not read */
};

/* ---- limits (see limit.h) ------------------------------------------------------------------------------------ */

/* Which limit; index into limits.interval_ns. */
enum limit {
	LIMIT_SOURCE_SYN = 0,  /* SYN without ACK, by source */
	LIMIT_SOURCE_UDP = 1,  /* UDP of flows not answered, by source */
	LIMIT_SOURCE_ICMP = 2, /* ICMP and ICMPv6 echo requests, by source */
	LIMIT_SERVICE_SYN = 3, /* SYN without ACK to one service, of sources not known good */
	LIMITS = 4,
};

/* The one value of the array `limits`. */
struct limits {
	__u64 interval_ns[LIMITS]; /* one second divided by the packets per second; 0: no limit */
	__u64 known_ns;            /* how long a source stays known good */
	__u32 block_tiny;          /* 1: fragments that flow::fragment calls tiny are dropped */
	__u32 block_overlapping;   /* 1: those that overlap */
};

/* One bucket with its excess. Value of limit_sources, keyed by struct addr, and of limit_services. */
struct limit_state {
	__u64 tat_ns[3]; /* by enum limit; of a service: its bucket, and when it last answered a SYN itself */
	__u64 since_ns;  /* when the excess began; 0: there was none */
	__u64 last_ns;   /* its last packet over the limit */
	__u64 told_ns;   /* when it was last told of */
	__u32 kinds;     /* the limits that were exceeded in it, bit 1 << enum limit */
	__u32 pad;
	__u64 packets;   /* dropped in it (in shadow mode: that would have been, likewise below) */
	__u64 bytes;     /* of their frames */
};

/* Key of limit_services. */
struct service_key {
	struct addr addr;
	__u16 port;
	__u8 protocol;
	__u8 pad;
};

/* ---- fragments (see fragment.h) ------------------------------------------------------------------------------- */

/* Key of the map `fragments`. */
struct fragment_key {
	struct addr src;
	struct addr dst;
	__u32 id;
	__u32 tunnel;
	__u16 vlan;
	__u8 protocol;
	__u8 pad;
};

/* One datagram; names and rules are those of flow::fragment. */
struct fragment_state {
	__u64 made_ns;
	__u32 low;
	__u32 high;
	__u32 last_at;
	__u32 last_end;
	__u32 first_end;
	__u16 src_port;
	__u16 dst_port;
	__u32 dropped; /* 1: a fragment was dropped, and so is the rest */
	__u32 pad;
};

/* ---- counters ---------------------------------------------------------------------------------------------- */

/*
 * Index into struct counters. "Frame" is everything a program saw, parsed or not; bytes of frames are whole-frame
 * bytes. Names in user space are these in lower case without the prefix, in this order.
 */
enum counter {
	COUNTER_PACKETS = 0,               /* frames received */
	COUNTER_BYTES = 1,                 /* their bytes */
	COUNTER_EGRESS_PACKETS = 2,        /* frames sent */
	COUNTER_EGRESS_BYTES = 3,          /* their bytes */
	COUNTER_DROPPED_PACKETS = 4,       /* frames dropped by a block */
	COUNTER_DROPPED_BYTES = 5,         /* their bytes */
	COUNTER_WOULD_DROP_PACKETS = 6,    /* frames a block covered while enforce was off */
	COUNTER_WOULD_DROP_BYTES = 7,      /* their bytes */
	COUNTER_ALLOWED_PACKETS = 8,       /* frames a block covered and the allowlist saved */
	COUNTER_EXPIRED_BLOCK_PACKETS = 9, /* frames a block covered after its expiry */
	/* wire::Skip, in its order */
	COUNTER_LINK_TRUNCATED = 10,
	COUNTER_TOO_MANY_TAGS = 11,
	COUNTER_NOT_IP = 12,
	COUNTER_IP_TRUNCATED = 13,
	COUNTER_IP_MALFORMED = 14,
	COUNTER_TOO_MANY_EXTENSIONS = 15,
	COUNTER_TRANSPORT_TRUNCATED = 16,
	COUNTER_TRANSPORT_MALFORMED = 17,
	COUNTER_FRAGMENTS = 18,                  /* accounted packets that were fragments */
	COUNTER_FLOWS_STARTED = 19,              /* flows created, reused keys included */
	COUNTER_FLOWS_REUSED = 20,               /* of those, keys whose earlier flow had ended or gone idle */
	COUNTER_FLOW_INSERT_FAILED = 21,         /* packets not accounted: no entry in the map `flows` to be had */
	COUNTER_SOURCE_INSERT_FAILED = 22,       /* packets not counted per source, same reason */
	COUNTER_INTERFACE_UNCOUNTED = 23,        /* frames of an interface whose index is beyond the map `interfaces` */
	COUNTER_FLOW_START_SUPPRESSED_SOURCE = 24, /* flow-start events over the per-source budget */
	COUNTER_FLOW_START_SUPPRESSED_CPU = 25,  /* flow-start events over the per-CPU budget */
	COUNTER_FLOW_START_LOST = 26,            /* flow-start events: ring buffer full */
	COUNTER_FLOW_END_LOST = 27,              /* flow-end events: ring buffer full */
	COUNTER_SOURCE_OVER_LOST = 28,           /* source events: ring buffer full (retried with the next packet) */
	COUNTER_FLOW_CPU_MIGRATIONS = 29,        /* times a direction's packet was counted on another CPU than its last */
	COUNTER_FLOW_END_SUPPRESSED_SOURCE = 30, /* flow-end events over the per-source budget */
	COUNTER_FLOW_END_SUPPRESSED_CPU = 31,    /* flow-end events over the per-CPU budget */
	COUNTER_TUNNEL_PACKETS = 32,             /* packets that came out of a tunnel (see wire::tunnel) */
	COUNTER_TUNNEL_OPAQUE = 33,              /* packets whose tunnel cannot be opened: the packet around it counts */
	COUNTER_TUNNEL_USER_ONLY = 34,           /* likewise, but only here: headers outside the linear part */
	COUNTER_HEADS_SENT = 35, /* records of flow heads sent */
	COUNTER_HEAD_BYTES = 36, /* payload bytes in them */
	COUNTER_HEAD_SUPPRESSED_SOURCE = 37, /* records over the per-source budget */
	COUNTER_HEAD_SUPPRESSED_CPU = 38, /* records over the per-CPU budget */
	COUNTER_HEAD_LOST = 39, /* records: ring buffer full */
	COUNTER_LIMITED_SOURCE_SYN = 40, /* frames over each limit (enum limit) that were dropped */
	COUNTER_LIMITED_SOURCE_UDP = 41, /* likewise */
	COUNTER_LIMITED_SOURCE_ICMP = 42, /* likewise */
	COUNTER_LIMITED_SERVICE_SYN = 43, /* likewise */
	COUNTER_LIMITED_WOULD_DROP = 44, /* frames over a limit while enforce was off */
	COUNTER_LIMITED_ALLOWED = 45, /* frames over a limit that the allowlist saved */
	COUNTER_LIMITED_LOST = 46, /* limit events: ring buffer full (retried with the next packet) */
	COUNTER_FRAGMENTS_TINY = 47, /* fragments that flow::fragment calls tiny */
	COUNTER_FRAGMENTS_OVERLAPPING = 48, /* those that overlap */
	COUNTER_FRAGMENTS_ORPHANED = 49, /* later ones whose first was not seen */
	COUNTER_FRAGMENTS_DROPPED = 50, /* dropped: tiny, overlapping, or the rest of a datagram that lost one */
	COUNTER_ARP_LOST = 51, /* ARP packets over ARP_PER_SECOND, or ring buffer full */
	COUNTER_COOKIES_SENT = 52,    /* SYNs over a service's limit answered with a SYN cookie */
	COUNTER_COOKIES_VALID = 53,   /* acknowledgements of no known flow with a valid one */
	COUNTER_COOKIES_INVALID = 54, /* without one, to a service that was over its limit lately */
	COUNTER_ODD_LOST = 55,        /* odd fragments not told of: over ODD_PER_SOURCE or ODD_PER_CPU, or ring buffer full */
	COUNTERS = 56,
};

/* The one value of the per-CPU array `counters`. */
struct counters {
	__u64 v[COUNTERS];
};

/* Value of the per-CPU array `interfaces`, indexed by ifindex. Whole frames. */
struct interface_stats {
	__u64 packets;
	__u64 bytes;
	__u64 dropped_packets;
	__u64 dropped_bytes;
	__u64 egress_packets;
	__u64 egress_bytes;
};

/* The one value of the per-CPU array `cpu`: what a CPU notes for itself. */
struct cpu_state {
	__u64 second_ns; /* when the second of the next two began */
	__u32 starts_sent;
	__u32 ends_sent;
	__u64 tick;    /* jiffies when tick_ns was read */
	__u64 tick_ns; /* CLOCK_BOOTTIME then */
	__u64 suspended_ns; /* CLOCK_BOOTTIME - CLOCK_MONOTONIC then */
	__u64 head_second_ns; /* when the second of head_bytes began */
	__u64 head_bytes;     /* payload bytes of heads sent in it */
	__u64 arp_second_ns;  /* when the second of arps_sent began */
	__u64 arps_sent;
	__u64 odd_second_ns;  /* when the second of odds_sent began */
	__u64 odds_sent;
};

/* ---- events (ring buffer `events`) ------------------------------------------------------------------------- */

enum event_kind {
	EVENT_FLOW_START = 1,  /* struct flow_event, stats of the first packet */
	EVENT_FLOW_END = 2,    /* struct flow_event, when a known flow first turns CLOSED or RESET */
	EVENT_SOURCE_OVER = 3, /* struct source_event */
	EVENT_LIMITED = 4,     /* struct limited_event, when an excess begins and each second while it lasts */
	EVENT_HEAD = 5,        /* struct head_event, in the ring `heads` */
	EVENT_ARP = 6,         /* struct arp_event */
	EVENT_ODD = 7,         /* struct odd_event */
};

/* First field of every event. */
struct event_head {
	__u32 kind; /* enum event_kind */
	__u32 ifindex;
	__u64 time_ns;
};

struct flow_event {
	struct event_head head;
	struct flow_key key;
	__u32 pad;
	struct flow_stats stats;
};

struct source_event {
	struct event_head head;
	struct addr addr;
	struct source_stats counts;
	__u32 crossed; /* the bits of enum crossing that this event reports */
	__u32 pad;
};

/* What is dropped over a limit. Counts are those of the excess so far. */
struct limited_event {
	struct event_head head;
	struct addr addr; /* the source, IPv6 as its /64; of LIMIT_SERVICE_SYN the service */
	__u64 since_ns;   /* when the excess began */
	__u64 packets;
	__u64 bytes;
	__u32 limit;   /* enum limit */
	__u16 port;    /* of the service, else 0 */
	__u8 protocol;
	__u8 enforced; /* 0: shadow mode, all passed */
};

/* Most bytes of a frame in an arp_event: link header, two tags, ARP for IPv4 over Ethernet. */
#define ARP_FRAME_MAX 60
/* Most of them sent per CPU and second: those of a busy network, several times over. */
#define ARP_PER_SECOND 1000

/* A frame with ARP, which no other event tells of; a tag that the kernel had taken off is put back. */
struct arp_event {
	struct event_head head;
	__u32 captured;
	__u8 frame[ARP_FRAME_MAX];
};

/* Most odd_events of one sender, and of one CPU, per second: the rules want a few flows of a sender in a minute. */
#define ODD_PER_SOURCE 32
#define ODD_PER_CPU 1000

/*
 * A fragment that is odd by flow::fragment, dropped ones included: tiny, or overlapping. Once a flow, direction and kind,
 * as long as the flow is in the map; the flow of a dropped fragment may never be in it.
 */
struct odd_event {
	struct event_head head;
	struct flow_key key;
	__u8 found;     /* FRAGMENT_TINY, FRAGMENT_OVERLAP */
	__u8 direction; /* of the fragment: 0 from lo to hi, 1 back */
	__u8 initiator; /* direction of the flow's initiator */
	__u8 pad;
};

/* What a fragment's place tells (flow::fragment::Finding); orphans are counted and not told of, since loss makes them. */
#define FRAGMENT_TINY 1
#define FRAGMENT_OVERLAP 2
#define FRAGMENT_ORPHAN 4

/* Most payload bytes in one head_event. */
#define HEAD_PACKET_MAX 2048

/* The start of one packet's payload; `captured` bytes of it follow, and whatever fills the record. */
struct head_event {
	struct event_head head;
	struct flow_key key;
	__u32 payload_len; /* as the headers state it */
	__u32 seq;         /* TCP, else 0; likewise the next two */
	__u32 ack;
	__u32 start;       /* if `begins`: the sequence number of the direction's first byte of payload */
	__u16 captured;
	__u8 flags;        /* TCP control bits */
	__u8 direction;    /* 0 from lo to hi, 1 back */
	__u8 initiator;    /* direction of the flow's initiator */
	__u8 begins;       /* 1: the direction's SYN was seen */
	__u8 pad[6];
};

/* ---- maps and tunables, by name ------------------------------------------------------------------------------ */

/*
 * flows       LRU hash        flow_key -> flow_stats          size set by the loader
 * sources     LRU hash        addr -> source_stats            size set by the loader
 * interfaces  per-CPU array   ifindex -> interface_stats      size set by the loader: highest ifindex + 1
 * counters    per-CPU array   0 -> counters
 * cpu         per-CPU array   0 -> cpu_state                  kernel only
 * allow_v4, allow_v6          LPM tries -> allow
 * block_v4, block_v6          LPM tries -> block
 * events      ring buffer
 * heads       ring buffer
 * limits      array           0 -> limits
 * limit_sources, limit_services  LRU hashes  addr, service_key -> limit_state
 * known       LRU hash        addr -> ns
 * fragments   LRU hash        fragment_key -> fragment_state  kernel only
 *
 * Programs: sensor_xdp (ingress, XDP), sensor_tc_ingress (where XDP cannot attach), sensor_tc_egress.
 * Tunables (const volatile, set before load) are documented where they are defined, in tunables.h.
 */

#endif
