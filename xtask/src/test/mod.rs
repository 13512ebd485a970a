//! `cargo xtask test`: everything that can be tested here, and the names of what cannot.
//!
//! How a test says that it cannot run: it prints one line `skipped: <test name>: <why>` to standard output and
//! returns. Its output is read back (`--show-output`), and it counts as skipped, not as passed. The same line printed by
//! one of the checks below does the same. A test that needs root, a program, or shared data must look for it and skip;
//! it must not fail for want of it. A function that is only a child process of another test is
//! `#[ignore = "part of <test name>"]` and counts as nothing.

mod packages;
mod tally;

use crate::{contract, shell};
use anyhow::Context as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Instant;
use tally::Tally;

/// What to run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    /// Show everything that cargo and the tests print.
    verbose: bool,
    /// Leave the lab's scenarios out, which take some minutes.
    no_e2e: bool,
    /// Leave the long run out, which takes ten minutes beside the tests.
    no_soak: bool,
    /// Only the tests of these packages, and no checks; empty is everything.
    packages: Vec<String>,
}

impl Selection {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--verbose" | "-v" => selection.verbose = true,
                "--no-e2e" => selection.no_e2e = true,
                "--no-soak" => selection.no_soak = true,
                "--package" | "-p" => {
                    selection.packages.push(args.next().context("--package needs a name")?.clone());
                }
                _ => anyhow::bail!(
                    "unknown argument '{arg}'; usage: cargo xtask test [--verbose] [--no-e2e] [--no-soak] [--package NAME]…"
                ),
            }
        }
        Ok(selection)
    }
}

/// Runs everything, or the tests of some packages; whether nothing failed.
pub(crate) fn run(args: &[String]) -> anyhow::Result<bool> {
    let selection = Selection::parse(args)?;
    let begun = Instant::now();
    // Asked now: building the tests may replace this program's file, and then the system calls the path deleted.
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    let mut tally = Tally::default();
    let all = selection.packages.is_empty();
    if all {
        packages::provide();
        component(&mut tally, "fmt", "rustfmt", &["fmt", "--all", "--check"])?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        component(&mut tally, "clippy", "clippy", &clippy)?;
    }
    let mut soak = None;
    let begin = || soak = (all && !selection.no_soak).then(|| begin_soak(&own.to_string_lossy()));
    tests(&mut tally, &selection, begin)?;
    if all {
        for (name, args) in CHECKS {
            check(&mut tally, name, shell::command(&own.to_string_lossy(), args))?;
        }
        match soak {
            Some(soak) => {
                println!("     {SOAK}: waiting for its end");
                let done = soak.join().map_err(|_| anyhow::anyhow!("{SOAK} panicked"))?;
                settle(&mut tally, SOAK, &done?);
            }
            None => {
                let why = if selection.no_soak { "left out (--no-soak)" } else { "nothing was built" };
                println!("--   {SOAK}: {why}");
                tally.skip(SOAK, why);
            }
        }
        // Last, with nothing beside it: it is measured in real time.
        if selection.no_e2e {
            println!("--   {SCENARIOS}: left out (--no-e2e)");
            tally.skip(SCENARIOS, "left out (--no-e2e)");
        } else {
            check(&mut tally, SCENARIOS, shell::command(&own.to_string_lossy(), &["e2e", "--check"]))?;
        }
    }
    print!("{}", tally.summary());
    println!("Finished in {} s.\n", begun.elapsed().as_secs());
    println!("{}", tally.closing());
    std::io::stdout().flush()?;
    Ok(tally.failed() == 0)
}

/// What the lab's scenarios are called, also by themselves where they cannot be played.
const SCENARIOS: &str = "e2e";

/// What the long run is called. It takes ten minutes and little of the processors, so it runs beside the tests.
const SOAK: &str = "soak";

