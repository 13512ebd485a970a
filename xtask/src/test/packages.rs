//! The Debian packages that the privileged tests use, installed where that is possible.

use crate::shell;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Package, a file it brings, and what the tests need it for. Only packages with a test that runs them are listed.
const PACKAGES: &[(&str, &[&str], &str)] = &[
    ("iproute2", &["/usr/sbin/ip", "/sbin/ip"], "network namespaces and veth pairs of the test range"),
    ("iputils-ping", &["/usr/bin/ping", "/bin/ping"], "whether a block holds, in a namespace"),
    ("nftables", &["/usr/sbin/nft"], "blocking without XDP"),
    ("nmap", &["/usr/bin/nmap"], "real port scans"),
    ("hping3", &["/usr/sbin/hping3"], "real floods"),
    ("openssh-server", &["/usr/sbin/sshd"], "the service whose guessing is recognised, in a namespace"),
    ("openssh-client", &["/usr/bin/ssh"], "the ordinary SSH session that must never be blocked"),
    ("hydra", &["/usr/bin/hydra"], "real password guessing"),
    ("curl", &["/usr/bin/curl"], "the ordinary HTTP download that must never be blocked"),
    ("openssl", &["/usr/bin/openssl"], "certificates of an authority of the tests' own"),
    ("nginx-light", &["/usr/sbin/nginx"], "the web server that slow requests hold up, in a namespace"),
    ("slowhttptest", &["/usr/bin/slowhttptest"], "real slow requests"),
    ("iodine", &["/usr/sbin/iodine"], "a real tunnel in DNS"),
    ("dnsperf", &["/usr/bin/dnsperf"], "ordinary questions to a DNS server, at a rate"),
    ("iperf3", &["/usr/bin/iperf3"], "ordinary bulk data"),
    ("sqlmap", &["/usr/bin/sqlmap"], "real SQL injection"),
    ("tcpreplay", &["/usr/bin/tcpreplay"], "a recorded scan, sent again"),
    ("dsniff", &["/usr/sbin/arpspoof"], "real spoofing of ARP"),
    ("dnsmasq-base", &["/usr/sbin/dnsmasq"], "DHCP servers, the right one and the other, in a namespace"),
    ("udhcpc", &["/usr/sbin/udhcpc", "/sbin/udhcpc"], "a DHCP client"),
    ("busybox", &["/usr/bin/busybox", "/bin/busybox"], "a syslog that real services write to"),
    (
        "systemd",
        &["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"],
        "a journal, in mounts of its own",
    ),
    ("bsdutils", &["/usr/bin/logger"], "messages to that journal"),
    ("prometheus", &["/usr/bin/prometheus"], "a scraper of the metrics, in a namespace, and promtool"),
    ("python3-pip", &["/usr/bin/pip3"], "Schemathesis, which is not in Debian"),
    ("ptunnel", &["/usr/sbin/ptunnel"], "a real tunnel in ping"),
];

/// Installs what is missing, if this is root on Debian or a derivative; says what it does. Failure is no error here: a
/// test that misses a program skips by name.
pub(crate) fn provide() {
    let missing: Vec<_> = PACKAGES.iter().filter(|(_, files, _)| !files.iter().any(|f| exists(f))).collect();
    if missing.is_empty() {
        println!("ok   packages: every program that the privileged tests run is here");
        return;
    }
    let names: Vec<&str> = missing.iter().map(|(name, ..)| *name).collect();
    let list = names.join(" ");
    let root = rustix::process::geteuid().is_root();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !root || !is_debian(&release) {
        let why = if root { "this is not Debian or a derivative" } else { "not root" };
        println!("--   packages: {why}, so these are not installed and tests that run them skip: {list}");
        return;
    }
    println!("     packages: installing with apt-get --no-install-recommends:");
    for (name, _, why) in &missing {
        println!("       {name}: {why}");
    }
    // Lists may be old or absent (containers ship none): first with what is there, then with fresh ones.
    let done = install(&names) || (apt(&["update"]) && install(&names));
    if done {
        println!("ok   packages: installed {list}");
    } else {
        println!(
            "--   packages: apt-get could not install {list}; tests that run them skip. \
             Try `apt-get update && apt-get install {list}`"
        );
    }
}

fn exists(file: &str) -> bool {
    std::path::Path::new(file).exists()
}

/// Whether os-release(5) names Debian or something made from it.
fn is_debian(release: &str) -> bool {
    release.lines().filter_map(|l| l.split_once('=')).any(|(key, value)| {
        matches!(key, "ID" | "ID_LIKE") && value.trim_matches('"').split(' ').any(|v| v == "debian")
    })
}

fn apt(args: &[&str]) -> bool {
    run(shell::command("apt-get", &[&["-q", "-o", "DPkg::Lock::Timeout=60"], args].concat()))
}

/// `apt-get install` under a shell that keeps the packages' services from starting: a server installed for tests must
/// not listen on this machine. While the shell lives, `/usr/sbin/policy-rc.d` (Debian's switch for this) says no; the
/// shell removes it whatever happens, and should it be killed the file allows everything and removes itself. One that
/// is there already is somebody's decision and stays.
fn install(names: &[&str]) -> bool {
    let script = r#"
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            trap 'exit 130' INT TERM HUP
            printf '#!/bin/sh\n[ -d /proc/%s ] && exit 101\nrm -f "$0"\nexit 0\n' $$ > "$policy" || exit 1
            chmod 755 "$policy" || exit 1
        fi
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=60 -o Dpkg::Options::=--force-confold install "$@"
    "#;
    run(shell::command("sh", &[&["-c", script, "sh"], names].concat()))
}

/// Runs without questions; the output is shown only if it fails.
fn run(mut command: Command) -> bool {
    let done = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    match done {
        Ok(done) if done.status.success() => true,
        Ok(done) => {
            let mut out = std::io::stdout().lock();
            // If standard output is gone there is nobody to tell.
            let _ = out.write_all(&done.stdout).and_then(|()| out.write_all(&done.stderr));
            false
        }
        Err(e) => {
            println!("     cannot run {:?}: {e}", command.get_program());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_recognised() {
        let check = |text: &str, expected| assert_eq!(is_debian(text), expected, "{text}");
        check("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", true);
        check("ID=ubuntu\nID_LIKE=debian\n", true);
        check("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true);
        check("ID=fedora\n", false);
        check("NAME=debian\n", false);
        check("", false);
    }

    #[test]
    fn packages_are_listed_once_with_a_reason() {
        for (i, (name, files, why)) in PACKAGES.iter().enumerate() {
            assert!(!files.is_empty() && why.len() > 10, "{name}");
            assert!(PACKAGES[..i].iter().all(|(other, ..)| other != name), "{name} twice");
        }
    }
}
