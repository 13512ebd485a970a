//! Recognition of applications, over TCP and UDP.

#![no_main]

#[path = "../../crates/wire/tests/message/feed.rs"]
#[expect(dead_code, reason = "each target uses its part")]
mod feed;

libfuzzer_sys::fuzz_target!(|input: &[u8]| feed::stays_recognised(input));
