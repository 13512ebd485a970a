//! Data carried in DNS: what one client asks below one registered domain.
//!
//! A tunnel must put its data into names that were never asked before, since an answer from a cache tells its far end
//! nothing, and it must ask often. So what counts is the number of different names below one domain, how long and how
//! random they are, and whether the answers are of types that carry more than an address.

use super::letters::{is_random, registered};
use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::Conversation;
use flow::sketch::Distinct;
use wire::Addr;
use wire::message::dns::Dns;
use wire::message::{Message, Side};

/// Pairs of client and registered domain remembered, some 70 bytes each. Most are asked a few times; those asked more
/// have 150 to 400 bytes besides.
const CAPACITY: usize = 16_384;
/// How long a pair that is not used is remembered.
const HABIT_NS: u64 = 3 * DAY_NS;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Spans over which is counted.
const MINUTE_NS: u64 = 60_000_000_000;
const HOUR_NS: u64 = 3600 * 1_000_000_000;
/// Queries of a pair within an hour before its names are counted.
const WORTH_COUNTING: u32 = 8;
/// Different names in an hour before anything is observed, and queries from one observation to the next.
const ENOUGH_NAMES: u32 = 30;
const EVERY: u32 = 8;
/// Ports whose names are of the local link: NetBIOS, multicast DNS, LLMNR.
const LOCAL_PORTS: [u16; 3] = [137, 5353, 5355];
/// Types that programs ask for all day: A, PTR, AAAA, SRV, SVCB, HTTPS, and those of DNSSEC validation (DS, DNSKEY).
/// NS and SOA are asked by resolvers and updaters. What is left (TXT, NULL, CNAME, MX, KEY, private …) is for servers,
/// mail, and tunnels.
const COMMON_TYPES: [u16; 10] = [1, 2, 6, 12, 28, 33, 43, 48, 64, 65];

/// Counts of one span.
#[derive(Debug, Default)]
struct Tally {
    since_ns: u64,
    queries: u32,
    /// Of those, with an uncommon type.
    uncommon: u32,
    /// Of those, whose longest label looks random.
    random: u32,
    /// Characters of the names below the registered domain.
    name_bytes: u64,
    answers: u32,
    answer_bytes: u64,
    /// Responses with addresses, and those of them with none outside of 127.0.0.0/8.
    addressed: u32,
    listings: u32,
    names: Distinct,
}

impl Tally {
    /// Begins anew if its span is over.
    fn at(&mut self, now_ns: u64, span_ns: u64) -> &mut Self {
        if now_ns.saturating_sub(self.since_ns) > span_ns {
            *self = Self { since_ns: now_ns, ..Self::default() };
        }
        self
    }

    fn ask(&mut self, dns: &Dns, below: &str, random: bool) {
        self.queries = self.queries.saturating_add(1);
        self.uncommon += u32::from(!COMMON_TYPES.contains(&dns.qtype));
        self.random += u32::from(random);
        self.name_bytes = self.name_bytes.saturating_add(length(below));
        // The upper half is as good as the lower.
        self.names.insert((hash(below) >> 32) as u32);
    }

    fn answer(&mut self, dns: &Dns) {
        self.answers = self.answers.saturating_add(1);
        self.answer_bytes = self.answer_bytes.saturating_add(u64::from(dns.answer_bytes));
        if !dns.addresses.is_empty() {
            self.addressed = self.addressed.saturating_add(1);
            self.listings += u32::from(dns.addresses.iter().all(is_verdict));
        }
    }

    fn share(&self, part: u32) -> Option<f64> {
        (self.queries > 0).then(|| f64::from(part) / f64::from(self.queries))
    }
}

/// What is remembered of a client and a registered domain.
#[derive(Debug, Default)]
struct Pair {
    first_ns: u64,
    /// Queries since `since_ns`, before the counting begins.
    since_ns: u64,
    queries: u32,
    /// The minute and the hour, once there is something to count.
    tallies: Option<Box<[Tally; 2]>>,
}

/// Queries by client and registered domain; see the module.
#[derive(Debug)]
pub(crate) struct Names {
    pairs: Table<(Addr, u64), Pair>,
}

