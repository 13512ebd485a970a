//! Where samples wait before anything is learnt from them.
//!
//! An attack often shows after it began. A sample is released when it has waited long enough and neither its entity nor
//! anybody near it in time gave an alarm meanwhile.

use super::{HOUR_NS, SECOND_NS, Sample};
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Neighbourhoods of alarms cover at most this share of an hour. Whoever gives one alarm after the other would otherwise stop
/// all learning; beyond it, alarms keep out their own entity only.
const MOST_COVERED: f64 = 0.5;

/// How long, how near, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How long a sample waits, ns.
    pub wait_ns: u64,
    /// For how long after an attack nothing is learnt from an entity, ns.
    pub shun_ns: u64,
    /// What began less than this before or after an alarm is not learnt from, whoever did it, ns.
    pub near_ns: u64,
    /// Most samples waiting, at least 1. In a full quarantine a newcomer takes the place of one drawn at random.
    pub capacity: usize,
    /// Most entities shunned at once, at least 1; the one whose time ends first makes room.
    pub shunned: usize,
}

impl Default for Options {
    /// 30 minutes, a day, 10 s, 16,384 samples, 16,384 entities.
    fn default() -> Self {
        Self {
            wait_ns: HOUR_NS / 2,
            shun_ns: 24 * HOUR_NS,
            near_ns: 10 * SECOND_NS,
            capacity: 16_384,
            shunned: 16_384,
        }
    }
}

/// What an alarm means for learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// Something unusual, of which every host has some by chance: what waits is thrown away, and nothing is learnt from the
    /// entity for as long as a sample waits.
    Doubt,
    /// An attack: nothing is learnt from the entity for [`Options::shun_ns`].
    Attack,
}

/// What became of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Samples taken in.
    pub taken: u64,
    /// Released to be learnt from.
    pub released: u64,
    /// Kept out because their entity gave an alarm.
    pub alarmed: u64,
    /// Kept out because they were near an alarm in time.
    pub near: u64,
    /// Left out because the quarantine was full.
    pub displaced: u64,
    /// Alarms whose neighbourhood was not kept out, because too much of the hour was already.
    pub neighbourhoods_refused: u64,
    /// Entities no longer shunned before their time because there were too many.
    pub shunned_displaced: u64,
}

/// Waiting samples, and who is not to be learnt from. Memory: [`Options::capacity`] samples and [`Options::shunned`] entities,
/// neighbourhoods of as long as samples wait.
#[derive(Clone, Debug)]
pub struct Quarantine {
    options: Options,
    waiting: Vec<Sample>,
    /// Entities that gave an alarm, and until when nothing is learnt from them.
    shunned: BTreeMap<u64, u64>,
    /// Spans of time near alarms, ascending, apart from each other.
    spans: VecDeque<(u64, u64)>,
    random: Random,
    counters: Counters,
}

