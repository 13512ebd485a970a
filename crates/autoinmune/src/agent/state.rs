//! What outlives the process: the lock, the audit log, the blocks to restore.

use crate::exit::{Exit, fail};
use respond::{Block, Decision, Prefix};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes a directory only its owner may enter, unless it exists.
///
/// # Errors
/// The path, the reason and, for lack of permission, the way out.
pub fn private_dir(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
        let exit =
            if e.kind() == std::io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Failure };
        fail(
            exit,
            format!("cannot make directory {}: {e}; run as root or choose another directory", dir.display()),
        )
    })
}

/// Holds the run directory for this process; released by the kernel however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Exit::Busy`] when another agent holds it.
    pub fn take(run_dir: &Path) -> anyhow::Result<Self> {
        private_dir(run_dir)?;
        let path = run_dir.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| fail(Exit::Permission, format!("cannot open {}: {e}", path.display())))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let pid = std::fs::read_to_string(&path).unwrap_or_default();
            fail(
                Exit::Busy,
                format!(
                    "an agent is already running (process {}, lock {}); stop it, or give this one its own --run-dir",
                    if pid.trim().is_empty() { "unknown" } else { pid.trim() },
                    path.display()
                ),
            )
        })?;
        let _ = file.set_len(0);
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

/// The audit log: one JSON line per decision, appended; reopened on rotation.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: File,
    /// Lines that could not be written.
    pub lost: u64,
}

impl Audit {
    /// Opens `audit.jsonl` in the state directory.
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join("audit.jsonl");
        let file = Self::append(&path).map_err(|e| {
            fail(Exit::Permission, format!("cannot open the audit log {}: {e}", path.display()))
        })?;
        Ok(Self { path, file, lost: 0 })
    }

    fn append(path: &Path) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }

    /// Appends one decision.
    pub fn write(&mut self, decision: &Decision) {
        self.append_line(decision);
    }

    /// Appends what a limit of the kernel has dropped, or would have.
    pub fn write_excess(&mut self, excess: &kernel::Excess) {
        self.append_line(&serde_json::json!({
            "at_ns": excess.last_ns,
            "limit": excess.limit.map(kernel::abi::Limit::name),
            "address": excess.addr,
            "port": excess.port,
            "since_ns": excess.since_ns,
            "packets": excess.packets,
            "bytes": excess.bytes,
            "enforced": excess.enforced,
        }));
    }

    fn append_line(&mut self, entry: &impl serde::Serialize) {
        let written = serde_json::to_vec(entry).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)
        });
        if let Err(e) = written {
            if self.lost == 0 {
                tracing::error!("cannot write the audit log {}: {e}", self.path.display());
            }
            self.lost += 1;
        }
    }

    /// Opens the file anew, for log rotation; on failure the old one stays in use.
    pub fn reopen(&mut self) {
        match Self::append(&self.path) {
            Ok(file) => self.file = file,
            Err(e) => tracing::error!("cannot reopen the audit log {}: {e}", self.path.display()),
        }
    }
}

/// Blocks as last written, for a start after a reboot. Absent or broken files give none, with a warning.
pub fn kept_blocks(state_dir: &Path) -> Vec<Block> {
    let path = state_dir.join("blocks.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| {
            tracing::warn!("{} is not readable ({e}); starting without its blocks", path.display());
            Vec::new()
        }),
        Err(e) => {
            if e.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!("cannot read {}: {e}", path.display());
            }
            Vec::new()
        }
    }
}

/// What an earlier run left, from its two memories. The kernel knows best what is in force and until when, and nothing
/// else; owner, reason and age come from the file. What only the file knows comes too: a reboot empties the kernel.
pub fn united(in_force: Vec<Block>, kept: Vec<Block>) -> Vec<Block> {
    let mut all: BTreeMap<Prefix, Block> = kept.into_iter().map(|b| (b.prefix, b)).collect();
    for block in in_force {
        match all.entry(block.prefix) {
            Entry::Occupied(mut known) => known.get_mut().until_ns = block.until_ns,
            Entry::Vacant(unknown) => {
                unknown.insert(block);
            }
        }
    }
    all.into_values().collect()
}

/// Replaces the kept blocks in one step: a crash leaves the old file or the new one.
///
/// # Errors
/// If the directory cannot be written.
pub fn keep_blocks<'a>(state_dir: &Path, blocks: impl Iterator<Item = &'a Block>) -> std::io::Result<()> {
    let blocks: Vec<&Block> = blocks.collect();
    let path = state_dir.join("blocks.json");
    let next = state_dir.join("blocks.json.tmp");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&serde_json::to_vec(&blocks)?)?;
    file.sync_all()?;
    std::fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use respond::Owner;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aim-state-{name}-{}", std::process::id()));
        private_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_second_lock_is_refused_and_named() {
        let dir = dir("lock");
        let first = Lock::take(&dir).unwrap();
        let error = Lock::take(&dir).unwrap_err();
        assert_eq!(crate::exit::code(&error), Exit::Busy);
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(first);
        Lock::take(&dir).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_kernel_knows_ends_and_the_file_knows_reasons() {
        let block = |prefix: &str, until_ns, reason: &str, owner| Block {
            prefix: prefix.parse().unwrap(),
            since_ns: 1,
            until_ns,
            owner,
            reason: reason.into(),
            incident: None,
            offence: 1,
        };
        let kernel = vec![
            block("192.0.2.1", 52, "found", Owner::Policy),
            block("192.0.2.2", 60, "found", Owner::Policy),
        ];
        let file = vec![
            block("192.0.2.1", 50, "abuse", Owner::Operator),
            block("192.0.2.3", 70, "before the reboot", Owner::Policy),
        ];
        let expected = vec![
            block("192.0.2.1", 52, "abuse", Owner::Operator),
            block("192.0.2.2", 60, "found", Owner::Policy),
            block("192.0.2.3", 70, "before the reboot", Owner::Policy),
        ];
        assert_eq!(united(kernel, file), expected);
    }

    #[test]
    fn blocks_come_back_as_written_and_broken_files_do_no_harm() {
        let dir = dir("blocks");
        let block = Block {
            prefix: "198.51.100.7".parse().unwrap(),
            since_ns: 1,
            until_ns: 2,
            owner: Owner::Operator,
            reason: "test".into(),
            incident: None,
            offence: 1,
        };
        assert!(kept_blocks(&dir).is_empty());
        keep_blocks(&dir, [&block].into_iter()).unwrap();
        assert_eq!(kept_blocks(&dir), vec![block]);
        std::fs::write(dir.join("blocks.json"), b"{").unwrap();
        assert!(kept_blocks(&dir).is_empty());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
