//! Gradient boosting for classes: logistic loss for two, softmax for more.

use super::histogram::Quanta;
use super::leafwise::{Ground, Growth};
use super::{MOST_DEPTH, Trees};
use crate::LearnError;
use crate::bins::{Binned, Binning};
use crate::codec::{CodecError, Pack, ensure};
use crate::matrix::{Feature, Matrix};
use crate::pool::{self, Pool};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// How to boost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Most rounds; each grows one tree. Where there are more than two classes its leaves have a value for each (Zhang and
    /// Jung, "GBDT-MO", 2021): a row is walked down one path a round, however many classes there are.
    pub rounds: usize,
    /// Shrinkage of each tree's values, above 0 up to 1.
    pub rate: f64,
    /// Most leaves of a tree, at least 2.
    pub leaves: usize,
    /// Most splits on a path, at most [`MOST_DEPTH`].
    pub depth: u16,
    /// Least rows in a leaf, about.
    pub min_rows: f64,
    /// Least hessian in a leaf.
    pub min_hessian: f64,
    /// L2 term on the values of leaves.
    pub l2: f64,
    /// Most that a leaf adds to a score before shrinkage, above 0: keeps leaves without doubt from overshooting.
    pub most_step: f64,
    /// Share of the features each tree may use, above 0 up to 1.
    pub features: f64,
    /// Share of the rows each tree is grown on, above 0 up to 1.
    pub rows: f64,
    /// Rounds without a lower loss on the rows held out after which to stop; 0 never stops. Needs rows held out.
    pub patience: usize,
    /// Seed of the drawing of features and rows.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 100,
            rate: 0.1,
            leaves: 31,
            depth: 64,
            min_rows: 20.0,
            min_hessian: 1e-3,
            l2: 1.0,
            most_step: 5.0,
            features: 1.0,
            rows: 1.0,
            patience: 0,
            seed: 0,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), LearnError> {
        let share = |option, value: f64| {
            let fits = value > 0.0 && value <= 1.0;
            if fits { Ok(()) } else { Err(LearnError::Option { option, expected: "above 0 and at most 1" }) }
        };
        share("rate", self.rate)?;
        share("features", self.features)?;
        share("rows", self.rows)?;
        if self.rounds == 0 {
            return Err(LearnError::Option { option: "rounds", expected: "at least 1" });
        }
        if self.leaves < 2 {
            return Err(LearnError::Option { option: "leaves", expected: "at least 2" });
        }
        if self.most_step.is_nan() || self.most_step <= 0.0 {
            return Err(LearnError::Option { option: "most_step", expected: "above 0" });
        }
        let positive = |v: f64| v >= 0.0 && v.is_finite();
        if !positive(self.l2) || !positive(self.min_rows) || !positive(self.min_hessian) {
            return Err(LearnError::Option {
                option: "l2, min_rows and min_hessian",
                expected: "at least 0",
            });
        }
        Ok(())
    }
}

/// Labelled rows.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Features.
    pub rows: &'a Matrix,
    /// Class of each row, below the number of classes.
    pub classes: &'a [u32],
    /// Weight of each row, above 0; `None` is 1 for all.
    pub weights: Option<&'a [f32]>,
}

impl Samples<'_> {
    pub(crate) fn check(&self, classes: usize) -> Result<(), LearnError> {
        let n = self.rows.rows();
        if n == 0 {
            return Err(LearnError::Empty);
        }
        let same = |what, found: usize| {
            if found == n { Ok(()) } else { Err(LearnError::Shape { what, expected: n, found }) }
        };
        same("classes of the rows", self.classes.len())?;
        same("weights of the rows", self.weights.map_or(n, <[f32]>::len))?;
        if self.weights.is_some_and(|w| w.iter().any(|w| !(w.is_finite() && *w >= 0.0))) {
            return Err(LearnError::Option { option: "weights", expected: "finite and at least 0" });
        }
        if let Some(c) = self.classes.iter().find(|c| **c as usize >= classes) {
            return Err(LearnError::Shape { what: "a class", expected: classes, found: *c as usize });
        }
        if self.classes.iter().all(|c| *c == self.classes[0]) {
            return Err(LearnError::OneClass);
        }
        Ok(())
    }

    pub(crate) fn weight(&self, row: usize) -> f32 {
        self.weights.map_or(1.0, |w| w[row])
    }
}

/// A boosted ensemble. Scores are log odds (two classes, one score) or unnormalised log probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    pub(crate) trees: Trees,
    /// Scores before any tree.
    pub(crate) base: Vec<f32>,
    pub(crate) classes: usize,
}

/// Logistic function.
#[must_use]
pub fn logistic(score: f32) -> f32 {
    1.0 / (1.0 + (-score).exp())
}

/// Turns scores into probabilities.
pub fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for s in scores.iter_mut() {
        *s = (*s - most).exp();
        sum += *s;
    }
    scores.iter_mut().for_each(|s| *s /= sum);
}

