//! DCE/RPC, connection-oriented (C706 §12.6, [MS-RPCE] §2.2.2), over TCP and, handed over by SMB, in named pipes.
//!
//! Of a call in fragments the first one counts. Which interface a call is for is known where its bind was seen.
//!
//! Violations: `version`, `data_representation` and `fragment_length` lose the framing, so over TCP they end their
//! direction. `unknown_type`, `auth_length`, `short_body` and `context_count` stand beside the unit they are about.

mod interface;

use super::bytes::{be16, be32, le16, le32};
use super::{App, Message, Next, Progress, Side, Violation};
pub use interface::interface_name;
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
    /// Its answer; `interface` and `operation` are those of the call, where that was seen.
    Response,
    /// A failure: of a call, or a bind that was refused.
    Fault,
    /// Anything else.
    Other,
}

/// A protocol data unit.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct DceRpc {
    /// What it is.
    pub kind: Kind,
    /// Call identifier: the same in a call and its answer.
    pub call: u32,
    /// Interface, textual UUID in lower case; [`interface_name`] knows some.
    pub interface: Option<Box<str>>,
    /// Operation number.
    pub operation: Option<u16>,
    /// The named pipe, when not over TCP directly.
    pub pipe: Option<Box<str>>,
    /// Bytes of the call's data: those in the first fragment, or as many as it announces if more follow.
    pub stub_bytes: u32,
    /// Status of a fault.
    pub status: Option<u32>,
}

/// Interfaces bound on one connection that are kept; the oldest goes first. Clients bind one, or a few in turn.
pub const MAX_CONTEXTS: usize = 16;
/// Calls waiting for their answer that are kept; the oldest goes first. Most clients make one at a time.
pub const MAX_PENDING: usize = 16;
/// Bytes of a fragment that are read: as many as a bind of eight interfaces with three encodings each takes.
pub const MAX_READ: usize = 1024;

const HEADER: usize = 16;
/// Header, hint, context and operation of a request; header, hint, context and a count in a response.
const CALL: usize = HEADER + 8;
const FIRST: u8 = 1;
const LAST: u8 = 2;
/// The call names an object.
const OBJECT: u8 = 0x80;

/// Reads one flow over TCP.
#[derive(Debug, Default)]
pub struct Dissector {
    association: Association,
    /// Bytes of a side are missing: the next ones may not begin a unit.
    lost: [bool; 2],
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| rest.len() >= HEADER) {
            let length = match fragment_length(rest) {
                Ok(length) => length,
                Err(what) => {
                    if !self.lost.get(from as usize).copied().unwrap_or_default() {
                        out.push(violation(what));
                    }
                    return Progress { consumed: bytes.len(), next: Next::Enough };
                }
            };
            let held = length.min(MAX_READ);
            let Some(unit) = rest.get(..held) else { break };
            self.set_lost(from, false);
            self.association.unit(from, unit, length, None, out);
            consumed += held;
            if held < length {
                return Progress { consumed, next: Next::Skip((length - held) as u64) };
            }
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        self.set_lost(from, true);
        Next::More
    }
}

impl Dissector {
    fn set_lost(&mut self, side: Side, lost: bool) {
        if let Some(flag) = self.lost.get_mut(side as usize) {
            *flag = lost;
        }
    }
}

/// The length of the fragment that begins with these bytes, at least a header's.
fn fragment_length(bytes: &[u8]) -> Result<usize, &'static str> {
    if !matches!(bytes, [5, 0 | 1, ..]) {
        return Err("version");
    }
    let little = match bytes.get(4).map(|b| b >> 4) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err("data_representation"),
    };
    match half(bytes, 8, little) {
        Some(length) if usize::from(length) >= HEADER => Ok(usize::from(length)),
        _ => Err("fragment_length"),
    }
}

fn half(bytes: &[u8], at: usize, little: bool) -> Option<u16> {
    if little { le16(bytes, at) } else { be16(bytes, at) }
}

fn word(bytes: &[u8], at: usize, little: bool) -> Option<u32> {
    if little { le32(bytes, at) } else { be32(bytes, at) }
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::DceRpc, what })
}

/// A UUID in the order of its text.
type Uuid = [u8; 16];

/// A call without its answer yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    call: u32,
    interface: Option<Uuid>,
    operation: u16,
}

/// What client and server agreed on, over one connection or in one pipe.
#[derive(Debug, Default)]
pub(super) struct Association {
    contexts: Vec<(u16, Uuid)>,
    pending: Vec<Pending>,
    /// Bytes of a unit that the next payload in a pipe goes on with, by side.
    owed: [usize; 2],
}

