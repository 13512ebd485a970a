//! The spatial view: how far a window is from every dense region of normal ones.
//!
//! Density clustering as of Ester, Kriegel, Sander and Xu ("A density-based algorithm for discovering clusters", 1996; Schubert
//! et al., "DBSCAN revisited, revisited", 2017): a point with at least `min_points` within `eps` is a core, cores within `eps`
//! of each other are one cluster. A new point's score is its distance to the nearest core over `eps`: up to 1 it would
//! belong to a cluster.

use super::{Scaling, sum_pairs};
use crate::codec::{CodecError, Pack, ensure};
use crate::pool::{self, Pool};
use crate::random::Random;
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};

/// Rows clustered: distances between all of them are taken, 8 million.
pub const MOST_ROWS: usize = 4096;
/// Cores kept: a score looks at each of them.
const MOST_CORES: usize = 512;
/// Scaled values are kept within this many deviations.
const LIMIT: f32 = 20.0;
/// Rows for which one job takes distances.
const PART: usize = 128;

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Points within `eps` that make a core, itself included; at least 2. Sander et al. (1998) suggest twice the number of
    /// features.
    pub min_points: usize,
    /// The distance; `None` takes it from the knee of the k-distance curve.
    pub eps: Option<f32>,
    /// Seed of the drawing of rows where there are more than [`MOST_ROWS`].
    pub seed: u64,
}

/// Dense regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dbscan {
    scaling: Scaling,
    eps: f32,
    clusters: u32,
    noise: f32,
    /// Cores, one after the other, scaled.
    cores: Vec<f32>,
    /// Cluster of each core.
    of: Vec<u32>,
}

/// Euclidean distance over the square root of the number of features, so that `eps` means the same for any number.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    (squares(a, b) / a.len() as f32).sqrt()
}

/// Sum of squared differences.
fn squares(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, |a, b| (a - b) * (a - b))
}

impl Dbscan {
    /// Clusters rows of normal data.
    ///
    /// # Errors
    /// No rows, options out of range, or no dense region at all.
    pub fn fit(rows: &Matrix, options: &Options, pool: &dyn Pool) -> Result<Self, LearnError> {
        if options.min_points < 2 {
            return Err(LearnError::Option { option: "min_points", expected: "at least 2" });
        }
        if options.eps.is_some_and(|e| !(e.is_finite() && e > 0.0)) {
            return Err(LearnError::Option { option: "eps", expected: "above 0" });
        }
        let scaling = Scaling::fit(rows)?;
        let mut places: Vec<usize> = (0..rows.rows()).collect();
        let n = places.len().min(MOST_ROWS);
        Random::new(options.seed, 0).draw_first(&mut places, n);
        let mut points: Vec<Vec<f32>> = Vec::with_capacity(n);
        for place in &places[..n] {
            let mut point = Vec::new();
            scaling.apply(rows.row(*place), LIMIT, &mut point);
            points.push(point);
        }
        let each = |f: &(dyn Fn(usize) -> f32 + Sync)| -> Vec<f32> {
            let part = |i: usize| (i * PART..n.min((i + 1) * PART)).map(f).collect::<Vec<f32>>();
            pool::map(pool, n.div_ceil(PART), part).concat()
        };
        let k = options.min_points.min(n) - 1;
        let curve = each(&|i| {
            let mut all: Vec<f32> = points.iter().map(|p| distance(&points[i], p)).collect();
            *all.select_nth_unstable_by(k, f32::total_cmp).1
        });
        let eps = options.eps.unwrap_or_else(|| knee(&curve));
        let cores: Vec<usize> = (0..n).filter(|i| curve[*i] <= eps).collect();
        if cores.is_empty() || n < options.min_points {
            return Err(LearnError::Option {
                option: "eps and min_points",
                expected: "such that some rows are dense",
            });
        }
        let (of, clusters) = connect(&cores, &points, eps);
        let reached = each(&|i| {
            let near = cores.iter().any(|c| distance(&points[*c], &points[i]) <= eps);
            f32::from(u8::from(near))
        });
        let noise = 1.0 - reached.iter().sum::<f32>() / n as f32;
        let kept = thin(&cores, &points, eps);
        Ok(Self {
            scaling,
            eps,
            clusters,
            noise,
            cores: kept.iter().flat_map(|i| points[cores[*i]].iter().copied()).collect(),
            of: kept.iter().map(|i| of[*i]).collect(),
        })
    }

