//! ARP packets, under every link type.

#![no_main]

use wire::LinkType;
use wire::message::arp;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for link in LinkType::ALL {
        assert!(arp::parse(link, input).is_none() || input.len() >= 42);
    }
});
