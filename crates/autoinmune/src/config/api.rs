//! The detector's API as configured.

use super::raw;
use crate::service::Prometheus;
use server::api::access::Credentials;
use std::net::SocketAddr;
use std::path::Path;

/// Bytes of a file of keys or of a secret.
const MAX_SECRETS: u64 = 1 << 20;

/// The detector's API.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients must show.
    pub credentials: Credentials,
    /// Requests a second of one client, 0 for no limit.
    pub requests_per_second: f64,
    /// Where the sensor's figures are.
    pub prometheus: Option<Prometheus>,
}

/// A key below its table, and what is wrong with its value.
pub type Fault = (&'static str, String);

/// Reads a file that holds a secret.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    let cannot = |why: String| format!("cannot read {}: {why}", path.display());
    let size = std::fs::metadata(path).map_err(|e| cannot(e.to_string()))?.len();
    if size > MAX_SECRETS {
        return Err(cannot(format!("it has {size} bytes, secrets at most {MAX_SECRETS}")));
    }
    std::fs::read_to_string(path).map_err(|e| cannot(e.to_string()))
}

/// Checks what was typed; `None` is off.
///
/// # Errors
/// The key and what is wrong with it.
pub(super) fn check(raw: &raw::Api) -> Result<Option<Api>, Fault> {
    if raw.address == "off" {
        return Ok(None);
    }
    let address: SocketAddr = raw.address.parse().map_err(|_| {
        let why =
            format!("'{}' is neither 'off' nor an address with port such as 127.0.0.1:5000", raw.address);
        ("address", why)
    })?;
    let mut credentials = Credentials::default();
    if let Some(path) = &raw.keys_file {
        let text = secret(path).map_err(|why| ("keys_file", why))?;
        credentials.add_keys(&text).map_err(|e| ("keys_file", format!("{}: {e}", path.display())))?;
    }
    if let Some(path) = &raw.token_secret_file {
        let text = secret(path).map_err(|why| ("token_secret_file", why))?;
        credentials
            .set_token_secret(text.trim().as_bytes())
            .map_err(|e| ("token_secret_file", format!("{}: {e}", path.display())))?;
    }
    if !(raw.requests_per_second >= 0.0 && raw.requests_per_second.is_finite()) {
        return Err(("requests_per_second", format!("{} is not a rate", raw.requests_per_second)));
    }
    if !address.ip().is_loopback() && !credentials.required() {
        let why = format!(
            "{address} can be reached from other machines; set api.keys_file or api.token_secret_file beside it"
        );
        return Err(("address", why));
    }
    let prometheus =
        raw.prometheus.as_deref().map(Prometheus::new).transpose().map_err(|why| ("prometheus", why))?;
    Ok(Some(Api { address, credentials, requests_per_second: raw.requests_per_second, prometheus }))
}

/// The API as configured at another address; `off` is none.
///
/// # Errors
/// No address, or one beyond loopback without credentials.
pub(super) fn moved(api: Option<Api>, text: &str) -> Result<Option<Api>, String> {
    if text == "off" {
        return Ok(None);
    }
    let raw = raw::Api { address: text.to_owned(), ..raw::Api::default() };
    match api {
        Some(api) if api.credentials.required() => {
            let address = text.parse().map_err(|_| format!("'{text}' is no address with port"))?;
            Ok(Some(Api { address, ..api }))
        }
        Some(api) => Ok(check(&raw).map_err(|(_, why)| why)?.map(|at| Api { address: at.address, ..api })),
        None => check(&raw).map_err(|(_, why)| why),
    }
}
