//! The kernel programs under TEST_RUN: verdicts, accounting and events, and the same captures through kernel and Rust.

mod account;
mod differential;
mod fragment;
mod head;
mod limit;
mod testrun;
mod tunnels;
mod verdict;
