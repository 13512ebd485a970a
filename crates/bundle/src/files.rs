//! Files of a bundle's directory: read without following links, written whole or not at all.

use crate::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A directory held open: what is read comes from it even if its path changes meanwhile.
pub(crate) struct Directory(OwnedFd);

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(Self)
            .map_err(|e| Error::io("open the bundle", path, e.into()))
    }

    /// Reads a file of at most `most` bytes. `name` is one that [`crate::manifest::is_name`] allows.
    pub(crate) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let file = || name.to_owned();
        // A pipe would block; a link leads elsewhere.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(Errno::NOENT) => return Err(Error::Missing { file: file() }),
            Err(Errno::LOOP) => return Err(Error::NotAFile { file: file() }),
            Err(e) => return Err(Error::io("read", Path::new(name), e.into())),
        };
        let fault = |e| Error::io("read", Path::new(name), e);
        let meta = opened.metadata().map_err(fault)?;
        if !meta.is_file() {
            return Err(Error::NotAFile { file: file() });
        }
        let mut bytes = Vec::new();
        // One more than allowed, so that a file that grows is noticed.
        opened.take(most + 1).read_to_end(&mut bytes).map_err(fault)?;
        if bytes.len() as u64 > most {
            return Err(Error::TooLong { file: file(), most });
        }
        Ok(bytes)
    }
}

/// Writes a directory of files beside its place, then moves it there in one step.
pub(crate) fn write_directory(to: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|e| Error::io("make", parent, e))?;
    if to.exists() {
        let taken = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(Error::io("write", to, taken));
    }
    let name = to.file_name().and_then(|n| n.to_str()).unwrap_or("bundle");
    let draft = parent.join(format!(".{name}.{}.new", std::process::id()));
    let written = fill(&draft, files).and_then(|()| {
        std::fs::rename(&draft, to).map_err(|e| Error::io("write", to, e))?;
        sync(parent)
    });
    if written.is_err() {
        // Half a bundle is of no use to anybody; what can't be removed has a name that tells what it is.
        let _ = std::fs::remove_dir_all(&draft);
    }
    written
}

fn fill(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    std::fs::create_dir(dir).map_err(|e| Error::io("make", dir, e))?;
    for (name, bytes) in files {
        let path = dir.join(name);
        let fault = |e| Error::io("write", &path, e);
        let mut file = File::create_new(&path).map_err(fault)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fault)?;
    }
    sync(dir)
}

/// Writes a file, whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let fault = |e| Error::io("write", path, e);
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&draft).map_err(fault)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fault)?;
    std::fs::rename(&draft, path).map_err(fault)?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io("write", dir, e))
}
