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
