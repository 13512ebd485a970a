//! Packets that different readers read differently: tiny and overlapping fragments, contradictory segments.

use super::account::Protocol;
use super::actor::Actor;
use super::{Kind, Parameter, parameter};
use crate::traffic::{Limits, TrafficError, flood, permit_pair, socket};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, recv, socket_with};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use wire::craft::{Builder, Tcp};
use wire::packet::tcp_flag;

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    Parameter::new(
        "kind",
        Kind::Choice(&["tiny", "overlap", "segments"]),
        "fragments of eight bytes, fragments that overlap, or TCP segments that contradict each other (IPv4)",
    )
    .or("tiny"),
    Parameter::new("port", Kind::Number(1, 65_535), "port of the target: UDP, of segments TCP").or("80"),
    parameter::count(2000, "30", "datagrams or connections"),
    parameter::rate(100, "5"),
    parameter::seconds("15"),
    parameter::SEED,
];

/// Window of the crafted segments.
const WINDOW: u16 = 1024;
/// How long the answer to a connection request may take to be seen.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn run(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target) = (actor.source(), actor.target());
    permit_pair(source, target.ip())?;
    match actor.values.word("kind") {
        "segments" => segments(actor, source, target),
        kind => fragments(actor, source, target, kind == "overlap"),
    }
}

/// Datagrams in fragments of eight bytes each, or in larger ones of which two cover the same bytes.
fn fragments(
    actor: &Actor<'_>,
    source: IpAddr,
    target: SocketAddr,
    overlap: bool,
) -> Result<(), TrafficError> {
    let (mut pace, mut chance) = (actor.pace()?, actor.chance(0));
    while let Some(n) = pace.next() {
        let from = SocketAddr::new(source, flood::source_port(n + 30_000));
        let id = u16::try_from(n & 0xffff).unwrap_or(0).wrapping_add(1);
        let builder = Builder::new(source.into(), target.ip().into()).id(id).dont_fragment(false);
        let datagram = |content: &[u8]| builder.udp_segment(from.port(), target.port(), content);
        let frames = if overlap {
            let (a, b) = (datagram(&chance.bytes(1200)), datagram(&chance.bytes(1200)));
            let (mut frames, other) = (builder.fragments(&a, 400), builder.fragments(&b, 320));
            // Bytes 320 to 640 of another content, between the first fragment and the second.
            frames.splice(1..1, other.into_iter().skip(1).take(1));
            frames
        } else {
            builder.fragments(&datagram(&chance.bytes(48)), 8)
        };
        actor.account().flow(Protocol::Udp, from, target);
        actor.account().tried(1);
        send(actor, &frames, target.ip())?;
    }
    Ok(())
}

/// Sends frames at once.
fn send(actor: &Actor<'_>, frames: &[Vec<u8>], target: IpAddr) -> Result<(), TrafficError> {
    let limits = Limits::new(frames.len().max(1) as u64, 20_000, Duration::from_secs(5))?;
    let frame = |n: u64| usize::try_from(n).ok().and_then(|n| frames.get(n)).cloned().unwrap_or_default();
    flood::transmit(target.is_ipv4(), limits, actor.control(), |n| (target, frame(n))).map(|_| ())
}

/// Connects in the ordinary way, and then says a request twice, of different content, in segments that come out of order:
/// readers that keep the first of two see one request, others another.
fn segments(actor: &Actor<'_>, source: IpAddr, target: SocketAddr) -> Result<(), TrafficError> {
    if target.is_ipv6() {
        return Err(TrafficError::Versions(target.ip(), IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let ear = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::TCP))
        .map_err(TrafficError::io("open a raw socket"))?;
    let mut pace = actor.pace()?;
    while pace.next().is_some() {
        let opened = actor.attempt(|| {
            let line = actor.connect(source, target)?;
            let from = line.stream.local_addr()?;
            let answer = welcome(&ear, target, from).ok_or(std::io::ErrorKind::TimedOut)?;
            Ok((line, from, answer))
        });
        let Some((line, from, (theirs, ours))) = opened else { continue };
        let harmless: &[u8] = b"GET /about HTTP/1.1\r\nHost: victim.example\r\n\r\n";
        let hostile: &[u8] = b"GET /../../ HTTP/1.1\r\nHost: victim.example\r\n\r\n";
        let builder = Builder::new(source.into(), target.ip().into());
        let segment = |offset: u32, content: &[u8], flags: u8| {
            let header = Tcp {
                src_port: from.port(),
                dst_port: target.port(),
                flags,
                seq: ours.wrapping_add(offset),
                ack: theirs.wrapping_add(1),
                window: WINDOW,
                ..Tcp::default()
            };
            builder.tcp(&header, content)
        };
        let push = tcp_flag::ACK | tcp_flag::PSH;
        // What follows the first four bytes, twice; then those.
        let frames = [
            segment(4, &harmless[4..], push),
            segment(4, &hostile[4..harmless.len()], push),
            segment(0, &harmless[..4], push),
        ];
        send(actor, &frames, target.ip())?;
        actor.account().sent(harmless.len());
        // Our own kernel knows nothing of what was said; a reset ends it on the other side.
        actor.sleep(Duration::from_millis(20));
        let end = u32::try_from(harmless.len()).unwrap_or(0);
        send(actor, &[segment(end, &[], tcp_flag::RST | tcp_flag::ACK)], target.ip())?;
        drop(line);
    }
    Ok(())
}

/// Sequence number and acknowledgement of the SYN-ACK of a connection, from what the raw socket has heard.
fn welcome(ear: &OwnedFd, server: SocketAddr, client: SocketAddr) -> Option<(u32, u32)> {
    let (begun, mut buffer) = (Instant::now(), [0; 2048]);
    while begun.elapsed() < PATIENCE {
        let Ok((len, _)) = recv(ear, &mut buffer[..], RecvFlags::empty()) else {
            // A failed wait is a short one.
            let _ = socket::wait(ear, PollFlags::IN, Duration::from_millis(20));
            continue;
        };
        let packet = buffer.get(..len)?;
        let tcp = packet.get(usize::from(packet.first()? & 15) * 4..)?;
        let half = |at: usize| tcp.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
        let word = |at: usize| tcp.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let is_welcome = tcp.get(13).is_some_and(|f| f & 0x17 == tcp_flag::SYN | tcp_flag::ACK);
        if is_welcome && half(0) == Some(server.port()) && half(2) == Some(client.port()) {
            return word(4).zip(word(8));
        }
    }
    None
}
