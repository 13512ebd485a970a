//! What may lie between a frame and its innermost packet: tags, labels, sessions and tunnels.
//!
//! The rules stand in [`crate::parse`](mod@crate::parse); the twin is `crates/kernel/bpf/tunnel.h`.
//!
//! # The identifier of a tunnel
//!
//! [`Packet::tunnel`] is the same for both directions of a conversation, so that it can be part of a flow's key, and
//! different for conversations of the same addresses in different overlay networks. Each tunnel passed, from the
//! outermost to the innermost, turns the identifier `t` so far (0 at first) into
//!
//! ```text
//! t = (t · 0x9e3779b1 mod 2^32) XOR (kind · 2^24) XOR low 24 bits of (id XOR id / 2^24)      0 becomes 1
//! ```
//!
//! where `kind` is a [`Kind`] and `id` is the VNI (VXLAN, GENEVE), the virtual subnet (upper 24 bits of the key) of GRE
//! that is shaped like NVGRE (Ethernet inside, a key, neither checksum nor sequence number, since the lower 8 bits of its
//! key may differ by flow), the key of other GRE, the session of ERSPAN II and III and of PPPoE, and else 0. A single
//! tunnel can thus be read off in hexadecimal: `0x0500002a` is VXLAN network 42.
//!
//! MPLS labels are left out, since each direction has its own and the last hop may carry none. So are the outer addresses:
//! tunnels without any identifier that carry the same private addresses between different ends are taken for one. GRE
//! whose ends use a key each gives a conversation two flows.

use crate::packet::{Fragment, MAX_VLAN_TAGS, Packet, Skip, protocol};
use crate::parse::{Place, Version, be16, be32, bytes, ethertype};

/// Tunnels opened one inside the other before giving up: one more than overlay in overlay (VXLAN in ERSPAN in GRE).
/// PPPoE does not count, since a frame has it once.
pub const MAX_TUNNELS: usize = 3;
/// MPLS labels followed before giving up; networks stack up to about five.
pub const MAX_MPLS_LABELS: usize = 8;

/// Destination port of VXLAN (RFC 7348).
pub const VXLAN_PORT: u16 = 4789;
/// Destination port of VXLAN before it had one; still the default of Linux.
pub const VXLAN_OLD_PORT: u16 = 8472;
/// Destination port of GENEVE (RFC 8926).
pub const GENEVE_PORT: u16 = 6081;

/// What a tunnel is, as its identifier tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// IPv4 in IP.
    Ipv4 = 1,
    /// IPv6 in IP.
    Ipv6 = 2,
    /// GRE, with IP or Ethernet inside; the latter is NVGRE too.
    Gre = 3,
    /// ERSPAN of any type: mirrored frames.
    Erspan = 4,
    /// VXLAN.
    Vxlan = 5,
    /// GENEVE.
    Geneve = 6,
    /// PPPoE.
    Pppoe = 7,
    /// Ethernet pseudowire over MPLS.
    Pseudowire = 8,
}

/// The identifier inside a tunnel of this kind and `id`, where it is `outer` outside of it.
#[must_use]
pub const fn identifier(outer: u32, kind: Kind, id: u32) -> u32 {
    let own = (kind as u32) << 24 ^ (id ^ id >> 24) & 0x00ff_ffff;
    match outer.wrapping_mul(0x9e37_79b1) ^ own {
        0 => 1,
        t => t,
    }
}

/// Whether the packet may carry another one: cheap, since each packet is asked.
#[inline]
pub(crate) fn may_carry(p: &Packet<'_>) -> bool {
    if p.protocol == protocol::TCP {
        return false;
    }
    let kind = match p.protocol {
        protocol::UDP => matches!(p.dst_port, VXLAN_PORT | VXLAN_OLD_PORT | GENEVE_PORT),
        protocol::IPV4 | protocol::IPV6 | protocol::GRE => true,
        _ => false,
    };
    kind && p.fragment == Fragment::None
}

