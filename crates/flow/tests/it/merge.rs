//! Snapshots against packets: the same windows, outcomes and records.

use crate::common::*;
use flow::{
    Census, CensusConfig, EndReason, Event, FlowKey, FlowStats, Outcome, Role, Span, Tracker, TrackerConfig,
};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::Packet;
use wire::packet::protocol;

/// Conversations that end within the shortest window, so that when a snapshot is read does not matter.
const CONVERSATIONS: [&str; 10] = [
    ">S <SA >A >PA+ <A <PA+ >A >FA <FA >A",
    ">S <SA >A >PA+ <PA+",
    ">S <RA",
    ">S <SA >R",
    ">S >S >S",
    ">S >A >PA+",
    ">F",
    ">FPU <RA",
    ">PA+ <A <PA+",
    "<SA >R",
];

#[derive(Clone, Debug)]
struct Talk {
    kind: usize,
    client: u32,
    server: u32,
    /// Before which packets a snapshot is read.
    cuts: Vec<usize>,
}

fn talk() -> impl Strategy<Value = Talk> {
    (0..CONVERSATIONS.len() + 2, 0..5_u32, 0..3_u32, prop::collection::vec(1..10_usize, 0..4))
        .prop_map(|(kind, client, server, cuts)| Talk { kind, client, server, cuts })
}

fn packets(t: &Talk, port: u16) -> Vec<Packet<'static>> {
    let (client, server) = ((host(t.client), port), (host(100 + t.server), 22));
    if let Some(text) = CONVERSATIONS.get(t.kind) {
        return text
            .split_whitespace()
            .map(|s| {
                let p = segment(s);
                let (src, dst) = if p.src == CLIENT { (client, server) } else { (server, client) };
                Packet { src: src.0, src_port: src.1, dst: dst.0, dst_port: dst.1, ..p }
            })
            .collect();
    }
    let ask = with(packet(protocol::UDP, client, server, 0), b"question");
    let answer = with(packet(protocol::UDP, server, client, 0), b"answer, a longer one");
    if t.kind == CONVERSATIONS.len() { vec![ask, answer, ask] } else { vec![ask] }
}

/// All windows of a minute, their sets as counts: in which order things went in does not matter.
fn windows(t: &Census) -> Vec<Value> {
    let addrs = (0..5).map(host).chain((100..103).map(host));
    addrs
        .flat_map(|a| [t.entity_at(a, Role::Source), t.entity_at(a, Role::Target)])
        .flatten()
        .map(|e| serde_json::to_value(e.current(Span::S60)).expect("a window has a JSON form"))
        .collect()
}

proptest! {
    #[test]
    fn snapshots_give_the_windows_that_packets_give(talks in prop::collection::vec(talk(), 1..20)) {
        let (mut by_packet, mut by_snapshot) = (Pair::new(), Pair::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut kernel: BTreeMap<FlowKey, FlowStats> = BTreeMap::new();
        let mut now = T0;
        for (n, talk) in talks.iter().enumerate() {
            for (i, p) in packets(talk, 1000 + n as u16).iter().enumerate() {
                now += MS;
                let (key, d) = FlowKey::of(p);
                if talk.cuts.contains(&i) {
                    by_snapshot.merge(now, key, &kernel[&key], &mut second);
                    if i % 2 == 0 {
                        by_snapshot.merge(now, key, &kernel[&key], &mut second);
                    }
                }
                by_packet.observe(now, p, &mut first);
                kernel.entry(key).or_insert_with(|| FlowStats::begin(p, d)).account(now, p, d);
            }
            let key = FlowKey::of(&packets(talk, 1000 + n as u16)[0]).0;
            by_snapshot.merge(now, key, &kernel[&key], &mut second);
        }
        // Time for the grace to run out: packets are told by the clock, snapshots by one more reading.
        by_packet.advance(T0 + 2 * S, &mut first);
        for (key, stats) in &kernel {
            by_snapshot.merge(T0 + 2 * S, *key, stats, &mut second);
        }
        prop_assert_eq!(windows(&by_packet.census), windows(&by_snapshot.census));
        by_packet.finish(&mut first);
        by_snapshot.finish(&mut second);
        let sorted = |events: &[Event]| {
            let mut all: Vec<_> = ended(events).into_iter().map(|(r, _)| (r.key, r.stats, r.outcome)).collect();
            all.sort_by_key(|(key, ..)| *key);
            all
        };
        prop_assert_eq!(sorted(&first), sorted(&second));
        let (a, b) = (by_packet.tracker.counters(), by_snapshot.tracker.counters());
        prop_assert_eq!((a.packets, a.bytes, a.flows_failed), (b.packets, b.bytes, b.flows_failed));
    }
}

/// The stats of a conversation whose packets are a millisecond apart from `start` on.
fn stats(start: u64, conversation: &str) -> (FlowKey, FlowStats) {
    let packets: Vec<_> = conversation.split_whitespace().map(segment).collect();
    let (key, d) = FlowKey::of(&packets[0]);
    let mut stats = FlowStats::begin(&packets[0], d);
    for (i, p) in packets.iter().enumerate() {
        stats.account(start + i as u64 * MS, p, FlowKey::of(p).1);
    }
    (key, stats)
}

#[test]
fn a_flow_begun_anew_at_the_source_begins_anew_here() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    let (key, first) = stats(T0, ">S <SA >A >FA <FA >A");
    let (_, second) = stats(T0 + S, ">S <SA");
    t.merge(T0 + S / 2, key, &first, &mut events);
    t.merge(T0 + S + S / 2, key, &second, &mut events);
    assert_eq!(ended(&events).iter().map(|(_, why)| *why).collect::<Vec<_>>(), [EndReason::Reused]);
    t.finish(&mut events);
    assert_eq!(t.counters().packets, 8);
    assert_eq!(t.counters().flows_total, 2);
}

