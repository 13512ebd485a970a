//! Names made by an algorithm: a client that asks for domains that look drawn by lot, most of which do not exist.
//!
//! Malware that finds its controller by calculated names asks for many domains of which its master registered one. Three things
//! tell: how many of the names that do not exist look random by their letters alone; what the classifier of domains
//! ([`crate::domains`]) makes of all that do not exist, on the average; and how many names it takes for drawn among all asked for,
//! whether they exist or not, as resolvers may answer for everything and what was once seized exists.

use super::dns::asked;
use super::letters::{is_random, registered};
use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::domains::{DRAWN, Domains, label};
use crate::metric::Metric;
use flow::sketch::Distinct;
use wire::Addr;
use wire::message::Message;

/// Clients remembered, some 1.3 KB each at most.
const CAPACITY: usize = 8192;
/// Spans over which is counted: most families ask in one go; some rest between names.
const SHORT_NS: u64 = 300_000_000_000;
const LONG_NS: u64 = 3600 * 1_000_000_000;
/// Different random names in the long span before anything is observed; and different names that the classifier judged, or
/// took for drawn.
const ENOUGH: u32 = 4;
/// Response code of a name that does not exist, RFC 1035 §4.1.1.
const NO_SUCH_NAME: u8 = 3;
/// Domains whose odds are kept: a power of two. The same ones are asked for all day by everybody.
const KEPT: usize = 4096;
/// Names shown, and n-grams of each. A name takes the place of another that is in doubt where its log odds are clearly higher:
/// what an incident lists is not to change with each name.
const EXAMPLES: usize = 3;
const GRAMS: usize = 3;
const CLEARLY: f64 = 1.5;

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
    /// Of those, how many the classifier judged, and the sum of their log odds.
    judged: u32,
    odds: f64,
}

impl Tally {
    fn at(&mut self, now_ns: u64, span_ns: u64) -> &mut Self {
        if now_ns.saturating_sub(self.since_ns) > span_ns {
            *self = Self { since_ns: now_ns, ..Self::default() };
        }
        self
    }

    /// Counts a domain that does not exist.
    fn miss(&mut self, id: u32, random: bool, odds: Option<f64>) {
        self.nonexistent = self.nonexistent.saturating_add(1);
        if random {
            self.random.insert(id);
        }
        if is_new(&mut self.domains, id)
            && let Some(odds) = odds
        {
            self.judged = self.judged.saturating_add(1);
            self.odds += odds;
        }
    }

    /// Share of the domains that do not exist that look random, and of the answers that tell of no such name.
    fn shares(&self) -> (Option<f64>, Option<f64>) {
        let share = |part: u32, all: u32| (all > 0).then(|| (f64::from(part) / f64::from(all)).min(1.0));
        (share(self.random.estimate(), self.domains.estimate()), share(self.nonexistent, self.answers))
    }
}

/// What a client asked for within the long span, whatever the answer.
#[derive(Debug, Default)]
struct Asked {
    since_ns: u64,
    domains: Distinct,
    /// Those of them that the classifier takes for drawn.
    drawn: Distinct,
}

impl Asked {
    fn values(&self) -> Values {
        let (all, drawn) = (self.domains.estimate(), self.drawn.estimate());
        Values::default()
            .with(Metric::DrawnDomainsHour, f64::from(drawn))
            .with(Metric::DrawnShareHour, (f64::from(drawn) / f64::from(all.max(1))).min(1.0))
    }
}

/// A name that looked drawn, and why, in words.
#[derive(Debug, Default)]
struct Example {
    odds: f64,
    text: Box<str>,
}

/// What is remembered of a client.
#[derive(Debug, Default)]
struct Client {
    tallies: [Tally; 2],
    asked: Asked,
    examples: [Example; EXAMPLES],
}

impl Client {
    /// Forgets what is older than its span.
    fn advance(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.asked.since_ns) > LONG_NS {
            self.asked = Asked { since_ns: now_ns, ..Asked::default() };
            self.examples = Default::default();
        }
        for (tally, span) in self.tallies.iter_mut().zip([SHORT_NS, LONG_NS]) {
            tally.at(now_ns, span);
        }
    }

    /// Keeps a name as an example if it looks clearly more drawn than one kept that is in doubt.
    fn show(&mut self, domain: &str, odds: f64, reader: &Reader) {
        let known = |e: &Example| e.text.strip_prefix(domain).is_some_and(|r| r.starts_with(' '));
        if self.examples.iter().any(known) {
            return;
        }
        let Some(least) = self.examples.iter_mut().min_by(|a, b| a.odds.total_cmp(&b.odds)) else { return };
        let better = least.odds < DRAWN && odds >= least.odds + CLEARLY;
        if least.text.is_empty() || better {
            *least = Example { odds, text: reader.explain(domain) };
        }
    }

    /// The examples, to be shown to people.
    fn detail(&self, domain: &str) -> Box<str> {
        let shown: Vec<&str> = self.examples.iter().map(|e| &*e.text).filter(|t| !t.is_empty()).collect();
        if shown.is_empty() { domain.into() } else { shown.join(", ").into() }
    }
}

/// The classifier, with the odds of the latest domains.
#[derive(Debug)]
struct Reader {
    classifier: Domains,
    /// By the low bits of the hash: the hash and the odds.
    kept: Vec<(u64, f64)>,
}

impl Reader {
    /// Log odds that a domain's label was drawn; `None` where the label says too little.
    fn odds(&mut self, domain: &str, hash: u64) -> Option<f64> {
        let label = label(domain)?;
        let Self { classifier, kept } = self;
        let place = kept.get_mut(hash as usize % KEPT)?;
        if place.0 != hash {
            *place = (hash, classifier.log_odds(label));
        }
        Some(place.1)
    }

