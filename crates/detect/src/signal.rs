//! What a detector says, with its evidence.

use crate::metric::Metric;
use crate::{Class, Severity};
use serde::Serialize;
use wire::Addr;

/// Who a judgement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// One source address.
    Source {
        /// The address.
        addr: Addr,
    },
    /// Many sources, or forged ones, against one address: nobody to block, somebody to protect.
    Distributed {
        /// The address under attack.
        target: Addr,
    },
}

/// Which kind of detector speaks. Those of different origin look at different things, or were made in different ways, so
/// that they can confirm each other; the three views of the ensemble are one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A rule: somebody wrote down what is looked for.
    Rule,
    /// The two-stage classifier of flows ([`crate::learned::flows`]).
    LearnedFlow,
    /// The ensemble that knows what windows of sources are usual ([`crate::learned::ensemble`]).
    LearnedWindow,
}

/// One observed quantity against what a rule tolerates or a model is used to; the unit of explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The metric's name, as in docs/rules.md or, of learned signals, docs/learning-ensemble.md.
    pub metric: &'static str,
    /// What was observed, in the metric's unit.
    pub observed: f64,
    /// Bound that was crossed; of learned signals, what is usual.
    pub threshold: f64,
    /// Whether crossing means reaching it from below (`true`) or falling to it from above.
    pub at_least: bool,
    /// Of learned signals: the share of the judgement that is due to it, 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution: Option<f64>,
}

/// One detector's statement about one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// Which kind of detector speaks.
    pub origin: Origin,
    /// Rule identifier, such as `scan-vertical`.
    pub rule: std::sync::Arc<str>,
    /// Numeric rule identifier, stable for ever (EVE `signature_id`).
    pub sid: u32,
    /// Rule revision; of learned signals, the version of their format.
    pub rev: u32,
    /// Class of threat.
    pub class: Class,
    /// Finer kind, such as `vertical`.
    pub kind: std::sync::Arc<str>,
    /// Severity.
    pub severity: Severity,
    /// MITRE ATT&CK technique, such as `T1046`; empty where none can be named.
    pub technique: std::sync::Arc<str>,
    /// Who it is about.
    pub actor: Actor,
    /// Whom it hits, where it is one address.
    pub target: Option<Addr>,
    /// Port it is aimed at, where it is one.
    pub port: Option<u16>,
    /// IP protocol it came by, where it is one.
    pub protocol: Option<u8>,
    /// Community ID of a flow it was seen in; a scan or flood has many more.
    pub community_id: Option<String>,
    /// What it is about in other words, such as a domain or an interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// When it was judged, ns.
    pub at_ns: u64,
    /// Beginning of what was judged, ns.
    pub since_ns: u64,
    /// 0..=1. For a rule: the prior it states, raised by how far the thresholds were exceeded.
    pub confidence: f64,
    /// Whether it may cause a block by itself; never of a learned signal.
    pub may_block: bool,
    /// Whether it may cause a block together with another such signal of another origin.
    pub may_agree: bool,
    /// Why.
    pub evidence: Vec<Evidence>,
}

impl Signal {
    /// The judgement in words: who, what, against whom, and each observation beside what is tolerated.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!("{} ({})", self.class.name(), self.kind);
        match self.actor {
            Actor::Source { addr } => {
                text.push_str(&format!(" by {addr}"));
                if let Some(target) = self.target {
                    text.push_str(&format!(" against {target}"));
                }
            }
            Actor::Distributed { target } => {
                text.push_str(&format!(" by many or forged senders against {target}"));
            }
        }
        if let Some(port) = self.port {
            text.push_str(&format!(" port {port}"));
        }
        if let Some(detail) = &self.detail {
            text.push_str(&format!(", {detail}"));
        }
        let seconds = self.at_ns.saturating_sub(self.since_ns) as f64 / 1e9;
        text.push_str(&format!(", within {seconds:.1} s: "));
        let parts: Vec<String> = self.evidence.iter().map(Evidence::explain).collect();
        text.push_str(&parts.join("; "));
        text.push_str(&format!(" [{}, confidence {:.2}]", self.rule, self.confidence));
        text
    }
}

impl Evidence {
    /// The observation beside its bound, such as `40 failed connections (15 or more are not tolerated)`.
    #[must_use]
    pub fn explain(&self) -> String {
        let label = self
            .metric
            .parse::<Metric>()
            .map_or_else(|_| crate::learned::words::label(self.metric), Metric::label);
        if self.contribution.is_some() {
            return format!("{} {label} (usually {})", number(self.observed), number(self.threshold));
        }
        let side = if self.at_least { "or more" } else { "or less" };
        format!("{} {label} (alarm at {} {side})", number(self.observed), number(self.threshold))
    }
}

/// Whole numbers without a fraction, others with two digits.
pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
