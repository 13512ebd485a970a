//! What becomes of a flow, and what its entities' windows say about it.

use crate::common::*;
use flow::tracker::TICK_NS;
use flow::{EndReason, Event, Outcome, Role, Span, Tracker, TrackerConfig, What, Window};
use wire::packet::protocol;
use wire::{Addr, Packet};

fn run(packets: &[Packet<'_>]) -> (Pair, Vec<Event>) {
    let mut t = Pair::new();
    let mut events = Vec::new();
    let end = t.feed(packets, &mut events);
    t.advance(end + 2 * S, &mut events);
    t.finish(&mut events);
    (t, events)
}

/// Outcome of one conversation, and whether it counted as failed: event, counter and both entities' minutes.
fn check(name: &str, packets: &[Packet<'_>], outcome: Outcome, failed: bool) {
    let (t, events) = run(packets);
    let n = u32::from(failed);
    assert_eq!(outcomes(&events), [outcome], "outcome of {name}");
    assert_eq!(count(&events, |e| matches!(e, What::Failed { .. })), n as usize, "event of {name}");
    assert_eq!(t.tracker.counters().flows_failed, u64::from(failed), "counter of {name}");
    let (record, _) = ended(&events)[0];
    for (addr, role) in [(record.initiator().0, Role::Source), (record.responder().0, Role::Target)] {
        let minute = t.census.entity_at(addr, role).expect("seen this minute").window(Span::S60);
        assert_eq!((minute.flows, minute.failed_flows), (1, n), "{role:?} window of {name}");
    }
}

fn check_tcp(conversation: &str, outcome: Outcome, failed: bool) {
    let packets: Vec<_> = conversation.split_whitespace().map(segment).collect();
    check(conversation, &packets, outcome, failed);
}

#[test]
fn tcp() {
    use Outcome as O;
    check_tcp(">S <SA >A >PA+ <A", O::Answered, false);
    check_tcp(">S <RA", O::Refused, true);
    check_tcp(">S <R", O::Refused, true);
    check_tcp(">S", O::Unanswered, true);
    check_tcp(">S >S >S", O::Unanswered, true);
    // Half-open and connect scans reset before payload.
    check_tcp(">S <SA >R", O::Aborted, true);
    check_tcp(">S <SA >A >RA", O::Aborted, true);
    check_tcp(">S <SA >A >PA+ >RA", O::Answered, false);
    check_tcp(">S <SA >A <PA+ >RA", O::Answered, false);
    // A reset by the responder after accepting, or an orderly close, is neither.
    check_tcp(">S <SA >A <RA", O::Answered, false);
    check_tcp(">S <SA >A >FA <FA >A", O::Answered, false);
    // Only the initiator's half is visible.
    check_tcp(">S >A >PA+", O::Answered, false);
    // Late starts and backscatter are nobody's failure.
    check_tcp(">PA+", O::Pending, false);
    check_tcp(">A <R", O::Answered, false);
    check_tcp("<SA", O::Answered, false);
    check_tcp("<SA >R", O::Answered, false);
    check_tcp(">R", O::Pending, false);
    // Stealth probes: FIN, NULL, Xmas.
    check_tcp(">F", O::Unanswered, true);
    check_tcp("> <RA", O::Refused, true);
    check_tcp(">FPU", O::Unanswered, true);
}

#[test]
fn udp_icmp_and_the_rest() {
    use Outcome as O;
    let ask = packet(protocol::UDP, (CLIENT, 5000), (SERVER, 53), 0);
    let answer = packet(protocol::UDP, (SERVER, 53), (CLIENT, 5000), 0);
    check("udp answered", &[ask, answer], O::Answered, false);
    check("udp unanswered", &[ask, ask], O::Unanswered, true);
    for (group, name) in [("239.255.255.250", "ssdp"), ("255.255.255.255", "broadcast"), ("ff02::fb", "mdns")]
    {
        let group: Addr = group.parse().expect("an address");
        check(name, &[packet(protocol::UDP, (CLIENT, 5000), (group, 1900), 0)], O::Pending, false);
    }
    check("fragment alone", &[packet(protocol::UDP, (CLIENT, 0), (SERVER, 0), 0)], O::Pending, false);
    let echo = packet(protocol::ICMP, (CLIENT, 8), (SERVER, 0), 0);
    let reply = packet(protocol::ICMP, (SERVER, 0), (CLIENT, 8), 0);
    check("echo answered", &[echo, reply], O::Answered, false);
    check("echo unanswered", &[echo], O::Unanswered, true);
    check("echo reply alone", &[reply], O::Pending, false);
    check("unreachable", &[packet(protocol::ICMP, (CLIENT, 3), (SERVER, 1), 0)], O::Pending, false);
    check("esp", &[packet(50, (CLIENT, 0), (SERVER, 0), 0)], O::Pending, false);
    let v6 = |s: &str| s.parse::<Addr>().expect("an address");
    let echo6 = packet(protocol::ICMPV6, (v6("2001:db8::9"), 128), (v6("2001:db8::1"), 129), 0);
    check("echo over IPv6", &[echo6], O::Unanswered, true);
}

/// An ICMP error of `kind` and `code` from a router, about a packet of UDP or TCP from [`CLIENT`] to [`SERVER`].
fn unreachable<'a>(kind: u8, code: u8, quote: &'a [u8]) -> Packet<'a> {
    let p = packet(protocol::ICMP, (host(9), kind.into()), (CLIENT, code.into()), 0);
    Packet { icmp_type: kind, icmp_code: code, payload_len: quote.len() as u32, payload: quote, ..p }
}

