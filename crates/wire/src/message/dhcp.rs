//! DHCP for IPv4, RFC 2131 and 2132.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Dhcp {
    /// Message type (option 53): 1 discover, 2 offer, 3 request, 5 acknowledgement, 6 refusal …; 0 for plain BOOTP.
    pub kind: u8,
    /// Whether a server speaks (op 2).
    pub reply: bool,
    /// Transaction identifier.
    pub transaction: u32,
    /// Hardware address of the client.
    pub client: [u8; 6],
    /// Address given.
    pub given: Option<crate::Addr>,
    /// Server identifier (option 54).
    pub server: Option<crate::Addr>,
    /// First router given (option 3).
    pub router: Option<crate::Addr>,
    /// First name server given (option 6).
    pub name_server: Option<crate::Addr>,
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
