//! Bounds, balance and repeatability of the tables under arbitrary input.

use crate::common::*;
use flow::{EndReason, Event, Role, Span, Tracker, TrackerConfig};
use proptest::prelude::*;
use std::collections::HashSet;
use wire::Packet;
use wire::packet::protocol;

#[derive(Clone, Debug)]
struct Step {
    wait: i64,
    client: u32,
    server: u32,
    port: u16,
    proto: u8,
    back: bool,
    flags: u8,
    data: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        20 => 0..50_000_000_i64,
        2 => 0..5_000_000_000_i64,
        1 => 50_000_000_000..400_000_000_000_i64,
        1 => -3_000_000_000..0_i64,
    ];
    let proto = prop_oneof![6 => Just(protocol::TCP), 3 => Just(protocol::UDP), 1 => Just(protocol::ICMP)];
    let flags = prop_oneof![3 => Just(0x02_u8), 3 => Just(0x10_u8), 1 => Just(0x12), 1 => Just(0x11), 1 => Just(0x04), 1 => any::<u8>()];
    (wait, 0..8_u32, 0..4_u32, 0..3_u16, proto, any::<bool>(), flags, any::<bool>()).prop_map(
        |(wait, client, server, port, proto, back, flags, data)| Step {
            wait,
            client,
            server,
            port,
            proto,
            back,
            flags,
            data,
        },
    )
}

fn to_packet(s: &Step) -> Packet<'static> {
    let (mut src, mut dst) = ((host(s.client), 1000 + s.port), (host(100 + s.server), 80));
    if s.proto == protocol::ICMP {
        (src.1, dst.1) = (8, 0);
    }
    if s.back {
        std::mem::swap(&mut src, &mut dst);
    }
    let p = packet(s.proto, src, dst, if s.proto == protocol::TCP { s.flags } else { 0 });
    if s.data { with(p, b"data") } else { p }
}

const SMALL: TrackerConfig = TrackerConfig {
    flow_capacity: 6,
    entity_capacity: 5,
    idle_tcp_ns: 300 * S,
    idle_ns: 60 * S,
    active_ns: 600 * S,
    ages: None,
    linger_ns: 2 * S,
    grace_ns: S,
    session_capacity: 4,
    session_bytes: 4096,
    seed: 42,
};

fn drive(config: TrackerConfig, steps: &[Step]) -> (Tracker, Vec<Event>) {
    let mut t = Tracker::new(config);
    let (mut now, mut events) = (T0, Vec::new());
    for s in steps {
        now = now.saturating_add_signed(s.wait);
        t.observe(now, &to_packet(s), &mut events);
        assert!(t.counters().flows_live <= config.flow_capacity as u64);
        assert!(t.counters().entities_live <= config.entity_capacity as u64);
    }
    t.finish(&mut events);
    (t, events)
}

proptest! {
    #[test]
    fn every_flow_ends_once_and_every_packet_is_in_one(
        steps in prop::collection::vec(step(), 0..150),
        small in any::<bool>(),
    ) {
        let (t, events) = drive(if small { SMALL } else { TrackerConfig::default() }, &steps);
        let mut live = HashSet::new();
        let (mut started, mut failed, mut packets) = (0, HashSet::new(), 0);
        for e in &events {
            match e {
                Event::FlowStarted(id) => {
                    started += 1;
                    prop_assert!(live.insert(*id));
                }
                Event::FlowFailed(id) => prop_assert!(live.contains(id) && failed.insert(*id), "failed once, alive"),
                Event::FlowClosed(id) => prop_assert!(live.contains(id)),
                Event::FlowEnded(r, _) => packets += r.stats.dir[0].packets + r.stats.dir[1].packets,
                Event::Active(_) | Event::Recognised(..) | Event::Message(..) | Event::Odd(..) => {}
            }
        }
        let c = t.counters();
        prop_assert_eq!(ended(&events).len(), started);
        prop_assert_eq!(packets, steps.len() as u64);
        prop_assert_eq!((c.packets, c.flows_total, c.flows_live), (steps.len() as u64, started as u64, 0));
        prop_assert_eq!(c.flows_failed, failed.len() as u64);
        let evicted = ended(&events).iter().filter(|(_, why)| *why == EndReason::Evicted).count();
        prop_assert_eq!(c.flows_evicted, evicted as u64);
    }

    #[test]
    fn same_input_same_events(steps in prop::collection::vec(step(), 0..150)) {
        let (a, first) = drive(SMALL, &steps);
        let (b, second) = drive(SMALL, &steps);
        prop_assert_eq!(first, second);
        prop_assert_eq!(a.counters(), b.counters());
        prop_assert_eq!(a.top_sources(9), b.top_sources(9));
    }

    #[test]
    fn handles_of_events_are_good_until_the_next_call(steps in prop::collection::vec(step(), 0..150)) {
        let mut t = Tracker::new(SMALL);
        let (mut now, mut events) = (T0, Vec::new());
        for s in &steps {
            now = now.saturating_add_signed(s.wait);
            t.observe(now, &to_packet(s), &mut events);
            for e in events.drain(..) {
                if let Event::FlowStarted(id) | Event::FlowFailed(id) | Event::FlowClosed(id) = e {
                    prop_assert!(t.flow(id).is_some() && t.flow_entities(id).is_some());
                }
            }
        }
    }
}

