//! Three views of a source's windows, and what they make of them together.
//!
//! | view | looks at | strange is |
//! |---|---|---|
//! | spatial | one window | far from every dense region of usual ones ([`learn::anomaly::dbscan`]) |
//! | temporal | six windows in a row | a sequence that a few numbers cannot tell ([`learn::anomaly::vae`]) |
//! | statistical | one window | features far from what this source does at this hour ([`learn::anomaly::zscore`]) |
//!
//! Each score becomes a conformal p-value against usual windows that the model did not learn from. There are two models: a
//! conservative one, learnt from what is usual with high confidence, and an adaptive one, learnt from everything by weight.

use super::fit::Way;
use super::habit::Habitual;
use super::vector::{FEATURES, WIDTH};
use super::watch::{SEQUENCE, Sequence, latest};
use crate::Evidence;
use learn::anomaly::dbscan::Dbscan;
use learn::anomaly::isolation::Isolation;
use learn::anomaly::vae::Vae;
use learn::anomaly::zscore::Usual;
use learn::calibrate::{Conformal, at_least_of};
use learn::codec::{CodecError, Pack, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the three ways of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// By density.
    Spatial,
    /// By sequence.
    Temporal,
    /// By deviation.
    Statistical,
}

impl View {
    /// All; the discriminant is the index.
    pub const ALL: [Self; 3] = [Self::Spatial, Self::Temporal, Self::Statistical];

    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spatial => "spatial",
            Self::Temporal => "temporal",
            Self::Statistical => "statistical",
        }
    }
}

/// What the temporal view can be: the autoencoder, or the baseline that it must beat to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequences {
    /// A variational autoencoder.
    Autoencoder,
    /// An isolation forest of the same sequences.
    Isolation,
}

impl Sequences {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Autoencoder => "autoencoder",
            Self::Isolation => "isolation forest",
        }
    }
}

/// The temporal view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Temporal {
    Autoencoder(Vae),
    Isolation(Isolation),
}

impl Temporal {
    pub(super) fn score(&self, sequence: &Sequence) -> f32 {
        match self {
            Self::Autoencoder(vae) => vae.score(sequence),
            Self::Isolation(forest) => forest.score(sequence),
        }
    }

    pub(super) const fn kind(&self) -> Sequences {
        match self {
            Self::Autoencoder(_) => Sequences::Autoencoder,
            Self::Isolation(_) => Sequences::Isolation,
        }
    }

    fn features(&self) -> usize {
        match self {
            Self::Autoencoder(vae) => vae.features(),
            Self::Isolation(forest) => forest.features(),
        }
    }

    fn check(&self) -> Result<(), CodecError> {
        match self {
            Self::Autoencoder(vae) => vae.check(),
            Self::Isolation(forest) => forest.check(),
        }
    }
}

/// How views become one judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voting {
    /// Two of the three must see something.
    TwoOfThree,
    /// One view alone decides: where it was measured to be better.
    Only(View),
}

impl Voting {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::TwoOfThree,
        Self::Only(View::Spatial),
        Self::Only(View::Temporal),
        Self::Only(View::Statistical),
    ];

    /// The p-value of the views together.
    #[must_use]
    pub fn combine(self, p: &[f64; 3]) -> f64 {
        match self {
            Self::TwoOfThree => at_least_of(2, p),
            Self::Only(view) => p.get(view as usize).copied().unwrap_or(1.0),
        }
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoOfThree => "two of three",
            Self::Only(view) => view.name(),
        }
    }
}

/// Three views that learnt from the same windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views {
    pub(super) spatial: Dbscan,
    pub(super) temporal: Temporal,
    pub(super) statistical: Usual,
    /// By [`View`].
    pub(super) calibration: [Conformal; 3],
}

/// What one model makes of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opinion {
    /// p-values by [`View`].
    pub p: [f64; 3],
    /// Of all views together.
    pub combined: f64,
}

impl Opinion {
    /// How strange the window is, for [`Habitual`].
    #[must_use]
    pub fn score(&self) -> f32 {
        score(self.combined)
    }

    /// Which views see something at a level.
    #[must_use]
    pub fn votes(&self, level: f64) -> [bool; 3] {
        self.p.map(|p| p <= level)
    }
}

