//! What the classifier of flows takes for usual, and how good it is on flows it was not trained on.

use super::evidence::{Evidence, Limits, WINDOWS_PER_DAY, at_most, e_value};
use super::fit::strangest;
use super::flows::{FlowCalibration, FlowModel, window_score};
use super::habit::{Habit, Habitual};
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
    let (calibration, seen) = usual_of(usual, heard)?;
    Ok(FlowModel { hybrid, calibration, alarms_per_day, seen })
}

/// What is usual by some usual flows, and the evidence that hardly any of their sources reaches.
fn usual_of(usual: &[FlowSample], heard: &[Heard]) -> Result<(FlowCalibration, f64), LearnError> {
    let flows = Conformal::fit(heard.iter().map(|h| h.score))?;
    let sources = by_source(usual, heard, &flows);
    let windows = Habitual::fit(&sources)?;
    let seen = strangest(sources.iter().map(|s| most(s, &windows)).collect());
    Ok((FlowCalibration { flows, windows }, seen))
}

/// Scores of 10-s windows of flows, of each source of a group in order of time: as [`super::flows::FlowView`] forms them.
fn by_source(flows: &[FlowSample], heard: &[Heard], usual: &Conformal) -> Vec<Vec<f32>> {
    let mut times: BTreeMap<(u64, u64), Vec<(u64, f64)>> = BTreeMap::new();
    for (f, h) in flows.iter().zip(heard) {
        times.entry((f.group, f.source)).or_default().push((f.at_ns, e_value(usual.p_value(h.score))));
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
        windows.into_iter().map(|(_, sum, n)| window_score(sum, n)).collect()
    };
    times.into_values().map(windows).collect()
}

/// The most evidence that adds up over the windows of a source.
#[must_use]
pub fn most(scores: &[f32], usual: &Habitual) -> f64 {
    let (mut evidence, mut habit) = (Evidence::default(), Habit::default());
    scores.iter().fold(0.0, |most, score| {
        evidence.add(e_value(usual.p_value(&mut habit, *score)));
        evidence.value().max(most)
    })
}

/// Windows that an attack must last to be found by evidence that adds up.
pub const LASTING: usize = 3;

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
    /// Of these, those that did for [`LASTING`] windows or more: others cannot be found by adding up.
    pub lasting: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub attackers_found: u64,
    /// Sources that did not.
    pub others: u64,
    /// Of these, those against whom evidence adds up to an alarm.
    pub false_alarms: u64,
    /// `false_alarms` over the days that the windows of usual traffic make.
    pub false_alarms_per_host_day: f64,
    /// What it is at most with a confidence of 95 %, given so few days.
    pub at_most_per_host_day: f64,
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

/// A flow, its class, and what a classifier that did not learn from it made of it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The flow.
    pub flow: &'a FlowSample,
    /// Its class.
    pub class: &'a String,
    /// What was made of it.
    pub heard: Heard,
}

/// Measures with some cases what alarms there are where what is usual is known from others.
///
/// # Errors
/// There are no usual flows among `calibrating`.
pub fn measure(
    model: &FlowModel,
    calibrating: &[Case<'_>],
    cases: &[Case<'_>],
) -> Result<FlowReport, LearnError> {
    let hybrid = &model.hybrid;
    let normal = hybrid.names().get(hybrid.normal() as usize).cloned().unwrap_or_default();
    let split = |cases: &[Case<'_>], attack: bool| -> (Vec<FlowSample>, Vec<Heard>) {
        cases.iter().filter(|c| (*c.class != normal) == attack).map(|c| (c.flow.clone(), c.heard)).unzip()
    };
    let (usual, made) = split(calibrating, false);
    let (calibration, seen) = usual_of(&usual, &made)?;
    let (heard, classes): (Vec<Heard>, Vec<&String>) = cases.iter().map(|c| (c.heard, c.class)).unzip();
    let is_attack: Vec<bool> = classes.iter().map(|c| **c != normal).collect();
    let ranking = Ranking::new(heard.iter().map(|h| h.score).zip(is_attack.iter().copied()));
    let mut kept = Confusion::new(2);
    let mut by_class: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for ((Heard { verdict, .. }, class), attack) in heard.iter().zip(&classes).zip(&is_attack) {
        let found = *verdict != Verdict::Normal;
        kept.add(usize::from(*attack), usize::from(found));
        let named = matches!(verdict, Verdict::Known(c) if hybrid.names().get(*c as usize) == Some(*class));
        let counts = by_class.entry((*class).clone()).or_default();
        for (count, holds) in counts.iter_mut().zip([true, found, named, *verdict == Verdict::Unknown]) {
            *count += u64::from(holds);
        }
    }
    let limits = Limits::new(model.alarms_per_day, seen);
    let side = |attack: bool| {
        let (flows, heard) = split(cases, attack);
        let sources = by_source(&flows, &heard, &calibration.flows);
        let alarms = sources.iter().filter(|s| most(s, &calibration.windows) >= limits.low()).count() as u64;
        let windows: usize = sources.iter().map(Vec::len).sum();
        let lasting = sources.iter().filter(|s| s.len() >= LASTING).count() as u64;
        (sources.len() as u64, lasting, alarms, windows as f64)
    };
    let (attackers, lasting, attackers_found, _) = side(true);
    let (others, _, false_alarms, windows) = side(false);
    let days = windows / WINDOWS_PER_DAY;
    let counts = kept.of(1);
    Ok(FlowReport {
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
        lasting,
        attackers_found,
        others,
        false_alarms,
        false_alarms_per_host_day: false_alarms as f64 / days,
        at_most_per_host_day: at_most(false_alarms) / days,
    })
}
