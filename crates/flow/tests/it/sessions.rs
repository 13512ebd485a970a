//! What flows say, through sessions and through the tracker.

use crate::common::{CLIENT, MS, S, SERVER, T0, count, ended, feed, flags, host, packet};
use flow::session::{LOOK, MESSAGES_PER_PACKET, Outbox, Segment, Session};
use flow::{App, Direction, EndReason, Event, FlowKey, Oddity, Tracker, TrackerConfig, What};
use proptest::prelude::*;
use wire::message::ftp::Ftp;
use wire::message::{Dissector, MAX_UNCONSUMED, Message, Next, Progress, Side};
use wire::packet::protocol;
use wire::{Addr, Fragment, Packet};

// --- a session with a reader of lines -----------------------------------------------------------------------------

/// Reads lines. `skip n` leaves out the `n` bytes after the line, `enough` and `done` say so; all are messages.
#[derive(Debug)]
struct Lines;

fn line(text: &str) -> Message {
    Message::Ftp(Ftp::Command { verb: text.into(), user: None })
}

impl Dissector for Lines {
    fn data(&mut self, _from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        while let Some(n) = bytes[consumed..].iter().position(|b| *b == b'\n') {
            let text = String::from_utf8_lossy(&bytes[consumed..consumed + n]).into_owned();
            consumed += n + 1;
            out.push(line(&text));
            let next = match text.split_once(' ') {
                Some(("skip", n)) => Next::Skip(n.parse().expect("a number")),
                _ if text == "enough" => Next::Enough,
                _ if text == "done" => Next::Done,
                _ => continue,
            };
            return Progress { consumed, next };
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, _from: Side, missing: u64) -> Next {
        // Goes on ten bytes further: what comes first after a gap is in no line.
        if missing > 1000 { Next::Done } else { Next::Skip(10) }
    }

    fn size(&mut self, _from: Side, length: u32, out: &mut Vec<Message>) {
        out.push(line(&format!("size {length}")));
    }
}

const fn to(seq: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        initiator: Direction::LoToHi,
        start: Some(0),
        seq,
        ack: 0,
        flags: 0,
        payload_len: payload.len() as u32,
        payload,
    }
}

fn texts(out: &Outbox) -> Vec<String> {
    let sides = out.sides.iter().map(|s| if *s == Side::Client { '>' } else { '<' });
    let text = |m: &Message| match m {
        Message::Ftp(Ftp::Command { verb, .. }) => verb.to_string(),
        other => format!("{other:?}"),
    };
    sides.zip(&out.messages).map(|(side, m)| format!("{side}{}", text(m))).collect()
}

