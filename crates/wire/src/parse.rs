//! The header parser: one frame in, one [`Packet`] or the reason why not out.
//!
//! It is written by hand, without layers or allocation, because every packet of a replay passes it. It is the twin of
//! `crates/kernel/bpf/parse.h`: both follow the rules below, and the differential test of the `kernel` crate holds
//! them to it. `frame` is what was captured, `frame_len` what the frame had on the wire (raised to the captured
//! length if a source states less).
//!
//! # Rules
//!
//! Checks are made in the order given; the first that fails names the [`Skip`].
//!
//! **Link.**
//! * Ethernet: 14 bytes, else `LinkTruncated`. EtherType 0x8100 (802.1Q), 0x88a8 (802.1ad), 0x9100 or 0x9200 (older
//!   double tagging) is a tag of 4 bytes (`LinkTruncated` if not captured); a tag after the first [`MAX_VLAN_TAGS`] is
//!   `TooManyTags`. `vlan` is the VLAN identifier (12 bits) of the outermost tag; tags inside tunnels do not count for
//!   it. EtherType 0x0800 is IPv4, 0x86dd is IPv6, MPLS and PPPoE are below, all else is `NotIp`.
//! * MPLS (EtherType 0x8847, 0x8848; RFC 3032): labels of 4 bytes (`LinkTruncated` if not captured) up to the bottom of
//!   the stack; a label after the first [`MAX_MPLS_LABELS`](crate::tunnel::MAX_MPLS_LABELS) is `TooManyTags`. What
//!   follows is told by the first four bits of its first byte (`LinkTruncated` if not captured): 4 is IPv4, 6 is IPv6, 0
//!   is an Ethernet pseudowire (RFC 4448), all else is `NotIp`. The pseudowire's control word is 4 bytes
//!   (`LinkTruncated` if not captured), of which the first 16 bits are 0, else `NotIp`; an Ethernet frame follows. A
//!   pseudowire is a tunnel; one nested too deep is `NotIp`.
//! * PPPoE session (EtherType 0x8864, RFC 2516): 8 bytes with the PPP protocol, else `LinkTruncated`. Version and type 1
//!   and code 0, else `NotIp`. PPP protocol 0x0021 is IPv4, 0x0057 is IPv6, all else is `NotIp`. It is a tunnel.
//! * Linux cooked v1: 16 bytes, EtherType in the last two; v2: 20 bytes, EtherType in the first two. Then as Ethernet.
//! * BSD loopback: 4 bytes, the address family in either byte order: 2 is IPv4; 10, 24, 28 and 30 are IPv6; all else is
//!   `NotIp`.
//! * Raw IP: the version is the first four bits; no byte at all is `IpTruncated`, a version other than 4 and 6 is
//!   `IpMalformed`.
//!
//! **IPv4.** 20 bytes captured, else `IpTruncated`. Version 4 and ihl ≥ 5, else `IpMalformed`. ihl·4 bytes captured,
//! else `IpTruncated`. `ip_len` = tot_len; tot_len 0 (segmentation offload) → frame bytes from the IP header on. tot_len <
//! ihl·4 → `IpMalformed`. A fragment offset other than 0 is a later fragment, else "more fragments" a first one. The
//! protocol is the header's; IPv4 has no extension chain, AH and ESP are protocols like others.
//!
//! **IPv6.** 40 bytes captured, else `IpTruncated`. Version 6, else `IpMalformed`. `ip_len` = payload_len + 40;
//! payload_len 0 with a next header other than "no next header" (59) → frame bytes from the IP header on (jumbogram,
//! segmentation offload). Extension headers hop-by-hop (0), routing (43), fragment (44), AH (51), destination options
//! (60), mobility (135), HIP (139) and shim6 (140) are followed; one after the first [`MAX_EXTENSION_HEADERS`] is
//! `TooManyExtensions`; its first 8 bytes must be captured, else `IpTruncated`; it is (second byte + 1)·8 bytes long, AH
//! (second byte + 2)·4, fragment 8; ending beyond `ip_len` is `IpMalformed`. A fragment header with an offset other than
//! 0 makes a later fragment and ends the chain: the protocol is its next header, whatever that is; with offset 0 and
//! "more" it makes a first one; with neither (RFC 6946) it changes nothing. Any other next header (ESP and "no next
//! header" too) ends the chain and is the protocol.
//!
//! `ip_len` larger than what the frame holds is accepted (a cut capture): lengths stay as stated.
//!
//! **Transport.** The stated transport length is `ip_len` less the IP headers. By protocol number alone, in either IP
//! version:
//! * Later fragments: ports 0, flags 0, `payload_len` = stated transport length.
//! * TCP (6): 20 bytes captured, else `TransportTruncated`; 20 stated, else `TransportMalformed`; data offset ≥ 5 and
//!   ·4 ≤ stated, else `TransportMalformed`. `payload_len` = stated − offset·4. Options need not be captured.
//! * UDP (17): 8 bytes captured, else `TransportTruncated`; 8 stated, else `TransportMalformed`. Length 0 (jumbogram,
//!   offload) → `payload_len` = stated − 8. Length < 8 → `TransportMalformed`. Length > stated → `TransportMalformed`, but
//!   in a first fragment, where it covers the whole datagram, `payload_len` = stated − 8. Else `payload_len` = length − 8.
//! * ICMP (1) and ICMPv6 (58): 4 bytes captured, else `TransportTruncated`; 4 stated, else `TransportMalformed`.
//!   `payload_len` = stated − 8, not below 0. Source port = type; destination port = the counterpart of a two-way type
//!   ([`icmp_counterpart`]), else the code.
//! * SCTP (132): 12 bytes captured, else `TransportTruncated`; 12 stated, else `TransportMalformed`. `payload_len` =
//!   stated − 12.
//! * All others: ports 0, `payload_len` = stated transport length.
//!
//! **Payload.** The `payload` slice begins behind the transport header (behind 8 bytes for ICMP, at the transport for
//! others) and ends with the captured bytes or after `payload_len`, whichever is sooner: Ethernet padding is no payload.
//!
//! **Tunnels.** A packet that is no fragment and carries another one gives way to it, and so on inwards:
//! * Protocol 4 (RFC 2003, RFC 2473) holds IPv4, protocol 41 (RFC 4213, RFC 2473) IPv6.
//! * GRE (protocol 47, RFC 2784, RFC 2890): version 0 without routing, at least 4 bytes, and 4 for each of checksum, key
//!   and sequence number; all else is opaque. The protocol type is read like an EtherType; 0x6558 is an Ethernet frame
//!   (also NVGRE, RFC 7637); 0x88be is ERSPAN: without sequence number an Ethernet frame at once (type I), with one an
//!   8-byte header of version 1 before it (type II); 0x22eb is ERSPAN type III: a 12-byte header of version 2, and 8 more
//!   if its last bit is set, before an Ethernet frame (frame type 0) or an IP packet (frame type 2).
//! * VXLAN (UDP to port 4789 or 8472, RFC 7348): 8 bytes; only with the I flag set and all reserved bits zero.
//! * GENEVE (UDP to port 6081, RFC 8926): 8 bytes and the options; only of version 0 and with protocol type 0x6558, 0x0800
//!   or 0x86dd.
//!
//! UDP to these ports without such a header is plain UDP, and so is UDP that states fewer than 8 bytes of payload. The
//! content of a tunnel is a frame of its own: its captured bytes are the captured payload, its length on the wire is
//! `payload_len`, both less the tunnel's header, and all rules above hold for it. If it does not parse, for whatever
//! reason (headers not captured, ARP, a GRE protocol not listed), or lies deeper than
//! [`MAX_TUNNELS`](crate::tunnel::MAX_TUNNELS), the packet around it is the result, with `opaque_tunnel` set. `frame_len`
//! and `vlan` are always those of the whole frame. `tunnel` names the tunnels passed; see [`crate::tunnel`] for how.
//! Fragments are never opened: the later ones could not be.

