//! A tiny HTTP/1.1 file server and a client that checks every byte (RFC 9112, one request per connection).

use super::{Server, TrafficError, socket};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Largest file served, bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Longest request or response head accepted, bytes.
const MAX_HEAD: u64 = 8 * 1024;
/// Bytes written at once.
const CHUNK: usize = 16 * 1024;
/// Longest a single read or write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves `GET /N` with a file of N bytes, at most [`MAX_FILE`].
///
/// # Errors
/// The address is forbidden or taken.
pub fn serve(addr: SocketAddr) -> Result<Server, TrafficError> {
    Server::tcp(addr, |stream| {
        let mut reader = BufReader::new(stream.try_clone()?).take(MAX_HEAD);
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        answer(stream, &request)
    })
}

fn answer(mut stream: TcpStream, request: &str) -> io::Result<()> {
    let size = request
        .strip_prefix("GET /")
        .and_then(|r| r.split(' ').next())
        .and_then(|n| n.parse::<u64>().ok())
        .filter(|n| *n <= MAX_FILE);
    let Some(size) = size else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut at = 0;
    while at < size {
        let chunk: Vec<u8> = (at..size.min(at + CHUNK as u64)).map(content).collect();
        stream.write_all(&chunk)?;
        at += chunk.len() as u64;
    }
    stream.flush()
}

/// The byte at an offset of every file: any loss, shift or reordering shows.
const fn content(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Downloads a file of `size` bytes from `source` and checks it; returns the bytes received, head included.
///
/// # Errors
/// The connection failed, or the answer is not what [`serve`] sends.
pub fn download(source: IpAddr, server: SocketAddr, size: u64) -> io::Result<u64> {
    let mut stream = socket::connect_from(source, server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /{size} HTTP/1.1\r\nHost: victim.example\r\nUser-Agent: lab\r\nConnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.by_ref().take(MAX_HEAD).read_line(&mut head)? == 0 || head.len() as u64 > MAX_HEAD {
            return Err(wrong("the response head is cut or too long"));
        }
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(wrong("the server refused the download"));
    }
    let mut body = Vec::new();
    reader.take(MAX_FILE + 1).read_to_end(&mut body)?;
    if body.len() as u64 != size || !body.iter().zip(0..).all(|(b, offset)| *b == content(offset)) {
        return Err(wrong("the download differs from the file"));
    }
    Ok(head.len() as u64 + size)
}

/// An answer's head, and how many bytes its body had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    /// The body, its first [`KEPT`] bytes.
    pub(super) body: Vec<u8>,
    /// Its whole length, bytes.
    pub(super) length: u64,
}

/// Bytes of a body that are kept: pages, not downloads.
pub(super) const KEPT: usize = 64 * 1024;

/// Sends the head of a request that keeps the connection open. `fields` are further header lines, each with its end.
pub(super) fn send(to: &mut impl Write, method: &str, target: &str, fields: &str) -> io::Result<()> {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: victim.example\r\nUser-Agent: lab/1.0\r\n{fields}\r\n");
    to.write_all(head.as_bytes())
}

/// Receives an answer whose length is stated, one byte of the head at a time, so that nothing behind it is taken.
pub(super) fn receive(from: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() as u64 > MAX_HEAD {
            return Err(wrong("the response head is too long"));
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| wrong("not a response"))?;
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
    let length: u64 = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    let kept = length.min(KEPT as u64);
    from.take(kept).read_to_end(&mut body)?;
    let more = io::copy(&mut from.take(length - kept), &mut io::sink())?;
    if body.len() as u64 + more != length {
        return Err(wrong("the body is cut"));
    }
    Ok(Answer { status, body, length })
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_arrive_whole_and_nonsense_is_refused() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let server = serve(SocketAddr::new(loopback, 0)).expect("serve");
        for size in [0, 1, 70_000] {
            assert!(download(loopback, server.addr(), size).expect("download") > size);
        }
        assert!(download(loopback, server.addr(), MAX_FILE + 1).is_err());
        let mut stream = TcpStream::connect(server.addr()).expect("connect");
        stream.write_all(b"nonsense\r\n\r\n").expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("read");
        assert!(reply.starts_with("HTTP/1.1 404 "));
        assert_eq!(server.served(), 5);
    }
}
