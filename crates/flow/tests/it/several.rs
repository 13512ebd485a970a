//! Several trackers, each with the packets of its flows and all with the same ticks, against one that sees all.

use crate::common::*;
use flow::{Census, CensusConfig, Event, FlowKey, Role, Span, Tracker, TrackerConfig};
use proptest::prelude::*;
use serde_json::Value;
use wire::Packet;
use wire::packet::protocol;

#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    client: u32,
    server: u32,
    kind: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let wait =
        prop_oneof![20 => 0..20_000_000_u64, 5 => 0..500_000_000_u64, 1 => 1_000_000_000..90_000_000_000_u64];
    (wait, 0..5_u32, 0..3_u32, 0..8_usize).prop_map(|(wait, client, server, kind)| Step {
        wait,
        client,
        server,
        kind,
    })
}

fn to_packet(s: &Step) -> Packet<'static> {
    let (client, server) = ((host(s.client), 1000 + s.client as u16), (host(100 + s.server), 22));
    let (sent, back) = ((client, server), (server, client));
    let (proto, (src, dst), letters, data) = match s.kind {
        0 => (protocol::UDP, sent, "", true),
        1 => (protocol::UDP, back, "", true),
        2 => (protocol::TCP, sent, "S", false),
        3 => (protocol::TCP, back, "SA", false),
        4 => (protocol::TCP, back, "RA", false),
        5 => (protocol::TCP, sent, "A", true),
        6 => (protocol::TCP, back, "A", true),
        _ => (protocol::TCP, sent, "FA", false),
    };
    let p = packet(proto, src, dst, flags(letters));
    if data { with(p, b"data") } else { p }
}

/// What `n` trackers and their census make of the steps: records, windows of a minute, rates, how many were judged.
fn run(steps: &[Step], n: usize) -> (Vec<String>, Vec<Value>, Value, usize) {
    let mut trackers: Vec<Tracker> = (0..n).map(|_| Tracker::new(TrackerConfig::default())).collect();
    let mut census = Census::new(CensusConfig::default());
    let (mut told, mut records, mut active) = (vec![Vec::new(); n], Vec::new(), Vec::new());
    let mut hand_over = |told: &mut [Vec<Event>], now: u64| {
        let mut all: Vec<Event> = told.iter_mut().flat_map(std::mem::take).collect();
        all.sort_by_key(|e| e.at_ns);
        all.iter().for_each(|e| census.take(e, &mut active));
        census.advance(now);
        records.extend(ended(&all).into_iter().map(|(r, why)| format!("{:?} {r:?} {why:?}", r.key)));
    };
    let mut now = T0;
    for s in steps {
        now += s.wait;
        if trackers[0].ticks_at(now) {
            for (t, told) in trackers.iter_mut().zip(&mut told) {
                t.advance(now, told);
            }
            hand_over(&mut told, now);
        }
        let p = to_packet(s);
        let (key, _) = FlowKey::of(&p);
        let own = (key.lo.0[15] as usize * 3 + key.hi.0[15] as usize) % n;
        trackers[own].observe(now, &p, &mut told[own]);
    }
    for (t, told) in trackers.iter_mut().zip(&mut told) {
        t.advance(now + 2 * S, told);
    }
    hand_over(&mut told, now + 2 * S);
    for (t, told) in trackers.iter_mut().zip(&mut told) {
        t.finish(told);
    }
    hand_over(&mut told, now + 2 * S);
    records.sort();
    let windows = (0..5)
        .map(host)
        .chain((100..103).map(host))
        .flat_map(|a| [census.entity_at(a, Role::Source), census.entity_at(a, Role::Target)])
        .flatten()
        .map(|e| serde_json::to_value(e.current(Span::S60)).expect("a window has a JSON form"))
        .collect();
    let rates = serde_json::to_value(census.traffic()).expect("rates have a JSON form");
    (records, windows, rates, active.len())
}

proptest! {
    #[test]
    fn several_trackers_tell_what_one_would(steps in prop::collection::vec(step(), 0..150), n in 2..4_usize) {
        let (one, several) = (run(&steps, 1), run(&steps, n));
        prop_assert_eq!(one.0, several.0, "records");
        prop_assert_eq!(one.1, several.1, "windows");
        prop_assert_eq!((one.2, one.3), (several.2, several.3), "rates, and how often somebody was judged");
    }
}
