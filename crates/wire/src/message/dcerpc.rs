//! DCE/RPC (C706, [MS-RPCE]), over TCP and, handed over by SMB, in named pipes.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// What a protocol data unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bind or alter context: `interface` is the first offered.
    #[default]
    Bind,
    /// The answer to it.
    BindAck,
    /// A call: `operation` of `interface`, where the bind was seen.
    Request,
    /// Its answer.
    Response,
    /// A failure.
    Fault,
    /// Anything else.
    Other,
}

/// A protocol data unit.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct DceRpc {
    /// What it is.
    pub kind: Kind,
    /// Interface, textual UUID in lower case.
    pub interface: Option<Box<str>>,
    /// Operation number.
    pub operation: Option<u16>,
    /// The named pipe, when not over TCP directly.
    pub pipe: Option<Box<str>>,
    /// Bytes of the call's data.
    pub stub_bytes: u32,
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
