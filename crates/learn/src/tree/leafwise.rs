//! Grows one tree of a boosted ensemble: always the leaf whose split gains most, on histograms of gradients.
//!
//! The histogram of the larger child is that of its parent less that of the smaller one, so that each split reads the
//! fewer rows only (Ke et al., 2017, §2).

use super::histogram::{self, Quanta, unpack};
use super::split::{Candidate, Judge, keep};
use super::{Root, Sapling, Trees};
use crate::bins::{Binned, Binning};
use crate::pool::{self, Inline, Pool};

/// Cells read by a split below which it is not worth dividing the work.
const SIDE_BY_SIDE: usize = 200_000;
/// Features of one job.
const TOGETHER: usize = 4;

/// How far a tree grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) leaves: usize,
    pub(crate) depth: u16,
    pub(crate) min_rows: f64,
    pub(crate) min_hessian: f64,
    pub(crate) l2: f64,
    pub(crate) most_step: f64,
    pub(crate) rate: f64,
}

/// What every tree of an ensemble shares.
pub(crate) struct Ground<'a> {
    pub(crate) binning: &'a Binning,
    pub(crate) binned: &'a Binned,
    pub(crate) growth: Growth,
}

/// A leaf that may still be divided.
struct Leaf {
    node: u32,
    rows: std::ops::Range<usize>,
    sums: Vec<i64>,
    histogram: Vec<i64>,
    best: Option<Candidate>,
}

/// A finished tree, and its leaves: their values and the rows in them.
pub(crate) struct Grown {
    pub(crate) tree: Trees,
    pub(crate) leaves: Vec<(Vec<f32>, std::ops::Range<usize>)>,
}

