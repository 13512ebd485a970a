//! Time per packet and memory per flow of tracker and census: `cargo run --release -p flow --example track_rate`.
//!
//! Timed: a mix of 10,000 conversations (web-like TCP with data, DNS-like UDP, echo) interleaved at random, three
//! times over; processor time, that of making the packets taken off. Measured: growth of the resident set from an empty
//! table to 100,000 live flows of 30,000 clients with 200 servers.

#![expect(clippy::disallowed_methods, reason = "measures time, reads its own memory use")]

use flow::{Census, CensusConfig, Event, Tracker, TrackerConfig};
use std::hint::black_box;
use std::time::Instant;
use wire::packet::{protocol, tcp_flag as f};
use wire::{Addr, Fragment, Packet};

const FLOWS: u32 = 10_000;
const PACKETS: usize = 4_000_000;
const LIVE: u32 = 100_000;

fn packet(
    client: u32,
    server: u32,
    port: u16,
    proto: u8,
    back: bool,
    flags: u8,
    payload: u32,
) -> Packet<'static> {
    let [_, c1, c2, c3] = client.to_be_bytes();
    let [.., s3] = server.to_be_bytes();
    let (mut src, mut dst) = (Addr::v4([10, c1, c2, c3]), Addr::v4([198, 51, 100, s3]));
    let (mut src_port, mut dst_port) = match proto {
        protocol::TCP => (port, 443),
        protocol::UDP => (port, 53),
        _ => (8, 0),
    };
    if back {
        std::mem::swap(&mut src, &mut dst);
        std::mem::swap(&mut src_port, &mut dst_port);
    }
    Packet {
        src,
        dst,
        src_port,
        dst_port,
        protocol: proto,
        vlan: 0,
        ip_len: 40 + payload,
        frame_len: 54 + payload,
        payload_len: payload,
        ttl: 64,
        tcp_flags: flags,
        tcp_seq: 1,
        tcp_ack: 0,
        tcp_window: 64_240,
        icmp_type: 0,
        icmp_code: 0,
        fragment: Fragment::None,
        fragment_id: 0,
        fragment_offset: 0,
        transport_len: 0,
        tunnel: 0,
        opaque_tunnel: false,
        payload: &[],
    }
}

/// The `step`th packet of conversation `n`.
fn step(n: u32, step: u32) -> Packet<'static> {
    let port = 1024 + (n % 60_000) as u16;
    let (client, server) = (n % 2_000, n % 199);
    match n % 10 {
        0 => packet(client, server, port, protocol::ICMP, step % 2 == 1, 0, 56),
        1..=3 => packet(client, server, port, protocol::UDP, step % 2 == 1, 0, 60),
        _ => match step {
            0 => packet(client, server, port, protocol::TCP, false, f::SYN, 0),
            1 => packet(client, server, port, protocol::TCP, true, f::SYN | f::ACK, 0),
            s => packet(client, server, port, protocol::TCP, s % 3 != 0, f::ACK | f::PSH, s * 37 % 1400),
        },
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Processor time of this thread, ns, so that what else the machine does costs least; wall time where that is not known.
fn spent_ns(since: Instant) -> u64 {
    let own = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let own = own.and_then(|s| s.split_whitespace().next()?.parse().ok());
    own.unwrap_or_else(|| u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

fn resident_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Time of `PACKETS` calls of `take` with packets of the mix, ns a packet; making them included.
fn timed(mut take: impl FnMut(&Packet<'static>)) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut steps = vec![0_u32; FLOWS as usize];
    let started = Instant::now();
    let before = spent_ns(started);
    for _ in 0..PACKETS {
        let n = (random(&mut state) % u64::from(FLOWS)) as u32;
        let s = steps[n as usize];
        steps[n as usize] += 1;
        take(black_box(&step(n, s)));
    }
    spent_ns(started).saturating_sub(before) as f64 / PACKETS as f64
}

fn rate() {
    let making = timed(|p| {
        black_box(p);
    });
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut census = Census::new(CensusConfig::default());
    let (mut events, mut active): (Vec<Event>, Vec<_>) = Default::default();
    let mut now = 1_700_000_000_000_000_000_u64;
    for round in 1..=3 {
        let (mut seen, mut judged) = (0, 0);
        let ns = timed(|p| {
            now += 1_000;
            tracker.observe(now, p, &mut events);
            seen += events.len();
            events.drain(..).for_each(|e| census.take(&e, &mut active));
            judged += active.len();
            active.clear();
        }) - making;
        let rate = 1e3 / ns;
        println!(
            "round {round}: {ns:.1} ns a packet, {rate:.2} M packets/s, {seen} events, {judged} to judge"
        );
    }
}

fn memory() {
    let before = resident_kb();
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut census = Census::new(CensusConfig::default());
    let (mut events, mut active): (Vec<Event>, Vec<_>) = Default::default();
    let mut now = 1_700_000_000_000_000_000_u64;
    for n in 0..LIVE {
        for (back, flags) in [(false, f::SYN), (true, f::SYN | f::ACK), (false, f::ACK)] {
            now += 1_000;
            let p = packet(n % 30_000, n % 200, 1024 + (n / 30_000) as u16, protocol::TCP, back, flags, 0);
            tracker.observe(now, &p, &mut events);
            events.drain(..).for_each(|e| census.take(&e, &mut active));
            active.clear();
        }
    }
    let (live, c) = (tracker.counters().flows_live, census.counters());
    print!("{live} live flows, {} entities, {} windows with sets", c.entities_live, c.sets_live);
    match (before, resident_kb()) {
        (Some(before), Some(after)) => {
            let kb = after.saturating_sub(before);
            println!(": {kb} KB resident more, {} bytes a flow, all included", kb * 1024 / u64::from(LIVE));
        }
        _ => println!(": resident set not known here"),
    }
    black_box((&tracker, &census));
}

fn main() {
    memory();
    rate();
}
