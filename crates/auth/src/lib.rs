//! Log lines to login events.
//!
//! What a service writes to its log about a login is text that the one who logs in has a hand in. So a line is read by
//! a [`Format`]: patterns anchored at both ends, each with an outcome, in files anybody can add to (`rules/auth/*.toml`).
//! What goes out of here as text has been through [`clean`]. Pure: bytes and the clock are arguments.

#![forbid(unsafe_code)]

mod builtin;
mod clean;
mod definition;
mod event;
mod format;
mod header;
mod journal;
mod parser;
mod time;

pub use clean::clean;
pub use event::{LoginEvent, Outcome};
pub use format::{Format, FormatError, FormatSet, VectorResult};
pub use journal::{Entry, entry};
pub use parser::{Line, Parser, Reading};
pub use time::Clock;

/// Bytes of a line that are read. The longest line of the shipped formats has some 600; syslog itself allows 8 KiB in
/// rsyslog's default. What comes after is skipped by whoever reads the file.
pub const MAX_LINE: usize = 8192;
/// Characters of a user name that are kept: what it is shows at its beginning.
pub const MAX_USER: usize = 128;
/// Characters of any other text that are kept (a host name has at most 253, a method a few).
pub const MAX_TEXT: usize = 64;
/// Most tries that one line may tell (`message repeated N times`): rsyslog joins lines for seconds, not hours.
pub const MAX_TRIES: u32 = 10_000;
