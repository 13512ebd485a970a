//! A new model beside the one in use: both judge the same windows, only the old one is listened to.

use super::SECOND_NS;
use super::gate::Refusal;
use serde::{Deserialize, Serialize};

/// How long, and how far apart they may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Windows that both must have judged.
    pub least_windows: u64,
    /// Time that must have passed, ns.
    pub least_ns: u64,
    /// Share of windows that may give an alarm with the new model only.
    pub most_alarms: f64,
    /// Share of the old model's alarms that the new one may miss, where it had at least ten.
    pub most_missed: f64,
}

impl Default for Options {
    /// 500 windows and 2 minutes; one window in a thousand, half of the alarms: those of the old one may be false.
    fn default() -> Self {
        Self { least_windows: 500, least_ns: 120 * SECOND_NS, most_alarms: 1e-3, most_missed: 0.5 }
    }
}

/// Alarms of the old model from which on missing them counts.
const ENOUGH_ALARMS: u64 = 10;

/// What a comparison has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Too early to tell.
    Open,
    /// Nothing speaks against the new model.
    Fit,
    /// Something does.
    Unfit(Refusal),
}

/// A comparison in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// When it began, ns.
    pub begun_ns: u64,
    /// Windows judged by both.
    pub windows: u64,
    /// With an alarm by both.
    pub both: u64,
    /// By the old one only.
    pub old_only: u64,
    /// By the new one only.
    pub new_only: u64,
}

impl Shadow {
    /// Begins.
    #[must_use]
    pub fn new(begun_ns: u64) -> Self {
        Self { begun_ns, ..Self::default() }
    }

    /// Both judged a window.
    pub const fn add(&mut self, old: bool, new: bool) {
        self.windows += 1;
        match (old, new) {
            (true, true) => self.both += 1,
            (true, false) => self.old_only += 1,
            (false, true) => self.new_only += 1,
            (false, false) => {}
        }
    }

    /// What it has come to. Too many alarms tell before the time is over.
    #[must_use]
    pub fn verdict(&self, now_ns: u64, options: &Options) -> Verdict {
        // At least three: one or two are chance whatever the share.
        let most = (options.most_alarms * self.windows.max(options.least_windows) as f64).max(3.0);
        if self.new_only as f64 > most {
            return Verdict::Unfit(Refusal::ShadowAlarms { alarms: self.new_only, windows: self.windows });
        }
        if self.windows < options.least_windows || now_ns.saturating_sub(self.begun_ns) < options.least_ns {
            return Verdict::Open;
        }
        let alarms = self.both + self.old_only;
        if alarms >= ENOUGH_ALARMS && self.old_only as f64 > options.most_missed * alarms as f64 {
            return Verdict::Unfit(Refusal::ShadowMissed { missed: self.old_only, alarms });
        }
        Verdict::Fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_ends_in_time_or_with_a_reason() {
        let check = |both, old_only, new_only, quiet, seconds: u64, expected: &str| {
            let mut s = Shadow::new(0);
            (0..both).for_each(|_| s.add(true, true));
            (0..old_only).for_each(|_| s.add(true, false));
            (0..new_only).for_each(|_| s.add(false, true));
            (0..quiet).for_each(|_| s.add(false, false));
            let said = match s.verdict(seconds * SECOND_NS, &Options::default()) {
                Verdict::Open => "open",
                Verdict::Fit => "fit",
                Verdict::Unfit(why) => why.name(),
            };
            assert_eq!(said, expected, "{s:?}");
        };
        check(0, 0, 0, 499, 200, "open");
        check(0, 0, 0, 1000, 119, "open");
        check(0, 0, 0, 1000, 120, "fit");
        check(0, 0, 3, 1000, 120, "fit");
        check(0, 0, 4, 0, 1, "shadow_alarms");
        check(0, 0, 9, 9000, 120, "fit");
        check(5, 5, 0, 1000, 120, "fit");
        check(4, 6, 0, 1000, 120, "shadow_missed");
        check(0, 9, 0, 1000, 120, "fit");
    }
}
