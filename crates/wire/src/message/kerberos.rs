//! Kerberos 5, RFC 4120, between clients and the key distribution centre (KDC), over UDP and TCP (§7.2).
//!
//! What is in clear: who asks (only for the first ticket), for which service, in which encryption types; what the KDC
//! encrypted with; and its refusals. A refusal often names no client, and no answer says what was offered: who wants to
//! know that pairs answers with requests. Messages do not depend on each other, so the reader of datagrams keeps nothing.
//!
//! Violations: `length` (of a message over TCP: none, or above [`MAX_STATED`]) loses the framing and ends its direction;
//! it is told only behind a message, since a sensor that came late may begin in the midst of one.
//! `tag` (no message of Kerberos), `encoding` (broken DER), `type` (another message than its tag says), `version` (not 5),
//! `missing` (a field that must be there is not), `trailing` (bytes behind the message): at most one of them a message.

mod der;

use super::bytes::be32;
use super::{App, Message, Next, Progress, Side, Violation};
use der::{Der, each, fields};
use serde::Serialize;

/// Longest message that is read, bytes. Longer ones, which tickets with very many groups make, are told by their kind
/// alone.
pub const MAX_MESSAGE: usize = 12 * 1024;
/// Longest message over TCP, bytes; what states more is none. Windows accepts no more than 64 kB.
pub const MAX_STATED: u32 = 1 << 20;
/// Longest name or realm kept, bytes.
pub const MAX_NAME: usize = 256;
/// Most parts of a principal's name, and most encryption types and kinds of pre-authentication data kept of a message.
/// Windows sends six types, MIT's implementation eight.
pub const MAX_LIST: usize = 16;

/// Kinds of messages, by their number (§7.5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// AS-REQ: asks for the first ticket.
    #[default]
    AsReq,
    /// AS-REP.
    AsRep,
    /// TGS-REQ: asks for the ticket of a service.
    TgsReq,
    /// TGS-REP.
    TgsRep,
    /// AP-REQ: shows a ticket to a service.
    ApReq,
    /// AP-REP.
    ApRep,
    /// KRB-SAFE, KRB-PRIV or KRB-CRED: between client and service.
    Other,
    /// KRB-ERROR.
    Error,
}

impl Kind {
    /// Application tag and number of each: the same but for the bits of the tag.
    fn of_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            0x6a => Self::AsReq,
            0x6b => Self::AsRep,
            0x6c => Self::TgsReq,
            0x6d => Self::TgsRep,
            0x6e => Self::ApReq,
            0x6f => Self::ApRep,
            0x74..=0x76 => Self::Other,
            0x7e => Self::Error,
            _ => return None,
        })
    }

    /// Whether it asks the KDC for a ticket.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::AsReq | Self::TgsReq)
    }
}

/// A message. Fields that its kind does not have are empty.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Kerberos {
    /// Which message.
    pub kind: Kind,
    /// The realm asked, or of the client in replies.
    pub realm: Option<Box<str>>,
    /// Name of the client, parts joined by `/`.
    pub client: Option<Box<str>>,
    /// Name of the service, of the ticket in replies; parts joined by `/`.
    pub server: Option<Box<str>>,
    /// Encryption types a request offers, the preferred one first; at most [`MAX_LIST`].
    pub offered: Vec<i32>,
    /// Types of the pre-authentication data, at most [`MAX_LIST`]; those a refusal asks for too.
    pub preauth: Vec<i32>,
    /// Encryption types the KDC has keys of the client for, as it tells in replies and refusals (PA-ETYPE-INFO2).
    pub keys: Vec<i32>,
    /// Encryption type of the part that only the client can read in replies, and of the encrypted time in requests.
    pub etype: Option<i32>,
    /// Encryption type of the ticket in replies.
    pub ticket_etype: Option<i32>,
    /// Error code, §7.5.9.
    pub error: Option<i32>,
    /// Longer than [`MAX_MESSAGE`]: only the kind is known.
    pub too_long: bool,
}

