//! Tunnels made to order: what carries a datagram or a frame, ready to be put into a frame by a [`Builder`].
//!
//! ```
//! use wire::craft::{Builder, tunnel};
//! let host = |n| wire::Addr::v4([10, 0, 0, n]);
//! let inner = Builder::new(host(1), host(2)).udp(53, 4000, b"x");
//! let outer = Builder::new(host(8), host(9));
//! let frame = outer.frame(&tunnel::vxlan(&outer, tunnel::VXLAN_PORT, 42, &inner));
//! let packet = wire::parse(wire::LinkType::Ethernet, &frame, frame.len() as u32).unwrap();
//! assert_eq!((packet.src, packet.src_port, packet.tunnel), (host(1), 53, 0x0500_002a));
//! ```

use super::{Builder, Segment};
use crate::packet::protocol;
use crate::parse::ethertype;
pub use crate::tunnel::{GENEVE_PORT, VXLAN_OLD_PORT, VXLAN_PORT};

/// Source port of tunnels over UDP: any will do.
const ENTROPY_PORT: u16 = 49_152;

/// The optional fields of a GRE header. The checksum is written as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gre {
    /// Whether the checksum field is there.
    pub checksum: bool,
    /// The key.
    pub key: Option<u32>,
    /// The sequence number.
    pub sequence: Option<u32>,
}

/// IP in IP: `datagram` begins with an IPv4 or an IPv6 header.
#[must_use]
pub fn ip(datagram: &[u8]) -> Segment {
    let v6 = datagram.first().is_some_and(|b| b >> 4 == 6);
    Segment { protocol: if v6 { protocol::IPV6 } else { protocol::IPV4 }, bytes: datagram.to_vec() }
}

/// GRE version 0 around `content` of the protocol type `kind` (an EtherType; 0x6558 for an Ethernet frame).
#[must_use]
pub fn gre(fields: Gre, kind: u16, content: &[u8]) -> Segment {
    let flags = u16::from(fields.checksum) << 15
        | u16::from(fields.key.is_some()) << 13
        | u16::from(fields.sequence.is_some()) << 12;
    let mut bytes = [flags.to_be_bytes(), kind.to_be_bytes()].concat();
    if fields.checksum {
        bytes.extend_from_slice(&[0; 4]);
    }
    for field in [fields.key, fields.sequence].into_iter().flatten() {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(content);
    Segment { protocol: protocol::GRE, bytes }
}

/// ERSPAN type I around an Ethernet frame.
#[must_use]
pub fn erspan_i(frame: &[u8]) -> Segment {
    gre(Gre::default(), 0x88be, frame)
}

/// ERSPAN type II around an Ethernet frame; `session` is cut to 10 bits.
#[must_use]
pub fn erspan_ii(session: u16, frame: &[u8]) -> Segment {
    let [a, b] = (session & 0x03ff).to_be_bytes();
    let content = [&[0x10, 0, a, b, 0, 0, 0, 0], frame].concat();
    gre(Gre { sequence: Some(1), ..Gre::default() }, 0x88be, &content)
}

/// ERSPAN type III around an Ethernet frame (`frame_type` 0) or an IP datagram (2), with or without the platform's
/// subheader; `session` is cut to 10 bits.
#[must_use]
pub fn erspan_iii(session: u16, frame_type: u8, subheader: bool, content: &[u8]) -> Segment {
    let [a, b] = (session & 0x03ff).to_be_bytes();
    let mut bytes = vec![0x20, 0, a, b, 0, 0, 0, 0, 0, 0, (frame_type & 0x1f) << 2, u8::from(subheader)];
    if subheader {
        bytes.extend_from_slice(&[0; 8]);
    }
    bytes.extend_from_slice(content);
    gre(Gre { sequence: Some(1), ..Gre::default() }, 0x22eb, &bytes)
}

/// VXLAN around an Ethernet frame, to `port` ([`VXLAN_PORT`] or [`VXLAN_OLD_PORT`]); `vni` is cut to 24 bits.
#[must_use]
pub fn vxlan(outer: &Builder, port: u16, vni: u32, frame: &[u8]) -> Segment {
    let header = [0x0800_0000_u32.to_be_bytes(), (vni << 8).to_be_bytes()].concat();
    outer.udp_segment(ENTROPY_PORT, port, &[&header, frame].concat())
}

/// GENEVE around `content` of the protocol type `kind`, with `options` words of 4 bytes (at most 63).
#[must_use]
pub fn geneve(outer: &Builder, vni: u32, kind: u16, options: u8, content: &[u8]) -> Segment {
    let options = options & 0x3f;
    let [a, b] = kind.to_be_bytes();
    let mut bytes = vec![options, 0, a, b];
    bytes.extend_from_slice(&(vni << 8).to_be_bytes());
    bytes.resize(8 + usize::from(options) * 4, 0);
    bytes.extend_from_slice(content);
    outer.udp_segment(ENTROPY_PORT, GENEVE_PORT, &bytes)
}

/// A frame with an MPLS label stack, outermost first, around an IP datagram. Addresses and ports of `link` are unused.
#[must_use]
pub fn mpls(link: &Builder, labels: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, label) in labels.iter().enumerate() {
        let bottom = u32::from(i + 1 == labels.len());
        bytes.extend_from_slice(&(label << 12 | bottom << 8 | 64).to_be_bytes());
    }
    bytes.extend_from_slice(content);
    link.carry(ethertype::MPLS, &bytes)
}

/// A frame with an Ethernet pseudowire with control word (RFC 4448) over MPLS.
#[must_use]
pub fn pseudowire(link: &Builder, labels: &[u32], frame: &[u8]) -> Vec<u8> {
    mpls(link, labels, &[&[0; 4], frame].concat())
}

/// A frame of a PPPoE session around an IP datagram.
#[must_use]
pub fn pppoe(link: &Builder, session: u16, datagram: &[u8]) -> Vec<u8> {
    let v6 = datagram.first().is_some_and(|b| b >> 4 == 6);
    let length = u16::try_from(datagram.len() + 2).unwrap_or(0).to_be_bytes();
    let protocol = if v6 { 0x0057_u16 } else { 0x0021 };
    let header = [[0x11, 0], session.to_be_bytes(), length, protocol.to_be_bytes()].concat();
    link.carry(ethertype::PPPOE_SESSION, &[&header, datagram].concat())
}
