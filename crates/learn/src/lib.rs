//! Matrices to models.
//!
//! Everything here is a function of its arguments: the same rows, options and seed give the same model on every machine,
//! and no model reads a clock, a file or the network. Training takes a [`pool::Pool`] to run side by side where the
//! caller has one.

#![forbid(unsafe_code)]

pub mod anomaly;
pub mod bins;
pub mod calibrate;
pub mod codec;
pub mod hybrid;
pub mod life;
pub mod matrix;
pub mod metric;
pub mod pool;
pub mod random;
pub mod text;
pub mod tree;

pub use matrix::{Feature, Kind, Matrix};
pub use pool::{Inline, Pool};

/// Why a model can't be trained or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// Two things that belong together differ in length.
    #[error("{what}: {found} where {expected} were expected")]
    Shape {
        /// Of what.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// There are no rows.
    #[error("there are no rows to learn from")]
    Empty,
    /// All rows have the same class.
    #[error("all rows have one class; at least two are needed")]
    OneClass,
    /// An option is out of its range.
    #[error("{option} must be {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}
