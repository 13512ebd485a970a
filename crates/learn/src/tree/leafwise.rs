//! Grows one tree of a boosted ensemble: always the leaf whose split gains most, on histograms of gradients.
//!
//! The histogram of the larger child is that of its parent less that of the smaller one, so that each split reads the
//! fewer rows only (Ke et al., 2017, §2).

use super::{Sapling, Split, Test, Trees};
use crate::bins::{Binned, Binning, Bins};
use crate::pool::{self, Inline, Pool};

/// Cells read by a split below which it is not worth dividing the work.
const SIDE_BY_SIDE: usize = 60_000;
/// Categories of a feature up to which each is tried alone.
const ONE_AGAINST_REST: usize = 4;
/// Most categories on the smaller side of a split.
const MOST_CATEGORIES: usize = 32;
/// Weight of doubt, in hessian, when categories are put in order.
const CATEGORY_SMOOTHING: f64 = 10.0;
/// Added to the L2 term where categories were put in order: they fit more easily than numbers.
const CATEGORY_L2: f64 = 10.0;
/// Least gain, so that noise of rounding does not split.
const LEAST_GAIN: f64 = 1e-7;

/// Sums of gradients and hessians.
type Sums = [f64; 2];

/// How far a tree grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) leaves: usize,
    pub(crate) depth: u16,
    pub(crate) min_rows: f64,
    pub(crate) min_hessian: f64,
    pub(crate) l2: f64,
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
    sums: Sums,
    histogram: Vec<Sums>,
    best: Option<Candidate>,
}

#[derive(Clone)]
struct Candidate {
    gain: f64,
    split: Split,
    left: Sums,
}

/// A finished tree, and its leaves: their value and the rows in them.
pub(crate) struct Grown {
    pub(crate) tree: Trees,
    pub(crate) leaves: Vec<(f32, std::ops::Range<usize>)>,
}

