//! The header parser, under every link type. The first four bytes are the length on the wire.

#![no_main]

#[path = "../../crates/wire/tests/wire/invariants.rs"]
#[expect(dead_code, reason = "the other target uses the rest")]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((frame_len, frame)) = input.split_first_chunk::<4>() {
        invariants::packet(frame, u32::from_le_bytes(*frame_len));
    }
});
