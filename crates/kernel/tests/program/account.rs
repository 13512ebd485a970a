//! What the programs count and tell: flows and their reuse, sources, thresholds, budgets, tags and extension headers.

use crate::testrun::{DROP, PASS, SECOND, START, Sensor, Tunable};
use flow::TcpState;
use kernel::abi::{Counter, Event, crossing, program, tunable};
use wire::craft::{self, Builder};
use wire::packet::tcp_flag::{ACK, FIN, PSH, RST, SYN};

const CLIENT: &str = "198.51.100.1";
const SERVER: &str = "192.0.2.1";

fn addr(text: &str) -> wire::Addr {
    text.parse().expect("address")
}

fn segment(from_client: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (client, server) = ((addr(CLIENT), 40_000), (addr(SERVER), 80));
    let (src, dst) = if from_client { (client, server) } else { (server, client) };
    craft::tcp(src, dst, flags, 100, 200, 1000, payload)
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events
        .iter()
        .map(|e| match e {
            Event::FlowStart(_) => "start",
            Event::FlowEnd(_) => "end",
            Event::SourceOver(_) => "over",
            Event::Limited(_) => "limited",
            Event::Arp(_) => "arp",
            Event::Odd(_) => "odd",
        })
        .collect()
}

/// A connection from SYN to both FINs: state, times, direction, head bytes, one start, one end.
#[test]
fn tcp_connection_from_syn_to_fin() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let steps: &[(bool, u8, &[u8], TcpState)] = &[
        (true, SYN, b"", TcpState::SynSent),
        (false, SYN | ACK, b"", TcpState::SynReceived),
        (true, ACK, b"", TcpState::Established),
        (true, PSH | ACK, b"GET / HTTP/1.1\r\n", TcpState::Established),
        (false, PSH | ACK, b"HTTP", TcpState::Established),
        (true, FIN | ACK, b"", TcpState::Closing),
        (false, FIN | ACK, b"", TcpState::Closed),
        (true, ACK, b"", TcpState::Closed),
    ];
    for (i, (from_client, flags, payload, state)) in (0_u64..).zip(steps) {
        sensor.at(START + i * 1_000_000);
        assert_eq!(sensor.run(&segment(*from_client, *flags, payload)), PASS);
        assert_eq!(sensor.flow().1.state, *state, "after step {i}");
    }
    let (_, stats) = sensor.flow();
    let (client, server) = (stats.from_initiator(), stats.from_responder());
    assert_eq!((client.packets, server.packets), (5, 3));
    assert_eq!((&client.head, &server.head), (b"GET / HT", b"HTTP\0\0\0\0"));
    assert_eq!((stats.syn_ns, stats.synack_ns), (START, START + 1_000_000));
    assert_eq!(stats.established_ns, START + 2_000_000);
    assert_eq!((client.gap_min_us, client.gap_max_us), (1000, 2000));
    assert_eq!((stats.fin_mask, stats.rst_mask), (3, 0));
    let events = sensor.events();
    assert_eq!(kinds(&events), ["start", "end"]);
    let (Event::FlowStart(start), Event::FlowEnd(end)) = (&events[0], &events[1]) else { unreachable!() };
    assert_eq!((start.head.time_ns, end.head.time_ns), (START, START + 6_000_000));
    assert_eq!(start.stats.to_flow(0).from_initiator().packets, 1);
    assert_eq!(end.stats.to_flow(0).from_initiator().packets, 4);
}

#[test]
fn reset_ends_a_flow_once() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    for (from_client, flags) in [(true, SYN), (false, RST | ACK), (false, RST), (true, ACK)] {
        sensor.run(&segment(from_client, flags, b""));
    }
    assert_eq!(kinds(&sensor.events()), ["start", "end"]);
    assert_eq!(sensor.flow().1.state, TcpState::Reset);
    assert_eq!(sensor.source(CLIENT).expect("source").reply_resets, 2);
}

