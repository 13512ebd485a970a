//! What has been going on lately: the adaptive side of judging snapshots.

use super::baseline::SEQUENCE;
use super::{QUANTITIES, Sample, Vector};
use learn::codec::{CodecError, Pack, ensure};
use learn::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Snapshots of the latest past that are kept one by one.
const LATEST: usize = 1024;
/// Snapshots drawn from all before, each as likely to be kept as any other (Vitter, "Random Sampling with a Reservoir", 1985).
const DRAWN: usize = 1024;
/// So many alike make a habit.
const HABIT: usize = 5;

/// A bounded memory of snapshots against which no rule spoke. What merely looked busy is in it: that is what it is for. So an
/// attacker who starts gently can make his traffic a habit; then the reading becomes "edge case" and stays visible, and rules
/// and the model of what is surely normal are not moved by it.
#[derive(Clone, Debug)]
pub struct History {
    latest: VecDeque<Vector>,
    drawn: Vec<Vector>,
    /// How many left `latest`.
    passed: u64,
    random: Random,
}

/// What a memory holds, to outlive the program. About 64 KiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    latest: Vec<Vector>,
    drawn: Vec<Vector>,
    passed: u64,
}

impl Pack for Held {
    const KIND: [u8; 4] = *b"hist";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(self.latest.len() <= LATEST && self.drawn.len() <= DRAWN, "the number of snapshots")?;
        ensure(self.passed >= self.drawn.len() as u64, "how many went by")?;
        let mut all = self.latest.iter().chain(&self.drawn).flatten();
        ensure(all.all(|v| v.is_finite()), "a snapshot that is no number")
    }
}

impl History {
    /// An empty memory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { latest: VecDeque::new(), drawn: Vec::new(), passed: 0, random: Random::new(seed, 7) }
    }

    /// What it holds, to be kept.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { latest: self.latest.iter().copied().collect(), drawn: self.drawn.clone(), passed: self.passed }
    }

    /// A memory that goes on from what was kept.
    #[must_use]
    pub fn resume(held: Held, seed: u64) -> Self {
        let Held { latest, drawn, passed } = held;
        Self { latest: latest.into(), drawn, passed, random: Random::new(seed ^ passed, 7) }
    }

    /// Snapshots remembered so far, those forgotten again among them.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.passed + self.latest.len() as u64
    }

    /// Remembers a snapshot. Those that are no numbers are ignored.
    pub fn add(&mut self, vector: Vector) {
        if !vector.iter().all(|v| v.is_finite()) {
            return;
        }
        if self.latest.len() == LATEST
            && let Some(old) = self.latest.pop_front()
        {
            self.passed += 1;
            if self.drawn.len() < DRAWN {
                self.drawn.push(old);
            } else {
                let at = self.random.below(usize::try_from(self.passed).unwrap_or(usize::MAX));
                if let Some(place) = self.drawn.get_mut(at) {
                    *place = old;
                }
            }
        }
        self.latest.push_back(vector);
    }

    /// Snapshots held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.latest.len() + self.drawn.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is held, in an order close to that of time, as samples to learn from: each with those before it, in groups of a
    /// minute.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let all: Vec<Vector> = self.drawn.iter().chain(&self.latest).copied().collect();
        (0..all.len())
            .map(|i| {
                let sequence = std::array::from_fn(|back| all[i.saturating_sub(SEQUENCE - 1 - back)]);
                Sample { group: (i / 60) as u64, sequence }
            })
            .collect()
    }

    /// How far a snapshot is from being a habit: the distance to the [`HABIT`]th nearest, in the quantity that differs most,
    /// over what may differ between snapshots that are alike. Up to 1 it is one; infinite while too little is held.
    #[must_use]
    pub fn distance(&self, vector: &Vector) -> f32 {
        let mut nearest = [f32::INFINITY; HABIT];
        for held in self.latest.iter().chain(&self.drawn) {
            let mut far = 0.0_f32;
            for ((a, b), q) in held.iter().zip(vector).zip(&QUANTITIES) {
                far = far.max((a - b).abs() / q.tolerance);
            }
            if far < nearest[HABIT - 1] {
                nearest[HABIT - 1] = far;
                nearest.sort_unstable_by(f32::total_cmp);
            }
        }
        nearest[HABIT - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_often_is_a_habit_and_memory_is_bounded() {
        let mut history = History::new(1);
        let busy = [6.0, 12.0, 3.0, 1.4, 0.1, 0.05, 6.0, 3.0];
        (0..4).for_each(|_| history.add(busy));
        assert!(history.distance(&busy).is_infinite());
        history.add(busy);
        assert!(history.distance(&busy) <= 0.0);
        let mut other = busy;
        other[0] += 0.25;
        assert!(history.distance(&other) < 1.0);
        other[3] += 1.0;
        assert!(history.distance(&other) > 3.0);
        history.add([f32::NAN; 8]);
        (0..100_000).for_each(|i| history.add([i as f32; 8]));
        assert_eq!(history.len(), LATEST + DRAWN);
        let bytes = learn::codec::to_bytes(&history.held());
        let held: Held = learn::codec::from_bytes(&bytes).expect("as it was written");
        let again = History::resume(held, 1);
        assert_eq!((again.held(), again.seen()), (history.held(), 100_005));
        let beyond = Held { drawn: vec![busy; DRAWN + 1], passed: 9999, ..Held::default() };
        let strange = Held { latest: vec![[f32::NAN; 8]], ..Held::default() };
        for bad in [beyond, strange] {
            let bytes = learn::codec::to_bytes(&bad);
            assert!(learn::codec::from_bytes::<Held>(&bytes).is_err());
        }
        let spread = history.drawn.iter().filter(|v| v[0] < 50_000.0).count();
        assert!((400..624).contains(&spread), "{spread} of the first half");
    }
}
