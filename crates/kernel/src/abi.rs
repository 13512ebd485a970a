//! Mirrors of `bpf/abi.h`: map keys and values, events, counters, and the names of maps, programs and tunables.
//!
//! Sizes and offsets are asserted at compile time, and `tests/abi.rs` compares every field with the BTF of the compiled
//! object. Times in these types are `CLOCK_BOOTTIME` ns; the conversions to `flow` types take the offset to the
//! wall clock.

mod counter;
mod head;
mod limit;
mod odd;

pub use counter::{Counter, Counters};
pub use head::{HEAD_PACKET_MAX, Head, HeadEvent};
pub use limit::{Limit, LimitState, LimitedEvent, Limits, ServiceKey};
pub use odd::{ODD_OVERLAP, ODD_TINY, OddEvent};

use std::mem::{offset_of, size_of};
use wire::Addr;

/// Names of the maps.
pub mod map {
    /// LRU hash, [`super::FlowKey`] → [`super::FlowStats`]. Full: the least recently used flow goes.
    pub const FLOWS: &str = "flows";
    /// LRU hash, `[u8; 16]` address → [`super::SourceStats`]. Full: the least recently used source goes.
    pub const SOURCES: &str = "sources";
    /// Per-CPU array, interface index → [`super::InterfaceStats`]. The loader sets its size to the highest index + 1;
    /// frames of interfaces beyond count in [`super::Counter::InterfaceUncounted`].
    pub const INTERFACES: &str = "interfaces";
    /// Per-CPU array of one [`super::Counters`].
    pub const COUNTERS: &str = "counters";
    /// Per-CPU array of one `struct cpu_state`, kernel only.
    pub const CPU: &str = "cpu";
    /// LPM trie, `[u8; 4]` → [`super::Allow`].
    pub const ALLOW_V4: &str = "allow_v4";
    /// LPM trie, `[u8; 16]` → [`super::Allow`].
    pub const ALLOW_V6: &str = "allow_v6";
    /// LPM trie, `[u8; 4]` → [`super::Block`].
    pub const BLOCK_V4: &str = "block_v4";
    /// LPM trie, `[u8; 16]` → [`super::Block`].
    pub const BLOCK_V6: &str = "block_v6";
    /// Ring buffer of events, see [`super::Event`].
    pub const EVENTS: &str = "events";
    /// Ring buffer of flow heads, see [`super::Head`].
    pub const HEADS: &str = "heads";
    /// Array of one [`super::Limits`].
    pub const LIMITS: &str = "limits";
    /// LRU hash, `[u8; 16]` address (IPv6: its /64) → [`super::LimitState`].
    pub const LIMIT_SOURCES: &str = "limit_sources";
    /// LRU hash, [`super::ServiceKey`] → [`super::LimitState`].
    pub const LIMIT_SERVICES: &str = "limit_services";
    /// LRU hash, `[u8; 16]` address (IPv6: its /64) → `u64` ns: sources known good.
    pub const KNOWN: &str = "known";
    /// LRU hash of datagrams in fragments, kernel only.
    pub const FRAGMENTS: &str = "fragments";
}

/// Names of the programs.
pub mod program {
    /// Ingress by XDP (`xdp.frags`).
    pub const XDP: &str = "sensor_xdp";
    /// Ingress by tc, where XDP cannot attach.
    pub const TC_INGRESS: &str = "sensor_tc_ingress";
    /// Egress by tc.
    pub const TC_EGRESS: &str = "sensor_tc_egress";
}

