//! Protocols broken, or where they do not belong.
//!
//! Three things are observed: an application on a port that belongs to another one, something that is no DNS on the port of
//! DNS, and messages that break the rules of their protocol, by who sends them.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::home::is_host;
use crate::metric::Metric;
use flow::sketch::Distinct;
use flow::{App, Conversation, FlowKey, FlowRecord};
use wire::Addr;
use wire::message::{Message, Side, Violation};
use wire::packet::protocol;

/// Sources remembered, some 150 bytes each at most.
const CAPACITY: usize = 8192;
/// How long flows on wrong ports and broken messages of one source count together.
const MINUTE_NS: u64 = 60_000_000_000;
/// Flows of DNS are idle for less than this.
const FLOW_NS: u64 = 600_000_000_000;
/// Packets with data in each direction before such a flow is observed.
const ENOUGH_PACKETS: u32 = 8;
/// Flows with a broken message before anything is observed.
const ENOUGH_FLOWS: u32 = 8;

/// Ports below this belong to somebody; above, programs choose freely.
const WELL_KNOWN: u16 = 1024;
/// Ports of protocols inside TLS, which no application that may be spoken on any port claims for itself.
const TLS_PORTS: [u16; 4] = [443, 853, 993, 995];
/// HTTP where TLS belongs is a slip of a client, not a disguise.
const PLAIN_ON_TLS: (App, u16) = (App::Http, 443);

/// Whether `app` is out of place on `port`: a well-known one that is another's.
fn misplaced(app: App, port: u16) -> bool {
    let own = app.usual_ports();
    let another = || TLS_PORTS.contains(&port) || App::ALL.iter().any(|a| a.usual_ports().contains(&port));
    port < WELL_KNOWN && !own.is_empty() && !own.contains(&port) && (app, port) != PLAIN_ON_TLS && another()
}

/// Broken messages of one source in the running minute.
#[derive(Debug, Default)]
struct Broken {
    since_ns: u64,
    flows: Distinct,
    kinds: Distinct,
    servers: Distinct,
    last_flow: Option<FlowKey>,
}

/// Protocols out of place or broken; see the module.
#[derive(Debug)]
pub(crate) struct Anomalies {
    broken: Table<Addr, Broken>,
    /// Broken messages of flows of DNS.
    broken_dns: Table<FlowKey, u32>,
}

impl Default for Anomalies {
    fn default() -> Self {
        Self { broken: Table::new(CAPACITY, MINUTE_NS), broken_dns: Table::new(CAPACITY, FLOW_NS) }
    }
}

impl Profile for Anomalies {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::WrongPort, Subject::StrangeDns, Subject::BrokenMessages]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message, Kind::Grown, Kind::Closed, Kind::Ended]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        match fact {
            Fact::Message { flow, from, message: Message::Violation(violation) } => {
                self.violation(now_ns, flow, *from, *violation, out);
            }
            Fact::Grown(flow) => {
                out.extend(self.strange_dns(now_ns, flow));
            }
            Fact::Closed(flow) | Fact::Ended(flow, _) => {
                out.extend(wrong_port(flow));
                out.extend(self.strange_dns(now_ns, flow));
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.broken.evicted() + self.broken_dns.evicted()
    }
}

/// Whether both sides of a flow between two hosts said something.
fn is_talk(flow: &FlowRecord) -> bool {
    let spoke = flow.stats.from_initiator().data_packets > 0 && flow.stats.from_responder().data_packets > 0;
    spoke && is_host(flow.responder().0) && is_host(flow.initiator().0)
}

/// A finished flow in which an application was spoken where it does not belong.
fn wrong_port(flow: &FlowRecord) -> Option<Observation> {
    let (app, port) = (flow.app(), flow.responder().1);
    if !misplaced(app, port) || !is_talk(flow) {
        return None;
    }
    // Who began is not sure where the first packet was missed; then either port may be the one contacted.
    if flow.stats.syn_ns == 0 && app.usual_ports().contains(&flow.initiator().1) {
        return None;
    }
    let payload: u64 = flow.stats.dir.iter().map(|d| d.payload_bytes).sum();
    let values = Values::default().with(Metric::WrongPortKilobytes, payload as f64 / 1000.0).with(
        Metric::WrongPortRemoteShell,
        f64::from(u8::from(matches!(app, App::Ssh | App::Telnet | App::Rdp))),
    );
    let mut o = Observation::of_record(Subject::WrongPort, flow, flow.first_ns(), values);
    o.detail = Some(format!("{} on port {port}", app.name()).into());
    Some(o)
}

/// Whether the first bytes fit the header of a message (RFC 1035 §4.1.1), behind its length over TCP: an assigned operation,
/// the reserved bit clear, and one question at most.
fn is_dns_head(head: &[u8; 8], tcp: bool) -> bool {
    let [.., flags_high, flags_low, questions_high, questions_low] = *head;
    let (high, low, questions) = if tcp {
        (flags_high, flags_low, u16::from_be_bytes([questions_high, questions_low]))
    } else {
        (head[2], head[3], u16::from_be_bytes([flags_high, flags_low]))
    };
    high >> 3 & 0xf <= 6 && low & 0x40 == 0 && questions <= 1
}

