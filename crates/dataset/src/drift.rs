//! How much the columns of one dataset differ from those of another.
//!
//! - **PSI**, the population stability index: `Σ (aᵢ − bᵢ) · ln(aᵢ / bᵢ)` over classes `i` with shares `aᵢ` and `bᵢ` (N. Siddiqi,
//!   "Credit Risk Scorecards", Wiley 2006). For numbers the classes are the deciles of the reference, absent values a class
//!   of their own; for words each word. A share of nothing counts as [`FLOOR`]. Below 0.1 stable, from 0.25 on changed.
//! - **KS**, the two-sample Kolmogorov-Smirnov statistic: the largest difference of the two cumulative distributions, over
//!   finite numbers, at the ends of the histograms' buckets, hence exact up to their resolution of 2 %. Its p-value is the
//!   asymptotic one, `2 Σ (−1)^(k−1) exp(−2 k² λ²)` with `λ = (√n + 0.12 + 0.11/√n) · D` and `n = n₁n₂/(n₁+n₂)` (Press et al.,
//!   "Numerical Recipes", 3rd edition, §14.3.3). With many rows it is small for differences that do not matter: read `D`.

use crate::cell::Kind;
use crate::profile::{ColumnProfile, Profile};
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Least share of a class in PSI, so that its logarithm is finite.
pub const FLOOR: f64 = 1e-4;

/// PSI from which a column counts as changed.
pub const CHANGED: f64 = 0.25;

/// PSI below which a column counts as stable.
pub const STABLE: f64 = 0.1;

/// Classes of numbers in PSI.
const CLASSES: u64 = 10;

/// One column's difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// Population stability index.
    pub psi: f64,
    /// Kolmogorov-Smirnov statistic, 0..=1; for columns of numbers only.
    pub ks: Option<f64>,
    /// Probability of such a statistic if both were drawn from one distribution.
    pub ks_p: Option<f64>,
}

/// The difference of two datasets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Drift {
    /// Columns of both, those that differ most first.
    pub columns: Vec<ColumnDrift>,
    /// Columns of the dataset alone.
    pub only_here: Vec<String>,
    /// Columns of the reference alone.
    pub only_there: Vec<String>,
}

impl Drift {
    /// Columns that changed, see [`CHANGED`].
    pub fn changed(&self) -> impl Iterator<Item = &ColumnDrift> {
        self.columns.iter().filter(|c| c.psi >= CHANGED)
    }
}

/// The difference of a dataset to a reference, for the columns that `of_interest` holds for.
#[must_use]
pub fn compare(here: &Profile, reference: &Profile, of_interest: impl Fn(&str) -> bool) -> Drift {
    let mut drift = Drift::default();
    for column in here.columns.iter().filter(|c| of_interest(&c.column.name)) {
        let name = &column.column.name;
        match reference.column(name) {
            Some(other) => drift.columns.push(one(column, other)),
            None => drift.only_here.push(name.clone()),
        }
    }
    let missing = |c: &&ColumnProfile| of_interest(&c.column.name) && here.column(&c.column.name).is_none();
    drift.only_there = reference.columns.iter().filter(missing).map(|c| c.column.name.clone()).collect();
    drift.columns.sort_by(|a, b| b.psi.total_cmp(&a.psi).then_with(|| a.column.cmp(&b.column)));
    drift
}

fn one(here: &ColumnProfile, reference: &ColumnProfile) -> ColumnDrift {
    let text = |c: &ColumnProfile| c.column.kind == Kind::Text && !c.categories.is_empty();
    let (pairs, ks) = if text(here) || text(reference) {
        (words(here, reference), None)
    } else {
        (deciles(here, reference), distance(here, reference))
    };
    ColumnDrift {
        column: here.column.name.clone(),
        psi: psi(&pairs),
        ks,
        ks_p: ks.map(|d| p_value(d, here.histogram.count(), reference.histogram.count())),
    }
}

