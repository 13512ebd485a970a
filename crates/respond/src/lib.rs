//! Incidents to actions.
//!
//! Policy decides, the allowlist protects, the budget bounds, time undoes. [`Responder`] is the only source of
//! [`Effect`]s, and [`Effect`]s are the only thing an effector executes: one choke point, property-tested. Pure: time is
//! an argument in nanoseconds of the wall clock.

pub mod action;
pub mod prefix;

pub use action::{Block, Effect, Owner};
pub use prefix::Prefix;
