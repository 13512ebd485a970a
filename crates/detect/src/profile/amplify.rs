//! Answers of open services to questions nobody here asked, and large answers of ours to small questions.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::amplifier::service;
use flow::sketch::{Distinct, addr_hash};
use flow::{Conversation, Share};
use wire::Addr;

/// Pairs of asking address and service remembered, some 40 bytes each.
const CAPACITY: usize = 8192;
/// Length of the window in which answers are summed.
const WINDOW_NS: u64 = 60_000_000_000;
/// Answers are observed each time their sum passes a multiple of this, bytes.
const WORTH_A_LOOK: u64 = 100_000;

/// What one address asked a service, and what it was answered, in the running window.
#[derive(Debug, Default)]
struct Answers {
    since_ns: u64,
    questions: u64,
    asked: u64,
    answered: u64,
}

/// Victims remembered, some 500 bytes each at most.
const VICTIMS: usize = 4096;
/// Length of the window in which unasked answers are counted, and the shorter one in which a burst shows.
const SPAN_NS: u64 = 10_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Unasked answers are observed once in so many packets.
const EVERY: u64 = 64;

/// What came towards one address from ports of services that amplify, in flows that began with it.
#[derive(Debug, Default)]
struct Unasked {
    since_ns: u64,
    packets: u64,
    bytes: u64,
    replies: u64,
    /// The running second, and its packets.
    second_ns: u64,
    second: u64,
    senders: Distinct,
}

/// Both ends of amplification.
#[derive(Debug)]
pub(crate) struct Amplification {
    asking: Table<(Addr, u16), Answers>,
    victims: Table<Addr, Unasked>,
}

impl Default for Amplification {
    fn default() -> Self {
        Self { asking: Table::new(CAPACITY, WINDOW_NS), victims: Table::new(VICTIMS, SPAN_NS) }
    }
}

impl Profile for Amplification {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Reflected, Subject::Reflector]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Datagrams]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Datagrams(flow, share) = fact else { return };
        out.extend(self.reflecting(now_ns, flow, share));
        out.extend(self.reflected(now_ns, flow, share));
    }

    fn evicted(&self) -> u64 {
        self.asking.evicted() + self.victims.evicted()
    }
}

impl Amplification {
    /// What a service answered the sender of `flow`, from whatever ports it was asked: who forges questions may use a new one
    /// for each, so that no flow of them shows anything.
    fn reflecting(&mut self, now_ns: u64, flow: &Conversation, share: &Share) -> Option<Observation> {
        let ((client, _), (server, port)) = (flow.initiator(), flow.responder());
        let name = service(port)?;
        let known = self.asking.touch((client, port), now_ns);
        if now_ns.saturating_sub(known.since_ns) > WINDOW_NS {
            *known = Answers { since_ns: now_ns, ..Answers::default() };
        }
        let before = known.answered / WORTH_A_LOOK;
        known.questions = known.questions.saturating_add(share.packets.into());
        known.asked = known.asked.saturating_add(share.bytes);
        known.answered = known.answered.saturating_add(share.reply_bytes);
        if known.answered / WORTH_A_LOOK == before {
            return None;
        }
        let values = Values::default()
            .with(Metric::AmplifiedMegabytes, known.answered as f64 / 1e6)
            .with(Metric::AmplificationFactor, known.answered as f64 / (known.asked.max(1)) as f64)
            .with(Metric::AmplifiedQuestionBytes, known.asked as f64 / (known.questions.max(1)) as f64);
        // The sender of the questions is the victim: its address is forged.
        let mut o = Observation::of_flow(Subject::Reflector, flow, known.since_ns, values);
        o.actor = Actor::Distributed { target: client };
        o.target = Some(client);
        o.detail = Some(format!("{name} of {server}").into());
        Some(o)
    }

    /// Answers that began with no question. Those of other ports do not count: a flood from port after port passes those of
    /// the services as well.
    fn reflected(&mut self, now_ns: u64, flow: &Conversation, share: &Share) -> Option<Observation> {
        let ((sender, port), (target, _)) = (flow.initiator(), flow.responder());
        let name = service(port).filter(|_| !flow.replied)?;
        let known = self.victims.touch(target, now_ns);
        if now_ns.saturating_sub(known.since_ns) > SPAN_NS {
            *known = Unasked { since_ns: now_ns, ..Unasked::default() };
        }
        if now_ns.saturating_sub(known.second_ns) > SECOND_NS {
            (known.second_ns, known.second) = (now_ns, 0);
        }
        let before = known.packets / EVERY;
        known.packets = known.packets.saturating_add(share.packets.into());
        known.second = known.second.saturating_add(share.packets.into());
        known.bytes = known.bytes.saturating_add(share.bytes);
        known.replies = known.replies.saturating_add(share.reply_packets.into());
        known.senders.insert(addr_hash(0, &sender));
        if known.packets / EVERY == before {
            return None;
        }
        let packets = known.packets as f64;
        let mean = packets / (SPAN_NS / SECOND_NS) as f64;
        let values = Values::default()
            .with(Metric::ReflectedPacketsPerSecond, mean.max(known.second as f64))
            .with(Metric::ReflectedBytesPerPacket, known.bytes as f64 / packets)
            .with(Metric::ReflectedReplyRatio, known.replies as f64 / packets)
            .with(Metric::Reflectors, f64::from(known.senders.estimate()));
        let mut o = Observation::of_flow(Subject::Reflected, flow, known.since_ns, values);
        o.actor = Actor::Distributed { target };
        o.target = Some(target);
        o.port = None;
        o.detail = Some(name.into());
        Some(o)
    }
}
