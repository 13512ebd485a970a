//! The accumulators of a flow: what the kernel and the Rust table compute alike, field by field.
//!
//! The rules below are the specification; `crates/kernel/bpf/account.h` follows the same words, and the differential
//! test of the `kernel` crate demands equal results.
//!
//! # Per packet and direction, at time `now` in ns
//!
//! - `packets` + 1, `bytes` + IP length, `payload_bytes` + payload length, `payload_squares` + payload length²,
//!   `header_bytes` + transport header length; for TCP `flags[i]` + bit i; `data_packets` + 1 if the payload length is
//!   above 0; `fragments` + 1 for any fragment; `payload_min`, `payload_max` with the payload length capped at 65,535;
//!   `transport_min` over transport headers longer than 0; `ttl_min`, `ttl_max`.
//! - First packet of the direction: `first_ns` = now; for TCP that is not a later fragment also `first_seq` and
//!   `first_window`. Further packets: gap = (now − `last_ns`) / 1000 µs, 0 if now < `last_ns`, capped at
//!   [`MAX_GAP_US`]; `gap_sum_us` + gap, `gap_squares` + gap², `gap_min_us`, `gap_max_us`. Then `last_ns` =
//!   max(`last_ns`, now).
//! - TCP but for later fragments: length = payload length + 1 for SYN + 1 for FIN; end = sequence number + length, modulo
//!   2³² as all comparisons here. First packet of the direction: `next_seq` = end. Further ones of a length above 0 and
//!   without RST: end ≤ `next_seq` → `retransmitted` + 1; else `next_seq` = end, and if the segment begins after the
//!   old `next_seq`, `lost` + 1. A segment overtaken by a later one thus counts once as lost and once as retransmitted.
//! - Before the first packet, in both directions from the flow's creation: `gap_min_us` = `u32::MAX`, `payload_min` =
//!   `u16::MAX`, `ttl_min` and `transport_min` = 255, all else 0.
//! - `head`: if the payload length is above 0, the packet is no later fragment and `data_packets` was 0, the first
//!   eight captured payload bytes, zero-padded. Never set later.
//!
//! # Per flow
//!
//! The initiator sends the first packet, except that a first packet with SYN and ACK makes the other side the
//! initiator. `first_flags` are the control bits of the first packet.
//!
//! Gaps and periods, before the direction's part: the flow's first packet sets `active_start_ns` = now. Further packets:
//! gap as above, but since the last packet of either direction: `gap_sum_us`, `gap_squares`, `gap_min_us`, `gap_max_us`
//! of the flow. If it is above [`ACTIVITY_TIMEOUT_US`]: the period of activity from `active_start_ns` to that last packet
//! in whole µs, capped at [`MAX_PERIOD_US`], is added to `active` if above 0; the gap is added to `idle`;
//! `active_start_ns` = now. The period that runs at the end is never added.
//!
//! TCP only, after counting; other protocols stay in [`TcpState::None`].
//!
//! - First packet: RST → `Reset` and the direction's bit in `rst_mask`; else SYN without ACK → `SynSent`, `syn_ns` =
//!   now; else SYN and ACK → `SynReceived`, `synack_ns` = now; else (later fragments too) `Midstream`.
//! - Further packets: (1) RST → `Reset`, `rst_mask`; (2) else SYN and ACK from the responder: `synack_ns` = now if
//!   unset, `SynSent` → `SynReceived`; (3) else SYN without ACK from the initiator: `syn_ns` = now if unset; (4) else
//!   ACK from the initiator in `SynSent` or `SynReceived` → `Established`, `established_ns` = now.
//! - Then, with FIN and without RST: the direction's bit in `fin_mask`; unless `Reset`, → `Closed` when both bits are
//!   set, else `Closing`. `Reset` never changes.
//!
//! # When a key begins a new flow
//!
//! SYN without ACK on a flow that is `Closed` or `Reset`; or a packet more than the idle timeout after the last packet
//! of either direction.

use crate::Direction;
use serde::Serialize;
use wire::packet::{protocol, tcp_flag};
use wire::{Fragment, Packet};

