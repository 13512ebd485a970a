//! Definitions of formats as people write them (`rules/auth/*.toml`).

use crate::Outcome;
use serde::Deserialize;
use toml::Spanned;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default, rename = "format")]
    pub(crate) formats: Vec<Spanned<Definition>>,
}

/// How one service writes about logins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Name of the format, lower-case letters, digits and hyphens.
    pub(crate) id: String,
    /// Service, such as `ssh`.
    pub(crate) service: String,
    /// What it is, one or two sentences.
    pub(crate) doc: String,
    /// Port of the service.
    pub(crate) port: Option<u16>,
    /// Names under which programs write to syslog; `*` stands for any. Without them, each line is read as a whole.
    #[serde(default)]
    pub(crate) programs: Vec<String>,
    /// Syslog facilities to which they write.
    #[serde(default)]
    pub(crate) facilities: Vec<Facility>,
    /// Files to follow if they exist.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Patterns, in the order in which they are tried.
    #[serde(default, rename = "line")]
    pub(crate) lines: Vec<Pattern>,
    /// Lines with what must come of them.
    #[serde(default, rename = "vector")]
    pub(crate) vectors: Vec<Vector>,
}

/// A syslog facility that has to do with logins (RFC 5424 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Facility {
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Authpriv = 10,
    Ftp = 11,
}

/// What a line says, and how it is recognised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pattern {
    pub(crate) outcome: Outcome,
    /// A regular expression for the whole message, with named groups.
    pub(crate) pattern: Spanned<String>,
}

/// A line and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    /// The line as it stands in the file.
    pub(crate) line: String,
    /// What must come of it; `none` if it must not be recognised.
    pub(crate) expect: Expected,
    /// The user, cleaned.
    pub(crate) user: Option<String>,
    /// The address or name it came from.
    pub(crate) source: Option<String>,
    /// The service, where it is not that of the format.
    pub(crate) service: Option<String>,
    /// The method.
    pub(crate) method: Option<String>,
    /// Tries.
    pub(crate) tries: Option<u32>,
}

/// An expected outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expected {
    Failed,
    Accepted,
    UnknownUser,
    Note,
    None,
}

impl Expected {
    /// The outcome, or none.
    pub(crate) const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Failed => Some(Outcome::Failed),
            Self::Accepted => Some(Outcome::Accepted),
            Self::UnknownUser => Some(Outcome::UnknownUser),
            Self::Note => Some(Outcome::Note),
            Self::None => None,
        }
    }
}