/// What lines come of segments of the client, with gaps, overruns and whether the session is over.
fn lines(segments: &[Segment<'_>]) -> (Vec<String>, u32, u32, bool) {
    let mut session = Session::reading(Box::new(Lines));
    let mut out = Outbox::default();
    let (mut gaps, mut overruns, mut over) = (0, 0, false);
    for s in segments {
        let told = session.take(Side::Client, s, &mut out);
        gaps += told.gaps;
        overruns += told.overruns;
        over |= told.over;
    }
    (texts(&out), gaps, overruns, over)
}

#[test]
fn a_reader_gets_what_it_asks_for() {
    let check = |segments: &[Segment<'_>], expected: &[&str], gaps: u32, over: bool| {
        let (got, g, overruns, o) = lines(segments);
        assert_eq!(
            (got, g, overruns, o),
            (expected.iter().map(ToString::to_string).collect(), gaps, 0, over)
        );
    };
    check(&[to(0, b"one\ntwo\nth"), to(10, b"ree\n")], &[">one", ">two", ">three"], 0, false);
    check(&[to(0, b"a"), to(1, b"b"), to(2, b"\nc\n")], &[">ab", ">c"], 0, false);
    // Left out within a segment, over segments, and where the bytes are missing.
    check(&[to(0, b"skip 3\nxxxa\n")], &[">skip 3", ">a"], 0, false);
    check(&[to(0, b"skip 9\nxxx"), to(10, b"yyyyyya\n")], &[">skip 9", ">a"], 0, false);
    check(&[to(0, b"ski"), to(3, b"p 2\nxxa\nb"), to(12, b"\n")], &[">skip 2", ">a", ">b"], 0, false);
    let cut = Segment { payload_len: 10, ..to(0, b"skip 3\n") };
    check(&[cut, to(10, b"a\n")], &[">skip 3", ">a"], 0, false);
    // A gap: what was left before it is dropped with it.
    let cut = Segment { payload_len: 10, ..to(0, b"a\nb") };
    check(&[cut, to(10, b"0123456789c\n")], &[">a", ">c"], 1, false);
    let far = Segment { payload_len: 2000, ..to(0, b"a\nb") };
    check(&[far], &[">a"], 1, true);
    // Sizes after enough, of what is new only.
    let sizes = [to(0, b"enough\nxx"), to(9, b"12345"), to(9, b"12345"), to(14, b"6")];
    check(&sizes, &[">enough", ">size 5", ">size 1"], 0, false);
    check(&[to(0, b"a\ndone\nb\n")], &[">a", ">done"], 0, true);
}

#[test]
fn what_stays_unread_is_bounded() {
    let chunk = [b'x'; 4096];
    let mut session = Session::reading(Box::new(Lines));
    let (mut out, mut overruns) = (Outbox::default(), 0);
    for n in 0..64 {
        let told = session.take(Side::Client, &to(n * 4096, &chunk), &mut out);
        overruns += told.overruns;
        if told.over {
            break;
        }
        assert!(session.buffered() <= 2 * (MAX_UNCONSUMED + 4096) + 1024, "{}", session.buffered());
    }
    assert_eq!(overruns, 1, "the reader gives up at so large a gap");
}

#[test]
fn the_end_reads_what_is_held() {
    let mut session = Session::reading(Box::new(Lines));
    let mut out = Outbox::default();
    session.take(Side::Server, &to(20, b"0123456789z\n"), &mut out);
    assert_eq!(texts(&out), [""; 0]);
    let told = session.finish(&mut out);
    assert_eq!((texts(&out), told.gaps), (vec!["<z".to_owned()], 1));
}

// --- through the tracker ------------------------------------------------------------------------------------------

/// A TCP packet between [`CLIENT`] port 40000 and [`SERVER`] port 8000: `>` from the client.
fn tcp<'a>(way: char, letters: &str, seq: u32, ack: u32, payload: &'a [u8]) -> Packet<'a> {
    tcp_of(CLIENT, way, letters, seq, ack, payload)
}

fn tcp_of<'a>(client: Addr, way: char, letters: &str, seq: u32, ack: u32, payload: &'a [u8]) -> Packet<'a> {
    let (client, server) = ((client, 40_000), (SERVER, 8000));
    let (src, dst) = if way == '>' { (client, server) } else { (server, client) };
    let p = packet(protocol::TCP, src, dst, flags(letters));
    let len = payload.len() as u32;
    Packet { tcp_seq: seq, tcp_ack: ack, ip_len: 40 + len, payload_len: len, payload, transport_len: 20, ..p }
}

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn handshake(client: Addr) -> [Packet<'static>; 3] {
    [
        tcp_of(client, '>', "S", 99, 0, b""),
        tcp_of(client, '<', "SA", 499, 100, b""),
        tcp_of(client, '>', "A", 100, 500, b""),
    ]
}

