//! Whether a new model is good enough to take the place of the old one.
//!
//! Both judge the same golden set: cases whose truth is known and from which nothing is ever learnt. A new model is also
//! compared with the anchor, the model that people last vouched for: a hundred steps that each lose a little less than is
//! allowed must not lose everything.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How well a model judges the golden set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Attacks in the set.
    pub attacks: u64,
    /// Normal cases in the set.
    pub normal: u64,
    /// Share of attacks that gave an alarm, 0..=1.
    pub recall: f64,
    /// Share of normal cases that gave one, 0..=1.
    pub fpr: f64,
    /// Harmonic mean of precision and recall, 0..=1.
    pub f1: f64,
    /// Time within which 99 of 100 cases were judged, ns.
    pub p99_ns: u64,
}

impl Figures {
    /// From cases, each an attack or not and with an alarm or not, and the times that judging took, ns.
    #[must_use]
    pub fn of(cases: impl IntoIterator<Item = (bool, bool)>, times_ns: &mut [u64]) -> Self {
        let mut counts = [[0_u64; 2]; 2];
        for (attack, alarm) in cases {
            counts[usize::from(attack)][usize::from(alarm)] += 1;
        }
        let [[quiet, false_alarms], [missed, found]] = counts;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        times_ns.sort_unstable();
        let last = times_ns.len().saturating_sub(1);
        Self {
            attacks: missed + found,
            normal: quiet + false_alarms,
            recall: share(found, missed + found),
            fpr: share(false_alarms, quiet + false_alarms),
            f1: share(2 * found, 2 * found + missed + false_alarms),
            p99_ns: times_ns.get(last * 99 / 100).copied().unwrap_or(0),
        }
    }
}

/// What a new model may be worse by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Recall, as a share of 1.
    pub recall: f64,
    /// F1, as a share of 1.
    pub f1: f64,
    /// False positive rate, as a share of 1.
    pub fpr: f64,
    /// 99th percentile of the time of judging, as a share of the old one.
    pub latency: f64,
    /// Recall below which a model is of no use, whatever it is compared with.
    pub least_recall: f64,
    /// Fewest attacks in the golden set.
    pub least_attacks: u64,
    /// Fewest normal cases in the golden set.
    pub least_normal: u64,
}

impl Default for Gates {
    /// 0.5 points of recall, 2 of F1, 1 of false positives, a tenth of the time; half of the attacks; at least 20 attacks and
    /// 100 normal cases.
    fn default() -> Self {
        Self {
            recall: 0.005,
            f1: 0.02,
            fpr: 0.01,
            latency: 0.1,
            least_recall: 0.5,
            least_attacks: 20,
            least_normal: 100,
        }
    }
}

/// With which model a new one was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The one in use.
    Current,
    /// The one that people last vouched for.
    Anchor,
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "the model in use",
            Self::Anchor => "the model last vouched for",
        })
    }
}