impl Ground<'_> {
    /// Grows a tree on some rows, which are brought into the order of its leaves, from some of the features.
    pub(crate) fn grow(
        &self,
        rows: &mut [u32],
        gradients: &[[f32; 2]],
        features: &[usize],
        (outputs, output): (usize, u16),
        pool: &dyn Pool,
    ) -> Grown {
        let mut offsets = Vec::with_capacity(features.len());
        let mut cells = 0;
        for f in features {
            offsets.push(cells..cells + self.binning.features[*f].present() + 1);
            cells += self.binning.features[*f].present() + 1;
        }
        let at = Place { features, offsets: &offsets, gradients };
        let mut sapling = Sapling::new(self.binned.columns.len(), outputs, output);
        let sums = sum(rows, gradients);
        let mut root = Leaf { node: 0, rows: 0..rows.len(), sums, histogram: Vec::new(), best: None };
        let mut spare: Vec<Vec<Sums>> = Vec::new();
        root.histogram = vec![[0.0; 2]; cells];
        root.best = self.examine(&at, rows, &mut root.histogram, (&sums, rows.len()), None, pool).0;
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
            let right_sums = [parent.sums[0] - chosen.left[0], parent.sums[1] - chosen.left[1]];
            sapling.set_cover(parent.node, parent.rows.len() as f64);
            let node = sapling.split(parent.node, &chosen.split, bins);
            let (whole, histogram) = (parent.rows.clone(), std::mem::take(&mut parent.histogram));
            let mut left =
                Leaf { node, rows: whole.start..cut, sums: chosen.left, histogram: Vec::new(), best: None };
            let mut right = Leaf {
                node: node + 1,
                rows: cut..whole.end,
                sums: right_sums,
                histogram: Vec::new(),
                best: None,
            };
            let may_split = sapling.depth(node) < self.growth.depth && open.len() + 1 < self.growth.leaves;
            if may_split {
                let (small, large) = if left.rows.len() <= right.rows.len() {
                    (&mut left, &mut right)
                } else {
                    (&mut right, &mut left)
                };
                large.histogram = histogram;
                small.histogram = spare.pop().unwrap_or_default();
                small.histogram.clear();
                small.histogram.resize(cells, [0.0; 2]);
                let large_part = Some((&mut large.histogram[..], (&large.sums, large.rows.len())));
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
            let value = -leaf.sums[0] / (leaf.sums[1] + self.growth.l2) * self.growth.rate;
            let value = if value.is_finite() { value as f32 } else { 0.0 };
            sapling.set_cover(leaf.node, leaf.rows.len() as f64);
            sapling.set_leaf(leaf.node, &[value]);
            leaves.push((value, leaf.rows));
        }
        Grown { tree: sapling.finish(), leaves }
    }

    /// Fills in the histogram of `rows`, makes that of their siblings out of their parent's, and finds the best split of
    /// each.
    fn examine(
        &self,
        at: &Place<'_>,
        rows: &[u32],
        histogram: &mut [Sums],
        own: (&Sums, usize),
        sibling: Option<(&mut [Sums], (&Sums, usize))>,
        pool: &dyn Pool,
    ) -> (Option<Candidate>, Option<Candidate>) {
        let ordered: Vec<[f32; 2]> = rows.iter().map(|r| at.gradients[*r as usize]).collect();
        let (sibling, other) = match sibling {
            Some((histogram, other)) => (histogram, Some(other)),
            None => (&mut [][..], None),
        };
        let siblings = split_at(sibling, at.offsets);
        let mut jobs: Vec<Job<'_>> = split_at(histogram, at.offsets)
            .into_iter()
            .zip(siblings.into_iter().map(Some).chain(std::iter::repeat_with(|| None)))
            .map(|(own, sibling)| Job { own, sibling, found: [None, None] })
            .collect();
        let pool = if rows.len() * at.features.len() < SIDE_BY_SIDE { &Inline } else { pool };
        pool::each_mut(pool, &mut jobs, |i, job| {
            let feature = at.features[i];
            let bins = &self.binning.features[feature];
            fill(job.own, rows, &ordered, &self.binned.columns[feature]);
            job.found[0] = self.best_of(feature, bins, job.own, own);
            if let (Some(sibling), Some(other)) = (&mut job.sibling, other) {
                for (whole, part) in sibling.iter_mut().zip(job.own.iter()) {
                    whole[0] -= part[0];
                    whole[1] -= part[1];
                }
                job.found[1] = self.best_of(feature, bins, sibling, other);
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
        feature: usize,
        bins: &Bins,
        cells: &[Sums],
        (total, rows): (&Sums, usize),
    ) -> Option<Candidate> {
        // Rows are estimated from hessians, as they are not in the histogram.
        let rows_per_hessian = rows as f64 / total[1].max(1e-12);
        let judge = Judge {
            total: *total,
            l2: self.growth.l2,
            least: self.growth.min_hessian.max(self.growth.min_rows / rows_per_hessian),
        };
        match bins {
            Bins::Numeric { .. } => judge.numeric(feature, cells),
            Bins::Categorical { .. } => judge.categorical(feature, cells),
        }
    }
}

struct Place<'a> {
    features: &'a [usize],
    offsets: &'a [std::ops::Range<usize>],
    gradients: &'a [[f32; 2]],
}

struct Job<'a> {
    own: &'a mut [Sums],
    sibling: Option<&'a mut [Sums]>,
    found: [Option<Candidate>; 2],
}

fn keep(best: &mut Option<Candidate>, found: Option<Candidate>) {
    let gain = |c: &Option<Candidate>| c.as_ref().map_or(0.0, |c| c.gain);
    if gain(&found) > gain(best) {
        *best = found;
    }
}

fn split_at<'a>(mut cells: &'a mut [Sums], offsets: &[std::ops::Range<usize>]) -> Vec<&'a mut [Sums]> {
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

#[inline]
fn fill(cells: &mut [Sums], rows: &[u32], ordered: &[[f32; 2]], column: &[u8]) {
    // A cell for every byte, so that no index can be out of bounds.
    let mut all = [[0.0_f64; 2]; 256];
    for (row, [g, h]) in rows.iter().zip(ordered) {
        let cell = &mut all[usize::from(column[*row as usize])];
        cell[0] += f64::from(*g);
        cell[1] += f64::from(*h);
    }
    for (to, from) in cells.iter_mut().zip(all) {
        *to = from;
    }
}

