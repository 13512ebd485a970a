//! One caller: who it is, its lines, its answers, each within bytes and time.

use super::server::Limits;
use super::{Agent, AgentError, Code, MAX_REQUEST, Reply, Request};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Serves one caller until it hangs up, is too slow, or breaks the protocol beyond recovery.
pub(super) fn serve(stream: &UnixStream, agent: &dyn Agent, limits: Limits) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(limits.write))?;
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let uid = peer.uid.as_raw();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        tracing::warn!("user {uid} was refused at the control socket");
        let why = "only root and the agent's own user may control it; run as root (sudo)";
        return answer(stream, Err(AgentError::new(Code::Forbidden, why)));
    }
    let mut lines = Lines { stream, limits, buffer: Vec::new() };
    loop {
        match lines.next()? {
            Line::End => return Ok(()),
            Line::Request(line) => answer(stream, handle(&line, agent))?,
            // What follows cannot be told from the rest of the same request: answer and hang up.
            Line::TooLong => {
                let why = format!("a request is at most {MAX_REQUEST} bytes");
                answer(stream, Err(AgentError::new(Code::TooLarge, why)))?;
                return lines.drain();
            }
            Line::Slow => {
                let why = format!("a request must arrive within {:?}", limits.read);
                return answer(stream, Err(AgentError::new(Code::Timeout, why)));
            }
        }
    }
}

fn handle(line: &[u8], agent: &dyn Agent) -> Result<serde_json::Value, AgentError> {
    let bad = |why: String| AgentError::new(Code::BadRequest, why);
    let request: Request = serde_json::from_slice(line)
        .map_err(|e| bad(format!("not a request this agent understands: {e}")))?;
    request.validate().map_err(bad)?;
    agent.handle(request)
}

/// Writes one reply line.
pub(super) fn answer(
    mut stream: &UnixStream,
    result: Result<serde_json::Value, AgentError>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Reply::from(result))?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// What came next.
enum Line {
    /// A line, without its newline; empty lines are skipped.
    Request(Vec<u8>),
    /// The caller hung up.
    End,
    /// More than [`MAX_REQUEST`] bytes without a newline.
    TooLong,
    /// A line began and did not end in time.
    Slow,
}

struct Lines<'a> {
    stream: &'a UnixStream,
    limits: Limits,
    /// Bytes read and not yet handed out, at most [`MAX_REQUEST`].
    buffer: Vec<u8>,
}

impl Lines<'_> {
    /// The limit holds for the whole line, so that a caller who sends a byte now and then gains nothing.
    fn next(&mut self) -> io::Result<Line> {
        let end = Instant::now() + self.limits.read;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Line::Request(line));
            }
            searched = self.buffer.len();
            if searched >= MAX_REQUEST {
                return Ok(Line::TooLong);
            }
            let left = end.saturating_duration_since(Instant::now());
            // A zero timeout would mean none.
            if left.is_zero() {
                return Ok(if self.buffer.is_empty() { Line::End } else { Line::Slow });
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 4096];
            let room = chunk.len().min(MAX_REQUEST - searched);
            match self.stream.read(&mut chunk[..room]) {
                Ok(0) if self.buffer.is_empty() => return Ok(Line::End),
                // The last line may lack its newline.
                Ok(0) => return Ok(Line::Request(std::mem::take(&mut self.buffer))),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads on for a while after an answer was sent: were the connection closed at once, a caller that is still writing
    /// would get a broken pipe, and most never look for an answer then.
    fn drain(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let end = Instant::now() + self.limits.read;
        let mut chunk = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            if self.stream.read(&mut chunk)? == 0 {
                return Ok(());
            }
        }
    }
}
