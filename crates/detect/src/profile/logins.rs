//! Logins refused over SSH, told by the sizes of what is said under encryption, and over SMB, told by the server.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use rustc_hash::FxHashSet;
use wire::Addr;
use wire::message::smb::Smb;
use wire::message::{Message, Side};

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

/// Pairs of client and server of which session setups are remembered, some 1.3 KB each at most.
const SMB_CAPACITY: usize = 4096;
/// Different users of one client at one server told apart.
const USERS: usize = 64;
/// Session setup in SMB 1 ([MS-CIFS] §2.2.4.53) and 2 ([MS-SMB2] §2.2.5).
const SESSION_SETUP: [(u8, u16); 2] = [(1, 0x73), (2, 1)];
/// What a server answers to a wrong user or password, and to an account that is not let in, [MS-ERREF] §2.3.1: logon failure,
/// wrong password, no such user, account restriction, account disabled, account locked out.
const REFUSALS: [u32; 6] = [0xc000_006d, 0xc000_006a, 0xc000_0064, 0xc000_006e, 0xc000_0072, 0xc000_0234];

/// What came of one client's session setups in the running window.
#[derive(Debug, Default)]
struct Sessions {
    since_ns: u64,
    refused: u32,
    accepted: u32,
    /// Hashes of the users refused.
    users: FxHashSet<u64>,
}

/// Session setups of SMB by client and server, as the server answers them.
#[derive(Debug)]
pub(crate) struct SmbLogins {
    pairs: Table<(Addr, Addr), Sessions>,
}

impl Default for SmbLogins {
    fn default() -> Self {
        Self { pairs: Table::new(SMB_CAPACITY, WINDOW_NS) }
    }
}

/// Whether a message answers a session setup for good: while more is to come, it is neither let in nor refused.
fn outcome(smb: &Smb) -> Option<bool> {
    let answers = smb.response && SESSION_SETUP.contains(&(smb.version, smb.command));
    match smb.status {
        0 if answers => Some(true),
        status if answers && REFUSALS.contains(&status) => Some(false),
        _ => None,
    }
}

impl Profile for SmbLogins {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::SmbLogins]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Smb(smb) } = fact else { return };
        let Some(accepted) = outcome(smb) else { return };
        let asking = if *from == Side::Server { Side::Client } else { Side::Server };
        let ((client, _), (server, _)) = speaker(flow, asking);
        let pair = self.pairs.touch((client, server), now_ns);
        if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Sessions { since_ns: now_ns, ..Sessions::default() };
        }
        if accepted {
            pair.accepted = pair.accepted.saturating_add(1);
            return;
        }
        pair.refused = pair.refused.saturating_add(1);
        if let Some(user) = &smb.user
            && pair.users.len() < USERS
        {
            pair.users.insert(hash(user));
        }
        let all = f64::from(pair.refused) + f64::from(pair.accepted);
        let values = Values::default()
            .with(Metric::SmbRefusals, f64::from(pair.refused))
            .with(Metric::SmbRefusedUsers, pair.users.len() as f64)
            .with(Metric::SmbRefusedShare, f64::from(pair.refused) / all);
        out.push(Observation::of_speaker(Subject::SmbLogins, flow, asking, pair.since_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}
