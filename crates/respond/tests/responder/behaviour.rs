//! What the responder does in named situations.

use crate::world::{DAY, HOUR, MINUTE, SECOND, START, addr, allowed, line, prefix, scan, update};
use detect::{Actor, Change, Severity, Update};
use respond::responder::{CLOCK_SLACK_NS, MAX_HISTORY, MAX_OFFENDERS, MAX_REASON};
use respond::{Block, Decision, Effect, Mode, Outcome, Owner, Policy, Refusal, Responder};

fn enforce() -> Policy {
    Policy { mode: Mode::Enforce, ..Policy::default() }
}

fn lines(decisions: &[Decision]) -> Vec<String> {
    decisions.iter().map(line).collect()
}

fn on(r: &mut Responder, u: &Update, now: u64) -> String {
    r.on_update(u, now).as_ref().map_or_else(|| "nothing".to_owned(), line)
}

fn outcome(r: &mut Responder, u: &Update, now: u64) -> Option<Outcome> {
    r.on_update(u, now).map(|d| d.outcome)
}

fn continued(source: &str) -> Update {
    Update { change: Change::Continued, ..scan(source) }
}

#[test]
fn a_scan_is_blocked_for_a_while() {
    let mut r = Responder::new(enforce());
    let evidence = "port_scan (scan-vertical), confidence 0.90: distinct_ports 120 (at least 30)";
    assert_eq!(
        on(&mut r, &scan("203.0.113.9"), START),
        format!("Blocked 203.0.113.9 10 insert: {evidence}; for 10m, offence 1")
    );
    assert_eq!(on(&mut r, &continued("203.0.113.9"), START + MINUTE), "nothing");
    assert_eq!(r.blocks().count(), 1);
    assert!(r.tick(START + 10 * MINUTE - 1).is_empty());
    assert_eq!(
        lines(&r.tick(START + 10 * MINUTE)),
        [format!("Expired 203.0.113.9 0 remove: reached its end: {evidence}")]
    );
    assert_eq!(r.blocks().count(), 0);
    assert!(r.tick(START + HOUR).is_empty());
}

#[test]
fn decisions_serialise_as_audit_lines() {
    let mut r = Responder::new(enforce());
    let d = r.on_update(&scan("203.0.113.9"), START).expect("decides");
    let json = serde_json::to_value(&d).expect("serialises");
    assert_eq!(json["outcome"], "blocked");
    assert_eq!(json["prefix"], "203.0.113.9");
    assert_eq!(json["incident"], 7);
    assert_eq!(json["effect"]["effect"], "insert");
    assert_eq!(json["effect"]["until_ns"], START + 10 * MINUTE);
    assert_eq!(json["block"]["owner"], "policy");
    let expired = r.tick(START + 10 * MINUTE);
    let json = serde_json::to_value(&expired[0]).expect("serialises");
    assert_eq!(
        (&json["effect"]["effect"], &json["effect"]["prefix"]),
        (&"remove".into(), &"203.0.113.9".into())
    );
    let refused = Refusal::Shadow.decision(prefix("203.0.113.9"), START);
    assert!(serde_json::to_value(&refused).expect("serialises").get("effect").is_none());
}

#[test]
fn shadow_mode_reports_once_and_does_nothing() {
    let mut r = Responder::new(Policy::default());
    let d = r.on_update(&scan("203.0.113.9"), START).expect("reports");
    assert_eq!((d.outcome, d.effect), (Outcome::WouldBlock, None));
    for at in [START + SECOND, START + 10 * MINUTE - 1] {
        assert_eq!(r.on_update(&continued("203.0.113.9"), at), None);
        assert_eq!(r.on_update(&scan("203.0.113.9"), at), None, "another incident of the same actor");
    }
    assert_eq!((r.blocks().count(), r.would_be_blocks().count()), (0, 1));
    assert!(r.tick(START + 10 * MINUTE).is_empty(), "what is not in force does not expire");
    let d = r.on_update(&continued("203.0.113.9"), START + 10 * MINUTE).expect("reports again");
    assert_eq!(d.outcome, Outcome::WouldBlock);
    assert_eq!(d.block.map(|b| (b.offence, b.until_ns)), Some((2, START + 50 * MINUTE)));
    let refusal = r.ban(prefix("203.0.113.9"), HOUR, "", START + 10 * MINUTE).expect_err("shadow");
    assert!(refusal.to_string().starts_with("the agent runs in shadow mode"), "{refusal}");
    let counters = r.counters();
    assert_eq!((counters.would_block, counters.blocked, counters.refused_command), (2, 0, 1));
}