impl Boosting {
    /// Trains on `samples` of classes `0..classes`; `held_out` rows decide when to stop.
    ///
    /// # Errors
    /// Rows, labels, weights or options that do not fit; a single class.
    pub fn train(
        samples: &Samples<'_>,
        schema: &[Feature],
        classes: usize,
        options: &Options,
        held_out: Option<&Samples<'_>>,
        pool: &dyn Pool,
    ) -> Result<Self, LearnError> {
        options.check()?;
        samples.check(classes)?;
        if let Some(held_out) = held_out {
            held_out.check(classes).or_else(|e| if e == LearnError::OneClass { Ok(()) } else { Err(e) })?;
        }
        let binning = Binning::fit(samples.rows, schema, pool)?;
        let binned = binning.encode(samples.rows, pool);
        Ok(Self::train_binned(samples, (&binning, &binned), classes, options, held_out, pool))
    }

    fn train_binned(
        samples: &Samples<'_>,
        (binning, binned): (&Binning, &Binned),
        classes: usize,
        options: &Options,
        held_out: Option<&Samples<'_>>,
        pool: &dyn Pool,
    ) -> Self {
        let n = samples.rows.rows();
        let base = base_scores(samples, classes);
        let outputs = base.len();
        let mut scores: Vec<f32> = base.repeat(n);
        let mut model = Self { trees: Trees::new(binned.columns.len(), outputs), base, classes };
        let ground = Ground {
            binning,
            binned,
            growth: Growth {
                leaves: options.leaves,
                depth: options.depth.min(MOST_DEPTH),
                min_rows: options.min_rows,
                min_hessian: options.min_hessian,
                l2: options.l2,
                most_step: options.most_step,
                rate: options.rate,
            },
        };
        // Features with one bin can't divide anything.
        let usable: Vec<usize> = (0..binned.columns.len())
            .filter(|f| {
                let column = &binned.columns[*f];
                column.iter().any(|code| *code != column[0])
            })
            .collect();
        let mut pairs = vec![[0.0; 2]; n * outputs];
        let mut quanta = Quanta::default();
        let mut watch = held_out.filter(|_| options.patience > 0).map(|s| Watch::new(s, &model));
        for round in 0..options.rounds {
            set_gradients(samples, outputs, &scores, &mut pairs, pool);
            quanta.round(&pairs, outputs, options.seed.wrapping_add(round as u64), pool);
            let mut random = Random::new(options.seed, round as u64);
            let mut features = usable.clone();
            if options.features < 1.0 {
                let n = ((features.len() as f64 * options.features).round() as usize).max(1);
                random.draw_first(&mut features, n);
                features.truncate(n);
                features.sort_unstable();
            }
            let mut rows: Vec<u32> = (0..n as u32).collect();
            if options.rows < 1.0 {
                let drawn = ((n as f64 * options.rows).round() as usize).max(1);
                random.draw_first(&mut rows, drawn);
                rows.truncate(drawn);
                rows.sort_unstable();
            }
            let grown = ground.grow(&mut rows, &quanta, &features, pool);
            if rows.len() == n {
                for (values, places) in grown.leaves {
                    for row in &rows[places] {
                        let scores = &mut scores[*row as usize * outputs..][..outputs];
                        scores.iter_mut().zip(&values).for_each(|(s, v)| *s += v);
                    }
                }
            } else {
                grown.tree.add_batch(samples.rows, &mut scores);
            }
            model.trees.append(&grown.tree);
            if let Some(watch) = &mut watch
                && watch.is_over(&model, options.patience)
            {
                break;
            }
        }
        if let Some(watch) = watch {
            model.trees.truncate(watch.best_trees);
        }
        model.trees.lay_out();
        model
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// The trees.
    #[must_use]
    pub const fn trees(&self) -> &Trees {
        &self.trees
    }

    /// Scores of one row, into `out`: one for two classes, else one for each class.
    pub fn score(&self, row: &[f32], out: &mut [f32]) {
        out.copy_from_slice(&self.base);
        self.trees.add(row, out);
    }

    /// Scores of all rows, row by row.
    #[must_use]
    pub fn score_batch(&self, rows: &Matrix) -> Vec<f32> {
        let mut scores: Vec<f32> = self.base.repeat(rows.rows());
        self.trees.add_batch(rows, &mut scores);
        scores
    }

    /// As [`Self::score_batch`], of whole rows one after the other, into memory that is used again.
    pub(crate) fn score_rows(&self, rows: &[f32], out: &mut Vec<f32>) {
        out.clear();
        for _ in rows.chunks_exact(self.trees.features()) {
            out.extend(&self.base);
        }
        self.trees.add_rows(rows, out);
    }

    /// Probabilities of the classes of one row, into `out` of [`Self::classes`] values.
    pub fn predict(&self, row: &[f32], out: &mut [f32]) {
        if self.classes == 2 {
            let mut score = [0.0];
            self.score(row, &mut score);
            self.finish(&score, out);
        } else {
            self.score(row, out);
            softmax(out);
        }
    }

    /// Turns the scores of a row into probabilities.
    pub(crate) fn finish(&self, scores: &[f32], out: &mut [f32]) {
        if self.classes == 2 {
            let p = logistic(scores[0]);
            out.copy_from_slice(&[1.0 - p, p]);
        } else {
            out.copy_from_slice(scores);
            softmax(out);
        }
    }

    /// Probabilities of the classes of all rows, row by row.
    #[must_use]
    pub fn predict_batch(&self, rows: &Matrix) -> Vec<f32> {
        let scores = self.score_batch(rows);
        let mut out = vec![0.0; rows.rows() * self.classes];
        for (scores, out) in scores.chunks(self.base.len()).zip(out.chunks_mut(self.classes)) {
            self.finish(scores, out);
        }
        out
    }
}

impl Pack for Boosting {
    const KIND: [u8; 4] = *b"bost";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let outputs = if self.classes == 2 { 1 } else { self.classes };
        ensure(self.classes >= 2, "the number of classes")?;
        ensure(self.trees.outputs() == outputs && self.base.len() == outputs, "the number of scores")?;
        ensure(self.base.iter().all(|b| b.is_finite()), "the score before any tree")
    }
}

