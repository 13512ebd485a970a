//! How good the views are on windows that the ensemble was not trained on, alone and together.

use super::ensemble::{View, Voting};
use super::evidence::{Limits, WINDOWS_PER_DAY};
use super::fit::{Sample, most_evidence};
use super::watch::SEQUENCE;
use learn::metric::Ranking;
use serde::Serialize;

/// How good one way of judging is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Which view, or how views were combined.
    pub name: &'static str,
    /// Chance that a window of an attack is stranger than one of usual traffic.
    pub auc: f64,
    /// Share of windows of attacks found where one usual window in a hundred is an alarm.
    pub recall_at_1_percent: f64,
    /// Share of usual windows at the vote's level or below.
    pub votes_normal: f64,
    /// Share of windows of attacks at the vote's level or below.
    pub votes_attack: f64,
    /// Sources that attacked, with windows judged.
    pub attackers: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub attackers_found: u64,
    /// Sources that did not attack, with windows judged.
    pub others: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub false_alarms: u64,
    /// `false_alarms` over the days that the windows of usual traffic make.
    pub false_alarms_per_host_day: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Windows of usual traffic.
    pub normal: u64,
    /// Windows of attacks.
    pub attacks: u64,
    /// Level of a vote: a p-value.
    pub level: f64,
    /// Of the conservative model: the three views alone, then the ways to combine them.
    pub qualities: Vec<Quality>,
    /// Correlation (φ) of the votes of pairs of views on usual windows: spatial and temporal, spatial and statistical,
    /// temporal and statistical. 0 is independent, 1 the same; NaN where a view never votes.
    pub correlation_normal: [f64; 3],
    /// The same on windows of attacks.
    pub correlation_attack: [f64; 3],
}

impl Report {
    /// The way of combining with the largest share of attack windows found at one false alarm in a hundred, those found by
    /// area under the curve among equals.
    #[must_use]
    pub fn best(&self) -> Option<&Quality> {
        self.qualities.iter().max_by(|a, b| {
            a.recall_at_1_percent.total_cmp(&b.recall_at_1_percent).then(a.auc.total_cmp(&b.auc))
        })
    }
}

/// Measures, given for each window whether its source attacked, and p-values by view from models that did not see it.
#[must_use]
pub fn measure(windows: &[(&Sample, bool)], p: &[[f64; 3]], limits: &Limits) -> Report {
    let level = limits.vote(SEQUENCE);
    let attacks = windows.iter().filter(|(_, attack)| *attack).count() as u64;
    let correlation = |of_attacks: bool| {
        [
            (View::Spatial, View::Temporal),
            (View::Spatial, View::Statistical),
            (View::Temporal, View::Statistical),
        ]
        .map(|(a, b)| {
            let own = p.iter().zip(windows).filter(|(_, (_, attack))| *attack == of_attacks);
            phi(own.map(|(p, _)| (p[a as usize] <= level, p[b as usize] <= level)))
        })
    };
    Report {
        normal: windows.len() as u64 - attacks,
        attacks,
        level,
        qualities: Voting::ALL.into_iter().map(|voting| quality(voting, windows, p, limits)).collect(),
        correlation_normal: correlation(false),
        correlation_attack: correlation(true),
    }
}

fn quality(voting: Voting, windows: &[(&Sample, bool)], p: &[[f64; 3]], limits: &Limits) -> Quality {
    let level = limits.vote(SEQUENCE);
    let combined: Vec<f64> = p.iter().map(|p| voting.combine(p)).collect();
    let ranking =
        Ranking::new(combined.iter().zip(windows).map(|(p, (_, attack))| (-(p.ln()) as f32, *attack)));
    let side = |of_attacks: bool| {
        let own = || combined.iter().zip(windows).filter(move |(_, (_, attack))| *attack == of_attacks);
        let samples: Vec<&Sample> = own().map(|(_, (s, _))| *s).collect();
        let p: Vec<f64> = own().map(|(p, _)| *p).collect();
        let votes = p.iter().filter(|p| **p <= level).count() as f64 / p.len() as f64;
        let evidence = most_evidence(&samples, &p);
        let alarms = evidence.iter().filter(|e| **e >= limits.low()).count() as u64;
        (votes, evidence.len() as u64, alarms, p.len())
    };
    let (votes_normal, others, false_alarms, normal) = side(false);
    let (votes_attack, attackers, attackers_found, _) = side(true);
    Quality {
        name: voting.name(),
        auc: ranking.auc(),
        recall_at_1_percent: ranking.recall_at_fpr(0.01).0,
        votes_normal,
        votes_attack,
        attackers,
        attackers_found,
        others,
        false_alarms,
        false_alarms_per_host_day: false_alarms as f64 / (normal as f64 / WINDOWS_PER_DAY),
    }
}

/// The φ coefficient of pairs of events.
fn phi(pairs: impl Iterator<Item = (bool, bool)>) -> f64 {
    let mut n = [[0.0_f64; 2]; 2];
    for (a, b) in pairs {
        n[usize::from(a)][usize::from(b)] += 1.0;
    }
    let (a, b) = (n[1][0] + n[1][1], n[0][1] + n[1][1]);
    let (not_a, not_b) = (n[0][0] + n[0][1], n[0][0] + n[1][0]);
    (n[1][1] * n[0][0] - n[1][0] * n[0][1]) / (a * b * not_a * not_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::fit::tests::{OPTIONS, normal, sample};
    use super::super::fit::{Known, Options, fit_known};
    use super::*;
    use learn::Inline;
    use learn::random::Random;

    #[test]
    fn phi_is_one_for_the_same_and_none_for_the_independent() {
        let same = [(true, true), (false, false), (true, true)];
        assert!((phi(same.into_iter()) - 1.0).abs() < 1e-12);
        let independent = [(true, true), (true, false), (false, true), (false, false)];
        assert!(phi(independent.into_iter()).abs() < 1e-12);
        assert!(phi([(false, true)].into_iter()).is_nan());
    }

    #[test]
    fn scans_are_found_and_quiet_hosts_left_alone() {
        let mut random = Random::new(3, 0);
        let mut windows: Vec<Known> =
            normal(20, 50).into_iter().map(|sample| Known { sample, attack: false }).collect();
        windows.extend((0..30).map(|n| Known {
            sample: Sample { source: 200 + n / 6, ..sample(&mut random, 90 + n / 6, n, 1.0, 300.0) },
            attack: true,
        }));
        let fitted = fit_known(&windows, &Options { voting: None, ..OPTIONS }, &Inline).expect("trains");
        let all: Vec<(&Sample, bool)> = windows.iter().map(|k| (&k.sample, k.attack)).collect();
        let limits = Limits::new(1.0, fitted.ensemble.seen()[0]);
        let report = measure(&all, &fitted.out_of_fold, &limits);
        assert_eq!((report.normal, report.attacks), (1000, 30));
        let best = report.best().expect("measured");
        assert_eq!(best.name, fitted.ensemble.voting().name());
        assert!(best.auc > 0.99 && best.recall_at_1_percent > 0.9, "{best:?}");
        assert_eq!((best.attackers, best.attackers_found), (5, 5), "{best:?}");
        assert!(best.false_alarms <= 1, "{best:?}");
    }
}