use crate::Addr;
use crate::icmp::icmp_counterpart;
use crate::packet::{Fragment, LinkType, MAX_EXTENSION_HEADERS, Packet, Skip, protocol};
use crate::tunnel::{self, Content, MAX_TUNNELS, Opened};

/// EtherTypes (IEEE 802 numbers) the parser knows.
pub(crate) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const QINQ: u16 = 0x88a8;
    /// What double tagging used before 802.1ad; still a switch setting.
    pub(crate) const OLD_QINQ: u16 = 0x9100;
    pub(crate) const OLDER_QINQ: u16 = 0x9200;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const PPPOE_SESSION: u16 = 0x8864;
    /// Transparent Ethernet bridging: a whole Ethernet frame, in GRE and GENEVE.
    pub(crate) const ETHERNET: u16 = 0x6558;
}

/// IPv6 next-header values (IANA) that continue or end the chain.
pub(crate) mod next_header {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const AH: u8 = 51;
    pub(crate) const NONE: u8 = 59;
    pub(crate) const DESTINATION: u8 = 60;
    pub(crate) const MOBILITY: u8 = 135;
    pub(crate) const HIP: u8 = 139;
    pub(crate) const SHIM6: u8 = 140;
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_REQUIRED: usize = 4;
const ICMP_HEADER: usize = 8;
const SCTP_HEADER: usize = 12;

/// IP versions as the link layer announces them.
#[derive(Clone, Copy)]
pub(crate) enum Version {
    V4,
    V6,
}

/// Where an IP header was found.
pub(crate) struct Place {
    pub(crate) version: Version,
    /// Offset of the IP header; at most the captured length.
    pub(crate) at: usize,
    /// Outermost VLAN, 0 when untagged.
    pub(crate) vlan: u16,
    /// Identifier of the tunnels passed.
    pub(crate) tunnel: u32,
    /// How many of them count for `MAX_TUNNELS`.
    pub(crate) tunnels: usize,
}

impl Place {
    /// Neither tagged nor tunnelled.
    #[inline]
    const fn plain(version: Version, at: usize) -> Self {
        Self { version, at, vlan: 0, tunnel: 0, tunnels: 0 }
    }
}

/// What the IP headers say. Addresses are kept as integers in memory order, so that they travel in registers.
struct Ip {
    src: u128,
    dst: u128,
    protocol: u8,
    ttl: u8,
    fragment: Fragment,
    fragment_id: u32,
    fragment_offset: u16,
    /// Bytes of all IP headers.
    header: usize,
    /// Stated bytes, IP headers included; never below `header`.
    len: u32,
}

/// What an IPv6 header chain comes to.
struct Chain {
    protocol: u8,
    fragment: Fragment,
    fragment_id: u32,
    fragment_offset: u16,
    /// Bytes of all IP headers.
    header: usize,
}

/// What the transport header says.
struct Transport {
    src_port: u16,
    dst_port: u16,
    tcp_flags: u8,
    tcp_seq: u32,
    tcp_ack: u32,
    tcp_window: u16,
    icmp_type: u8,
    icmp_code: u8,
    /// Bytes of the transport header.
    header: usize,
    /// Stated payload bytes.
    payload: u32,
}

impl Transport {
    /// No header of its own.
    const fn opaque(payload: u32) -> Self {
        Self {
            src_port: 0,
            dst_port: 0,
            tcp_flags: 0,
            tcp_seq: 0,
            tcp_ack: 0,
            tcp_window: 0,
            icmp_type: 0,
            icmp_code: 0,
            header: 0,
            payload,
        }
    }
}

/// Parses one frame by the rules of this module, down to the innermost packet.
///
/// `frame` holds the captured bytes from the link header on; `frame_len` is the length on the wire in bytes.
///
/// # Errors
///
/// The reason why the frame is not a packet; see the rules.
#[inline]
pub fn parse(link: LinkType, frame: &[u8], frame_len: u32) -> Result<Packet<'_>, Skip> {
    let frame_len = frame_len.max(u32::try_from(frame.len()).unwrap_or(u32::MAX));
    match begin(link, frame)? {
        Start::Ip(version, at) => down(frame, frame_len, &Place::plain(version, at)),
        Start::Link(at, kind) => behind(frame, frame_len, at, kind),
    }
}

