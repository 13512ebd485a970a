//! ARP for IPv4 over Ethernet, RFC 826.

use serde::Serialize;

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Source hardware address of the frame.
    pub frame_source: [u8; 6],
    /// Sender hardware address.
    pub sender: [u8; 6],
    /// Sender protocol address.
    pub sender_ip: crate::Addr,
    /// Target hardware address.
    pub target: [u8; 6],
    /// Target protocol address.
    pub target_ip: crate::Addr,
    /// Outermost VLAN identifier, 0 when untagged.
    pub vlan: u16,
}

/// Reads an ARP packet from a frame, VLAN tags followed; `None` if it is none or is cut short.
#[must_use]
pub fn parse(_link: crate::LinkType, _frame: &[u8]) -> Option<Arp> {
    None
}
