//! Flows and windows to signals, verdicts and incidents.
//!
//! Rules are data (`rules/*.toml`): a name, a technique, a condition over named metrics, documentation and test
//! vectors. This crate evaluates them, asks learned models beside them, merges what belongs to one actor, and explains
//! each verdict. Pure: time is an argument in nanoseconds.

#![forbid(unsafe_code)]

pub mod book;
pub mod bound;
pub mod class;
mod count;
pub mod detector;
pub mod docs;
pub mod domains;
pub mod exception;
pub mod field;
pub mod home;
pub mod incident;
pub mod learned;
pub mod login;
pub mod metric;
mod names;
pub mod profile;
pub mod reputation;
pub mod rule;
pub mod ruleset;
pub mod signal;
pub mod snapshot;
pub mod vector;

pub use book::{BookConfig, BookCounters, IncidentBook};
pub use bound::Bound;
pub use class::{Class, Severity};
pub use detector::{DetectCounters, Detector, KernelThresholds};
pub use exception::{Exception, Exceptions};
pub use field::Field;
pub use home::Home;
pub use incident::{Change, Incident, Update};
pub use metric::Metric;
pub use rule::Rule;
pub use ruleset::{RuleError, RuleOverride, RuleSet, VectorResult};
pub use signal::{Actor, Evidence, Origin, Signal};
