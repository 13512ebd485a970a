//! A bounded part of the captures that nobody here made: no panic, every frame accounted for, silence on benign traffic.
//! `cargo xtask exactness` does all of them and says more.

use crate::common::{autoinmune, shared, stderr, stdout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Largest capture replayed here, bytes: seconds for all of them, with a development build.
const MAX_BYTES: u64 = 300_000;

/// Of nDPI's captures, one in so many.
const NDPI_SHARE: usize = 3;

/// What one replay gave.
#[derive(Debug, Default)]
struct Replayed {
    frames: u64,
    in_flows: u64,
    skipped: u64,
    /// Severities of alerts, with their headlines.
    alerts: Vec<(String, String)>,
}

fn replay(capture: &Path) -> Replayed {
    let output = autoinmune(&["replay", "--eve", "-", capture.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}: {}", capture.display(), stderr(&output));
    let mut replayed = Replayed::default();
    for line in stdout(&output).lines() {
        let event: Value = serde_json::from_str(line).expect("one object a line");
        let number = |v: &Value| v.as_u64().expect("a count");
        let ours = &event["metadata"]["flowints"]["autoinmune"];
        match event["event_type"].as_str() {
            Some("flow") => {
                let flow = &event["flow"];
                replayed.in_flows += number(&flow["pkts_toserver"]) + number(&flow["pkts_toclient"]);
            }
            Some("stats") => {
                replayed.frames += number(&event["stats"]["capture"]["kernel_packets"]);
                let reasons = wire::Skip::ALL.iter().map(|s| s.name()).chain(["unknown_link_type"]);
                replayed.skipped += reasons.map(|r| number(&ours["losses"][r])).sum::<u64>();
            }
            Some("alert") => {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                replayed
                    .alerts
                    .push((text(&ours["incident"]["severity"]), text(&event["alert"]["signature"])));
            }
            _ => {}
        }
    }
    replayed
}

/// Captures below a folder that are small enough, in the order of names.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder of captures")
        .map(|e| e.expect("an entry").path())
        .filter(|p| {
            p.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap")
                && p.metadata().is_ok_and(|m| m.len() <= MAX_BYTES)
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no captures in {}", folder.display());
    found
}

/// Replays each capture, two at a time, and hands the results to `judge`.
fn each(captures: &[PathBuf], judge: impl Fn(&Path, &Replayed) -> Option<String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(what) = judge(capture, &replay(capture)) {
                        wrong.lock().expect("the list").push(format!("{}: {what}", capture.display()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Frames that are neither in a flow nor skipped for a reason.
fn unexplained(replayed: &Replayed) -> Option<String> {
    let Replayed { frames, in_flows, skipped, .. } = replayed;
    (*frames == 0 || *frames != in_flows + skipped)
        .then(|| format!("{frames} frames, {in_flows} in flows, {skipped} skipped"))
}

#[test]
fn every_frame_is_in_a_flow_or_skipped_for_a_reason() {
    let Some(folder) = shared("every_frame_is_in_a_flow_or_skipped_for_a_reason", "pcap/ndpi/pcap") else {
        return;
    };
    let some: Vec<PathBuf> = captures(&folder).into_iter().step_by(NDPI_SHARE).collect();
    each(&some, |_, replayed| unexplained(replayed));
}

#[test]
fn benign_devices_raise_nothing_high() {
    let Some(folder) = shared("benign_devices_raise_nothing_high", "pcap/benign/iot") else { return };
    each(&captures(&folder), |_, replayed| {
        let high = |(severity, _): &&(String, String)| severity != "low" && severity != "medium";
        unexplained(replayed).or_else(|| replayed.alerts.iter().find(high).map(|a| format!("{a:?}")))
    });
}
