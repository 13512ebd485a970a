//! The accumulators of a flow: what the kernel and the Rust table compute alike, field by field.

use crate::Direction;
use serde::Serialize;
use wire::Packet;

/// Sums over one direction of a flow. Integers only; every feature is a function of these.
///
/// Field order and widths are those of `struct dir_stats` in `crates/kernel/bpf/abi.h`. Additions wrap; at one
/// packet per nanosecond a `u64` sum of squared lengths wraps after centuries of 64-byte packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Accumulator {
    /// Packets.
    pub packets: u64,
    /// IP bytes ([`Packet::ip_len`]).
    pub bytes: u64,
    /// Transport payload bytes.
    pub payload_bytes: u64,
    /// Sum of squared IP lengths, bytes².
    pub len_squares: u64,
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
    /// Window of the first TCP segment, unscaled.
    pub first_window: u16,
    /// Smallest IP length, capped at 65,535; `u16::MAX` before the first packet.
    pub len_min: u16,
    /// Largest IP length, capped at 65,535.
    pub len_max: u16,
    /// Smallest TTL or hop limit; 255 before the first packet.
    pub ttl_min: u8,
    /// Largest TTL or hop limit.
    pub ttl_max: u8,
    /// First eight payload bytes of the first packet with captured payload, zero-padded: enough to tell SSH, FTP,
    /// TLS, HTTP, RDP and telnet apart by content.
    pub head: [u8; 8],
}

/// Longest gap that is summed, µs (60 s): longer silences end a flow anyway, and the square stays far below 2^64.
pub const MAX_GAP_US: u32 = 60_000_000;

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

    /// A flow whose first packet is `packet`, not yet accounted: direction of the initiator and initial state are set.
    ///
    /// The initiator is the sender of the first packet, except that a first packet with SYN+ACK means the sender of
    /// the unseen SYN, the other side.
    #[must_use]
    pub fn begin(packet: &Packet<'_>, direction: Direction) -> Self {
        let _ = (packet, direction);
        unreachable!("written with the table")
    }

    /// Accounts one packet.
    pub fn account(&mut self, now_ns: u64, packet: &Packet<'_>, direction: Direction) {
        let _ = (now_ns, packet, direction);
        unreachable!("written with the table")
    }
}