/// Encryption types (RFC 3961, RFC 3962, RFC 4757, RFC 8009), and what is known of them.
pub mod etype {
    /// RC4 with HMAC-MD5, whose key is the hash of the password and whose tickets are the quickest to guess.
    pub const RC4: i32 = 23;

    /// AES in any of its four kinds.
    #[must_use]
    pub const fn is_aes(etype: i32) -> bool {
        matches!(etype, 17..=20)
    }

    /// Types that are broken or quick to guess: DES, and RC4 in each of its kinds.
    #[must_use]
    pub const fn is_weak(etype: i32) -> bool {
        matches!(etype, 1..=3 | 23 | 24 | -135 | -133 | -128)
    }
}

/// Pre-authentication data that proves something: a ticket, an encrypted time, a public key, a challenge, and what is
/// armoured and hides such (RFC 4120 §7.5.2, RFC 4556, RFC 6113, RFC 9588).
const PROOFS: [i32; 9] = [1, 2, 14, 15, 16, 17, 136, 138, 151];
/// Lists of the KDC's keys for a client: PA-ETYPE-INFO and PA-ETYPE-INFO2.
const ETYPE_INFO: [i32; 2] = [11, 19];
const ENC_TIMESTAMP: i32 = 2;

impl Kerberos {
    /// Whether the client is a computer: its account ends in `$`, or it is a host key.
    #[must_use]
    pub fn is_computer(name: &str) -> bool {
        // Behind an `@` comes the realm of an enterprise name.
        let account = name.split('@').next().unwrap_or_default();
        account.ends_with('$') || account.starts_with("host/")
    }

    /// Whether a service gives out tickets itself, as the KDC and services of changing passwords do.
    #[must_use]
    pub fn is_granting(server: &str) -> bool {
        server.split('/').next().is_some_and(|s| matches!(s, "krbtgt" | "kadmin"))
    }

    /// Whether a request proves who it is by any pre-authentication data.
    #[must_use]
    pub fn proves(&self) -> bool {
        self.preauth.iter().any(|p| PROOFS.contains(p))
    }
}

/// Reads one flow.
#[derive(Debug, Default)]
pub struct Dissector {
    /// Over TCP messages have their length before them.
    stream: bool,
    /// The next bytes of a side begin a message for sure, because they follow one.
    aligned: [bool; 2],
}

impl Dissector {
    /// For TCP.
    #[must_use]
    pub fn stream() -> Self {
        Self { stream: true, ..Self::default() }
    }

    /// For UDP.
    #[must_use]
    pub fn datagram() -> Self {
        Self::default()
    }

    fn set_aligned(&mut self, side: Side, aligned: bool) {
        if let Some(flag) = self.aligned.get_mut(side as usize) {
            *flag = aligned;
        }
    }
}

/// Reads a whole message.
fn message(bytes: &[u8], out: &mut Vec<Message>) {
    let (told, wrong) = read(bytes);
    out.extend(told.map(|told| Message::Kerberos(Box::new(told))));
    out.extend(wrong.map(violation));
}

