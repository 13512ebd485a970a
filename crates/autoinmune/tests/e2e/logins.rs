//! A real sshd under a real guesser, and what its log tells the agent.

use crate::attacks::sshd;
use crate::support::{Agent, Host, PATIENCE, Tool, until};
use lab::address::{ATTACKERS, CLIENT, VICTIM};
use lab::range::OUTSIDE_INTERFACE;
use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

/// The log that sshd writes, and nothing else of this machine. What the network tells may alert and not block, so that a
/// block is the log's work.
fn config(host: &Host, more: &str) -> String {
    let mut text = format!(
        "[respond]\nttl = '60s'\nescalation = 1.0\n[incidents]\nquiet_s = 120\n[http]\naddress = 'off'\n[logs]\nenabled = 'named'\n\
         files = [{{ path = '{}', format = 'sshd' }}]\n{more}\n",
        host.path("sshd.log").display()
    );
    for rule in ["ssh-guess", "ssh-guess-slow", "ssh-refused"] {
        text.push_str(&format!("[rules.{rule}]\nmay_block = false\n"));
    }
    text
}

/// hydra, from one of the attackers' addresses.
pub(crate) fn guess(host: &Host, from: IpAddr) -> Tool {
    let target = VICTIM.to_string();
    let route = ["route", "replace", &target, "dev", OUTSIDE_INTERFACE, "src", &from.to_string()];
    assert!(host.outside("ip", &route).status().expect("ip").success());
    let words: String = (0..300).map(|n| format!("guess-{n}\n")).collect();
    let list = host.path("words");
    std::fs::write(&list, words).expect("a list of passwords");
    let list = list.to_str().expect("a plain path");
    host.tool("hydra", &["-I", "-l", "admin", "-P", list, "-t", "4", &format!("ssh://{target}")])
}

fn failures(host: &Host, log: &str) -> usize {
    let text = std::fs::read(host.path(log)).unwrap_or_default();
    String::from_utf8_lossy(&text).matches("Failed password").count()
}

pub(crate) fn rules(incident: &serde_json::Value) -> Vec<String> {
    let names = incident["rules"].as_array().into_iter().flatten();
    names.filter_map(|r| r.as_str()).map(str::to_owned).collect()
}

#[test]
fn guessing_is_blocked_by_what_the_log_tells_through_rotation_and_truncation() {
    let name = "guessing_is_blocked_by_what_the_log_tells_through_rotation_and_truncation";
    let Some(host) = Host::new(name, &["hydra", "sshd", "ssh-keygen"]) else { return };
    let _sshd = sshd(&host);
    let agent = host.agent(&config(&host, ""), &["--enforce"]);
    // Copied away and emptied before the attack, renamed during it: sshd goes on writing to the renamed file.
    File::options().write(true).open(host.path("sshd.log")).expect("the log").set_len(0).expect("truncation");
    let guesses = guess(&host, ATTACKERS[0].into());
    until("the first wrong passwords", PATIENCE, || (failures(&host, "sshd.log") >= 2).then_some(()));
    std::fs::rename(host.path("sshd.log"), host.path("sshd.log.1")).expect("rotation");
    File::create(host.path("sshd.log")).expect("the new log");
    let (incident, _block) = agent.wait_for_block("brute_force", ATTACKERS[0]);
    assert!(rules(&incident).iter().any(|r| r == "login-guess"), "{incident}\n{}", agent.log());
    assert!(failures(&host, "sshd.log.1") >= 10);
    drop(guesses);
    host.wait_for_answer(ATTACKERS[0], false, "the attacker to be cut off");
    assert!(host.answers(CLIENT), "nobody else is");
    agent.stop();
}

/// Waits for an incident in which logs and network agree.
fn both_views(agent: &Agent, from: IpAddr) -> serde_json::Value {
    let is_log = |rule: &String| rule.starts_with("login-");
    until("one incident with both views", Duration::from_secs(90), || {
        let incident = agent.incident("brute_force", from)?;
        let rules = rules(&incident);
        (rules.iter().any(is_log) && rules.iter().any(|r| r.starts_with("ssh-"))).then_some(incident)
    })
}

#[test]
fn log_and_network_are_one_incident_and_allowed_guessers_are_not_blocked() {
    let name = "log_and_network_are_one_incident_and_allowed_guessers_are_not_blocked";
    let Some(host) = Host::new(name, &["hydra", "sshd", "ssh-keygen"]) else { return };
    let _sshd = sshd(&host);
    let allowed = format!("allow = ['{}']", ATTACKERS[1]);
    let config = config(&host, "").replace("[respond]\n", &format!("[respond]\n{allowed}\n"));
    let agent = host.agent(&config, &["--enforce"]);
    let guesses = guess(&host, ATTACKERS[1].into());
    let incident = both_views(&agent, ATTACKERS[1].into());
    assert_eq!(incident["actor"]["addr"], ATTACKERS[1].to_string().as_str());
    assert!(agent.block(ATTACKERS[1]).is_none(), "the allowlist is asked first: {}", agent.log());
    drop(guesses);
    agent.stop();
}