/// [`parse`] from the IP header at `place` on.
#[inline(always)]
fn down<'a>(frame: &'a [u8], frame_len: u32, place: &Place) -> Result<Packet<'a>, Skip> {
    let packet = datagram(frame, frame_len, place, frame_len)?;
    if tunnel::may_carry(&packet) {
        return Ok(innermost(packet, place.tunnels));
    }
    Ok(packet)
}

/// [`parse`] from tags, labels or a session at `at` on, announced as EtherType `kind`. Apart, so that what plain frames
/// need stays in registers.
#[inline(never)]
fn behind(frame: &[u8], frame_len: u32, at: usize, kind: u16) -> Result<Packet<'_>, Skip> {
    down(frame, frame_len, &tunnel::behind(frame, at, kind, 0, 0)?)
}

/// Like [`parse`], but stops at the outermost packet: the tunnel's, where [`parse`] gives what it carries.
///
/// # Errors
///
/// As [`parse`].
pub fn outermost(link: LinkType, frame: &[u8], frame_len: u32) -> Result<Packet<'_>, Skip> {
    let frame_len = frame_len.max(u32::try_from(frame.len()).unwrap_or(u32::MAX));
    let place = match begin(link, frame)? {
        Start::Ip(version, at) => Place::plain(version, at),
        Start::Link(at, kind) => tunnel::behind(frame, at, kind, 0, 0)?,
    };
    datagram(frame, frame_len, &place, frame_len)
}

