//! What the classifier of flows takes for usual, and how good it is on flows it was not trained on.

use super::evidence::{Evidence, Limits, WINDOWS_PER_DAY, e_value};
use super::fit::strangest;
use super::flows::FlowModel;
use flow::Span;
use learn::LearnError;
use learn::calibrate::Conformal;
use learn::hybrid::{Hybrid, Scratch, Verdict};
use learn::metric::{Confusion, Ranking};
use serde::Serialize;
use std::collections::BTreeMap;

/// A flow as the classifier sees it, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSample {
    /// Who began it ([`super::ensemble::source_key`]).
    pub source: u64,
    /// The capture it is from.
    pub group: u64,
    /// When it was judged, ns.
    pub at_ns: u64,
    /// Values of the classifier's features.
    pub row: Vec<f32>,
}

/// What a classifier made of a flow that it did not learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Log odds that it is not normal.
    pub score: f32,
    /// What it was taken for.
    pub verdict: Verdict,
}

/// What a classifier makes of some flows.
#[must_use]
pub fn hear<'a>(hybrid: &Hybrid, flows: impl IntoIterator<Item = &'a FlowSample>) -> Vec<Heard> {
    let mut scratch = Scratch::default();
    flows
        .into_iter()
        .map(|f| {
            let judgement = hybrid.judge(&f.row, &mut scratch);
            Heard { score: judgement.score, verdict: judgement.verdict }
        })
        .collect()
}

/// A classifier with what usual flows look like to one that did not learn from them.
///
/// # Errors
/// No flows.
pub fn calibrate(
    hybrid: Hybrid,
    usual: &[FlowSample],
    heard: &[Heard],
    alarms_per_day: f64,
) -> Result<FlowModel, LearnError> {
    let calibration = Conformal::fit(heard.iter().map(|h| h.score))?;
    let e_values: Vec<f64> = heard.iter().map(|h| e_value(calibration.p_value(h.score))).collect();
    let sources: Vec<f64> = by_source(usual, &e_values).into_values().map(|w| most(&w)).collect();
    Ok(FlowModel { hybrid, calibration, alarms_per_day, seen: strangest(sources) })
}

/// E-values of 10-s windows of flows, by group and source, in order of time: as [`super::flows::FlowView`] forms them.
fn by_source(flows: &[FlowSample], e_values: &[f64]) -> BTreeMap<(u64, u64), Vec<f64>> {
    let mut times: BTreeMap<(u64, u64), Vec<(u64, f64)>> = BTreeMap::new();
    for (f, e) in flows.iter().zip(e_values) {
        times.entry((f.group, f.source)).or_default().push((f.at_ns, *e));
    }
    let windows = |mut flows: Vec<(u64, f64)>| {
        flows.sort_by_key(|f| f.0);
        let mut windows: Vec<(u64, f64, u32)> = Vec::new();
        for (at, e) in flows {
            match windows.last_mut() {
                Some((begun, sum, n)) if at.saturating_sub(*begun) < Span::S10.nanos() => {
                    *sum += e;
                    *n += 1;
                }
                _ => windows.push((at, e, 1)),
            }
        }
        windows.into_iter().map(|(_, sum, n)| sum / f64::from(n)).collect()
    };
    times.into_iter().map(|(key, flows)| (key, windows(flows))).collect()
}

/// The most evidence that adds up over windows.
fn most(windows: &[f64]) -> f64 {
    let mut evidence = Evidence::default();
    windows.iter().fold(0.0, |most, e| {
        evidence.add(*e);
        evidence.value().max(most)
    })
}

