//! How many packets a second the capture of a dataset keeps up with, and whether what it loses is counted.

use super::figure::{Aim, Figure, Section, number};
use super::{Setup, agent, progress};
use anyhow::{Context as _, ensure};
use lab::address::{OUTSIDE_MAC, VICTIM, VICTIM_MAC, mac};
use lab::range::{Daemon, OUTSIDE_INTERFACE, Range, Side, VICTIM_INTERFACE};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The sender (Debian package netsniff-ng): frames through a packet socket at a pace, past the queueing discipline.
const TRAFGEN: &str = "trafgen";
/// Packets a second asked of it: a little more than the aim, as its pace falls short by some in ten thousand.
const ASKED: u64 = 201_000;
const AIM: f64 = 200_000.0;
/// Senders of datagrams, and ports of each: 10,000 flows over and over.
const SOURCES: u32 = 8;
const PORTS: u32 = 1250;
/// Port of the victim that takes datagrams and never answers.
const SINK: u16 = 9;
/// How long a capture may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Until what was sent has been read: flows are read out of the kernel once a second.
const SETTLED: Duration = Duration::from_secs(3);

/// Ways to watch: a name for rows of the table, and the configuration.
const WAYS: [(&str, &str, &str); 2] = [
    ("kernel", "kernel programs", "[sensor]\nattach = 'native'\n"),
    ("packet", "AF_PACKET, a worker per processor", "[sensor]\nattach = 'af_packet'\n"),
];

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let have = Command::new(TRAFGEN).arg("--version").output().is_ok();
    ensure!(have, "{TRAFGEN} is not installed (Debian package netsniff-ng)");
    let seconds = if setup.quick { 3 } else { 15 };
    let mut section = Section::new(format!(
        "`autoinmune capture` in one network namespace, with the default configuration but for the way it watches; `{TRAFGEN}` on \
         one thread in another sends datagrams of 64 bytes from {SOURCES} addresses, {} flows over and over, for {seconds} s over \
         veth. The sender, the network's softirq and the capture share the processors. Delivered is what the interface counts, \
         captured what the capture says it saw, in rows the sum of packets over all rows written, lost what the capture counted as \
         lost. A few packets are not of the sender (neighbour discovery).",
        number(f64::from(SOURCES * PORTS))
    ));
    for (name, what, config) in WAYS {
        // A range each, so that nothing of one way is left for the next.
        let range = agent::range()?;
        progress(&format!("capture, {what}"));
        let seen = watch(setup, &range, name, config, seconds)?;
        range.destroy()?;
        let share = |n: u64| n as f64 / seen.delivered.max(1) as f64 * 100.0;
        let mut push = |of: &str, value: f64, unit, aim: Option<Aim>| {
            let figure = Figure::new(format!("{what}: {of}"), value, unit);
            section.push(match aim {
                Some(aim) => figure.aim(aim),
                None => figure,
            });
        };
        push("delivered", seen.delivered as f64 / seen.sending.as_secs_f64(), "/s", Some(Aim::AtLeast(AIM)));
        push("captured, of those delivered", share(seen.captured), "%", Some(Aim::AtLeast(99.9)));
        push(
            "in rows, of those captured",
            seen.in_rows as f64 / seen.captured.max(1) as f64 * 100.0,
            "%",
            None,
        );
        push("lost and counted, of those delivered", share(seen.lost), "%", None);
        let uncounted = seen.delivered.saturating_sub(seen.captured + seen.lost);
        push("neither captured nor counted as lost", share(uncounted), "%", Some(Aim::AtMost(0.1)));
        let [delivered, captured, lost, in_rows, rows] =
            [seen.delivered, seen.captured, seen.lost, seen.in_rows, seen.rows].map(whole);
        section.note(format!(
            "{what}: {delivered} packets delivered, {captured} captured, {lost} lost, {in_rows} in {rows} rows."
        ));
    }
    section.explain_missed(
        "sender and receiver share the processors: a packet over veth is received on its sender's processor, and what is left is \
         the capture's.",
    );
    Ok(section)
}

/// A count, in groups of three digits.
fn whole(n: u64) -> String {
    if n < 1000 { n.to_string() } else { number(n as f64) }
}

/// What became of the packets.
struct Seen {
    sending: Duration,
    delivered: u64,
    captured: u64,
    lost: u64,
    rows: u64,
    in_rows: u64,
}

