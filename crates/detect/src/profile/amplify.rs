//! Answers of open services to questions nobody here asked, and large answers of ours to small questions.

use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::{FlowRecord, Role, Span};
use wire::packet::protocol;

/// Services known to answer more than they are asked (CISA alert TA14-017A and later reports), by port.
const AMPLIFIERS: [(u16, &str); 25] = [
    (17, "qotd"),
    (19, "chargen"),
    (53, "dns"),
    (69, "tftp"),
    (111, "portmap"),
    (123, "ntp"),
    (137, "netbios"),
    (161, "snmp"),
    (177, "xdmcp"),
    (389, "cldap"),
    (427, "slp"),
    (520, "rip"),
    (623, "ipmi"),
    (1434, "mssql"),
    (1604, "citrix"),
    (1900, "ssdp"),
    (3283, "ard"),
    (3389, "rdp over udp"),
    (3702, "ws-discovery"),
    (5093, "sentinel"),
    (5351, "nat-pmp"),
    (5353, "mdns"),
    (5683, "coap"),
    (11211, "memcached"),
    (37810, "dhdiscover"),
];

fn service(port: u16) -> Option<&'static str> {
    AMPLIFIERS.iter().find(|(p, _)| *p == port).map(|(_, name)| *name)
}

/// Both ends of amplification. Needs no memory of its own: windows and the flow at hand tell.
#[derive(Debug, Default)]
pub(crate) struct Amplification {}

impl Profile for Amplification {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Reflected, Subject::Reflector]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Active]
    }

    fn learn(&mut self, _now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Active { entity, flow: Some(flow) } = fact else { return };
        if flow.key.protocol != protocol::UDP {
            return;
        }
        let window = entity.window(Span::S10);
        let ((_, from_port), (_, to_port)) = (flow.initiator(), flow.responder());
        if entity.role == Role::Target && unasked(flow) {
            let Some(name) = service(from_port) else { return };
            let seconds = f64::from(Span::S10.seconds());
            let second = entity.window(Span::S1);
            let values = Values::default()
                .with(
                    Metric::ReflectedPacketsPerSecond,
                    (f64::from(window.udp_packets) / seconds).max(f64::from(second.udp_packets)),
                )
                .with(Metric::ReflectedBytesPerPacket, window.bytes as f64 / f64::from(window.packets.max(1)))
                .with(
                    Metric::ReflectedReplyRatio,
                    f64::from(window.udp_reply_packets) / f64::from(window.udp_packets.max(1)),
                )
                .with_some(Metric::Reflectors, Some(window.sources()).filter(|n| *n > 0).map(f64::from));
            let mut o = Observation::of_flow(Subject::Reflected, flow, window.start_ns, values);
            o.actor = Actor::Distributed { target: entity.addr };
            o.target = Some(entity.addr);
            o.port = None;
            o.detail = Some(name.into());
            out.push(o);
        } else if entity.role == Role::Source
            && let Some(name) = service(to_port)
        {
            let values = Values::default()
                .with(Metric::AmplifiedMegabytes, window.reply_bytes as f64 / 1e6)
                .with(Metric::AmplificationFactor, window.reply_bytes as f64 / (window.bytes.max(1)) as f64)
                .with(Metric::AmplifiedQuestionBytes, window.bytes as f64 / f64::from(window.packets.max(1)));
            // The sender of the questions is the victim: its address is forged.
            let mut o = Observation::of_flow(Subject::Reflector, flow, window.start_ns, values);
            o.actor = Actor::Distributed { target: entity.addr };
            o.target = Some(entity.addr);
            o.detail = Some(format!("{name} of {}", flow.responder().0).into());
            out.push(o);
        }
    }

    fn evicted(&self) -> u64 {
        0
    }
}

/// Whether the flow began with what is an answer and was never asked for.
fn unasked(flow: &FlowRecord) -> bool {
    flow.stats.from_responder().packets == 0
}
