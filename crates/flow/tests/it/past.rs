//! Windows that are over leave the census once each.

use crate::common::*;
use flow::{PastWindow, Role};
use wire::packet::protocol;

fn ping(n: u32) -> wire::Packet<'static> {
    packet(protocol::UDP, (host(1), 40_000), (host(2 + n), 53), 0)
}

fn taken(t: &mut Pair) -> Vec<PastWindow> {
    let mut past = Vec::new();
    t.census.take_past(&mut past);
    past
}

/// A pair whose source sends a packet a second, from the first to the last second.
fn sending(seconds: std::ops::Range<u64>, t: &mut Pair) {
    let mut events = Vec::new();
    for s in seconds {
        t.observe(T0 + s * S, &ping(s as u32), &mut events);
        t.advance(T0 + s * S + S / 2, &mut events);
    }
}

#[test]
fn each_window_of_a_source_is_handed_out_with_all_that_was_in_it() {
    let mut t = Pair::new();
    t.census.keep_past();
    sending(0..25, &mut t);
    let past = taken(&mut t);
    assert!(past.iter().all(|p| p.addr == host(1)), "{past:?}");
    assert_eq!(past.iter().map(|p| p.window.packets).collect::<Vec<_>>(), [10, 10]);
    t.census.end_windows();
    assert_eq!(
        taken(&mut t).iter().map(|p| (p.window.packets, p.window.flows)).collect::<Vec<_>>(),
        [(5, 5)]
    );
    t.census.end_windows();
    assert_eq!(taken(&mut t), []);
}

#[test]
fn who_falls_silent_is_handed_out_though_nobody_speaks_of_him() {
    let mut t = Pair::new();
    t.census.keep_past();
    sending(0..3, &mut t);
    let mut events = Vec::new();
    for s in 3..30 {
        t.advance(T0 + s * S, &mut events);
    }
    let past = taken(&mut t);
    assert_eq!(past.iter().map(|p| p.window.packets).collect::<Vec<_>>(), [3]);
    // Who comes back begins anew, and nothing is told twice.
    sending(30..32, &mut t);
    t.census.end_windows();
    assert_eq!(taken(&mut t).iter().map(|p| p.window.packets).collect::<Vec<_>>(), [2]);
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let mut t = Pair::new();
    sending(0..25, &mut t);
    t.census.end_windows();
    assert_eq!(taken(&mut t), []);
    assert!(t.census.entity_at(host(1), Role::Source).is_some());
}