fn sum(rows: &[u32], gradients: &[[f32; 2]]) -> Sums {
    rows.iter().fold([0.0; 2], |sum, r| {
        let [g, h] = gradients[*r as usize];
        [sum[0] + f64::from(g), sum[1] + f64::from(h)]
    })
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

/// Compares ways to divide one leaf.
struct Judge {
    total: Sums,
    l2: f64,
    /// Least hessian of a child.
    least: f64,
}

impl Judge {
    /// By how much the loss falls (half of it, up to what the leaf has as a whole).
    #[inline]
    fn gain(&self, left: Sums, l2: f64) -> Option<f64> {
        let right = [self.total[0] - left[0], self.total[1] - left[1]];
        if left[1] < self.least || right[1] < self.least {
            return None;
        }
        let score = |s: Sums| s[0] * s[0] / (s[1] + l2);
        let gain = score(left) + score(right) - score([self.total[0], self.total[1]]);
        (gain > LEAST_GAIN).then_some(gain)
    }

    fn numeric(&self, feature: usize, cells: &[Sums]) -> Option<Candidate> {
        let (absent, present) = cells.split_last()?;
        let missing = absent[1] > 0.0;
        let mut best: Option<(f64, u8, bool, Sums)> = None;
        for absent_right in [true, false] {
            if !missing && !absent_right {
                break;
            }
            let mut left = if absent_right { [0.0; 2] } else { *absent };
            // The last bin alone tells present from absent.
            let last = present.len() - usize::from(!(missing && absent_right));
            for (bin, cell) in present[..last].iter().enumerate() {
                left[0] += cell[0];
                left[1] += cell[1];
                if cell[1] != 0.0
                    && let Some(gain) = self.gain(left, self.l2)
                    && best.is_none_or(|b| gain > b.0)
                {
                    best = Some((gain, bin as u8, absent_right, left));
                }
            }
        }
        best.map(|(gain, bin, absent_right, left)| {
            // Where nothing was absent, what comes later goes where most went.
            let absent_right = if missing { absent_right } else { left[1] * 2.0 < self.total[1] };
            Candidate { gain, split: Split { feature, test: Test::UpTo(bin), absent_right }, left }
        })
    }

    fn categorical(&self, feature: usize, cells: &[Sums]) -> Option<Candidate> {
        let (_, present) = cells.split_last()?;
        let mut used: Vec<usize> = (0..present.len()).filter(|b| present[*b][1] > 0.0).collect();
        let mut best: Option<(f64, [u64; 4], Sums)> = None;
        let mut offer = |set: [u64; 4], left: Sums, l2: f64| {
            if let Some(gain) = self.gain(left, l2)
                && best.is_none_or(|b| gain > b.0)
            {
                best = Some((gain, set, left));
            }
        };
        if used.len() <= ONE_AGAINST_REST {
            for bin in used {
                offer(with([0; 4], bin), present[bin], self.l2);
            }
        } else {
            let slope = |b: &usize| present[*b][0] / (present[*b][1] + CATEGORY_SMOOTHING);
            used.sort_by(|a, b| slope(a).total_cmp(&slope(b)).then(a.cmp(b)));
            for backwards in [false, true] {
                let (mut set, mut left) = ([0; 4], [0.0; 2]);
                for i in 0..used.len().min(MOST_CATEGORIES) {
                    let bin = if backwards { used[used.len() - 1 - i] } else { used[i] };
                    set = with(set, bin);
                    left = [left[0] + present[bin][0], left[1] + present[bin][1]];
                    offer(set, left, self.l2 + CATEGORY_L2);
                }
            }
        }
        best.map(|(gain, set, left)| Candidate {
            gain,
            split: Split { feature, test: Test::OneOf(set), absent_right: true },
            left,
        })
    }
}

fn with(mut set: [u64; 4], bin: usize) -> [u64; 4] {
    set[bin / 64] |= 1 << (bin % 64);
    set
}
