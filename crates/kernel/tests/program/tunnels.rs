//! Tunnels in the kernel program: the packet inside is the one that `wire` finds, and its source is blocked too.

use crate::differential::compare;
use crate::testrun::{DROP, PASS, START, Sensor};
use kernel::abi::Counter;
use proptest::prelude::*;
use std::cell::RefCell;
use wire::craft::tunnel::{self, Gre};
use wire::craft::{Builder, Segment};
use wire::{LinkType, tunnel::MAX_MPLS_LABELS, tunnel::MAX_TUNNELS};

const NEVER: u64 = u64::MAX;

fn builder(net: u8, v6: bool, back: bool) -> Builder {
    let host = |n: u8| if v6 { format!("2001:db8:{net}::{n}") } else { format!("10.{net}.0.{n}") };
    let (src, dst) = if back { (2, 1) } else { (1, 2) };
    Builder::new(host(src).parse().expect("address"), host(dst).parse().expect("address"))
}

/// Ways to put a frame into a frame.
const WAYS: u8 = 14;

/// `inner` in one more tunnel or behind labels; it is an Ethernet frame without tags.
fn wrap(way: u8, outer: &Builder, inner: &[u8], id: u32) -> Vec<u8> {
    let datagram = inner.get(14..).unwrap_or_default();
    let kind = inner.get(12..14).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let key = Gre { key: Some(id), ..Gre::default() };
    let all = Gre { checksum: true, key: Some(id), sequence: Some(1) };
    let session = id as u16;
    let segment = match way {
        0 => tunnel::ip(datagram),
        1 => tunnel::gre(Gre::default(), kind, datagram),
        2 => tunnel::gre(all, kind, datagram),
        3 => tunnel::gre(key, 0x6558, inner),
        4 => tunnel::erspan_i(inner),
        5 => tunnel::erspan_ii(session, inner),
        6 => tunnel::erspan_iii(session, 0, id & 1 != 0, inner),
        7 => tunnel::erspan_iii(session, 2, id & 1 != 0, datagram),
        8 => tunnel::vxlan(outer, if id & 1 == 0 { 4789 } else { 8472 }, id, inner),
        9 => tunnel::geneve(outer, id, 0x6558, session as u8, inner),
        10 => tunnel::geneve(outer, id, kind, session as u8, datagram),
        11 => return tunnel::mpls(outer, &vec![id & 0xfffff; 1 + id as usize % MAX_MPLS_LABELS], datagram),
        12 => return tunnel::pseudowire(outer, &[id & 0xfffff], inner),
        _ => return tunnel::pppoe(outer, session, datagram),
    };
    outer.frame(&segment)
}

/// A conversation's packet in nothing to one tunnel too many, sometimes damaged, cut or padded.
fn any_frame(least: usize) -> impl Strategy<Value = Vec<u8>> {
    let inside =
        (any::<bool>(), any::<bool>(), 0..5_u8, 0..3_u8, proptest::collection::vec(any::<u8>(), 0..40));
    let layers = proptest::collection::vec(
        (0..WAYS, any::<bool>(), prop_oneof![0..8_u32, any::<u32>()], 0..3_u8),
        0..=MAX_TUNNELS + 1,
    );
    let damage = (
        proptest::collection::vec((0..200_usize, any::<u8>()), 0..3),
        proptest::option::weighted(0.2, 14..300_usize),
        proptest::option::weighted(0.1, 1..60_usize),
    );
    (inside, layers, damage).prop_map(
        move |((v6, back, kind, extra, payload), layers, (changes, cut, pad))| {
            let mut inner = builder(1, v6, back);
            if extra == 1 {
                inner = inner.extension(0, &[]);
            }
            let ports = if back { (53, 5000) } else { (5000, 53) };
            let segment = match kind {
                0 => inner.udp_segment(ports.0, ports.1, &payload),
                1 => inner.icmp_segment(if back { 0 } else { 8 }, 0, [0; 4], &payload),
                2 => Segment { protocol: 132, bytes: payload.clone() },
                3 => Segment { protocol: payload.first().copied().unwrap_or(0), bytes: payload.clone() },
                _ => inner.tcp_segment(
                    &wire::craft::Tcp {
                        src_port: ports.0,
                        dst_port: ports.1,
                        flags: 0x18,
                        ..Default::default()
                    },
                    &payload,
                ),
            };
            let mut frame = match extra {
                2 if !segment.bytes.is_empty() => inner.fragments(&segment, 16).swap_remove(0),
                _ => inner.frame(&segment),
            };
            for (way, v6, id, tags) in layers {
                let mut outer = builder(2, v6, back);
                for tag in 0..tags {
                    outer = outer.vlan(u16::from(tag) + 5);
                }
                // Tags only outside: the ways without Ethernet take the header off by its length.
                frame = wrap(way, &outer, &frame, id);
            }
            if changes.len() == 2 {
                for (at, value) in changes {
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = value;
                    }
                }
            }
            if let Some(pad) = pad {
                frame.extend(std::iter::repeat_n(0x45, pad));
            }
            frame.truncate(cut.unwrap_or(usize::MAX).max(least));
            frame
        },
    )
}

