//! Labels: their text, and which flow belongs to which.

use crate::common::{CLIENT, S, SERVER, T0, packet};
use flow::label::{BENIGN, MAX_LINE, Net, Protocol};
use flow::{FlowKey, FlowRecord, FlowStats, Label, Labels, Outcome, Talk};
use proptest::prelude::*;
use wire::Addr;
use wire::packet::protocol;

/// A flow of two packets, one second apart from [`T0`] on.
fn flow(proto: u8, src: (Addr, u16), dst: (Addr, u16)) -> FlowRecord {
    let there = packet(proto, src, dst, 0x02);
    let (key, direction) = FlowKey::of(&there);
    let mut stats = FlowStats::begin(&there, direction);
    stats.account(T0, &there, direction);
    stats.account(T0 + S, &packet(proto, dst, src, 0x12), direction.reverse());
    FlowRecord { key, stats, outcome: Outcome::Answered, talk: Talk::default() }
}

fn labels(rows: &[&str]) -> Labels {
    let text = format!("{}\n{}\n", Labels::HEADER, rows.join("\n"));
    Labels::parse(&text).unwrap_or_else(|e| panic!("{rows:?}: {e}"))
}

fn class(rows: &[&str], record: &FlowRecord) -> String {
    labels(rows).of(record).map_or(BENIGN, |l| &l.class).to_owned()
}

#[test]
fn a_flow_belongs_to_the_first_row_whose_conditions_all_hold() {
    let r = flow(protocol::TCP, (CLIENT, 40_000), (SERVER, 22));
    for (rows, expected) in [
        (&[][..], BENIGN),
        (&[",,,,,,,,dos,,"][..], "dos"),
        (&[",,tcp,,,,,,dos,,"], "dos"),
        (&[",,6,,,,,,dos,,"], "dos"),
        (&[",,udp,,,,,,dos,,"], BENIGN),
        (&[",,arp,,,,,,arp_spoof,,"], BENIGN),
        (&[",,,10.0.0.1,,,,,dos,,"], "dos"),
        (&[",,,10.0.0.2,,,,,dos,,"], BENIGN),
        (&[",,,10.0.0.0/30,,10.0.0.2,22,,dos,,"], "dos"),
        (&[",,,10.0.0.0/32,,10.0.0.2,22,,dos,,"], BENIGN),
        (&[",,,0.0.0.0/0,,,,,dos,,"], "dos"),
        (&[",,,::/0,,,,,dos,,"], BENIGN),
        (&[",,,10.0.0.1,40000,,,,dos,,"], "dos"),
        (&[",,,10.0.0.1,40001,,,,dos,,"], BENIGN),
        (&[",,,,,,23,,dos,,"], BENIGN),
        // The order of rows decides, not how narrow they are.
        (&[",,,10.0.0.1,40000,,,,brute_force,,", ",,,,,,,,dos,,"], "brute_force"),
        (&[",,,,,,,,dos,,", ",,,10.0.0.1,40000,,,,brute_force,,"], "dos"),
        (&[",,,10.0.0.1,,,,,dos,,", ",,,10.0.0.1,40000,,,,brute_force,,"], "dos"),
        (&[",,,10.0.0.1,1,,,,dos,,", ",,,10.0.0.1,,,,,benign,,", ",,,,,,,,dos,,"], BENIGN),
    ] {
        assert_eq!(class(rows, &r), expected, "{rows:?}");
    }
}

#[test]
fn a_row_holds_for_flows_that_overlap_its_time() {
    let r = flow(protocol::UDP, (SERVER, 53), (CLIENT, 53));
    for (start, end, expected) in [
        (T0 - 2, T0 - 1, BENIGN),
        (T0 - 2, T0, "dos"),
        (T0 + 1, T0 + 2, "dos"),
        (T0 + S, T0 + S, "dos"),
        (T0 + S + 1, T0 + 9 * S, BENIGN),
    ] {
        assert_eq!(class(&[&format!("{start},{end},,,,,,,dos,,")], &r), expected, "{start} {end}");
    }
}

