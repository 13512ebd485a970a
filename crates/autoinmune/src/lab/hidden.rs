//! What runs inside a range, started by the range: the lab's own servers, acts, and the relay of a slow way outside.

use super::stop_flag;
use crate::exit::{Exit, fail};
use ::lab::arguments::Arguments;
use ::lab::range::link::{Carried, RELAY, carry};
use ::lab::traffic::{Control, TrafficError};
use anyhow::Context as _;
use clap::Args;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A name and `key=value` words.
#[derive(Clone, Debug, Args)]
pub struct WordsArgs {
    /// Its name
    pub name: String,
    /// Arguments of the form key=value
    #[arg(value_name = "KEY=VALUE")]
    pub words: Vec<String>,
}

/// `lab relay`.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    /// Delay of each direction, ms
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub delay_ms: u32,
}

fn traffic_error(error: TrafficError) -> anyhow::Error {
    match error {
        e @ TrafficError::Io { .. } => e.into(),
        e => fail(Exit::Input, e.to_string()),
    }
}

/// A control that Ctrl-C and the like stop.
fn control() -> anyhow::Result<Control> {
    let (stop, control) = (stop_flag()?, Control::new());
    let watched = control.clone();
    std::thread::Builder::new()
        .name("lab-signals".into())
        .spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            watched.stop();
        })
        .context("cannot start a thread")?;
    Ok(control)
}

/// `lab act`.
///
/// # Errors
/// Those of the act.
pub fn act(args: &WordsArgs) -> anyhow::Result<Exit> {
    let arguments = Arguments::parse(&args.words).map_err(|e| fail(Exit::Input, e.to_string()))?;
    let report = ::lab::traffic::act::run(&args.name, &arguments, &control()?).map_err(traffic_error)?;
    println!("{}", report.to_line());
    Ok(Exit::Ok)
}

/// `lab serve`.
///
/// # Errors
/// Those of the service.
pub fn serve(args: &WordsArgs) -> anyhow::Result<Exit> {
    let arguments = Arguments::parse(&args.words).map_err(|e| fail(Exit::Input, e.to_string()))?;
    let ready = |line: &str| {
        println!("{line}");
        // Whoever waits for the line sees it now; if nobody does, nothing is lost.
        let _ = std::io::stdout().flush();
    };
    ::lab::serve::run(&args.name, &arguments, &control()?, ready).map_err(traffic_error)?;
    Ok(Exit::Ok)
}

/// `lab relay`.
///
/// # Errors
/// The two interfaces cannot be opened.
pub fn relay(args: &RelayArgs) -> anyhow::Result<Exit> {
    let open =
        |name: &str| kernel::tap::open(name).with_context(|| format!("cannot open the interface {name}"));
    let [near, far] = [open(RELAY[0])?, open(RELAY[1])?];
    let stop = stop_flag()?;
    let (delay, carried) = (Duration::from_millis(args.delay_ms.into()), Carried::default());
    println!("ready");
    std::io::stdout().flush().context("cannot say that the relay is ready")?;
    let results = std::thread::scope(|scope| {
        let back = scope.spawn(|| carry(&far, &near, delay, &stop, &carried));
        let there = carry(&near, &far, delay, &stop, &carried);
        [
            there,
            back.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread of the relay has panicked"))),
        ]
    });
    let [frames, dropped] = [&carried.frames, &carried.dropped].map(|n| n.load(Ordering::Relaxed));
    eprintln!("{frames} frames carried, {dropped} dropped");
    for result in results {
        result.context("an interface of the relay is gone")?;
    }
    Ok(Exit::Ok)
}
