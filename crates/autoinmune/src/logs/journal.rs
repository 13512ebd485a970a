//! The journal, through `journalctl --follow`: its files have no stable format of their own, but this output has.
//!
//! Where `journalctl` ends it is started again behind the last entry that it told, so that nothing is left out and nothing
//! told twice. The journal's own service may be restarted, and its files may be rotated: `journalctl` goes on by itself.

use super::lines::Lines;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::Deserialize;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    program: PathBuf,
    facilities: Vec<u8>,
    running: Option<(Child, ChildStdout, Instant)>,
    lines: Lines,
    /// The latest entry, as it came.
    last: Vec<u8>,
    /// From when on entries are read where no latest one says it: when following began.
    since: SystemTime,
    wait: Duration,
    next: Option<Instant>,
    /// Why it did not run, when last tried.
    pub trouble: Option<String>,
    /// Times it ended and was started again.
    pub restarts: u64,
}

impl Journal {
    /// Follows what is logged from now on with one of `facilities` (RFC 5424 §6.2.1).
    pub fn new(facilities: Vec<u8>) -> Self {
        Self::of("journalctl".into(), facilities)
    }

    fn of(program: PathBuf, facilities: Vec<u8>) -> Self {
        Self {
            program,
            facilities,
            running: None,
            lines: Lines::new(MAX_ENTRY),
            last: Vec::new(),
            since: SystemTime::now(),
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
        let last = &mut self.last;
        let mut each = |entry: &[u8]| {
            last.clear();
            last.extend_from_slice(entry);
            each(entry);
        };
        let mut left = BUDGET;
        while left > 0 {
            match out.read(chunk) {
                Ok(0) => break,
                Ok(n) => {
                    left = left.saturating_sub(n);
                    self.lines.feed(&chunk[..n], &mut each);
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
            let refused = ended.as_ref().is_ok_and(|status| status.code().is_some_and(|code| code != 0));
            if let Some(place) = Place::of(&self.last).filter(|_| refused) {
                // It may be the place that it does not find: by time, then.
                self.since = place.after().unwrap_or(self.since);
                self.last.clear();
            }
            self.restarts += 1;
            let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
            self.later(now, format!("journalctl ended ({how})"));
        }
    }

    fn start(&mut self, now: Instant) {
        let mut command = Command::new(&self.program);
        // All: else a message above 4096 bytes is left out, and who writes one chooses how long it is.
        command.args(["--follow", "--no-tail", "--all", "--output=json", "--no-pager", "--quiet"]);
        command.arg("--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_UID").arg(self.place());
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

    /// The option that says where to begin: behind the latest entry, or the time when following began. Not at the end
    /// of what is there: it is a while until `journalctl` gets to look, and what was logged meanwhile counts.
    fn place(&self) -> String {
        match Place::of(&self.last) {
            Some(place) => format!("--after-cursor={}", place.cursor),
            None => {
                let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default();
                format!("--since=@{}.{:06}", since.as_secs(), since.subsec_micros())
            }
        }
    }

    /// Tries again after a while.
    fn later(&mut self, now: Instant, why: String) {
        self.next = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LAST_WAIT);
        self.trouble = Some(why);
    }
}

/// Where in the journal an entry stands (systemd.journal-fields(7), address fields).
#[derive(Deserialize)]
struct Place {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    /// µs since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: String,
}

impl Place {
    fn of(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    /// The first time that is not its own.
    fn after(&self) -> Option<SystemTime> {
        let micros = self.realtime.parse::<u64>().ok()?.checked_add(1)?;
        UNIX_EPOCH.checked_add(Duration::from_micros(micros))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program in the place of `journalctl`: one entry, and whatever comes after that.
    fn stand_in(name: &str, then: &str) -> (Journal, PathBuf) {
        let folder = std::env::temp_dir().join(format!("aim-journal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("journalctl");
        std::fs::write(&program, format!("#!/bin/sh\necho '{{\"MESSAGE\":\"one\"}}'\n{then}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        (Journal::of(program, vec![4, 10]), folder)
    }

    /// Looks until there are `wanted` entries, at most half a minute long.
    fn entries(journal: &mut Journal, now: Instant, wanted: usize) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let begun = Instant::now();
        while found.len() < wanted && begun.elapsed() < Duration::from_secs(30) {
            journal.look(now, &mut [0; 4096], &mut |line| found.push(line.to_vec()));
            std::thread::yield_now();
        }
        found
    }

    #[test]
    fn entries_are_handed_out_without_waiting_for_more() {
        let (mut journal, folder) = stand_in("follow", "exec sleep 60");
        let now = Instant::now();
        let found = entries(&mut journal, now, 1);
        assert_eq!(auth::entry(&found[0]).map(|e| e.message), Some(b"one".to_vec()));
        assert_eq!((journal.trouble.as_deref(), journal.restarts), (None, 0));
        drop(journal);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_that_ends_is_started_again_but_not_at_once() {
        let (mut journal, folder) = stand_in("ends", "exit 3");
        let now = Instant::now();
        assert_eq!(entries(&mut journal, now, 1).len(), 1);
        let begun = Instant::now();
        while journal.restarts == 0 && begun.elapsed() < Duration::from_secs(30) {
            journal.look(now, &mut [0; 4096], &mut |_| panic!("nothing more was said"));
        }
        assert!(journal.trouble.as_deref().is_some_and(|t| t.contains("exit status: 3")), "{journal:?}");
        journal.look(now, &mut [0; 4096], &mut |_| panic!("too early"));
        assert_eq!(entries(&mut journal, now + FIRST_WAIT, 1).len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_goes_on_behind_the_latest_entry_or_else_from_the_time_it_came() {
        let (mut journal, folder) = stand_in("place", "exit 0");
        let began = journal.place();
        assert!(began.starts_with("--since=@1") && began.contains('.'), "{began}");
        journal.last = br#"{"__CURSOR":"s=1a;i=2","__REALTIME_TIMESTAMP":"1795290800000041","MESSAGE":"x \"__CURSOR\":\"forged\""}"#.to_vec();
        assert_eq!(journal.place(), "--after-cursor=s=1a;i=2");
        // A place that is not found must not keep it from reading.
        journal.program = folder.join("fails");
        std::fs::write(&journal.program, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&journal.program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let begun = Instant::now();
        while journal.restarts == 0 && begun.elapsed() < Duration::from_secs(30) {
            journal.look(begun, &mut [0; 4096], &mut |_| panic!("it says nothing"));
        }
        assert_eq!((journal.restarts, journal.place()), (1, "--since=@1795290800.000042".to_owned()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let mut journal = Journal::of("/nonexistent/journalctl".into(), vec![4]);
        journal.look(Instant::now(), &mut [0; 64], &mut |_| ());
        assert!(journal.trouble.as_deref().is_some_and(|t| t.contains("cannot start journalctl")));
    }
}
