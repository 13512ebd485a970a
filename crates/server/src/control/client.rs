//! The calling side.

use super::{Code, MAX_REPLY, MAX_REQUEST, Reply, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer. Each is one sentence with the way out.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody is there.
    #[error("no agent answers at {}; start one with `sudo autoinmune run`", .0.display())]
    NotRunning(PathBuf),
    /// Somebody is there, for others.
    #[error("not permitted to talk to the agent at {}; run as root (sudo)", .0.display())]
    Permission(PathBuf),
    /// It understood, and does not do it.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: Code,
        /// For people.
        message: String,
    },
    /// It did not answer in time.
    #[error("the agent at {} did not answer within {} s; see its log", .0.display(), PATIENCE.as_secs())]
    Timeout(PathBuf),
    /// It said something else.
    #[error("what answers at {} does not speak this version's protocol ({why}); restart the agent after an update", path.display())]
    Protocol {
        /// Where.
        path: PathBuf,
        /// What was wrong.
        why: String,
    },
    /// Anything else.
    #[error("cannot talk to the agent at {}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl CallError {
    fn from_io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning(path),
            io::ErrorKind::PermissionDenied => Self::Permission(path),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout(path),
            _ => Self::Io { path, error },
        }
    }
}

/// Asks the agent at `path`.
///
/// # Errors
/// See [`CallError`].
pub fn call(path: &Path, request: &Request) -> Result<Value, CallError> {
    let io = |e| CallError::from_io(path, e);
    let protocol = |why: String| CallError::Protocol { path: path.to_path_buf(), why };
    let mut line = serde_json::to_vec(request).map_err(|e| protocol(e.to_string()))?;
    line.push(b'\n');
    if line.len() > MAX_REQUEST {
        let message = format!("the request is longer than {MAX_REQUEST} bytes");
        return Err(CallError::Refused { code: Code::TooLarge, message });
    }
    let mut stream = UnixStream::connect(path).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
    // A refused caller's answer may be there although the agent hung up before it read the request.
    let sent = stream.write_all(&line);
    let mut reply = Vec::new();
    let most = MAX_REPLY as u64;
    let read = BufReader::new(&stream).take(most).read_until(b'\n', &mut reply);
    if reply.is_empty() {
        sent.map_err(io)?;
        read.map_err(io)?;
        return Err(protocol("it hung up without an answer".into()));
    }
    if reply.last() != Some(&b'\n') {
        read.map_err(io)?;
        return Err(protocol("its answer ended early or is too long".into()));
    }
    let reply: Reply = serde_json::from_slice(&reply).map_err(|e| protocol(e.to_string()))?;
    match (reply.ok, reply.code, reply.error) {
        (true, _, _) => Ok(reply.data.unwrap_or(Value::Null)),
        (false, Some(Code::Forbidden), _) => Err(CallError::Permission(path.to_path_buf())),
        (false, Some(code), Some(message)) => Err(CallError::Refused { code, message }),
        (false, _, _) => Err(protocol("an error without code or text".into())),
    }
}

/// Asks the agent at `path` and reads the answer as one of [`crate::view`]'s structs.
///
/// # Errors
/// See [`CallError`].
pub fn call_as<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, CallError> {
    serde_json::from_value(call(path, request)?)
        .map_err(|e| CallError::Protocol { path: path.to_path_buf(), why: e.to_string() })
}
