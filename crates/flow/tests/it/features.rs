//! The feature table: values worked out by hand, and what is absent.

use crate::common::{CLIENT, MS, S, SERVER, T0, host, packet, segment, with};
use flow::feature::{Feature, Kind, Set, Subject, Value};
use flow::{App, FlowKey, FlowRecord, FlowStats, Outcome, Recent, Talk};
use proptest::prelude::*;
use wire::packet::protocol;
use wire::{Addr, Packet};

fn record(packets: &[(u64, Packet<'_>)]) -> FlowRecord {
    let (key, direction) = FlowKey::of(&packets[0].1);
    let mut stats = FlowStats::begin(&packets[0].1, direction);
    for (at, p) in packets {
        stats.account(*at, p, FlowKey::of(p).1);
    }
    FlowRecord { key, stats, outcome: Outcome::Answered, talk: Talk::default() }
}

fn feature(name: &str) -> &'static Feature {
    let mut found = Set::ALL.iter().flat_map(|s| s.features()).filter(|f| f.name == name);
    let feature = found.next().unwrap_or_else(|| panic!("no feature {name}"));
    assert!(found.next().is_none(), "two features {name}");
    feature
}

fn value(r: &FlowRecord, name: &str) -> Option<Value> {
    feature(name).of(&Subject { record: r, shared: Recent::default().push(r) })
}

fn check(r: &FlowRecord, expected: &[(&str, Option<Value>)]) {
    for (name, wanted) in expected {
        let found = value(r, name);
        let same = match (found, wanted) {
            (Some(Value::Real(a)), Some(Value::Real(b))) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            _ => found == *wanted,
        };
        assert!(same, "{name}: {found:?}, expected {wanted:?}");
    }
}

const fn n(value: u64) -> Option<Value> {
    Some(Value::Integer(value))
}

const fn x(value: f64) -> Option<Value> {
    Some(Value::Real(value))
}

const fn word(value: &'static str) -> Option<Value> {
    Some(Value::Text(value))
}

/// A segment of the conversation with header, sequence number and TTL.
fn tcp(text: &str, seq: u32, ttl: u8) -> Packet<'static> {
    Packet { tcp_seq: seq, ttl, transport_len: 20, ..segment(text) }
}

/// Handshake, a request of four bytes sent twice, an answer, a rest of six seconds, and the end.
fn session() -> FlowRecord {
    record(&[
        (T0, tcp(">S", 99, 62)),
        (T0 + 10 * MS, tcp("<SA", 499, 252)),
        (T0 + 14 * MS, tcp(">A", 100, 62)),
        (T0 + 20 * MS, tcp(">PA+", 100, 62)),
        (T0 + 40 * MS, tcp(">PA+", 100, 62)),
        (T0 + 60 * MS, tcp("<PA+", 500, 252)),
        (T0 + 60 * MS + 6 * S, tcp(">FA", 104, 62)),
        (T0 + 80 * MS + 6 * S, tcp("<FA", 508, 252)),
    ])
}

#[test]
fn unsw_of_a_session() {
    check(
        &session(),
        &[
            ("dur", x(6.08)),
            ("proto", word("tcp")),
            ("service", word("-")),
            ("state", word("FIN")),
            ("spkts", n(5)),
            ("dpkts", n(3)),
            ("sbytes", n(5 * 40 + 8)),
            ("dbytes", n(3 * 40 + 4)),
            ("rate", x(7.0 / 6.08)),
            ("sttl", n(62)),
            ("dttl", n(252)),
            ("sload", x(8.0 * 208.0 * 4.0 / 5.0 / 6.08)),
            ("dload", x(8.0 * 124.0 * 2.0 / 3.0 / 6.08)),
            // One segment was sent twice; four bytes before the responder's FIN never came.
            ("sloss", n(1)),
            ("dloss", n(1)),
            ("sinpkt", x(6060.0 / 4.0)),
            ("dinpkt", x(6070.0 / 2.0)),
            // Gaps of the responder: 50 and 6,020 ms.
            ("djit", x(5970.0 / 2.0)),
            ("swin", n(1024)),
            ("stcpb", n(99)),
            ("dtcpb", n(499)),
            ("tcprtt", x(0.014)),
            ("synack", x(0.010)),
            ("ackdat", x(0.004)),
            // 208 / 5 = 41.6; 124 / 3 = 41.3.
            ("smean", n(42)),
            ("dmean", n(41)),
            ("ct_state_ttl", n(1)),
            ("trans_depth", None),
            ("is_ftp_login", None),
            ("is_sm_ips_ports", n(0)),
        ],
    );
}

