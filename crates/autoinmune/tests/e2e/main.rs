//! The real binary on real traffic: in network namespaces, as root, against real tools.
//!
//! Each test makes a range of its own (two namespaces, a veth pair) and leaves nothing. What it needs and does not find
//! (root, a program) it names in a line `skipped: <test>: <why>`.

mod support;

mod attacks;
mod blocks;
mod capture;
mod control;
mod demo;
mod detector;
mod fallback;
mod families;
mod generate;
mod http_api;
mod intel;
mod interfaces;
mod journal;
mod lab;
mod learning;
mod logins;
mod prometheus;
mod refusals;
mod simulation;
mod syslog;
