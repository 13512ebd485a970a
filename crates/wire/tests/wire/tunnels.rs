//! The rules of `wire::parse` on tunnels, labels and sessions: what is made must come out, down to the same packet.

use wire::craft::tunnel::{self, GENEVE_PORT, Gre, VXLAN_OLD_PORT, VXLAN_PORT};
use wire::craft::{Builder, Segment};
use wire::packet::MAX_VLAN_TAGS;
use wire::tunnel::{Kind, MAX_MPLS_LABELS, MAX_TUNNELS, identifier};
use wire::{Addr, Fragment, LinkType, Packet, Skip, outermost, parse};

const ETHERNET: u16 = 0x6558;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

fn outer() -> Builder {
    Builder::new(addr("192.0.2.1"), addr("192.0.2.2"))
}

fn outer6() -> Builder {
    Builder::new(addr("2001:db8::1"), addr("2001:db8::2"))
}

fn inner() -> Builder {
    Builder::new(addr("10.0.0.1"), addr("10.0.0.2")).ttl(9)
}

fn inner6() -> Builder {
    Builder::new(addr("fd00::1"), addr("fd00::2")).ttl(9)
}

/// An IP datagram without link header.
fn datagram(builder: &Builder) -> Vec<u8> {
    builder.clone().link(LinkType::RawIp).udp(5000, 53, b"question")
}

/// The same in an Ethernet frame.
fn frame(builder: &Builder) -> Vec<u8> {
    builder.udp(5000, 53, b"question")
}

#[track_caller]
fn ok(frame: &[u8]) -> Packet<'_> {
    parse(LinkType::Ethernet, frame, frame.len() as u32).unwrap()
}

#[track_caller]
fn check_skip(frame: &[u8], expected: Skip) {
    assert_eq!(parse(LinkType::Ethernet, frame, frame.len() as u32), Err(expected));
}

/// The inner packet comes out, but for what belongs to the whole frame and the tunnel.
#[track_caller]
fn check_opened(bytes: &[u8], inner: &Builder, tunnel: u32) {
    let alone = frame(inner);
    let expected = Packet { frame_len: bytes.len() as u32, tunnel, vlan: ok(bytes).vlan, ..ok(&alone) };
    assert_eq!(ok(bytes), expected, "{tunnel:#x}");
}

/// The packet stays the outer one, marked.
#[track_caller]
fn check_opaque(bytes: &[u8]) {
    let outer = outermost(LinkType::Ethernet, bytes, bytes.len() as u32).unwrap();
    assert_eq!(ok(bytes), Packet { opaque_tunnel: true, ..outer });
}

/// The packet is the outer one and nothing is said of a tunnel.
#[track_caller]
fn check_plain(bytes: &[u8]) {
    assert_eq!(Ok(ok(bytes)), outermost(LinkType::Ethernet, bytes, bytes.len() as u32));
}

