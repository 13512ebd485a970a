//! Rules, baseline and history together.

use super::baseline::{Baseline, SEQUENCE, Strangeness};
use super::{History, QUANTITIES, Reading, Snapshot, Vector};
use crate::detector::Compiled;
use crate::learned::evidence::Grade;
use crate::profile::{Observation, Subject};
use crate::{Actor, RuleSet, Signal};
use rustc_hash::FxHashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use wire::Addr;

/// Sources whose latest snapshots are remembered. When full, all are forgotten: sequences begin anew.
const STREAMS: usize = 1024;
/// Quantities named in an explanation.
const REASONS: usize = 3;

/// What is made of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What rules say, the most severe first.
    pub signals: Vec<Signal>,
    /// How strange it is to the baseline; nothing without one.
    pub strangeness: Option<Strangeness>,
    /// Distance from what has been going on lately, see [`History::distance`].
    pub habit: f32,
    /// The reading.
    pub reading: Reading,
    /// The grade of the anomaly, where both sides find one.
    pub grade: Option<Grade>,
    /// Why, in words.
    pub explanation: String,
}

impl Verdict {
    /// Whether it deserves an alert.
    #[must_use]
    pub fn alerts(&self) -> bool {
        !self.signals.is_empty() || self.grade.is_some()
    }

    /// How sure, 0 to 1: of an alert the surest reason, else how near it came.
    #[must_use]
    pub fn confidence(&self) -> f64 {
        let rules = self.signals.iter().map(|s| s.confidence).fold(0.0, f64::max);
        let learned = self.grade.map_or(0.0, Grade::confidence);
        if self.alerts() { rules.max(learned) } else { 0.5 * self.strange() }
    }

    /// How far from what has been going on lately, 0 to 1; a half is where habits end. Before there is one, as to the baseline.
    #[must_use]
    pub fn unaccustomed(&self) -> f64 {
        if self.habit.is_finite() { unit(self.habit) } else { self.strange() }
    }

    /// How far from what is usual, quantity by quantity, 0 to 1; a half is where ordinary snapshots end.
    #[must_use]
    pub fn deviates(&self) -> f64 {
        self.strangeness.map_or(0.0, |s| unit(s.views[2]))
    }

    /// How strange to the baseline, 0 to 1; a half is where ordinary snapshots end.
    #[must_use]
    pub fn strange(&self) -> f64 {
        self.strangeness.map_or(0.0, |s| unit(s.agreed()))
    }
}

/// An amount that counts from 1 on as a number below 1.
#[must_use]
fn unit(amount: f32) -> f64 {
    if amount.is_finite() { f64::from(amount / (1.0 + amount)) } else { 1.0 }
}

/// Judges snapshots one after the other.
///
/// State: [`History`], and the latest snapshots of 1,024 sources.
#[derive(Debug)]
pub struct Judge {
    rules: Vec<Compiled>,
    baseline: Option<Arc<Baseline>>,
    history: History,
    streams: FxHashMap<Option<Addr>, [Vector; SEQUENCE]>,
}

impl Judge {
    /// A judge by the enabled rules about snapshots, and a baseline if there is one.
    #[must_use]
    pub fn new(set: RuleSet, baseline: Option<Arc<Baseline>>, seed: u64) -> Self {
        let ours = |r: &crate::Rule| r.enabled && r.subject == Subject::Snapshot;
        Self {
            rules: set.into_rules().into_iter().filter(ours).map(Compiled::new).collect(),
            baseline,
            history: History::new(seed),
            streams: FxHashMap::default(),
        }
    }

    /// Judges by another baseline from now on.
    pub fn set_baseline(&mut self, baseline: Option<Arc<Baseline>>) {
        self.baseline = baseline;
    }

    /// Goes on from a memory that was kept.
    pub fn resume(&mut self, history: History) {
        self.history = history;
    }

