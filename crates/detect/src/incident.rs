//! Signals on one actor, merged over time.

use crate::{Actor, Class, Evidence, Severity};
use serde::Serialize;
use wire::Addr;

/// All that is known about one actor's doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Serial number within this run, from 1.
    pub id: u64,
    /// Who.
    pub actor: Actor,
    /// What, in one word: the class of the most severe signal, the most confident of those, the first of those.
    pub class: Class,
    /// Every class seen, in order of appearance.
    pub classes: Vec<Class>,
    /// Kinds seen, in order of appearance.
    pub kinds: Vec<String>,
    /// Rules that fired, in order of appearance.
    pub rules: Vec<String>,
    /// The most severe.
    pub severity: Severity,
    /// MITRE ATT&CK techniques, in order of appearance.
    pub techniques: Vec<String>,
    /// Addresses hit, at most [`MAX_TARGETS`]; `targets_total` counts all signals' targets seen first here.
    pub targets: Vec<Addr>,
    /// What it is about in other words, such as domains or interfaces; at most [`MAX_DETAILS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// First evidence, ns.
    pub first_ns: u64,
    /// Last evidence, ns.
    pub last_ns: u64,
    /// Highest confidence, 0..=1.
    pub confidence: f64,
    /// Whether any signal may cause a block.
    pub may_block: bool,
    /// Signals merged.
    pub signals: u64,
    /// Confidence of the signal that gave the class.
    #[serde(skip)]
    pub led_by: f64,
    /// The latest evidence of each metric, strongest seen.
    pub evidence: Vec<Evidence>,
}

/// Targets listed on an incident; a scan of a /16 needs no more to be understood.
pub const MAX_TARGETS: usize = 16;

/// Details listed on an incident.
pub const MAX_DETAILS: usize = 8;

/// Why an incident is reported now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// First signal.
    Opened,
    /// More severe, a further rule, or now blockable.
    Escalated,
    /// The number of signals reached the next power of two.
    Continued,
    /// Quiet for the quiet time.
    Ended,
}

/// A report of an incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Update {
    /// Why now.
    pub change: Change,
    /// The incident as it stands.
    pub incident: Incident,
}
