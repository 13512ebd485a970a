//! How good a dataset is to learn from, as figures against goals.
//!
//! The goals are those of a set that knows ordinary traffic: enough flows, of enough places, hours and hosts, none of which
//! outweighs the rest, few of them repeated, without holes and losses. Each figure's share of its goal is at most 1; the score
//! is their mean in percent, over the figures that can be told of the table. It is complete when every goal is met.

use crate::categories::evenness;
use crate::cell::Cell;
use crate::distinct::Distinct;
use crate::schema::{Role, Schema};
use crate::tuple::tuple_digest;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Length of a stretch of time that counts as a gap if no flow began in it, ns (10 min).
pub const GAP_NS: u64 = 600_000_000_000;

/// Stretches told apart: two years.
const MAX_STRETCHES: usize = 105_120;

/// Addresses whose flows are counted each by itself; the flows of others count as those of one.
const MAX_ADDRESSES: usize = 65_536;

/// Rows among which duplicates are looked for while scoring: 32 MB of hashes. A check of the whole set counts all.
const MAX_TUPLES: usize = 1_000_000;

/// What is to be reached. `most_*` are upper bounds, all others lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goals {
    /// Flows.
    pub flows: u64,
    /// Countries of either end.
    pub countries: u64,
    /// Autonomous systems of either end.
    pub asns: u64,
    /// Hours of the day, UTC, in which flows began.
    pub hours: u64,
    /// Addresses of either end.
    pub addresses: u64,
    /// Transport protocols.
    pub protocols: u64,
    /// Evenness of flows over addresses, 0..=1: entropy over its largest possible value.
    pub balance: f64,
    /// Share of rows that repeat another one.
    pub most_duplicates: f64,
    /// Share of time, in stretches of [`GAP_NS`], in which no flow began.
    pub most_gaps: f64,
    /// Share of packets lost.
    pub most_losses: f64,
}

impl Default for Goals {
    fn default() -> Self {
        Self {
            flows: 10_000,
            countries: 50,
            asns: 25,
            hours: 12,
            addresses: 1_000,
            protocols: 3,
            balance: 0.4,
            most_duplicates: 0.2,
            most_gaps: 0.1,
            most_losses: 0.01,
        }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// What it is.
    pub name: &'static str,
    /// The figure; `None` if the table does not tell.
    pub value: Option<f64>,
    /// The goal.
    pub goal: f64,
    /// Whether the goal is an upper bound.
    pub at_most: bool,
    /// Whether the true figure may be larger: more than is told apart.
    pub lower_bound: bool,
}

/// Figures and score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Figures, in a fixed order.
    pub items: Vec<Item>,
    /// Mean share of the goals reached, percent; 0 if nothing can be told.
    pub percent: f64,
    /// Whether every goal is met.
    pub complete: bool,
}

impl Item {
    /// Share of the goal that is reached, 0..=1; `None` without a figure. Of an upper bound `b`, a figure `v` above it has
    /// reached `(1 − v) / (1 − b)`.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let value = self.value?;
        let share = if self.at_most {
            if value <= self.goal { 1.0 } else { (1.0 - value) / (1.0 - self.goal) }
        } else if self.goal > 0.0 {
            value / self.goal
        } else {
            1.0
        };
        Some(share.clamp(0.0, 1.0))
    }

    /// Whether the goal is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.value.is_some_and(|v| if self.at_most { v <= self.goal } else { v >= self.goal })
    }

    /// `met`, `missing`, or `unknown` without a figure.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.value, self.is_met()) {
            (None, _) => "unknown",
            (_, true) => "met",
            (_, false) => "missing",
        }
    }

    /// The figure against its goal, such as `hours 8/12` or `duplicates 31.0 % (at most 20 %)`.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(value) = self.value else { return format!("{} not told by the table", self.name) };
        let more = if self.lower_bound { " or more" } else { "" };
        if self.at_most {
            let shown =
                if value > 0.0 && value < 0.0005 { "<0.1".into() } else { format!("{:.1}", value * 100.0) };
            format!("{} {shown} % (at most {:.0} %)", self.name, self.goal * 100.0)
        } else if self.goal < 1.0 {
            format!("{} {value:.2}/{:.2}", self.name, self.goal)
        } else {
            format!("{} {value:.0}{more}/{:.0}", self.name, self.goal)
        }
    }
}

