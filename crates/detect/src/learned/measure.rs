//! How good the views are on windows that the ensemble was not trained on, alone and together.

use super::ensemble::{Ensemble, Voting};
use super::evidence::{Evidence, Limits, WINDOWS_PER_DAY, e_value};
use super::fit::Sample;
use super::watch::SEQUENCE;
use learn::metric::Ranking;
use serde::Serialize;
use std::collections::BTreeMap;

/// A window of which it is known what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The window.
    pub sample: Sample,
    /// Whether the source attacked.
    pub attack: bool,
}

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

/// Measures the conservative model.
#[must_use]
pub fn measure(ensemble: &Ensemble, windows: &[Known]) -> Report {
    let p: Vec<[f64; 3]> = windows
        .iter()
        .map(|k| ensemble.judge(k.sample.source, k.sample.hour, &k.sample.sequence).conservative.p)
        .collect();
    let limits = Limits::new(ensemble.alarms_per_day(), ensemble.seen()[0]);
    let level = limits.vote(SEQUENCE);
    let attacks = windows.iter().filter(|k| k.attack).count() as u64;
    let correlation = |attack: bool| {
        [(0, 1), (0, 2), (1, 2)].map(|(a, b)| {
            let votes = p.iter().zip(windows).filter(|(_, k)| k.attack == attack);
            phi(votes.map(|(p, _)| (p[a] <= level, p[b] <= level)))
        })
    };
    Report {
        normal: windows.len() as u64 - attacks,
        attacks,
        level,
        qualities: Voting::ALL.into_iter().map(|voting| quality(voting, windows, &p, &limits)).collect(),
        correlation_normal: correlation(false),
        correlation_attack: correlation(true),
    }
}

fn quality(voting: Voting, windows: &[Known], p: &[[f64; 3]], limits: &Limits) -> Quality {
    let level = limits.vote(SEQUENCE);
    let combined: Vec<f64> = p.iter().map(|p| voting.combine(p)).collect();
    let ranking = Ranking::new(combined.iter().zip(windows).map(|(p, k)| (-(p.ln()) as f32, k.attack)));
    let share = |attack: bool| {
        let all: Vec<f64> =
            combined.iter().zip(windows).filter(|(_, k)| k.attack == attack).map(|(p, _)| *p).collect();
        all.iter().filter(|p| **p <= level).count() as f64 / all.len() as f64
    };
    let mut sources: BTreeMap<(bool, u64, u64), Vec<(u64, f64)>> = BTreeMap::new();
    for (k, p) in windows.iter().zip(&combined) {
        let key = (k.attack, k.sample.group, k.sample.source);
        sources.entry(key).or_default().push((k.sample.start_ns, *p));
    }
    let alarm = |windows: &mut Vec<(u64, f64)>| {
        windows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut evidence = Evidence::default();
        windows.iter().any(|(_, p)| {
            evidence.add(e_value(*p));
            limits.grade(evidence).is_some()
        })
    };
    let (mut found, mut all) = ([0_u64; 2], [0_u64; 2]);
    for ((attack, ..), windows) in &mut sources {
        let side = usize::from(*attack);
        all[side] += 1;
        found[side] += u64::from(alarm(windows));
    }
    let normal = windows.iter().filter(|k| !k.attack).count();
    Quality {
        name: voting.name(),
        auc: ranking.auc(),
        recall_at_1_percent: ranking.recall_at_fpr(0.01).0,
        votes_normal: share(false),
        votes_attack: share(true),
        attackers: all[1],
        attackers_found: found[1],
        others: all[0],
        false_alarms: found[0],
        false_alarms_per_host_day: found[0] as f64 / (normal as f64 / WINDOWS_PER_DAY),
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
    use super::super::fit::tests::{normal, sample, trained};
    use super::*;
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
        let mut windows: Vec<Known> = normal(4, 50)
            .into_iter()
            .map(|s| Known { sample: Sample { group: s.group + 50, ..s }, attack: false })
            .collect();
        windows.extend(
            (0..30).map(|n| Known { sample: sample(&mut random, 90 + n / 6, n, 1.0, 300.0), attack: true }),
        );
        let report = measure(&trained(), &windows);
        assert_eq!((report.normal, report.attacks), (200, 30));
        let best = report.best().expect("measured");
        assert!(best.auc > 0.99 && best.recall_at_1_percent > 0.9, "{best:?}");
        assert_eq!((best.attackers, best.attackers_found, best.false_alarms), (5, 5, 0), "{best:?}");
    }
}