/// Every way to wrap a packet in a packet: name, segment, identifier.
pub(crate) fn segments(outer: &Builder, inner: &Builder) -> Vec<(&'static str, Segment, u32)> {
    let (d, f) = (datagram(inner), frame(inner));
    let kind = if inner.is_v4() { IPV4 } else { IPV6 };
    let key = |key| Gre { key: Some(key), ..Gre::default() };
    let all = Gre { checksum: true, key: Some(0x0500_0001), sequence: Some(3) };
    let ip = if inner.is_v4() { 0x0100_0000 } else { 0x0200_0000 };
    vec![
        ("ip", tunnel::ip(&d), ip),
        ("gre", tunnel::gre(Gre::default(), kind, &d), 0x0300_0000),
        ("gre key", tunnel::gre(key(7), kind, &d), 0x0300_0007),
        ("gre all", tunnel::gre(all, kind, &d), 0x0300_0004),
        ("gre bridging", tunnel::gre(Gre::default(), ETHERNET, &f), 0x0300_0000),
        ("gre bridging all", tunnel::gre(all, ETHERNET, &f), 0x0300_0004),
        ("nvgre", tunnel::gre(key(0x0012_34ab), ETHERNET, &f), 0x0300_1234),
        ("erspan i", tunnel::erspan_i(&f), 0x0400_0000),
        ("erspan ii", tunnel::erspan_ii(1023, &f), 0x0400_03ff),
        ("erspan iii", tunnel::erspan_iii(5, 0, false, &f), 0x0400_0005),
        ("erspan iii long", tunnel::erspan_iii(6, 0, true, &f), 0x0400_0006),
        ("erspan iii ip", tunnel::erspan_iii(7, 2, false, &d), 0x0400_0007),
        ("vxlan", tunnel::vxlan(outer, VXLAN_PORT, 42, &f), 0x0500_002a),
        ("vxlan old", tunnel::vxlan(outer, VXLAN_OLD_PORT, 0x00ff_ffff, &f), 0x05ff_ffff),
        ("geneve", tunnel::geneve(outer, 9, ETHERNET, 0, &f), 0x0600_0009),
        ("geneve ip", tunnel::geneve(outer, 9, kind, 63, &d), 0x0600_0009),
    ]
}

#[test]
fn every_tunnel_gives_the_packet_inside() {
    for outer in [outer(), outer6(), outer6().extension(0, &[]), outer().vlan(7)] {
        for inner in [inner(), inner6(), inner().vlan(99).service_vlan(98)] {
            let tagged = frame(&inner).len() != datagram(&inner).len() + 14;
            for (name, segment, tunnel) in segments(&outer, &inner) {
                let bytes = outer.frame(&segment);
                let p = ok(&bytes);
                assert_eq!(
                    (p.src_port, p.dst_port, p.payload, p.tunnel),
                    (5000, 53, &b"question"[..], tunnel)
                );
                if !tagged {
                    check_opened(&bytes, &inner, tunnel);
                }
                // The VLAN is that of the whole frame, not of the one inside.
                let around = outermost(LinkType::Ethernet, &bytes, bytes.len() as u32).unwrap();
                assert_eq!((p.vlan, around.tunnel), (around.vlan, 0), "{name}");
                assert_ne!(around.src, p.src, "{name}");
            }
        }
    }
}

#[test]
fn both_directions_share_the_identifier() {
    let back = Builder::new(addr("10.0.0.2"), addr("10.0.0.1"));
    let home = Builder::new(addr("192.0.2.2"), addr("192.0.2.1"));
    for ((name, there, _), (_, here, _)) in
        segments(&outer(), &inner()).into_iter().zip(segments(&home, &back))
    {
        assert_eq!(ok(&outer().frame(&there)).tunnel, ok(&home.frame(&here)).tunnel, "{name}");
    }
    // The lower bits of an NVGRE key may differ by flow.
    let nvgre = |key| tunnel::gre(Gre { key: Some(key), ..Gre::default() }, ETHERNET, &frame(&inner()));
    assert_eq!(ok(&outer().frame(&nvgre(0x1101))).tunnel, ok(&outer().frame(&nvgre(0x11fe))).tunnel);
}

#[test]
fn identifiers_of_nested_tunnels() {
    let one = identifier(0, Kind::Vxlan, 42);
    assert_eq!(one, 0x0500_002a);
    let two = 0x0500_002a_u32.wrapping_mul(0x9e37_79b1) ^ 0x0300_0007;
    assert_eq!(identifier(one, Kind::Gre, 7), two);
    assert_ne!(identifier(identifier(0, Kind::Gre, 7), Kind::Vxlan, 42), two);
    assert_eq!(identifier(0, Kind::Gre, 0x0500_0001), 0x0300_0004);
    // Never 0: that is outside of tunnels.
    let inverse = (0..32).fold(1_u32, |x, _| x.wrapping_mul(2_u32.wrapping_sub(x.wrapping_mul(0x9e37_79b1))));
    assert_eq!(identifier(0x0700_0000_u32.wrapping_mul(inverse), Kind::Pppoe, 0), 1);
}