impl Score {
    /// What is still missing, in the words of [`Item::text`].
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.items.iter().filter(|i| !i.is_met()).map(Item::text).collect()
    }
}

/// Where in a row a scorer finds what it needs.
#[derive(Clone, Debug, Default)]
struct Places {
    time: Option<usize>,
    addresses: Vec<usize>,
    protocol: Option<usize>,
    countries: Vec<usize>,
    asns: Vec<usize>,
    features: Vec<usize>,
}

/// Scores rows as they pass. Memory: some 60 MB at most.
#[derive(Clone, Debug)]
pub struct Scorer {
    goals: Goals,
    places: Places,
    rows: u64,
    countries: Distinct,
    asns: Distinct,
    protocols: Distinct,
    hours: [u64; 24],
    addresses: HashMap<String, u64>,
    other_addresses: u64,
    tuples: HashSet<u64>,
    tuples_seen: u64,
    stretches: BTreeSet<u64>,
    span: Option<(u64, u64)>,
    packets: Option<(u64, u64)>,
    runs: Vec<(u64, u64)>,
}

impl Scorer {
    /// A scorer of rows of a table.
    #[must_use]
    pub fn new(schema: &Schema, goals: Goals) -> Self {
        let all = |roles: [Role; 2]| roles.into_iter().filter_map(|r| schema.of_role(r)).collect();
        let proto = schema.place("proto").or_else(|| schema.of_role(Role::Protocol));
        let places = Places {
            time: schema.of_role(Role::Time),
            addresses: all([Role::Source, Role::Target]),
            protocol: proto,
            countries: all([Role::SourceCountry, Role::TargetCountry]),
            asns: all([Role::SourceAsn, Role::TargetAsn]),
            features: schema.features(),
        };
        Self {
            goals,
            places,
            rows: 0,
            countries: Distinct::default(),
            asns: Distinct::default(),
            protocols: Distinct::default(),
            hours: [0; 24],
            addresses: HashMap::new(),
            other_addresses: 0,
            tuples: HashSet::new(),
            tuples_seen: 0,
            stretches: BTreeSet::new(),
            span: None,
            packets: None,
            runs: Vec::new(),
        }
    }

    /// Tells how many packets were seen and how many lost, altogether.
    pub fn set_packets(&mut self, seen: u64, lost: u64) {
        self.packets = Some((seen, lost));
    }

    /// Tells when the capture ran, ns since 1970: time between runs is no gap.
    pub fn set_runs(&mut self, runs: Vec<(u64, u64)>) {
        self.runs = runs;
    }

    /// Adds a row.
    pub fn add(&mut self, row: &[Option<Cell>]) {
        self.rows += 1;
        let cell = |place: usize| row.get(place).and_then(Option::as_ref);
        if let Some(at) = self.places.time.and_then(cell).and_then(Cell::as_time) {
            self.time(at);
        }
        for place in &self.places.addresses {
            let Some(text) = cell(*place).and_then(Cell::as_text) else { continue };
            if let Some(n) = self.addresses.get_mut(text) {
                *n += 1;
            } else if self.addresses.len() < MAX_ADDRESSES {
                self.addresses.insert(text.to_owned(), 1);
            } else {
                self.other_addresses += 1;
            }
        }
        let word = |set: &mut Distinct, cell: Option<&Cell>| match cell {
            Some(Cell::Integer(n)) => set.add_hash(n.unsigned_abs()),
            Some(other) => set.add(other.as_text().unwrap_or_default().as_bytes()),
            None => {}
        };
        self.places.countries.iter().for_each(|p| word(&mut self.countries, cell(*p)));
        self.places.asns.iter().for_each(|p| word(&mut self.asns, cell(*p)));
        word(&mut self.protocols, self.places.protocol.and_then(cell));
        if !self.places.features.is_empty() && self.tuples.len() < MAX_TUPLES {
            self.tuples_seen += 1;
            let digest = tuple_digest(row, &self.places.features);
            if let Some(first) = digest.first_chunk() {
                self.tuples.insert(u64::from_le_bytes(*first));
            }
        }
    }

