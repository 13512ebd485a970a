//! What a line tells of a login.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wire::Addr;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Refused: a wrong password, an unknown user, a certificate nobody knows.
    Failed,
    /// Let in.
    Accepted,
    /// The user does not exist. Told beside the failure, or alone where nothing was tried after it.
    UnknownUser,
    /// A line that is known and says nothing new of a login.
    Note,
}

impl Outcome {
    /// The name in definitions and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Accepted => "accepted",
            Self::UnknownUser => "unknown_user",
            Self::Note => "note",
        }
    }
}

/// A login as a log tells it. Texts are cleaned: see [`crate::clean`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoginEvent {
    /// When, ns since 1970: by the line, or by the clock where the line does not say.
    pub at_ns: u64,
    /// What came of it; never [`Outcome::Note`].
    pub outcome: Outcome,
    /// Service, such as `ssh`.
    pub service: Arc<str>,
    /// Port of the service, where it has a usual one.
    pub port: Option<u16>,
    /// Who logged in, as typed.
    pub user: Option<Box<str>>,
    /// Whether the service said that this user does not exist.
    pub unknown_user: bool,
    /// From where.
    pub source: Option<Addr>,
    /// From where, if the line has a name instead of an address.
    pub source_name: Option<Box<str>>,
    /// By which method, such as `password`.
    pub method: Option<Box<str>>,
    /// Tries that the line stands for, at least 1.
    pub tries: u32,
}
