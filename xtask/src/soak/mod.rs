//! `cargo xtask soak`: the detector and the agent under a steady, mixed load, and whether their memory stays flat. Writes
//! docs/soak.md if asked to.
//!
//! The detector is asked every kind of question over connections that are kept, and to retrain once a minute. As root there
//! is a range of the lab beside it, in which `autoinmune run` watches with the kernel's sensor, blocks, follows logs that are
//! rotated, and posts its figures to the detector. The load is bounded, so that other tests can run at the same time.
//!
//! It fails if memory, files or threads grow after warming up ([`judge`]), if the detector takes more than its limit, if a
//! question is not answered as it should be, or if anything is lost that must not be.

mod http;
mod judge;
mod load;
pub(crate) mod programs;
mod questions;
mod report;
mod watch;

use crate::shell;
use anyhow::{Context as _, bail};
use judge::{Course, Sample};
use lab::range::Range;
use load::{Load, Logs};
use report::Report;
use server::view::Status;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const DOCUMENT: &str = "docs/soak.md";
/// Minutes, where it is not said.
const MINUTES: u32 = 10;
/// Longest run, minutes: a day.
const LONGEST: u32 = 24 * 60;
/// Questions a second to the detector, where it is not said: little enough to run beside other tests.
const RATE: u32 = 60;
/// Highest rate: beyond, it would be a benchmark.
const FASTEST: u32 = 5000;
/// Samples of a run.
const SAMPLES: u32 = 300;
/// Most memory of the detector, MB.
const DETECTOR_MB: f64 = 120.0;
/// Most memory of the agent, MB: its tables of flows and hosts, and the learner's.
const AGENT_MB: f64 = 160.0;
/// What the agent may need to read the last lines, and to publish what it has seen.
const SETTLE: Duration = Duration::from_secs(5);

/// Losses that bounded load must not bring about. The others are counts of traffic that is not understood or that rules
/// leave out, such as packets that are no IP.
const NEVER: &[&str] = &[
    "audit_lines_lost",
    "effects_failed",
    "entities_evicted",
    "eve_lines_dropped",
    "figures_dropped",
    "flows_evicted",
    "incidents_evicted",
    "learner_windows_dropped",
    "log_events_dropped",
    "log_files_unreadable",
    "log_lines_cut",
    "messages_dropped",
    "sessions_evicted",
];

#[derive(Debug, PartialEq, Eq)]
struct Selection {
    minutes: u32,
    rate: u32,
    program: Option<PathBuf>,
    /// Write the document.
    write: bool,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut selection = Self { minutes: MINUTES, rate: RATE, program: None, write: false };
        let mut args = args.iter();
        let number = |value: Option<&String>, what: &str, most: u32| {
            let number = value.and_then(|n| n.parse().ok()).filter(|n| (1..=most).contains(n));
            number.with_context(|| format!("{what} needs a number from 1 to {most}"))
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => selection.minutes = number(args.next(), arg, LONGEST)?,
                "--rate" => selection.rate = number(args.next(), arg, FASTEST)?,
                "--program" => {
                    selection.program = Some(args.next().context("--program needs a path")?.into());
                }
                "--write" => selection.write = true,
                other => bail!(
                    "unknown argument '{other}'; usage: cargo xtask soak [--minutes N] [--rate N] [--program PATH] [--write]"
                ),
            }
        }
        Ok(selection)
    }
}

/// Runs it; whether everything stayed as it should.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    let program = shell::program(selection.program.as_deref())?;
    let folder = std::env::temp_dir().join(format!("autoinmune-soak-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A build meanwhile must not change what is tested.
    let copy = folder.join("autoinmune");
    let result = fs::copy(&program, &copy)
        .with_context(|| format!("cannot copy {}", program.display()))
        .and_then(|_| soak(&selection, &copy, &folder));
    // It is in a directory for what may go.
    let _ = fs::remove_dir_all(&folder);
    let report = result?;
    print!("{}", report.summary());
    if selection.write {
        let release = program.parent().is_some_and(|p| p.ends_with("release"));
        let path = shell::root().join(DOCUMENT);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, report.markdown(release, &before))
            .with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("wrote {DOCUMENT}");
    }
    if let Some(why) = &report.alone {
        println!("done; skipped: the agent: {why}");
    }
    Ok(report.faults.is_empty())
}

