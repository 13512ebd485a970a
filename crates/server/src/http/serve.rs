//! The accept loop: bounded connections, each bounded in time, ended gracefully.

use super::Limits;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Time that requests in progress get at the end.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after `accept` failed for want of descriptors or memory; without it the loop would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` becomes true.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            _ = stop.changed() => break,
        };
        let Ok(slot) = slot else { break };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            _ = stop.changed() => break,
        };
        match stream {
            Ok((stream, _)) => {
                let (app, stop) = (app.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, app, limits, stop).await;
                    drop(slot);
                });
            }
            Err(e) => {
                tracing::warn!("HTTP API cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // Holding every slot means that no connection is left; after the grace time the runtime drops those that are.
    let _ = tokio::time::timeout(GRACE, slots.acquire_many(all)).await;
}

async fn connection(stream: TcpStream, app: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        // The least that hyper accepts is 8192.
        .max_buf_size(limits.head_bytes.max(8192))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
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
            _ = stop.changed(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Longest life of a connection, kept alive or not; scrapers reconnect without noticing.
const LIFE: Duration = Duration::from_secs(300);
