//! EVE JSON events, as Suricata's schema defines them.
//!
//! Our own fields stand under one object, `metadata.flowints.autoinmune`: the published schema closes the top level
//! and leaves this place open for all event types.

mod context;
mod limit;
mod message;

pub use limit::limited;
pub use message::message;

use crate::line::Intake;
use crate::summary;
use detect::{Actor, Signal, Update};
use flow::app::App;
use flow::{EndReason, FlowKey, FlowRecord, Outcome as Opening, TcpState};
use respond::{Decision, Outcome};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::packet::protocol;

/// Generator identifier of our alerts (EVE `gid`); Suricata's own are below 100.
pub const GID: u32 = 1888;

/// What all events of one sensor share.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Interface or capture file, when there is one only.
    pub interface: Option<String>,
    /// Whether the traffic was generated.
    pub simulated: bool,
    /// Whether messages are events of their own.
    pub messages: bool,
    /// What is known of addresses, to stand beside flows and alerts.
    pub known: Option<Arc<enrich::Service>>,
}

#[derive(Serialize, Default)]
struct Event {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<String>,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_v: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anomaly: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Value>,
    /// What a message says, under the name of its protocol.
    #[serde(flatten)]
    message: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

impl Event {
    fn new(context: &Context, at_ns: u64, event_type: &'static str, mut ours: Value) -> Self {
        if context.simulated {
            ours["simulated"] = Value::Bool(true);
        }
        let empty = ours.as_object().is_some_and(serde_json::Map::is_empty);
        Self {
            timestamp: timestamp(at_ns),
            in_iface: context.interface.clone(),
            event_type,
            metadata: (!empty).then(|| json!({"flowints": {"autoinmune": ours}})),
            ..Self::default()
        }
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A time as EVE writes it: microseconds, numeric zone.
pub fn timestamp(at_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(at_ns.into())
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string())
        .unwrap_or_else(|_| "1970-01-01T00:00:00.000000+0000".to_owned())
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "ICMP".into(),
        protocol::TCP => "TCP".into(),
        protocol::UDP => "UDP".into(),
        protocol::ICMPV6 => "IPv6-ICMP".into(),
        132 => "SCTP".into(),
        other => other.to_string(),
    }
}

/// A number for a flow that is the same in every run: FNV-1a over key and start, in the 53 bits JSON readers keep.
pub fn flow_id(key: &FlowKey, first_ns: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    eat(&key.lo.0);
    eat(&key.hi.0);
    eat(&key.lo_port.to_be_bytes());
    eat(&key.hi_port.to_be_bytes());
    eat(&key.vlan.to_be_bytes());
    eat(&[key.protocol]);
    if key.tunnel != 0 {
        eat(&key.tunnel.to_be_bytes());
    }
    eat(&first_ns.to_be_bytes());
    hash & ((1 << 53) - 1)
}

/// A `flow` event.
pub fn flow(context: &Context, record: &FlowRecord, reason: EndReason) -> String {
    let (src, src_port) = record.initiator();
    let (dst, dst_port) = record.responder();
    let (from, to) = (record.stats.from_initiator(), record.stats.from_responder());
    let (first, last) = (record.first_ns(), record.last_ns());
    let icmp = matches!(record.key.protocol, protocol::ICMP | protocol::ICMPV6);
    let ported = matches!(record.key.protocol, protocol::TCP | protocol::UDP | 132);
    let state = match record.stats.state {
        TcpState::Closed | TcpState::Reset => "closed",
        TcpState::Established | TcpState::Closing => "established",
        TcpState::SynSent | TcpState::SynReceived | TcpState::Midstream => "new",
        TcpState::None => {
            if to.packets > 0 {
                "established"
            } else {
                "new"
            }
        }
    };
    let reason = match reason {
        EndReason::Closed | EndReason::Idle => "timeout",
        EndReason::Active | EndReason::Reused | EndReason::Evicted => "forced",
        EndReason::Shutdown => "shutdown",
    };
    let mut ours = serde_json::Map::new();
    if record.outcome != Opening::Answered {
        ours.insert("opening".into(), json!(record.outcome));
    }
    if from.fragments + to.fragments > 0 {
        ours.insert("fragments".into(), json!(from.fragments + to.fragments));
    }
    context.about(&mut ours, Some(src), Some(dst));
    let app = record.app();
    let mut event = Event::new(context, last, "flow", Value::Object(ours));
    event.flow_id = Some(flow_id(&record.key, first));
    if record.key.vlan != 0 {
        event.vlan.push(record.key.vlan);
    }
    event.src_ip = Some(src.ip());
    event.dest_ip = Some(dst.ip());
    event.src_port = ported.then_some(src_port);
    event.dest_port = ported.then_some(dst_port);
    event.icmp_type = icmp.then_some(src_port);
    event.icmp_code = icmp
        .then(|| u8::try_from(src_port).ok())
        .flatten()
        .map(|t| if wire::icmp_counterpart(record.key.protocol, t).is_some() { 0 } else { dst_port });
    event.proto = Some(protocol_name(record.key.protocol));
    event.ip_v = Some(if src.is_v4() { 4 } else { 6 });
    event.app_proto = (app != App::Unknown).then(|| app.name());
    event.community_id = Some(record.community_id(0));
    event.flow = Some(json!({
        "pkts_toserver": from.packets,
        "pkts_toclient": to.packets,
        "bytes_toserver": from.bytes,
        "bytes_toclient": to.bytes,
        "start": timestamp(first),
        "end": timestamp(last),
        "age": last.saturating_sub(first) / 1_000_000_000,
        "state": state,
        "reason": reason,
    }));
    if record.key.protocol == protocol::TCP {
        let mask = |flags: &[u32; 8]| {
            flags.iter().enumerate().fold(0_u8, |m, (i, n)| if *n > 0 { m | 1 << i } else { m })
        };
        let (ts, tc) = (mask(&from.flags), mask(&to.flags));
        let both = ts | tc;
        let mut tcp = json!({
            "tcp_flags": format!("{both:02x}"),
            "tcp_flags_ts": format!("{ts:02x}"),
            "tcp_flags_tc": format!("{tc:02x}"),
            "state": record.stats.state,
        });
        for (i, name) in ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"].iter().enumerate() {
            if both & 1 << i != 0 {
                tcp[*name] = Value::Bool(true);
            }
        }
        event.tcp = Some(tcp);
    }
    event.line()
}

