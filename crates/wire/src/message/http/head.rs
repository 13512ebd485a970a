//! The head of a message: one pass over its lines, without copying.

use super::super::bytes::{find_below, lower, text};
use super::super::{Message, Side};
use super::login::{self, Written};
use super::{MAX_FIELDS, MAX_METHOD, MAX_TARGET, MAX_VALUE, Request, Response, violation};

/// How the end of a body is known, RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Fixed(u64),
    Chunked,
    UntilClose,
}

/// Violations of one head: a set, so that each is told once.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Flaw {
    TooManyFields,
    BadVersion,
    BareLf,
    BareCr,
    NulInHead,
    ObsFold,
    SpaceBeforeColon,
    BadField,
    HostMissing,
    HostTwice,
    BadContentLength,
    ContentLengthDiffers,
    LengthAndTransferEncoding,
    BadTransferEncoding,
}

const FLAWS: [&str; 14] = [
    "too_many_fields",
    "bad_version",
    "bare_lf",
    "bare_cr",
    "nul_in_head",
    "obs_fold",
    "space_before_colon",
    "bad_field",
    "host_missing",
    "host_twice",
    "bad_content_length",
    "content_length_differs",
    "length_and_transfer_encoding",
    "bad_transfer_encoding",
];

/// Where the parts of a head are.
#[derive(Default)]
pub(super) struct Head<'a> {
    method: &'a [u8],
    target: &'a [u8],
    status: u16,
    minor: u8,
    fields: u16,
    host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_length: Option<u64>,
    transfer_encoding: bool,
    chunked: bool,
    flaws: u16,
}

/// Bytes below this end a line or do not belong in one: all but visible characters, space and what is above carriage
/// return, which some senders use.
const CONTROL: u8 = b'\r' + 1;

/// Whether a head ends in `bytes`, of which the first `scanned` hold no end.
pub(super) fn ends(bytes: &[u8], scanned: usize) -> bool {
    let from = scanned.saturating_sub(3);
    let tail = bytes.get(from..).unwrap_or_default();
    let after = tail.iter().skip(1).zip(tail.iter().skip(2).map(Some).chain([None]));
    tail.iter().zip(after).any(|(a, (b, c))| *a == b'\n' && (*b == b'\n' || *b == b'\r' && c == Some(&b'\n')))
}

