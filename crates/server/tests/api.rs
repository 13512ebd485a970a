//! The detector's API over real sockets on loopback, spoken to in raw bytes.

use serde_json::{Value, json};
use server::Http;
use server::api::access::Credentials;
use server::api::batch::{Batch, BatchAnswer};
use server::api::body::{
    Answer, DetectorStats, Job, Logins, Model, NameAnswer, NameKind, Progress, Reading, Scores, Target,
    Traffic,
};
use server::api::{ApiConfig, ApiError, Detector, start};
use server::http::Limits;
use server::http::problem::Problem;
use server::metrics::detector::DetectorMetrics;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Says what it was asked.
struct Echo;

fn answer(explanation: String) -> Answer {
    Answer {
        threat_detected: false,
        confidence: 0.0,
        threat_types: Vec::new(),
        scores: Scores::default(),
        verdict: Reading::NormalTraffic,
        attacking_ips: Vec::new(),
        explanation,
        model_version: "1".into(),
    }
}

impl Detector for Echo {
    fn detect_traffic(&self, t: &Traffic, at_ns: u64) -> Answer {
        answer(format!("{} {} {}", t.packets_per_second.0, t.syn_packets.0, at_ns))
    }

    fn detect_logins(&self, l: &Logins, _: u64) -> Answer {
        answer(format!("{} {:?}", l.total_attempts.0, l.username_text))
    }

    fn detect_flows(&self, batch: &Batch, _: u64) -> Result<BatchAnswer, Problem> {
        let (flows, windows) = (batch.flows.len() as u64, batch.windows.len() as u64);
        Ok(BatchAnswer { model_version: batch.sensor.clone(), flows, windows, ..BatchAnswer::default() })
    }

    fn detect_prometheus(&self) -> Result<Answer, Problem> {
        Err(Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "none is configured"))
    }

    fn classify(&self, _: &str) -> NameAnswer {
        NameAnswer {
            predicted_type: NameKind::Command,
            confidence: 0.99,
            probabilities: BTreeMap::new(),
            n_gram_analysis: Vec::new(),
        }
    }

    fn train(&self, target: Target) -> Result<Job, Problem> {
        Ok(Job { target, ..self.job("7").expect("a job") })
    }

    fn job(&self, id: &str) -> Option<Job> {
        let target = Target::All;
        let job =
            Job { id: id.into(), target, state: Progress::Queued, asked: 1.0, ended: None, detail: None };
        (id == "7").then_some(job)
    }

    fn models(&self) -> Vec<Model> {
        Vec::new()
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats::default()
    }

    fn metrics(&self) -> DetectorMetrics {
        DetectorMetrics::default()
    }

    fn not_ready(&self) -> Option<String> {
        None
    }
}

fn config() -> ApiConfig {
    ApiConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ApiConfig::default() }
}

fn api(config: ApiConfig) -> Http {
    start(config, Arc::new(Echo)).expect("starts")
}