/// What was told, in short, in order.
fn told(events: &[Event]) -> Vec<String> {
    let side = |s: &Side| if *s == Side::Client { '>' } else { '<' };
    events
        .iter()
        .filter_map(|e| {
            Some(match &e.what {
                What::Started { .. } => "started".into(),
                What::Closed(_) => "closed".into(),
                What::Recognised => e.flow.app.name().into(),
                What::Odd(oddity) => format!("{oddity:?}"),
                What::Message(s, m) => match &**m {
                    Message::HttpRequest(r) => format!("{}{} {}", side(s), r.method, r.target),
                    Message::HttpResponse(r) => format!("{}{}", side(s), r.status),
                    Message::HttpBody(b) => format!("{}body {}", side(s), b.bytes),
                    Message::Dns(d) => format!("{}dns {}", side(s), d.name),
                    Message::Ftp(Ftp::Command { verb, .. }) => format!("{}{verb}", side(s)),
                    Message::Ftp(Ftp::Reply { code }) => format!("{}{code}", side(s)),
                    other => format!("{}{other:?}", side(s)),
                },
                What::Ended(_, why) => format!("{why:?}"),
                _ => return None,
            })
        })
        .collect()
}

#[test]
fn messages_come_in_order_and_before_the_close_of_their_packet() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &handshake(CLIENT), &mut events);
    assert_eq!(t.counters().sessions_live, 0, "nothing said yet");
    let (asked, answered) = (100 + ASK.len() as u32, 500 + ANSWER.len() as u32);
    t.observe(T0 + 4 * MS, &tcp('>', "PA", 100, 500, ASK), &mut events);
    assert_eq!(t.counters().sessions_live, 1);
    t.observe(T0 + 5 * MS, &tcp('>', "FA", asked, 500, b""), &mut events);
    t.observe(T0 + 6 * MS, &tcp('<', "FA", 500, asked + 1, ANSWER), &mut events);
    t.observe(T0 + 7 * MS, &tcp('>', "A", asked + 1, answered + 1, b""), &mut events);
    t.finish(&mut events);
    assert_eq!(told(&events), ["started", "http", ">GET /a", "<200", "<body 5", "closed", "Shutdown"]);
    let (record, _) = ended(&events)[0];
    let talk = record.talk;
    assert_eq!((talk.app, talk.http_requests, talk.http_methods, talk.http_body_bytes), (App::Http, 1, 1, 5));
    let c = t.counters();
    assert_eq!((c.recognised, c.messages, c.sessions_live, c.session_bytes), (1, 3, 0, 0));
}

#[test]
fn what_is_no_known_application_costs_no_session() {
    let noise = [0xe5_u8; 2 * LOOK];
    for payload in [&noise[..], &noise[..40]] {
        let mut t = Tracker::new(TrackerConfig::default());
        let mut events = Vec::new();
        feed(&mut t, &handshake(CLIENT), &mut events);
        let mut seq = 100;
        for _ in 0..2 * LOOK / payload.len() {
            t.observe(T0 + 9 * MS, &tcp('>', "PA", seq, 500, payload), &mut events);
            seq += payload.len() as u32;
        }
        assert_eq!((t.counters().sessions_live, t.counters().recognised), (0, 0));
    }
}

#[test]
fn a_repetition_with_other_bytes_is_told_once() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &handshake(CLIENT), &mut events);
    let half = &ASK[..20];
    let mut other = half.to_vec();
    other[7] ^= 1;
    t.observe(T0 + 4 * MS, &tcp('>', "PA", 100, 500, half), &mut events);
    t.observe(T0 + 5 * MS, &tcp('>', "PA", 100, 500, &other), &mut events);
    t.observe(T0 + 6 * MS, &tcp('>', "PA", 100, 500, &other), &mut events);
    t.observe(T0 + 7 * MS, &tcp('>', "PA", 120, 500, &ASK[20..]), &mut events);
    assert_eq!(told(&events), ["started", "http", "SegmentConflict", ">GET /a"]);
    assert_eq!(t.counters().segment_conflicts, 2);
}

