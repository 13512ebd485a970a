//! `run`: the agent that protects this host.
//!
//! One thread owns the line, the source of traffic and the effector. Everybody else (HTTP, control socket) reads what it
//! publishes or sends it a request through a bounded channel.

mod commands;
mod intel;
mod kernel_source;
mod learning;
mod logs;
mod notify;
mod outbox;
mod poster;
mod publish;
pub mod reaction;
mod simulation;
pub mod source;
mod state;
pub mod tap;

use crate::cli::{RunArgs, SensorArgs};
use crate::config::{self, Config, LearnedBy, parse_http};
use crate::exit::{self, Exit, fail};
use crate::learner::{Requests, bundles};
use crate::line::Line;
use crate::service::Running;
use crate::{eve, learned, replay, sink};
use anyhow::Context as _;
use commands::Desk;
use detect::learned::Models;
use intel::Intel;
use learning::Learning;
use logs::Logs;
use outbox::Outbox;
use poster::Poster;
use publish::Board;
use reaction::Reaction;
use respond::Mode;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use source::Source;
use state::{Audit, Lock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tap::AgentTap;

/// Longest wait for traffic before signals and requests are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often addresses, gateways, DNS servers and SSH peers are looked up again for the allowlist.
const GUARD_EVERY: Duration = Duration::from_secs(5);
/// How often figures are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Wall-clock time, ns since 1970.
pub fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// The configuration that file and command line together describe.
fn configure(args: &RunArgs) -> anyhow::Result<Config> {
    let mut config = config::resolve(args.config.as_deref())?;
    if !args.interface.is_empty() {
        config.interfaces.clone_from(&args.interface);
    }
    if args.enforce {
        config.policy.mode = Mode::Enforce;
    }
    if let Some(eve) = &args.eve {
        config.eve = Some(eve.clone());
    }
    if let Some(text) = &args.http {
        config.http = parse_http(text).map_err(|why| fail(Exit::Input, format!("--http: {why}")))?;
    }
    match &args.api {
        Some(text) => config.set_api(text)?,
        None if args.simulate.is_some() => config.api = None,
        None => {}
    }
    if let Some(dir) = &args.run_dir {
        config.run_dir.clone_from(dir);
    }
    if let Some(dir) = &args.state_dir {
        config.state_dir.clone_from(dir);
    }
    if args.simulate.is_none() {
        for (addr, _) in kernel::host::own_addresses() {
            config::add_home(&mut config.rules, respond::Prefix::host(addr));
        }
    }
    if args.simulate.is_some() {
        // Nothing real may be blocked on account of generated traffic.
        config.policy.mode = Mode::Shadow;
        // A developer without privileges cannot write below /run.
        if config.run_dir == Path::new(config::RUN_DIR) && !rustix::process::geteuid().is_root() {
            config.run_dir = own_run_dir();
        }
    }
    Ok(config)
}

/// A run directory that an ordinary user may write.
fn own_run_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir).join("autoinmune"),
        _ => std::env::temp_dir().join(format!("autoinmune-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Runs the command until a signal ends it.
///
/// # Errors
/// One sentence with the way out, and its exit code; nothing stays attached.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = configure(args)?;
    if config.post.learned == Some(LearnedBy::Detector) && config.post.url.is_none() {
        return Err(fail(
            Exit::Config,
            "post.learned is \"detector\" and post.url names none; set it, or post.learned = \"local\"",
        ));
    }
    protect(args, config)
}

/// Whether learned models judge at a detector elsewhere, and not here. What a simulation makes up goes to nobody.
fn judged_there(config: &Config, simulated: bool) -> bool {
    config.post.judged_there() && !simulated
}

/// `sensor`: as `run`, with figures sent to a detector.
///
/// # Errors
/// As [`run`].
pub fn run_sensor(args: &SensorArgs) -> anyhow::Result<Exit> {
    let mut config = configure(&args.run)?;
    if args.run.api.is_none() {
        config.api = None;
    }
    if let Some(url) = args.detector.as_deref() {
        config.post.set_url(url).map_err(|why| fail(Exit::Input, format!("--detector: {why}")))?;
    }
    config.post.url.get_or_insert_with(|| config::DEFAULT_URL.to_owned());
    config.post.learned.get_or_insert(LearnedBy::Detector);
    protect(&args.run, config)
}

fn protect(args: &RunArgs, config: Config) -> anyhow::Result<Exit> {
    crate::logging(&config.log);
    let stop = Arc::new(AtomicBool::new(false));
    let reload = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).context("cannot handle signals")?;
    let mut agent = Agent::start(args, config)?;
    notify::notify("READY=1");
    let mut failure = None;
    while !stop.load(Ordering::Relaxed) {
        if reload.swap(false, Ordering::Relaxed) {
            notify::notify("RELOADING=1");
            if let Err(e) = agent.reload() {
                tracing::error!("configuration not reloaded, the old one stays: {e:#}");
            }
            notify::notify("READY=1");
        }
        if let Err(e) = agent.turn() {
            failure = Some(e);
            break;
        }
    }
    notify::notify("STOPPING=1");
    agent.stop(args.keep_blocks);
    match failure {
        Some(e) => Err(e),
        None => Ok(Exit::Ok),
    }
}

