//! The sensor's HTTP API: `/health`, `/ready`, `/metrics`, `/stats`. Read-only, and on loopback unless told otherwise.
//!
//! It runs on its own thread with its own single-threaded runtime, so that no scrape ever delays a verdict. There is
//! no authentication: whoever can reach the address may read traffic figures. Hence the refusal of other addresses than
//! loopback by default, and hence the `Host` check, without which any web page open in a local browser could read
//! the API through a name that resolves to 127.0.0.1 (DNS rebinding).
//!
//! The detector's API ([`crate::api`]) has routes of its own and is served by the same loop behind the same guard.

mod descriptors;
pub(crate) mod guard;
pub mod problem;
pub(crate) mod router;
mod serve;

pub use serve::Peer;

use crate::metrics::Metrics;
use crate::view::{Ready, Stats};
use axum::Router;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Where the API listens unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8800);

/// Where the answers come from. Called on the API's thread: answer from what is at hand, within milliseconds.
pub trait Source: Send + Sync {
    /// Whether traffic is being judged, and by which sensor.
    fn ready(&self) -> Ready;
    /// The current window.
    fn stats(&self) -> Stats;
    /// All metrics.
    fn metrics(&self) -> Metrics;
}

/// Bounds on what a client may cost. The defaults suit a scraper and a few people with `curl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; where a further one comes, the one that has been idle for longest is closed.
    pub connections: usize,
    /// Time to send a request head, and time a kept-alive connection may be idle.
    pub head: Duration,
    /// Time for a whole request and its answer.
    pub request: Duration,
    /// Bytes of a request head; more is answered with status 431.
    pub head_bytes: usize,
    /// Bytes of path and query; more is answered with status 414.
    pub uri_bytes: usize,
    /// Bytes of a request body; more is answered with status 413.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: Duration::from_secs(5),
            request: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            uri_bytes: 1024,
            body_bytes: 4096,
        }
    }
}

/// Where and how to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address and port; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Whether an address that other machines may reach is accepted.
    pub allow_remote: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self::from(DEFAULT_ADDRESS)
    }
}

impl From<SocketAddr> for HttpConfig {
    fn from(address: SocketAddr) -> Self {
        Self { address, allow_remote: false, limits: Limits::default() }
    }
}

/// Why the API could not start. Each is one sentence with the way out.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Reachable from outside, and not allowed to be.
    #[error(
        "the HTTP API has no authentication and {0} can be reached from other machines; use 127.0.0.1 or [::1], \
         and a tunnel such as `ssh -L` to read it from elsewhere"
    )]
    NotLoopback(SocketAddr),
    /// Somebody listens there already.
    #[error(
        "{0} is already taken by another program (`ss -ltnp 'sport = :{port}'` names it); stop it, or choose \
         another address",
        port = .0.port()
    )]
    Taken(SocketAddr),
    /// A port that needs a privilege.
    #[error("not permitted to listen on {0}; choose a port above 1023, or run as root")]
    Permission(SocketAddr),
    /// No interface has that address.
    #[error("cannot listen on {0}: no interface of this machine has that address; choose one that has")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot start the HTTP API on {address}: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl HttpError {
    fn from_io(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(address),
            io::ErrorKind::PermissionDenied => Self::Permission(address),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address),
            _ => Self::Other { address, error },
        }
    }
}

/// A running API. Dropping it stops it.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Listens and serves. The socket is bound when this returns.
    ///
    /// # Errors
    /// See [`HttpError`]; nothing is left behind.
    pub fn start(config: impl Into<HttpConfig>, source: Arc<dyn Source>) -> Result<Self, HttpError> {
        let config = config.into();
        let app = router::router(source, config.address.ip(), config.limits);
        Self::serve(config, app, "http")
    }

    /// Listens and serves `app` on a thread of this name.
    pub(crate) fn serve(config: HttpConfig, app: Router, name: &str) -> Result<Self, HttpError> {
        let wanted = config.address;
        let limits =
            Limits { connections: descriptors::make_room(config.limits.connections), ..config.limits };
        if !wanted.ip().to_canonical().is_loopback() && !config.allow_remote {
            return Err(HttpError::NotLoopback(wanted));
        }
        let fail = |e| HttpError::from_io(wanted, e);
        let listener = TcpListener::bind(wanted).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let listener = {
            let _in_runtime = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(fail)?
        };
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(serve::serve(listener, app, limits, stopped)))
            .map_err(fail)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens, with the port the kernel chose if 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new connections, requests in progress get their answer (for at most two seconds), the port is free
    /// when this returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.end();
    }
}
