//! `capture` on a real interface: rows, labels, packets, resuming, and the same features as replay extracts.

use crate::support::{BINARY, Host, PATIENCE, until};
use lab::address::VICTIM;
use lab::range::VICTIM_INTERFACE;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn begin(host: &Host, out: &Path, config: &Path, more: &[&str]) -> Child {
    let (out, config) = (out.to_str().expect("plain"), config.to_str().expect("plain"));
    let args = ["capture", "--out", out, "--interface", VICTIM_INTERFACE, "--config", config, "-o", "json"];
    let mut command = host.victim(BINARY, &[&args, more].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the capture begins")
}

/// Bytes of all parts.
fn written(out: &Path) -> u64 {
    let entries = std::fs::read_dir(out).into_iter().flatten().filter_map(Result::ok);
    let parts = entries.filter(|e| e.file_name().to_string_lossy().starts_with("part-"));
    parts.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}

/// Sends traffic until rows are written beyond the `before` bytes that were there; a header alone has some 2,000.
fn watch(host: &Host, child: &mut Child, out: &Path, before: u64) {
    until("a row", PATIENCE, || {
        assert!(child.try_wait().expect("its state").is_none(), "the capture ended");
        host.outside("ping", &["-c", "2", "-i", "0.2", "-W", "1", &VICTIM.to_string()])
            .output()
            .expect("ping");
        (written(out) > before + 4000).then_some(())
    });
}

/// Ends a capture as Ctrl-C does.
fn end(child: Child) -> Value {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("missing: flows"), "the score is shown while it runs: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn check(dir: &Path, more: &[&str]) -> Value {
    let args = ["dataset", "check", dir.to_str().expect("plain"), "-o", "json"];
    let output = Command::new(BINARY).args([&args, more].concat()).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn flows_are_recorded_and_a_second_run_goes_on() {
    let name = "flows_are_recorded_and_a_second_run_goes_on";
    let Some(host) = Host::new(name, &["ping"]) else { return };
    for (attach, sensor) in [("auto", "xdp"), ("af_packet", "af-packet")] {
        let (out, config) = (host.path(&format!("set-{attach}")), host.path(&format!("{attach}.toml")));
        std::fs::write(&config, format!("[sensor]\nattach = '{attach}'\n")).expect("written");
        let mut child = begin(&host, &out, &config, &["--class", "benign", "--retention", "a week"]);
        watch(&host, &mut child, &out, 0);
        let first = end(child);
        let rows = first["rows"].as_u64().expect("rows");
        assert!(rows > 0 && first["packets"].as_u64().is_some_and(|n| n > 0), "{attach}: {first}");
        let before = written(&out);
        let mut child = begin(&host, &out, &config, &["--class", "benign"]);
        watch(&host, &mut child, &out, before);
        let second = end(child);
        let both = rows + second["rows"].as_u64().expect("rows");
        assert_eq!(
            second["score"]["items"][0]["value"], both as f64,
            "{attach}: the score is of the whole dataset"
        );
        let report = check(&out, &[]);
        assert_eq!((&report["rows"], &report["classes"]["benign"]), (&both.into(), &both.into()), "{attach}");
        let manifest = std::fs::read_to_string(out.join("dataset.toml")).expect("a manifest");
        assert_eq!(manifest.matches("clean = true").count(), 2, "{manifest}");
        assert!(manifest.contains("retention = \"a week\"") && manifest.contains(sensor), "{manifest}");
        assert!(manifest.contains("payload = \"none\"") && !out.join("packets").exists());
        // Nothing of it is left in the kernel, and nothing was blocked.
        assert!(host.leftovers().is_empty(), "{attach}: {:?}", host.leftovers());
    }
}

/// By AF_PACKET the extractor sees what a capture of the same packets holds.
#[test]
fn captured_rows_are_those_that_replay_extracts() {
    let name = "captured_rows_are_those_that_replay_extracts";
    let Some(host) = Host::new(name, &["ping"]) else { return };
    let (out, config) = (host.path("set"), host.path("capture.toml"));
    std::fs::write(&config, "[sensor]\nattach = 'af_packet'\n").expect("written");
    let mut child = begin(&host, &out, &config, &["--pcap", "8", "--format", "csv"]);
    watch(&host, &mut child, &out, 0);
    let status = end(child);
    let packets: Vec<_> =
        std::fs::read_dir(out.join("packets")).expect("packets").filter_map(Result::ok).collect();
    assert_eq!(packets.len(), 1);
    let capture = packets[0].path();
    let report = check(&out, &["--pcap", capture.to_str().expect("plain")]);
    let skew = &report["skew"];
    // A frame between the opening of the two sockets is in one of them only.
    assert!(
        skew["joined"].as_u64().is_some_and(|n| n > 0 && n + 2 >= status["rows"].as_u64().unwrap_or(0)),
        "{skew}"
    );
    // Two sockets tell the time of a packet to a microsecond or so; what is counted is the same.
    let differing = skew["columns"].as_array().expect("columns");
    let differs = |name: &str| differing.iter().any(|c| c["column"] == name);
    for name in [
        "proto",
        "state",
        "service",
        "spkts",
        "dpkts",
        "sbytes",
        "dbytes",
        "sttl",
        "dttl",
        "Fwd Header Length",
    ] {
        assert!(!differs(name), "{name}: {skew}");
    }
}
