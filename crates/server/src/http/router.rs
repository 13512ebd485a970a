//! The sensor's routes.

use super::guard::Guard;
use super::problem::Problem;
use super::{Limits, Source};
use crate::metrics::{self, Exposition};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::collector::Collector;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// All routes, for an API bound to `bound`.
pub(super) fn router(source: Arc<dyn Source>, bound: IpAddr, limits: Limits) -> Router {
    let app = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(expose))
        .route("/stats", get(stats))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(source);
    let guard = Guard { bound, limits, large: None };
    let app = guard.bodies(app);
    guard.around(app)
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
    exposition(source.metrics(), &headers)
}

/// Metrics in the format that a scraper asks for.
pub(crate) fn exposition(metrics: impl Collector, headers: &HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let form = Exposition::negotiate(&accept.join(","));
    match metrics::encode(metrics, form) {
        Ok(text) => ([(header::CONTENT_TYPE, form.content_type())], text).into_response(),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded")
            .into_response(),
    }
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path; there are /health, /ready, /metrics and /stats")
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path answers GET and HEAD only")
}
