//! Rows of features, as models take them.

use crate::LearnError;
use serde::{Deserialize, Serialize};

/// What the values of a feature mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Larger and smaller mean something. NaN is absent.
    Numeric,
    /// A value is the place of a category in this list, as a whole number. NaN, and what is not a place, is absent: so are
    /// categories that training never saw.
    Categorical(Vec<String>),
}

/// One column: its name and kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Name, as in the header it came from.
    pub name: String,
    /// What its values mean.
    pub kind: Kind,
}

/// Dense rows, one after the other: the value of feature `f` in row `r` is at `r * features + f`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    features: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Rows of `features` values each.
    ///
    /// # Errors
    /// [`LearnError::Shape`] if the values are not whole rows or there are no features.
    pub fn new(features: usize, values: Vec<f32>) -> Result<Self, LearnError> {
        if features == 0 || !values.len().is_multiple_of(features) {
            return Err(LearnError::Shape {
                what: "values of a matrix",
                expected: features,
                found: values.len(),
            });
        }
        Ok(Self { features, values })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.features).unwrap_or(0)
    }

    /// Values of each row.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// All values, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row; empty beyond the end.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        self.values.get(row * self.features..(row + 1) * self.features).unwrap_or(&[])
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.features.max(1))
    }

    /// The rows at some places, in the order of the places.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|r| self.row(*r)).copied().collect();
        Self { features: self.features, values }
    }
}
