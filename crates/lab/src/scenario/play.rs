//! Playing a scenario: its network, its servers, its steps at their times, and an account of what was done.

use super::file::{Cast, Scenario, Step, addresses};
use super::server::{self, Serving};
use super::tool::{Doing, Tool, Traffic};
use crate::arguments::{Arguments, Values};
use crate::range::{Daemon, Range, RangeError};
use crate::traffic::Control;
use crate::traffic::act::{self, Act, Report};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Serialize;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest wait for a server to answer; most do within a tenth of a second, but keys of SSH servers take their time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at whether something is there, over or to be stopped.
const TICK: Duration = Duration::from_millis(10);
/// How long an act or program may go on after it was told to end.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes kept of what a program printed: its last words.
const MAX_SAID: usize = 2_000;

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The range cannot be made.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Something is not installed.
    #[error("needs the program '{0}'; install the package {1}")]
    Missing(&'static str, &'static str),
    /// A server does not come up.
    #[error("{server} of {actor} does not serve: {why}")]
    Server {
        /// Whose.
        actor: String,
        /// Which.
        server: String,
        /// What it said.
        why: String,
    },
}

/// A scenario's network with everything that serves in it. Dropping it removes it.
#[derive(Debug)]
pub struct Stage {
    // Before the range: programs end first.
    servers: Vec<Daemon>,
    range: Range,
    scenario: Scenario,
    /// This program itself, for the lab's own servers and tools.
    program: PathBuf,
}

/// How a deed ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "ended", content = "why")]
pub enum Ended {
    /// By itself.
    #[default]
    Done,
    /// By its limit of time, as many are meant to.
    Stopped,
    /// It could not do what it was to do.
    Failed(String),
}

/// What a step really did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Deed {
    /// Number of the step, from 1.
    pub step: usize,
    /// Who did it.
    pub from: String,
    /// Its act or tool.
    pub what: String,
    /// Of hostile ones the class of threat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Of hostile ones the technique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
    /// When it began, ns since 1970.
    pub start_ns: u64,
    /// When it was over, ns since 1970.
    pub end_ns: u64,
    /// How it ended.
    #[serde(flatten)]
    pub ended: Ended,
    /// Addresses of the actor that it may have come from.
    pub sources: Vec<IpAddr>,
    /// Addresses it went to; empty if it chose them itself.
    pub targets: Vec<IpAddr>,
    /// Of a program, what its traffic looks like.
    #[serde(skip)]
    pub traffic: Traffic,
    /// What an act reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What a program printed last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
}

impl Stage {
    /// Makes the network and starts its servers; `program` is `autoinmune`, which the lab's own servers run in.
    ///
    /// # Errors
    /// See [`StageError`]; nothing is left then.
    pub fn set(scenario: &Scenario, program: &Path) -> Result<Self, StageError> {
        if let Some((missing, package)) = scenario.missing().first() {
            return Err(StageError::Missing(missing, package));
        }
        let range = Range::network(&scenario.network())?;
        range.condition(scenario.conditions.into(), program)?;
        let mut stage =
            Self { servers: Vec::new(), range, scenario: scenario.clone(), program: program.to_owned() };
        let wanted: Vec<(Cast, String)> = stage
            .scenario
            .actors
            .iter()
            .flat_map(|a| a.serve.iter().map(|s| (a.clone(), s.clone())))
            .collect();
        let mut starting = Vec::new();
        for (actor, server) in &wanted {
            starting.push(stage.start(actor, server, program).map_err(|why| fail(actor, server, why))?);
        }
        for ((actor, server), start) in wanted.iter().zip(starting) {
            let daemon = stage.wait(actor, start).map_err(|why| fail(actor, server, why))?;
            stage.servers.push(daemon);
        }
        Ok(stage)
    }

    /// The range it stands in.
    #[must_use]
    pub const fn range(&self) -> &Range {
        &self.range
    }

    /// Leaves range and servers when this process ends.
    ///
    /// # Errors
    /// As [`Range::keep`].
    pub fn keep(self) -> Result<(), RangeError> {
        self.range.keep()?;
        self.servers.into_iter().for_each(Daemon::leave);
        Ok(())
    }

    /// Ends the servers and removes the range.
    ///
    /// # Errors
    /// As [`Range::destroy`].
    pub fn strike(self) -> Result<(), RangeError> {
        // All at once with the range, instead of one after the other.
        self.servers.into_iter().for_each(Daemon::leave);
        self.range.destroy()
    }

