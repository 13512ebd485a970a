//! Sensor and detector apart, under real attacks; and the figures' other way, through a real Prometheus.

use crate::support::{Agent, BINARY, Host, PATIENCE, Tool, until};
use lab::address::{ATTACKERS, CLIENT, VICTIM};
use lab::range::{Daemon, OUTSIDE_INTERFACE, Side};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

const DETECTOR: &str = "127.0.0.1:5000";

/// Starts a detector beside the sensor and waits until it listens.
fn detector(host: &Host) -> Daemon {
    let log = host.path("detector.log");
    let before = std::fs::read_to_string(&log).unwrap_or_default().len();
    let daemon =
        host.daemon(BINARY, &["detector", "--listen", DETECTOR, "--config", &host.detector_config()], &log);
    until("the detector to listen", PATIENCE, || {
        std::fs::read_to_string(&log).ok()?.get(before..)?.contains("detector on http://").then_some(())
    });
    daemon
}

fn stats(host: &Host) -> Value {
    serde_json::from_str(&host.get_at(DETECTOR, "/stats").1).expect("JSON")
}

fn scan(host: &Host, from: &str) -> Tool {
    let target = VICTIM.to_string();
    let args =
        ["-sS", "-Pn", "-n", "-e", OUTSIDE_INTERFACE, "-S", from, "-p", "1-60000", "--min-rate", "200"];
    let rest = ["--max-rate", "1000", "--max-retries", "0", "--host-timeout", "60s", &target];
    host.tool("nmap", &[&args[..], &rest[..]].concat())
}

/// A value of the sensor's `/metrics`, by the beginning of its line.
fn metric(host: &Host, name: &str) -> f64 {
    let metrics = host.get("/metrics").1;
    let line = metrics.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

fn loss(agent: &Agent, name: &str) -> Option<u64> {
    agent.json(&["status"])["losses"][name].as_u64()
}

#[test]
fn a_sensor_has_its_traffic_judged_and_works_on_while_the_detector_is_away() {
    let test = "a_sensor_has_its_traffic_judged_and_works_on_while_the_detector_is_away";
    let Some(host) = Host::new(test, &["nmap"]) else { return };
    let mut there = detector(&host);
    // The first attacker is on the allowlist, so that his scan goes on and shows in the figures.
    let (listed, other) = (ATTACKERS[1].to_string(), ATTACKERS[0]);
    let config = format!("[post]\ninterval_s = 0.5\nname = 'gate'\n[respond]\nallow = ['{listed}']\n");
    let agent = host.agent_as("sensor", &config, &["--enforce"]);
    let status = agent.json(&["status"]);
    assert_eq!(status["detector"], format!("http://{DETECTOR}/detect"), "{status}");
    let first = scan(&host, &listed);
    let ping = ["-n", "-q", "-c", "600", "-i", "0.05", "-I", &CLIENT.to_string(), &VICTIM.to_string()];
    let _ping = host.tool("ping", &ping);
    let seen = until("the scan and the client in /stats", Duration::from_secs(90), || {
        let stats = stats(&host);
        let scans = stats["threats"]["port_scan"].as_u64()?;
        let gate = &stats["sensors"]["gate"];
        (scans > 0 && gate["flows"].as_u64()? > 0 && gate["windows"].as_u64()? > 0).then_some(stats)
    });
    assert_eq!(seen["sensors"]["gate"]["missing"], 0, "{seen:#}");
    let (_, metrics) = host.get_at(DETECTOR, "/metrics");
    for name in [
        "ml_detector_sensor_flows_total{sensor=\"gate\"}",
        "ml_detector_threats_total{threat_type=\"port_scan\"",
    ] {
        assert!(metrics.contains(name), "{name}\n{metrics}");
    }
    drop(first);
    assert_eq!(metric(&host, "ebpf_ml_post_failures_total"), 0.0, "{}", agent.log());

    there.child().kill().expect("kill -9");
    there.child().wait().expect("it is reaped");
    let second = scan(&host, &other.to_string());
    agent.wait_for_block("port_scan", other);
    drop(second);
    assert!(!host.answers(other) && host.answers(CLIENT));
    until("failures to be counted", PATIENCE, || {
        (metric(&host, "ebpf_ml_post_failures_total") >= 2.0).then_some(())
    });

    // Back: what waited is delivered, and nothing was lost.
    let _back = detector(&host);
    until("what waited", Duration::from_secs(60), || {
        let stats = stats(&host);
        let gate = &stats["sensors"]["gate"];
        assert!(gate["missing"].as_u64().unwrap_or(0) == 0, "{stats:#}");
        (gate["flows"].as_u64()? > 0 && stats["questions"]["/detect"].as_u64()? > 0).then_some(())
    });
    for name in ["figures_dropped", "flow_rows_dropped", "findings_refused"] {
        assert_eq!(loss(&agent, name), Some(0), "{name}");
    }
    let log = agent.log();
    assert!(log.contains("judging goes on without") && log.contains("again"), "{log}");
    agent.stop();
}

#[test]
fn figures_come_by_way_of_a_real_prometheus() {
    let test = "figures_come_by_way_of_a_real_prometheus";
    let Some(host) = Host::new(test, &["prometheus", "nmap"]) else { return };
    let agent = host.agent("[api]\nprometheus = 'http://127.0.0.1:9090'\n", &[]);
    let (status, problem) = host.get_at(DETECTOR, "/detect/prom");
    assert_eq!(status, 503, "nobody is there yet: {problem}");
    let (config, data) = (host.path("prometheus.yml"), host.path("prometheus"));
    let yaml = "global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n  - job_name: sensor\n    \
                static_configs: [{ targets: ['127.0.0.1:8800'] }]\n";
    std::fs::write(&config, yaml).expect("a configuration");
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", data.display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let log = host.path("prometheus.log");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _prometheus = host.daemon("prometheus", &args, &log);
    let answer = until("an answer by way of Prometheus", Duration::from_secs(60), || {
        let (status, answer) = host.get_at(DETECTOR, "/detect/prom");
        (status == 200).then(|| serde_json::from_str::<Value>(&answer).expect("JSON"))
    });
    assert!(answer["verdict"].is_string() && answer["scores"]["rule_based"].is_number(), "{answer:#}");
    // Shadow mode: the scan goes on, and shows a second or two later.
    let _scan = scan(&host, &ATTACKERS[0].to_string());
    until("the scan by way of Prometheus", Duration::from_secs(60), || {
        let answer: Value = serde_json::from_str(&host.get_at(DETECTOR, "/detect/prom").1).ok()?;
        answer["threat_types"].as_array()?.iter().any(|t| t == "port_scan").then_some(())
    });
    agent.stop();
}

/// A finding that speaks as strongly as can be.
fn finding(finder: &str, source: &str, at: f64) -> Value {
    json!({ "finder": finder, "source_ip": source, "threat_type": if finder == "flows" { "port_scan" } else { "anomaly" },
            "grade": "ml_critical_risk", "confidence": 1, "verdict": "high_confidence_attack", "since": at - 10.0, "at": at,
            "reasons": [{ "feature": "window_packets\u{1b}[31m", "observed": 1, "usual": 0, "contribution": 1 }],
            "explanation": "\u{1b}[31mowned" })
}

/// A detector that finds everybody guilty of whom rows come, and some of whom none came.
fn accuser(listener: &TcpListener, others: &[String]) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
            let header = line.to_ascii_lowercase();
            length =
                header.strip_prefix("content-length: ").map_or(length, |n| n.trim().parse().unwrap_or(0));
            line.clear();
        }
        let mut body = vec![0; length];
        let read = reader.read_exact(&mut body);
        let batch: Value = read.ok().and_then(|()| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let at = batch["time"].as_f64().unwrap_or(0.0);
        let mut accused: Vec<String> = others.to_vec();
        for row in batch["windows"].as_array().into_iter().flatten() {
            accused.extend(row["source_ip"].as_str().map(str::to_owned));
        }
        let findings: Vec<Value> =
            accused.iter().flat_map(|a| [finding("flows", a, at), finding("windows", a, at)]).collect();
        let answer = json!({ "model_version": "x", "flows": 0, "windows": 0, "repeated": false, "omitted": 0,
                             "findings": findings })
        .to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
        let _ = stream.write_all((head + &answer).as_bytes());
    }
}

