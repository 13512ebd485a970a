//! All parts of a life together, but the models.

use super::confidence::{self, Trust};
use super::drift::{self, Drift};
use super::quarantine::{self, Gravity, Quarantine};
use super::reservoir::Kept;
use super::schedule::{self, Cause, Schedule};
use super::stored::{Entry, Stored};
use super::windows::{self, Windows};
use super::{SECOND_NS, Sample};
use crate::anomaly::Scaling;
use crate::{LearnError, Matrix};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How often what everybody did lately is summed up anew, ns.
const COMPARE_EVERY_NS: u64 = 60 * SECOND_NS;
/// Latest samples from which on they say what is usual.
const ENOUGH_RECENT: usize = 64;

/// Options of all parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// See [`Quarantine`].
    pub quarantine: quarantine::Options,
    /// See [`Trust`].
    pub confidence: confidence::Options,
    /// See [`Windows`].
    pub windows: windows::Options,
    /// See [`Schedule`].
    pub schedule: schedule::Options,
    /// Which test for drift.
    pub drift: drift::Test,
    /// Time over which p-values are averaged before they are tested for drift, ns: all entities of a tick have one voice, so
    /// that none of them makes a drift alone.
    pub tick_ns: u64,
}

impl Default for Options {
    /// Those of the parts, ticks of 10 s.
    fn default() -> Self {
        Self {
            quarantine: quarantine::Options::default(),
            confidence: confidence::Options::default(),
            windows: windows::Options::default(),
            schedule: schedule::Options::default(),
            drift: drift::Test::default(),
            tick_ns: 10 * SECOND_NS,
        }
    }
}

/// What a life counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Samples in quarantine.
    #[serde(flatten)]
    pub quarantine: quarantine::Counters,
    /// Samples waiting now.
    pub waiting: u64,
    /// Entities that nothing is learnt from now.
    pub shunned: u64,
    /// Samples of high confidence now.
    pub high: u64,
    /// All samples to learn from now.
    pub all: u64,
    /// Samples to measure with now.
    pub aside: u64,
    /// Samples forgotten because their entity gave an alarm after they were released.
    pub forgotten: u64,
    /// Entities no longer remembered because there were too many.
    pub entities_displaced: u64,
    /// Drifts found.
    pub drifts: u64,
    /// Trainings put off because the budget was used up.
    pub postponed: u64,
}

/// A life; see the module.
#[derive(Clone, Debug)]
pub struct Life {
    options: Options,
    quarantine: Quarantine,
    trust: Trust,
    windows: Windows,
    schedule: Schedule,
    drift: Drift,
    tick: u64,
    /// Sum and number of p-values of this tick.
    p_values: (f64, u32),
    compared_ns: u64,
    forgotten: u64,
    drifts: u64,
}

