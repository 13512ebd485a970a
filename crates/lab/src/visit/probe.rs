//! Requests that are no HTTP: the time of day, and an SSH server's identification line.

use super::statistics::Failure;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an NTP packet without extensions (RFC 5905 §7.3).
const NTP: usize = 48;
/// Most bytes read before the identification line (RFC 4253 §4.2 lets servers send other lines first, and limits the
/// line itself to 255 bytes).
const MAX_GREETING: usize = 4096;

/// Asks a time server once; returns the bytes of its answer.
///
/// # Errors
/// No answer, a wrong one, or one that asks to be left alone ([`Failure::SlowDown`], RFC 5905 §7.4).
pub(super) fn ntp(server: SocketAddr, nonce: u64) -> Result<u64, Failure> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut reply = [0; 512];
    let length = (|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        socket.send(&question(nonce))?;
        socket.recv(&mut reply)
    })()
    .map_err(|e| of(&e))?;
    check(reply.get(..length).unwrap_or_default(), nonce).map(|()| length as u64)
}

/// Version 4, mode 3 (client), and a transmit timestamp that tells nothing but is known again (RFC 9769 is the same idea
/// for all of it).
fn question(nonce: u64) -> [u8; NTP] {
    let mut packet = [0; NTP];
    packet[0] = 4 << 3 | 3;
    packet[NTP - 8..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

fn check(reply: &[u8], nonce: u64) -> Result<(), Failure> {
    let packet = reply.first_chunk::<NTP>().ok_or(Failure::Protocol)?;
    let is_server = packet[0] & 7 == 4;
    let is_ours = packet[24..32] == nonce.to_be_bytes();
    match packet[1] {
        _ if !is_server || !is_ours => Err(Failure::Protocol),
        0 => Err(Failure::SlowDown),
        1..=15 => Ok(()),
        _ => Err(Failure::Protocol),
    }
}

/// Connects to an SSH server, says who is there, reads its identification line and leaves; returns the bytes read.
///
/// # Errors
/// No connection, or what answers is no SSH server.
pub(super) fn ssh_banner(server: SocketAddr, software: &str) -> Result<u64, Failure> {
    let greeting = (|| {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("SSH-2.0-{software}\r\n").as_bytes())?;
        let mut greeting = Vec::new();
        let mut buffer = [0; 512];
        while greeting.len() < MAX_GREETING && identification(&greeting).is_none() {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            greeting.extend(&buffer[..length]);
        }
        // The server may have closed first.
        let _ = stream.shutdown(Shutdown::Both);
        Ok(greeting)
    })()
    .map_err(|e| of(&e))?;
    identification(&greeting).map(|_| greeting.len() as u64).ok_or(Failure::Protocol)
}

/// The identification line of a greeting, once it is whole.
fn identification(greeting: &[u8]) -> Option<&[u8]> {
    greeting.split_inclusive(|b| *b == b'\n').find(|line| {
        line.ends_with(b"\n") && (line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-"))
    })
}

/// The kind of failure an error of a socket is.
pub(super) fn of(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => Failure::Connect,
        _ => Failure::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn time_is_taken_from_an_answer_to_this_question_only() {
        let reply = |mode: u8, stratum: u8, nonce: u64| {
            let mut packet = [0_u8; NTP];
            packet[0] = 4 << 3 | mode;
            packet[1] = stratum;
            packet[24..32].copy_from_slice(&nonce.to_be_bytes());
            packet
        };
        for (packet, expected) in [
            (reply(4, 2, 7), Ok(())),
            (reply(4, 2, 8), Err(Failure::Protocol)),
            (reply(3, 2, 7), Err(Failure::Protocol)),
            (reply(4, 16, 7), Err(Failure::Protocol)),
            (reply(4, 0, 7), Err(Failure::SlowDown)),
        ] {
            assert_eq!(check(&packet, 7), expected);
        }
        assert_eq!(check(&[4 << 3 | 4; 47], 7), Err(Failure::Protocol));
    }

    #[test]
    fn the_identification_line_may_follow_others() {
        let check = |greeting: &'static str, expected: Result<u64, Failure>| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
            let addr = listener.local_addr().expect("address");
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("accept");
                stream.write_all(greeting.as_bytes()).expect("write");
                stream.shutdown(Shutdown::Write).expect("shutdown");
                let mut said = String::new();
                stream.read_to_string(&mut said).map(|_| said)
            });
            assert_eq!(ssh_banner(addr, "Test_1"), expected, "{greeting}");
            let said = server.join().expect("server").unwrap_or_default();
            assert!(said.is_empty() || said == "SSH-2.0-Test_1\r\n", "{said}");
        };
        check("SSH-2.0-OpenSSH_9.6\r\n", Ok(21));
        check("Welcome\r\nSSH-2.0-x\n", Ok(19));
        check("SSH-1.5-old\r\n", Err(Failure::Protocol));
        check("SSH-2.0-cut", Err(Failure::Protocol));
        check("HTTP/1.1 400 Bad Request\r\n\r\n", Err(Failure::Protocol));
    }
}
