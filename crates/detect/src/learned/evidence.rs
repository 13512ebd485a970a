//! From p-values to alarms: evidence against "this source is normal", added up over its windows.
//!
//! A p-value becomes an e-value, e = κ·p^(κ−1), whose mean over normal data is at most 1 (Vovk and Wang, "E-values:
//! Calibration, combination and applications", 2021). E-values of one source add up by R ← (1 + R)·e, the Shiryaev-Roberts
//! recursion: while the source is normal, whatever came before, R reaches a bound c once in at least c windows on average
//! (Shin, Ramdas and Rinaldo, "E-detectors", 2022). The bound therefore follows from the budget of false alarms, and no
//! threshold is typed in. What this rests on: that windows of normal sources are as strange as those of calibration, and not
//! all strange for the same reason. A host of a kind that was never seen breaks that; see [`super::habit`] and [`Limits`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// κ: how much the rarest p-values count against the many middling ones. At 0.1 one in a thousand weighs 50, one in ten
/// thousand 400, and the median 0.2.
const KAPPA: f64 = 0.1;

/// Windows of 10 s in a day: as often as a host can be judged.
pub const WINDOWS_PER_DAY: f64 = 8640.0;

/// What speaks about one source: the classifier of flows and the ensemble. The budget is shared out.
const SPEAKERS: f64 = 2.0;

/// Evidence beyond this counts no more, so that a source that calms down is believed within some minutes.
const MOST: f64 = 1e9;

/// The e-value of a p-value: above 1 speaks against normal, below for it. NaN says nothing.
#[must_use]
pub fn e_value(p: f64) -> f64 {
    if p.is_nan() { 1.0 } else { KAPPA * p.clamp(1e-12, 1.0).powf(KAPPA - 1.0) }
}

/// The largest mean with which as few events as were counted come about at least once in twenty times (Poisson; Garwood, 1936).
#[must_use]
pub fn at_most(events: u64) -> f64 {
    let at_least_so_few = |mean: f64| {
        let (mut term, mut sum) = ((-mean).exp(), 0.0);
        for n in 0..=events {
            sum += term;
            term *= mean / (n + 1) as f64;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 10.0 + 4.0 * events as f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_least_so_few(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// Evidence against one source so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence(f64);

impl Evidence {
    /// Takes in the e-value of a window.
    pub fn add(&mut self, e: f64) {
        self.0 = ((1.0 + self.0) * e.max(0.0)).min(MOST);
    }

    /// As much as there is, 0..=10⁹.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

/// How far the evidence exceeds what the budget allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Grade {
    /// As the budget allows falsely once a day of a host, if it allows one.
    #[serde(rename = "ml_low_risk")]
    Low,
    /// A seventh as often.
    #[serde(rename = "ml_medium_risk")]
    Medium,
    /// A thirtieth.
    #[serde(rename = "ml_high_risk")]
    High,
    /// A 365th.
    #[serde(rename = "ml_critical_risk")]
    Critical,
}

impl Grade {
    /// All, the lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "ml_low_risk",
            Self::Medium => "ml_medium_risk",
            Self::High => "ml_high_risk",
            Self::Critical => "ml_critical_risk",
        }
    }

    /// The grade of a name as serialised.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.name() == name)
    }

    /// How sure a signal of this grade is: a convention, as rules have one. A false alarm is rare by calibration; that what is
    /// unusual is also meant ill, no model of what is usual can tell.
    #[must_use]
    pub const fn confidence(self) -> f64 {
        match self {
            Self::Low => 0.5,
            Self::Medium => 0.6,
            Self::High => 0.7,
            Self::Critical => 0.8,
        }
    }

    /// How much rarer than the budget.
    const fn rarer(self) -> f64 {
        match self {
            Self::Low => 1.0,
            Self::Medium => 7.0,
            Self::High => 30.0,
            Self::Critical => 365.0,
        }
    }
}

/// From which evidence on to speak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Evidence that the budget allows normal sources to reach.
    low: f64,
}