/// Starts the detector's API. Nobody asked for it by name: another program on its usual port must not keep the host from being
/// protected.
fn open_api(
    args: &RunArgs,
    config: &Config,
    models: &Models,
    requests: &Arc<Requests>,
) -> anyhow::Result<Option<Running>> {
    let Some(api) = config.api.clone() else { return Ok(None) };
    let asked = args.api.is_some() || api.address != server::api::DEFAULT_ADDRESS;
    let models = (models.clone(), bundles::version(config, models));
    let kept = args.simulate.is_none().then_some(config.state_dir.as_path());
    match crate::service::start(api, &config.rules, models, Arc::clone(requests), kept) {
        Err(e) if !asked && exit::code(&e) == Exit::Busy => {
            tracing::warn!("the detector's API is off: {e:#}");
            Ok(None)
        }
        started => started.map(Some),
    }
}

/// Everything the agent's thread owns.
struct Agent {
    args: RunArgs,
    config: Config,
    line: Line,
    source: Source,
    tap: AgentTap,
    intel: Intel,
    learning: Learning,
    logs: Logs,
    desk: Desk,
    board: Arc<Board>,
    meter: server::process::Meter,
    reaction: Reaction,
    started: Instant,
    guarded: Instant,
    published: Instant,
    stats_written: Instant,
    blocks_kept: Instant,
    http: Option<server::http::Http>,
    api: Option<Running>,
    poster: Option<Poster>,
    control: Option<server::control::Control>,
    _lock: Lock,
}

impl Agent {
    fn start(args: &RunArgs, config: Config) -> anyhow::Result<Self> {
        let simulated = args.simulate.is_some();
        let lock = Lock::take(&config.run_dir)?;
        if !simulated {
            state::private_dir(&config.state_dir)?;
        }
        // Addresses that are taken must be known before anything is attached.
        let board = Arc::new(Board::new(simulated));
        let http = config
            .http
            .map(|addr| server::http::Http::start(addr, Arc::clone(&board) as Arc<dyn server::http::Source>))
            .transpose()
            .map_err(|e| fail(Exit::Busy, format!("{e}; see --http")))?;
        let requests = Arc::new(Requests::default());
        let mut models = learned::load_promoted(&config)?;
        let api = open_api(args, &config, &models, &requests)?;
        let outbox = Outbox::new(&models)?;
        let poster = Poster::start(&config.post, outbox.schema())?;
        let there = judged_there(&config, simulated);
        if there {
            models = Models::default();
        }
        let (desk, counter) = Desk::open();
        let eve = config.eve.as_deref().map(|p| sink::Queue::start(p, config.eve_queue)).transpose()?;
        let audit = if simulated { None } else { Some(Audit::open(&config.state_dir)?) };

        let mut made = replay::line_config(&config, config.policy.clone());
        made.judge.tell_windows = there || learning::is_on(&config, simulated);
        let mut line = Line::new(made.clone());
        line.set_models(&models)?;
        let thresholds = line.detector().kernel_thresholds();
        let source = match &args.simulate {
            Some(scenario) => Source::simulate(scenario, args.seed)?,
            None => Source::attach(&config, &thresholds)?,
        };
        let interfaces = source.interfaces();
        let context = eve::Context {
            interface: match interfaces.as_slice() {
                [one] => Some(one.clone()),
                _ => None,
            },
            simulated,
            messages: config.eve_messages,
            known: None,
        };
        let mut tap = AgentTap::new(eve, audit, context);
        tap.outbox = there.then_some(outbox);
        let intel = Intel::start(&config, &mut line, &mut tap)?;
        if !simulated {
            let now = wall_ns();
            for decision in line.responder_mut().set_allowlist(kernel::host::allowed(), now) {
                crate::line::Tap::decision(&mut tap, &decision);
            }
            let found = state::united(source.recovered(), state::kept_blocks(&config.state_dir));
            for decision in line.responder_mut().restore(found, now) {
                crate::line::Tap::decision(&mut tap, &decision);
            }
        }
        let learning = Learning::start(&config, &made, &models, &requests, &mut line, &mut tap)
            .context("cannot start the learner's thread")?;
        let logs = Logs::start(&config, simulated)?;
        let control = server::control::Control::start(
            &server::control::socket_in(&config.run_dir),
            Arc::new(counter) as Arc<dyn server::control::Agent>,
        )
        .map_err(|e| fail(Exit::Busy, e.to_string()))?;
        let now = Instant::now();
        let mut agent = Self {
            args: args.clone(),
            config,
            line,
            source,
            tap,
            intel,
            learning,
            logs,
            desk,
            board,
            meter: server::process::Meter::new(),
            reaction: Reaction::default(),
            started: now,
            guarded: now,
            published: now,
            stats_written: now,
            blocks_kept: now,
            http,
            api,
            poster,
            control: Some(control),
            _lock: lock,
        };
        agent.source.set_allowlist(&agent.line)?;
        agent.apply_effects();
        agent.publish();
        agent.announce();
        Ok(agent)
    }

