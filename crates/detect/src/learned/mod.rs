//! Learned detectors: what is like a known attack, and what is unlike the usual.
//!
//! - [`flows`]: each flow that ends is asked "is this normal?" and, if not, "which attack is it like?".
//! - [`ensemble`]: each 10-s window of a source is looked at in three ways, and compared with what is usual.
//!
//! One flow or window says little: a score becomes a p-value against normal traffic the model did not learn from, and the
//! p-values of one source add up ([`evidence`]) until they exceed what the budget of false alarms allows. Only then there is
//! a signal. A learned signal never blocks by itself; see [`crate::Incident::suffices`].
//!
//! A sensor may have all that judged elsewhere: [`exchange`] is what passes between the two, [`finding`] what comes of it.
//!
//! [`watch`] keeps what is needed of each source, [`vector`] and [`row`] are the tables of features, [`fit`] trains, and
//! [`measure`] says how good the views are on data they were not trained on.

pub mod calibrate;
pub mod ensemble;
pub mod evidence;
pub mod exchange;
pub mod finding;
pub mod fit;
pub mod flows;
pub mod habit;
mod judge;
pub mod measure;
pub mod row;
pub mod vector;
pub mod watch;
pub mod words;

pub use finding::{Finding, Found};
pub use judge::{JudgedWindow, Learned, LearnedCounters, ModelError, Models, RULE, SID};