/// Why a new model is refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Refusal {
    /// It finds fewer attacks.
    #[error("recall is {new:.4}, {old:.4} with {against}")]
    Recall {
        /// Compared with which.
        against: Against,
        /// Its own.
        new: f64,
        /// The other's.
        old: f64,
    },
    /// Its F1 is lower.
    #[error("F1 is {new:.4}, {old:.4} with {against}")]
    F1 {
        /// Compared with which.
        against: Against,
        /// Its own.
        new: f64,
        /// The other's.
        old: f64,
    },
    /// It gives more false alarms.
    #[error("the false positive rate is {new:.4}, {old:.4} with {against}")]
    Fpr {
        /// Compared with which.
        against: Against,
        /// Its own.
        new: f64,
        /// The other's.
        old: f64,
    },
    /// It is slower.
    #[error("99 of 100 are judged within {new_ns} ns, {old_ns} ns with {against}")]
    Latency {
        /// Compared with which.
        against: Against,
        /// Its own, ns.
        new_ns: u64,
        /// The other's, ns.
        old_ns: u64,
    },
    /// It finds too few attacks to be of use.
    #[error("recall is {new:.4}; a model that finds less than {least:.2} of the attacks is of no use")]
    Blind {
        /// Its recall.
        new: f64,
        /// The least there must be.
        least: f64,
    },
    /// It gives fewer flows of attacks the name of their family.
    #[error("{new:.4} of the attacks are given their family, {old:.4} with {against}")]
    Naming {
        /// Compared with which.
        against: Against,
        /// Its own share.
        new: f64,
        /// The other's.
        old: f64,
    },
    /// The golden set is too small to tell.
    #[error("the golden set has {attacks} attacks and {normal} normal cases, too few to tell")]
    Golden {
        /// Attacks in it.
        attacks: u64,
        /// Normal cases in it.
        normal: u64,
    },
    /// Beside the model in use it gave too many alarms that the other did not.
    #[error("in shadow, {alarms} of {windows} windows gave an alarm that the model in use does not give")]
    ShadowAlarms {
        /// Such alarms.
        alarms: u64,
        /// Windows judged by both.
        windows: u64,
    },
    /// Beside the model in use it missed too many alarms.
    #[error("in shadow, {missed} of {alarms} alarms of the model in use were missed")]
    ShadowMissed {
        /// Alarms missed.
        missed: u64,
        /// Alarms of the model in use.
        alarms: u64,
    },
}

impl Refusal {
    /// Short name, for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Recall { .. } => "recall",
            Self::F1 { .. } => "f1",
            Self::Fpr { .. } => "fpr",
            Self::Latency { .. } => "latency",
            Self::Blind { .. } => "blind",
            Self::Naming { .. } => "naming",
            Self::Golden { .. } => "golden",
            Self::ShadowAlarms { .. } => "shadow_alarms",
            Self::ShadowMissed { .. } => "shadow_missed",
        }
    }
}

/// Whether a loss is more than is allowed. What is no number passes no gate.
fn is_worse(loss: f64, most: f64) -> bool {
    loss.is_nan() || loss > most + ROUNDING
}

/// Room for rounding, so that a loss of exactly what is allowed passes.
const ROUNDING: f64 = 1e-9;

impl Gates {
    /// Everything that speaks against a new model; nothing does if the list is empty.
    #[must_use]
    pub fn check(&self, new: &Figures, current: &Figures, anchor: &Figures) -> Vec<Refusal> {
        let Figures { attacks, normal, .. } = *new;
        let mut found = Vec::new();
        if attacks < self.least_attacks || normal < self.least_normal {
            found.push(Refusal::Golden { attacks, normal });
        }
        // What is no number passes no gate.
        if new.recall.is_nan() || new.recall < self.least_recall {
            found.push(Refusal::Blind { new: new.recall, least: self.least_recall });
        }
        for (against, old) in [(Against::Current, current), (Against::Anchor, anchor)] {
            if is_worse(old.recall - new.recall, self.recall) {
                found.push(Refusal::Recall { against, new: new.recall, old: old.recall });
            }
            if is_worse(old.f1 - new.f1, self.f1) {
                found.push(Refusal::F1 { against, new: new.f1, old: old.f1 });
            }
            if is_worse(new.fpr - old.fpr, self.fpr) {
                found.push(Refusal::Fpr { against, new: new.fpr, old: old.fpr });
            }
            if new.p99_ns as f64 > old.p99_ns as f64 * (1.0 + self.latency) {
                found.push(Refusal::Latency { against, new_ns: new.p99_ns, old_ns: old.p99_ns });
            }
        }
        found
    }