    fn time(&mut self, at_ns: u64) {
        let hour = (at_ns / 3_600_000_000_000 % 24) as usize;
        if let Some(n) = self.hours.get_mut(hour) {
            *n += 1;
        }
        let (first, last) = self.span.get_or_insert((at_ns, at_ns));
        *first = (*first).min(at_ns);
        *last = (*last).max(at_ns);
        if self.stretches.len() < MAX_STRETCHES {
            self.stretches.insert(at_ns / GAP_NS);
        }
    }

    /// Rows added.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Flows by the hour of the day in which they began, UTC.
    #[must_use]
    pub const fn hours(&self) -> &[u64; 24] {
        &self.hours
    }

    /// First and last beginning of a flow, ns since 1970.
    #[must_use]
    pub const fn span(&self) -> Option<(u64, u64)> {
        self.span
    }

    /// Share of stretches of time without a beginning of a flow.
    fn gaps(&self) -> Option<f64> {
        let (first, last) = self.span?;
        let mut expected = BTreeSet::new();
        let whole = [(first, last)];
        let runs = if self.runs.is_empty() { &whole[..] } else { &self.runs };
        for (from, to) in runs {
            let stretches = from / GAP_NS..=to / GAP_NS;
            expected.extend(stretches.take(MAX_STRETCHES.saturating_sub(expected.len())));
        }
        let missing = expected.difference(&self.stretches).count();
        (!expected.is_empty()).then(|| missing as f64 / expected.len() as f64)
    }

    fn balance(&self) -> f64 {
        evenness(self.addresses.values().copied().chain([self.other_addresses]))
    }

