//! Where the socket lives: a directory nobody else can enter, and a file that was never open to others.

use super::server::ControlError;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to wait for another instance that is just starting.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections the kernel queues.
const BACKLOG: i32 = 32;

/// Makes sure that `dir` exists and that only this process's user (and root) can enter it. A directory that exists is
/// never changed: it may be somebody's home or /tmp.
///
/// # Errors
/// [`ControlError::Directory`] if it cannot be made, belongs to somebody else, or is open to others.
pub fn private_directory(dir: &Path) -> Result<(), ControlError> {
    let fail = |why: String| ControlError::Directory { dir: dir.to_path_buf(), why };
    let unmade = |e: io::Error| {
        let way = if e.kind() == io::ErrorKind::PermissionDenied { "run as root, or " } else { "" };
        fail(format!("it cannot be made ({e}); {way}choose another with --run-dir DIR"))
    };
    // The parents as the system's umask has them; the last one closed from the moment it exists.
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent).map_err(unmade)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(unmade(e)),
    }
    let found = fs::metadata(dir).map_err(|e| fail(format!("it cannot be looked at: {e}")))?;
    if !found.is_dir() {
        return Err(fail("it is not a directory".into()));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        return Err(fail(format!("it belongs to user {}, not to this one; choose another", found.uid())));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(fail(format!(
            "it is open to other users (mode {mode:04o}); run `chmod 700 {}` or choose another",
            dir.display()
        )));
    }
    Ok(())
}

/// A listening socket at `path`, mode 0600, in place of a stale one if there is one.
pub(super) fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let socket = |e: io::Error| ControlError::Socket { path: path.to_path_buf(), error: e };
    let address = SocketAddrUnix::new(path).map_err(|e| match e {
        rustix::io::Errno::NAMETOOLONG => ControlError::TooLong(path.to_path_buf()),
        e => socket(e.into()),
    })?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    };
    private_directory(&dir)?;
    // Two instances starting at once must not each remove the other's socket: look, remove and bind under a lock.
    let _lock = lock(&dir).map_err(socket)?;
    clear(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|e| socket(e.into()))?;
    // On Linux the mode of a socket before bind is that of the file it becomes, so it is never wider than this.
    let own = Mode::RUSR | Mode::WUSR;
    rustix::fs::fchmod(&fd, own).map_err(|e| socket(e.into()))?;
    rustix::net::bind(&fd, &address).map_err(|e| socket(e.into()))?;
    let listening = rustix::fs::chmod(path, own).and_then(|()| rustix::net::listen(&fd, BACKLOG));
    if let Err(e) = listening {
        // Nothing half-made stays; the error worth telling is the first.
        let _ = fs::remove_file(path);
        return Err(socket(e.into()));
    }
    Ok(UnixListener::from(fd))
}

/// An exclusive lock on a directory, until the descriptor is dropped.
fn lock(dir: &Path) -> io::Result<OwnedFd> {
    let fd = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(fd),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::other(format!("another program holds a lock on {}", dir.display())));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Removes a socket nobody listens on; anything else in its place is an error.
fn clear(path: &Path) -> Result<(), ControlError> {
    let socket = |e: io::Error| ControlError::Socket { path: path.to_path_buf(), error: e };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(socket(e)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_path_buf()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ControlError::AlreadyRunning(path.to_path_buf())),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(socket(e)),
            _ => {
                tracing::info!("removed {}, left behind by an instance that is gone", path.display());
                Ok(())
            }
        },
        // Its queue is full: it is there, and busy.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(ControlError::AlreadyRunning(path.to_path_buf()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(socket(e)),
    }
}

/// Removes the socket at `path` if it still is the one with this inode.
pub(super) fn remove(path: &Path, inode: (u64, u64)) {
    if identity(path).is_ok_and(|found| found == inode)
        && let Err(e) = fs::remove_file(path)
    {
        tracing::warn!("cannot remove {}: {e}", path.display());
    }
}

/// Device and inode of what is at `path`.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}
