//! Fragments to the flow of their datagram, and what is odd about them.

use crate::common::{CLIENT, Pair, S, SERVER, T0, count, host, packet};
use flow::fragment::{DATAGRAMS, Finding, Fragments, LIFE_NS, MIN_CONTENT, OddFragment};
use flow::{FlowKey, FlowStats, Oddity, Role, Span, Tracker, TrackerConfig, What};
use proptest::prelude::*;
use wire::packet::protocol;
use wire::{Fragment, Packet};

/// A fragment of datagram `id` that holds the content `from..to`, from [`CLIENT`] port 4000 to [`SERVER`] port 53.
fn piece(id: u32, from: u16, to: u16) -> Packet<'static> {
    let first = from == 0;
    let (src_port, dst_port) = if first { (4000, 53) } else { (0, 0) };
    let p = packet(protocol::UDP, (CLIENT, src_port), (SERVER, dst_port), 0);
    let header = if first { 8 } else { 0 };
    Packet {
        fragment: if first { Fragment::First } else { Fragment::Later },
        fragment_id: id,
        fragment_offset: from,
        transport_len: header,
        payload_len: u32::from(to - from) - u32::from(header),
        ip_len: u32::from(to - from) + 20,
        ..p
    }
}

/// Findings of fragments of one datagram, a letter each: `t`iny, `o`verlap, orp`h`an, `+` ports known, `-` not.
fn findings(parts: &[(u16, u16)]) -> Vec<String> {
    let mut table = Fragments::new(1);
    parts
        .iter()
        .map(|(from, to)| {
            let mut p = piece(9, *from, *to);
            let f = table.resolve(T0, &mut p);
            let mut text = String::from(if p.src_port == 4000 && p.dst_port == 53 { "+" } else { "-" });
            for (letter, set) in [('t', f.tiny), ('o', f.overlap), ('h', f.orphan)] {
                if set {
                    text.push(letter);
                }
            }
            text
        })
        .collect()
}

#[test]
fn the_rules_hold() {
    let check = |parts: &[(u16, u16)], expected: &[&str]| assert_eq!(findings(parts), expected, "{parts:?}");
    check(&[(0, 1480), (1480, 2960), (2960, 3000)], &["+", "+", "+"]);
    // Any order after the first.
    check(&[(0, 1480), (2960, 4440), (1480, 2960), (4440, 4500)], &["+", "+", "+", "+"]);
    // Before the first.
    check(&[(1480, 2960), (0, 1480), (2960, 3000)], &["-h", "+", "+"]);
    check(&[(2960, 3000), (1480, 2960), (0, 1480)], &["-h", "-h", "+"]);
    // Copies, and the identification used anew.
    check(&[(0, 1480), (0, 1480), (1480, 2000), (1480, 2000)], &["+", "+", "+", "+"]);
    check(&[(0, 1480), (1480, 2000), (0, 1480), (1480, 2000)], &["+", "+", "+", "+"]);
    // Overlaps.
    check(&[(0, 1480), (1472, 2000)], &["+", "+o"]);
    check(&[(0, 1480), (1480, 2000), (400, 800)], &["+", "+", "+o"]);
    check(&[(0, 1480), (0, 800)], &["+", "+o"]);
    check(&[(800, 1600), (0, 808)], &["-h", "+o"]);
    check(&[(0, 800), (400, 1200), (1192, 1400)], &["+", "+o", "+o"]);
    // Apart from the region, where nothing is known.
    check(&[(0, 800), (1600, 2400), (1600, 2000)], &["+", "+", "+"]);
    // Tiny: a first one, the second after it, one in the middle; the last may be.
    check(&[(0, 8), (8, 16), (16, 24)], &["+t", "+t", "+t"]);
    check(&[(0, 800), (800, 808)], &["+", "+"]);
    check(&[(0, 800), (800, 808), (808, 900)], &["+", "+", "+t"]);
    check(&[(24, 48)], &["-th"]);
    let least = MIN_CONTENT as u16;
    check(&[(0, least), (least, 2 * least), (2 * least, 3 * least)], &["+", "+", "+"]);
}