#[test]
fn a_session_outlives_the_cut_of_its_flow() {
    let mut t = Tracker::new(TrackerConfig { active_ns: 60 * S, ..TrackerConfig::default() });
    let mut events = Vec::new();
    feed(&mut t, &handshake(CLIENT), &mut events);
    t.observe(T0 + S, &tcp('>', "PA", 100, 500, ASK), &mut events);
    let next = 100 + ASK.len() as u32;
    t.observe(T0 + 50 * S, &tcp('>', "PA", next, 500, &ASK[..11]), &mut events);
    t.observe(T0 + 70 * S, &tcp('>', "PA", next + 11, 500, &ASK[11..]), &mut events);
    t.finish(&mut events);
    let expected = ["started", "http", ">GET /a", "Active", "started", ">GET /a", "Shutdown"];
    assert_eq!(told(&events), expected);
    for (record, _) in ended(&events) {
        assert_eq!((record.talk.app, record.talk.http_requests), (App::Http, 1));
    }
}

#[test]
fn a_reused_key_begins_a_session_of_its_own() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &handshake(CLIENT), &mut events);
    t.observe(T0 + 4 * MS, &tcp('>', "PA", 100, 500, &ASK[..20]), &mut events);
    t.observe(T0 + 5 * MS, &tcp('<', "R", 500, 100, b""), &mut events);
    t.observe(T0 + 6 * MS, &tcp('>', "S", 7999, 0, b""), &mut events);
    t.observe(T0 + 7 * MS, &tcp('>', "PA", 8000, 500, ASK), &mut events);
    assert_eq!(told(&events), ["started", "http", "closed", "Reused", "started", "http", ">GET /a"]);
    assert_eq!(t.counters().sessions_live, 1);
}

#[test]
fn more_messages_than_one_packet_may_bring_are_counted() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &handshake(CLIENT), &mut events);
    let many = b"GET / HTTP/1.1\r\n\r\n".repeat(MESSAGES_PER_PACKET + 10);
    t.observe(T0 + 4 * MS, &tcp('>', "PA", 100, 500, &many), &mut events);
    let messages = count(&events, |w| matches!(w, What::Message(..)));
    // A request and its empty body each.
    let more = 2 * (MESSAGES_PER_PACKET as u64 + 10) - MESSAGES_PER_PACKET as u64;
    assert_eq!((messages, t.counters().messages_dropped), (MESSAGES_PER_PACKET, more));
}

#[test]
fn a_flood_of_half_said_streams_stays_within_its_bounds() {
    const BYTES: usize = 1 << 20;
    let config = TrackerConfig { session_capacity: 500, session_bytes: BYTES, ..TrackerConfig::default() };
    let mut t = Tracker::new(config);
    let mut events = Vec::new();
    let head = [b"GET /".as_slice(), &[b'a'; 1395]].concat();
    for n in 0..5_000 {
        let now = T0 + u64::from(n) * MS / 10;
        for p in handshake(host(n)) {
            t.observe(now, &p, &mut events);
        }
        t.observe(now, &tcp_of(host(n), '>', "PA", 100, 500, &head), &mut events);
        t.observe(now, &tcp_of(host(n), '>', "PA", 3000, 500, &head), &mut events);
        let c = t.counters();
        assert!(c.sessions_live <= 500 && c.session_bytes <= BYTES as u64, "{c:?}");
    }
    assert_eq!(t.counters().sessions_evicted, 5_000 - t.counters().sessions_live);
    // Who speaks now is heard.
    events.clear();
    let now = T0 + S;
    for p in handshake(CLIENT) {
        t.observe(now, &p, &mut events);
    }
    t.observe(now, &tcp('>', "PA", 100, 500, ASK), &mut events);
    assert_eq!(told(&events), ["started", "http", ">GET /a"]);
    events.clear();
    t.finish(&mut events);
    assert_eq!((t.counters().sessions_live, t.counters().session_bytes), (0, 0));
}

/// A DNS query for `example.org`.
const QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01";

fn udp(payload: &[u8]) -> Packet<'_> {
    let len = payload.len() as u32;
    let p = packet(protocol::UDP, (CLIENT, 5353), (SERVER, 53), 0);
    Packet { ip_len: 28 + len, payload_len: len, payload, transport_len: 8, ..p }
}

