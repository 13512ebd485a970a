//! A real journal: systemd-journald in mounts of its own, a real sshd that logs to it, and `journalctl` as the agent runs it.
//! Keeps docs/logins.md true.

use crate::attacks::sshd_with;
use crate::logins::{guess, rules};
use crate::support::{Agent, Host, PATIENCE, text, until};
use lab::address::ATTACKERS;
use lab::range::Daemon;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const MACHINE_ID: &str = "/etc/machine-id";

/// A /dev with a log in it, a machine, and places for a journal, all of the victim's own; and the control groups, by which
/// journald knows services. `$0` is the range's directory.
const MOUNTS: &str = r#"set -e
mkdir "$0/dev"
mount -t tmpfs tmpfs "$0/dev"
for file in null zero full random urandom; do
    : > "$0/dev/$file"
    mount --bind "/dev/$file" "$0/dev/$file"
done
ln -s /run/systemd/journal/dev-log "$0/dev/log"
mount --rbind "$0/dev" /dev
mkdir -p /run/systemd /run/log /var/log
for place in /run/systemd /run/log /var/log; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal /var/log/journal
printf '[Journal]\nAudit=no\nReadKMsg=no\nForwardToWall=no\nRateLimitBurst=0\n' > /run/systemd/journald.conf.d/e2e.conf
printf '%032x\n' $$ > "$0/machine-id"
mount --bind "$0/machine-id" /etc/machine-id
mount -t cgroup2 cgroup2 /sys/fs/cgroup
"#;

/// Why there can be no journal here, if so.
fn obstacle() -> Option<&'static str> {
    if !Path::new(JOURNALD).exists() {
        return Some("needs systemd-journald (package systemd)");
    }
    (!Path::new(MACHINE_ID).is_file()).then_some("needs /etc/machine-id")
}

/// Gives the victim mounts for a journal, or a reason why not.
fn mounts(host: &Host) -> Result<(), String> {
    let scratch = host.path("");
    let scratch = scratch.to_str().expect("a plain path").trim_end_matches('/');
    let output = host.victim("sh", &["-c", MOUNTS, scratch]).output().expect("sh");
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
}

/// Starts journald and waits until it takes what is logged.
fn journald(host: &Host) -> Daemon {
    let daemon = host.daemon(JOURNALD, &[], &host.path("journald.log"));
    until("the journal", PATIENCE, || log(host, 0, "e2e", "it works").then_some(()));
    daemon
}

/// Logs a message as a user's process, by way of /dev/log; whether somebody took it.
fn log(host: &Host, uid: u32, program: &str, message: &str) -> bool {
    let user = format!("--reuid={uid}");
    let mut args = vec![user.as_str(), "--clear-groups", "logger", "--socket-errors=on"];
    args.extend(["-p", "auth.info", "-t", program, message]);
    host.victim("setpriv", &args).output().expect("setpriv").status.success()
}

/// As many wrong passwords from an address as make brute force, and some.
fn failures(host: &Host, uid: u32, from: IpAddr) {
    for n in 0..12 {
        let message = format!("Failed password for root from {from} port {} ssh2", 40_000 + n);
        assert!(log(host, uid, "sshd", &message), "nobody takes what is logged");
    }
}

fn wait_for_incident(agent: &Agent, what: &str, from: IpAddr) {
    until(what, PATIENCE, || {
        agent.incident("brute_force", from).filter(|i| rules(i).iter().any(|r| r == "login-guess"))
    });
}

/// Ends the agent's `journalctl`, as whoever is short of memory might.
fn kill_journalctl(agent: &Agent) {
    let pid = agent.daemon.identity().pid;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
    let children = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
    let all: String = tasks.filter_map(children).collect::<Vec<_>>().join(" ");
    let found = all.split_whitespace().find(|child| {
        std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "journalctl")
    });
    let child = found.and_then(|c| c.parse().ok()).and_then(rustix::process::Pid::from_raw);
    let child = child.expect("the agent has a journalctl");
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("a signal is sent");
}

#[test]
fn the_journal_is_followed_through_rotation_flush_and_restart() {
    let name = "the_journal_is_followed_through_rotation_flush_and_restart";
    if let Some(why) = obstacle() {
        println!("skipped: {name}: {why}");
        return;
    }
    let programs = ["hydra", "sshd", "ssh-keygen", "journalctl", "logger", "setpriv"];
    let Some(host) = Host::new(name, &programs) else { return };
    if let Err(why) = mounts(&host) {
        println!("skipped: {name}: no mounts for a journal here: {why}");
        return;
    }
    let mut journal = journald(&host);
    let _sshd = sshd_with(&host, &[]);
    // What the network tells may not block, so that a block is the journal's work.
    let mut config =
        "[respond]\nttl = '60s'\nescalation = 1.0\n[incidents]\nquiet_s = 300\n[http]\naddress = 'off'\n\
                      [logs]\nenabled = 'named'\njournal = 'on'\n"
            .to_owned();
    for rule in ["ssh-guess", "ssh-guess-slow", "ssh-refused"] {
        config.push_str(&format!("[rules.{rule}]\nmay_block = false\n"));
    }
    let agent = host.agent(&config, &["--enforce"]);

    let guesses = guess(&host, ATTACKERS[0].into());
    let (incident, _) = agent.wait_for_block("brute_force", ATTACKERS[0]);
    assert!(rules(&incident).iter().any(|r| r == "login-guess"), "{incident}\n{}", agent.log());
    drop(guesses);

    let address = |n: u8| IpAddr::from(Ipv4Addr::new(198, 51, 100, n));
    // Anybody may call himself sshd; the journal knows whose process it was.
    failures(&host, 65_534, address(200));
    failures(&host, 0, address(1));
    wait_for_incident(&agent, "what root's processes log", address(1));

    let signal = |journal: &Daemon, signal| {
        let pid = i32::try_from(journal.identity().pid).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), signal).expect("a signal is sent");
    };
    signal(&journal, rustix::process::Signal::USR2);
    failures(&host, 0, address(2));
    wait_for_incident(&agent, "what is logged after a rotation", address(2));
    // As at boot: from memory to the disk.
    signal(&journal, rustix::process::Signal::USR1);
    failures(&host, 0, address(3));
    wait_for_incident(&agent, "what is logged after a flush", address(3));
    journal.child().kill().expect("kill -9");
    journal.child().wait().expect("it is reaped");
    let _journal = journald(&host);
    failures(&host, 0, address(4));
    wait_for_incident(&agent, "what is logged to a journal started again", address(4));
    // Logged while nobody reads: nothing is left out.
    kill_journalctl(&agent);
    failures(&host, 0, address(5));
    wait_for_incident(&agent, "what was logged while nobody read", address(5));

    assert!(agent.incident("brute_force", address(200)).is_none(), "an ordinary user is not believed");
    let losses = agent.json(&["status"])["losses"].clone();
    let untrusted = losses["log_lines_untrusted"].as_u64().unwrap_or(0);
    assert_eq!(untrusted, 12, "and is counted, once: {losses}");
    assert_eq!((&losses["log_events_dropped"], &losses["log_lines_cut"]), (&0.into(), &0.into()), "{losses}");
    agent.wait_for_log(0, &["journalctl ended", "trying again"]);
    agent.stop();
}