    /// The distance within which points are neighbours, in typical deviations.
    #[must_use]
    pub const fn eps(&self) -> f32 {
        self.eps
    }

    /// Number of clusters.
    #[must_use]
    pub const fn clusters(&self) -> u32 {
        self.clusters
    }

    /// Share of the rows that belonged to no cluster.
    #[must_use]
    pub const fn noise(&self) -> f32 {
        self.noise
    }

    /// Distance to the nearest core over eps, and the cluster of that core. 0 for rows of another width.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> (f32, u32) {
        if row.len() != self.scaling.len() {
            return (0.0, 0);
        }
        let mut point = Vec::with_capacity(row.len());
        self.scaling.apply(row, LIMIT, &mut point);
        let mut best = (f32::INFINITY, 0);
        for (core, cluster) in self.cores.chunks_exact(row.len()).zip(&self.of) {
            let d = squares(core, &point);
            if d < best.0 {
                best = (d, *cluster);
            }
        }
        ((best.0 / row.len() as f32).sqrt() / self.eps, best.1)
    }

    /// What is usual at the nearest core: (feature, usual value, share of the squared distance), largest share first.
    #[must_use]
    pub fn differences(&self, row: &[f32]) -> Vec<(usize, f32, f32)> {
        let mut point = Vec::new();
        self.scaling.apply(row, LIMIT, &mut point);
        let width = self.scaling.len();
        let nearest =
            self.cores.chunks_exact(width).min_by(|a, b| squares(a, &point).total_cmp(&squares(b, &point)));
        let Some(core) = nearest.filter(|_| point.len() == width) else { return Vec::new() };
        let whole = squares(core, &point).max(f32::MIN_POSITIVE);
        let mut all: Vec<(usize, f32, f32)> = (0..width)
            .map(|f| {
                let apart = (core[f] - point[f]).powi(2) / whole;
                (f, self.scaling.features()[f].value(core[f]), apart)
            })
            .collect();
        all.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        all
    }
}

impl Pack for Dbscan {
    const KIND: [u8; 4] = *b"dbsc";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.scaling.check()?;
        ensure(self.eps.is_finite() && self.eps > 0.0, "eps")?;
        ensure(self.cores.len() == self.of.len() * self.scaling.len(), "the number of cores")?;
        ensure(!self.of.is_empty() && self.cores.iter().all(|v| v.is_finite()), "a core")?;
        ensure(self.of.iter().all(|c| *c < self.clusters), "the cluster of a core")
    }
}

/// Where a sorted curve bends most: the point farthest below the chord between its ends (Satopää et al., "Finding a
/// Kneedle in a Haystack", 2011). At least the median, and above 0.
fn knee(curve: &[f32]) -> f32 {
    let mut sorted = curve.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let n = sorted.len();
    let (first, last) = (sorted[0], sorted[n - 1]);
    let chord = |i: usize| first + (last - first) * i as f32 / (n.max(2) - 1) as f32;
    let at = (0..n).fold(n / 2, |best, i| {
        if i >= n / 2 && chord(i) - sorted[i] > chord(best) - sorted[best] { i } else { best }
    });
    // All rows alike: a hundredth of a deviation still is the same.
    sorted[at].max(0.01)
}

/// Clusters of cores that are within `eps` of each other, numbered by first appearance.
fn connect(cores: &[usize], points: &[Vec<f32>], eps: f32) -> (Vec<u32>, u32) {
    const NONE: u32 = u32::MAX;
    let mut of = vec![NONE; cores.len()];
    let mut clusters = 0;
    let mut open = Vec::new();
    for start in 0..cores.len() {
        if of[start] != NONE {
            continue;
        }
        of[start] = clusters;
        open.push(start);
        while let Some(i) = open.pop() {
            for j in 0..cores.len() {
                if of[j] == NONE && distance(&points[cores[i]], &points[cores[j]]) <= eps {
                    of[j] = clusters;
                    open.push(j);
                }
            }
        }
        clusters += 1;
    }
    (of, clusters)
}

