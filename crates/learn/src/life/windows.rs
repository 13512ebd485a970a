//! The three sets of samples that models learn from, and one that they are measured with.

use super::reservoir::{Kept, Limits, Memory, Reservoir};
use super::{Confidence, DAY_NS, HOUR_NS, SECOND_NS, Sample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the sets hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Confidence from which a sample is among those of high confidence.
    pub high: f32,
    /// Bounds of the set of high confidence.
    pub high_limits: Limits,
    /// Bounds of the set of all.
    pub all_limits: Limits,
    /// Bounds of the latest.
    pub recent_limits: Limits,
    /// One sample of high confidence in so many is set aside, by entity and ten minutes; 0: none.
    pub aside: u64,
    /// Bounds of the set of those.
    pub aside_limits: Limits,
}

impl Default for Options {
    /// From 0.7. Two weeks of up to 16,384 samples, 512 of an entity and 32 of its hour; ten minutes of up to 4,096, 60 of an
    /// entity, as many as there are windows of 10 s. An eighth set aside, up to 2,048.
    fn default() -> Self {
        let long = Limits {
            capacity: 16_384,
            per_entity: 512,
            span_ns: HOUR_NS,
            per_span: 32,
            keep_ns: 14 * DAY_NS,
            memory: Memory::Long,
        };
        let ten_minutes = 600 * SECOND_NS;
        let recent = Limits {
            capacity: 4096,
            per_entity: 60,
            span_ns: ten_minutes,
            per_span: 60,
            keep_ns: ten_minutes,
            memory: Memory::Fading,
        };
        let fading = Limits { memory: Memory::Fading, ..long };
        let aside = Limits { capacity: 2048, per_entity: 128, per_span: 24, ..long };
        Self {
            high: 0.7,
            high_limits: long,
            all_limits: fading,
            recent_limits: recent,
            aside: 8,
            aside_limits: aside,
        }
    }
}

/// The sets.
#[derive(Clone, Debug)]
pub struct Windows {
    high_from: f32,
    one_aside_in: u64,
    high: Reservoir,
    all: Reservoir,
    recent: Reservoir,
    aside: Reservoir,
}

/// Which sets a sample is of, as bits.
const HIGH: u8 = 1;
const ALL: u8 = 2;
const ASIDE: u8 = 4;

/// Spans of time that are set aside as a whole, ns: neighbouring windows are alike.
const ASIDE_NS: u64 = 600 * SECOND_NS;

