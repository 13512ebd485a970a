//! HTTP/1.x messages, RFC 9112: heads, and the framing of bodies.
//!
//! Violations of heads: `head_too_long`, `too_many_fields`, `bad_request_line`, `bad_status_line`, `bad_version`,
//! `bare_lf`, `bare_cr`, `nul_in_head`, `obs_fold`, `space_before_colon`, `bad_field`, `host_missing`, `host_twice`,
//! `bad_content_length`, `content_length_differs`, `length_and_transfer_encoding`, `bad_transfer_encoding`; of bodies:
//! `bad_chunk`, `trailer_too_long`. Most of those in heads are ways to make two servers disagree about where a message
//! ends (RFC 9112 §11.2). Each is told at most once a head.

mod head;
mod login;

use super::{App, MAX_UNCONSUMED, Message, Next, Progress, Side, Violation};
use head::{Framing, Head};
use login::Written;
pub use login::{MAX_FORM, MAX_USER};
use serde::Serialize;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Request {
    /// Method, at most [`MAX_METHOD`] bytes.
    pub method: Box<str>,
    /// Request target as sent, cut at [`MAX_TARGET`].
    pub target: Box<str>,
    /// Host field, lower case, cut at [`MAX_VALUE`].
    pub host: Option<Box<str>>,
    /// User-Agent field, cut at [`MAX_VALUE`].
    pub user_agent: Option<Box<str>>,
    /// User of Basic authentication, cut at [`MAX_USER`].
    pub user: Option<Box<str>>,
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
    /// Content-Type without parameters, lower case, cut at [`MAX_VALUE`].
    pub content_type: Option<Box<str>>,
    /// Server field, cut at [`MAX_VALUE`].
    pub server: Option<Box<str>>,
    /// Bytes of the whole head.
    pub head_bytes: u32,
}

/// The end of a body. Empty bodies of a stated length are not told; those that last until the connection closes have no
/// end in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Body {
    /// Whose body: true for the request.
    pub request: bool,
    /// Bytes of content, without chunk framing.
    pub bytes: u64,
    /// User of a login by form or JSON object, as it is encoded there, cut at [`MAX_USER`]; absent unless a password came
    /// with it.
    pub user: Option<Box<str>>,
}

/// Longest method kept, bytes; the registered ones have at most 17.
pub const MAX_METHOD: usize = 32;
/// Longest request target kept, bytes.
pub const MAX_TARGET: usize = 1024;
/// Longest field value kept, bytes.
pub const MAX_VALUE: usize = 512;
/// Longest head read, bytes: twice what common servers accept, and what a session keeps.
pub const MAX_HEAD: usize = MAX_UNCONSUMED;
/// Most header fields counted without complaint; common servers accept 100 to 128.
pub const MAX_FIELDS: u16 = 256;
/// Longest line of a chunk's size with its extensions, bytes, RFC 9112 §7.1.
pub const MAX_CHUNK_LINE: usize = 1024;
/// Longest trailer section, bytes.
pub const MAX_TRAILER: usize = 8 * 1024;
/// Requests remembered while their responses are awaited; further ones count as ordinary.
pub const MAX_PIPELINED: u32 = 64;

/// What a response needs to know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ordinary = 0,
    /// The response has no body.
    Head = 1,
    /// After success follows what is not HTTP.
    Connect = 2,
}

/// Requests whose response is awaited, the oldest in the lowest two bits.
#[derive(Debug, Default)]
struct Queue {
    bits: u128,
    length: u32,
}

impl Queue {
    fn push(&mut self, asked: Asked) {
        if self.length < MAX_PIPELINED {
            self.bits |= (asked as u128) << (2 * self.length);
            self.length += 1;
        }
    }

    fn first(&self) -> Asked {
        match self.bits & 3 {
            1 => Asked::Head,
            2 => Asked::Connect,
            _ => Asked::Ordinary,
        }
    }

    fn pop(&mut self) {
        self.bits >>= 2;
        self.length = self.length.saturating_sub(1);
    }
}

