//! The demo, as people first meet it.

use crate::support::{BINARY, Unprivileged, possible, text};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Namespaces and records of ranges, and pins.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["/run/netns", "/run/autoinmune-lab", "/sys/fs/bpf/autoinmune"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            found.insert(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn the_demo_shows_a_block_and_leaves_nothing() {
    if !possible("the_demo_shows_a_block_and_leaves_nothing", &["ip"]) {
        return;
    }
    let begun = Instant::now();
    let child = Command::new(BINARY)
        .args(["demo", "--plain"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = child.id();
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, text(&output.stderr));
    assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    for word in ["xdp-native", "port_scan", "syn_flood", "brute_force"] {
        assert!(said.contains(word), "'{word}' is missing in:\n{said}");
    }
    // Ranges are named after their owner's process; other tests' ranges come and go meanwhile.
    assert_eq!(traces_of(pid), Vec::<String>::new());
}

/// A demo under way, once its agent is attached.
fn demo_at_work() -> Child {
    let mut child = Command::new(BINARY)
        .args(["demo", "--plain"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = lines.lines().map_while(Result::ok);
    assert!(lines.any(|l| l.contains("attached")), "it never attached");
    // Its later lines must not meet a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// Traces of the demo with that process id.
fn traces_of(pid: u32) -> Vec<String> {
    let part = format!("{pid}-");
    traces()
        .into_iter()
        .filter(|t| t.rsplit('/').next().is_some_and(|n| n.trim_start_matches("aim-").starts_with(&part)))
        .collect()
}

#[test]
fn the_demo_cleans_up_after_ctrl_c_and_after_a_killed_one() {
    if !possible("the_demo_cleans_up_after_ctrl_c_and_after_a_killed_one", &["ip"]) {
        return;
    }
    let mut killed = demo_at_work();
    assert!(!traces_of(killed.id()).is_empty());
    killed.kill().expect("kill -9");
    killed.wait().expect("reaped");
    let mut interrupted = demo_at_work();
    assert_eq!(traces_of(killed.id()), Vec::<String>::new(), "the next start cleans up");
    let pid = i32::try_from(interrupted.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("Ctrl-C");
    let status = interrupted.wait().expect("it ends");
    assert!(!status.success() && status.code().is_some(), "an interrupted demo has shown nothing: {status}");
    assert_eq!(traces_of(interrupted.id()), Vec::<String>::new());
}

#[test]
fn the_demo_plays_without_privileges() {
    let user = Unprivileged::new("demo");
    for args in [&["demo", "--no-kernel", "--plain"][..], &["demo"]] {
        let begun = Instant::now();
        let output = user.command(args).output().expect("it runs");
        let said = text(&output.stdout);
        assert!(output.status.success(), "{args:?}: {}\n{said}\n{}", output.status, text(&output.stderr));
        assert!(begun.elapsed() < Duration::from_secs(60), "{args:?} took {:?}", begun.elapsed());
        assert!(said.contains("simulat"), "{said}");
        for word in ["port_scan", "syn_flood", "brute_force"] {
            assert!(said.contains(word), "'{word}' is missing in:\n{said}");
        }
    }
}
