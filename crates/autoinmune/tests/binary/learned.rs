//! The learned detectors from the outside: the bundle built in, and what it adds to a replay.

use crate::common::{autoinmune, repository, shared, stderr, stdout};
use serde_json::Value;
use std::path::Path;

fn replay(capture: &Path, models: &str) -> Value {
    let capture = capture.display().to_string();
    let output = autoinmune(&["replay", &capture, "-o", "json", "--models", models]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON object")
}

fn learned(summary: &Value) -> Vec<&Value> {
    let by_model = |i: &&Value| {
        i["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|r| r.as_str().is_some_and(|r| r.starts_with("learned-")))
    };
    summary["incidents"].as_array().into_iter().flatten().filter(by_model).collect()
}

#[test]
fn a_bundle_of_directory_is_used_if_its_signer_is_trusted() {
    let ordinary = repository().join("testdata/ordinary.pcap");
    let shipped = repository().join("models/default").display().to_string();
    assert_eq!(replay(&ordinary, "default")["incidents"], replay(&ordinary, &shipped)["incidents"]);
    let capture = ordinary.display().to_string();
    let nowhere = autoinmune(&["replay", &capture, "--models", "/nonexistent/bundle"]);
    assert_eq!(nowhere.status.code(), Some(3), "{}", stderr(&nowhere));
    assert!(stderr(&nowhere).contains("/nonexistent/bundle"));
}

#[test]
fn ordinary_traffic_gives_no_learned_signal() {
    let summary = replay(&repository().join("testdata/ordinary.pcap"), "default");
    assert_eq!(learned(&summary), Vec::<&Value>::new());
}

#[test]
fn malware_that_goes_on_is_signalled_with_reasons_and_not_blocked_for_it() {
    let Some(capture) = shared("malware_that_goes_on…", "pcap/malware/ustc-tinba.pcap") else { return };
    let summary = replay(&capture, "default");
    let found = learned(&summary);
    assert_eq!(found.len(), 1);
    let reasons: Vec<&Value> = found[0]["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["contribution"].is_number())
        .collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|r| r["observed"].is_number()), "{found:?}");
    assert_eq!(found[0]["action"], "alert");
    assert_eq!(learned(&replay(&capture, "none")), Vec::<&Value>::new());
}

#[test]
fn learned_signals_are_events_that_the_schema_knows() {
    let Some(capture) = shared("learned_signals_are…", "pcap/malware/ustc-tinba.pcap") else { return };
    let Some(schema) = shared("learned_signals_are…", "eve-schema/schema.json") else { return };
    let schema: Value =
        serde_json::from_slice(&std::fs::read(schema).expect("readable")).expect("a JSON schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let output = autoinmune(&["replay", &capture.display().to_string(), "--eve", "-"]);
    let lines = stdout(&output);
    let events = lines.lines().map(|l| serde_json::from_str::<Value>(l).expect("a JSON line"));
    let alerts: Vec<Value> = events.filter(|e| e["alert"]["signature_id"] == 2_000_001).collect();
    assert!(!alerts.is_empty());
    for alert in &alerts {
        assert!(validator.is_valid(alert), "{:?}", validator.iter_errors(alert).next());
        let origins = &alert["metadata"]["flowints"]["autoinmune"]["incident"]["origins"];
        assert!(origins.as_array().is_some_and(|o| o.contains(&"learned_flow".into())), "{alert}");
    }
}

#[test]
fn benign_captures_give_no_learned_incident() {
    let Some(dir) = shared("benign_captures_give…", "pcap/benign/iot") else { return };
    let mut captures: Vec<_> =
        std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path()).collect();
    captures.sort();
    // One of each six: the others are like them.
    for capture in captures.iter().step_by(6) {
        let summary = replay(capture, "default");
        assert_eq!(learned(&summary), Vec::<&Value>::new(), "{}", capture.display());
    }
}