    fn start(&self, actor: &Cast, server: &str, program: &Path) -> Result<Starting, String> {
        let name = format!("{}-{}", actor.name, server.split_whitespace().next().unwrap_or("server"));
        let io = |e: io::Error| e.to_string();
        let dir = self.range.scratch().join(&name);
        std::fs::create_dir_all(&dir).map_err(io)?;
        let log = dir.join("log");
        let output = File::create(&log).map_err(io)?;
        let errors = output.try_clone().map_err(io)?;
        let address = actor.host().address();
        let (command, args, port) = match server::find(server) {
            Some(real) => {
                let (command, args) = (real.command)(&Serving { dir: &dir, address }).map_err(io)?;
                (PathBuf::from(command), args, real.port)
            }
            None => {
                let mut words = server.split_whitespace();
                let name = words.next().unwrap_or_default();
                let given = server::arguments(words, &address.to_string()).map_err(|e| e.to_string())?;
                let mut args: Vec<String> = ["lab", "serve", name].map(str::to_owned).to_vec();
                args.extend(given.words());
                (program.to_owned(), args, None)
            }
        };
        let own = server::find(server).is_none();
        let daemon = self
            .range
            .daemon(&actor.name, command, args, |c| {
                c.stdout(output).stderr(errors).env("NO_COLOR", "1");
            })
            .map_err(|e| e.to_string())?;
        Ok(Starting { daemon, log, port, own })
    }

