//! Kerberos, one datagram and both directions over TCP.

#![no_main]

#[path = "../../crates/wire/tests/message/feed.rs"]
#[expect(dead_code, reason = "each target uses its part")]
mod feed;

use wire::message::kerberos::Dissector;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    feed::bounded(&mut Dissector::datagram(), input);
    feed::agrees(|| Box::new(Dissector::stream()), input);
});
