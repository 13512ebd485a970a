//! The rules of `wire::parse`, case by case: a frame, a change to it, and what must come out.

use wire::craft::{Builder, Segment, Tcp};
use wire::packet::{MAX_EXTENSION_HEADERS, MAX_VLAN_TAGS, protocol, tcp_flag};
use wire::{Addr, Fragment, LinkType, Packet, Skip, parse};

/// Where the IP header of an untagged Ethernet frame begins.
const L3: usize = 14;
const V4_TRANSPORT: usize = L3 + 20;
const V6_TRANSPORT: usize = L3 + 40;

fn v4() -> Builder {
    Builder::new(Addr::v4([192, 0, 2, 1]), Addr::v4([198, 51, 100, 2]))
}

fn v6() -> Builder {
    Builder::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
}

fn tcp() -> Tcp {
    Tcp {
        src_port: 40_000,
        dst_port: 443,
        flags: tcp_flag::ACK | tcp_flag::PSH | tcp_flag::CWR,
        seq: 0x0102_0304,
        ack: 0xfffe_fdfc,
        window: 0xabcd,
        urgent: 0,
        options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
    }
}

/// Overwrites bytes at an offset.
fn set(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

#[track_caller]
fn check_link(link: LinkType, frame: &[u8], expected: Skip) {
    assert_eq!(parse(link, frame, frame.len() as u32), Err(expected));
}

#[track_caller]
fn check(frame: &[u8], expected: Skip) {
    check_link(LinkType::Ethernet, frame, expected);
}

#[track_caller]
fn ok(frame: &[u8]) -> Packet<'_> {
    parse(LinkType::Ethernet, frame, frame.len() as u32).unwrap()
}

/// Lengths: `ip_len`, `payload_len` and captured payload bytes.
#[track_caller]
fn lengths(frame: &[u8], expected: (u32, u32, usize)) {
    let p = ok(frame);
    assert_eq!((p.ip_len, p.payload_len, p.payload.len()), expected);
}

