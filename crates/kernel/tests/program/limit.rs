//! The limits of the fast path: buckets, services and those known good, allowlist, shadow mode, fragments.

use crate::testrun::{DROP, PASS, SECOND, START, Sensor, Tunable};
use kernel::abi::{Counter, Event, Limit, Limits, tunable};
use wire::craft::{self, Builder};
use wire::packet::tcp_flag::{ACK, PSH, SYN};

const TEN: u64 = SECOND / 10;

fn addr(text: &str) -> wire::Addr {
    text.parse().expect("address")
}

/// Makes the frame of a number.
type Craft<'a> = Box<dyn Fn(u16) -> Vec<u8> + 'a>;

/// The service of the same IP version.
fn service(src: &str) -> wire::Addr {
    addr(if addr(src).is_v4() { "192.0.2.1" } else { "2001:db8:1::1" })
}

fn syn(src: &str, port: u16) -> Vec<u8> {
    craft::tcp((addr(src), port), (service(src), 80), SYN, 1, 0, 64_240, &[])
}

/// Ten per second of each kind and source.
fn ten_per_source() -> Limits {
    Limits { interval_ns: [TEN, TEN, TEN, 0], known_ns: 60 * SECOND, ..Limits::default() }
}

/// Verdicts of frames, run in a row at one moment: how many pass before the first is dropped.
fn passes(sensor: &mut Sensor, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    frames.take_while(|frame| sensor.run(frame) == PASS).count()
}

#[test]
fn a_source_has_a_second_in_its_bucket_and_its_rate_from_then_on() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    for src in ["198.51.100.1", "2001:db8::1"] {
        sensor.at(START);
        let kinds: [(Counter, Craft<'_>); 3] = [
            (Counter::LimitedSourceSyn, Box::new(|i| syn(src, 1000 + i))),
            (
                Counter::LimitedSourceUdp,
                Box::new(|i| craft::udp((addr(src), 1000 + i), (service(src), 9), b"x")),
            ),
            (
                Counter::LimitedSourceIcmp,
                Box::new(|i| craft::icmp_echo(addr(src), service(src), true, i, 1, b"x")),
            ),
        ];
        for (counter, frame) in &kinds {
            sensor.at(START);
            let before = sensor.counter(*counter);
            assert_eq!(passes(&mut sensor, (0..50).map(frame)), 10, "{src} {}", counter.name());
            assert_eq!(sensor.counter(*counter) - before, 1, "{src}");
            sensor.at(START + TEN);
            assert_eq!(passes(&mut sensor, (50..60).map(frame)), 1, "{src}: a tenth of a second later");
            sensor.at(START + 5 * SECOND);
            assert_eq!(passes(&mut sensor, (60..99).map(frame)), 10, "{src}: full again");
        }
    }
}

#[test]
fn an_ipv6_source_is_its_64_and_others_are_not_touched() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    let from = |i: u16| syn(&format!("2001:db8:0:7::{i:x}"), 4000);
    assert_eq!(passes(&mut sensor, (1..50).map(from)), 10);
    assert_eq!(sensor.run(&syn("2001:db8:0:8::1", 4000)), PASS);
    assert_eq!(sensor.run(&syn("198.51.100.1", 4000)), PASS);
}

#[test]
fn what_is_dropped_makes_no_flow_and_is_told_once_a_second() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    for i in 0..30 {
        sensor.run(&syn("198.51.100.1", 1000 + i));
    }
    assert_eq!(sensor.flows().len(), 10);
    assert_eq!(sensor.counter(Counter::LimitedSourceSyn), 20);
    assert_eq!(sensor.interface(1).dropped_packets, 20);
    sensor.at(START + SECOND + 1);
    for i in 0..30 {
        sensor.run(&syn("198.51.100.1", 2000 + i));
    }
    let told: Vec<_> = sensor
        .events()
        .into_iter()
        .filter_map(|e| match e {
            Event::Limited(e) => Some((e.limit, e.addr, e.packets, e.since_ns, e.enforced)),
            _ => None,
        })
        .collect();
    let who = addr("198.51.100.1").0;
    assert_eq!(
        told,
        [(Limit::SourceSyn as u32, who, 1, START, 1), (Limit::SourceSyn as u32, who, 21, START, 1)]
    );
}

#[test]
fn answers_and_established_flows_are_under_no_limit() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    let (client, server) = ((addr("198.51.100.1"), 4000), (addr("192.0.2.1"), 53));
    // The question goes out to `client`, whose many answers follow.
    sensor.run(&craft::udp(server, client, b"question"));
    for _ in 0..100 {
        assert_eq!(sensor.run(&craft::udp(client, server, b"answer")), PASS);
    }
    let (client, server) = ((addr("198.51.100.2"), 4000), (addr("192.0.2.1"), 80));
    sensor.run(&craft::tcp(client, server, SYN, 1, 0, 64_240, &[]));
    for i in 0..100 {
        assert_eq!(sensor.run(&craft::tcp(client, server, ACK, 2 + i, 1, 64_240, &[])), PASS);
    }
}