    /// What has been going on lately.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// What the rules say of a snapshot.
    pub(crate) fn signals(&self, snapshot: &Snapshot) -> Vec<Signal> {
        let actor = match snapshot.source {
            Some(addr) => Actor::Source { addr },
            None => Actor::Distributed { target: Addr::UNSPECIFIED },
        };
        let observation = Observation {
            subject: Subject::Snapshot,
            actor,
            target: None,
            port: None,
            protocol: None,
            flow: None,
            detail: None,
            since_ns: snapshot.at_ns,
            values: snapshot.values(),
        };
        let mut signals: Vec<Signal> =
            self.rules.iter().filter_map(|rule| rule.judge(snapshot.at_ns, &observation)).collect();
        signals.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then(b.confidence.total_cmp(&a.confidence)).then(a.sid.cmp(&b.sid))
        });
        signals
    }

    /// Judges a snapshot, then remembers it. What a rule speaks against is not remembered.
    pub fn judge(&mut self, snapshot: &Snapshot) -> Verdict {
        let vector = snapshot.vector();
        let sequence = self.follow(snapshot.source, vector);
        let verdict = self.assess(snapshot, &sequence, self.history.distance(&vector));
        if verdict.signals.is_empty() {
            self.history.add(vector);
        }
        verdict
    }

    /// Judges a snapshot as if it were the first one ever seen, and remembers nothing.
    #[must_use]
    pub fn judge_alone(&self, snapshot: &Snapshot) -> Verdict {
        self.assess(snapshot, &[snapshot.vector(); SEQUENCE], f32::INFINITY)
    }

    fn assess(&self, snapshot: &Snapshot, sequence: &[Vector; SEQUENCE], habit: f32) -> Verdict {
        let signals = self.signals(snapshot);
        let strangeness = self.baseline.as_ref().map(|b| b.strangeness(sequence));
        let conservative = strangeness.is_some_and(|s| s.agreed() > 1.0);
        // Before there is a habit there is nothing to be used to.
        let adaptive = if habit.is_finite() { habit > 1.0 } else { conservative };
        let reading = if signals.is_empty() {
            Reading::of(conservative, adaptive)
        } else {
            Reading::HighConfidenceAttack
        };
        let grade = strangeness.filter(|_| conservative && (adaptive || !signals.is_empty())).map(grade);
        let explanation = self.explain(&signals, &sequence[SEQUENCE - 1], reading, grade);
        Verdict { signals, strangeness, habit, reading, grade, explanation }
    }

    /// The latest snapshots of a source, with this one; those before the first are like it.
    fn follow(&mut self, source: Option<Addr>, vector: Vector) -> [Vector; SEQUENCE] {
        if self.streams.len() >= STREAMS && !self.streams.contains_key(&source) {
            self.streams.clear();
        }
        let sequence = self.streams.entry(source).or_insert([vector; SEQUENCE]);
        sequence.rotate_left(1);
        sequence[SEQUENCE - 1] = vector;
        *sequence
    }

    fn explain(&self, signals: &[Signal], vector: &Vector, reading: Reading, grade: Option<Grade>) -> String {
        let mut text = String::new();
        for signal in signals {
            let parts: Vec<String> = signal.evidence.iter().map(crate::Evidence::explain).collect();
            let _ = write!(text, "{} by rule {}: {}. ", signal.class.name(), signal.rule, parts.join("; "));
        }
        let strange = match (reading, grade) {
            (_, Some(grade)) => format!("Unlike ordinary traffic ({})", grade.name()),
            (Reading::InvestigateEdgeCase, _) => {
                "Unlike ordinary traffic, but the like of it has been going on lately: no alert".to_owned()
            }
            (Reading::SubtleAnomaly, _) => {
                "Ordinary by itself, but unlike what has been going on lately: no alert".to_owned()
            }
            _ if signals.is_empty() => return "Like ordinary traffic; no rule holds.".to_owned(),
            _ => return text.trim_end().to_owned(),
        };
        text.push_str(&strange);
        let differences = self.baseline.as_ref().map(|b| b.differences(vector, REASONS)).unwrap_or_default();
        for (i, (at, z, usual)) in differences.iter().enumerate() {
            let q = &QUANTITIES[*at];
            let (observed, side) = (q.natural(vector[*at]), if *z > 0.0 { "above" } else { "below" });
            let _ = write!(
                text,
                "{} {} {} (usually {}, {:.0} deviations {side})",
                if i == 0 { ":" } else { "," },
                crate::signal::number(observed),
                q.label,
                crate::signal::number(*usual),
                z.abs(),
            );
        }
        text.push('.');
        text
    }
}

/// The grade of a snapshot that two views find stranger than all that is ordinary. Unlike the evidence of windows, which adds
/// up, this is one second on its own: how rare it is beyond what was ever seen, no calibration can tell, only how far beyond
/// and to how many views.
fn grade(strangeness: Strangeness) -> Grade {
    match strangeness.agreed() {
        s if s > 16.0 => Grade::Critical,
        s if s > 6.0 => Grade::High,
        s if s > 1.5 || strangeness.votes() == 3 => Grade::Medium,
        _ => Grade::Low,
    }
}
