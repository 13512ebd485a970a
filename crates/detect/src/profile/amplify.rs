//! Answers of open services to questions nobody here asked, and large answers of ours to small questions.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::amplifier::service;
use flow::{Conversation, Entity, Role, Share, Span};
use wire::Addr;
use wire::packet::protocol;

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

/// Both ends of amplification. Of victims windows and the flow at hand tell.
#[derive(Debug)]
pub(crate) struct Amplification {
    asking: Table<(Addr, u16), Answers>,
}

impl Default for Amplification {
    fn default() -> Self {
        Self { asking: Table::new(CAPACITY, WINDOW_NS) }
    }
}

impl Profile for Amplification {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Reflected, Subject::Reflector]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Active, Kind::Datagrams]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        match fact {
            Fact::Active { entity, flow }
                if flow.key.protocol == protocol::UDP && entity.role == Role::Target =>
            {
                out.extend(reflected(entity, flow));
            }
            Fact::Datagrams(flow, share) => out.extend(self.reflecting(now_ns, flow, share)),
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.asking.evicted()
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
}

/// Answers towards `entity` that began with no question.
fn reflected(entity: &Entity, flow: &Conversation) -> Option<Observation> {
    if flow.replied {
        return None;
    }
    let name = service(flow.initiator().1)?;
    let (second, window) = (entity.window(Span::S1), entity.window(Span::S10));
    let share = |part: u32, all: u32| f64::from(part) / f64::from(all.max(1));
    let values = Values::default()
        .with(
            Metric::ReflectedPacketsPerSecond,
            share(window.udp_packets, Span::S10.seconds()).max(f64::from(second.udp_packets)),
        )
        .with(Metric::ReflectedBytesPerPacket, window.bytes as f64 / f64::from(window.packets.max(1)))
        .with(Metric::ReflectedReplyRatio, share(window.udp_reply_packets, window.udp_packets))
        .with_some(Metric::Reflectors, Some(window.sources()).filter(|n| *n > 0).map(f64::from));
    let mut o = Observation::of_flow(Subject::Reflected, flow, window.start_ns, values);
    o.actor = Actor::Distributed { target: entity.addr };
    o.target = Some(entity.addr);
    o.port = None;
    o.detail = Some(name.into());
    Some(o)
}
