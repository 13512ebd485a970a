//! The acts: who does what, when.

use super::stage::{CLIENT as ASKS, End, SERVER as ANSWERS, Stage, knock, nanos, refusal, reset, welcome};
use crate::address::{ATTACKERS, CLIENT, CLIENT6, SILENT, VICTIM, VICTIM6};
use crate::traffic::{dns, ssh};
use std::net::IpAddr;
use std::time::Duration;
use wire::{Addr, craft};

/// Length of the ordinary traffic.
const LENGTH: Duration = Duration::from_secs(30);
/// Ports that are open on the victim.
const OPEN: [u16; 3] = [22, 53, 80];
/// Half-open connections the victim answers before its backlog is full.
const BACKLOG: u64 = 128;

const fn secs(s: u64) -> u64 {
    s * 1_000_000_000
}

fn v4(addr: std::net::Ipv4Addr) -> Addr {
    IpAddr::from(addr).into()
}

fn victim(port: u16) -> End {
    (v4(VICTIM), port)
}

/// The demo's story.
pub(super) fn story(stage: &mut Stage) {
    ordinary(stage);
    port_scan(stage, secs(3));
    syn_flood(stage, secs(10));
    ssh_guessing(stage, secs(16));
}

/// Downloads small and large, name lookups over both IP versions, and an interactive session.
pub(super) fn ordinary(stage: &mut Stage) {
    const FILES: [usize; 6] = [2_000, 12_000, 900, 60_000, 5_000, 20_000];
    let end = nanos(LENGTH);
    let mut at = stage.around(Duration::from_millis(200));
    let mut files = FILES.iter().cycle();
    while let (true, Some(size)) = (at < end, files.next()) {
        at = download(stage, at, *size) + stage.around(Duration::from_millis(2300));
    }
    let mut at = stage.around(Duration::from_millis(300));
    let mut turn: u16 = 0;
    while at < end {
        lookup(stage, at, turn);
        at += stage.around(Duration::from_millis(1300));
        turn = turn.wrapping_add(1);
    }
    session(stage, stage_start(), end);
}

/// When the interactive session begins, ns.
const fn stage_start() -> u64 {
    500_000_000
}

fn download(stage: &mut Stage, at: u64, size: usize) -> u64 {
    let port = stage.port();
    let mut talk = stage.connect(at, (v4(CLIENT), port), victim(80));
    let request = format!(
        "GET /{size} HTTP/1.1\r\nHost: victim.example\r\nUser-Agent: lab\r\nConnection: close\r\n\r\n"
    );
    talk.say(ASKS, request.as_bytes());
    talk.pause(Duration::from_millis(2));
    let mut response =
        format!("HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")
            .into_bytes();
    response.resize(response.len() + size, 0x2e);
    talk.say(ANSWERS, &response);
    talk.close(ANSWERS)
}

fn lookup(stage: &mut Stage, at: u64, turn: u16) {
    let (client, server): (Addr, Addr) = if turn.is_multiple_of(2) {
        (v4(CLIENT), v4(VICTIM))
    } else {
        (IpAddr::from(CLIENT6).into(), IpAddr::from(VICTIM6).into())
    };
    let (client, server) = ((client, stage.port()), (server, 53));
    let query = dns::query(turn, "www.example");
    stage.put(at, craft::udp(client, server, &query));
    if let Some(reply) = dns::reply(&query, VICTIM) {
        let wait = stage.around(Duration::from_micros(600));
        stage.put(at + wait, craft::udp(server, client, &reply));
    }
}

fn session(stage: &mut Stage, at: u64, end: u64) {
    let port = stage.port();
    let mut talk = stage.connect(at, (v4(CLIENT), port), victim(22));
    talk.say(ANSWERS, ssh::SERVER_ID);
    talk.say(ASKS, ssh::CLIENT_ID);
    for (by_server, message) in ssh::opening() {
        talk.say(if by_server { ANSWERS } else { ASKS }, &message);
    }
    talk.say(ASKS, &ssh::request(false));
    talk.say(ANSWERS, &ssh::verdict(true));
    for key in (b'a'..=b'z').cycle() {
        talk.pause(Duration::from_millis(600));
        if talk.now_ns() >= end {
            break;
        }
        talk.say(ASKS, &ssh::keystroke(key));
        talk.say(ANSWERS, &ssh::keystroke(key));
    }
    talk.close(ASKS);
}

