//! A stand-in for SSH: the identification strings are real (RFC 4253 §4.2), everything after them only has the sizes
//! and the order of a real session. No cryptography, no shell; the server says so in its identification string.
//!
//! After the identification strings each side sends its algorithms and its half of the key exchange, and the client
//! asks for the authentication service, all of fixed size. Then the client sends authentication requests, each answered
//! by success or failure, and after success keystrokes, each echoed.

use super::{Control, Limits, Pace, Server, TrafficError, permit_pair, socket};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// The server's identification string.
pub const SERVER_ID: &[u8] = b"SSH-2.0-LabStandIn_1.0 not-a-real-ssh-server\r\n";
/// The guessing client's identification string.
pub const GUESS_ID: &[u8] = b"SSH-2.0-LabGuess_1.0\r\n";
/// The ordinary client's identification string.
pub const CLIENT_ID: &[u8] = b"SSH-2.0-LabClient_1.0\r\n";

/// Sizes of the messages, bytes, as between OpenSSH 9 peers with default algorithms.
pub mod size {
    /// The client's algorithms.
    pub const CLIENT_KEX: usize = 1536;
    /// The server's algorithms.
    pub const SERVER_KEX: usize = 1080;
    /// The client's public value.
    pub const CLIENT_DH: usize = 1208;
    /// The server's public value, host key and signature.
    pub const SERVER_DH: usize = 1564;
    /// The client's request for the authentication service.
    pub const SERVICE: usize = 60;
    /// The server's acceptance of it.
    pub const ACCEPT: usize = 44;
    /// An authentication request.
    pub const AUTH: usize = 148;
    /// Its answer.
    pub const VERDICT: usize = 52;
    /// A keystroke, and its echo.
    pub const KEY: usize = 36;
}

/// Guesses per connection the server allows, as `MaxAuthTries` of OpenSSH.
const MAX_TRIES: u32 = 6;
/// Longest identification string (RFC 4253 §4.2: 255 with CR LF).
const MAX_ID: usize = 255;
/// How long connecting, or any one message, may take for the ordinary client.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a guesser, who is in a hurry.
const GUESS_PATIENCE: Duration = Duration::from_millis(500);
/// Where a message says what it is.
const KIND: usize = 5;

/// Kinds of message.
mod kind {
    pub(super) const SERVICE: u8 = 5;
    pub(super) const ACCEPT: u8 = 6;
    pub(super) const KEX: u8 = 20;
    pub(super) const DH: u8 = 30;
    pub(super) const PASSWORD: u8 = 50;
    pub(super) const FAILURE: u8 = 51;
    pub(super) const SUCCESS: u8 = 52;
    /// A request with the key this server accepts; the real protocol tells it from a password within message 50.
    pub(super) const PUBLIC_KEY: u8 = 60;
    pub(super) const DATA: u8 = 94;
}

/// A message of `size` bytes: the length, a padding length and a kind as in RFC 4253 §6, then `fill`.
#[must_use]
pub fn message(size: usize, kind: u8, fill: u8) -> Vec<u8> {
    let mut message = vec![fill; size.max(KIND + 1)];
    let length = u32::try_from(message.len() - 4).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_be_bytes());
    message[4] = 4;
    message[KIND] = kind;
    message
}

/// The messages before authentication in order, each with whether the server sends it.
#[must_use]
pub fn opening() -> [(bool, Vec<u8>); 6] {
    [
        (true, message(size::SERVER_KEX, kind::KEX, 0x11)),
        (false, message(size::CLIENT_KEX, kind::KEX, 0x22)),
        (false, message(size::CLIENT_DH, kind::DH, 0x33)),
        (true, message(size::SERVER_DH, kind::DH, 0x44)),
        (false, message(size::SERVICE, kind::SERVICE, 0x77)),
        (true, message(size::ACCEPT, kind::ACCEPT, 0x77)),
    ]
}

/// An authentication request: a guess, or the key the server accepts.
#[must_use]
pub fn request(guess: bool) -> Vec<u8> {
    message(size::AUTH, if guess { kind::PASSWORD } else { kind::PUBLIC_KEY }, 0x55)
}

/// The server's answer to [`request`].
#[must_use]
pub fn verdict(accepted: bool) -> Vec<u8> {
    message(size::VERDICT, if accepted { kind::SUCCESS } else { kind::FAILURE }, 0x66)
}

/// A keystroke, or its echo.
#[must_use]
pub fn keystroke(key: u8) -> Vec<u8> {
    message(size::KEY, kind::DATA, key)
}

/// Serves the stand-in: refuses every guess, closes after six of them, accepts the ordinary client's key, echoes.
///
/// # Errors
/// The address is forbidden or taken.
pub fn serve(addr: SocketAddr) -> Result<Server, TrafficError> {
    Server::tcp(addr, |mut stream| {
        stream.write_all(SERVER_ID)?;
        identification(&mut stream)?;
        exchange(&mut stream, true)?;
        let mut tries = 0;
        while tries < MAX_TRIES {
            let accepted = read(&mut stream, size::AUTH)?[KIND] == kind::PUBLIC_KEY;
            stream.write_all(&verdict(accepted))?;
            if accepted {
                loop {
                    let key = read(&mut stream, size::KEY)?;
                    stream.write_all(&key)?;
                }
            }
            tries += 1;
        }
        Ok(())
    })
}

