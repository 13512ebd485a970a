//! Scores into probabilities: conformal p-values for anomaly scores, isotonic and Platt scaling for classes.
//!
//! A threshold is never typed in: it follows from how many false alarms a host may cause a day ([`Budget`]).

use crate::LearnError;
use crate::codec::{CodecError, Pack, ensure};
use serde::{Deserialize, Serialize};

/// Highest scores of normal data that are kept one by one. Below them p-values are coarser than one in a thousand of
/// themselves and a summary does.
const TAIL: usize = 4096;
/// Steps of the summary below the tail.
const BODY: usize = 1024;

/// Scores of normal data that a model did not learn from, to say how unusual another score is.
///
/// The p-value of a score is (1 + number of scores at least as high) / (1 + number of scores): whatever the scores are,
/// normal data gets a value of at most p about a share p of the time (Vovk, Gammerman and Shafer, "Algorithmic Learning in
/// a Random World", 2005; Laxhammar, 2014). Rounded up where scores are summarised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    /// Scores, descending, and how many there are at or above each.
    steps: Vec<(f32, u32)>,
    count: u32,
}

impl Conformal {
    /// Calibrates on scores of normal data, higher for stranger. Scores that are no numbers count as the highest.
    ///
    /// # Errors
    /// No scores.
    pub fn fit(scores: impl IntoIterator<Item = f32>) -> Result<Self, LearnError> {
        let mut all: Vec<f32> =
            scores.into_iter().map(|s| if s.is_nan() { f32::INFINITY } else { s }).collect();
        if all.is_empty() {
            return Err(LearnError::Empty);
        }
        all.sort_unstable_by(|a, b| b.total_cmp(a));
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let body = all.len().saturating_sub(TAIL);
        let mut steps: Vec<(f32, u32)> = Vec::with_capacity(all.len().min(TAIL + BODY));
        let mut keep = |i: usize| {
            let (score, rank) = (all[i], i as u32 + 1);
            match steps.last_mut() {
                Some(last) if last.0 == score => last.1 = rank,
                _ => steps.push((score, rank)),
            }
        };
        (0..all.len().min(TAIL)).for_each(&mut keep);
        for step in 1..=BODY.min(body) {
            keep(TAIL + body * step / BODY.min(body) - 1);
        }
        Ok(Self { steps, count })
    }

    /// The p-value of a score, above 0 and at most 1.
    #[must_use]
    pub fn p_value(&self, score: f32) -> f64 {
        // Scores kept only in summary lie between two steps and count with the lower one.
        let below = self.steps.partition_point(|(s, _)| *s >= score);
        let exact = below == 0 || self.steps[below - 1].0 == score || below <= TAIL.min(self.steps.len() - 1);
        let at_least = match (exact, below) {
            (true, 0) => 0,
            (true, n) => self.steps[n - 1].1,
            (false, n) => self.steps.get(n).map_or(self.count, |s| s.1),
        };
        (f64::from(at_least) + 1.0) / (f64::from(self.count) + 1.0)
    }

    /// The lowest p-value there can be: less can't be told from this many scores.
    #[must_use]
    pub fn finest(&self) -> f64 {
        1.0 / (f64::from(self.count) + 1.0)
    }

    /// The p-value at or below which to speak, so that normal data speaks at most as often as the budget says; `None` if
    /// it allows less than [`Self::finest`], where nothing could speak.
    #[must_use]
    pub fn level(&self, budget: &Budget) -> Option<f64> {
        let level = budget.alarms_per_day / budget.judgements_per_day.max(1e-9);
        (level >= self.finest()).then_some(level.min(1.0))
    }
}

impl Pack for Conformal {
    const KIND: [u8; 4] = *b"conf";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let falls = |a: &(f32, u32), b: &(f32, u32)| a.0 > b.0 && a.1 < b.1;
        ensure(self.steps.is_sorted_by(falls), "the order of scores")?;
        let ends = |(s, rank): &(f32, u32)| !s.is_nan() && *rank > 0 && *rank <= self.count;
        ensure(!self.steps.is_empty() && self.steps.iter().all(ends), "the number of scores")
    }
}

/// How many false alarms are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// False alarms of one host a day.
    pub alarms_per_day: f64,
    /// How often one host is judged a day.
    pub judgements_per_day: f64,
}

/// Combines p-values of views that may depend on each other, for the hypothesis that at least `k` of them see something:
/// the `k`-th smallest times their number divided by `k` (Rüger, 1978). At most 1; NaN counts as 1.
#[must_use]
pub fn at_least_of(k: usize, p_values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = p_values.iter().map(|p| if p.is_nan() { 1.0 } else { *p }).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.get(k.wrapping_sub(1)) {
        Some(p) => (p * sorted.len() as f64 / k as f64).min(1.0),
        None => 1.0,
    }
}

