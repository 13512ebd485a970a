//! The programs under load: the detector, and where it is possible the agent in a range of the lab.

use super::http::Client;
use anyhow::{Context as _, bail};
use lab::process::Identity;
use lab::range::{Range, Side, VICTIM_INTERFACE};
use server::control::{Request, call_as, socket_in};
use server::view::Status;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a program to start or end. The machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the detector says when it listens, before its address.
const LISTENS: &str = "detector on http://";
/// What the learner sees waits for a minute, not for half an hour, so that it holds as much after warming up
/// as ever, and learns.
const LEARNER: &str = "[learner]\nquarantine_s = 60\nevery_s = 120\n";

/// A program under way; ended when dropped.
pub(crate) struct Program {
    child: Child,
    identity: Identity,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.identity.end(PATIENCE);
        }
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts a command; what it says goes to `log`.
    fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.env("NO_COLOR", "1").env_remove("AUTOINMUNE_LOG");
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        match Identity::of(child.id()) {
            Ok(identity) => Ok(Self { child, identity, log }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(e).context("a program ended at once")
            }
        }
    }

    /// Its process id. `ip netns exec` becomes the program.
    pub(super) const fn pid(&self) -> u32 {
        self.identity.pid
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for what is to come, or for the program's end.
    fn until<T>(&mut self, mut look: impl FnMut(&Self) -> Option<T>) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            let ended = self.child.try_wait()?.is_some();
            if ended || begun.elapsed() > PATIENCE {
                bail!("a program does not start: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the detector at `address` has counted as many questions as were answered.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn counted(
        &self,
        range: Option<&Range>,
        address: SocketAddr,
        asked: u64,
    ) -> anyhow::Result<()> {
        let ask = || Client::new(address).ask("GET", "/stats", "");
        let reply = match range {
            Some(range) => range.enter(Side::Victim, ask)??,
            None => ask()?,
        };
        let stats: serde_json::Value = serde_json::from_str(&reply.body)?;
        let counts = stats["questions"].as_object().into_iter().flatten();
        let counted: u64 = counts.filter_map(|(_, n)| n.as_u64()).sum();
        // The agent posts its figures there, too.
        let good = if range.is_some() { counted >= asked } else { counted == asked };
        anyhow::ensure!(good, "{asked} questions were answered, and the detector counted {counted}");
        Ok(())
    }

    /// Ends it in order; what it had said.
    ///
    /// # Errors
    /// It failed, or had panicked.
    pub(crate) fn stop(mut self) -> anyhow::Result<String> {
        let ended = self.child.try_wait()?.is_some();
        let gone = ended || self.identity.end(PATIENCE);
        let status = self.child.wait()?;
        let said = self.said();
        let good = gone && !ended && status.success() && !said.contains("panicked");
        anyhow::ensure!(good, "a program ended with {status}: {said}");
        Ok(said)
    }
}

/// A command on the victim of a range, or on this machine where there is none.
fn command(range: Option<&Range>, program: &Path) -> Command {
    range.map_or_else(|| Command::new(program), |range| range.command(Side::Victim, program))
}

/// Starts the detector and waits for its address.
pub(crate) fn detector(
    range: Option<&Range>,
    program: &Path,
    folder: &Path,
) -> anyhow::Result<(Program, SocketAddr)> {
    let mut command = command(range, program);
    // What it learns is not to stay on this machine.
    let config = folder.join("detector.toml");
    fs::write(&config, format!("[paths]\nstate_dir = {:?}\n", folder.join("detector")))?;
    command.args(["detector", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
    let mut detector = Program::start(command, folder.join("detector.log"))?;
    let address = detector.until(|p| {
        let said = p.said();
        said.split(LISTENS).nth(1)?.split(';').next()?.parse().ok()
    })?;
    Ok((detector, address))
}

/// The agent on the victim, with what there is to be known of it.
pub(super) struct Agent {
    pub(super) program: Program,
    socket: PathBuf,
    /// Where its own API for questions listens.
    pub(super) api: SocketAddr,
    /// Where its metrics are.
    pub(super) http: SocketAddr,
}

impl Agent {
    /// Starts it: with the kernel's sensor, blocking, following the logs at `logs`, and posting to the detector.
    pub(super) fn start(
        range: &Range,
        path: &Path,
        folder: &Path,
        logs: &super::load::Logs,
        detector: SocketAddr,
    ) -> anyhow::Result<Self> {
        let (config, run) = (folder.join("agent.toml"), folder.join("run"));
        // Short blocks and no escalation, so that they come and go during the run.
        let text = format!(
            "[respond]\nttl = '30s'\nescalation = 1.0\nmax_blocks_per_minute = 1000\n[post]\nurl = 'http://{detector}/detect'\n\
             [logs]\nenabled = 'named'\nfiles = [{{ path = '{}' }}, {{ path = '{}', format = 'nginx-access' }}]\n\
             {}[output]\neve = '{}'\n",
            logs.sshd.display(),
            logs.nginx.display(),
            LEARNER,
            folder.join("eve.json").display()
        );
        fs::write(&config, text).context("cannot write the agent's configuration")?;
        let mut command = command(Some(range), path);
        command.args(["run", "--enforce", "--interface", VICTIM_INTERFACE]);
        command.args(["--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--config"]).arg(&config);
        command.arg("--run-dir").arg(&run).arg("--state-dir").arg(folder.join("state"));
        let mut program = Program::start(command, folder.join("agent.log"))?;
        let socket = socket_in(&run);
        let (api, http) = program.until(|_| {
            let status: Status = call_as(&socket, &Request::Status).ok()?;
            Some((status.api?.parse().ok()?, status.http?.parse().ok()?))
        })?;
        Ok(Self { program, socket, api, http })
    }

    /// Its state.
    pub(super) fn status(&self) -> anyhow::Result<Status> {
        Ok(call_as(&self.socket, &Request::Status)?)
    }
}

/// Lines of logs that the agent says, at its end, to have read.
pub(super) fn lines_read(said: &str) -> Option<u64> {
    said.lines().find_map(|l| l.split_once("logs: ")?.1.split_once(" lines read")?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_count_of_lines_is_found() {
        let said = "x INFO following a\nx INFO logs: 4711 lines read, 4000 recognised, 3000 events of logins\nx INFO stopped\n";
        assert_eq!(lines_read(said), Some(4711));
        assert_eq!(lines_read("x INFO logs: nothing\n"), None);
    }
}