    /// Waits until a server serves.
    fn wait(&self, actor: &Cast, mut start: Starting) -> Result<Daemon, String> {
        let begun = Instant::now();
        let address = actor.host().address();
        loop {
            let said = std::fs::read_to_string(&start.log).unwrap_or_default();
            if let Ok(Some(status)) = start.daemon.try_wait() {
                return Err(format!("it ended ({status}): {}", last_words(&said)));
            }
            let ready = match (start.port, start.own) {
                (Some(port), _) => {
                    let at = SocketAddr::new(address, port);
                    self.range
                        .enter(&actor.name, || std::net::TcpStream::connect_timeout(&at, TICK * 20).is_ok())
                        .map_err(|e| e.to_string())?
                }
                // A service of the lab says one line once it listens.
                (None, true) => said.contains('\n'),
                (None, false) => true,
            };
            if ready {
                return Ok(start.daemon);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("no answer within {} s: {}", PATIENCE.as_secs(), last_words(&said)));
            }
            std::thread::sleep(TICK);
        }
    }

    /// Does every step of the scenario at its time, see [`Self::play_steps`].
    #[must_use]
    pub fn play(&self, seed: u64, stop: &AtomicBool) -> Vec<Deed> {
        self.play_steps(&self.scenario.steps, seed, stop)
    }

    /// Does steps among the scenario's actors, each at its time, and returns what was done, in the order of the steps. Stops
    /// early, in order, once `stop` is set; steps that had not begun are then left out.
    #[must_use]
    pub fn play_steps(&self, steps: &[Step], seed: u64, stop: &AtomicBool) -> Vec<Deed> {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = steps
                .iter()
                .enumerate()
                .map(|(i, step)| {
                    scope.spawn(move || {
                        let due = Duration::from_secs_f64(step.at.max(0.0));
                        while begun.elapsed() < due {
                            if stop.load(Ordering::Relaxed) {
                                return None;
                            }
                            std::thread::sleep(TICK.min(due.saturating_sub(begun.elapsed())));
                        }
                        // Each step has chance of its own, the same for the same seed.
                        Some(self.perform(i, step, seed.wrapping_add(i as u64 * 1_000_003), stop))
                    })
                })
                .collect();
            threads.into_iter().filter_map(|t| t.join().ok().flatten()).collect()
        })
    }

    fn perform(&self, i: usize, step: &Step, seed: u64, stop: &AtomicBool) -> Deed {
        let of = |name: &String| self.scenario.actor(name).map(|a| addresses(a, step.ip)).unwrap_or_default();
        let start_ns = now_ns();
        let mut deed = Deed {
            step: i + 1,
            from: step.from.clone(),
            what: step.name().to_owned(),
            class: step.class.clone(),
            technique: step.technique.clone(),
            start_ns,
            end_ns: start_ns,
            ended: Ended::Done,
            sources: of(&step.from),
            targets: step.to.iter().flat_map(of).collect(),
            traffic: Traffic::default(),
            report: None,
            said: String::new(),
        };
        if let Err(why) = self.try_perform(step, seed, stop, &mut deed) {
            deed.ended = Ended::Failed(why);
        }
        deed.end_ns = now_ns();
        deed
    }

    fn try_perform(&self, step: &Step, seed: u64, stop: &AtomicBool, deed: &mut Deed) -> Result<(), String> {
        let doing = Doing::of(step)?;
        let arguments = self.scenario.arguments(step, &doing, seed)?;
        let limit = Duration::from_secs(step.seconds.into());
        match doing {
            Doing::Act(act) => {
                deed.report = Some(self.act(act, &arguments, step, limit, stop, &mut deed.ended)?);
            }
            Doing::Tool(tool) => {
                let values = arguments.check(tool.parameters).map_err(|e| e.to_string())?;
                deed.traffic = tool.traffic(&values);
                if !deed.traffic.sources.is_empty() {
                    deed.sources.clone_from(&deed.traffic.sources);
                }
                (deed.ended, deed.said) = self.tool(tool, &values, step, deed.step, limit, stop)?;
                // What a scan of several hosts reaches is more than the one it names.
                if values.number("hosts") > 1 {
                    deed.targets.clear();
                }
            }
        }
        Ok(())
    }

    fn act(
        &self,
        act: &Act,
        arguments: &Arguments,
        step: &Step,
        limit: Duration,
        stop: &AtomicBool,
        ended: &mut Ended,
    ) -> Result<Report, String> {
        let control = Control::new();
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if begun.elapsed() > limit || stop.load(Ordering::Relaxed) {
                        control.stop();
                    }
                    std::thread::sleep(TICK);
                }
            });
            let result = self.range.enter(&step.from, || act::run(act.name, arguments, &control));
            over.store(true, Ordering::Relaxed);
            result
        });
        let report = result.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        if control.is_stopped() {
            *ended = Ended::Stopped;
        }
        Ok(report)
    }

    fn tool(
        &self,
        tool: &Tool,
        values: &Values,
        step: &Step,
        number: usize,
        limit: Duration,
        stop: &AtomicBool,
    ) -> Result<(Ended, String), String> {
        let io = |e: io::Error| e.to_string();
        let dir = self.range.scratch().join(format!("step-{number}"));
        std::fs::create_dir_all(&dir).map_err(io)?;
        let (program, args) = tool.command(values, &dir).map_err(io)?;
        let program = program.map_or_else(|| self.program.clone(), PathBuf::from);
        let log = dir.join("log");
        let output = File::create(&log).map_err(io)?;
        let child = self
            .range
            .command(&step.from, program)
            .args(args)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(io)?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(io)?;
        let mut group = Group { child, reaped: false };
        let begun = Instant::now();
        while !group.is_over() && begun.elapsed() <= limit && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
        let status = group.end().map_err(io)?;
        let said = last_words(&std::fs::read_to_string(&log).unwrap_or_default());
        let ended = match status {
            None => Ended::Stopped,
            Some(status) if status.success() => Ended::Done,
            // Some say so when a target did not answer, as one that was blocked does not.
            Some(status) => Ended::Failed(status.to_string()),
        };
        Ok((ended, said))
    }
}

struct Starting {
    daemon: Daemon,
    log: PathBuf,
    port: Option<u16>,
    own: bool,
}

fn fail(actor: &Cast, server: &str, why: String) -> StageError {
    StageError::Server { actor: actor.name.clone(), server: server.to_owned(), why }
}

/// A program and whatever it started, in a process group of their own; none of it outlives this.
struct Group {
    child: Child,
    reaped: bool,
}

impl Group {
    fn number(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.number() {
            // An error means that nobody of it is left.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Whether its leader has ended. It is not reaped yet, so that its number stays that of this group.
    fn is_over(&self) -> bool {
        let Some(pid) = self.number() else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// Ends whatever of it still runs. The leader's status, if it had ended by itself.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        let by_itself = self.is_over();
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while !self.is_over() && begun.elapsed() < GRACE {
            std::thread::sleep(TICK);
        }
        self.signal(Signal::KILL);
        self.reaped = true;
        self.child.wait().map(|status| by_itself.then_some(status))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            // Nobody is left to be told.
            let _ = self.end();
        }
    }
}

/// The end of what a program printed.
fn last_words(said: &str) -> String {
    let said = said.trim();
    let from = said.len().saturating_sub(MAX_SAID);
    let from = (from..said.len()).find(|i| said.is_char_boundary(*i)).unwrap_or(0);
    said.get(from..).unwrap_or_default().to_owned()
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