impl Association {
    /// Takes what was written to or read from a pipe: `length` bytes that begin with `bytes`.
    pub(super) fn payload(
        &mut self,
        from: Side,
        bytes: &[u8],
        length: usize,
        pipe: &str,
        out: &mut Vec<Message>,
    ) {
        let mut at = self.owed.get(from as usize).copied().unwrap_or_default();
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER) {
            match fragment_length(rest) {
                Ok(length) => {
                    let unit = rest.get(..length.min(MAX_READ)).unwrap_or(rest);
                    self.unit(from, unit, length, Some(pipe), out);
                    at += length;
                }
                Err(what) => {
                    // Other things than calls are said in pipes as well; only what began as one can break its rules.
                    if !self.contexts.is_empty() && rest.first() == Some(&5) {
                        out.push(violation(what));
                    }
                    at = length;
                    break;
                }
            }
        }
        if let Some(owed) = self.owed.get_mut(from as usize) {
            *owed = at.saturating_sub(length);
        }
    }

    /// Takes a unit of `length` bytes that begins with `bytes`, at least a header.
    fn unit(&mut self, from: Side, bytes: &[u8], length: usize, pipe: Option<&str>, out: &mut Vec<Message>) {
        let (Some(&kind), Some(&flags), Some(&format)) = (bytes.get(2), bytes.get(3), bytes.get(4)) else {
            return;
        };
        let little = format >> 4 == 1;
        let auth = usize::from(half(bytes, 10, little).unwrap_or_default());
        let mut unit = DceRpc {
            kind: Kind::Other,
            call: word(bytes, 12, little).unwrap_or_default(),
            pipe: pipe.map(Into::into),
            ..DceRpc::default()
        };
        // The verifier has a header of eight bytes.
        let sealed = if auth > 0 { auth + 8 } else { 0 };
        let mut wrong = (length < HEADER + sealed).then_some("auth_length");
        // Sizes and names of later fragments are those of the first.
        if matches!(kind, 0 | 2 | 3) && flags & FIRST == 0 {
            out.extend(wrong.map(violation));
            return;
        }
        let body = |head: usize| {
            let inside = length.saturating_sub(head + sealed) as u32;
            if flags & LAST != 0 {
                inside
            } else {
                inside.max(word(bytes, HEADER, little).unwrap_or_default())
            }
        };
        if matches!(kind, 0 | 2 | 3 | 11 | 12 | 14 | 15) && length < CALL {
            wrong = Some("short_body");
        }
        match kind {
            0 => {
                unit.kind = Kind::Request;
                unit.operation = half(bytes, 22, little);
                let context = half(bytes, 20, little);
                let interface =
                    self.contexts.iter().find(|(id, _)| Some(*id) == context).map(|(_, uuid)| *uuid);
                unit.interface = interface.as_ref().map(text);
                unit.stub_bytes = body(if flags & OBJECT != 0 { CALL + 16 } else { CALL });
                if let Some(operation) = unit.operation.filter(|_| from == Side::Client) {
                    keep(&mut self.pending, MAX_PENDING, Pending { call: unit.call, interface, operation });
                }
            }
            2 | 3 => {
                unit.kind = if kind == 2 { Kind::Response } else { Kind::Fault };
                unit.stub_bytes = if kind == 2 { body(CALL) } else { 0 };
                unit.status = if kind == 3 { word(bytes, CALL, little) } else { None };
                if let Some(at) = self.pending.iter().position(|p| p.call == unit.call) {
                    let asked = self.pending.remove(at);
                    (unit.interface, unit.operation) =
                        (asked.interface.as_ref().map(text), Some(asked.operation));
                }
            }
            11 | 14 => {
                unit.kind = Kind::Bind;
                let (first, complete) = self.bind(bytes, length, little);
                unit.interface = first.as_ref().map(text);
                if !complete {
                    wrong = wrong.or(Some("context_count"));
                }
            }
            12 | 15 => unit.kind = Kind::BindAck,
            13 => unit.kind = Kind::Fault,
            20.. => wrong = wrong.or(Some("unknown_type")),
            _ => {}
        }
        out.push(Message::DceRpc(unit));
        out.extend(wrong.map(violation));
    }

    /// Takes in the interfaces offered: the first, and whether there were as many as stated.
    fn bind(&mut self, bytes: &[u8], length: usize, little: bool) -> (Option<Uuid>, bool) {
        const SYNTAX: usize = 20;
        let (mut at, mut first) = (CALL + 4, None);
        for _ in 0..bytes.get(CALL).copied().unwrap_or_default() {
            let (Some(id), Some(encodings), Some(uuid)) =
                (half(bytes, at, little), bytes.get(at + 2), uuid(bytes, at + 4, little))
            else {
                // What was not kept may hold the others.
                return (first, bytes.len() < length && at < length);
            };
            first = first.or(Some(uuid));
            self.contexts.retain(|(known, _)| *known != id);
            keep(&mut self.contexts, MAX_CONTEXTS, (id, uuid));
            at += 4 + SYNTAX + SYNTAX * usize::from(*encodings);
        }
        (first, at <= length)
    }
}

/// Adds to a bounded list; the oldest goes.
fn keep<T>(list: &mut Vec<T>, most: usize, item: T) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}

/// The UUID at `at`: a number of four bytes, two of two, then eight bytes as they are.
fn uuid(bytes: &[u8], at: usize, little: bool) -> Option<Uuid> {
    let mut uuid = *bytes.get(at..)?.first_chunk::<16>()?;
    if little {
        let [a, b, c, d, e, f, g, h, ..] = &mut uuid;
        std::mem::swap(a, d);
        std::mem::swap(b, c);
        std::mem::swap(e, f);
        std::mem::swap(g, h);
    }
    Some(uuid)
}

/// The text of a UUID, RFC 9562 §4.
fn text(uuid: &Uuid) -> Box<str> {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend(
            [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')),
        );
    }
    text.into()
}