#[test]
fn what_a_detector_finds_blocks_by_agreement_and_never_whom_the_sensor_did_not_ask_about() {
    let test = "what_a_detector_finds_blocks_by_agreement_and_never_whom_the_sensor_did_not_ask_about";
    let Some(host) = Host::new(test, &[]) else { return };
    let listener =
        host.range.enter(Side::Victim, || TcpListener::bind(DETECTOR)).expect("the victim's namespace");
    let listener = listener.expect("a listener");
    let [accused, listed, unheard, _] = ATTACKERS.map(|a| a.to_string());
    let others = [listed.clone(), unheard.clone()];
    std::thread::spawn(move || accuser(&listener, &others));
    let config = format!("[post]\ninterval_s = 0.5\n[respond]\nallow = ['{listed}', '{CLIENT}']\n");
    let agent = host.agent_as("sensor", &config, &["--enforce"]);
    let target = VICTIM.to_string();
    let ping = |from: &str| host.tool("ping", &["-n", "-q", "-c", "600", "-i", "0.05", "-I", from, &target]);
    let _pings = (ping(&accused), ping(&listed));
    let block = until("the block of the accused", Duration::from_secs(60), || agent.block(ATTACKERS[0]));
    assert_eq!(block["enforced"], true, "{block}");
    assert!(!host.answers(ATTACKERS[0]));
    let refused =
        until("lies to be counted", PATIENCE, || loss(&agent, "findings_refused").filter(|n| *n >= 4));
    assert!(refused >= 4);
    for (addr, name) in [(ATTACKERS[1], listed), (ATTACKERS[2], unheard)] {
        assert!(agent.block(addr).is_none() && host.answers(addr), "{name}");
        assert!(agent.incident("port_scan", addr).is_none(), "{name}");
    }
    let incident = agent.incident("port_scan", ATTACKERS[0]).expect("its incident");
    assert_eq!(incident["rules"], json!(["learned-flows", "learned-windows"]), "{incident}");
    assert!(!agent.log().contains('\u{1b}') && !agent.log().contains("owned"), "{}", agent.log());
    agent.stop();
}
