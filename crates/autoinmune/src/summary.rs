//! What a replay found, as one JSON object and for people.

use crate::eve;
use crate::line::Tap;
use detect::{Actor, Change, Incident, Signal, Update};
use flow::{Conversation, EndReason, FlowRecord};
use respond::{Decision, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;
use wire::message::{Message, Side};

/// `replay --summary`.
///
/// Everything but `seconds` depends on the input alone.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Captures, in the order read.
    pub files: Vec<FileSummary>,
    /// Frames read.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// First to last timestamp, added over captures, s.
    pub duration_seconds: f64,
    /// What was not seen or not kept, by reason; zeros included.
    pub losses: BTreeMap<String, u64>,
    /// Incidents in order of their beginning.
    pub incidents: Vec<IncidentSummary>,
    /// Wall-clock time the replay took, s.
    pub seconds: f64,
}

/// One capture.
#[derive(Clone, Debug, Serialize)]
pub struct FileSummary {
    /// Path as given.
    pub path: String,
    /// Frames read.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Why reading stopped early, with the byte offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One incident.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentSummary {
    /// The acting address, or `distributed` when sources are many or forged.
    pub actor: String,
    /// Class of threat, of the most severe signal.
    pub class: &'static str,
    /// Every class of threat seen.
    pub classes: Vec<&'static str>,
    /// Finer kinds.
    pub kinds: Vec<String>,
    /// Severity.
    pub severity: detect::Severity,
    /// MITRE ATT&CK techniques.
    pub technique: Vec<String>,
    /// Addresses hit.
    pub targets: Vec<String>,
    /// What it is about in other words, such as domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// First evidence, RFC 3339.
    pub first_seen: String,
    /// Last evidence, RFC 3339.
    pub last_seen: String,
    /// 0..=1.
    pub confidence: f64,
    /// Rules that fired.
    pub rules: Vec<String>,
    /// Signals merged.
    pub signals: u64,
    /// Observed against tolerated.
    pub evidence: Vec<detect::Evidence>,
    /// What policy did or would have done.
    pub action: String,
    /// Why.
    pub action_reason: String,
}

/// RFC 3339 with microseconds, UTC.
pub fn rfc3339(at_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(at_ns.into())
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

/// The actor as one word.
pub fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Source { addr } => addr.to_string(),
        Actor::Distributed { .. } => "distributed".into(),
    }
}

/// An incident in one line: what, by whom, against whom.
pub fn headline(i: &Incident) -> String {
    let kinds = if i.kinds.is_empty() { String::new() } else { format!(" ({})", i.kinds.join(", ")) };
    let target = match (&i.actor, i.targets.as_slice()) {
        (Actor::Distributed { target }, _) | (_, [target]) => format!(" on {target}"),
        (_, []) => String::new(),
        (_, [first, rest @ ..]) => format!(" on {first} and {} more", rest.len()),
    };
    let by = match i.actor {
        Actor::Source { addr } => addr.to_string(),
        Actor::Distributed { .. } => "many or forged sources".into(),
    };
    let classes: Vec<&str> = i.classes.iter().map(|c| c.name()).collect();
    format!("{}{kinds} by {by}{target}", classes.join(", "))
}

/// The name of an outcome as data.
pub const fn outcome(o: Outcome) -> &'static str {
    match o {
        Outcome::Blocked => "block",
        Outcome::WouldBlock => "would_block",
        Outcome::Extended => "extend",
        Outcome::Refused => "refused",
        Outcome::Lifted => "lift",
        Outcome::Expired => "expire",
    }
}

/// Takes each flow that ended.
pub type TakeFlow<'a> = &'a mut dyn FnMut(&FlowRecord, EndReason);

/// Collects incidents and writes events on the way.
pub struct Collector<'a> {
    /// Where event lines go.
    pub eve: Option<&'a mut dyn FnMut(String)>,
    /// Who else wants each flow that ended.
    pub flows: Option<TakeFlow<'a>>,
    /// What events share.
    pub context: eve::Context,
    /// Incidents in order of their identifier within this line, with the strongest decision.
    pub incidents: BTreeMap<u64, (Incident, Option<(Outcome, String)>)>,
    /// Incident updates seen.
    pub alerts: u64,
}

impl<'a> Collector<'a> {
    /// An empty collector.
    pub fn new(eve: Option<&'a mut dyn FnMut(String)>, context: eve::Context) -> Self {
        Self { eve, flows: None, context, incidents: BTreeMap::new(), alerts: 0 }
    }

    /// Hands out what was collected.
    pub fn summaries(&self) -> Vec<IncidentSummary> {
        self.incidents
            .values()
            .map(|(i, decision)| IncidentSummary {
                actor: actor(&i.actor),
                class: i.class.name(),
                classes: i.classes.iter().map(|c| c.name()).collect(),
                kinds: i.kinds.clone(),
                severity: i.severity,
                technique: i.techniques.clone(),
                targets: i.targets.iter().map(ToString::to_string).collect(),
                details: i.details.clone(),
                first_seen: rfc3339(i.first_ns),
                last_seen: rfc3339(i.last_ns),
                confidence: (i.confidence * 1000.0).round() / 1000.0,
                rules: i.rules.clone(),
                signals: i.signals,
                evidence: i.evidence.clone(),
                action: match decision {
                    // What policy declines to block is still an alert; the reason says why no more.
                    None | Some((Outcome::Refused, _)) => "alert",
                    Some((o, _)) => outcome(*o),
                }
                .to_owned(),
                action_reason: decision
                    .as_ref()
                    .map_or_else(|| "no rule that fired may block".to_owned(), |(_, why)| why.clone()),
            })
            .collect()
    }
}

impl Tap for Collector<'_> {
    fn flow(&mut self, _: u64, record: &FlowRecord, reason: EndReason) {
        if let Some(eve) = &mut self.eve {
            eve(eve::flow(&self.context, record, reason));
        }
        if let Some(flows) = &mut self.flows {
            flows(record, reason);
        }
    }

    fn message(&mut self, at_ns: u64, flow: &Conversation, from: Side, message: &Message) {
        if let Some(eve) = &mut self.eve
            && self.context.messages
            && let Some(line) = eve::message(&self.context, at_ns, flow, from, message)
        {
            eve(line);
        }
    }

    fn incident(
        &mut self,
        at_ns: u64,
        update: &Update,
        signal: Option<&Signal>,
        decision: Option<&Decision>,
    ) {
        let entry =
            self.incidents.entry(update.incident.id).or_insert_with(|| (update.incident.clone(), None));
        entry.0 = update.incident.clone();
        if let Some(d) = decision
            && (entry.1.is_none() || d.outcome != Outcome::Refused)
        {
            entry.1 = Some((d.outcome, d.why.clone()));
        }
        if update.change != Change::Ended {
            self.alerts += 1;
        }
        if let Some(eve) = &mut self.eve
            && let Some(line) = eve::alert(&self.context, at_ns, update, signal, decision)
        {
            eve(line);
        }
    }

    fn decision(&mut self, decision: &Decision) {
        if let Some(eve) = &mut self.eve
            && let Some(line) = eve::drop(&self.context, decision)
        {
            eve(line);
        }
    }

    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64) {
        if let Some(eve) = &mut self.eve {
            eve(eve::anomaly(&self.context, at_ns, reason, count));
        }
    }
}
