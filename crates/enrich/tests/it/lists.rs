//! Reputation lists of every kind.

use crate::support::shared;
use enrich::list::{Kind, ListError, MAX_REASONS, Parsed, parse};
use enrich::{Prefix, Table};
use proptest::prelude::*;
use std::net::IpAddr;

const NOW: u64 = 1_750_000_000;

fn strength(parsed: &Parsed, addr: &str) -> Option<u8> {
    let table = Table::merge(&[&parsed.prefixes]);
    table.hits(addr.parse().expect("an address")).first().map(|h| h.strength)
}

fn note<'p>(parsed: &'p Parsed, addr: &str) -> Option<&'p str> {
    let table = Table::merge(&[&parsed.prefixes]);
    let hit = table.hits(addr.parse().expect("an address")).first().copied()?;
    parsed.notes.get(usize::from(hit.note).checked_sub(1)?).map(|n| &**n)
}

#[test]
fn plain_lists_and_netsets() {
    let text = "\u{feff}# Feed of the week\n; other comment\n\n198.51.100.1\r\n198.51.100.0/25 # a net\n\
                203.0.113.0/24 ; SBL1\n2001:db8::/32,scanner\n  192.0.2.9  \n10.0.0.0/8\n0.0.0.0/0\nexample.org\n";
    let parsed = parse(Kind::Netset, text.as_bytes(), NOW).expect("a list");
    assert_eq!(parsed.prefixes.len(), 5);
    assert_eq!(strength(&parsed, "198.51.100.100"), Some(100));
    assert_eq!(strength(&parsed, "198.51.100.200"), None);
    assert_eq!(strength(&parsed, "2001:db8:1::1"), Some(100));
    assert_eq!(strength(&parsed, "10.0.0.1"), None, "private addresses are nobody's on the outside");
    let reasons: Vec<(u64, &str)> = parsed.skips.first.iter().map(|s| (s.at, s.why.as_str())).collect();
    assert_eq!(
        reasons,
        [(9, "not a public address"), (10, "wider than /8 (IPv6: /19)"), (11, "not an address or prefix")]
    );
    assert_eq!(parse(Kind::Plain, b"", NOW).expect("an empty list").prefixes.len(), 0);
    assert_eq!(parse(Kind::Plain, b"# nothing today\n", NOW).expect("an empty list").prefixes.len(), 0);
}

#[test]
fn what_is_no_list_at_all_is_refused_with_a_reason() {
    let check = |kind, content: &[u8], expected: &str| {
        let error = parse(kind, content, NOW).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        Kind::Plain,
        b"<!DOCTYPE html>\n<p>Not found",
        "none of its 2 entries could be read (1: not an address",
    );
    check(Kind::Plain, &[0xff, 0xfe, 0x31], "not UTF-8");
    check(Kind::Plain, &[b'1'; 5000], "longer than 1024 bytes");
    check(Kind::Ipsum, b"192.0.2.1\n", "no count of lists");
    check(Kind::Stix, b"192.0.2.1", "is not a STIX bundle");
    check(Kind::Stix, br#"{"type":"bundle"}"#, "it has no objects");
    check(Kind::Stix, br#"{"type":"bundle","objects":["#, "is not a STIX bundle");
    check(Kind::Crowdsec, b"[]x", "is not a stream of decisions");
}

#[test]
fn skipped_lines_are_all_counted_and_the_first_are_kept() {
    let parsed = parse(Kind::Plain, "x\n".repeat(100).as_bytes(), NOW);
    assert!(matches!(parsed, Err(ListError::Nothing(100, _))));
    let text = format!("192.0.2.1\n{}", "x\n".repeat(100));
    let parsed = parse(Kind::Plain, text.as_bytes(), NOW).expect("a list");
    assert_eq!((parsed.skips.count, parsed.skips.first.len()), (100, MAX_REASONS));
}

#[test]
fn ipsum_is_the_surer_the_more_lists_agree() {
    let parsed =
        parse(Kind::Ipsum, b"# IP\tnumber\n198.51.100.1\t10\n198.51.100.2\t1\n198.51.100.3\tx\n", NOW);
    let parsed = parsed.expect("a list");
    assert_eq!(strength(&parsed, "198.51.100.1"), Some(97));
    assert_eq!(strength(&parsed, "198.51.100.2"), Some(30));
    assert_eq!(parsed.skips.count, 1);
}

#[test]
fn the_whole_of_ipsum_is_read() {
    let path = shared("the_whole_of_ipsum_is_read", "threat-intel/ipsum/ipsum.txt");
    let Some(path) = path else { return };
    let text = std::fs::read(path).expect("a file");
    let parsed = parse(Kind::Ipsum, &text, NOW).expect("a list");
    let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty() && l[0] != b'#').count();
    assert!(lines > 100_000);
    assert_eq!(parsed.prefixes.len() as u64 + parsed.skips.count, lines as u64);
    assert!(parsed.skips.count < 100, "{:?}", parsed.skips);
    assert_eq!(strength(&parsed, "77.90.185.20"), Some(97));
}

fn bundle(objects: &[&str]) -> Vec<u8> {
    format!(r#"{{"type":"bundle","id":"bundle--1","objects":[{}]}}"#, objects.join(",")).into_bytes()
}

fn indicator(id: u32, addr: &str, more: &str) -> String {
    format!(
        r#"{{"type":"indicator","id":"indicator--{id}","pattern_type":"stix","name":"n{id}","valid_from":"2020-01-01T00:00:00Z",
        "pattern":"[ipv4-addr:value = '{addr}']"{more}}}"#
    )
}