#[test]
fn cicids_of_a_session() {
    check(
        &session(),
        &[
            ("Flow Duration", n(6_080_000)),
            ("Total Fwd Packet", n(5)),
            ("Total Length of Fwd Packet", n(8)),
            ("Fwd Packet Length Max", n(4)),
            ("Fwd Packet Length Min", n(0)),
            ("Fwd Packet Length Mean", x(1.6)),
            // Two of 4, three of 0: squared distances 19.2 over 4.
            ("Fwd Packet Length Std", x(4.8_f64.sqrt())),
            ("Flow Bytes/s", x(12.0 / 6.08)),
            ("Flow IAT Mean", x(6_080_000.0 / 7.0)),
            ("Flow IAT Max", n(6_000_000)),
            ("Flow IAT Min", n(4_000)),
            ("Fwd IAT Total", n(6_060_000)),
            ("Bwd IAT Std", x(5_970_000.0 / 2.0_f64.sqrt())),
            ("Fwd PSH Flags", n(2)),
            ("SYN Flag Count", n(2)),
            ("ACK Flag Count", n(7)),
            ("Fwd Header Length", n(100)),
            ("Fwd Seg Size Min", n(20)),
            ("Packet Length Max", n(4)),
            ("Down/Up Ratio", x(0.6)),
            ("FWD Init Win Bytes", n(1024)),
            ("Fwd Act Data Pkts", n(2)),
            ("Active Mean", x(60_000.0)),
            ("Active Std", None),
            ("Idle Max", n(6_000_000)),
            ("Idle Mean", x(6_000_000.0)),
            ("ICMP Type", None),
        ],
    );
}

#[test]
fn what_one_datagram_does_not_tell_is_absent() {
    let p = with(packet(protocol::UDP, (CLIENT, 1000), (SERVER, 53), 0), b"question");
    let r = record(&[(T0, Packet { transport_len: 8, ..p })]);
    let absent = [
        "rate",
        "dttl",
        "sload",
        "dload",
        "sloss",
        "dloss",
        "sinpkt",
        "dinpkt",
        "sjit",
        "djit",
        "swin",
        "dwin",
        "stcpb",
        "dtcpb",
        "tcprtt",
        "synack",
        "ackdat",
        "dmean",
        "trans_depth",
        "response_body_len",
        "ct_flw_http_mthd",
        "is_ftp_login",
        "ct_ftp_cmd",
        "Fwd Packet Length Std",
        "Bwd Packet Length Max",
        "Bwd Packet Length Min",
        "Bwd Packet Length Mean",
        "Flow Bytes/s",
        "Flow Packets/s",
        "Flow IAT Mean",
        "Flow IAT Max",
        "Flow IAT Min",
        "Fwd IAT Total",
        "Fwd IAT Min",
        "Fwd PSH Flags",
        "SYN Flag Count",
        "FWD Init Win Bytes",
        "Bwd Init Win Bytes",
        "Packet Length Std",
        "Active Mean",
        "Active Max",
        "Idle Min",
        "ICMP Code",
        "ICMP Type",
    ];
    for name in absent {
        assert_eq!(value(&r, name), None, "{name}");
    }
    check(
        &r,
        &[
            ("dur", x(0.0)),
            ("state", word("INT")),
            ("service", word("dns")),
            ("spkts", n(1)),
            ("dpkts", n(0)),
            ("Fwd Packet Length Max", n(8)),
            ("Fwd Act Data Pkts", n(0)),
            ("Fwd Seg Size Min", n(8)),
            ("Down/Up Ratio", x(0.0)),
        ],
    );
}

#[test]
fn states_of_transactions() {
    for (conversation, expected) in [
        (&[">S"][..], "REQ"),
        (&[">S", "<SA"], "ACC"),
        (&[">S", "<SA", ">A"], "CON"),
        (&[">S", "<SA", ">A", "<FA"], "FIN"),
        (&[">S", "<RA"], "RST"),
        (&[">F"], "REQ"),
        (&[">A", "<A"], "CON"),
    ] {
        let packets: Vec<_> = (0..).zip(conversation).map(|(i, t)| (T0 + i * MS, segment(t))).collect();
        check(&record(&packets), &[("state", word(expected))]);
    }
}

