//! What the columns of a dataset hold: one pass, sketches of fixed size.

use crate::categories::Categories;
use crate::cell::{Cell, Kind};
use crate::histogram::Histogram;
use crate::schema::{Column, Schema};
use crate::{Dataset, Result};

/// A column's values.
#[derive(Clone, Debug)]
pub struct ColumnProfile {
    /// Name and type.
    pub column: Column,
    /// Rows without a value.
    pub absent: u64,
    /// Rows with NaN or an infinite number; left out of the histogram.
    pub not_finite: u64,
    /// Numbers and, in seconds since 1970, times.
    pub histogram: Histogram,
    /// Words.
    pub categories: Categories,
}

/// A dataset's columns.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Rows.
    pub rows: u64,
    /// By column, in order.
    pub columns: Vec<ColumnProfile>,
}

impl ColumnProfile {
    fn new(column: Column) -> Self {
        Self {
            column,
            absent: 0,
            not_finite: 0,
            histogram: Histogram::default(),
            categories: Categories::default(),
        }
    }

    fn add(&mut self, cell: Option<&Cell>) {
        let Some(cell) = cell else {
            self.absent += 1;
            return;
        };
        let value = match self.column.kind {
            Kind::Text => {
                match cell.as_text() {
                    Some(text) => self.categories.add(text),
                    None => self.categories.add(&cell.to_text()),
                }
                return;
            }
            Kind::Time => cell.as_time().map(|ns| ns as f64 / 1e9),
            Kind::Integer | Kind::Real => cell.as_number(),
        };
        match value {
            Some(x) if x.is_finite() => self.histogram.add(x),
            _ => self.not_finite += 1,
        }
    }

    /// Whether every row has the same value, or none has one: there is nothing to learn from it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        let numbers = self.histogram.range();
        match self.column.kind {
            Kind::Text => self.categories.len() + usize::from(self.absent > 0) <= 1,
            _ => numbers.is_none_or(|(low, high)| low == high && self.absent == 0) && self.not_finite == 0,
        }
    }
}

impl Profile {
    /// An empty profile of typed columns.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self { rows: 0, columns: schema.columns().iter().cloned().map(ColumnProfile::new).collect() }
    }

    /// Adds a row.
    pub fn add(&mut self, row: &[Option<Cell>]) {
        self.rows += 1;
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.add(cell.as_ref());
        }
    }

    /// The profile of a dataset.
    ///
    /// # Errors
    /// Of reading it.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let mut profile = Self::new(&dataset.typed()?);
        dataset.rows(|row| {
            profile.add(row);
            Ok(())
        })?;
        Ok(profile)
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|c| c.column.name == name)
    }
}
