//! Tables of flows, of any size, in bounded memory: writing, reading, judging, comparing, splitting and anonymising them.
//!
//! A dataset is a directory of part files of one schema, or one file; CSV or Parquet. Rows pass one at a time. What must be
//! remembered is held in sketches of fixed size, or goes to temporary files by hash and comes back a portion at a time.

#![forbid(unsafe_code)]

pub mod anonymise;
pub mod categories;
mod cell;
pub mod datasheet;
pub mod distinct;
pub mod drift;
pub mod duplicates;
mod error;
mod firsts;
mod flows;
pub mod histogram;
mod infer;
pub mod manifest;
mod parts;
mod profile;
pub mod schema;
pub mod score;
pub mod skew;
pub mod source;
mod spill;
pub mod table;
mod transform;
mod tuple;

pub use categories::Categories;
pub use cell::{Cell, Kind, Row, parse_time};
pub use distinct::Distinct;
pub use duplicates::{Duplicates, Leakage, Side};
pub use error::Error;
pub use flows::{FlowColumns, Place};
pub use histogram::Histogram;
pub use manifest::Manifest;
pub use parts::{Format, PartLimits, Parts};
pub use profile::{ColumnProfile, Profile};
pub use schema::{Column, Role, Schema};
pub use score::{Goals, Score, Scorer};
pub use source::Dataset;
pub use transform::{Labelled, Merged, Repeats, SplitBy, SplitOptions, SplitReport, label, merge, split};
pub use tuple::{Digest, tuple_digest};

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
