//! The lab from outside: a scenario and what it leaves, a network that stays, slow links, refusals, and kill -9.

use crate::support::{BINARY, PATIENCE, one_sentence, possible, text, until};
use flow::label::Labels;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn lab(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("lab").args(args).env_remove("AUTOINMUNE_LOG").stdin(Stdio::null());
    command.output().expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("autoinmune-lab-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_scan_is_blocked_and_leaves_capture_labels_events_and_report() {
    let name = "a_scan_is_blocked_and_leaves_capture_labels_events_and_report";
    if !possible(name, &["ip", "nmap", "nginx", "curl"]) {
        return;
    }
    let folder = Folder::new("scan");
    let report = json(&lab(&["run", "scan-syn", "--out", folder.path(), "-o", "json"]));
    assert_eq!(report["verdict"], "passed", "{report:#}");
    assert!(report["blocks"].as_array().is_some_and(|b| b.iter().all(|b| b["innocent"] == false)));
    let file = |end: &str| folder.0.join(format!("scan-syn.{end}"));
    let labels =
        Labels::parse(&std::fs::read_to_string(file("labels.csv")).expect("labels")).expect("labels");
    let classes: Vec<&str> = labels.rows().iter().map(|l| l.class.as_str()).collect();
    assert_eq!(classes, ["port_scan", "benign"]);
    let eve = std::fs::read_to_string(file("eve.json")).expect("events");
    assert!(eve.lines().any(|l| l.contains("\"event_type\":\"alert\"")));
    let kept: Value =
        serde_json::from_slice(&std::fs::read(file("report.json")).expect("a report")).expect("JSON");
    assert_eq!(kept, report);
    // The capture holds what the sensor dropped, too.
    let scanner: wire::Addr = "198.51.100.201".parse().expect("an address");
    let mut reader =
        wire::capture::Reader::new(std::fs::File::open(file("pcap")).expect("a capture")).expect("pcap");
    let (mut late, blocked) = (0, report["blocked_seconds"].as_f64().expect("a block"));
    let mut first = None;
    while let Some(frame) = reader.next().expect("a whole capture") {
        let packet = frame.link.and_then(|link| wire::parse(link, frame.data, frame.orig_len).ok());
        if packet.is_some_and(|p| p.src == scanner) {
            let first = *first.get_or_insert(frame.ts_ns);
            late += u32::from((frame.ts_ns - first) as f64 / 1e9 > blocked + 0.5);
        }
    }
    assert!(late > 10, "{late} frames of the scanner after it was blocked");
}

#[test]
fn a_sweep_of_silent_hosts_is_recognised_live() {
    if !possible("a_sweep_of_silent_hosts_is_recognised_live", &["ip", "nmap", "nginx", "curl", "sshd"]) {
        return;
    }
    let report = json(&lab(&["run", "scan-sweep", "-o", "json"]));
    assert!(report["detected_seconds"].is_f64(), "{report:#}");
}

const SLOW: &str = r#"
title = "A slow way"
about = "A client measures it."
kind = "benign"
[conditions]
delay_ms = 40
loss_permille = 100
[[actor]]
name = "client"
role = "client"
segment = "outside"
number = 10
[[actor]]
name = "web"
role = "server"
segment = "inside"
number = 10
[[step]]
at = 0.0
from = "client"
to = ["web"]
tool = "ping"
with = { count = 60, rate = 20 }
seconds = 10
"#;

/// The figures of ping: packets received of 60, and the shortest round trip, ms.
fn figures(said: &str) -> Option<(u32, f64)> {
    let received = said.split(" received").next()?.rsplit(' ').next()?.parse().ok()?;
    let shortest = said.split("mdev = ").nth(1)?.split('/').next()?.parse().ok()?;
    Some((received, shortest))
}

#[test]
fn a_slow_and_lossy_link_is_both() {
    if !possible("a_slow_and_lossy_link_is_both", &["ip", "ping", "nft"]) {
        return;
    }
    if !Path::new("/dev/net/tun").exists() {
        println!("skipped: a_slow_and_lossy_link_is_both: needs /dev/net/tun");
        return;
    }
    let folder = Folder::new("slow");
    let file = folder.0.join("slow.toml");
    std::fs::write(&file, SLOW).expect("a scenario");
    let report = json(&lab(&["run", file.to_str().expect("plain"), "-o", "json"]));
    let said = report["deeds"][0]["said"].as_str().unwrap_or_default();
    let (received, shortest) = figures(said).unwrap_or_else(|| panic!("{report:#}"));
    // Nineteen of a hundred round trips are lost; that none or half of sixty is has a chance of one in 100,000.
    assert!((30..60).contains(&received) && (80.0..250.0).contains(&shortest), "{said}");
}

#[test]
fn a_network_stays_until_it_is_taken_down() {
    if !possible("a_network_stays_until_it_is_taken_down", &["ip", "nginx", "nmap", "curl"]) {
        return;
    }
    let up = lab(&["up", "scan-syn", "-o", "json"]);
    if up.status.code() == Some(6) {
        println!("skipped: a_network_stays_until_it_is_taken_down: {}", text(&up.stderr).trim());
        return;
    }
    let up = json(&up);
    let again = one_sentence(&lab(&["up", "scan-syn"]), 6);
    assert!(again.contains("lab down"), "{again}");
    let id = up["id"].as_str().expect("an id");
    let listed = json(&lab(&["list", "-o", "json"]));
    assert_eq!(listed["up"][0]["id"], id);
    let run = up["run_dir"].as_str().expect("a directory");
    let status = Command::new(BINARY).args(["status", "--run-dir", run]).output().expect("the binary runs");
    assert!(status.status.success(), "{}", text(&status.stderr));
    let client = up["hosts"][1]["namespace"].as_str().expect("a namespace");
    let page = Command::new("ip")
        .args(["netns", "exec", client, "curl", "-sS", "http://192.0.2.10/page"])
        .output()
        .expect("ip runs");
    assert_eq!(text(&page.stdout), "an ordinary page\n");
    let down = json(&lab(&["down", "-o", "json"]));
    assert_eq!(down["removed"][0], id);
    assert!(!Path::new("/run/netns").join(client).exists() && !Path::new(run).exists());
    println!("up in {} s with its agent, down in {} s", up["seconds"], down["seconds"]);
}

#[test]
fn what_cannot_be_played_is_refused_in_one_sentence() {
    let folder = Folder::new("refused");
    let file = folder.0.join("wrong.toml");
    std::fs::write(&file, SLOW.replace("kind = \"benign\"", "kind = \"nice\"")).expect("a scenario");
    let wrong = one_sentence(&lab(&["run", file.to_str().expect("plain")]), 2);
    assert!(wrong.contains("wrong.toml"), "{wrong}");
    let unknown = one_sentence(&lab(&["run", "no-such-scenario"]), 2);
    assert!(unknown.contains("'no-such-scenario'") && unknown.contains("scan-syn"), "{unknown}");
    let absent = one_sentence(&lab(&["run", "/nowhere/x.toml"]), 2);
    assert!(absent.contains("/nowhere/x.toml"), "{absent}");
    // Outside of a range, acts go nowhere but to this host itself.
    let act = ["act", "syn_flood", "source=192.0.2.66", "target=192.0.2.10"];
    assert!(one_sentence(&lab(&act), 2).contains("nothing is sent there"));
    let act = ["act", "syn_flood", "source=127.0.0.1", "target=8.8.8.8"];
    assert!(one_sentence(&lab(&act), 2).contains("8.8.8.8"));
}

#[test]
fn what_a_killed_run_leaves_the_next_one_removes() {
    if !possible("what_a_killed_run_leaves_the_next_one_removes", &["ip", "nginx", "nmap", "curl"]) {
        return;
    }
    let mut run = Command::new(BINARY)
        .args(["lab", "run", "scan-syn"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let start = format!("aim-{}-", run.id());
    let namespaces = || -> Vec<String> {
        let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        entries
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| n.starts_with(&start))
            .collect()
    };
    until("the network", PATIENCE, || (namespaces().len() == 5).then_some(()));
    run.kill().expect("kill -9");
    run.wait().expect("it is reaped");
    assert_eq!(namespaces().len(), 5, "kill -9 leaves them");
    until("what is left to go", PATIENCE, || {
        // Another test's start may remove it first, so what counts is that it goes.
        lab::range::sweep().expect("sweep");
        namespaces().is_empty().then_some(())
    });
}
