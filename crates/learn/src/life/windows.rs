//! The three sets of samples that models learn from.

use super::reservoir::{Kept, Limits, Memory, Reservoir};
use super::{Confidence, DAY_NS, HOUR_NS, SECOND_NS, Sample};
use serde::{Deserialize, Serialize};

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
}

impl Default for Options {
    /// From 0.7. Two weeks of up to 16,384 samples, 512 of an entity and 32 of its hour; ten minutes of up to 4,096, 60 of an
    /// entity, as many as there are windows of 10 s.
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
        Self { high: 0.7, high_limits: long, all_limits: fading, recent_limits: recent }
    }
}

/// The sets.
#[derive(Clone, Debug)]
pub struct Windows {
    high_from: f32,
    high: Reservoir,
    all: Reservoir,
    recent: Reservoir,
}

impl Windows {
    /// Empty sets.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            high_from: options.high,
            high: Reservoir::new(options.high_limits, seed),
            all: Reservoir::new(options.all_limits, seed.wrapping_add(1)),
            recent: Reservoir::new(options.recent_limits, seed.wrapping_add(2)),
        }
    }

    /// Takes in a sample.
    pub fn add(&mut self, sample: &Sample, confidence: Confidence) {
        if confidence.value >= self.high_from {
            self.high.offer(sample, confidence.value);
        }
        self.all.offer(sample, confidence.value);
        self.recent.offer(sample, confidence.value);
    }

    /// Forgets what is too old for its set. The age of the latest is taken from the latest sample, as all come late.
    pub fn expire(&mut self, now_ns: u64) {
        self.high.expire(now_ns);
        self.all.expire(now_ns);
        let latest = self.recent.kept().iter().map(|k| k.sample.at_ns).max();
        self.recent.expire(latest.unwrap_or(now_ns));
    }

    /// Forgets what an entity did from some time on, as when it turns out to be an attacker after samples were released; how
    /// many samples those were.
    pub fn forget_entity(&mut self, entity: u64, from_ns: u64) -> usize {
        let sets = [&mut self.high, &mut self.all, &mut self.recent];
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
        let mut w = Windows::new(Options::default(), 0);
        for minute in 0..60 {
            add(&mut w, 1, minute * 60 * SECOND_NS, 0.9);
            add(&mut w, 2, minute * 60 * SECOND_NS, 0.1);
        }
        w.expire(90 * 60 * SECOND_NS);
        assert_eq!((w.high().len(), w.all().len(), w.recent().len()), (32, 64, 22));
        assert!(w.high().iter().all(|k| k.sample.entity == 1));
        assert_eq!(w.forget_entity(1, 0), 32 + 32 + 11);
    }
}