/// What the link header leads to.
pub(crate) enum Start {
    /// IP at this offset.
    Ip(Version, usize),
    /// Something else at this offset, announced as this EtherType.
    Link(usize, u16),
}

/// Reads the link header.
#[inline(always)]
pub(crate) fn begin(link: LinkType, frame: &[u8]) -> Result<Start, Skip> {
    let (at, kind) = match link {
        LinkType::Ethernet => {
            let Some(header) = frame.first_chunk::<14>() else { return Err(Skip::LinkTruncated) };
            (14, be16(header, 12))
        }
        LinkType::RawIp => {
            return match frame.first().map(|b| b >> 4) {
                Some(4) => Ok(Start::Ip(Version::V4, 0)),
                Some(6) => Ok(Start::Ip(Version::V6, 0)),
                Some(_) => Err(Skip::IpMalformed),
                None => Err(Skip::IpTruncated),
            };
        }
        LinkType::LinuxSll => {
            let Some(header) = frame.first_chunk::<16>() else { return Err(Skip::LinkTruncated) };
            (16, be16(header, 14))
        }
        LinkType::LinuxSll2 => {
            let Some(header) = frame.first_chunk::<20>() else { return Err(Skip::LinkTruncated) };
            (20, be16(header, 0))
        }
        LinkType::BsdLoopback => {
            let Some(&header) = frame.first_chunk::<4>() else { return Err(Skip::LinkTruncated) };
            // The writer's byte order is not recorded; no family is a palindrome, so at most one reading fits.
            let (le, be) = (u32::from_le_bytes(header), u32::from_be_bytes(header));
            return match le.min(be) {
                2 => Ok(Start::Ip(Version::V4, 4)),
                10 | 24 | 28 | 30 => Ok(Start::Ip(Version::V6, 4)),
                _ => Err(Skip::NotIp),
            };
        }
    };
    Ok(match kind {
        ethertype::IPV4 => Start::Ip(Version::V4, at),
        ethertype::IPV6 => Start::Ip(Version::V6, at),
        _ => Start::Link(at, kind),
    })
}

/// The packet whose IP header is at `place` in `content`, the whole frame or what a tunnel holds, of which `on_wire`
/// bytes are stated. `frame_len` is that of the whole frame.
#[inline(always)]
fn datagram<'a>(content: &'a [u8], on_wire: u32, place: &Place, frame_len: u32) -> Result<Packet<'a>, Skip> {
    let datagram = content.get(place.at..).unwrap_or_default();
    let on_wire = on_wire.saturating_sub(place.at as u32);
    let ip = match place.version {
        Version::V4 => ipv4(datagram, on_wire)?,
        Version::V6 => ipv6(datagram, on_wire)?,
    };
    let t = transport(datagram, &ip)?;
    let captured = datagram.get(ip.header + t.header..).unwrap_or_default();
    // One literal at the end: a packet filled in step by step costs half as much again in copies.
    Ok(Packet {
        src: Addr(ip.src.to_ne_bytes()),
        dst: Addr(ip.dst.to_ne_bytes()),
        src_port: t.src_port,
        dst_port: t.dst_port,
        protocol: ip.protocol,
        vlan: place.vlan,
        ip_len: ip.len,
        frame_len,
        payload_len: t.payload,
        ttl: ip.ttl,
        tcp_flags: t.tcp_flags,
        tcp_seq: t.tcp_seq,
        tcp_ack: t.tcp_ack,
        tcp_window: t.tcp_window,
        icmp_type: t.icmp_type,
        icmp_code: t.icmp_code,
        fragment: ip.fragment,
        fragment_id: ip.fragment_id,
        fragment_offset: ip.fragment_offset,
        transport_len: t.header as u8,
        tunnel: place.tunnel,
        opaque_tunnel: false,
        payload: captured.get(..t.payload as usize).unwrap_or(captured),
    })
}

