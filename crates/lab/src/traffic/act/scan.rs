//! Scans with packets of our own: of one host's ports, and of a network's hosts.

use super::account::Protocol;
use super::actor::Actor;
use super::{Kind, Parameter, parameter};
use crate::traffic::{TrafficError, flood, permit, permit_pair};
use std::net::{IpAddr, SocketAddr};
use wire::craft;
use wire::packet::tcp_flag;

/// Ports that scanners try first, by how often they are open.
const COMMON: [u16; 24] = [
    80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995, 993, 5900, 1025,
    587, 8888, 199,
];

const KINDS: &[&str] = &["syn", "fin", "null", "xmas", "ack", "udp"];

pub(super) const PORTS: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    Parameter::new("kind", Kind::Choice(KINDS), "what is sent").or("syn"),
    Parameter::new("count", Kind::Number(1, 65_535), "ports, the common ones first").or("200"),
    parameter::rate(10_000, "100"),
    parameter::seconds("15"),
];

pub(super) const HOSTS: &[Parameter] = &[
    parameter::SOURCE,
    Parameter::new("target", Kind::Address, "the first host; the others follow it"),
    Parameter::new("count", Kind::Number(1, 254), "hosts").or("64"),
    Parameter::new("kind", Kind::Choice(&["echo", "syn", "udp"]), "what is sent").or("echo"),
    parameter::port("445"),
    parameter::rate(1000, "30"),
    parameter::seconds("15"),
];

const fn flags(kind: &[u8]) -> u8 {
    match kind {
        b"fin" => tcp_flag::FIN,
        b"null" => 0,
        b"xmas" => tcp_flag::FIN | tcp_flag::PSH | tcp_flag::URG,
        b"ack" => tcp_flag::ACK,
        _ => tcp_flag::SYN,
    }
}

pub(super) fn ports(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target) = (actor.source(), actor.values.addr("target"));
    permit_pair(source, target)?;
    let kind = actor.values.word("kind").to_owned();
    // The order is known before: finding each port anew would take longer the further it goes.
    let mut all: Vec<u16> = COMMON.to_vec();
    all.extend((1..=u16::MAX).filter(|p| !COMMON.contains(p)));
    let sent = flood::transmit(source.is_ipv4(), actor.limits()?, actor.control(), |n| {
        let to = SocketAddr::new(target, all[usize::try_from(n).unwrap_or(0) % all.len()]);
        let from = SocketAddr::new(source, flood::SCAN_PORT);
        let protocol = if kind == "udp" { Protocol::Udp } else { Protocol::Tcp };
        actor.account().flow(protocol, from, to);
        let frame = match kind.as_str() {
            "udp" => craft::udp((source.into(), from.port()), (target.into(), to.port()), &[]),
            kind => flood::probe(source, to, flags(kind.as_bytes()), n),
        };
        (target, frame)
    })?;
    actor.account().tried(sent);
    Ok(())
}

/// The address `n` behind `first`.
fn behind(first: IpAddr, n: u64) -> IpAddr {
    match first {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits().wrapping_add(u32::try_from(n).unwrap_or(0))).into()),
        IpAddr::V6(a) => IpAddr::V6(a.to_bits().wrapping_add(u128::from(n)).into()),
    }
}

pub(super) fn hosts(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, first) = (actor.source(), actor.values.addr("target"));
    permit_pair(source, first)?;
    let count = actor.values.number("count");
    // A network is contiguous: if the last one is in it, so are those between.
    (0..count).try_for_each(|n| permit_host(first, behind(first, n)))?;
    let (kind, port) = (actor.values.word("kind").to_owned(), actor.values.port("port"));
    let echo = if first.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
    let sent = flood::transmit(source.is_ipv4(), actor.limits()?, actor.control(), |n| {
        let target = behind(first, n % count.max(1));
        let from = SocketAddr::new(source, flood::SCAN_PORT);
        let to = SocketAddr::new(target, port);
        let (from_end, to_end) = ((source.into(), from.port()), (target.into(), port));
        let frame = match kind.as_str() {
            "syn" => flood::probe(source, to, tcp_flag::SYN, n),
            "udp" => craft::udp(from_end, to_end, b"?"),
            _ => craft::icmp_echo(source.into(), target.into(), true, 0x4c41, 1, &[0x58; 8]),
        };
        match kind.as_str() {
            "syn" => actor.account().flow(Protocol::Tcp, from, to),
            "udp" => actor.account().flow(Protocol::Udp, from, to),
            _ => actor.account().flow(echo, SocketAddr::new(source, 0), SocketAddr::new(target, 0)),
        }
        (target, frame)
    })?;
    actor.account().tried(sent);
    Ok(())
}

/// As [`permit`], asked once for the first host: whether this process is inside a range does not change between two.
fn permit_host(first: IpAddr, host: IpAddr) -> Result<(), TrafficError> {
    if host == first
        || crate::address::Segment::of(host).is_some_and(|s| Some(s) == crate::address::Segment::of(first))
    {
        Ok(())
    } else {
        permit(host)
    }
}
