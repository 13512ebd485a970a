//! Whether a stream of numbers has changed: two tests that look at each number once.
//!
//! Numbers lie in 0..=1, such as p-values. Where they are a model's p-values on what is mostly normal, a change says that
//! the model no longer describes it.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Buckets of one size before two are merged; the paper's M.
const PER_SIZE: usize = 5;
/// Numbers between looks for a change: each look passes over all buckets.
const LOOK_EVERY: u64 = 16;
/// Fewest numbers on each side of a change.
const LEAST_SIDE: u64 = 5;

/// Neighbouring numbers, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bucket {
    sum: f64,
    /// Sum of squared distances from their mean.
    squares: f64,
}

/// Adaptive windowing (Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", 2007, ADWIN2): keeps
/// the longest window of latest numbers in which no two parts have means that differ more than chance allows.
///
/// Memory: at most 5 buckets for each power of two up to the length of the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Adwin {
    delta: f64,
    /// Buckets of 2^i numbers each at `i`, newest first.
    sizes: Vec<VecDeque<Bucket>>,
    count: u64,
    sum: f64,
    squares: f64,
    seen: u64,
}

/// Squared distances of two sets together, from those of each, their sizes and sums.
fn united(a: (f64, f64, f64), b: (f64, f64, f64)) -> f64 {
    let ((na, sa, qa), (nb, sb, qb)) = (a, b);
    if na == 0.0 || nb == 0.0 {
        return qa + qb;
    }
    let apart = sa / na - sb / nb;
    qa + qb + apart * apart * na * nb / (na + nb)
}

impl Adwin {
    /// A test that is wrong about a steady stream with a chance of at most about `delta` at each number; the range
    /// 1e-9..=0.5 is enforced. The smaller, the later a change is seen.
    #[must_use]
    pub fn new(delta: f64) -> Self {
        let delta = if delta.is_nan() { 0.002 } else { delta.clamp(1e-9, 0.5) };
        Self { delta, sizes: Vec::new(), count: 0, sum: 0.0, squares: 0.0, seen: 0 }
    }

    /// Takes a number, brought into 0..=1; no number is left out. Whether a change came to light, in which case what was
    /// before it is forgotten.
    pub fn add(&mut self, value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        let value = value.clamp(0.0, 1.0);
        let whole = (self.count as f64, self.sum, self.squares);
        self.squares = united(whole, (1.0, value, 0.0));
        self.sum += value;
        self.count += 1;
        self.seen += 1;
        self.insert(Bucket { sum: value, squares: 0.0 });
        let mut changed = false;
        if self.seen.is_multiple_of(LOOK_EVERY) {
            while self.differs() {
                self.forget_oldest();
                changed = true;
            }
        }
        changed
    }

    fn insert(&mut self, bucket: Bucket) {
        let mut carried = Some(bucket);
        let mut size = 0;
        while let Some(bucket) = carried.take() {
            if self.sizes.len() == size {
                self.sizes.push(VecDeque::with_capacity(PER_SIZE + 1));
            }
            let Some(row) = self.sizes.get_mut(size) else { return };
            row.push_front(bucket);
            if row.len() > PER_SIZE
                && let (Some(a), Some(b)) = (row.pop_back(), row.pop_back())
            {
                let n = size_of(size);
                carried = Some(Bucket {
                    sum: a.sum + b.sum,
                    squares: united((n, a.sum, a.squares), (n, b.sum, b.squares)),
                });
            }
            size += 1;
        }
    }

    /// Whether some cut of the window leaves two parts whose means differ too much.
    fn differs(&self) -> bool {
        let n = self.count as f64;
        if self.count < 2 * LEAST_SIDE {
            return false;
        }
        let variance = self.squares / n;
        let log = (2.0 * n.ln() / self.delta).ln();
        let (mut n0, mut sum0) = (0.0, 0.0);
        for (size, row) in self.sizes.iter().enumerate().rev() {
            for bucket in row.iter().rev() {
                n0 += size_of(size);
                sum0 += bucket.sum;
                let n1 = n - n0;
                if n0 < LEAST_SIDE as f64 || n1 < LEAST_SIDE as f64 {
                    continue;
                }
                let inverse = 1.0 / n0 + 1.0 / n1;
                let bound = (2.0 * inverse * variance * log).sqrt() + 2.0 / 3.0 * inverse * log;
                if (sum0 / n0 - (self.sum - sum0) / n1).abs() > bound {
                    return true;
                }
            }
        }
        false
    }

