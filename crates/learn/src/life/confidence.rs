//! How surely a sample is normal, in 0..=1.
//!
//! Three parts, each in 0..=1, and their geometric mean: what is odd in one way is doubted, what is odd in all ways is hardly
//! believed. Nothing is excluded for merely being busy: a low confidence is a low weight.
//!
//! - **Rate**: a logistic function of how many times the usual rate it is. "Usual" follows what happens, but at a limited
//!   speed, and an entity has an own usual rate only after a day: who raises a rate over hours gains nothing.
//! - **Similarity** to what everybody did lately.
//! - **Time**: whether the entity was seen at this hour before.

use super::{DAY_NS, HOUR_NS, Sample};
use crate::anomaly::Scaling;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Least weight: what happened is never quite forgotten.
pub const LEAST: f32 = 0.02;
/// Deviations at which similarity is one half.
const HALF_SIMILAR: f32 = 3.0;
/// Deviations of one feature count up to this, so that one wild feature is not everything.
const MOST_DEVIATIONS: f32 = 10.0;
/// Samples after which everybody's usual rate is known well enough to be bound to a speed.
const ENOUGH: u32 = 256;

/// What a confidence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// All of it, [`LEAST`]..=1.
    pub value: f32,
    /// The part of the rate.
    pub rate: f32,
    /// The part of the similarity.
    pub similarity: f32,
    /// The part of the hour.
    pub time: f32,
}

/// How to doubt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Times the usual rate at which the part of the rate is one half; above 1.
    pub half_at: f32,
    /// How steeply it falls with each doubling, above 0.
    pub steepness: f32,
    /// Times by which a usual rate may rise or fall in a day, above 1.
    pub most_per_day: f32,
    /// How long an entity must be known before its own usual rate counts instead of everybody's, ns.
    pub establish_ns: u64,
    /// Most entities remembered, at least 1; the one silent longest makes room.
    pub entities: usize,
}

impl Default for Options {
    /// 8 times, 1.5, 1.25 times, a day, 8,192 entities.
    fn default() -> Self {
        Self { half_at: 8.0, steepness: 1.5, most_per_day: 1.25, establish_ns: DAY_NS, entities: 8192 }
    }
}

/// A usual rate: a binary logarithm that follows at a limited speed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usual {
    log: f32,
    seen: u32,
    first_ns: u64,
    last_ns: u64,
}

impl Usual {
    const fn new(log: f32, at_ns: u64) -> Self {
        Self { log, seen: 1, first_ns: at_ns, last_ns: at_ns }
    }

    /// Before it is settled the mean of what was seen, after that as near to it as the speed allows.
    fn follow(&mut self, log: f32, at_ns: u64, settled: bool, most_per_day: f32) {
        let passed = at_ns.saturating_sub(self.last_ns).min(DAY_NS);
        self.last_ns = at_ns.max(self.last_ns);
        self.seen = self.seen.saturating_add(1);
        if settled {
            let most = most_per_day.log2() * passed as f32 / DAY_NS as f32;
            self.log += (log - self.log).clamp(-most, most);
        } else {
            self.log += (log - self.log) / self.seen as f32;
        }
    }
}

/// When an entity was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hours {
    /// Hours of the week on days that are over.
    before: [u64; 3],
    /// Of the running day.
    today: [u64; 3],
    day: u64,
}

impl Hours {
    const fn new(at_ns: u64) -> Self {
        Self { before: [0; 3], today: [0; 3], day: at_ns / DAY_NS }
    }

    fn note(&mut self, at_ns: u64, hour: u16) {
        let day = at_ns / DAY_NS;
        if day > self.day {
            self.day = day;
            for (before, today) in self.before.iter_mut().zip(&mut self.today) {
                *before |= std::mem::take(today);
            }
        }
        if let Some(word) = self.today.get_mut(usize::from(hour / 64)) {
            *word |= 1 << (hour % 64);
        }
    }

    fn has(&self, hour: u16) -> bool {
        self.before.get(usize::from(hour / 64)).is_some_and(|w| w >> (hour % 64) & 1 == 1)
    }

