//! SSH: identification strings (RFC 4253 §4.2), and how an authentication turned out, by sizes.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// An identification string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Banner {
    /// Who said it.
    pub from: Side,
    /// Protocol version, such as `2.0`.
    pub protocol: Box<str>,
    /// Software version and comment.
    pub software: Box<str>,
}

/// How an authentication turned out, judged by the sizes of encrypted packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// Whether a session was opened.
    pub success: bool,
    /// Refusals seen before.
    pub failures: u16,
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
