//! Windows: which flows are cut at which age.

use crate::common::{CLIENT, S, SERVER, T0, ended, packet};
use flow::{Ages, EndReason, Tracker, TrackerConfig};
use wire::packet::protocol;

/// Ages, in seconds, of the records of a flow of one packet a second for 130 s.
fn windows(proto: u8, port: u16, payload: u32, replies: bool) -> Vec<u64> {
    let config = TrackerConfig { ages: Some(Ages::default()), ..TrackerConfig::default() };
    let mut tracker = Tracker::new(config);
    let mut events = Vec::new();
    let (client, server) = ((CLIENT, 40_000), (SERVER, port));
    for second in 0..130 {
        let there = packet(proto, client, server, if second == 0 { 0x02 } else { 0x10 });
        let mut back = packet(proto, server, client, 0x10);
        (back.payload_len, back.ip_len) = (payload, 40 + payload);
        tracker.observe(T0 + second * S, &there, &mut events);
        if replies {
            // Many packets within the second.
            for n in 1..4 {
                tracker.observe(T0 + second * S + n, &back, &mut events);
            }
        }
    }
    tracker.finish(&mut events);
    let records = ended(&events);
    assert!(records.iter().rev().skip(1).all(|(_, why)| *why == EndReason::Active));
    assert!(records.iter().all(|(r, _)| r.initiator().0 == CLIENT), "who began it stays known");
    let mut ages: Vec<u64> = records.iter().map(|(r, _)| (r.last_ns() - r.first_ns()) / S).collect();
    // The last record is as long as what was left.
    ages.pop();
    ages.dedup();
    ages
}

#[test]
fn flows_are_cut_by_what_they_are() {
    for (what, proto, port, payload, replies, expected) in [
        ("DNS", protocol::UDP, 53, 100, true, &[1][..]),
        ("DNS over TCP", protocol::TCP, 53, 100, true, &[1]),
        ("ICMP", protocol::ICMP, 0, 56, true, &[1]),
        ("a short exchange", protocol::UDP, 123, 0, false, &[1]),
        ("a call", protocol::UDP, 5060, 100, true, &[10]),
        ("a conversation", protocol::TCP, 443, 100, true, &[10]),
        ("SSH", protocol::TCP, 22, 100, true, &[60]),
        ("a download", protocol::TCP, 443, 60_000, true, &[60]),
        ("a stream", protocol::UDP, 443, 60_000, true, &[60]),
    ] {
        assert_eq!(windows(proto, port, payload, replies), expected, "{what}");
    }
}

#[test]
fn without_windows_the_active_timeout_holds() {
    let mut tracker = Tracker::new(TrackerConfig { active_ns: 20 * S, ..TrackerConfig::default() });
    let mut events = Vec::new();
    for second in 0..50 {
        tracker.observe(T0 + second * S, &packet(protocol::UDP, (CLIENT, 1), (SERVER, 53), 0), &mut events);
    }
    let ages: Vec<u64> = ended(&events).iter().map(|(r, _)| (r.last_ns() - r.first_ns()) / S).collect();
    assert_eq!(ages, [20, 20]);
}
