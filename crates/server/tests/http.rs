//! The HTTP API over real sockets on loopback, spoken to in raw bytes.

use server::http::Limits;
use server::view::{Attachment, Ready, Stats, TopSource};
use server::{Http, HttpConfig, HttpError, Metrics, Source};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Figures that never change; `bool` is readiness.
struct Fixed(bool);

impl Source for Fixed {
    fn ready(&self) -> Ready {
        let native = Attachment { name: "eth0".into(), mode: "native".into(), ..Attachment::default() };
        Ready {
            ready: self.0,
            sensor: if self.0 { "xdp-native" } else { "none" }.into(),
            simulated: false,
            interfaces: if self.0 { vec![native] } else { Vec::new() },
            why: (!self.0).then(|| "the interface is gone".into()),
        }
    }

    fn stats(&self) -> Stats {
        Stats {
            packets_per_second: 12.5,
            syn_packets: 3,
            window_seconds: 1.0,
            top_sources: vec![TopSource {
                address: "192.0.2.7".parse().expect("an address"),
                packets: 9,
                bytes: 99,
            }],
            ..Stats::default()
        }
    }

    fn metrics(&self) -> Metrics {
        Metrics { packets_processed: 42, version: "1".into(), ..Metrics::default() }
    }
}

fn start(limits: Limits) -> Http {
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    Http::start(HttpConfig { limits, ..HttpConfig::from(address) }, Arc::new(Fixed(true))).expect("starts")
}