/// A p-value as a score that is higher for the stranger.
#[must_use]
pub fn score(p: f64) -> f32 {
    -p.max(f64::MIN_POSITIVE).ln() as f32
}

impl Views {
    /// How strange a sequence is, by [`View`]; scores of different views cannot be compared.
    #[must_use]
    pub fn scores(&self, source: u64, hour: u16, sequence: &Sequence) -> [f32; 3] {
        let window = latest(sequence);
        [
            self.spatial.score(window).0,
            self.temporal.score(sequence),
            self.statistical.score(source, hour, window),
        ]
    }

    /// The p-values of scores.
    #[must_use]
    pub fn p_values(&self, scores: [f32; 3]) -> [f64; 3] {
        let mut p = [1.0; 3];
        for ((p, calibration), score) in p.iter_mut().zip(&self.calibration).zip(scores) {
            *p = calibration.p_value(score);
        }
        p
    }
}

/// What the two models say, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Strange by every measure.
    HighConfidenceAttack,
    /// Unlike what is surely usual, though like something that was seen.
    InvestigateEdgeCase,
    /// Like what is surely usual, and yet unlike most that was seen.
    SubtleAnomaly,
    /// Neither finds anything.
    NormalTraffic,
}

impl Reading {
    /// All.
    pub const ALL: [Self; 4] =
        [Self::HighConfidenceAttack, Self::InvestigateEdgeCase, Self::SubtleAnomaly, Self::NormalTraffic];

    /// The reading of a name as serialised.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    /// Of whether each model finds something.
    #[must_use]
    pub const fn of(conservative: bool, adaptive: bool) -> Self {
        match (conservative, adaptive) {
            (true, true) => Self::HighConfidenceAttack,
            (true, false) => Self::InvestigateEdgeCase,
            (false, true) => Self::SubtleAnomaly,
            (false, false) => Self::NormalTraffic,
        }
    }

    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HighConfidenceAttack => "high_confidence_attack",
            Self::InvestigateEdgeCase => "investigate_edge_case",
            Self::SubtleAnomaly => "subtle_anomaly",
            Self::NormalTraffic => "normal_traffic",
        }
    }
}

/// A trained ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// Names of the features of a window, in order.
    pub(super) features: Vec<String>,
    /// Learnt from what is usual with high confidence.
    pub(super) conservative: Views,
    /// Learnt from everything, by weight.
    pub(super) adaptive: Views,
    pub(super) voting: Voting,
    /// False alarms of one host a day.
    pub(super) alarms_per_day: f64,
    /// How strange windows of usual sources are after others that were, by model.
    pub(super) habitual: [Habitual; 2],
    /// The evidence that hardly any normal source reached at calibration, by model.
    pub(super) seen: [f64; 2],
    /// Windows learnt from, by model.
    pub(super) windows: [u64; 2],
}

impl Pack for Ensemble {
    const KIND: [u8; 4] = *b"ensb";
    const VERSION: u16 = 2;

    fn check(&self) -> Result<(), CodecError> {
        for views in [&self.conservative, &self.adaptive] {
            views.spatial.check()?;
            views.temporal.check()?;
            views.statistical.check()?;
            views.calibration.iter().try_for_each(Pack::check)?;
        }
        self.habitual.iter().try_for_each(Pack::check)?;
        ensure(self.alarms_per_day > 0.0, "a budget of nothing")?;
        ensure(self.seen.iter().all(|s| *s >= 0.0), "evidence below nothing")
    }
}

/// What the ensemble makes of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Of the conservative model.
    pub conservative: Opinion,
    /// Of the adaptive one.
    pub adaptive: Opinion,
}

/// Features named in an explanation.
const REASONS: usize = 3;