/// Names of the tunables, set with `EbpfLoader::override_global` before load. Types are given; defaults and meaning
/// stand in `bpf/tunables.h`.
pub mod tunable {
    /// `u8`, 1: blocks drop; 0: count what would be dropped.
    pub const ENFORCE: &str = "enforce";
    /// `u8`, 1: account flows on egress; 0: count frames only.
    pub const ACCOUNT_EGRESS: &str = "account_egress";
    /// `u8`, 1: answer SYNs over the limit of their service with SYN cookies; needs Linux 6.0.
    pub const SYN_COOKIES: &str = "syn_cookies";
    /// `u8`, tests only: the clock is [`TEST_NOW_NS`].
    pub const TEST_CLOCK: &str = "test_clock";
    /// `u32`, SYNs without completed handshake per source and second.
    pub const SOURCE_SYN_PENDING: &str = "source_syn_pending";
    /// `u32`, UDP packets per source and second.
    pub const SOURCE_UDP: &str = "source_udp";
    /// `u32`, ICMP and ICMPv6 packets per source and second.
    pub const SOURCE_ICMP: &str = "source_icmp";
    /// `u32`, flows begun per source and second.
    pub const SOURCE_FLOWS: &str = "source_flows";
    /// `u32`, flow-start events, and as many flow-end events, per source and second.
    pub const SOURCE_EVENT_BUDGET: &str = "source_event_budget";
    /// `u32`, flow-start events, and as many flow-end events, per CPU and second.
    pub const CPU_EVENT_BUDGET: &str = "cpu_event_budget";
    /// `u32`, payload bytes of each direction of a flow sent to user space; 0: none.
    pub const HEAD_BYTES: &str = "head_bytes";
    /// `u32`, likewise of flows that speak in messages.
    pub const HEAD_BYTES_LONG: &str = "head_bytes_long";
    /// `u32`, most of them out of one packet, at most [`super::HEAD_PACKET_MAX`].
    pub const HEAD_PACKET_BYTES: &str = "head_packet_bytes";
    /// `u32`, records of flow heads per source and second.
    pub const SOURCE_HEAD_BUDGET: &str = "source_head_budget";
    /// `u32`, payload bytes of flow heads per CPU and second.
    pub const CPU_HEAD_BUDGET: &str = "cpu_head_budget";
    /// `u64`, ns of silence after which a TCP key is a new flow.
    pub const IDLE_TCP_NS: &str = "idle_tcp_ns";
    /// `u64`, ns of silence after which any other key is a new flow.
    pub const IDLE_NS: &str = "idle_ns";
    /// Name of the section map that holds the test clock, one `u64`.
    pub const TEST_NOW_NS: &str = ".data";
}

/// Identity of a flow, `struct flow_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Lower endpoint's address.
    pub lo: [u8; 16],
    /// Higher endpoint's address.
    pub hi: [u8; 16],
    /// Lower endpoint's port.
    pub lo_port: u16,
    /// Higher endpoint's port.
    pub hi_port: u16,
    /// Outermost VLAN identifier.
    pub vlan: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// Tunnel identifier.
    pub tunnel: u32,
}

/// Sums over one direction, `struct dir_stats`; see [`flow::Accumulator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of flow::Accumulator")]
pub struct DirStats {
    pub packets: u64,
    pub bytes: u64,
    pub payload_bytes: u64,
    pub payload_squares: u64,
    pub header_bytes: u64,
    pub gap_sum_us: u64,
    pub gap_squares: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    pub gap_min_us: u32,
    pub gap_max_us: u32,
    pub flags: [u32; 8],
    pub data_packets: u32,
    pub fragments: u32,
    pub first_seq: u32,
    pub next_seq: u32,
    pub retransmitted: u32,
    pub lost: u32,
    pub first_window: u16,
    pub payload_min: u16,
    pub payload_max: u16,
    pub ttl_min: u8,
    pub ttl_max: u8,
    pub head: [u8; 8],
    pub transport_min: u8,
    /// Of [`FlowStats::pending_packets`], SYNs without ACK; kernel only.
    pub pending_syns: u8,
    /// Bits of [`OddEvent::found`] that user space was told of; kernel only.
    pub odd: u8,
    /// Zero.
    pub pad: u8,
    /// CPU that counted the last packet, plus one; kernel only.
    pub cpu: u32,
}

/// Sums over periods, `struct periods`; see [`flow::stats::Periods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of flow::stats::Periods")]
pub struct Periods {
    pub sum_us: u64,
    pub squares: u64,
    pub count: u32,
    pub min_us: u32,
    pub max_us: u32,
    /// Zero.
    pub pad: u32,
}

/// One flow, `struct flow_stats`; see [`flow::FlowStats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of flow::FlowStats")]
pub struct FlowStats {
    pub dir: [DirStats; 2],
    pub syn_ns: u64,
    pub synack_ns: u64,
    pub established_ns: u64,
    pub gap_sum_us: u64,
    pub gap_squares: u64,
    pub active_start_ns: u64,
    pub gap_min_us: u32,
    pub gap_max_us: u32,
    pub active: Periods,
    pub idle: Periods,
    pub initiator: u8,
    pub state: u8,
    pub first_flags: u8,
    pub fin_mask: u8,
    pub rst_mask: u8,
    /// Packets by direction that the source's window has yet to learn of; kernel only.
    pub pending_packets: [u8; 2],
    /// What the flow speaks, if in messages, of which more is sent than a head (see bpf/head.h); kernel only.
    pub long_head: u8,
    /// Their IP bytes; kernel only.
    pub pending_bytes: [u32; 2],
}