/// A non-decreasing function from score to probability, by pooling adjacent violators (Ayer et al., 1955; Zadrozny and
/// Elkan, 2002). Linear between the means of blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// (score, probability), both ascending.
    points: Vec<(f32, f32)>,
}

impl Isotonic {
    /// Fits to (score, is positive, weight).
    ///
    /// # Errors
    /// No rows with a score and a weight.
    pub fn fit(samples: impl IntoIterator<Item = (f32, bool, f32)>) -> Result<Self, LearnError> {
        let mut all: Vec<(f32, bool, f32)> =
            samples.into_iter().filter(|(s, _, w)| s.is_finite() && *w > 0.0).collect();
        if all.is_empty() {
            return Err(LearnError::Empty);
        }
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks: weight, weighted score, weighted positives.
        let mut blocks: Vec<[f64; 3]> = Vec::new();
        let mut last = f32::NAN;
        for (score, positive, weight) in all {
            let w = f64::from(weight);
            let one = [w, w * f64::from(score), if positive { w } else { 0.0 }];
            // Equal scores get equal probabilities.
            if score == last
                && let Some(block) = blocks.last_mut()
            {
                (0..3).for_each(|i| block[i] += one[i]);
            } else {
                blocks.push(one);
            }
            last = score;
            while let [.., a, b] = blocks[..] {
                if a[2] / a[0] < b[2] / b[0] {
                    break;
                }
                blocks.pop();
                if let Some(block) = blocks.last_mut() {
                    (0..3).for_each(|i| block[i] = a[i] + b[i]);
                }
                // What follows must not join the pooled block by its score alone.
                last = f32::NAN;
            }
        }
        let points = blocks.iter().map(|b| ((b[1] / b[0]) as f32, (b[2] / b[0]) as f32)).collect();
        Ok(Self { points })
    }

    /// The probability for a score.
    #[must_use]
    pub fn probability(&self, score: f32) -> f32 {
        let above = self.points.partition_point(|(s, _)| *s <= score);
        match (above.checked_sub(1).and_then(|i| self.points.get(i)), self.points.get(above)) {
            (Some((s0, p0)), Some((s1, p1))) => p0 + (p1 - p0) * (score - s0) / (s1 - s0),
            (Some((_, p)), None) | (None, Some((_, p))) => *p,
            (None, None) => f32::NAN,
        }
    }
}

impl Pack for Isotonic {
    const KIND: [u8; 4] = *b"isot";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        let rises = |a: &(f32, f32), b: &(f32, f32)| a.0 < b.0 && a.1 <= b.1;
        ensure(!self.points.is_empty() && self.points.is_sorted_by(rises), "the order of scores")?;
        let fits = |(s, p): &(f32, f32)| s.is_finite() && (0.0..=1.0).contains(p);
        ensure(self.points.iter().all(fits), "a probability")
    }
}

/// Probability = logistic(a × score + b) (Platt, 1999), fitted by Newton's method with his smoothed targets (Lin, Lin and
/// Weng, "A note on Platt's probabilistic outputs", 2007).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Slope.
    pub a: f64,
    /// Offset.
    pub b: f64,
}

impl Platt {
    /// Fits to (score, is positive).
    ///
    /// # Errors
    /// One class only, or none.
    pub fn fit(samples: &[(f32, bool)]) -> Result<Self, LearnError> {
        let positives = samples.iter().filter(|(_, y)| *y).count() as f64;
        let negatives = samples.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 {
            return Err(if samples.is_empty() { LearnError::Empty } else { LearnError::OneClass });
        }
        let target =
            |y: bool| if y { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) };
        let loss = |a: f64, b: f64| -> f64 {
            samples
                .iter()
                .map(|(s, y)| {
                    let z = a * f64::from(*s) + b;
                    // log(1 + e^z) - t z without overflow.
                    z.max(0.0) + (-z.abs()).exp().ln_1p() - target(*y) * z
                })
                .sum()
        };
        let (mut a, mut b) = (0.0, ((positives + 1.0) / (negatives + 1.0)).ln());
        let mut now = loss(a, b);
        for _ in 0..100 {
            let (mut haa, mut hab, mut hbb, mut ga, mut gb) = (1e-12, 0.0, 1e-12, 0.0, 0.0);
            for (s, y) in samples {
                let s = f64::from(*s);
                let p = 1.0 / (1.0 + (-(a * s + b)).exp());
                let (d, h) = (p - target(*y), p * (1.0 - p));
                (ga, gb) = (ga + d * s, gb + d);
                (haa, hab, hbb) = (haa + h * s * s, hab + h * s, hbb + h);
            }
            if ga.abs() < 1e-9 && gb.abs() < 1e-9 {
                break;
            }
            let determinant = haa * hbb - hab * hab;
            let (da, db) = (-(hbb * ga - hab * gb) / determinant, -(haa * gb - hab * ga) / determinant);
            let mut step = 1.0;
            while step > 1e-10 {
                let next = loss(a + step * da, b + step * db);
                if next < now {
                    (a, b, now) = (a + step * da, b + step * db, next);
                    break;
                }
                step /= 2.0;
            }
            if step <= 1e-10 {
                break;
            }
        }
        Ok(Self { a, b })
    }

    /// The probability for a score.
    #[must_use]
    pub fn probability(&self, score: f32) -> f32 {
        (1.0 / (1.0 + (-(self.a * f64::from(score) + self.b)).exp())) as f32
    }
}