impl Default for Names {
    fn default() -> Self {
        Self { pairs: Table::new(CAPACITY, HABIT_NS) }
    }
}

/// Who asked whom, whichever side is taken for the initiator; `None` on ports of the local link.
pub(super) fn asked(flow: &Conversation, from: Side, dns: &Dns) -> Option<(Addr, (Addr, u16))> {
    let (first, second) = (flow.initiator(), flow.responder());
    if LOCAL_PORTS.contains(&first.1) || LOCAL_PORTS.contains(&second.1) {
        return None;
    }
    let by_initiator = (from == Side::Client) != dns.response;
    Some(if by_initiator { (first.0, second) } else { (second.0, first) })
}

/// Whether an address is how a block list answers, RFC 5782 §2.1.
fn is_verdict(addr: &Addr) -> bool {
    matches!(addr.ip(), std::net::IpAddr::V4(v4) if v4.is_loopback())
}

/// Bytes of a name as it was on the wire: those that are no printable ASCII are spelled `\DDD`.
fn length(name: &str) -> u64 {
    let spelled = name.bytes().filter(|b| *b == b'\\').count();
    name.len().saturating_sub(3 * spelled) as u64
}

impl Profile for Names {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::DomainNames]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Dns(dns) } = fact else { return };
        let Some((client, server)) = asked(flow, *from, dns) else { return };
        let Some((below, domain)) = registered(&dns.name).filter(|(below, _)| !below.is_empty()) else {
            return;
        };
        let pair = self.pairs.touch((client, hash(domain)), now_ns);
        if pair.first_ns == 0 {
            pair.first_ns = now_ns;
        }
        if now_ns.saturating_sub(pair.since_ns) > HOUR_NS {
            pair.since_ns = now_ns;
            pair.queries = 0;
            pair.tallies = None;
        }
        if dns.response {
            for (tally, span) in pair.tallies.iter_mut().flat_map(|t| t.iter_mut()).zip([MINUTE_NS, HOUR_NS])
            {
                tally.at(now_ns, span).answer(dns);
            }
            return;
        }
        pair.queries = pair.queries.saturating_add(1);
        if pair.queries < WORTH_COUNTING {
            return;
        }
        let random = below.split('.').max_by_key(|label| label.len()).is_some_and(is_random);
        let days = now_ns.saturating_sub(pair.first_ns) as f64 / DAY_NS as f64;
        let [minute, hour] = &mut **pair.tallies.get_or_insert_default();
        minute.at(now_ns, MINUTE_NS).ask(dns, below, random);
        hour.at(now_ns, HOUR_NS).ask(dns, below, random);
        if !hour.queries.is_multiple_of(EVERY) || hour.names.estimate() < ENOUGH_NAMES {
            return;
        }
        let since_ns = minute.since_ns;
        let mut o = Observation::of_flow(Subject::DomainNames, flow, since_ns, values(minute, hour, days));
        o.actor = Actor::Source { addr: client };
        (o.target, o.port) = (Some(server.0), Some(server.1));
        o.detail = Some(domain.into());
        out.push(o);
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}

fn values(minute: &Tally, hour: &Tally, days: f64) -> Values {
    let mean = |sum: u64, n: u32| (n > 0).then(|| sum as f64 / f64::from(n));
    Values::default()
        .with(Metric::DomainNames, f64::from(minute.names.estimate()))
        .with(Metric::DomainNamesHour, f64::from(hour.names.estimate()))
        .with_some(Metric::DomainUncommonShare, hour.share(hour.uncommon))
        .with_some(Metric::DomainRandomShare, hour.share(hour.random))
        .with_some(Metric::DomainNameBytes, mean(hour.name_bytes, hour.queries))
        .with_some(Metric::DomainAnswerBytes, mean(hour.answer_bytes, hour.answers))
        .with(Metric::DomainKilobytesUp, hour.name_bytes as f64 / 1000.0)
        .with(Metric::DomainKilobytesDown, hour.answer_bytes as f64 / 1000.0)
        .with(Metric::DomainListingShare, mean(hour.listings.into(), hour.addressed).unwrap_or(0.0))
        .with(Metric::DomainDays, days)
}
