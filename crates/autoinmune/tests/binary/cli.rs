//! The command line from the outside: help, exit codes, one clear sentence for each failure.

use crate::common::{autoinmune, repository, scratch, stderr, stdout};

fn fails(args: &[&str], code: i32, says: &str) {
    let output = autoinmune(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(says), "{args:?} should say '{says}': {said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn help_and_version_work() {
    for args in [&["--help"][..], &["--version"], &["run", "--help"], &["rules", "check", "--help"]] {
        let output = autoinmune(args);
        assert!(output.status.success() && !stdout(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    fails(&["replya"], 2, "replay");
    fails(&["replay"], 2, "FILE");
    fails(&["ban", "nonsense"], 2, "not an IP address");
    fails(&["ban", "192.0.2.1", "--for", "soon"], 2, "--for");
    fails(&["explain", "192.0.2.0/24"], 2, "not an IP address");
    fails(&["run", "--simulate", "story", "--enforce"], 2, "--enforce");
}

#[test]
fn no_agent_is_said_with_the_way_out() {
    let dir = scratch("no-agent");
    for command in ["status", "bans"] {
        fails(&[command, "--run-dir", dir.to_str().unwrap()], 7, "sudo autoinmune run");
    }
}

#[test]
fn configuration_errors_name_file_line_and_suggestion() {
    let dir = scratch("config");
    let path = dir.join("c.toml");
    std::fs::write(&path, "[sensor]\nring_byte = 65536\n").unwrap();
    let path = path.to_str().unwrap();
    fails(&["config", "check", path], 3, "c.toml:2:1");
    fails(&["config", "check", path], 3, "did you mean `ring_bytes`?");
    fails(&["run", "--simulate", "ordinary", "--config", path], 3, "ring_bytes");
    std::fs::write(path, "[rules.scan-vertica]\nenabled = false\n").unwrap();
    fails(&["config", "check", path], 3, "scan-vertical");
    std::fs::write(path, "").unwrap();
    assert!(autoinmune(&["config", "check", path]).status.success());
}

#[test]
fn the_default_configuration_is_valid_and_the_schema_is_json() {
    let dir = scratch("default-config");
    let path = dir.join("default.toml");
    std::fs::write(&path, stdout(&autoinmune(&["config", "default"]))).unwrap();
    let output = autoinmune(&["config", "check", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let schema: serde_json::Value =
        serde_json::from_str(&stdout(&autoinmune(&["config", "schema"]))).unwrap();
    let default: serde_json::Value = toml_as_json(&std::fs::read_to_string(path).unwrap());
    assert!(jsonschema::is_valid(&schema, &default));
}

fn toml_as_json(text: &str) -> serde_json::Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn rules_are_listed_and_their_vectors_pass() {
    let output = autoinmune(&["rules", "list", "-o", "json"]);
    let rules: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(rules.as_array().unwrap().len() >= 10);
    let output = autoinmune(&["rules", "check"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let shipped = repository().join("rules/port_scan.toml");
    assert!(autoinmune(&["rules", "check", shipped.to_str().unwrap()]).status.success());
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&autoinmune(&["completions", shell])).contains("autoinmune"));
    }
    let dir = scratch("man");
    assert!(autoinmune(&["man", dir.to_str().unwrap()]).status.success());
    assert!(dir.join("autoinmune-replay.1").exists());
}

#[test]
fn generated_documents_are_current() {
    for (path, args) in [
        ("docs/cli.md", &["reference"][..]),
        ("docs/config.schema.json", &["config", "schema"]),
        ("docs/config.toml", &["config", "default"]),
    ] {
        let committed = std::fs::read_to_string(repository().join(path)).unwrap_or_default();
        assert!(committed == stdout(&autoinmune(args)), "{path} is stale; run `cargo xtask docs`");
    }
}