impl Quarantine {
    /// An empty quarantine.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            options: Options {
                capacity: options.capacity.max(1),
                shunned: options.shunned.max(1),
                ..options
            },
            waiting: Vec::new(),
            shunned: BTreeMap::new(),
            spans: VecDeque::new(),
            random: Random::new(seed, 0x9a),
            counters: Counters::default(),
        }
    }

    /// Takes a sample that was judged and found not worth an alarm.
    pub fn take(&mut self, sample: Sample) {
        self.counters.taken += 1;
        if self.is_shunned(sample.entity, sample.at_ns) {
            self.counters.alarmed += 1;
            return;
        }
        if self.waiting.len() < self.options.capacity {
            self.waiting.push(sample);
            return;
        }
        self.counters.displaced += 1;
        // One of all samples so far and the new one, so that a burst of strangers does not displace everybody else at once.
        let place = self.random.below(self.waiting.len() + 1);
        if let Some(old) = self.waiting.get_mut(place) {
            *old = sample;
        }
    }

    /// For how long nothing is learnt from an entity after an alarm, ns.
    #[must_use]
    pub const fn shun_ns(&self, gravity: Gravity) -> u64 {
        match gravity {
            Gravity::Doubt => self.options.wait_ns,
            Gravity::Attack => self.options.shun_ns,
        }
    }

    /// An entity alerted or was blocked, for something that began at `since_ns` and was seen at `at_ns`.
    pub fn alarm(&mut self, entity: u64, since_ns: u64, at_ns: u64, gravity: Gravity) {
        let until = at_ns.saturating_add(self.shun_ns(gravity));
        let end = self.shunned.entry(entity).or_insert(until);
        *end = until.max(*end);
        if self.shunned.len() > self.options.shunned {
            // Rare, and the table is small: a pass over it costs less than keeping it in order.
            let first = self.shunned.iter().min_by_key(|(e, until)| (**until, **e)).map(|(e, _)| *e);
            if let Some(first) = first {
                self.shunned.remove(&first);
                self.counters.shunned_displaced += 1;
            }
        }
        let before = self.waiting.len();
        self.waiting.retain(|s| s.entity != entity);
        self.counters.alarmed += (before - self.waiting.len()) as u64;
        // Near the beginning and near the end; a long attack in between is told by its further alarms.
        self.keep_out(since_ns.max(at_ns.saturating_sub(self.options.wait_ns)));
        self.keep_out(at_ns);
    }

    /// Keeps out everybody's samples near a time.
    fn keep_out(&mut self, at_ns: u64) {
        let near = self.options.near_ns;
        let span = (at_ns.saturating_sub(near), at_ns.saturating_add(near));
        let hour = (at_ns.saturating_sub(HOUR_NS), at_ns);
        let covered: u64 =
            self.spans.iter().map(|(from, to)| (*to).min(hour.1).saturating_sub((*from).max(hour.0))).sum();
        if covered as f64 > MOST_COVERED * HOUR_NS as f64 {
            self.counters.neighbourhoods_refused += 1;
            return;
        }
        let at = self.spans.partition_point(|(_, to)| *to < span.0);
        let mut merged = span;
        while let Some((from, to)) = self.spans.get(at).copied().filter(|(from, _)| *from <= merged.1) {
            merged = (merged.0.min(from), merged.1.max(to));
            self.spans.remove(at);
        }
        self.spans.insert(at, merged);
    }

    /// Throws away what waits, as when alarms were lost; counted as alarmed.
    pub fn clear(&mut self) {
        self.counters.alarmed += self.waiting.len() as u64;
        self.waiting.clear();
    }

    /// Learns again from an entity that was shunned, as when an operator says that it did no harm. What was thrown away
    /// stays so.
    pub fn pardon(&mut self, entity: u64) {
        self.shunned.remove(&entity);
    }

    /// Releases what has waited long enough and is not to be kept out, in order of time.
    pub fn release(&mut self, now_ns: u64) -> Vec<Sample> {
        let wait = self.options.wait_ns;
        let ripe = |s: &mut Sample| s.at_ns.saturating_add(wait) <= now_ns;
        let mut out: Vec<Sample> = self.waiting.extract_if(.., ripe).collect();
        out.sort_by_key(|s| (s.at_ns, s.entity));
        let near = |s: &Sample| {
            let at = self.spans.partition_point(|(_, to)| *to < s.at_ns);
            self.spans.get(at).is_some_and(|(from, _)| *from <= s.at_ns)
        };
        let before = out.len();
        out.retain(|s| !near(s));
        self.counters.near += (before - out.len()) as u64;
        self.counters.released += out.len() as u64;
        // A sample that comes late is older than the wait; nothing older than twice that is waited for.
        let old = now_ns.saturating_sub(wait.saturating_add(wait.max(HOUR_NS)));
        while self.spans.front().is_some_and(|(_, to)| *to < old) {
            self.spans.pop_front();
        }
        self.shunned.retain(|_, until| *until > now_ns);
        out
    }

    /// Who is shunned, and until when, ns.
    pub(super) fn shunned_until(&self) -> Vec<(u64, u64)> {
        self.shunned.iter().map(|(entity, until)| (*entity, *until)).collect()
    }

    /// Goes on shunning who was.
    pub(super) fn shun(&mut self, entities: &[(u64, u64)]) {
        self.shunned.extend(entities.iter().take(self.options.shunned).copied());
    }

    /// Whether nothing is learnt from an entity at some time.
    #[must_use]
    pub fn is_shunned(&self, entity: u64, at_ns: u64) -> bool {
        self.shunned.get(&entity).is_some_and(|until| at_ns < *until)
    }

    /// Samples waiting.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Entities shunned.
    #[must_use]
    pub fn shunned(&self) -> usize {
        self.shunned.len()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * SECOND_NS;

    fn sample(entity: u64, at_ns: u64) -> Sample {
        Sample { entity, at_ns, hour: 0, rate: 1.0, row: Box::new([1.0]), sequence: Box::new([]) }
    }

    /// Entities 1 and 2 each minute of an hour.
    fn hour(q: &mut Quarantine) {
        for minute in 0..60 {
            q.take(sample(1, minute * MINUTE));
            q.take(sample(2, minute * MINUTE));
        }
    }

    fn released(q: &mut Quarantine, now_ns: u64) -> Vec<(u64, u64)> {
        q.release(now_ns).iter().map(|s| (s.entity, s.at_ns / MINUTE)).collect()
    }

    #[test]
    fn samples_wait_their_time() {
        let mut q = Quarantine::new(Options::default(), 0);
        hour(&mut q);
        assert!(released(&mut q, 29 * MINUTE).is_empty());
        assert_eq!(released(&mut q, 31 * MINUTE), [(1, 0), (2, 0), (1, 1), (2, 1)]);
        assert_eq!(released(&mut q, 90 * MINUTE).len(), 116);
        assert_eq!((q.len(), q.counters().released), (0, 120));
    }

    #[test]
    fn who_alerts_stays_out_and_so_does_what_was_near() {
        let mut q = Quarantine::new(Options { near_ns: MINUTE, ..Options::default() }, 0);
        hour(&mut q);
        q.alarm(1, 20 * MINUTE, 40 * MINUTE, Gravity::Attack);
        let out = released(&mut q, 90 * MINUTE);
        let expected: Vec<(u64, u64)> =
            (0..60).filter(|m| !(19..=21).contains(m) && !(39..=41).contains(m)).map(|m| (2, m)).collect();
        assert_eq!(out, expected);
        assert_eq!((q.counters().alarmed, q.counters().near), (60, 6));
        // Not for a day after, unless somebody says that it was nothing.
        let day = 24 * 60 * MINUTE;
        q.take(sample(1, day));
        assert_eq!(q.len(), 0);
        q.take(sample(1, day + 41 * MINUTE));
        assert_eq!(q.len(), 1);
        q.alarm(2, day, day, Gravity::Attack);
        q.pardon(2);
        q.take(sample(2, day + MINUTE));
        assert_eq!(q.len(), 2);
    }

    #[test]
    fn who_is_only_doubted_is_learnt_from_again_soon() {
        let mut q = Quarantine::new(Options::default(), 0);
        hour(&mut q);
        q.alarm(1, 40 * MINUTE, 40 * MINUTE, Gravity::Doubt);
        assert!(released(&mut q, 68 * MINUTE).iter().all(|(entity, _)| *entity == 2));
        for (at_ns, taken) in [(69 * MINUTE, 0), (71 * MINUTE, 1)] {
            let before = q.len();
            q.take(sample(1, at_ns));
            assert_eq!(q.len() - before, taken);
        }
        // A doubt does not shorten what an attack began.
        q.alarm(1, 72 * MINUTE, 72 * MINUTE, Gravity::Attack);
        q.alarm(1, 73 * MINUTE, 73 * MINUTE, Gravity::Doubt);
        assert!(q.is_shunned(1, 20 * HOUR_NS));
    }

    #[test]
    fn alarm_upon_alarm_does_not_stop_learning() {
        let mut q = Quarantine::new(Options { near_ns: MINUTE, ..Options::default() }, 0);
        hour(&mut q);
        for second in 0..3600 {
            q.alarm(666, second * SECOND_NS, second * SECOND_NS, Gravity::Attack);
        }
        let out = released(&mut q, 90 * MINUTE).len();
        assert!((20..=100).contains(&out), "{out} of 120");
        assert!(q.counters().neighbourhoods_refused > 0);
    }

    #[test]
    fn a_full_quarantine_keeps_samples_of_all_times() {
        let options = Options { capacity: 100, shunned: 10, ..Options::default() };
        let mut q = Quarantine::new(options, 0);
        for i in 0..1000 {
            q.take(sample(i, i * SECOND_NS));
        }
        assert_eq!((q.len(), q.counters().displaced), (100, 900));
        for i in 0..1000 {
            q.alarm(i, i * SECOND_NS, i * SECOND_NS, Gravity::Attack);
        }
        assert_eq!((q.shunned(), q.counters().shunned_displaced), (10, 990));
        assert!(q.is_shunned(999, 1000 * SECOND_NS) && !q.is_shunned(0, SECOND_NS));
    }

    #[test]
    fn times_at_the_edge_of_their_range_do_no_harm() {
        let mut q = Quarantine::new(Options::default(), 0);
        q.alarm(1, u64::MAX, 0, Gravity::Attack);
        q.alarm(2, 0, u64::MAX, Gravity::Attack);
        q.take(sample(3, u64::MAX));
        assert!(q.release(0).is_empty());
        assert!(q.release(u64::MAX).is_empty(), "the alarm is near");
    }
}
