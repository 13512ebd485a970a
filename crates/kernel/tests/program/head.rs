//! The heads of flows: what comes up, how much of it, from which hook, and what is held back.

use crate::testrun::{SECOND, START, Sensor, Tunable};
use kernel::abi::{Counter, tunable};
use wire::Addr;
use wire::craft::{self, Builder};
use wire::packet::tcp_flag::{ACK, PSH, SYN};

fn ends() -> ((Addr, u16), (Addr, u16)) {
    (("198.51.100.1".parse().expect("address"), 40_000), ("192.0.2.1".parse().expect("address"), 8080))
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + u8::try_from(i % 23).expect("small")).collect()
}

/// A connection's opening, then payloads of the client one after another.
fn session(sensor: &mut Sensor, payloads: &[Vec<u8>]) {
    let (client, server) = ends();
    sensor.run(&craft::tcp(client, server, SYN, 100, 0, 64_240, &[]));
    sensor.run(&craft::tcp(server, client, SYN | ACK, 900, 101, 64_240, &[]));
    let mut seq = 101;
    for payload in payloads {
        sensor.run(&craft::tcp(client, server, PSH | ACK, seq, 901, 64_240, payload));
        seq += u32::try_from(payload.len()).expect("small");
    }
}

#[test]
fn payloads_come_up_whole_with_their_place_from_every_hook() {
    for program in ["sensor_xdp", "sensor_tc_ingress", "sensor_tc_egress"] {
        let Some(mut sensor) = Sensor::load_program(program, &[]) else { return };
        let payloads: Vec<Vec<u8>> = [1, 168, 169, 680, 681].map(bytes).into();
        session(&mut sensor, &payloads);
        let heads = sensor.heads();
        let (client, _) = ends();
        let mut seq = 101;
        assert_eq!(heads.len(), payloads.len(), "{program}");
        for ((event, payload), sent) in heads.iter().zip(&payloads) {
            assert_eq!(payload, sent, "{program}");
            assert_eq!((event.seq, event.ack, event.start, event.begins), (seq, 901, 101, 1), "{program}");
            assert_eq!((event.flags, event.head.time_ns), (PSH | ACK, START));
            assert_eq!(event.payload_len as usize, sent.len());
            let key: flow::FlowKey = event.key.into();
            let from = if event.direction == 0 { (key.lo, key.lo_port) } else { (key.hi, key.hi_port) };
            assert_eq!(from, client);
            assert_eq!(event.initiator, event.direction);
            seq += event.payload_len;
        }
        assert_eq!(sensor.counter(Counter::HeadsSent), 5);
        assert_eq!(sensor.counter(Counter::HeadBytes), 1 + 168 + 169 + 680 + 681);
    }
}

#[test]
fn a_head_ends_after_its_bytes_but_that_of_messages_goes_on() {
    // With `first` at the beginning of the first packet only, or of each.
    let check = |first: &[u8], port: u16, udp: bool, len: usize, once: usize, each: usize| {
        for (every, expected) in [(false, once), (true, each)] {
            check_heads(first, (port, udp), len, every, expected);
        }
    };
    check(b"GET / HTTP/1.1", 80, false, 500, 2, 20);
    check(b"HTTP/1.1 200 OK", 80, false, 500, 2, 20);
    check(b"GET / HTTP/1.1", 53, true, 500, 20, 20);
    check(b"anything", 67, true, 500, 20, 20);
    check(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], 4444, true, 500, 8, 20);
    check(b"anything", 4444, true, 500, 2, 2);
    check(b"anything", 80, false, 500, 2, 2);
    check(&[0, 0, 1, 0xf0, 0xfe, b'S', b'M', b'B'], 4445, false, 500, 8, 20);
    check(&[5, 0, 11, 3, 0x10, 0, 0, 0], 4135, false, 500, 8, 20);
    check(&[0, 1, 0, 0, 0, 244, 1, 3], 4502, false, 250, 16, 20);
}