impl Anomalies {
    /// A flow to port 53 in which both sides say what is no DNS.
    fn strange_dns(&self, now_ns: u64, flow: &FlowRecord) -> Option<Observation> {
        if flow.responder().1 != 53 || !matches!(flow.talk.app, App::Unknown | App::Dns) || !is_talk(flow) {
            return None;
        }
        let [up, down] = [flow.stats.from_initiator(), flow.stats.from_responder()];
        // Payload may not have been captured, a session may have been given up for want of room, and recognition by port and
        // a header of twelve bytes takes much for DNS. So both first messages must be none; or half of all, where a flow
        // begins with DNS and then turns to something else, as iodine does.
        let tcp = flow.key.protocol == protocol::TCP;
        let unlike = [up, down].iter().all(|d| d.head != [0; 8] && !is_dns_head(&d.head, tcp));
        let broken = self.broken_dns.get(&flow.key, now_ns).copied().unwrap_or_default();
        if !unlike && u64::from(broken) * 2 < u64::from(up.data_packets) + u64::from(down.data_packets) {
            return None;
        }
        if up.data_packets.min(down.data_packets) < ENOUGH_PACKETS {
            return None;
        }
        let values = Values::default()
            .with(Metric::StrangeDnsPackets, f64::from(up.data_packets.min(down.data_packets)))
            .with(Metric::StrangeDnsKilobytes, (up.payload_bytes + down.payload_bytes) as f64 / 1000.0);
        let mut o = Observation::of_record(Subject::StrangeDns, flow, flow.first_ns(), values);
        o.detail = Some(if tcp { "tcp".into() } else { "udp".into() });
        Some(o)
    }

    fn violation(
        &mut self,
        now_ns: u64,
        flow: &Conversation,
        from: Side,
        violation: Violation,
        out: &mut Vec<Observation>,
    ) {
        let (sender, receiver) = match from {
            Side::Client => (flow.initiator(), flow.responder()),
            Side::Server => (flow.responder(), flow.initiator()),
        };
        if violation.app == App::Dns {
            let broken = self.broken_dns.touch(flow.key, now_ns);
            *broken = broken.saturating_add(1);
        }
        let broken = self.broken.touch(sender.0, now_ns);
        if now_ns.saturating_sub(broken.since_ns) > MINUTE_NS {
            *broken = Broken { since_ns: now_ns, ..Broken::default() };
        }
        let kind = hash(violation.what) ^ violation.app as u64;
        broken.kinds.insert(kind as u32);
        if broken.last_flow == Some(flow.key) {
            return;
        }
        broken.last_flow = Some(flow.key);
        broken.flows.insert(flow_hash(flow));
        broken.servers.insert(address_hash(receiver.0));
        let flows = broken.flows.estimate();
        if flows < ENOUGH_FLOWS {
            return;
        }
        let values = Values::default()
            .with(Metric::BrokenFlows, f64::from(flows))
            .with(Metric::BrokenKinds, f64::from(broken.kinds.estimate()))
            .with(Metric::BrokenServers, f64::from(broken.servers.estimate()));
        let mut o = Observation::of_flow(Subject::BrokenMessages, flow, broken.since_ns, values);
        o.actor = Actor::Source { addr: sender.0 };
        (o.target, o.port) = (Some(receiver.0), Some(receiver.1));
        o.detail = Some(format!("{}: {}", violation.app.name(), violation.what).into());
        out.push(o);
    }
}

/// The address folded to 32 bits and spread.
fn address_hash(addr: Addr) -> u32 {
    let wide = u128::from_be_bytes(addr.0);
    let folded = (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (folded >> 32) as u32
}

/// The flow, by both ends.
fn flow_hash(flow: &Conversation) -> u32 {
    let ((a, ap), (b, bp)) = (flow.initiator(), flow.responder());
    let ports = u32::from(ap) << 16 | u32::from(bp);
    address_hash(a) ^ address_hash(b).rotate_left(16) ^ ports.wrapping_mul(0x85eb_ca6b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_dns() {
        for (head, tcp, expected) in [
            ([0x12, 0x34, 1, 0, 0, 1, 0, 0], false, true),
            ([0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3], false, true),
            ([0, 40, 0x12, 0x34, 1, 0, 0, 1], true, true),
            ([0x10, 0xd1, 0x9e, 0x20, 0x31, 0x32, 0x33, 0x34], false, false),
            (*b"SSH-2.0-", true, false),
        ] {
            assert_eq!(is_dns_head(&head, tcp), expected, "{head:02x?}");
        }
    }

    #[test]
    fn ports_belong_to_applications() {
        for (app, port, expected) in [
            (App::Ssh, 22, false),
            (App::Ssh, 443, true),
            (App::Ssh, 53, true),
            (App::Ssh, 2222, false),
            (App::Tls, 53, false),
            (App::Imap, 143, false),
            (App::Stun, 80, false),
            (App::Ssh, 602, false),
            (App::Tls, 80, false),
            (App::Http, 443, false),
            (App::Http, 22, true),
            (App::Unknown, 53, false),
        ] {
            assert_eq!(misplaced(app, port), expected, "{app:?} on {port}");
        }
    }
}
