//! HTTP/1.x messages, RFC 9112.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Request {
    /// Method, at most 32 bytes.
    pub method: Box<str>,
    /// Request target as sent, cut at [`MAX_TARGET`].
    pub target: Box<str>,
    /// Host field, lower case.
    pub host: Option<Box<str>>,
    /// User-Agent field.
    pub user_agent: Option<Box<str>>,
    /// Minor version: 0 or 1.
    pub minor: u8,
    /// Content-Length.
    pub content_length: Option<u64>,
    /// Whether the body is chunked.
    pub chunked: bool,
    /// Header fields.
    pub fields: u16,
    /// Bytes of the whole head.
    pub head_bytes: u32,
    /// Requests before this one on the connection.
    pub depth: u16,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Minor version: 0 or 1.
    pub minor: u8,
    /// Content-Length.
    pub content_length: Option<u64>,
    /// Content-Type without parameters, lower case.
    pub content_type: Option<Box<str>>,
    /// Server field.
    pub server: Option<Box<str>>,
    /// Bytes of the whole head.
    pub head_bytes: u32,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Body {
    /// Whose body: true for the request.
    pub request: bool,
    /// Bytes of content, without chunk framing.
    pub bytes: u64,
}

/// Longest request target kept, bytes.
pub const MAX_TARGET: usize = 1024;

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
