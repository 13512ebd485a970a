//! What cannot be done is refused with one sentence, its own exit code, and nothing half-attached.

use crate::support::{BINARY, Host, Unprivileged, one_sentence, possible};
use lab::range::{Side, VICTIM_INTERFACE};
use std::net::TcpListener;

const CONFIG: &str = "[http]\naddress = 'off'\n";

#[test]
fn a_second_agent_is_refused() {
    let Some(host) = Host::new("a_second_agent_is_refused", &[]) else { return };
    let agent = host.agent(CONFIG, &["--enforce"]);
    let (run, state) = (agent.run.to_str().expect("plain"), host.path("state2"));
    let state = state.to_str().expect("plain");
    let common =
        ["run", "--interface", VICTIM_INTERFACE, "--http", "off", "--api", "off", "--state-dir", state];
    let why = one_sentence(
        &host.victim(BINARY, &[&common[..], &["--run-dir", run]].concat()).output().expect("runs"),
        6,
    );
    assert!(
        why.contains("already running") && why.contains(&agent.daemon.identity().pid.to_string()),
        "{why}"
    );
    // With a run directory of its own it still meets the first one in the kernel.
    let other = host.path("run2");
    let args = [&common[..], &["--run-dir", other.to_str().expect("plain")]].concat();
    let why = one_sentence(&host.victim(BINARY, &args).output().expect("runs"), 6);
    assert!(why.contains("already running"), "{why}");
    assert_eq!(agent.json(&["status"])["sensor"], "xdp-native", "the first is unharmed");
    agent.stop();
    assert_eq!(host.leftovers(), Vec::<String>::new());
}

#[test]
fn a_taken_port_and_an_unknown_interface_are_named() {
    let Some(host) = Host::new("a_taken_port_and_an_unknown_interface_are_named", &[]) else { return };
    let run = host.path("run");
    let dirs = ["--run-dir", run.to_str().expect("plain"), "--state-dir", run.to_str().expect("plain")];
    let start = |args: &[&str], code| {
        one_sentence(&host.victim(BINARY, &[&["run"], args, &dirs].concat()).output().expect("runs"), code)
    };
    let taken = host
        .range
        .enter(Side::Victim, || TcpListener::bind("127.0.0.1:8800"))
        .expect("the victim")
        .expect("bound");
    let why = start(&["--interface", VICTIM_INTERFACE], 6);
    assert!(why.contains("8800"), "{why}");
    drop(taken);
    let why = start(&["--interface", "eth77", "--http", "off"], 2);
    assert!(why.contains("eth77") && why.contains(VICTIM_INTERFACE), "{why}");
    // One that exists and one that does not: nothing is attached to the first.
    start(&["--interface", &format!("{VICTIM_INTERFACE},eth77"), "--http", "off"], 2);
    assert_eq!(host.leftovers(), Vec::<String>::new());
    // There is no default route in the range.
    let why = start(&["--interface", "auto", "--http", "off"], 2);
    assert!(why.contains("--interface"), "{why}");
    let why = start(&["--interface", VICTIM_INTERFACE, "--http", "0.0.0.0:8800"], 2);
    assert!(why.contains("loopback"), "{why}");
    assert_eq!(host.leftovers(), Vec::<String>::new());
}

#[test]
fn no_permission_is_said_in_one_sentence() {
    if !possible("no_permission_is_said_in_one_sentence", &["setpriv"]) {
        return;
    }
    let nobody = Unprivileged::new("permission");
    let dir = nobody.dir.to_str().expect("plain");
    let output = nobody
        .command(&["run", "--interface", "lo", "--http", "off", "--run-dir", dir, "--state-dir", dir])
        .output();
    let why = one_sentence(&output.expect("runs"), 4);
    assert!(why.contains("root"), "{why}");
    // With the usual directories, which belong to root.
    let output = nobody
        .command(&["run", "--interface", "lo", "--http", "off", "--run-dir", "/run/autoinmune-e2e"])
        .output();
    let why = one_sentence(&output.expect("runs"), 4);
    assert!(why.contains("root"), "{why}");
    let Some(host) = Host::new("no_permission_is_said_in_one_sentence", &[]) else { return };
    let agent = host.agent(CONFIG, &[]);
    let output = nobody.command(&["status", "--run-dir", agent.run.to_str().expect("plain")]).output();
    let why = one_sentence(&output.expect("runs"), 4);
    assert!(why.contains("root"), "{why}");
    agent.stop();
}

#[test]
fn an_interface_that_goes_away_ends_the_agent_in_order() {
    let Some(host) = Host::new("an_interface_that_goes_away_ends_the_agent_in_order", &[]) else { return };
    let mut agent = host.agent(CONFIG, &["--enforce"]);
    let deleted = host.victim("ip", &["link", "del", VICTIM_INTERFACE]).status().expect("ip");
    assert!(deleted.success());
    let status = agent.daemon.wait(crate::support::PATIENCE).expect("its state");
    assert_eq!(status.and_then(|s| s.code()), Some(5), "{}", agent.log());
    assert!(agent.log().contains(VICTIM_INTERFACE) && !agent.log().contains("panicked"), "{}", agent.log());
}