#[test]
fn every_field_of_a_tcp_packet() {
    for (builder, header) in [(v4().ttl(33).vlan(0xfed), 20), (v6().ttl(33).vlan(0xfed), 40)] {
        let frame = builder.tcp(&tcp(), b"hello");
        let is_v4 = builder.is_v4();
        let p = parse(LinkType::Ethernet, &frame, 1000).unwrap();
        let expected = Packet {
            src: if is_v4 { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap(),
            dst: if is_v4 { "198.51.100.2" } else { "2001:db8::2" }.parse().unwrap(),
            src_port: 40_000,
            dst_port: 443,
            protocol: protocol::TCP,
            vlan: 0xfed,
            ip_len: header + 32 + 5,
            frame_len: 1000,
            payload_len: 5,
            ttl: 33,
            tcp_flags: tcp_flag::ACK | tcp_flag::PSH | tcp_flag::CWR,
            tcp_seq: 0x0102_0304,
            tcp_ack: 0xfffe_fdfc,
            tcp_window: 0xabcd,
            icmp_type: 0,
            icmp_code: 0,
            fragment: Fragment::None,
            fragment_id: 0,
            fragment_offset: 0,
            transport_len: 32,
            tunnel: 0,
            opaque_tunnel: false,
            payload: b"hello",
        };
        assert_eq!(p, expected);
    }
}

#[test]
fn every_link_type_leads_to_the_same_packet() {
    for builder in [v4(), v6()] {
        let datagram = builder.clone().link(LinkType::RawIp).udp(1, 2, b"abc");
        let expected = parse(LinkType::RawIp, &datagram, datagram.len() as u32).unwrap();
        for link in LinkType::ALL {
            let frame = builder.clone().link(link).udp(1, 2, b"abc");
            let p = parse(link, &frame, frame.len() as u32).unwrap();
            assert_eq!(Packet { frame_len: expected.frame_len, ..p }, expected, "{link:?}");
            assert_eq!(p.frame_len as usize, frame.len());
            assert_eq!(LinkType::from_dlt(link.dlt()), Some(link));
        }
    }
    for dlt in [12, 14, 228, 229] {
        assert_eq!(LinkType::from_dlt(dlt), Some(LinkType::RawIp));
    }
    assert_eq!(LinkType::from_dlt(108), Some(LinkType::BsdLoopback));
    assert_eq!(LinkType::from_dlt(105), None);
}

#[test]
fn link_headers_end_early_or_lead_elsewhere() {
    for (link, header) in [
        (LinkType::Ethernet, 14),
        (LinkType::LinuxSll, 16),
        (LinkType::LinuxSll2, 20),
        (LinkType::BsdLoopback, 4),
    ] {
        let frame = v4().link(link).udp(1, 2, &[]);
        for len in 0..header {
            check_link(link, &frame[..len], Skip::LinkTruncated);
        }
        check_link(link, &frame[..header], Skip::IpTruncated);
        check_link(link, &[0x55; 64], Skip::NotIp);
    }
    check_link(LinkType::RawIp, &[], Skip::IpTruncated);
    check_link(LinkType::RawIp, &[0x45], Skip::IpTruncated);
    for version in [0, 1, 2, 3, 5, 7, 15] {
        check_link(LinkType::RawIp, &[version << 4; 64], Skip::IpMalformed);
    }
    // ARP, LLDP, and a length of IEEE 802.3 where the EtherType would be.
    for kind in [0x0806_u16, 0x88cc, 46] {
        check(&set(v4().udp(1, 2, &[]), 12, &kind.to_be_bytes()), Skip::NotIp);
    }
}

#[test]
fn loopback_families_in_both_byte_orders() {
    for (builder, families) in [(v4(), &[2_u32][..]), (v6(), &[10, 24, 28, 30])] {
        let frame = builder.link(LinkType::BsdLoopback).udp(1, 2, &[]);
        for family in families {
            for order in [family.to_le_bytes(), family.to_be_bytes()] {
                let frame = set(frame.clone(), 0, &order);
                assert!(parse(LinkType::BsdLoopback, &frame, 100).is_ok(), "{order:?}");
            }
        }
    }
    for family in [0_u32, 1, 3, 23, 29, 31, 0x0200_0002] {
        let frame = set(v4().link(LinkType::BsdLoopback).udp(1, 2, &[]), 0, &family.to_le_bytes());
        check_link(LinkType::BsdLoopback, &frame, Skip::NotIp);
    }
}

#[test]
fn vlan_tags() {
    let tagged = |count: usize| (0..count).fold(v4(), |b, i| b.vlan(100 + i as u16)).udp(1, 2, b"x");
    assert_eq!(ok(&tagged(0)).vlan, 0);
    for count in 1..=MAX_VLAN_TAGS {
        let frame = tagged(count);
        assert_eq!((ok(&frame).vlan, ok(&frame).payload), (100, &b"x"[..]));
        for len in 14..14 + 4 * count {
            check(&frame[..len], Skip::LinkTruncated);
        }
    }
    check(&tagged(MAX_VLAN_TAGS + 1), Skip::TooManyTags);
    // The tag too many need not be captured to be one.
    check(&tagged(MAX_VLAN_TAGS + 1)[..14 + 4 * MAX_VLAN_TAGS], Skip::TooManyTags);
    assert_eq!(ok(&v4().service_vlan(7).vlan(8).udp(1, 2, &[])).vlan, 7);
    // Priority and drop bits are not part of the identifier.
    assert_eq!(ok(&set(tagged(1), 14, &[0xf0, 5])).vlan, 5);
    check(&set(tagged(1), 16, &[0x08, 0x06]), Skip::NotIp);
    // Cooked captures keep inner tags the same way.
    for link in [LinkType::LinuxSll, LinkType::LinuxSll2] {
        let frame = v6().link(link).service_vlan(9).vlan(10).udp(1, 2, &[]);
        assert_eq!(parse(link, &frame, 200).unwrap().vlan, 9);
    }
}

#[test]
fn ipv4_header() {
    let frame = v4().udp(1, 2, b"abcd");
    for len in L3..L3 + 20 {
        check(&frame[..len], Skip::IpTruncated);
    }
    for first in [0x35, 0x65, 0x44, 0x40, 0x55, 0x05] {
        check(&set(frame.clone(), L3, &[first]), Skip::IpMalformed);
    }
    // Options: the whole header must be captured and must fit the total length.
    let options = v4().options(&[7; 40]).udp(1, 2, b"abcd");
    assert_eq!((ok(&options).dst_port, ok(&options).payload), (2, &b"abcd"[..]));
    for len in L3 + 20..L3 + 60 {
        check(&options[..len], Skip::IpTruncated);
    }
    check(&set(options, L3 + 2, &59_u16.to_be_bytes()), Skip::IpMalformed);
    check(&set(frame.clone(), L3 + 2, &19_u16.to_be_bytes()), Skip::IpMalformed);
    // A header without room for the transport is malformed there, not here.
    check(&set(frame.clone(), L3 + 2, &20_u16.to_be_bytes()), Skip::TransportMalformed);
    // Total length 0: what the frame had on the wire.
    let offloaded = set(frame, L3 + 2, &[0, 0]);
    let p = parse(LinkType::Ethernet, &offloaded, 4014).unwrap();
    assert_eq!((p.ip_len, p.frame_len), (4000, 4014));
    // A frame said to be shorter than what was captured of it is as long as that.
    let p = parse(LinkType::Ethernet, &offloaded, 3).unwrap();
    assert_eq!((p.ip_len as usize, p.frame_len as usize), (offloaded.len() - L3, offloaded.len()));
}

#[test]
fn stated_lengths_survive_cuts_and_padding() {
    let frame = v4().tcp(&tcp(), &[9; 1000]);
    lengths(&frame, (1052, 1000, 1000));
    // Cut inside the payload, inside the options, and behind the fixed header.
    lengths(&cut(frame.clone(), 166), (1052, 1000, 100));
    lengths(&cut(frame.clone(), V4_TRANSPORT + 25), (1052, 1000, 0));
    lengths(&cut(frame, V4_TRANSPORT + 20), (1052, 1000, 0));
    // Ethernet padding is no payload.
    let padded = v4().pad().udp(1, 2, b"ab");
    assert_eq!(padded.len(), 60);
    lengths(&padded, (30, 2, 2));
    let bare = Tcp { options: Vec::new(), ..tcp() };
    lengths(&v4().pad().tcp(&bare, &[]), (40, 0, 0));
    lengths(&v4().pad().icmp(3, 1, [0; 4], &[]), (28, 0, 0));
    lengths(&v4().pad().frame(&Segment { protocol: 47, bytes: vec![1; 5] }), (25, 5, 5));
}

#[test]
fn ipv6_header() {
    let frame = v6().udp(1, 2, b"abcd");
    for len in L3..L3 + 40 {
        check(&frame[..len], Skip::IpTruncated);
    }
    check(&set(frame.clone(), L3, &[0x40]), Skip::IpMalformed);
    lengths(&frame, (52, 4, 4));
    // Payload length 0: a jumbogram or offload, as long as the frame.
    let jumbo = set(set(frame.clone(), L3 + 4, &[0, 0]), V6_TRANSPORT + 4, &[0, 0]);
    let p = parse(LinkType::Ethernet, &jumbo, 70_014).unwrap();
    assert_eq!((p.ip_len, p.payload_len, p.payload), (70_000, 70_000 - 48, &b"abcd"[..]));
    // But with "no next header" it is just that.
    let empty = set(set(frame, L3 + 4, &[0, 0]), L3 + 6, &[59]);
    assert_eq!((ok(&empty).ip_len, ok(&empty).protocol, ok(&empty).payload_len), (40, 59, 0));
}

#[test]
fn ipv6_extension_headers() {
    for kind in [0_u8, 43, 51, 60, 135, 139, 140] {
        for content in [0, 6, 7, 30, 254] {
            let builder = v6().extension(kind, &vec![1; content]);
            let frame = builder.udp(7, 8, b"data");
            let p = ok(&frame);
            assert_eq!((p.protocol, p.src_port, p.dst_port), (17, 7, 8), "{kind} with {content}");
            assert_eq!((p.payload, p.fragment), (&b"data"[..], Fragment::None));
            assert_eq!(p.ip_len as usize, frame.len() - L3);
            // Its first eight bytes must be captured.
            for len in V6_TRANSPORT..V6_TRANSPORT + 8 {
                check(&frame[..len], Skip::IpTruncated);
            }
        }
    }
    let chain = |count: usize| (0..count).fold(v6(), |b, _| b.extension(60, &[]));
    assert_eq!(ok(&chain(MAX_EXTENSION_HEADERS).udp(7, 8, &[])).dst_port, 8);
    check(&chain(MAX_EXTENSION_HEADERS + 1).udp(7, 8, &[]), Skip::TooManyExtensions);
    // The order of types does not matter.
    let mixed = v6().extension(0, &[]).extension(51, &[3; 14]).extension(43, &[]).extension(60, &[5; 20]);
    assert_eq!(ok(&mixed.tcp(&tcp(), b"x")).dst_port, 443);
    // One that ends beyond the datagram.
    let frame = v6().extension(60, &[]).udp(7, 8, &[]);
    check(&set(frame.clone(), V6_TRANSPORT + 1, &[2]), Skip::IpMalformed);
    check(&set(frame.clone(), V6_TRANSPORT + 1, &[255]), Skip::IpMalformed);
    // One that ends with the datagram leaves no room for the transport.
    check(&set(frame, V6_TRANSPORT + 1, &[1]), Skip::TransportTruncated);
    // ESP and "no next header" end the chain, and so do protocols without ports.
    for protocol in [33, 50, 59, 89] {
        let frame = v6().extension(0, &[]).frame(&Segment { protocol, bytes: vec![44; 24] });
        let p = ok(&frame);
        assert_eq!((p.protocol, p.src_port, p.dst_port, p.payload_len), (protocol, 0, 0, 24));
    }
    // IPv4 has no chain: AH is a protocol there.
    assert_eq!(ok(&v4().frame(&Segment { protocol: 51, bytes: vec![0; 24] })).protocol, 51);
}

#[test]
fn fragments() {
    for (builder, header) in [(v4(), 20), (v6(), 48), (v6().extension(0, &[]).extension(43, &[]), 64)] {
        let frames = builder.fragments(&builder.udp_segment(7, 8, &[3; 100]), 40);
        let got: Vec<_> = frames
            .iter()
            .map(|f| ok(f))
            .map(|p| {
                (p.fragment, p.protocol, p.src_port, p.dst_port, p.ip_len, p.payload_len, p.payload.len())
            })
            .collect();
        let expected = [
            (Fragment::First, 17, 7, 8, header + 40, 32, 32),
            (Fragment::Later, 17, 0, 0, header + 40, 40, 40),
            (Fragment::Later, 17, 0, 0, header + 28, 28, 28),
        ];
        assert_eq!(got, expected);
    }
    // Headers behind the fragment header are parsed in the first fragment; later ones end at the fragment header.
    let builder = v6().extension(0, &[]).extension(60, &[]);
    let frames = builder.fragments(&builder.udp_segment(7, 8, &[3; 100]), 40);
    let got: Vec<_> = frames.iter().map(|f| ok(f)).map(|p| (p.protocol, p.dst_port, p.payload_len)).collect();
    assert_eq!(got, [(17, 8, 24), (60, 0, 40), (60, 0, 36)]);
}

#[test]
fn fragments_of_every_protocol() {
    // A first TCP fragment is parsed as usual; the segment is what its own IP header states.
    let segment = v4().tcp_segment(&tcp(), &[1; 100]);
    let frames = v4().fragments(&segment, 64);
    assert_eq!((ok(&frames[0]).payload_len, ok(&frames[0]).tcp_flags & tcp_flag::PSH), (32, tcp_flag::PSH));
    assert_eq!((ok(&frames[1]).payload_len, ok(&frames[1]).tcp_flags), (64, 0));
    // Too small to hold the header (RFC 1858): the stated length says so, or the captured bytes do.
    let tiny = v4().fragments(&segment, 8);
    check(&tiny[0], Skip::TransportTruncated);
    check(&[&tiny[0][..], &[0; 40]].concat(), Skip::TransportMalformed);
    // Neither offset nor "more": an atomic fragment (RFC 6946) is whole.
    let atomic = v6().fragments(&v6().udp_segment(7, 8, b"abc"), 1000);
    assert_eq!((ok(&atomic[0]).fragment, ok(&atomic[0]).payload), (Fragment::None, &b"abc"[..]));
    // A later fragment needs no transport header, captured or stated.
    let mut last = v4().fragments(&v4().icmp_segment(8, 0, [0; 4], &[1; 9]), 16).remove(1);
    assert_eq!((ok(&last).protocol, ok(&last).payload_len, ok(&last).icmp_type), (1, 1, 0));
    last.truncate(V4_TRANSPORT);
    assert_eq!((ok(&last).payload_len, ok(&last).payload.len()), (1, 0));
    // Reserved bits beside the IPv6 offset are not part of it.
    let frame = set(atomic[0].clone(), V6_TRANSPORT + 2, &[0, 6]);
    assert_eq!(ok(&frame).fragment, Fragment::None);
}

#[test]
fn tcp_header() {
    let bare = Tcp { options: Vec::new(), ..tcp() };
    for (frame, at) in [(v4().tcp(&bare, b"abc"), V4_TRANSPORT), (v6().tcp(&bare, b"abc"), V6_TRANSPORT)] {
        for len in at..at + 20 {
            check(&frame[..len], Skip::TransportTruncated);
        }
        for offset in 0..5 {
            check(&set(frame.clone(), at + 12, &[offset << 4]), Skip::TransportMalformed);
        }
        // 23 bytes stated: an offset of 6 is beyond them.
        check(&set(frame.clone(), at + 12, &[6 << 4]), Skip::TransportMalformed);
        // The low bits of the offset's byte are reserved.
        assert_eq!(ok(&set(frame, at + 12, &[0x5f])).payload, b"abc");
    }
    // Captured thanks to padding, but not stated.
    let frame = set(v4().pad().tcp(&bare, &[]), L3 + 2, &39_u16.to_be_bytes());
    check(&frame, Skip::TransportMalformed);
}

#[test]
fn udp_header() {
    let frame = v4().udp(7, 8, b"abcd");
    for len in V4_TRANSPORT..V4_TRANSPORT + 8 {
        check(&frame[..len], Skip::TransportTruncated);
    }
    let with_length = |length: u16| set(frame.clone(), V4_TRANSPORT + 4, &length.to_be_bytes());
    for bad in [1, 7, 13, 65_535] {
        check(&with_length(bad), Skip::TransportMalformed);
    }
    lengths(&with_length(0), (32, 4, 4));
    lengths(&with_length(8), (32, 0, 0));
    lengths(&with_length(10), (32, 2, 2));
    // Captured thanks to padding, but not stated.
    check(&set(frame.clone(), L3 + 2, &27_u16.to_be_bytes()), Skip::TransportMalformed);
    // A first fragment may state more, but not less than a header.
    let first = |length| set(with_length(length), L3 + 6, &[0x20, 0]);
    lengths(&first(13), (32, 4, 4));
    lengths(&first(65_535), (32, 4, 4));
    lengths(&first(10), (32, 2, 2));
    check(&first(7), Skip::TransportMalformed);
}

#[test]
fn icmp_header() {
    let echo = v4().icmp(8, 0, [0, 1, 0, 2], b"abcdef");
    lengths(&echo, (34, 6, 6));
    for len in V4_TRANSPORT..V4_TRANSPORT + 4 {
        check(&echo[..len], Skip::TransportTruncated);
    }
    lengths(&cut(echo.clone(), V4_TRANSPORT + 4), (34, 6, 0));
    for (stated, payload) in [(24_u16, 0), (27, 0), (28, 0), (29, 1)] {
        lengths(
            &set(echo.clone(), L3 + 2, &stated.to_be_bytes()),
            (stated.into(), payload, payload as usize),
        );
    }
    check(&set(echo, L3 + 2, &23_u16.to_be_bytes()), Skip::TransportMalformed);
}

#[test]
fn icmp_ports_are_type_and_counterpart_or_code() {
    let cases = [
        (v4(), 8, 3, (8, 0)),
        (v4(), 0, 3, (0, 8)),
        (v4(), 9, 3, (9, 10)),
        (v4(), 10, 3, (10, 9)),
        (v4(), 13, 3, (13, 14)),
        (v4(), 16, 3, (16, 15)),
        (v4(), 18, 3, (18, 17)),
        (v4(), 3, 1, (3, 1)),
        (v4(), 11, 0, (11, 0)),
        (v4(), 128, 9, (128, 9)),
        (v6(), 128, 3, (128, 129)),
        (v6(), 131, 3, (131, 130)),
        (v6(), 133, 3, (133, 134)),
        (v6(), 136, 3, (136, 135)),
        (v6(), 139, 3, (139, 140)),
        (v6(), 145, 3, (145, 144)),
        (v6(), 132, 7, (132, 7)),
        (v6(), 8, 7, (8, 7)),
    ];
    for (builder, kind, code, ports) in cases {
        let frame = builder.icmp(kind, code, [0; 4], &[]);
        let p = ok(&frame);
        assert_eq!((p.src_port, p.dst_port), ports, "type {kind} code {code}");
        assert_eq!((p.icmp_type, p.icmp_code), (kind, code));
    }
    // The protocol number decides, not the version of IP.
    let segment = v4().icmp_segment(8, 0, [0; 4], &[]);
    let frame = v6().frame(&segment);
    assert_eq!((ok(&frame).protocol, ok(&frame).dst_port), (1, 0));
}