    fn announce(&self) {
        for line in self.source.describe() {
            tracing::info!("{line}");
        }
        match self.config.policy.mode {
            Mode::Shadow if self.args.simulate.is_some() => {
                tracing::warn!(
                    "simulation: traffic is generated, nothing on this host is watched or protected"
                );
            }
            Mode::Shadow => {
                tracing::info!("shadow mode: blocks are reported, not made; start with --enforce to block");
            }
            Mode::Enforce => tracing::info!("enforcing: blocks are made"),
        }
        if self.config.run_dir != Path::new(config::RUN_DIR) {
            tracing::info!("ask this agent with --run-dir {}", self.config.run_dir.display());
        }
        if let Some(http) = &self.http {
            tracing::info!("HTTP API on http://{}", http.address());
        }
        if let Some(api) = &self.api {
            tracing::info!("detector's API on http://{}", api.http.address());
        }
        if let Some(url) = &self.config.post.url {
            let more = if self.tap.outbox.is_some() { ", and what learned models are to judge" } else { "" };
            tracing::info!("figures go to {url}{more}");
        }
    }

    /// One turn of the loop: traffic, effects, requests, timers.
    fn turn(&mut self) -> anyhow::Result<()> {
        self.source.feed(POLL, &mut self.line, &mut self.tap, &mut self.reaction)?;
        self.logs.feed(&mut self.line, &mut self.tap);
        self.apply_effects();
        self.serve();
        if self.learning.turn(&mut self.line) {
            self.hand_on(self.learning.in_use());
        }
        self.hear();
        let now = Instant::now();
        if self.args.simulate.is_none() && now.duration_since(self.guarded) >= GUARD_EVERY {
            self.guarded = now;
            self.source.check_interfaces()?;
            self.guard();
            self.logs.look_up();
        }
        if now.duration_since(self.published) >= PUBLISH_EVERY {
            self.published = now;
            self.learning.advance(&mut self.line, &self.tap.witness);
            self.publish();
            notify::notify("WATCHDOG=1");
        }
        if now.duration_since(self.stats_written) >= self.config.stats_interval {
            self.stats_written = now;
            self.tap.event(self.board.stats_event(&self.tap.context, self.line.now_ns()));
        }
        if self.tap.blocks_changed && now.duration_since(self.blocks_kept) >= Duration::from_secs(1) {
            self.blocks_kept = now;
            self.keep_blocks();
        }
        Ok(())
    }

    /// Has what sensors post to this agent judged by other models.
    fn hand_on(&self, (models, version): (Models, String)) {
        let service = self.api.as_ref().map(|api| &api.service);
        if let Some(Err(e)) = service.map(|s| s.set_models(models, version)) {
            tracing::error!("what sensors post is judged by the models of before: {e}");
        }
    }

    /// Takes what a detector elsewhere found.
    fn hear(&mut self) {
        let Some(poster) = &self.poster else { return };
        for finding in poster.found() {
            if !self.line.found(finding, &mut self.tap) {
                poster.refuse();
            }
        }
        self.apply_effects();
    }

    /// Hands effects to the effector.
    fn apply_effects(&mut self) {
        for effect in std::mem::take(&mut self.tap.effects) {
            if let Err(e) = self.source.apply(&effect) {
                self.tap.effect_failed(&effect, &e);
            }
        }
    }

    fn serve(&mut self) {
        while let Some((request, reply)) = self.desk.next() {
            let answer = if matches!(request, server::control::Request::Reload) {
                self.reload().map(|()| serde_json::json!({"reloaded": true})).map_err(|e| {
                    server::control::AgentError::new(
                        server::control::Code::BadRequest,
                        format!("not reloaded, the old one stays: {e:#}"),
                    )
                })
            } else {
                commands::answer(self, request)
            };
            self.apply_effects();
            // The asker may have gone; its answer then has no reader.
            let _ = reply.send(answer);
        }
    }

