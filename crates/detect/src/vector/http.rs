//! HTTP connections on which somebody waits.

use super::script::{Script, nanos};
use super::{Send, Traffic};

/// Bytes of a piece where the activity does not state them.
const PIECE: u32 = 4;
/// What a body or an answer is announced to have, bytes.
const ANNOUNCED: u32 = 10_000_000;

impl Script<'_> {
    /// A connection held for `hold_ms`: every `turn_ms` another piece of what never comes to its end, or silence before
    /// the answer of a long poll.
    pub(super) fn hold(&mut self, t: &Traffic) {
        self.handshake();
        let head = match t.send {
            Send::SlowHead => {
                "GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\n".to_owned()
            }
            Send::SlowBody => {
                format!("POST /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {ANNOUNCED}\r\n\r\n")
            }
            _ => "GET /events HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned(),
        };
        self.text(true, &head);
        if t.send == Send::SlowRead {
            self.text(false, &format!("HTTP/1.1 200 OK\r\nContent-Length: {ANNOUNCED}\r\n\r\n"));
        }
        let size = if t.size > 0 { t.size } else { PIECE };
        let end = self.at_ns + nanos(t.hold_ms);
        // No faster than a piece a millisecond: the length of a vector is bounded.
        let turn = nanos(t.turn_ms).max(1_000_000);
        let mut n = 0;
        while self.at_ns + turn <= end {
            self.wait(turn);
            n += 1;
            match t.send {
                Send::SlowHead => self.text(true, &format!("X-{n}: {n}\r\n")),
                Send::SlowBody => self.text(true, &"x".repeat(size as usize)),
                Send::SlowRead => self.text(false, &"x".repeat(size as usize)),
                _ => {}
            }
        }
        if t.send == Send::LongPoll {
            self.text(false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        self.close();
    }

    fn text(&mut self, by_client: bool, text: &str) {
        self.say(by_client, text.len() as u32, text.as_bytes());
    }
}
