//! The detector's routes.

use super::Detector;
use super::access::{self, Gate};
use super::batch::{self, Batch};
use super::body::{LONGEST_TEXT, Logins, NameQuestion, Privilege, Time, Traffic, TrainQuestion};
use super::openapi;
use crate::http::Limits;
use crate::http::guard::{Guard, Large};
use crate::http::problem::Problem;
use crate::http::router::exposition;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where sensors post what is to be judged by learned models.
pub(super) const FLOWS: &str = "/detect/flows";
/// Batches in memory at once.
const BATCHES: usize = 8;

type Judge = State<Arc<dyn Detector>>;

/// All routes, for an API bound to `bound`.
pub(super) fn router(detector: Arc<dyn Detector>, gate: Gate, bound: IpAddr, limits: Limits) -> Router {
    let app = Router::new()
        .route("/detect", post(detect))
        .route(FLOWS, post(flows))
        .route("/detect/prom", get(detect_prometheus))
        .route("/classify_username", post(classify))
        .route("/train", post(train))
        .route("/train/{id}", get(job))
        .route("/models", get(models))
        .route("/stats", get(stats))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(detector);
    let large = Large::new(FLOWS, batch::MAX_BYTES, BATCHES);
    let guard = Guard { bound, limits, large: Some(large) };
    let app = guard.bodies(app).layer(from_fn_with_state(Arc::new(gate), access::gate));
    guard.around(app).layer(from_fn(identify))
}

/// Gives every request an identifier, which its answer carries: the caller's own if it is a plain one.
async fn identify(request: Request, next: Next) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let name = HeaderName::from_static("x-request-id");
    let plain = |v: &&HeaderValue| {
        let bytes = v.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    let id = request
        .headers()
        .get(&name)
        .filter(plain)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from(NEXT.fetch_add(1, Ordering::Relaxed)));
    let mut answer = next.run(request).await;
    answer.headers_mut().insert(name, id);
    answer
}

fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// Whether a body is said to be JSON.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON: Content-Type: application/json",
        ));
    }
    Ok(())
}

fn no_json(e: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, clean(&format!("the body is not JSON: {e}")))
}

/// The JSON of a body.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    is_json(headers)?;
    serde_json::from_slice(body).map_err(|e| no_json(&e))
}

/// A value of JSON as a type of the contract.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|e| bad(clean(&e.to_string())))
}

/// A message that may quote the caller, without what would act on a terminal.
fn clean(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The time of a question, ns since 1970.
fn time(time: Option<&Time>) -> Result<u64, Problem> {
    let wrong =
        || bad("`time` is neither RFC 3339, such as 2025-11-28T14:00:00Z, nor seconds from 1970 to 2100");
    match time {
        None => Ok(wall_ns()),
        Some(Time::Seconds(s)) if (0.0..=4_102_444_800.0).contains(s) => Ok((s * 1e9) as u64),
        Some(Time::Seconds(_)) => Err(wrong()),
        Some(Time::Text(text)) => {
            let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
            // Before 1970 there was no such traffic, but it is a time.
            Ok(u64::try_from(at.as_nanosecond()).unwrap_or(0))
        }
    }
}

fn short(name: &str, text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if text.chars().count() > LONGEST_TEXT => {
            Err(bad(format!("`{name}` has more than {LONGEST_TEXT} characters")))
        }
        _ => Ok(()),
    }
}

async fn detect(State(detector): Judge, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let value = read(&headers, &body)?;
    let Value::Object(fields) = &value else { return Err(bad("the body must be a JSON object")) };
    let answer = if fields.contains_key("detection_type") {
        let logins: Logins = typed(value)?;
        check_logins(&logins)?;
        detector.detect_logins(&logins, time(logins.time.as_ref())?)
    } else {
        let traffic: Traffic = typed(value)?;
        check_traffic(&traffic)?;
        detector.detect_traffic(&traffic, time(traffic.time.as_ref())?)
    };
    Ok(Json(answer).into_response())
}

