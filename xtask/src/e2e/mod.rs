//! `cargo xtask e2e`: plays every scenario of the lab against the real agent, and writes docs/lab-scoreboard.md.
//!
//! Each scenario has a network of its own, so several are played at a time. One that comes out otherwise than its file
//! expects is played once more, by itself: what is measured in real time may fail on a machine that is busy. If it does so
//! again it fails the task. That somebody harmless was blocked is never played away. The program is the development build,
//! with overflow checks.
//!
//! `--ordinary TIME` plays ordinary traffic for that long instead and counts false alarms; it writes one section of the
//! document, which a run of the scenarios leaves as it is.
//!
//! `--check` writes nothing: times differ from run to run, so the document is no reference to compare with. What is to be
//! recognised is in the scenarios' files, and a test compares the committed document with these.

mod board;
mod ordinary;

use crate::shell;
use anyhow::{Context as _, bail};
use board::Board;
use lab::scenario::{SHIPPED, Scenario, shipped};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const DOCUMENT: &str = "docs/lab-scoreboard.md";
/// How much longer than its steps a scenario may take: its network, the agent, and the judgement. Each of them waits until
/// something is there, and gives up long before.
const OVERHEAD: Duration = Duration::from_secs(120);
/// Scenarios at a time for each processor, where it is not said: they wait most of their time.
const JOBS_PER_CORE: usize = 2;
/// Most scenarios at a time, said or not.
const MOST_JOBS: usize = 16;

/// How one scenario came out.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was played: the report of `autoinmune lab run -o json`.
    Played(Box<Value>),
    /// It cannot be played here.
    Skipped(String),
    /// It could not be played although it should.
    Broken(String),
}

/// A scenario and what came of it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) scenario: Scenario,
    pub(crate) outcome: Outcome,
    /// Why it was played again, if it was.
    pub(crate) first: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    /// Write no document.
    check: bool,
    /// Scenarios at a time; 0: [`JOBS_PER_CORE`] for each processor.
    jobs: usize,
    program: Option<PathBuf>,
    /// Ordinary traffic for so long, instead of scenarios.
    ordinary: Option<String>,
    /// Names of scenarios; empty is all.
    names: Vec<String>,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--check" => selection.check = true,
                "--jobs" => {
                    let jobs =
                        args.next().and_then(|n| n.parse().ok()).filter(|n| (1..=MOST_JOBS).contains(n));
                    selection.jobs =
                        jobs.with_context(|| format!("--jobs needs a number from 1 to {MOST_JOBS}"))?;
                }
                "--ordinary" => {
                    let time = args.next().context("--ordinary needs a time, such as 60m")?;
                    selection.ordinary = Some(time.clone());
                }
                "--program" => {
                    selection.program = Some(args.next().context("--program needs a path")?.into());
                }
                name if SHIPPED.iter().any(|(n, _)| *n == name) => selection.names.push(name.to_owned()),
                other => bail!(
                    "unknown argument or scenario '{other}'; usage: cargo xtask e2e [--check] [--jobs N] [--program PATH] [--ordinary TIME | SCENARIO…]"
                ),
            }
        }
        anyhow::ensure!(
            selection.ordinary.is_none() || selection.names.is_empty(),
            "--ordinary plays no scenarios; leave out the one or the other"
        );
        Ok(selection)
    }
}