/// What a packet of a tunnel's protocol or port holds.
pub(crate) enum Opened {
    /// It is no tunnel.
    Plain,
    /// A tunnel, but not one that can be followed.
    Opaque,
    /// A tunnel.
    Content(Content),
}

/// Where the content of a tunnel begins and what it is.
pub(crate) struct Content {
    /// Bytes of the tunnel's header.
    pub(crate) header: usize,
    /// EtherType of the content.
    pub(crate) kind: u16,
    /// The identifier inside the tunnel.
    pub(crate) tunnel: u32,
}

/// Reads the tunnel header at the beginning of the payload.
pub(crate) fn open(p: &Packet<'_>) -> Opened {
    let content = match p.protocol {
        protocol::IPV4 => Some((0, ethertype::IPV4, Kind::Ipv4, 0)),
        protocol::IPV6 => Some((0, ethertype::IPV6, Kind::Ipv6, 0)),
        protocol::GRE => gre(p.payload),
        _ => match bytes::<8>(p.payload, 0) {
            None if p.payload_len < 8 => return Opened::Plain,
            None => return Opened::Opaque,
            Some(h) => match if p.dst_port == GENEVE_PORT { geneve(h) } else { vxlan(h) } {
                None => return Opened::Plain,
                content => content,
            },
        },
    };
    content.map_or(Opened::Opaque, |(header, kind, tunnel, id)| {
        Opened::Content(Content { header, kind, tunnel: identifier(p.tunnel, tunnel, id) })
    })
}

/// Header length, content, kind and identifier of a tunnel.
type Header = Option<(usize, u16, Kind, u32)>;

/// RFC 7348 §5: flags, three reserved bytes, VNI, a reserved byte.
fn vxlan(h: &[u8; 8]) -> Header {
    let sound = be32(h, 0) == 0x0800_0000 && h[7] == 0;
    sound.then(|| (8, ethertype::ETHERNET, Kind::Vxlan, be32(h, 4) >> 8))
}

/// RFC 8926 §3.4: version and option words, flags, protocol type, VNI, a reserved byte.
fn geneve(h: &[u8; 8]) -> Header {
    let kind = be16(h, 2);
    let sound = h[0] >> 6 == 0 && matches!(kind, ethertype::ETHERNET | ethertype::IPV4 | ethertype::IPV6);
    sound.then(|| (8 + usize::from(h[0] & 0x3f) * 4, kind, Kind::Geneve, be32(h, 4) >> 8))
}

/// GRE with what its optional fields and ERSPAN put before the content.
fn gre(payload: &[u8]) -> Header {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    const ERSPAN: u16 = 0x88be;
    const ERSPAN_III: u16 = 0x22eb;

    let h: &[u8; 4] = bytes(payload, 0)?;
    let (flags, kind) = (be16(h, 0), be16(h, 2));
    if flags & (ROUTING | VERSION) != 0 {
        return None;
    }
    let mut at = if flags & CHECKSUM == 0 { 4 } else { 8 };
    let mut key = 0;
    if flags & KEY != 0 {
        key = be32(bytes::<4>(payload, at)?, 0);
        at += 4;
        if kind == ethertype::ETHERNET && flags & (CHECKSUM | SEQUENCE) == 0 {
            key >>= 8;
        }
    }
    if flags & SEQUENCE != 0 {
        at += 4;
    }
    match kind {
        ERSPAN if flags & SEQUENCE == 0 => Some((at, ethertype::ETHERNET, Kind::Erspan, 0)),
        ERSPAN => {
            let e: &[u8; 8] = bytes(payload, at)?;
            (e[0] >> 4 == 1).then(|| (at + 8, ethertype::ETHERNET, Kind::Erspan, session(be16(e, 2))))
        }
        ERSPAN_III => {
            let e: &[u8; 12] = bytes(payload, at)?;
            at += if e[11] & 1 == 0 { 12 } else { 20 };
            let content = match (e[10] >> 2 & 0x1f, payload.get(at)? >> 4) {
                (0, _) => ethertype::ETHERNET,
                (2, 4) => ethertype::IPV4,
                (2, 6) => ethertype::IPV6,
                _ => return None,
            };
            (e[0] >> 4 == 2).then(|| (at, content, Kind::Erspan, session(be16(e, 2))))
        }
        _ => Some((at, kind, Kind::Gre, key)),
    }
}

