//! A bounded memory of samples in which no entity and no hour has more than its share.

use super::Sample;
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much is kept of whom and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most samples, at least 1.
    pub capacity: usize,
    /// Most samples of one entity, at least 1: its influence is bounded by this over the number kept.
    pub per_entity: usize,
    /// A span of time, ns, at least 1.
    pub span_ns: u64,
    /// Most samples that one entity adds in one span, at least 1: to have its share, it must be around for long.
    pub per_span: usize,
    /// How old a sample may be, ns.
    pub keep_ns: u64,
    /// What an entity at its bound keeps.
    pub memory: Memory,
}

/// What an entity at its bound keeps of what it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Each sample of the time that is kept with the same chance: who was around for a week changes in days.
    Long,
    /// Always the new one, in the place of an old one drawn at random: the past fades.
    Fading,
}

/// A sample and how surely it is normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The sample.
    pub sample: Sample,
    /// Its confidence, 0..=1, which is its weight in training.
    pub confidence: f32,
}

/// What an entity has here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    kept: usize,
    /// The latest span in which it added something, and how many it offered and added there.
    span: u64,
    offered: usize,
    added: usize,
    /// How many it added in all spans.
    total: u64,
}

/// Entities that were not there before add at most one part in this many of the memory in one span: addresses are easily
/// made up.
const STRANGERS: usize = 8;

/// The memory. An entity at its bound displaces its own samples; in a full memory the entity with most gives one up, unless
/// the newcomer would then have as many. What is displaced is drawn at random.
#[derive(Clone, Debug)]
pub struct Reservoir {
    limits: Limits,
    kept: Vec<Kept>,
    shares: BTreeMap<u64, Share>,
    /// The latest span in which strangers came, and how many of their samples were taken in.
    strangers: (u64, usize),
    random: Random,
}