/// Sums over one direction of a flow. Integers only; every feature is a function of these.
///
/// Additions wrap; at a packet of 1,460 bytes per nanosecond a `u64` sum of squared lengths lasts for hours, one of
/// squared gaps for 17 hours at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Accumulator {
    /// Packets.
    pub packets: u64,
    /// IP bytes ([`Packet::ip_len`]).
    pub bytes: u64,
    /// Transport payload bytes.
    pub payload_bytes: u64,
    /// Sum of squared payload lengths, bytes².
    pub payload_squares: u64,
    /// Transport header bytes ([`Packet::transport_len`]).
    pub header_bytes: u64,
    /// Sum of gaps between consecutive packets, µs.
    pub gap_sum_us: u64,
    /// Sum of squared gaps between consecutive packets, each gap in whole microseconds capped at [`MAX_GAP_US`], µs².
    pub gap_squares: u64,
    /// Time of the first packet, ns.
    pub first_ns: u64,
    /// Time of the last packet, ns.
    pub last_ns: u64,
    /// Smallest gap, µs; `u32::MAX` below two packets.
    pub gap_min_us: u32,
    /// Largest gap, µs; 0 below two packets.
    pub gap_max_us: u32,
    /// Packets by control bit, indexed by bit position: FIN SYN RST PSH ACK URG ECE CWR.
    pub flags: [u32; 8],
    /// Packets that carried payload.
    pub data_packets: u32,
    /// Packets that were fragments, first ones included.
    pub fragments: u32,
    /// Sequence number of the first TCP segment.
    pub first_seq: u32,
    /// Sequence number after the furthest TCP segment.
    pub next_seq: u32,
    /// TCP segments that brought nothing new: repeated, or overtaken by later ones.
    pub retransmitted: u32,
    /// TCP segments before which something was missing when they came.
    pub lost: u32,
    /// Window of the first TCP segment, unscaled.
    pub first_window: u16,
    /// Smallest payload length, capped at 65,535; `u16::MAX` before the first packet.
    pub payload_min: u16,
    /// Largest payload length, capped at 65,535.
    pub payload_max: u16,
    /// Smallest TTL or hop limit; 255 before the first packet.
    pub ttl_min: u8,
    /// Largest TTL or hop limit.
    pub ttl_max: u8,
    /// Smallest transport header, bytes; 255 before the first.
    pub transport_min: u8,
    /// First eight payload bytes of the first packet with payload, zero-padded: enough to tell SSH, FTP, TLS, HTTP,
    /// RDP and telnet apart by content.
    pub head: [u8; 8],
}

/// Longest gap that is summed, µs (300 s, the idle timeout of TCP): 204 such squares fit in a `u64`.
pub const MAX_GAP_US: u32 = 300_000_000;

/// A silence of both directions longer than this ends a period of activity, µs (5 s, as CICFlowMeter has it).
pub const ACTIVITY_TIMEOUT_US: u32 = 5_000_000;

/// Longest period of activity that is summed, µs (an hour): its square fits in a `u64`.
pub const MAX_PERIOD_US: u32 = 3_600_000_000;

/// Sums over periods of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Periods {
    /// Lengths, µs.
    pub sum_us: u64,
    /// Squared lengths, µs².
    pub squares: u64,
    /// Periods.
    pub count: u32,
    /// Shortest, µs; `u32::MAX` without any.
    pub min_us: u32,
    /// Longest, µs.
    pub max_us: u32,
}

impl Periods {
    /// No period yet.
    pub const EMPTY: Self = Self { sum_us: 0, squares: 0, count: 0, min_us: u32::MAX, max_us: 0 };

    fn add(&mut self, us: u32) {
        let wide = u64::from(us);
        self.sum_us = self.sum_us.wrapping_add(wide);
        self.squares = self.squares.wrapping_add(wide * wide);
        self.count = self.count.wrapping_add(1);
        self.min_us = self.min_us.min(us);
        self.max_us = self.max_us.max(us);
    }
}

/// Nanoseconds from `from_ns` to `to_ns` in whole microseconds, 0 if time went back, at most `cap_us`.
fn elapsed_us(from_ns: u64, to_ns: u64, cap_us: u32) -> u32 {
    // At most the cap, so it fits.
    (to_ns.saturating_sub(from_ns) / 1000).min(u64::from(cap_us)) as u32
}