    /// 1 at an hour of the week that the entity was seen at, 0.9 at that hour of another day of the week, 0.75 where it is
    /// known at all, 0.5 for a stranger.
    fn familiarity(&self, hour: u16, known_ns: u64) -> f32 {
        let hour = hour % 168;
        if self.has(hour) {
            1.0
        } else if (0..7).any(|day| self.has(day * 24 + hour % 24)) {
            0.9
        } else if known_ns >= HOUR_NS {
            0.75
        } else {
            0.5
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    usual: Usual,
    hours: Hours,
}

/// What is usual, to judge samples by. Memory: 104 bytes for each of [`Options::entities`].
#[derive(Clone, Debug)]
pub struct Trust {
    options: Options,
    everybody: Option<Usual>,
    entities: BTreeMap<u64, Known>,
    lately: Option<Scaling>,
    /// Entities forgotten because there were too many.
    pub displaced: u64,
}

fn log2(rate: f32) -> f32 {
    if rate.is_finite() { (1.0 + rate.max(0.0)).log2() } else { 40.0 }
}

impl Trust {
    /// Knows nobody.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let above = |v: f32, least: f32, default: f32| if v > least { v } else { default };
        let d = Options::default();
        let options = Options {
            half_at: above(options.half_at, 1.0, d.half_at),
            steepness: above(options.steepness, 0.0, d.steepness),
            most_per_day: above(options.most_per_day, 1.0, d.most_per_day),
            entities: options.entities.max(1),
            ..options
        };
        Self { options, everybody: None, entities: BTreeMap::new(), lately: None, displaced: 0 }
    }

    /// Has samples compared with what everybody did lately; `None` doubts all of them alike.
    pub fn compare_with(&mut self, lately: Option<Scaling>) {
        self.lately = lately;
    }

    /// How surely a sample is normal.
    #[must_use]
    pub fn of(&self, sample: &Sample) -> Confidence {
        let known = self.entities.get(&sample.entity);
        let established =
            |k: &&Known| sample.at_ns.saturating_sub(k.usual.first_ns) >= self.options.establish_ns;
        let usual = known.filter(established).map(|k| k.usual).or(self.everybody);
        let rate = usual.map_or(0.5, |usual| {
            let doublings = log2(sample.rate) - usual.log - self.options.half_at.log2();
            1.0 / (1.0 + (self.options.steepness * doublings).exp())
        });
        let similarity =
            self.lately.as_ref().filter(|s| s.len() == sample.row.len()).map_or(0.5, |scaling| {
                let apart = scaling.features().iter().zip(&sample.row);
                let sum: f32 = apart.map(|(s, v)| s.of(*v).abs().min(MOST_DEVIATIONS)).sum();
                let mean = sum / sample.row.len().max(1) as f32;
                1.0 / (1.0 + (mean / HALF_SIMILAR).powi(2))
            });
        let time = known
            .map_or(0.5, |k| k.hours.familiarity(sample.hour, sample.at_ns.saturating_sub(k.usual.first_ns)));
        let value = (rate * similarity * time).cbrt().clamp(LEAST, 1.0);
        Confidence { value, rate, similarity, time }
    }

    /// Remembers a sample that was found fit to be learnt from.
    pub fn remember(&mut self, sample: &Sample) {
        let log = log2(sample.rate);
        let most = self.options.most_per_day;
        match &mut self.everybody {
            Some(usual) => {
                let settled = usual.seen >= ENOUGH;
                usual.follow(log, sample.at_ns, settled, most);
            }
            none => *none = Some(Usual::new(log, sample.at_ns)),
        }
        if let Some(known) = self.entities.get_mut(&sample.entity) {
            let age = sample.at_ns.saturating_sub(known.usual.first_ns);
            known.usual.follow(log, sample.at_ns, age >= self.options.establish_ns, most);
            known.hours.note(sample.at_ns, sample.hour % 168);
            return;
        }
        if self.entities.len() >= self.options.entities {
            let oldest = self.entities.iter().min_by_key(|(e, k)| (k.usual.last_ns, **e)).map(|(e, _)| *e);
            if let Some(oldest) = oldest {
                self.entities.remove(&oldest);
                self.displaced += 1;
            }
        }
        let mut hours = Hours::new(sample.at_ns);
        hours.note(sample.at_ns, sample.hour % 168);
        self.entities.insert(sample.entity, Known { usual: Usual::new(log, sample.at_ns), hours });
    }

    /// Entities remembered.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.entities.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::life::SECOND_NS;

    fn sample(entity: u64, at_ns: u64, rate: f32, row: f32) -> Sample {
        let hour = (at_ns / HOUR_NS % 168) as u16;
        Sample { entity, at_ns, hour, rate, row: Box::new([row]), sequence: Box::new([]) }
    }

    /// Twenty entities that did 10 a second each minute for some days, with features around 5.
    fn trust(days: u64) -> Trust {
        let mut t = Trust::new(Options::default());
        for minute in 0..days * 24 * 60 {
            t.remember(&sample(minute % 20, minute * 60 * SECOND_NS, 10.0, 5.0));
        }
        let rows = (0..100).map(|i| 4.0 + (i % 21) as f32 / 10.0).collect();
        t.compare_with(Some(Scaling::fit(&Matrix::new(1, rows).unwrap()).unwrap()));
        t
    }

    #[test]
    fn the_usual_is_believed_and_the_odd_doubted_by_degrees() {
        let t = trust(8);
        let now = 8 * DAY_NS;
        let of = |entity, rate, row| t.of(&sample(entity, now, rate, row)).value;
        let usual = of(3, 10.0, 5.0);
        assert!(usual > 0.95, "{usual}");
        let list = [usual, of(99, 10.0, 5.0), of(99, 80.0, 5.0), of(99, 80.0, 9.0), of(99, 1e4, 90.0)];
        assert!(list.is_sorted_by(|a, b| a > b), "{list:?}");
        assert!(of(99, 10.0, 5.0) > 0.7, "a stranger who does as all do is believed");
        // Busy alone is doubted, not excluded.
        let busy = of(3, 200.0, 5.5);
        assert!((0.2..0.7).contains(&busy), "{busy}");
        assert!(of(99, f32::INFINITY, f32::NAN) >= LEAST);
    }

    #[test]
    fn the_parts_are_what_they_say() {
        let t = trust(8);
        let half = t.of(&sample(3, 8 * DAY_NS, 87.0, 5.0)).rate;
        assert!((half - 0.5).abs() < 0.01, "11 × 8 - 1: {half}");
        for (entity, at_ns, expected) in [(3, 8 * DAY_NS + HOUR_NS, 1.0), (99, 8 * DAY_NS, 0.5)] {
            assert_eq!(t.of(&sample(entity, at_ns, 10.0, 5.0)).time, expected);
        }
        let mut t = trust(1);
        assert_eq!(t.of(&sample(3, DAY_NS - 1, 10.0, 5.0)).time, 0.75, "the first day is not over");
        t.remember(&sample(3, DAY_NS, 10.0, 5.0));
        assert_eq!(t.of(&sample(3, DAY_NS + HOUR_NS, 10.0, 5.0)).time, 0.9, "an hour of another day");
    }

    #[test]
    fn a_rate_raised_over_hours_does_not_become_usual() {
        for entity in [3, 777] {
            let mut t = trust(3);
            let begin = 3 * DAY_NS;
            let mut last = 1.0;
            for minute in 0..12 * 60 {
                let at_ns = begin + minute * 60 * SECOND_NS;
                let rate = 10.0 * (minute as f32 / 90.0).exp2();
                let s = sample(entity, at_ns, rate, 5.0);
                last = t.of(&s).rate;
                t.remember(&s);
            }
            assert!(last < 0.01, "{last}");
            let others = t.of(&sample(4, begin + DAY_NS / 2, 10.0, 5.0)).rate;
            assert!(others > 0.9, "nobody else is doubted for it: {others}");
        }
    }

    #[test]
    fn who_has_always_been_busy_is_believed_after_a_day() {
        let mut t = trust(3);
        let busy = |at_ns| sample(50, at_ns, 1000.0, 5.0);
        assert!(t.of(&busy(3 * DAY_NS)).rate < 0.1);
        for minute in 0..=24 * 60 {
            t.remember(&busy(3 * DAY_NS + minute * 60 * SECOND_NS));
        }
        assert!(t.of(&busy(4 * DAY_NS)).rate > 0.9);
    }

    #[test]
    fn memory_is_bounded_and_nothing_known_is_no_reason_to_fail() {
        let mut t = Trust::new(Options { entities: 10, half_at: f32::NAN, ..Options::default() });
        let c = t.of(&sample(1, 0, 1.0, 1.0));
        assert!((c.value - 0.5).abs() < 1e-6);
        for i in 0..100 {
            t.remember(&sample(i, i, 1.0, 1.0));
        }
        assert_eq!((t.entities(), t.displaced), (10, 90));
    }
}