/// One second of one initiator, `struct source_stats`. Packets of flows under way arrive in batches of up to 32 per flow (see
/// `bpf/source.h`), all others at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct SourceStats {
    /// When the window opened, ns.
    pub start_ns: u64,
    /// IP bytes sent.
    pub bytes: u64,
    /// IP bytes back.
    pub reply_bytes: u64,
    /// Packets sent.
    pub packets: u32,
    /// TCP packets sent.
    pub tcp_packets: u32,
    /// UDP packets sent.
    pub udp_packets: u32,
    /// ICMP and ICMPv6 packets sent, without errors.
    pub icmp_packets: u32,
    /// SYN without ACK sent.
    pub syn_packets: u32,
    /// Flows that became established.
    pub handshakes: u32,
    /// Flows begun.
    pub flows: u32,
    /// Packets back.
    pub reply_packets: u32,
    /// UDP packets back.
    pub udp_reply_packets: u32,
    /// RST packets back.
    pub reply_resets: u32,
    /// [`crossing`] bits already reported in this window.
    pub crossed: u32,
    /// Flow-start events sent in this window.
    pub starts_sent: u32,
    /// Flow-end events sent in this window.
    pub ends_sent: u32,
    /// Records of flow heads sent in this window.
    pub heads_sent: u32,
    /// [`OddEvent`]s sent in this window about fragments of this address.
    pub odds_sent: u32,
    /// Zero.
    pub pad: u32,
}

/// Bits of [`SourceStats::crossed`] and [`SourceEvent::crossed`].
pub mod crossing {
    /// `syn_packets - handshakes` reached `source_syn_pending`.
    pub const SYN_PENDING: u32 = 1;
    /// `udp_packets` reached `source_udp`.
    pub const UDP: u32 = 2;
    /// `icmp_packets` reached `source_icmp`.
    pub const ICMP: u32 = 4;
    /// `flows` reached `source_flows`.
    pub const FLOWS: u32 = 8;
}

/// Value of the block maps, `struct block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Block {
    /// In force while `CLOCK_BOOTTIME` is below this, ns.
    pub expires_ns: u64,
    /// Packets dropped (or, with `enforce` off, that would have been).
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
    /// User space's id for reason or offence.
    pub reason: u32,
    /// The key's prefix length again: lets the program look behind an expired block for a shorter one in force.
    pub prefix_len: u16,
    /// 1: no prefix in the allow maps overlaps this one, so the program need not look there. Whoever writes 1 must
    /// write 0 before an overlapping prefix becomes allowed. 0 is always right.
    pub not_allowed: u8,
    /// Zero.
    pub pad: u8,
}

/// Value of the allow maps, `struct allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Allow {
    /// User space's id for the reason.
    pub why: u32,
}

/// Value of the map `interfaces`, `struct interface_stats`; whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct InterfaceStats {
    /// Frames received, dropped ones included.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames dropped by a block.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Frames sent.
    pub egress_packets: u64,
    /// Their bytes.
    pub egress_bytes: u64,
}

/// First field of every event, `struct event_head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EventHead {
    /// Which event: [`EVENT_FLOW_START`] and so on.
    pub kind: u32,
    /// Interface the packet crossed.
    pub ifindex: u32,
    /// When, ns.
    pub time_ns: u64,
}

/// [`EventHead::kind`] of a flow's first packet.
pub const EVENT_FLOW_START: u32 = 1;
/// [`EventHead::kind`] of a flow closed by FINs or reset.
pub const EVENT_FLOW_END: u32 = 2;
/// [`EventHead::kind`] of a source that reached a threshold.
pub const EVENT_SOURCE_OVER: u32 = 3;
/// [`EventHead::kind`] of an excess over a limit.
pub const EVENT_LIMITED: u32 = 4;
/// [`EventHead::kind`] of the start of a payload, in the ring [`map::HEADS`].
pub const EVENT_HEAD: u32 = 5;
/// [`EventHead::kind`] of a frame with ARP.
pub const EVENT_ARP: u32 = 6;
/// [`EventHead::kind`] of an odd fragment.
pub const EVENT_ODD: u32 = 7;

/// Most bytes of a frame in an [`ArpEvent`].
pub const ARP_FRAME_MAX: usize = 60;

/// A frame with ARP, `struct arp_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ArpEvent {
    /// Kind and time.
    pub head: EventHead,
    /// Bytes of `frame` that are of it.
    pub captured: u32,
    /// Its start from the link header on, zero-padded.
    pub frame: [u8; ARP_FRAME_MAX],
}

