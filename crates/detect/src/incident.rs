//! Signals on one actor, merged over time.

use crate::{Actor, Class, Evidence, Origin, Severity, Signal};
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
    /// Whether it may be answered with a block: a signal may cause one by itself, or two agree (`agreed`).
    pub may_block: bool,
    /// Which kinds of detectors spoke, in order of appearance.
    pub origins: Vec<Origin>,
    /// Whether two signals of different origin that may agree came within [`AGREE_NS`] of each other.
    pub agreed: bool,
    /// When those that may agree spoke last.
    #[serde(skip)]
    pub agreeing: Vec<(Origin, u64)>,
    /// Signals merged.
    pub signals: u64,
    /// Confidence of the signal that gave the class.
    #[serde(skip)]
    pub led_by: f64,
    /// The latest evidence of each metric, strongest seen.
    pub evidence: Vec<Evidence>,
}

/// How far apart in time two signals may be to be about the same doing, ns: as long as an incident stays open in silence.
pub const AGREE_NS: u64 = 60_000_000_000;

impl Incident {
    /// Whether what is known suffices for a block, whatever `may_block` says: who wrote a rule takes responsibility for it, a
    /// learned score alone never does.
    #[must_use]
    pub fn suffices(&self) -> bool {
        self.may_block && (self.origins.contains(&Origin::Rule) || (self.agreed && self.origins.len() > 1))
    }

    /// Takes in who says it and whether that permits a block: a signal that may by itself, or two of different origin.
    pub(crate) fn heed(&mut self, signal: &Signal) {
        if !self.origins.contains(&signal.origin) {
            self.origins.push(signal.origin);
        }
        if signal.may_agree {
            self.agreeing.retain(|(origin, _)| *origin != signal.origin);
            self.agreed |= self.agreeing.iter().any(|(_, at)| signal.at_ns.abs_diff(*at) <= AGREE_NS);
            self.agreeing.push((signal.origin, signal.at_ns));
        }
        let by_itself = signal.may_block && signal.origin == Origin::Rule;
        self.may_block |= by_itself || self.agreed;
    }
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
