//! A label file's text.

#![no_main]

use flow::Labels;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let Ok(labels) = Labels::parse(input) else { return };
    assert_eq!(Labels::parse(&labels.to_text()), Ok(labels));
});