/// Plays all scenarios, or those named; whether all came out as expected. The document is written when all were asked for,
/// and not with `--check`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: e2e: network namespaces need root; run as root (sudo)");
        return Ok(true);
    }
    let program = shell::program(selection.program.as_deref())?;
    // A build meanwhile must not change what is tested.
    let folder = std::env::temp_dir().join(format!("autoinmune-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join("autoinmune");
    let result = std::fs::copy(&program, &copy)
        .with_context(|| format!("cannot copy {}", program.display()))
        .and_then(|_| run_with(&copy, &selection));
    // It is in a directory for what may go.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn run_with(program: &std::path::Path, selection: &Selection) -> anyhow::Result<bool> {
    if let Some(time) = &selection.ordinary {
        return ordinary::run(program, time, !selection.check);
    }
    let board = play_all(program, &selection.names, selection.jobs)?;
    print!("{}", board.summary());
    if selection.check {
        let skipped = board.skipped();
        if !skipped.is_empty() {
            println!("done; skipped: {skipped}");
        }
    } else if selection.names.is_empty() {
        let path = shell::root().join(DOCUMENT);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let text = ordinary::kept(&board.markdown(), &old);
        std::fs::write(&path, text).with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("wrote {DOCUMENT}");
    }
    Ok(board.is_good())
}

fn play_all(program: &std::path::Path, names: &[String], jobs: usize) -> anyhow::Result<Board> {
    let mut scenarios: Vec<(&'static str, Scenario)> = Vec::new();
    for (name, _) in SHIPPED {
        if names.is_empty() || names.iter().any(|n| n == name) {
            scenarios.push((name, shipped(name)?));
        }
    }
    // The longest first, so that none is left over at the end.
    scenarios.sort_by(|a, b| b.1.length().total_cmp(&a.1.length()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if jobs == 0 { (cores * JOBS_PER_CORE).min(MOST_JOBS) } else { jobs };
    let begun = Instant::now();
    let queue = Mutex::new(scenarios.into_iter().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((name, scenario)) = next else { break };
                    let outcome = play(program, name, &scenario);
                    let row = Row { name, scenario, outcome, first: None };
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    let mut rows = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    for row in &mut rows {
        if let Some(why) = worth_another_try(&row.outcome) {
            println!("     {} is played once more, by itself", row.name);
            row.outcome = play(program, row.name, &row.scenario);
            row.first = Some(why);
        }
    }
    Ok(Board::new(rows, begun.elapsed(), jobs, cores))
}

/// Why a scenario is to be played again: it came out otherwise than expected, and nobody harmless was blocked.
fn worth_another_try(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Played(r) if r["verdict"] == "failed" && !board::has_innocent_block(r) => {
            Some(board::words(&r["why"]).join("; "))
        }
        Outcome::Broken(why) => Some(why.clone()),
        Outcome::Played(_) | Outcome::Skipped(_) => None,
    }
}

/// Plays a scenario and says what came of it.
fn play(program: &std::path::Path, name: &str, scenario: &Scenario) -> Outcome {
    let outcome = play_once(program, name, scenario);
    println!("{}", board::line(name, &outcome));
    // A closed pipe is no reason to stop measuring.
    let _ = std::io::stdout().flush();
    outcome
}

fn play_once(program: &std::path::Path, name: &str, scenario: &Scenario) -> Outcome {
    let missing: Vec<String> = scenario
        .missing()
        .iter()
        .map(|(program, package)| format!("{program} (package {package})"))
        .collect();
    if !missing.is_empty() {
        return Outcome::Skipped(format!("needs {}", missing.join(", ")));
    }
    let limit = (Duration::from_secs_f64(scenario.length()) + OVERHEAD).as_secs().to_string();
    // timeout(1) ends it in order; what it leaves then the next start removes.
    let program = program.to_string_lossy();
    let args = ["--kill-after=10", &limit, &program, "lab", "run", name, "-o", "json"];
    let output = match shell::command("timeout", &args).output() {
        Ok(output) => output,
        Err(e) => return Outcome::Broken(format!("cannot be started: {e}")),
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(report) => Outcome::Played(Box::new(report)),
        Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no report");
            Outcome::Broken(last.trim_start_matches("autoinmune: ").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_scenarios_and_options() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Selection::parse(&words)
        };
        assert_eq!(parse(&[]).expect("fine"), Selection::default());
        assert!(parse(&["--check"]).expect("fine").check);
        let some = parse(&["--jobs", "3", "scan-syn"]).expect("fine");
        assert_eq!((some.jobs, some.names.as_slice()), (3, &["scan-syn".to_owned()][..]));
        assert_eq!(parse(&["--ordinary", "10m"]).expect("fine").ordinary.as_deref(), Some("10m"));
        for wrong in [
            &["--jobs"][..],
            &["--jobs", "0"],
            &["--jobs", "99"],
            &["no-such-scenario"],
            &["--quick"],
            &["--ordinary"],
            &["--ordinary", "10m", "scan-syn"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_failed_is_played_again_unless_somebody_harmless_was_blocked() {
        let played = |verdict: &str, innocent: bool| {
            let report = serde_json::json!({
                "verdict": verdict, "why": ["too late"], "blocks": [{"address": "192.0.2.1", "innocent": innocent}],
            });
            worth_another_try(&Outcome::Played(Box::new(report))).is_some()
        };
        assert!(played("failed", false));
        assert!(!played("failed", true));
        for fine in ["passed", "missed", "false_alarm"] {
            assert!(!played(fine, false), "{fine}");
        }
        assert!(worth_another_try(&Outcome::Broken("no range".into())).is_some());
        assert!(worth_another_try(&Outcome::Skipped("no nmap".into())).is_none());
    }

    #[test]
    fn the_committed_scoreboard_says_what_the_scenarios_expect() {
        let board = std::fs::read_to_string(shell::root().join(DOCUMENT)).expect(DOCUMENT);
        for (name, _) in SHIPPED {
            let begin = format!("| `{name}` |");
            let row = board.lines().find(|l| l.starts_with(&begin));
            let row = row.unwrap_or_else(|| panic!("{DOCUMENT} lacks {name}; run cargo xtask e2e"));
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let scenario = shipped(name).expect("a scenario");
            let expected = match &scenario.expect {
                Some(expect) => (expect.class.as_str(), expect.missed.is_some()),
                // Nobody is blocked.
                None => ("0", false),
            };
            let told = match scenario.expect {
                Some(_) => (cells[2], cells[3] == "missed"),
                None => (cells[3], false),
            };
            assert_eq!(told, expected, "{DOCUMENT} says otherwise of {name}; run cargo xtask e2e");
            assert!(!row.contains("otherwise than expected"), "{DOCUMENT}: {name} failed");
        }
        let scenarios = board.split(ordinary::HEADING).next().unwrap_or_default();
        let rows = scenarios.lines().filter(|l| l.starts_with("| `")).count();
        assert_eq!(rows, SHIPPED.len(), "{DOCUMENT} has scenarios that are gone; run cargo xtask e2e");
    }
}
