//! When to learn anew.

use super::{HOUR_NS, SECOND_NS};
use serde::{Deserialize, Serialize};

/// Why now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing was learnt yet.
    First,
    /// It is time again.
    Time,
    /// What is normal has changed.
    Drift,
}

/// How often and how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Time between trainings, ns.
    pub every_ns: u64,
    /// Least time between trainings where drift asks for one, ns: it may be an attacker who makes things drift.
    pub drift_every_ns: u64,
    /// Samples of high confidence below which nothing is trained.
    pub least_samples: usize,
    /// Entities that those must be of: a model of one host's doing is that host's to shape.
    pub least_entities: usize,
    /// Share of one processor that training may take on average, above 0 and at most 1.
    pub budget: f64,
}

impl Default for Options {
    /// 30 minutes, 5 minutes, 512 samples of 3 entities, a twentieth.
    fn default() -> Self {
        Self {
            every_ns: HOUR_NS / 2,
            drift_every_ns: 300 * SECOND_NS,
            least_samples: 512,
            least_entities: 3,
            budget: 0.05,
        }
    }
}

/// The clock of training; it reads none itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    options: Options,
    last_ns: Option<u64>,
    /// Earliest time that the budget allows.
    allowed_ns: u64,
    drifted: bool,
    /// Trainings put off because the budget was used up; each wait counts once.
    postponed: u64,
    waiting: bool,
}

impl Schedule {
    /// Nothing trained yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let budget = if options.budget > 0.0 { options.budget.min(1.0) } else { Options::default().budget };
        Self {
            options: Options { budget, ..options },
            last_ns: None,
            allowed_ns: 0,
            drifted: false,
            postponed: 0,
            waiting: false,
        }
    }

    /// What is normal has changed.
    pub const fn drifted(&mut self) {
        self.drifted = true;
    }

    /// Whether to train now, with so many samples of so many entities at hand.
    pub fn due(&mut self, now_ns: u64, samples: usize, entities: usize) -> Option<Cause> {
        let passed = self.last_ns.map(|last| now_ns.saturating_sub(last));
        let cause = match passed {
            None => Cause::First,
            Some(passed) if self.drifted && passed >= self.options.drift_every_ns => Cause::Drift,
            Some(passed) if passed >= self.options.every_ns => Cause::Time,
            Some(_) => return None,
        };
        if samples < self.options.least_samples || entities < self.options.least_entities {
            return None;
        }
        if now_ns < self.allowed_ns {
            self.postponed += u64::from(!self.waiting);
            self.waiting = true;
            return None;
        }
        Some(cause)
    }

    /// A training began at some time and took so much processor time, ns.
    pub fn trained(&mut self, began_ns: u64, spent_ns: u64) {
        self.last_ns = Some(began_ns);
        self.drifted = false;
        self.waiting = false;
        self.allowed_ns = began_ns.saturating_add((spent_ns as f64 / self.options.budget) as u64);
    }

    /// When the latest training began, ns.
    #[must_use]
    pub const fn last_ns(&self) -> Option<u64> {
        self.last_ns
    }

    /// Trainings put off for the budget.
    #[must_use]
    pub const fn postponed(&self) -> u64 {
        self.postponed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * SECOND_NS;

    #[test]
    fn training_is_due_by_time_or_drift_and_never_over_the_budget() {
        let mut s = Schedule::new(Options::default());
        assert_eq!(s.due(0, 511, 9), None, "too few samples");
        assert_eq!(s.due(0, 9999, 2), None, "of too few entities");
        assert_eq!(s.due(MINUTE, 512, 3), Some(Cause::First));
        s.trained(MINUTE, 3 * SECOND_NS);
        assert_eq!(s.due(30 * MINUTE, 600, 3), None);
        assert_eq!(s.due(31 * MINUTE, 600, 3), Some(Cause::Time));
        s.drifted();
        assert_eq!(s.due(5 * MINUTE, 600, 3), None);
        assert_eq!(s.due(6 * MINUTE, 600, 3), Some(Cause::Drift));
        // Two minutes of work allow the next training after forty.
        s.trained(6 * MINUTE, 2 * MINUTE);
        s.drifted();
        assert_eq!((s.due(45 * MINUTE, 600, 3), s.due(45 * MINUTE + 1, 600, 3)), (None, None));
        assert_eq!(s.postponed(), 1);
        assert_eq!(s.due(46 * MINUTE, 600, 3), Some(Cause::Drift));
    }

    #[test]
    fn a_lab_may_train_twice_a_minute() {
        let lab = Options { every_ns: 30 * SECOND_NS, least_samples: 1, budget: 1.0, ..Options::default() };
        let mut s = Schedule::new(lab);
        let mut trained = 0;
        for second in 0..600 {
            if s.due(second * SECOND_NS, 10, 3).is_some() {
                s.trained(second * SECOND_NS, SECOND_NS);
                trained += 1;
            }
        }
        assert_eq!(trained, 20);
    }
}