/// A range, or why there is none.
fn range() -> Result<Range, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".into());
    }
    lab::range::sweep().and_then(|_| Range::create()).map_err(|e| e.to_string())
}

fn soak(selection: &Selection, program: &Path, folder: &Path) -> anyhow::Result<Report> {
    let (range, alone) = match range() {
        Ok(range) => (Some(range), None),
        Err(why) => (None, Some(why)),
    };
    let (detector, address) = programs::detector(range.as_ref(), program, folder)?;
    let mut load = Load::new();
    let mut agent = None;
    if let Some(range) = &range {
        let logs = Logs::create(folder)?;
        let started = programs::Agent::start(range, program, folder, &logs, address)?;
        load.traffic(range)?;
        load.ask_agent(range, started.api, started.http)?;
        load.log(&logs)?;
        agent = Some(started);
    }
    load.ask(range.as_ref(), address, selection.rate)?;
    let time = Duration::from_secs(u64::from(selection.minutes) * 60);
    println!("     soak: {} minutes, {} questions a second", selection.minutes, selection.rate);
    let pids: Vec<u32> = [Some(&detector), agent.as_ref().map(|a| &a.program)]
        .into_iter()
        .flatten()
        .map(programs::Program::pid)
        .collect();
    let samples = watch(&pids, time)?;
    let tally = load.stop();
    std::thread::sleep(SETTLE);

    let mut faults = Vec::new();
    let mut courses = Vec::new();
    let limits = [("detector", DETECTOR_MB), ("agent", AGENT_MB)];
    for ((name, limit), samples) in limits.into_iter().zip(&samples) {
        let course = Course::of(name, limit, samples).context("the run was too short")?;
        faults.extend(course.faults());
        courses.push(course);
    }
    let (failed, told) = tally.failures();
    faults.extend(told);
    let counted = tally.counted.load(Ordering::Relaxed);
    faults.extend(detector.counted(range.as_ref(), address, counted).err().map(|e| format!("{e:#}")));
    let mut losses = Vec::new();
    if let Some(agent) = agent {
        let status = agent.status()?;
        losses = lost(&status);
        faults.extend(losses.iter().map(|(name, count)| format!("the agent lost something: {name} {count}")));
        let said = agent.program.stop()?;
        let (written, read) = (tally.lines.load(Ordering::Relaxed), programs::lines_read(&said));
        if read != Some(written) {
            faults.push(format!("{written} lines were logged, and the agent read {read:?}"));
        }
    }
    detector.stop()?;
    if let Some(range) = range {
        range.destroy()?;
    }
    Ok(Report {
        minutes: selection.minutes,
        rate: selection.rate,
        courses,
        tally,
        failed,
        losses,
        faults,
        alone,
    })
}

/// Looks at all programs at even intervals.
fn watch(pids: &[u32], time: Duration) -> anyhow::Result<Vec<Vec<Sample>>> {
    let begun = Instant::now();
    let mut samples = vec![Vec::new(); pids.len()];
    for n in 1..=SAMPLES {
        std::thread::sleep((time * n / SAMPLES).saturating_sub(begun.elapsed()));
        for (pid, samples) in pids.iter().zip(&mut samples) {
            samples.push(watch::look(*pid)?);
        }
    }
    Ok(samples)
}

/// Losses that must not be.
fn lost(status: &Status) -> Vec<(&'static str, u64)> {
    let count = |name: &&'static str| (*name, status.losses.get(*name).copied().unwrap_or(0));
    NEVER.iter().map(count).filter(|(_, n)| *n > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_bounded() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Selection::parse(&words)
        };
        assert_eq!(parse(&[]).expect("fine").minutes, MINUTES);
        let hour = parse(&["--minutes", "60", "--rate", "200", "--write"]).expect("fine");
        assert_eq!((hour.minutes, hour.rate, hour.write), (60, 200, true));
        for wrong in [&["--minutes"][..], &["--minutes", "0"], &["--rate", "99999"], &["--quick"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn losses_that_must_not_be_are_found() {
        let mut status = Status::default();
        status.losses.extend([("not_ip".to_owned(), 7), ("flows_evicted".to_owned(), 0)]);
        assert!(lost(&status).is_empty());
        status.losses.insert("eve_lines_dropped".into(), 3);
        assert_eq!(lost(&status), [("eve_lines_dropped", 3)]);
    }
}
