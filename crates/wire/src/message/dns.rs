//! DNS messages, RFC 1035, over UDP and (length-prefixed) TCP; multicast DNS (RFC 6762) and LLMNR (RFC 4795) too.
//!
//! Violations: `short_message`, `unassigned_opcode`, `reserved_bit`, `bad_label`, `bad_pointer`, `too_many_pointers`,
//! `name_too_long`, `counts_beyond_message`, `record_beyond_message`, `address_length`, `trailing_bytes`. A message
//! tells at most one of those from `bad_label` on: reading stops there, and what was read before it stands.

use super::bytes::{be16, be32};
use super::{App, MAX_UNCONSUMED, Message, Next, Progress, Side, Violation};
use crate::Addr;
use serde::Serialize;

/// What one DNS message says.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Dns {
    /// Transaction identifier.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Operation code, 0 for a query.
    pub opcode: u8,
    /// Response code (header only): 0 no error, 3 no such name.
    pub rcode: u8,
    /// Truncation flag.
    pub truncated: bool,
    /// Recursion desired.
    pub recursion: bool,
    /// Name of the first question: lower case, without the final dot; bytes outside printable ASCII, and dots and
    /// backslashes inside labels, as `\DDD`; empty for the root or without questions.
    pub name: Box<str>,
    /// Type of the first question (1 A, 5 CNAME, 10 NULL, 15 MX, 16 TXT, 28 AAAA, 255 ANY …).
    pub qtype: u16,
    /// Class of the first question.
    pub qclass: u16,
    /// Questions, as the header states.
    pub questions: u16,
    /// Answer records, as the header states.
    pub answers: u16,
    /// Authority records, as the header states.
    pub authorities: u16,
    /// Additional records, as the header states.
    pub additionals: u16,
    /// Sum of the data lengths of the answer records read.
    pub answer_bytes: u32,
    /// Smallest time to live of the answer records read, s; absent without any.
    pub min_ttl: Option<u32>,
    /// Addresses among the answers, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<Addr>,
    /// Largest UDP payload the sender takes, from the OPT record (EDNS, RFC 6891 §6.2.3), bytes; absent without one.
    pub edns_size: Option<u16>,
    /// Length of the whole message, bytes.
    pub length: u32,
}

/// Addresses kept of one message: enough to follow where a name leads.
pub const MAX_ADDRESSES: usize = 4;
/// Longest name on the wire, its length bytes and final zero counted, RFC 1035 §3.1.
pub const MAX_NAME: usize = 255;
/// Pointers followed within one name. Servers use one or two; every pointer must also lead backwards.
pub const MAX_POINTERS: u32 = 16;
/// Labels and pointers walked behind pointers, per message. A hostile message could make every record's name lead
/// through the longest one; behind this many, names are passed over without being followed.
pub const MAX_FOLLOWED: u32 = 2048;
/// Most bytes of a message in a stream that are read; what follows them is left out unseen.
pub const MAX_READ: usize = MAX_UNCONSUMED - LENGTH_PREFIX;

const LENGTH_PREFIX: usize = 2;
const HEADER: usize = 12;
/// Type, class, time to live and data length of a record.
const RECORD: usize = 10;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const OPCODE_UPDATE: u8 = 5;
/// DNS Stateful Operations, RFC 8490: what follows the header are no records.
const OPCODE_DSO: u8 = 6;

/// Reads one flow of DNS.
#[derive(Debug)]
pub struct Dissector {
    stream: bool,
}

impl Dissector {
    /// For a TCP connection: each message follows its length in two bytes.
    #[must_use]
    pub const fn stream() -> Self {
        Self { stream: true }
    }

    /// For a UDP flow: each datagram is one message.
    #[must_use]
    pub const fn datagram() -> Self {
        Self { stream: false }
    }
}