    fn forget_oldest(&mut self) {
        while self.sizes.last().is_some_and(VecDeque::is_empty) {
            self.sizes.pop();
        }
        let Some(row) = self.sizes.last_mut() else { return };
        let Some(old) = row.pop_back() else { return };
        let n = size_of(self.sizes.len() - 1);
        let rest = self.count as f64 - n;
        self.sum -= old.sum;
        self.count -= n as u64;
        let apart = if rest > 0.0 { old.sum / n - self.sum / rest } else { 0.0 };
        self.squares = (self.squares - old.squares - apart * apart * n * rest / (n + rest).max(1.0)).max(0.0);
        if self.sizes.last().is_some_and(VecDeque::is_empty) {
            self.sizes.pop();
        }
    }

    /// Mean of the window; NaN before the first number.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Numbers in the window.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::new(self.delta);
    }
}

/// Numbers in a bucket.
fn size_of(size: usize) -> f64 {
    (size as f64).exp2()
}

/// The cumulative test for a lasting shift of the mean, up or down (Page, "Continuous Inspection Schemes", 1954; Hinkley, 1971).
/// Quicker than [`Adwin`] where the size of the shift is known, and blind to shifts below its tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageHinkley {
    tolerance: f64,
    threshold: f64,
    count: u64,
    mean: f64,
    up: f64,
    down: f64,
}

/// Numbers before the test speaks: until then its mean is not one.
const LEAST: u64 = 30;

impl PageHinkley {
    /// A test that ignores shifts up to `tolerance` and speaks when what exceeds it sums up to `threshold`.
    #[must_use]
    pub const fn new(tolerance: f64, threshold: f64) -> Self {
        Self { tolerance, threshold, count: 0, mean: 0.0, up: 0.0, down: 0.0 }
    }

    /// Takes a number, brought into 0..=1; no number is left out. Whether the mean has shifted, in which case the test begins
    /// anew.
    pub fn add(&mut self, value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        let value = value.clamp(0.0, 1.0);
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
        let apart = value - self.mean;
        // Sums above their lowest point so far: what Page calls the distance from the minimum.
        self.up = (self.up + apart - self.tolerance).max(0.0);
        self.down = (self.down - apart - self.tolerance).max(0.0);
        let changed = self.count >= LEAST && self.up.max(self.down) > self.threshold;
        if changed {
            self.reset();
        }
        changed
    }

    /// Mean since the test began; 0 before the first number.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// Forgets everything.
    pub const fn reset(&mut self) {
        *self = Self::new(self.tolerance, self.threshold);
    }
}

/// Which test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// [`Adwin`] with a chance of 0.002, the paper's figure.
    #[default]
    Adwin,
    /// [`PageHinkley`] with a tolerance of 0.05 and a threshold of 5: a p-value's mean that moves from 0.5 to 0.4 is seen
    /// after about a hundred numbers.
    PageHinkley,
}

/// A test in progress.
#[derive(Clone, Debug, PartialEq)]
pub enum Drift {
    /// See [`Adwin`].
    Adwin(Adwin),
    /// See [`PageHinkley`].
    PageHinkley(PageHinkley),
}

impl Drift {
    /// Begins a test.
    #[must_use]
    pub fn new(test: Test) -> Self {
        match test {
            Test::Adwin => Self::Adwin(Adwin::new(0.002)),
            Test::PageHinkley => Self::PageHinkley(PageHinkley::new(0.05, 5.0)),
        }
    }

    /// Takes a number; whether a change came to light.
    pub fn add(&mut self, value: f64) -> bool {
        match self {
            Self::Adwin(t) => t.add(value),
            Self::PageHinkley(t) => t.add(value),
        }
    }

