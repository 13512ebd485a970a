//! A rule, as read from a file and as checked.

use crate::bound::Bound;
use crate::field::Field;
use crate::metric::Metric;
use crate::profile::Subject;
use crate::vector::{Vector, spoken};
use crate::{Class, Severity};
use flow::app::App;
use flow::{Role, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One detector: what it looks at, what it means, and how it is known to work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Identifier in kebab case, such as `scan-vertical`.
    pub id: Arc<str>,
    /// Numeric identifier, stable for ever, from 1000001. 9000000 and up is left to users.
    pub sid: u32,
    /// Revision, raised when the meaning changes.
    pub rev: u32,
    /// A short name for people.
    pub name: String,
    /// Class of threat.
    pub class: Class,
    /// Finer kind, such as `vertical`.
    pub kind: Arc<str>,
    /// Severity.
    pub severity: Severity,
    /// MITRE ATT&CK technique.
    pub technique: Arc<str>,
    /// MITRE ATT&CK tactic.
    pub tactic: String,
    /// Where to read more.
    #[serde(default)]
    pub references: Vec<String>,
    /// What is judged: a window, or what a profile observed.
    #[serde(default, skip_serializing_if = "Subject::is_window")]
    pub subject: Subject,
    /// Whose window is judged: `source`, or `target` for what nobody alone is to blame for. Flow-count rules are about
    /// sources. Of profiles it says who the actor is in the tests and in the documentation.
    pub role: Role,
    /// Length of the window; for flow-count rules of the sliding span in which flows are counted; for profiles how long the
    /// rule is silent about the same actor and target (30 s at most).
    pub span: Span,
    /// Conditions; all must hold.
    pub when: BTreeMap<Metric, Bound>,
    /// Which flows count; makes this a flow-count rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowFilter>,
    /// Confidence at the thresholds, 0..1.
    pub confidence: f64,
    /// Whether this rule alone may cause a block.
    pub may_block: bool,
    /// Whether the rule is in use.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// What to know about it.
    pub doc: Doc,
    /// Traffic with the expected outcome.
    #[serde(default, rename = "vector")]
    pub vectors: Vec<Vector>,
}

const fn enabled() -> bool {
    true
}

/// A rule's documentation; every part is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doc {
    /// What it sees.
    pub sees: String,
    /// Why that is hostile.
    pub hostile: String,
    /// What looks alike and is not.
    pub benign: String,
    /// What it misses.
    pub blind: String,
}

/// Which flows of one source to one service a flow-count rule counts, each once when it closes or leaves the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Application by content, on any port.
    pub app: App,
    /// Ports of the contacted side that stand for the application where neither side's content was seen.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Bounds on the flow; all must hold.
    #[serde(default)]
    pub r#where: BTreeMap<Field, Bound>,
}

/// Most flows a flow-count rule may ask for: the times of that many are kept for each source and service.
pub const MAX_MATCHING_FLOWS: usize = 64;

impl Rule {
    /// The whole condition on one line, such as `failed_ports at least 15 in 10 s`.
    #[must_use]
    pub fn condition(&self) -> String {
        let mut parts: Vec<String> =
            self.when.iter().map(|(metric, bound)| format!("{metric} {bound}")).collect();
        if let Some(filter) = &self.flows {
            parts.extend(filter.r#where.iter().map(|(field, bound)| format!("{field} {bound}")));
        }
        format!("{} in {} s", parts.join(", "), self.span.seconds())
    }

    /// Why the rule cannot be used, if it cannot.
    pub(crate) fn fault(&self) -> Option<String> {
        let kebab = |s: &str| {
            !s.is_empty()
                && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        if !kebab(&self.id) {
            return Some(format!("`id` {:?} is not lower-case letters, digits and hyphens", self.id));
        }
        if !(0.0..1.0).contains(&self.confidence) {
            return Some(format!("`confidence` {} is not from 0 to below 1", self.confidence));
        }
        if self.when.is_empty() {
            return Some("`when` has no condition".to_owned());
        }
        for (metric, bound) in &self.when {
            if let Some(why) = bound.fault() {
                return Some(format!("`when.{metric}`: {why}"));
            }
            if metric.subject() != self.subject && self.flows.is_none() {
                return Some(format!(
                    "`when.{metric}` is a quantity of `{}`, and the rule is about `{}`",
                    metric.subject().name(),
                    self.subject.name()
                ));
            }
        }
        if !self.when.values().any(|b| b.at_least.is_some()) {
            return Some(
                "no condition in `when` has `at_least`: the rule would hold for idle hosts".to_owned(),
            );
        }
        for vector in &self.vectors {
            let texts =
                vector.traffic.iter().flat_map(|t| [&t.greeting, &t.hello].into_iter().chain(&t.dialogue));
            if let Some(text) = texts.into_iter().find(|t| spoken(t).is_none()) {
                return Some(format!(
                    "vector {:?}: {text:?} is not pairs of hexadecimal digits",
                    vector.name
                ));
            }
        }
        let names = self.vectors.iter().flat_map(|v| v.traffic.iter().map(move |t| (v, &t.query)));
        if let Some((vector, query)) =
            names.into_iter().find(|(_, q)| crate::vector::dns::name(q, 0).is_none())
        {
            return Some(format!("vector {:?}: {query:?} has an unknown placeholder", vector.name));
        }
        match &self.flows {
            None if self.when.contains_key(&Metric::MatchingFlows) => {
                Some("`when.matching_flows` needs a `flows` table that says which flows count".to_owned())
            }
            None => None,
            Some(filter) => self.filter_fault(filter),
        }
    }

    fn filter_fault(&self, filter: &FlowFilter) -> Option<String> {
        if self.role != Role::Source {
            return Some("a rule with a `flows` table is about sources: `role = \"source\"`".to_owned());
        }
        let [(Metric::MatchingFlows, bound)] = *self.when.iter().collect::<Vec<_>>() else {
            return Some("with a `flows` table, `when` takes `matching_flows` and nothing else".to_owned());
        };
        if filter.app == App::Unknown {
            return Some("`flows.app` must be a recognised application".to_owned());
        }
        if bound.at_most.is_some() || bound.at_least.is_none_or(|n| n < 1.0 || n > MAX_MATCHING_FLOWS as f64)
        {
            return Some(format!("`when.matching_flows` takes `at_least` from 1 to {MAX_MATCHING_FLOWS}"));
        }
        filter
            .r#where
            .iter()
            .find_map(|(field, bound)| bound.fault().map(|why| format!("`flows.where.{field}`: {why}")))
    }
}
