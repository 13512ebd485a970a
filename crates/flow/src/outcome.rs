//! How flows turn out: answered, refused, unanswered or aborted, and what counts as a failure.
//!
//! A flow begins [`Outcome::Pending`]. The responder's first packet makes it `Answered`, or `Refused` if that is a RST.
//! Nothing for the grace time makes it `Unanswered`; a later answer still turns that into `Answered` (or `Refused`),
//! but a failure once counted stays counted. `Aborted`: the initiator sent RST after a SYN+ACK and before either side
//! sent payload, which is how half-open scans end. An ACK from the initiator after its SYN counts as an answer although
//! none was seen: on an asymmetric mirror the other half is invisible. An ICMP error that quotes a flow nobody answered
//! ([`wire::quote`]) makes it `Refused` at once; a later answer still turns that into `Answered`.
//!
//! Exempt, that is never failed and `Pending` until answered, are flows
//! - towards multicast or limited broadcast addresses,
//! - of TCP that do not begin with SYN (the sensor started late, or only the answers are visible), except stealth probes,
//!   whose first packet has none of SYN, RST and ACK,
//! - of UDP that look like answers of a service known to amplify ([`crate::amplifier`]), whose question was not seen: what a
//!   forged question provokes is no scan of its victim's ports,
//! - of ICMP that do not begin with an echo request, and of protocols other than TCP, UDP and ICMP,
//! - without ports (later fragments whose first fragment went elsewhere),
//! - that continue a flow cut by the active timeout.

use crate::amplifier;
use crate::event::{Opening, What};
use crate::slot::Mark;
use crate::{Event, FlowKey, FlowStats, Outcome, TcpState, Tracker};
use wire::Addr;
use wire::packet::{protocol, tcp_flag};

/// ICMP echo request type, RFC 792; its reply is 0.
const ECHO: u16 = 8;
/// ICMPv6 echo request type, RFC 4443 §4.1; its reply is 129.
const ECHO_V6: u16 = 128;

/// What [`Tracker::settle`] must know of a flow before its packets were counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    over: bool,
    established: bool,
}

impl Before {
    pub(crate) const fn of(stats: &FlowStats) -> Self {
        Self { over: stats.is_over(), established: stats.established_ns != 0 }
    }
}

impl Tracker {
    /// Draws the consequences of packets just counted at `now`.
    pub(crate) fn settle(&mut self, slot: u32, now: u64, before: Before, events: &mut Vec<Event>) {
        let s = self.flows.at(slot);
        let (outcome, exempt) = (s.outcome, s.is(Mark::Exempt));
        let stats = self.flows.stats(slot);
        let over = stats.is_over();
        let established = stats.established_ns != 0;
        let answers = stats.from_responder();
        let answered = answers.packets > 0 || established;
        let refused = !established && u64::from(answers.flags[2]) == answers.packets;
        // Refused by an ICMP error, then answered after all.
        let revived = outcome == Outcome::Refused && answers.flags[2] == 0;
        if established && !before.established {
            self.complete(slot, events);
        }
        if answered && (revived || matches!(outcome, Outcome::Pending | Outcome::Unanswered)) {
            if refused && !exempt {
                self.fail(slot, Outcome::Refused, now, events);
            } else {
                self.flows.set_outcome(slot, Outcome::Answered);
            }
            if self.flows.is_waiting(slot) {
                self.watch_idle(slot);
            }
        }
        if over {
            let answered = self.flows.at(slot).outcome == Outcome::Answered;
            if !exempt && answered && is_aborted(self.flows.stats(slot)) {
                self.fail(slot, Outcome::Aborted, now, events);
            }
            if !before.over {
                let record = self.flows.record(slot);
                self.tell(slot, What::Closed(record), events);
                if !self.flows.is_waiting(slot) {
                    self.watch_idle(slot);
                }
            }
        }
    }

    pub(crate) fn fail(&mut self, slot: u32, outcome: Outcome, at: u64, events: &mut Vec<Event>) {
        self.flows.set_outcome(slot, outcome);
        let s = self.flows.at_mut(slot);
        if s.is(Mark::Failed) {
            return;
        }
        s.mark(Mark::Failed, true);
        self.counters.flows_failed += 1;
        self.tell(slot, What::Failed { outcome, due_ns: at }, events);
    }

    fn complete(&mut self, slot: u32, events: &mut Vec<Event>) {
        let key = self.flows.at(slot).key;
        let (with_syn, age_ns) = (opening(&key, self.flows.stats(slot)).syn, self.age_ns(slot));
        self.tell(slot, What::Handshake { with_syn, age_ns }, events);
    }
}

/// What kind of beginning a flow's sums show. A function of what both packets and snapshots carry.
pub(crate) fn opening(key: &FlowKey, stats: &FlowStats) -> Opening {
    let flags = stats.first_flags;
    let tcp = key.protocol == protocol::TCP && has_ports(key);
    let echo = match key.protocol {
        protocol::ICMP => Some(ECHO),
        protocol::ICMPV6 => Some(ECHO_V6),
        _ => None,
    };
    Opening {
        syn: tcp && flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN,
        stealth: tcp && flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == 0,
        echo: echo.is_some_and(|kind| key.source(stats.initiator).1 == kind),
    }
}

/// Whether a flow towards `target` can't fail; see the module.
pub(crate) fn is_exempt(key: &FlowKey, stats: &FlowStats, opening: Opening, target: &Addr) -> bool {
    let counts = match key.protocol {
        protocol::TCP => opening.syn || opening.stealth,
        protocol::UDP => has_ports(key) && !amplifier::is_answer(key, stats),
        _ => opening.echo,
    };
    !counts || target.is_multicast()
}

fn has_ports(key: &FlowKey) -> bool {
    key.lo_port != 0 || key.hi_port != 0
}

/// Whether an answered flow was given up by its initiator before anything was said.
fn is_aborted(s: &FlowStats) -> bool {
    s.state == TcpState::Reset
        && s.rst_mask & (1 << s.initiator as u8) != 0
        && s.syn_ns != 0
        && s.synack_ns != 0
        && s.dir.iter().all(|d| d.payload_bytes == 0)
}
