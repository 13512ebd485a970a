//! Files that others replace: noticing it, and reading them whole.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(m: &Metadata) -> Self {
        Self { device: m.dev(), inode: m.ino(), size: m.size(), modified: (m.mtime(), m.mtime_nsec()) }
    }

    /// When it was last written, s since 1970.
    pub(crate) fn modified_s(&self) -> u64 {
        u64::try_from(self.modified.0).unwrap_or(0)
    }
}

/// Notices when a file has become another, once it has stopped changing.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// As last read, whether that went well or not.
    read: Option<Identity>,
    /// As last seen.
    seen: Option<Identity>,
}

impl Watch {
    /// Whether to read the file now: it differs from what was read, and is as it was at the last look. A file that is being
    /// written is thus left alone until its writer pauses for one interval between looks.
    pub(crate) fn changed(&mut self, path: &Path) -> bool {
        let now = std::fs::metadata(path).ok().map(|m| Identity::of(&m));
        let settled = now == self.seen;
        self.seen = now;
        settled && now.is_some() && now != self.read
    }

    /// Reads the file, and remembers having done so.
    pub(crate) fn read(&mut self, path: &Path, max: u64) -> Result<(Vec<u8>, Identity), String> {
        let (bytes, identity) = read(path, max)?;
        self.read = Some(identity);
        self.seen = Some(identity);
        Ok((bytes, identity))
    }
}

/// Reads a whole file of at most `max` bytes.
fn read(path: &Path, max: u64) -> Result<(Vec<u8>, Identity), String> {
    let cannot = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let file = File::open(path).map_err(cannot)?;
    let before = file.metadata().map_err(cannot)?;
    if !before.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    if before.len() > max {
        return Err(format!("{} has {} bytes, more than {max}", path.display(), before.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    (&file).take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    let after = file.metadata().map_err(cannot)?;
    if Identity::of(&before) != Identity::of(&after) || bytes.len() as u64 != after.len() {
        return Err(format!("{} changed while it was read", path.display()));
    }
    Ok((bytes, Identity::of(&after)))
}

/// Writes a file so that readers find the old one or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    if let Some(dir) = path.parent() {
        // What was asked about, and of whom, is nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(format!(".{}.tmp", std::process::id()));
    let written = File::create(&next)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&next, path));
    if written.is_err() {
        // What could not be finished is of no use; that it cannot be removed either says nothing new.
        let _ = std::fs::remove_file(&next);
    }
    written.map_err(cannot)
}