/// Where one direction stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or in a head, whose first `scanned` bytes hold no end of it; `begun` when its first line is found good.
    Head { scanned: usize, begun: bool },
    /// In a body: bytes of it to come, and its length.
    Fixed { left: u64, bytes: u64 },
    /// Before a chunk's size; content so far.
    ChunkSize { bytes: u64 },
    /// In a chunk: bytes of it to come, and content so far with the whole chunk.
    Chunk { left: u64, bytes: u64 },
    /// Before the line end behind a chunk.
    ChunkEnd { bytes: u64 },
    /// In the trailer section, of which so many bytes are read.
    Trailer { bytes: u64, read: usize },
    /// After a gap: looking for something that begins a message.
    Lost,
    /// Nothing more is to be known.
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Head { scanned: 0, begun: false }
    }
}

/// What a step of a direction came to.
enum Step {
    /// So many bytes are dealt with; look again.
    On(usize),
    /// The bytes do not suffice.
    Wait,
    /// So many bytes are dealt with, then this many are to be left out.
    Skip(usize, u64),
    /// The rest of this direction is of no use.
    Enough,
    /// The rest of the flow is of no use.
    Done,
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    states: [State; 2],
    /// Whether a direction has sent a message.
    seen: [bool; 2],
    queue: Queue,
    depth: u16,
    /// How the body of the request at hand is written, if it may be a login.
    written: Option<Written>,
    /// Who logs in with it.
    user: Option<Box<str>>,
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                return Progress { consumed, next: Next::More };
            }
            match self.step(from, rest, out) {
                Step::On(n) => consumed += n,
                Step::Wait => return Progress { consumed, next: Next::More },
                Step::Skip(n, leave) => return Progress { consumed: consumed + n, next: Next::Skip(leave) },
                Step::Enough => {
                    self.states[from as usize] = State::Over;
                    return Progress { consumed: bytes.len(), next: Next::Enough };
                }
                Step::Done => return Progress { consumed: bytes.len(), next: Next::Done },
            }
        }
    }

    fn gap(&mut self, from: Side, missing: u64) -> Next {
        let awaited = matches!(self.states[from as usize], State::Fixed { left, bytes }
            if left == bytes && self.awaits_login(from, bytes));
        let state = &mut self.states[from as usize];
        match state {
            State::Over => return Next::Enough,
            // What was held of it is gone.
            _ if awaited => *state = State::Lost,
            // The last byte is looked at, so that the end is told when it comes.
            State::Fixed { left, .. } if missing < *left => *left -= missing,
            State::Chunk { left, .. } if missing <= *left => *left -= missing,
            _ => {
                *state = State::Lost;
                // Which response belongs to which request is lost too.
                self.queue = Queue::default();
            }
        }
        Next::More
    }
}