#[test]
fn stix_indicators_hold_while_they_are_valid() {
    let at = |s: u64| {
        let time = i64::try_from(s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        time.expect("a time").to_string()
    };
    let objects = [
        r#"{"type":"identity","id":"identity--1","name":7,"confidence":"x"}"#.to_owned(),
        indicator(1, "198.51.100.1", ""),
        indicator(2, "198.51.100.2", r#","confidence":40"#),
        indicator(3, "198.51.100.3", r#","revoked":true"#),
        indicator(4, "198.51.100.4", &format!(r#","valid_until":"{}""#, at(NOW))),
        indicator(5, "198.51.100.5", &format!(r#","valid_until":"{}""#, at(NOW + 100))),
        indicator(6, "198.51.100.6", "").replace("2020-01-01T00:00:00Z", &at(NOW + 50)),
        // Two versions, the later one first; it revokes.
        indicator(7, "198.51.100.7", r#","revoked":true,"modified":"2024-02-01T00:00:00Z""#),
        indicator(7, "198.51.100.7", r#","modified":"2024-01-01T00:00:00Z""#),
        indicator(8, "198.51.100.8", "").replace("\"stix\"", "\"snort\""),
        indicator(9, "198.51.100.9' AND a:b = 'c", ""),
        indicator(10, "10.0.0.1", ""),
        indicator(11, "198.51.100.11", r#","valid_until":"tomorrow""#),
    ];
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let check = |now: u64, expected: &[(u8, u8)], next: Option<u64>| {
        let parsed = parse(Kind::Stix, &bundle(&objects), now).expect("a bundle");
        for last in 1..=11 {
            let wanted = expected.iter().find(|(n, _)| *n == last).map(|(_, s)| *s);
            assert_eq!(strength(&parsed, &format!("198.51.100.{last}")), wanted, "{last} at {now}");
        }
        assert_eq!(parsed.next_change_s, next);
        assert_eq!(parsed.skips.count + parsed.prefixes.len() as u64, 11, "{:?}", parsed.skips);
    };
    check(NOW, &[(1, 100), (2, 40), (5, 100)], Some(NOW + 50));
    check(NOW + 50, &[(1, 100), (2, 40), (5, 100), (6, 100)], Some(NOW + 100));
    check(NOW + 100, &[(1, 100), (2, 40), (6, 100)], None);
    let parsed = parse(Kind::Stix, &bundle(&objects), NOW).expect("a bundle");
    assert_eq!(note(&parsed, "198.51.100.5"), Some("n5"));
    let why: Vec<&str> = parsed.skips.first.iter().map(|s| s.why.as_str()).collect();
    assert_eq!(why[..3], ["revoked", "no longer valid", "not valid yet"]);
}

#[test]
fn decisions_come_go_and_end() {
    use enrich::list::crowdsec::Decisions;
    let decision = |id: u32, value: &str, more: &str| {
        format!(
            r#"{{"id":{id},"duration":"1h0m0s","scenario":"crowdsecurity/ssh-bf","scope":"Ip","type":"ban","value":"{value}"{more}}}"#
        )
    };
    let mut decisions = Decisions::default();
    let first = format!(
        r#"{{"new":[{},{},{},{}],"deleted":null}}"#,
        decision(1, "198.51.100.1", ""),
        decision(2, "203.0.113.0/24", "").replace("\"Ip\"", "\"Range\""),
        decision(3, "198.51.100.3", "").replace("ban", "captcha"),
        decision(4, "CN", "").replace("\"Ip\"", "\"Country\""),
    );
    decisions.apply(first.as_bytes(), true, NOW).expect("a stream");
    let parsed = decisions.parsed(NOW);
    assert_eq!(strength(&parsed, "198.51.100.1"), Some(100));
    assert_eq!(strength(&parsed, "203.0.113.77"), Some(100));
    assert_eq!(strength(&parsed, "198.51.100.3"), Some(60));
    assert_eq!(note(&parsed, "198.51.100.1"), Some("crowdsecurity/ssh-bf"));
    assert_eq!(parsed.skips.first[0].why, "scope 'Country' is not about addresses");
    assert_eq!(parsed.next_change_s, Some(NOW + 3600));
    // A delta: one lifted by its identifier, one by its address, one new.
    let delta = format!(
        r#"{{"new":[{}],"deleted":[{},{}]}}"#,
        decision(9, "198.51.100.9", ""),
        decision(1, "198.51.100.1", ""),
        decision(77, "198.51.100.3", ""),
    );
    decisions.apply(delta.as_bytes(), false, NOW + 10).expect("a stream");
    let parsed = decisions.parsed(NOW + 10);
    for (addr, expected) in [
        ("198.51.100.1", None),
        ("198.51.100.3", None),
        ("198.51.100.9", Some(100)),
        ("203.0.113.7", Some(100)),
    ] {
        assert_eq!(strength(&parsed, addr), expected, "{addr}");
    }
    // Nonsense changes nothing, time does.
    decisions.apply(b"{\"new\":7}", false, NOW + 20).expect_err("no stream");
    assert_eq!(decisions.parsed(NOW + 3600).prefixes.len(), 1);
    assert_eq!(decisions.parsed(NOW + 3610).prefixes.len(), 0);
    decisions.apply(b"{\"new\":null,\"deleted\":null}", true, NOW).expect("an empty stream");
    assert!(decisions.parsed(NOW).prefixes.is_empty());
}

proptest! {
    #[test]
    fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\"':,a-z0-9./ \n-]{0,200}") {
        for kind in [Kind::Plain, Kind::Netset, Kind::Ipsum, Kind::Stix, Kind::Crowdsec] {
            let _ = parse(kind, &bytes, NOW);
            let _ = parse(kind, text.as_bytes(), NOW);
            let _ = parse(kind, &bundle(&[&indicator(1, &text.replace(['"', '\n'], ""), "")]), NOW);
        }
    }

    #[test]
    fn every_public_address_can_be_listed(bits in any::<u32>(), len in 8_u8..=32) {
        let addr = IpAddr::V4(bits.into());
        let prefix = Prefix::new(addr, len).expect("a prefix");
        let listed = parse(Kind::Plain, prefix.to_string().as_bytes(), NOW);
        prop_assert_eq!(listed.is_ok(), prefix.listable().is_ok());
        if enrich::is_public(addr) && len == 32 {
            prop_assert!(listed.is_ok());
        }
    }
}

/// The made inputs of the fuzz target `lists`: a byte for the kind, then a list that has something to say.
#[test]
fn the_seeds_of_the_fuzz_target_are_lists() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/lists");
    let kinds = [Kind::Plain, Kind::Netset, Kind::Ipsum, Kind::Crowdsec, Kind::Stix];
    let mut seen = 0;
    for seed in std::fs::read_dir(dir).expect("the seeds").map_while(Result::ok) {
        let bytes = std::fs::read(seed.path()).expect("a file");
        let (kind, list) = bytes.split_first().expect("a byte for the kind");
        let parsed = parse(kinds[usize::from(*kind)], list, NOW).expect("a list");
        assert!(!parsed.prefixes.is_empty(), "{}", seed.path().display());
        assert!(strength(&parsed, "198.51.100.7").is_some());
        seen += 1;
    }
    assert_eq!(seen, 4);
}
