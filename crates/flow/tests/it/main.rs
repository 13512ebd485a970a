//! The crate seen from outside, one module a subject.

mod accumulators;
mod ages;
mod app;
mod common;
mod community_id;
mod features;
mod fragments;
mod labels;
mod merge;
mod outcomes;
mod past;
mod sessions;
mod several;
mod state_machine;
mod stream;
mod table;
mod young;
