//! Crafted frames against another parser: both must read the same values, and it must find the checksums right.

use crate::invariants;
use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use wire::checksum;
use wire::craft::{Builder, Segment, Tcp};
use wire::packet::protocol;
use wire::{Addr, Fragment, LinkType, parse};

fn addresses() -> impl Strategy<Value = (Addr, Addr)> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (Addr::v4(a), Addr::v4(b))),
        (any::<[u8; 15]>(), any::<[u8; 15]>()).prop_map(|(a, b)| {
            // 2x00::/7 and the like: never IPv4-mapped.
            let address = |tail: [u8; 15]| {
                let mut bytes = [0x20; 16];
                bytes[1..].copy_from_slice(&tail);
                Addr(bytes)
            };
            (address(a), address(b))
        }),
    ]
}

prop_compose! {
    fn builders()(
        (src, dst) in addresses(),
        ttl in any::<u8>(),
        tos in any::<u8>(),
        id in any::<u16>(),
        tags in prop::collection::vec((any::<bool>(), 0_u16..4096), 0..3),
        options in prop::collection::vec(1_u8..2, 0..=40),
        // In the order of RFC 8200 §4.1, which the other parser insists on.
        extensions in prop::sample::subsequence(vec![0_u8, 60, 43], 0..=3),
        content in prop::collection::vec(Just(0_u8), 0..60),
        pad in any::<bool>(),
    ) -> Builder {
        let mut builder = Builder::new(src, dst).ttl(ttl).tos(tos).id(id).options(&options);
        for (service, vlan) in tags {
            builder = if service { builder.service_vlan(vlan) } else { builder.vlan(vlan) };
        }
        for kind in extensions {
            builder = builder.extension(kind, &content);
        }
        if pad { builder.pad() } else { builder }
    }
}

#[derive(Clone, Debug)]
enum Content {
    Tcp(Tcp, Vec<u8>),
    Udp(u16, u16, Vec<u8>),
    Icmp(u8, u8, [u8; 4], Vec<u8>),
    Other(Vec<u8>),
}

fn contents() -> impl Strategy<Value = Content> {
    let payload = || prop::collection::vec(any::<u8>(), 0..600);
    let header =
        (any::<[u16; 4]>(), any::<[u32; 2]>(), any::<u8>(), prop::collection::vec(Just(1_u8), 0..=40));
    prop_oneof![
        (header, payload()).prop_map(|((words, [seq, ack], flags, options), payload)| {
            let [src_port, dst_port, window, urgent] = words;
            Content::Tcp(Tcp { src_port, dst_port, flags, seq, ack, window, urgent, options }, payload)
        }),
        (any::<u16>(), any::<u16>(), payload()).prop_map(|(a, b, c)| Content::Udp(a, b, c)),
        (any::<u8>(), any::<u8>(), any::<[u8; 4]>(), payload())
            .prop_map(|(a, b, c, d)| Content::Icmp(a, b, c, d)),
        // Never empty: an IPv6 payload length of zero reaches to the frame's end for us (jumbograms, segmentation
        // offload), padding included, and ends at the header for the other parser.
        payload().prop_map(|p| Content::Other(if p.is_empty() { vec![0] } else { p })),
    ]
}

