//! Learning while the agent runs, as people type it and as checked.

use crate::learner::Settings;
use learn::life::{self, Gates, drift, schedule, shadow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One second, ns.
const SECOND_NS: u64 = 1_000_000_000;

/// The learner. What is usual here is learnt from windows that nobody had reason to doubt, and a new model is put in use only
/// when it passes all gates.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLearner {
    /// Whether anything is learnt while the agent runs. A change takes effect at start.
    pub enabled: bool,
    /// Whether a model that passed all gates is put in use; else it is kept for `autoinmune models promote`.
    pub promote: bool,
    /// Seconds between trainings. With drift, training begins after a sixth of that.
    pub every_s: u32,
    /// Seconds for which what was seen waits before it is learnt from. Who gives an alarm meanwhile stays out.
    pub quarantine_s: u32,
    /// Seconds for which nothing is learnt from a source after an attack.
    pub shun_s: u32,
    /// Fewest windows, of high confidence, that are trained on.
    pub least_windows: u32,
    /// Fewest sources that those are of.
    pub least_sources: u32,
    /// Share of one processor that training may take on average, above 0 and at most 1.
    pub budget: f64,
    /// Which test tells that what is normal has changed.
    pub drift: Drift,
    /// Seconds for which a new model judges beside the one in use before it takes its place.
    pub shadow_s: u32,
    /// Windows that both must have judged.
    pub shadow_windows: u32,
    /// What a new model must not be worse by, on cases whose truth is known.
    pub gates: RawGates,
}

/// Which test for drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Adaptive windowing: no size of change need be known.
    #[default]
    Adwin,
    /// Page-Hinkley: quicker where a change is of the size it is made for.
    PageHinkley,
}

/// What a new model must not be worse by, beside the model in use and the one that people last put in use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGates {
    /// Percentage points of recall.
    pub recall_points: f64,
    /// Percentage points of F1.
    pub f1_points: f64,
    /// Percentage points of false positives.
    pub fpr_points: f64,
    /// Percent of the time within which 99 of 100 windows are judged.
    pub latency_percent: f64,
}

impl Default for RawGates {
    fn default() -> Self {
        Self { recall_points: 0.5, f1_points: 2.0, fpr_points: 1.0, latency_percent: 10.0 }
    }
}

impl Default for RawLearner {
    fn default() -> Self {
        Self {
            enabled: true,
            promote: true,
            every_s: 1800,
            quarantine_s: 1800,
            shun_s: 86_400,
            least_windows: 512,
            least_sources: 3,
            budget: 0.05,
            drift: Drift::Adwin,
            shadow_s: 120,
            shadow_windows: 500,
            gates: RawGates::default(),
        }
    }
}

/// The learner as checked.
#[derive(Clone, Copy, Debug)]
pub struct Learner {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether what it makes is put in use.
    pub promote: bool,
    /// How it learns.
    pub settings: Settings,
}

impl RawLearner {
    /// Checks it.
    ///
    /// # Errors
    /// The key below `learner`, and what is wrong.
    pub(super) fn check(&self) -> Result<Learner, (String, String)> {
        for (key, value, low, high) in [
            ("every_s", self.every_s, 1, 7 * 86_400),
            ("quarantine_s", self.quarantine_s, 0, 7 * 86_400),
            ("shun_s", self.shun_s, 0, 30 * 86_400),
            ("least_windows", self.least_windows, 32, 1 << 20),
            ("least_sources", self.least_sources, 1, 1 << 20),
            ("shadow_s", self.shadow_s, 0, 7 * 86_400),
            ("shadow_windows", self.shadow_windows, 1, 1 << 24),
        ] {
            if !(low..=high).contains(&value) {
                return Err((key.to_owned(), format!("{value} is not between {low} and {high}")));
            }
        }
        if !(self.budget > 0.0 && self.budget <= 1.0) {
            return Err(("budget".to_owned(), format!("{} is not above 0 and at most 1", self.budget)));
        }
        let g = &self.gates;
        for (key, value) in [
            ("recall_points", g.recall_points),
            ("f1_points", g.f1_points),
            ("fpr_points", g.fpr_points),
            ("latency_percent", g.latency_percent),
        ] {
            if !(0.0..=1000.0).contains(&value) {
                return Err((format!("gates.{key}"), format!("{value} is not between 0 and 1000")));
            }
        }
        let seconds = |s: u32| u64::from(s) * SECOND_NS;
        let mut options = life::Options::default();
        options.quarantine.wait_ns = seconds(self.quarantine_s);
        options.quarantine.shun_ns = seconds(self.shun_s);
        options.schedule = schedule::Options {
            every_ns: seconds(self.every_s),
            drift_every_ns: seconds(self.every_s) / 6,
            least_samples: self.least_windows as usize,
            least_entities: self.least_sources as usize,
            budget: self.budget,
        };
        options.drift = match self.drift {
            Drift::Adwin => drift::Test::Adwin,
            Drift::PageHinkley => drift::Test::PageHinkley,
        };
        let gates = Gates {
            recall: g.recall_points / 100.0,
            f1: g.f1_points / 100.0,
            fpr: g.fpr_points / 100.0,
            latency: g.latency_percent / 100.0,
            ..Gates::default()
        };
        let shadow = shadow::Options {
            least_windows: self.shadow_windows.into(),
            least_ns: seconds(self.shadow_s),
            ..shadow::Options::default()
        };
        let fit = detect::learned::fit::Options { most: 4096, ..detect::learned::fit::Options::default() };
        Ok(Learner {
            enabled: self.enabled,
            promote: self.promote,
            settings: Settings { life: options, fit, gates, shadow },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        assert!(RawLearner::default().check().is_ok());
        let gates = RawGates { fpr_points: f64::NAN, ..RawGates::default() };
        for (raw, key) in [
            (RawLearner { every_s: 0, ..RawLearner::default() }, "every_s"),
            (RawLearner { budget: 0.0, ..RawLearner::default() }, "budget"),
            (RawLearner { budget: f64::NAN, ..RawLearner::default() }, "budget"),
            (RawLearner { least_windows: 1, ..RawLearner::default() }, "least_windows"),
            (RawLearner { gates, ..RawLearner::default() }, "gates.fpr_points"),
        ] {
            assert_eq!(raw.check().map(|_| ()).unwrap_err().0, key);
        }
    }
}
