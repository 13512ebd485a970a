//! What is known of an address beyond its traffic: where it is, whose network it is in, and what reputation lists say.
//!
//! [`Service`] is the whole of it: [`Service::facts`] answers at once from memory, and a few threads keep that memory up to
//! date with files, lists and services elsewhere. Nothing on the way of a packet opens, waits or asks. What is missing is
//! left out of the answer; nothing is guessed.
//!
//! Countries and networks are context and reputation is an opinion of others: neither is a reason to block. See
//! docs/enrichment.md.

#![forbid(unsafe_code)]

mod cache;
pub mod config;
mod database;
mod fallback;
mod feed;
mod file;
pub mod list;
mod lists;
mod network;
mod prefix;
mod runs;
mod score;
mod service;
mod shared;
mod table;
pub mod web;

pub use database::{DatabaseError, DatabaseFigures, Place};
pub use fallback::FallbackFigures;
pub use feed::{FeedFigures, Refreshed};
pub use network::{Network, NetworkKind};
pub use prefix::{Prefix, PrefixError, is_public};
pub use score::{Part, Reputation};
pub use service::{CacheFigures, Facts, Figures, Running, Service};
pub use table::{Builder, Hit, MAX_PREFIXES, Table};
pub use web::WebError;

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time, s since 1970; 0 before.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
