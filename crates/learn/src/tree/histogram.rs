//! Histograms of gradients in whole numbers: sums are exact, so that they depend neither on order nor on threads, and the
//! histogram of a child is exactly that of its parent less its sibling's.
//!
//! A cell holds the sum of gradients in its upper half and that of hessians in its lower one: one addition counts a row
//! (Shi et al., "Quantized Training of Gradient Boosting Decision Trees", 2022). Rounding is up or down by a draw that is
//! fixed for each row and round, so that many small gradients still add up to what they are.

use crate::pool::{self, Pool};

/// Rows of one job of rounding.
const PART: usize = 16_384;
/// Columns filled in one pass over the rows: their additions do not wait for each other.
const SIDE: usize = 4;

/// Gradients and hessians of all rows, rounded.
#[derive(Debug, Default)]
pub(super) struct Quanta {
    /// `channels` cells of each row. The last of several counts rows.
    pub(super) cells: Vec<i64>,
    pub(super) channels: usize,
    /// What a unit of gradient is worth.
    pub(super) gradient: f64,
    /// What a unit of hessian is worth.
    pub(super) hessian: f64,
}

/// Gradient and hessian units of a cell.
#[inline]
pub(super) const fn unpack(cell: i64) -> (i32, u32) {
    ((cell >> 32) as i32, cell as u32)
}