/// The session in the second word of an ERSPAN header: its lower ten bits.
fn session(word: u16) -> u32 {
    u32::from(word & 0x03ff)
}

/// Follows tags, labels, PPPoE and pseudowires from `at`, where the content is EtherType `kind`, to the IP header.
/// `tunnel` and `tunnels` are the identifier and the number of the tunnels passed before.
pub(crate) fn behind(
    frame: &[u8],
    mut at: usize,
    mut kind: u16,
    mut tunnel: u32,
    mut tunnels: usize,
) -> Result<Place, Skip> {
    let mut vlan = None;
    let mut tags = 0;
    loop {
        let version = match kind {
            ethertype::IPV4 => Version::V4,
            ethertype::IPV6 => Version::V6,
            ethertype::VLAN | ethertype::QINQ | ethertype::OLD_QINQ | ethertype::OLDER_QINQ => {
                if tags == MAX_VLAN_TAGS {
                    return Err(Skip::TooManyTags);
                }
                let tag: &[u8; 4] = bytes(frame, at).ok_or(Skip::LinkTruncated)?;
                vlan.get_or_insert(be16(tag, 0) & 0x0fff);
                kind = be16(tag, 2);
                at += 4;
                tags += 1;
                continue;
            }
            ethertype::MPLS | ethertype::MPLS_MULTICAST => {
                at = behind_labels(frame, at)?;
                match frame.get(at).ok_or(Skip::LinkTruncated)? >> 4 {
                    4 => Version::V4,
                    6 => Version::V6,
                    0 => {
                        let word: &[u8; 4] = bytes(frame, at).ok_or(Skip::LinkTruncated)?;
                        if be16(word, 0) != 0 || tunnels >= MAX_TUNNELS {
                            return Err(Skip::NotIp);
                        }
                        let header: &[u8; 14] = bytes(frame, at + 4).ok_or(Skip::LinkTruncated)?;
                        kind = be16(header, 12);
                        at += 18;
                        tags = 0;
                        vlan.get_or_insert(0);
                        tunnel = identifier(tunnel, Kind::Pseudowire, 0);
                        tunnels += 1;
                        continue;
                    }
                    _ => return Err(Skip::NotIp),
                }
            }
            ethertype::PPPOE_SESSION => {
                let h: &[u8; 8] = bytes(frame, at).ok_or(Skip::LinkTruncated)?;
                let version = match (be16(h, 0), be16(h, 6)) {
                    (0x1100, 0x0021) => Version::V4,
                    (0x1100, 0x0057) => Version::V6,
                    _ => return Err(Skip::NotIp),
                };
                at += 8;
                tunnel = identifier(tunnel, Kind::Pppoe, u32::from(be16(h, 2)));
                version
            }
            _ => return Err(Skip::NotIp),
        };
        return Ok(Place { version, at, vlan: vlan.unwrap_or(0), tunnel, tunnels });
    }
}

/// The offset behind the label stack that begins at `at`.
fn behind_labels(frame: &[u8], mut at: usize) -> Result<usize, Skip> {
    for _ in 0..MAX_MPLS_LABELS {
        let label: &[u8; 4] = bytes(frame, at).ok_or(Skip::LinkTruncated)?;
        at += 4;
        if label[2] & 1 != 0 {
            return Ok(at);
        }
    }
    Err(Skip::TooManyTags)
}
