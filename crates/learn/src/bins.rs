//! Features cut into at most 255 bins each: trees are grown on these, one byte a value.
//!
//! A numeric feature is cut between neighbouring values so that bins hold about as many rows each; where it has fewer
//! different values than bins, each value has its own. A categorical feature has a bin for each of its most frequent
//! categories. Absent values have a bin of their own, the last.

use crate::LearnError;
use crate::matrix::{Feature, Kind, Matrix};
use crate::pool::{self, Pool};

/// Most bins of a feature, that of absent values included: codes are bytes.
pub const MAX_BINS: usize = 255;
/// Values looked at to place the cuts of a numeric feature: more move them by less than a hundredth of a bin.
const CUT_SAMPLE: usize = 200_000;

/// The bins of one feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Bins {
    /// Bin `b` holds what is above `cuts[b - 1]` and at most `cuts[b]`.
    Numeric {
        /// Ascending.
        cuts: Vec<f32>,
    },
    /// Bin of each category; [`Self::absent`] for rare ones.
    Categorical {
        /// By category.
        bins: Vec<u8>,
        /// How many bins are used.
        count: usize,
    },
}

impl Bins {
    /// Bins with present values.
    #[must_use]
    pub fn present(&self) -> usize {
        match self {
            Self::Numeric { cuts } => cuts.len() + 1,
            Self::Categorical { count, .. } => *count,
        }
    }

    /// The bin of absent values.
    #[must_use]
    pub fn absent(&self) -> u8 {
        self.present() as u8
    }

    /// The bin of a value.
    #[must_use]
    pub fn of(&self, value: f32) -> u8 {
        match self {
            Self::Numeric { .. } if value.is_nan() => self.absent(),
            Self::Numeric { cuts } => cuts.partition_point(|cut| *cut < value) as u8,
            Self::Categorical { bins, .. } => {
                category(value).and_then(|c| bins.get(c).copied()).unwrap_or(self.absent())
            }
        }
    }

    fn numeric(mut values: Vec<f32>, most: usize) -> Self {
        values.retain(|v| !v.is_nan());
        values.sort_unstable_by(f32::total_cmp);
        let mut distinct: Vec<(f32, usize)> = Vec::new();
        for v in &values {
            match distinct.last_mut() {
                Some((last, n)) if last == v => *n += 1,
                _ => distinct.push((*v, 1)),
            }
        }
        let between = |i: usize| middle(distinct[i].0, distinct[i + 1].0);
        let cuts = if distinct.len() <= most {
            (0..distinct.len().saturating_sub(1)).map(between).collect()
        } else {
            // Values that fill a bin alone get one; the others share what is left, about equally.
            let mut cuts = Vec::with_capacity(most);
            let (mut rest, mut bins_left) = (values.len(), most);
            let mut filled = 0;
            for i in 0..distinct.len() - 1 {
                filled += distinct[i].1;
                let fair = rest as f64 / bins_left as f64;
                let next_alone = distinct[i + 1].1 as f64 >= fair && filled as f64 >= fair / 2.0;
                if filled as f64 >= fair || next_alone {
                    cuts.push(between(i));
                    rest -= filled;
                    filled = 0;
                    bins_left -= 1;
                    if bins_left == 1 {
                        break;
                    }
                }
            }
            cuts
        };
        Self::Numeric { cuts }
    }

    fn categorical(codes: impl Iterator<Item = f32>, categories: usize, most: usize) -> Self {
        let mut counts = vec![0_usize; categories];
        for c in codes.filter_map(category) {
            if let Some(n) = counts.get_mut(c) {
                *n += 1;
            }
        }
        let mut order: Vec<usize> = (0..categories).filter(|c| counts[*c] > 0).collect();
        order.sort_by_key(|c| (std::cmp::Reverse(counts[*c]), *c));
        order.truncate(most);
        let mut bins = vec![order.len() as u8; categories];
        for (bin, c) in order.iter().enumerate() {
            bins[*c] = bin as u8;
        }
        Self::Categorical { bins, count: order.len() }
    }
}

/// The place of a category, if the value is one.
#[inline]
pub(crate) fn category(value: f32) -> Option<usize> {
    // 2^24: beyond it f32 has no odd numbers, and no list is as long.
    (0.0..16_777_216.0).contains(&value).then_some(value as usize)
}

/// A number at least `a` and below `b`, in the middle where f32 has one there.
fn middle(a: f32, b: f32) -> f32 {
    let m = ((f64::from(a) + f64::from(b)) / 2.0) as f32;
    if m >= a && m < b { m } else { a }
}

