//! `logs test` and `logs list`.

use crate::common::{autoinmune, scratch, shared, stderr, stdout};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

fn test_json(file: &Path, more: &[&str]) -> Value {
    let output = autoinmune(&[&["logs", "test", file.to_str().unwrap(), "-o", "json"], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_log_under_attack_is_read_and_the_attacker_named() {
    let dir = scratch("logs-attack");
    let mut text = String::new();
    for n in 0..40 {
        let _ = writeln!(
            text,
            "2026-11-21T10:00:{n:02}+00:00 gate sshd[{n}]: Failed password for invalid user user{n} from 192.0.2.7 port 4{n:03} ssh2"
        );
    }
    text.push_str("2026-11-21T10:01:00+00:00 gate sshd[1]: Accepted publickey for alice from 192.0.2.9 port 5 ssh2: ED25519 SHA256:x\n");
    text.push_str("2026-11-21T10:01:00+00:00 gate kernel: something else\n");
    let file = dir.join("auth.log");
    std::fs::write(&file, text).unwrap();
    let report = test_json(&file, &[]);
    assert_eq!(report["format"], "syslog");
    assert_eq!((&report["lines"], &report["recognised"]), (&42.into(), &41.into()));
    assert_eq!(report["events"], serde_json::json!({"accepted": 1, "failed": 40}));
    assert_eq!(report["sources"][0]["source"], "192.0.2.7");
    assert_eq!(report["sources"][0]["users"], 40);
    let classes: Vec<&str> =
        report["attacks"].as_array().unwrap().iter().filter_map(|a| a["class"].as_str()).collect();
    assert!(classes.contains(&"password_spraying"), "{classes:?}");
    assert!(report["attacks"].as_array().unwrap().iter().all(|a| a["source"] != "192.0.2.9"));
}

#[test]
fn hostile_lines_reach_no_terminal() {
    let dir = scratch("logs-hostile");
    let file = dir.join("auth.log");
    let mut bytes = Vec::new();
    for line in [
        &b"\x1b]0;owned\x07\x1b[2J not a line"[..],
        b"Nov 21 10:00:00 gate sshd[1]: Failed password for invalid user \x1b[31m\xe2\x80\xae from 192.0.2.7 port 4 ssh2",
        b"Nov 21 10:00:00 gate sshd[1]: Failed password for invalid user $(id)\x9b from 192.0.2.7 port 4 ssh2",
    ] {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes.extend(std::iter::repeat_n(b'a', 1 << 20));
    std::fs::write(&file, bytes).unwrap();
    let report = test_json(&file, &[]);
    assert_eq!((&report["lines"], &report["lines_cut"]), (&4.into(), &1.into()));
    assert_eq!(report["recognised"], 2);
    let human = stdout(&autoinmune(&["logs", "test", file.to_str().unwrap()]));
    assert!(human.contains("\\u{1b}]0;owned"), "{human}");
    assert!(human.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{human:?}");
}

#[test]
fn formats_are_found_by_content_and_may_be_added() {
    let dir = scratch("logs-formats");
    let file = dir.join("web.log");
    let line = "192.0.2.7 - admin [21/Nov/2026:19:40:02 +0000] \"GET /private HTTP/1.1\" 401 188 \"-\" \"curl/8.5.0\"\n";
    std::fs::write(&file, line.repeat(30)).unwrap();
    let report = test_json(&file, &[]);
    assert!(report["format"].as_str().unwrap().ends_with("-access"), "{report}");
    assert_eq!(report["attacks"][0]["class"], "brute_force");

    let formats = dir.join("formats");
    std::fs::create_dir_all(&formats).unwrap();
    let definition = concat!(
        "[[format]]\nid = \"door\"\nservice = \"door\"\ndoc = \"A door.\"\n",
        "[[format.line]]\noutcome = \"failed\"\npattern = '''knock by (?P<user>.*) at (?P<source>\\S+)'''\n",
        "[[format.vector]]\nline = \"knock by x at 192.0.2.1\"\nexpect = \"failed\"\nuser = \"x\"\nsource = \"192.0.2.1\"\n",
        "[[format.vector]]\nline = \"silence\"\nexpect = \"none\"\n",
    );
    std::fs::write(formats.join("door.toml"), definition).unwrap();
    let config = dir.join("config.toml");
    std::fs::write(&config, format!("[logs]\nformats_dir = '{}'\n", formats.display())).unwrap();
    let config = config.to_str().unwrap();
    std::fs::write(&file, "knock by x at 192.0.2.1\n".repeat(12)).unwrap();
    let report = test_json(&file, &["--config", config, "--format", "door"]);
    assert_eq!(report["attacks"][0]["source"], "192.0.2.1");
    let list = autoinmune(&["logs", "list", "--config", config, "-o", "json"]);
    assert!(list.status.success() && stdout(&list).contains("\"door\""), "{}", stderr(&list));

    for (from, to, code, said) in [
        ("(?P<user>", "(?P<usr>", 3, "door.toml:7: format `door`: unknown group `usr`"),
        ("expect = \"failed\"", "expect = \"accepted\"", 3, ""),
    ] {
        std::fs::write(formats.join("door.toml"), definition.replace(from, to)).unwrap();
        let output = autoinmune(&["logs", "list", "--config", config]);
        assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn entries_of_the_journal_are_read_and_those_of_ordinary_users_are_not_believed() {
    let dir = scratch("logs-journal");
    let file = dir.join("journal.json");
    let mut text = String::new();
    for (n, uid) in (0..30).map(|n| (n, if n < 15 { 0 } else { 1000 })) {
        let source = if uid == 0 { "192.0.2.7" } else { "192.0.2.8" };
        let _ = writeln!(
            text,
            r#"{{"__REALTIME_TIMESTAMP":"17952908{n:02}000000","_UID":"{uid}","SYSLOG_IDENTIFIER":"sshd","MESSAGE":"Failed password for root from {source} port 4{n:03} ssh2"}}"#
        );
    }
    std::fs::write(&file, text).unwrap();
    let report = test_json(&file, &[]);
    let figures = ["lines", "recognised", "not_recognised", "untrusted"].map(|name| report[name].as_u64());
    assert_eq!(figures, [Some(30), Some(15), Some(0), Some(15)]);
    assert_eq!(report["sources"].as_array().unwrap().len(), 1);
    assert_eq!(report["attacks"][0]["source"], "192.0.2.7");
}

#[test]
fn what_cannot_be_read_is_refused_with_a_way_out() {
    let dir = scratch("logs-refused");
    let file = dir.join("prose.txt");
    std::fs::write(&file, "All happy families are alike.\n").unwrap();
    for (args, said) in [
        (vec!["logs", "test", file.to_str().unwrap()], "no line of"),
        (vec!["logs", "test", "/nonexistent/log"], "cannot read /nonexistent/log"),
        (
            vec!["logs", "test", file.to_str().unwrap(), "--format", "sshdd"],
            "unknown format 'sshdd'; known are syslog, sshd",
        ),
    ] {
        let output = autoinmune(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn the_attackers_of_a_real_log_are_named() {
    let Some(file) = shared("the_attackers_of_a_real_log_are_named", "auth/loghub-openssh-2k.log") else {
        return;
    };
    let report = test_json(&file, &[]);
    assert_eq!(report["recognised"], report["lines"]);
    // docs/logins.md tells of these figures.
    for attacker in [
        "183.62.140.253",
        "187.141.143.180",
        "103.99.0.122",
        "112.95.230.3",
        "5.188.10.180",
        "185.190.58.151",
    ] {
        let named = report["attacks"].as_array().unwrap().iter().any(|a| a["source"] == attacker);
        assert!(named, "{attacker}");
    }
    let user = report["attacks"].as_array().unwrap().iter().any(|a| a["source"] == "119.137.62.142");
    assert!(!user, "who was let in after one wrong password is no attacker");
}