    fn guard(&mut self) {
        let decisions = self.line.responder_mut().set_allowlist(kernel::host::allowed(), wall_ns());
        for decision in decisions {
            crate::line::Tap::decision(&mut self.tap, &decision);
        }
        if let Err(e) = self.source.set_allowlist(&self.line) {
            self.tap.effects_failed += 1;
            tracing::error!("cannot update the allowlist in the kernel: {e:#}");
        }
        self.apply_effects();
    }

    fn publish(&mut self) {
        if let Some(poster) = &mut self.poster {
            poster.take(&self.line.census().traffic());
            if let Some(outbox) = &mut self.tap.outbox {
                poster.take_rows(outbox.take(&self.line));
            }
        }
        let board = Arc::clone(&self.board);
        board.update(self);
    }

    fn keep_blocks(&mut self) {
        self.tap.blocks_changed = false;
        if self.args.simulate.is_some() {
            return;
        }
        if let Err(e) = state::keep_blocks(&self.config.state_dir, self.line.responder().blocks()) {
            tracing::error!("cannot keep blocks in {}: {e}", self.config.state_dir.display());
        }
    }

    /// Reads the configuration again. Rules, policy and timeouts of incidents change at once; what is fixed at attach
    /// time (interfaces, capacities, kernel tunables) is named as needing a restart.
    fn reload(&mut self) -> anyhow::Result<()> {
        let next = configure(&self.args)?;
        for (what, differs) in [
            ("sensor", !self.config.same_sensor(&next)),
            ("http.address", self.config.http != next.http),
            ("paths", self.config.run_dir != next.run_dir || self.config.state_dir != next.state_dir),
            ("output.eve", self.config.eve != next.eve),
        ] {
            if differs {
                tracing::warn!("{what} changed: takes effect after a restart");
            }
        }
        self.intel.reload(&self.config, &next, &mut self.line, &mut self.tap)?;
        self.logs.reload(&self.config, &next, self.args.simulate.is_some())?;
        let now = wall_ns();
        self.line.set_rules(next.rules.clone());
        let mut models = learned::load_promoted(&next)?;
        self.hand_on((models.clone(), bundles::version(&next, &models)));
        if self.tap.outbox.is_some() {
            models = Models::default();
        }
        self.line.set_models(&models)?;
        self.learning.reload(&next, &models, &mut self.line, &self.tap.witness);
        for decision in self.line.responder_mut().set_policy(next.policy.clone(), now) {
            crate::line::Tap::decision(&mut self.tap, &decision);
        }
        self.config = Config {
            interfaces: self.config.interfaces.clone(),
            http: self.config.http,
            api: self.config.api.clone(),
            post: self.config.post.clone(),
            run_dir: self.config.run_dir.clone(),
            state_dir: self.config.state_dir.clone(),
            eve: self.config.eve.clone(),
            ..next
        };
        if let Some(eve) = &self.tap.eve {
            eve.reopen();
        }
        if let Some(audit) = &mut self.tap.audit {
            audit.reopen();
        }
        self.source.set_allowlist(&self.line)?;
        self.source.set_limits(self.config.limits)?;
        self.apply_effects();
        tracing::info!("configuration reloaded");
        Ok(())
    }

    fn stop(mut self, keep_blocks: bool) {
        // No request may meet a line that is being taken apart.
        if let Some(control) = self.control.take() {
            control.stop();
        }
        if let Some(http) = self.http.take() {
            http.stop();
        }
        self.learning.stop();
        self.logs.stop();
        if let Some(api) = self.api.take() {
            api.stop();
        }
        self.source.finish(&mut self.line, &mut self.tap);
        self.line.finish(&mut self.tap);
        self.apply_effects();
        self.tap.event(self.board.stats_event(&self.tap.context, self.line.now_ns()));
        if keep_blocks {
            self.keep_blocks();
        } else if self.args.simulate.is_none()
            && let Err(e) = state::keep_blocks(&self.config.state_dir, std::iter::empty())
        {
            tracing::error!("cannot clear kept blocks: {e}");
        }
        match self.source.detach(keep_blocks) {
            Ok(()) if keep_blocks => tracing::info!("stopped; blocks stay in force until their ends"),
            Ok(()) => tracing::info!("stopped; nothing of this agent is left in the kernel"),
            Err(e) => tracing::error!("not everything could be detached: {e:#}"),
        }
    }
}