impl Pack for Platt {
    const KIND: [u8; 4] = *b"plat";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(self.a.is_finite() && self.b.is_finite(), "the slope or offset")
    }
}

/// Probabilities = softmax(scores / degrees): scores of several classes brought to the size at which what happened was
/// likeliest (Guo et al., "On Calibration of Modern Neural Networks", 2017).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Above 1 where the scores claimed too much.
    pub degrees: f64,
}

impl Temperature {
    /// Fits to the scores of rows, one for each class, and the classes of the rows. Between 0.02 and 50 degrees.
    ///
    /// # Errors
    /// No rows; scores that are not as many for each row; a class without a score.
    pub fn fit(scores: &[f32], classes: &[u32]) -> Result<Self, LearnError> {
        if classes.is_empty() {
            return Err(LearnError::Empty);
        }
        let k = scores.len() / classes.len();
        if k == 0 || !scores.len().is_multiple_of(classes.len()) || classes.iter().any(|c| *c as usize >= k) {
            let expected = classes.len() * k.max(1);
            return Err(LearnError::Shape { what: "scores of the rows", expected, found: scores.len() });
        }
        let loss = |log: f64| -> f64 {
            let by = (-log).exp();
            let of = |(s, class): (&[f32], &u32)| {
                let scaled = |s: &f32| f64::from(*s) * by;
                let most = s.iter().map(scaled).fold(f64::NEG_INFINITY, f64::max);
                most + s.iter().map(|s| (scaled(s) - most).exp()).sum::<f64>().ln()
                    - scaled(&s[*class as usize])
            };
            scores.chunks(k).zip(classes).map(of).sum()
        };
        // The loss has one valley over the logarithm of degrees: golden-section search (Kiefer, 1953).
        let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (0.02_f64.ln(), 50.0_f64.ln());
        let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
        let (mut at_a, mut at_b) = (loss(a), loss(b));
        for _ in 0..30 {
            if at_a < at_b {
                (high, b, at_b) = (b, a, at_a);
                a = high - ratio * (high - low);
                at_a = loss(a);
            } else {
                (low, a, at_a) = (a, b, at_b);
                b = low + ratio * (high - low);
                at_b = loss(b);
            }
        }
        Ok(Self { degrees: f64::midpoint(low, high).exp() })
    }
}

