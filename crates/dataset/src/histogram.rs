//! The distribution of a column in bounded memory.
//!
//! A sketch of logarithmic buckets: value `v > 0` lies in bucket `⌈ln v / ln γ⌉` with `γ = (1 + α) / (1 − α)`, so that
//! every quantile is known with a relative error of at most `α` (C. Masson, J. Rim, H. Lee: "DDSketch: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019). Buckets are the same in every sketch: two of
//! them can be compared bucket by bucket, and added up, without loss.

use std::collections::BTreeMap;

/// Relative error of quantiles.
pub const ALPHA: f64 = 0.01;

/// Magnitudes told apart from 0: nanoseconds in seconds, and nothing that is measured of a flow is smaller.
const SMALLEST: f64 = 1e-9;

/// Magnitudes above count as this: 2^64 and what little is larger.
const LARGEST: f64 = 1e20;

/// Most buckets: those between the two limits, for both signs, and 0.
pub const MAX_BUCKETS: usize = 2 * 3400 + 1;

/// A distribution of finite numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Values by bucket: 0 for zero, positive for positive values and in their order, negative for negative ones.
    buckets: BTreeMap<i32, u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

/// `1 / ln γ`.
fn scale() -> f64 {
    1.0 / ((1.0 + ALPHA) / (1.0 - ALPHA)).ln()
}

/// Bucket of a value; order of buckets is order of values.
pub(crate) fn bucket(value: f64) -> i32 {
    let size = value.abs().min(LARGEST);
    if size < SMALLEST {
        return 0;
    }
    // Shifted so that the smallest magnitude has bucket 1.
    let at = ((size / SMALLEST).ln() * scale()).ceil().max(0.0) as i32 + 1;
    if value < 0.0 { -at } else { at }
}

/// The value in the middle of a bucket, in the sense of relative error.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let upper = SMALLEST * (f64::from(bucket.abs() - 1) / scale()).exp();
    (upper * (1.0 - ALPHA)).copysign(f64::from(bucket))
}

impl Histogram {
    /// Adds a value; what is not finite is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += value;
        *self.buckets.entry(bucket(value)).or_default() += 1;
    }

    /// Values added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Mean; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Least and largest value; `None` without values.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        (self.count > 0).then_some((self.min, self.max))
    }

    /// The value that a share `q` in 0..=1 of all do not exceed, with a relative error of at most [`ALPHA`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * (self.count.checked_sub(1)?) as f64).floor() as u64;
        let mut below = 0;
        for (at, n) in &self.buckets {
            below += n;
            if below > rank {
                return Some(middle(*at).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// Buckets in use with their counts, in order of value.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> {
        self.buckets.iter().map(|(at, n)| (*at, *n))
    }

    /// Counts in `bars` classes of equal width on a logarithmic axis between the least and largest value; the second is
    /// each class's lower end.
    #[must_use]
    pub fn bars(&self, bars: usize) -> Vec<(f64, u64)> {
        let (Some(first), Some(last)) = (self.buckets.keys().next(), self.buckets.keys().next_back()) else {
            return Vec::new();
        };
        let width = ((last - first) as usize / bars.max(1)).max(1);
        let n = (last - first) as usize / width + 1;
        let mut out: Vec<(f64, u64)> =
            (0..n).map(|i| (middle(first + i32::try_from(i * width).unwrap_or(0)), 0)).collect();
        for (at, count) in &self.buckets {
            if let Some(bar) = out.get_mut((at - first) as usize / width) {
                bar.1 += count;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_the_stated_error() {
        let mut h = Histogram::default();
        (1..=10_000).for_each(|v| h.add(f64::from(v)));
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0] {
            let exact = 1.0 + (q * 9_999.0_f64).floor();
            let found = h.quantile(q).expect("values");
            assert!((found / exact - 1.0).abs() <= ALPHA + 1e-9, "{q}: {found} for {exact}");
        }
        assert_eq!((h.count(), h.range(), h.mean()), (10_000, Some((1.0, 10_000.0)), Some(5_000.5)));
    }

    #[test]
    fn buckets_keep_the_order_of_values_and_are_bounded() {
        let values = [-1e30, -1e20, -5.0, -1e-9, -1e-12, 0.0, 1e-12, 1e-9, 2e-9, 0.5, 1.0, 1.5, 1e20, 1e300];
        let buckets: Vec<i32> = values.into_iter().map(bucket).collect();
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert_eq!(bucket(1e-12), 0);
        assert!((bucket(1e300) as usize) * 2 < MAX_BUCKETS);
        let mut h = Histogram::default();
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().for_each(|v| h.add(v));
        assert_eq!((h.count(), h.quantile(0.5), h.bars(8)), (0, None, vec![]));
    }

    #[test]
    fn bars_hold_every_value() {
        let mut h = Histogram::default();
        (0..1000).for_each(|v| h.add(f64::from(v * v)));
        let bars = h.bars(20);
        assert!(bars.len() <= 40 && bars.iter().map(|b| b.1).sum::<u64>() == 1000);
    }
}
