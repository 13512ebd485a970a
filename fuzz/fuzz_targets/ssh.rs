//! SSH up to its encryption, both directions.

#![no_main]

#[path = "../../crates/wire/tests/message/feed.rs"]
#[expect(dead_code, reason = "each target uses its part")]
mod feed;

use wire::message::ssh::Dissector;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    feed::agrees(|| Box::<Dissector>::default(), input);
});
