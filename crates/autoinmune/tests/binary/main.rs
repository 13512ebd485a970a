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
mod logs;
mod models;
mod replay;
mod strain;
mod workers;