/// The first 28 bytes of such a packet from port `from` to port `to`, with a sequence number of TCP.
fn quoted(proto: u8, from: u16, to: u16, seq: u32) -> Vec<u8> {
    let ip = [0x45, 0, 0, 60, 0, 1, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    [&ip[..], &ports, &seq.to_be_bytes()].concat()
}

#[test]
fn an_icmp_error_refuses_the_flow_it_quotes() {
    let udp = packet(protocol::UDP, (CLIENT, 4000), (SERVER, 53), 0);
    let syn = segment(">S");
    let answer = packet(protocol::UDP, (SERVER, 53), (CLIENT, 4000), 0);
    let (tcp, wrong) = (quoted(protocol::TCP, 40_000, 22, 7), quoted(protocol::TCP, 40_000, 22, 8));
    let (datagram, other) = (quoted(protocol::UDP, 4000, 53, 0), quoted(protocol::UDP, 4001, 53, 0));
    let back = quoted(protocol::UDP, 53, 4000, 0);
    let outcome_of = |name: &str, packets: &[Packet<'_>], expected: Outcome, at_once: bool| {
        let (mut t, mut events) = (Tracker::new(TrackerConfig::default()), Vec::new());
        feed(&mut t, packets, &mut events);
        let failed = count(&events, |e| matches!(e, What::Failed { .. }));
        assert_eq!(failed, usize::from(at_once), "{name}");
        t.finish(&mut events);
        let first = ended(&events).into_iter().find(|(r, _)| r.key.protocol == packets[0].protocol);
        assert_eq!(first.map(|(r, _)| r.outcome), Some(expected), "{name}");
    };
    use Outcome as O;
    outcome_of("port", &[udp, unreachable(3, 3, &datagram)], O::Refused, true);
    outcome_of(
        "host, twice",
        &[udp, unreachable(3, 1, &datagram), unreachable(3, 1, &datagram)],
        O::Refused,
        true,
    );
    outcome_of(
        "second error of its kind",
        &[udp, unreachable(3, 3, &other), unreachable(3, 3, &datagram)],
        O::Refused,
        true,
    );
    outcome_of("connection", &[syn, unreachable(3, 13, &tcp)], O::Refused, true);
    outcome_of("a forged one", &[syn, unreachable(3, 13, &wrong)], O::Unanswered, false);
    outcome_of("too large", &[udp, unreachable(3, 4, &datagram)], O::Unanswered, false);
    outcome_of("another flow", &[udp, unreachable(3, 3, &other)], O::Unanswered, false);
    outcome_of("an answer", &[udp, answer, unreachable(3, 3, &back)], O::Answered, false);
    outcome_of("answered before", &[udp, answer, unreachable(3, 3, &datagram)], O::Answered, false);
    outcome_of("answered after all", &[udp, unreachable(3, 3, &datagram), answer], O::Answered, true);
}

#[test]
fn a_late_answer_mends_the_outcome_but_not_the_count() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    t.observe(T0, &segment(">S"), &mut events);
    t.observe(T0 + 3 * S, &segment("<SA"), &mut events);
    t.finish(&mut events);
    assert_eq!(outcomes(&events), [Outcome::Answered]);
    assert_eq!(count(&events, |e| matches!(e, What::Failed { .. })), 1);
}

