//! Fetching over HTTP(S), in the background only.
//!
//! Certificates are judged by what the host trusts (its certificate store, or `SSL_CERT_FILE`), so that an operator's own
//! authority works as it does for every other program here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::StatusCode;
use ureq::http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// Redirects followed where nothing secret is sent.
const MAX_REDIRECTS: u32 = 5;
/// Bytes of a secret: any key is shorter, and a wrong path may name a large file.
const MAX_SECRET: u64 = 4096;

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// No connection, no answer in time, a broken one, or one that is too large.
    #[error("{0}")]
    Transport(String),
    /// What was sent is refused: the status, and the `detail` of a problem document (RFC 9457) if there is one.
    #[error("the server answered with status {0}: {1}")]
    Refused(u16, String),
    /// What was sent arrived, and the answer cannot be used.
    #[error("{0}")]
    Answer(String),
    /// An answer that is none.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The key or token is not to be had.
    #[error("{0}")]
    Secret(String),
}

/// What a server said of a resource's version, to be asked with next time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    etag: Option<String>,
    modified: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// As it was (status 304).
    Same,
    /// The content and its version.
    New(Vec<u8>, Version),
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    open: Agent,
    /// Follows no redirects: a secret goes nowhere but where it was meant to.
    closed: Agent,
}

impl Client {
    /// One that waits for an answer as long as `timeout`, from beginning to end.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = |redirects: u32| {
            Agent::config_builder()
                .timeout_global(Some(timeout))
                .tls_config(tls.clone())
                .user_agent(concat!("autoinmune/", env!("CARGO_PKG_VERSION")))
                .http_status_as_error(false)
                .max_redirects(redirects)
                .max_redirects_will_error(false)
                .build()
                .new_agent()
        };
        Self { open: agent(MAX_REDIRECTS), closed: agent(0) }
    }

    /// Fetches a public resource, unless it is as `known`.
    pub(crate) fn fetch(&self, url: &str, known: &Version, max: u64) -> Result<Fetched, WebError> {
        let mut request = self.open.get(url);
        if let Some(etag) = &known.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &known.modified {
            request = request.header(IF_MODIFIED_SINCE, modified);
        }
        let mut answer = request.call().map_err(|e| transport(&e))?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Same);
        }
        if answer.status() != StatusCode::OK {
            return Err(WebError::Status(answer.status().as_u16()));
        }
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let version = Version { etag: header(ETAG), modified: header(LAST_MODIFIED) };
        let body = answer.body_mut().with_config().limit(max).read_to_vec().map_err(|e| transport(&e))?;
        Ok(Fetched::New(body, version))
    }

    /// Asks a service with a secret, in the address or as a header. At most `max` bytes of its answer are read.
    ///
    /// # Errors
    /// No answer, another status than 200, or too long an answer.
    pub fn ask(&self, url: &str, header: Option<(&str, &str)>, max: u64) -> Result<Vec<u8>, WebError> {
        let mut request = self.closed.get(url);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let mut answer = request.call().map_err(|e| transport(&e))?;
        if answer.status() != StatusCode::OK {
            return Err(WebError::Status(answer.status().as_u16()));
        }
        answer.body_mut().with_config().limit(max).read_to_vec().map_err(|e| transport(&e))
    }
}

impl Client {
    /// Sends JSON to a service, with a secret as a header if one is needed. At most `max` bytes of its answer are read.
    ///
    /// # Errors
    /// No answer, a status that is none of success with its reason, or too long an answer.
    pub fn post(
        &self,
        url: &str,
        header: Option<(&str, &str)>,
        json: &[u8],
        max: u64,
    ) -> Result<Vec<u8>, WebError> {
        let mut request = self.closed.post(url).content_type("application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let mut answer = request.send(json).map_err(|e| transport(&e))?;
        let body = answer.body_mut().with_config().limit(max).read_to_vec();
        if !answer.status().is_success() {
            return Err(WebError::Refused(answer.status().as_u16(), detail(&body.unwrap_or_default())));
        }
        body.map_err(|e| match e {
            ureq::Error::BodyExceedsLimit(_) => WebError::Answer(format!("it has more than {max} bytes")),
            e => transport(&e),
        })
    }
}

/// What a problem document says is wrong, in plain characters and not too many of them.
fn detail(body: &[u8]) -> String {
    let read: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = read.as_ref().and_then(|v| v["detail"].as_str()).unwrap_or("no reason is given");
    text.chars().take(300).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The error without the address that was asked: it may hold a token.
fn transport(error: &ureq::Error) -> WebError {
    WebError::Transport(match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "the address is not a valid one".to_owned(),
        ureq::Error::BodyExceedsLimit(limit) => format!("the answer has more than {limit} bytes"),
        other => other.to_string(),
    })
}

/// Reads a secret from a file or the environment; without either there is none.
pub(crate) fn secret(file: Option<&Path>, variable: Option<&str>) -> Result<Option<String>, WebError> {
    let text = if let Some(path) = file {
        let cannot = |why: String| WebError::Secret(format!("cannot read {}: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|e| cannot(e.to_string()))?.len();
        if size > MAX_SECRET {
            return Err(cannot(format!("it has {size} bytes, a key has at most {MAX_SECRET}")));
        }
        std::fs::read_to_string(path).map_err(|e| cannot(e.to_string()))?
    } else if let Some(name) = variable {
        std::env::var(name)
            .map_err(|_| WebError::Secret(format!("the environment variable {name} is not set")))?
    } else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(WebError::Secret("the key is empty or has characters that no key has".to_owned()));
    }
    Ok(Some(text.to_owned()))
}
