//! What is visited and in which order: a pure function of the lists, the mode and a seed, so that a run can be repeated.

use super::names::RecordType;
use super::sites::{Service, ServiceKind};
use crate::chance::Chance;
use serde::Serialize;

/// How visits follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Without end, each thread pausing between visits as a reader does.
    #[default]
    Continuous,
    /// Without end and without pauses.
    Turbo,
    /// Each site and each service once.
    SingleBatch,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load a page and up to so many of its parts; then perhaps one page it links to, with up to as many.
    Page {
        /// Index of the site.
        site: usize,
        /// Parts to load.
        parts: usize,
        /// Whether to go on to a linked page.
        onward: bool,
    },
    /// Ask the name server about a site's name.
    Lookup {
        /// Index of the site.
        site: usize,
        /// What to ask for.
        records: [RecordType; 2],
    },
    /// Use a service.
    Service {
        /// Index of the service.
        service: usize,
        /// Of a download: bytes wanted. Of a stream: bytes of a piece.
        bytes: u64,
        /// Of a stream: pieces.
        pieces: u32,
    },
}

/// One visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Pause before it, ms.
    pub pause: u64,
    /// Drawn for choices that depend on what is found, such as which parts of a page.
    pub draw: u64,
    /// What to do.
    pub action: Action,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    mode: Mode,
    seed: u64,
    sites: usize,
    /// Indices of services by kind, in [`ServiceKind::ALL`]'s order.
    services: [Vec<usize>; 5],
    /// Their number.
    listed: usize,
}

/// Parts of a page loaded at most.
pub const MAX_PARTS: usize = 6;
/// Longest pause between visits of one thread in [`Mode::Continuous`], ms; the mean is about a third of it.
pub const MAX_PAUSE: u64 = 20_000;
/// Smallest and largest size of a download, bytes: sizes between are equally likely on a logarithmic scale.
pub const DOWNLOAD: [u64; 2] = [64 << 10, 8 << 20];
/// Bytes of a piece of a stream: some seconds of video.
pub const PIECE: u64 = 256 << 10;
/// Smallest and largest number of pieces.
pub const PIECES: [u64; 2] = [4, 12];
/// Of a thousand visits: lookups, and uses of the kinds of service in [`ServiceKind::ALL`]'s order; the rest are pages.
const LOOKUPS: u64 = 150;
const SERVICES: [u64; 5] = [100, 40, 30, 30, 30];

/// What is asked of a name besides addresses, in pairs.
const RECORDS: [[RecordType; 2]; 6] = [
    [RecordType::A, RecordType::AAAA],
    [RecordType::MX, RecordType::TXT],
    [RecordType::NS, RecordType::SOA],
    [RecordType::HTTPS, RecordType::A],
    [RecordType::CAA, RecordType::TXT],
    [RecordType::AAAA, RecordType::MX],
];

impl Plan {
    /// A plan over so many sites (at least one) and these services.
    #[must_use]
    pub fn new(mode: Mode, seed: u64, sites: usize, services: &[Service]) -> Self {
        let of = |kind: ServiceKind| {
            services.iter().enumerate().filter(|(_, s)| s.kind == kind).map(|(i, _)| i).collect()
        };
        Self { mode, seed, sites: sites.max(1), services: ServiceKind::ALL.map(of), listed: services.len() }
    }

    /// Visits in all; `None` without end.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        match self.mode {
            Mode::SingleBatch => Some((self.sites + self.listed) as u64),
            Mode::Continuous | Mode::Turbo => None,
        }
    }

    /// The `number`-th visit, counted from 0; `None` behind the end.
    #[must_use]
    pub fn visit(&self, number: u64) -> Option<Visit> {
        if self.length().is_some_and(|length| number >= length) {
            return None;
        }
        let mut draws = chance(self.seed, number);
        let pause = match self.mode {
            // The square of a uniform variate: mostly short, now and then long.
            Mode::Continuous => {
                let u = draws.pick(0..1_000_001);
                MAX_PAUSE * u / 1_000_000 * u / 1_000_000
            }
            Mode::Turbo | Mode::SingleBatch => 0,
        };
        let action = match self.mode {
            Mode::SingleBatch => {
                let at = self.shuffled(0, number, self.sites + self.listed);
                match at.checked_sub(self.sites) {
                    None => page(at, &mut draws),
                    Some(service) => use_of(service, &mut draws),
                }
            }
            Mode::Continuous | Mode::Turbo => {
                let site = self.shuffled(number / self.sites as u64, number % self.sites as u64, self.sites);
                self.choose(site, &mut draws)
            }
        };
        Some(Visit { pause, draw: draws.bits(), action })
    }

    fn choose(&self, site: usize, draws: &mut Chance) -> Action {
        let mut drawn = draws.pick(0..1000);
        if drawn < LOOKUPS {
            let records = RECORDS[draws.pick(0..RECORDS.len() as u64) as usize];
            return Action::Lookup { site, records };
        }
        drawn -= LOOKUPS;
        for (share, services) in SERVICES.into_iter().zip(&self.services) {
            if drawn < share {
                return match services.len() {
                    0 => page(site, draws),
                    n => use_of(services[draws.pick(0..n as u64) as usize], draws),
                };
            }
            drawn -= share;
        }
        page(site, draws)
    }

    /// The `at`-th of 0..`length` in an order drawn for the round: each comes once.
    fn shuffled(&self, round: u64, at: u64, length: usize) -> usize {
        let length = length as u64;
        let mut draws = chance(self.seed ^ 0x5eed, round);
        let (offset, mut step) = (draws.pick(0..length), 1 + draws.pick(0..length));
        // Steps without a common divisor reach every place.
        while gcd(step, length) != 1 {
            step += 1;
        }
        let place = (u128::from(at) * u128::from(step) + u128::from(offset)) % u128::from(length);
        place as usize
    }
}

