//! Commands against a running agent, and reloading.

use crate::support::{Host, PATIENCE, text, until};
use lab::address::{ATTACKERS, CLIENT, VICTIM};
use rustix::process::Signal;
use serde_json::Value;
use server::control::MAX_REQUEST;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const CONFIG: &str = "[respond]\nallow = ['192.0.2.150']\n[http]\naddress = 'off'\n";

#[test]
fn bans_are_made_listed_explained_and_lifted() {
    let Some(host) = Host::new("bans_are_made_listed_explained_and_lifted", &[]) else { return };
    let agent = host.agent(CONFIG, &["--enforce"]);
    let bad = ATTACKERS[0].to_string();
    assert_eq!(agent.json(&["bans"]), serde_json::json!([]));
    let decision = agent.json(&["ban", &bad, "--for", "10m", "--why", "abuse report 7"]);
    assert_eq!(decision["outcome"], "blocked", "{decision}");
    assert!(!host.answers(ATTACKERS[0]));
    let block = agent.block(ATTACKERS[0]).expect("listed");
    assert_eq!(
        (&block["owner"], &block["reason"]),
        (&"operator".into(), &"abuse report 7".into()),
        "{block}"
    );
    let left = block["remaining_seconds"].as_f64().expect("a number");
    assert!((500.0..=600.0).contains(&left), "{block}");
    let explained = agent.json(&["explain", &bad]);
    assert_eq!(explained["standing"], "blocked");
    assert_eq!(explained["block"]["reason"], "abuse report 7");
    let status = agent.json(&["status"]);
    assert_eq!((&status["mode"], &status["blocks"]), (&"enforce".into(), &1.into()), "{status}");
    assert_eq!(status["interfaces"][0]["name"], lab::range::VICTIM_INTERFACE);
    assert!(status["process"]["resident_bytes"].as_u64().expect("bytes") > 0);
    // For people, too.
    for (args, says) in [
        (vec!["bans"], "abuse report 7"),
        (vec!["explain", &bad], "blocked"),
        (vec!["status"], "enforce mode"),
    ] {
        let output = agent.command(&args);
        assert!(
            output.status.success() && text(&output.stdout).contains(says),
            "{args:?}: {}",
            text(&output.stdout)
        );
    }
    agent.json(&["unban", &bad]);
    assert!(host.answers(ATTACKERS[0]));
    assert_eq!(agent.json(&["bans"]), serde_json::json!([]));
    assert!(agent.refusal(&["unban", &bad], 8).contains(&bad));
    // A prefix.
    agent.json(&["ban", "192.0.2.200/29"]);
    assert!(!host.answers(ATTACKERS[1]) && host.answers(CLIENT));
    agent.json(&["unban", "192.0.2.200/29"]);
    assert!(host.answers(ATTACKERS[1]));
    // What must never be blocked: named in the configuration, or one's own, or a prefix around either.
    for prefix in [
        CLIENT.to_string(),
        VICTIM.to_string(),
        "192.0.2.0/24".into(),
        "127.0.0.1".into(),
        "0.0.0.0/0".into(),
    ] {
        let why = agent.refusal(&["ban", &prefix], 8);
        assert!(why.contains("allow") || why.contains("prefix"), "{why}");
    }
    assert!(host.answers(CLIENT));
    assert_eq!(agent.json(&["explain", &CLIENT.to_string()])["standing"], "allowed");
    let audit = std::fs::read_to_string(host.path("state/audit.jsonl")).expect("the audit log");
    for outcome in ["blocked", "lifted", "refused"] {
        let named = |l: &str| serde_json::from_str::<Value>(l).is_ok_and(|v| v["outcome"] == outcome);
        assert!(audit.lines().any(named), "{outcome} is missing in {audit}");
    }
    agent.stop();
}

#[test]
fn the_control_socket_is_private_and_refuses_nonsense() {
    let Some(host) = Host::new("the_control_socket_is_private_and_refuses_nonsense", &[]) else { return };
    let agent = host.agent(CONFIG, &[]);
    let mode = |p: &std::path::Path| std::fs::metadata(p).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&agent.socket()), mode(&agent.run)), (0o600, 0o700));
    let ask = |line: &[u8]| -> Option<Value> {
        let mut stream = UnixStream::connect(agent.socket()).expect("the socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // The agent may hang up before it has read everything.
        let _ = stream.write_all(line);
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).ok()?;
        serde_json::from_str(&reply).ok()
    };
    for line in [
        &b"nonsense\n"[..],
        b"{\"op\":\"reboot\"}\n",
        b"{\"op\":\"ban\",\"prefix\":\"x\",\"for_seconds\":1,\"why\":\"\"}\n",
        b"\xff\xfe\n",
    ] {
        let reply = ask(line).expect("a reply");
        assert_eq!(reply["ok"], false, "{reply}");
    }
    let long = [vec![b' '; MAX_REQUEST + 10], b"\n".to_vec()].concat();
    if let Some(reply) = ask(&long) {
        assert_eq!(reply["ok"], false, "{reply}");
    }
    assert!(agent.json(&["status"])["pid"].is_u64(), "and goes on");
    agent.stop();
}

