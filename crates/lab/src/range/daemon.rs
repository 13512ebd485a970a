//! A long-running program inside a range, ended and reaped when the handle goes.

use super::record::PATIENCE;
use crate::process::Identity;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// A program started by [`super::Range::daemon`].
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    identity: Identity,
    left: bool,
}

impl Daemon {
    pub(super) const fn new(child: Child, identity: Identity) -> Self {
        Self { child, identity, left: false }
    }

    /// Lets it run on after this process, in a range that is kept.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Its process id and start time.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// The child, for its pipes.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// As [`Child::try_wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end (SIGTERM), insists after `patience` (SIGKILL), and returns its exit status.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            // The status tells how it went; waiting below covers the rest.
            let _ = self.identity.end(patience);
        }
        self.child.wait()
    }

    /// Waits until it ends by itself, at most `patience`.
    ///
    /// # Errors
    /// As [`Child::try_wait`].
    pub fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait()? {
                None if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(10)),
                status => return Ok(status),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        if let Err(e) = self.end(PATIENCE) {
            tracing::warn!(pid = self.identity.pid, error = %e, "program in the range did not end");
        }
    }
}
