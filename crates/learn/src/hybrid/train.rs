//! Training of both stages, and of what follows from rows that the models did not learn from: probabilities, thresholds, and
//! how long to go on.

use super::{Hybrid, Kind};
use crate::LearnError;
use crate::calibrate::{Platt, Temperature};
use crate::matrix::{Feature, Kind as FeatureKind, Matrix};
use crate::metric::{Confusion, Ranking};
use crate::pool::Pool;
use crate::random::Random;
use crate::tree::boosting::{self, Boosting, Samples, logistic, softmax};
use crate::tree::forest::{self, Forest};
use std::collections::BTreeMap;

/// Share of attacks of known families that may be called unknown.
const UNKNOWN_SHARE: f64 = 0.02;
/// Exponents tried for the weight of a family by its size.
const EXPONENTS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Passes over the families to find their weights.
const PASSES: usize = 3;
/// Least rise of the mean F1 for which families are weighed by size at all: less is a matter of chance.
const LEAST_BETTER: f64 = 0.01;
/// Least rise of the mean F1 for which a family's weight changes.
const LEAST_STEP: f64 = 1e-3;
/// Least rows held out of a family that counts when families are weighed.
const LEAST_ROWS: usize = 30;

/// What to learn from.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// Features.
    pub rows: &'a Matrix,
    /// What they mean.
    pub schema: &'a [Feature],
    /// Class of each row: a place in `names`.
    pub classes: &'a [u32],
    /// Names of the classes.
    pub names: &'a [String],
    /// The normal class: a place in `names`.
    pub normal: u32,
    /// Weight of each row; `None` is 1 for all.
    pub weights: Option<&'a [f32]>,
    /// Rows of a group are never divided between learning and checking; `None` makes groups of equal rows.
    pub groups: Option<&'a [u64]>,
}

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What grows the trees.
    pub kind: Kind,
    /// Probability of being normal from which on a row is, above 0 and below 1.
    pub normal_at: f32,
    /// Precision that what is found must have; `None` takes the threshold of the highest F1.
    pub precision: Option<f64>,
    /// Seed of everything drawn at random.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { kind: Kind::Hybrid, normal_at: 0.85, precision: None, seed: 0 }
    }
}

/// A part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Normal or not.
    Gate,
    /// Which family.
    Families,
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The part at work.
    pub step: Step,
    /// Models of the part that are done.
    pub done: usize,
    /// Models of the part.
    pub of: usize,
}

impl Hybrid {
    /// Trains both stages. `progress` is told after each model.
    ///
    /// # Errors
    /// Shapes that do not fit, no rows, one class only, or options out of range.
    pub fn train(
        training: &Training<'_>,
        options: &Options,
        pool: &dyn Pool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LearnError> {
        check(training, options)?;
        let Training { rows, schema, classes, names, normal, weights, .. } = *training;
        let groups = dense_groups(training);
        let attack: Vec<u32> = classes.iter().map(|c| u32::from(*c != normal)).collect();
        let samples = Samples { rows, classes: &attack, weights };
        let gate = fit(&samples, schema, 2, &groups, Step::Gate, options, pool, progress)?;
        let held: Vec<(f32, bool)> =
            gate.rows.iter().zip(&gate.scores).map(|(r, s)| (logistic(*s), attack[*r] == 1)).collect();
        let ranking = Ranking::new(held);
        let best = ranking.best_f1().0;
        let threshold = options.precision.and_then(|p| ranking.threshold_for_precision(p)).unwrap_or(best);

        let others: Vec<u32> = (0..names.len() as u32).filter(|c| *c != normal).collect();
        let places: Vec<usize> = (0..rows.rows()).filter(|r| attack[*r] == 1).collect();
        let family = |class: u32| (if class > normal { class - 1 } else { class }) as usize;
        let mut shares = vec![0.0_f32; others.len()];
        let weight = |r: usize| weights.map_or(1.0, |w| w[r]);
        places.iter().for_each(|r| shares[family(classes[*r])] += weight(*r));
        let total: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|s| *s /= total.max(f32::MIN_POSITIVE));
        let mut hybrid = Self {
            kind: options.kind,
            schema: schema.to_vec(),
            names: names.to_vec(),
            normal,
            gate: gate.model,
            families: None,
            factors: vec![1.0; others.len()],
            classes: others,
            shares,
            usual: usual(training),
            normal_at: options.normal_at,
            threshold: threshold.min(1.0),
            known_at: 0.0,
        };
        if hybrid.shares.iter().filter(|s| **s > 0.0).count() > 1 {
            let families: Vec<u32> = places.iter().map(|r| family(classes[*r]) as u32).collect();
            let own: Vec<f32> = places.iter().map(|r| weight(*r)).collect();
            let groups: Vec<u32> = places.iter().map(|r| groups[*r]).collect();
            let selected = rows.select(&places);
            let samples = Samples { rows: &selected, classes: &families, weights: Some(&own) };
            let k = hybrid.classes.len();
            let second = fit(&samples, schema, k, &groups, Step::Families, options, pool, progress)?;
            hybrid.settle(&second, &families);
            hybrid.families = Some(second.model);
        }
        Ok(hybrid)
    }

