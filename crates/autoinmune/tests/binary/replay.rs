//! `replay` from the outside: totals, events, determinism, bad input.

use crate::common::{autoinmune, repository, scratch, shared, stderr, stdout};
use serde_json::Value;
use std::path::Path;

fn summary(files: &[&Path]) -> Value {
    let mut args = vec!["replay", "--summary", "-"];
    args.extend(files.iter().map(|f| f.to_str().expect("a plain path")));
    let output = autoinmune(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON object")
}

fn incidents(summary: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    summary["incidents"]
        .as_array()
        .map(|list| list.iter().map(|i| (text(&i["class"]), text(&i["actor"]))).collect())
        .unwrap_or_default()
}

#[test]
fn our_own_story_is_recognised_and_ordinary_traffic_is_not() {
    let story = summary(&[&repository().join("testdata/story.pcap")]);
    let classes: Vec<String> = incidents(&story).into_iter().map(|(class, _)| class).collect();
    for class in ["port_scan", "syn_flood", "brute_force"] {
        assert!(classes.iter().any(|c| c == class), "{class} is missing in {classes:?}");
    }
    for i in story["incidents"].as_array().expect("a list") {
        for field in [
            "actor",
            "class",
            "severity",
            "technique",
            "first_seen",
            "last_seen",
            "confidence",
            "evidence",
            "action",
        ] {
            assert!(!i[field].is_null(), "{field} is missing in {i}");
        }
        assert_ne!(i["action"], "block", "a replay blocks nothing");
    }
    let ordinary = summary(&[&repository().join("testdata/ordinary.pcap")]);
    assert_eq!(incidents(&ordinary), []);
    for field in ["files", "packets", "bytes", "flows", "duration_seconds", "seconds", "losses", "incidents"]
    {
        assert!(!ordinary[field].is_null(), "{field} is missing");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = scratch("determinism");
    let story = repository().join("testdata/story.pcap");
    let mut runs = Vec::new();
    for name in ["a", "b"] {
        let (eve, sum) = (dir.join(format!("{name}.eve")), dir.join(format!("{name}.json")));
        let output = autoinmune(&[
            "replay",
            story.to_str().unwrap(),
            "--eve",
            eve.to_str().unwrap(),
            "--summary",
            sum.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut summary: Value = serde_json::from_slice(&std::fs::read(sum).unwrap()).unwrap();
        summary["seconds"].take();
        runs.push((std::fs::read(eve).unwrap(), summary.to_string()));
    }
    assert!(!runs[0].0.is_empty());
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn events_are_valid_eve() {
    let Some(schema) = shared("events_are_valid_eve", "eve-schema/schema.json") else { return };
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("the published schema compiles");
    let mut types = std::collections::BTreeSet::new();
    for capture in ["story.pcap", "ordinary.pcap"] {
        let output = autoinmune(&[
            "replay",
            repository().join("testdata").join(capture).to_str().unwrap(),
            "--eve",
            "-",
        ]);
        for line in stdout(&output).lines() {
            let event: Value = serde_json::from_str(line).expect("one object a line");
            let errors: Vec<String> =
                validator.iter_errors(&event).map(|e| format!("{e} at {}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:?} in {line}");
            let kind = event["event_type"].as_str().unwrap().to_owned();
            if kind == "alert" {
                assert!(event["metadata"]["flowints"]["autoinmune"]["incident"]["techniques"][0].is_string());
                assert!(event["community_id"].as_str().unwrap().starts_with("1:"));
            }
            if kind == "flow" {
                assert!(event["community_id"].as_str().unwrap().starts_with("1:"));
            }
            types.insert(kind);
        }
    }
    assert!(types.contains("flow") && types.contains("alert") && types.contains("stats"), "{types:?}");
}

/// docs/events.md names every field of ours that the story gives.
#[test]
fn our_fields_are_documented() {
    let page = std::fs::read_to_string(repository().join("docs/events.md")).expect("docs/events.md");
    let output =
        autoinmune(&["replay", repository().join("testdata/story.pcap").to_str().unwrap(), "--eve", "-"]);
    let mut missing = std::collections::BTreeSet::new();
    for line in stdout(&output).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let ours = &event["metadata"]["flowints"]["autoinmune"];
        for (field, value) in ours.as_object().into_iter().flatten() {
            let inner = value.as_object().filter(|_| field != "losses");
            for name in inner.into_iter().flat_map(serde_json::Map::keys).chain([field]) {
                if !page.contains(&format!("`{name}`")) {
                    missing.insert(name.clone());
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/events.md does not name {missing:?}");
}

#[test]
fn unreadable_input_is_exit_code_2_and_the_rest_is_processed() {
    let dir = scratch("bad-input");
    let story = std::fs::read(repository().join("testdata/story.pcap")).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty.pcap", b"");
    let text = file("text.pcap", b"this is no capture at all, only words");
    let cut = file("cut.pcap", &story[..story.len() / 2 + 3]);
    let missing = dir.join("missing.pcap").to_str().unwrap().to_owned();

    for path in [&empty, &text, &missing] {
        let output = autoinmune(&["replay", path]);
        assert_eq!(output.status.code(), Some(2), "{path}: {}", stderr(&output));
        assert!(stderr(&output).contains(path.as_str()), "{}", stderr(&output));
    }
    let output = autoinmune(&["replay", &cut, &empty, "--summary", "-"]);
    assert!(output.status.success(), "what could be read was processed: {}", stderr(&output));
    assert!(stderr(&output).contains("offset") || stderr(&output).contains("byte"), "{}", stderr(&output));
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(summary["packets"].as_u64().unwrap() > 100);
    assert!(summary["files"][0]["error"].is_string());
    assert_eq!(summary["losses"]["capture_files_cut_short"], 2);

    let output = autoinmune(&["replay", &cut, "--eve", "-", "--summary", "-"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn real_attacks_are_named_and_real_ordinary_traffic_is_silent() {
    for (path, class, actor) in [
        ("pcap/scan/nmap_80_vanilla.pcap", "port_scan", "10.87.1.10"),
        ("pcap/scan/nmap_80_w_service_detection.pcap", "port_scan", "10.87.1.10"),
        ("pcap/scan/icmp-sweep.pcap", "port_scan", "192.168.1.109"),
        ("pcap/ddos/pkt.TCP.synflood.spoofed.pcap", "syn_flood", "distributed"),
        ("pcap/bruteforce/ssh-bruteforce.pcap", "brute_force", "147.32.80.40"),
    ] {
        let Some(file) = shared("real_attacks_are_named", path) else { return };
        let found = incidents(&summary(&[&file]));
        assert!(found.contains(&(class.to_owned(), actor.to_owned())), "{path}: {found:?}");
    }
    let Some(benign) = shared("real_ordinary_traffic_is_silent", "pcap/benign") else { return };
    let mut folders = vec![benign];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(incidents(&summary(&[&entry.path()])), [], "{}", entry.path().display());
                count += 1;
            }
        }
    }
    assert!(count > 0);
}