/// `depth` tunnels, each VXLAN, around the inner frame.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(frame(&inner()), |f, i| outer().frame(&tunnel::vxlan(&outer(), VXLAN_PORT, i as u32, &f)))
}

#[test]
fn nesting_is_followed_to_its_limit() {
    for depth in 1..=MAX_TUNNELS {
        let tunnel = (0..depth).rev().fold(0, |t, i| identifier(t, Kind::Vxlan, i as u32));
        check_opened(&nested(depth), &inner(), tunnel);
    }
    // One more: the packet at the limit is the result, and says that it holds another.
    let bytes = nested(MAX_TUNNELS + 1);
    let p = ok(&bytes);
    assert_eq!((p.src, p.dst_port, p.opaque_tunnel), (addr("192.0.2.1"), VXLAN_PORT, true));
    let tunnel = (1..=MAX_TUNNELS).rev().fold(0, |t, i| identifier(t, Kind::Vxlan, i as u32));
    assert_eq!(p.tunnel, tunnel);
    // Labels and sessions do not count, pseudowires do.
    let bytes = tunnel::mpls(
        &outer(),
        &[1],
        &outer().link(LinkType::RawIp).frame(&tunnel::vxlan(
            &outer(),
            VXLAN_PORT,
            0,
            &nested(MAX_TUNNELS - 1),
        )),
    );
    assert_eq!(ok(&bytes).src, addr("10.0.0.1"));
    let bytes = tunnel::pseudowire(&outer(), &[1], &nested(MAX_TUNNELS));
    assert_eq!((ok(&bytes).src, ok(&bytes).opaque_tunnel), (addr("192.0.2.1"), true));
    let wires = |count| (0..count).fold(frame(&inner()), |f, _| tunnel::pseudowire(&outer(), &[1], &f));
    assert_eq!(ok(&wires(MAX_TUNNELS)).src, addr("10.0.0.1"));
    check_skip(&wires(MAX_TUNNELS + 1), Skip::NotIp);
}

#[test]
fn mpls_and_pppoe() {
    for inner in [inner(), inner6()] {
        let d = datagram(&inner);
        for labels in 1..=MAX_MPLS_LABELS {
            check_opened(&tunnel::mpls(&outer().vlan(3), &vec![16; labels], &d), &inner, 0);
        }
        check_skip(&tunnel::mpls(&outer(), &[16; MAX_MPLS_LABELS + 1], &d), Skip::TooManyTags);
        check_opened(&tunnel::pseudowire(&outer(), &[16, 17], &frame(&inner)), &inner, 0x0800_0000);
        check_opened(&tunnel::pppoe(&outer(), 0x1234, &d), &inner, 0x0700_1234);
        // Multicast labels, and both in cooked captures.
        let mut multicast = tunnel::mpls(&outer(), &[16], &d);
        multicast[13] = 0x48;
        check_opened(&multicast, &inner, 0);
        for link in [LinkType::LinuxSll, LinkType::LinuxSll2] {
            let cooked = tunnel::pppoe(&outer().link(link), 7, &d);
            assert_eq!(parse(link, &cooked, 500).unwrap().tunnel, 0x0700_0007);
        }
    }
    // A pseudowire's tags are not the frame's.
    let wire = tunnel::pseudowire(&outer(), &[16], &frame(&inner().vlan(5)));
    assert_eq!((ok(&wire).vlan, ok(&wire).dst_port), (0, 53));
    let (labels, session) =
        (tunnel::mpls(&outer(), &[16], &datagram(&inner())), tunnel::pppoe(&outer(), 1, &datagram(&inner())));
    for len in 14..19 {
        check_skip(&labels[..len], Skip::LinkTruncated);
    }
    for len in 14..22 {
        check_skip(&session[..len], Skip::LinkTruncated);
    }
    for len in 18..36 {
        check_skip(&wire[..len.max(18)], Skip::LinkTruncated);
    }
    // Neither IP nor a control word; a control word that is in use otherwise; PPP control; a discovery code.
    for (bytes, at, value) in [
        (&labels, 18, 0x50),
        (&wire, 18, 0x10),
        (&wire, 19, 1),
        (&session, 20, 0xc0),
        (&session, 15, 9),
        (&session, 14, 0x21),
    ] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        check_skip(&bytes, Skip::NotIp);
    }
    // Older tag types.
    for kind in [0x9100_u16, 0x9200] {
        let mut tagged = frame(&inner().vlan(4));
        tagged[12..14].copy_from_slice(&kind.to_be_bytes());
        assert_eq!((ok(&tagged).vlan, ok(&tagged).dst_port), (4, 53));
    }
}

