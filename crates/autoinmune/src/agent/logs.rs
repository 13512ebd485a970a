//! What logs tell the agent.

use super::tap::AgentTap;
use super::wall_ns;
use crate::config::Config;
use crate::line::Line;
use crate::logs::{self, Follower};
use wire::Addr;

/// What is followed, if anything, and the address that logins are at.
pub struct Logs {
    follower: Option<Follower>,
    server: Addr,
}

impl Logs {
    /// Starts following what is configured. A simulation has no logs: what stands in those of this machine is real.
    pub fn start(config: &Config, simulated: bool) -> anyhow::Result<Self> {
        let follower = if simulated { None } else { Follower::start(&config.logs)? };
        Ok(Self { follower, server: logs::server() })
    }

    /// Hands what was read to the line. The time is that of reading, as for packets: what a line says of the time is
    /// somebody else's word, and a clock set wrong must not move windows.
    pub fn feed(&self, line: &mut Line, tap: &mut AgentTap) {
        let Some(follower) = &self.follower else { return };
        let now_ns = wall_ns();
        follower.drain(|event| line.login(now_ns, event, self.server, tap));
    }

    /// Looks up the host's address again: it may have changed.
    pub fn look_up(&mut self) {
        if self.follower.is_some() {
            self.server = logs::server();
        }
    }

    /// Starts anew if the configuration of it changed.
    pub fn reload(&mut self, before: &Config, next: &Config, simulated: bool) -> anyhow::Result<()> {
        if before.logs != next.logs {
            self.stop();
            *self = Self::start(next, simulated)?;
        }
        Ok(())
    }

    /// Counters of what was lost or left out, by name; none where nothing is followed.
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        self.follower.as_ref().map_or_else(Vec::new, |f| f.losses().to_vec())
    }

    /// Ends following.
    pub fn stop(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.stop();
        }
    }
}
