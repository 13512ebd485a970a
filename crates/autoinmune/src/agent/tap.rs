//! What the running agent does with what the line gives: events, audit, log, effects.

use super::outbox::Outbox;
use super::state::Audit;
use crate::learner::Witness;
use crate::line::Tap;
use crate::sink::Queue;
use crate::{eve, summary};
use detect::learned::JudgedWindow;
use detect::{Change, Signal, Update};
use flow::{Conversation, EndReason, FlowKey, FlowRecord};
use respond::{Decision, Effect, Outcome};
use std::collections::BTreeMap;
use wire::message::{Message, Side};

/// Takes each flow that ended.
pub type FlowSink = Box<dyn FnMut(&FlowRecord, EndReason)>;

/// The taps of a running agent.
pub struct AgentTap {
    /// EVE writer, if configured.
    pub eve: Option<Queue>,
    /// Audit log, if the state directory is writable.
    pub audit: Option<Audit>,
    /// What events share.
    pub context: eve::Context,
    /// Effects to apply, oldest first; the loop takes them after each call into the line.
    pub effects: Vec<Effect>,
    /// Whether the set of blocks changed since it was last kept.
    pub blocks_changed: bool,
    /// Incidents opened, by class and severity.
    pub incidents: BTreeMap<(&'static str, &'static str), u64>,
    /// Decisions, by outcome.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Incident updates so far.
    pub alerts: u64,
    /// Keys of flows that left the table, for the kernel to forget.
    pub ended: Vec<FlowKey>,
    /// Effects that could not be applied.
    pub effects_failed: u64,
    /// Who else wants each flow that ended.
    pub flows: Option<FlowSink>,
    /// Gathers what is judged elsewhere, if it is.
    pub outbox: Option<Outbox>,
    /// Remembers incidents, and tells the learner.
    pub witness: Witness,
}

impl AgentTap {
    /// Taps into the given destinations.
    pub fn new(eve: Option<Queue>, audit: Option<Audit>, context: eve::Context) -> Self {
        Self {
            eve,
            audit,
            context,
            effects: Vec::new(),
            blocks_changed: false,
            incidents: BTreeMap::new(),
            decisions: BTreeMap::new(),
            alerts: 0,
            ended: Vec::new(),
            effects_failed: 0,
            flows: None,
            outbox: None,
            witness: Witness::default(),
        }
    }

    /// Reports and counts an effect that could not be applied. The responder's view stays, so that the next change or
    /// restart tries again.
    pub fn effect_failed(&mut self, effect: &Effect, why: &dyn std::fmt::Display) {
        self.effects_failed += 1;
        tracing::error!("cannot apply {effect:?}: {why}");
    }

    /// Reports packets over a limit of the kernel: log, audit, event.
    pub fn limited(&mut self, excess: &kernel::Excess) {
        let name = excess.limit.map_or("source", kernel::abi::Limit::name);
        let did = if excess.enforced { "dropped" } else { "would be dropped" };
        let port = if excess.port == 0 { String::new() } else { format!(" port {}", excess.port) };
        tracing::warn!(
            "limit {name}: {} packets ({} bytes) {did}, {}{port}",
            excess.packets,
            excess.bytes,
            excess.addr
        );
        if let Some(audit) = &mut self.audit {
            audit.write_excess(excess);
        }
        if self.eve.is_some()
            && let Some(line) = eve::limited(&self.context, excess)
        {
            self.event(line);
        }
    }

    /// Sends one event line.
    pub fn event(&self, line: String) {
        if let Some(queue) = &self.eve {
            queue.send(line);
        }
    }
}

/// A severity as a metric label.
pub const fn severity(s: detect::Severity) -> &'static str {
    match s {
        detect::Severity::Info => "info",
        detect::Severity::Low => "low",
        detect::Severity::Medium => "medium",
        detect::Severity::High => "high",
        detect::Severity::Critical => "critical",
    }
}

impl Tap for AgentTap {
    fn flow(&mut self, at_ns: u64, record: &FlowRecord, reason: EndReason) {
        // A flow reported for its age, or one whose key was taken again, goes on under the same key in the kernel.
        if !matches!(reason, EndReason::Active | EndReason::Reused) {
            self.ended.push(record.key);
        }
        if self.eve.is_some() {
            self.event(eve::flow(&self.context, record, reason));
        }
        self.witness.flow(record);
        if let Some(outbox) = &mut self.outbox {
            outbox.flow(at_ns, record, reason);
        }
        if let Some(take) = &mut self.flows {
            take(record, reason);
        }
    }

    fn message(&mut self, at_ns: u64, flow: &Conversation, from: Side, message: &Message) {
        if self.eve.is_some()
            && self.context.messages
            && let Some(line) = eve::message(&self.context, at_ns, flow, from, message)
        {
            self.event(line);
        }
    }

    fn incident(
        &mut self,
        at_ns: u64,
        update: &Update,
        signal: Option<&Signal>,
        decision: Option<&Decision>,
    ) {
        self.witness.incident(at_ns, update);
        let i = &update.incident;
        if update.change == Change::Opened {
            *self.incidents.entry((i.class.name(), severity(i.severity))).or_default() += 1;
        }
        if update.change != Change::Ended {
            self.alerts += 1;
        }
        let who = summary::actor(&i.actor);
        let did = decision.map_or_else(
            || "no new action".to_owned(),
            |d| {
                let verb = match d.outcome {
                    Outcome::Blocked => "blocked",
                    Outcome::WouldBlock => "would be blocked",
                    Outcome::Extended => "blocked for longer",
                    Outcome::Refused => "not blocked",
                    Outcome::Lifted => "no longer blocked",
                    Outcome::Expired => "block ended",
                };
                format!("{} {verb}: {}", d.prefix, d.why)
            },
        );
        match update.change {
            Change::Ended => tracing::info!(incident = i.id, "{} by {who} ended", i.class.name()),
            Change::Continued => tracing::info!(incident = i.id, "{}: {did}", summary::headline(i)),
            Change::Opened | Change::Escalated => {
                tracing::warn!(incident = i.id, "{}: {did}", summary::headline(i));
            }
        }
        if self.eve.is_some()
            && let Some(line) = eve::alert(&self.context, at_ns, update, signal, decision)
        {
            self.event(line);
        }
    }

    fn decision(&mut self, decision: &Decision) {
        *self.decisions.entry(summary::outcome(decision.outcome)).or_default() += 1;
        if let Some(audit) = &mut self.audit {
            audit.write(decision);
        }
        match decision.outcome {
            Outcome::Expired | Outcome::Lifted => tracing::info!("{}: {}", decision.prefix, decision.why),
            _ => {}
        }
        if let Some(effect) = &decision.effect {
            self.effects.push(effect.clone());
            self.blocks_changed = true;
        }
        if self.eve.is_some()
            && let Some(line) = eve::drop(&self.context, decision)
        {
            self.event(line);
        }
    }

    fn grown(&mut self, at_ns: u64, record: &FlowRecord) {
        if let Some(outbox) = &mut self.outbox {
            outbox.grown(at_ns, record);
        }
    }

    fn window(&mut self, window: &JudgedWindow) {
        self.witness.window(window);
        if let Some(outbox) = &mut self.outbox {
            outbox.window(window);
        }
    }

    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64) {
        if self.eve.is_some() {
            self.event(eve::anomaly(&self.context, at_ns, reason, count));
        }
    }
}
