//! The control socket: how `autoinmune ban`, `status` and the others talk to the running agent.
//!
//! JSON lines over a Unix stream socket: one request object per line, one reply object per line, as many as the client
//! likes. Only root, or the user the agent runs as, gets an answer: the socket is 0600 in a directory that is 0700, and
//! the kernel's own word on who connects (`SO_PEERCRED`, unix(7)) is checked besides.
//!
//! ```text
//! → {"op":"ban","prefix":"192.0.2.7","for_seconds":3600,"why":"abuse report"}
//! ← {"ok":true,"data":{…}}
//! → {"op":"unban","prefix":"nonsense"}
//! ← {"ok":false,"code":"bad_request","error":"'nonsense' is not an IP address or CIDR prefix …"}
//! ```

mod client;
mod connection;
mod place;
mod server;

pub use client::{CallError, call, call_as};
pub use place::private_directory;
pub use server::{Control, ControlError, Limits};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use wire::Addr;

/// Name of the socket in the agent's run directory.
pub const SOCKET_NAME: &str = "control.sock";
/// The socket unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/autoinmune/control.sock";
/// Bytes of a request line, its newline included; the longest honest one (a ban with a long reason) is far below.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Bytes of a reply line a client accepts; a full list of blocks is far below.
pub const MAX_REPLY: usize = 64 * 1024 * 1024;
/// Characters of [`Request::Ban`]'s reason.
pub const MAX_WHY: usize = 500;
/// Longest ban, s: 366 days. Every block has an end.
pub const MAX_BAN_SECONDS: u64 = 366 * 86_400;

/// The socket in a run directory.
#[must_use]
pub fn socket_in(run_dir: &Path) -> PathBuf {
    run_dir.join(SOCKET_NAME)
}

/// What can be asked of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Whether it answers.
    Ping,
    /// Its state: [`crate::view::Status`].
    Status,
    /// Block an address or prefix: [`crate::view::BlockView`].
    Ban {
        /// Address or CIDR prefix.
        prefix: String,
        /// How long, s, 1..=[`MAX_BAN_SECONDS`].
        for_seconds: u64,
        /// Reason, at most [`MAX_WHY`] characters, none of them control characters.
        why: String,
    },
    /// Lift a block: [`crate::view::BlockView`] as it was.
    Unban {
        /// Address or CIDR prefix as listed by [`Request::Bans`].
        prefix: String,
    },
    /// Blocks in force: a list of [`crate::view::BlockView`].
    Bans,
    /// All about an address: [`crate::view::ExplainView`].
    Explain {
        /// The address.
        address: Addr,
    },
    /// Incidents not yet ended: a list of [`crate::view::IncidentView`].
    Incidents,
    /// The kernel's limits and who was over one lately: [`crate::view::LimitsView`].
    Limits,
    /// Give full buckets again, of an address or of all: the number of sources and services.
    ClearLimits {
        /// Whose source and services; absent: everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Addr>,
    },
    /// Databases of addresses and reputation lists: their figures.
    Intel,
    /// Say that an incident was an attack: [`crate::view::FeedbackView`].
    Confirm {
        /// Its number.
        incident: u64,
        /// Reason, as in [`Request::Ban`].
        why: String,
    },
    /// Say that an incident was no attack: [`crate::view::FeedbackView`].
    Dismiss {
        /// Its number.
        incident: u64,
        /// For how long its rules are not heard about its source, s, 1..=[`MAX_BAN_SECONDS`].
        for_seconds: u64,
        /// Reason, as in [`Request::Ban`].
        why: String,
    },
    /// What was said of incidents: a list of [`crate::view::FeedbackView`].
    Feedback,
    /// Take back what was said: [`crate::view::FeedbackView`] as it was.
    Retract {
        /// Its number, as listed by [`Request::Feedback`].
        id: u64,
    },
    /// What was seen of incidents that something was said of, to train on: [`crate::view::LabelledView`].
    Labelled,
    /// What is being learnt: [`crate::view::LearnerView`].
    Learner,
    /// Read the configuration again: all of it, or nothing and why.
    Reload,
}

impl Request {
    /// What can be checked without the agent's state.
    ///
    /// # Errors
    /// One sentence.
    fn validate(&self) -> Result<(), String> {
        let lasts = |what: &str, seconds: u64| {
            if (1..=MAX_BAN_SECONDS).contains(&seconds) {
                return Ok(());
            }
            Err(format!("{what} lasts between 1 and {MAX_BAN_SECONDS} seconds, not {seconds}"))
        };
        match self {
            Self::Ban { for_seconds, why, .. } => lasts("a ban", *for_seconds).and_then(|()| reason(why)),
            Self::Dismiss { for_seconds, why, .. } => {
                lasts("an exception", *for_seconds).and_then(|()| reason(why))
            }
            Self::Confirm { why, .. } => reason(why),
            _ => Ok(()),
        }
    }
}