    /// What speaks against a new classifier by the shares of attacks that are given their family: it may lose as much as of
    /// F1.
    #[must_use]
    pub fn check_naming(&self, new: f64, current: f64, anchor: f64) -> Vec<Refusal> {
        let others = [(Against::Current, current), (Against::Anchor, anchor)].into_iter();
        let worse = others.filter(|(_, old)| is_worse(old - new, self.f1));
        worse.map(|(against, old)| Refusal::Naming { against, new, old }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Figures =
        Figures { attacks: 100, normal: 1000, recall: 0.97, fpr: 0.01, f1: 0.95, p99_ns: 10_000 };

    fn names(new: Figures, current: Figures, anchor: Figures) -> Vec<(&'static str, Option<Against>)> {
        let of = |r: &Refusal| match r {
            Refusal::Recall { against, .. }
            | Refusal::F1 { against, .. }
            | Refusal::Fpr { against, .. }
            | Refusal::Latency { against, .. } => Some(*against),
            _ => None,
        };
        Gates::default().check(&new, &current, &anchor).iter().map(|r| (r.name(), of(r))).collect()
    }

    #[test]
    fn each_gate_refuses_just_beyond_its_bound() {
        for (new, expected) in [
            (OLD, None),
            (Figures { recall: 0.965, ..OLD }, None),
            (Figures { recall: 0.964, ..OLD }, Some("recall")),
            (Figures { f1: 0.93, ..OLD }, None),
            (Figures { f1: 0.929, ..OLD }, Some("f1")),
            (Figures { fpr: 0.02, ..OLD }, None),
            (Figures { fpr: 0.021, ..OLD }, Some("fpr")),
            (Figures { p99_ns: 11_000, ..OLD }, None),
            (Figures { p99_ns: 11_001, ..OLD }, Some("latency")),
            (Figures { recall: 1.0, f1: 1.0, fpr: 0.0, p99_ns: 1, ..OLD }, None),
        ] {
            let current = Some(Against::Current);
            let anchor = Some(Against::Anchor);
            let expected: Vec<_> = expected.iter().flat_map(|n| [(*n, current), (*n, anchor)]).collect();
            assert_eq!(names(new, OLD, OLD), expected, "{new:?}");
        }
        let few = Figures { attacks: 19, ..OLD };
        assert_eq!(names(few, OLD, OLD), [("golden", None)]);
        let silent = Figures { recall: 0.0, f1: 0.0, fpr: 0.0, ..OLD };
        assert_eq!(names(Figures { recall: 0.4, f1: 0.5, ..OLD }, silent, silent), [("blind", None)]);
        assert_eq!(names(OLD, silent, silent), []);
        for (new, expected) in [(0.9, 0), (0.881, 0), (0.879, 2), (f64::NAN, 2)] {
            assert_eq!(Gates::default().check_naming(new, 0.9, 0.9).len(), expected, "{new}");
        }
        let nothing = Figures { recall: f64::NAN, ..OLD };
        assert_eq!(names(nothing, OLD, OLD).len(), 3);
    }

    #[test]
    fn small_losses_do_not_add_up() {
        let mut current = OLD;
        let mut steps = 0;
        loop {
            let new = Figures { recall: current.recall - 0.004, ..current };
            let refused = names(new, current, OLD);
            if !refused.is_empty() {
                assert_eq!(refused, [("recall", Some(Against::Anchor))]);
                break;
            }
            current = new;
            steps += 1;
        }
        assert_eq!(steps, 1);
    }

    #[test]
    fn figures_count_what_they_say() {
        let cases = [(true, true), (true, true), (true, false), (false, true), (false, false)];
        let f = Figures::of(cases, &mut [5, 1, 9, 7]);
        assert_eq!((f.attacks, f.normal, f.p99_ns), (3, 2, 7));
        assert!((f.recall - 2.0 / 3.0).abs() < 1e-12 && (f.fpr - 0.5).abs() < 1e-12);
        assert!((f.f1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(Figures::of([], &mut []), Figures::default());
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        let new = Figures { recall: 0.5, ..OLD };
        let said = Gates::default().check(&new, &OLD, &OLD)[0].to_string();
        assert_eq!(said, "recall is 0.5000, 0.9700 with the model in use");
    }
}
