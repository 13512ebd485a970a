//! `replay`: capture files through the line, without the kernel.

use crate::cli::{FeatureSet, ReplayArgs, ReplayOutput};
use crate::config::{self, Config};
use crate::engine::{self, Captures, Read};
use crate::exit::{Exit, fail};
use crate::export::{self, Export, Request};
use crate::line::{Intake, Judge, JudgeConfig, Line, LineConfig, Tap, Worked, Worker};
use crate::summary::{Collector, Summary, TakeFlow};
use crate::truth::{Truth, labels_of};
use crate::{eve, intel, learned, sink};
use anyhow::Context as _;
use detect::learned::Models;
use flow::FlowRecord;
use flow::feature::Set;
use respond::Mode;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use wire::capture::Block;
use wire::{Skip, Steering};

/// The line a configuration describes, always in shadow mode: a file cannot be blocked.
pub fn shadow_line_config(config: &Config) -> LineConfig {
    let mut policy = config.policy.clone();
    policy.mode = Mode::Shadow;
    line_config(config, policy)
}

/// The parts of a configuration that make a line, as yet without learned models ([`crate::learned::load`]).
pub fn line_config(config: &Config, policy: respond::Policy) -> LineConfig {
    LineConfig {
        tracker: config.tracker,
        judge: JudgeConfig {
            census: config.census,
            rules: config.rules.clone(),
            models: Models::default(),
            tell_windows: false,
            book: detect::BookConfig {
                quiet_ns: u64::try_from(config.incident_quiet.as_nanos()).unwrap_or(u64::MAX),
                ..detect::BookConfig::default()
            },
            policy,
        },
    }
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 if nothing of any file could be read.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let mut config = config::resolve(args.config.as_deref())?;
    if let Some(models) = &args.models {
        config.models = learned::Choice::parse(models);
    }
    let args = &with_output(args)?;
    if args.feature_set != FeatureSet::All && args.features.is_none() {
        return Err(fail(
            Exit::Input,
            "--feature-set chooses what --features or -o csv writes; give one of them",
        ));
    }
    let outputs = [
        ("--eve", &args.eve),
        ("--summary", &args.summary),
        ("--features", &args.features),
        ("--conn-log", &args.conn_log),
    ];
    let to_stdout: Vec<&str> = outputs
        .iter()
        .filter(|(flag, path)| {
            path.as_deref().is_some_and(|p| sink::is_stdout(p) || *flag == "--features" && export::is_word(p))
        })
        .map(|(flag, _)| *flag)
        .collect();
    if let [first, second, ..] = to_stdout[..] {
        let what = format!("{first} - and {second} - cannot share standard output; give one a file");
        return Err(fail(Exit::Input, what));
    }
    let sets: &[Set] = match args.feature_set {
        FeatureSet::All => &Set::ALL,
        FeatureSet::Unsw => &[Set::Unsw],
        FeatureSet::Cicids => &[Set::Cicids],
    };
    let mut export = Export::open(Request {
        features: args.features.as_deref(),
        sets,
        conn_log: args.conn_log.as_deref(),
    })?;
    let mut eve_out = args.eve.as_deref().map(|p| sink::open(p, false)).transpose()?;
    let mut summary_out = args.summary.as_deref().map(|p| sink::open(p, false)).transpose()?;
    let mut write_error = None;
    let mut write_line = |line: String| {
        if let Some(out) = &mut eve_out
            && write_error.is_none()
            && let Err(e) = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"))
        {
            write_error = Some(e);
        }
    };
    let eve: Option<&mut dyn FnMut(String)> = if args.eve.is_some() { Some(&mut write_line) } else { None };

    let workers = match args.workers {
        Some(workers) => usize::from(workers),
        // Some features count over the latest flows, in the order in which flows ended.
        None if args.features.is_some() => 1,
        None => engine::cores(),
    };
    let mut replay = Replay::new(&config, workers, eve);
    let mut take_flow = |record: &FlowRecord, reason| export.flow(record, reason);
    replay.set_flows(&mut take_flow);
    if let Some(labels) = &args.labels {
        replay.set_labels(labels_of(labels)?);
    }
    let summary = replay.files(&args.files)?;
    export.finish()?;

    if let Some(out) = &mut eve_out {
        match write_error {
            Some(e) => Err(e),
            None => out.flush(),
        }
        .with_context(|| {
            format!("cannot write {}", args.eve.as_deref().unwrap_or(Path::new("-")).display())
        })?;
    }
    if let Some(out) = &mut summary_out {
        serde_json::to_writer_pretty(&mut *out, &summary)?;
        out.write_all(b"\n").and_then(|()| out.flush()).context("cannot write the summary")?;
    }
    for file in &summary.files {
        if let Some(error) = &file.error {
            eprintln!(
                "autoinmune: {}: {error} ({} packets before it were processed)",
                file.path, file.packets
            );
        }
    }
    if summary.files.iter().all(|f| f.error.is_some() && f.packets == 0) {
        // "No incidents" would be a verdict on nothing.
        return Ok(Exit::Input);
    }
    if args.summary.is_none() && to_stdout.is_empty() {
        print_human(&summary);
    }
    Ok(Exit::Ok)
}

