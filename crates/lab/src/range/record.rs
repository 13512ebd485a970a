//! What a range leaves on disk while it lives, so that the next start can clean up after a kill -9.
//!
//! One small JSON file per range, written before the range makes anything. It names the owner and the processes
//! started, each by pid and start time. Every namespace's name begins with the range's own, so that no file content can
//! point the cleaning at something else.

use super::{RangeError, ip, is_place};
use crate::process::{self, Identity};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest record read back, bytes; a range has a handful of processes.
const MAX_RECORD: u64 = 64 * 1024;
/// How long a process may take to end by itself, before SIGKILL.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// One range as recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Digits and dashes; unique while the machine is up.
    pub(super) id: String,
    /// The process that made the range.
    pub(super) owner: Identity,
    /// Its namespaces, by the last part of their names.
    pub(super) places: Vec<String>,
    /// Whether it stays when its owner ends.
    pub(super) kept: bool,
    /// Processes started inside the range.
    pub(super) processes: Vec<Identity>,
}

/// The directory of records. Not inside the agent's `/run/autoinmune`, which a service manager may remove with the
/// service.
pub(super) fn base() -> PathBuf {
    PathBuf::from("/run/autoinmune-lab")
}

/// Makes the directory, and refuses one that another user could have filled.
pub(super) fn prepare(base: &Path) -> Result<(), RangeError> {
    let state = |source| RangeError::State { path: base.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(base).map_err(state)?;
    let meta = fs::symlink_metadata(base).map_err(state)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(state(io::Error::other(
            "must be a directory of this user that nobody else can write to",
        )));
    }
    Ok(())
}

impl Record {
    pub(super) fn path(&self, base: &Path) -> PathBuf {
        base.join(format!("{}.json", self.id))
    }

    /// The range's scratch directory: configuration, sockets and logs of what runs in it.
    pub(super) fn scratch(&self, base: &Path) -> PathBuf {
        base.join(&self.id)
    }

    /// Replaces the file in one step, so that a kill at any moment leaves a whole record.
    pub(super) fn write(&self, base: &Path) -> Result<(), RangeError> {
        let path = self.path(base);
        let next = path.with_extension("next");
        let json = serde_json::to_vec(self).map_err(io::Error::from);
        json.and_then(|json| fs::write(&next, json))
            .and_then(|()| fs::rename(&next, &path))
            .map_err(|source| RangeError::State { path, source })
    }

    /// Where the namespace of a place is named.
    fn mount(&self, place: &str) -> PathBuf {
        Path::new("/run/netns").join(namespace(&self.id, place))
    }

    /// Ends the processes, those on record and whatever else runs in the namespaces; deletes the namespaces (and all
    /// interfaces with them), the scratch directory and the record. What is already gone is fine; the record stays if
    /// something could not be removed.
    pub(super) fn destroy(&self, base: &Path) -> Result<(), RangeError> {
        let mut running = self.processes.clone();
        for place in &self.places {
            running.extend(process::in_network_of(&self.mount(place)));
        }
        let stuck = process::end_all(&running, PATIENCE);
        let present = || self.places.iter().filter(|p| self.mount(p).exists());
        let lines: String =
            present().map(|place| format!("netns del {}\n", namespace(&self.id, place))).collect();
        if !lines.is_empty() {
            // A racing sweep may have deleted one between the look and the command.
            if let Err(e) = ip(&["-force", "-batch", "-"], Some(&lines))
                && present().next().is_some()
            {
                return Err(e);
            }
        }
        let scratch = self.scratch(base);
        absent_is_fine(fs::remove_dir_all(&scratch))
            .map_err(|source| RangeError::State { path: scratch, source })?;
        if let Some(pid) = stuck.first() {
            return Err(RangeError::Stuck(pid.pid));
        }
        let path = self.path(base);
        absent_is_fine(fs::remove_file(path.with_extension("next")))
            .and(absent_is_fine(fs::remove_file(&path)))
            .map_err(|source| RangeError::State { path, source })?;
        // An empty directory is no use to anyone; one in use refuses to go, which is right.
        let _ = fs::remove_dir(base);
        Ok(())
    }
}

/// The name of a range's namespace.
pub(super) fn namespace(id: &str, place: &str) -> String {
    format!("aim-{id}-{place}")
}

/// Every range on record.
pub(super) fn all(base: &Path) -> Result<Vec<Record>, RangeError> {
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RangeError::State { path: base.to_owned(), source }),
    };
    prepare(base)?;
    Ok(entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .filter_map(|p| read(&p))
        .collect())
}

/// A record, unless the file is not one of ours as we write them.
fn read(path: &Path) -> Option<Record> {
    if fs::symlink_metadata(path).is_ok_and(|m| !m.is_file() || m.len() > MAX_RECORD) {
        return None;
    }
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let plain = !record.id.is_empty() && record.id.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let named = path.file_stem().is_some_and(|s| s == record.id.as_str());
    (plain && named && record.places.iter().all(|p| is_place(p))).then_some(record)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
