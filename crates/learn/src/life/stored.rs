//! What a life has learnt from so far, as bytes: to go on after a restart.
//!
//! At most 64 MiB, and with the default options some twenty: 32,768 samples of 144 numbers. Nothing in it says who: entities are
//! hashes.

use super::Sample;
use super::reservoir::Kept;
use crate::codec::{CodecError, Pack, ensure};
use serde::{Deserialize, Serialize};

/// Most samples: as many as the sets hold by default, and a few more.
const MAX_SAMPLES: usize = 40_000;
/// Most numbers of a sample.
const MAX_WIDTH: usize = 4096;
/// Most entities shunned.
const MAX_SHUNNED: usize = 65_536;
/// Hours of a week.
const HOURS: u16 = 168;

/// A sample and the sets that it is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    entity: u64,
    at_ns: u64,
    hour: u16,
    rate: f32,
    confidence: f32,
    sets: u8,
    /// Numbers at the end of `sequence` that are the window's own; where there are none, `row` has them.
    own: u16,
    row: Vec<f32>,
    sequence: Vec<f32>,
}

impl Entry {
    pub(super) fn new(kept: Kept, sets: u8) -> Self {
        let Kept { sample: Sample { entity, at_ns, hour, rate, row, sequence }, confidence } = kept;
        let ends = sequence.ends_with(&row);
        let own = if ends { u16::try_from(row.len()).unwrap_or(0) } else { 0 };
        let row = if own > 0 { Vec::new() } else { row.into_vec() };
        Self { entity, at_ns, hour, rate, confidence, sets, own, row, sequence: sequence.into_vec() }
    }

    pub(super) fn kept(self) -> (Kept, u8) {
        let Self { entity, at_ns, hour, rate, confidence, sets, own, row, sequence } = self;
        let own = sequence.len().checked_sub(usize::from(own)).and_then(|at| sequence.get(at..));
        let row = own.filter(|r| !r.is_empty()).map_or(row, <[f32]>::to_vec);
        let sample =
            Sample { entity, at_ns, hour, rate, row: row.into(), sequence: sequence.into_boxed_slice() };
        (Kept { sample, confidence }, sets)
    }
}

/// What is kept; made by [`super::Life::store`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub(super) samples: Vec<Entry>,
    /// Entities that nothing is learnt from, and until when, ns.
    pub(super) shunned: Vec<(u64, u64)>,
}

impl Stored {
    /// Samples in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is nothing to go on with.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.shunned.is_empty()
    }
}

impl Pack for Stored {
    const KIND: [u8; 4] = *b"life";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(self.samples.len() <= MAX_SAMPLES && self.shunned.len() <= MAX_SHUNNED, "how much there is")?;
        for s in &self.samples {
            ensure(s.row.len() <= MAX_WIDTH && s.sequence.len() <= MAX_WIDTH, "the length of a sample")?;
            ensure(usize::from(s.own) <= s.sequence.len() && s.hour < HOURS, "the parts of a sample")?;
            let numbers = s.row.iter().chain(&s.sequence).chain([&s.rate]).all(|v| v.is_finite());
            ensure(numbers && (0.0..=1.0).contains(&s.confidence), "a number of a sample")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gravity, HOUR_NS, Life, Options, SECOND_NS};
    use super::*;
    use crate::codec::{from_bytes, to_bytes};

    /// A life of three entities and three hours, one of them an attacker.
    fn life() -> Life {
        let mut life = Life::new(Options::default(), 1);
        for tick in 0..1080 {
            let now = 1_000_000 * HOUR_NS + tick * 10 * SECOND_NS;
            for entity in 0..3 {
                let value = (tick % 17) as f32 + entity as f32;
                let row: Box<[f32]> = [value, 1.0].into();
                let sequence: Box<[f32]> = [0.5, 0.25, value, 1.0].into();
                life.judged(Sample { entity, at_ns: now, hour: 3, rate: value, row, sequence }, 0.5);
            }
            life.advance(now);
        }
        life.alarm(7, 0, 1_000_000 * HOUR_NS + 10_800 * SECOND_NS, Gravity::Attack);
        life
    }

    #[test]
    fn a_life_goes_on_with_what_it_had() {
        let life = life();
        let bytes = to_bytes(&life.store());
        let stored: Stored = from_bytes(&bytes).expect("as it was written");
        assert!(stored.len() > 100, "{}", stored.len());
        let mut again = Life::new(Options::default(), 2);
        again.resume(stored.clone(), 2);
        let (a, b) = (life.counters(), again.counters());
        assert_eq!((a.high, a.all, a.aside, a.shunned), (b.high, b.all, b.aside, b.shunned));
        assert_eq!((b.waiting, b.shunned), (0, 1));
        assert_eq!(again.store(), stored, "and would be stored as it was");
        let rows = |l: &Life| l.windows().all().iter().map(|k| k.sample.row.to_vec()).collect::<Vec<_>>();
        let sorted = |mut rows: Vec<Vec<f32>>| {
            rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
            rows
        };
        assert_eq!(sorted(rows(&life)), sorted(rows(&again)));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let good = life().store();
        type Change = fn(&mut Entry);
        let changes: [Change; 5] = [
            |e| e.own = 9,
            |e| e.hour = 168,
            |e| e.confidence = f32::NAN,
            |e| e.sequence[0] = f32::INFINITY,
            |e| e.row = vec![0.0; MAX_WIDTH + 1],
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad.samples[0]);
            assert!(from_bytes::<Stored>(&to_bytes(&bad)).is_err(), "change {n}");
        }
        let bytes = to_bytes(&good);
        assert!(from_bytes::<Stored>(&bytes[..bytes.len() - 1]).is_err());
    }
}
