//! The real agent, started in a namespace of a range, and asked over its control socket.

use anyhow::{Context as _, bail};
use lab::range::{Daemon, Range};
use server::control::{Request, call_as, socket_in};
use server::view::{BlockView, IncidentView, Status};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where an agent is to be started, and how.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// The place in the range.
    pub place: &'a str,
    /// The interface it protects, there.
    pub interface: &'a str,
    /// Whether it blocks.
    pub enforce: bool,
    /// Its configuration, TOML.
    pub config: &'a str,
    /// Where it writes events, if anywhere.
    pub eve: Option<PathBuf>,
}

/// How long the agent may take to detach.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of the agent's log that are looked at for a reason of failure.
const MAX_LOG: usize = 64 * 1024;

/// The agent under way.
pub struct Agent {
    daemon: Daemon,
    socket: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Starts `autoinmune run`. Everything it writes goes into the range's scratch directory, but for its events.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(range: &Range, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let scratch = range.scratch();
        let (config, run, state) = (scratch.join("config.toml"), scratch.join("run"), scratch.join("state"));
        let log = scratch.join("agent.log");
        fs::write(&config, setup.config).with_context(|| format!("cannot write {}", config.display()))?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot duplicate a file handle")?;
        let program = std::env::current_exe().context("cannot tell the path of this program")?;
        let mut args: Vec<OsString> = vec!["run".into(), "--interface".into(), setup.interface.into()];
        for (option, path) in [("--config", &config), ("--run-dir", &run), ("--state-dir", &state)] {
            args.extend([option.into(), path.into()]);
        }
        args.extend(["--http".into(), "off".into()]);
        if setup.enforce {
            args.push("--enforce".into());
        }
        if let Some(eve) = &setup.eve {
            args.extend(["--eve".into(), eve.into()]);
        }
        let daemon = range.daemon(setup.place, program, args, |command| {
            command.stdout(output).stderr(errors).env("NO_COLOR", "1").env_remove("AUTOINMUNE_LOG");
        })?;
        Ok(Self { daemon, socket: socket_in(&run), log })
    }

    /// Waits until it watches, and returns its state.
    ///
    /// # Errors
    /// It has ended, with the last thing it said, or it takes longer than `patience`.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<Status> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ready()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                bail!("the agent did not attach within {} s", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets it run on after this process.
    pub fn leave(self) {
        self.daemon.leave();
    }

    /// Its state, once it answers; `None` while it starts.
    ///
    /// # Errors
    /// It has ended; the error is the last thing it said.
    pub fn ready(&mut self) -> anyhow::Result<Option<Status>> {
        if let Some(status) = self.daemon.try_wait().context("cannot look after the agent")? {
            match self.last_words() {
                Some(words) => bail!("{words}"),
                None => bail!("the agent ended at once ({status})"),
            }
        }
        Ok(call_as(&self.socket, &Request::Status).ok())
    }

    /// Its state.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> anyhow::Result<Status> {
        Ok(call_as(&self.socket, &Request::Status)?)
    }

    /// Open incidents.
    ///
    /// # Errors
    /// It does not answer.
    pub fn incidents(&self) -> anyhow::Result<Vec<IncidentView>> {
        Ok(call_as(&self.socket, &Request::Incidents)?)
    }

    /// Blocks in force.
    ///
    /// # Errors
    /// It does not answer.
    pub fn blocks(&self) -> anyhow::Result<Vec<BlockView>> {
        Ok(call_as(&self.socket, &Request::Bans)?)
    }

    /// Ends it as an administrator would (SIGTERM) and says whether it detached and left in order.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn stop(mut self) -> anyhow::Result<bool> {
        Ok(self.daemon.end(PATIENCE).context("cannot end the agent")?.success())
    }

    /// The last line it wrote, without the program's name.
    fn last_words(&self) -> Option<String> {
        let log = fs::read(&self.log).ok()?;
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(MAX_LOG)..]).into_owned();
        let last = tail.lines().rev().map(str::trim).find(|l| !l.is_empty())?;
        Some(last.strip_prefix("autoinmune: ").unwrap_or(last).to_owned())
    }
}