/// Life of a TCP flow as seen from outside, both endpoints together. Values are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[repr(u8)]
#[serde(rename_all = "snake_case")]
pub enum TcpState {
    /// Not TCP, or nothing seen yet.
    #[default]
    None = 0,
    /// The initiator sent SYN.
    SynSent = 1,
    /// The responder answered SYN+ACK.
    SynReceived = 2,
    /// The initiator acknowledged: the handshake is complete, or (no SYN+ACK seen) presumed so.
    Established = 3,
    /// One side sent FIN.
    Closing = 4,
    /// Both sides sent FIN.
    Closed = 5,
    /// Either side sent RST.
    Reset = 6,
    /// First seen in the middle: no SYN on the first packet (a late start of the sensor, or a stealth probe).
    Midstream = 7,
}

/// All that is counted of one flow. Equal in the kernel and here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FlowStats {
    /// By [`Direction`].
    pub dir: [Accumulator; 2],
    /// Time of the initiator's first SYN, ns; 0 if none was seen.
    pub syn_ns: u64,
    /// Time of the responder's first SYN+ACK, ns; 0 if none was seen.
    pub synack_ns: u64,
    /// Time the handshake completed, ns; 0 if it did not.
    pub established_ns: u64,
    /// Sum of gaps between consecutive packets of either direction, µs.
    pub gap_sum_us: u64,
    /// Sum of their squares, µs².
    pub gap_squares: u64,
    /// Smallest of them, µs; `u32::MAX` below two packets.
    pub gap_min_us: u32,
    /// Largest of them, µs.
    pub gap_max_us: u32,
    /// When the running period of activity began, ns.
    pub active_start_ns: u64,
    /// Periods of activity that a silence ended.
    pub active: Periods,
    /// Silences longer than [`ACTIVITY_TIMEOUT_US`].
    pub idle: Periods,
    /// Direction of the initiator's packets.
    pub initiator: Direction,
    /// TCP state.
    pub state: TcpState,
    /// Control bits of the very first packet (0 for other protocols).
    pub first_flags: u8,
    /// Directions that sent FIN (bit 0 lo→hi, bit 1 hi→lo).
    pub fin_mask: u8,
    /// Directions that sent RST, same bits.
    pub rst_mask: u8,
}

impl FlowStats {
    /// No packet yet.
    pub const EMPTY: Self = Self {
        dir: [Accumulator::EMPTY; 2],
        syn_ns: 0,
        synack_ns: 0,
        established_ns: 0,
        gap_sum_us: 0,
        gap_squares: 0,
        gap_min_us: u32::MAX,
        gap_max_us: 0,
        active_start_ns: 0,
        active: Periods::EMPTY,
        idle: Periods::EMPTY,
        initiator: Direction::LoToHi,
        state: TcpState::None,
        first_flags: 0,
        fin_mask: 0,
        rst_mask: 0,
    };

    /// The accumulator of the side that began the flow.
    #[must_use]
    pub const fn from_initiator(&self) -> &Accumulator {
        &self.dir[self.initiator as usize]
    }

    /// The accumulator of the side that was contacted.
    #[must_use]
    pub const fn from_responder(&self) -> &Accumulator {
        &self.dir[self.initiator.reverse() as usize]
    }

    /// A flow whose first packet is `packet`, not yet accounted: the initiator and the first packet's control bits
    /// are set, all counts are zero.
    ///
    /// The initiator is the sender of the first packet, except that a first packet with SYN+ACK means the sender of
    /// the unseen SYN, the other side.
    #[must_use]
    pub fn begin(packet: &Packet<'_>, direction: Direction) -> Self {
        let flags = if packet.protocol == protocol::TCP { packet.tcp_flags } else { 0 };
        let answer = tcp_flag::SYN | tcp_flag::ACK;
        let initiator = if flags & answer == answer { direction.reverse() } else { direction };
        Self { initiator, first_flags: flags, ..Self::EMPTY }
    }

    /// The continuation of `earlier` under the same key, with zero counts: initiator, state and closing masks carry
    /// over, so that cutting a long connection in two does not turn it round. `first_flags` are those of `earlier`.
    #[must_use]
    pub fn resume(earlier: &Self) -> Self {
        Self {
            initiator: earlier.initiator,
            state: earlier.state,
            first_flags: earlier.first_flags,
            fin_mask: earlier.fin_mask,
            rst_mask: earlier.rst_mask,
            ..Self::EMPTY
        }
    }

