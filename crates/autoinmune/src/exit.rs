//! Exit codes: one meaning each, so that scripts and service managers can tell failures apart.

use std::process::ExitCode;

/// What the process says on leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done as asked.
    Ok = 0,
    /// Something failed that fits none below.
    Failure = 1,
    /// Wrong usage, or input of which nothing could be read.
    Input = 2,
    /// The configuration or a rule file is wrong.
    Config = 3,
    /// Not permitted: root or capabilities are missing.
    Permission = 4,
    /// The kernel or an interface cannot do what is needed.
    Kernel = 5,
    /// Another instance runs, or an address or socket is taken.
    Busy = 6,
    /// No agent answers on the control socket.
    NoAgent = 7,
    /// The agent refused the request (an allowlisted address, shadow mode, …).
    Refused = 8,
}

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> Self {
        Self::from(e as u8)
    }
}

/// An error that knows its exit code. Wrap with [`fail`]; `main` prints the chain in one line.
#[derive(Debug)]
pub struct Failed {
    /// The code.
    pub exit: Exit,
    /// One clear sentence with the way out.
    pub message: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// An [`anyhow::Error`] carrying an exit code.
pub fn fail(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failed { exit, message: message.into() })
}

/// The exit code of an error: that of the first [`Failed`] in its chain, else [`Exit::Failure`].
pub fn code(error: &anyhow::Error) -> Exit {
    error.chain().find_map(|e| e.downcast_ref::<Failed>()).map_or(Exit::Failure, |f| f.exit)
}