impl Ground<'_> {
    /// Grows a tree on some rows, which are brought into the order of its leaves, from some of the features.
    pub(super) fn grow(
        &self,
        rows: &mut [u32],
        quanta: &Quanta,
        features: &[usize],
        pool: &dyn Pool,
    ) -> Grown {
        let channels = quanta.channels;
        let outputs = channels - usize::from(channels > 1);
        let mut offsets = Vec::with_capacity(features.len());
        let mut cells = 0;
        for f in features {
            let own = (self.binning.features[*f].present() + 1) * channels;
            offsets.push(cells..cells + own);
            cells += own;
        }
        let at = Place { features, offsets: &offsets, quanta };
        let output = if outputs == 1 { 0 } else { Root::ALL };
        let mut sapling = Sapling::new(self.binned.columns.len(), outputs, output);
        let sums = quanta.sum(rows);
        let mut root = Leaf { node: 0, rows: 0..rows.len(), sums, histogram: vec![0; cells], best: None };
        root.best = self.examine(&at, rows, &mut root.histogram, (&root.sums, rows.len()), None, pool).0;
        let mut spare: Vec<Vec<i64>> = Vec::new();
        let mut open = vec![root];
        let mut scratch = Vec::with_capacity(rows.len());
        while open.len() < self.growth.leaves {
            let gain = |l: &Leaf| l.best.as_ref().map_or(0.0, |b| b.gain);
            let Some(i) = (0..open.len())
                .filter(|i| open[*i].best.is_some())
                .reduce(|a, b| if gain(&open[b]) > gain(&open[a]) { b } else { a })
            else {
                break;
            };
            let Some(chosen) = open[i].best.take() else { break };
            let parent = &mut open[i];
            let bins = &self.binning.features[chosen.split.feature];
            let column = &self.binned.columns[chosen.split.feature];
            let cut = parent.rows.start
                + partition(&mut rows[parent.rows.clone()], &mut scratch, |r| {
                    chosen.split.left(column[r as usize], bins.absent())
                });
            let right_sums = parent.sums.iter().zip(&chosen.left).map(|(t, l)| t - l).collect();
            sapling.set_cover(parent.node, parent.rows.len() as f64);
            let node = sapling.split(parent.node, &chosen.split, bins);
            let (whole, histogram) = (parent.rows.clone(), std::mem::take(&mut parent.histogram));
            let leaf = |node, rows, sums| Leaf { node, rows, sums, histogram: Vec::new(), best: None };
            let mut left = leaf(node, whole.start..cut, chosen.left);
            let mut right = leaf(node + 1, cut..whole.end, right_sums);
            let may_split = sapling.depth(node) < self.growth.depth && open.len() + 1 < self.growth.leaves;
            if may_split {
                let (small, large) = if left.rows.len() <= right.rows.len() {
                    (&mut left, &mut right)
                } else {
                    (&mut right, &mut left)
                };
                large.histogram = histogram;
                small.histogram = spare.pop().unwrap_or_default();
                small.histogram.resize(cells, 0);
                let large_part = Some((&mut large.histogram[..], (&large.sums[..], large.rows.len())));
                (small.best, large.best) = self.examine(
                    &at,
                    &rows[small.rows.clone()],
                    &mut small.histogram,
                    (&small.sums, small.rows.len()),
                    large_part,
                    pool,
                );
                for leaf in [small, large] {
                    if leaf.best.is_none() {
                        spare.push(std::mem::take(&mut leaf.histogram));
                    }
                }
            }
            open[i] = left;
            open.push(right);
        }
        let mut leaves = Vec::with_capacity(open.len());
        for leaf in open {
            let values: Vec<f32> = leaf.sums[..outputs].iter().map(|s| self.value(*s, quanta)).collect();
            sapling.set_cover(leaf.node, leaf.rows.len() as f64);
            sapling.set_leaf(leaf.node, &values);
            leaves.push((values, leaf.rows));
        }
        Grown { tree: sapling.finish(), leaves }
    }

    /// Newton's step for a leaf, bounded and shrunk.
    fn value(&self, sum: i64, quanta: &Quanta) -> f32 {
        let (g, h) = unpack(sum);
        let (g, h) = (f64::from(g) * quanta.gradient, f64::from(h) * quanta.hessian);
        let step = (-g / (h + self.growth.l2)).clamp(-self.growth.most_step, self.growth.most_step);
        if step.is_finite() { (step * self.growth.rate) as f32 } else { 0.0 }
    }

    /// Fills in the histogram of `rows`, makes that of their siblings out of their parent's, and finds the best split of
    /// each.
    fn examine(
        &self,
        at: &Place<'_>,
        rows: &[u32],
        histogram: &mut [i64],
        own: Size<'_>,
        sibling: Option<(&mut [i64], Size<'_>)>,
        pool: &dyn Pool,
    ) -> (Option<Candidate>, Option<Candidate>) {
        let cells = at.quanta.gather(rows);
        let channels = at.quanta.channels;
        let (sibling, other) = match sibling {
            Some((histogram, other)) => (histogram, Some(other)),
            None => (&mut [][..], None),
        };
        let mut siblings = split_at(sibling, at.offsets);
        let mut histograms = split_at(histogram, at.offsets);
        let mut jobs: Vec<Job<'_, '_>> = histograms
            .chunks_mut(TOGETHER)
            .zip(siblings.chunks_mut(TOGETHER).map(Some).chain(std::iter::repeat_with(|| None)))
            .map(|(own, siblings)| Job { own, siblings, found: [None, None] })
            .collect();
        let small = rows.len() * at.features.len() * channels < SIDE_BY_SIDE;
        let pool = if small { &Inline } else { pool };
        pool::each_mut(pool, &mut jobs, |i, job| {
            let features = &at.features[i * TOGETHER..][..job.own.len()];
            let mut columns = [&[][..]; TOGETHER];
            for (column, f) in columns.iter_mut().zip(features) {
                *column = &self.binned.columns[*f];
            }
            histogram::fill(job.own, &columns[..features.len()], rows, &cells, channels);
            for (i, feature) in features.iter().enumerate() {
                keep(&mut job.found[0], self.best_of(at, *feature, job.own[i], own));
                if let (Some(siblings), Some(other)) = (&mut job.siblings, other) {
                    for (whole, part) in siblings[i].iter_mut().zip(job.own[i].iter()) {
                        *whole -= part;
                    }
                    keep(&mut job.found[1], self.best_of(at, *feature, siblings[i], other));
                }
            }
        });
        let mut best = [None, None];
        for job in jobs {
            for (best, found) in best.iter_mut().zip(job.found) {
                keep(best, found);
            }
        }
        let [own, other] = best;
        (own, other)
    }

    /// The best split of a leaf by one feature.
    fn best_of(
        &self,
        at: &Place<'_>,
        feature: usize,
        cells: &[i64],
        (total, rows): Size<'_>,
    ) -> Option<Candidate> {
        let hessian = f64::from(unpack(total[0]).1);
        // With one channel rows are estimated from hessians, as they are not in the histogram.
        let share = self.growth.min_rows / (rows as f64).max(1.0);
        let least = (hessian * share).max(self.growth.min_hessian / at.quanta.hessian);
        let judge = Judge {
            total,
            units: [at.quanta.gradient, at.quanta.hessian],
            l2: self.growth.l2,
            least: (least.ceil() as u32).max(1),
            rows: (self.growth.min_rows.ceil() as u32).max(1),
        };
        judge.best(feature, &self.binning.features[feature], cells)
    }
}

/// Sums of a leaf by channel, and its rows.
type Size<'a> = (&'a [i64], usize);

struct Place<'a> {
    features: &'a [usize],
    offsets: &'a [std::ops::Range<usize>],
    quanta: &'a Quanta,
}

struct Job<'a, 'b> {
    own: &'a mut [&'b mut [i64]],
    siblings: Option<&'a mut [&'b mut [i64]]>,
    found: [Option<Candidate>; 2],
}

fn split_at<'a>(mut cells: &'a mut [i64], offsets: &[std::ops::Range<usize>]) -> Vec<&'a mut [i64]> {
    let mut parts = Vec::with_capacity(offsets.len());
    for range in offsets {
        if cells.len() < range.len() {
            break;
        }
        let (part, rest) = cells.split_at_mut(range.len());
        parts.push(part);
        cells = rest;
    }
    parts
}

/// Brings the rows for which `left` holds to the front, both parts in their old order; returns how many they are.
pub(super) fn partition<T: Copy>(rows: &mut [T], scratch: &mut Vec<T>, left: impl Fn(T) -> bool) -> usize {
    scratch.clear();
    let mut kept = 0;
    for i in 0..rows.len() {
        let row = rows[i];
        if left(row) {
            rows[kept] = row;
            kept += 1;
        } else {
            scratch.push(row);
        }
    }
    rows[kept..].copy_from_slice(scratch);
    kept
}
