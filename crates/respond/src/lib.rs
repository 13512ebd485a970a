//! Incidents to actions.
//!
//! Policy decides, the allowlist protects, the budget bounds, time undoes. [`Responder`] is the only source of
//! [`Effect`]s, and [`Effect`]s are the only thing an effector executes: one choke point, property-tested. Pure: time is
//! an argument in nanoseconds of the wall clock.

#![forbid(unsafe_code)]

pub mod action;
mod aged;
pub mod allowlist;
mod budget;
pub mod counters;
pub mod explanation;
mod known_good;
pub mod policy;
pub mod prefix;
pub mod refusal;
pub mod responder;
mod table;
pub mod ttl;

pub use action::{Block, Decision, Effect, Outcome, Owner};
pub use allowlist::Allowed;
pub use counters::Counters;
pub use explanation::{Explanation, Past};
pub use policy::{Mode, Policy, PolicyError};
pub use prefix::{Prefix, PrefixError};
pub use refusal::Refusal;
pub use responder::Responder;
pub use ttl::{Ttl, TtlError};
