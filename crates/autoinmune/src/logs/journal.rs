//! The journal, through `journalctl --follow`: its files have no stable format of their own, but this output has.

use super::lines::Lines;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of an entry that are read: a message of the longest line, each byte of it written as a number at worst.
const MAX_ENTRY: usize = 1 << 16;
/// Bytes read in one look.
const BUDGET: usize = 4 << 20;
/// Waits before `journalctl` is started again, doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// See [`FIRST_WAIT`].
const LAST_WAIT: Duration = Duration::from_secs(60);
/// After so long without ending it is taken to work.
const WORKS: Duration = Duration::from_secs(30);

/// The journal, followed from now on.
#[derive(Debug)]
pub struct Journal {
    facilities: Vec<u8>,
    running: Option<(Child, ChildStdout, Instant)>,
    lines: Lines,
    wait: Duration,
    next: Option<Instant>,
    /// Why it did not run, when last tried.
    pub trouble: Option<String>,
    /// Times it ended and was started again.
    pub restarts: u64,
}

impl Journal {
    /// Follows what is logged with one of `facilities` (RFC 5424 §6.2.1).
    pub const fn new(facilities: Vec<u8>) -> Self {
        Self {
            facilities,
            running: None,
            lines: Lines::new(MAX_ENTRY),
            wait: FIRST_WAIT,
            next: None,
            trouble: None,
            restarts: 0,
        }
    }

    /// Entries longer than [`MAX_ENTRY`].
    pub const fn cut(&self) -> u64 {
        self.lines.cut
    }

    /// Hands out the entries that came since the last look, as JSON.
    pub fn look(&mut self, now: Instant, chunk: &mut [u8], each: &mut impl FnMut(&[u8])) {
        if self.running.is_none() {
            if self.next.is_some_and(|at| now < at) {
                return;
            }
            self.start(now);
        }
        let Some((child, out, since)) = &mut self.running else { return };
        let mut left = BUDGET;
        while left > 0 {
            match out.read(chunk) {
                Ok(0) => break,
                Ok(n) => {
                    left = left.saturating_sub(n);
                    self.lines.feed(&chunk[..n], each);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if now.duration_since(*since) >= WORKS {
                        self.wait = FIRST_WAIT;
                    }
                    return;
                }
                Err(_) => break,
            }
        }
        if left > 0 {
            // It has closed its output.
            let _ = child.kill();
            let ended = child.wait();
            self.running = None;
            self.lines.restart();
            self.restarts += 1;
            let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
            self.later(now, format!("journalctl ended ({how})"));
        }
    }

    fn start(&mut self, now: Instant) {
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--lines=0", "--output=json", "--no-pager", "--quiet"]);
        command.arg("--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_UID");
        command.args(self.facilities.iter().map(|f| format!("SYSLOG_FACILITY={f}")));
        // In a group of its own, so that what ends the agent from a terminal does not reach it before the agent does.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => return self.later(now, format!("cannot start journalctl: {e}")),
        };
        let Some(out) = child.stdout.take() else { return };
        let unblocked = fcntl_getfl(&out).and_then(|flags| fcntl_setfl(&out, flags | OFlags::NONBLOCK));
        if let Err(e) = unblocked {
            let _ = child.kill();
            let _ = child.wait();
            return self.later(now, format!("cannot read from journalctl: {e}"));
        }
        self.running = Some((child, out, now));
        self.trouble = None;
    }

    /// Tries again after a while.
    fn later(&mut self, now: Instant, why: String) {
        self.next = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LAST_WAIT);
        self.trouble = Some(why);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some((mut child, ..)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