#[test]
fn what_does_not_block() {
    let source = Actor::Source { addr: addr("203.0.113.9") };
    let check = |change: fn(&mut Update), expected: &str| {
        let mut r = Responder::new(Policy { min_severity: Severity::Medium, ..enforce() });
        r.set_allowlist(vec![allowed("198.51.100.1", "gateway of eth0")], START);
        let mut u = update(Change::Opened, source);
        change(&mut u);
        assert_eq!(on(&mut r, &u, START), expected);
        u.change = Change::Continued;
        assert_eq!(on(&mut r, &u, START), "nothing", "said once");
        assert_eq!(r.blocks().count(), 0);
    };
    check(
        |u| u.incident.may_block = false,
        "Refused 203.0.113.9 - -: the evidence may alert and may not block by itself",
    );
    check(
        |u| u.incident.severity = Severity::Low,
        "Refused 203.0.113.9 - -: severity low is below min_severity medium",
    );
    check(
        |u| u.incident.confidence = 0.25,
        "Refused 203.0.113.9 - -: confidence 0.25 is below min_confidence 0.50",
    );
    check(
        |u| u.incident.confidence = f64::NAN,
        "Refused 203.0.113.9 - -: confidence NaN is below min_confidence 0.50",
    );
    check(
        |u| u.incident.actor = Actor::Source { addr: addr("198.51.100.1") },
        "Refused 198.51.100.1 - -: 198.51.100.1 is on the allowlist: gateway of eth0",
    );
    check(
        |u| u.incident.actor = Actor::Source { addr: addr("127.0.0.1") },
        "Refused 127.0.0.1 - -: 127.0.0.1 is within 127.0.0.0/8, which is on the allowlist: loopback",
    );
    check(
        |u| u.incident.actor = Actor::Distributed { target: addr("192.0.2.80") },
        "Refused 192.0.2.80 - -: the sources are many or forged: blocking their addresses would not stop it and could \
         hit bystanders",
    );
    let mut r = Responder::new(enforce());
    assert_eq!(on(&mut r, &update(Change::Ended, source), START), "nothing", "over already");
}

#[test]
fn repeat_offenders_stay_out_longer_until_forgotten() {
    let mut r = Responder::new(enforce());
    let mut now = START;
    for (offence, minutes) in [(1, 10), (2, 40), (3, 160), (4, 640), (5, 1440), (6, 1440)] {
        let d = r.on_update(&scan("203.0.113.9"), now).expect("blocks");
        let b = d.block.expect("block");
        assert_eq!((b.offence, b.until_ns - now), (offence, minutes * MINUTE));
        now = b.until_ns;
        r.tick(now);
    }
    let e = r.explain(addr("203.0.113.9"), now);
    assert_eq!((e.offences, e.history.len(), e.blocks.len()), (6, MAX_HISTORY, 0));
    now += 7 * DAY;
    let d = r.on_update(&scan("203.0.113.9"), now).expect("blocks");
    assert_eq!(d.block.map(|b| b.offence), Some(1));
}

#[test]
fn a_going_incident_extends_the_block_near_its_end() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    assert_eq!(r.on_update(&continued("203.0.113.9"), START + 7 * MINUTE), None);
    let at = START + 8 * MINUTE;
    let d = r.on_update(&continued("203.0.113.9"), at).expect("extends");
    let b = d.block.expect("block");
    assert_eq!(
        (d.outcome, b.since_ns, b.until_ns, b.offence),
        (Outcome::Extended, START, at + 10 * MINUTE, 1)
    );
    assert!(matches!(d.effect, Some(Effect::Insert(_))));
    assert!(r.tick(START + 10 * MINUTE).is_empty());
    assert_eq!(r.tick(at + 10 * MINUTE).len(), 1);
}