/// The arguments with `-o` put into the option it stands for.
fn with_output(args: &ReplayArgs) -> anyhow::Result<ReplayArgs> {
    let mut args = args.clone();
    let (flag, place, to) = match args.output {
        ReplayOutput::Human => return Ok(args),
        ReplayOutput::Json => ("--summary", &mut args.summary, "-"),
        ReplayOutput::Eve => ("--eve", &mut args.eve, "-"),
        ReplayOutput::ConnLog => ("--conn-log", &mut args.conn_log, "-"),
        ReplayOutput::Csv => ("--features", &mut args.features, "csv"),
        ReplayOutput::Parquet => ("--features", &mut args.features, "parquet"),
    };
    if place.is_some() {
        return Err(fail(Exit::Input, format!("--output stands for {flag}; give one of the two")));
    }
    *place = Some(to.into());
    Ok(args)
}

/// A replay in progress.
pub struct Replay<'a> {
    config: &'a Config,
    workers: usize,
    known: Option<Arc<enrich::Service>>,
    collector: Collector<'a>,
    summary: Summary,
    started: Instant,
    losses: BTreeMap<String, u64>,
    models: Option<Models>,
}

impl<'a> Replay<'a> {
    /// A replay into `eve`, if given, by a number of workers: one, on this thread, or several, each on its own.
    pub fn new(config: &'a Config, workers: usize, eve: Option<&'a mut dyn FnMut(String)>) -> Self {
        let known = intel::loaded(config);
        Self {
            config,
            workers,
            collector: Collector::new(
                eve,
                eve::Context {
                    messages: config.eve_messages,
                    known: known.clone(),
                    ..eve::Context::default()
                },
            ),
            known,
            summary: Summary::default(),
            started: Instant::now(),
            losses: BTreeMap::new(),
            models: None,
        }
    }

    /// Has `take` called for each flow that ends.
    pub fn set_flows(&mut self, take: TakeFlow<'a>) {
        self.collector.flows = Some(take);
    }

    /// Puts learned models in place of those of the configuration.
    pub fn set_models(&mut self, models: Models) {
        self.models = Some(models);
    }

    /// Has what is found weighed against labels.
    pub fn set_labels(&mut self, labels: flow::Labels) {
        self.collector.truth = Some(Truth::new(labels));
    }

    /// Runs files, and ends. A file that begins before the last one ended starts a line of its own, as its packets are of
    /// another time; one that follows continues, as rotated captures do.
    ///
    /// # Errors
    /// If a worker failed. Files that cannot be read are no failure: the summary names them.
    pub fn files(mut self, paths: &[PathBuf]) -> anyhow::Result<Summary> {
        let models = match self.models.take() {
            Some(models) => models,
            None => learned::load(self.config)?,
        };
        let block = if self.workers > 1 { engine::BLOCK_SHARED } else { engine::BLOCK_INLINE };
        let mut captures = Captures::new(paths, block);
        loop {
            let mut config = shadow_line_config(self.config);
            config.judge.models = models.clone();
            let (judge, worked) = if self.workers > 1 {
                let steering = Steering::new(config.tracker.seed, self.workers);
                let own = engine::share(&config.tracker, self.workers);
                let workers = (0..self.workers).map(|_| Worker::new(own)).collect();
                let mut judge = Judge::new(config.judge);
                judge.set_reputation(intel::reputation(self.known.as_ref()));
                let worked = engine::run(&mut captures, &steering, workers, &mut judge, &mut self.collector)?;
                (judge, worked)
            } else {
                let line = intel::weighing(Line::new(config), self.known.as_ref());
                inline(&mut captures, line, &mut self.collector)
            };
            self.take_figures(&judge, &worked, captures.seconds());
            if !captures.has_more() {
                break;
            }
        }
        self.summary.files = captures.files().to_vec();
        self.summary.duration_seconds = captures.seconds();
        self.summary.losses = std::mem::take(&mut self.losses);
        self.summary.labels = self.collector.truth.take().map(Truth::evaluate);
        let cut = self.summary.files.iter().filter(|f| f.error.is_some()).count();
        self.summary.losses.insert("capture_files_cut_short".into(), cut as u64);
        self.summary.seconds = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e6;
        Ok(self.summary)
    }