/// Opens tunnels from `packet` inwards; `tunnels` of them lie around it.
#[cold]
fn innermost(mut packet: Packet<'_>, mut tunnels: usize) -> Packet<'_> {
    while tunnel::may_carry(&packet) {
        let inner = match tunnel::open(&packet) {
            Opened::Plain => break,
            Opened::Content(content) if tunnels < MAX_TUNNELS => inside(&packet, &content, tunnels + 1),
            Opened::Content(_) | Opened::Opaque => None,
        };
        let Some((inner, passed)) = inner else {
            packet.opaque_tunnel = true;
            break;
        };
        (packet, tunnels) = (inner, passed);
    }
    packet
}

/// The packet that `outer` holds, and how many tunnels lie around it.
fn inside<'a>(outer: &Packet<'a>, content: &Content, tunnels: usize) -> Option<(Packet<'a>, usize)> {
    let bytes = outer.payload.get(content.header..)?;
    let on_wire = outer.payload_len.checked_sub(content.header as u32)?;
    let (at, kind) = match content.kind {
        ethertype::ETHERNET => (14, be16(bytes.first_chunk::<14>()?, 12)),
        kind => (0, kind),
    };
    let place = tunnel::behind(bytes, at, kind, content.tunnel, tunnels).ok()?;
    let inner = datagram(bytes, on_wire, &Place { vlan: outer.vlan, ..place }, outer.frame_len).ok()?;
    Some((inner, place.tunnels))
}

#[inline]
fn ipv4(datagram: &[u8], on_wire: u32) -> Result<Ip, Skip> {
    let h: &[u8; IPV4_HEADER] = bytes(datagram, 0).ok_or(Skip::IpTruncated)?;
    let header = usize::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header < IPV4_HEADER {
        return Err(Skip::IpMalformed);
    }
    if datagram.len() < header {
        return Err(Skip::IpTruncated);
    }
    let len = match be16(h, 2) {
        0 => on_wire,
        stated if usize::from(stated) < header => return Err(Skip::IpMalformed),
        stated => u32::from(stated),
    };
    let fragment = match be16(h, 6) {
        f if f & 0x1fff != 0 => Fragment::Later,
        f if f & 0x2000 != 0 => Fragment::First,
        _ => Fragment::None,
    };
    let mapped = |at| u128::from_ne_bytes((0xffff_0000_0000 | u128::from(be32(h, at))).to_be_bytes());
    let (fragment_id, fragment_offset) = match fragment {
        Fragment::None => (0, 0),
        _ => (u32::from(be16(h, 4)), (be16(h, 6) & 0x1fff) << 3),
    };
    Ok(Ip {
        src: mapped(12),
        dst: mapped(16),
        protocol: h[9],
        ttl: h[8],
        fragment,
        fragment_id,
        fragment_offset,
        header,
        len,
    })
}

#[inline]
fn ipv6(datagram: &[u8], on_wire: u32) -> Result<Ip, Skip> {
    let h: &[u8; IPV6_HEADER] = bytes(datagram, 0).ok_or(Skip::IpTruncated)?;
    if h[0] >> 4 != 6 {
        return Err(Skip::IpMalformed);
    }
    let len = match be16(h, 4) {
        0 if h[6] != next_header::NONE => on_wire,
        stated => u32::from(stated) + IPV6_HEADER as u32,
    };
    let address = |at| u128::from_ne_bytes(*bytes(h, at).unwrap_or(&[0; 16]));
    let chain = if is_extension(h[6]) {
        extensions(datagram, h[6], len)?
    } else {
        Chain {
            protocol: h[6],
            fragment: Fragment::None,
            fragment_id: 0,
            fragment_offset: 0,
            header: IPV6_HEADER,
        }
    };
    let Chain { protocol, fragment, fragment_id, fragment_offset, header } = chain;
    Ok(Ip {
        src: address(8),
        dst: address(24),
        protocol,
        ttl: h[7],
        fragment,
        fragment_id,
        fragment_offset,
        header,
        len,
    })
}

#[inline]
pub(crate) const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        next_header::HOP_BY_HOP
            | next_header::ROUTING
            | next_header::FRAGMENT
            | next_header::AH
            | next_header::DESTINATION
            | next_header::MOBILITY
            | next_header::HIP
            | next_header::SHIM6
    )
}

