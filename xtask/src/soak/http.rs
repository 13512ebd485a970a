//! A client that keeps its connection, as users of the API have.

use anyhow::{Context as _, bail, ensure};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for an answer. The machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest body that is read, bytes.
const LONGEST: usize = 4 << 20;

/// One connection, opened anew where the server has closed it: it ends each after five minutes.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    open: Option<BufReader<TcpStream>>,
    /// Times that a connection was opened.
    pub(super) opened: u64,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Client {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address, open: None, opened: 0 }
    }

    /// Asks and waits for the answer. A connection that was kept may have been closed meanwhile: then, and only then, the
    /// question is asked once more.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Reply> {
        let host = self.address;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let kept = self.open.is_some();
        match self.exchange(&request) {
            Err(_) if kept => self.exchange(&request),
            done => done,
        }
    }

    fn exchange(&mut self, request: &str) -> anyhow::Result<Reply> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.get_mut().write_all(request.as_bytes()).context("cannot send")?;
        let (reply, close) = reply(&mut stream)?;
        self.open = (!close).then_some(stream);
        Ok(reply)
    }

    fn connect(&mut self) -> anyhow::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address).context("cannot connect")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        self.opened += 1;
        Ok(BufReader::new(stream))
    }
}

/// Reads one answer; whether the server closes the connection after it.
fn reply(from: &mut impl BufRead) -> anyhow::Result<(Reply, bool)> {
    let mut line = String::new();
    let mut next = |from: &mut dyn BufRead| -> anyhow::Result<String> {
        line.clear();
        from.read_line(&mut line).context("no answer")?;
        Ok(line.trim_end().to_owned())
    };
    let first = next(from)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let Some(status) = status else { bail!("no answer but '{first}'") };
    let (mut length, mut close) = (None, false);
    loop {
        let header = next(from)?;
        let Some((name, value)) = header.split_once(':') else {
            ensure!(header.is_empty(), "a header without a colon: '{header}'");
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse::<usize>().ok(),
            "connection" => close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let length = length.context("an answer without its length")?;
    ensure!(length <= LONGEST, "an answer of {length} bytes");
    let mut body = vec![0; length];
    from.read_exact(&mut body).context("half an answer")?;
    Ok((Reply { status, body: String::from_utf8(body).context("an answer that is not UTF-8")? }, close))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_are_read_one_after_the_other() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 422 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let mut from = text.as_bytes();
        let (first, close) = reply(&mut from).expect("an answer");
        assert_eq!((first.status, first.body.as_str(), close), (200, "ok", false));
        let (second, close) = reply(&mut from).expect("an answer");
        assert_eq!((second.status, second.body.as_str(), close), (422, "", true));
        assert!(reply(&mut from).is_err(), "nothing more");
        for broken in
            ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", "SSH-2.0\r\n"]
        {
            assert!(reply(&mut broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_connection_closed_between_two_questions_is_opened_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client = Client::new(listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().expect("a client");
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).expect("a request");
                }
                stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .expect("an answer");
            }
        });
        for n in 1..=2 {
            assert_eq!(client.ask("GET", "/", "").expect("an answer").status, 200);
            assert_eq!(client.opened, n);
        }
        server.join().expect("no panic");
        assert!(client.ask("GET", "/", "").is_err(), "a server that is gone is a failure");
    }
}