#[test]
fn an_operators_ban() {
    let mut r = Responder::new(enforce());
    r.set_allowlist(vec![allowed("203.0.113.5", "gateway of eth0")], START);
    let mut ban = |p: &str, ttl, why: &str, now| match r.ban(prefix(p), ttl, why, now) {
        Ok(d) => line(&d),
        Err(e) => e.to_string(),
    };
    assert_eq!(ban("203.0.113.5", HOUR, "", START), "203.0.113.5 is on the allowlist: gateway of eth0");
    assert_eq!(
        ban("203.0.113.0/24", HOUR, "", START),
        "203.0.113.0/24 contains 203.0.113.5, which is on the allowlist: gateway of eth0"
    );
    assert_eq!(
        ban("0.0.0.0/0", HOUR, "", START),
        "0.0.0.0/0 contains 0.0.0.0/8, which is on the allowlist: unspecified"
    );
    assert_eq!(ban("203.0.113.9", 0, "", START), "a block lasts 1s to 30d, not 0s");
    assert_eq!(ban("203.0.113.9", 31 * DAY, "", START), "a block lasts 1s to 30d, not 31d");
    assert_eq!(
        ban("203.0.113.9", HOUR, "abuse\nreport", START),
        "Blocked 203.0.113.9 60 insert: abuse report; for 60m, offence 1"
    );
    assert_eq!(
        ban("203.0.113.9", 2 * HOUR, " ", START + MINUTE),
        "Extended 203.0.113.9 120 insert: no reason given; for another 2h"
    );
    assert_eq!(
        ban("203.0.113.9", MINUTE, "shorter", START + MINUTE),
        "Extended 203.0.113.9 1 insert: shorter; for another 60s"
    );
    assert_eq!(
        ban("2001:db8::/32", 30 * DAY, "x", START),
        "Blocked 2001:db8::/32 43200 insert: x; for 30d, offence 1"
    );
    let long = "é".repeat(MAX_REASON);
    let d = r.ban(prefix("203.0.113.10"), HOUR, &long, START).expect("bans");
    assert_eq!(d.block.map(|b| b.reason.len()), Some(MAX_REASON));
}

#[test]
fn an_operators_ban_takes_over_from_policy_and_is_left_alone() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    r.ban(prefix("203.0.113.9"), HOUR, "mine", START).expect("bans");
    let b = r.blocks().next().cloned().expect("block");
    assert_eq!((b.owner, b.reason.as_str(), b.offence), (Owner::Operator, "mine", 1));
    assert_eq!(r.on_update(&continued("203.0.113.9"), START + 59 * MINUTE), None);
    r.ban(prefix("198.51.100.0/24"), HOUR, "net", START).expect("bans");
    assert_eq!(r.on_update(&scan("198.51.100.7"), START), None, "covered by the network");
}

#[test]
fn unban_and_pardon() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    r.ban(prefix("198.51.100.0/24"), HOUR, "net", START).expect("bans");
    let mut unban = |p: &str, now| match r.unban(prefix(p), now) {
        Ok(d) => line(&d),
        Err(e) => e.to_string(),
    };
    assert_eq!(unban("192.0.2.1", START), "192.0.2.1 is not blocked");
    assert_eq!(
        unban("198.51.100.7", START),
        "198.51.100.7 is blocked as part of 198.51.100.0/24; unban that"
    );
    assert_eq!(
        unban("203.0.113.0/24", START),
        "203.0.113.0/24 is not blocked as such, but 1 blocks within it are, such as 203.0.113.9; unban those"
    );
    assert_eq!(unban("203.0.113.9", START), "Lifted 203.0.113.9 10 remove: by an operator");
    assert_eq!(unban("203.0.113.9", START), "203.0.113.9 is not blocked");
    assert_eq!(
        on(&mut r, &continued("203.0.113.9"), START + MINUTE),
        "Refused 203.0.113.9 - -: an operator lifted the block on 203.0.113.9; policy does not block it again for 9m"
    );
    assert_eq!(r.explain(addr("203.0.113.9"), START).pardoned_until_ns, Some(START + 10 * MINUTE));
    let d = r.on_update(&continued("203.0.113.9"), START + 10 * MINUTE).expect("blocks");
    assert_eq!(d.block.map(|b| b.offence), Some(1), "offences were forgotten");
    r.unban(prefix("203.0.113.9"), START + 10 * MINUTE).expect("lifts");
    r.ban(prefix("203.0.113.9"), MINUTE, "after all", START + 11 * MINUTE).expect("an operator may");
    assert_eq!(r.explain(addr("203.0.113.9"), START + 11 * MINUTE).pardoned_until_ns, None);
}