/// An open session of the ordinary client.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The connection failed, or the server is not [`serve`].
    pub fn open(source: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let mut stream = connect(source, server, PATIENCE)?;
        greet(&mut stream, CLIENT_ID)?;
        stream.write_all(&request(false))?;
        match read(&mut stream, size::VERDICT)?[KIND] {
            kind::SUCCESS => Ok(Self { stream }),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Sends one keystroke and waits for its echo; returns the bytes echoed.
    ///
    /// # Errors
    /// The session broke, or the echo differs.
    pub fn press(&mut self, key: u8) -> io::Result<u64> {
        let sent = keystroke(key);
        self.stream.write_all(&sent)?;
        if read(&mut self.stream, size::KEY)? == sent {
            Ok(sent.len() as u64)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the echo differs from the keystroke"))
        }
    }
}

/// Guesses `per_connection` passwords on each of many short connections; every one is refused. Connections that fail
/// (a blocked guesser's do) are tried on. `limits` count connections.
///
/// # Errors
/// An address is forbidden. Failed connections are the expected end, not an error.
pub fn guess(
    source: IpAddr,
    server: SocketAddr,
    per_connection: u32,
    limits: Limits,
    control: &Control,
) -> Result<Guesses, TrafficError> {
    permit_pair(source, server.ip())?;
    let mut guesses = Guesses::default();
    let mut pace = Pace::new(limits, control);
    while pace.next().is_some() {
        guesses.connections += 1;
        match guess_once(source, server, per_connection) {
            Ok(refused) => guesses.refused += refused,
            Err(_) => guesses.failed += 1,
        }
    }
    Ok(guesses)
}

/// What came of a guessing run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guesses {
    /// Connections tried.
    pub connections: u64,
    /// Guesses the server refused.
    pub refused: u64,
    /// Connections that failed or broke.
    pub failed: u64,
}

fn guess_once(source: IpAddr, server: SocketAddr, guesses: u32) -> io::Result<u64> {
    let mut stream = connect(source, server, GUESS_PATIENCE)?;
    refused(&mut stream, guesses)
}

/// Guesses on an open connection; returns how many guesses were refused.
pub(super) fn refused(stream: &mut (impl Read + Write), guesses: u32) -> io::Result<u64> {
    greet(stream, GUESS_ID)?;
    let mut refused = 0;
    for _ in 0..guesses.min(MAX_TRIES) {
        stream.write_all(&request(true))?;
        if read(stream, size::VERDICT)?[KIND] == kind::FAILURE {
            refused += 1;
        }
    }
    Ok(refused)
}

fn connect(source: IpAddr, server: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = socket::connect_from(source, server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// Goes as far as the authentication service.
fn greet(stream: &mut (impl Read + Write), id: &[u8]) -> io::Result<()> {
    identification(stream)?;
    stream.write_all(id)?;
    exchange(stream, false)
}

fn exchange(stream: &mut (impl Read + Write), serving: bool) -> io::Result<()> {
    for (by_server, message) in opening() {
        if by_server == serving {
            stream.write_all(&message)?;
        } else {
            read(stream, message.len())?;
        }
    }
    Ok(())
}

/// Reads the peer's identification string.
fn identification(stream: &mut impl Read) -> io::Result<()> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() == MAX_ID {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "identification string too long"));
        }
        line.push(read(stream, 1)?[0]);
    }
    if line.starts_with(b"SSH-2.0-") {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not an SSH identification string"))
    }
}

fn read(stream: &mut impl Read, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    stream.read_exact(&mut buffer)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_refused_and_the_session_echoes() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let server = serve(SocketAddr::new(loopback, 0)).expect("serve");
        let mut session = Session::open(loopback, server.addr()).expect("log in");
        let limits = Limits::new(5, 1000, Duration::from_secs(5)).expect("in bounds");
        let control = Control::new();
        let guesses = guess(loopback, server.addr(), 3, limits, &control).expect("permitted");
        assert_eq!(guesses, Guesses { connections: 5, refused: 15, failed: 0 });
        assert_eq!(control.sent(), 5);
        for key in b"ls -l\n" {
            assert_eq!(session.press(*key).expect("echo"), size::KEY as u64);
        }
        drop(server);
        assert!(session.press(b'x').is_err(), "the server's end closes its sessions");
    }

    #[test]
    fn guessing_elsewhere_is_refused() {
        let limits = Limits::new(1, 1, Duration::from_secs(1)).expect("in bounds");
        let target = "198.51.100.1:22".parse().expect("address");
        let refused = guess([127, 0, 0, 1].into(), target, 1, limits, &Control::new());
        assert!(matches!(refused, Err(TrafficError::Forbidden(_))), "{refused:?}");
    }
}