fn check_traffic(t: &Traffic) -> Result<(), Problem> {
    match (t.tcp_packets, t.udp_packets, t.tcp_ratio) {
        (Some(_), Some(_), _) | (None, None, Some(_)) => Ok(()),
        (None, None, None) => {
            Err(bad("missing `tcp_packets` and `udp_packets`, or `tcp_ratio` in their place"))
        }
        (None, Some(_), _) => Err(bad("missing field `tcp_packets`, which `udp_packets` goes with")),
        (Some(_), None, _) => Err(bad("missing field `udp_packets`, which `tcp_packets` goes with")),
    }
}

fn check_logins(l: &Logins) -> Result<(), Problem> {
    if l.username_text.is_none() && l.username_type.is_none() {
        return Err(bad("missing `username_text`, or `username_type` in its place"));
    }
    short("username_text", l.username_text.as_deref())?;
    if let Some(Privilege::Word(word)) = &l.privilege_level {
        short("privilege_level", Some(word))?;
    }
    Ok(())
}

async fn flows(State(detector): Judge, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    is_json(&headers)?;
    // Hundreds of judgements: not on the thread that answers everybody else.
    let judge = move || {
        let batch: Batch = serde_json::from_slice(&body).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => bad(clean(&e.to_string())),
            _ => no_json(&e),
        })?;
        batch.check().map_err(bad)?;
        detector.detect_flows(&batch, wall_ns())
    };
    let answer = tokio::task::spawn_blocking(judge).await;
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the batch could not be judged");
    Ok(Json(answer.map_err(failed)??).into_response())
}

async fn detect_prometheus(State(detector): Judge) -> Result<Response, Problem> {
    // It waits for another server: not on this thread.
    let answer = tokio::task::spawn_blocking(move || detector.detect_prometheus()).await;
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the question to Prometheus failed");
    Ok(Json(answer.map_err(failed)??).into_response())
}

async fn classify(State(detector): Judge, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let question: NameQuestion = typed(read(&headers, &body)?)?;
    short("username", Some(&question.username))?;
    if question.username.is_empty() {
        return Err(bad("`username` is empty"));
    }
    Ok(Json(detector.classify(&question.username)).into_response())
}

async fn train(State(detector): Judge, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    // Scripts that know of one model only send no body.
    let asked = if body.is_empty() {
        TrainQuestion::default()
    } else {
        let value = read(&headers, &body)?;
        if !value.is_object() {
            return Err(bad("the body is no object; it may be empty, or {\"target\": \"all\"}"));
        }
        typed::<TrainQuestion>(value)?
    };
    let job = detector.train(asked.target)?;
    let place = HeaderValue::try_from(format!("/train/{}", job.id));
    let mut answer = (StatusCode::ACCEPTED, Json(job)).into_response();
    if let Ok(place) = place {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    Ok(answer)
}

async fn job(State(detector): Judge, Path(id): Path<String>) -> Result<Response, Problem> {
    match detector.job(&id) {
        Some(job) => Ok(Json(job).into_response()),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such retraining; the latest hundred are kept",
        )),
    }
}

async fn models(State(detector): Judge) -> Response {
    Json(detector.models()).into_response()
}

async fn stats(State(detector): Judge) -> Response {
    Json(detector.stats()).into_response()
}

async fn health() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

async fn ready(State(detector): Judge) -> Response {
    match detector.not_ready() {
        None => Json(json!({ "ready": true })).into_response(),
        Some(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(detector): Judge, headers: HeaderMap) -> Response {
    exposition(detector.metrics(), &headers)
}

async fn document() -> Response {
    Json(openapi::document()).into_response()
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path; /openapi.json lists them")
}

async fn wrong_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path does not answer {}; Allow says what it answers", clean(method.as_str())),
    )
}