#[test]
fn the_allowlist_lifts_what_it_grows_over() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    r.ban(prefix("198.51.100.0/24"), HOUR, "net", START).expect("bans");
    let list = vec![allowed("203.0.113.9", "ssh peer"), allowed("198.51.100.7", "name server")];
    assert_eq!(
        lines(&r.set_allowlist(list.clone(), START)),
        [
            "Lifted 198.51.100.0/24 60 remove: 198.51.100.0/24 contains 198.51.100.7, which is on the allowlist: name server",
            "Lifted 203.0.113.9 10 remove: 203.0.113.9 is on the allowlist: ssh peer",
        ]
    );
    assert!(r.set_allowlist(list, START).is_empty());
    assert!(r.set_allowlist(Vec::new(), START).is_empty());
    r.on_update(&scan("203.0.113.9"), START).expect("blocks again");
    let policy = Policy { allow: vec![prefix("203.0.113.0/24")], ..enforce() };
    assert_eq!(
        lines(&r.set_policy(policy, START)),
        [
            "Lifted 203.0.113.9 40 remove: 203.0.113.9 is within 203.0.113.0/24, which is on the allowlist: configured"
        ]
    );
}

#[test]
fn switching_modes() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    r.ban(prefix("198.51.100.0/24"), HOUR, "net", START).expect("bans");
    assert_eq!(
        lines(&r.set_policy(Policy::default(), START)),
        [
            "Lifted 198.51.100.0/24 60 remove: the agent was switched to shadow mode",
            "Lifted 203.0.113.9 10 remove: the agent was switched to shadow mode",
        ]
    );
    assert_eq!(outcome(&mut r, &scan("203.0.113.9"), START), Some(Outcome::WouldBlock));
    assert!(r.set_policy(enforce(), START).is_empty());
    assert_eq!(r.would_be_blocks().count(), 0);
    let d = r.on_update(&scan("203.0.113.9"), START).expect("blocks");
    assert_eq!((d.outcome, d.block.map(|b| b.offence)), (Outcome::Blocked, Some(1)));
}

#[test]
fn capacity_and_budget() {
    let mut r = Responder::new(Policy { max_blocks: 3, max_blocks_per_minute: 2, ..enforce() });
    assert_eq!(outcome(&mut r, &scan("203.0.113.1"), START), Some(Outcome::Blocked));
    assert_eq!(outcome(&mut r, &scan("203.0.113.2"), START + 20 * SECOND), Some(Outcome::Blocked));
    assert_eq!(
        on(&mut r, &scan("203.0.113.3"), START + 30 * SECOND),
        "Refused 203.0.113.3 - -: 2 blocks within a minute is as many as max_blocks_per_minute allows; the next is free \
         in 30s"
    );
    assert_eq!(
        outcome(&mut r, &continued("203.0.113.3"), START + 31 * SECOND),
        Some(Outcome::Refused),
        "tried again whenever the incident is reported"
    );
    r.ban(prefix("203.0.113.4"), HOUR, "", START + 31 * SECOND).expect("an operator's budget is their own");
    assert_eq!(
        on(&mut r, &continued("203.0.113.3"), START + MINUTE),
        "Refused 203.0.113.3 - -: 3 blocks are in force, as many as max_blocks allows"
    );
    let refusal = r.ban(prefix("203.0.113.5"), HOUR, "", START + MINUTE).expect_err("full");
    assert_eq!(refusal, Refusal::Capacity { max_blocks: 3 });
    r.ban(prefix("203.0.113.1"), HOUR, "", START + MINUTE).expect("what is in force may be prolonged");
    r.unban(prefix("203.0.113.4"), START + MINUTE).expect("lifts");
    assert_eq!(outcome(&mut r, &continued("203.0.113.3"), START + MINUTE), Some(Outcome::Blocked));
    let c = r.counters();
    assert_eq!((c.refused_budget, c.refused_capacity), (2, 2));
}