fn raw(http: &Http, request: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(http.address()).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn send(http: &Http, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let (status, head, body) = raw(http, request.as_bytes());
    assert!(head.contains("x-request-id: ") && head.contains("nosniff"), "{head}");
    let value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    if status >= 400 {
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(value["status"], status, "{value}");
        assert!(value["detail"].as_str().is_some_and(|d| !d.is_empty()), "{value}");
    }
    (status, head, value)
}

const JSON: &str = "content-type: application/json\r\n";

fn post(http: &Http, path: &str, body: &Value) -> (u16, Value) {
    let (status, _, value) = send(http, "POST", path, JSON, &body.to_string());
    (status, value)
}

fn traffic() -> Value {
    json!({ "packets_per_second": 1200, "bytes_per_second": 1.5e6, "unique_ips": 30, "unique_ports": 50,
            "tcp_packets": 1140, "udp_packets": 60, "syn_packets": 800.0 })
}

#[test]
fn questions_reach_the_detector() {
    let http = api(config());
    let mut question = traffic();
    question["time"] = json!("2025-11-28T14:00:00Z");
    let (status, answer) = post(&http, "/detect", &question);
    assert_eq!((status, &answer["explanation"]), (200, &json!("1200 800 1764338400000000000")));
    assert_eq!(answer["verdict"], "normal_traffic");
    let mut ratio = traffic();
    for name in ["tcp_packets", "udp_packets"] {
        ratio.as_object_mut().expect("an object").remove(name);
    }
    ratio["tcp_ratio"] = json!(0.95);
    assert_eq!(post(&http, "/detect", &ratio).0, 200);
    let logins = json!({ "detection_type": "authentication", "username_text": "svc\u{1b}[31m", "total_attempts": 136_963,
                         "failed_attempts": 136_900, "successful_attempts": 63, "unique_source_ips": 34,
                         "privilege_level": "service" });
    let (status, answer) = post(&http, "/detect", &logins);
    assert_eq!((status, &answer["explanation"]), (200, &json!("136963 Some(\"svc\\u{1b}[31m\")")));
    let (status, answer) = post(&http, "/classify_username", &json!({ "username": "sudo rm -rf /" }));
    assert_eq!((status, &answer["predicted_type"]), (200, &json!("command")));
    let (status, head, _) = send(&http, "POST", "/train", "", "");
    assert!(status == 202 && head.contains("location: /train/7"), "{head}");
    for (body, status, target) in [
        (json!({}), 202, json!("all")),
        (json!({ "target": "flows" }), 202, json!("flows")),
        (json!({ "target": "all of it" }), 422, Value::Null),
        (json!({ "goal": "flows" }), 422, Value::Null),
        (json!([]), 422, Value::Null),
    ] {
        let (found, job) = post(&http, "/train", &body);
        assert_eq!((found, &job["target"]), (status, &target), "{body}");
    }
    assert_eq!(send(&http, "GET", "/train/7", "", "").0, 200);
    assert_eq!(send(&http, "GET", "/train/8", "", "").0, 404);
    assert_eq!(send(&http, "GET", "/detect/prom", "", "").0, 503);
    for path in ["/models", "/stats", "/health", "/ready", "/metrics", "/openapi.json"] {
        assert_eq!(send(&http, "GET", path, "", "").0, 200, "{path}");
    }
}

#[test]
fn what_is_not_asked_rightly_is_refused_with_its_reason() {
    let http = api(config());
    let check = |change: &dyn Fn(&mut Value), status: u16, about: &str| {
        let mut question = traffic();
        change(&mut question);
        let (found, answer) = post(&http, "/detect", &question);
        assert_eq!(found, status, "{question}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|d| d.contains(about)), "{about}: {answer}");
    };
    for name in
        ["packets_per_second", "bytes_per_second", "unique_ips", "unique_ports", "tcp_packets", "syn_packets"]
    {
        check(
            &|q| {
                q.as_object_mut().expect("an object").remove(name);
            },
            422,
            name,
        );
    }
    check(&|q| q["packets_per_second"] = json!(-1), 422, "0 to 1e15");
    check(&|q| q["packets_per_second"] = json!("1200"), 422, "f64");
    check(&|q| q["packets_per_second"] = json!(1e16), 422, "0 to 1e15");
    check(&|q| q["packets_per_second"] = Value::Null, 422, "f64");
    check(&|q| q["unique_ips"] = json!(1.5), 422, "whole");
    check(&|q| q["unique_ips"] = json!(true), 422, "f64");
    check(&|q| q["tcp_ratio"] = json!(1.5), 422, "0 to 1");
    check(&|q| q["source_ip"] = Value::Null, 422, "null");
    check(&|q| q["surprise"] = json!(1), 422, "surprise");
    check(&|q| q["sur\u{1b}prise"] = json!(1), 422, "sur\u{fffd}prise");
    check(&|q| q["source_ip"] = json!("999.0.0.1"), 422, "IP");
    check(&|q| q["time"] = json!("yesterday"), 422, "time");
    check(&|q| q["time"] = json!(-5), 422, "time");
    check(&|q| *q = json!({ "detection_type": "authentication", "total_attempts": 3 }), 422, "username_text");
    check(&|q| *q = json!({ "detection_type": "palmistry", "total_attempts": 3 }), 422, "authentication");
    check(&|q| *q = json!([]), 422, "object");
    for broken in
        ["", "{", "NaN", "{\"packets_per_second\": NaN}", "{\"packets_per_second\": 1e999}", "\u{0}"]
    {
        assert_eq!(send(&http, "POST", "/detect", JSON, broken).0, 400, "{broken:?}");
    }
    assert_eq!(send(&http, "POST", "/detect", JSON, &"[".repeat(50_000)).0, 400, "deep");
    assert_eq!(send(&http, "POST", "/detect", "", "{}").0, 415);
    assert_eq!(send(&http, "POST", "/detect", "content-type: text/plain\r\n", "{}").0, 415);
    assert_eq!(send(&http, "GET", "/detect", "", "").0, 405);
    assert_eq!(post(&http, "/classify_username", &json!({ "username": "" })).0, 422);
    assert_eq!(post(&http, "/classify_username", &json!({ "username": "x".repeat(1025) })).0, 422);
    let announced = "POST /detect HTTP/1.1\r\nhost: localhost\r\ncontent-length: 104857600\r\n\r\n";
    assert_eq!(raw(&http, announced.as_bytes()).0, 413);
    let (id, _, _) = (send(&http, "GET", "/health", "x-request-id: mine-1\r\n", "").1, (), ());
    assert!(id.contains("x-request-id: mine-1"), "{id}");
    let (id, _, _) = (send(&http, "GET", "/health", "x-request-id: a b<script>\r\n", "").1, (), ());
    assert!(!id.contains("script"), "{id}");
}

fn batch() -> Value {
    let ends = json!({ "source_ip": "192.0.2.1", "source_port": 40_000, "target_ip": "192.0.2.2", "target_port": 22,
                       "protocol": 6 });
    json!({ "sensor": "gate-1", "run": "0123456789abcdef", "number": 1, "time": 1_700_000_000.5, "schema": "00000000000000ff",
            "features": ["dur", "proto"],
            "flows": [{ "at": 1.7e9, "since": 1_699_999_999, "ends": ends, "values": [0.25, "tcp"] },
                      { "at": 1.7e9, "since": 1_699_999_999, "ends": ends, "values": [null, null] }],
            "windows": [{ "at": 1.7e9, "since": 1.69e9, "source_ip": "2001:db8::1", "windows": [[1, null, 0.5]],
                          "ends": ends }] })
}

#[test]
fn batches_of_flows_are_checked_field_by_field() {
    let http = api(config());
    let (status, answer) = post(&http, "/detect/flows", &batch());
    assert_eq!((status, &answer["flows"], &answer["windows"]), (200, &json!(2), &json!(1)), "{answer}");
    let mut floats = batch();
    floats["number"] = json!(7.0);
    floats["flows"][0]["ends"]["source_port"] = json!(80.0);
    assert_eq!(post(&http, "/detect/flows", &floats).0, 200, "whole is whole");
    let check = |change: &dyn Fn(&mut Value), status: u16, about: &str| {
        let mut b = batch();
        change(&mut b);
        let (found, answer) = post(&http, "/detect/flows", &b);
        assert_eq!(found, status, "{about}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|d| d.contains(about)), "{about}: {answer}");
    };
    for name in ["sensor", "run", "number", "time", "schema", "features", "flows", "windows"] {
        let gone = |b: &mut Value| drop(b.as_object_mut().expect("an object").remove(name));
        check(&gone, 422, name);
        check(&|b| b[name] = Value::Null, 422, "null");
    }
    for name in ["at", "since", "ends", "values"] {
        let gone = |b: &mut Value| drop(b["flows"][0].as_object_mut().expect("an object").remove(name));
        check(&gone, 422, name);
    }
    check(&|b| b["surprise"] = json!(1), 422, "surprise");
    check(&|b| b["flows"][0]["surprise"] = json!(1), 422, "surprise");
    check(&|b| b["sensor"] = json!("a b\u{1b}[31m"), 422, "`sensor`");
    check(&|b| b["sensor"] = json!("x".repeat(65)), 422, "`sensor`");
    check(&|b| b["run"] = json!("0123456789ABCDEF"), 422, "`run`");
    check(&|b| b["schema"] = json!("ff"), 422, "`schema`");
    check(&|b| b["number"] = json!(0), 422, "`number`");
    check(&|b| b["number"] = json!(-1), 422, "whole");
    check(&|b| b["number"] = json!(1.5), 422, "whole");
    check(&|b| b["features"] = json!([]), 422, "`features`");
    check(&|b| b["features"] = json!(["dur", "dur"]), 422, "twice");
    check(&|b| b["features"] = json!(["dur", "x".repeat(65)]), 422, "`features`");
    check(&|b| b["flows"][0]["values"] = json!([]), 422, "`values`");
    for wrong in [json!(-1), json!(1e16), json!(true), json!([]), json!({}), json!("x".repeat(65))] {
        check(&|b| b["flows"][0]["values"][0] = wrong.clone(), 422, "0 to 1e15");
    }
    check(&|b| b["flows"][0]["at"] = json!(-1), 422, "1970");
    check(&|b| b["flows"][0]["at"] = json!(1e18), 422, "1970");
    check(&|b| b["flows"][0]["at"] = json!("now"), 422, "f64");
    check(&|b| b["flows"][0]["ends"]["source_ip"] = json!("999.0.0.1"), 422, "IP");
    check(&|b| b["flows"][0]["ends"]["source_port"] = json!(65_536), 422, "whole");
    check(&|b| b["flows"][0]["ends"]["protocol"] = json!(256), 422, "whole");
    check(&|b| b["windows"][0]["windows"] = json!([]), 422, "`windows`");
    check(&|b| b["windows"][0]["windows"] = json!([[1], [1], [1], [1], [1], [1], [1]]), 422, "`windows`");
    for wrong in [json!(-0.5), json!(65), json!("1")] {
        check(&|b| b["windows"][0]["windows"][0][0] = wrong.clone(), 422, "");
    }
    let many = |b: &mut Value, name: &str, n: usize| b[name] = Value::Array(vec![b[name][0].clone(); n]);
    check(&|b| many(b, "flows", 501), 422, "`flows`");
    check(&|b| many(b, "windows", 101), 422, "`windows`");
    let mut most = batch();
    many(&mut most, "flows", 500);
    many(&mut most, "windows", 100);
    assert!(most.to_string().len() > 64 * 1024, "larger than other bodies may be");
    assert_eq!(post(&http, "/detect/flows", &most).0, 200);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("NaN", 400),
        ("[]", 422),
        ("{\"sensor\": NaN}", 400),
        ("{\"time\": 1e999}", 400),
        ("\u{0}", 400),
    ] {
        assert_eq!(send(&http, "POST", "/detect/flows", JSON, body).0, status, "{body:?}");
    }
    assert_eq!(send(&http, "POST", "/detect/flows", JSON, &"[".repeat(900_000)).0, 422, "deep");
    assert_eq!(send(&http, "POST", "/detect/flows", "", "{}").0, 415);
    assert_eq!(send(&http, "GET", "/detect/flows", "", "").0, 405);
    for announced in [1_048_577, 104_857_600] {
        let head =
            format!("POST /detect/flows HTTP/1.1\r\nhost: localhost\r\ncontent-length: {announced}\r\n\r\n");
        assert_eq!(raw(&http, head.as_bytes()).0, 413);
    }
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let head =
        format!("POST /detect/flows HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
    assert_eq!(raw(&http, (head + &chunk.repeat(17)).as_bytes()).0, 413, "unannounced");
}

#[test]
fn large_bodies_wait_for_a_place_and_others_do_not_wait_for_them() {
    let http = api(config());
    let head =
        format!("POST /detect/flows HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 1000000\r\n\r\n");
    // Clients that begin a large body and do not go on.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(http.address()).expect("connects");
        stream.write_all(head.as_bytes()).expect("writes");
        slow.push(stream);
    }
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while send(&http, "POST", "/detect/flows", JSON, &batch().to_string()).0 != 503 {
        assert!(std::time::Instant::now() < until, "the places are never taken");
    }
    assert_eq!(post(&http, "/detect", &traffic()).0, 200, "the small ones go on");
    drop(slow);
    while send(&http, "POST", "/detect/flows", JSON, &batch().to_string()).0 != 200 {
        assert!(std::time::Instant::now() < until, "the places are never free again");
    }
}

#[test]
fn beyond_loopback_a_key_is_needed() {
    let open = ApiConfig { address: SocketAddr::from(([0, 0, 0, 0], 0)), ..ApiConfig::default() };
    let error = start(open.clone(), Arc::new(Echo)).expect_err("open");
    assert!(matches!(error, ApiError::Open(_)) && error.to_string().contains("api.keys_file"), "{error}");
    let mut credentials = Credentials::default();
    credentials.add_keys("0123456789abcdef").expect("a key");
    let http = api(ApiConfig { credentials, ..open });
    let address = SocketAddr::from(([127, 0, 0, 1], http.address().port()));
    let ask = |path: &str, header: &str| {
        let mut stream = TcpStream::connect(address).expect("connects");
        let text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        answer.split(' ').nth(1).expect("a status").parse::<u16>().expect("a status")
    };
    assert_eq!(ask("/stats", ""), 401);
    assert_eq!(ask("/stats", "x-api-key: 0123456789abcdee\r\n"), 401);
    assert_eq!(ask("/stats", "x-api-key: 0123456789abcdef\r\n"), 200);
    assert_eq!(ask("/stats", "authorization: Bearer 0123456789abcdef\r\n"), 200);
    assert_eq!(ask("/health", ""), 200);
}

#[test]
fn who_asks_too_often_waits() {
    let http = api(ApiConfig { requests_per_second: 1.0, ..config() });
    let answers: Vec<(u16, String, Value)> = (0..20).map(|_| send(&http, "GET", "/stats", "", "")).collect();
    assert_eq!(answers[0].0, 200);
    let (status, head, _) = answers.last().expect("answers");
    assert!(*status == 429 && head.contains("retry-after: "), "{head}");
}

#[test]
fn idle_connections_make_room_for_others() {
    let limits = Limits { connections: 8, ..ApiConfig::default().limits };
    let http = api(ApiConfig { limits, ..config() });
    let held: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(http.address()).expect("connects")).collect();
    assert_eq!(send(&http, "GET", "/health", "", "").0, 200, "at once, not after the idle ones' time is up");
    drop(held);
}
