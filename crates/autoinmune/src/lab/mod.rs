//! `lab`: a network of namespaces to attack, scenarios played in it against the real agent, and what the agent made of them.

pub mod agent;
mod capture;
mod hidden;
mod judge;
mod ordinary;
mod report;
mod run;
mod standing;

use crate::cli::{Format, OutputArgs};
use crate::exit::{Exit, fail};
use ::lab::range::RangeError;
use ::lab::scenario::{SHIPPED, Scenario, ScenarioKind, StageError, shipped};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Longest wait for the agent to attach.
const ATTACH: std::time::Duration = std::time::Duration::from_secs(30);

/// `lab …`.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Make a scenario's network with its servers and an agent at its gateway, and leave it
    ///
    /// Prints the hosts with their addresses and namespaces, and how to run a command on one. Nothing leaves the machine. Needs
    /// root. One network at a time; `lab down` removes it.
    Up(UpArgs),
    /// Play a scenario against the agent and say what it made of it
    ///
    /// The agent enforces, with its default configuration. The exit code is 1 if the scenario came out otherwise than its file
    /// expects: an attack not recognised in time, or somebody harmless blocked or accused. Needs root; the network is removed at
    /// the end.
    Run(RunArgs),
    /// Play ordinary traffic for a while and count what the agent takes for an attack
    ///
    /// A branch office, partners, customers and machines use servers of the lab, drawn anew every two minutes, while the agent
    /// enforces with its default configuration. The exit code is 1 if it told of more than one incident an hour, or blocked
    /// anybody. Needs root; the network is removed at the end.
    Ordinary(OrdinaryArgs),
    /// Remove what `up` left
    Down(OutputArgs),
    /// List scenarios, and networks that are up
    List(OutputArgs),
    /// Do one act inside a range; prints a report as a line of JSON
    #[command(hide = true)]
    Act(hidden::WordsArgs),
    /// Serve inside a range; prints a line of JSON once it does
    #[command(hide = true)]
    Serve(hidden::WordsArgs),
    /// Carry frames between the two halves of a slow way outside
    #[command(hide = true)]
    Relay(hidden::RelayArgs),
}

/// `lab up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// Whose network: name of a scenario that comes with the program, or a file
    #[arg(default_value = "monitoring", value_hint = ValueHint::FilePath)]
    pub scenario: String,
    /// Let the agent block; without it, it only reports
    #[arg(long)]
    pub enforce: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `lab run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Name of a scenario that comes with the program (see `lab list`), or a file
    #[arg(value_hint = ValueHint::FilePath)]
    pub scenario: String,
    /// Leave capture, labels, events and report here; made if absent
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// What chance depends on: equal seeds give equal content, order and pauses of the lab's own acts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `lab ordinary`.
#[derive(Clone, Debug, Args)]
pub struct OrdinaryArgs {
    /// For how long, such as 60s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "60m")]
    pub duration: String,
    /// What chance depends on: equal seeds draw the same of the repertoire
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave capture, events and report here; made if absent
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `lab`.
///
/// # Errors
/// Wrong arguments, no privileges, or something of the range that does not work. A scenario that comes out otherwise than it
/// expects is no error but [`Exit::Failure`].
pub fn run(command: &LabCommand) -> anyhow::Result<Exit> {
    match command {
        LabCommand::Up(args) => standing::up(args),
        LabCommand::Run(args) => run::run(args),
        LabCommand::Ordinary(args) => ordinary::run(args),
        LabCommand::Down(args) => standing::down(args.output),
        LabCommand::List(args) => list(args.output),
        LabCommand::Act(args) => hidden::act(args),
        LabCommand::Serve(args) => hidden::serve(args),
        LabCommand::Relay(args) => hidden::relay(args),
    }
}

/// A scenario by name, or by path if the word has a slash or ends in `.toml`. Returns its name too.
fn scenario(word: &str) -> anyhow::Result<(String, Scenario)> {
    let path = Path::new(word);
    if !word.contains('/') && path.extension().is_none_or(|e| e != "toml") {
        let scenario =
            shipped(word).map_err(|e| fail(Exit::Input, format!("{e}; or give the path of a file")))?;
        return Ok((word.to_owned(), scenario));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| fail(Exit::Input, format!("cannot read {}: {e}", path.display())))?;
    let scenario =
        Scenario::parse(&text).map_err(|e| fail(Exit::Input, format!("{}: {e}", path.display())))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, scenario))
}

/// An error of the range with its exit code.
fn range_error(error: RangeError) -> anyhow::Error {
    let exit = match &error {
        RangeError::NotRoot => Exit::Permission,
        RangeError::Ip { .. } | RangeError::Network(_) => Exit::Kernel,
        _ => Exit::Failure,
    };
    let hint = if matches!(error, RangeError::NotRoot) { "; run as root (sudo)" } else { "" };
    fail(exit, format!("{error}{hint}"))
}

fn stage_error(error: StageError) -> anyhow::Error {
    match error {
        StageError::Range(e) => range_error(e),
        e => fail(Exit::Failure, e.to_string()),
    }
}

/// A flag that Ctrl-C and the like set.
fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    Ok(stop)
}

/// One scenario in `lab list`.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    title: String,
    kind: ScenarioKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Why an attack is not recognised so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<String>,
    /// When the last step has ended at the latest, s.
    seconds: f64,
    /// Packages to install before it can be played.
    missing_packages: Vec<&'static str>,
}

fn list(output: Format) -> anyhow::Result<Exit> {
    let mut scenarios = Vec::new();
    for (name, _) in SHIPPED {
        let s = shipped(name)?;
        let mut missing_packages: Vec<&str> = s.missing().into_iter().map(|(_, package)| package).collect();
        missing_packages.dedup();
        scenarios.push(Listed {
            name,
            seconds: s.length(),
            title: s.title,
            kind: s.kind,
            twin: s.twin,
            class: s.expect.as_ref().map(|e| e.class.clone()),
            missed: s.expect.and_then(|e| e.missed),
            missing_packages,
        });
    }
    let kept = ::lab::range::kept().map_err(range_error)?;
    if output == Format::Json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({"scenarios": scenarios, "up": kept}))?
        );
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["SCENARIO", "CLASS", "TWIN", "SECONDS", "WHAT"].map(str::to_owned).to_vec()];
    for s in &scenarios {
        let what = match s.missing_packages.as_slice() {
            [] => s.title.clone(),
            packages => format!("{} (install {})", s.title, packages.join(", ")),
        };
        let class = s.class.clone().unwrap_or_else(|| "benign".to_owned());
        let twin = s.twin.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(vec![s.name.to_owned(), class, twin, format!("{:.0}", s.seconds), what]);
    }
    print!("{}", crate::text::table(&rows));
    for range in kept {
        println!("\nUp: {}", range.id);
        for namespace in range.namespaces {
            println!("  {namespace}");
        }
    }
    Ok(Exit::Ok)
}
