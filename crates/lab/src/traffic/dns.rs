//! DNS messages by hand (RFC 1035 §4), and the smallest server and client: one question, one address.
//!
//! [`crate::serve`] has the server with zones; both make and read messages with what is here.

use super::{Server, TrafficError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Bytes of the message header.
pub(crate) const HEADER: usize = 12;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A standard query with recursion desired.
const QUERY: [u8; 2] = [0x01, 0x00];
/// Its answer, recursion available, no error.
const ANSWER: [u8; 2] = [0x81, 0x80];
/// Longest name on the wire, RFC 1035 §3.1.
const MAX_NAME: usize = 255;

/// Record types, RFC 1035 §3.2.2 and later.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Canonical name.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Any bytes.
    pub const NULL: u16 = 10;
    /// Mail exchange.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address, RFC 3596.
    pub const AAAA: u16 = 28;
    /// Not a record: what the sender can take, RFC 6891.
    pub const OPT: u16 = 41;
    /// Not a record: everything there is.
    pub const ANY: u16 = 255;
}

/// Answers every one-question query with `address`.
///
/// # Errors
/// The address is forbidden or taken.
pub fn serve(addr: SocketAddr, address: Ipv4Addr) -> Result<Server, TrafficError> {
    Server::udp(addr, move |query| reply(query, address))
}

/// A name on the wire: labels of 1 to 63 bytes, separated by dots. Longer labels are cut.
#[must_use]
pub fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|l| !l.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend(label);
    }
    out.push(0);
    out
}

/// The query for the address of `name`.
#[must_use]
pub fn query(id: u16, name: &str) -> Vec<u8> {
    question(id, name, kind::A, None)
}

/// The query for records of any type; `size` is the largest answer that is taken (RFC 6891), 512 bytes if `None`.
#[must_use]
pub fn question(id: u16, name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(QUERY);
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())]);
    message.extend(encode(name));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    if let Some(size) = size {
        message.push(0);
        message.extend(kind::OPT.to_be_bytes());
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// A query, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Transaction identifier.
    pub id: u16,
    /// Name, lower case, without the final dot. Bytes that are no ASCII letter, digit, hyphen or underscore are `?`.
    pub name: String,
    /// Type asked for.
    pub kind: u16,
    /// Where the question ends in the message.
    pub end: usize,
    /// Largest answer the asker takes over UDP, bytes; 512 without EDNS.
    pub size: u16,
    /// Whether the asker speaks EDNS.
    pub edns: bool,
}

/// Reads a standard query with one question; `None` for anything else.
#[must_use]
pub fn parse(message: &[u8]) -> Option<Question> {
    let half = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    // A standard query has neither the response bit nor an operation code; one question and no records before the OPT.
    if half(2)? & 0xf800 != 0 || half(4)? != 1 || half(6)? != 0 || half(8)? != 0 {
        return None;
    }
    let (mut at, mut name) = (HEADER, String::new());
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        if len > 63 || at + len - HEADER > MAX_NAME {
            return None;
        }
        let label = message.get(at..at + len)?;
        let plain = |b: &u8| match b.to_ascii_lowercase() {
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') => char::from(b),
            _ => '?',
        };
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(plain));
        at += len;
    }
    let (kind, end) = (half(at)?, at + 4);
    half(at + 2)?;
    // The OPT record is the root name, its type, and the size where others have the class.
    let edns = half(10)? >= 1 && message.get(end) == Some(&0) && half(end + 1) == Some(kind::OPT);
    let size = if edns { half(end + 3)?.max(512) } else { 512 };
    Some(Question { id: half(0)?, name, kind, end, size, edns })
}

/// The answer to a query made by [`query`]; `None` to anything else.
#[must_use]
pub fn reply(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let flags = query.get(2..4)?;
    if flags != QUERY || query.get(4..HEADER)? != [0, 1, 0, 0, 0, 0, 0, 0] || query.len() < HEADER + 5 {
        return None;
    }
    let mut message = query.to_vec();
    message[2..4].copy_from_slice(&ANSWER);
    message[7] = 1;
    // A pointer to the question's name, type A, class IN, 60 s, four bytes.
    message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address.octets());
    Some(message)
}

/// Asks `server` from `source` for the address of `name`; returns the bytes of the answer.
///
/// # Errors
/// No answer within two seconds, or a wrong one.
pub fn lookup(source: IpAddr, server: SocketAddr, id: u16, name: &str) -> io::Result<u64> {
    let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    let question = query(id, name);
    socket.send(&question)?;
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer)?;
    let answer = buffer.get(..len).unwrap_or_default();
    let right = answer.get(..2) == Some(&id.to_be_bytes())
        && answer.get(2..4) == Some(&ANSWER)
        && answer.get(HEADER..question.len()) == question.get(HEADER..);
    if right {
        Ok(len as u64)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not the answer to the query"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_answered_and_other_datagrams_are_not() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let server = serve(SocketAddr::new(loopback, 0), Ipv4Addr::LOCALHOST).expect("serve");
        assert_eq!(lookup(loopback, server.addr(), 7, "www.example").expect("answer"), 45);
        assert_eq!(server.served(), 1);
        let good = query(1, "a.example");
        for bad in [&good[..8], &good[..12], &[0xff; 40][..], &[]] {
            assert_eq!(reply(bad, Ipv4Addr::LOCALHOST), None);
        }
        assert_eq!(reply(&reply(&good, Ipv4Addr::LOCALHOST).expect("reply"), Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn questions_are_read_as_they_were_made() {
        let made = question(9, "WWW.a_b.example", kind::TXT, Some(1232));
        let read = parse(&made).expect("a query");
        assert_eq!((read.id, read.name.as_str(), read.kind), (9, "www.a_b.example", kind::TXT));
        assert_eq!((read.size, read.edns, read.end), (1232, true, made.len() - 11));
        let plain = parse(&query(1, "")).expect("the root");
        assert_eq!((plain.name.as_str(), plain.size, plain.edns), ("", 512, false));
        for cut in 0..made.len() - 11 {
            assert_eq!(parse(&made[..cut]), None, "{cut}");
        }
    }
}