#[test]
fn what_was_said_is_only_known_where_it_was_read() {
    let mut r = session();
    r.talk =
        Talk { app: App::Http, http_requests: 3, http_methods: 2, http_body_bytes: 9, ..Talk::default() };
    check(
        &r,
        &[
            ("service", word("http")),
            ("trans_depth", n(3)),
            ("ct_flw_http_mthd", n(2)),
            ("response_body_len", n(9)),
            ("ct_ftp_cmd", None),
        ],
    );
    r.talk = Talk { app: App::Ftp, ftp_login: true, ftp_commands: 5, ..Talk::default() };
    check(&r, &[("is_ftp_login", n(1)), ("ct_ftp_cmd", n(5)), ("trans_depth", None)]);
}

/// A datagram between two of many hosts, as a flow of its own.
fn datagram(src: (Addr, u16), dst: (Addr, u16)) -> FlowRecord {
    record(&[(T0, packet(protocol::UDP, src, dst, 0))])
}

#[test]
fn recent_connections_are_the_last_hundred_with_the_new_one() {
    let mut recent = Recent::default();
    for i in 1..=150_u16 {
        let shared = recent.push(&datagram((CLIENT, i), (SERVER, 53)));
        let so_far = u32::from(i.min(100));
        assert_eq!((shared.src, shared.dst, shared.src_dst), (so_far, so_far, so_far));
        assert_eq!((shared.app_src, shared.src_dport, shared.dst_sport), (so_far, so_far, 1));
    }
    let other = recent.push(&datagram((CLIENT, 7), (host(1), 54)));
    assert_eq!((other.src, other.dst, other.src_dport, other.src_dst), (100, 1, 1, 1));
    assert_eq!((other.app_src, other.app_dst), (1, 1), "port 54 is another service than DNS");
    let twin = recent.push(&datagram((host(2), 7), (host(1), 55)));
    assert_eq!((twin.src, twin.dst, twin.dst_sport), (1, 2, 2));
}

#[test]
fn equal_endpoints_are_marked() {
    let r = datagram((CLIENT, 9), (CLIENT, 9));
    check(&r, &[("is_sm_ips_ports", n(1))]);
}

proptest! {
    /// Values are of the kind that the table states, finite, and none of a side that sent nothing is made up.
    #[test]
    fn values_keep_to_the_table(
        steps in prop::collection::vec((0..8_000_000_000_u64, any::<bool>(), any::<u8>(), 0..1400_usize), 1..40),
        udp in any::<bool>(),
    ) {
        const BYTES: &[u8] = &[0x55; 1400];
        let mut now = T0;
        let packets: Vec<_> = steps
            .iter()
            .map(|&(step, forward, flags, len)| {
                now += step;
                let (a, b) = ((CLIENT, 5), (SERVER, 6));
                let (src, dst) = if forward { (a, b) } else { (b, a) };
                let proto = if udp { protocol::UDP } else { protocol::TCP };
                (now, with(packet(proto, src, dst, if udp { 0 } else { flags }), &BYTES[..len]))
            })
            .collect();
        let r = record(&packets);
        let subject = Subject { record: &r, shared: Recent::default().push(&r) };
        for f in Set::ALL.iter().flat_map(|s| s.features()) {
            match (f.of(&subject), f.kind) {
                (None, _) | (Some(Value::Text(_)), Kind::Text) | (Some(Value::Integer(_)), Kind::Integer) => {}
                (Some(Value::Real(v)), Kind::Real) => prop_assert!(v.is_finite() && v >= 0.0, "{} {v}", f.name),
                (v, kind) => prop_assert!(false, "{}: {v:?} is not {kind:?}", f.name),
            }
        }
        let silent = |a: &flow::Accumulator| a.packets == 0;
        if silent(r.stats.from_responder()) {
            for name in ["dttl", "dmean", "dinpkt", "dwin", "Bwd Packet Length Mean", "Bwd IAT Max"] {
                prop_assert_eq!(value(&r, name), None, "{}", name);
            }
        }
        if let (Some(Value::Real(mean)), Some(Value::Integer(low)), Some(Value::Integer(high))) =
            (value(&r, "Flow IAT Mean"), value(&r, "Flow IAT Min"), value(&r, "Flow IAT Max"))
        {
            prop_assert!(low as f64 <= mean && mean <= high as f64);
        }
    }
}