#[test]
fn keys_are_reused_after_an_end_or_long_silence() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.run(&segment(true, SYN, b""));
    sensor.run(&segment(false, RST | ACK, b""));
    sensor.run(&segment(true, SYN, b""));
    let (_, stats) = sensor.flow();
    assert_eq!((stats.state, stats.from_initiator().packets), (TcpState::SynSent, 1), "SYN after RST");
    sensor.run(&segment(true, SYN, b""));
    assert_eq!(
        sensor.flow().1.from_initiator().packets,
        2,
        "a SYN again on a live flow is none of a new one"
    );
    sensor.at(START + 300 * SECOND);
    sensor.run(&segment(true, ACK, b""));
    assert_eq!(sensor.flow().1.from_initiator().packets, 3, "at the timeout");
    sensor.at(START + 600 * SECOND + 1);
    sensor.run(&segment(true, ACK, b""));
    let (_, stats) = sensor.flow();
    assert_eq!((stats.state, stats.from_initiator().packets), (TcpState::Midstream, 1), "beyond it");
    assert_eq!(sensor.counter(Counter::FlowsStarted), 3);
    assert_eq!(sensor.counter(Counter::FlowsReused), 2);
    assert_eq!(kinds(&sensor.events()), ["start", "end", "start", "start"]);
}

#[test]
fn udp_goes_idle_after_a_minute() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let frame = craft::udp((addr(CLIENT), 5000), (addr(SERVER), 53), b"query");
    sensor.run(&frame);
    sensor.at(START + 60 * SECOND);
    sensor.run(&frame);
    assert_eq!(sensor.flow().1.from_initiator().packets, 2);
    sensor.at(START + 120 * SECOND + 1);
    sensor.run(&frame);
    assert_eq!(sensor.flow().1.from_initiator().packets, 1);
}

/// Tags, fragments, extension headers and ICMP all end in the key and fields that `wire` and `flow` give.
#[test]
fn keys_of_unusual_packets() {
    let (v4, v6) =
        (Builder::new(addr(CLIENT), addr(SERVER)), Builder::new(addr("2001:db8::9"), addr("2001:db8::1")));
    let mut chain = v6.clone();
    for kind in [0, 60, 43, 51, 135, 139, 140, 60] {
        chain = chain.extension(kind, &[1; 20]);
    }
    let fragments = v6.fragments(&v6.udp_segment(9, 10, &[3; 100]), 48);
    let frames = [
        v4.clone().service_vlan(200).vlan(7).udp(1, 2, b"tagged"),
        v4.clone().vlan(4095).udp(1, 2, b"tagged"),
        v4.clone().options(&[1; 24]).udp(1, 2, b"options"),
        v4.icmp(8, 0, [0; 4], b"ping"),
        v4.icmp(3, 1, [0; 4], b"unreachable"),
        v6.icmp(135, 0, [0; 4], b"solicitation"),
        chain.udp(7, 8, b"behind eight headers"),
        fragments[0].clone(),
        fragments[1].clone(),
        fragments[2].clone(),
        v4.fragments(&v4.udp_segment(1, 2, &[0; 64]), 32)[1].clone(),
        v4.frame(&craft::Segment { protocol: 47, bytes: vec![0; 30] }),
    ];
    for frame in frames {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        assert_eq!(sensor.run(&frame), PASS);
        let length = u32::try_from(frame.len()).expect("short");
        let packet = wire::parse(wire::LinkType::Ethernet, &frame, length).expect("parses");
        let (key, direction) = flow::FlowKey::of(&packet);
        let mut expected = flow::FlowStats::begin(&packet, direction);
        expected.account(START, &packet, direction);
        assert_eq!((sensor.flow().0.into(), sensor.flow().1), (key, expected), "{packet:?}");
        let fragment = u64::from(packet.fragment != wire::Fragment::None);
        assert_eq!(sensor.counter(Counter::Fragments), fragment);
    }
}

#[test]
fn crossing_is_told_once_per_window_and_kind() {
    let thresholds = [
        Tunable::Word(tunable::SOURCE_SYN_PENDING, 5),
        Tunable::Word(tunable::SOURCE_UDP, 4),
        Tunable::Word(tunable::SOURCE_ICMP, 3),
        Tunable::Word(tunable::SOURCE_FLOWS, 100),
    ];
    let Some(mut sensor) = Sensor::load(&thresholds) else { return };
    let flood = |sensor: &mut Sensor| {
        for _ in 0..10 {
            sensor.run(&segment(true, SYN, b""));
            sensor.run(&craft::udp((addr(CLIENT), 5000), (addr(SERVER), 53), b"query"));
            sensor.run(&craft::icmp_echo(addr(CLIENT), addr(SERVER), true, 1, 1, b""));
        }
        let over = |e: Event| match e {
            Event::SourceOver(over) => Some((over.crossed, over.addr, over.counts)),
            _ => None,
        };
        sensor.events().into_iter().filter_map(over).collect::<Vec<_>>()
    };
    let over = flood(&mut sensor);
    assert_eq!(
        over.iter().map(|o| o.0).collect::<Vec<_>>(),
        [crossing::ICMP, crossing::UDP, crossing::SYN_PENDING]
    );
    assert!(over.iter().all(|o| o.1 == addr(CLIENT).0 && o.2.start_ns == START));
    assert_eq!((over[0].2.icmp_packets, over[1].2.udp_packets, over[2].2.syn_packets), (3, 4, 5));
    sensor.at(START + SECOND - 1);
    assert_eq!(flood(&mut sensor).len(), 0, "same window");
    sensor.at(START + SECOND);
    assert_eq!(flood(&mut sensor).len(), 3, "next window");
    assert_eq!(sensor.source(CLIENT).expect("source").packets, 30);
}