/// Mixes bits (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Windows {
    /// Empty sets.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            high_from: options.high,
            one_aside_in: options.aside,
            high: Reservoir::new(options.high_limits, seed),
            all: Reservoir::new(options.all_limits, seed.wrapping_add(1)),
            recent: Reservoir::new(options.recent_limits, seed.wrapping_add(2)),
            aside: Reservoir::new(options.aside_limits, seed.wrapping_add(3)),
        }
    }

    /// What the sets hold but for the latest, each sample once.
    pub(super) fn store(&self) -> Vec<(Kept, u8)> {
        let sets = [(&self.high, HIGH), (&self.all, ALL), (&self.aside, ASIDE)];
        let mut stored: BTreeMap<(u64, u64), (Kept, u8)> = BTreeMap::new();
        for (set, bit) in sets {
            for kept in set.kept() {
                let key = (kept.sample.at_ns, kept.sample.entity);
                stored.entry(key).or_insert_with(|| (kept.clone(), 0)).1 |= bit;
            }
        }
        stored.into_values().collect()
    }

    /// Sets that go on with what was stored.
    pub(super) fn resume(options: Options, seed: u64, stored: &[(Kept, u8)]) -> Self {
        let of = |bit: u8| stored.iter().filter(move |(_, bits)| bits & bit != 0).map(|(k, _)| k.clone());
        Self {
            high: Reservoir::resume(options.high_limits, seed, of(HIGH)),
            all: Reservoir::resume(options.all_limits, seed.wrapping_add(1), of(ALL)),
            aside: Reservoir::resume(options.aside_limits, seed.wrapping_add(3), of(ASIDE)),
            ..Self::new(options, seed)
        }
    }

    fn is_aside(&self, sample: &Sample) -> bool {
        let place = mix(sample.entity ^ mix(sample.at_ns / ASIDE_NS));
        self.one_aside_in > 0 && place.is_multiple_of(self.one_aside_in)
    }

    /// Takes in a sample.
    pub fn add(&mut self, sample: &Sample, confidence: Confidence) {
        let high = confidence.value >= self.high_from;
        self.recent.offer(sample, confidence.value);
        if self.is_aside(sample) {
            if high {
                self.aside.offer(sample, confidence.value);
            }
            return;
        }
        if high {
            self.high.offer(sample, confidence.value);
        }
        self.all.offer(sample, confidence.value);
    }

    /// Forgets what is too old for its set. The age of the latest is taken from the latest sample, as all come late.
    pub fn expire(&mut self, now_ns: u64) {
        self.high.expire(now_ns);
        self.all.expire(now_ns);
        self.aside.expire(now_ns);
        let latest = self.recent.kept().iter().map(|k| k.sample.at_ns).max();
        self.recent.expire(latest.unwrap_or(now_ns));
    }

    /// Forgets what an entity did from some time on, as when it turns out to be an attacker after samples were released; how
    /// many samples those were.
    pub fn forget_entity(&mut self, entity: u64, from_ns: u64) -> usize {
        let sets = [&mut self.high, &mut self.all, &mut self.recent, &mut self.aside];
        sets.map(|set| set.forget_entity(entity, from_ns)).iter().sum()
    }

    /// Those of high confidence, for a conservative model.
    #[must_use]
    pub fn high(&self) -> &[Kept] {
        self.high.kept()
    }

    /// All, weighted by confidence, for an adaptive model.
    #[must_use]
    pub fn all(&self) -> &[Kept] {
        self.all.kept()
    }

    /// Samples of high confidence from which nothing is learnt: with them a model is measured.
    #[must_use]
    pub fn aside(&self) -> &[Kept] {
        self.aside.kept()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for set in [&mut self.high, &mut self.all, &mut self.recent, &mut self.aside] {
            set.clear();
        }
    }

    /// The latest ten minutes that were released: what similarity is measured by.
    #[must_use]
    pub fn recent(&self) -> &[Kept] {
        self.recent.kept()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(w: &mut Windows, entity: u64, at_ns: u64, value: f32) {
        let sample = Sample { entity, at_ns, hour: 0, rate: 1.0, row: Box::new([]), sequence: Box::new([]) };
        w.add(&sample, Confidence { value, rate: value, similarity: value, time: value });
    }

    #[test]
    fn each_set_holds_what_it_is_for() {
        let mut w = Windows::new(Options { aside: 0, ..Options::default() }, 0);
        for minute in 0..60 {
            add(&mut w, 1, minute * 60 * SECOND_NS, 0.9);
            add(&mut w, 2, minute * 60 * SECOND_NS, 0.1);
        }
        w.expire(90 * 60 * SECOND_NS);
        assert_eq!((w.high().len(), w.all().len(), w.recent().len()), (32, 64, 22));
        assert!(w.high().iter().all(|k| k.sample.entity == 1));
        assert_eq!(w.forget_entity(1, 0), 32 + 32 + 11);
    }

    #[test]
    fn what_is_set_aside_is_not_learnt_from() {
        let mut w = Windows::new(Options::default(), 0);
        for second in (0..20 * 3600).step_by(10) {
            (0..8).for_each(|e| add(&mut w, e, second * SECOND_NS, 0.9));
        }
        let key = |k: &Kept| (k.sample.entity, k.sample.at_ns / ASIDE_NS);
        let aside: std::collections::BTreeSet<_> = w.aside().iter().map(key).collect();
        assert!((50..=250).contains(&aside.len()), "an eighth of 8 × 120 spans: {}", aside.len());
        assert!(w.high().iter().chain(w.all()).all(|k| !aside.contains(&key(k))));
        w.clear();
        assert!(w.high().is_empty() && w.all().is_empty() && w.aside().is_empty());
    }
}
