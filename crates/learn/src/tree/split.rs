//! The best way to divide one leaf of a boosted tree, by the histogram of one feature.

use super::histogram::{add, unpack};
use super::{Split, Test};
use crate::bins::Bins;

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

/// A way to divide a leaf.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) gain: f64,
    pub(super) split: Split,
    /// Sums of the left child, by channel.
    pub(super) left: Vec<i64>,
}

/// Keeps the better of two.
pub(super) fn keep(best: &mut Option<Candidate>, found: Option<Candidate>) {
    let gain = |c: &Option<Candidate>| c.as_ref().map_or(0.0, |c| c.gain);
    if gain(&found) > gain(best) {
        *best = found;
    }
}

/// Compares ways to divide one leaf.
pub(super) struct Judge<'a> {
    /// Sums of the leaf, by channel.
    pub(super) total: &'a [i64],
    /// What units of gradient and hessian are worth.
    pub(super) units: [f64; 2],
    pub(super) l2: f64,
    /// Least units of hessian of a child, where there is one channel.
    pub(super) least: u32,
    /// Least rows of a child, where there are several.
    pub(super) rows: u32,
}

impl Judge<'_> {
    /// The best split by a feature.
    pub(super) fn best(&self, feature: usize, bins: &Bins, cells: &[i64]) -> Option<Candidate> {
        match (bins, self.total) {
            (Bins::Numeric { .. }, [_]) => self.numeric_of_one(feature, cells),
            (Bins::Numeric { .. }, _) => self.numeric(feature, cells),
            (Bins::Categorical { .. }, _) => self.categorical(feature, cells),
        }
    }

    /// Squared gradient over hessian of a cell.
    #[inline]
    fn score(&self, cell: i64, l2: f64) -> f64 {
        let (g, h) = unpack(cell);
        let (g, h) = (f64::from(g) * self.units[0], f64::from(h) * self.units[1]);
        g * g / (h + l2 + f64::MIN_POSITIVE)
    }

    /// Cells that hold gradients; the last of several counts rows.
    fn outputs(&self) -> usize {
        self.total.len() - usize::from(self.total.len() > 1)
    }

    /// Whether both children would be large enough.
    #[inline]
    fn fits(&self, left: &[i64]) -> bool {
        let last = left.len() - 1;
        let (own, all) = (unpack(left[last]).1, unpack(self.total[last]).1);
        let least = if last == 0 { self.least } else { self.rows };
        own >= least && all - own >= least
    }

    /// By how much the loss falls, twice.
    #[inline]
    fn gain(&self, left: &[i64], l2: f64, whole: f64) -> Option<f64> {
        if !self.fits(left) {
            return None;
        }
        let outputs = self.outputs();
        let sum: f64 = left[..outputs]
            .iter()
            .zip(self.total)
            .map(|(l, t)| self.score(*l, l2) + self.score(t - l, l2))
            .sum();
        let gain = sum - whole;
        (gain > LEAST_GAIN).then_some(gain)
    }

    /// Score of the leaf undivided.
    fn whole(&self, l2: f64) -> f64 {
        self.total[..self.outputs()].iter().map(|t| self.score(*t, l2)).sum()
    }

    /// As [`Self::numeric`] with one channel, which is all that two classes need: this is where training spends its time.
    fn numeric_of_one(&self, feature: usize, cells: &[i64]) -> Option<Candidate> {
        let (absent, present) = cells.split_last()?;
        let missing = *absent != 0;
        let total = self.total[0];
        let (whole, all) = (self.whole(self.l2), unpack(total).1);
        let mut best: Option<(f64, u8, bool, i64)> = None;
        for absent_right in [true, false] {
            if !missing && !absent_right {
                break;
            }
            let mut left = if absent_right { 0 } else { *absent };
            let last = present.len() - usize::from(!(missing && absent_right));
            for (bin, cell) in present[..last].iter().enumerate() {
                if *cell == 0 {
                    continue;
                }
                left += cell;
                let own = unpack(left).1;
                if own < self.least {
                    continue;
                }
                if all - own < self.least {
                    break;
                }
                let gain = self.score(left, self.l2) + self.score(total - left, self.l2) - whole;
                if gain > best.map_or(LEAST_GAIN, |b| b.0) {
                    best = Some((gain, bin as u8, absent_right, left));
                }
            }
        }
        best.map(|(gain, bin, absent_right, left)| {
            self.candidate(feature, gain, (bin, missing, absent_right), vec![left])
        })
    }

    fn candidate(
        &self,
        feature: usize,
        gain: f64,
        (bin, missing, absent_right): (u8, bool, bool),
        left: Vec<i64>,
    ) -> Candidate {
        // Where nothing was absent, what comes later goes where most went.
        let size = |cells: &[i64]| u64::from(cells.last().map_or(0, |c| unpack(*c).1));
        let absent_right = if missing { absent_right } else { size(&left) * 2 < size(self.total) };
        Candidate { gain, split: Split { feature, test: Test::UpTo(bin), absent_right }, left }
    }

    fn numeric(&self, feature: usize, cells: &[i64]) -> Option<Candidate> {
        let channels = self.total.len();
        let (present, absent) = cells.split_at(cells.len().checked_sub(channels)?);
        let missing = absent.iter().any(|a| *a != 0);
        let whole = self.whole(self.l2);
        let count = present.len() / channels;
        let mut best: Option<(f64, u8, bool, Vec<i64>)> = None;
        let mut left = vec![0; channels];
        for absent_right in [true, false] {
            if !missing && !absent_right {
                break;
            }
            left.fill(0);
            if !absent_right {
                left.copy_from_slice(absent);
            }
            // The last bin alone tells present from absent.
            let last = count - usize::from(!(missing && absent_right));
            for (bin, cells) in present.chunks_exact(channels).take(last).enumerate() {
                if cells[channels - 1] == 0 {
                    continue;
                }
                add(&mut left, cells);
                if let Some(gain) = self.gain(&left, self.l2, whole)
                    && best.as_ref().is_none_or(|b| gain > b.0)
                {
                    best = Some((gain, bin as u8, absent_right, left.clone()));
                }
            }
        }
        best.map(|(gain, bin, absent_right, left)| {
            self.candidate(feature, gain, (bin, missing, absent_right), left)
        })
    }

    fn categorical(&self, feature: usize, cells: &[i64]) -> Option<Candidate> {
        let channels = self.total.len();
        let present: Vec<&[i64]> = cells.chunks_exact(channels).collect();
        let (_, present) = present.split_last()?;
        let mut used: Vec<usize> =
            (0..present.len()).filter(|b| unpack(present[*b][channels - 1]).1 > 0).collect();
        let mut best: Option<(f64, [u64; 4], Vec<i64>)> = None;
        let mut offer = |set: [u64; 4], left: &[i64], l2: f64, whole: f64| {
            if let Some(gain) = self.gain(left, l2, whole)
                && best.as_ref().is_none_or(|b| gain > b.0)
            {
                best = Some((gain, set, left.to_vec()));
            }
        };
        if used.len() <= ONE_AGAINST_REST {
            let whole = self.whole(self.l2);
            for bin in used {
                offer(with([0; 4], bin), present[bin], self.l2, whole);
            }
        } else {
            let (l2, whole) = (self.l2 + CATEGORY_L2, self.whole(self.l2));
            let slopes = self.slopes(present);
            used.sort_by(|a, b| slopes[*a].total_cmp(&slopes[*b]).then(a.cmp(b)));
            let mut left = vec![0; channels];
            for backwards in [false, true] {
                let mut set = [0; 4];
                left.fill(0);
                for i in 0..used.len().min(MOST_CATEGORIES) {
                    let bin = if backwards { used[used.len() - 1 - i] } else { used[i] };
                    set = with(set, bin);
                    add(&mut left, present[bin]);
                    offer(set, &left, l2, whole);
                }
            }
        }
        best.map(|(gain, set, left)| Candidate {
            gain,
            split: Split { feature, test: Test::OneOf(set), absent_right: true },
            left,
        })
    }

    /// Where each category stands among the others: how much its rows want to go up, by the score about which categories
    /// differ most.
    fn slopes(&self, present: &[&[i64]]) -> Vec<f64> {
        let strength = |o: &usize| -> f64 {
            let apart: f64 = present.iter().map(|cells| self.score(cells[*o], CATEGORY_SMOOTHING)).sum();
            apart - self.score(self.total[*o], CATEGORY_SMOOTHING)
        };
        let output = (0..self.outputs())
            .map(|o| (o, strength(&o)))
            .reduce(|a, b| if b.1 > a.1 { b } else { a })
            .map_or(0, |(o, _)| o);
        let slope = |cells: &&[i64]| {
            let (g, h) = unpack(cells[output]);
            f64::from(g) * self.units[0] / (f64::from(h) * self.units[1] + CATEGORY_SMOOTHING)
        };
        present.iter().map(slope).collect()
    }
}

fn with(mut set: [u64; 4], bin: usize) -> [u64; 4] {
    set[bin / 64] |= 1 << (bin % 64);
    set
}
