//! What the learner has learnt from so far, kept over a restart: training windows and who is shunned, in one file of the state
//! directory. What waits in quarantine is not kept, and so is missing after a restart.

use crate::keep;
use learn::codec::{from_bytes, to_bytes};
use learn::life::Stored;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the file.
const FILE: &str = "windows.state";
/// Largest file read.
const MAX_BYTES: u64 = 64 << 20;
/// Least time between two writes: some ten megabytes each.
const EVERY: Duration = Duration::from_secs(600);

/// Where it is kept, and when next.
pub(super) struct State {
    path: PathBuf,
    written: Instant,
    /// Whether it was said that it cannot be written.
    failed: bool,
}

impl State {
    /// In a directory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE), written: Instant::now(), failed: false }
    }

    /// What was kept, if it is understood.
    pub(super) fn read(&self) -> Option<Stored> {
        let bytes = match keep::read(&self.path, MAX_BYTES) {
            Ok(bytes) => bytes?,
            Err(why) => {
                keep::put_aside(&self.path, &why);
                return None;
            }
        };
        from_bytes(&bytes).map_err(|e| keep::put_aside(&self.path, &e.to_string())).ok()
    }

    /// Whether it is time to write.
    pub(super) fn is_due(&self) -> bool {
        self.written.elapsed() >= EVERY
    }

    /// Writes; what cannot be is said once.
    pub(super) fn write(&mut self, stored: &Stored) {
        self.written = Instant::now();
        match keep::write(&self.path, &to_bytes(stored)) {
            Ok(()) => self.failed = false,
            Err(e) if !self.failed => {
                self.failed = true;
                tracing::warn!("{}: training windows are not kept: {e}", self.path.display());
            }
            Err(_) => {}
        }
    }
}
