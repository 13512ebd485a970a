//! The detector's HTTP API: questions about traffic and logins in, verdicts out.
//!
//! It listens on 127.0.0.1:5000 unless told otherwise, and beyond loopback only where clients must show a key or token. Like
//! the sensor's API it runs on its own thread, transports and decides nothing: the binary implements [`Detector`].

pub mod access;
pub mod amount;
pub mod batch;
pub mod body;
pub mod openapi;
mod routes;

use crate::http::problem::Problem;
use crate::http::{Http, HttpConfig, HttpError, Limits};
use crate::metrics::detector::DetectorMetrics;
use access::{Credentials, Gate, Rates};
use batch::{Batch, BatchAnswer};
use body::{Answer, DetectorStats, Job, Logins, Model, NameAnswer, Target, Traffic};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where the API listens unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// Who judges. All but [`Detector::detect_flows`] and [`Detector::detect_prometheus`] are called on the API's thread: answer from what is at hand, within a
/// millisecond.
pub trait Detector: Send + Sync {
    /// Judges figures of traffic.
    fn detect_traffic(&self, traffic: &Traffic, at_ns: u64) -> Answer;
    /// Judges logins.
    fn detect_logins(&self, logins: &Logins, at_ns: u64) -> Answer;
    /// Judges flows and windows that a sensor posts. `at_ns` is when it was asked.
    ///
    /// # Errors
    /// A problem with status 404 or 409, and what to do.
    fn detect_flows(&self, batch: &Batch, at_ns: u64) -> Result<BatchAnswer, Problem>;
    /// Reads the sensor's figures from the Prometheus server that is configured, and judges them. May wait for it.
    ///
    /// # Errors
    /// A problem with status 404, 502, 503 or 504, and what to do.
    fn detect_prometheus(&self) -> Result<Answer, Problem>;
    /// Says what kind of text a user name is.
    fn classify(&self, name: &str) -> NameAnswer;
    /// Queues a retraining.
    ///
    /// # Errors
    /// A problem with status 409, 429 or 503, and what to do.
    fn train(&self, target: Target) -> Result<Job, Problem>;
    /// How far a retraining has come.
    fn job(&self, id: &str) -> Option<Job>;
    /// The models in use and at hand.
    fn models(&self) -> Vec<Model>;
    /// Figures.
    fn stats(&self) -> DetectorStats;
    /// Metrics.
    fn metrics(&self) -> DetectorMetrics;
    /// Why it cannot judge; `None` if it can.
    fn not_ready(&self) -> Option<String>;
}

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Address and port; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// What clients must show.
    pub credentials: Credentials,
    /// Requests a second of one client, 0 for no limit. A burst may be as large, and at least 10.
    pub requests_per_second: f64,
    /// Bounds.
    pub limits: Limits,
}

impl Default for ApiConfig {
    fn default() -> Self {
        let limits = Limits {
            connections: 1024,
            head: Duration::from_secs(5),
            body_bytes: 64 * 1024,
            ..Limits::default()
        };
        Self {
            address: DEFAULT_ADDRESS,
            credentials: Credentials::default(),
            requests_per_second: 0.0,
            limits,
        }
    }
}

/// Why the API could not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Reachable from outside without credentials.
    #[error(
        "{0} can be reached from other machines and no credentials are set; set api.keys_file or api.token_secret_file, \
         or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// As for every HTTP API here.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Starts the API. The socket is bound when this returns; dropping what is returned stops it.
///
/// # Errors
/// See [`ApiError`]; nothing is left behind.
pub fn start(config: ApiConfig, detector: Arc<dyn Detector>) -> Result<Http, ApiError> {
    let ApiConfig { address, credentials, requests_per_second, limits } = config;
    if !address.ip().to_canonical().is_loopback() && !credentials.required() {
        return Err(ApiError::Open(address));
    }
    let gate = Gate { credentials, rates: Rates::new(requests_per_second) };
    let app = routes::router(detector, gate, address.ip(), limits);
    let config = HttpConfig { address, allow_remote: true, limits };
    Ok(Http::serve(config, app, "api")?)
}
