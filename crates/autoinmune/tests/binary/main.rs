//! The binary from the outside, without privileges: commands, exit codes, replay.

mod cli;
mod common;
mod datasets;
mod detector;
mod exactness;
mod export;
mod generate;
mod intel;
mod learned;
mod learning;
mod models;
mod logs;
mod replay;
mod workers;
