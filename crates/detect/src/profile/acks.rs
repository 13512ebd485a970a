//! Lone acknowledgements to ports that nobody had a connection with: the ACK scan, which asks a firewall what it lets through.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use flow::{EndReason, FlowRecord};
use wire::Addr;
use wire::packet::{protocol, tcp_flag};

/// Pairs of source and host remembered, some 180 bytes each at most.
const CAPACITY: usize = 8192;
/// Length of the window in which ports are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Different ports told apart.
const PORTS: usize = 64;
/// Observations begin with so many.
const ENOUGH: usize = 4;
/// Packets of a probe: scanners try again once.
const MOST_PACKETS: u64 = 2;
/// From here up systems take the ports of clients (Linux from here, others from 49152): a server that says something to clients
/// that are gone looks like this, to as many ports as there were connections.
const CLIENT_PORTS: u16 = 32_768;

/// Ports of one host that one source probed in the running window.
#[derive(Debug, Default)]
struct Probed {
    since_ns: u64,
    ports: Vec<u16>,
}

/// Lone acknowledgements; see the module.
#[derive(Debug)]
pub(crate) struct AckProbes {
    pairs: Table<(Addr, Addr), Probed>,
}

impl Default for AckProbes {
    fn default() -> Self {
        Self { pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

/// Whether a flow is nothing but a lone ACK, and resets in answer or none.
fn is_probe(flow: &FlowRecord) -> bool {
    const HANDSHAKE: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST | tcp_flag::ACK;
    let (sent, back) = (flow.stats.from_initiator(), flow.stats.from_responder());
    flow.key.protocol == protocol::TCP
        && flow.stats.first_flags & HANDSHAKE == tcp_flag::ACK
        && sent.packets <= MOST_PACKETS
        && sent.payload_bytes == 0
        && back.payload_bytes == 0
        && u64::from(back.flags[2]) == back.packets
        && flow.responder().1 < CLIENT_PORTS
}

impl Profile for AckProbes {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::AckProbes]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Ended]
    }

    fn learn(&mut self, _now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let flow = match fact {
            Fact::Closed(flow) => flow,
            // Those that were reset have closed before.
            Fact::Ended(flow, reason) if *reason != EndReason::Active => flow,
            _ => return,
        };
        if !is_probe(flow) {
            return;
        }
        // By when it began: silent ones are given up long after.
        let at_ns = flow.first_ns();
        let ((source, _), (host, port)) = (flow.initiator(), flow.responder());
        let pair = self.pairs.touch((source, host), at_ns);
        if at_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Probed { since_ns: at_ns, ..Probed::default() };
        }
        if pair.ports.len() >= PORTS || pair.ports.contains(&port) {
            return;
        }
        pair.ports.push(port);
        if pair.ports.len() < ENOUGH {
            return;
        }
        let values = Values::default().with(Metric::AckProbePorts, pair.ports.len() as f64);
        let mut o = Observation::of_record(Subject::AckProbes, flow, pair.since_ns, values);
        o.port = None;
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}
