//! The identity of a flow.

use serde::Serialize;
use wire::{Addr, Packet};

/// A bidirectional 5-tuple plus VLAN and tunnel, endpoints in canonical order: (`lo`, `lo_port`) is not above
/// (`hi`, `hi_port`), addresses compared bytewise, then ports numerically. The kernel's `struct flow_key` is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FlowKey {
    /// The lower endpoint's address.
    pub lo: Addr,
    /// The higher endpoint's address.
    pub hi: Addr,
    /// The lower endpoint's port.
    pub lo_port: u16,
    /// The higher endpoint's port.
    pub hi_port: u16,
    /// Outermost VLAN identifier, 0 when untagged.
    pub vlan: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Tunnel identifier; 0 outside tunnels.
    pub tunnel: u32,
}

/// Which way a packet goes relative to its key. Also the index of its [`crate::Accumulator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[repr(u8)]
pub enum Direction {
    /// From `lo` to `hi`.
    LoToHi = 0,
    /// From `hi` to `lo`.
    HiToLo = 1,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::LoToHi => Self::HiToLo,
            Self::HiToLo => Self::LoToHi,
        }
    }
}

impl FlowKey {
    /// The key of a packet and the packet's direction under it.
    #[must_use]
    pub fn of(p: &Packet<'_>) -> (Self, Direction) {
        let (key, direction) = Self::between((p.src, p.src_port), (p.dst, p.dst_port), p.protocol);
        (Self { vlan: p.vlan, tunnel: p.tunnel, ..key }, direction)
    }

    /// The key of a flow outside VLANs and tunnels, and the direction from the first endpoint to the second.
    #[must_use]
    pub fn between(from: (Addr, u16), to: (Addr, u16), protocol: u8) -> (Self, Direction) {
        let forward = from <= to;
        let ((lo, lo_port), (hi, hi_port)) = if forward { (from, to) } else { (to, from) };
        let direction = if forward { Direction::LoToHi } else { Direction::HiToLo };
        (Self { lo, hi, lo_port, hi_port, vlan: 0, protocol, tunnel: 0 }, direction)
    }

    /// Address and port that packets of `direction` come from.
    #[must_use]
    pub const fn source(&self, direction: Direction) -> (Addr, u16) {
        match direction {
            Direction::LoToHi => (self.lo, self.lo_port),
            Direction::HiToLo => (self.hi, self.hi_port),
        }
    }
}