/// A half-open scan of 250 ports, a hundred a second, in shuffled order.
pub(super) fn port_scan(stage: &mut Stage, begin: u64) {
    let mut ports: Vec<u16> = OPEN.into_iter().chain(100..347).collect();
    for i in (1..ports.len()).rev() {
        let j = usize::try_from(stage.pick(0..i as u64 + 1)).unwrap_or(0);
        ports.swap(i, j);
    }
    let scanner = (v4(ATTACKERS[0]), stage.port());
    let mut at = begin;
    for port in ports {
        let seq = stage.sequence();
        stage.put(at, knock(scanner, victim(port), seq));
        let answer = at + stage.pick(80_000..250_000);
        if OPEN.contains(&port) {
            let theirs = stage.sequence();
            stage.put(answer, welcome(victim(port), scanner, theirs, seq));
            let reply = answer + stage.pick(80_000..250_000);
            stage.put(reply, reset(scanner, victim(port), seq));
        } else {
            stage.put(answer, refusal(victim(port), scanner, seq));
        }
        at += stage.around(Duration::from_millis(10));
    }
}

/// SYNs to the web server from one address that never answers, three hundred a second for 2 s.
pub(super) fn syn_flood(stage: &mut Stage, begin: u64) {
    let mut at = begin;
    let mut n = 0;
    while at < begin + secs(2) {
        let source = (v4(SILENT), u16::try_from(1024 + n % 64_000).unwrap_or(1024));
        let seq = stage.sequence();
        stage.put(at, knock(source, victim(80), seq));
        if n < BACKLOG {
            let answer = at + stage.pick(80_000..250_000);
            let theirs = stage.sequence();
            stage.put(answer, welcome(victim(80), source, theirs, seq));
        }
        at += stage.around(Duration::from_micros(3333));
        n += 1;
    }
}

/// Datagrams of 200 bytes to a closed port from one address, two thousand a second for 3 s.
pub(super) fn udp_flood(stage: &mut Stage, begin: u64) {
    let source = (v4(ATTACKERS[3]), stage.port());
    let payload = [0x58; 200];
    let mut at = begin;
    while at < begin + secs(3) {
        stage.put(at, craft::udp(source, victim(9999), &payload));
        at += stage.around(Duration::from_micros(500));
    }
}

/// Echo requests from one address, two thousand a second for 3 s; the victim answers.
pub(super) fn icmp_flood(stage: &mut Stage, begin: u64) {
    let (source, victim) = (v4(ATTACKERS[3]), v4(VICTIM));
    let mut at = begin;
    let mut seq: u16 = 0;
    while at < begin + secs(3) {
        stage.put(at, craft::icmp_echo(source, victim, true, 0x4c41, seq, &[0x58; 56]));
        let answer = at + stage.pick(40_000..120_000);
        stage.put(answer, craft::icmp_echo(victim, source, false, 0x4c41, seq, &[0x58; 56]));
        at += stage.around(Duration::from_micros(500));
        seq = seq.wrapping_add(1);
    }
}

/// Twenty-five short connections with one refused guess each, five a second.
pub(super) fn ssh_guessing(stage: &mut Stage, begin: u64) {
    let mut at = begin;
    for _ in 0..25 {
        let port = stage.port();
        let mut talk = stage.connect(at, (v4(ATTACKERS[2]), port), victim(22));
        talk.say(ANSWERS, ssh::SERVER_ID);
        talk.say(ASKS, ssh::GUESS_ID);
        for (by_server, message) in ssh::opening() {
            talk.say(if by_server { ANSWERS } else { ASKS }, &message);
        }
        talk.say(ASKS, &ssh::request(true));
        talk.pause(Duration::from_millis(30));
        talk.say(ANSWERS, &ssh::verdict(false));
        talk.close(ASKS);
        at += stage.around(Duration::from_millis(200));
    }
}
