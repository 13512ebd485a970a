//! The demo, as people first meet it.

use crate::support::{BINARY, Unprivileged, possible, text};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
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
    let left: Vec<String> = traces().into_iter().filter(|t| t.contains(&format!("{pid}-"))).collect();
    assert_eq!(left, Vec::<String>::new());
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