impl super::Dissector for Dissector {
    fn data(&mut self, from: Side, bytes: &[u8], out: &mut Vec<Message>) -> Progress {
        if !self.stream {
            message(bytes, out);
            return Progress { consumed: bytes.len(), next: Next::More };
        }
        let mut consumed = 0;
        while let (Some(length), Some(tag)) = (be32(bytes, consumed), bytes.get(consumed + PREFIX)) {
            let aligned = self.aligned.get(from as usize).copied().unwrap_or_default();
            if length == 0 || length > MAX_STATED || (!aligned && Kind::of_tag(*tag).is_none()) {
                if aligned {
                    out.push(violation("length"));
                }
                return Progress { consumed: bytes.len(), next: Next::Enough };
            }
            let begin = consumed + PREFIX;
            if length as usize > MAX_MESSAGE {
                match Kind::of_tag(*tag) {
                    Some(kind) => {
                        let told = Kerberos { kind, too_long: true, ..Kerberos::default() };
                        out.push(Message::Kerberos(Box::new(told)));
                    }
                    None => out.push(violation("tag")),
                }
                self.set_aligned(from, true);
                return Progress { consumed: begin, next: Next::Skip(u64::from(length)) };
            }
            let Some(whole) = bytes.get(begin..begin + length as usize) else { break };
            message(whole, out);
            self.set_aligned(from, true);
            consumed = begin + length as usize;
        }
        Progress { consumed, next: Next::More }
    }

    fn gap(&mut self, from: Side, _missing: u64) -> Next {
        // Most segments begin with a message.
        self.set_aligned(from, false);
        Next::More
    }
}

/// Bytes of the length before each message over TCP.
const PREFIX: usize = 4;

fn violation(what: &'static str) -> Message {
    Message::Violation(Violation { app: App::Kerberos, what })
}

/// Reads a message, and what is wrong with it. A message of which a part is broken is told as far as it was read.
fn read(bytes: &[u8]) -> (Option<Kerberos>, Option<&'static str>) {
    let mut rest = Der(bytes);
    let Some(kind) = bytes.first().and_then(|tag| Kind::of_tag(*tag)) else { return (None, Some("tag")) };
    let Some((tag, body)) = rest.next() else { return (None, Some("encoding")) };
    let mut told = Kerberos { kind, ..Kerberos::default() };
    let mut header = (None, None);
    let whole = match kind {
        Kind::AsReq | Kind::TgsReq => request(body, &mut told, &mut header),
        Kind::AsRep | Kind::TgsRep => reply(body, &mut told, &mut header),
        Kind::Error => error(body, &mut told, &mut header),
        // Only the head; the rest is for services, encrypted.
        Kind::ApReq | Kind::ApRep | Kind::Other => fields(body, |n, value| {
            match n {
                0 => header.0 = value.integer(),
                1 => header.1 = value.integer(),
                _ => {}
            }
            Some(())
        }),
    };
    let needed = match kind {
        Kind::AsReq => told.realm.is_some() && !told.offered.is_empty(),
        Kind::TgsReq => told.realm.is_some() && !told.offered.is_empty() && !told.preauth.is_empty(),
        Kind::AsRep | Kind::TgsRep => {
            told.realm.is_some()
                && told.client.is_some()
                && told.ticket_etype.is_some()
                && told.etype.is_some()
        }
        Kind::Error => told.error.is_some() && told.realm.is_some() && told.server.is_some(),
        Kind::ApReq | Kind::ApRep | Kind::Other => true,
    };
    let wrong = match header {
        _ if whole.is_none() => Some("encoding"),
        (None, _) | (_, None) => Some("missing"),
        (Some(version), _) if version != 5 => Some("version"),
        (_, Some(number)) if number != i32::from(tag & 0x1f) => Some("type"),
        _ if !needed => Some("missing"),
        _ if !rest.is_empty() => Some("trailing"),
        _ => None,
    };
    (Some(told), wrong)
}

/// Version and number of a message.
type Header = (Option<i32>, Option<i32>);

/// KDC-REQ, §5.4.1.
fn request(of: Der<'_>, told: &mut Kerberos, header: &mut Header) -> Option<()> {
    fields(of, |n, value| {
        match n {
            1 => header.0 = Some(value.integer()?),
            2 => header.1 = Some(value.integer()?),
            3 => padata(value, told)?,
            4 => fields(value, |n, value| {
                match n {
                    1 => told.client = Some(principal(value)?),
                    2 => told.realm = Some(value.text(MAX_NAME)?),
                    3 => told.server = Some(principal(value)?),
                    8 => each(value, MAX_LIST, |etype| {
                        told.offered.push(etype.integer()?);
                        Some(())
                    })?,
                    _ => {}
                }
                Some(())
            })?,
            _ => {}
        }
        Some(())
    })
}

