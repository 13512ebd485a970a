//! The crate seen from outside, one module a subject.

mod accumulators;
mod app;
mod common;
mod community_id;
mod merge;
mod outcomes;
mod state_machine;
mod table;