#[test]
fn what_cannot_be_opened_stays_the_outer_packet_and_is_marked() {
    let (d, f) = (datagram(&inner()), frame(&inner()));
    let gre = |kind, content: &[u8]| outer().frame(&tunnel::gre(Gre::default(), kind, content));
    check_opaque(&gre(0x0806, &d));
    check_opaque(&gre(0, &[]));
    check_opaque(&gre(IPV6, &d));
    let tags = (0..=MAX_VLAN_TAGS).fold(inner(), |b, _| b.vlan(1));
    check_opaque(&gre(ETHERNET, &frame(&tags)));
    check_opaque(&outer().frame(&Segment { protocol: 47, bytes: vec![0; 3] }));
    check_opaque(&outer().frame(&Segment { protocol: 4, bytes: vec![0x45; 10] }));
    check_opaque(&outer().frame(&Segment { protocol: 41, bytes: d.clone() }));
    // GRE of version 1 (PPTP), and with routing.
    for (at, value) in [(35, 1), (34, 0x40)] {
        let mut bytes = gre(IPV4, &d);
        bytes[at] = value;
        check_opaque(&bytes);
    }
    // ARP in VXLAN and GENEVE.
    let mut arp = f.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    check_opaque(&outer().frame(&tunnel::vxlan(&outer(), VXLAN_PORT, 1, &arp)));
    check_opaque(&outer().frame(&tunnel::geneve(&outer(), 1, ETHERNET, 2, &arp)));
    // ERSPAN of an unknown version or frame type.
    for (segment, at, value) in [
        (tunnel::erspan_ii(1, &f), 8, 0x20),
        (tunnel::erspan_iii(1, 0, false, &f), 8, 0x10),
        (tunnel::erspan_iii(1, 1, false, &f), 8, 0x20),
        (tunnel::erspan_iii(1, 2, false, &[0x55; 40]), 8, 0x20),
    ] {
        let mut bytes = outer().frame(&segment);
        bytes[34 + at] = value;
        check_opaque(&bytes);
    }
}

#[test]
fn udp_without_a_sound_header_is_plain() {
    let f = frame(&inner());
    let vxlan = outer().frame(&tunnel::vxlan(&outer(), VXLAN_PORT, 1, &f));
    for (at, value) in [(42, 0), (42, 0x88), (43, 1), (45, 1), (49, 1)] {
        let mut bytes = vxlan.clone();
        bytes[at] = value;
        check_plain(&bytes);
    }
    let geneve = outer().frame(&tunnel::geneve(&outer(), 1, ETHERNET, 0, &f));
    for (at, value) in [(42, 0x40), (44, 0x12)] {
        let mut bytes = geneve.clone();
        bytes[at] = value;
        check_plain(&bytes);
    }
    for port in [VXLAN_PORT, VXLAN_OLD_PORT, GENEVE_PORT] {
        check_plain(&outer().udp(1, port, &[8, 0, 0]));
        // From the port is not to the port.
        check_plain(&outer().udp(port, 1, &vxlan[42..]));
    }
    // TCP to these ports is TCP.
    check_plain(&outer().tcp(&wire::craft::Tcp { dst_port: VXLAN_PORT, ..Default::default() }, &vxlan[42..]));
}

