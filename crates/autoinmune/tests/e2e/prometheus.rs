//! A real Prometheus scrapes the sensor and the detector, and its own tool reads their metrics.

use crate::support::{Agent, BINARY, Host, PATIENCE, get, text, until};
use lab::range::{Daemon, Side};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const SENSOR: &str = "127.0.0.1:8800";
const DETECTOR: &str = "127.0.0.1:5000";
const PROMETHEUS: &str = "127.0.0.1:9090";
/// What Debian's package ships, with both ports as targets, and asked more often so that the test is short.
const CONFIG: &str = "global:\n  scrape_interval: 1s\n  evaluation_interval: 15s\nscrape_configs:\n  - job_name: autoinmune\n    \
                      static_configs:\n      - targets: ['127.0.0.1:8800', '127.0.0.1:5000']\n";
/// A name of the contract that users have in their dashboards. `promtool` would have another: it takes the ending for that
/// of a histogram. It is the only one.
const CONTRACT: &str = "ml_detector_ip_packet_count";

/// Sensor and detector on the victim, on the ports they have by default.
fn both(host: &Host) -> (Agent, Daemon) {
    let agent = host.agent("", &["--api", "off"]);
    let detector = host.daemon(
        BINARY,
        &["detector", "--listen", DETECTOR, "--config", &host.detector_config()],
        &host.path("detector.log"),
    );
    host.range
        .enter(Side::Victim, || {
            until("the detector", PATIENCE, || TcpStream::connect(DETECTOR).ok());
        })
        .expect("the victim's namespace");
    (agent, detector)
}

/// A path of a server on the victim.
fn fetch(host: &Host, server: &str, path: &str) -> String {
    let (status, body) =
        host.range.enter(Side::Victim, || get(server, path)).expect("the victim's namespace");
    assert_eq!(status, 200, "{server}{path}: {body}");
    body
}

/// Tells the detector of a port scan.
fn threat(host: &Host) {
    let body = r#"{"packets_per_second":1200,"bytes_per_second":1500000,"unique_ips":30,"unique_ports":50,
                   "tcp_packets":1140,"udp_packets":60,"syn_packets":800,"source_ip":"192.0.2.7"}"#;
    let request = format!(
        "POST /detect HTTP/1.1\r\nhost: {DETECTOR}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = host.range.enter(Side::Victim, || {
        let mut stream = TcpStream::connect(DETECTOR).expect("the detector");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = answer.expect("the victim's namespace");
    assert!(answer.contains("\"port_scan\""), "{answer}");
}

/// What Prometheus answers to a query: the samples.
fn query(host: &Host, query: &str) -> Vec<Value> {
    let encoded: String = query
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b == b'_' {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    let body = fetch(host, PROMETHEUS, &format!("/api/v1/query?query={encoded}"));
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"]["result"].as_array().expect("samples").clone()
}

fn value(sample: &Value) -> f64 {
    sample["value"][1].as_str().and_then(|v| v.parse().ok()).expect("a number")
}

#[test]
fn a_default_prometheus_scrapes_both_ports_without_a_warning() {
    let name = "a_default_prometheus_scrapes_both_ports_without_a_warning";
    let Some(host) = Host::new(name, &["prometheus"]) else { return };
    let (agent, mut detector) = both(&host);
    threat(&host);
    let path = |name: &str| host.path(name).to_str().expect("a plain path").to_owned();
    std::fs::write(path("prometheus.yml"), CONFIG).expect("a configuration");
    let args = [
        format!("--config.file={}", path("prometheus.yml")),
        format!("--storage.tsdb.path={}", path("prometheus")),
        format!("--web.listen-address={PROMETHEUS}"),
    ];
    let log = host.path("prometheus.log");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut prometheus = host.daemon("prometheus", &args, &log);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("prometheus", PATIENCE, || said().contains("Server is ready").then_some(()));
    until("both to be up", PATIENCE, || {
        let up = query(&host, "up");
        (up.len() == 2 && up.iter().all(|s| value(s) == 1.0)).then_some(())
    });
    // The first look at a counter is where its increase is counted from.
    until("a first look", PATIENCE, || (!query(&host, "ml_detector_threats_total").is_empty()).then_some(()));
    (0..3).for_each(|_| threat(&host));
    let increase = "sum by (source_ip, threat_type)(increase(ml_detector_threats_total[15m]))";
    until("the threats by source and type", PATIENCE, || {
        let samples = query(&host, increase);
        let scan = samples
            .iter()
            .find(|s| s["metric"]["source_ip"] == "192.0.2.7" && s["metric"]["threat_type"] == "port_scan")?;
        (value(scan) > 0.0).then_some(())
    });
    for metric in
        ["ebpf_packets_processed_total", "ml_detector_processing_seconds_bucket", "autoinmune_loss_total"]
    {
        assert_eq!(query(&host, &format!("count({metric})")).len(), 1, "{metric}");
    }
    let said = said();
    assert!(!said.contains("level=warn") && !said.contains("level=error"), "{said}");
    prometheus.end(PATIENCE).expect("it ends");
    assert!(detector.end(PATIENCE).expect("it ends").success());
    agent.stop();
}

/// What `promtool check metrics` finds.
fn findings(metrics: &str) -> (Option<i32>, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("promtool");
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn promtool_finds_nothing_but_a_name_of_the_contract() {
    let name = "promtool_finds_nothing_but_a_name_of_the_contract";
    let Some(host) = Host::new(name, &["promtool"]) else { return };
    let (agent, mut detector) = both(&host);
    threat(&host);
    let sensor = fetch(&host, SENSOR, "/metrics");
    assert_eq!(findings(&sensor), (Some(0), String::new()), "{sensor}");
    let metrics = fetch(&host, DETECTOR, "/metrics");
    let (code, said) = findings(&metrics);
    let other: Vec<&str> = said.lines().filter(|l| !l.starts_with(CONTRACT)).collect();
    // 3 is an opinion on style.
    assert_eq!((code, other.as_slice()), (Some(3), &[][..]), "{said}\n{metrics}");
    // The tool does find what is wrong.
    assert_eq!(findings("no metric at all\n").0, Some(1));
    assert!(detector.end(PATIENCE).expect("it ends").success());
    agent.stop();
}