/// KDC-REP, §5.4.2.
fn reply(of: Der<'_>, told: &mut Kerberos, header: &mut Header) -> Option<()> {
    fields(of, |n, mut value| {
        match n {
            0 => header.0 = Some(value.integer()?),
            1 => header.1 = Some(value.integer()?),
            2 => padata(value, told)?,
            3 => told.realm = Some(value.text(MAX_NAME)?),
            4 => told.client = Some(principal(value)?),
            // Ticket, [APPLICATION 1], §5.3.
            5 => fields(value.expect(0x61)?, |n, value| {
                match n {
                    2 => told.server = Some(principal(value)?),
                    3 => told.ticket_etype = Some(encrypted(value)?),
                    _ => {}
                }
                Some(())
            })?,
            6 => told.etype = Some(encrypted(value)?),
            _ => {}
        }
        Some(())
    })
}

/// KRB-ERROR, §5.9.1.
fn error(of: Der<'_>, told: &mut Kerberos, header: &mut Header) -> Option<()> {
    fields(of, |n, value| {
        match n {
            0 => header.0 = Some(value.integer()?),
            1 => header.1 = Some(value.integer()?),
            6 => told.error = Some(value.integer()?),
            8 => told.client = Some(principal(value)?),
            9 => told.realm = Some(value.text(MAX_NAME)?),
            10 => told.server = Some(principal(value)?),
            // What it holds depends on the error; only a list of pre-authentication data is of use.
            12 => {
                let before = (told.preauth.len(), told.keys.len());
                if value.octets().and_then(|data| padata(data, told)).is_none() {
                    told.preauth.truncate(before.0);
                    told.keys.truncate(before.1);
                }
            }
            _ => {}
        }
        Some(())
    })
}

/// SEQUENCE OF PA-DATA, §5.2.7.
fn padata(of: Der<'_>, told: &mut Kerberos) -> Option<()> {
    each(of, MAX_LIST, |item| {
        let (mut kind, mut held) = (None, None);
        fields(item, |n, value| {
            match n {
                1 => kind = Some(value.integer()?),
                2 => held = Some(value.octets()?),
                _ => {}
            }
            Some(())
        })?;
        let kind = kind?;
        if told.preauth.len() < MAX_LIST {
            told.preauth.push(kind);
        }
        // What is inside is often left empty; a broken one says nothing.
        if kind == ENC_TIMESTAMP {
            told.etype = held.and_then(encrypted);
        } else if ETYPE_INFO.contains(&kind)
            && let Some(list) = held
        {
            let _ = each(list, MAX_LIST, |entry| {
                fields(entry, |n, value| {
                    if n == 0 && told.keys.len() < MAX_LIST {
                        told.keys.push(value.integer()?);
                    }
                    Some(())
                })
            });
        }
        Some(())
    })
}

/// The type of an EncryptedData, §5.2.9.
fn encrypted(of: Der<'_>) -> Option<i32> {
    let mut etype = None;
    fields(of, |n, value| {
        if n == 0 {
            etype = Some(value.integer()?);
        }
        Some(())
    })?;
    etype
}

/// A PrincipalName, §5.2.2, its parts joined by `/`.
fn principal(of: Der<'_>) -> Option<Box<str>> {
    let mut name = String::new();
    let mut parts = 0;
    fields(of, |n, value| {
        if n != 1 {
            return Some(());
        }
        each(value, MAX_LIST, |part| {
            if parts > 0 {
                name.push('/');
            }
            parts += 1;
            name.push_str(&part.text(MAX_NAME.saturating_sub(name.len()))?);
            Some(())
        })
    })?;
    (parts > 0).then(|| name.into())
}