    /// A domain and the parts of its label that people hardly choose.
    fn explain(&self, domain: &str) -> Box<str> {
        let grams = label(domain).map(|l| self.classifier.reasons(l, GRAMS)).unwrap_or_default();
        let grams: Vec<&str> = grams.iter().map(|g| g.text.as_str()).collect();
        format!("{domain} ({})", grams.join(" ")).into()
    }
}

/// Answers about domains by client; see the module.
#[derive(Debug)]
pub(crate) struct DrawnNames {
    clients: Table<Addr, Client>,
    reader: Reader,
}

impl Default for DrawnNames {
    fn default() -> Self {
        // No domain hashes to the value at a place that it does not belong to.
        let kept = (0..KEPT as u64).map(|place| (!place, 0.0)).collect();
        let reader = Reader { classifier: Domains::builtin(), kept };
        Self { clients: Table::new(CAPACITY, LONG_NS), reader }
    }
}

/// Inserts an item; whether it was new, as far as the sketch can tell.
fn is_new(set: &mut Distinct, id: u32) -> bool {
    let before = set.estimate();
    set.insert(id);
    set.estimate() != before
}

impl Profile for DrawnNames {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::NonexistentDomains, Subject::DrawnDomains]
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
        let memory = self.clients.touch(client, now_ns);
        memory.advance(now_ns);
        for tally in &mut memory.tallies {
            tally.answers = tally.answers.saturating_add(1);
        }
        let missing = dns.rcode == NO_SUCH_NAME;
        let hash = hash(domain);
        let id = (hash >> 32) as u32;
        let first = is_new(&mut memory.asked.domains, id);
        if !first && !missing {
            return;
        }
        let odds = self.reader.odds(domain, hash);
        let drawn = odds.is_some_and(|o| o >= DRAWN);
        if drawn {
            memory.asked.drawn.insert(id);
        }
        if let Some(odds) = odds.filter(|o| *o > 0.0 && (missing || drawn)) {
            memory.show(domain, odds, &self.reader);
        }
        let mut observe = |memory: &Client, subject, since_ns, values| {
            let mut o = Observation::of_flow(subject, flow, since_ns, values);
            o.actor = Actor::Source { addr: client };
            (o.target, o.port) = (Some(server.0), Some(server.1));
            o.detail = Some(memory.detail(domain));
            out.push(o);
        };
        if first && drawn && memory.asked.drawn.estimate() >= ENOUGH {
            observe(memory, Subject::DrawnDomains, memory.asked.since_ns, memory.asked.values());
        }
        if !missing {
            return;
        }
        let random = domain.split('.').next().is_some_and(is_random);
        for tally in &mut memory.tallies {
            tally.miss(id, random, odds);
        }
        let [short, long] = &memory.tallies;
        if (random && long.random.estimate() >= ENOUGH) || (long.judged >= ENOUGH && long.odds > 0.0) {
            observe(memory, Subject::NonexistentDomains, short.since_ns, values(short, long));
        }
    }

    fn evicted(&self) -> u64 {
        self.clients.evicted()
    }
}

fn values(short: &Tally, long: &Tally) -> Values {
    let ((random_share, nx_share), (random_share_hour, nx_share_hour)) = (short.shares(), long.shares());
    Values::default()
        .with(Metric::NxRandomDomains, f64::from(short.random.estimate()))
        .with_some(Metric::NxRandomShare, random_share)
        .with_some(Metric::NxShare, nx_share)
        .with(Metric::NxRandomDomainsHour, f64::from(long.random.estimate()))
        .with_some(Metric::NxRandomShareHour, random_share_hour)
        .with_some(Metric::NxShareHour, nx_share_hour)
        .with(Metric::NxJudgedHour, f64::from(long.judged))
        .with_some(Metric::NxOddsHour, (long.judged > 0).then(|| long.odds / f64::from(long.judged)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_look_most_drawn_are_shown_once_each_with_their_n_grams() {
        let mut reader = DrawnNames::default().reader;
        let mut client = Client::default();
        assert_eq!(&*client.detail("example.com"), "example.com", "nothing else is known");
        for domain in
            ["weather.com", "bucojewyra.com", "xkqvbzrwtjhp.com", "xkqvbzrwtjhp.com", "q7f3k9x2m1z8.net"]
        {
            let odds = reader.odds(domain, hash(domain)).unwrap_or_default();
            assert_eq!(reader.odds(domain, hash(domain)), Some(odds), "as kept");
            client.show(domain, odds, &reader);
        }
        let shown = client.detail("weather.com");
        assert_eq!(shown.matches("xkqvbzrwtjhp.com (").count(), 1, "{shown}");
        assert!(shown.contains("q7f3k9x2m1z8.net (") && shown.contains("bucojewyra.com ("), "{shown}");
        assert!(!shown.contains("weather") && !shown.contains("()"), "{shown}");
    }

    #[test]
    fn a_domain_counts_once_and_labels_that_say_too_little_are_not_judged() {
        let mut tally = Tally::default();
        for (id, odds) in [(1, Some(4.0)), (1, Some(4.0)), (2, None), (3, Some(-1.0))] {
            tally.miss(id, false, odds);
        }
        assert_eq!((tally.nonexistent, tally.domains.estimate(), tally.judged), (4, 3, 2));
        assert!((tally.odds - 3.0).abs() < 1e-9);
        assert_eq!(DrawnNames::default().reader.odds("qx.com", hash("qx.com")), None);
    }
}
