//! Who answers for names on the local network.
//!
//! A host answers multicast questions (LLMNR, RFC 4795) for its own name. Who answers for many names wants the logons that
//! follow.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use flow::sketch::Distinct;
use wire::Addr;
use wire::message::Message;

/// Answering hosts remembered, some 200 bytes each at most.
const CAPACITY: usize = 4096;
/// How long an answer is remembered.
const MEMORY_NS: u64 = 600_000_000_000;
/// Port of LLMNR.
const LLMNR: u16 = 5355;

/// Names one host answered for.
#[derive(Debug, Default)]
struct Answers {
    since_ns: u64,
    names: Distinct,
}

/// Answers to LLMNR by host; see the module.
#[derive(Debug)]
pub(crate) struct NameAnswers {
    hosts: Table<Addr, Answers>,
}

impl Default for NameAnswers {
    fn default() -> Self {
        Self { hosts: Table::new(CAPACITY, MEMORY_NS) }
    }
}

impl Profile for NameAnswers {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::NameAnswers]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Dns(dns) } = fact else { return };
        let ((host, port), _) = speaker(flow, *from);
        if !dns.response || port != LLMNR || dns.answers == 0 {
            return;
        }
        let answers = self.hosts.touch(host, now_ns);
        if answers.since_ns == 0 {
            answers.since_ns = now_ns;
        }
        answers.names.insert((hash(&dns.name) >> 32) as u32);
        let values = Values::default().with(Metric::NamesAnswered, f64::from(answers.names.estimate()));
        let mut o = Observation::of_speaker(Subject::NameAnswers, flow, *from, answers.since_ns, values);
        o.port = None;
        o.detail = Some(dns.name.clone());
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.hosts.evicted()
    }
}