#[test]
fn many_flows_cross_and_handshakes_do_not_count_as_pending() {
    let thresholds =
        [Tunable::Word(tunable::SOURCE_SYN_PENDING, 8), Tunable::Word(tunable::SOURCE_FLOWS, 20)];
    let Some(mut sensor) = Sensor::load(&thresholds) else { return };
    for port in 1..=30 {
        let (client, server) = ((addr(CLIENT), 2000 + port), (addr(SERVER), 80));
        sensor.run(&craft::tcp(client, server, SYN, 1, 0, 100, b""));
        sensor.run(&craft::tcp(server, client, SYN | ACK, 1, 2, 100, b""));
        sensor.run(&craft::tcp(client, server, ACK, 2, 2, 100, b""));
    }
    let over: Vec<_> = sensor
        .events()
        .into_iter()
        .filter_map(|e| if let Event::SourceOver(o) = e { Some((o.crossed, o.counts.flows)) } else { None })
        .collect();
    assert_eq!(over, [(crossing::FLOWS, 20)]);
    let source = sensor.source(CLIENT).expect("source");
    assert_eq!((source.flows, source.handshakes, source.syn_packets, source.reply_packets), (30, 30, 30, 30));
    assert_eq!(sensor.source(SERVER), None, "answers are nobody's own doing");
}

#[test]
fn flow_events_keep_to_their_budgets() {
    let budgets = [
        Tunable::Word(tunable::SOURCE_EVENT_BUDGET, 10),
        Tunable::Word(tunable::CPU_EVENT_BUDGET, 25),
        Tunable::Word(tunable::SOURCE_FLOWS, u32::MAX),
        Tunable::Word(tunable::SOURCE_SYN_PENDING, i32::MAX as u32),
    ];
    let Some(mut sensor) = Sensor::load(&budgets) else { return };
    let probe = |sensor: &mut Sensor, src: &str, count: u16| {
        for port in 1..=count {
            let (client, server) = ((addr(src), 999), (addr(SERVER), port));
            sensor.run(&craft::tcp(client, server, SYN, 1, 0, 100, b""));
            sensor.run(&craft::tcp(server, client, RST | ACK, 1, 2, 0, b""));
        }
    };
    probe(&mut sensor, "198.51.100.1", 15);
    let events = sensor.events();
    assert_eq!(kinds(&events).iter().filter(|k| **k == "start").count(), 10);
    assert_eq!(kinds(&events).iter().filter(|k| **k == "end").count(), 10);
    assert_eq!(sensor.counter(Counter::FlowStartSuppressedSource), 5);
    assert_eq!(sensor.counter(Counter::FlowEndSuppressedSource), 5);
    // TEST_RUN stays on one CPU only as long as the scheduler lets it, so the per-CPU budget is bounded, not exact.
    for i in 2..=200 {
        probe(&mut sensor, &format!("198.51.100.{i}"), 2);
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let sent = sensor.events().len();
    assert!(sent <= 2 * 25 * cpus, "{sent} events");
    assert!(sensor.counter(Counter::FlowStartSuppressedCpu) > 0 || cpus > 8);
    sensor.at(START + SECOND);
    probe(&mut sensor, "198.51.100.1", 1);
    assert_eq!(kinds(&sensor.events()), ["start", "end"], "a new second, a new budget");
}

/// Established flows reach their source in batches, and completely when they end.
#[test]
fn established_flows_reach_their_source_in_batches() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    sensor.run(&segment(true, SYN, b""));
    sensor.run(&segment(false, SYN | ACK, b""));
    sensor.run(&segment(true, ACK, b""));
    for i in 0..50 {
        sensor.run(&segment(i % 2 == 0, ACK | PSH, b"data"));
    }
    let source = sensor.source(CLIENT).expect("source");
    assert_eq!((source.packets, source.reply_packets), (2 + 16, 1 + 16));
    sensor.run(&segment(false, FIN | ACK, b""));
    let source = sensor.source(CLIENT).expect("source");
    let (_, stats) = sensor.flow();
    assert_eq!(u64::from(source.packets), stats.from_initiator().packets);
    assert_eq!(u64::from(source.tcp_packets), stats.from_initiator().packets);
    assert_eq!(u64::from(source.reply_packets), stats.from_responder().packets);
    assert_eq!(
        (source.bytes, source.reply_bytes),
        (stats.from_initiator().bytes, stats.from_responder().bytes)
    );
}

