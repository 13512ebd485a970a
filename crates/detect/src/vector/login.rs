//! Logins in a few words.

use super::{EPOCH_NS, MAX_PACKETS};
use auth::{LoginEvent, Outcome};
use serde::{Deserialize, Serialize};
use wire::Addr;

/// The host that is logged in to.
pub(super) const SERVER: Addr = Addr::v4([198, 51, 100, 5]);

/// One activity: someone logs in, or tries to, a number of times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    /// From where, or the first of `sources` consecutive addresses, who take turns.
    pub from: Addr,
    /// Number of sources.
    #[serde(default = "one")]
    pub sources: u32,
    /// As whom; `{n}` is a number below `users`, in turn.
    pub user: String,
    /// Number of users.
    #[serde(default = "one")]
    pub users: u32,
    /// What comes of it.
    #[serde(default = "failed")]
    pub outcome: Outcome,
    /// Where.
    #[serde(default = "ssh")]
    pub service: String,
    /// How often.
    #[serde(default = "one")]
    pub count: u32,
    /// Milliseconds from one to the next.
    #[serde(default = "second")]
    pub every_ms: f64,
    /// Milliseconds before the first.
    #[serde(default)]
    pub start_ms: f64,
}

const fn one() -> u32 {
    1
}

const fn failed() -> Outcome {
    Outcome::Failed
}

fn ssh() -> String {
    "ssh".to_owned()
}

const fn second() -> f64 {
    1000.0
}

impl Logins {
    /// Adds the logins; beyond [`MAX_PACKETS`] one more, which the caller refuses.
    pub(super) fn expand(&self, out: &mut Vec<LoginEvent>) {
        for n in 0..(self.count as usize).min(MAX_PACKETS + 1) {
            let ms = self.start_ms + n as f64 * self.every_ms;
            let mut from = self.from;
            let turn = n as u32 % self.sources.max(1);
            let last = u32::from_be_bytes([from.0[12], from.0[13], from.0[14], from.0[15]]);
            from.0[12..].copy_from_slice(&last.wrapping_add(turn).to_be_bytes());
            let user = self.user.replace("{n}", &(n as u32 % self.users.max(1)).to_string());
            out.push(LoginEvent {
                at_ns: EPOCH_NS + (ms.max(0.0) * 1e6) as u64,
                outcome: self.outcome,
                service: self.service.as_str().into(),
                port: None,
                user: Some(user.into()),
                unknown_user: self.outcome == Outcome::UnknownUser,
                source: Some(from),
                source_name: None,
                method: None,
                tries: 1,
            });
        }
    }
}
