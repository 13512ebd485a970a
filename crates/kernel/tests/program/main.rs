//! The kernel programs under TEST_RUN: verdicts, accounting and events, and the same captures through kernel and Rust.

mod account;
mod differential;
mod testrun;
mod verdict;
