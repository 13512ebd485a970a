//! Routes, and the guard every request passes first.

use super::{Limits, Source};
use crate::metrics::{self, Exposition};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// All routes, for an API bound to `bound`.
pub(super) fn router(source: Arc<dyn Source>, bound: IpAddr, limits: Limits) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(expose))
        .route("/stats", get(stats))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(source)
        .layer(from_fn_with_state(Guard { bound, limits }, guard))
}

async fn health() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

async fn ready(State(source): State<Arc<dyn Source>>) -> Response {
    let ready = source.ready();
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

async fn stats(State(source): State<Arc<dyn Source>>) -> Response {
    Json(source.stats()).into_response()
}

async fn expose(State(source): State<Arc<dyn Source>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let form = Exposition::negotiate(&accept.join(","));
    match metrics::encode(source.metrics(), form) {
        Ok(text) => ([(header::CONTENT_TYPE, form.content_type())], text).into_response(),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded"),
    }
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "no such path; there are /health, /ready, /metrics and /stats")
}

async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "this path answers GET and HEAD only")
}

fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why, "status": status.as_u16() }))).into_response()
}

/// What the guard must know.
#[derive(Clone, Copy)]
struct Guard {
    bound: IpAddr,
    limits: Limits,
}

/// Bounds, the `Host` check, and the headers that every answer carries.
async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(guard.limits.request, admit(guard, request, next)).await;
    let mut answer =
        answer.unwrap_or_else(|_| error(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive"));
    let headers = answer.headers_mut();
    // A browser must neither guess a type nor keep or frame figures that are true for a second.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

async fn admit(guard: Guard, request: Request, next: Next) -> Response {
    let Guard { bound, limits } = guard;
    let uri_bytes = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if uri_bytes > limits.uri_bytes {
        return error(StatusCode::URI_TOO_LONG, &format!("path and query exceed {} bytes", limits.uri_bytes));
    }
    match hosts(request.uri(), request.headers()) {
        None => return error(StatusCode::BAD_REQUEST, "exactly one valid Host header is needed"),
        Some(hosts) if !hosts.iter().all(|h| is_ours(h, bound)) => {
            return error(
                StatusCode::MISDIRECTED_REQUEST,
                "this API answers only to localhost, 127.0.0.1, [::1] and the address it listens on",
            );
        }
        Some(_) => {}
    }
    let (head, body) = request.into_parts();
    // An announced length is believed at once, an unannounced one is counted.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.body_bytes || axum::body::to_bytes(body, limits.body_bytes).await.is_err() {
        return error(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body exceeds {} bytes or ended early", limits.body_bytes),
        );
    }
    next.run(Request::from_parts(head, Body::empty())).await
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