impl Limits {
    /// Of a budget of false alarms of one host a day, above 0, and the evidence that hardly any normal source reached at
    /// calibration, which is no alarm: where that is more, windows of one source were strange for the same reason, and the bound
    /// of the theory is too low.
    #[must_use]
    pub fn new(alarms_per_day: f64, seen: f64) -> Self {
        let bound = SPEAKERS * WINDOWS_PER_DAY / alarms_per_day.max(1e-6);
        Self { low: bound.max(if seen.is_finite() { seen } else { 0.0 }) }
    }

    /// The grade of some evidence; `None` below the lowest.
    #[must_use]
    pub fn grade(&self, evidence: Evidence) -> Option<Grade> {
        Grade::ALL.into_iter().rev().find(|g| evidence.0 >= (self.low * g.rarer()).min(MOST))
    }

    /// Evidence of the lowest grade.
    #[must_use]
    pub const fn low(&self) -> f64 {
        self.low
    }

    /// The p-value at which one window counts as anomalous: so many windows in a row like it would be an alarm.
    #[must_use]
    pub fn vote(&self, windows: usize) -> f64 {
        let e = self.low.max(1.0).powf(1.0 / windows.max(1) as f64);
        (e / KAPPA).powf(1.0 / (KAPPA - 1.0)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use learn::random::Random;

    #[test]
    fn e_values_of_normal_data_have_mean_one() {
        let mut random = Random::new(1, 0);
        // The mean is 1 and the tail heavy: truncated at one in 100,000 it is 1 - 0.00001^0.1.
        let n = 400_000;
        let mean = (0..n).map(|_| e_value(random.unit().max(1e-5))).sum::<f64>() / f64::from(n);
        assert!((0.55..=1.05).contains(&mean), "{mean}");
        assert_eq!(e_value(f64::NAN), 1.0);
        assert!(e_value(1e-4) > 350.0 && e_value(0.5) < 0.25);
    }

    #[test]
    fn normal_sources_reach_the_bound_less_often_than_the_budget_allows() {
        let limits = Limits::new(10.0, 0.0);
        let mut random = Random::new(2, 0);
        let days = 60;
        let mut alarms = 0;
        let mut evidence = Evidence::default();
        for _ in 0..days * WINDOWS_PER_DAY as u32 {
            evidence.add(e_value(random.unit()));
            if limits.grade(evidence).is_some() {
                alarms += 1;
                evidence = Evidence::default();
            }
        }
        assert!(alarms <= days * 10 / 2, "{alarms} alarms in {days} days");
    }

    #[test]
    fn a_few_windows_that_are_strange_suffice_and_a_few_calm_ones_are_believed() {
        let limits = Limits::new(1.0, 0.0);
        let mut evidence = Evidence::default();
        let grades: Vec<_> = (0..5)
            .map(|_| {
                evidence.add(e_value(2e-4));
                limits.grade(evidence)
            })
            .collect();
        assert_eq!(grades[0], None);
        assert_eq!(grades[1], Some(Grade::Low));
        assert_eq!(grades[4], Some(Grade::Critical));
        (0..12).for_each(|_| evidence.add(e_value(0.5)));
        assert_eq!(limits.grade(evidence), None);
    }

    #[test]
    fn a_vote_is_a_sixth_of_an_alarm() {
        let limits = Limits::new(1.0, 0.0);
        let mut evidence = Evidence::default();
        (0..6).for_each(|_| evidence.add(e_value(limits.vote(6))));
        assert!(limits.grade(evidence).is_some());
        assert!((0.005..0.05).contains(&limits.vote(6)), "{}", limits.vote(6));
    }

    #[test]
    fn no_event_is_no_proof_of_none() {
        for (events, most) in [(0, 2.996), (1, 4.744), (5, 10.513)] {
            assert!((at_most(events) - most).abs() < 1e-3, "{events}: {}", at_most(events));
        }
    }

    #[test]
    fn what_normal_sources_reached_is_never_an_alarm() {
        let limits = Limits::new(1.0, 5e6);
        let mut evidence = Evidence::default();
        evidence.add(4e6);
        assert_eq!(limits.grade(evidence), None);
        assert_eq!(Limits::new(1.0, f64::INFINITY), Limits::new(1.0, 0.0));
    }
}