#[test]
fn known_good_clients_are_hit_sparingly() {
    let mut r = Responder::new(enforce());
    for i in 0..20 {
        r.note_known_good(addr(&format!("192.0.2.{i}")), START);
    }
    let mut on_host = |i: u32| outcome(&mut r, &scan(&format!("192.0.2.{i}")), START + SECOND);
    assert_eq!(on_host(0), Some(Outcome::Blocked));
    assert_eq!(on_host(1), Some(Outcome::Blocked));
    assert_eq!(on_host(2), Some(Outcome::Refused));
    assert_eq!(on_host(100), Some(Outcome::Blocked), "not known good");
    assert_eq!(
        on(&mut r, &scan("192.0.2.3"), START + SECOND),
        "Refused 192.0.2.3 - -: would block 3 of 20 known-good clients; max_known_good_share allows 2"
    );
    r.ban(prefix("192.0.2.3"), HOUR, "", START + SECOND).expect("an operator may");
    assert_eq!(outcome(&mut r, &scan("192.0.2.4"), START + HOUR), Some(Outcome::Blocked), "no longer known");
}

#[test]
fn ipv6_networks() {
    let mut r = Responder::new(Policy { ipv6_prefix: 64, ..enforce() });
    r.set_allowlist(vec![allowed("2001:db8:0:2::1", "gateway of eth0")], START);
    for i in 0..4 {
        r.note_known_good(addr(&format!("2001:db8:0:3::{i}")), START);
    }
    let mut check = |source: &str, expected: &str| {
        let d = r.on_update(&scan(source), START).expect("decides");
        assert_eq!((d.outcome, d.prefix.to_string().as_str()), (Outcome::Blocked, expected));
    };
    check("2001:db8:0:1::7", "2001:db8:0:1::/64");
    check("2001:db8:0:2::7", "2001:db8:0:2::7");
    check("2001:db8:0:3::7", "2001:db8:0:3::7");
    check("fe80::7", "fe80::7");
    check("203.0.113.9", "203.0.113.9");
    assert_eq!(r.on_update(&scan("2001:db8:0:1::8"), START), None, "within the network blocked");
    let e = r.explain(addr("2001:db8:0:1::8"), START);
    assert_eq!((e.blocks.len(), e.offences), (1, 1));
}

#[test]
fn restore_after_a_restart() {
    let held = |p: &str, until_ns, owner| Block {
        prefix: prefix(p),
        since_ns: START - HOUR,
        until_ns,
        owner,
        reason: "scan".into(),
        incident: Some(3),
        offence: 2,
    };
    let all = || {
        vec![
            held("203.0.113.1", START + HOUR, Owner::Policy),
            held("203.0.113.2", START, Owner::Policy),
            held("203.0.113.3", START + 365 * DAY, Owner::Policy),
            held("203.0.113.4", START + 20 * DAY, Owner::Operator),
            held("127.0.0.0/30", START + HOUR, Owner::Operator),
            held("203.0.113.5", START + 2 * HOUR, Owner::Policy),
        ]
    };
    let mut r = Responder::new(Policy { max_blocks: 3, ..enforce() });
    assert_eq!(
        lines(&r.restore(all(), START)),
        [
            "Extended 203.0.113.3 1440 insert: found in force at start: scan",
            "Blocked 203.0.113.4 28800 -: found in force at start: scan",
            "Blocked 203.0.113.5 120 -: found in force at start: scan",
            "Lifted 127.0.0.0/30 60 remove: 127.0.0.0/30 is within 127.0.0.0/8, which is on the allowlist: loopback",
            "Lifted 203.0.113.1 60 remove: 3 blocks are in force, as many as max_blocks allows",
            "Expired 203.0.113.2 0 remove: reached its end: scan",
        ]
    );
    assert_eq!(r.explain(addr("203.0.113.5"), START).offences, 2);
    let known: Vec<_> = r.blocks().cloned().collect();
    assert!(r.restore(known, START).is_empty(), "known already");

    let mut r = Responder::new(Policy::default());
    let decisions = r.restore(all(), START);
    assert_eq!(decisions.iter().filter(|d| d.outcome == Outcome::Lifted).count(), 5);
    assert!(decisions.iter().all(|d| matches!(d.effect, Some(Effect::Remove(_)))));
    assert_eq!(r.blocks().count(), 0);
}