fn watch(setup: &Setup, range: &Range, name: &str, config: &str, seconds: u64) -> anyhow::Result<Seen> {
    let dir = range.scratch().join(name);
    fs::create_dir(&dir).context("cannot make the capture's directory")?;
    let sink = range.enter(Side::Victim, || UdpSocket::bind((VICTIM, SINK)))??;
    let (mut capture, out, report) = start(setup, range, &dir, config)?;
    let sender = dir.join("sender.cfg");
    fs::write(&sender, packets())?;
    let before = delivered(range)?;
    let begun = Instant::now();
    let sent = range
        .command(Side::Outside, TRAFGEN)
        .args(["--dev", OUTSIDE_INTERFACE, "--cpus", "1", "--rate", &format!("{ASKED}pps")])
        .args(["--num", &(ASKED * seconds).to_string(), "--conf"])
        .arg(&sender)
        .output()
        .with_context(|| format!("cannot run {TRAFGEN}"))?;
    let sending = begun.elapsed();
    ensure!(sent.status.success(), "{TRAFGEN} failed: {}", String::from_utf8_lossy(&sent.stderr));
    let delivered = delivered(range)? - before;
    std::thread::sleep(SETTLED);
    let ended = capture.end(PATIENCE).context("cannot end the capture")?;
    drop(sink);
    ensure!(ended.success(), "the capture failed at its end");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(&report)?).context("the capture's report is no JSON")?;
    let field = |name: &str| report[name].as_u64().with_context(|| format!("the report has no {name}"));
    let (rows, in_rows) = rows_of(&out)?;
    Ok(Seen { sending, delivered, captured: field("packets")?, lost: field("lost")?, rows, in_rows })
}

/// A capture that watches; where it writes, and the file of its report.
fn start(
    setup: &Setup,
    range: &Range,
    dir: &Path,
    config: &str,
) -> anyhow::Result<(Daemon, PathBuf, PathBuf)> {
    let (file, out, report, log) =
        (dir.join("config.toml"), dir.join("out"), dir.join("report"), dir.join("log"));
    fs::write(&file, config)?;
    let (output, errors) = (File::create(&report)?, File::create(&log)?);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let args = ["capture", "--plain", "-o", "json", "--interface", VICTIM_INTERFACE].map(str::to_owned);
    let args = args.into_iter().chain(["--config".into(), text(&file), "--out".into(), text(&out)]);
    let mut capture = range.daemon(Side::Victim, &setup.program, args, |command| {
        command.stdout(output).stderr(errors);
    })?;
    let begun = Instant::now();
    // Written when it watches.
    while !out.join("dataset.toml").exists() {
        let said = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(capture.try_wait()?.is_none(), "the capture ended: {}", said());
        ensure!(begun.elapsed() < PATIENCE, "the capture does not begin: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((capture, out, report))
}

/// What the sender is to send, in its own words.
fn packets() -> String {
    let (to, from) = (mac(VICTIM_MAC), mac(OUTSIDE_MAC));
    let mut text = String::new();
    for n in 1..=SOURCES {
        // Writing to a String does not fail. 198.18.0.0/15 is for benchmarks (RFC 2544).
        let _ = writeln!(
            text,
            "{{ eth(da={to}, sa={from}), ipv4(sa=198.18.0.{n}, da={VICTIM}, ttl=64), udp(sport=dinc(1024, {}), dport={SINK}), \
             fill('X', 64) }}",
            1024 + PORTS - 1
        );
    }
    text
}

/// Packets that the victim's interface has received so far.
fn delivered(range: &Range) -> anyhow::Result<u64> {
    let table = range.enter(Side::Victim, || fs::read_to_string("/proc/thread-self/net/dev"))??;
    received(&table, VICTIM_INTERFACE).context("the interface has no counters")
}

/// The second figure of an interface's line (proc_pid_net(5)).
fn received(table: &str, interface: &str) -> Option<u64> {
    let line = table.lines().find_map(|l| l.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Rows of a dataset of CSV parts, and the packets in them.
fn rows_of(dir: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut rows, mut packets) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "csv") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let (n, sum) = sums(&text).with_context(|| format!("{} is not understood", path.display()))?;
        (rows, packets) = (rows + n, packets + sum);
    }
    Ok((rows, packets))
}

/// Rows of a table without quotes, and the sum of packets either way.
fn sums(csv: &str) -> Option<(u64, u64)> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next()?.split(',').collect();
    let places = ["spkts", "dpkts"].map(|name| header.iter().position(|h| *h == name));
    let (mut rows, mut packets) = (0, 0);
    for line in lines {
        rows += 1;
        for place in places {
            packets += line.split(',').nth(place?)?.parse::<u64>().ok()?;
        }
    }
    Some((rows, packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_rows_are_read() {
        let table =
            "Inter-| Receive\n face |bytes packets errs\n    lo: 1 2 3\nvictim0: 15900516  150006 0 0\n";
        assert_eq!(received(table, "victim0"), Some(150_006));
        assert_eq!(received(table, "victim"), None);
        assert_eq!(sums("ts,spkts,x,dpkts\na,3,b,4\nc,5,d,0\n"), Some((2, 12)));
        assert_eq!(sums("ts,spkts\na,3\n"), None);
        assert_eq!(packets().lines().count(), 8);
    }
}
