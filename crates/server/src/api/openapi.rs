//! The API in OpenAPI 3.1: schemas from the types that are read and written, paths from the table here.

use super::batch::{Batch, BatchAnswer};
use super::body::{
    Answer, DetectorStats, Job, Logins, Model, NameAnswer, NameQuestion, Question, Traffic, TrainQuestion,
};
use crate::http::problem::Problem;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The document, as served at `/openapi.json` and kept in docs/openapi.json.
#[must_use]
pub fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|s| {
            s.definitions_path = "/components/schemas".into();
            s.meta_schema = None;
        })
        .into_generator();
    let paths = paths(&mut schemas);
    let mut components: Map<String, Value> = schemas.take_definitions(true);
    refine(&mut components);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Autoinmune detector",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Judges figures of traffic and of logins. Errors are problem documents (RFC 9457). Every answer \
                carries X-Request-Id: the caller's own, if it sent one of at most 64 letters, digits and .-_",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "http://127.0.0.1:5000" }],
        "security": [{}, { "key": [] }, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
    })
}

/// What types do not say: which of two ways to tell something a body takes.
fn refine(schemas: &mut Map<String, Value>) {
    if let Some(Value::Object(traffic)) = schemas.get_mut("Traffic") {
        traffic.insert(
            "anyOf".into(),
            json!([{ "required": ["tcp_packets", "udp_packets"] },
                   { "required": ["tcp_ratio"], "properties": { "tcp_packets": false, "udp_packets": false } }]),
        );
        plain_options(traffic);
    }
    if let Some(Value::Object(logins)) = schemas.get_mut("Logins") {
        logins.insert(
            "anyOf".into(),
            json!([{ "required": ["username_text"] }, { "required": ["username_type"] }]),
        );
        plain_options(logins);
    }
}

/// A field that may be absent may not therefore be null where it stands in one of the two ways.
fn plain_options(schema: &mut Map<String, Value>) {
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for field in fields.values_mut() {
        let Value::Object(field) = field else { continue };
        if let Some(Value::Array(kinds)) = field.get_mut("type") {
            kinds.retain(|k| k != "null");
            if let [only] = kinds.as_slice() {
                let only = only.clone();
                field.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(ways)) = field.get_mut("anyOf") {
            ways.retain(|w| w.get("type") != Some(&json!("null")));
        }
    }
}

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn json_of<T: JsonSchema>(schemas: &mut SchemaGenerator, about: &str) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": schema::<T>(schemas) } } })
}

/// Statuses that every path may answer with.
const ALWAYS: [(&str, &str); 6] = [
    ("400", "Not a valid request"),
    ("401", "No valid key or token"),
    ("408", "The request took too long to arrive"),
    ("413", "The body is too large"),
    ("414", "Path and query are too long"),
    ("429", "Too many requests; Retry-After says how long to wait"),
];

/// An operation: what it is for, its good answer and the problems it has beside those that all have.
fn operation(
    schemas: &mut SchemaGenerator,
    (id, summary): (&str, &str),
    good: (&str, Value),
    problems: &[(&str, &str)],
) -> Value {
    let problem = schema::<Problem>(schemas);
    let mut responses = Map::new();
    responses.insert(good.0.to_owned(), good.1);
    for (status, about) in ALWAYS.iter().chain(problems).chain(&[("421", "Another host was asked for")]) {
        responses.insert(
            (*status).to_owned(),
            json!({ "description": about, "content": { "application/problem+json": { "schema": problem } } }),
        );
    }
    json!({ "operationId": id, "summary": summary, "responses": responses })
}

fn with_body<T: JsonSchema>(schemas: &mut SchemaGenerator, mut operation: Value) -> Value {
    operation["requestBody"] =
        json!({ "required": true, "content": { "application/json": { "schema": schema::<T>(schemas) } } });
    operation
}

const BODY: [(&str, &str); 2] = [
    ("415", "The body is not said to be JSON"),
    ("422", "The body is JSON, and not what is asked for; `detail` names the field"),
];