/// A host that is flooded answers with errors, at its first packets and in batches.
#[test]
fn icmp_errors_do_not_count_as_icmp_of_their_source() {
    for (from, to, kind) in [(CLIENT, SERVER, 3), ("2001:db8::9", "2001:db8::1", 1)] {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        let error = Builder::new(addr(from), addr(to)).icmp(kind, 3, [0; 4], b"quoted");
        for _ in 0..100 {
            sensor.run(&error);
        }
        let source = sensor.source(from).expect("source");
        assert!(source.packets >= 64, "{}", source.packets);
        assert_eq!(source.icmp_packets, 0);
    }
}

/// So do others after 32 packets, in batches of eight where thresholds are low; a refusal comes at once, with the rest.
#[test]
fn long_flows_reach_their_source_in_batches() {
    let (client, server) = (addr(CLIENT), addr(SERVER));
    let udp = craft::udp((client, 5000), (server, 53), b"query");
    let echo = craft::icmp_echo(client, server, true, 1, 1, b"");
    let syn = segment(true, SYN, b"");
    for (what, frame, seen) in [("udp", udp, 32 + 32), ("icmp", echo, 32 + 32), ("syn", syn, 32 + 32)] {
        let Some(mut sensor) = Sensor::load(&[]) else { return };
        for _ in 0..71 {
            sensor.run(&frame);
        }
        let of = |s: kernel::abi::SourceStats| [s.udp_packets, s.icmp_packets, s.syn_packets];
        let source = sensor.source(CLIENT).expect("source");
        assert_eq!((source.packets, of(source).iter().sum()), (seen, seen), "{what}");
        sensor.run(&frame);
        let small = if what == "udp" { 0 } else { 8 };
        assert_eq!(sensor.source(CLIENT).expect("source").packets, seen + small, "{what}");
    }
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    for _ in 0..70 {
        sensor.run(&segment(true, SYN, b""));
    }
    sensor.run(&segment(false, RST | ACK, b""));
    let source = sensor.source(CLIENT).expect("source");
    assert_eq!((source.packets, source.syn_packets, source.reply_resets), (70, 70, 1));
}

/// Beyond a page a frame lies in several buffers: its length counts whole.
#[test]
fn multi_buffer_frames_count_whole() {
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let frame = craft::udp((addr(CLIENT), 5000), (addr(SERVER), 53), &[9; 8000]);
    assert_eq!(sensor.run(&frame), PASS);
    let (_, stats) = sensor.flow();
    assert_eq!((stats.from_initiator().payload_bytes, stats.from_initiator().head), (8000, [9; 8]));
    assert_eq!(sensor.interface(1).bytes, frame.len() as u64);
    sensor.block(CLIENT, u64::MAX);
    assert_eq!(sensor.run(&frame), DROP);
    assert_eq!(sensor.counter(Counter::DroppedBytes), frame.len() as u64);
}

/// Egress feeds the same flow as ingress would.
#[test]
fn egress_program_accounts() {
    let Some(mut sensor) = Sensor::load_program(program::TC_EGRESS, &[]) else { return };
    sensor.run(&segment(true, SYN, b""));
    sensor.run(&segment(true, PSH | ACK, &[7; 1400]));
    let (_, stats) = sensor.flow();
    assert_eq!((stats.from_initiator().packets, stats.from_initiator().head), (2, [7; 8]));
    assert_eq!(sensor.interface(1).egress_packets, 2);
}
