//! The crate seen from outside, one module a subject.

mod accumulators;
mod app;
mod common;
mod community_id;
mod features;
mod fragments;
mod merge;
mod outcomes;
mod sessions;
mod several;
mod state_machine;
mod stream;
mod table;
mod young;