impl Reservoir {
    /// An empty memory.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        let limits = Limits {
            capacity: limits.capacity.max(1),
            per_entity: limits.per_entity.clamp(1, limits.capacity.max(1)),
            span_ns: limits.span_ns.max(1),
            per_span: limits.per_span.max(1),
            ..limits
        };
        Self {
            limits,
            kept: Vec::new(),
            shares: BTreeMap::new(),
            strangers: (0, 0),
            random: Random::new(seed, 0x4e),
        }
    }

    /// Offers a sample.
    pub fn offer(&mut self, sample: &Sample, confidence: f32) {
        let Limits { capacity, per_entity, span_ns, per_span, .. } = self.limits;
        let entity = sample.entity;
        let span = sample.at_ns / span_ns;
        let known = self.shares.get(&entity).copied();
        if known.is_none() && !self.admits_stranger(span) {
            return;
        }
        let mut share = known.unwrap_or_default();
        if share.span != span {
            share = Share { span, offered: 0, added: 0, ..share };
        }
        share.offered += 1;
        let kept = Kept { sample: sample.clone(), confidence };
        if share.added >= per_span {
            // Each sample of the span is kept with the same chance (Vitter, "Random Sampling with a Reservoir", 1985).
            let own = |k: &Kept| k.sample.entity == entity && k.sample.at_ns / span_ns == span;
            let place = self.random.below(share.offered);
            if place < per_span
                && let Some(at) = self.kept.iter().enumerate().filter(|(_, k)| own(k)).nth(place).map(|p| p.0)
            {
                self.kept[at] = kept;
            }
        } else if share.kept >= per_entity {
            share.added += 1;
            share.total += 1;
            // What was added so long ago that it is gone does not count.
            let spans = (self.limits.keep_ns / span_ns).max(1);
            let total = share.total.min(spans.saturating_mul(per_span as u64));
            let among = match self.limits.memory {
                Memory::Long => usize::try_from(total).unwrap_or(usize::MAX),
                Memory::Fading => share.kept,
            };
            let place = self.random.below(among.max(share.kept));
            self.replace(entity, place, kept);
        } else {
            if self.kept.len() < capacity {
                self.kept.push(kept);
            } else {
                let most = self.shares.iter().map(|(e, s)| (s.kept, *e)).max();
                let Some((n, whose)) = most.filter(|(n, _)| *n > share.kept + 1) else { return };
                let place = self.random.below(n);
                self.replace(whose, place, kept);
                self.lose(whose);
            }
            share.added += 1;
            share.total += 1;
            share.kept += 1;
        }
        self.shares.insert(entity, share);
    }

    /// Whether there is room for one more entity in this span, which then is taken.
    fn admits_stranger(&mut self, span: u64) -> bool {
        // An empty memory knows only strangers.
        if self.kept.len() < self.limits.capacity / 2 {
            return true;
        }
        if self.strangers.0 != span {
            self.strangers = (span, 0);
        }
        self.strangers.1 += 1;
        self.strangers.1 <= (self.limits.capacity / STRANGERS).max(1)
    }

    /// Puts a sample in the place of the `nth` one of an entity.
    fn replace(&mut self, whose: u64, nth: usize, new: Kept) {
        if let Some(old) = self.kept.iter_mut().filter(|k| k.sample.entity == whose).nth(nth) {
            *old = new;
        }
    }

    fn lose(&mut self, entity: u64) {
        if let Some(share) = self.shares.get_mut(&entity) {
            share.kept -= 1;
            if share.kept == 0 {
                self.shares.remove(&entity);
            }
        }
    }

    /// A memory that goes on with what one of the same limits kept. More than it holds is left out.
    #[must_use]
    pub fn resume(limits: Limits, seed: u64, kept: impl IntoIterator<Item = Kept>) -> Self {
        let mut memory = Self::new(limits, seed);
        for kept in kept {
            let share = memory.shares.entry(kept.sample.entity).or_default();
            if memory.kept.len() < memory.limits.capacity && share.kept < memory.limits.per_entity {
                share.kept += 1;
                share.total += 1;
                memory.kept.push(kept);
            }
        }
        memory.shares.retain(|_, share| share.kept > 0);
        memory
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now_ns: u64) {
        let oldest = now_ns.saturating_sub(self.limits.keep_ns);
        self.forget(|s| s.at_ns < oldest);
    }

    /// Forgets samples of an entity from some time on; how many there were.
    pub fn forget_entity(&mut self, entity: u64, from_ns: u64) -> usize {
        self.forget(|s| s.entity == entity && s.at_ns >= from_ns)
    }

    fn forget(&mut self, which: impl Fn(&Sample) -> bool) -> usize {
        let gone: Vec<u64> =
            self.kept.extract_if(.., |k| which(&k.sample)).map(|k| k.sample.entity).collect();
        gone.iter().for_each(|entity| self.lose(*entity));
        gone.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.shares.clear();
    }

    /// The samples, in no particular order but always the same.
    #[must_use]
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Number of samples.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Number of entities that samples are of.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.shares.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::{DAY_NS, HOUR_NS, SECOND_NS};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        capacity: 1000,
        per_entity: 40,
        span_ns: HOUR_NS,
        per_span: 5,
        keep_ns: DAY_NS,
        memory: Memory::Fading,
    };

    fn sample(entity: u64, at_ns: u64) -> Sample {
        Sample { entity, at_ns, hour: 0, rate: 1.0, row: Box::new([]), sequence: Box::new([]) }
    }

    fn count(r: &Reservoir, which: impl Fn(&Sample) -> bool) -> usize {
        r.kept().iter().filter(|k| which(&k.sample)).count()
    }

    #[test]
    fn nobody_has_more_than_their_share_however_much_they_offer() {
        let mut r = Reservoir::new(LIMITS, 1);
        for second in 0..20 * 3600 {
            r.offer(&sample(666, second * SECOND_NS), 1.0);
            if second % 600 == 0 {
                (0..10).for_each(|e| r.offer(&sample(e, second * SECOND_NS), 1.0));
            }
        }
        assert_eq!(count(&r, |s| s.entity == 666), 40);
        assert_eq!(count(&r, |s| s.entity == 3), 40);
        let hours: std::collections::BTreeSet<u64> =
            r.kept().iter().filter(|k| k.sample.entity == 666).map(|k| k.sample.at_ns / HOUR_NS).collect();
        assert!(hours.len() >= 10, "its samples are of many hours: {hours:?}");
    }

    #[test]
    fn a_burst_fills_one_hours_share_only() {
        let mut r = Reservoir::new(LIMITS, 1);
        (0..3600).for_each(|second| r.offer(&sample(1, second * SECOND_NS), 1.0));
        assert_eq!(r.len(), 5);
        let late = count(&r, |s| s.at_ns > 600 * SECOND_NS);
        assert!(late >= 3, "not only of its beginning: {late}");
    }

    #[test]
    fn many_strangers_leave_room_for_who_is_there() {
        let mut r = Reservoir::new(LIMITS, 1);
        for hour in 0..8 {
            for i in 0..5 {
                (0..20).for_each(|e| r.offer(&sample(e, (hour * 3600 + i) * SECOND_NS), 1.0));
            }
        }
        assert_eq!(r.len(), 800);
        for hour in 9..12 {
            let strangers = hour * 10_000..(hour + 1) * 10_000;
            strangers.for_each(|e| r.offer(&sample(e, hour * HOUR_NS), 1.0));
        }
        assert_eq!(r.len(), 1000);
        for e in 0..20 {
            assert!(count(&r, |s| s.entity == e) >= 25, "{e}");
        }
    }

    #[test]
    fn a_long_memory_is_of_all_times_and_a_fading_one_of_late() {
        let late = |memory| {
            let mut r = Reservoir::new(Limits { keep_ns: 14 * DAY_NS, memory, ..LIMITS }, 1);
            for minute in 0..10 * 24 * 60 {
                r.offer(&sample(1, minute * 60 * SECOND_NS), 1.0);
            }
            count(&r, |s| s.at_ns >= 9 * DAY_NS)
        };
        // A tenth of ten days is 4 of 40.
        assert!((1..=9).contains(&late(Memory::Long)), "{}", late(Memory::Long));
        assert!(late(Memory::Fading) > 30, "{}", late(Memory::Fading));
    }

    #[test]
    fn what_is_old_or_unwanted_goes() {
        let mut r = Reservoir::new(LIMITS, 1);
        (0..30).for_each(|h| r.offer(&sample(h % 3, h * HOUR_NS), 1.0));
        r.expire(30 * HOUR_NS);
        assert_eq!(r.len(), 24);
        assert_eq!(r.forget_entity(1, 0), 8);
        assert_eq!((r.len(), r.entities()), (16, 2));
    }

    proptest! {
        #[test]
        fn bounds_hold_and_shares_add_up(
            offers in prop::collection::vec((0_u64..12, 0_u64..20), 1..400),
            expire in 0_u64..20,
        ) {
            let memory = if expire % 2 == 0 { Memory::Long } else { Memory::Fading };
            let limits = Limits { capacity: 30, per_entity: 6, span_ns: 2, per_span: 2, keep_ns: 5, memory };
            let mut r = Reservoir::new(limits, 3);
            for (i, (entity, at_ns)) in offers.into_iter().enumerate() {
                r.offer(&sample(entity, at_ns), 0.5);
                if i % 50 == 49 {
                    r.expire(expire);
                }
                prop_assert!(r.len() <= 30);
                for (entity, share) in &r.shares {
                    prop_assert_eq!(count(&r, |s| s.entity == *entity), share.kept);
                    prop_assert!((1..=6).contains(&share.kept));
                }
            }
        }
    }
}
