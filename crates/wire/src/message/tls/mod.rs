//! TLS hellos, RFC 8446 and RFC 5246, with JA3 and JA4 (client) fingerprints.
//!
//! Records and handshake messages are put together as the RFCs allow them to be split; after both hellos the flow is
//! opaque and reading ends. Violations, each of which ends it too: `bad_record_version`, `record_too_long`,
//! `empty_record`, `unexpected_record`, `unexpected_handshake`, `hello_too_long`, `hello_cut_short`,
//! `session_id_length`, `cipher_list_length`, `extension_list_length`, `extension_length`, `trailing_bytes`.

mod fingerprint;
mod hello;

use super::bytes::be16;
use super::{App, Message, Next, Progress, Side, Violation};
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

/// A ServerHello, or a HelloRetryRequest, which has its form.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct ServerHello {
    /// Version chosen.
    pub version: u16,
    /// Cipher suite chosen.
    pub cipher: u16,
    /// JA3S: MD5 in hexadecimal.
    pub ja3s: Box<str>,
}

/// Longest hello read, bytes: with post-quantum key shares and tickets they reach four thousand.
pub const MAX_HELLO: usize = 16 * 1024;
/// Longest record before encryption, bytes, RFC 8446 §5.1.
pub const MAX_RECORD: usize = 1 << 14;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const TYPE_ALERT: u8 = 21;
const TYPE_HANDSHAKE: u8 = 22;

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    /// A handshake message of which more is to come.
    partial: Vec<u8>,
    /// Bytes of the current record to come.
    record: usize,
    over: bool,
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    directions: [Direction; 2],
}

/// Why a direction is read no further.
enum End {
    /// Its hello is read.
    Hello(Message),
    /// It sends no hello.
    Quiet,
    /// It breaks a rule.
    Wrong(&'static str),
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let direction = &mut self.directions[from as usize];
        let all = bytes.len();
        if direction.over {
            return Progress { consumed: all, next: Next::Enough };
        }
        let mut consumed = 0;
        let end = match direction.read(from, bytes, &mut consumed) {
            None => return Progress { consumed, next: Next::More },
            Some(end) => end,
        };
        *direction = Direction { over: true, ..Direction::default() };
        let next = match end {
            End::Hello(hello) => {
                out.push(hello);
                // The client's hello comes first; without it, in a flow joined late, the server's is all there is.
                if from == Side::Server { Next::Done } else { Next::Enough }
            }
            End::Quiet => Next::Done,
            End::Wrong(what) => {
                out.push(Message::Violation(Violation { app: App::Tls, what }));
                Next::Done
            }
        };
        Progress { consumed: all, next }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        // Half a hello is no hello, and behind it comes nothing to read.
        self.directions[from as usize] = Direction { over: true, ..Direction::default() };
        if from == Side::Server { Next::Done } else { Next::Enough }
    }
}

impl Direction {
    /// Goes through `bytes`; `None` when more are needed.
    fn read(&mut self, from: Side, bytes: &[u8], consumed: &mut usize) -> Option<End> {
        loop {
            if self.record == 0 {
                let header = bytes.get(*consumed..)?.first_chunk::<RECORD_HEADER>()?;
                match record(header) {
                    Ok(length) => self.record = length,
                    Err(end) => return Some(end),
                }
                *consumed += RECORD_HEADER;
            }
            let rest = bytes.get(*consumed..)?;
            let fragment = rest.get(..self.record).unwrap_or(rest);
            if fragment.is_empty() {
                return None;
            }
            *consumed += fragment.len();
            self.record -= fragment.len();
            // A hello that lies whole in one record, as nearly all do, is read in place.
            let whole = if self.partial.is_empty() {
                fragment
            } else {
                self.partial.extend_from_slice(fragment);
                &self.partial
            };
            match message(from, whole) {
                Ok(Some(body)) => {
                    return Some(hello::read(from, body).map_or_else(End::Wrong, End::Hello));
                }
                Ok(None) if self.partial.is_empty() => self.partial.extend_from_slice(fragment),
                Ok(None) => {}
                Err(what) => return Some(End::Wrong(what)),
            }
        }
    }
}

/// The length of a handshake record.
fn record(header: &[u8; RECORD_HEADER]) -> Result<usize, End> {
    let length = usize::from(be16(header, 3).unwrap_or_default());
    match header {
        [_, major, ..] if *major != 3 => Err(End::Wrong("bad_record_version")),
        _ if length > MAX_RECORD => Err(End::Wrong("record_too_long")),
        [TYPE_ALERT, ..] => Err(End::Quiet),
        [TYPE_HANDSHAKE, ..] if length == 0 => Err(End::Wrong("empty_record")),
        [TYPE_HANDSHAKE, ..] => Ok(length),
        _ => Err(End::Wrong("unexpected_record")),
    }
}

/// The body of the handshake message `bytes` begin with; `None` while it is incomplete.
fn message(from: Side, bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let expected = match from {
        Side::Client => 1,
        Side::Server => 2,
    };
    if bytes.first().is_some_and(|kind| *kind != expected) {
        return Err("unexpected_handshake");
    }
    let Some([_, a, b, c]) = bytes.first_chunk::<HANDSHAKE_HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if length > MAX_HELLO {
        return Err("hello_too_long");
    }
    Ok(bytes.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + length))
}