    /// Accounts one packet; see the module's specification.
    #[inline]
    pub fn account(&mut self, now_ns: u64, packet: &Packet<'_>, direction: Direction) {
        let nothing = self.dir[0].packets == 0 && self.dir[1].packets == 0;
        let first = nothing && self.state == TcpState::None;
        let tcp = packet.protocol == protocol::TCP;
        if nothing {
            self.active_start_ns = now_ns;
        } else {
            self.pause(now_ns);
        }
        self.dir[direction as usize].add(now_ns, packet, tcp);
        if tcp {
            let from_initiator = direction == self.initiator;
            if first {
                self.open(now_ns, packet.tcp_flags, direction);
            } else {
                self.advance(now_ns, packet.tcp_flags, direction, from_initiator);
            }
        }
    }

    /// The gap before a packet that is not the flow's first.
    #[inline]
    fn pause(&mut self, now_ns: u64) {
        let last = self.last_ns();
        let gap = elapsed_us(last, now_ns, MAX_GAP_US);
        let wide = u64::from(gap);
        self.gap_sum_us = self.gap_sum_us.wrapping_add(wide);
        self.gap_squares = self.gap_squares.wrapping_add(wide * wide);
        self.gap_min_us = self.gap_min_us.min(gap);
        self.gap_max_us = self.gap_max_us.max(gap);
        if gap > ACTIVITY_TIMEOUT_US {
            let active = elapsed_us(self.active_start_ns, last, MAX_PERIOD_US);
            if active > 0 {
                self.active.add(active);
            }
            self.idle.add(gap);
            self.active_start_ns = now_ns;
        }
    }

    fn open(&mut self, now_ns: u64, flags: u8, direction: Direction) {
        if flags & tcp_flag::RST != 0 {
            self.state = TcpState::Reset;
            self.rst_mask |= 1 << direction as u8;
            return;
        }
        if flags & tcp_flag::SYN == 0 {
            self.state = TcpState::Midstream;
        } else if flags & tcp_flag::ACK == 0 {
            self.state = TcpState::SynSent;
            self.syn_ns = now_ns;
        } else {
            self.state = TcpState::SynReceived;
            self.synack_ns = now_ns;
        }
        if flags & tcp_flag::FIN != 0 {
            self.finish(direction);
        }
    }

    fn advance(&mut self, now_ns: u64, flags: u8, direction: Direction, from_initiator: bool) {
        if flags & tcp_flag::RST != 0 {
            self.state = TcpState::Reset;
            self.rst_mask |= 1 << direction as u8;
            return;
        }
        let syn = flags & tcp_flag::SYN != 0;
        let ack = flags & tcp_flag::ACK != 0;
        if syn && ack && !from_initiator {
            if self.synack_ns == 0 {
                self.synack_ns = now_ns;
            }
            if self.state == TcpState::SynSent {
                self.state = TcpState::SynReceived;
            }
        } else if syn && !ack && from_initiator {
            if self.syn_ns == 0 {
                self.syn_ns = now_ns;
            }
        } else if ack && from_initiator && matches!(self.state, TcpState::SynSent | TcpState::SynReceived) {
            self.state = TcpState::Established;
            self.established_ns = now_ns;
        }
        if flags & tcp_flag::FIN != 0 {
            self.finish(direction);
        }
    }

    fn finish(&mut self, direction: Direction) {
        self.fin_mask |= 1 << direction as u8;
        if self.state != TcpState::Reset {
            self.state = if self.fin_mask == 3 { TcpState::Closed } else { TcpState::Closing };
        }
    }

    /// Time of the first packet in either direction, ns; 0 before any packet.
    #[must_use]
    pub const fn first_ns(&self) -> u64 {
        let [a, b] = &self.dir;
        match (a.packets, b.packets) {
            (_, 0) => a.first_ns,
            (0, _) => b.first_ns,
            _ if a.first_ns <= b.first_ns => a.first_ns,
            _ => b.first_ns,
        }
    }

    /// Time of the last packet in either direction, ns; 0 before any packet.
    #[must_use]
    pub const fn last_ns(&self) -> u64 {
        if self.dir[0].last_ns >= self.dir[1].last_ns { self.dir[0].last_ns } else { self.dir[1].last_ns }
    }