#[test]
fn each_datagram_is_read_by_itself_and_without_a_session() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    feed(&mut t, &[udp(QUERY), udp(QUERY)], &mut events);
    assert_eq!(told(&events), ["started", "dns", ">dns example.org", ">dns example.org"]);
    assert_eq!(t.counters().sessions_live, 0);
    // Cut by the capture, and in fragments: known, not read.
    let cut = Packet { payload_len: 500, ..udp(QUERY) };
    let part = Packet { fragment: Fragment::First, ..udp(QUERY) };
    events.clear();
    feed(&mut t, &[cut, part], &mut events);
    assert_eq!((told(&events).len(), t.counters().datagrams_cut), (1, 2), "tiny, but no message");
}

#[test]
fn an_ftp_login_takes_a_password_and_a_welcome() {
    let check = |talk: &[(char, &str)], login: bool, commands: u16| {
        let mut t = Tracker::new(TrackerConfig::default());
        let mut events = Vec::new();
        feed(&mut t, &handshake(CLIENT), &mut events);
        let (mut client, mut server) = (100, 500);
        for (way, text) in talk {
            let (seq, ack) = if *way == '>' { (client, server) } else { (server, client) };
            t.observe(T0 + S, &tcp(*way, "PA", seq, ack, text.as_bytes()), &mut events);
            *(if *way == '>' { &mut client } else { &mut server }) += text.len() as u32;
        }
        t.finish(&mut events);
        let talked = ended(&events)[0].0.talk;
        assert_eq!(
            (talked.app, talked.ftp_login, talked.ftp_commands),
            (App::Ftp, login, commands),
            "{talk:?}"
        );
    };
    let (hello, user, ask) = (('<', "220 ready\r\n"), ('>', "USER joe\r\n"), ('<', "331 password\r\n"));
    let pass = ('>', "PASS secret\r\n");
    check(&[hello, user, ask, pass, ('<', "230 in\r\n")], true, 2);
    check(&[hello, user, ask, pass, ('<', "530 no\r\n"), user, ('<', "230 in\r\n")], false, 3);
    check(&[hello, user, ('<', "230 in\r\n"), ('>', "PWD\r\n")], false, 2);
}

// --- from the kernel ----------------------------------------------------------------------------------------------

fn key() -> FlowKey {
    FlowKey::of(&tcp('>', "S", 0, 0, b"")).0
}

/// The segment a source reports of a packet of the stream that begins at `start`.
fn reported<'a>(p: &Packet<'a>, start: u32) -> Segment<'a> {
    Segment {
        initiator: Direction::LoToHi,
        start: Some(start),
        seq: p.tcp_seq,
        ack: p.tcp_ack,
        flags: p.tcp_flags,
        payload_len: p.payload_len,
        payload: p.payload,
    }
}

#[test]
fn reported_payloads_make_the_same_messages_and_no_counts() {
    let mut packets = Tracker::new(TrackerConfig::default());
    let mut observed = Vec::new();
    let ask = tcp('>', "PA", 100, 500, ASK);
    let answer = tcp('<', "PA", 500, 100 + ASK.len() as u32, ANSWER);
    let mut all = handshake(CLIENT).to_vec();
    all.extend([ask, answer]);
    let now = feed(&mut packets, &all, &mut observed);
    let stats = packets.flow(&key()).expect("the flow").stats;

    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    t.data(now, key(), Direction::LoToHi, &reported(&ask, 100), &mut events);
    assert_eq!((t.counters().packets, t.counters().flows_total), (0, 1));
    t.merge(now + MS, key(), &stats, &mut events);
    t.data(now + MS, key(), Direction::HiToLo, &reported(&answer, 500), &mut events);
    assert_eq!(told(&events), told(&observed));
    assert_eq!((t.counters().packets, t.counters().flows_total), (5, 1));
    assert_eq!(t.flow(&key()).expect("the flow").stats, stats, "the snapshot completes the flow");
    let mut last = Vec::new();
    t.finish(&mut last);
    packets.finish(&mut observed);
    assert_eq!(ended(&last)[0].0, ended(&observed)[0].0);
}