/// Counts by word; what is no word (absent, or a number where the other side has words) is one of its own.
fn words(here: &ColumnProfile, reference: &ColumnProfile) -> Vec<(u64, u64)> {
    let (a, b) = (&here.categories, &reference.categories);
    let all: BTreeSet<&str> = a.sorted().into_iter().chain(b.sorted()).map(|(word, _)| word).collect();
    let mut pairs: Vec<(u64, u64)> = all.into_iter().map(|w| (a.get(w), b.get(w))).collect();
    let rest = |c: &ColumnProfile| c.absent + c.not_finite + c.histogram.count();
    pairs.extend([(a.others(), b.others()), (rest(here), rest(reference))]);
    pairs
}

/// Counts by decile of the reference, then of absent values and of those that are not finite.
fn deciles(here: &ColumnProfile, reference: &ColumnProfile) -> Vec<(u64, u64)> {
    // Upper bucket of each class; a bucket that holds several deciles makes one class.
    let total = reference.histogram.count();
    let mut edges: Vec<i32> = Vec::new();
    let (mut below, mut next) = (0, 1);
    for (at, n) in reference.histogram.buckets() {
        below += n;
        if below * CLASSES >= next * total {
            edges.push(at);
            next = below * CLASSES / total.max(1) + 1;
        }
    }
    // The outer classes are open. Of a reference that is all of one value, what is less and what is more.
    match edges.as_slice() {
        [only] => edges.insert(0, only - 1),
        _ => drop(edges.pop()),
    }
    let counts = |c: &ColumnProfile| {
        let mut counts = vec![0; edges.len() + 1];
        for (at, n) in c.histogram.buckets() {
            let class = edges.partition_point(|edge| *edge < at);
            if let Some(count) = counts.get_mut(class) {
                *count += n;
            }
        }
        counts.extend([c.absent, c.not_finite]);
        counts
    };
    counts(here).into_iter().zip(counts(reference)).collect()
}

/// PSI of counts by class.
fn psi(pairs: &[(u64, u64)]) -> f64 {
    let (a, b) = pairs.iter().fold((0, 0), |(a, b), (x, y)| (a + x, b + y));
    if a == 0 || b == 0 {
        return 0.0;
    }
    let share = |n: u64, of: u64| (n as f64 / of as f64).max(FLOOR);
    let used = pairs.iter().filter(|(x, y)| x + y > 0);
    used.map(|(x, y)| (share(*x, a), share(*y, b))).map(|(p, q)| (p - q) * (p / q).ln()).sum()
}

/// The largest difference of the cumulative distributions of numbers.
fn distance(here: &ColumnProfile, reference: &ColumnProfile) -> Option<f64> {
    let (n, m) = (here.histogram.count(), reference.histogram.count());
    if n == 0 || m == 0 {
        return None;
    }
    let mut both: BTreeMap<i32, (u64, u64)> = BTreeMap::new();
    here.histogram.buckets().for_each(|(at, count)| both.entry(at).or_default().0 += count);
    reference.histogram.buckets().for_each(|(at, count)| both.entry(at).or_default().1 += count);
    let (mut f, mut g, mut largest) = (0, 0, 0.0_f64);
    for (a, b) in both.into_values() {
        f += a;
        g += b;
        largest = largest.max((f as f64 / n as f64 - g as f64 / m as f64).abs());
    }
    Some(largest)
}

