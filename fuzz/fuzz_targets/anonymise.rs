//! A capture whose addresses are replaced.

#![no_main]

use dataset::anonymise::{CryptoPan, capture};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut out = Vec::new();
    if let Ok(report) = capture(input, &mut out, &CryptoPan::new(&[7; 32])) {
        assert_eq!(report.frames, report.written + report.left_out);
    }
});
