//! The capture reader, and the header parser on what it returns.

#![no_main]

#[path = "../../crates/wire/tests/wire/invariants.rs"]
#[expect(dead_code, reason = "the other target uses the rest")]
mod invariants;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    invariants::capture(file);
});