/// An `alert` event for an incident that opened, changed or went on; `None` for its end.
pub fn alert(
    context: &Context,
    at_ns: u64,
    update: &Update,
    signal: Option<&Signal>,
    decision: Option<&Decision>,
) -> Option<String> {
    if update.change == detect::Change::Ended {
        return None;
    }
    let incident = &update.incident;
    let (source, target) = match incident.actor {
        Actor::Source { addr } => {
            (Some(addr), signal.and_then(|s| s.target).or(incident.targets.first().copied()))
        }
        Actor::Distributed { target } => (None, Some(target)),
    };
    let mut ours = serde_json::Map::new();
    ours.insert("incident".into(), json!(incident));
    ours.insert("change".into(), json!(update.change));
    ours.insert("decision".into(), json!(decision.map(|d| json!({"outcome": d.outcome, "why": d.why}))));
    context.about(&mut ours, source, target);
    let mut event = Event::new(context, at_ns, "alert", Value::Object(ours));
    event.src_ip = source.map(|a| a.ip());
    event.dest_ip = target.map(|a| a.ip());
    event.ip_v = source.or(target).map(|a| if a.is_v4() { 4 } else { 6 });
    let (sid, rev, port, proto) = signal.map_or((0, 0, None, None), |s| (s.sid, s.rev, s.port, s.protocol));
    event.dest_port = port;
    event.proto = proto.map(protocol_name);
    event.community_id = signal.and_then(|s| s.community_id.clone());
    let blocked = decision.is_some_and(|d| matches!(d.outcome, Outcome::Blocked | Outcome::Extended));
    event.alert = Some(json!({
        "action": if blocked { "blocked" } else { "allowed" },
        "gid": GID,
        "signature_id": sid,
        "rev": rev,
        "signature": summary::headline(incident),
        "category": signal.map_or(incident.class, |s| s.class).name(),
        "severity": incident.severity.eve(),
        "metadata": {
            "mitre_technique_id": incident.techniques,
            "confidence": [format!("{:.2}", incident.confidence)],
            "signature_severity": [format!("{:?}", incident.severity)],
        },
    }));
    Some(event.line())
}

/// A `drop` event: a block went into force, was lifted or ran out. One per decision, never one per packet.
pub fn drop(context: &Context, decision: &Decision) -> Option<String> {
    let (reason, action) = match decision.outcome {
        Outcome::Blocked => ("block", "drop"),
        Outcome::Extended => ("block extended", "drop"),
        Outcome::Lifted => ("block lifted", "accept"),
        Outcome::Expired => ("block expired", "accept"),
        Outcome::WouldBlock | Outcome::Refused => return None,
    };
    let mut event = Event::new(
        context,
        decision.at_ns,
        "drop",
        json!({"prefix": decision.prefix, "why": decision.why, "block": decision.block}),
    );
    event.src_ip = Some(decision.prefix.addr().ip());
    event.ip_v = Some(if decision.prefix.addr().is_v4() { 4 } else { 6 });
    event.drop = Some(json!({"reason": reason, "verdict": {"action": action}}));
    Some(event.line())
}

/// An `anomaly` event: frames that could not be parsed.
pub fn anomaly(context: &Context, at_ns: u64, reason: &'static str, count: u64) -> String {
    let mut event = Event::new(context, at_ns, "anomaly", json!({"count": count}));
    event.anomaly = Some(json!({"type": "decode", "event": reason, "layer": "proto_parser"}));
    event.line()
}

/// Numbers for a `stats` event.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Seconds since start (live) or covered by the capture (replay).
    pub uptime: u64,
    /// What entered.
    pub intake: Intake,
    /// Packets the kernel did not hand over.
    pub kernel_drops: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows in the table.
    pub flows_live: u64,
    /// Signals merged into incidents so far.
    pub alerts: u64,
    /// All counters of loss, by name.
    pub losses: BTreeMap<String, u64>,
}

/// A `stats` event.
pub fn stats(context: &Context, at_ns: u64, figures: &Figures) -> String {
    let mut event = Event::new(context, at_ns, "stats", json!({"losses": figures.losses}));
    let skipped: u64 = wire::Skip::ALL
        .iter()
        .filter(|s| **s != wire::Skip::NotIp)
        .map(|s| figures.intake.skipped[*s as usize])
        .sum();
    event.stats = Some(json!({
        "uptime": figures.uptime,
        "capture": {"kernel_packets": figures.intake.packets, "kernel_drops": figures.kernel_drops},
        "decoder": {
            "pkts": figures.intake.packets,
            "bytes": figures.intake.bytes,
            "invalid": skipped,
            "unknown_ethertype": figures.intake.skipped[wire::Skip::NotIp as usize],
        },
        "flow": {"total": figures.flows, "active": figures.flows_live},
        "detect": {"alert": figures.alerts},
    }));
    event.line()
}
