//! `autoinmune capture`: the flows of live traffic as a dataset.
//!
//! Packets take the way they take in `run`, with no rules and no effector: nothing is judged and nothing blocked. Flows are
//! cut at ages by what they are ([`flow::Ages`]) and go through a bounded channel to a thread that writes and scores them;
//! what does not fit is counted.

mod place;
mod recorder;
mod show;
mod writer;

use crate::agent::reaction::Reaction;
use crate::agent::source::Source;
use crate::agent::tap::AgentTap;
use crate::agent::wall_ns;
use crate::cli::Format as Output;
use crate::config::{self, Attach, Config};
use crate::exit::{self, Exit, fail};
use crate::line::Line;
use crate::replay;
use crate::truth::labels_of;
use anyhow::Context as _;
use clap::{Args, ValueEnum, ValueHint};
use dataset::Format;
use detect::RuleSet;
use place::Places;
use recorder::Recorder;
use respond::{Mode, Ttl};
use show::Show;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use writer::{Facts, Truthing, Writer};

/// Longest wait for traffic before signals and the clock are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often losses are read and the view is offered a new state.
const LOOK: Duration = Duration::from_millis(500);
/// Silence that ends a flow other than TCP, and a TCP flow, ns: rows are to appear soon.
const IDLE_NS: u64 = 10_000_000_000;
const IDLE_TCP_NS: u64 = 60_000_000_000;

/// Format of the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Comma-separated values.
    #[default]
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl From<TableFormat> for Format {
    fn from(format: TableFormat) -> Self {
        match format {
            TableFormat::Csv => Self::Csv,
            TableFormat::Parquet => Self::Parquet,
        }
    }
}

/// `capture`.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// Directory of the dataset; made if absent, gone on with if it holds one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// Interfaces to watch, separated by commas; `auto` is that of the default route
    #[arg(short, long, value_name = "auto|NAME,…", value_delimiter = ',')]
    pub interface: Vec<String>,
    /// End when the dataset is complete
    #[arg(long)]
    pub until_complete: bool,
    /// End after this time, such as 90s, 15m, 8h
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
    /// Format of the parts
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    /// Label flows as this file says, which is read again whenever it changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "class")]
    pub labels: Option<PathBuf>,
    /// Label every flow with this class, such as benign
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// How long the dataset is to be kept, in your words; written into its manifest
    #[arg(long, value_name = "TEXT")]
    pub retention: Option<String>,
    /// Keep the packets too, payload included, as rotating captures of at most this many megabytes together
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub pcap: Option<u64>,
    /// Print plain lines even on a terminal
    #[arg(long)]
    pub plain: bool,
    /// How to print the score at the end
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Configuration file, TOML or JSON: sensor, flow table and GeoIP databases
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// The line's part of a configuration, for rows of a dataset: windows by what a flow is, nothing judged, nothing blocked.
pub fn extraction(config: &mut Config) {
    config.policy.mode = Mode::Shadow;
    config.rules = RuleSet::default();
    config.tracker.ages = Some(flow::Ages::default());
    config.tracker.idle_ns = config.tracker.idle_ns.min(IDLE_NS);
    config.tracker.idle_tcp_ns = config.tracker.idle_tcp_ns.min(IDLE_TCP_NS);
}

/// Attaches as configured; beside a running agent, by AF_PACKET.
fn attach(config: &mut Config, line: &Line) -> anyhow::Result<Source> {
    let thresholds = line.detector().kernel_thresholds();
    match Source::attach(config, &thresholds) {
        Err(e) if config.attach == Attach::Auto && exit::code(&e) == Exit::Busy => {
            tracing::info!("the kernel sensor is in use; watching by AF_PACKET beside it");
            config.attach = Attach::AfPacket;
            Source::attach(config, &thresholds)
        }
        other => other,
    }
}