/// How good the classifier is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowReport {
    /// Usual flows.
    pub normal: u64,
    /// Flows of attacks.
    pub attacks: u64,
    /// Chance that a flow of an attack scores above a usual one.
    pub auc: f64,
    /// Share of flows of attacks found where one usual flow in a hundred is taken for one.
    pub recall_at_1_percent: f64,
    /// Share of usual flows taken for normal.
    pub normal_kept: f64,
    /// Share of flows of attacks not taken for normal.
    pub attacks_found: f64,
    /// By class: flows, share found, share given that class, share called unknown.
    pub classes: BTreeMap<String, ClassReport>,
    /// Sources that attacked.
    pub attackers: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub attackers_found: u64,
    /// Sources that did not.
    pub others: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub false_alarms: u64,
    /// `false_alarms` over the days that the windows of usual traffic make.
    pub false_alarms_per_host_day: f64,
}

/// How good it is at one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClassReport {
    /// Flows of it.
    pub flows: u64,
    /// Share not taken for normal.
    pub found: f64,
    /// Share given this class.
    pub named: f64,
    /// Share called unknown.
    pub unknown: f64,
}

/// Measures, given the class of each flow and what a classifier that did not learn from it made of it.
#[must_use]
pub fn measure(model: &FlowModel, flows: &[FlowSample], classes: &[String], heard: &[Heard]) -> FlowReport {
    let hybrid = &model.hybrid;
    let normal = hybrid.names().get(hybrid.normal() as usize).cloned().unwrap_or_default();
    let is_attack: Vec<bool> = classes.iter().map(|c| *c != normal).collect();
    let ranking = Ranking::new(heard.iter().map(|h| h.score).zip(is_attack.iter().copied()));
    let mut kept = Confusion::new(2);
    let mut by_class: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for ((Heard { verdict, .. }, class), attack) in heard.iter().zip(classes).zip(&is_attack) {
        let found = *verdict != Verdict::Normal;
        kept.add(usize::from(*attack), usize::from(found));
        let named = matches!(verdict, Verdict::Known(c) if hybrid.names().get(*c as usize) == Some(class));
        let counts = by_class.entry(class.clone()).or_default();
        for (count, holds) in counts.iter_mut().zip([true, found, named, *verdict == Verdict::Unknown]) {
            *count += u64::from(holds);
        }
    }
    let e_values: Vec<f64> = heard.iter().map(|h| e_value(model.calibration.p_value(h.score))).collect();
    let limits = Limits::new(model.alarms_per_day, model.seen);
    let side = |attack: bool| {
        let keep = |i: &usize| is_attack.get(*i) == Some(&attack);
        let places: Vec<usize> = (0..flows.len()).filter(keep).collect();
        let own: Vec<FlowSample> = places.iter().filter_map(|i| flows.get(*i).cloned()).collect();
        let e: Vec<f64> = places.iter().filter_map(|i| e_values.get(*i).copied()).collect();
        let sources = by_source(&own, &e);
        let alarms = sources.values().filter(|w| most(w) >= limits.low()).count() as u64;
        let windows: usize = sources.values().map(Vec::len).sum();
        (sources.len() as u64, alarms, windows as f64)
    };
    let ((attackers, attackers_found, _), (others, false_alarms, windows)) = (side(true), side(false));
    let counts = kept.of(1);
    FlowReport {
        normal: is_attack.iter().filter(|a| !**a).count() as u64,
        attacks: is_attack.iter().filter(|a| **a).count() as u64,
        auc: ranking.auc(),
        recall_at_1_percent: ranking.recall_at_fpr(0.01).0,
        normal_kept: 1.0 - counts.false_positive_rate(),
        attacks_found: counts.recall(),
        classes: by_class
            .into_iter()
            .map(|(class, [flows, found, named, unknown])| {
                let share = |n: u64| n as f64 / flows as f64;
                let report =
                    ClassReport { flows, found: share(found), named: share(named), unknown: share(unknown) };
                (class, report)
            })
            .collect(),
        attackers,
        attackers_found,
        others,
        false_alarms,
        false_alarms_per_host_day: false_alarms as f64 / (windows / WINDOWS_PER_DAY),
    }
}
