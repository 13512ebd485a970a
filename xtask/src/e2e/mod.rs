//! `cargo xtask e2e`: plays every scenario of the lab against the real agent, and writes docs/lab-scoreboard.md.
//!
//! Each scenario has a network of its own, so several are played at a time. A scenario that comes out otherwise than its
//! file expects fails the task. The program is the development build, with overflow checks.

mod board;

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
/// How much longer than its steps a scenario may take: its network, the agent, and the judgement.
const OVERHEAD: Duration = Duration::from_secs(60);

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

#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    /// Scenarios at a time; 0: one for each processor.
    jobs: usize,
    program: Option<PathBuf>,
    /// Names of scenarios; empty is all.
    names: Vec<String>,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--jobs" => {
                    let jobs = args.next().and_then(|n| n.parse().ok()).filter(|n| (1..=16).contains(n));
                    selection.jobs = jobs.context("--jobs needs a number from 1 to 16")?;
                }
                "--program" => {
                    selection.program = Some(args.next().context("--program needs a path")?.into());
                }
                name if SHIPPED.iter().any(|(n, _)| *n == name) => selection.names.push(name.to_owned()),
                other => bail!(
                    "unknown argument or scenario '{other}'; usage: cargo xtask e2e [--jobs N] [--program PATH] [SCENARIO]…"
                ),
            }
        }
        Ok(selection)
    }
}

/// Plays all scenarios, or those named; whether all came out as expected. The document is written when all were asked for.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: e2e: network namespaces need root; run as root (sudo)");
        return Ok(true);
    }
    let program = match selection.program {
        Some(path) => path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?,
        None => {
            let built = shell::cargo(&["build", "--quiet", "--package", "autoinmune"]).status();
            anyhow::ensure!(built.context("cannot run cargo")?.success(), "the program does not build");
            shell::root().join("target/debug/autoinmune")
        }
    };
    // A build meanwhile must not change what is tested.
    let folder = std::env::temp_dir().join(format!("autoinmune-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join("autoinmune");
    let result = std::fs::copy(&program, &copy)
        .with_context(|| format!("cannot copy {}", program.display()))
        .and_then(|_| play_all(&copy, &selection.names, selection.jobs));
    // It is in a directory for what may go.
    let _ = std::fs::remove_dir_all(&folder);
    let board = result?;
    print!("{}", board.summary());
    if selection.names.is_empty() {
        let path = shell::root().join(DOCUMENT);
        std::fs::write(&path, board.markdown()).with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("wrote {DOCUMENT}");
    }
    Ok(board.is_good())
}

fn play_all(program: &std::path::Path, names: &[String], jobs: usize) -> anyhow::Result<Board> {
    let mut scenarios: Vec<(&str, Scenario)> = Vec::new();
    for (name, _) in SHIPPED {
        if names.is_empty() || names.iter().any(|n| n == name) {
            scenarios.push((name, shipped(name)?));
        }
    }
    // The longest first, so that none is left over at the end.
    scenarios.sort_by(|a, b| b.1.length().total_cmp(&a.1.length()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if jobs == 0 { cores } else { jobs };
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
                    println!("{}", board::line(name, &outcome));
                    // A closed pipe is no reason to stop measuring.
                    let _ = std::io::stdout().flush();
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((name, scenario, outcome));
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Board::new(done, begun.elapsed(), jobs, cores))
}

fn play(program: &std::path::Path, name: &str, scenario: &Scenario) -> Outcome {
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
        let some = parse(&["--jobs", "3", "scan-syn"]).expect("fine");
        assert_eq!((some.jobs, some.names.as_slice()), (3, &["scan-syn".to_owned()][..]));
        for wrong in
            [&["--jobs"][..], &["--jobs", "0"], &["--jobs", "99"], &["no-such-scenario"], &["--quick"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_scoreboard_has_a_row_for_every_scenario() {
        let board = std::fs::read_to_string(shell::root().join(DOCUMENT)).expect(DOCUMENT);
        for (name, _) in SHIPPED {
            assert!(board.contains(&format!("| `{name}` |")), "{DOCUMENT} lacks {name}; run cargo xtask e2e");
        }
        let rows = board.lines().filter(|l| l.starts_with("| `")).count();
        assert_eq!(rows, SHIPPED.len(), "{DOCUMENT} has scenarios that are gone; run cargo xtask e2e");
    }
}