/// The bins of all features of a training set.
#[derive(Clone, Debug, PartialEq)]
pub struct Binning {
    /// By feature.
    pub features: Vec<Bins>,
}

impl Binning {
    /// Places the cuts.
    ///
    /// # Errors
    /// The schema has another number of features than the rows; there are no rows; there are more features than nodes
    /// can name.
    pub fn fit(matrix: &Matrix, schema: &[Feature], pool: &dyn Pool) -> Result<Self, LearnError> {
        if schema.len() != matrix.features() || schema.len() >= usize::from(u16::MAX) {
            return Err(LearnError::Shape {
                what: "features of the rows",
                expected: schema.len(),
                found: matrix.features(),
            });
        }
        if matrix.rows() == 0 {
            return Err(LearnError::Empty);
        }
        let step = matrix.rows().div_ceil(CUT_SAMPLE);
        let features = pool::map(pool, schema.len(), |f| {
            let column = matrix.values().iter().skip(f).step_by(schema.len());
            match &schema[f].kind {
                Kind::Numeric => Bins::numeric(column.step_by(step).copied().collect(), MAX_BINS - 1),
                Kind::Categorical(names) => Bins::categorical(column.copied(), names.len(), MAX_BINS - 1),
            }
        });
        Ok(Self { features })
    }

    /// Codes of all rows.
    #[must_use]
    pub fn encode(&self, matrix: &Matrix, pool: &dyn Pool) -> Binned {
        let columns = pool::map(pool, self.features.len(), |f| {
            let bins = &self.features[f];
            let column = matrix.values().iter().skip(f).step_by(matrix.features());
            column.map(|v| bins.of(*v)).collect::<Vec<u8>>()
        });
        Binned { rows: matrix.rows(), columns }
    }
}

/// Rows as codes, column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Binned {
    /// Number of rows.
    pub rows: usize,
    /// By feature, then row.
    pub columns: Vec<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Inline;

    fn numeric(values: &[f32], most: usize) -> Vec<f32> {
        match Bins::numeric(values.to_vec(), most) {
            Bins::Numeric { cuts } => cuts,
            Bins::Categorical { .. } => Vec::new(),
        }
    }

    #[test]
    fn few_values_get_a_bin_each_cut_half_way() {
        assert_eq!(numeric(&[3.0, 1.0, 1.0, 2.0, f32::NAN], 254), [1.5, 2.5]);
        assert_eq!(numeric(&[7.0, 7.0], 254), [] as [f32; 0]);
        assert_eq!(numeric(&[], 254), [] as [f32; 0]);
        let next = f32::from_bits(1.0_f32.to_bits() + 1);
        assert_eq!(numeric(&[1.0, next], 254), [1.0]);
        assert_eq!(numeric(&[f32::NEG_INFINITY, 0.0, f32::INFINITY], 254), [f32::NEG_INFINITY, 0.0]);
    }

    #[test]
    fn many_values_share_bins_equally_and_a_frequent_one_has_its_own() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let cuts = numeric(&values, 10);
        assert_eq!(cuts.len(), 9);
        assert!((cuts[0] - 99.5).abs() < 2.0, "{cuts:?}");
        values.extend(std::iter::repeat_n(500.0, 5000));
        let cuts = numeric(&values, 10);
        assert!(cuts.contains(&499.5) && cuts.contains(&500.5), "{cuts:?}");
    }

    #[test]
    fn values_find_their_bins() {
        let bins = Bins::numeric(vec![1.0, 2.0, 3.0], 254);
        for (value, bin) in [
            (0.0, 0),
            (1.5, 0),
            (1.6, 1),
            (9.0, 2),
            (f32::INFINITY, 2),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 3),
        ] {
            assert_eq!(bins.of(value), bin, "{value}");
        }
        let bins = Bins::categorical([2.0, 2.0, 0.0, f32::NAN, 9.0].into_iter(), 3, 254);
        for (value, bin) in [(2.0, 0), (0.0, 1), (1.0, 2), (9.0, 2), (-1.0, 2), (f32::NAN, 2)] {
            assert_eq!(bins.of(value), bin, "{value}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        let matrix = Matrix::new(2, vec![0.0; 4]).unwrap();
        let one = [Feature { name: "a".into(), kind: Kind::Numeric }];
        assert!(matches!(Binning::fit(&matrix, &one, &Inline), Err(LearnError::Shape { .. })));
        let empty = Matrix::new(1, Vec::new()).unwrap();
        assert!(matches!(Binning::fit(&empty, &one, &Inline), Err(LearnError::Empty)));
    }
}