impl super::Dissector for Dissector {
    fn data(&mut self, _from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        if !self.stream {
            read(bytes, bytes.len(), out);
            return Progress { consumed: bytes.len(), next: Next::More };
        }
        let mut consumed = 0;
        while let Some(length) = be16(bytes, consumed).map(usize::from) {
            if length < HEADER {
                // Nothing says where the next message begins.
                out.push(violation("short_message"));
                return Progress { consumed: bytes.len(), next: Next::Done };
            }
            let begin = consumed + LENGTH_PREFIX;
            let held = length.min(MAX_READ);
            let Some(message) = bytes.get(begin..begin + held) else { break };
            read(message, length, out);
            consumed = begin + held;
            if held < length {
                return Progress { consumed, next: Next::Skip((length - held) as u64) };
            }
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, _from: Side, _missing: u64) -> Next {
        // Datagrams stand alone; in a stream nothing says where the next message begins.
        if self.stream { Next::Enough } else { Next::More }
    }
}

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Dns, what })
}

/// Reads a message of `length` bytes of which `bytes` are at hand.
fn read(bytes: &[u8], length: usize, out: &mut Vec<Message>) {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        out.push(violation("short_message"));
        return;
    };
    let half = |at: usize| be16(header, at).unwrap_or_default();
    let flags = half(2);
    let mut dns = Dns {
        id: half(0),
        response: flags & 0x8000 != 0,
        opcode: (flags >> 11 & 0xf) as u8,
        rcode: (flags & 0xf) as u8,
        truncated: flags & 0x0200 != 0,
        recursion: flags & 0x0100 != 0,
        questions: half(4),
        answers: half(6),
        authorities: half(8),
        additionals: half(10),
        length: length as u32,
        ..Dns::default()
    };
    let wrong = sections(bytes, length, &mut dns).err();
    let (opcode, reserved) = (dns.opcode, flags & 0x0040 != 0);
    out.push(Message::Dns(dns));
    // IANA "DNS OpCodes": 3 and from 7 on nobody has.
    if !matches!(opcode, 0..=2 | 4..=6) {
        out.push(violation("unassigned_opcode"));
    }
    if reserved {
        out.push(violation("reserved_bit"));
    }
    if let Some(what) = wrong {
        out.push(violation(what));
    }
}

/// Walks questions and records; the error is what is wrong with them.
fn sections(bytes: &[u8], length: usize, dns: &mut Dns) -> Result<(), &'static str> {
    // Where the bytes may end before the records do: a message too long to keep, or one its sender cut.
    let cut = bytes.len() < length || dns.truncated;
    let beyond = |what: &'static str| if cut { Ok(()) } else { Err(what) };
    let (mut at, mut budget) = (HEADER, MAX_FOLLOWED);
    for i in 0..dns.questions {
        let Some(name) = name(bytes, at, &mut budget)? else { return beyond("counts_beyond_message") };
        let (Some(qtype), Some(qclass)) = (be16(bytes, name.end), be16(bytes, name.end + 2)) else {
            return beyond("counts_beyond_message");
        };
        if i == 0 {
            dns.name = spell(bytes, at, &name);
            (dns.qtype, dns.qclass) = (qtype, qclass);
        }
        at = name.end + 4;
    }
    let answers = u32::from(dns.answers);
    let records = answers + u32::from(dns.authorities) + u32::from(dns.additionals);
    for i in 0..records {
        let Some(name) = name(bytes, at, &mut budget)? else { return beyond("counts_beyond_message") };
        let Some(fixed) = bytes.get(name.end..).and_then(|b| b.first_chunk::<RECORD>()) else {
            return beyond("counts_beyond_message");
        };
        let half = |at: usize| be16(fixed, at).unwrap_or_default();
        let begin = name.end + RECORD;
        let Some(data) = bytes.get(begin..begin + usize::from(half(8))) else {
            return beyond("record_beyond_message");
        };
        at = begin + data.len();
        match half(0) {
            TYPE_OPT => dns.edns_size = Some(half(2)),
            rtype if i < answers => answer(rtype, be32(fixed, 4).unwrap_or_default(), data, dns)?,
            _ => {}
        }
    }
    if at < bytes.len() && dns.opcode != OPCODE_DSO { Err("trailing_bytes") } else { Ok(()) }
}

