//! Lies on the local network: who has an address, and who hands addresses out.

use super::account::Protocol;
use super::actor::Actor;
use super::{Kind, Parameter, parameter};
use crate::traffic::TrafficError;
use crate::traffic::link::Link;
use std::net::{IpAddr, SocketAddr};
use wire::craft::Builder;

/// EtherType of ARP.
const ARP: u16 = 0x0806;
const BROADCAST: [u8; 6] = [0xff; 6];

pub(super) const ARP_SPOOF: &[Parameter] = &[
    parameter::SOURCE,
    Parameter::new("target", Kind::Address, "who is lied to"),
    Parameter::new("claimed", Kind::Address, "whose address is claimed"),
    parameter::count(1000, "30", "replies"),
    parameter::rate(50, "2"),
    parameter::seconds("20"),
];

pub(super) const DHCP_SPOOF: &[Parameter] = &[
    parameter::SOURCE,
    Parameter::new("target", Kind::Address, "a neighbour, by which the interface is known"),
    Parameter::new("honest", Kind::Address, "address of the honest server, whose offers are sent, too"),
    parameter::count(1000, "12", "offers of each server"),
    parameter::rate(50, "2"),
    parameter::seconds("20"),
    parameter::SEED,
];

/// An ARP packet for IPv4 over Ethernet, RFC 826.
fn arp(operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(sender.0);
    packet.extend(sender.1);
    packet.extend(target.0);
    packet.extend(target.1);
    packet
}

fn v4(addr: IpAddr) -> Result<[u8; 4], TrafficError> {
    match addr {
        IpAddr::V4(a) => Ok(a.octets()),
        IpAddr::V6(_) => Err(TrafficError::Versions(addr, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))),
    }
}

/// The interface towards the target; the datagram that finds it is noted as part of the act.
fn towards(actor: &Actor<'_>, target: IpAddr) -> Result<Link, TrafficError> {
    let link = Link::towards(actor.source(), target)?;
    actor.account().flow(Protocol::Udp, link.probe.0, link.probe.1);
    Ok(link)
}

/// Replies nobody asked for, that the claimed address is at our interface; to the target alone.
pub(super) fn arp_spoof(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let (target, claimed) = (actor.values.addr("target"), actor.values.addr("claimed"));
    let (to, lie) = (v4(target)?, v4(claimed)?);
    let link = towards(actor, target)?;
    let frame = Builder::new(actor.source().into(), target.into())
        .macs(link.own, link.next)
        .carry(ARP, &arp(2, (link.own, lie), (link.next, to)));
    let mut pace = actor.pace()?;
    while pace.next().is_some() {
        let _ = actor.attempt(|| link.send(&frame));
        actor.account().flow(Protocol::Arp, SocketAddr::new(claimed, 0), SocketAddr::new(target, 0));
    }
    Ok(())
}

/// An offer, RFC 2131 §3 and RFC 2132: server, router and name server are `server`.
fn offer(server: [u8; 4], client: [u8; 6], transaction: [u8; 4], given: [u8; 4]) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend(transaction);
    message.extend([0; 8]);
    message.extend(given);
    message.extend(server);
    message.extend([0; 4]);
    message.extend(client);
    // The rest of the hardware address, the server's name and the boot file.
    message.extend([0; 10 + 64 + 128]);
    message.extend([0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, 2]);
    for option in [54, 3, 6] {
        message.extend([option, 4]);
        message.extend(server);
    }
    message.extend([51, 4, 0, 0, 0x0e, 0x10, 1, 4, 255, 255, 255, 0, 255]);
    message
}

/// Offers of a second server that names itself as router, to clients that asked somebody else.
///
/// No client is needed: the honest server's offers are sent as well, from its address, so that a sensor sees two servers
/// on one network that contradict each other.
pub(super) fn dhcp_spoof(actor: &Actor<'_>) -> Result<(), TrafficError> {
    let mut chance = actor.chance(0);
    let (rogue, honest) = (v4(actor.source())?, v4(actor.values.addr("honest"))?);
    let link = towards(actor, actor.values.addr("target"))?;
    let mut pace = actor.pace()?;
    let everybody = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    while let Some(n) = pace.next() {
        let client = [2, 0, 0, 0, 9, u8::try_from(n & 0xff).unwrap_or(0)];
        let transaction = chance.bytes(4).try_into().unwrap_or([0; 4]);
        let given = [rogue[0], rogue[1], rogue[2], 60 + u8::try_from(n % 40).unwrap_or(0)];
        for server in [honest, rogue] {
            let from = IpAddr::from(server);
            let frame = Builder::new(from.into(), everybody.into()).macs(link.own, BROADCAST).udp(
                67,
                68,
                &offer(server, client, transaction, given),
            );
            let _ = actor.attempt(|| link.send(&frame));
            if server == rogue {
                actor.account().flow(
                    Protocol::Udp,
                    SocketAddr::new(from, 67),
                    SocketAddr::new(everybody, 68),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::dhcp::Dissector;
    use wire::message::{Dissector as _, Message, Side};

    #[test]
    fn the_projects_own_parsers_read_the_lies() {
        let frame =
            Builder::new(IpAddr::from([192, 0, 2, 201]).into(), IpAddr::from([192, 0, 2, 110]).into())
                .macs([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .carry(
                    ARP,
                    &arp(2, ([2, 0, 0, 0, 0, 1], [192, 0, 2, 1]), ([2, 0, 0, 0, 0, 2], [192, 0, 2, 110])),
                );
        let read = wire::message::arp::parse(wire::LinkType::Ethernet, &frame);
        assert!(read.is_some(), "ARP");
        let mut out = Vec::new();
        let message = offer([192, 0, 2, 201], [2, 0, 0, 0, 9, 1], [1, 2, 3, 4], [192, 0, 2, 60]);
        Dissector::default().data(Side::Server, &message, &mut out);
        assert!(matches!(out.as_slice(), [Message::Dhcp(_)]), "{out:?}");
    }
}