/// Runs the command until a signal, the time or the goals end it.
///
/// # Errors
/// One sentence with the way out, and its exit code. What was written stays.
pub fn run(args: &CaptureArgs) -> anyhow::Result<Exit> {
    let mut config = config::resolve(args.config.as_deref())?;
    crate::logging(&config.log);
    if !args.interface.is_empty() {
        config.interfaces.clone_from(&args.interface);
    }
    extraction(&mut config);
    let duration = args.duration.as_deref().map(str::parse::<Ttl>).transpose();
    let duration = duration.map_err(|e| fail(Exit::Input, format!("--duration: {e}")))?;
    if args.class.as_ref().is_some_and(|c| !c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        return Err(fail(Exit::Input, "--class: a class is lower-case letters, such as benign or port_scan"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    let truth = match (&args.labels, &args.class) {
        (Some(path), _) => Truthing::File(path.clone(), labels_of(path)?),
        (None, Some(class)) => Truthing::Class(class.clone()),
        (None, None) => Truthing::Unknown,
    };
    let mut line = Line::new(replay::line_config(&config, config.policy.clone()));
    let mut source = attach(&mut config, &line)?;
    let interfaces = source.interfaces();
    let facts = Facts {
        interfaces: interfaces.clone(),
        sensor: source.sight(&line).sensor,
        retention: args.retention.clone(),
        payload: args.pcap.map(|mb| format!("packets/, at most {mb} MB, oldest removed first")),
    };
    let writer = Writer::start(&args.out, args.format.into(), truth, Places::open(&config), facts)?;
    let recorder =
        args.pcap.map(|mb| Recorder::start(&args.out.join("packets"), &interfaces, mb)).transpose()?;
    let context = crate::eve::Context::default();
    let mut tap = AgentTap::new(None, None, context);
    tap.flows = Some(writer.sink());
    let mut show = Show::new(args.plain);
    for text in source.describe() {
        show.note(&text);
    }
    let (began, mut looked) = (Instant::now(), Instant::now());
    let mut reaction = Reaction::default();
    let mut failure = None;
    while !stop.load(Ordering::Relaxed) {
        if let Err(e) = source.feed(POLL, &mut line, &mut tap, &mut reaction) {
            failure = Some(e);
            break;
        }
        tap.effects.clear();
        writer.hand_over();
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            writer.tell(seen(&mut source, &line, recorder.as_ref()));
            if let Err(e) = source.check_interfaces() {
                failure = Some(e);
                break;
            }
            let status = writer.status();
            if status.failed || args.until_complete && status.score.complete {
                break;
            }
            show.update(&status);
        }
        if duration.is_some_and(|d| began.elapsed() >= Duration::from_secs(d.secs())) {
            break;
        }
    }
    let figures = seen(&mut source, &line, recorder.as_ref());
    writer.be_patient();
    source.finish(&mut line, &mut tap);
    line.finish(&mut tap);
    tap.flows = None;
    writer.tell(figures);
    if let Err(e) = source.detach(false) {
        tracing::error!("not everything could be detached: {e:#}");
    }
    if let Some(recorder) = recorder {
        recorder.stop()?;
    }
    let status = writer.finish()?;
    show.end();
    print(args, &status)?;
    match failure {
        Some(e) => Err(e),
        None => Ok(Exit::Ok),
    }
}

/// Packets seen, and what was lost by reason.
fn seen(source: &mut Source, line: &Line, recorder: Option<&Recorder>) -> writer::Seen {
    let sight = source.sight(line);
    let mut losses = sight.losses;
    losses.insert("ringbuf_lost".into(), sight.ringbuf_lost);
    losses.extend(replay::losses(&line.worked(), line.judge()));
    if let Some(recorder) = recorder {
        losses.insert("recorder_dropped".into(), recorder.dropped());
    }
    writer::Seen { packets: sight.intake.packets, losses, at_ns: wall_ns() }
}

fn print(args: &CaptureArgs, status: &writer::Status) -> anyhow::Result<()> {
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(status)?),
        Output::Human => print!("{}", show::report(&args.out, status)),
    }
    Ok(())
}
