//! Two network namespaces joined by a veth pair, for one test each.

#![allow(dead_code, reason = "each test binary uses another part of this module")]

use respond::{Block, Owner, Prefix};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Address of the protected side, which is where tests run.
pub(crate) const HERE: &str = "198.51.100.1";
/// Address of the other side.
pub(crate) const PEER: &str = "198.51.100.2";
/// IPv6 address of the protected side.
pub(crate) const HERE6: &str = "2001:db8:51::1";
/// IPv6 address of the other side.
pub(crate) const PEER6: &str = "2001:db8:51::2";
/// The protected side's interface.
pub(crate) const DEV: &str = "here0";
/// The other side's interface.
pub(crate) const PEER_DEV: &str = "peer0";

/// Whether namespaces can be made; says so if not.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

pub(crate) struct Pair {
    pub(crate) here: String,
    pub(crate) peer: String,
}

fn ip(args: &[&str]) {
    let out = Command::new("ip").args(args).output().expect("iproute2");
    assert!(out.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Pair {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("aik-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { here: format!("{id}-h"), peer: format!("{id}-p") };
        for ns in [&pair.here, &pair.peer] {
            ip(&["netns", "add", ns]);
        }
        ip(&[
            "-n", &pair.here, "link", "add", DEV, "type", "veth", "peer", "name", PEER_DEV, "netns",
            &pair.peer,
        ]);
        for (ns, dev, v4, v6) in [(&pair.here, DEV, HERE, HERE6), (&pair.peer, PEER_DEV, PEER, PEER6)] {
            ip(&["-n", ns, "addr", "add", &format!("{v4}/24"), "dev", dev]);
            ip(&["-n", ns, "addr", "add", &format!("{v6}/64"), "dev", dev, "nodad"]);
            ip(&["-n", ns, "link", "set", dev, "up"]);
            ip(&["-n", ns, "link", "set", "lo", "up"]);
        }
        pair
    }

    /// Runs `body` in a thread of its own inside the protected namespace.
    pub(crate) fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.here);
                body()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// How many of `count` pings from the other side to `to` are answered.
    pub(crate) fn ping(&self, to: &str, count: u32) -> u32 {
        let out = Command::new("ip")
            .args(["netns", "exec", &self.peer, "ping", "-n", "-q", "-i", "0.05", "-W", "1", "-c"])
            .arg(count.to_string())
            .arg(to)
            .output()
            .expect("ping");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let line =
            text.lines().find(|l| l.contains("received")).unwrap_or_else(|| panic!("ping said: {text}"));
        let received = line.split(", ").find(|p| p.contains("received")).and_then(|p| p.split(' ').next());
        received.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("ping said: {line}"))
    }

    /// Runs a command in the protected namespace; its output.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let out = Command::new("ip")
            .args(["netns", "exec", &self.here])
            .args(command)
            .stderr(Stdio::inherit())
            .output()
            .expect("ip netns exec");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs a command on the other side, which must succeed.
    pub(crate) fn over(&self, command: &str, args: &[&str]) {
        let status = Command::new("ip").args(["netns", "exec", &self.peer, command]).args(args).status();
        assert!(status.expect("ip netns exec").success(), "{command} {args:?}");
    }

    /// A pin directory of this pair's own.
    pub(crate) fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf").join(&self.here)
    }
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).expect("namespace");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
}

impl Drop for Pair {
    fn drop(&mut self) {
        for ns in [&self.here, &self.peer] {
            drop(Command::new("ip").args(["netns", "del", ns]).status());
        }
        for directory in [self.pins()] {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                for pin in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                    drop(std::fs::remove_file(pin.path()));
                }
                drop(std::fs::remove_dir(entry.path()));
            }
            drop(std::fs::remove_dir(&directory));
        }
    }
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().expect("prefix")
}

/// A block of `text` that ends `ms` milliseconds from now.
pub(crate) fn block(text: &str, ms: u64) -> Block {
    let now = kernel::clock::wall_ns();
    Block {
        prefix: prefix(text),
        since_ns: now,
        until_ns: now + ms * 1_000_000,
        owner: Owner::Operator,
        reason: "test".to_owned(),
        incident: None,
        offence: 1,
    }
}