fn p_value(d: f64, n: u64, m: u64) -> f64 {
    let effective = (n as f64 * m as f64 / (n as f64 + m as f64)).sqrt();
    let lambda = (effective + 0.12 + 0.11 / effective) * d;
    // Below, the series converges slowly and its sum is 1 to many digits.
    if lambda < 0.3 {
        return 1.0;
    }
    let term = |k: i32| {
        let k = f64::from(k);
        (-2.0 * k * k * lambda * lambda).exp()
    };
    let sum: f64 = (1..=100).map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;
    use crate::schema::{Column, Schema};

    fn profile(kind: Kind, values: impl IntoIterator<Item = Option<Cell>>) -> Profile {
        let schema = Schema::new(vec![Column { name: "x".into(), kind }]).expect("a column");
        let mut p = Profile::new(&schema);
        values.into_iter().for_each(|v| p.add(&[v]));
        p
    }

    fn numbers(values: impl IntoIterator<Item = f64>) -> Profile {
        profile(Kind::Real, values.into_iter().map(|x| Some(Cell::Real(x))))
    }

    fn drift(a: &Profile, b: &Profile) -> ColumnDrift {
        compare(a, b, |_| true).columns.remove(0)
    }

    #[test]
    fn psi_of_known_shares_is_the_sum_by_hand() {
        // (0.2−0.5)·ln(0.2/0.5) + (0.8−0.5)·ln(0.8/0.5)
        let expected = -0.3 * 0.4_f64.ln() + 0.3 * 1.6_f64.ln();
        assert!((psi(&[(20, 50), (80, 50)]) - expected).abs() < 1e-12);
        assert_eq!(psi(&[(7, 70), (3, 30)]), 0.0);
        // A class that is empty on one side: (0.0001−0.5)·ln(0.0001/0.5), twice in mirror.
        let one_sided = (FLOOR - 0.5) * (FLOOR / 0.5).ln() + 0.5 * 2.0_f64.ln();
        assert!((psi(&[(0, 50), (100, 50)]) - one_sided).abs() < 1e-12);
    }

    #[test]
    fn equal_columns_do_not_drift_and_shifted_ones_do() {
        let a = numbers((0..1000).map(f64::from));
        let same = drift(&a, &numbers((0..1000).rev().map(f64::from)));
        assert_eq!((same.psi, same.ks, same.ks_p), (0.0, Some(0.0), Some(1.0)));
        let shifted = drift(&a, &numbers((500..1500).map(f64::from)));
        let ks = shifted.ks.expect("numbers");
        // Half of each lies beyond the other; buckets are 2 % wide.
        assert!((ks - 0.5).abs() < 0.02 && shifted.ks_p.is_some_and(|p| p < 1e-6), "{shifted:?}");
        assert!(shifted.psi > CHANGED);
        let mild = drift(&numbers((0..1000).map(|x| f64::from(x) * 1.05)), &a);
        assert!(mild.psi < STABLE, "{mild:?}");
        let constant = numbers([5.0; 100]);
        for other in [4.0, 6.0] {
            assert!(drift(&numbers([other; 100]), &constant).psi > CHANGED, "{other}");
        }
        assert_eq!(drift(&constant, &constant).psi, 0.0);
    }

    #[test]
    fn absent_values_and_words_count() {
        let some = |n: usize| (0..100).map(move |i| (i < n).then_some(Cell::Real(1.0)));
        assert!(drift(&profile(Kind::Real, some(100)), &profile(Kind::Real, some(50))).psi > CHANGED);
        let word = |w: &'static str, n: usize| std::iter::repeat_n(Some(Cell::Word(w)), n);
        let a = profile(Kind::Text, word("tcp", 50).chain(word("udp", 50)));
        let b = profile(Kind::Text, word("tcp", 20).chain(word("udp", 80)));
        let d = drift(&a, &b);
        assert!((d.psi - (0.3 * 2.5_f64.ln() - 0.3 * 0.625_f64.ln())).abs() < 1e-12 && d.ks.is_none());
    }

    /// Values of Q(λ) as tabulated: Q(1.36) = 0.049, Q(1.63) = 0.010.
    #[test]
    fn p_values_are_those_of_the_table() {
        let p = |lambda: f64| {
            let n = 1_000_000;
            let effective = (n as f64 / 2.0).sqrt();
            p_value(lambda / (effective + 0.12 + 0.11 / effective), n, n)
        };
        assert!((p(1.36) - 0.049).abs() < 1e-3 && (p(1.63) - 0.010).abs() < 1e-3);
        assert_eq!((p(0.0), p(20.0)), (1.0, 0.0));
    }

    #[test]
    fn columns_of_one_side_are_named() {
        let a = numbers([1.0]);
        let schema = Schema::new(vec![Column { name: "y".into(), kind: Kind::Real }]).expect("a column");
        let d = compare(&a, &Profile::new(&schema), |_| true);
        assert_eq!((d.only_here, d.only_there), (vec!["x".to_owned()], vec!["y".to_owned()]));
    }
}
