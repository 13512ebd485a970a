//! A small shop on the web, made to be attacked: every weakness is real enough for a tool to find it, and none gives
//! anything away. HTTP/1.1 (RFC 9112) with connections kept open.
//!
//! | path | what it is | weakness |
//! |---|---|---|
//! | `/`, `/products`, `/news`, `/about` | pages with links, for people and crawlers | |
//! | `/product?id=` | a product | SQL injection ([`sql`]) |
//! | `/search?q=` | a search | what is searched for comes back as it is (cross-site scripting) |
//! | `/files?name=` | a document | names lead out of the directory; what is "outside" is invented |
//! | `/ping?host=` | a test of reachability | behind `;`, `|`, `&` or a backquote commands are "run": a few are known by their output |
//! | `/login` | a form, POST `user` and `password` | guesses are not limited |
//! | `/api/products`, `/api/login`, `/api/status` | the same as JSON | |
//! | `/downloads/N` | N bytes | |
//! | `/upload` | takes any body and forgets it | |
//! | `/private/` | forbidden by `/robots.txt` | |

mod pages;
mod sql;

use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Longest request head, bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// Most header fields.
const MAX_FIELDS: usize = 64;
/// Longest form that is read, bytes; of uploads the content is not kept.
const MAX_FORM: u64 = 64 * 1024;
/// Largest upload: what an exfiltration act sends at most.
const MAX_UPLOAD: u64 = 512 * 1024 * 1024;
/// Largest download.
const MAX_DOWNLOAD: u64 = 64 * 1024 * 1024;
/// Requests of one connection.
const MAX_REQUESTS: u32 = 10_000;
/// Bytes written at once.
const CHUNK: usize = 16 * 1024;

pub(super) const PARAMETERS: &[Parameter] = &[parameter::ADDRESS, parameter::port("80")];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    Ok(vec![Server::tcp(listen(values), serve)?])
}

/// A request, its body read.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    query: String,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
struct Response {
    status: &'static str,
    kind: &'static str,
    fields: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    /// So many bytes that mean nothing.
    Bytes(u64),
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A value of the query or of the form in the body, decoded.
    fn value(&self, name: &str) -> Option<String> {
        let body = String::from_utf8_lossy(&self.body);
        let pairs = self.query.split('&').chain(body.split('&'));
        pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| decode(v))
    }
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    for _ in 0..MAX_REQUESTS {
        let Some((mut request, length)) = head(&mut reader)? else { return Ok(()) };
        let length = match length {
            Ok(length) => length,
            Err(status) => return refuse(&mut writer, status),
        };
        if request.field("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.path == "/upload" {
            let got = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            if got < length {
                return Ok(());
            }
        } else {
            if length > MAX_FORM {
                return refuse(&mut writer, "413 Content Too Large");
            }
            request.body = vec![0; usize::try_from(length).unwrap_or(0)];
            reader.read_exact(&mut request.body)?;
        }
        let last = request.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        send(&mut writer, &pages::answer(&request, length), request.method == "HEAD", last)?;
        if last {
            return Ok(());
        }
    }
    Ok(())
}

fn refuse(writer: &mut TcpStream, status: &str) -> io::Result<()> {
    write!(writer, "HTTP/1.1 {status}\r\nServer: lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Reads a head; the second half is the length of the body, or the status of a refusal. `None` at the end.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(Request, Result<u64, &'static str>)>> {
    const BAD: &str = "400 Bad Request";
    let mut limited = reader.by_ref().take(MAX_HEAD);
    let mut line = Vec::new();
    let mut request = Request::default();
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let first = String::from_utf8_lossy(&line).trim_end().to_owned();
    let mut parts = first.splitn(3, ' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version)) = (method, target, version) else {
        return Ok(Some((request, Err(BAD))));
    };
    if !version.starts_with("HTTP/1.") {
        return Ok(Some((request, Err(BAD))));
    }
    // The form for proxies names the host first.
    let target = target.strip_prefix("http://").map_or(target, |t| t.find('/').map_or("/", |at| &t[at..]));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (request.method, request.path, request.query) = (method.to_owned(), decode(path), query.to_owned());
    loop {
        line.clear();
        limited.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line);
        if !text.ends_with('\n') || request.fields.len() > MAX_FIELDS {
            return Ok(Some((request, Err("431 Request Header Fields Too Large"))));
        }
        let text = text.trim_end();
        if text.is_empty() {
            break;
        }
        let Some((name, value)) = text.split_once(':') else { return Ok(Some((request, Err(BAD)))) };
        request.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.field("transfer-encoding").is_some() {
        return Ok(Some((request, Err("411 Length Required"))));
    }
    let length = match request.field("content-length").map(str::parse) {
        None => Ok(0),
        Some(Ok(length)) if length <= MAX_UPLOAD => Ok(length),
        Some(Ok(_)) => Err("413 Content Too Large"),
        Some(Err(_)) => Err(BAD),
    };
    Ok(Some((request, length)))
}

fn send(writer: &mut TcpStream, response: &Response, head_only: bool, last: bool) -> io::Result<()> {
    let length = match &response.content {
        Content::Text(text) => text.len() as u64,
        Content::Bytes(n) => *n,
    };
    let mut out = format!(
        "HTTP/1.1 {}\r\nServer: lab\r\nContent-Type: {}\r\nContent-Length: {length}\r\n",
        response.status, response.kind
    );
    for (name, value) in &response.fields {
        out += &format!("{name}: {value}\r\n");
    }
    out += if last { "Connection: close\r\n\r\n" } else { "\r\n" };
    if let (Content::Text(text), false) = (&response.content, head_only) {
        out += text;
    }
    writer.write_all(out.as_bytes())?;
    if let (Content::Bytes(n), false) = (&response.content, head_only) {
        let chunk = pages::filling(CHUNK);
        let mut left = *n;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            writer.write_all(&chunk[..len])?;
            left -= len as u64;
        }
    }
    Ok(())
}

/// Undoes percent encoding, and `+` for a space.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (byte, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        for (text, expected) in
            [("a%20b+c", "a b c"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%C3%A9", "é"), ("é", "é")]
        {
            assert_eq!(decode(text), expected);
        }
    }
}
