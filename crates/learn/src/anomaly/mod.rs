//! What is unusual: three views that learn from normal data alone, and a baseline for them to beat.
//!
//! - [`zscore`], statistical: each feature against what this entity does at this hour.
//! - [`dbscan`], spatial: far from every dense region.
//! - [`vae`], temporal: a sequence of windows that can't be told from a few numbers.
//! - [`isolation`], the baseline: quickly alone when space is cut at random.
//!
//! All give a score that grows with strangeness and means nothing by itself; [`crate::calibrate::Conformal`] turns it into
//! a p-value.

pub mod dbscan;
pub mod isolation;
pub mod vae;
pub mod zscore;

use crate::codec::{CodecError, ensure};
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};

/// Brings features to like sizes: heavy tails through log1p, then median 0 and a typical deviation of 1.
///
/// The deviation is 1.4826 × the median absolute deviation, which is the standard deviation where data is normal; where
/// more than half of the values are the same, the mean absolute deviation × 1.2533 stands in (Iglewicz and Hoaglin, "How to
/// Detect and Handle Outliers", 1993).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    features: Vec<Scale>,
}

/// Of one feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Whether log1p of the size comes first, with the sign kept.
    pub log: bool,
    /// Median, after that.
    pub median: f32,
    /// Typical deviation, at least the floor.
    pub deviation: f32,
}

/// Ratio between standard deviation and median absolute deviation of normal data: 1 / Φ⁻¹(3/4).
pub(crate) const MAD_TO_SIGMA: f64 = 1.4826;
/// Ratio between standard deviation and mean absolute deviation of normal data: √(π/2).
const MEAN_AD_TO_SIGMA: f64 = 1.2533;
/// Least deviation, as a share of the median's size (after log1p: about as many percent), and absolutely: what varies less
/// has no scale of its own, and a difference of a hundredth must not be a sensation.
const FLOOR: (f64, f64) = (0.05, 0.05);
/// A feature without negative values whose 99th percentile is more than this many medians (at least 1) has a heavy tail.
const HEAVY: f64 = 20.0;

impl Scale {
    /// Of some values; those that are no numbers are left out. Of none: median 0 and deviation 1.
    #[must_use]
    pub fn fit(values: &mut Vec<f32>) -> Self {
        values.retain(|v| v.is_finite());
        if values.is_empty() {
            return Self { log: false, median: 0.0, deviation: 1.0 };
        }
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| f64::from(values[((values.len() - 1) as f64 * share).round() as usize]);
        let log = values[0] >= 0.0 && at(0.99) > HEAVY * at(0.5).max(1.0);
        if log {
            values.iter_mut().for_each(|v| *v = v.ln_1p());
        }
        let median = middle(values);
        let mut apart: Vec<f32> = values.iter().map(|v| (v - median).abs()).collect();
        apart.sort_unstable_by(f32::total_cmp);
        let mad = f64::from(middle(&apart)) * MAD_TO_SIGMA;
        let mean = apart.iter().map(|a| f64::from(*a)).sum::<f64>() / apart.len() as f64 * MEAN_AD_TO_SIGMA;
        let deviation = if mad > 0.0 { mad } else { mean };
        let floor = (FLOOR.0 * f64::from(median.abs())).max(FLOOR.1);
        Self { log, median, deviation: deviation.max(floor) as f32 }
    }

    /// Deviations from the median, signed. 0 for what is no number: what is absent is not strange.
    #[must_use]
    pub fn of(&self, value: f32) -> f32 {
        if value.is_nan() {
            return 0.0;
        }
        let v = if self.log { value.abs().ln_1p().copysign(value) } else { value };
        ((v - self.median) / self.deviation).clamp(-1e6, 1e6)
    }

    /// The value that lies `deviations` from the median.
    #[must_use]
    pub fn value(&self, deviations: f32) -> f32 {
        let v = self.median + deviations * self.deviation;
        if self.log { v.abs().exp_m1().copysign(v) } else { v }
    }
}

/// Sum of a function of pairs, in eight lanes, which the compiler may put side by side: one sum has an order.
#[inline]
fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (x, y) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = x.remainder().iter().zip(y.remainder()).map(|(a, b)| f(*a, *b)).sum();
    for (x, y) in x.zip(y) {
        for (lane, (a, b)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += f(*a, *b);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// The middle of sorted values; of two, their mean. 0 of none.
fn middle(sorted: &[f32]) -> f32 {
    let n = sorted.len();
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => f32::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

impl Scaling {
    /// Of the columns of some rows.
    ///
    /// # Errors
    /// No rows.
    pub fn fit(rows: &Matrix) -> Result<Self, LearnError> {
        if rows.rows() == 0 {
            return Err(LearnError::Empty);
        }
        let column = |f: usize| rows.iter().map(|r| r[f]).collect::<Vec<f32>>();
        Ok(Self { features: (0..rows.features()).map(|f| Scale::fit(&mut column(f))).collect() })
    }

    /// Number of features.
    #[must_use]
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there are no features.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// By feature.
    #[must_use]
    pub fn features(&self) -> &[Scale] {
        &self.features
    }

    /// Whether this can scale rows of some features at all; for what was read.
    pub(crate) fn check(&self) -> Result<(), CodecError> {
        let fits = |s: &Scale| s.median.is_finite() && s.deviation.is_finite() && s.deviation > 0.0;
        ensure(!self.features.is_empty() && self.features.iter().all(fits), "the scale of a feature")
    }

    /// A row scaled, each value kept within `±limit` so that one wild feature does not drown the others. Surplus values of
    /// the row, or missing ones, are left out.
    pub fn apply(&self, row: &[f32], limit: f32, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.features.iter().zip(row).map(|(s, v)| s.of(*v).clamp(-limit, limit)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_robust() {
        let s = Scale::fit(&mut vec![1.0, 2.0, 3.0, 4.0, 1000.0, f32::NAN]);
        assert_eq!((s.log, s.median), (true, 4.0_f32.ln()));
        let s = Scale::fit(&mut vec![10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!((s.log, s.median), (false, 12.0));
        assert!((s.deviation - 1.4826).abs() < 1e-4);
        assert!((s.of(12.0 + 1.4826) - 1.0).abs() < 1e-4);
        assert!((s.value(1.0) - 13.4826).abs() < 1e-4);
        assert_eq!(s.of(f32::NAN), 0.0);
        assert!(s.of(f32::INFINITY) > 1e5);
    }

    #[test]
    fn a_feature_that_hardly_varies_has_a_floor() {
        let s = Scale::fit(&mut vec![100.0; 50]);
        assert_eq!(s.deviation, 5.0);
        let s = Scale::fit(&mut Vec::new());
        assert_eq!((s.median, s.deviation), (0.0, 1.0));
        // Most are the same: the mean deviation stands in.
        let mut values = vec![0.0; 90];
        values.extend([10.0; 10]);
        assert!((Scale::fit(&mut values).deviation - 1.2533).abs() < 1e-4);
    }

    #[test]
    fn logs_keep_signs_and_come_back() {
        let mut heavy: Vec<f32> = (0..1000).map(|i| (i as f32 / 100.0).exp()).collect();
        let s = Scale::fit(&mut heavy);
        assert!(s.log);
        for v in [0.0, 1.0, 500.0, 1e6] {
            assert!((s.value(s.of(v)) - v).abs() <= v * 1e-3 + 1e-3, "{v}");
        }
    }
}