    /// Sets what follows from the second stage's scores of rows held out.
    fn settle(&mut self, fitted: &Fitted, families: &[u32]) {
        let k = self.classes.len();
        let mut p: Vec<f32> = Vec::with_capacity(fitted.rows.len() * k);
        for scores in fitted.scores.chunks(fitted.scores.len() / fitted.rows.len().max(1)) {
            let begin = p.len();
            if let [score] = scores {
                p.extend([logistic(-score), logistic(*score)]);
            } else {
                p.extend(scores);
                softmax(&mut p[begin..]);
            }
        }
        let truth: Vec<usize> = fitted.rows.iter().map(|r| families[*r] as usize).collect();
        let mut rows = vec![0; k];
        truth.iter().for_each(|t| rows[*t] += 1);
        // Of a family of few rows each is worth more than any rule could gain.
        let counted: Vec<usize> = (0..k).filter(|f| rows[*f] >= LEAST_ROWS).collect();
        let f1 = |factors: &[f32]| {
            let mut confusion = Confusion::new(k);
            for (p, truth) in p.chunks(k).zip(&truth) {
                let value = |i: usize| p[i] * factors[i];
                let decided = (0..k).reduce(|a, b| if value(b) > value(a) { b } else { a });
                confusion.add(*truth, decided.unwrap_or(0));
            }
            counted.iter().map(|f| confusion.of(*f).f1()).sum::<f64>() / counted.len().max(1) as f64
        };
        let by_size = |exponent: f64| -> Vec<f32> {
            self.shares.iter().map(|s| f64::from(s.max(1e-6)).powf(-exponent) as f32).collect()
        };
        let (plain, mut factors) = (f1(&by_size(0.0)), by_size(0.0));
        let mut best = plain;
        for exponent in EXPONENTS {
            let found = f1(&by_size(exponent));
            if found > best.max(plain + LEAST_BETTER) {
                (best, factors) = (found, by_size(exponent));
            }
        }
        // One family at a time, in steps too coarse to fit single rows.
        for family in counted.iter().copied().cycle().take(counted.len() * PASSES) {
            for by in [0.6, 1.0 / 0.6] {
                let mut moved = factors.clone();
                moved[family] *= by;
                let found = f1(&moved);
                if found > best + LEAST_STEP {
                    (best, factors) = (found, moved);
                }
            }
        }
        self.factors = factors;
        // The answer is a set: all families whose probability is at least what all but a few rows gave their own family
        // (Vovk et al., 2005). Unknown is the empty set.
        let mut own: Vec<f32> = p.chunks(k).zip(&truth).map(|(p, t)| p[*t]).collect();
        own.sort_unstable_by(f32::total_cmp);
        self.known_at = own.get((own.len() as f64 * UNKNOWN_SHARE) as usize).copied().unwrap_or(0.0);
    }
}

fn check(training: &Training<'_>, options: &Options) -> Result<(), LearnError> {
    let Training { rows, schema, classes, names, normal, weights, groups } = *training;
    let samples = Samples { rows, classes, weights };
    samples.check(names.len())?;
    let same = |what, found: usize, expected: usize| {
        if found == expected { Ok(()) } else { Err(LearnError::Shape { what, expected, found }) }
    };
    same("features of the rows", rows.features(), schema.len())?;
    same("groups of the rows", groups.map_or(rows.rows(), <[u64]>::len), rows.rows())?;
    if normal as usize >= names.len() {
        return Err(LearnError::Shape {
            what: "the normal class",
            expected: names.len(),
            found: normal as usize,
        });
    }
    if !classes.contains(&normal) {
        return Err(LearnError::OneClass);
    }
    if !(options.normal_at > 0.0 && options.normal_at < 1.0) {
        return Err(LearnError::Option { option: "normal_at", expected: "above 0 and below 1" });
    }
    if options.precision.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err(LearnError::Option { option: "precision", expected: "between 0 and 1" });
    }
    Ok(())
}