#[test]
fn explain_tells_all() {
    let mut r = Responder::new(enforce());
    r.note_known_good(addr("192.0.2.1"), START);
    r.set_allowlist(vec![allowed("192.0.2.0/24", "own network")], START);
    let e = r.explain(addr("192.0.2.1"), START);
    assert_eq!((e.allowed.map(|a| a.why), e.known_good), (Some("own network".into()), true));
    r.on_update(&scan("203.0.113.9"), START);
    r.ban(prefix("203.0.113.0/24"), HOUR, "net", START + SECOND).expect("bans");
    let e = r.explain(addr("203.0.113.9"), START + SECOND);
    let blocks: Vec<_> = e.blocks.iter().map(|b| (b.prefix.to_string(), b.owner)).collect();
    assert_eq!(
        blocks,
        [("203.0.113.9".into(), Owner::Policy), ("203.0.113.0/24".into(), Owner::Operator)],
        "the narrowest first"
    );
    assert_eq!((e.offences, e.history.len(), e.allowed), (2, 2, None));
    let e = r.explain(addr("203.0.113.9"), START + 2 * HOUR);
    assert!(e.blocks.is_empty(), "ended, though no tick has come yet");
    assert_eq!(r.explain(addr("2001:db8::1"), START).offences, 0);
}

#[test]
fn a_clock_set_back_does_not_prolong() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    assert!(r.tick(START + 4 * MINUTE).is_empty());
    let back = START - 300 * DAY;
    assert!(r.tick(back).is_empty());
    assert!(r.tick(back + 6 * MINUTE - 1).is_empty());
    assert_eq!(r.tick(back + 6 * MINUTE).len(), 1);
    assert_eq!(r.counters().clock_set_back, 1);
}

#[test]
fn a_clock_that_trembles_stands_still() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), START);
    let end = START + 10 * MINUTE;
    for _ in 0..1000 {
        assert!(r.tick(end - 1).is_empty());
        assert!(r.tick(end - 1 - CLOCK_SLACK_NS).is_empty());
    }
    assert_eq!(r.tick(end).len(), 1);
    assert_eq!(r.counters().clock_set_back, 0);
}

#[test]
fn a_clock_set_forward_ends_blocks_early() {
    let mut r = Responder::new(enforce());
    r.on_update(&scan("203.0.113.9"), 0);
    assert_eq!(r.tick(START).len(), 1);
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let mut r = Responder::new(enforce());
    for now in [u64::MAX, 0, u64::MAX, START, u64::MAX - 1, 1, u64::MAX] {
        r.on_update(&scan("203.0.113.9"), now);
        r.note_known_good(addr("203.0.113.10"), now);
        let _ = r.ban(prefix("203.0.113.11"), 30 * DAY, "x", now);
        let _ = r.unban(prefix("203.0.113.11"), now);
        let _ = r.explain(addr("203.0.113.9"), now);
        r.tick(now);
    }
}

#[test]
fn memory_of_offenders_is_bounded() {
    let policy = Policy { max_blocks_per_minute: 10_000, max_blocks: 65_536, ..enforce() };
    let mut r = Responder::new(policy);
    let mut now = START;
    let surplus = 100;
    for i in 0..MAX_OFFENDERS + surplus {
        let source = format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        r.on_update(&scan(&source), now).expect("decides");
        now += 10_000_000;
    }
    assert_eq!(r.counters().offenders_evicted, surplus as u64);
    assert_eq!(r.explain(addr("10.0.0.0"), now).offences, 0, "the oldest was forgotten");
    assert_eq!(r.explain(addr("10.0.0.100"), now).offences, 1);
}
