//! Autoinmune: the digital immune system for Linux networks, as one binary.

#![expect(
    unreachable_pub,
    reason = "modules of a binary have no outside; `pub` marks what they offer each other"
)]

mod agent;
mod capture;
mod cli;
mod client;
mod config;
mod dataset;
mod demo;
mod doctor;
mod engine;
mod eval;
mod eve;
mod exchange;
mod exit;
mod export;
mod feedback;
mod generate;
mod intel;
mod keep;
mod lab;
mod learned;
mod learner;
mod line;
mod logs;
mod models;
mod pool;
mod reference;
mod replay;
mod rules;
mod scratch;
mod service;
mod sink;
mod summary;
mod tables;
mod text;
mod train;
mod truth;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, ConfigCommand, Page, RulesCommand};
use exit::Exit;
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A reader that went away (`autoinmune rules list | head`) ends the program quietly, as other tools do.
    quiet_broken_pipe();
    match dispatch(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("autoinmune: {error:#}");
            exit::code(&error).into()
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Lab { command } => lab::run(&command),
        Command::Generate(args) => generate::run(&args),
        Command::Run(args) => agent::run(&args),
        Command::Detector(args) => service::run(&args),
        Command::LearnSnapshots(args) => service::learn_snapshots(&args),
        Command::Learn(args) => learned::run(&args),
        Command::Sensor(args) => agent::run_sensor(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Dataset { command } => dataset::run(&command),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Models { command } => models::run(&command),
        Command::Ban(args) => client::ban(&args),
        Command::Unban(args) => client::unban(&args),
        Command::Bans(args) => client::bans(&args),
        Command::Limits(args) => client::limits(&args),
        Command::Intel { command } => intel::run(&command),
        Command::Logs { command } => logs::run(&command),
        Command::Explain(args) => client::explain(&args),
        Command::Feedback { command } => feedback::run(&command),
        Command::Status(args) => client::status(&args),
        Command::Doctor(args) => doctor::run(args.output),
        Command::Rules { command: RulesCommand::List { config, output } } => {
            rules::list(config.as_deref(), output)
        }
        Command::Rules { command: RulesCommand::Check { files, output } } => rules::check(&files, output),
        Command::Config { command } => configuration(&command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "autoinmune", &mut std::io::stdout());
            Ok(Exit::Ok)
        }
        Command::Man { dir } => reference::man_pages(&dir),
        Command::Reference { page } => {
            match page {
                Page::Commands => print!("{}", reference::markdown()),
                Page::Features => print!("{}", flow::feature::markdown()),
                Page::Lab => print!("{}", ::lab::reference::markdown()),
                Page::Learning => print!("{}", learned::markdown()?),
                Page::Metrics => print!("{}", server::metrics::reference()),
                Page::Openapi => {
                    println!("{}", serde_json::to_string_pretty(&server::api::openapi::document())?);
                }
                Page::Rules => print!("{}", detect::docs::rules_markdown()),
            }
            Ok(Exit::Ok)
        }
    }
}

fn configuration(command: &ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Schema => print!("{}", config::schema()),
        ConfigCommand::Default => print!("{}", config::describe_default()),
        ConfigCommand::Check { file } => {
            let file = file.as_deref().unwrap_or_else(|| std::path::Path::new(config::DEFAULT_FILE));
            config::load(file)?;
            println!("{} is valid", file.display());
        }
    }
    Ok(Exit::Ok)
}

/// Starts logging to standard error; `filter` as in the configuration, overridden by `AUTOINMUNE_LOG`.
fn logging(filter: &str) {
    let filter = std::env::var("AUTOINMUNE_LOG").unwrap_or_else(|_| filter.to_owned());
    let parsed = tracing_subscriber::EnvFilter::try_new(&filter);
    let wrong = parsed.is_err();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(parsed.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
    if wrong {
        tracing::warn!("log filter '{filter}' is not understood; using 'info'");
    }
}

/// Ends quietly when standard output is closed, where the print macros would panic.
fn quiet_broken_pipe() {
    // Setting the action of SIGPIPE would need `unsafe`; the hook sees the same event.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let broken_pipe = info.payload().downcast_ref::<String>().is_some_and(|s| s.contains("Broken pipe"));
        if broken_pipe {
            std::process::exit(Exit::Ok as i32);
        }
        usual(info);
    }));
}