/// Flow start and flow end, `struct flow_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowEvent {
    /// Kind and time.
    pub head: EventHead,
    /// Which flow.
    pub key: FlowKey,
    /// Zero.
    pub pad: u32,
    /// Its sums so far.
    pub stats: FlowStats,
}

/// A source reached a threshold, `struct source_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SourceEvent {
    /// Kind and time.
    pub head: EventHead,
    /// Who.
    pub addr: [u8; 16],
    /// Its counts in this window so far.
    pub counts: SourceStats,
    /// [`crossing`] bits reported by this event.
    pub crossed: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = {
    assert!(size_of::<FlowKey>() == 44 && offset_of!(FlowKey, tunnel) == 40);
    assert!(
        size_of::<DirStats>() == 160
            && offset_of!(DirStats, flags) == 80
            && offset_of!(DirStats, head) == 144
    );
    assert!(size_of::<FlowStats>() == 456 && offset_of!(FlowStats, syn_ns) == 320);
    assert!(offset_of!(FlowStats, initiator) == 440 && offset_of!(FlowStats, rst_mask) == 444);
    assert!(size_of::<SourceStats>() == 88 && offset_of!(SourceStats, packets) == 24);
    assert!(size_of::<Block>() == 32 && offset_of!(Block, reason) == 24);
    assert!(size_of::<Allow>() == 4 && size_of::<InterfaceStats>() == 48);
    assert!(size_of::<EventHead>() == 16);
    assert!(size_of::<FlowEvent>() == 520 && offset_of!(FlowEvent, stats) == 64);
    assert!(size_of::<SourceEvent>() == 128 && offset_of!(SourceEvent, crossed) == 120);
};

macro_rules! pod {
    ($($t:ty),+) => {$(
        #[expect(unsafe_code, reason = "map values cross the kernel border as bytes")]
        // SAFETY: repr(C), integers and integer arrays only, no padding (sizes asserted above), every bit pattern valid.
        unsafe impl aya::Pod for $t {}
    )+};
}
pod!(
    FlowKey,
    DirStats,
    Periods,
    FlowStats,
    SourceStats,
    Block,
    Allow,
    InterfaceStats,
    Counters,
    Limits,
    LimitState,
    ServiceKey
);

impl From<FlowKey> for flow::FlowKey {
    fn from(k: FlowKey) -> Self {
        Self {
            lo: Addr(k.lo),
            hi: Addr(k.hi),
            lo_port: k.lo_port,
            hi_port: k.hi_port,
            vlan: k.vlan,
            protocol: k.protocol,
            tunnel: k.tunnel,
        }
    }
}

impl From<flow::FlowKey> for FlowKey {
    fn from(k: flow::FlowKey) -> Self {
        Self {
            lo: k.lo.0,
            hi: k.hi.0,
            lo_port: k.lo_port,
            hi_port: k.hi_port,
            vlan: k.vlan,
            protocol: k.protocol,
            pad: 0,
            tunnel: k.tunnel,
        }
    }
}

/// A kernel time on the wall clock; 0 means "never" and stays 0.
#[must_use]
pub const fn wall_ns(boot_ns: u64, wall_minus_boot_ns: i64) -> u64 {
    if boot_ns == 0 { 0 } else { boot_ns.saturating_add_signed(wall_minus_boot_ns) }
}

/// A direction: 0 from lo to hi, else back.
#[must_use]
pub const fn direction(index: u8) -> flow::Direction {
    if index == 0 { flow::Direction::LoToHi } else { flow::Direction::HiToLo }
}

impl DirStats {
    fn to_flow(self, offset_ns: i64) -> flow::Accumulator {
        flow::Accumulator {
            packets: self.packets,
            bytes: self.bytes,
            payload_bytes: self.payload_bytes,
            payload_squares: self.payload_squares,
            header_bytes: self.header_bytes,
            gap_sum_us: self.gap_sum_us,
            gap_squares: self.gap_squares,
            first_ns: wall_ns(self.first_ns, offset_ns),
            last_ns: wall_ns(self.last_ns, offset_ns),
            gap_min_us: self.gap_min_us,
            gap_max_us: self.gap_max_us,
            flags: self.flags,
            data_packets: self.data_packets,
            fragments: self.fragments,
            first_seq: self.first_seq,
            next_seq: self.next_seq,
            retransmitted: self.retransmitted,
            lost: self.lost,
            first_window: self.first_window,
            payload_min: self.payload_min,
            payload_max: self.payload_max,
            ttl_min: self.ttl_min,
            ttl_max: self.ttl_max,
            transport_min: self.transport_min,
            head: self.head,
        }
    }
}