#[test]
fn fragments_are_not_opened_but_may_be_inside() {
    for (name, segment, tunnel) in segments(&outer(), &inner()) {
        for bytes in outer().fragments(&segment, 24) {
            assert_ne!(ok(&bytes).fragment, Fragment::None);
            check_plain(&bytes);
        }
        assert_ne!(tunnel, 0, "{name}");
    }
    let builder = inner().id(77);
    for part in builder.fragments(&builder.udp_segment(5000, 53, &[1; 100]), 40) {
        let bytes = outer().frame(&tunnel::vxlan(&outer(), VXLAN_PORT, 42, &part));
        let (p, alone) = (ok(&bytes), ok(&part));
        assert_eq!(p, Packet { frame_len: p.frame_len, tunnel: 0x0500_002a, ..alone });
    }
}

#[test]
fn lengths_are_those_of_the_content() {
    // Segmentation offload inside: to the end of what the tunnel states, not of the padding behind it.
    let mut d = datagram(&inner());
    d[2..4].copy_from_slice(&[0, 0]);
    let mut bytes = outer().frame(&tunnel::gre(Gre::default(), IPV4, &d));
    bytes.extend_from_slice(&[0xee; 20]);
    let p = ok(&bytes);
    assert_eq!((p.ip_len as usize, p.payload_len, p.frame_len as usize), (d.len(), 8, bytes.len()));
    // A content that the outer packet does not hold is not found in the padding.
    let mut bytes = outer().frame(&tunnel::ip(&datagram(&inner())));
    let room = 20 + 20_u16;
    bytes[16..18].copy_from_slice(&room.to_be_bytes());
    check_opaque(&bytes);
    // A cut inside the payload leaves the stated lengths.
    let bytes = outer().frame(&tunnel::vxlan(&outer(), VXLAN_PORT, 1, &frame(&inner())));
    let cut = parse(LinkType::Ethernet, &bytes[..bytes.len() - 3], bytes.len() as u32).unwrap();
    assert_eq!((cut.payload_len, cut.payload), (8, &b"quest"[..]));
}

#[test]
fn cut_anywhere_it_is_the_packet_inside_or_the_marked_outer_one() {
    for outer in [outer(), outer6()] {
        for (name, segment, _) in segments(&outer, &inner6()) {
            let bytes = outer.frame(&segment);
            let whole = ok(&bytes);
            for len in 0..bytes.len() {
                let Ok(p) = parse(LinkType::Ethernet, &bytes[..len], bytes.len() as u32) else { continue };
                if p.tunnel == 0 {
                    assert!(p.opaque_tunnel, "{name} cut at {len}");
                } else {
                    assert_eq!(Packet { payload: whole.payload, ..p }, whole, "{name} cut at {len}");
                }
            }
        }
    }
}

#[test]
fn sctp_ports() {
    let chunk = [&[0x0b, 0x59, 0x0b, 0x5a][..], &[0; 8], b"data"].concat();
    for builder in [outer(), outer6()] {
        let bytes = builder.frame(&Segment { protocol: 132, bytes: chunk.clone() });
        let p = ok(&bytes);
        assert_eq!((p.src_port, p.dst_port, p.transport_len, p.payload), (2905, 2906, 12, &b"data"[..]));
        let at = bytes.len() - chunk.len();
        for len in at..at + 12 {
            check_skip(&bytes[..len], Skip::TransportTruncated);
        }
    }
    // Captured thanks to padding, but not stated.
    let short = outer().pad().frame(&Segment { protocol: 132, bytes: chunk[..11].to_vec() });
    check_skip(&short, Skip::TransportMalformed);
}