    /// The score so far.
    #[must_use]
    pub fn score(&self) -> Score {
        let g = &self.goals;
        let has_addresses = !self.places.addresses.is_empty();
        let count = |told: bool, d: &Distinct| (told.then(|| d.count() as f64), d.is_lower_bound());
        let hours = self.hours.iter().filter(|n| **n > 0).count();
        let at_least =
            |name, (value, lower_bound), goal| Item { name, value, goal, at_most: false, lower_bound };
        let at_most = |name, value, goal| Item { name, value, goal, at_most: true, lower_bound: false };
        let duplicates = (self.tuples_seen > 0)
            .then(|| (self.tuples_seen - self.tuples.len() as u64) as f64 / self.tuples_seen as f64);
        let losses = self
            .packets
            .map(|(seen, lost)| if lost == 0 { 0.0 } else { lost as f64 / seen.saturating_add(lost) as f64 });
        let items = vec![
            at_least("flows", (Some(self.rows as f64), false), g.flows as f64),
            at_least(
                "countries",
                count(!self.places.countries.is_empty(), &self.countries),
                g.countries as f64,
            ),
            at_least("ASNs", count(!self.places.asns.is_empty(), &self.asns), g.asns as f64),
            at_least("hours", (self.places.time.map(|_| hours as f64), false), g.hours as f64),
            at_least(
                "addresses",
                (has_addresses.then_some(self.addresses.len() as f64), self.other_addresses > 0),
                g.addresses as f64,
            ),
            at_least("protocols", count(self.places.protocol.is_some(), &self.protocols), g.protocols as f64),
            at_least("entity balance", (has_addresses.then(|| self.balance()), false), g.balance),
            at_most("duplicates", duplicates, g.most_duplicates),
            at_most("gaps", self.gaps(), g.most_gaps),
            at_most("losses", losses, g.most_losses),
        ];
        let shares: Vec<f64> = items.iter().filter_map(Item::share).collect();
        let percent =
            if shares.is_empty() { 0.0 } else { 100.0 * shares.iter().sum::<f64>() / shares.len() as f64 };
        let complete = items.iter().all(Item::is_met);
        Score { items, percent, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Kind;
    use crate::schema::Column;

    fn scorer() -> Scorer {
        let columns = ["ts", "src_ip", "dst_ip", "proto", "src_country", "dst_asn", "dur"];
        let columns = columns.map(|name| Column { name: name.into(), kind: Kind::Text }).to_vec();
        Scorer::new(&Schema::new(columns).expect("columns"), Goals::default())
    }

    fn add(s: &mut Scorer, cells: [&str; 7]) {
        let row: Vec<Option<Cell>> =
            cells.iter().map(|t| (!t.is_empty()).then(|| Cell::Text((*t).to_owned()))).collect();
        s.add(&row);
    }

    fn item(score: &Score, name: &str) -> String {
        score.items.iter().find(|i| i.name == name).map_or_else(String::new, Item::text)
    }

    #[test]
    fn figures_stand_against_goals() {
        let mut s = scorer();
        add(&mut s, ["2026-01-01T00:10:00Z", "10.0.0.1", "10.0.0.2", "tcp", "ES", "15169", "1"]);
        add(&mut s, ["2026-01-01T01:10:00Z", "10.0.0.1", "10.0.0.3", "udp", "FR", "", "2"]);
        add(&mut s, ["2026-01-01T01:20:00Z", "10.0.0.1", "10.0.0.3", "udp", "FR", "", "2"]);
        let score = s.score();
        for (name, text) in [
            ("flows", "flows 3/10000"),
            ("countries", "countries 2/50"),
            ("ASNs", "ASNs 1/25"),
            ("hours", "hours 2/12"),
            ("addresses", "addresses 3/1000"),
            ("protocols", "protocols 2/3"),
            ("duplicates", "duplicates 33.3 % (at most 20 %)"),
            // Of the eight stretches from 0:10 to 1:20 three have a beginning.
            ("gaps", "gaps 62.5 % (at most 10 %)"),
            ("losses", "losses not told by the table"),
        ] {
            assert_eq!(item(&score, name), text);
        }
        assert!(!score.complete && score.missing().len() == 9, "{:?}", score.missing());
        let minute = 60_000_000_000;
        let zero = crate::parse_time("2026-01-01T00:00:00Z").expect("a time");
        s.set_runs(vec![(zero + 10 * minute, zero + 11 * minute), (zero + 70 * minute, zero + 80 * minute)]);
        s.set_packets(999, 1);
        let score = s.score();
        assert_eq!(item(&score, "gaps"), "gaps 0.0 % (at most 10 %)");
        assert_eq!(item(&score, "losses"), "losses 0.1 % (at most 1 %)");
    }

    #[test]
    fn what_a_table_does_not_tell_does_not_count_and_is_never_complete() {
        let schema = Schema::new(vec![Column { name: "dur".into(), kind: Kind::Real }]).expect("a column");
        let mut s = Scorer::new(&schema, Goals { flows: 1, most_duplicates: 1.0, ..Goals::default() });
        s.add(&[Some(Cell::Real(1.0))]);
        let score = s.score();
        assert_eq!(score.percent, 100.0);
        assert!(!score.complete);
    }

    #[test]
    fn balance_falls_where_one_address_has_it_all() {
        let balance = |flows: &[(u8, u32)]| {
            let mut s = scorer();
            for (host, n) in flows {
                (0..*n).for_each(|_| add(&mut s, ["", &format!("10.0.0.{host}"), "", "", "", "", ""]));
            }
            s.balance()
        };
        assert!((balance(&[(1, 5), (2, 5)]) - 1.0).abs() < 1e-12);
        assert!(balance(&[(1, 99), (2, 1)]) < 0.1);
        assert_eq!(balance(&[(1, 5)]), 0.0);
    }
}