#[test]
fn grace_is_kept_to_the_tick() {
    let tick = (T0 / TICK_NS + 1) * TICK_NS;
    for begun in [tick, tick + 2 * MS, tick + TICK_NS - MS] {
        let (mut t, mut events) = (Pair::new(), Vec::new());
        t.observe(begun, &segment(">S"), &mut events);
        events.clear();
        t.advance(begun + S - MS, &mut events);
        assert!(events.is_empty());
        let told = (begun + S).div_ceil(TICK_NS) * TICK_NS;
        t.advance(told, &mut events);
        let [Event { at_ns, what: What::Failed { due_ns, .. }, .. }] = events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((at_ns, t.active.len()), (due_ns, 2));
        assert!((begun + S..=told).contains(&at_ns), "{at_ns}");
    }
}

#[test]
fn flows_end_when_and_why_the_specification_says() {
    let hour = 3600 * S;
    let cases: [(&str, u64, &str, &[EndReason]); 7] = [
        // First conversation, silence after it, second conversation: ends before the end of input.
        (">S <SA >A", 299 * S, ">A", &[]),
        (">S <SA >A", 301 * S, ">A", &[EndReason::Idle]),
        (">S <SA >A >FA <FA >A", S / 2, ">S", &[EndReason::Reused]),
        (">S <RA", S / 2, ">S", &[EndReason::Reused]),
        (">S <SA >A", S / 2, ">S", &[]),
        (">S <RA", S / 2, "<SA", &[]),
        (">S <RA", hour, ">S", &[EndReason::Closed]),
    ];
    for (first, silence, second, expected) in cases {
        let mut t = Tracker::new(TrackerConfig::default());
        let mut events = Vec::new();
        let first: Vec<_> = first.split_whitespace().map(segment).collect();
        let end = feed(&mut t, &first, &mut events);
        t.observe(end - MS + silence, &segment(second), &mut events);
        let reasons: Vec<_> = ended(&events).iter().map(|(_, why)| *why).collect();
        assert_eq!(reasons, expected, "after {silence} ns, {second}");
    }
}

#[test]
fn an_old_flow_is_cut_without_turning_round() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    let mut now = t.feed(&[">S", "<SA", ">A"].map(segment), &mut events);
    while now < T0 + 1801 * S {
        now += 100 * S;
        t.observe(now, &segment("<PA+"), &mut events);
    }
    let cut = ended(&events);
    assert_eq!(cut.len(), 1);
    assert_eq!(cut[0].1, EndReason::Active);
    t.finish(&mut events);
    let rest = ended(&events)[1].0;
    assert_eq!(rest.initiator(), (CLIENT, 40_000));
    assert_eq!(rest.outcome, Outcome::Answered);
    assert_eq!(rest.stats.from_responder().packets + cut[0].0.stats.from_responder().packets, 20);
    let source = t.census.entity_at(CLIENT, Role::Source).expect("active");
    assert_eq!(source.window(Span::S60).flows, 0, "the rest is no new beginning");
}

#[test]
fn windows_count_what_a_scan_does() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    let mut now = T0;
    for n in 0..200_u16 {
        let (src, dst) = ((CLIENT, 50_000), (host(u32::from(n) % 10), 1000 + n));
        t.observe(now, &packet(protocol::TCP, src, dst, flags("S")), &mut events);
        if n % 2 == 0 {
            t.observe(now, &packet(protocol::TCP, dst, src, flags("RA")), &mut events);
        }
        now += MS;
    }
    t.advance(now + S, &mut events);
    let w = t.census.entity_at(CLIENT, Role::Source).expect("active").window(Span::S10);
    assert_eq!((w.flows, w.syn_flows, w.failed_flows, w.refused_flows), (200, 200, 200, 100));
    assert_eq!((w.pending_handshakes(), w.completion_ratio(), w.reply_resets), (200, 0.0, 100));
    assert_eq!(w.failed_hosts(), 10);
    let near = |n: u32| n.abs_diff(200) <= 20;
    assert!(
        near(w.failed_ports()) && near(w.failed_services()),
        "{} {}",
        w.failed_ports(),
        w.failed_services()
    );
    assert_eq!(w.udp_failed_services(), 0);
    let victim = t.census.entity_at(host(3), Role::Target).expect("active").window(Span::S10);
    assert_eq!((victim.failed_flows, victim.failed_hosts(), victim.failed_ports()), (20, 1, 20));
}

