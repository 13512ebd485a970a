//! Names made by an algorithm: a client that is told again and again that domains do not exist, whose names look drawn by
//! lot.
//!
//! Malware that finds its controller by calculated names asks for many domains of which its master registered one.

use super::dns::asked;
use super::letters::{is_random, registered};
use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::sketch::Distinct;
use wire::Addr;
use wire::message::Message;

/// Clients remembered, some 350 bytes each at most.
const CAPACITY: usize = 8192;
/// Spans over which is counted: most families ask in one go; some rest between names.
const SHORT_NS: u64 = 300_000_000_000;
const LONG_NS: u64 = 3600 * 1_000_000_000;
/// Different random names in the long span before anything is observed.
const ENOUGH: u32 = 4;
/// Response code of a name that does not exist, RFC 1035 §4.1.1.
const NO_SUCH_NAME: u8 = 3;

/// Counts of one span.
#[derive(Debug, Default)]
struct Tally {
    since_ns: u64,
    answers: u32,
    nonexistent: u32,
    /// Different registered domains that do not exist and look random.
    random: Distinct,
    /// Different registered domains that do not exist.
    domains: Distinct,
}

impl Tally {
    fn at(&mut self, now_ns: u64, span_ns: u64) -> &mut Self {
        if now_ns.saturating_sub(self.since_ns) > span_ns {
            *self = Self { since_ns: now_ns, ..Self::default() };
        }
        self
    }

    /// Share of the domains that do not exist that look random, and of the answers that tell of no such name.
    fn shares(&self) -> (Option<f64>, Option<f64>) {
        let share = |part: u32, all: u32| (all > 0).then(|| (f64::from(part) / f64::from(all)).min(1.0));
        (share(self.random.estimate(), self.domains.estimate()), share(self.nonexistent, self.answers))
    }
}

/// Answers about nonexistent domains by client; see the module.
#[derive(Debug)]
pub(crate) struct Nonexistent {
    clients: Table<Addr, [Tally; 2]>,
}

impl Default for Nonexistent {
    fn default() -> Self {
        Self { clients: Table::new(CAPACITY, LONG_NS) }
    }
}

impl Profile for Nonexistent {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::NonexistentDomains]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Dns(dns) } = fact else { return };
        if !dns.response {
            return;
        }
        let Some((client, server)) = asked(flow, *from, dns) else { return };
        let Some((_, domain)) = registered(&dns.name) else { return };
        let tallies = self.clients.touch(client, now_ns);
        for (tally, span) in tallies.iter_mut().zip([SHORT_NS, LONG_NS]) {
            let tally = tally.at(now_ns, span);
            tally.answers = tally.answers.saturating_add(1);
        }
        if dns.rcode != NO_SUCH_NAME {
            return;
        }
        let random = domain.split('.').next().is_some_and(is_random);
        let id = (hash(domain) >> 32) as u32;
        for tally in tallies.iter_mut() {
            tally.nonexistent = tally.nonexistent.saturating_add(1);
            tally.domains.insert(id);
            if random {
                tally.random.insert(id);
            }
        }
        let [short, long] = tallies;
        if !random || long.random.estimate() < ENOUGH {
            return;
        }
        let ((random_share, nx_share), (random_share_hour, nx_share_hour)) = (short.shares(), long.shares());
        let values = Values::default()
            .with(Metric::NxRandomDomains, f64::from(short.random.estimate()))
            .with_some(Metric::NxRandomShare, random_share)
            .with_some(Metric::NxShare, nx_share)
            .with(Metric::NxRandomDomainsHour, f64::from(long.random.estimate()))
            .with_some(Metric::NxRandomShareHour, random_share_hour)
            .with_some(Metric::NxShareHour, nx_share_hour);
        let mut o = Observation::of_flow(Subject::NonexistentDomains, flow, short.since_ns, values);
        o.actor = Actor::Source { addr: client };
        (o.target, o.port) = (Some(server.0), Some(server.1));
        o.detail = Some(domain.into());
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.clients.evicted()
    }
}