/// Groups numbered from 0 by first appearance.
fn dense_groups(training: &Training<'_>) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let mut dense = |key: u64| {
        let next = numbers.len() as u32;
        *numbers.entry(key).or_insert(next)
    };
    match training.groups {
        Some(groups) => groups.iter().map(|g| dense(*g)).collect(),
        None => training.rows.iter().map(|r| dense(hash(r))).collect(),
    }
}

/// FNV-1a over the bits of a row, mixed at the end.
fn hash(row: &[f32]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for v in row {
        h = (h ^ u64::from(v.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
        h ^= h >> 29;
    }
    h
}

/// Median or most frequent category of each feature in normal rows.
fn usual(training: &Training<'_>) -> Vec<f32> {
    let of = |f: usize| {
        let rows = training.rows.iter().zip(training.classes);
        let mut values: Vec<f32> = rows.filter(|(_, c)| **c == training.normal).map(|(r, _)| r[f]).collect();
        match training.schema[f].kind {
            FeatureKind::Numeric => {
                values.sort_unstable_by(f32::total_cmp);
                values.get(values.len() / 2).copied().unwrap_or(f32::NAN)
            }
            FeatureKind::Categorical(_) => {
                let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
                values.iter().for_each(|v| *counts.entry(v.to_bits()).or_default() += 1);
                let most = counts.iter().max_by_key(|(value, n)| (**n, std::cmp::Reverse(**value)));
                most.map_or(f32::NAN, |(bits, _)| f32::from_bits(*bits))
            }
        }
    };
    (0..training.schema.len()).map(of).collect()
}

/// A model, and its scores of rows that the trees behind those scores did not learn from.
struct Fitted {
    model: Boosting,
    rows: Vec<usize>,
    /// As many of each row as the model has base scores.
    scores: Vec<f32>,
}

/// Trains one stage.
#[expect(clippy::too_many_arguments, reason = "one call, each argument of another kind")]
fn fit(
    samples: &Samples<'_>,
    schema: &[Feature],
    classes: usize,
    groups: &[u32],
    step: Step,
    options: &Options,
    pool: &dyn Pool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fitted, LearnError> {
    let n = samples.rows.rows();
    let fold =
        |r: usize, folds: u64| Random::new(options.seed ^ 0x666f_6c64, u64::from(groups[r])).bits() % folds;
    let of = match options.kind {
        Kind::Forest | Kind::Boosting => 1,
        Kind::Hybrid => FOLDS as usize + 1,
    };
    let mut done = 0;
    let mut tell = || {
        done += 1;
        progress(Progress { step, done, of });
    };
    // A fold may be empty in small data; then there is nothing to check by, and nothing to stop early.
    let divide = |fold_of: &dyn Fn(usize) -> bool| {
        let (out, kept): (Vec<usize>, Vec<usize>) = (0..n).partition(|r| fold_of(*r));
        (Part::new(samples, &kept), Part::new(samples, &out), out)
    };
    let boost = |kept: &Part, out: &Part, options: &boosting::Options| {
        let held = Some(out.samples()).filter(|s| !s.classes.is_empty());
        Boosting::train(&kept.samples(), schema, classes, options, held.as_ref(), pool)
    };
    let fitted = match options.kind {
        Kind::Forest => {
            let plant = forest::Options { seed: options.seed, ..forest::Options::default() };
            let (forest, mut scores) = Forest::train_grouped(samples, schema, classes, &plant, groups, pool)?;
            let outputs = forest.trees.outputs();
            // A row that every tree drew, which happens in small data, has no score.
            let rows: Vec<usize> = (0..n).filter(|r| !scores[r * outputs].is_nan()).collect();
            scores.retain(|s| !s.is_nan());
            let model = Boosting { trees: forest.trees, base: vec![0.0; outputs], classes };
            Fitted { model, rows, scores }
        }
        Kind::Boosting => {
            let (kept, out, rows) = divide(&|r| fold(r, SEVENTH) == 0);
            let model = boost(&kept, &out, &boosting::Options { seed: options.seed, ..QUICK })?;
            let scores = model.score_batch(&out.rows);
            Fitted { model, rows, scores }
        }
        Kind::Hybrid => {
            let how = match step {
                Step::Gate => PATIENT,
                Step::Families => THOROUGH,
            };
            let (mut rows, mut scores, mut rounds) = (Vec::with_capacity(n), Vec::new(), 0);
            for b in 0..FOLDS {
                let (kept, out, places) = divide(&|r| fold(r, FOLDS) == b);
                let own = boosting::Options { seed: options.seed.wrapping_add(b), ..how };
                let model = boost(&kept, &out, &own)?;
                rounds += model.trees.len();
                scores.extend(model.score_batch(&out.rows));
                rows.extend(places);
                tell();
            }
            // More rows bear a little more.
            let rounds = (rounds as f64 / FOLDS as f64 * 1.1).ceil().clamp(1.0, how.rounds as f64);
            let own = boosting::Options { seed: options.seed, patience: 0, rounds: rounds as usize, ..how };
            let model = Boosting::train(samples, schema, classes, &own, None, pool)?;
            Fitted { model, rows, scores }
        }
    };
    tell();
    Ok(fitted.calibrated(samples))
}

impl Fitted {
    /// Brings scores to the size at which they are log odds.
    fn calibrated(mut self, samples: &Samples<'_>) -> Self {
        let classes: Vec<u32> = self.rows.iter().map(|r| samples.classes[*r]).collect();
        let (scale, offset) = if self.model.base.len() == 1 {
            let pairs: Vec<(f32, bool)> =
                self.scores.iter().zip(&classes).map(|(s, c)| (*s, *c == 1)).collect();
            // One class only, or a model that knows nothing: scores stay as they are.
            match Platt::fit(&pairs) {
                Ok(platt) if platt.a > 0.0 => (platt.a as f32, platt.b as f32),
                _ => (1.0, 0.0),
            }
        } else {
            (Temperature::fit(&self.scores, &classes).map_or(1.0, |t| 1.0 / t.degrees as f32), 0.0)
        };
        self.model.trees.scale(scale);
        self.model.base.iter_mut().for_each(|b| *b = *b * scale + offset);
        self.scores.iter_mut().for_each(|s| *s = *s * scale + offset);
        self
    }
}

/// Parts of which a hybrid leaves out one at a time.
const FOLDS: u64 = 4;
/// Parts of which quick boosting leaves out one.
const SEVENTH: u64 = 7;

/// How a model is trained quickly. As LightGBM does unless told otherwise, but for a bound on depth, which the time to judge
/// a row depends on, and doubt (`l2`), without which families of few rows make others fall apart.
const QUICK: boosting::Options = boosting::Options {
    rounds: 100,
    rate: 0.1,
    leaves: 31,
    depth: 12,
    min_rows: 20.0,
    min_hessian: 1e-3,
    l2: 1.0,
    most_step: 5.0,
    features: 1.0,
    rows: 1.0,
    patience: 20,
    seed: 0,
};

/// How the models of a hybrid's second stage are trained: larger trees, on half of the features each.
const THOROUGH: boosting::Options = boosting::Options { leaves: 63, features: 0.5, ..QUICK };

/// How those of its first stage are: in smaller steps too, which costs three times the trees. It pays where few false alarms
/// count, far out on the tail of the scores; families are told apart as well without.
const PATIENT: boosting::Options = boosting::Options { rounds: 300, rate: 0.05, patience: 30, ..THOROUGH };

/// Some of the rows.
struct Part {
    rows: Matrix,
    classes: Vec<u32>,
    weights: Vec<f32>,
}

impl Part {
    fn new(samples: &Samples<'_>, places: &[usize]) -> Self {
        Self {
            rows: samples.rows.select(places),
            classes: places.iter().map(|r| samples.classes[*r]).collect(),
            weights: places.iter().map(|r| samples.weight(*r)).collect(),
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples { rows: &self.rows, classes: &self.classes, weights: Some(&self.weights) }
    }
}