/// The source's clock is compared with ours once in a while, and then its times move a little.
#[test]
fn a_clock_that_moved_a_little_makes_no_other_flow() {
    for (before, after) in [(T0, T0 + MS / 10), (T0 + MS / 10, T0)] {
        let mut t = Tracker::new(TrackerConfig::default());
        let mut events = Vec::new();
        let (key, first) = stats(before, ">S");
        let (_, second) = stats(after, ">S <SA >A");
        t.merge(T0 + S / 2, key, &first, &mut events);
        t.merge(T0 + S + S / 2, key, &second, &mut events);
        assert!(ended(&events).is_empty(), "{events:?}");
        assert_eq!((t.counters().packets, t.counters().flows_total), (3, 1));
    }
}

#[test]
fn a_silent_flow_fails_though_the_clock_moved_back_a_little() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    let (key, first) = stats(T0 + MS / 10, ">S");
    let (_, again) = stats(T0, ">S");
    t.merge(T0 + S / 2, key, &first, &mut events);
    t.merge(T0 + S + S / 2, key, &again, &mut events);
    t.finish(&mut events);
    assert_eq!((outcomes(&events), t.counters().snapshots_stale), (vec![Outcome::Unanswered], 0));
}

#[test]
fn stale_snapshots_change_nothing() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    let (key, early) = stats(T0, ">S <SA");
    let (_, late) = stats(T0, ">S <SA >A >FA <FA");
    t.merge(T0 + S, key, &late, &mut events);
    t.merge(T0 + S, key, &early, &mut events);
    assert_eq!((t.counters().packets, t.counters().snapshots_stale), (5, 1));
    // The flow leaves the table, and the source has not forgotten it yet.
    for second in 2..8 {
        t.advance(T0 + second * S, &mut events);
    }
    assert_eq!(t.counters().flows_live, 0);
    t.merge(T0 + 8 * S, key, &late, &mut events);
    assert_eq!((t.counters().packets, t.counters().flows_total, t.counters().snapshots_stale), (5, 1, 2));
}

#[test]
fn only_a_reading_after_the_grace_time_shows_silence() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    let (key, opening) = stats(T0, ">S");
    t.merge(T0, key, &opening, &mut events);
    t.advance(T0 + 5 * S, &mut events);
    assert_eq!(t.counters().flows_failed, 0, "the answer may be there already");
    let (_, answered) = stats(T0, ">S <SA >A");
    t.merge(T0 + 6 * S, key, &answered, &mut events);
    t.finish(&mut events);
    assert_eq!(outcomes(&events), [Outcome::Answered]);
}

#[test]
fn an_old_flow_is_cut_and_its_rest_counted_from_the_cut() {
    let config = TrackerConfig { active_ns: 10 * S, ..TrackerConfig::default() };
    let mut t = Pair::with(config, CensusConfig::default());
    let mut events = Vec::new();
    let (key, mut all) = stats(T0, ">S <SA >A");
    for second in 0..35_u64 {
        let p = segment(if second % 3 == 0 { "<PA+" } else { ">A" });
        all.account(T0 + second * S + S / 2, &p, FlowKey::of(&p).1);
        t.merge(T0 + (second + 1) * S, key, &all, &mut events);
    }
    t.finish(&mut events);
    let parts = ended(&events);
    assert_eq!(
        parts.iter().map(|(_, why)| *why).collect::<Vec<_>>(),
        [EndReason::Active; 3].into_iter().chain([EndReason::Shutdown]).collect::<Vec<_>>()
    );
    for d in 0..2 {
        let sum: u64 = parts.iter().map(|(r, _)| r.stats.dir[d].packets).sum();
        let bytes: u64 = parts.iter().map(|(r, _)| r.stats.dir[d].bytes).sum();
        assert_eq!((sum, bytes), (all.dir[d].packets, all.dir[d].bytes));
    }
    assert_eq!(t.tracker.counters().packets, 38);
    assert!(parts.iter().all(|(r, _)| r.initiator() == (CLIENT, 40_000)));
    let w = t.census.entity_at(CLIENT, Role::Source).expect("active").current(Span::S60);
    assert_eq!((w.flows, w.handshakes, w.packets + w.reply_packets), (1, 1, 38));
}