fn page(site: usize, draws: &mut Chance) -> Action {
    Action::Page { site, parts: draws.pick(0..MAX_PARTS as u64 + 1) as usize, onward: draws.pick(0..4) == 0 }
}

fn use_of(service: usize, draws: &mut Chance) -> Action {
    let [least, most] = DOWNLOAD;
    let doublings = u64::from((most / least).ilog2());
    let floor = least << draws.pick(0..doublings);
    let [fewest, lots] = PIECES;
    Action::Service {
        service,
        bytes: floor + draws.pick(0..floor + 1),
        pieces: (fewest + draws.pick(0..lots - fewest + 1)) as u32,
    }
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Chance for one number under a seed, so that any visit is planned without those before it.
fn chance(seed: u64, number: u64) -> Chance {
    Chance::new(Chance::new(seed).bits().rotate_left(17) ^ Chance::new(number).bits())
}

/// `count` different ones of 0..`length`, or all if there are fewer, in an order that `draw` decides.
pub(super) fn pick(draw: u64, count: usize, length: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    let mut draws = Chance::new(draw);
    let count = count.min(length);
    for i in 0..count {
        let j = i + draws.pick(0..(length - i) as u64) as usize;
        places.swap(i, j);
    }
    places.truncate(count);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visit::sites::shipped_services;
    use std::collections::{BTreeMap, BTreeSet};

    fn plan(mode: Mode, seed: u64) -> Plan {
        Plan::new(mode, seed, 450, &shipped_services().expect("services"))
    }

    #[test]
    fn the_same_seed_plans_the_same_and_another_does_not() {
        let visits = |seed| {
            let plan = plan(Mode::Turbo, seed);
            (0..2000).map_while(|n| plan.visit(n)).collect::<Vec<_>>()
        };
        assert_eq!(visits(1), visits(1));
        assert_ne!(visits(1), visits(2));
    }

    #[test]
    fn a_batch_holds_each_site_and_service_once() {
        let plan = plan(Mode::SingleBatch, 7);
        let length = plan.length().expect("bounded");
        let places: BTreeSet<(bool, usize)> = (0..length)
            .filter_map(|n| plan.visit(n))
            .map(|v| match v.action {
                Action::Page { site, .. } | Action::Lookup { site, .. } => (true, site),
                Action::Service { service, .. } => (false, service),
            })
            .collect();
        assert_eq!(places.len() as u64, length);
        assert_eq!(plan.visit(length), None);
    }

    #[test]
    fn a_round_comes_to_no_site_twice_and_the_mixture_is_as_stated() {
        let plan = plan(Mode::Continuous, 3);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut in_round = BTreeSet::new();
        let rounds = 40;
        let mut pauses = 0;
        for n in 0..450 * rounds {
            if n % 450 == 0 {
                in_round.clear();
            }
            let visit = plan.visit(n).expect("without end");
            assert!(visit.pause <= MAX_PAUSE);
            pauses += visit.pause;
            let kind = match visit.action {
                Action::Page { site, parts, .. } => {
                    assert!(in_round.insert(site) && parts <= MAX_PARTS);
                    "page"
                }
                Action::Lookup { site, .. } => {
                    assert!(in_round.insert(site));
                    "lookup"
                }
                Action::Service { bytes, pieces, .. } => {
                    assert!((DOWNLOAD[0]..=DOWNLOAD[1]).contains(&bytes));
                    assert!((PIECES[0]..=PIECES[1]).contains(&u64::from(pieces)));
                    "service"
                }
            };
            *counts.entry(kind).or_default() += 1;
        }
        let share = |kind: &str| counts[kind] * 1000 / (450 * rounds);
        assert!((600..640).contains(&share("page")), "{counts:?}");
        assert!((135..165).contains(&share("lookup")), "{counts:?}");
        assert!((215..245).contains(&share("service")), "{counts:?}");
        assert!((6000..7400).contains(&(pauses / (450 * rounds))), "a third of the longest pause");
    }

    #[test]
    fn without_services_pages_take_their_place() {
        let plan = Plan::new(Mode::Turbo, 1, 1, &[]);
        for n in 0..500 {
            let action = plan.visit(n).expect("without end").action;
            assert!(matches!(action, Action::Page { site: 0, .. } | Action::Lookup { site: 0, .. }));
        }
    }

    #[test]
    fn picks_are_different_and_in_bounds() {
        for (count, length) in [(0, 0), (3, 0), (3, 2), (3, 10), (10, 10)] {
            let picked = pick(9, count, length);
            assert_eq!(picked.len(), count.min(length));
            assert!(picked.iter().collect::<BTreeSet<_>>().len() == picked.len());
            assert!(picked.iter().all(|p| *p < length));
        }
    }
}