/// Compares both readings of one frame.
fn compare(frame: &[u8]) {
    let ours = parse(LinkType::Ethernet, frame, frame.len() as u32).unwrap();
    if ours.protocol == 60 {
        // A later fragment of a chain of headers, in which the other parser reads on.
        assert_eq!(ours.fragment, Fragment::Later);
        return;
    }
    let theirs = SlicedPacket::from_ethernet(frame).unwrap();
    let vlan = match theirs.link_exts.first() {
        Some(LinkExtSlice::Vlan(tag)) => tag.vlan_identifier().value(),
        _ => 0,
    };
    assert_eq!(ours.vlan, vlan);
    let (payload, number, fragmented) = match theirs.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let h = ip.header();
            assert_eq!((ours.src, ours.dst), (Addr::v4(h.source()), Addr::v4(h.destination())));
            assert_eq!((ours.ttl, ours.ip_len), (h.ttl(), u32::from(h.total_len())));
            assert_eq!(h.header_checksum(), h.to_header().calc_header_checksum());
            (ip.payload(), ip.payload_ip_number(), ip.is_payload_fragmented())
        }
        NetSlice::Ipv6(ip) => {
            let h = ip.header();
            assert_eq!((ours.src, ours.dst), (Addr(h.source()), Addr(h.destination())));
            assert_eq!((ours.ttl, ours.ip_len), (h.hop_limit(), u32::from(h.payload_length()) + 40));
            (ip.payload(), ip.payload().ip_number, ip.is_payload_fragmented())
        }
        NetSlice::Arp(_) => panic!("no ARP was made"),
    };
    assert_eq!(ours.protocol, number.0);
    assert_eq!(ours.fragment != Fragment::None, fragmented);
    match theirs.transport {
        Some(TransportSlice::Tcp(t)) => {
            assert_eq!((ours.src_port, ours.dst_port), (t.source_port(), t.destination_port()));
            assert_eq!((ours.tcp_seq, ours.tcp_ack), (t.sequence_number(), t.acknowledgment_number()));
            assert_eq!(ours.tcp_window, t.window_size());
            let flags = [t.fin(), t.syn(), t.rst(), t.psh(), t.ack(), t.urg(), t.ece(), t.cwr()];
            for (bit, flag) in flags.into_iter().enumerate() {
                assert_eq!(ours.tcp_flags & 1 << bit != 0, flag, "bit {bit}");
            }
            assert_eq!(ours.payload, t.payload());
            let sum = if ours.src.is_v4() {
                let [a, b] = [ours.src, ours.dst].map(|x| [x.0[12], x.0[13], x.0[14], x.0[15]]);
                t.calc_checksum_ipv4(a, b).unwrap()
            } else {
                t.to_header().calc_checksum_ipv6_raw(ours.src.0, ours.dst.0, t.payload()).unwrap()
            };
            assert_eq!(t.checksum(), sum);
        }
        Some(TransportSlice::Udp(t)) => {
            assert_eq!((ours.src_port, ours.dst_port), (t.source_port(), t.destination_port()));
            assert_eq!(ours.payload, t.payload());
            let sum = if ours.src.is_v4() {
                let [a, b] = [ours.src, ours.dst].map(|x| [x.0[12], x.0[13], x.0[14], x.0[15]]);
                t.to_header().calc_checksum_ipv4_raw(a, b, t.payload()).unwrap()
            } else {
                t.to_header().calc_checksum_ipv6_raw(ours.src.0, ours.dst.0, t.payload()).unwrap()
            };
            assert_eq!(t.checksum(), sum);
        }
        Some(TransportSlice::Icmpv4(t)) => {
            assert_eq!((ours.icmp_type, ours.icmp_code), (t.type_u8(), t.code_u8()));
            assert_eq!(checksum::internet(&[t.slice()]), 0);
        }
        Some(TransportSlice::Icmpv6(t)) => {
            assert_eq!((ours.icmp_type, ours.icmp_code), (t.type_u8(), t.code_u8()));
            assert!(t.is_checksum_valid(ours.src.0, ours.dst.0));
        }
        Some(TransportSlice::Igmp(_)) => panic!("no IGMP was made"),
        None => {
            // It does not look for a transport header in a first fragment.
            if ours.fragment == Fragment::First {
                assert!(payload.payload.ends_with(ours.payload));
            } else {
                assert!(ours.fragment == Fragment::Later || ours.protocol == 47, "no transport");
                assert_eq!(ours.payload, payload.payload);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_parsers_read_the_same(builder in builders(), content in contents()) {
        let segment = match &content {
            Content::Tcp(header, payload) => builder.tcp_segment(header, payload),
            Content::Udp(src, dst, payload) => builder.udp_segment(*src, *dst, payload),
            // A timestamp message of another size is one the other parser refuses.
            Content::Icmp(13 | 14, code, rest, payload) => builder.icmp_segment(8, *code, *rest, payload),
            Content::Icmp(kind, code, rest, payload) => builder.icmp_segment(*kind, *code, *rest, payload),
            Content::Other(bytes) => Segment { protocol: 47, bytes: bytes.clone() },
        };
        compare(&builder.frame(&segment));
        for frame in builder.fragments(&segment, 128) {
            compare(&frame);
        }
    }

    #[test]
    fn any_bytes_give_a_packet_or_a_reason(
        frame in prop::collection::vec(any::<u8>(), 0..200),
        frame_len in any::<u32>(),
    ) {
        invariants::packet(&frame, frame_len);
    }

    #[test]
    fn any_bytes_behind_a_good_start_do_too(
        kind in prop::sample::select(vec![[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]]),
        first in prop::sample::select(vec![0x45_u8, 0x46, 0x4f, 0x60]),
        mut rest in prop::collection::vec(any::<u8>(), 40..200),
        next in prop::sample::select(vec![0_u8, 1, 4, 6, 17, 41, 43, 44, 47, 51, 58, 60, 132, 135]),
    ) {
        rest[0] = first;
        rest[if first == 0x60 { 6 } else { 9 }] = next;
        invariants::packet(&rest, rest.len() as u32);
        let mut frame = vec![2; 12];
        frame.extend_from_slice(&kind);
        frame.extend_from_slice(&rest);
        invariants::packet(&frame, frame.len() as u32);
    }

    #[test]
    fn any_bytes_are_a_capture_or_not(file in prop::collection::vec(any::<u8>(), 0..300)) {
        invariants::capture(&file);
    }
}

#[test]
fn checksums_of_known_packets() {
    // Over its own checksum, a segment with its pseudo header sums to zero.
    for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let builder = Builder::new(src, dst);
        for payload in [&b""[..], b"a", b"ab", b"abc"] {
            let udp = builder.udp_segment(1, 2, payload);
            assert_eq!(checksum::transport(src, dst, protocol::UDP, &udp.bytes), 0);
            let tcp = builder.tcp_segment(&Tcp::default(), payload);
            assert_eq!(checksum::transport(src, dst, protocol::TCP, &tcp.bytes), 0);
        }
    }
}
