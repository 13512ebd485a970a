//! DNS by its smallest useful part: one question, one address (RFC 1035 §4).

use super::{Server, TrafficError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Bytes of the message header.
const HEADER: usize = 12;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A standard query with recursion desired.
const QUERY: [u8; 2] = [0x01, 0x00];
/// Its answer, recursion available, no error.
const ANSWER: [u8; 2] = [0x81, 0x80];

/// Answers every one-question query with `address`.
///
/// # Errors
/// The address is forbidden or taken.
pub fn serve(addr: SocketAddr, address: Ipv4Addr) -> Result<Server, TrafficError> {
    Server::udp(addr, move |query| reply(query, address))
}

/// The query for the address of `name`: labels of 1 to 63 bytes, separated by dots.
#[must_use]
pub fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(QUERY);
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|l| !l.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend(label);
    }
    // The root label, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
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
}
