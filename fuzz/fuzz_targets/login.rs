//! Lines of logs, in every format, and entries of the journal.

#![no_main]

use auth::{Clock, FormatSet, Parser};
use std::cell::RefCell;
use std::sync::Arc;

const CLOCK: Clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 3600 };

thread_local! {
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new(Arc::new(FormatSet::builtin())));
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    PARSER.with_borrow_mut(|parser| {
        let formats = parser.formats().len();
        let readings = (0..=formats).map(|n| parser.line(input, n.checked_sub(1), &CLOCK));
        let entry = auth::entry(input);
        let readings: Vec<_> = readings.collect();
        let of_journal = entry.map(|e| parser.entry(&e, &CLOCK));
        for event in readings.into_iter().chain(of_journal).filter_map(|r| r.event) {
            let texts = [&event.user, &event.source_name, &event.method];
            for text in texts.into_iter().flatten() {
                assert!(!text.chars().any(char::is_control), "{text:?}");
                assert!(text.chars().count() <= auth::MAX_USER * 10);
            }
            assert!((1..=auth::MAX_TRIES).contains(&event.tries));
        }
    });
});
