//! Flows and windows to signals, verdicts and incidents.
//!
//! Rules are data (`rules/*.toml`): a name, a technique, a condition over named metrics, documentation and test
//! vectors. This crate evaluates them, merges what belongs to one actor, and explains each verdict. Pure: time is an
//! argument in nanoseconds.

pub mod class;
pub mod incident;
pub mod signal;

pub use class::{Class, Severity};
pub use incident::{Change, Incident, Update};
pub use signal::{Actor, Evidence, Signal};