/// Whether a reason may be kept.
fn reason(why: &str) -> Result<(), String> {
    if why.chars().count() > MAX_WHY {
        return Err(format!("the reason is longer than {MAX_WHY} characters"));
    }
    // It goes to logs and terminals.
    if why.chars().any(char::is_control) {
        return Err("the reason contains control characters".into());
    }
    Ok(())
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not understood, or a value in it is wrong.
    BadRequest,
    /// The request line is longer than [`MAX_REQUEST`].
    TooLarge,
    /// The request did not arrive in time.
    Timeout,
    /// The caller is neither root nor the agent's own user.
    Forbidden,
    /// Understood and refused: an allowlisted address, shadow mode, a full table.
    Refused,
    /// No such block.
    NotFound,
    /// Too many callers at once, or the agent is starting or stopping.
    Busy,
    /// The agent failed at it.
    Internal,
}

/// Why the agent does not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AgentError {
    /// For programs.
    pub code: Code,
    /// For people: one sentence with the way out.
    pub message: String,
}

impl AgentError {
    /// An error.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Who answers. Called from several threads at once; an answer that depends on another thread must have a time limit.
pub trait Agent: Send + Sync {
    /// Does it.
    ///
    /// # Errors
    /// [`AgentError`], which goes to the caller as it is.
    fn handle(&self, request: Request) -> Result<Value, AgentError>;
}

/// One reply line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
}

impl From<Result<Value, AgentError>> for Reply {
    fn from(result: Result<Value, AgentError>) -> Self {
        match result {
            Ok(data) => Self { ok: true, data: Some(data), error: None, code: None },
            Err(e) => Self { ok: false, data: None, error: Some(e.message), code: Some(e.code) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_one_form() {
        let check = |text: &str, expected: Option<Request>| {
            assert_eq!(serde_json::from_str::<Request>(text).ok(), expected, "{text}");
        };
        check(r#"{"op":"ping"}"#, Some(Request::Ping));
        check(r#"{"op":"reload"}"#, Some(Request::Reload));
        check(
            r#"{"op":"ban","prefix":"192.0.2.0/24","for_seconds":60,"why":"x"}"#,
            Some(Request::Ban { prefix: "192.0.2.0/24".into(), for_seconds: 60, why: "x".into() }),
        );
        check(r#"{"op":"limits"}"#, Some(Request::Limits));
        check(r#"{"op":"clear_limits"}"#, Some(Request::ClearLimits { address: None }));
        check(
            r#"{"op":"clear_limits","address":"192.0.2.7"}"#,
            Some(Request::ClearLimits { address: Some(Addr::v4([192, 0, 2, 7])) }),
        );
        check(
            r#"{"op":"dismiss","incident":7,"for_seconds":60,"why":"a scanner of ours"}"#,
            Some(Request::Dismiss { incident: 7, for_seconds: 60, why: "a scanner of ours".into() }),
        );
        check(r#"{"op":"retract","id":3}"#, Some(Request::Retract { id: 3 }));
        check(
            r#"{"op":"explain","address":"192.0.2.7"}"#,
            Some(Request::Explain { address: Addr::v4([192, 0, 2, 7]) }),
        );
        for wrong in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"op":"stop"}"#,
            r#"{"op":"ban","prefix":"192.0.2.7"}"#,
            r#"{"op":"ban","prefix":"192.0.2.7","for_seconds":-1,"why":""}"#,
            r#"{"op":"ban","prefix":"192.0.2.7","for_seconds":1,"why":"","force":true}"#,
            r#"{"op":"explain","address":"localhost"}"#,
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn bans_are_bounded() {
        let ban = |for_seconds, why: &str| {
            Request::Ban { prefix: "192.0.2.7".into(), for_seconds, why: why.into() }.validate()
        };
        assert_eq!(ban(1, "é"), Ok(()));
        assert_eq!(ban(MAX_BAN_SECONDS, &"é".repeat(MAX_WHY)), Ok(()));
        assert!(ban(0, "").is_err());
        assert!(ban(MAX_BAN_SECONDS + 1, "").is_err());
        assert!(ban(1, &"é".repeat(MAX_WHY + 1)).is_err());
        assert!(ban(1, "a\u{1b}[2Jb").is_err());
        let dismiss = |for_seconds| Request::Dismiss { incident: 1, for_seconds, why: String::new() };
        assert!(dismiss(1).validate().is_ok() && dismiss(0).validate().is_err());
        assert!(Request::Confirm { incident: 1, why: "\n".into() }.validate().is_err());
    }

    #[test]
    fn replies_have_one_form() {
        let good = serde_json::to_string(&Reply::from(Ok(Value::Null))).expect("serialises");
        assert_eq!(good, r#"{"ok":true,"data":null}"#);
        let bad = Reply::from(Err(AgentError::new(Code::Refused, "no")));
        let bad = serde_json::to_string(&bad).expect("serialises");
        assert_eq!(bad, r#"{"ok":false,"error":"no","code":"refused"}"#);
    }
}