impl<'a> Head<'a> {
    /// Reads the head that begins `bytes`; its length, or `None` if it does not end here. The error is why this is no
    /// HTTP/1.
    pub(super) fn read(&mut self, from: Side, bytes: &'a [u8]) -> Result<Option<usize>, &'static str> {
        let Some((start, mut at)) = self.line(bytes, 0) else { return Ok(None) };
        let bad = match from {
            Side::Client if !self.request_line(start) => Some("bad_request_line"),
            Side::Server if !self.status_line(start) => Some("bad_status_line"),
            _ => None,
        };
        if let Some(what) = bad {
            return Err(what);
        }
        loop {
            let Some((line, next)) = self.line(bytes, at) else { return Ok(None) };
            at = next;
            if line.is_empty() {
                break;
            }
            self.field(line);
        }
        if from == Side::Client && self.minor == 1 && self.host.is_none() {
            self.flaw(Flaw::HostMissing);
        }
        if self.transfer_encoding && self.content_length.is_some() {
            self.flaw(Flaw::LengthAndTransferEncoding);
        }
        if self.transfer_encoding && !self.chunked {
            self.flaw(Flaw::BadTransferEncoding);
        }
        Ok(Some(at))
    }

    /// Whether the first line is read.
    pub(super) const fn begun(&self) -> bool {
        !self.method.is_empty() || self.status != 0
    }

    fn flaw(&mut self, flaw: Flaw) {
        self.flaws |= 1 << flaw as u8;
    }

    /// The line at `begin` without its end, and where the next begins; `None` if it does not end here.
    fn line(&mut self, bytes: &'a [u8], begin: usize) -> Option<(&'a [u8], usize)> {
        let mut at = begin;
        loop {
            at = find_below(bytes, at, CONTROL)?;
            match (bytes.get(at)?, bytes.get(at + 1)) {
                (b'\r', Some(b'\n')) => return Some((bytes.get(begin..at)?, at + 2)),
                (b'\r', None) => return None,
                (b'\n', _) => {
                    self.flaw(Flaw::BareLf);
                    return Some((bytes.get(begin..at)?, at + 1));
                }
                (b'\r', _) => self.flaw(Flaw::BareCr),
                (0, _) => self.flaw(Flaw::NulInHead),
                _ => {}
            }
            at += 1;
        }
    }

    /// `METHOD target HTTP/1.x`; a target with spaces in it, as attacks have, reaches to the last.
    fn request_line(&mut self, line: &'a [u8]) -> bool {
        let Some((method, rest)) = split(line, line.iter().position(|b| *b == b' ')) else { return false };
        let Some((target, version)) = split(rest, rest.iter().rposition(|b| *b == b' ')) else {
            return false;
        };
        (self.method, self.target) = (method, target);
        !method.is_empty()
            && method.iter().all(|b| is_token(*b))
            && !target.is_empty()
            && self.version(version)
    }

    /// `HTTP/1.x status reason`; the reason may be missing with its space, which old servers leave out.
    fn status_line(&mut self, line: &[u8]) -> bool {
        let Some((version, rest)) = line.split_first_chunk::<8>() else { return false };
        let Some([b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) = rest.first_chunk::<4>() else {
            return false;
        };
        self.status = [a, b, c].iter().fold(0, |n, digit| n * 10 + u16::from(**digit - b'0'));
        matches!(rest.get(4), None | Some(b' ')) && self.version(version)
    }

    fn version(&mut self, version: &[u8]) -> bool {
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] = version else { return false };
        if *minor > b'1' {
            self.flaw(Flaw::BadVersion);
        }
        // RFC 9110 §2.5: a higher minor version is read as the highest known.
        self.minor = (*minor - b'0').min(1);
        true
    }

    fn field(&mut self, line: &'a [u8]) {
        if let [b' ' | b'\t', ..] = line {
            self.flaw(Flaw::ObsFold);
            return;
        }
        self.fields = self.fields.saturating_add(1);
        if self.fields > MAX_FIELDS {
            self.flaw(Flaw::TooManyFields);
        }
        // Up to the colon there are nothing but token characters, so one look at each finds both.
        let end = line.iter().position(|b| !is_token(*b));
        let (name, value) = match split(line, end) {
            Some((name @ [_, ..], value)) if end.and_then(|at| line.get(at)) == Some(&b':') => (name, value),
            _ => match self.odd_field(line) {
                Some(field) => field,
                None => return,
            },
        };
        // Names are told apart by their length first: most are of none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.is_some() {
                    self.flaw(Flaw::HostTwice);
                } else {
                    self.host = Some(value.trim_ascii());
                }
            }
            6 if name.eq_ignore_ascii_case(b"server") => keep(&mut self.server, value),
            10 if name.eq_ignore_ascii_case(b"user-agent") => keep(&mut self.user_agent, value),
            12 if name.eq_ignore_ascii_case(b"content-type") => keep(&mut self.content_type, value),
            13 if name.eq_ignore_ascii_case(b"authorization") => keep(&mut self.authorization, value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.encoding(value),
            _ => {}
        }
    }

    /// A field whose name is none: what lenient servers take for it.
    fn odd_field(&mut self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let field = split(line, line.iter().position(|b| *b == b':'));
        let name = field.map(|(name, _)| name.trim_ascii_end()).unwrap_or_default();
        if name.is_empty() || name.iter().any(|b| !is_token(*b)) {
            self.flaw(Flaw::BadField);
        }
        let (written, value) = field?;
        if name.len() < written.len() {
            self.flaw(Flaw::SpaceBeforeColon);
        }
        Some((name, value))
    }

    /// Content-Length; a list of equal numbers stands for one, RFC 9110 §8.6.
    fn length(&mut self, value: &[u8]) {
        for number in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let digits = !number.is_empty() && number.len() <= 18 && number.iter().all(u8::is_ascii_digit);
            if !digits {
                self.flaw(Flaw::BadContentLength);
                continue;
            }
            let length = number.iter().fold(0, |n, digit| n * 10 + u64::from(*digit - b'0'));
            match self.content_length {
                Some(before) if before != length => self.flaw(Flaw::ContentLengthDiffers),
                _ => self.content_length = Some(length),
            }
        }
    }

    /// Transfer-Encoding: `chunked`, once, comes last, RFC 9112 §6.1.
    fn encoding(&mut self, value: &[u8]) {
        self.transfer_encoding = true;
        for coding in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if self.chunked {
                self.flaw(Flaw::BadTransferEncoding);
            }
            self.chunked |= coding.eq_ignore_ascii_case(b"chunked");
        }
    }

    /// How the end of the body is known, without what status and method say.
    pub(super) fn framing(&self, from: Side) -> Framing {
        match (self.chunked, self.transfer_encoding, self.content_length) {
            (true, ..) => Framing::Chunked,
            // A response of another encoding lasts until the end; where such a request ends nobody can tell.
            (_, true, None) => Framing::UntilClose,
            (_, true, Some(length)) if from == Side::Client => Framing::Fixed(length),
            (_, true, _) => Framing::UntilClose,
            (_, _, Some(length)) => Framing::Fixed(length),
            (_, _, None) => Framing::UntilClose,
        }
    }

    pub(super) fn request(&self, length: usize) -> Request {
        Request {
            method: text(self.method, MAX_METHOD),
            target: text(self.target, MAX_TARGET),
            host: self.host.map(|value| lower(value, MAX_VALUE)),
            user_agent: self.user_agent.map(|value| text(value, MAX_VALUE)),
            user: self.authorization.and_then(login::basic),
            minor: self.minor,
            content_length: self.content_length,
            chunked: self.chunked,
            fields: self.fields,
            head_bytes: length as u32,
            depth: 0,
        }
    }

    /// How the body of the request is written, if it may be a login.
    pub(super) fn written(&self) -> Option<Written> {
        Written::of(self.content_type?)
    }

    pub(super) fn response(&self, length: usize) -> Response {
        Response {
            status: self.status,
            minor: self.minor,
            content_length: self.content_length,
            content_type: self.content_type.map(|value| {
                let kind = value.split(|b| *b == b';').next().unwrap_or_default();
                lower(kind.trim_ascii(), MAX_VALUE)
            }),
            server: self.server.map(|value| text(value, MAX_VALUE)),
            head_bytes: length as u32,
        }
    }

    /// Tells the violations.
    pub(super) fn tell(&self, out: &mut Vec<Message>) {
        if self.flaws != 0 {
            let told = FLAWS.iter().enumerate().filter(|(i, _)| self.flaws >> i & 1 == 1);
            out.extend(told.map(|(_, what)| violation(what)));
        }
    }
}

/// The first value of a field counts.
fn keep<'a>(field: &mut Option<&'a [u8]>, value: &'a [u8]) {
    field.get_or_insert(value.trim_ascii());
}

/// What is before and behind the byte at `at`.
fn split(bytes: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, behind) = bytes.split_at_checked(at?)?;
    Some((before, behind.get(1..)?))
}

/// Whether a byte may be in a name, RFC 9110 §5.6.2.
const fn is_token(b: u8) -> bool {
    TOKEN[b as usize]
}

/// A table, for field names are looked at byte by byte.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = matches!(
            b as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        );
        b += 1;
    }
    table
};
