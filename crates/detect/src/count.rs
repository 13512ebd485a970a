//! Flows of one source to one service that matched a rule, counted over a sliding span.

use crate::rule::{FlowFilter, MAX_MATCHING_FLOWS};
use flow::FlowRecord;
use flow::app::App;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use wire::Addr;

/// Rule index, source, target, target port.
pub(crate) type Key = (u16, Addr, Addr, u16);

/// Times of matching flows by rule, source and service. Capacity as given to `new`; each keeps at most
/// [`MAX_MATCHING_FLOWS`] times, so beyond that the count stays there. When full, the half whose latest flow is oldest goes
/// and is counted.
#[derive(Debug)]
pub(crate) struct Counts {
    capacity: usize,
    times: FxHashMap<Key, VecDeque<Match>>,
    evicted: u64,
}

/// One matching flow.
#[derive(Clone, Copy, Debug)]
struct Match {
    at_ns: u64,
    first_ns: u64,
}

impl Counts {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, times: FxHashMap::default(), evicted: 0 }
    }

    /// Counts a flow that began at `first_ns` and matched at `at_ns`: how many there are within the span, and when the
    /// first of them began.
    pub(crate) fn add(&mut self, key: Key, at_ns: u64, span_ns: u64, first_ns: u64) -> (u32, u64) {
        if self.times.len() >= self.capacity && !self.times.contains_key(&key) {
            self.evict();
        }
        let times = self.times.entry(key).or_default();
        while times.front().is_some_and(|m| at_ns.saturating_sub(m.at_ns) >= span_ns) {
            times.pop_front();
        }
        if times.len() >= MAX_MATCHING_FLOWS {
            times.pop_front();
        }
        times.push_back(Match { at_ns, first_ns });
        let since_ns = times.iter().map(|m| m.first_ns).min().unwrap_or(first_ns);
        (times.len() as u32, since_ns)
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict(&mut self) {
        let mut order: Vec<(u64, Key)> =
            self.times.iter().map(|(k, t)| (t.back().map_or(0, |m| m.at_ns), *k)).collect();
        order.sort_unstable();
        order.truncate(order.len().div_ceil(2));
        self.evicted += order.len() as u64;
        for (_, key) in order {
            self.times.remove(&key);
        }
    }
}

impl FlowFilter {
    /// Whether a finished flow of `app` counts.
    pub(crate) fn matches(&self, record: &FlowRecord, app: App) -> bool {
        let app = match app {
            App::Unknown => self.ports.contains(&record.responder().1) && !saw_content(record),
            app => app == self.app,
        };
        app && self.r#where.iter().all(|(field, bound)| bound.holds(field.of(record)))
    }
}

/// Whether any payload was captured, so that the application could have been recognised.
fn saw_content(record: &FlowRecord) -> bool {
    record.stats.dir.iter().any(|d| d.head != [0; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(n: u8) -> Key {
        (0, Addr::v4([192, 0, 2, n]), Addr::v4([198, 51, 100, 1]), 22)
    }

    #[test]
    fn the_span_slides() {
        let mut counts = Counts::new(8);
        for (at, expected) in [(0, 1), (4, 2), (9, 3), (10, 3), (13, 4), (14, 4), (40, 1)] {
            assert_eq!(counts.add(key(1), at * SECOND, 10 * SECOND, at * SECOND).0, expected, "at {at} s");
        }
    }

    #[test]
    fn times_and_keys_are_bounded() {
        let mut counts = Counts::new(4);
        for i in 0..200 {
            counts.add(key(0), i, SECOND, i);
        }
        assert_eq!(counts.add(key(0), 200, SECOND, 200).0 as usize, MAX_MATCHING_FLOWS);
        for n in 1..=4 {
            counts.add(key(n), u64::from(n) * SECOND, SECOND, 0);
        }
        assert_eq!(counts.evicted(), 2);
        assert!(counts.times.len() <= 4);
    }
}
