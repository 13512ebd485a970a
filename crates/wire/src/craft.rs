//! Frames made to order, with correct lengths and checksums: for the lab, for rule test vectors and for tests.
//!
//! The short functions make what is needed most:
//!
//! ```
//! use wire::{craft, packet::tcp_flag};
//! let client = ("192.0.2.1".parse().unwrap(), 40_000);
//! let server = ("198.51.100.2".parse().unwrap(), 22);
//! let syn = craft::tcp(client, server, tcp_flag::SYN, 1, 0, 64_240, &[]);
//! let packet = wire::parse(wire::LinkType::Ethernet, &syn, syn.len() as u32).unwrap();
//! assert_eq!((packet.src, packet.dst_port, packet.tcp_flags), (client.0, 22, tcp_flag::SYN));
//! ```
//!
//! [`Builder`] makes the rest: VLAN tags, IP options, extension headers, fragments, other link types; and [`tunnel`] puts
//! one into the other. A length too
//! large for its 16-bit field is written as 0, as segmentation offload and jumbograms do. Nothing here panics.

pub mod tunnel;

use crate::packet::{LinkType, protocol};
use crate::parse::{ethertype, next_header};
use crate::{Addr, checksum};

/// Default TTL and hop limit, as Linux sends.
const TTL: u8 = 64;
/// Locally administered addresses (IEEE 802c): of nobody.
const SRC_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const DST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// An Ethernet frame with one TCP segment without options. `flags` are [`crate::packet::tcp_flag`] bits.
#[must_use]
pub fn tcp(
    src: (Addr, u16),
    dst: (Addr, u16),
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header =
        Tcp { src_port: src.1, dst_port: dst.1, flags, seq, ack, window, urgent: 0, options: Vec::new() };
    Builder::new(src.0, dst.0).tcp(&header, payload)
}

/// An Ethernet frame with one UDP datagram.
#[must_use]
pub fn udp(src: (Addr, u16), dst: (Addr, u16), payload: &[u8]) -> Vec<u8> {
    Builder::new(src.0, dst.0).udp(src.1, dst.1, payload)
}

/// An Ethernet frame with an ICMP or ICMPv6 echo request (or reply), by the version of `src`.
#[must_use]
pub fn icmp_echo(src: Addr, dst: Addr, request: bool, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    let builder = Builder::new(src, dst);
    let kind = match (builder.is_v4(), request) {
        (true, true) => 8,
        (true, false) => 0,
        (false, true) => 128,
        (false, false) => 129,
    };
    let [a, b] = id.to_be_bytes();
    let [c, d] = seq.to_be_bytes();
    builder.icmp(kind, 0, [a, b, c, d], payload)
}

/// The fields of a TCP header that are not computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Control bits, [`crate::packet::tcp_flag`].
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, zero-padded to a multiple of four bytes; what exceeds 40 bytes is left out.
    pub options: Vec<u8>,
}

/// A transport segment with its checksum, ready to be put behind an IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// IP protocol number.
    pub protocol: u8,
    /// Transport header and payload.
    pub bytes: Vec<u8>,
}

/// How to wrap segments into frames. IPv4 if both addresses are, else IPv6.
#[derive(Clone, Debug)]
pub struct Builder {
    link: LinkType,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    /// Tags, outermost first: EtherType and tag control information.
    tags: Vec<(u16, u16)>,
    src: Addr,
    dst: Addr,
    ttl: u8,
    tos: u8,
    id: u16,
    dont_fragment: bool,
    options: Vec<u8>,
    /// Extension headers: number and whole header, the first byte still to be set.
    extensions: Vec<(u8, Vec<u8>)>,
    pad: bool,
}

impl Builder {
    /// Ethernet, untagged, TTL 64, no options, not padded, "don't fragment" set.
    #[must_use]
    pub const fn new(src: Addr, dst: Addr) -> Self {
        Self {
            link: LinkType::Ethernet,
            src_mac: SRC_MAC,
            dst_mac: DST_MAC,
            tags: Vec::new(),
            src,
            dst,
            ttl: TTL,
            tos: 0,
            id: 0,
            dont_fragment: true,
            options: Vec::new(),
            extensions: Vec::new(),
            pad: false,
        }
    }

