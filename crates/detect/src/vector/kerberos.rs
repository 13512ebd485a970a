//! Requests of Kerberos and their answers over UDP, as they are on the wire (RFC 4120 §5).

use super::dns::name;
use super::script::Script;
use super::{Answer, Send, Traffic};

/// Time to an answer, ns.
const ANSWER_NS: u64 = 1_000_000;
/// Encryption type that keys of controllers have: AES-256.
const AES: i32 = 18;
const REALM: &[u8] = b"EXAMPLE.COM";
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const TEXT: u8 = 0x1b;
const TIME: u8 = 0x18;

impl Script<'_> {
    /// The `n`-th request, and its answer: a refusal if the activity has a code, else a ticket.
    pub(super) fn kerberos(&mut self, t: &Traffic, n: u32) {
        let named = name(&t.query, n).unwrap_or_default();
        let first = t.send == Send::KerberosAs;
        let (client, server) =
            if first { (named.as_str(), "krbtgt/EXAMPLE.COM") } else { ("ada", named.as_str()) };
        let ask = request(t, first, client, server);
        self.send(true, 0, ask.len() as u32, &ask);
        if t.answer != Answer::Reply {
            return;
        }
        self.wait(ANSWER_NS);
        let answer = if t.rcode > 0 { refusal(t.rcode, server) } else { reply(t, first, client, server) };
        self.send(false, 0, answer.len() as u32, &answer);
    }
}

fn request(t: &Traffic, first: bool, client: &str, server: &str) -> Vec<u8> {
    let preferred = t.offer.first().copied().unwrap_or(AES);
    let preauth = match (first, t.proof) {
        (true, true) => vec![padata(2, &sealed(preferred, 56)), padata(128, &PAC)],
        (true, false) => vec![padata(128, &PAC)],
        // A ticket with its authenticator; what is in them is encrypted.
        (false, _) => vec![padata(1, &element(0x6e, &element(SEQUENCE, &header(0, 14))))],
    };
    let offered: Vec<u8> = t.offer.iter().flat_map(|etype| integer(*etype)).collect();
    let body = [
        field(0, &element(0x03, &[0, 0x40, 0x81, 0, 0x10])),
        if first { field(1, &principal(client)) } else { Vec::new() },
        field(2, &element(TEXT, REALM)),
        field(3, &principal(server)),
        field(5, &element(TIME, b"20370913024805Z")),
        field(7, &integer(0x1234_5678)),
        field(8, &element(SEQUENCE, &offered)),
    ];
    let message = [
        header(1, if first { 10 } else { 12 }),
        field(3, &element(SEQUENCE, &preauth.concat())),
        field(4, &element(SEQUENCE, &body.concat())),
    ];
    element(if first { 0x6a } else { 0x6c }, &element(SEQUENCE, &message.concat()))
}

fn reply(t: &Traffic, first: bool, client: &str, server: &str) -> Vec<u8> {
    // The first ticket is for the controller itself, with its key; what else is in the answer, with the key of the user.
    let (ticket, part) = if first { (AES, t.etype) } else { (t.etype, AES) };
    let inner = [
        field(0, &integer(5)),
        field(1, &element(TEXT, REALM)),
        field(2, &principal(server)),
        field(3, &sealed(ticket, 900)),
    ];
    let message = [
        header(0, if first { 11 } else { 13 }),
        field(3, &element(TEXT, REALM)),
        field(4, &principal(client)),
        field(5, &element(0x61, &element(SEQUENCE, &inner.concat()))),
        field(6, &sealed(part, 300)),
    ];
    element(if first { 0x6b } else { 0x6d }, &element(SEQUENCE, &message.concat()))
}

fn refusal(code: u8, server: &str) -> Vec<u8> {
    let message = [
        header(0, 30),
        field(4, &element(TIME, b"20260807210939Z")),
        field(5, &integer(56_283)),
        field(6, &integer(i32::from(code))),
        field(9, &element(TEXT, REALM)),
        field(10, &principal(server)),
    ];
    element(0x7e, &element(SEQUENCE, &message.concat()))
}

/// PA-PAC-REQUEST: include it.
const PAC: [u8; 7] = [0x30, 5, 0xa0, 3, 1, 1, 0xff];

/// Version and number of a message, the first in the field `at`.
fn header(at: u8, number: i32) -> Vec<u8> {
    [field(at, &integer(5)), field(at + 1, &integer(number))].concat()
}

fn padata(kind: i32, held: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[field(1, &integer(kind)), field(2, &element(OCTETS, held))].concat())
}

/// An EncryptedData of `length` bytes.
fn sealed(etype: i32, length: usize) -> Vec<u8> {
    let cipher: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
    element(SEQUENCE, &[field(0, &integer(etype)), field(2, &element(OCTETS, &cipher))].concat())
}

fn principal(name: &str) -> Vec<u8> {
    let parts: Vec<u8> = name.split('/').flat_map(|part| element(TEXT, part.as_bytes())).collect();
    element(SEQUENCE, &[field(0, &integer(1)), field(1, &element(SEQUENCE, &parts))].concat())
}

fn field(n: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | n, content)
}

/// In as few bytes as hold its sign, which DER asks for.
fn integer(value: i32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let spare = (1..=3).take_while(|n| value << (8 * n) >> (8 * n) == value).count();
    element(INTEGER, bytes.get(spare..).unwrap_or_default())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..0x80 => bytes.push(short as u8),
        long => {
            bytes.push(0x82);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}
