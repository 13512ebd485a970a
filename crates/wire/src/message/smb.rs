//! SMB 1, 2 and 3: [MS-CIFS], [MS-SMB], [MS-SMB2], behind the NetBIOS session header (RFC 1002 §4.3.1).
//!
//! Of each message the first [`MAX_READ`] bytes are read, so of a large write its size and file, not its content. What is
//! said in named pipes goes to the reader of DCE/RPC. Encrypted and compressed messages are told once a direction.
//!
//! Violations: `session_type` and `magic` lose the framing, so they end their direction. `short_message`,
//! `structure_size`, `next_command`, `compression_offset` and `beyond_message` (an offset, length or count that leads out
//! of the message) stand beside the message they are about.

mod ntlm;
mod table;
mod v1;
mod v2;

use super::bytes::{be32, le16};
use super::{App, Message, Next, Progress, Side, Violation};
use serde::Serialize;
use table::Tables;

/// A request or response.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Smb {
    /// 1 or 2; 3 for an encrypted or compressed message, of which nothing else is known.
    pub version: u8,
    /// Command code of that version.
    pub command: u16,
    /// Whether it is a response.
    pub response: bool,
    /// NT status of a response.
    pub status: u32,
    /// Dialect chosen in a negotiation of SMB 2 or 3, such as 0x0311.
    pub dialect: Option<u16>,
    /// Share of a tree connect, or name of a created or opened file or pipe, also with the response where the request was
    /// seen; forward slashes, cut at 256 bytes.
    pub name: Option<Box<str>>,
    /// Whether `name` is a share.
    pub share: bool,
    /// Bytes of a write request.
    pub written: u32,
    /// Whether the command renames or deletes, on close at the latest.
    pub renames: bool,
    /// New name of a rename, as `name`.
    pub target: Option<Box<str>>,
    /// User of a session setup, where NTLM names one; also with the response, whose status says what became of it.
    pub user: Option<Box<str>>,
    /// Domain of that user.
    pub domain: Option<Box<str>>,
}

/// Bytes of a message that are read. Requests that name something fit, as do binds to several interfaces.
pub const MAX_READ: usize = 4096;
/// Writes and answers to reads above this are contents of files: calls come in fragments of 5,840 bytes at most as a rule
/// (MS-RPCE §2.2.2.3 allows more, which implementations do not use).
const CONTENTS: usize = 6144;
/// Bytes read of those: the header (64) and the fixed part (48), and some to spare. Nothing more is waited for, since it
/// may never come: the kernel sends up where messages begin, not what is in files.
const CONTENTS_READ: usize = 256;
/// Most bytes kept of a name.
pub const MAX_NAME: usize = 256;
/// Most messages of one compound that are read; clients send three or four.
pub const MAX_COMPOUND: usize = 32;

const NETBIOS: usize = 4;

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    tables: Tables,
    /// An opaque message was told, by side.
    opaque: [bool; 2],
    /// Bytes of a side are missing: the next ones may not begin a message.
    lost: [bool; 2],
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| rest.len() >= NETBIOS) {
            let Some((kind, _)) = rest.split_first() else { break };
            let length = (be32(rest, 0).unwrap_or_default() & 0x00ff_ffff) as usize;
            // Neither need be waited for.
            if !matches!(kind, 0 | 0x81..=0x85) {
                return self.astray(from, bytes.len(), "session_type", out);
            }
            if *kind == 0 && !may_be_smb(rest.get(NETBIOS..).unwrap_or_default(), length) {
                return self.astray(from, bytes.len(), "magic", out);
            }
            let held = length.min(wanted(rest.get(NETBIOS..).unwrap_or_default(), length));
            let Some(message) = rest.get(NETBIOS..NETBIOS + held) else { break };
            // Session requests, their answers and keep-alives: whom NetBIOS calls does not matter.
            if *kind == 0 && length > 0 {
                self.set_lost(from, false);
                self.message(from, message, length, out);
            }
            consumed += NETBIOS + held;
            if held < length {
                return Progress { consumed, next: Next::Skip((length - held) as u64) };
            }
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        // Most segments after a gap begin a message, or go on with one whose end nothing marks.
        self.set_lost(from, true);
        Next::More
    }
}