#[test]
fn tunnels_give_equal_accumulators() {
    // TEST_RUN takes no frame for tc that ends inside an IP header.
    for (program, pass, least) in [("sensor_xdp", PASS, 14), ("sensor_tc_ingress", u32::MAX, 54)] {
        let Some(sensor) = Sensor::load_program(program, &[]) else { return };
        let sensor = RefCell::new(sensor);
        let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(frames in proptest::collection::vec(any_frame(least), 1..60))| {
            let mut sensor = sensor.borrow_mut();
            sensor.clear();
            let timed = frames.iter().enumerate().map(|(i, f)| (START + i as u64 * 1000, f.as_slice()));
            compare("tunnels", &mut sensor, pass, timed);
        });
    }
}

#[test]
fn any_bytes_behind_a_good_start_give_equal_keys() {
    let Some(sensor) = Sensor::load(&[]) else { return };
    let sensor = RefCell::new(sensor);
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let bytes =
        (0..WAYS, any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 20..160), 0..4_u8)
            .prop_map(|(way, id, v6, mut bytes, start)| {
                // Mostly something that looks like the beginning of a frame or of a datagram.
                let at = if start == 3 { 0 } else { 14 };
                bytes[at] = if v6 { 0x60 } else { 0x45 };
                bytes[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
                if let Some(next) = bytes.get_mut(at + if v6 { 6 } else { 9 }) {
                    *next = [4, 6, 17, 41, 43, 44, 47, 58, 60, 132][id as usize % 10];
                }
                if start == 0 { bytes } else { wrap(way, &builder(2, v6, false), &bytes, id) }
            });
    proptest!(config, |(frames in proptest::collection::vec(bytes, 1..60))| {
        let mut sensor = sensor.borrow_mut();
        sensor.clear();
        let timed = frames.iter().enumerate().map(|(i, f)| (START + i as u64 * 1000, f.as_slice()));
        compare("any bytes", &mut sensor, PASS, timed);
    });
}

#[test]
fn both_directions_inside_a_tunnel_are_one_flow() {
    for way in 0..WAYS {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        for back in [false, true] {
            let ports = if back { (53, 5000) } else { (5000, 53) };
            let inner = builder(1, false, back).udp(ports.0, ports.1, b"text");
            assert_eq!(sensor.run(&wrap(way, &builder(2, false, back), &inner, 8)), PASS);
        }
        let (key, stats) = sensor.flow();
        assert_eq!((stats.dir[0].packets, stats.dir[1].packets), (1, 1), "{way}");
        assert_eq!(sensor.counter(Counter::TunnelPackets), if key.tunnel == 0 { 0 } else { 2 });
        assert_eq!(key.tunnel == 0, way == 11, "only labels leave no trace: {way}");
    }
}

#[test]
fn a_block_covers_its_source_inside_and_outside_of_tunnels() {
    let inner = builder(1, false, false).udp(5000, 53, b"text");
    for way in 0..WAYS {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        let once = wrap(way, &builder(2, true, false), &inner, 4);
        let twice = wrap(8, &builder(3, false, false), &once, 4);
        assert_eq!((sensor.run(&once), sensor.run(&twice)), (PASS, PASS), "{way}");
        sensor.block("10.1.0.1", NEVER);
        assert_eq!((sensor.run(&once), sensor.run(&twice)), (DROP, DROP), "{way}: inside");
        assert_eq!(sensor.counter(Counter::DroppedPackets), 2);
        sensor.allow("10.1.0.1");
        assert_eq!((sensor.run(&once), sensor.run(&twice)), (PASS, PASS), "{way}: allowed");
        sensor.block("10.3.0.0/16", NEVER);
        assert_eq!((sensor.run(&once), sensor.run(&twice)), (PASS, DROP), "{way}: outside");
        if way < 11 {
            sensor.block("2001:db8:2::1", NEVER);
            assert_eq!(sensor.run(&once), DROP, "{way}: around");
        }
    }
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let twice = wrap(0, &builder(3, true, false), &wrap(8, &builder(2, true, false), &inner, 4), 4);
    sensor.block("2001:db8:2::/48", NEVER);
    assert_eq!(sensor.run(&twice), DROP, "between");
    assert_eq!(sensor.counter(Counter::DroppedPackets), 1);
}

#[test]
fn egress_sees_inside_and_never_drops() {
    let Some(mut sensor) = Sensor::load_program("sensor_tc_egress", &[]) else { return };
    sensor.block("10.1.0.1", NEVER);
    let inner = builder(1, false, false).udp(5000, 53, b"text");
    assert_eq!(sensor.run(&wrap(8, &builder(2, false, false), &inner, 42)), u32::MAX);
    assert_eq!(sensor.flow().0.tunnel, 0x0500_002a);
}

/// Headers outside the linear part of a long frame are for user space; the packet around them is accounted.
#[test]
fn what_is_out_of_reach_is_counted() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let inner = builder(1, false, false).link(LinkType::RawIp).udp(5000, 53, b"text");
    let around = builder(2, true, false).extension(60, &[1; 1400]).link(LinkType::RawIp);
    let outer = builder(3, true, false).extension(60, &[1; 2040]);
    let frame = outer.frame(&tunnel::ip(&around.frame(&tunnel::ip(&inner))));
    assert_eq!(sensor.run(&frame), PASS);
    assert_eq!((sensor.counter(Counter::TunnelUserOnly), sensor.counter(Counter::TunnelOpaque)), (1, 0));
    let key = sensor.flow().0;
    assert_eq!((key.protocol, key.tunnel), (4, 0x0200_0000));
    let length = u32::try_from(frame.len()).expect("short");
    let packet = wire::parse(LinkType::Ethernet, &frame, length).expect("a packet");
    assert_eq!((packet.dst_port, packet.opaque_tunnel), (53, false));
}
