//! FTP control connections, RFC 959: commands and replies, also of many lines; Telnet commands (RFC 854) are left out.
//!
//! Violations: `line_too_long`, `command` (no word of letters), `reply_code` (no three digits where a reply begins). The
//! reader is done when a server agrees to TLS (RFC 4217) or another security mechanism (RFC 2228).

use super::bytes::text;
use super::{App, Message, Next, Progress, Side, Violation};
use serde::Serialize;

/// A command or a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ftp {
    /// A command: its verb in upper case. Of its argument only the user of `USER` is kept.
    Command {
        /// Verb.
        verb: Box<str>,
        /// User name, cut at [`MAX_USER`] bytes.
        user: Option<Box<str>>,
    },
    /// A reply: its code, when its last line came.
    Reply {
        /// Three digits.
        code: u16,
    },
}

/// Longest line read, bytes: paths reach 4,096, and clients quote each byte of them at worst.
pub const MAX_LINE: usize = 8192;
/// Longest verb: `SITE` and the like have four letters, extensions such as `XSHA512` some more.
pub const MAX_VERB: usize = 12;
/// Most bytes kept of a user name.
pub const MAX_USER: usize = 64;

/// Replies that agree to a security exchange which ends in clear text's end.
const SECURED: [u16; 2] = [234, 235];
/// Telnet's escape, and the first of its commands that take an option.
const IAC: u8 = 255;
const WILL: u8 = 251;

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    /// The code of a reply that goes on.
    reply: Option<u16>,
    /// A line too long is being left out, by side.
    skipping: [bool; 2],
    /// The last command was `AUTH`.
    securing: bool,
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            let end = rest.iter().position(|b| *b == b'\n');
            let skipping = self.skipping.get(from as usize).copied().unwrap_or_default();
            if !skipping && end.unwrap_or(rest.len()) > MAX_LINE {
                out.push(violation("line_too_long"));
            } else if !skipping {
                let Some(line) = end.and_then(|end| rest.get(..end)) else { break };
                consumed += line.len() + 1;
                if self.line(from, line.strip_suffix(b"\r").unwrap_or(line), out) == Next::Done {
                    return Progress { consumed, next: Next::Done };
                }
                continue;
            }
            consumed += end.map_or(rest.len(), |end| end + 1);
            if let Some(flag) = self.skipping.get_mut(from as usize) {
                *flag = end.is_none();
            }
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        // The next line feed ends what is broken.
        if let Some(flag) = self.skipping.get_mut(from as usize) {
            *flag = true;
        }
        Next::More
    }
}

impl Dissector {
    fn line(&mut self, from: Side, line: &[u8], out: &mut Vec<Message>) -> Next {
        let plain = without_telnet(line);
        let line = plain.as_deref().unwrap_or(line);
        match from {
            Side::Client => {
                self.command(line, out);
                Next::More
            }
            Side::Server => self.reply(line, out),
        }
    }

    fn command(&mut self, line: &[u8], out: &mut Vec<Message>) {
        let verb = line.split(|b| *b == b' ').next().unwrap_or_default();
        if !(1..=MAX_VERB).contains(&verb.len()) || !verb.iter().all(u8::is_ascii_alphanumeric) {
            // Some clients send empty lines to keep the connection alive.
            if !line.is_empty() {
                out.push(violation("command"));
            }
            return;
        }
        let verb = text(&verb.to_ascii_uppercase(), MAX_VERB);
        let user = (&*verb == "USER").then(|| text(line.get(5..).unwrap_or_default(), MAX_USER));
        self.securing = &*verb == "AUTH";
        out.push(Message::Ftp(Ftp::Command { verb, user }));
    }

    fn reply(&mut self, line: &[u8], out: &mut Vec<Message>) -> Next {
        let code = match line {
            [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                Some([a, b, c].iter().fold(0u16, |sum, digit| sum * 10 + u16::from(**digit - b'0')))
            }
            _ => None,
        };
        let goes_on = line.get(3) == Some(&b'-');
        let ends = !goes_on && matches!(line.get(3), None | Some(b' '));
        let code = match (self.reply, code) {
            (None, Some(code)) if goes_on => {
                self.reply = Some(code);
                return Next::More;
            }
            (None, Some(code)) if ends => code,
            (None, _) => {
                if !line.is_empty() {
                    out.push(violation("reply_code"));
                }
                return Next::More;
            }
            (Some(begun), Some(code)) if begun == code && ends => code,
            (Some(_), _) => return Next::More,
        };
        self.reply = None;
        out.push(Message::Ftp(Ftp::Reply { code }));
        if self.securing && SECURED.contains(&code) { Next::Done } else { Next::More }
    }
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Ftp, what })
}

/// The line without Telnet commands; `None` if it has none.
fn without_telnet(line: &[u8]) -> Option<Vec<u8>> {
    line.contains(&IAC).then(|| {
        let mut plain = Vec::with_capacity(line.len());
        let mut bytes = line.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != IAC {
                plain.push(byte);
                continue;
            }
            match bytes.next() {
                Some(IAC) => plain.push(IAC),
                Some(WILL..) => drop(bytes.next()),
                _ => {}
            }
        }
        plain
    })
}