/// Twenty packets of `len` bytes where a head has 1000 bytes and a long one 4000.
fn check_heads(first: &[u8], (port, udp): (u16, bool), len: usize, every: bool, expected: usize) {
    let small = [Tunable::Word(tunable::HEAD_BYTES, 1000), Tunable::Word(tunable::HEAD_BYTES_LONG, 4000)];
    let Some(mut sensor) = Sensor::load(&small) else { return };
    let (client, (server, _)) = ends();
    for i in 0..20 {
        let mut payload = bytes(len);
        if every || i == 0 {
            payload[..first.len()].copy_from_slice(first);
        }
        let frame = if udp {
            craft::udp(client, (server, port), &payload)
        } else {
            craft::tcp(client, (server, port), PSH | ACK, 1 + 2000 * i, 1, 64_240, &payload)
        };
        sensor.run(&frame);
    }
    assert_eq!(sensor.heads().len(), expected, "{first:?} {port} {udp} {every}");
}

/// ARP comes up from every hook, tags included, and nothing else without IP does.
#[test]
fn arp_comes_up_whole() {
    let arp = |tags: &[u8]| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(tags);
        frame.extend([
            8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9,
        ]);
        frame.resize(60, 0);
        frame
    };
    for program in ["sensor_xdp", "sensor_tc_ingress", "sensor_tc_egress"] {
        for tags in [&[][..], &[0x81, 0, 0, 7], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8]] {
            let Some(mut sensor) = Sensor::load_program(program, &[]) else { return };
            let frame = arp(tags);
            sensor.run(&frame);
            let events = sensor.events();
            let [kernel::abi::Event::Arp(event)] = events.as_slice() else {
                panic!("{program} {tags:?}: {events:?}")
            };
            let told =
                wire::message::arp::parse(wire::LinkType::Ethernet, &event.frame[..event.captured as usize]);
            assert_eq!(
                told,
                wire::message::arp::parse(wire::LinkType::Ethernet, &frame),
                "{program} {tags:?}"
            );
            assert!(told.is_some(), "{program} {tags:?}");
            let mut other = frame;
            other[12 + tags.len()] = 0x88;
            sensor.run(&other);
            assert!(sensor.events().is_empty(), "{program} {tags:?}");
        }
    }
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    for _ in 0..1100 {
        sensor.run(&arp(&[]));
    }
    assert_eq!((sensor.events().len(), sensor.counter(Counter::ArpLost)), (1000, 100));
}

#[test]
fn what_is_too_much_is_counted_and_zero_switches_heads_off() {
    let check = |tunables: &[Tunable], expected: usize, counter: Counter, lost: u64| {
        let Some(mut sensor) = Sensor::load(tunables) else { return };
        session(&mut sensor, &vec![bytes(100); 10]);
        assert_eq!(sensor.heads().len(), expected);
        assert_eq!(sensor.counter(counter), lost, "{}", counter.name());
        sensor.at(START + SECOND);
        let (client, server) = ends();
        sensor.run(&craft::udp(client, server, b"a second later"));
        assert_eq!(sensor.heads().len(), usize::from(expected > 0));
    };
    check(&[Tunable::Word(tunable::SOURCE_HEAD_BUDGET, 3)], 3, Counter::HeadSuppressedSource, 7);
    check(&[Tunable::Word(tunable::CPU_HEAD_BUDGET, 250)], 2, Counter::HeadSuppressedCpu, 8);
    check(&[Tunable::Word(tunable::HEAD_BYTES, 0)], 0, Counter::HeadsSent, 0);
}

#[test]
fn one_packet_gives_at_most_its_share() {
    let Some(mut sensor) = Sensor::load(&[Tunable::Word(tunable::HEAD_PACKET_BYTES, 64)]) else { return };
    session(&mut sensor, &[bytes(1400)]);
    let heads = sensor.heads();
    assert_eq!((heads[0].0.payload_len, heads[0].1.len()), (1400, 64));
    assert_eq!(heads[0].1, bytes(64));
}

/// Frames beyond a page lie in several pieces.
#[test]
fn payload_behind_the_linear_part_comes_up() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    session(&mut sensor, &[bytes(8000)]);
    let heads = sensor.heads();
    assert_eq!((heads[0].0.payload_len, heads[0].1.len()), (8000, 2048));
    assert_eq!(heads[0].1, bytes(2048));
}

#[test]
fn later_fragments_are_no_heads() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let ((src, _), (dst, _)) = ends();
    let plain = Builder::new(src, dst);
    for fragment in plain.fragments(&plain.udp_segment(5, 53, &bytes(2000)), 1024) {
        sensor.run(&fragment);
    }
    assert_eq!(sensor.heads().len(), 1);
    assert_eq!(sensor.flows().len(), 1, "later fragments belong to the flow of the first");
}
