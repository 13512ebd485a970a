//! The listening side: one thread that accepts, one per caller, a fixed number at most.

use super::connection::{answer, serve};
use super::place;
use super::{Agent, AgentError, Code};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bounds on what a caller may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Callers at once; a further one is told so and hung up on.
    pub callers: usize,
    /// Time for a request line to arrive, and time a caller may be idle between requests.
    pub read: Duration,
    /// Time for a caller to take an answer.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { callers: 16, read: Duration::from_secs(5), write: Duration::from_secs(5) }
    }
}

/// Why there is no control socket. Each is one sentence with the way out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody answers there.
    #[error("an agent is already running (it answers at {}); stop it, or give this one its own --run-dir DIR", .0.display())]
    AlreadyRunning(PathBuf),
    /// Something else is in the way; it is not removed.
    #[error("{} exists and is not a socket; remove it, or choose another --run-dir DIR", .0.display())]
    NotASocket(PathBuf),
    /// Longer than a Unix socket's address may be (unix(7): 108 bytes with the final NUL).
    #[error("the path {} is too long for a Unix socket (at most 107 bytes); choose a shorter --run-dir DIR", .0.display())]
    TooLong(PathBuf),
    /// The directory is not private, or cannot be.
    #[error("cannot use {} as run directory: {why}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What is wrong, with the way out.
        why: String,
    },
    /// Anything else.
    #[error("cannot listen on {}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A listening control socket. Dropping it stops it and removes the file.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    inode: (u64, u64),
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    wake: OwnedFd,
    /// Callers being served, at most [`Limits::callers`], so that `stop` can end their waiting.
    callers: Mutex<HashMap<u64, UnixStream>>,
}

impl Shared {
    fn callers(&self) -> std::sync::MutexGuard<'_, HashMap<u64, UnixStream>> {
        // The map is whole after every statement made under the lock.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Listens at `path` with the default [`Limits`].
    ///
    /// # Errors
    /// See [`ControlError`]; nothing is left behind.
    pub fn start(path: &Path, agent: Arc<dyn Agent>) -> Result<Self, ControlError> {
        Self::start_with(path, agent, Limits::default())
    }

    /// Listens at `path`.
    ///
    /// # Errors
    /// See [`ControlError`]; nothing is left behind.
    pub fn start_with(path: &Path, agent: Arc<dyn Agent>, limits: Limits) -> Result<Self, ControlError> {
        let fail = |error| ControlError::Socket { path: path.to_path_buf(), error };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| fail(e.into()))?;
        let shared = Arc::new(Shared { stopping: AtomicBool::new(false), wake, callers: Mutex::default() });
        let listener = place::listen(path)?;
        let inode = place::identity(path).map_err(fail)?;
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &inner, &*agent, limits))
            .map_err(|e| {
                place::remove(path, inode);
                fail(e)
            })?;
        Ok(Self { path: path.to_path_buf(), inode, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops: requests being handled get their answer, waiting callers are hung up on, the file is gone when this
    /// returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // First the file, so that from here on a caller learns that no agent is there.
        place::remove(&self.path, self.inode);
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Err(e) = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes()) {
            tracing::error!("cannot wake the control thread: {e}");
        }
        if thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}

/// Accepts until told to stop, then waits for the callers' threads.
fn accept(listener: &UnixListener, shared: &Shared, agent: &dyn Agent, limits: Limits) {
    std::thread::scope(|scope| {
        let mut serial = 0_u64;
        while !shared.stopping.load(Ordering::SeqCst) {
            let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&shared.wake, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => {
                    tracing::error!("control socket: {e}");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            if shared.stopping.load(Ordering::SeqCst) {
                break;
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                Err(e) => {
                    tracing::warn!("control socket cannot accept a caller: {e}");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            serial += 1;
            if let Err(e) = admit(scope, serial, stream, shared, agent, limits) {
                tracing::warn!("control socket cannot serve a caller: {e}");
            }
        }
        for stream in shared.callers().values() {
            // It may have hung up meanwhile.
            let _ = stream.shutdown(Shutdown::Read);
        }
    });
}

fn admit<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    serial: u64,
    stream: UnixStream,
    shared: &'scope Shared,
    agent: &'scope dyn Agent,
    limits: Limits,
) -> io::Result<()> {
    {
        let mut callers = shared.callers();
        if callers.len() >= limits.callers {
            drop(callers);
            stream.set_write_timeout(Some(Duration::from_millis(100)))?;
            let why = format!("{} callers are being served already; try again", limits.callers);
            return answer(&stream, Err(AgentError::new(Code::Busy, why)));
        }
        callers.insert(serial, stream.try_clone()?);
    }
    let spawned = std::thread::Builder::new().name("control-caller".into()).spawn_scoped(scope, move || {
        let _leave = Leave { shared, serial };
        if let Err(e) = serve(&stream, agent, limits) {
            tracing::debug!("control caller: {e}");
        }
        // The clone in the map keeps the connection open; this ends it for the other side.
        let _ = stream.shutdown(Shutdown::Both);
    });
    if let Err(e) = spawned {
        shared.callers().remove(&serial);
        return Err(e);
    }
    Ok(())
}

/// Gives the caller's place back, also when the agent panicked.
struct Leave<'a> {
    shared: &'a Shared,
    serial: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.callers().remove(&self.serial);
    }
}
