//! SMB 1, 2 and 3: [MS-CIFS], [MS-SMB2], behind the NetBIOS session header.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// A request or response.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Smb {
    /// 1 or 2; 3 for an encrypted transform, of which nothing else is known.
    pub version: u8,
    /// Command code of that version.
    pub command: u16,
    /// Whether it is a response.
    pub response: bool,
    /// NT status of a response.
    pub status: u32,
    /// Dialect chosen in a negotiation, such as 0x0311.
    pub dialect: Option<u16>,
    /// Share of a tree connect, or name of a created or opened file or pipe; forward slashes, cut at 256 bytes.
    pub name: Option<Box<str>>,
    /// Whether `name` is a share.
    pub share: bool,
    /// Bytes of a write request.
    pub written: u32,
    /// Whether the command renames or deletes.
    pub renames: bool,
    /// User of a session setup, where NTLM names one.
    pub user: Option<Box<str>>,
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