/// Whether a message of `length` bytes that begins with `bytes` has the magic, as far as it is there.
fn may_be_smb(bytes: &[u8], length: usize) -> bool {
    let magic = bytes.get(..length).unwrap_or(bytes);
    let fits = |at: usize, test: fn(u8) -> bool| magic.get(at).is_none_or(|b| test(*b));
    fits(0, |b| b >= 0xfc) && fits(1, |b| b == b'S') && fits(2, |b| b == b'M') && fits(3, |b| b == b'B')
}

/// Bytes to read of a message of `length` bytes that begins with `bytes`.
fn wanted(bytes: &[u8], length: usize) -> usize {
    const READ: u16 = 8;
    const WRITE: u16 = 9;
    let contents = match bytes {
        [0xfe, ..] => le16(bytes, 12).zip(bytes.get(16)).is_some_and(|(command, flags)| {
            // SMB2_FLAGS_SERVER_TO_REDIR, MS-SMB2 §2.2.1.2.
            command == if flags & 1 == 0 { WRITE } else { READ }
        }),
        _ => false,
    };
    if contents && length > CONTENTS { CONTENTS_READ } else { MAX_READ }
}

impl Dissector {
    fn set_lost(&mut self, side: Side, lost: bool) {
        if let Some(flag) = self.lost.get_mut(side as usize) {
            *flag = lost;
        }
    }

    /// Gives up a direction whose messages cannot be told apart any more.
    fn astray(&self, from: Side, consumed: usize, what: &'static str, out: &mut Vec<Message>) -> Progress {
        if !self.lost.get(from as usize).copied().unwrap_or_default() {
            out.push(violation(what));
        }
        Progress { consumed, next: Next::Enough }
    }

    /// Takes a message of `length` bytes that begins with `bytes`.
    fn message(&mut self, from: Side, bytes: &[u8], length: usize, out: &mut Vec<Message>) {
        match bytes {
            [0xff, ..] => v1::message(&mut self.tables, from, bytes, length, out),
            [0xfe, ..] => v2::message(&mut self.tables, from, bytes, length, out),
            _ => {
                let told = self.opaque.get_mut(from as usize).map(|told| std::mem::replace(told, true));
                if told == Some(false) {
                    let response = from == Side::Server;
                    out.push(Message::Smb(Smb { version: 3, response, ..Smb::default() }));
                }
                if bytes.first() == Some(&0xfc) {
                    out.extend(compressed(bytes, length).map(violation));
                }
            }
        }
    }
}

/// What is wrong with a compression header, [MS-SMB2] §2.2.42.
fn compressed(bytes: &[u8], length: usize) -> Option<&'static str> {
    use super::bytes::{le16, le32};
    const HEADER: usize = 16;
    let (Some(original), Some(flags), Some(offset)) = (le32(bytes, 4), le16(bytes, 10), le32(bytes, 12))
    else {
        return Some("short_message");
    };
    let beyond = original.checked_add(offset).is_none() || HEADER + offset as usize > length;
    (flags & 1 == 0 && beyond).then_some("compression_offset")
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Smb, what })
}

/// `length` bytes at `at` of a message of `total` bytes that begins with `bytes`: what was kept of them, or an error if
/// they are not within the message.
fn part(bytes: &[u8], total: usize, at: usize, length: usize) -> Result<&[u8], &'static str> {
    match at.checked_add(length) {
        Some(end) if end <= total => Ok(bytes.get(at..end.min(bytes.len())).unwrap_or_default()),
        _ => Err("beyond_message"),
    }
}

/// Text of 16-bit units, forward slashes for backslashes, cut at [`MAX_NAME`] bytes; it ends at a zero.
fn utf16(bytes: &[u8]) -> Box<str> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    let mut text = String::new();
    for letter in char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)) {
        if text.len() + letter.len_utf8() > MAX_NAME {
            break;
        }
        text.push(if letter == '\\' { '/' } else { letter });
    }
    text.into()
}

/// Text of bytes, as [`utf16`].
fn ascii(bytes: &[u8]) -> Box<str> {
    let bytes = bytes.split(|b| *b == 0).next().unwrap_or_default();
    super::bytes::text(bytes, MAX_NAME).replace('\\', "/").into()
}