#[test]
fn entries_are_told_apart_and_end() {
    let mut table = Fragments::new(1);
    let known = |table: &mut Fragments, at: u64, p: Packet<'static>| {
        let mut p = p;
        table.resolve(at, &mut p);
        p.src_port != 0
    };
    table.resolve(T0, &mut piece(9, 0, 1480));
    let later = piece(9, 1480, 2000);
    assert!(known(&mut table, T0 + LIFE_NS, later));
    for other in [
        Packet { fragment_id: 8, ..later },
        Packet { vlan: 3, ..later },
        Packet { tunnel: 3, ..later },
        Packet { protocol: protocol::TCP, ..later },
        Packet { src: SERVER, dst: CLIENT, ..later },
        Packet { dst: host(1), ..later },
    ] {
        assert!(!known(&mut table, T0 + LIFE_NS, other), "{other:?}");
    }
    assert!(!known(&mut table, T0 + LIFE_NS + 1, later));
    // Time that went back is no age.
    table.resolve(T0, &mut piece(10, 0, 1480));
    assert!(known(&mut table, T0 - S, piece(10, 1480, 2000)));
    // Whole packets are left alone.
    let mut whole = Packet { fragment: Fragment::None, ..piece(9, 0, 16) };
    assert_eq!(table.resolve(T0, &mut whole), Finding::default());
}

#[test]
fn a_flood_forgets_the_oldest_only() {
    let mut table = Fragments::new(7);
    for id in 0..10 * DATAGRAMS as u32 {
        let mut first = piece(id, 0, 1480);
        table.resolve(T0 + u64::from(id), &mut first);
        let mut later = piece(id, 1480, 1500);
        table.resolve(T0 + u64::from(id), &mut later);
        assert_eq!((later.src_port, later.dst_port), (4000, 53), "{id}");
    }
}

#[test]
fn fragments_are_accounted_to_the_flow_of_their_first_and_odd_ones_told() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    for (from, to) in [(0, 1480), (2960, 3000), (1480, 2960), (1472, 2000), (8, 16)] {
        t.observe(T0, &piece(9, from, to), &mut events);
    }
    assert_eq!(t.tracker.counters().flows_total, 1);
    let odd: Vec<_> =
        events.iter().filter_map(|e| if let What::Odd(o) = e.what { Some(o) } else { None }).collect();
    assert_eq!(odd, [Oddity::FragmentOverlap, Oddity::FragmentTiny]);
    // A first fragment is no whole datagram: it is not read.
    assert_eq!(count(&events, |e| matches!(e, What::Message(..))), 0);
    let source = t.census.entity_at(CLIENT, Role::Source).expect("the source");
    let w = source.window(Span::S10);
    assert_eq!((w.tiny_fragments, w.overlapping_fragments, w.orphan_fragments), (1, 2, 0));
    // An orphan goes to the flow without ports.
    t.observe(T0, &piece(10, 1480, 2000), &mut events);
    let c = t.tracker.counters();
    assert_eq!((c.flows_total, c.fragments_orphaned), (2, 1));
}

/// What another has found is told like what was found here, before and after the flow's counts come.
#[test]
fn word_of_odd_fragments_is_told_once_a_flow_and_kind() {
    let first = piece(9, 0, 1480);
    let (key, direction) = FlowKey::of(&first);
    let word = |tiny, overlap| OddFragment {
        key,
        direction,
        initiator: direction,
        finding: Finding { tiny, overlap, orphan: false },
    };
    let mut stats = FlowStats::begin(&first, direction);
    stats.account(T0, &first, direction);
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    t.odd_fragment(T0, &word(true, false), &mut events);
    t.merge(T0 + 1, key, &stats, &mut events);
    t.odd_fragment(T0 + 2, &word(true, true), &mut events);
    t.odd_fragment(T0 + 3, &word(true, true), &mut events);
    let odd: Vec<_> =
        events.iter().filter_map(|e| if let What::Odd(o) = e.what { Some(o) } else { None }).collect();
    assert_eq!(odd, [Oddity::FragmentTiny, Oddity::FragmentOverlap]);
    assert_eq!(count(&events, |e| matches!(e, What::Started { .. })), 1);
    let c = t.counters();
    assert_eq!(
        (c.flows_total, c.packets, c.fragments_tiny),
        (1, 1, 0),
        "whoever looks at fragments counts them"
    );
}

proptest! {
    #[test]
    fn fragments_in_any_order_after_the_first_are_one_flow(
        order in Just((1..12_u16).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut t = Tracker::new(TrackerConfig::default());
        let mut events = Vec::new();
        t.observe(T0, &piece(9, 0, 512), &mut events);
        for n in order {
            t.observe(T0, &piece(9, n * 512, n * 512 + 512), &mut events);
        }
        prop_assert_eq!(t.counters().flows_total, 1);
        prop_assert_eq!(count(&events, |e| matches!(e, What::Odd(_))), 0);
    }
}