impl Ensemble {
    /// Whether it knows the features of windows as this program computes them. One that does not must not be used.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.features.iter().map(String::as_str).eq(FEATURES.iter().map(|f| f.name))
            && [&self.conservative, &self.adaptive].iter().all(|v| v.temporal.features() == WIDTH * SEQUENCE)
    }

    /// Judges a source's latest windows. `source` and `hour` of the week say what is usual for whom and when.
    #[must_use]
    pub fn judge(&self, source: u64, hour: u16, sequence: &Sequence) -> Judged {
        let opinion = |views: &Views| {
            let p = views.p_values(views.scores(source, hour, sequence));
            Opinion { p, combined: self.voting.combine(&p) }
        };
        Judged { conservative: opinion(&self.conservative), adaptive: opinion(&self.adaptive) }
    }

    /// The features that make a window strange, with what is usual for the source at that hour, the strangest first.
    #[must_use]
    pub fn explain(&self, source: u64, hour: u16, sequence: &Sequence) -> Vec<Evidence> {
        let window = latest(sequence);
        let all = self.adaptive.statistical.deviations(source, hour, window, WIDTH);
        let weight = |z: f32| f64::from(z).powi(2).min(1e8);
        let whole: f64 = all.iter().map(|d| weight(d.z)).sum::<f64>().max(f64::MIN_POSITIVE);
        all.iter()
            .take(REASONS)
            .filter_map(|d| {
                let feature = FEATURES.get(d.feature)?;
                let observed = feature.natural(*window.get(d.feature)?);
                let usual = feature.natural(d.usual);
                observed.is_finite().then(|| Evidence {
                    metric: feature.name,
                    observed,
                    threshold: usual,
                    at_least: observed >= usual,
                    contribution: Some(weight(d.z) / whole),
                })
            })
            .collect()
    }

    /// What its temporal view is, and how its views become one judgement.
    #[must_use]
    pub const fn way(&self) -> Way {
        Way { sequences: self.conservative.temporal.kind(), voting: self.voting }
    }

    /// False alarms of one host a day that are accepted.
    #[must_use]
    pub const fn alarms_per_day(&self) -> f64 {
        self.alarms_per_day
    }

    /// How strange windows of usual sources are after others that were, by the conservative and the adaptive model.
    #[must_use]
    pub const fn habitual(&self) -> &[Habitual; 2] {
        &self.habitual
    }

    /// The evidence that hardly any normal source reached at calibration, of the conservative and the adaptive model.
    #[must_use]
    pub const fn seen(&self) -> [f64; 2] {
        self.seen
    }

    /// Windows learnt from, of the conservative and the adaptive model.
    #[must_use]
    pub const fn windows(&self) -> [u64; 2] {
        self.windows
    }
}

/// The hour of the week of a time, UTC, 0..168; weeks begin on Thursday, as time does.
#[must_use]
pub const fn hour_of_week(at_ns: u64) -> u16 {
    (at_ns / 3_600_000_000_000 % 168) as u16
}

/// What stands for a source in models: a number that is the same in every run.
#[must_use]
pub fn source_key(addr: wire::Addr) -> u64 {
    flow::sketch::addr_hash(0, &addr).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_votes_are_needed_where_two_are_asked_for() {
        let check = |voting: Voting, p: [f64; 3], expected: f64| {
            assert!((voting.combine(&p) - expected).abs() < 1e-12, "{voting:?} {p:?}");
        };
        check(Voting::TwoOfThree, [0.001, 0.9, 0.8], 1.0);
        check(Voting::TwoOfThree, [0.001, 0.01, 0.8], 0.015);
        check(Voting::Only(View::Temporal), [0.001, 0.01, 0.8], 0.01);
        let opinion = Opinion { p: [0.001, 0.02, 0.3], combined: 0.03 };
        assert_eq!(opinion.votes(0.02), [true, true, false]);
    }

    #[test]
    fn readings_are_those_of_both_models() {
        let names: Vec<_> = [(true, true), (true, false), (false, true), (false, false)]
            .map(|(c, a)| Reading::of(c, a).name())
            .to_vec();
        let expected =
            ["high_confidence_attack", "investigate_edge_case", "subtle_anomaly", "normal_traffic"];
        assert_eq!(names, expected);
    }

    #[test]
    fn hours_of_a_week_return() {
        const HOUR: u64 = 3_600_000_000_000;
        assert_eq!((hour_of_week(0), hour_of_week(HOUR * 167 + 5), hour_of_week(HOUR * 168)), (0, 167, 0));
    }
}