#[test]
fn sighup_reloads_or_keeps_the_old_configuration_and_says_why() {
    let Some(host) = Host::new("sighup_reloads_or_keeps_the_old_configuration_and_says_why", &[]) else {
        return;
    };
    let agent = host.agent(CONFIG, &["--enforce"]);
    let said = agent.log().len();
    std::fs::write(&agent.config, "[respond]\nallow = []\nttll = '5m'\n").expect("written");
    agent.signal(Signal::HUP);
    agent.wait_for_log(said, &["not reloaded", "config.toml:3", "ttl"]);
    assert_eq!(agent.json(&["explain", &CLIENT.to_string()])["standing"], "allowed", "the old one holds");
    assert_eq!(agent.json(&["status"])["mode"], "enforce");

    // A good one: the client is no longer named, an attacker is.
    agent.json(&["ban", &ATTACKERS[0].to_string()]);
    assert!(!host.answers(ATTACKERS[0]));
    let said = agent.log().len();
    let other = format!("[respond]\nallow = ['{}']\n[http]\naddress = 'off'\n", ATTACKERS[0]);
    std::fs::write(&agent.config, other).expect("written");
    let old = host.path("eve.json.1");
    std::fs::rename(&agent.eve, &old).expect("rotated");
    agent.signal(Signal::HUP);
    agent.wait_for_log(said, &["configuration reloaded"]);
    until("a new event file", PATIENCE, || agent.eve.exists().then_some(()));
    agent.wait_for_event("events in the new file", |e| e["event_type"].is_string());
    assert!(std::fs::metadata(old).expect("the old file").len() > 0);
    assert_eq!(agent.json(&["explain", &CLIENT.to_string()])["standing"], "free");
    assert!(host.answers(ATTACKERS[0]), "a block ends when its address is put on the allowlist");
    assert!(agent.block(ATTACKERS[0]).is_none());
    agent.stop();
}

#[test]
fn limits_are_listed_with_who_is_over_them_and_cleared() {
    let Some(host) = Host::new("limits_are_listed_with_who_is_over_them_and_cleared", &[]) else { return };
    let config = "[limits]\nsource_icmp = 5\n[respond]\nallow = []\n[http]\naddress = 'off'\n";
    let agent = host.agent(config, &["--enforce"]);
    let before = agent.json(&["limits"]);
    assert_eq!((&before["enforced"], &before["syn_cookies"]), (&true.into(), &false.into()), "{before}");
    assert_eq!(before["rates"]["source_icmp"], 5);
    assert_eq!(before["excesses"], serde_json::json!([]));

    let (noisy, target) = (ATTACKERS[0].to_string(), VICTIM.to_string());
    let pings = ["-n", "-q", "-c", "40", "-i", "0.005", "-W", "1", "-I", &noisy, &target];
    let output = host.outside("ping", &pings).output().expect("ping runs");
    assert!(text(&output.stdout).contains("40 packets transmitted"), "{}", text(&output.stdout));
    let after = agent.json(&["limits"]);
    let over = &after["excesses"][0];
    assert_eq!((&over["address"], &over["limit"]), (&noisy.clone().into(), &"source_icmp".into()), "{after}");
    let dropped = over["packets"].as_u64().expect("a count");
    assert!((20..40).contains(&dropped), "{after}");
    assert!(over["since_ns"].as_u64() < over["last_ns"].as_u64(), "{after}");
    assert_eq!(after["totals"]["dropped_packets"], dropped, "{after}");
    assert_eq!(agent.json(&["status"])["limits"]["dropped_packets"], dropped);
    for (args, says) in [(vec!["limits"], noisy.as_str()), (vec!["status"], "packets dropped")] {
        let said = text(&agent.command(&args).stdout);
        assert!(said.contains(says), "{args:?}: {said}");
    }

    agent.refusal(&["limits", "clear", "nobody"], 2);
    assert_eq!(agent.json(&["limits", "clear", &CLIENT.to_string()]), 0, "that one has no bucket");
    assert_eq!(agent.json(&["limits", "clear", &noisy]), 1);
    assert_eq!(agent.json(&["limits"])["excesses"], serde_json::json!([]));
    assert!(host.answers(ATTACKERS[0]), "with a full bucket");
    assert_eq!(agent.json(&["limits", "clear"]), 1);
    agent.stop();
}