impl Dissector {
    fn step(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Step {
        let state = self.states[from as usize];
        let (state, step) = match state {
            State::Head { scanned, begun } => return self.head(from, bytes, scanned, begun, out),
            State::Fixed { left, bytes: all } => {
                if left == all && self.awaits_login(from, all) {
                    let Some(form) = bytes.get(..all as usize) else { return Step::Wait };
                    self.user = self.written.take().and_then(|written| written.user(form));
                }
                match pass(left, bytes.len(), true) {
                    Pass::Whole(n) => {
                        out.push(self.body(from, all));
                        (State::default(), Step::On(n))
                    }
                    Pass::Part(n, leave, left) => (State::Fixed { left, bytes: all }, Step::Skip(n, leave)),
                }
            }
            State::ChunkSize { bytes: all } => return self.chunk_size(from, bytes, all, out),
            State::Chunk { left, bytes: all } => match pass(left, bytes.len(), false) {
                Pass::Whole(n) => (State::ChunkEnd { bytes: all }, Step::On(n)),
                Pass::Part(n, leave, _) => (State::ChunkEnd { bytes: all }, Step::Skip(n, leave)),
            },
            State::ChunkEnd { bytes: all } => match bytes {
                [b'\r', b'\n', ..] => (State::ChunkSize { bytes: all }, Step::On(2)),
                [b'\n', ..] => (State::ChunkSize { bytes: all }, Step::On(1)),
                [b'\r'] => return Step::Wait,
                _ => {
                    out.push(violation("bad_chunk"));
                    return Step::Enough;
                }
            },
            State::Trailer { bytes: all, read } => match line(bytes, MAX_TRAILER.saturating_sub(read)) {
                None if read + bytes.len() >= MAX_TRAILER => {
                    out.push(violation("trailer_too_long"));
                    return Step::Enough;
                }
                None => return Step::Wait,
                Some((b"", n)) => {
                    out.push(self.body(from, all));
                    (State::default(), Step::On(n))
                }
                Some((_, n)) => (State::Trailer { bytes: all, read: read + n }, Step::On(n)),
            },
            State::Lost if begins_message(from, bytes) => (State::default(), Step::On(0)),
            State::Lost => (State::Lost, Step::On(bytes.len())),
            State::Over => return Step::Enough,
        };
        self.states[from as usize] = state;
        step
    }

    fn head(
        &mut self,
        from: Side,
        bytes: &[u8],
        scanned: usize,
        begun: bool,
        out: &mut Vec<Message>,
    ) -> Step {
        // RFC 9112 §2.2: empty lines before a message are to be ignored.
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if scanned == 0 && blank > 0 {
            return Step::On(blank);
        }
        let fresh = bytes.get(scanned..).unwrap_or_default();
        if scanned > 0 && !head::ends(bytes, scanned) && (begun || !fresh.contains(&b'\n')) {
            return self.await_head(from, bytes, begun, out);
        }
        let mut head = Head::default();
        match head.read(from, bytes.get(..MAX_HEAD).unwrap_or(bytes)) {
            Ok(Some(length)) => self.take(from, &mut head, length, out),
            Ok(None) => self.await_head(from, bytes, head.begun(), out),
            Err(what) => {
                let (line, _) = line(bytes, MAX_HEAD).unwrap_or_default();
                if is_another(line) {
                    return Step::Done;
                }
                // What never began a message is no broken one: the flow was joined in the middle of a body.
                if !self.seen[from as usize] && !begins_message(from, line) {
                    return Step::Enough;
                }
                out.push(violation(what));
                Step::Done
            }
        }
    }

    fn await_head(&mut self, from: Side, bytes: &[u8], begun: bool, out: &mut Vec<Message>) -> Step {
        if bytes.len() >= MAX_HEAD {
            out.push(violation("head_too_long"));
            return Step::Enough;
        }
        self.states[from as usize] = State::Head { scanned: bytes.len(), begun };
        Step::Wait
    }

    /// Tells a head of `length` bytes, and learns from it what follows.
    fn take(&mut self, from: Side, head: &mut Head<'_>, length: usize, out: &mut Vec<Message>) -> Step {
        self.seen[from as usize] = true;
        let framing = head.framing(from);
        let next = match from {
            Side::Client => {
                let mut request = head.request(length);
                request.depth = self.depth;
                (self.written, self.user) = (head.written(), None);
                self.depth = self.depth.saturating_add(1);
                self.queue.push(match &*request.method {
                    "HEAD" => Asked::Head,
                    "CONNECT" => Asked::Connect,
                    _ => Asked::Ordinary,
                });
                out.push(Message::HttpRequest(request));
                // RFC 9112 §6.3: a request without a length has no body.
                if framing == Framing::UntilClose { Framing::Fixed(0) } else { framing }
            }
            Side::Server => {
                let response = head.response(length);
                let status = response.status;
                out.push(Message::HttpResponse(response));
                let asked = self.queue.first();
                if status == 101 || asked == Asked::Connect && matches!(status, 200..=299) {
                    head.tell(out);
                    return Step::Done;
                }
                let interim = matches!(status, 100..=199);
                if !interim {
                    self.queue.pop();
                }
                let bare = interim || matches!(status, 204 | 304) || asked == Asked::Head;
                if bare { Framing::Fixed(0) } else { framing }
            }
        };
        head.tell(out);
        self.states[from as usize] = match next {
            Framing::Fixed(0) => State::default(),
            Framing::Fixed(bytes) => State::Fixed { left: bytes, bytes },
            Framing::Chunked => State::ChunkSize { bytes: 0 },
            Framing::UntilClose => return Step::Enough,
        };
        Step::On(length)
    }

    /// Whether a body of `length` bytes that begins is to be looked at as a whole.
    fn awaits_login(&self, from: Side, length: u64) -> bool {
        from == Side::Client && self.written.is_some() && length <= MAX_FORM
    }

    fn body(&mut self, from: Side, bytes: u64) -> Message {
        let request = from == Side::Client;
        let user = if request { self.user.take() } else { None };
        Message::HttpBody(Body { request, bytes, user })
    }

    fn chunk_size(&mut self, from: Side, bytes: &[u8], all: u64, out: &mut Vec<Message>) -> Step {
        let size = match line(bytes, MAX_CHUNK_LINE) {
            None if bytes.len() < MAX_CHUNK_LINE => return Step::Wait,
            None => None,
            Some((line, n)) => hexadecimal(line).map(|size| (size, n)),
        };
        let Some((size, n)) = size else {
            out.push(violation("bad_chunk"));
            return Step::Enough;
        };
        self.states[from as usize] = match size {
            0 => State::Trailer { bytes: all, read: 0 },
            _ => State::Chunk { left: size, bytes: all.saturating_add(size) },
        };
        Step::On(n)
    }
}

/// How bytes at hand relate to a stated number to come.
enum Pass {
    /// All of them are at hand.
    Whole(usize),
    /// So many are at hand; leave out the next so many; then so many are still to come.
    Part(usize, u64, u64),
}

/// `last`: the last byte is not left out, so that its coming is seen.
fn pass(left: u64, at_hand: usize, last: bool) -> Pass {
    let held = at_hand as u64;
    if left <= held {
        return Pass::Whole(left as usize);
    }
    let leave = left - held - u64::from(last);
    Pass::Part(at_hand, leave, left - held - leave)
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Http, what })
}

