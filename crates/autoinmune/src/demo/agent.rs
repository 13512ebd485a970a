//! The real agent, started inside the range's victim namespace, and asked over its control socket.

use anyhow::{Context as _, bail};
use lab::range::{Daemon, Range, Side, VICTIM_INTERFACE};
use server::control::{Request, call_as, socket_in};
use server::view::{BlockView, IncidentView, Status};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

/// What differs from the default configuration: blocks short enough to be seen ending.
const CONFIG: &str = "[respond]
ttl = '8s'
escalation = 1.0
";
/// How long the agent may take to detach.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the agent's log that are looked at for a reason of failure.
const MAX_LOG: usize = 64 * 1024;

/// The agent under way.
pub struct Agent {
    daemon: Daemon,
    socket: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Starts `autoinmune run --enforce` on the victim's interface. Everything it writes goes into the range's scratch
    /// directory.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(range: &Range) -> anyhow::Result<Self> {
        let scratch = range.scratch();
        let (config, run, state) = (scratch.join("config.toml"), scratch.join("run"), scratch.join("state"));
        let log = scratch.join("agent.log");
        fs::write(&config, CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().context("cannot duplicate a file handle")?;
        let program = std::env::current_exe().context("cannot tell the path of this program")?;
        let args: [OsString; 12] = [
            "run".into(),
            "--enforce".into(),
            "--interface".into(),
            VICTIM_INTERFACE.into(),
            "--config".into(),
            config.into(),
            "--run-dir".into(),
            run.clone().into(),
            "--state-dir".into(),
            state.into(),
            "--http".into(),
            "off".into(),
        ];
        let daemon = range.daemon(Side::Victim, program, args, |command| {
            command.stdout(output).stderr(errors).env("NO_COLOR", "1").env_remove("AUTOINMUNE_LOG");
        })?;
        Ok(Self { daemon, socket: socket_in(&run), log })
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
