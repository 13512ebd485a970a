//! ARP for IPv4 over Ethernet, RFC 826.

use super::bytes::{be16, v4};
use crate::LinkType;
use serde::Serialize;

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Source hardware address of the frame; zero where a cooked capture does not tell it.
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

/// VLAN tags followed: a customer's inside a provider's, and one to spare.
pub const MAX_TAGS: usize = 3;

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV4: u16 = 0x0800;
const HARDWARE_ETHERNET: u16 = 1;
/// IEEE 802.1Q, 802.1ad and the number used for the outer tag before it.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Reads an ARP packet from a frame, VLAN tags followed; `None` if it is none or is cut short.
///
/// Ethernet, and both kinds of Linux cooked capture; the other links carry no ARP.
#[must_use]
pub fn parse(link: LinkType, frame: &[u8]) -> Option<Arp> {
    let (kind, mut at, source) = match link {
        LinkType::Ethernet => (be16(frame, 12)?, 14, six(frame, 6)?),
        LinkType::LinuxSll => (be16(frame, 14)?, 16, cooked(frame, be16(frame, 4)?, 6)?),
        LinkType::LinuxSll2 => (be16(frame, 0)?, 20, cooked(frame, u16::from(*frame.get(11)?), 12)?),
        LinkType::RawIp | LinkType::BsdLoopback => return None,
    };
    let (mut kind, mut vlan) = (kind, None);
    for _ in 0..MAX_TAGS {
        if !TAGS.contains(&kind) {
            break;
        }
        vlan = vlan.or(Some(be16(frame, at)? & 0x0fff));
        kind = be16(frame, at + 2)?;
        at += 4;
    }
    let packet = frame.get(at..)?;
    let spaces = (be16(packet, 0)?, be16(packet, 2)?, packet.get(4..6)?);
    if kind != ETHERTYPE_ARP || spaces != (HARDWARE_ETHERNET, ETHERTYPE_IPV4, &[6, 4]) {
        return None;
    }
    Some(Arp {
        operation: be16(packet, 6)?,
        frame_source: source,
        sender: six(packet, 8)?,
        sender_ip: v4(packet, 14)?,
        target: six(packet, 18)?,
        target_ip: v4(packet, 24)?,
        vlan: vlan.unwrap_or_default(),
    })
}

fn six(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The link-layer address of a cooked header, if it is an Ethernet one.
fn cooked(frame: &[u8], length: u16, at: usize) -> Option<[u8; 6]> {
    if length == 6 { six(frame, at) } else { Some([0; 6]) }
}