/// Expected calibration error: the mean gap between probability and frequency over `bins` equal steps of probability,
/// weighted by rows. NaN without rows.
#[must_use]
pub fn calibration_error(samples: &[(f32, bool)], bins: usize) -> f64 {
    let mut sums = vec![[0.0_f64; 3]; bins.max(1)];
    for (p, y) in samples {
        let at = ((f64::from(*p) * sums.len() as f64) as usize).min(sums.len() - 1);
        let cell = &mut sums[at];
        (cell[0], cell[1], cell[2]) =
            (cell[0] + 1.0, cell[1] + f64::from(*p), cell[2] + f64::from(u8::from(*y)));
    }
    sums.iter().map(|[_, p, y]| (p - y).abs()).sum::<f64>() / samples.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn p_values_count_the_scores_at_least_as_high() {
        let c = Conformal::fit([1.0, 2.0, 2.0, 3.0]).unwrap();
        for (score, p) in [(4.0, 0.2), (3.0, 0.4), (2.5, 0.4), (2.0, 0.8), (1.5, 0.8), (1.0, 1.0), (0.0, 1.0)]
        {
            assert!((c.p_value(score) - p).abs() < 1e-12, "{score}: {}", c.p_value(score));
        }
        assert!(Conformal::fit([]).is_err());
    }

    #[test]
    fn a_summary_never_makes_a_score_stranger_than_it_is() {
        let mut random = Random::new(1, 0);
        let scores: Vec<f32> = (0..50_000).map(|_| random.normal() as f32).collect();
        let c = Conformal::fit(scores.iter().copied()).unwrap();
        for probe in [-3.0_f32, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5] {
            let exact = (1 + scores.iter().filter(|s| **s >= probe).count()) as f64 / 50_001.0;
            let p = c.p_value(probe);
            assert!(p >= exact - 1e-12 && p <= exact + 1.1 / 1024.0, "{probe}: {p} for {exact}");
        }
    }

    #[test]
    fn fresh_normal_scores_are_flagged_as_often_as_the_level_says() {
        let mut random = Random::new(2, 0);
        let c = Conformal::fit((0..20_000).map(|_| random.normal() as f32)).unwrap();
        let level = c.level(&Budget { alarms_per_day: 10.0, judgements_per_day: 1000.0 }).unwrap();
        let flagged = (0..20_000).filter(|_| c.p_value(random.normal() as f32) <= level).count();
        assert!((150..250).contains(&flagged), "{flagged} of 200");
        assert_eq!(c.level(&Budget { alarms_per_day: 0.01, judgements_per_day: 8640.0 }), None);
    }

    #[test]
    fn two_of_three_need_two() {
        assert!((at_least_of(2, &[0.001, 0.9, 0.01]) - 0.015).abs() < 1e-12);
        assert_eq!(at_least_of(2, &[0.001, 0.9, 0.8]), 1.0);
        assert_eq!(at_least_of(2, &[0.001, f64::NAN]), 1.0);
        assert_eq!(at_least_of(4, &[0.1]), 1.0);
        assert_eq!(at_least_of(0, &[0.1]), 1.0);
    }

    #[test]
    fn isotonic_pools_what_is_out_of_order() {
        let fit = |list: &[(f32, bool)]| Isotonic::fit(list.iter().map(|(s, y)| (*s, *y, 1.0))).unwrap();
        let f = fit(&[(1.0, false), (2.0, true), (3.0, false), (4.0, true)]);
        for (score, p) in [(0.0, 0.0), (1.0, 0.0), (2.5, 0.5), (4.0, 1.0), (9.0, 1.0), (1.75, 0.25)] {
            assert!((f.probability(score) - p).abs() < 1e-6, "{score}: {}", f.probability(score));
        }
        let f = fit(&[(1.0, true), (1.0, false)]);
        assert_eq!(f.probability(1.0), 0.5);
        assert!(Isotonic::fit([(f32::NAN, true, 1.0)]).is_err());
    }

    #[test]
    fn both_scalings_calibrate_what_a_logistic_world_scores() {
        let mut random = Random::new(3, 0);
        let mut draw = |n: usize| -> Vec<(f32, bool)> {
            (0..n)
                .map(|_| {
                    let s = random.normal() as f32;
                    let p = 1.0 / (1.0 + f64::from(-(2.0 * s - 1.0)).exp());
                    (s, random.unit() < p)
                })
                .collect()
        };
        let (train, test) = (draw(20_000), draw(20_000));
        let platt = Platt::fit(&train).unwrap();
        assert!((platt.a - 2.0).abs() < 0.1 && (platt.b + 1.0).abs() < 0.1, "{platt:?}");
        let isotonic = Isotonic::fit(train.iter().map(|(s, y)| (*s, *y, 1.0))).unwrap();
        let error = |f: &dyn Fn(f32) -> f32| {
            calibration_error(&test.iter().map(|(s, y)| (f(*s), *y)).collect::<Vec<_>>(), 10)
        };
        assert!(error(&|s| platt.probability(s)) < 0.015);
        assert!(error(&|s| isotonic.probability(s)) < 0.02);
        assert!(error(&|s| s.clamp(0.0, 1.0)) > 0.05, "the figure can tell");
        assert_eq!(Platt::fit(&[(1.0, true)]), Err(LearnError::OneClass));
    }

    #[test]
    fn a_temperature_takes_back_what_scores_claim_too_much() {
        let mut random = Random::new(6, 0);
        let (mut scores, mut classes) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let z: Vec<f32> = (0..3).map(|_| random.normal() as f32).collect();
            let sum: f32 = z.iter().map(|z| z.exp()).sum();
            let draw = random.unit() as f32 * sum;
            classes.push(u32::from(draw > z[0].exp()) + u32::from(draw > z[0].exp() + z[1].exp()));
            scores.extend(z.iter().map(|z| z * 3.0));
        }
        let t = Temperature::fit(&scores, &classes).unwrap();
        assert!((t.degrees - 3.0).abs() < 0.25, "{t:?}");
        assert!(Temperature::fit(&[], &[]).is_err());
        assert!(Temperature::fit(&[0.0, 1.0], &[5]).is_err());
    }
}