    /// Begins the frame as `link` does. BSD loopback is written in little-endian order.
    #[must_use]
    pub const fn link(mut self, link: LinkType) -> Self {
        self.link = link;
        self
    }

    /// Sets the Ethernet addresses.
    #[must_use]
    pub const fn macs(mut self, src: [u8; 6], dst: [u8; 6]) -> Self {
        self.src_mac = src;
        self.dst_mac = dst;
        self
    }

    /// Adds an 802.1Q tag inside those already there; `id` is cut to 12 bits.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ethertype::VLAN, id)
    }

    /// Adds an 802.1ad (service) tag inside those already there; `id` is cut to 12 bits.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Self {
        self.tag(ethertype::QINQ, id)
    }

    fn tag(mut self, kind: u16, id: u16) -> Self {
        self.tags.push((kind, id & 0x0fff));
        self
    }

    /// Sets TTL or hop limit.
    #[must_use]
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets type of service or traffic class.
    #[must_use]
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets the identification of the datagram and its fragments.
    #[must_use]
    pub const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Sets or clears "don't fragment" (IPv4).
    #[must_use]
    pub const fn dont_fragment(mut self, dont: bool) -> Self {
        self.dont_fragment = dont;
        self
    }

    /// Sets the IPv4 options, zero-padded to a multiple of four bytes; what exceeds 40 bytes is left out.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = padded_options(options);
        self
    }

    /// Adds an IPv6 extension header with number `kind` behind those already there. `content` is what follows its
    /// first two bytes, zero-padded to the header's unit of length (8 bytes; 4 for AH); what exceeds the longest
    /// header is left out. The fragment header is for [`Self::fragments`].
    #[must_use]
    pub fn extension(mut self, kind: u8, content: &[u8]) -> Self {
        let (unit, bias) = if kind == next_header::AH { (4, 2) } else { (8, 1) };
        let longest = (usize::from(u8::MAX) + bias) * unit;
        let mut header = vec![0, 0];
        header.extend_from_slice(&content[..content.len().min(longest - 2)]);
        header.resize(header.len().next_multiple_of(unit).max(8), 0);
        header[1] = (header.len() / unit - bias) as u8;
        self.extensions.push((kind, header));
        self
    }

    /// Pads Ethernet frames with zeros to the 60 bytes that a wire carries at least.
    #[must_use]
    pub const fn pad(mut self) -> Self {
        self.pad = true;
        self
    }

    /// Whether IPv4 headers are made.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.src.is_v4() && self.dst.is_v4()
    }

    /// A frame with a TCP segment.
    #[must_use]
    pub fn tcp(&self, header: &Tcp, payload: &[u8]) -> Vec<u8> {
        self.frame(&self.tcp_segment(header, payload))
    }

    /// A frame with a UDP datagram.
    #[must_use]
    pub fn udp(&self, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
        self.frame(&self.udp_segment(src_port, dst_port, payload))
    }

    /// A frame with an ICMP or ICMPv6 message; `rest` is bytes 4 to 7 of its header.
    #[must_use]
    pub fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        self.frame(&self.icmp_segment(kind, code, rest, payload))
    }

    /// A TCP segment between the builder's addresses.
    #[must_use]
    pub fn tcp_segment(&self, header: &Tcp, payload: &[u8]) -> Segment {
        let options = padded_options(&header.options);
        let mut bytes = Vec::with_capacity(20 + options.len() + payload.len());
        bytes.extend_from_slice(&header.src_port.to_be_bytes());
        bytes.extend_from_slice(&header.dst_port.to_be_bytes());
        bytes.extend_from_slice(&header.seq.to_be_bytes());
        bytes.extend_from_slice(&header.ack.to_be_bytes());
        bytes.push(((20 + options.len()) / 4) as u8 * 16);
        bytes.push(header.flags);
        bytes.extend_from_slice(&header.window.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&header.urgent.to_be_bytes());
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(payload);
        self.sealed(protocol::TCP, bytes, 16)
    }

    /// A UDP datagram between the builder's addresses.
    #[must_use]
    pub fn udp_segment(&self, src_port: u16, dst_port: u16, payload: &[u8]) -> Segment {
        let mut bytes = Vec::with_capacity(8 + payload.len());
        bytes.extend_from_slice(&src_port.to_be_bytes());
        bytes.extend_from_slice(&dst_port.to_be_bytes());
        bytes.extend_from_slice(&length_field(8 + payload.len()));
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(payload);
        let mut segment = self.sealed(protocol::UDP, bytes, 6);
        if segment.bytes[6..8] == [0, 0] {
            // A computed 0 is sent as its complement, since 0 means "no checksum" (RFC 768).
            segment.bytes[6..8].copy_from_slice(&[0xff, 0xff]);
        }
        segment
    }

    /// An ICMP or ICMPv6 message between the builder's addresses.
    #[must_use]
    pub fn icmp_segment(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Segment {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend_from_slice(&rest);
        bytes.extend_from_slice(payload);
        if self.is_v4() {
            let sum = checksum::internet(&[&bytes]);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            Segment { protocol: protocol::ICMP, bytes }
        } else {
            self.sealed(protocol::ICMPV6, bytes, 2)
        }
    }

    /// Writes the checksum over pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) and segment at `at`, which holds zeros.
    fn sealed(&self, protocol: u8, mut bytes: Vec<u8>, at: usize) -> Segment {
        let sum = checksum::transport(self.src, self.dst, protocol, &bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        Segment { protocol, bytes }
    }

    /// A frame with any segment.
    #[must_use]
    pub fn frame(&self, segment: &Segment) -> Vec<u8> {
        let flags = u16::from(self.dont_fragment) << 14;
        self.wrap(segment.protocol, &segment.bytes, flags, &self.extensions)
    }

    /// A frame with `content` of any EtherType behind the link header and the tags.
    #[must_use]
    pub fn carry(&self, kind: u16, content: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(64 + content.len());
        self.link_header(&mut frame, kind);
        frame.extend_from_slice(content);
        frame
    }

    /// The frames of a fragmented datagram. Each but the last carries `size` bytes of it, rounded down to the multiple
    /// of eight that the offset field counts in (but at least eight). What lies beyond the field's reach of 65,528
    /// bytes is left out. IPv6 headers up to the last hop-by-hop or routing header are in each fragment, those behind
    /// it are fragmented with the segment (RFC 8200 §4.5).
    #[must_use]
    pub fn fragments(&self, segment: &Segment, size: usize) -> Vec<Vec<u8>> {
        let each = self
            .extensions
            .iter()
            .rposition(|(kind, _)| matches!(*kind, next_header::HOP_BY_HOP | next_header::ROUTING))
            .map_or(0, |last| last + 1);
        let (each, parted) = if self.is_v4() { (&[][..], &[][..]) } else { self.extensions.split_at(each) };
        let protocol = parted.first().map_or(segment.protocol, |first| first.0);
        let mut whole = Vec::new();
        push_chain(&mut whole, parted, segment.protocol);
        whole.extend_from_slice(&segment.bytes);

        let size = (size / 8 * 8).max(8);
        let chunks = whole.chunks(size);
        let last = chunks.len().saturating_sub(1);
        chunks
            .enumerate()
            .map_while(|(i, chunk)| {
                let offset = u16::try_from(i * size / 8).ok().filter(|&n| n < 1 << 13)?;
                let more = u16::from(i != last);
                let [a, b] = (offset << 3 | more).to_be_bytes();
                let [c, d] = self.id.to_be_bytes();
                let mut chain = each.to_vec();
                chain.push((next_header::FRAGMENT, vec![0, 0, a, b, 0, 0, c, d]));
                Some(self.wrap(protocol, chunk, offset | more << 13, &chain))
            })
            .collect()
    }

    /// Link and IP headers around `content`: with `flags` beside the fragment offset in IPv4, with the extension
    /// headers `chain` in IPv6.
    fn wrap(&self, protocol: u8, content: &[u8], flags: u16, chain: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(64 + content.len());
        let v4 = self.is_v4();
        self.link_header(&mut frame, if v4 { ethertype::IPV4 } else { ethertype::IPV6 });
        if v4 {
            self.ipv4_header(&mut frame, protocol, content.len(), flags);
        } else {
            self.ipv6_header(&mut frame, protocol, content.len(), chain);
        }
        frame.extend_from_slice(content);
        if self.pad && self.link == LinkType::Ethernet {
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }

    fn link_header(&self, frame: &mut Vec<u8>, ip: u16) {
        let outermost = self.tags.first().map_or(ip, |tag| tag.0).to_be_bytes();
        match self.link {
            LinkType::Ethernet => {
                frame.extend_from_slice(&self.dst_mac);
                frame.extend_from_slice(&self.src_mac);
                frame.extend_from_slice(&outermost);
            }
            LinkType::LinuxSll => {
                // To us, ARPHRD_ETHER, an address of six bytes in a field of eight.
                frame.extend_from_slice(&[0, 0, 0, 1, 0, 6]);
                frame.extend_from_slice(&self.src_mac);
                frame.extend_from_slice(&[0, 0]);
                frame.extend_from_slice(&outermost);
            }
            LinkType::LinuxSll2 => {
                frame.extend_from_slice(&outermost);
                // Reserved, interface 1, ARPHRD_ETHER, to us, an address of six bytes in a field of eight.
                frame.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 1, 0, 6]);
                frame.extend_from_slice(&self.src_mac);
                frame.extend_from_slice(&[0, 0]);
            }
            LinkType::BsdLoopback => {
                let family: u32 = if ip == ethertype::IPV4 { 2 } else { 30 };
                frame.extend_from_slice(&family.to_le_bytes());
                return;
            }
            LinkType::RawIp => return,
        }
        for (i, (_, id)) in self.tags.iter().enumerate() {
            frame.extend_from_slice(&id.to_be_bytes());
            frame.extend_from_slice(&self.tags.get(i + 1).map_or(ip, |tag| tag.0).to_be_bytes());
        }
    }

    fn ipv4_header(&self, frame: &mut Vec<u8>, protocol: u8, content: usize, flags: u16) {
        let start = frame.len();
        let header = 20 + self.options.len();
        frame.extend_from_slice(&[0x40 | (header / 4) as u8, self.tos]);
        frame.extend_from_slice(&length_field(header + content));
        frame.extend_from_slice(&self.id.to_be_bytes());
        frame.extend_from_slice(&flags.to_be_bytes());
        frame.extend_from_slice(&[self.ttl, protocol, 0, 0]);
        frame.extend_from_slice(&self.src.0[12..]);
        frame.extend_from_slice(&self.dst.0[12..]);
        frame.extend_from_slice(&self.options);
        let sum = checksum::internet(&[&frame[start..]]);
        frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn ipv6_header(&self, frame: &mut Vec<u8>, protocol: u8, content: usize, chain: &[(u8, Vec<u8>)]) {
        let extensions: usize = chain.iter().map(|(_, header)| header.len()).sum();
        frame.extend_from_slice(&[0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
        frame.extend_from_slice(&length_field(extensions + content));
        frame.extend_from_slice(&[chain.first().map_or(protocol, |first| first.0), self.ttl]);
        frame.extend_from_slice(&self.src.0);
        frame.extend_from_slice(&self.dst.0);
        push_chain(frame, chain, protocol);
    }
}

/// Extension headers, each naming the next one and the last naming `protocol`.
fn push_chain(out: &mut Vec<u8>, chain: &[(u8, Vec<u8>)], protocol: u8) {
    for (i, (_, header)) in chain.iter().enumerate() {
        out.push(chain.get(i + 1).map_or(protocol, |next| next.0));
        out.extend_from_slice(&header[1..]);
    }
}

fn length_field(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(0).to_be_bytes()
}

fn padded_options(options: &[u8]) -> Vec<u8> {
    let mut padded = options[..options.len().min(40)].to_vec();
    padded.resize(padded.len().next_multiple_of(4), 0);
    padded
}