fn connect(http: &Http) -> TcpStream {
    let stream = TcpStream::connect(http.address()).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        assert!(self.head.contains("content-type: application/"), "{}", self.head);
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends bytes as they are, and reads until the server hangs up.
fn raw(http: &Http, request: &[u8]) -> Answer {
    let mut stream = connect(http);
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn request(http: &Http, method: &str, path: &str, headers: &str) -> Answer {
    let text = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
    raw(http, text.as_bytes())
}

fn get(http: &Http, path: &str) -> Answer {
    let answer = request(http, "GET", path, "host: localhost\r\n");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    answer
}

#[test]
fn the_four_routes_answer() {
    let http = start(Limits::default());
    let health = get(&http, "/health");
    assert_eq!((health.status, health.json()), (200, serde_json::json!({"status": "alive"})));
    let ready = get(&http, "/ready");
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        serde_json::json!({
            "ready": true, "sensor": "xdp-native", "simulated": false,
            "interfaces": [{"name": "eth0", "mode": "native", "egress": false, "fallbacks": []}]
        })
    );
    let stats = get(&http, "/stats");
    assert_eq!(
        stats.json(),
        serde_json::json!({
            "packets_per_second": 12.5, "bytes_per_second": 0.0, "unique_ips": 0, "unique_ports": 0,
            "tcp_packets": 0, "udp_packets": 0, "syn_packets": 3, "window_seconds": 1.0,
            "top_sources": [{"address": "192.0.2.7", "packets": 9, "bytes": 99}], "simulated": false
        })
    );
    let metrics = get(&http, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("\nebpf_packets_processed_total 42\n"));
    assert!(!metrics.body.contains("# EOF"));
    let open = request(
        &http,
        "GET",
        "/metrics",
        "host: localhost\r\naccept: application/openmetrics-text;version=1.0.0\r\n",
    );
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(open.body.ends_with("# EOF\n"));
    let head = request(&http, "HEAD", "/stats", "host: localhost\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn not_ready_is_503_and_says_why() {
    let address: SocketAddr = "[::1]:0".parse().expect("an address");
    let http = match Http::start(address, Arc::new(Fixed(false))) {
        Ok(http) => http,
        Err(HttpError::NoSuchAddress(_)) => {
            println!("skipped: not_ready_is_503_and_says_why: this machine has no IPv6 loopback");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    let answer = get(&http, "/ready");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["why"], "the interface is gone");
    assert_eq!(get(&http, "/health").status, 200, "alive all the same");
}

#[test]
fn wrong_requests_are_refused_with_problem_documents() {
    let http = start(Limits::default());
    let check = |method: &str, path: &str, headers: &str, status: u16| {
        let answer = request(&http, method, path, headers);
        assert_eq!(answer.status, status, "{method} {path} {headers}: {}", answer.body);
        assert_eq!(answer.json()["status"], status);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        assert!(answer.json()["detail"].as_str().is_some_and(|e| !e.is_empty()));
        assert!(answer.head.contains("nosniff") && answer.head.contains("no-store"), "{}", answer.head);
        answer
    };
    let ours = "host: 127.0.0.1:8800\r\n";
    check("GET", "/", ours, 404);
    check("GET", "/health/", ours, 404);
    check("GET", "/../etc/passwd", ours, 404);
    let method = check("POST", "/stats", ours, 405);
    assert!(method.head.contains("allow: get,head"), "{}", method.head);
    check("DELETE", "/metrics", ours, 405);
    check("GET", "/health", "host: rebound.example:8800\r\n", 421);
    check("GET", "http://rebound.example/health", ours, 421);
    check("GET", "/health", "", 400);
    check("GET", "/health", "host: localhost\r\nhost: localhost\r\n", 400);
    check("GET", &format!("/stats?{}", "a".repeat(1100)), ours, 414);
    check("GET", "/stats", &format!("{ours}content-length: 1000000\r\n"), 413);
    check("POST", "/stats", &format!("{ours}content-length: 1000000\r\n"), 413);
}

#[test]
fn what_is_not_http_is_refused() {
    let http = start(Limits::default());
    let check = |bytes: &[u8], status: u16| assert_eq!(raw(&http, bytes).status, status, "{bytes:?}");
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n", 400);
    check(b"GET /health\r\n\r\n", 400);
    check(b"GET /health HTTP/1.1\r\nhost localhost\r\n\r\n", 400);
    check(b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n", 400);
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    check(many.as_bytes(), 431);
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: a\r\n".repeat(1000));
    check(many.as_bytes(), 431);
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(200_000));
    let status = raw(&http, long.as_bytes()).status;
    assert!(status == 414 || status == 431, "{status}");
    assert_eq!(get(&http, "/health").status, 200, "and it goes on");
}

#[test]
fn slow_clients_are_hung_up_on() {
    let head = Duration::from_millis(300);
    let http = start(Limits { head, request: head, ..Limits::default() });
    let mut drip = connect(&http);
    let begun = Instant::now();
    // One byte now and then gains nothing.
    for byte in
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    {
        if drip.write_all(&[*byte]).is_err() || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut rest = Vec::new();
    let _ = drip.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    // A body that never comes.
    let body = raw(&http, b"POST /stats HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nabc");
    assert_eq!(body.status, 408);
    // An idle connection.
    let mut idle = connect(&http);
    let begun = Instant::now();
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn connections_are_bounded_and_wait_their_turn() {
    let http = start(Limits { connections: 2, head: Duration::from_millis(300), ..Limits::default() });
    let idle = [connect(&http), connect(&http)];
    // Both places are taken until the idle ones time out.
    assert_eq!(get(&http, "/health").status, 200);
    drop(idle);
}

#[test]
fn connections_are_kept_alive() {
    let http = start(Limits::default());
    let mut stream = connect(&http);
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("writes");
        let mut answer = [0; 1024];
        let n = stream.read(&mut answer).expect("reads");
        assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    stream.shutdown(Shutdown::Both).expect("closes");
}

#[test]
fn addresses_that_do_not_fit_are_one_clear_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address");
    let error = Http::start(address, Arc::new(Fixed(true))).expect_err("taken").to_string();
    assert!(
        error.starts_with(&format!("{address} is already taken")) && error.contains("ss -ltnp"),
        "{error}"
    );
    let open: SocketAddr = "0.0.0.0:0".parse().expect("an address");
    let error = Http::start(open, Arc::new(Fixed(true))).expect_err("not loopback").to_string();
    assert!(error.contains("no authentication"), "{error}");
    let foreign =
        HttpConfig { allow_remote: true, ..HttpConfig::from(SocketAddr::from(([192, 0, 2, 1], 0))) };
    let error = Http::start(foreign, Arc::new(Fixed(true))).expect_err("not ours").to_string();
    assert!(error.contains("no interface of this machine"), "{error}");
}

#[test]
fn all_addresses_answer_where_allowed() {
    let open = HttpConfig { allow_remote: true, ..HttpConfig::from(SocketAddr::from(([0, 0, 0, 0], 0))) };
    let http = Http::start(open, Arc::new(Fixed(true))).expect("starts");
    let local = SocketAddr::from(([127, 0, 0, 1], http.address().port()));
    let mut stream = TcpStream::connect(local).expect("connects");
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n")
        .expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[test]
fn stopping_frees_the_port_at_once_and_hangs_up_on_idle_clients() {
    let http = start(Limits::default());
    let address = http.address();
    let mut idle = connect(&http);
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("writes");
    let n = idle.read(&mut [0; 1024]).expect("reads");
    assert!(n > 0);
    let begun = Instant::now();
    http.stop();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0, "hung up");
    let again = Http::start(address, Arc::new(Fixed(true))).expect("the port is free");
    drop(again);
    assert!(TcpStream::connect(address).is_err());
}