/// Tasks of this program that compare a committed file with what it is about. The name of one that can be skipped is what it
/// calls itself then.
const CHECKS: &[(&str, &[&str])] = &[
    ("kernel programs", &["bpf", "--check"]),
    ("generated documents", &["docs", "--check"]),
    ("text models", &["text", "--check"]),
    ("exactness", &["exactness", "--check"]),
    (contract::NAME, &["contract"]),
];

/// A check by a part of the toolchain that a minimal installation lacks.
fn component(tally: &mut Tally, name: &str, component: &str, args: &[&str]) -> anyhow::Result<()> {
    if !shell::succeeds(shell::cargo(&[args[0], "--version"])) {
        let why = format!("{component} is not installed (rustup component add {component})");
        println!("--   {name}: {why}");
        tally.skip(name, &why);
        return Ok(());
    }
    check(tally, name, shell::cargo(args))
}

/// How a command came out.
struct Done {
    good: bool,
    lines: Vec<String>,
    seconds: f32,
}

/// One command that counts as one test.
fn check(tally: &mut Tally, name: &str, command: Command) -> anyhow::Result<()> {
    let done = finish(command)?;
    settle(tally, name, &done);
    Ok(())
}

/// Runs a command to its end.
fn finish(mut command: Command) -> anyhow::Result<Done> {
    let begun = Instant::now();
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // The command holds the writing ends; without this the pipe would never end.
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        lines.push(String::from_utf8_lossy(&line?).into_owned());
    }
    let good = child.wait()?.success();
    Ok(Done { good, lines, seconds: begun.elapsed().as_secs_f32() })
}

/// Counts a command that has ended.
fn settle(tally: &mut Tally, name: &str, done: &Done) {
    let Done { good, lines, seconds } = done;
    let skipped = lines.iter().find_map(|l| tally::skip_reason(l, name));
    match (good, skipped) {
        (true, Some(why)) => {
            println!("--   {name}: {why}");
            tally.skip(name, &why);
        }
        (true, None) => {
            println!("ok   {name} ({seconds:.1} s)");
            tally.pass();
            // `done; skipped: <the rest, and why>`: a part that could not run.
            for (_, why) in lines.iter().filter_map(|l| l.split_once("; skipped: ")) {
                println!("--   {name}, in part: {why}");
                tally.skip(&format!("{name}, in part"), why);
            }
        }
        (false, _) => {
            for line in lines {
                println!("     {line}");
            }
            println!("FAIL {name} ({seconds:.1} s)");
            tally.fail(name);
        }
    }
}

/// Begins the long run with the program that the tests have built.
fn begin_soak(own: &str) -> JoinHandle<anyhow::Result<Done>> {
    println!("     {SOAK}: begun beside the tests");
    let program = shell::root().join("target/debug/autoinmune");
    let command = shell::command(own, &["soak", "--program", &program.to_string_lossy()]);
    std::thread::spawn(move || finish(command))
}

/// All test binaries and documentation tests of the workspace, or of the selected packages. Calls `built` when everything is.
fn tests(tally: &mut Tally, selection: &Selection, built: impl FnOnce()) -> anyhow::Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = shell::cargo(&["test", "--no-fail-fast", "--color=never"]);
    match selection.packages.as_slice() {
        [] => command.arg("--workspace"),
        some => command.args(some.iter().flat_map(|name| ["--package", name])),
    };
    command.args(["--", "--show-output"]);
    // Both streams into one pipe: cargo names the binary on one, the binary reports on the other.
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot run cargo test")?;
    drop(command);
    let mut reading = tally::Reading::new(tally);
    let mut built = Some(built);
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if tally::is_binary(&line)
            && let Some(built) = built.take()
        {
            built();
        }
        let shown = reading.line(&line);
        if selection.verbose {
            println!("{line}");
        } else if let Some(shown) = shown {
            println!("{shown}");
        }
    }
    let good = child.wait()?.success();
    reading.end(good);
    Ok(())
}