    /// Mean of the numbers that the test has in mind; NaN or 0 before the first.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Adwin(t) => t.mean(),
            Self::PageHinkley(t) => t.mean(),
        }
    }

    /// Begins anew, as when the model that gave the numbers was replaced.
    pub fn reset(&mut self) {
        match self {
            Self::Adwin(t) => t.reset(),
            Self::PageHinkley(t) => t.reset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Numbers uniform around `mean`, 0.4 wide.
    fn around(mean: f64, random: &mut Random) -> f64 {
        mean - 0.2 + 0.4 * random.unit()
    }

    /// Where a test speaks first about a stream that shifts from one mean to another at number 2000, of 6000.
    fn first(mut test: Drift, from: f64, to: f64, seed: u64) -> Option<u32> {
        let mut random = Random::new(seed, 0);
        (0..6000).find(|i| test.add(around(if *i < 2000 { from } else { to }, &mut random)))
    }

    #[test]
    fn a_shift_is_seen_soon_and_a_steady_stream_is_left_alone() {
        for (test, from, to, within) in [
            (Test::Adwin, 0.5, 0.4, 250),
            (Test::Adwin, 0.5, 0.7, 100),
            (Test::Adwin, 0.3, 0.25, 800),
            (Test::PageHinkley, 0.5, 0.4, 250),
            (Test::PageHinkley, 0.5, 0.7, 100),
        ] {
            for seed in 0..10 {
                let at = first(Drift::new(test), from, to, seed);
                assert!(
                    at.is_some_and(|at| (2000..2000 + within).contains(&at)),
                    "{test:?} {from} to {to}, seed {seed}: {at:?}"
                );
                assert_eq!(first(Drift::new(test), from, from, seed), None, "{test:?} seed {seed}");
            }
        }
    }

    #[test]
    fn adwin_forgets_what_was_before_the_change() {
        let (mut test, mut random) = (Adwin::new(0.002), Random::new(1, 0));
        for i in 0..4000 {
            test.add(around(if i < 2000 { 0.3 } else { 0.7 }, &mut random));
        }
        assert!((test.mean() - 0.7).abs() < 0.01, "{}", test.mean());
        assert!((1900..=2100).contains(&test.len()), "{}", test.len());
    }

    #[test]
    fn adwin_agrees_with_the_sums_over_its_window() {
        let (mut test, mut random) = (Adwin::new(1e-9), Random::new(2, 0));
        let values: Vec<f64> = (0..3000).map(|_| random.unit()).collect();
        values.iter().for_each(|v| assert!(!test.add(*v)));
        let mean = values.iter().sum::<f64>() / 3000.0;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        assert!((test.mean() - mean).abs() < 1e-9);
        assert!((test.squares - squares).abs() < 1e-6 * squares);
        assert!(test.sizes.iter().map(VecDeque::len).sum::<usize>() <= PER_SIZE * 12);
        test.forget_oldest();
        let rest = &values[3000 - test.len() as usize..];
        let mean = rest.iter().sum::<f64>() / rest.len() as f64;
        assert!((test.mean() - mean).abs() < 1e-9);
        let squares: f64 = rest.iter().map(|v| (v - mean).powi(2)).sum();
        assert!((test.squares - squares).abs() < 1e-6 * squares);
    }

    #[test]
    fn a_slow_slope_is_seen_too() {
        for test in [Test::Adwin, Test::PageHinkley] {
            let (mut t, mut random) = (Drift::new(test), Random::new(3, 0));
            let at = (0..4000).find(|i| t.add(around(0.3 + 0.3 * f64::from(*i) / 4000.0, &mut random)));
            assert!(at.is_some_and(|at| at < 3000), "{test:?}: {at:?}");
        }
    }

    #[test]
    fn odd_numbers_do_no_harm() {
        for test in [Test::Adwin, Test::PageHinkley] {
            let mut t = Drift::new(test);
            for value in [f64::NAN, f64::INFINITY, -3.0, 1e300, 0.0, f64::NEG_INFINITY] {
                (0..100).for_each(|_| _ = t.add(value));
            }
            assert!(t.mean().is_finite(), "{t:?}");
        }
        assert!(!Adwin::new(f64::NAN).add(0.5));
    }
}