    /// Whether the connection is over: both FIN seen, or a RST.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, TcpState::Closed | TcpState::Reset)
    }
}

impl Accumulator {
    /// Before the first packet: counts are 0, minima at their upper bounds.
    pub const EMPTY: Self = Self {
        packets: 0,
        bytes: 0,
        payload_bytes: 0,
        payload_squares: 0,
        header_bytes: 0,
        gap_sum_us: 0,
        gap_squares: 0,
        first_ns: 0,
        last_ns: 0,
        gap_min_us: u32::MAX,
        gap_max_us: 0,
        flags: [0; 8],
        data_packets: 0,
        fragments: 0,
        first_seq: 0,
        next_seq: 0,
        retransmitted: 0,
        lost: 0,
        first_window: 0,
        payload_min: u16::MAX,
        payload_max: 0,
        ttl_min: u8::MAX,
        ttl_max: 0,
        transport_min: u8::MAX,
        head: [0; 8],
    };

    #[inline]
    fn add(&mut self, now_ns: u64, packet: &Packet<'_>, tcp: bool) {
        let later = packet.fragment == Fragment::Later;
        let segment = tcp && !later;
        let first = self.packets == 0;
        if first {
            self.first_ns = now_ns;
            if segment {
                self.first_seq = packet.tcp_seq;
                self.first_window = packet.tcp_window;
            }
        } else {
            let gap = elapsed_us(self.last_ns, now_ns, MAX_GAP_US);
            let wide = u64::from(gap);
            self.gap_sum_us = self.gap_sum_us.wrapping_add(wide);
            self.gap_squares = self.gap_squares.wrapping_add(wide * wide);
            self.gap_min_us = self.gap_min_us.min(gap);
            self.gap_max_us = self.gap_max_us.max(gap);
        }
        if segment {
            self.sequence(packet, first);
        }
        self.last_ns = self.last_ns.max(now_ns);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(u64::from(packet.ip_len));
        if packet.transport_len > 0 {
            self.header_bytes = self.header_bytes.wrapping_add(u64::from(packet.transport_len));
            self.transport_min = self.transport_min.min(packet.transport_len);
        }
        if tcp {
            for (bit, count) in self.flags.iter_mut().enumerate() {
                *count = count.wrapping_add(u32::from(packet.tcp_flags >> bit & 1));
            }
        }
        if packet.payload_len > 0 {
            let len = u64::from(packet.payload_len);
            self.payload_bytes = self.payload_bytes.wrapping_add(len);
            self.payload_squares = self.payload_squares.wrapping_add(len * len);
            if self.data_packets == 0 && !later {
                let n = packet.payload.len().min(self.head.len());
                self.head[..n].copy_from_slice(&packet.payload[..n]);
            }
            self.data_packets = self.data_packets.wrapping_add(1);
        }
        if packet.fragment != Fragment::None {
            self.fragments = self.fragments.wrapping_add(1);
        }
        let len = packet.payload_len.min(u32::from(u16::MAX)) as u16;
        self.payload_min = self.payload_min.min(len);
        self.payload_max = self.payload_max.max(len);
        self.ttl_min = self.ttl_min.min(packet.ttl);
        self.ttl_max = self.ttl_max.max(packet.ttl);
    }

    /// Follows the sequence numbers of a direction.
    #[inline]
    fn sequence(&mut self, packet: &Packet<'_>, first: bool) {
        let flags = packet.tcp_flags;
        let length = packet
            .payload_len
            .wrapping_add(u32::from(flags & tcp_flag::SYN != 0))
            .wrapping_add(u32::from(flags & tcp_flag::FIN != 0));
        let end = packet.tcp_seq.wrapping_add(length);
        if first {
            self.next_seq = end;
        } else if length > 0 && flags & tcp_flag::RST == 0 {
            // RFC 9293 §3.4: sequence numbers compare by the sign of their difference.
            if end.wrapping_sub(self.next_seq).cast_signed() <= 0 {
                self.retransmitted = self.retransmitted.wrapping_add(1);
            } else {
                let ahead = packet.tcp_seq.wrapping_sub(self.next_seq).cast_signed() > 0;
                self.lost = self.lost.wrapping_add(u32::from(ahead));
                self.next_seq = end;
            }
        }
    }
}

impl Default for Accumulator {
    fn default() -> Self {
        Self::EMPTY
    }
}
