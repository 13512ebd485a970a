//! The detector's API through the program: the contract's documented cases. Keeps docs/detector.md true.

use crate::common::{autoinmune, repository, scratch, stderr, stdout};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A detector of this test's own.
struct Detector {
    child: Child,
    address: String,
}

/// A configuration by which what is known is kept in a directory.
fn keeping_in(dir: &Path) -> String {
    let config = dir.join("config.toml");
    let text = format!("[paths]\nstate_dir = {:?}\n", dir.join("state"));
    std::fs::write(&config, text).expect("written");
    config.to_str().expect("a plain path").to_owned()
}

impl Drop for Detector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Detector {
    fn start(config: Option<&str>) -> Self {
        // What one test taught is not to be known to another.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let own = config.is_none().then(|| {
            let dir = scratch(&format!("detector-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
            keeping_in(&dir)
        });
        let config = config.or(own.as_deref());
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoinmune"));
        command.args(["detector", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).env("NO_COLOR", "1");
        if let Some(config) = config {
            command.args(["--config", config]);
        }
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| Some(l.split("detector on http://").nth(1)?.split(';').next()?.to_owned()))
            .expect("it says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    /// Ends it as systemd does.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.child.wait().expect("it ends").success());
    }

    fn detect(&self, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", "/detect", &body.to_string());
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    }
}

/// Figures by rates and counts: packets, bytes, addresses, ports, TCP, UDP, SYN.
fn traffic(of: [f64; 7]) -> Value {
    let [packets, bytes, ips, ports, tcp, udp, syn] = of;
    json!({ "packets_per_second": packets, "bytes_per_second": bytes, "unique_ips": ips, "unique_ports": ports,
            "tcp_packets": tcp, "udp_packets": udp, "syn_packets": syn })
}

fn types(answer: &Value) -> Vec<&str> {
    answer["threat_types"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

#[test]
fn the_documented_cases_about_traffic_come_out() {
    let detector = Detector::start(None);
    let check = |figures: [f64; 7], expected: &[&str], risk: bool| {
        let mut question = traffic(figures);
        question["source_ip"] = json!("192.0.2.7");
        let answer = detector.detect(&question);
        let types = types(&answer);
        for wanted in expected {
            assert!(types.contains(wanted), "{wanted} in {answer:#}");
        }
        assert!(!risk || types.iter().any(|t| t.starts_with("ml_") && t.ends_with("_risk")), "{answer:#}");
        assert_eq!(answer["threat_detected"], true, "{answer:#}");
        assert_eq!(answer["attacking_ips"], json!(["192.0.2.7"]), "{answer:#}");
        assert!(answer["explanation"].as_str().is_some_and(|e| e.len() > 20), "{answer:#}");
    };
    check([1200.0, 1.5e6, 30.0, 50.0, 1140.0, 60.0, 800.0], &["port_scan"], true);
    check([15_000.0, 5e7, 500.0, 100.0, 9000.0, 6000.0, 900.0], &["ddos"], false);
    check([5000.0, 3e5, 200.0, 1.0, 5000.0, 0.0, 5000.0], &["syn_flood"], false);
    check([300.0, 1e7, 3.0, 2.0, 300.0, 0.0, 2.0], &["data_exfiltration"], false);
    // More UDP than TCP and few requests: no rule, and the ensemble finds it strange.
    let answer = detector.detect(&traffic([800.0, 6e5, 20.0, 10.0, 300.0, 500.0, 10.0]));
    assert_eq!(types(&answer), ["ml_medium_risk"], "{answer:#}");
    assert_eq!(answer["scores"]["rule_based"], 0.0);
    let (_, metrics) = detector.ask("GET", "/metrics", "");
    let metrics = metrics.as_str().expect("text");
    for line in [
        "ml_detector_threats_total{threat_type=\"port_scan\",confidence_level=\"high\",source_ip=\"192.0.2.7\"} 1",
        "ml_detector_port_scan_total{severity=\"medium\"} 1",
        "ml_detector_ddos_total{attack_type=\"snapshot\"} 1",
        "ml_detector_syn_flood_total{severity=\"high\"} 1",
        "ml_detector_ip_packet_count{source_ip=\"192.0.2.7\"} 300",
        "ml_detector_advanced_model_status{model=\"snapshots\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[test]
fn what_has_been_going_on_is_no_alert() {
    let detector = Detector::start(None);
    let busy = [850.0, 9e5, 60.0, 3.0, 820.0, 30.0, 60.0];
    for i in 0..20 {
        let like = busy.map(|v| (v * (1.0 + 0.01 * f64::from(i % 7 - 3))).round());
        let mut question = traffic(like);
        question["time"] = json!(format!("2025-11-28T13:{i:02}:00Z"));
        detector.detect(&question);
    }
    let mut question = traffic(busy);
    question["time"] = json!("2025-11-28T14:00:00Z");
    let answer = detector.detect(&question);
    assert_eq!(answer["verdict"], "investigate_edge_case", "{answer:#}");
    assert_eq!((&answer["threat_detected"], types(&answer).len()), (&json!(false), 0), "{answer:#}");
    let usual = [400.0, 3e5, 20.0, 25.0, 360.0, 40.0, 30.0];
    for i in 0..20 {
        detector.detect(&traffic(usual.map(|v| (v * (1.0 + 0.01 * f64::from(i % 5 - 2))).round())));
    }
    let answer = detector.detect(&traffic(usual));
    assert_eq!(answer["threat_detected"], false, "{answer:#}");
    // A rule is not moved by habit.
    let scan = traffic([1200.0, 1.5e6, 30.0, 50.0, 1140.0, 60.0, 800.0]);
    (0..20).for_each(|_| drop(detector.detect(&scan)));
    assert!(types(&detector.detect(&scan)).contains(&"port_scan"));
}

#[test]
fn the_documented_cases_about_logins_come_out() {
    let detector = Detector::start(None);
    let logins = |more: Value| {
        let mut body = json!({ "detection_type": "authentication" });
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        detector.detect(&body)
    };
    let check = |more: Value, expected: &str| {
        let answer = logins(more);
        assert!(types(&answer).contains(&expected), "{expected} in {answer:#}");
        assert_eq!(answer["threat_detected"], true);
    };
    let service = json!({ "username_text": "svc-backup", "total_attempts": 136_963, "failed_attempts": 136_963,
                          "successful_attempts": 0, "unique_source_ips": 34, "privilege_level": "service" });
    check(service, "service_account_abuse");
    let kind =
        json!({ "username_type": "service_account", "total_attempts": 136_963, "unique_source_ips": 34 });
    check(kind, "service_account_abuse");
    let one = |name: &str| {
        json!({ "username_text": name, "total_attempts": 1, "failed_attempts": 1,
                "successful_attempts": 0, "unique_source_ips": 1, "privilege_level": "user" })
    };
    check(one("sudo rm -rf /"), "command_injection");
    check(one("admin' OR '1'='1' --"), "command_injection");
    check(one("P@ssw0rd2024!"), "username_confusion");
    let stuffing = json!({ "username_text": "alice@example.org", "total_attempts": 5000, "failed_attempts": 4950,
                           "successful_attempts": 50, "unique_source_ips": 900, "unique_usernames": 4500 });
    check(stuffing, "credential_stuffing");
    let spraying = json!({ "username_text": "alice", "total_attempts": 200, "failed_attempts": 199, "successful_attempts": 1,
                           "unique_source_ips": 1, "unique_usernames": 180, "source_ip": "192.0.2.7" });
    check(spraying, "password_spraying");
    let brute = json!({ "username_text": "root", "total_attempts": 500, "failed_attempts": 500, "successful_attempts": 0,
                        "unique_source_ips": 1, "source_ip": "192.0.2.7" });
    check(brute, "brute_force");
    let person = json!({ "username_text": "alice", "total_attempts": 3, "failed_attempts": 1, "successful_attempts": 2,
                         "unique_source_ips": 1 });
    assert_eq!(logins(person)["threat_detected"], false);
    let (status, answer) = detector.ask("POST", "/classify_username", r#"{"username":"sudo rm -rf /"}"#);
    assert_eq!((status, &answer["predicted_type"]), (200, &json!("command")), "{answer:#}");
    assert!(answer["confidence"].as_f64().is_some_and(|c| c >= 0.95), "{answer:#}");
    assert!(answer["n_gram_analysis"].as_array().is_some_and(|g| !g.is_empty()), "{answer:#}");
}

#[test]
fn a_retraining_that_would_forget_attacks_is_refused() {
    let detector = Detector::start(None);
    let wait = |id: &str| {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let (_, job) = detector.ask("GET", &format!("/train/{id}"), "");
            if job["ended"].is_number() {
                return job;
            }
            assert!(Instant::now() < until, "{job}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let (status, job) = detector.ask("POST", "/train", "");
    assert_eq!((status, &job["state"]), (202, &json!("queued")), "{job}");
    let job = wait(job["id"].as_str().expect("an identifier"));
    assert_eq!(job["state"], "refused", "nothing to learn from: {job}");
    let (_, models) = detector.ask("GET", "/models", "");
    assert_eq!(models[0]["version"], "shipped", "{models:#}");
}

#[test]
fn what_is_known_of_ordinary_traffic_outlives_the_program() {
    let dir = scratch("detector-kept");
    let config = keeping_in(&dir);
    let history = |d: &Detector| d.ask("GET", "/stats", "").1["history"].clone();
    let detector = Detector::start(Some(&config));
    for n in 0..50 {
        let (status, _) = detector.ask(
            "POST",
            "/detect",
            &traffic([40.0 + f64::from(n), 9000.0, 3.0, 2.0, 30.0, 10.0, 2.0]).to_string(),
        );
        assert_eq!(status, 200);
    }
    assert_eq!(history(&detector), 50);
    let (status, job) = detector.ask("POST", "/train", r#"{"target": "flows"}"#);
    assert_eq!(status, 409, "nobody learns flows in a detector: {job}");
    let (status, job) = detector.ask("POST", "/train", r#"{"target": "snapshots"}"#);
    assert_eq!((status, &job["id"], &job["target"]), (202, &json!("1"), &json!("snapshots")), "{job}");
    detector.stop();
    let detector = Detector::start(Some(&config));
    assert_eq!(history(&detector), 50);
    let (_, job) = detector.ask("POST", "/train", "");
    assert_eq!(job["id"], "2", "versions are named by it: {job}");
    detector.stop();
    let kept = dir.join("state/snapshots.state");
    std::fs::write(&kept, b"not what was written").expect("written");
    let detector = Detector::start(Some(&config));
    assert_eq!(history(&detector), 0);
    assert!(dir.join("state/snapshots.state.unread").exists(), "put aside for people to look at");
}

#[test]
fn prometheus_is_asked_and_its_absence_is_said() {
    let (status, problem) = Detector::start(None).ask("GET", "/detect/prom", "");
    assert_eq!(status, 404, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("api.prometheus")), "{problem}");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://{}", server.local_addr().expect("an address"));
    // One figure each, in the order they are asked for.
    std::thread::spawn(move || {
        for value in ["1200", "1500000", "30", "50", "1140", "60", "800"] {
            let Ok((mut stream, _)) = server.accept() else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = json!({ "status": "success", "data": { "resultType": "vector", "result": [
                { "metric": {}, "value": [1_700_000_000.0, value] } ] } })
            .to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let dir = scratch("detector-prometheus");
    let config = dir.join("config.toml");
    std::fs::write(&config, format!("[api]\nprometheus = \"{url}\"\n")).expect("a configuration");
    let detector = Detector::start(config.to_str());
    let (status, answer) = detector.ask("GET", "/detect/prom", "");
    assert_eq!(status, 200, "{answer}");
    assert!(types(&answer).contains(&"port_scan"), "{answer:#}");
}

#[test]
fn an_open_door_is_not_opened() {
    let output = autoinmune(&["detector", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("api.keys_file"), "{}", stderr(&output));
    let output = autoinmune(&["detector", "--listen", "nonsense"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn the_committed_contract_is_the_served_one() {
    let printed: Value = serde_json::from_str(&stdout(&autoinmune(&["reference", "openapi"]))).expect("JSON");
    let (_, served) = Detector::start(None).ask("GET", "/openapi.json", "");
    assert_eq!(printed, served);
    let committed = std::fs::read_to_string(repository().join("docs/openapi.json")).expect("a document");
    assert_eq!(serde_json::from_str::<Value>(&committed).expect("JSON"), served, "run `cargo xtask docs`");
}

/// A batch of nothing but its head, at a time of now.
fn batch(number: u64, flows: &[Value], windows: &[Value]) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let features = &detect::learned::row::SHIPPED[..];
    json!({ "sensor": "gate", "run": "00000000000000aa", "number": number, "time": now + 20,
            "schema": detect::learned::exchange::schema_hash(features).expect("known features"),
            "features": features, "flows": flows, "windows": windows })
}

/// A flow as a flood of datagrams has them, that ended `at` seconds from now.
fn flood(at: f64, port: u16) -> Value {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs_f64();
    let values: Vec<Value> = detect::learned::row::SHIPPED
        .iter()
        .map(|name| match *name {
            "proto" => json!("udp"),
            "service" => json!("-"),
            "state" => json!("INT"),
            "spkts" => json!(1),
            "sbytes" | "smean" => json!(1028),
            "dpkts" | "dbytes" | "dur" => json!(0),
            _ => Value::Null,
        })
        .collect();
    json!({ "at": now + at, "since": now + at, "values": values,
            "ends": { "source_ip": "203.0.113.9", "source_port": 4444, "target_ip": "192.0.2.1",
                      "target_port": port, "protocol": 17 } })
}

#[test]
fn what_sensors_post_is_judged_once_counted_by_sensor_and_refused_where_clocks_or_features_differ() {
    let detector = Detector::start(None);
    let post = |batch: &Value| detector.ask("POST", "/detect/flows", &batch.to_string());
    let flows: Vec<Value> = (0..200).map(|n| flood(f64::from(n) / 100.0, 1000 + n)).collect();
    let first = batch(1, &flows, &[]);
    let (status, answer) = post(&first);
    assert_eq!(
        (status, &answer["flows"], &answer["repeated"]),
        (200, &json!(200), &json!(false)),
        "{answer}"
    );
    let (_, again) = post(&first);
    assert_eq!((&again["flows"], &again["repeated"]), (&json!(200), &json!(true)), "{again}");
    // Two batches never came.
    let window = json!({ "at": first["time"], "since": first["time"], "source_ip": "203.0.113.9",
                         "windows": [vec![Value::Null; 24], vec![json!(1); 24]] });
    assert_eq!(post(&batch(4, &[], std::slice::from_ref(&window))).0, 200);
    assert_eq!(post(&batch(2, &[], &[])).1["repeated"], true, "late ones are not judged");
    let (_, stats) = detector.ask("GET", "/stats", "");
    let gate = &stats["sensors"]["gate"];
    for (name, count) in [("batches", 2), ("repeated", 2), ("missing", 2), ("flows", 200), ("windows", 1)] {
        assert_eq!(gate[name], count, "{name}: {stats:#}");
    }
    let (_, metrics) = detector.ask("GET", "/metrics", "");
    let metrics = metrics.as_str().expect("text");
    for line in [
        "ml_detector_sensor_flows_total{sensor=\"gate\"} 200",
        "ml_detector_sensor_batches_missing_total{sensor=\"gate\"} 2",
        "ml_detector_advanced_model_status{model=\"flows\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let (_, models) = detector.ask("GET", "/models", "");
    let named = |name: &str| models.as_array().expect("a list").iter().any(|m| m["name"] == name);
    assert!(named("flows") && named("windows"), "{models:#}");

    let refused = |change: &dyn Fn(&mut Value), about: &str| {
        let mut b = batch(9, &[flood(0.0, 53)], std::slice::from_ref(&window));
        change(&mut b);
        let (status, problem) = post(&b);
        assert_eq!(status, 409, "{about}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains(about)), "{about}: {problem}");
    };
    refused(&|b| b["schema"] = json!("0000000000000000"), "run the same version");
    refused(&|b| b["features"][0] = json!("phase of the moon"), "phase of the moon");
    refused(&|b| drop(b["flows"][0]["values"].as_array_mut().expect("a list").pop()), "39 values");
    refused(&|b| b["flows"][0]["values"][0] = json!("\u{1b}[31m"), "\"dur\" is not a number");
    refused(&|b| b["flows"][0]["at"] = json!(1_000_000_000), "`at` of flow 0");
    refused(&|b| b["windows"][0]["at"] = json!(4_000_000_000_u64), "ahead");
    refused(&|b| b["time"] = json!(0), "`time`");
    refused(&|b| b["windows"][0]["windows"] = json!([[1, 2, 3]]), "window 0");
    assert_eq!(
        detector.ask("GET", "/stats", "").1["sensors"]["gate"]["batches"],
        2,
        "nothing of them was judged"
    );
}

#[test]
fn without_learned_models_sensors_are_told_so() {
    let config = scratch("detector-without-models").join("config.toml");
    std::fs::write(&config, "[models]\nbundle = \"none\"\n").expect("a configuration");
    let detector = Detector::start(config.to_str());
    let (status, problem) = detector.ask("POST", "/detect/flows", &batch(1, &[], &[]).to_string());
    assert_eq!(status, 404, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("models.bundle")), "{problem}");
}