#[test]
fn what_is_no_list_of_labels_is_refused_with_its_line() {
    let check = |text: &str, line: usize, what: &str| {
        let error = Labels::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.what.contains(what), "{text:?}: {error}");
    };
    let header = Labels::HEADER;
    check("", 1, "without the header");
    check("# nothing\n\n", 2, "without the header");
    check("start,end\n", 1, "not the header");
    let row = |r: &str| format!("# of the lab\n{header}\n\n{r}\n");
    check(&row("1,2,tcp"), 4, "3 fields where 11 belong");
    check(&row("1,2,,,,,,,dos,,,"), 4, "12 fields");
    check(&row("x,,,,,,,,dos,,"), 4, "start_ns is 'x'");
    check(&row("-1,,,,,,,,dos,,"), 4, "start_ns is '-1'");
    check(&row("2,1,,,,,,,dos,,"), 4, "before start_ns");
    check(&row(",,icmp6,,,,,,dos,,"), 4, "protocol is 'icmp6'");
    check(&row(",,256,,,,,,dos,,"), 4, "protocol is '256'");
    check(&row(",,,10.0.0.0/33,,,,,dos,,"), 4, "source is '10.0.0.0/33'");
    check(&row(",,,,65536,,,,dos,,"), 4, "source_port");
    check(&row(",,,,,,,,,,"), 4, "class is ''");
    check(&row(",,,,,,,,Port Scan,,"), 4, "class is 'Port Scan'");
    check(&row(",,,,,,,\"a\",dos,,"), 4, "quote");
    check(&row(&format!(",,,,,,,{},dos,,", "a".repeat(MAX_LINE))), 4, "longer than");
}

#[test]
fn a_row_concerns_the_addresses_it_names() {
    let row = Label {
        source: Net::new(Addr::v4([192, 0, 2, 0]), 24),
        target: Some(SERVER.into()),
        actor: "2001:db8::1".into(),
        ..Label::default()
    };
    for (addr, expected) in
        [("192.0.2.9", true), ("10.0.0.2", true), ("2001:db8::1", true), ("10.0.0.1", false)]
    {
        assert_eq!(row.concerns(addr.parse().expect(addr)), expected, "{addr}");
    }
}

fn any_net() -> impl Strategy<Value = Net> {
    (any::<[u8; 16]>(), any::<bool>(), any::<u8>()).prop_map(|(bytes, v4, len)| {
        let [a, b, c, d, ..] = bytes;
        let addr = if v4 { Addr::v4([a, b, c, d]) } else { Addr(bytes) };
        Net::new(addr, len % if addr.is_v4() { 33 } else { 129 }).expect("a length within the version's")
    })
}

fn any_label() -> impl Strategy<Value = Label> {
    let protocol = prop_oneof![Just(Protocol::Arp), any::<u8>().prop_map(Protocol::Ip)];
    let ends = (
        proptest::option::of(any_net()),
        proptest::option::of(any::<u16>()),
        proptest::option::of(any_net()),
        proptest::option::of(any::<u16>()),
    );
    let words = ("[a-z0-9.:]{0,9}", "[a-z_]{1,9}", "[A-Z0-9.]{0,9}", "[^,\"\\p{Cc}\\p{Z}]{0,9}");
    (any::<u64>(), any::<u64>(), proptest::option::of(protocol), ends, words).prop_map(
        |(a, b, protocol, (source, source_port, target, target_port), words)| Label {
            start_ns: a.min(b),
            end_ns: a.max(b),
            protocol,
            source,
            source_port,
            target,
            target_port,
            actor: words.0,
            class: words.1,
            technique: words.2,
            scenario: words.3,
        },
    )
}

proptest! {
    /// Fields are at most 66 characters long here, so no line is too long.
    #[test]
    fn text_that_was_written_reads_back_the_same(rows in proptest::collection::vec(any_label(), 0..20)) {
        let labels = Labels::new(rows);
        prop_assert_eq!(Labels::parse(&labels.to_text()), Ok(labels));
    }

    /// The index must not change which row is found.
    #[test]
    fn the_row_found_is_the_first_that_matches(
        rows in proptest::collection::vec((0_u8..4, 0_u8..4, proptest::option::of(0_u16..3)), 0..20),
        port in 0_u16..3,
    ) {
        let rows: Vec<Label> = (0..).zip(rows).map(|(n, (kind, host, source_port))| {
            let addr = Addr::v4([10, 0, 0, host]);
            let source = match kind { 0 => None, 1 => Net::new(addr, 31), _ => Some(Net::host(addr)) };
            Label { source, source_port, class: format!("c{n}"), ..Label::default() }
        }).collect();
        let r = flow(protocol::UDP, (CLIENT, port), (SERVER, 9));
        let expected = rows.iter().find(|row| row.matches(&(&r).into())).cloned();
        prop_assert_eq!(Labels::new(rows).of(&r).cloned(), expected);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Labels::parse(&text);
        let _ = Labels::parse(&format!("{}\n{text}", Labels::HEADER));
    }
}