fn paths(s: &mut SchemaGenerator) -> Value {
    // Named in the document though `Question` refers to them only.
    let _ = (schema::<Traffic>(s), schema::<Logins>(s));
    let words = |words: Value, about: &str| json!({ "description": about, "content": { "application/json": { "schema": words } } });
    let good = json_of::<Answer>(s, "The verdict");
    let detect = operation(s, ("detect", "Judge figures of traffic or of logins"), ("200", good), &BODY);
    let detect = with_body::<Question>(s, detect);
    let good = json_of::<Answer>(s, "The verdict");
    let prometheus = operation(
        s,
        (
            "detectPrometheus",
            "Read the sensor's figures from the Prometheus server that is configured, and judge them",
        ),
        ("200", good),
        &[
            ("502", "Prometheus answered what is no figure"),
            ("404", "No Prometheus server is configured"),
            ("503", "It is away, or has no such figures"),
            ("504", "Prometheus took too long"),
        ],
    );
    let good = json_of::<BatchAnswer>(s, "What was found");
    let flows = operation(
        s,
        ("detectFlows", "Judge flows and windows of sources that a sensor posts, by learned models"),
        ("200", good),
        &[
            ("404", "No learned model judges here"),
            ("409", "Sensor and detector do not agree about features or the time; `detail` says what to do"),
            BODY[0],
            BODY[1],
            ("503", "Too many batches at once; Retry-After says how long to wait"),
        ],
    );
    let flows = with_body::<Batch>(s, flows);
    let good = json_of::<NameAnswer>(s, "What it is, and why");
    let classify =
        operation(s, ("classifyUsername", "Say what kind of text a user name is"), ("200", good), &BODY);
    let classify = with_body::<NameQuestion>(s, classify);
    let mut good = json_of::<Job>(s, "It is queued; Location says where to ask for it");
    good["headers"] = json!({ "Location": { "schema": { "type": "string" } } });
    let train = operation(
        s,
        ("train", "Queue a retraining"),
        ("202", good),
        &[
            ("409", "One is queued already"),
            BODY[0],
            BODY[1],
            ("503", "Nothing can be trained here; `detail` says why"),
        ],
    );
    let mut train = with_body::<TrainQuestion>(s, train);
    train["requestBody"]["required"] = false.into();
    let good = json_of::<Job>(s, "How far it has come");
    let mut job = operation(
        s,
        ("trainJob", "How far a retraining has come"),
        ("200", good),
        &[("404", "There is no such retraining")],
    );
    job["parameters"] = json!([{ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }]);
    let good = json_of::<Vec<Model>>(s, "Models");
    let models = operation(s, ("models", "Models in use and at hand"), ("200", good), &[]);
    let good = json_of::<DetectorStats>(s, "Figures");
    let stats = operation(s, ("stats", "What was asked and told since start"), ("200", good), &[]);
    let alive =
        json!({ "type": "object", "required": ["status"], "properties": { "status": { "const": "alive" } } });
    let health =
        operation(s, ("health", "Whether the service answers"), ("200", words(alive, "It does")), &[]);
    let yes =
        json!({ "type": "object", "required": ["ready"], "properties": { "ready": { "const": true } } });
    let ready = operation(
        s,
        ("ready", "Whether it can judge"),
        ("200", words(yes, "It can")),
        &[("503", "It cannot; `detail` says why")],
    );
    let text = json!({ "description": "Metrics in the text format of Prometheus, or OpenMetrics where Accept asks for it",
        "content": { "text/plain": { "schema": { "type": "string" } }, "application/openmetrics-text": { "schema": { "type": "string" } } } });
    let metrics =
        operation(s, ("metrics", "Metrics"), ("200", text), &[("500", "They could not be encoded")]);
    let document = operation(
        s,
        ("openapi", "This document"),
        ("200", words(json!({ "type": "object" }), "OpenAPI 3.1")),
        &[],
    );
    json!({
        "/detect": { "post": detect },
        "/detect/flows": { "post": flows },
        "/detect/prom": { "get": prometheus },
        "/classify_username": { "post": classify },
        "/train": { "post": train },
        "/train/{id}": { "get": job },
        "/models": { "get": models },
        "/stats": { "get": stats },
        "/health": { "get": health },
        "/ready": { "get": ready },
        "/metrics": { "get": metrics },
        "/openapi.json": { "get": document },
    })
}
