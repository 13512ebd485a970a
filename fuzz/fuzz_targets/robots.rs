//! What a site asks of robots, as the generator of ordinary traffic reads it.

#![no_main]

// The modules themselves, not their crate: it would bring a TLS library into every run.
#[path = "../../crates/lab/tests/visit/invariants.rs"]
#[expect(dead_code, reason = "each target uses its part")]
mod invariants;
#[path = "../../crates/lab/src/visit/page.rs"]
mod page;
#[path = "../../crates/lab/src/visit/robots.rs"]
#[expect(dead_code, reason = "visits use more of it")]
mod robots;
#[path = "../../crates/lab/src/visit/url.rs"]
#[expect(dead_code, reason = "visits use more of it")]
mod url;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::robots(input));