impl Periods {
    const fn to_flow(self) -> flow::stats::Periods {
        flow::stats::Periods {
            sum_us: self.sum_us,
            squares: self.squares,
            count: self.count,
            min_us: self.min_us,
            max_us: self.max_us,
        }
    }
}

impl FlowStats {
    /// The same sums with times on the wall clock; `wall_minus_boot_ns` is `CLOCK_REALTIME - CLOCK_BOOTTIME`.
    #[must_use]
    pub fn to_flow(&self, wall_minus_boot_ns: i64) -> flow::FlowStats {
        flow::FlowStats {
            dir: [self.dir[0].to_flow(wall_minus_boot_ns), self.dir[1].to_flow(wall_minus_boot_ns)],
            syn_ns: wall_ns(self.syn_ns, wall_minus_boot_ns),
            synack_ns: wall_ns(self.synack_ns, wall_minus_boot_ns),
            established_ns: wall_ns(self.established_ns, wall_minus_boot_ns),
            gap_sum_us: self.gap_sum_us,
            gap_squares: self.gap_squares,
            gap_min_us: self.gap_min_us,
            gap_max_us: self.gap_max_us,
            active_start_ns: wall_ns(self.active_start_ns, wall_minus_boot_ns),
            active: self.active.to_flow(),
            idle: self.idle.to_flow(),
            initiator: direction(self.initiator),
            state: tcp_state(self.state),
            first_flags: self.first_flags,
            fin_mask: self.fin_mask,
            rst_mask: self.rst_mask,
        }
    }
}

impl SourceStats {
    /// The same counts with the window's start on the wall clock.
    #[must_use]
    pub const fn to_flow(&self, wall_minus_boot_ns: i64) -> flow::window::SourceCounts {
        flow::window::SourceCounts {
            start_ns: wall_ns(self.start_ns, wall_minus_boot_ns),
            bytes: self.bytes,
            reply_bytes: self.reply_bytes,
            packets: self.packets,
            tcp_packets: self.tcp_packets,
            udp_packets: self.udp_packets,
            icmp_packets: self.icmp_packets,
            syn_packets: self.syn_packets,
            handshakes: self.handshakes,
            flows: self.flows,
            reply_packets: self.reply_packets,
            udp_reply_packets: self.udp_reply_packets,
            reply_resets: self.reply_resets,
        }
    }
}

/// `enum tcp_state`; a value the kernel never writes reads as [`flow::TcpState::None`].
const fn tcp_state(value: u8) -> flow::TcpState {
    use flow::TcpState as T;
    match value {
        1 => T::SynSent,
        2 => T::SynReceived,
        3 => T::Established,
        4 => T::Closing,
        5 => T::Closed,
        6 => T::Reset,
        7 => T::Midstream,
        _ => T::None,
    }
}

/// One event of the ring buffer, read from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A flow's first packet.
    FlowStart(FlowEvent),
    /// A flow closed by FINs or reset.
    FlowEnd(FlowEvent),
    /// A source reached a threshold.
    SourceOver(SourceEvent),
    /// Packets were over a limit.
    Limited(LimitedEvent),
    /// A frame with ARP.
    Arp(ArpEvent),
    /// An odd fragment.
    Odd(OddEvent),
}

impl Event {
    /// Reads one ring-buffer item; `None` if its kind is unknown or it is shorter than its kind's struct.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let kind = u32::from_ne_bytes(*bytes.first_chunk()?);
        match kind {
            EVENT_FLOW_START => read_pod(bytes).map(Self::FlowStart),
            EVENT_FLOW_END => read_pod(bytes).map(Self::FlowEnd),
            EVENT_SOURCE_OVER => read_pod(bytes).map(Self::SourceOver),
            EVENT_LIMITED => read_pod(bytes).map(Self::Limited),
            EVENT_ARP => read_pod(bytes).map(Self::Arp),
            EVENT_ODD => read_pod(bytes).map(Self::Odd),
            _ => None,
        }
    }
}

/// Types that any bytes of their size are a value of.
trait Plain: Copy {}
impl Plain for FlowEvent {}
impl Plain for SourceEvent {}
impl Plain for LimitedEvent {}
impl Plain for ArpEvent {}
impl Plain for OddEvent {}
impl Plain for HeadEvent {}

#[expect(unsafe_code, reason = "ring buffer items are bytes")]
fn read_pod<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: at least size_of::<T>() bytes are readable, the read is unaligned, and `Plain` types (integers only)
    // accept every bit pattern.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
