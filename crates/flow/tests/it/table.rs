//! Bounds, balance and repeatability of the tables under arbitrary input.

use crate::common::*;
use flow::tracker::{CLOCK_RESTART_NS, TICK_NS};
use flow::{CensusConfig, EndReason, Event, FlowKey, Role, Span, Tracker, TrackerConfig, What};
use proptest::prelude::*;
use std::collections::BTreeMap;
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
    idle_tcp_ns: 300 * S,
    idle_ns: 60 * S,
    active_ns: 600 * S,
    linger_ns: 2 * S,
    grace_ns: S,
    session_capacity: 4,
    session_bytes: 4096,
    seed: 42,
};

/// Entities beside the flows of [`SMALL`].
const FEW: CensusConfig = CensusConfig { entity_capacity: 5, seed: 42 };

fn drive(config: TrackerConfig, steps: &[Step]) -> (Pair, Vec<Event>) {
    let mut t = Pair::with(config, FEW);
    let (mut now, mut events) = (T0, Vec::new());
    for s in steps {
        now = now.saturating_add_signed(s.wait);
        t.observe(now, &to_packet(s), &mut events);
        assert!(t.tracker.counters().flows_live <= config.flow_capacity as u64);
        assert!(t.census.counters().entities_live <= FEW.entity_capacity as u64);
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
        // Live flows: packets told, and whether it failed.
        let mut live: BTreeMap<FlowKey, (u64, bool)> = BTreeMap::new();
        let (mut started, mut failures, mut packets) = (0, 0, 0);
        let mut clock = 0;
        for e in &events {
            prop_assert!(e.at_ns >= clock || clock - e.at_ns > CLOCK_RESTART_NS, "in order of time");
            clock = e.at_ns;
            let key = e.flow.key;
            match &e.what {
                What::Started { share, .. } => {
                    started += 1;
                    prop_assert!(live.insert(key, (share.total(), false)).is_none(), "told of its end before");
                }
                What::Counted { share, begins_ns, last_ns } => {
                    prop_assert!(begins_ns <= last_ns && *last_ns <= e.at_ns, "none after it was told");
                    prop_assert_eq!(begins_ns / TICK_NS, last_ns / TICK_NS, "of one tick");
                    live.get_mut(&key).expect("it lives").0 += share.total();
                }
                What::Failed { .. } => {
                    failures += 1;
                    let failed = &mut live.get_mut(&key).expect("it lives").1;
                    prop_assert!(!std::mem::replace(failed, true), "failed once");
                }
                What::Ended(r, _) => {
                    let sum = r.stats.dir[0].packets + r.stats.dir[1].packets;
                    let told = live.remove(&key).map(|(told, _)| told);
                    prop_assert_eq!(told, Some(sum), "all its packets were told before");
                    packets += sum;
                }
                _ => prop_assert!(live.contains_key(&key)),
            }
        }
        let c = t.tracker.counters();
        prop_assert_eq!(ended(&events).len(), started);
        prop_assert_eq!(packets, steps.len() as u64);
        prop_assert_eq!((c.packets, c.flows_total, c.flows_live), (steps.len() as u64, started as u64, 0));
        prop_assert_eq!(c.flows_failed, failures);
        let evicted = ended(&events).iter().filter(|(_, why)| *why == EndReason::Evicted).count();
        prop_assert_eq!(c.flows_evicted, evicted as u64);
    }

    #[test]
    fn same_input_same_events(steps in prop::collection::vec(step(), 0..150)) {
        let (a, first) = drive(SMALL, &steps);
        let (b, second) = drive(SMALL, &steps);
        prop_assert_eq!(first, second);
        prop_assert_eq!(a.tracker.counters(), b.tracker.counters());
        prop_assert_eq!(a.census.counters(), b.census.counters());
        prop_assert_eq!(a.census.top_sources(9), b.census.top_sources(9));
    }
}

#[test]
fn a_flood_of_forged_openings_displaces_itself() {
    let mut t = Pair::with(
        TrackerConfig { flow_capacity: 64, ..TrackerConfig::default() },
        CensusConfig { entity_capacity: 64, ..CensusConfig::default() },
    );
    let mut events = Vec::new();
    let now = t.feed(&[">S", "<SA", ">A", ">PA+"].map(segment), &mut events);
    let (key, _) = FlowKey::of(&segment(">A"));
    for n in 0..10_000_u32 {
        let p = packet(protocol::TCP, (host(n), 1024), (SERVER, 80), flags("S"));
        t.observe(now + u64::from(n), &p, &mut events);
    }
    assert!(t.tracker.flow(&key).is_some(), "the conversation is still known");
    assert_eq!(t.tracker.counters().flows_evicted, 10_001 - 64);
    assert!(t.census.counters().entities_evicted > 0);
    assert!(t.census.entity_at(SERVER, Role::Target).is_some(), "the busiest entity is still known");
}

#[test]
fn idle_entities_are_forgotten() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    t.feed(&[segment(">S")], &mut events);
    assert_eq!(t.census.counters().entities_live, 2);
    for second in 1..=100 {
        t.advance(T0 + second * S, &mut events);
    }
    assert_eq!(t.census.counters().entities_live, 0);
}

#[test]
fn a_clock_set_back_far_begins_anew() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    t.feed(&[">S", "<SA", ">A"].map(segment), &mut events);
    let clocks = |t: &Pair| (t.tracker.counters().time_went_back, t.tracker.counters().clock_restarts);
    t.observe(T0 - S, &segment(">PA+"), &mut events);
    assert_eq!(clocks(&t), (1, 0));
    t.observe(T0 - 3600 * S, &segment(">PA+"), &mut events);
    assert_eq!(clocks(&t), (1, 1));
    assert_eq!(ended(&events).len(), 1);
    assert_eq!(t.tracker.now_ns(), T0 - 3600 * S);
    let w = t.census.entity_at(CLIENT, Role::Source).expect("active").current(Span::S60);
    assert_eq!((w.start_ns, w.packets), (T0 - 3600 * S, 1));
}

#[test]
fn traffic_is_told_by_whole_seconds() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    let start = T0 - T0 % S;
    for n in 0..300_u32 {
        let p = packet(protocol::UDP, (host(n % 50), 9), (SERVER, 100 + (n % 7) as u16), 0);
        t.observe(start + u64::from(n) * 5 * MS, &p, &mut events);
    }
    t.tick(&mut events);
    let last = t.census.traffic();
    assert_eq!((last.start_ns, last.packets_per_second, last.bytes_per_second), (start, 200, 8000));
    assert_eq!((last.unique_ips, last.unique_ports, last.udp_packets, last.tcp_packets), (51, 7, 200, 0));
    assert_eq!(t.census.traffic_running().packets_per_second, 100);
    t.advance(start + 10 * S, &mut events);
    let last = t.census.traffic();
    assert_eq!((last.start_ns, last.packets_per_second), (start + 9 * S, 0));
}

#[test]
fn the_busiest_sources_come_first() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    for (n, packets) in [(1, 5), (2, 70), (3, 5)] {
        for i in 0..packets {
            t.observe(T0 + i, &packet(protocol::UDP, (host(n), 9), (SERVER, 9), 0), &mut events);
        }
    }
    t.tick(&mut events);
    assert_eq!(t.census.top_sources(2), [(host(2), 70, 2800), (host(1), 5, 200)]);
    t.advance(T0 + 11 * S, &mut events);
    assert_eq!(t.census.top_sources(2), []);
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