/// Follows the extension headers, of which `next` is the first: the protocol behind them, the place in the datagram
/// and the length of all IP headers.
fn extensions(datagram: &[u8], mut next: u8, len: u32) -> Result<Chain, Skip> {
    let mut header = IPV6_HEADER;
    let mut fragment = Fragment::None;
    let (mut fragment_id, mut fragment_offset) = (0, 0);
    for _ in 0..MAX_EXTENSION_HEADERS {
        let e: &[u8; 8] = bytes(datagram, header).ok_or(Skip::IpTruncated)?;
        header += match next {
            next_header::FRAGMENT => 8,
            next_header::AH => (usize::from(e[1]) + 2) * 4,
            _ => (usize::from(e[1]) + 1) * 8,
        };
        if header > len as usize {
            return Err(Skip::IpMalformed);
        }
        if next == next_header::FRAGMENT {
            let field = be16(e, 2);
            if field & 0xfff9 != 0 {
                (fragment_id, fragment_offset) = (be32(e, 4), field & 0xfff8);
            }
            if field & 0xfff8 != 0 {
                fragment = Fragment::Later;
                return Ok(Chain { protocol: e[0], fragment, fragment_id, fragment_offset, header });
            }
            if field & 1 != 0 {
                fragment = Fragment::First;
            }
        }
        next = e[0];
        if !is_extension(next) {
            return Ok(Chain { protocol: next, fragment, fragment_id, fragment_offset, header });
        }
    }
    Err(Skip::TooManyExtensions)
}

#[inline]
fn transport(datagram: &[u8], ip: &Ip) -> Result<Transport, Skip> {
    let stated = ip.len.saturating_sub(ip.header as u32);
    let opaque = Transport::opaque(stated);
    if ip.fragment == Fragment::Later {
        return Ok(opaque);
    }
    match ip.protocol {
        protocol::TCP => {
            let h: &[u8; TCP_HEADER] = bytes(datagram, ip.header).ok_or(Skip::TransportTruncated)?;
            let header = usize::from(h[12] >> 4) * 4;
            // Covers a stated length below 20 as well.
            if header < TCP_HEADER || header > stated as usize {
                return Err(Skip::TransportMalformed);
            }
            Ok(Transport {
                src_port: be16(h, 0),
                dst_port: be16(h, 2),
                tcp_seq: be32(h, 4),
                tcp_ack: be32(h, 8),
                tcp_flags: h[13],
                tcp_window: be16(h, 14),
                header,
                payload: stated - header as u32,
                ..opaque
            })
        }
        protocol::UDP => {
            let h: &[u8; UDP_HEADER] = bytes(datagram, ip.header).ok_or(Skip::TransportTruncated)?;
            let room = stated.checked_sub(UDP_HEADER as u32).ok_or(Skip::TransportMalformed)?;
            let payload = match u32::from(be16(h, 4)) {
                0 => room,
                length if length < UDP_HEADER as u32 => return Err(Skip::TransportMalformed),
                length if length <= stated => length - UDP_HEADER as u32,
                _ if ip.fragment == Fragment::First => room,
                _ => return Err(Skip::TransportMalformed),
            };
            Ok(Transport {
                src_port: be16(h, 0),
                dst_port: be16(h, 2),
                header: UDP_HEADER,
                payload,
                ..opaque
            })
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let h: &[u8; ICMP_REQUIRED] = bytes(datagram, ip.header).ok_or(Skip::TransportTruncated)?;
            if stated < ICMP_REQUIRED as u32 {
                return Err(Skip::TransportMalformed);
            }
            Ok(Transport {
                src_port: u16::from(h[0]),
                dst_port: u16::from(icmp_counterpart(ip.protocol, h[0]).unwrap_or(h[1])),
                icmp_type: h[0],
                icmp_code: h[1],
                header: ICMP_HEADER,
                payload: stated.saturating_sub(ICMP_HEADER as u32),
                ..opaque
            })
        }
        protocol::SCTP => {
            let h: &[u8; SCTP_HEADER] = bytes(datagram, ip.header).ok_or(Skip::TransportTruncated)?;
            let payload = stated.checked_sub(SCTP_HEADER as u32).ok_or(Skip::TransportMalformed)?;
            Ok(Transport {
                src_port: be16(h, 0),
                dst_port: be16(h, 2),
                header: SCTP_HEADER,
                payload,
                ..opaque
            })
        }
        _ => Ok(opaque),
    }
}

#[inline]
pub(crate) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<&[u8; N]> {
    from.get(at..)?.first_chunk()
}

#[inline]
pub(crate) fn be16<const N: usize>(b: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

#[inline]
pub(crate) fn be32<const N: usize>(b: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}
