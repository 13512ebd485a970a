//! Reading reputation lists: bytes in, prefixes out. No kind of list fails as a whole for a line or object it cannot read;
//! what is left out is counted, the first of it with the reason.

pub mod crowdsec;
mod lines;
mod pattern;
mod stix;

use crate::table::{Builder, MAX_PREFIXES};
use crate::{Prefix, PrefixError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a list that are read: [`MAX_PREFIXES`] lines of the longest IPv6 prefix with a remark, and any bundle worth
/// holding in memory.
pub const MAX_BYTES: u64 = 256 << 20;
/// Skipped lines that are kept with their reason.
pub const MAX_REASONS: usize = 5;
/// Different remarks one list may make; those of further kinds are left out.
pub const MAX_NOTES: usize = 4096;
/// Characters of a remark that are kept.
const MAX_NOTE: usize = 80;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An address or prefix at the beginning of each line; `#` and `;` begin comments.
    Plain,
    /// FireHOL's .netset and .ipset files; as plain.
    Netset,
    /// ipsum: an address and the number of lists that have it.
    Ipsum,
    /// Decisions of CrowdSec's local API, followed as they are made and lifted.
    Crowdsec,
    /// A STIX 2.1 bundle: its indicators of addresses.
    Stix,
}

impl Kind {
    /// The name as configured.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Netset => "netset",
            Self::Ipsum => "ipsum",
            Self::Crowdsec => "crowdsec",
            Self::Stix => "stix",
        }
    }
}

/// A line, object or decision that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its number, from 1: the line, or the object of a bundle.
    pub at: u64,
    /// Why.
    pub why: String,
}

/// What was left out of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skips {
    /// How many.
    pub count: u64,
    /// The first [`MAX_REASONS`] of them.
    pub first: Vec<Skipped>,
}

impl Skips {
    fn note(&mut self, at: u64, why: impl ToString) {
        self.count += 1;
        if self.first.len() < MAX_REASONS {
            self.first.push(Skipped { at, why: why.to_string() });
        }
    }
}

/// What a list says.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// Its prefixes, in order.
    pub prefixes: Builder,
    /// Remarks; note *n* of a hit is the *n*th, from 1.
    pub notes: Vec<Arc<str>>,
    /// What was left out.
    pub skips: Skips,
    /// When something begins or ceases to hold next, s since 1970: the same bytes then say something else.
    pub next_change_s: Option<u64>,
    numbers: HashMap<Arc<str>, u16>,
}

/// Why a list is not taken at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not JSON, or not the JSON of such a list.
    #[error("is not {what}: {why}")]
    Json {
        /// What it should be.
        what: &'static str,
        /// Where it is not.
        why: String,
    },
    /// There is content and none of it is understood.
    #[error("none of its {0} entries could be read ({1}); is the kind right?")]
    Nothing(u64, String),
}

impl Parsed {
    /// Adds what a list says of a prefix, unless no list may say so.
    fn add(&mut self, at: u64, prefix: Result<Prefix, PrefixError>, strength: u8, note: Option<&str>) {
        match prefix.and_then(Prefix::listable) {
            Ok(_) if self.prefixes.len() >= MAX_PREFIXES => {
                self.skips.note(at, format_args!("the list is full at {MAX_PREFIXES} prefixes"));
            }
            Ok(prefix) => {
                let note = note.map_or(0, |n| self.number(n));
                self.prefixes.add(prefix, strength, note);
            }
            Err(why) => self.skips.note(at, why),
        }
    }

    fn number(&mut self, note: &str) -> u16 {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let note: String = note.chars().take(MAX_NOTE).map(plain).collect();
        if let Some(known) = self.numbers.get(note.as_str()) {
            return *known;
        }
        if self.notes.len() >= MAX_NOTES {
            return 0;
        }
        let note: Arc<str> = note.into();
        self.notes.push(Arc::clone(&note));
        let number = u16::try_from(self.notes.len()).unwrap_or(0);
        self.numbers.insert(note, number);
        number
    }

    /// Notes that the list changes by itself at `at_s`.
    fn changes_at(&mut self, at_s: u64) {
        self.next_change_s = Some(self.next_change_s.map_or(at_s, |known| known.min(at_s)));
    }

    fn finished(mut self) -> Result<Self, ListError> {
        if self.prefixes.is_empty()
            && let Some(first) = self.skips.first.first()
            && self.skips.count > 0
            && self.next_change_s.is_none()
        {
            return Err(ListError::Nothing(self.skips.count, format!("{}: {}", first.at, first.why)));
        }
        self.prefixes.finish();
        self.numbers = HashMap::new();
        Ok(self)
    }
}

/// Reads a list of any kind that is a file.
///
/// # Errors
/// Where it is not of its kind at all. An empty list is fine.
pub fn parse(kind: Kind, bytes: &[u8], now_s: u64) -> Result<Parsed, ListError> {
    match kind {
        Kind::Plain | Kind::Netset => lines::parse(bytes, lines::Columns::Address),
        Kind::Ipsum => lines::parse(bytes, lines::Columns::AddressAndCount),
        Kind::Stix => stix::parse(bytes, now_s),
        Kind::Crowdsec => {
            let mut decisions = crowdsec::Decisions::default();
            decisions.apply(bytes, true, now_s)?;
            Ok(decisions.parsed(now_s))
        }
    }
}