#[test]
fn windows_tell_a_flood_from_a_busy_server() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    for n in 0..500_u32 {
        let p = packet(protocol::TCP, (host(n), 1024), (SERVER, 80), flags("S"));
        t.observe(T0 + u64::from(n) * MS, &p, &mut events);
    }
    let w = t.census.entity_at(SERVER, Role::Target).expect("active").window(Span::S1).clone();
    assert_eq!((w.syn_flows, w.completed_flows, w.pending_handshakes()), (500, 0, 500));
    // The first 64 packets come before anybody counts senders.
    assert!(w.sources().abs_diff(436) <= 40, "{}", w.sources());
    let mut t = Pair::new();
    for n in 0..500_u32 {
        let (c, s) = ((host(n), 1024), (SERVER, 80));
        for (src, dst, f) in [(c, s, "S"), (s, c, "SA"), (c, s, "A")] {
            t.observe(T0 + u64::from(n) * MS, &packet(protocol::TCP, src, dst, flags(f)), &mut events);
        }
    }
    let w = t.census.entity_at(SERVER, Role::Target).expect("active").window(Span::S1);
    assert_eq!((w.handshakes, w.completed_flows, w.pending_handshakes()), (500, 500, 0));
}

#[test]
fn sets_of_udp_and_echo_and_stealth() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    for n in 0..300_u16 {
        let now = T0 + u64::from(n) * MS;
        t.observe(now, &packet(protocol::UDP, (CLIENT, 5), (SERVER, 1000 + n), 0), &mut events);
        t.observe(now, &packet(protocol::ICMP, (CLIENT, 8), (host(u32::from(n) % 20), 0), 0), &mut events);
        t.observe(
            now,
            &packet(protocol::TCP, (CLIENT, 6), (SERVER, 1000 + n % 30), flags("FPU")),
            &mut events,
        );
    }
    let w = t.census.entity_at(CLIENT, Role::Source).expect("active").window(Span::S1);
    assert_eq!((w.udp_hosts(), w.echo_hosts(), w.stealth_services()), (1, 20, 30));
    assert!(w.udp_ports().abs_diff(235) <= 25, "{}", w.udp_ports());
}

#[test]
fn icmp_errors_count_beyond_what_their_sender_received() {
    let check = |flooded: bool, expected: (u32, u32)| {
        let mut t = Pair::new();
        let mut events = Vec::new();
        for n in 0..600 {
            let now = T0 + n * MS;
            if flooded {
                t.observe(now, &packet(protocol::UDP, (CLIENT, 5), (SERVER, 9), 0), &mut events);
            }
            t.observe(now, &packet(protocol::ICMP, (SERVER, 3), (CLIENT, 3), 0), &mut events);
        }
        t.finish(&mut events);
        let w = t.census.entity_at(SERVER, Role::Source).expect("active").current(Span::S1);
        assert_eq!((w.icmp_errors, w.icmp_packets), expected, "flooded: {flooded}");
    };
    check(true, (600, 0));
    // Those that may have been provoked by packets not told yet are given for lost.
    check(false, (600, 600 - flow::window::JUDGE_EVERY));
}

#[test]
fn answers_of_amplifying_services_are_no_attempts() {
    let check = |from: u16, to: u16, size: u32, failed: u32| {
        let mut t = Pair::new();
        let mut events = Vec::new();
        let p = Packet { payload_len: size, ..packet(protocol::UDP, (SERVER, from), (CLIENT, to), 0) };
        t.observe(T0, &p, &mut events);
        t.finish(&mut events);
        let w = t.census.entity_at(SERVER, Role::Source).expect("active").current(Span::S60);
        assert_eq!(w.failed_flows, failed, "{size} bytes from {from} to {to}");
    };
    check(53, 40_000, 1200, 0);
    check(11_211, 40_000, 1200, 0);
    check(53, 40_000, 40, 1);
    check(53, 500, 1200, 1);
    check(53, 123, 1200, 1);
    check(40_001, 40_000, 1200, 1);
}

#[test]
fn quiet_entities_hold_no_sets() {
    let mut t = Pair::new();
    let mut events = Vec::new();
    for n in 0..1000_u32 {
        let p = packet(protocol::TCP, (host(n), 1024), (SERVER, 80), flags("S"));
        t.observe(T0 + u64::from(n) * MS, &p, &mut events);
    }
    t.finish(&mut events);
    let live = t.census.counters().sets_live;
    assert!(live <= 3, "only the server's: {live}");
}

#[test]
fn the_kernels_counts_make_a_window() {
    let counts = flow::SourceCounts {
        start_ns: T0,
        packets: 900,
        tcp_packets: 900,
        syn_packets: 800,
        flows: 700,
        handshakes: 10,
        ..Default::default()
    };
    let w = Window::from_source(&counts);
    assert_eq!((w.start_ns, w.packets, w.syn_flows, w.completed_flows), (T0, 900, 700, 10));
    assert_eq!(w.pending_handshakes(), 690);
}