/// Takes in a record of the answer section.
fn answer(rtype: u16, ttl: u32, data: &[u8], dns: &mut Dns) -> Result<(), &'static str> {
    dns.answer_bytes = dns.answer_bytes.saturating_add(data.len() as u32);
    dns.min_ttl = Some(dns.min_ttl.map_or(ttl, |least| least.min(ttl)));
    let address = match rtype {
        TYPE_A => <[u8; 4]>::try_from(data).map(Addr::v4),
        TYPE_AAAA => <[u8; 16]>::try_from(data).map(Addr),
        _ => return Ok(()),
    };
    match address {
        Ok(address) if dns.addresses.len() < MAX_ADDRESSES => dns.addresses.push(address),
        Ok(_) => {}
        // An update (RFC 2136 §2.4) names a record set without data.
        Err(_) if data.is_empty() && dns.opcode == OPCODE_UPDATE => {}
        Err(_) => return Err("address_length"),
    }
    Ok(())
}

/// A name in a message.
struct Name {
    /// Behind it, where it is written.
    end: usize,
    /// Its bytes with length bytes, pointers followed, the final zero left out.
    wire: usize,
}

/// One step through a name.
enum Step<'a> {
    Label(&'a [u8]),
    Pointer(usize),
    End,
}

/// What stands at `at`; `None` beyond the bytes.
fn step(bytes: &[u8], at: usize) -> Result<Option<Step<'_>>, &'static str> {
    let Some(&first) = bytes.get(at) else { return Ok(None) };
    match first {
        0 => Ok(Some(Step::End)),
        1..=63 => Ok(bytes.get(at + 1..at + 1 + usize::from(first)).map(Step::Label)),
        0xc0.. => Ok(be16(bytes, at).map(|p| Step::Pointer(usize::from(p & 0x3fff)))),
        // RFC 6891 §5 gives up the extended types, RFC 1035 §4.1.4 reserves the other.
        _ => Err("bad_label"),
    }
}

/// Measures the name at `begin`; `None` if the bytes end within it.
///
/// A pointer leads to an earlier name, hence before the piece it stands in: this alone rules out loops. `budget` is how
/// much may still be walked behind pointers.
fn name(bytes: &[u8], begin: usize, budget: &mut u32) -> Result<Option<Name>, &'static str> {
    let (mut at, mut piece, mut wire, mut pointers, mut end) = (begin, begin, 0, 0, None);
    loop {
        if let Some(end) = end {
            if *budget == 0 {
                return Ok(Some(Name { end, wire }));
            }
            *budget -= 1;
        }
        match step(bytes, at)? {
            None => return Ok(None),
            Some(Step::End) => return Ok(Some(Name { end: end.unwrap_or(at + 1), wire })),
            Some(Step::Label(label)) => {
                wire += label.len() + 1;
                if wire >= MAX_NAME {
                    return Err("name_too_long");
                }
                at += label.len() + 1;
            }
            Some(Step::Pointer(to)) => {
                if to >= piece || to < HEADER {
                    return Err("bad_pointer");
                }
                pointers += 1;
                if pointers > MAX_POINTERS {
                    return Err("too_many_pointers");
                }
                end = end.or(Some(at + 2));
                (at, piece) = (to, to);
            }
        }
    }
}

/// The text of a measured name.
fn spell(bytes: &[u8], begin: usize, name: &Name) -> Box<str> {
    let mut text = Vec::with_capacity(name.wire.saturating_sub(1));
    let mut at = begin;
    loop {
        match step(bytes, at) {
            Ok(Some(Step::Label(label))) => {
                if at != begin {
                    text.push(b'.');
                }
                push_label(&mut text, label);
                at += label.len() + 1;
            }
            Ok(Some(Step::Pointer(to))) => at = to,
            _ => break,
        }
    }
    text.make_ascii_lowercase();
    // All of it is ASCII; a check of the whole costs less than one of each label.
    String::from_utf8(text).unwrap_or_default().into()
}

fn push_label(text: &mut Vec<u8>, label: &[u8]) {
    let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'.' | b'\\');
    if label.iter().all(plain) {
        text.extend_from_slice(label);
        return;
    }
    for b in label {
        if plain(b) {
            text.push(*b);
        } else {
            text.push(b'\\');
            text.extend([b / 100, b / 10 % 10, b % 10].map(|digit| b'0' + digit));
        }
    }
}
