//! Processes by identity: a pid alone may have been given to somebody else since.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process: its pid and its start time in clock ticks since boot. The pair is never reused while the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)), clock ticks since boot.
    pub start: u64,
}

impl Identity {
    /// The process that runs under `pid` now.
    ///
    /// # Errors
    /// No such process, or `/proc` is not readable.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (state, start) = parse_stat(&stat).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat not understood"))
        })?;
        if matches!(state, 'Z' | 'X') {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} has ended")));
        }
        Ok(Self { pid, start })
    }

    /// This process.
    ///
    /// # Errors
    /// `/proc` is not readable.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }

    /// Ends this very process: SIGTERM, and SIGKILL if it has not gone after `patience`. Does nothing if it has
    /// ended, whoever uses its pid now. Returns whether it is gone.
    #[must_use]
    pub fn end(self, patience: Duration) -> bool {
        end_all(&[self], patience).is_empty()
    }

    /// Sends a signal to this very process, if it still runs.
    fn signal(self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // The descriptor is opened before the identity is checked, so that the pid cannot change hands in between.
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.is_alive() {
            // An error means it ended meanwhile, which whoever waits for that sees.
            let _ = pidfd_send_signal(&fd, signal);
        }
    }
}

/// Ends processes at the same time, each as [`Identity::end`] does; returns those that did not go.
#[must_use]
pub fn end_all(processes: &[Identity], patience: Duration) -> Vec<Identity> {
    let mut left: Vec<Identity> = processes.iter().copied().filter(|p| p.is_alive()).collect();
    for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(2))] {
        for process in &left {
            process.signal(signal);
        }
        let begun = Instant::now();
        loop {
            left.retain(|p| p.is_alive());
            if left.is_empty() || begun.elapsed() >= patience {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    left
}

/// Processes whose main thread is in the network namespace that `file` (a bind mount of it) names; never this one.
#[must_use]
pub fn in_network_of(file: &Path) -> Vec<Identity> {
    let Ok(wanted) = std::fs::metadata(file) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != std::process::id())
        .filter_map(|pid| {
            // The identity first: if the pid changes hands in between, the namespace is that of somebody else, and
            // whoever is to be ended is gone.
            let identity = Identity::of(pid).ok()?;
            let there = std::fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
            (there.ino() == wanted.ino() && there.dev() == wanted.dev()).then_some(identity)
        })
        .collect()
}

/// State and start time. The command name is in parentheses and may itself contain spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_field_22_whatever_the_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("77 (a b) c) {tail}")), Some(('S', 4711)));
        assert_eq!(parse_stat("77 (cut"), None);
        assert_eq!(parse_stat("77 (cut) S 1 2"), None);
    }

    #[test]
    fn a_foreign_process_under_the_same_pid_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep starts");
        let real = Identity::of(child.id()).expect("child is in /proc");
        let stale = Identity { start: real.start.wrapping_sub(1), ..real };
        assert!(stale.end(Duration::from_millis(50)), "a stale identity counts as ended");
        assert!(real.is_alive(), "and the process that has the pid now lives on");
        assert!(real.end(Duration::from_secs(2)));
        let _ = child.wait();
        assert!(!real.is_alive());
    }
}