#[test]
fn a_service_under_a_flood_of_many_sources_lets_in_those_known_good() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(Limits { interval_ns: [0, 0, 0, TEN], known_ns: 60 * SECOND, ..Limits::default() });
    for (known, flood) in [("198.51.100.1", "198.18.0."), ("2001:db8:0:5::1", "2001:db8:9:")] {
        let from = |i: u16| {
            let src = if flood.ends_with('.') { format!("{flood}{i}") } else { format!("{flood}{i:x}::1") };
            syn(&src, 4000)
        };
        sensor.at(START);
        assert_eq!(passes(&mut sensor, (1..200).map(from)), 10, "{flood}");
        assert_eq!(sensor.run(&syn(known, 4000)), DROP, "unknown");
        sensor
            .known(known.strip_suffix("::1").map_or(known.to_owned(), |p| format!("{p}::")).as_str(), START);
        assert_eq!(sensor.run(&syn(known, 4001)), PASS, "known");
        sensor.at(START + 60 * SECOND);
        for i in 200..215 {
            sensor.run(&from(i));
        }
        assert_eq!(sensor.run(&syn(known, 4002)), DROP, "known too long ago");
    }
    // Another port is another service.
    let other = craft::tcp((addr("198.18.0.1"), 1), (addr("192.0.2.1"), 81), SYN, 1, 0, 64_240, &[]);
    assert_eq!(sensor.run(&other), PASS);
    assert!(sensor.counter(Counter::LimitedServiceSyn) > 4);
}

#[test]
fn a_service_that_answers_with_payload_makes_its_client_known() {
    let Some(mut sensor) = Sensor::load_program("sensor_tc_egress", &[]) else { return };
    let (client, server) = ((addr("198.51.100.1"), 4000), (addr("192.0.2.1"), 80));
    sensor.run(&craft::tcp(client, server, SYN, 1, 0, 64_240, &[]));
    sensor.run(&craft::tcp(server, client, SYN | ACK, 1, 2, 64_240, &[]));
    sensor.run(&craft::tcp(client, server, ACK, 2, 2, 64_240, &[]));
    assert_eq!(sensor.known_at("198.51.100.1"), None, "a forged source may get so far");
    sensor.run(&craft::tcp(server, client, PSH | ACK, 2, 2, 64_240, b"hello"));
    assert_eq!(sensor.known_at("198.51.100.1"), Some(START));
    assert_eq!(sensor.known_at("192.0.2.1"), None);
}

#[test]
fn the_allowlist_and_shadow_mode_drop_nothing() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    sensor.allow("198.51.100.0/24");
    sensor.allow("2001:db8::/32");
    for src in ["198.51.100.1", "2001:db8::1"] {
        assert_eq!(passes(&mut sensor, (0..30).map(|i| syn(src, 1000 + i))), 30, "{src}");
    }
    assert_eq!(sensor.counter(Counter::LimitedAllowed), 40);

    let Some(mut sensor) = Sensor::load(&[Tunable::Byte(tunable::ENFORCE, 0)]) else { return };
    sensor.limit(ten_per_source());
    assert_eq!(passes(&mut sensor, (0..30).map(|i| syn("198.51.100.1", 1000 + i))), 30);
    assert_eq!(sensor.counter(Counter::LimitedWouldDrop), 20);
    assert_eq!(sensor.counter(Counter::LimitedSourceSyn), 0);
    let told = sensor.events().into_iter().find_map(|e| match e {
        Event::Limited(e) => Some(e.enforced),
        _ => None,
    });
    assert_eq!(told, Some(0));
}

#[test]
fn without_limits_nothing_is_limited() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    assert_eq!(passes(&mut sensor, (0..500).map(|i| syn("198.51.100.1", 1000 + i))), 500);
}

#[test]
fn odd_fragments_are_dropped_when_asked_and_the_rest_of_their_datagram_too() {
    for (limits, sizes, expected) in [
        (Limits::default(), 64, 0),
        (Limits { block_tiny: 1, ..Limits::default() }, 64, 8),
        (Limits { block_tiny: 1, ..Limits::default() }, 1024, 0),
        (Limits { block_overlapping: 1, ..Limits::default() }, 64, 0),
    ] {
        for (src, dst) in [("198.51.100.1", "192.0.2.1"), ("2001:db8::5", "2001:db8::1")] {
            let Some(mut sensor) = Sensor::load(&[]) else { return };
            sensor.limit(limits);
            let plain = Builder::new(addr(src), addr(dst));
            let fragments = plain.fragments(&plain.udp_segment(1, 2, &vec![0; sizes * 8 - 8]), sizes);
            let dropped = fragments.iter().filter(|f| sensor.run(f) == DROP).count();
            assert_eq!(dropped, expected, "{src} {sizes} {limits:?}");
            assert_eq!(sensor.counter(Counter::FragmentsDropped), expected as u64);
        }
    }
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(Limits { block_overlapping: 1, ..Limits::default() });
    let plain = Builder::new(addr("198.51.100.1"), addr("192.0.2.1"));
    let coarse = plain.fragments(&plain.udp_segment(1, 2, &[0; 2000]), 1024);
    let fine = plain.fragments(&plain.udp_segment(1, 2, &[0; 2000]), 512);
    assert_eq!(sensor.run(&coarse[0]), PASS);
    assert_eq!(sensor.run(&fine[1]), DROP, "512 to 1024 is there already");
    assert_eq!(sensor.run(&coarse[1]), DROP, "the rest of the datagram");
}

#[test]
fn fragments_share_the_verdict_of_their_first() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.limit(ten_per_source());
    let (src, dst) = (addr("198.51.100.1"), addr("192.0.2.1"));
    for i in 0..10 {
        assert_eq!(sensor.run(&craft::udp((src, 1000 + i), (dst, 9), b"x")), PASS);
    }
    let plain = Builder::new(src, dst);
    for fragment in plain.fragments(&plain.udp_segment(5, 9, &[0; 2000]), 1024) {
        assert_eq!(sensor.run(&fragment), DROP);
    }
    assert_eq!(sensor.counter(Counter::LimitedSourceUdp), 1);
    assert_eq!(sensor.counter(Counter::FragmentsDropped), 1);
}
