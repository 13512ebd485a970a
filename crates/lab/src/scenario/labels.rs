//! Labels of what was done: the rows that lie beside a capture.

use super::play::Deed;
use crate::traffic::act;
use flow::label::{BENIGN, Label, Labels, Net, Protocol};
use std::net::IpAddr;
use wire::packet::protocol;

/// How long a host may go on answering after a deed is over, ns: retransmissions, and resets of what was left open.
const AFTER_NS: u64 = 2_000_000_000;

/// Labels of the deeds of a scenario, hostile ones first: a flow belongs to the first row that matches it.
///
/// An act reports what it did flow by flow. Of a program only its time, its addresses and what it was told to do are known;
/// its row is as wide as that.
#[must_use]
pub fn labels(scenario: &str, deeds: &[Deed]) -> Labels {
    let (hostile, harmless): (Vec<&Deed>, Vec<&Deed>) = deeds.iter().partition(|d| d.class.is_some());
    let rows = hostile.into_iter().chain(harmless).flat_map(|deed| rows(scenario, deed));
    Labels::new(rows.collect())
}

fn rows(scenario: &str, deed: &Deed) -> Vec<Label> {
    let row = Label {
        start_ns: deed.start_ns,
        end_ns: deed.end_ns.saturating_add(AFTER_NS),
        actor: deed.from.clone(),
        class: deed.class.clone().unwrap_or_else(|| BENIGN.to_owned()),
        technique: deed.technique.clone().unwrap_or_default(),
        scenario: scenario.to_owned(),
        ..Label::default()
    };
    if let Some(report) = &deed.report {
        return report.flows.iter().map(|flow| reported(&row, flow)).collect();
    }
    let (protocol, target_port) = (deed.traffic.protocol, deed.traffic.port);
    let mut rows = Vec::new();
    for source in &deed.sources {
        let net = |addr: IpAddr| Net::host(addr.into());
        let base = Label { protocol, source: Some(net(*source)), target_port, ..row.clone() };
        if deed.targets.is_empty() {
            rows.push(base);
        } else {
            let targets = deed.targets.iter().filter(|t| t.is_ipv4() == source.is_ipv4());
            rows.extend(targets.map(|t| Label { target: Some(net(*t)), ..base.clone() }));
        }
    }
    rows
}

fn reported(row: &Label, flow: &act::Row) -> Label {
    let net = |n: act::Net| Net::new(n.addr.into(), n.len);
    let number = match flow.protocol {
        act::Protocol::Tcp => Protocol::Ip(protocol::TCP),
        act::Protocol::Udp => Protocol::Ip(protocol::UDP),
        act::Protocol::Icmp => Protocol::Ip(protocol::ICMP),
        act::Protocol::Icmpv6 => Protocol::Ip(protocol::ICMPV6),
        act::Protocol::Arp => Protocol::Arp,
    };
    Label {
        start_ns: flow.start_ns,
        end_ns: flow.end_ns.saturating_add(AFTER_NS),
        protocol: Some(number),
        source: net(flow.source),
        source_port: flow.source_port,
        target: net(flow.target),
        target_port: flow.target_port,
        ..row.clone()
    }
}