    fn take_figures(&mut self, judge: &Judge, worked: &Worked, seconds: f64) {
        self.summary.packets += worked.intake.packets;
        self.summary.bytes += worked.intake.bytes;
        self.summary.flows += worked.tracker.flows_total;
        self.summary.incidents.extend(self.collector.summaries());
        self.collector.incidents.clear();
        if let Some(truth) = &mut self.collector.truth {
            truth.end_line();
        }
        let losses = losses(worked, judge);
        for (name, count) in &losses {
            *self.losses.entry(name.clone()).or_default() += count;
        }
        if let Some(eve) = &mut self.collector.eve {
            let figures = eve::Figures {
                uptime: seconds as u64,
                intake: worked.intake.clone(),
                kernel_drops: 0,
                flows: worked.tracker.flows_total,
                flows_live: 0,
                alerts: self.collector.alerts,
                losses,
            };
            eve(eve::stats(&self.collector.context, judge.now_ns(), &figures));
        }
    }
}

/// Runs what comes next of `captures` on this thread.
pub fn inline(captures: &mut Captures<'_>, mut line: Line, tap: &mut impl Tap) -> (Judge, Worked) {
    let mut block = Block::default();
    while captures.next(&mut block) == Read::Frames {
        for frame in block.iter() {
            line.frame(frame.ts_ns, frame.link, frame.data, frame.orig_len, tap);
        }
    }
    line.finish(tap);
    let worked = line.worked();
    (line.into_judge(), worked)
}

/// Every counter of loss of workers and their judge, by name.
pub fn losses(worked: &Worked, judge: &Judge) -> BTreeMap<String, u64> {
    let mut out = intake_losses(&worked.intake);
    let (tracker, census) = (&worked.tracker, judge.census().counters());
    out.insert("flows_evicted".into(), tracker.flows_evicted);
    out.insert("entities_evicted".into(), census.entities_evicted);
    out.insert("time_went_back".into(), tracker.time_went_back);
    out.insert("sessions_evicted".into(), tracker.sessions_evicted);
    out.insert("stream_gaps".into(), tracker.stream_gaps);
    out.insert("stream_overruns".into(), tracker.stream_overruns);
    out.insert("datagrams_cut".into(), tracker.datagrams_cut);
    out.insert("messages_dropped".into(), tracker.messages_dropped);
    out.insert("incidents_evicted".into(), judge.book().counters().evicted);
    let detector = judge.detector().counters();
    out.insert("rule_memories_evicted".into(), detector.spoken_evicted);
    out.insert("rule_counts_evicted".into(), detector.counts_evicted);
    out.insert("window_sets_refused".into(), census.sets_refused);
    let learned = judge.learned().unwrap_or_default();
    out.insert("learned_sources_evicted".into(), learned.evicted + learned.flows.evicted);
    out
}

/// The counters of frames that did not become packets.
pub fn intake_losses(intake: &Intake) -> BTreeMap<String, u64> {
    let mut out: BTreeMap<String, u64> =
        Skip::ALL.iter().map(|s| (s.name().to_owned(), intake.skipped[*s as usize])).collect();
    out.insert("unknown_link_type".into(), intake.unknown_link);
    out.insert("opaque_tunnels".into(), intake.opaque_tunnels);
    out
}

fn print_human(summary: &Summary) {
    let mut out = std::io::stdout().lock();
    let rate = if summary.seconds > 0.0 { summary.packets as f64 / summary.seconds } else { 0.0 };
    let _ = writeln!(
        out,
        "{} packets, {} bytes, {} flows over {:.1} s of traffic, read in {:.2} s ({:.0} packets/s)",
        summary.packets, summary.bytes, summary.flows, summary.duration_seconds, summary.seconds, rate
    );
    for (name, count) in summary.losses.iter().filter(|(_, n)| **n > 0) {
        let _ = writeln!(out, "  {name}: {count}");
    }
    if let Some(labels) = &summary.labels {
        let _ = write!(out, "{}", labels.table());
    }
    if summary.incidents.is_empty() {
        let _ = writeln!(out, "No incidents.");
    }
    for i in &summary.incidents {
        let _ = writeln!(
            out,
            "{} {} by {} on {} ({}), confidence {:.2}: {}",
            format!("{:?}", i.severity).to_lowercase(),
            i.classes.join(", "),
            i.actor,
            if i.targets.is_empty() { "-".to_owned() } else { i.targets.join(", ") },
            i.kinds.join(", "),
            i.confidence,
            i.action
        );
        let _ = writeln!(out, "  {} to {}, technique {}", i.first_seen, i.last_seen, i.technique.join(", "));
        if !i.details.is_empty() {
            let _ = writeln!(out, "  about {}", i.details.join(", "));
        }
        for e in &i.evidence {
            let _ = writeln!(out, "  {} ({})", e.explain(), e.metric);
        }
    }
}
