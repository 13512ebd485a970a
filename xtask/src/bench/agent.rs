//! The real agent in a range of the lab.

use super::Setup;
use anyhow::{Context as _, bail};
use lab::range::{Daemon, Range, Side, VICTIM_INTERFACE};
use server::control::{Request, call_as, socket_in};
use server::view::Status;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ATTACH: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(5);
/// The agent publishes its state once a second.
pub(crate) const PUBLISHED: Duration = Duration::from_millis(1200);

/// Budgets that let every attacker be blocked; the default ones bound how many are within a minute.
const CONFIG: &str = "[respond]
max_blocks_per_minute = 10000
[output]
log = 'warn'
";

/// An agent under way. Ends when dropped.
pub(crate) struct Agent {
    daemon: Daemon,
    socket: PathBuf,
    log: PathBuf,
}

/// Makes a range; the reason, where this machine cannot have one.
pub(crate) fn range() -> anyhow::Result<Range> {
    lab::range::sweep()?;
    Ok(Range::create()?)
}

impl Agent {
    /// Starts `autoinmune run` on the victim's interface and waits until it watches. `name` keeps agents of one range
    /// apart.
    ///
    /// # Errors
    /// It did not start; the error is the last thing it said.
    pub(crate) fn start(setup: &Setup, range: &Range, name: &str, enforce: bool) -> anyhow::Result<Self> {
        Self::start_with(setup, range, name, enforce, "")
    }

    /// As [`Self::start`], with more of a configuration: further tables in TOML.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn start_with(
        setup: &Setup,
        range: &Range,
        name: &str,
        enforce: bool,
        tables: &str,
    ) -> anyhow::Result<Self> {
        let scratch = range.scratch().join(name);
        fs::create_dir(&scratch).context("cannot make the agent's directory")?;
        let (config, run, log) = (scratch.join("config.toml"), scratch.join("run"), scratch.join("log"));
        fs::write(&config, format!("{CONFIG}{tables}")).context("cannot write the agent's configuration")?;
        let output = File::create(&log).context("cannot write the agent's log")?;
        let errors = output.try_clone().context("cannot duplicate a file handle")?;
        let mut args: Vec<std::ffi::OsString> =
            ["run", "--interface", VICTIM_INTERFACE, "--http", "off"].map(Into::into).into();
        if enforce {
            args.push("--enforce".into());
        }
        args.extend(["--config".into(), config.into()]);
        args.extend(["--run-dir".into(), run.clone().into()]);
        args.extend(["--state-dir".into(), scratch.join("state").into()]);
        let daemon = range.daemon(Side::Victim, &setup.program, args, |command| {
            command.stdout(output).stderr(errors).env("NO_COLOR", "1").env_remove("AUTOINMUNE_LOG");
        })?;
        let mut agent = Self { daemon, socket: socket_in(&run), log };
        let begun = Instant::now();
        loop {
            if agent.daemon.try_wait().context("cannot look after the agent")?.is_some() {
                bail!("the agent ended: {}", agent.last_words());
            }
            if agent.status().is_ok() {
                return Ok(agent);
            }
            if begun.elapsed() > ATTACH {
                bail!("the agent did not attach within {} s: {}", ATTACH.as_secs(), agent.last_words());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its state, as `autoinmune status -o json` shows it.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        Ok(call_as(&self.socket, &Request::Status)?)
    }

    /// Its process id: `ip netns exec` and the gate before it become the agent.
    pub(crate) const fn pid(&self) -> u32 {
        self.daemon.identity().pid
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It did not leave in order.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let status = self.daemon.end(END).context("cannot end the agent")?;
        anyhow::ensure!(status.success(), "the agent failed at its end: {}", self.last_words());
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing").to_owned()
    }
}

/// Every counter of loss that is not zero, for a note. Packets that are no IP (ARP) are none.
pub(crate) fn losses(status: &Status) -> String {
    let lost: Vec<String> = status
        .losses
        .iter()
        .filter(|(name, count)| **count > 0 && *name != "not_ip")
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if lost.is_empty() { "none".into() } else { lost.join(", ") }
}