/// Log odds or log shares of the classes.
fn base_scores(samples: &Samples<'_>, classes: usize) -> Vec<f32> {
    let mut shares = vec![0.0_f64; classes];
    for (row, class) in samples.classes.iter().enumerate() {
        shares[*class as usize] += f64::from(samples.weight(row));
    }
    let total: f64 = shares.iter().sum();
    // A class without rows gets the share of a tenth of one.
    let share = |n: f64| (n.max(0.1) / total.max(0.1)).clamp(1e-9, 1.0 - 1e-9);
    if classes == 2 {
        let p = share(shares[1]);
        vec![(p / (1.0 - p)).ln() as f32]
    } else {
        shares.iter().map(|n| share(*n).ln() as f32).collect()
    }
}

/// Rows whose gradients one job makes.
const PART: usize = 16_384;

/// (Gradient, hessian) of the loss for each score of each row.
fn set_gradients(
    samples: &Samples<'_>,
    outputs: usize,
    scores: &[f32],
    pairs: &mut [[f32; 2]],
    pool: &dyn Pool,
) {
    // Friedman's factor for the diagonal approximation of the hessian.
    let factor = outputs as f32 / (outputs as f32 - 1.0);
    let mut parts: Vec<_> = pairs.chunks_mut(PART * outputs).zip(scores.chunks(PART * outputs)).collect();
    pool::each_mut(pool, &mut parts, |part, (pairs, scores)| {
        if outputs == 1 {
            for (i, (pair, score)) in pairs.iter_mut().zip(scores.iter()).enumerate() {
                let row = part * PART + i;
                let (p, w) = (logistic(*score), samples.weight(row));
                *pair = [w * (p - samples.classes[row] as f32), w * p * (1.0 - p)];
            }
            return;
        }
        let mut p = vec![0.0; outputs];
        for (i, (pairs, scores)) in pairs.chunks_mut(outputs).zip(scores.chunks(outputs)).enumerate() {
            let row = part * PART + i;
            let (own, w) = (samples.classes[row] as usize, samples.weight(row));
            p.copy_from_slice(scores);
            softmax(&mut p);
            for (class, (pair, p)) in pairs.iter_mut().zip(&p).enumerate() {
                let is = f32::from(u8::from(class == own));
                *pair = [w * (p - is), w * factor * p * (1.0 - p)];
            }
        }
    });
}

/// The loss on rows held out.
struct Watch<'a> {
    samples: &'a Samples<'a>,
    scores: Vec<f32>,
    trees: usize,
    best: f64,
    best_trees: usize,
    worse: usize,
}

impl<'a> Watch<'a> {
    fn new(samples: &'a Samples<'a>, model: &Boosting) -> Self {
        let scores = model.base.repeat(samples.rows.rows());
        Self { samples, scores, trees: 0, best: f64::INFINITY, best_trees: 0, worse: 0 }
    }

    /// Takes in the newest trees; whether the loss has not fallen for `patience` rounds.
    fn is_over(&mut self, model: &Boosting, patience: usize) -> bool {
        model.trees.add_some(self.trees..model.trees.len(), self.samples.rows, &mut self.scores);
        self.trees = model.trees.len();
        let mut out = vec![0.0; model.classes];
        let (mut loss, mut weight) = (0.0, 0.0);
        for (row, scores) in self.scores.chunks(model.base.len()).enumerate() {
            model.finish(scores, &mut out);
            let w = f64::from(self.samples.weight(row));
            loss -= w * f64::from(out[self.samples.classes[row] as usize]).max(1e-15).ln();
            weight += w;
        }
        loss /= f64::max(weight, 1e-12);
        if loss < self.best {
            (self.best, self.best_trees, self.worse) = (loss, self.trees, 0);
        } else {
            self.worse += 1;
        }
        self.worse >= patience
    }
}
