//! What every request passes first: bounds, and whether it names us.

use super::Limits;
use super::problem::Problem;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the guard must know.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Address the API listens on.
    pub(crate) bound: IpAddr,
    /// Bounds.
    pub(crate) limits: Limits,
    /// A path whose bodies may be larger than those of the others.
    pub(crate) large: Option<Large>,
}

/// A path with large bodies. Only few are in memory at once, so that many clients cannot fill it.
#[derive(Clone)]
pub(crate) struct Large {
    path: &'static str,
    bytes: usize,
    places: Arc<Semaphore>,
}

impl Large {
    /// At most `at_once` bodies of at most `bytes` on this path.
    pub(crate) fn new(path: &'static str, bytes: usize, at_once: usize) -> Self {
        Self { path, bytes, places: Arc::new(Semaphore::new(at_once)) }
    }
}

/// How long a large body waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);

impl Guard {
    /// Puts the guard in front of all routes.
    pub(crate) fn around(self, app: Router) -> Router {
        app.layer(from_fn_with_state(self, guard))
    }

    /// Has bodies read before routes are called. Whoever may not ask is to be turned away before that.
    pub(crate) fn bodies(&self, app: Router) -> Router {
        app.layer(from_fn_with_state(self.clone(), read))
    }

    fn large(&self, path: &str) -> Option<&Large> {
        self.large.as_ref().filter(|l| l.path == path)
    }

    fn body_bytes(&self, path: &str) -> usize {
        self.large(path).map_or(self.limits.body_bytes, |l| l.bytes)
    }
}

/// Bounds, the `Host` check, and the headers that every answer carries.
async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(guard.limits.request, admit(guard, request, next)).await;
    let mut answer = answer.unwrap_or_else(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive").into_response()
    });
    let headers = answer.headers_mut();
    // A browser must neither guess a type nor keep or frame figures that are true for a second.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

fn refuse(status: StatusCode, why: &str) -> Response {
    Problem::new(status, why).into_response()
}

fn too_large(most: usize) -> Response {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body exceeds {most} bytes or ended early"))
}

async fn admit(guard: Guard, request: Request, next: Next) -> Response {
    let Guard { bound, limits, .. } = guard;
    let uri_bytes = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if uri_bytes > limits.uri_bytes {
        return refuse(
            StatusCode::URI_TOO_LONG,
            &format!("path and query exceed {} bytes", limits.uri_bytes),
        );
    }
    match hosts(request.uri(), request.headers()) {
        None => return refuse(StatusCode::BAD_REQUEST, "exactly one valid Host header is needed"),
        Some(hosts) if !hosts.iter().all(|h| is_ours(h, bound)) => {
            return refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "this API answers only to localhost, 127.0.0.1, [::1] and the address it listens on",
            );
        }
        Some(_) => {}
    }
    // An announced length is believed at once, an unannounced one is counted.
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    let most = guard.body_bytes(request.uri().path());
    if announced > most {
        return too_large(most);
    }
    next.run(request).await
}

/// Reads the body, which a large one needs a place for until it is answered.
async fn read(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let most = guard.body_bytes(request.uri().path());
    let _place = match guard.large(request.uri().path()) {
        None => None,
        Some(large) => {
            match tokio::time::timeout(PATIENCE, Arc::clone(&large.places).acquire_owned()).await {
                Ok(Ok(place)) => Some(place),
                _ => {
                    let mut busy = refuse(StatusCode::SERVICE_UNAVAILABLE, "too many such requests at once");
                    busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                    return busy;
                }
            }
        }
    };
    let (head, body) = request.into_parts();
    let Ok(whole) = axum::body::to_bytes(body, most).await else { return too_large(most) };
    next.run(Request::from_parts(head, Body::from(whole))).await
}

/// Every host a request names, without ports: that of the only `Host` header, and that of an absolute URI if it has one.
/// RFC 9112 §3.2.2 lets the URI win; here both must be right, as no honest client sends two different ones.
fn hosts(uri: &Uri, headers: &HeaderMap) -> Option<Vec<String>> {
    let mut values = headers.get_all(header::HOST).iter();
    let (first, more) = (values.next()?, values.next());
    if more.is_some() {
        return None;
    }
    let named: Authority = first.to_str().ok()?.parse().ok()?;
    let all: Vec<&Authority> = std::iter::once(&named).chain(uri.authority()).collect();
    // Neither form has user information.
    let plain = all.iter().all(|a| !a.as_str().contains('@'));
    plain.then(|| all.iter().map(|a| a.host().to_ascii_lowercase()).collect())
}

/// Whether `host` names this API: `localhost`, a loopback address, or the address bound to. An API bound to all
/// addresses answers to any literal address: rebinding needs a name.
fn is_ours(host: &str, bound: IpAddr) -> bool {
    if host == "localhost" || host == "localhost." {
        return true;
    }
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    literal.parse::<IpAddr>().is_ok_and(|ip| {
        let (ip, bound) = (ip.to_canonical(), bound.to_canonical());
        ip.is_loopback() || ip == bound || bound.is_unspecified()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_answered() {
        let check = |bound: &str, uri: &str, values: &[&'static str], expected: Option<bool>| {
            let mut headers = HeaderMap::new();
            for v in values {
                headers.append(header::HOST, HeaderValue::from_static(v));
            }
            let uri: Uri = uri.parse().expect("a URI");
            let bound = bound.parse().expect("an address");
            let verdict = hosts(&uri, &headers).map(|all| all.iter().all(|h| is_ours(h, bound)));
            assert_eq!(verdict, expected, "{uri} {values:?}");
        };
        for ours in
            ["localhost", "LOCALHOST:8800", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8800"]
        {
            check("127.0.0.1", "/health", &[ours], Some(true));
        }
        for other in ["evil.example", "localhost.evil.example", "10.0.0.1", "192.0.2.1:8800", "[2001:db8::1]"]
        {
            check("127.0.0.1", "/health", &[other], Some(false));
        }
        check("192.0.2.1", "/health", &["192.0.2.1:8800"], Some(true));
        check("192.0.2.1", "/health", &["192.0.2.2:8800"], Some(false));
        check("0.0.0.0", "/health", &["192.0.2.2:8800"], Some(true));
        check("0.0.0.0", "/health", &["evil.example"], Some(false));
        check("127.0.0.1", "/health", &[], None);
        check("127.0.0.1", "/health", &["localhost", "localhost"], None);
        check("127.0.0.1", "/health", &["local host"], None);
        check("127.0.0.1", "/health", &["a@localhost"], None);
        check("127.0.0.1", "http://evil.example/health", &["localhost"], Some(false));
        check("127.0.0.1", "http://localhost/health", &["evil.example"], Some(false));
        check("127.0.0.1", "http://localhost/health", &["localhost"], Some(true));
    }
}
