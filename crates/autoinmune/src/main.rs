//! Autoinmune.
fn main() {}
