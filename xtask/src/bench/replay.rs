//! `replay` beside nDPI's reader, on one core and the same capture, and by several workers beside one.

use super::capture::{self, Capture, Mix};
use super::figure::{Aim, Figure, Section, median, number};
use super::process::{self, Run};
use super::{Setup, machine, progress};
use crate::shell;
use std::process::Command;

const PACKETS: u64 = 2_500_000;
/// The capture that has aims.
const MIXED: &str = "mixed load";
const ROUNDS: usize = 5;
/// The core both run on; the other one is left to the rest of the system.
const CORE: &str = "1";

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let has_ndpi = machine::version("libndpi-bin").is_some();
    let rounds = if setup.quick { 2 } else { ROUNDS };
    let mut section = Section::new(format!(
        "`autoinmune replay FILE` beside `ndpiReader -q -i FILE`, each pinned to the same core, in turn, medians of \
         {rounds} rounds after one that does not count; times are those of whole processes, bytes those on the wire. \
         Both do different work: ndpiReader dissects protocols within the first packets of a flow; replay accounts every \
         packet, keeps windows per entity and judges every rule. Beside them `replay --workers 2`, in turn with one worker, \
         both on all cores; with two there are two threads that work, of which one at a time reads, and one that judges."
    ));
    type Make = fn(u64) -> anyhow::Result<Capture>;
    let captures: [(Make, &str); 3] = [
        (capture::mixed, MIXED),
        (|n| capture::joined(n, Mix::All), "every kind"),
        (|n| capture::joined(n, Mix::Ordinary), "ordinary"),
    ];
    for (make, name) in captures {
        progress(&format!("replay, making the capture: {name}"));
        match make(PACKETS) {
            Ok(capture) => {
                compare(setup, &capture, name, rounds, has_ndpi, &mut section)?;
                scale(setup, &capture, name, rounds, &mut section)?;
            }
            Err(why) => section.note(format!("The capture \"{name}\" was not measured: {why:#}.")),
        }
    }
    if !has_ndpi {
        section.note("ndpiReader was not measured: package libndpi-bin is not installed.");
    }
    section.explain_missed(
        "two workers spend half as much processor time again as one, on waiting for memory that another core wrote, on \
         being woken and on copies out of the page cache.",
    );
    Ok(section)
}

/// Two workers beside one, both free to use every core.
fn scale(
    setup: &Setup,
    capture: &Capture,
    name: &str,
    rounds: usize,
    section: &mut Section,
) -> anyhow::Result<()> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        section.note(format!("{name}: two workers were not measured: there is one core."));
        return Ok(());
    }
    let file = capture.path.to_string_lossy().into_owned();
    let run = |workers: &str| -> anyhow::Result<Run> {
        let program = setup.program.to_string_lossy().into_owned();
        process::run(shell::command(&program, &["replay", "--workers", workers, &file]))
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress(&format!("replay, {name}, one and two workers, round {round} of {rounds}"));
        one.push(run("1")?);
        two.push(run("2")?);
    }
    let of = |runs: &[Run], f: fn(&Run) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    let rate = |runs: &[Run]| capture.packets as f64 / of(runs, |r| r.seconds) / 1e6;
    let (slow, fast) = (rate(&one), rate(&two));
    let figure = Figure::new(format!("{name}: packets per second, two workers"), fast, "million/s");
    section.push(figure.baseline(slow, "one worker"));
    let mut figure =
        Figure::new(format!("{name}: speed of two workers to that of one"), fast / slow, "times");
    if name == MIXED {
        figure = figure.aim(Aim::AtLeast(1.8));
    }
    section.push(figure);
    let cpu = |runs: &[Run]| of(runs, |r| r.cpu_seconds);
    section.push(
        Figure::new(format!("{name}: processor time, two workers"), cpu(&two), "s")
            .baseline(cpu(&one), "one worker"),
    );
    Ok(())
}

/// Both programs on one capture.
fn compare(
    setup: &Setup,
    capture: &Capture,
    name: &str,
    rounds: usize,
    has_ndpi: bool,
    section: &mut Section,
) -> anyhow::Result<()> {
    let file = capture.path.to_string_lossy().into_owned();
    let core = if std::thread::available_parallelism().is_ok_and(|n| n.get() > 1) { CORE } else { "0" };
    let ours = || -> Command {
        let mut command = shell::command("taskset", &["-c", core]);
        command.arg(&setup.program).args(["replay", "--workers", "1", &file]);
        command
    };
    let theirs = || shell::command("taskset", &["-c", core, "ndpiReader", "-q", "-i", &file]);
    // Both once for the page cache and the processor's clock.
    process::run(ours())?;
    if has_ndpi {
        process::run(theirs())?;
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress(&format!("replay, {name}, round {round} of {rounds}"));
        a.push(process::run(ours())?);
        if has_ndpi {
            b.push(process::run(theirs())?);
        }
    }
    let (packets, bytes) = (capture.packets as f64, capture.bytes as f64);
    let of = |runs: &[Run], f: fn(&Run) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    let mut row = |what: &str, unit, aim: Option<Aim>, f: &dyn Fn(&[Run]) -> f64| {
        let mut figure = Figure::new(format!("{name}: {what}"), f(&a), unit);
        if let Some(aim) = aim {
            figure = figure.aim(aim);
        }
        if has_ndpi {
            figure = figure.baseline(f(&b), "ndpiReader");
        }
        section.push(figure);
    };
    let aim = |least| (name == MIXED).then_some(Aim::AtLeast(least));
    row("packets per second", "million/s", aim(2.0), &|r| packets / of(r, |r| r.seconds) / 1e6);
    row("bits per second", "Gbit/s", aim(8.0), &|r| bytes * 8.0 / of(r, |r| r.seconds) / 1e9);
    row("time", "s", None, &|r| of(r, |r| r.seconds));
    row("processor time, user and system", "s", None, &|r| of(r, |r| r.cpu_seconds));
    row("highest resident memory", "MB", None, &|r| of(r, |r| r.peak_bytes as f64) / 1e6);
    let spread = |runs: &[Run]| {
        let times = runs.iter().map(|r| r.seconds);
        let (least, most) = times.fold((f64::MAX, 0.0_f64), |(l, m), t| (l.min(t), m.max(t)));
        format!("{least:.2} to {most:.2} s")
    };
    let beside = if has_ndpi {
        format!(
            ", those of ndpiReader from {}; the ratio of the rates is {:.2}",
            spread(&b),
            of(&b, |r| r.seconds) / of(&a, |r| r.seconds)
        )
    } else {
        String::new()
    };
    section.note(format!(
        "The capture \"{name}\" has {} packets, {} bytes: {}. Times of replay ranged from {}{beside}.",
        number(packets),
        number(bytes),
        capture.made_of,
        spread(&a)
    ));
    Ok(())
}
