//! What ordinary traffic looks like: the conservative side of judging snapshots.

use super::{QUANTITIES, Vector, WIDTH};
use learn::anomaly::zscore::{Collector, Usual};
use learn::anomaly::{dbscan, vae};
use learn::codec::{CodecError, Pack, ensure};
use learn::random::Random;
use learn::{LearnError, Matrix, Pool};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Snapshots in a row that the temporal view looks at.
pub(super) const SEQUENCE: usize = 4;
/// Neighbours of a dense snapshot, itself included: twice the number of quantities (Sander et al., 1998).
const DENSE: usize = 2 * WIDTH;

/// A second of ordinary traffic to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it has in common with others, such as the capture it is from: samples of one group are either learnt from or
    /// calibrated with.
    pub group: u64,
    /// The snapshot and those before it, the latest last.
    pub sequence: [Vector; SEQUENCE],
}

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Seed of everything drawn.
    pub seed: u64,
    /// Most samples learnt from, drawn where there are more.
    pub most: usize,
    /// Share of ordinary snapshots that each view may find stranger than ordinary, above 0 and below 1.
    pub strange: f64,
    /// The temporal view.
    pub vae: vae::Options,
}

impl Default for Options {
    fn default() -> Self {
        let vae = vae::Options { hidden: 24, latent: 6, epochs: 30, ..vae::Options::default() };
        Self { seed: 1, most: 8192, strange: 0.001, vae }
    }
}

/// Three views of ordinary traffic, and how strange it looks to each at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Names of the quantities, in order.
    quantities: Vec<String>,
    spatial: dbscan::Dbscan,
    temporal: vae::Vae,
    statistical: Usual,
    /// The score that hardly any ordinary snapshot that was not learnt from exceeds, by view, above 0.
    seen: [f32; 3],
    /// How many those were.
    calibrated: u64,
}

/// How strange a snapshot is, by view (spatial, temporal, statistical): its score over that which one in a thousand of
/// ordinary ones exceeds. Above 1 it is a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Strangeness {
    /// By view.
    pub views: [f32; 3],
    /// The scores themselves.
    pub scores: [f32; 3],
}

impl Strangeness {
    /// What two of the three views agree on: the second highest.
    #[must_use]
    pub fn agreed(&self) -> f32 {
        let mut all = self.views;
        all.sort_unstable_by(f32::total_cmp);
        all[1]
    }

    /// Views to which it is stranger than all that is ordinary.
    #[must_use]
    pub fn votes(&self) -> usize {
        self.views.iter().filter(|v| **v > 1.0).count()
    }
}

impl Pack for Baseline {
    const KIND: [u8; 4] = *b"snap";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.spatial.check()?;
        self.temporal.check()?;
        self.statistical.check()?;
        ensure(self.seen.iter().all(|s| s.is_finite() && *s > 0.0), "the highest scores")?;
        ensure(self.temporal.features() == WIDTH * SEQUENCE, "the length of sequences")
    }
}

impl Baseline {
    /// Learns from ordinary snapshots. Three fifths of the groups are learnt from, the others calibrate.
    ///
    /// # Errors
    /// Too few samples: there must be some of each part, and some dense region among them.
    pub fn fit(samples: &[Sample], options: &Options, pool: &dyn Pool) -> Result<Self, LearnError> {
        let groups: Vec<u64> = samples.iter().map(|s| s.group).collect();
        let held = held_out(&groups, options.seed);
        let side = |out: bool| samples.iter().zip(&held).filter(move |(_, h)| **h == out).map(|(s, _)| s);
        let mut learning: Vec<&Sample> = side(false).collect();
        if learning.len() > options.most {
            Random::new(options.seed, 2).draw_first(&mut learning, options.most);
            learning.truncate(options.most);
        }
        let latest = learning.iter().flat_map(|s| s.sequence[SEQUENCE - 1]).collect();
        let sequences = learning.iter().flat_map(|s| s.sequence.into_iter().flatten()).collect();
        let (latest, sequences) = (Matrix::new(WIDTH, latest)?, Matrix::new(WIDTH * SEQUENCE, sequences)?);
        let dense = dbscan::Options { min_points: DENSE, eps: None, seed: options.seed };
        let mut collector = Collector::new(WIDTH, 0, options.seed);
        latest.iter().for_each(|row| collector.add(0, 0, row));
        let mut baseline = Self {
            quantities: QUANTITIES.iter().map(|q| q.name.to_owned()).collect(),
            spatial: dbscan::Dbscan::fit(&latest, &dense, pool)?,
            temporal: vae::Vae::fit(&sequences, &vae::Options { seed: options.seed, ..options.vae }, pool)?,
            statistical: collector.finish()?,
            seen: [f32::MIN_POSITIVE; 3],
            calibrated: 0,
        };
        let scores: Vec<[f32; 3]> = side(true).map(|s| baseline.scores(&s.sequence)).collect();
        if scores.is_empty() {
            return Err(LearnError::Empty);
        }
        for view in 0..3 {
            let mut all: Vec<f32> = scores.iter().map(|s| s[view]).collect();
            all.sort_unstable_by(|a, b| b.total_cmp(a));
            let place = (all.len() as f64 * options.strange) as usize;
            baseline.seen[view] = all[place.min(all.len() - 1)].max(f32::MIN_POSITIVE);
        }
        baseline.calibrated = scores.len() as u64;
        Ok(baseline)
    }

    /// Whether it knows the quantities as this program computes them. One that does not must not be used.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.quantities.iter().map(String::as_str).eq(QUANTITIES.iter().map(|q| q.name))
    }

    /// Ordinary snapshots that its limits were taken from.
    #[must_use]
    pub const fn calibrated(&self) -> u64 {
        self.calibrated
    }

    fn scores(&self, sequence: &[Vector; SEQUENCE]) -> [f32; 3] {
        let window = &sequence[SEQUENCE - 1];
        [
            self.spatial.score(window).0,
            self.temporal.score(sequence.as_flattened()),
            self.statistical.score(0, 0, window),
        ]
    }

    /// How strange the latest of a sequence is.
    #[must_use]
    pub(super) fn strangeness(&self, sequence: &[Vector; SEQUENCE]) -> Strangeness {
        let scores = self.scores(sequence);
        let mut views = scores;
        views.iter_mut().zip(self.seen).for_each(|(view, seen)| *view /= seen);
        Strangeness { views, scores }
    }

    /// What differs most from the usual: (quantity, deviations, usual value in its unit), the largest first.
    #[must_use]
    pub(super) fn differences(&self, window: &Vector, n: usize) -> Vec<(usize, f32, f64)> {
        let all = self.statistical.deviations(0, 0, window, n);
        all.iter()
            .filter_map(|d| Some((d.feature, d.z, QUANTITIES.get(d.feature)?.natural(d.usual))))
            .collect()
    }
}

/// Which samples are held out for calibration: those of two groups of five, or stretches of them where there are too few
/// groups.
fn held_out(groups: &[u64], seed: u64) -> Vec<bool> {
    const FEW: usize = 5;
    const STRETCH: usize = 60;
    let mut distinct: Vec<u64> = groups.iter().copied().collect::<BTreeSet<u64>>().into_iter().collect();
    if distinct.len() < FEW {
        return (0..groups.len()).map(|i| i / STRETCH % FEW > 2).collect();
    }
    Random::new(seed, 4).shuffle(&mut distinct);
    let out: BTreeSet<u64> =
        distinct.into_iter().enumerate().filter(|(i, _)| i % FEW > 2).map(|(_, g)| g).collect();
    groups.iter().map(|g| out.contains(g)).collect()
}