#[test]
fn a_flood_of_forged_openings_displaces_itself() {
    let mut t =
        Tracker::new(TrackerConfig { flow_capacity: 64, entity_capacity: 64, ..TrackerConfig::default() });
    let mut events = Vec::new();
    let now = feed(&mut t, &[">S", "<SA", ">A", ">PA+"].map(segment), &mut events);
    let (key, _) = flow::FlowKey::of(&segment(">A"));
    for n in 0..10_000_u32 {
        let p = packet(protocol::TCP, (host(n), 1024), (SERVER, 80), flags("S"));
        t.observe(now + u64::from(n), &p, &mut events);
    }
    assert!(t.flow_at(&key).is_some(), "the conversation is still known");
    assert_eq!(t.counters().flows_evicted, 10_001 - 64);
    assert!(t.counters().entities_evicted > 0);
    assert!(t.entity_at(SERVER, Role::Target).is_some(), "the busiest entity is still known");
}

#[test]
fn idle_entities_are_forgotten() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &[segment(">S")], &mut events);
    assert_eq!(t.counters().entities_live, 2);
    for second in 1..=100 {
        t.advance(T0 + second * S, &mut events);
    }
    assert_eq!(t.counters().entities_live, 0);
}

#[test]
fn a_clock_set_back_far_begins_anew() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &[">S", "<SA", ">A"].map(segment), &mut events);
    t.observe(T0 - S, &segment(">PA+"), &mut events);
    assert_eq!((t.counters().time_went_back, t.counters().clock_restarts), (1, 0));
    t.observe(T0 - 3600 * S, &segment(">PA+"), &mut events);
    assert_eq!((t.counters().time_went_back, t.counters().clock_restarts), (1, 1));
    assert_eq!(ended(&events).len(), 1);
    assert_eq!(t.now_ns(), T0 - 3600 * S);
    let w = t.entity_at(CLIENT, Role::Source).expect("active").current(Span::S60);
    assert_eq!((w.start_ns, w.packets), (T0 - 3600 * S, 1));
}

#[test]
fn traffic_is_told_by_whole_seconds() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    let start = T0 - T0 % S;
    for n in 0..300_u32 {
        let p = packet(protocol::UDP, (host(n % 50), 9), (SERVER, 100 + (n % 7) as u16), 0);
        t.observe(start + u64::from(n) * 5 * MS, &p, &mut events);
    }
    let last = t.traffic();
    assert_eq!((last.start_ns, last.packets_per_second, last.bytes_per_second), (start, 200, 8000));
    assert_eq!((last.unique_ips, last.unique_ports, last.udp_packets, last.tcp_packets), (51, 7, 200, 0));
    assert_eq!(t.traffic_running().packets_per_second, 100);
    t.advance(start + 10 * S, &mut events);
    assert_eq!((t.traffic().start_ns, t.traffic().packets_per_second), (start + 9 * S, 0));
}

#[test]
fn the_busiest_sources_come_first() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    for (n, packets) in [(1, 5), (2, 70), (3, 5)] {
        for i in 0..packets {
            t.observe(T0 + i, &packet(protocol::UDP, (host(n), 9), (SERVER, 9), 0), &mut events);
        }
    }
    assert_eq!(t.top_sources(2), [(host(2), 70, 2800), (host(1), 5, 200)]);
    t.advance(T0 + 11 * S, &mut events);
    assert_eq!(t.top_sources(2), []);
}

#[test]
fn the_end_can_come_in_portions() {
    let (mut t, mut events) = (Tracker::new(SMALL), Vec::new());
    for n in 0..5 {
        t.observe(T0, &packet(protocol::UDP, (host(n), 1000), (host(100), 53), 0), &mut events);
    }
    let live = t.counters().flows_live as usize;
    let mut sizes = Vec::new();
    loop {
        events.clear();
        let more = t.finish_some(2, &mut events);
        sizes.push(ended(&events).len());
        if !more {
            break;
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), live);
    assert!(sizes.iter().all(|n| *n <= 2), "{sizes:?}");
}
