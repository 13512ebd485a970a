//! The accept loop: bounded connections, each bounded in time, ended gracefully.

use super::Limits;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};

/// Time that requests in progress get at the end.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after `accept` failed for want of descriptors or memory; without it the loop would spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest life of a connection, kept alive or not; scrapers reconnect without noticing.
const LIFE: Duration = Duration::from_secs(300);

/// Who sent a request; every request has it among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// An open connection, as others see it.
struct Line {
    /// When it last began or ended a request, ms since the loop began.
    touched: AtomicU64,
    /// Requests being answered.
    busy: AtomicUsize,
    /// Told when its place is wanted.
    leave: Notify,
}

/// The open connections.
struct Lines {
    begun: Instant,
    open: Mutex<Vec<Arc<Line>>>,
}

impl Lines {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Line>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the connection that has been silent for longest to leave, if one is not in a request.
    fn make_room(&self) {
        let open = self.open();
        let idle = open.iter().filter(|l| l.busy.load(Ordering::Relaxed) == 0);
        if let Some(line) = idle.min_by_key(|l| l.touched.load(Ordering::Relaxed)) {
            // Asked once: the next in need asks another.
            line.touched.store(u64::MAX, Ordering::Relaxed);
            line.leave.notify_one();
        }
    }
}

/// Serves until `stop` becomes true.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let lines = Arc::new(Lines { begun: Instant::now(), open: Mutex::default() });
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            _ = stop.changed() => break,
        };
        let (stream, peer) = match stream {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("HTTP API cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if slots.available_permits() == 0 {
            lines.make_room();
        }
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            _ = stop.changed() => break,
        };
        let Ok(slot) = slot else { break };
        let (app, stop, lines) = (app.clone(), stop.clone(), Arc::clone(&lines));
        let line = Arc::new(Line {
            touched: AtomicU64::new(lines.now()),
            busy: AtomicUsize::new(0),
            leave: Notify::new(),
        });
        // Here, not in the task: one that was not polled yet can be asked to leave, too.
        lines.open().push(Arc::clone(&line));
        tokio::spawn(async move {
            let service = Served {
                inner: TowerToHyperService::new(app),
                peer: Peer(peer.ip().to_canonical()),
                line: Arc::clone(&line),
                lines: Arc::clone(&lines),
            };
            connection(stream, service, &line, limits, stop).await;
            lines.open().retain(|l| !Arc::ptr_eq(l, &line));
            drop(slot);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // Holding every slot means that no connection is left; after the grace time the runtime drops those that are.
    let _ = tokio::time::timeout(GRACE, slots.acquire_many(all)).await;
}

/// The routes for one connection.
struct Served {
    inner: TowerToHyperService<Router>,
    peer: Peer,
    line: Arc<Line>,
    lines: Arc<Lines>,
}

/// Counts a request as in progress while it lives.
struct Busy(Arc<Line>, Arc<Lines>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touched.store(self.1.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service<hyper::Request<Incoming>> for Served {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.line.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(Arc::clone(&self.line), Arc::clone(&self.lines));
        request.extensions_mut().insert(self.peer);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(busy);
            answer
        })
    }
}

async fn connection(
    stream: TcpStream,
    service: Served,
    line: &Line,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        // The least that hyper accepts is 8192.
        .max_buf_size(limits.head_bytes.max(8192))
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    // A client that does not read its answer holds the connection no longer than this.
    let life = tokio::time::sleep(LIFE);
    let mut life = std::pin::pin!(life);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut served => {
                if let Err(e) = ended {
                    tracing::debug!("HTTP connection ended: {e}");
                }
                return;
            }
            () = &mut life => return,
            () = line.leave.notified() => return,
            _ = stop.changed(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}
