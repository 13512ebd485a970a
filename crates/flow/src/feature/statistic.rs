//! Moments from integer sums, exact until the last step.

/// How many, their sum, and the sum of their squares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) count: u64,
    pub(super) sum: u64,
    pub(super) squares: u64,
}

impl Sums {
    /// Both together.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum: self.sum.saturating_add(other.sum),
            squares: self.squares.saturating_add(other.squares),
        }
    }

    /// The mean; absent without values.
    pub(super) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// count · squares − sum², which is count² times the variance. In 128 bits, as the difference of two large `f64` has
    /// few true digits. Never below 0, unless a sum wrapped.
    fn spread(self) -> f64 {
        let (n, s, q) = (u128::from(self.count), u128::from(self.sum), u128::from(self.squares));
        n.saturating_mul(q).saturating_sub(s.saturating_mul(s)) as f64
    }

    /// The variance of a sample (over count − 1); absent below two values.
    pub(super) fn sample_variance(self) -> Option<f64> {
        let n = self.count as f64;
        (self.count > 1).then(|| self.spread() / (n * (n - 1.0)))
    }

    /// The square root of [`Self::sample_variance`].
    pub(super) fn sample_deviation(self) -> Option<f64> {
        self.sample_variance().map(f64::sqrt)
    }

    /// The standard deviation of a population (over count); absent without values.
    pub(super) fn deviation(self) -> Option<f64> {
        (self.count > 0).then(|| self.spread().sqrt() / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(values: &[u64]) -> Sums {
        Sums {
            count: values.len() as u64,
            sum: values.iter().sum(),
            squares: values.iter().map(|v| v * v).sum(),
        }
    }

    #[test]
    fn moments_are_those_of_the_values() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, squared distances 32.
        let s = sums(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!((s.mean(), s.deviation()), (Some(5.0), Some(2.0)));
        assert_eq!(s.sample_variance(), Some(32.0 / 7.0));
        assert_eq!(sums(&[35, 35]).and(sums(&[51, 51])).sample_variance(), Some(256.0 / 3.0));
        // Large and close together: floating point alone would find nothing.
        assert_eq!(sums(&[3_000_000_000, 3_000_000_002]).deviation(), Some(1.0));
    }

    #[test]
    fn moments_are_absent_where_there_is_nothing_to_take_them_of() {
        assert_eq!((sums(&[]).mean(), sums(&[]).deviation()), (None, None));
        assert_eq!((sums(&[7]).deviation(), sums(&[7]).sample_deviation()), (Some(0.0), None));
    }
}
