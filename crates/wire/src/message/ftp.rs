//! FTP control connections, RFC 959.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// A command or a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Ftp {
    /// A command: its verb in upper case. Of its argument only the user of `USER` is kept.
    Command {
        /// Verb.
        verb: Box<str>,
        /// User name.
        user: Option<Box<str>>,
    },
    /// A reply: its code.
    Reply {
        /// Three digits.
        code: u16,
    },
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {}

impl super::Dissector for Dissector {
    fn data(&mut self, _from: Side, bytes: &[u8], _out: &mut Vec<Message>) -> Progress {
        Progress { consumed: bytes.len(), next: Next::Done }
    }

    fn gap(&mut self, _from: Side, _missing: u64) -> Next {
        Next::Done
    }
}