impl Quanta {
    /// Rounds (gradient, hessian) pairs, `outputs` of each row. Hessians are not negative.
    pub(super) fn round(&mut self, pairs: &[[f32; 2]], outputs: usize, round: u64, pool: &dyn Pool) {
        let rows = pairs.len() / outputs;
        let parts = pool::map(pool, rows.div_ceil(PART), |part| {
            let pairs = &pairs[part * PART * outputs..pairs.len().min((part + 1) * PART * outputs)];
            pairs.iter().fold([0.0_f32; 2], |most, [g, h]| [most[0].max(g.abs()), most[1].max(*h)])
        });
        let most = parts.iter().fold([0.0_f32; 2], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        // The sums of all rows fit: of gradients 31 bits and a sign, of hessians 32.
        let room = f64::from(u32::MAX >> 2) / rows.max(1) as f64;
        let unit = |most: f32| f64::from(most.max(f32::MIN_POSITIVE)) / room.max(2.0);
        (self.gradient, self.hessian) = (unit(most[0]), unit(most[1]));
        let (by_gradient, by_hessian) = (1.0 / self.gradient, 1.0 / self.hessian);
        self.channels = outputs + usize::from(outputs > 1);
        self.cells.resize(rows * self.channels, 0);
        let channels = self.channels;
        let mut parts: Vec<&mut [i64]> = self.cells.chunks_mut(PART * channels).collect();
        pool::each_mut(pool, &mut parts, |part, cells| {
            for (i, cells) in cells.chunks_mut(channels).enumerate() {
                let row = part * PART + i;
                let draw = dither(row as u64, round);
                for (cell, [g, h]) in cells.iter_mut().zip(&pairs[row * outputs..][..outputs]) {
                    let g = (f64::from(*g) * by_gradient + draw).floor() as i64;
                    let h = (f64::from(*h) * by_hessian + draw).floor() as i64;
                    *cell = (g << 32) + h;
                }
                if outputs > 1 {
                    cells[outputs] = 1;
                }
            }
        });
    }

    /// The cells of some rows, one after the other.
    pub(super) fn gather(&self, rows: &[u32]) -> Vec<i64> {
        if self.channels == 1 {
            return rows.iter().map(|r| self.cells[*r as usize]).collect();
        }
        let mut gathered = Vec::with_capacity(rows.len() * self.channels);
        for r in rows {
            gathered.extend_from_slice(&self.cells[*r as usize * self.channels..][..self.channels]);
        }
        gathered
    }

    /// Sums of some rows, by channel.
    pub(super) fn sum(&self, rows: &[u32]) -> Vec<i64> {
        let mut sums = vec![0; self.channels];
        for r in rows {
            add(&mut sums, &self.cells[*r as usize * self.channels..][..self.channels]);
        }
        sums
    }
}

/// A number in [0, 1) that looks random and depends on row and round alone.
#[inline]
fn dither(row: u64, round: u64) -> f64 {
    let mut z = (row ^ round << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (z >> 40) as f64 / (1_u64 << 24) as f64
}

#[inline]
pub(super) fn add(to: &mut [i64], from: &[i64]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
}

/// Fills the histograms of some columns, `channels` cells a code. `cells` are those of the rows, in their order.
pub(super) fn fill(
    histograms: &mut [&mut [i64]],
    columns: &[&[u8]],
    rows: &[u32],
    cells: &[i64],
    channels: usize,
) {
    if channels == 1 {
        for (histograms, columns) in histograms.chunks_mut(SIDE).zip(columns.chunks(SIDE)) {
            match (histograms, columns) {
                ([a, b, c, d], [ca, cb, cc, cd]) => fill_four([a, b, c, d], [ca, cb, cc, cd], rows, cells),
                (histograms, columns) => {
                    for (histogram, column) in histograms.iter_mut().zip(columns) {
                        fill_one(histogram, column, rows, cells);
                    }
                }
            }
        }
        return;
    }
    for (histogram, column) in histograms.iter_mut().zip(columns) {
        histogram.fill(0);
        for (row, cells) in rows.iter().zip(cells.chunks_exact(channels)) {
            let at = usize::from(column[*row as usize]) * channels;
            add(&mut histogram[at..at + channels], cells);
        }
    }
}

fn fill_one(histogram: &mut [i64], column: &[u8], rows: &[u32], cells: &[i64]) {
    // A cell for every byte, so that no index can be out of bounds.
    let mut all = [0_i64; 256];
    for (row, cell) in rows.iter().zip(cells) {
        all[usize::from(column[*row as usize])] += cell;
    }
    histogram.copy_from_slice(&all[..histogram.len()]);
}

fn fill_four(histograms: [&mut [i64]; SIDE], columns: [&[u8]; SIDE], rows: &[u32], cells: &[i64]) {
    let mut all = [[0_i64; 256]; SIDE];
    let n = columns[0].len();
    let [a, b, c, d] = columns.map(|column| &column[..n]);
    for (row, cell) in rows.iter().zip(cells) {
        let row = *row as usize;
        if row < n {
            all[0][usize::from(a[row])] += cell;
            all[1][usize::from(b[row])] += cell;
            all[2][usize::from(c[row])] += cell;
            all[3][usize::from(d[row])] += cell;
        }
    }
    for (histogram, all) in histograms.into_iter().zip(&all) {
        histogram.copy_from_slice(&all[..histogram.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Inline;

    #[test]
    fn sums_are_those_of_the_gradients() {
        let pairs: Vec<[f32; 2]> =
            (0..50_000).map(|i| [(i as f32 * 0.37).sin() * 1e-4, (i % 7) as f32 * 0.03]).collect();
        let mut pairs_with_one_large = pairs;
        pairs_with_one_large[7] = [-1.0, 0.25];
        let mut quanta = Quanta::default();
        quanta.round(&pairs_with_one_large, 1, 3, &Inline);
        let rows: Vec<u32> = (0..50_000).filter(|r| r % 3 == 0).collect();
        let (g, h) = unpack(quanta.sum(&rows)[0]);
        let exact = rows.iter().fold([0.0_f64; 2], |sum, r| {
            let [g, h] = pairs_with_one_large[*r as usize];
            [sum[0] + f64::from(g), sum[1] + f64::from(h)]
        });
        assert!((f64::from(g) * quanta.gradient - exact[0]).abs() < 0.01, "{g} {exact:?}");
        assert!((f64::from(h) * quanta.hessian - exact[1]).abs() < 0.01 * exact[1]);
    }

    #[test]
    fn histograms_hold_each_row_once() {
        let n = 999_u32;
        let columns: Vec<Vec<u8>> =
            (0..6_u32).map(|c| (0..n).map(|r| (r * (c + 3) % 11) as u8).collect()).collect();
        for outputs in [1, 3] {
            let pairs = vec![[-0.5, 0.2]; n as usize * outputs];
            let mut quanta = Quanta::default();
            quanta.round(&pairs, outputs, 0, &Inline);
            let rows: Vec<u32> = (0..n).filter(|r| r % 2 == 0).collect();
            let mut histograms = vec![vec![0_i64; 12 * quanta.channels]; 6];
            let mut parts: Vec<&mut [i64]> = histograms.iter_mut().map(|h| &mut h[..]).collect();
            let columns: Vec<&[u8]> = columns.iter().map(|c| &c[..]).collect();
            fill(&mut parts, &columns, &rows, &quanta.gather(&rows), quanta.channels);
            let whole = quanta.sum(&rows);
            for histogram in &histograms {
                let mut sums = vec![0; quanta.channels];
                histogram.chunks(quanta.channels).for_each(|c| add(&mut sums, c));
                assert_eq!(sums, whole);
                assert!(histogram[..quanta.channels].iter().any(|c| *c != 0));
            }
        }
    }
}
