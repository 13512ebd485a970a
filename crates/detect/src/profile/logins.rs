//! Logins refused over SSH, told by the sizes of what is said under encryption.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use wire::Addr;
use wire::message::Message;

/// Pairs of client and server remembered, some 30 bytes each.
const CAPACITY: usize = 16_384;
/// Length of the window in which refusals are counted.
const WINDOW_NS: u64 = 60_000_000_000;

/// What came of one client's logins in the running window.
#[derive(Debug, Default)]
struct Logins {
    since_ns: u64,
    refused: u32,
    accepted: u32,
}

/// Logins by client and server; see the module.
#[derive(Debug)]
pub(crate) struct SshLogins {
    pairs: Table<(Addr, Addr), Logins>,
}

impl Default for SshLogins {
    fn default() -> Self {
        Self { pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

impl Profile for SshLogins {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::SshLogins]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, message: Message::SshAuth(auth), .. } = fact else { return };
        let pair = self.pairs.touch((flow.initiator().0, flow.responder().0), now_ns);
        if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Logins { since_ns: now_ns, ..Logins::default() };
        }
        if auth.success {
            pair.accepted = pair.accepted.saturating_add(1);
            return;
        }
        pair.refused = pair.refused.saturating_add(1);
        let values = Values::default()
            .with(Metric::SshRefusals, f64::from(pair.refused))
            .with(Metric::SshAccepted, f64::from(pair.accepted));
        out.push(Observation::of_flow(Subject::SshLogins, flow, pair.since_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}
