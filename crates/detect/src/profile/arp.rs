//! Who claims which address on the local network.
//!
//! ARP has no proof of ownership; what can be seen is contradiction: two hardware addresses that keep claiming one
//! address, answers nobody asked for, and frames whose sender is not the one inside.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use wire::Addr;
use wire::message::arp::Arp;

/// Addresses and hardware addresses remembered, each.
const CAPACITY: usize = 8192;
/// How long a claim, a question or a conflict is remembered.
const MEMORY_NS: u64 = 60_000_000_000;
/// A question is answered within this time or not at all.
const ANSWER_NS: u64 = 5_000_000_000;

type Mac = [u8; 6];

/// What is known of an address.
#[derive(Debug, Default)]
struct Claim {
    owner: Mac,
    /// When the present owner last claimed it, ns.
    owned_ns: u64,
    since_ns: u64,
    conflicts: u32,
}

/// What is known of a hardware address's answers.
#[derive(Debug, Default)]
struct Answers {
    since_ns: u64,
    unsolicited: u32,
    mismatched: u32,
}

/// Claims to addresses; see the module.
#[derive(Debug)]
pub(crate) struct ArpClaims {
    claims: Table<(u16, Addr), Claim>,
    /// When somebody asked for an address, ns.
    asked: Table<(u16, Addr), u64>,
    answers: Table<(u16, Mac), Answers>,
}

impl Default for ArpClaims {
    fn default() -> Self {
        Self {
            claims: Table::new(CAPACITY, MEMORY_NS),
            asked: Table::new(CAPACITY, ANSWER_NS),
            answers: Table::new(CAPACITY, MEMORY_NS),
        }
    }
}

fn text(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

impl Profile for ArpClaims {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::ArpClaim]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Arp]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Arp(arp) = fact else { return };
        if arp.operation == 1 && arp.target_ip != arp.sender_ip {
            *self.asked.touch((arp.vlan, arp.target_ip), now_ns) = now_ns;
        }
        // A probe (RFC 5227) claims nothing.
        if arp.sender_ip.ip().is_unspecified() {
            return;
        }
        let claim = self.claims.touch((arp.vlan, arp.sender_ip), now_ns);
        let known = claim.owned_ns != 0;
        let conflict =
            known && claim.owner != arp.sender && now_ns.saturating_sub(claim.owned_ns) <= MEMORY_NS;
        let before = claim.owner;
        if conflict {
            claim.conflicts = claim.conflicts.saturating_add(1);
        }
        if !known {
            claim.since_ns = now_ns;
        }
        (claim.owner, claim.owned_ns) = (arp.sender, now_ns);
        let (conflicts, since_ns) = (claim.conflicts, claim.since_ns);

        let unsolicited = arp.operation == 2
            && arp.sender_ip != arp.target_ip
            && self.asked.get(&(arp.vlan, arp.sender_ip), now_ns).is_none();
        let mismatched = arp.frame_source != arp.sender;
        if !conflict && !unsolicited && !mismatched {
            return;
        }
        let answers = self.answers.touch((arp.vlan, arp.sender), now_ns);
        if answers.since_ns == 0 {
            answers.since_ns = now_ns;
        }
        answers.unsolicited = answers.unsolicited.saturating_add(u32::from(unsolicited));
        answers.mismatched = answers.mismatched.saturating_add(u32::from(mismatched));
        let values = Values::default()
            .with(Metric::ArpConflicts, f64::from(conflicts))
            .with(Metric::ArpUnsolicited, f64::from(answers.unsolicited))
            .with(Metric::ArpMismatched, f64::from(answers.mismatched));
        out.push(observation(arp, since_ns.min(answers.since_ns), values, conflict.then_some(before)));
    }

    fn evicted(&self) -> u64 {
        self.claims.evicted() + self.asked.evicted() + self.answers.evicted()
    }
}

/// The address claimed is the victim's, never the actor's: nobody may be blocked for it.
fn observation(arp: &Arp, since_ns: u64, values: Values, before: Option<Mac>) -> Observation {
    let mut detail = format!("{} claims {}", text(arp.sender), arp.sender_ip);
    if let Some(owner) = before {
        detail.push_str(&format!(", which was {}", text(owner)));
    }
    if arp.frame_source != arp.sender {
        detail.push_str(&format!(", in a frame of {}", text(arp.frame_source)));
    }
    Observation {
        subject: Subject::ArpClaim,
        actor: Actor::Distributed { target: arp.sender_ip },
        target: Some(arp.sender_ip),
        port: None,
        protocol: None,
        flow: None,
        detail: Some(detail.into()),
        since_ns,
        values,
    }
}