impl Life {
    /// A life that begins. Where what is learnt from may be hostile, the seed is random.
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        let options = Options { tick_ns: options.tick_ns.max(1), ..options };
        Self {
            quarantine: Quarantine::new(options.quarantine, seed),
            trust: Trust::new(options.confidence),
            windows: Windows::new(options.windows, seed),
            schedule: Schedule::new(options.schedule),
            drift: Drift::new(options.drift),
            tick: 0,
            p_values: (0.0, 0),
            compared_ns: 0,
            forgotten: 0,
            drifts: 0,
            options,
        }
    }

    /// What is to outlive the program: samples that were released, and who is shunned. What waits is not: nobody would hear the
    /// alarms that are about it.
    #[must_use]
    pub fn store(&self) -> Stored {
        let samples = self.windows.store();
        Stored {
            samples: samples.into_iter().map(|(kept, sets)| Entry::new(kept, sets)).collect(),
            shunned: self.quarantine.shunned_until(),
        }
    }

    /// Goes on with what was stored, in the place of what is held.
    pub fn resume(&mut self, stored: Stored, seed: u64) {
        let samples: Vec<(Kept, u8)> = stored.samples.into_iter().map(Entry::kept).collect();
        self.windows = Windows::resume(self.options.windows, seed, &samples);
        self.quarantine.shun(&stored.shunned);
    }

    /// Takes a window that was judged, with the p-value that the model in use gave it, 0..=1. Whether it gives an alarm is
    /// told by [`Self::alarm`].
    pub fn judged(&mut self, sample: Sample, p_value: f64) {
        let tick = sample.at_ns / self.options.tick_ns;
        if tick > self.tick {
            self.end_tick();
            self.tick = tick;
        }
        if !p_value.is_nan() && !self.quarantine.is_shunned(sample.entity, sample.at_ns) {
            self.p_values.0 += p_value.clamp(0.0, 1.0);
            self.p_values.1 += 1;
        }
        self.quarantine.take(sample);
    }

    fn end_tick(&mut self) {
        let (sum, count) = std::mem::take(&mut self.p_values);
        if count > 0 && self.drift.add(sum / f64::from(count)) {
            self.drifts += 1;
            self.schedule.drifted();
        }
    }

    /// An entity alerted or was blocked, for something that began at `since_ns` and was seen at `at_ns`. What it did within as
    /// long before as it is shunned after is not learnt from, even if it was released.
    pub fn alarm(&mut self, entity: u64, since_ns: u64, at_ns: u64, gravity: Gravity) {
        self.quarantine.alarm(entity, since_ns, at_ns, gravity);
        let from = at_ns.saturating_sub(self.quarantine.shun_ns(gravity));
        self.forgotten += self.windows.forget_entity(entity, from) as u64;
    }

    /// Alarms were lost on their way: whatever waits may be of an attacker, and is thrown away.
    pub fn distrust(&mut self) {
        self.quarantine.clear();
    }

    /// Learns from an entity again; see [`Quarantine::pardon`].
    pub fn pardon(&mut self, entity: u64) {
        self.quarantine.pardon(entity);
    }

    /// Lets time pass.
    pub fn advance(&mut self, now_ns: u64) {
        for sample in self.quarantine.release(now_ns) {
            let confidence = self.trust.of(&sample);
            self.windows.add(&sample, confidence);
            self.trust.remember(&sample);
        }
        self.windows.expire(now_ns);
        if now_ns.saturating_sub(self.compared_ns) >= COMPARE_EVERY_NS.min(self.options.schedule.every_ns) {
            self.compared_ns = now_ns;
            let recent = self.windows.recent();
            if recent.len() >= ENOUGH_RECENT {
                let lately = rows(recent, |s| &s.row).and_then(|m| Scaling::fit(&m));
                self.trust.compare_with(lately.ok());
            }
        }
    }

    /// Whether to train now.
    pub fn due(&mut self, now_ns: u64) -> Option<Cause> {
        let high = self.windows.high();
        let entities = high.iter().map(|k| k.sample.entity).collect::<BTreeSet<u64>>().len();
        self.schedule.due(now_ns, high.len(), entities)
    }

    /// A training began at some time and took so much processor time, ns, whatever came of it.
    pub fn trained(&mut self, began_ns: u64, spent_ns: u64) {
        self.schedule.trained(began_ns, spent_ns);
    }

    /// Another model gives the p-values from now on.
    pub fn replaced(&mut self) {
        self.drift.reset();
        self.p_values = (0.0, 0);
    }

    /// What to learn from.
    #[must_use]
    pub const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Mean of the p-values that the test for drift has in mind, near 0.5 where the model fits; NaN or 0 before the first.
    #[must_use]
    pub fn p_value_mean(&self) -> f64 {
        self.drift.mean()
    }

    /// When the latest training began, ns.
    #[must_use]
    pub const fn last_trained_ns(&self) -> Option<u64> {
        self.schedule.last_ns()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            quarantine: self.quarantine.counters(),
            waiting: self.quarantine.len() as u64,
            shunned: self.quarantine.shunned() as u64,
            high: self.windows.high().len() as u64,
            all: self.windows.all().len() as u64,
            aside: self.windows.aside().len() as u64,
            forgotten: self.forgotten,
            entities_displaced: self.trust.displaced,
            drifts: self.drifts,
            postponed: self.schedule.postponed(),
        }
    }
}

/// One part of samples as rows. Samples of another width than the first, or without that part, are left out.
///
/// # Errors
/// [`LearnError::Empty`] if none is left.
pub fn rows(samples: &[Kept], part: impl Fn(&Sample) -> &[f32]) -> Result<Matrix, LearnError> {
    let width = samples.iter().map(|k| part(&k.sample).len()).find(|w| *w > 0).ok_or(LearnError::Empty)?;
    let fitting = samples.iter().map(|k| part(&k.sample)).filter(|row| row.len() == width);
    Matrix::new(width, fitting.flatten().copied().collect())
}
