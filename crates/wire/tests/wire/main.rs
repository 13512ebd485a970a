//! Tests of the crate from outside, in one program.

mod blocks;
mod captures;
mod invariants;
mod mutations;
mod oracle;
mod parse_rules;
mod shared_data;
mod tunnels;