/// The first line without its end, and its length with it, which is at most `most`.
fn line(bytes: &[u8], most: usize) -> Option<(&[u8], usize)> {
    let end = bytes.iter().take(most).position(|b| *b == b'\n')?;
    let line = bytes.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// A chunk's size: hexadecimal digits, then nothing, an extension, or white space some senders put there.
fn hexadecimal(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let behind = line.get(digits);
    if digits == 0 || digits > 15 || !matches!(behind, None | Some(b';' | b' ' | b'\t')) {
        return None;
    }
    let digits = line.get(..digits)?;
    Some(digits.iter().fold(0, |n, b| n << 4 | u64::from(char::from(*b).to_digit(16).unwrap_or(0))))
}

/// Whether a message of this side plausibly begins here: after a gap, or at first.
fn begins_message(from: Side, bytes: &[u8]) -> bool {
    match from {
        Side::Server => bytes.starts_with(b"HTTP/"),
        Side::Client => {
            let method = bytes.iter().take(MAX_METHOD).take_while(|b| b.is_ascii_uppercase()).count();
            method >= 3 && bytes.get(method) == Some(&b' ')
        }
    }
}

/// Whether a first line belongs to a protocol that looks alike and breaks no rule of this one: HTTP/2 with prior
/// knowledge (RFC 9113 §3.4), RTSP, SIP.
fn is_another(line: &[u8]) -> bool {
    let last = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    let alike = |word: &[u8]| word.starts_with(b"RTSP/") || word.starts_with(b"SIP/");
    line == b"PRI * HTTP/2.0" || alike(line) || alike(last)
}
