//! Addresses replaced so that nobody is named, and who shares a network still does.

mod capture;
mod cryptopan;
mod table;

pub use capture::{CaptureReport, capture};
pub use cryptopan::{CryptoPan, KEY_BYTES, KeyError};
pub use table::{TableReport, table};