/// Cores that stand for all: none of the others is farther than a growing part of `eps` from one of them.
fn thin(cores: &[usize], points: &[Vec<f32>], eps: f32) -> Vec<usize> {
    let mut part = 0.25;
    loop {
        let mut kept: Vec<usize> = Vec::new();
        for i in 0..cores.len() {
            let near = |k: &usize| distance(&points[cores[*k]], &points[cores[i]]) < part * eps;
            if !kept.iter().any(near) {
                kept.push(i);
                if kept.len() > MOST_CORES {
                    break;
                }
            }
        }
        if kept.len() <= MOST_CORES {
            return kept;
        }
        part *= 1.5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Inline;

    fn blobs(n: usize) -> Matrix {
        let mut random = Random::new(1, 0);
        let values = (0..n).flat_map(|i| {
            let centre = if i % 2 == 0 { 0.0 } else { 10.0 };
            [centre + random.normal() as f32 * 0.5, centre + random.normal() as f32 * 0.5]
        });
        Matrix::new(2, values.collect()).unwrap()
    }

    const OPTIONS: Options = Options { min_points: 8, eps: None, seed: 0 };

    #[test]
    fn two_crowds_are_two_clusters_and_the_gap_is_strange() {
        let model = Dbscan::fit(&blobs(1000), &OPTIONS, &Inline).unwrap();
        assert_eq!(model.clusters(), 2);
        assert!(model.noise() < 0.1);
        let (a, b) = (model.score(&[0.0, 0.0]), model.score(&[10.0, 10.0]));
        assert!(a.0 < 1.0 && b.0 < 1.0 && a.1 != b.1);
        assert!(model.score(&[5.0, 5.0]).0 > 2.0 && model.score(&[0.0, 10.0]).0 > 2.0);
        assert_eq!(model.score(&[0.0]), (0.0, 0));
        let all = model.differences(&[10.0, 30.0]);
        assert_eq!(all[0].0, 1);
        assert!((all[0].1 - 10.0).abs() < 2.0 && all[0].2 > 0.9, "{all:?}");
    }

    #[test]
    fn neighbours_are_those_of_a_plain_search() {
        let rows = blobs(300);
        let model = Dbscan::fit(&rows, &Options { eps: Some(0.1), ..OPTIONS }, &Inline).unwrap();
        let scaling = Scaling::fit(&rows).unwrap();
        let scaled: Vec<Vec<f32>> = rows
            .iter()
            .map(|r| {
                let mut out = Vec::new();
                scaling.apply(r, LIMIT, &mut out);
                out
            })
            .collect();
        let near = |a: &[f32]| scaled.iter().filter(|b| distance(a, b) <= 0.1).count();
        let core: Vec<bool> = scaled.iter().map(|p| near(p) >= 8).collect();
        let reached = scaled
            .iter()
            .filter(|p| scaled.iter().zip(&core).any(|(c, is)| *is && distance(c, p) <= 0.1))
            .count();
        assert!((model.noise() - (1.0 - reached as f32 / 300.0)).abs() < 1e-6);
    }

    #[test]
    fn many_rows_are_bounded_and_bad_options_refused() {
        let model = Dbscan::fit(&blobs(6000), &OPTIONS, &Inline).unwrap();
        assert!(model.of.len() <= MOST_CORES);
        for bad in [Options { min_points: 1, ..OPTIONS }, Options { eps: Some(f32::NAN), ..OPTIONS }] {
            assert!(matches!(Dbscan::fit(&blobs(100), &bad, &Inline), Err(LearnError::Option { .. })));
        }
        assert!(Dbscan::fit(&blobs(4), &OPTIONS, &Inline).is_err());
        let same = Matrix::new(2, vec![3.0; 200]).unwrap();
        assert!(Dbscan::fit(&same, &OPTIONS, &Inline).unwrap().score(&[3.0, 3.0]).0 < 1e-6);
    }
}
