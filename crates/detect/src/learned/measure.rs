//! How good the views are on windows that the ensemble was not trained on, alone and together.

use super::calibrate::{LASTING, most};
use super::ensemble::{Sequences, View};
use super::evidence::{Limits, WINDOWS_PER_DAY, at_most};
use super::fit::{Case, Way, scores, usual_of};
use super::watch::SEQUENCE;
use learn::LearnError;
use learn::metric::Ranking;
use serde::Serialize;

/// How good one way of judging is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// How it judges.
    #[serde(skip)]
    pub way: Way,
    /// The same in words.
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
    /// Of these, those that did for [`LASTING`] windows or more: others cannot be found by adding up.
    pub lasting: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub attackers_found: u64,
    /// Sources that did not attack, with windows judged.
    pub others: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub false_alarms: u64,
    /// `false_alarms` over the days that the windows of usual traffic make.
    pub false_alarms_per_host_day: f64,
    /// What it is at most with a confidence of 95 %, given so few days.
    pub at_most_per_host_day: f64,
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
    /// The way of combining that ranks windows of attacks above usual ones most often. The share found at few false alarms
    /// would matter more, but hangs on the handful of strangest usual windows, and so tells less of other networks.
    #[must_use]
    pub fn best(&self) -> Option<&Quality> {
        self.qualities.iter().max_by(|a, b| a.auc.total_cmp(&b.auc))
    }
}

/// Measures with some cases, where what is usual is known from others.
///
/// # Errors
/// There are no usual windows among `calibrating`.
pub fn measure(
    calibrating: &[Case<'_>],
    cases: &[Case<'_>],
    alarms_per_day: f64,
) -> Result<Report, LearnError> {
    let level = Limits::new(alarms_per_day, 0.0).vote(SEQUENCE);
    let attacks = cases.iter().filter(|c| c.attack).count() as u64;
    let correlation = |of_attacks: bool| {
        [
            (View::Spatial, View::Temporal),
            (View::Spatial, View::Statistical),
            (View::Temporal, View::Statistical),
        ]
        .map(|(a, b)| {
            let own = cases.iter().filter(|c| c.attack == of_attacks);
            let p = own.map(|c| c.heard.by_view(Sequences::Autoencoder));
            phi(p.map(|p| (p[a as usize] <= level, p[b as usize] <= level)))
        })
    };
    let quality = |way| quality(way, calibrating, cases, alarms_per_day, level);
    Ok(Report {
        normal: cases.len() as u64 - attacks,
        attacks,
        level,
        qualities: Way::ALL.into_iter().map(quality).collect::<Result<_, _>>()?,
        correlation_normal: correlation(false),
        correlation_attack: correlation(true),
    })
}

fn quality(
    way: Way,
    calibrating: &[Case<'_>],
    cases: &[Case<'_>],
    alarms_per_day: f64,
    level: f64,
) -> Result<Quality, LearnError> {
    let usual = calibrating.iter().filter(|c| !c.attack).copied();
    let (habitual, seen) = usual_of(&scores(usual, way))?;
    let limits = Limits::new(alarms_per_day, seen);
    let p = |c: &Case<'_>| way.combine(&c.heard);
    let ranking = Ranking::new(cases.iter().map(|c| (-(p(c).ln()) as f32, c.attack)));
    let side = |of_attacks: bool| {
        let own = || cases.iter().filter(move |c| c.attack == of_attacks);
        let windows = own().count() as f64;
        let votes = own().filter(|c| p(c) <= level).count() as f64 / windows;
        let sources = scores(own().copied(), way);
        let alarms = sources.iter().filter(|s| most(s, &habitual) >= limits.low()).count() as u64;
        let lasting = sources.iter().filter(|s| s.len() >= LASTING).count() as u64;
        (votes, sources.len() as u64, lasting, alarms, windows)
    };
    let (votes_normal, others, _, false_alarms, windows) = side(false);
    let (votes_attack, attackers, lasting, attackers_found, _) = side(true);
    let days = windows / WINDOWS_PER_DAY;
    Ok(Quality {
        way,
        name: way.name(),
        auc: ranking.auc(),
        recall_at_1_percent: ranking.recall_at_fpr(0.01).0,
        votes_normal,
        votes_attack,
        attackers,
        lasting,
        attackers_found,
        others,
        false_alarms,
        false_alarms_per_host_day: false_alarms as f64 / days,
        at_most_per_host_day: at_most(false_alarms) / days,
    })
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
    use super::super::fit::{Known, Options, Sample, fit_known};
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
        let fitted = fit_known(&windows, &Options { way: None, ..OPTIONS }, &Inline).expect("trains");
        let cases: Vec<Case<'_>> = windows
            .iter()
            .zip(&fitted.out_of_fold)
            .map(|(k, heard)| Case { sample: &k.sample, attack: k.attack, heard: *heard })
            .collect();
        let report = measure(&cases, &cases, 1.0).expect("measures");
        assert_eq!((report.normal, report.attacks), (1000, 30));
        let best = report.best().expect("measured");
        assert!(best.auc > 0.99 && best.recall_at_1_percent > 0.9, "{best:?}");
        assert_eq!((best.attackers, best.lasting, best.attackers_found), (5, 5, 5), "{best:?}");
        assert!(best.false_alarms <= 1, "{best:?}");
    }
}
