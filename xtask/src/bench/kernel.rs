//! The kernel programs: nanoseconds per packet.

use super::figure::{Aim, Figure, Section, median};
use super::{Setup, progress};
use crate::shell;
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Rounds, each of which measures everything in turn.
const ROUNDS: usize = 3;

/// Name in the output of the `testrun` example, what it is, and its aim.
const ROWS: [(&str, &str, Option<Aim>); 11] = [
    ("pass", "bare `return XDP_PASS`", None),
    ("parse", "parse alone, and pass", None),
    ("account_udp", "sensor: account a UDP datagram, and pass", Some(ACCOUNT)),
    ("account_tcp", "sensor: account a TCP acknowledgement, and pass", Some(ACCOUNT)),
    ("account_tcp_data", "sensor: account 1,400 bytes of TCP data, and pass", Some(ACCOUNT)),
    ("account_tcp_head_100", "sensor: account 100 bytes of TCP data, and send them up", None),
    ("account_tcp_head_1400", "sensor: account 1,400 bytes of TCP data, and send them up", None),
    ("account_syn", "sensor: account a SYN, and pass", Some(ACCOUNT)),
    ("account_tcp_10000_blocks", "sensor: account an acknowledgement beside 10,000 blocks", Some(ACCOUNT)),
    ("drop", "sensor: drop a blocked source's packet", Some(DROP)),
    ("drop_10000_blocks", "sensor: drop it, one of 10,001 blocks", Some(DROP)),
];
const ACCOUNT: Aim = Aim::AtMost(150.0);
const DROP: Aim = Aim::AtMost(50.0);

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    anyhow::ensure!(rustix::process::geteuid().is_root(), "loading kernel programs needs root");
    let rounds = if setup.quick { 1 } else { ROUNDS };
    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 1..=rounds {
        progress(&format!("TEST_RUN, round {round} of {rounds}"));
        for (name, ns) in one_round()? {
            found.entry(name).or_default().push(ns);
        }
    }
    let value = |name: &str| found.get(name).map(|values| median(values));
    let pass = value("pass").context("no figure for a bare XDP_PASS")?;
    let mut section = Section::new(format!(
        "Nanoseconds per packet by `BPF_PROG_TEST_RUN` on one core, medians of {rounds} rounds, in each of which every \
         row is the best of 120 runs of 50,000 packets. The frame, the flow and the maps are warm; the figures contain \
         what TEST_RUN itself costs, which is the first row."
    ));
    let filter = [value("xdp_filter_pass"), value("xdp_filter_drop")];
    for (name, what, aim) in ROWS {
        let ns = value(name).with_context(|| format!("no figure for {name}"))?;
        let mut figure = Figure::new(what, ns, "ns");
        if let Some(aim) = aim {
            figure = figure.aim(aim);
        }
        section.push(match (name.starts_with("drop"), filter) {
            (true, [_, Some(drop)]) => figure.baseline(drop, "xdp-filter, drop"),
            _ if name == "pass" => figure,
            _ => figure.baseline(pass, "bare pass"),
        });
    }
    if let (Some(batched), Some(single)) = (value("read_flows_batched"), value("read_flows_single")) {
        section.push(
            Figure::new("reading 100,000 flows out of the flow map in batches, per flow", batched, "ns")
                .baseline(single, "one by one"),
        );
    }
    match filter {
        [Some(pass), Some(drop)] => {
            section.push(Figure::new(
                "xdp-filter: look up an allowed packet's address, and pass",
                pass,
                "ns",
            ));
            section.push(Figure::new("xdp-filter: drop a denied address's packet", drop, "ns"));
        }
        _ => section.note("xdp-filter was not measured: its program (package xdp-tools) could not be run."),
    }
    section.note(
        "xdp-filter looks up one hash of addresses and counts; the sensor looks up an LPM trie that holds \
         prefixes, honours each block's end by the clock, and asks the allowlist where a block may overlap it.",
    );
    section.explain_missed(
        "with single steps removed, accounting was made of about 25 ns for TEST_RUN, 45 for reading the clock (this kernel \
         has no cheaper exact one), 44 for the flow lookup, 15 for the miss in the block trie and 18 for parsing and \
         counting; dropping of 25 for TEST_RUN and some 25 for the trie, parsing and counting. Runs of one build differ \
         by 10 ns and more on this machine.",
    );
    Ok(section)
}

/// A process that has the kernel time every run of a program (`BPF_ENABLE_STATS`, as a running agent does), which adds two
/// readings of the clock to each figure.
fn timed_by() -> Option<String> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let mut open = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let holds = open
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:bpf-stats"));
        holds.then(|| process.file_name().to_string_lossy().into_owned())
    })
}

/// Runs the example once.
fn one_round() -> anyhow::Result<Vec<(String, f64)>> {
    if let Some(process) = timed_by() {
        anyhow::bail!(
            "process {process} has the kernel time every program run, as an agent does; end it first"
        );
    }
    let args = ["run", "--quiet", "--release", "--package", "kernel", "--example", "testrun"];
    let text = shell::output(shell::cargo(&args))?;
    let text = String::from_utf8(text).context("the example's output is not text")?;
    text.lines()
        .map(|line| {
            let value: serde_json::Value =
                serde_json::from_str(line).with_context(|| format!("not understood: {line}"))?;
            match (value["name"].as_str(), value["ns"].as_f64()) {
                (Some(name), Some(ns)) => Ok((name.to_owned(), ns)),
                _ => anyhow::bail!("not understood: {line}"),
            }
        })
        .collect()
}
