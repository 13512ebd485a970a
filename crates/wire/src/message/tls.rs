//! TLS hellos, RFC 8446 and RFC 5246, with JA3 and JA4 (client) fingerprints.

use super::{Message, Next, Progress, Side};
use serde::Serialize;

/// A ClientHello.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct ClientHello {
    /// Highest version offered (`supported_versions` if present), such as 0x0304.
    pub version: u16,
    /// Server name, lower case.
    pub sni: Option<Box<str>>,
    /// First protocol of ALPN.
    pub alpn: Option<Box<str>>,
    /// Cipher suites offered, GREASE left out.
    pub ciphers: u16,
    /// Extensions, GREASE left out.
    pub extensions: u16,
    /// JA3: MD5 in hexadecimal.
    pub ja3: Box<str>,
    /// JA4.
    pub ja4: Box<str>,
}

/// A ServerHello.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct ServerHello {
    /// Version chosen.
    pub version: u16,
    /// Cipher suite chosen.
    pub cipher: u16,
    /// JA3S: MD5 in hexadecimal.
    pub ja3s: Box<str>,
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
