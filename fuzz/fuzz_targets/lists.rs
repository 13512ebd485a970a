//! Reputation lists of every kind.

#![no_main]

// The modules themselves, not their crate: it would bring a TLS library into every run.
#[path = "../../crates/enrich/src/list/mod.rs"]
#[expect(dead_code, reason = "each kind of list is read by one function")]
mod list;
#[path = "../../crates/enrich/src/prefix.rs"]
#[expect(dead_code, reason = "the rest of the crate uses more of it")]
mod prefix;
#[path = "../../crates/enrich/src/runs.rs"]
mod runs;
#[path = "../../crates/enrich/src/table.rs"]
#[expect(dead_code, reason = "the rest of the crate uses more of it")]
mod table;

use list::Kind;
use prefix::{Prefix, PrefixError};
use std::net::IpAddr;
use table::Table;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let kinds = [Kind::Plain, Kind::Netset, Kind::Ipsum, Kind::Crowdsec, Kind::Stix];
    let kind = kinds[usize::from(*kind) % kinds.len()];
    let Ok(parsed) = list::parse(kind, bytes, 1_750_000_000) else { return };
    assert!(parsed.skips.first.len() <= list::MAX_REASONS);
    assert!(parsed.prefixes.len() <= bytes.len());
    let table = Table::merge(&[&parsed.prefixes]);
    for addr in [IpAddr::from([198, 51, 100, 7]), IpAddr::from([0; 16]), IpAddr::from([255; 16])] {
        for hit in table.hits(addr) {
            assert!(hit.strength <= 100 && usize::from(hit.note) <= parsed.notes.len());
        }
    }
});