#[test]
fn a_flow_only_heard_of_ends_without_counts() {
    let mut t = Tracker::new(TrackerConfig::default());
    let mut events = Vec::new();
    t.data(T0, key(), Direction::LoToHi, &reported(&tcp('>', "PA", 100, 500, ASK), 100), &mut events);
    t.advance(T0 + 299 * S, &mut events);
    assert_eq!(told(&events), ["started", "http", ">GET /a"]);
    t.advance(T0 + 302 * S, &mut events);
    t.advance(T0 + 304 * S, &mut events);
    let (record, why) = ended(&events)[0];
    assert_eq!((why, record.stats.dir[0].packets, record.talk.http_requests), (EndReason::Idle, 0, 1));
    assert_eq!(t.counters().flows_failed, 0);
}

// --- any order ----------------------------------------------------------------------------------------------------

fn conversation() -> Vec<u8> {
    let mut all = Vec::new();
    for n in 0..12 {
        all.extend(format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n").bytes());
        all.extend(std::iter::repeat_n(b'x', n));
    }
    all
}

proptest! {
    #[test]
    fn any_cutting_and_order_makes_the_same_messages(
        lens in proptest::collection::vec(1..60_usize, 800),
        moves in proptest::collection::vec(0..20_usize, 800),
        again in proptest::collection::vec(0..100_usize, 0..10),
        isn in any::<u32>(),
    ) {
        let all = conversation();
        let mut parts = Vec::new();
        let mut at = 0;
        for len in lens {
            let to = (at + len).min(all.len());
            if at < to {
                parts.push((at, to));
            }
            at = to;
        }
        for n in again {
            let part = parts[n % parts.len()];
            parts.insert((n * 3) % parts.len(), part);
        }
        let mut order: Vec<_> = parts.into_iter().enumerate().map(|(i, p)| (i + moves[i % 800], i, p)).collect();
        order.sort_unstable();
        let run = |parts: &[(usize, usize)]| {
            let mut t = Tracker::new(TrackerConfig::default());
            let mut events = Vec::new();
            t.observe(T0, &tcp('>', "S", isn, 0, b""), &mut events);
            for (from, to) in parts {
                let seq = isn.wrapping_add(1).wrapping_add(*from as u32);
                t.observe(T0, &tcp('>', "PA", seq, 1, &all[*from..*to]), &mut events);
            }
            t.finish(&mut events);
            told(&events)
        };
        let mixed: Vec<_> = order.into_iter().map(|(_, _, p)| p).collect();
        let got = run(&mixed);
        prop_assert_eq!(got, run(&[(0, all.len())]));
    }

    #[test]
    fn whatever_is_sent_the_tables_stay_within_bounds(
        steps in proptest::collection::vec((0..6_u32, any::<bool>(), any::<u8>(), 0..4_000_u32, 0..ASK.len()), 0..300),
    ) {
        let config = TrackerConfig { session_capacity: 3, session_bytes: 4_096, ..TrackerConfig::default() };
        let mut t = Tracker::new(config);
        let mut events = Vec::new();
        for (client, back, bits, seq, len) in steps {
            let text = if back { &ANSWER[..len.min(ANSWER.len())] } else { &ASK[..len] };
            let way = if back { '<' } else { '>' };
            let p = Packet { tcp_flags: bits, ..tcp_of(host(client), way, "", seq, seq, text) };
            t.observe(T0, &p, &mut events);
            let c = t.counters();
            prop_assert!(c.sessions_live <= 3 && c.session_bytes <= 4_096);
        }
        t.finish(&mut events);
        prop_assert_eq!((t.counters().sessions_live, t.counters().session_bytes), (0, 0));
        let gaps = count(&events, |w| matches!(w, What::Odd(Oddity::StreamGap))) as u64;
        prop_assert!(gaps <= t.counters().stream_gaps);
    }
}
