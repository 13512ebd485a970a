//! Data leaving a host: how much in a minute, against what that host usually sends.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::home::{Home, is_host};
use crate::metric::Metric;
use flow::{Role, Span};
use std::sync::Arc;
use wire::Addr;

/// Hosts remembered, some 60 bytes each.
const CAPACITY: usize = 16_384;
/// A host that is silent for longer begins anew.
const MEMORY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Minutes with activity before there is a baseline.
const ENOUGH_MINUTES: u32 = 30;
/// Weight of the latest minute in the baseline: a day of activity forgets the day before.
const WEIGHT: f64 = 1.0 / 256.0;
/// Minutes below this are not observed: whatever they are, they are no exfiltration worth the name.
const WORTH_A_LOOK: u64 = 1_000_000;

/// What a host sent, minute by minute.
#[derive(Debug, Default)]
struct Habit {
    /// When the running minute began, ns.
    minute_ns: u64,
    /// Bytes sent outwards in it so far.
    bytes: u64,
    /// Minutes learnt.
    minutes: u32,
    /// Mean of log2(1 + bytes) over active minutes, and of its square.
    mean: f64,
    square: f64,
}

impl Habit {
    /// Closes the minute. A minute far above the habit counts as the upper end of the habit: who wants to teach it large
    /// volumes must do so slowly.
    fn close(&mut self) {
        let mut value = (1.0 + self.bytes as f64).log2();
        if let Some(usual) = self.usual() {
            value = value.min(usual + 2.0 * self.deviation());
        }
        self.minutes = self.minutes.saturating_add(1);
        let weight = WEIGHT.max(1.0 / f64::from(self.minutes));
        self.mean += (value - self.mean) * weight;
        self.square += (value * value - self.square) * weight;
    }

    fn usual(&self) -> Option<f64> {
        (self.minutes >= ENOUGH_MINUTES).then_some(self.mean)
    }

    /// Standard deviation of log2 bytes, at least half a doubling.
    fn deviation(&self) -> f64 {
        (self.square - self.mean * self.mean).max(0.0).sqrt().max(0.5)
    }
}

/// Data leaving hosts; see the module.
#[derive(Debug)]
pub(crate) struct Volumes {
    home: Arc<Home>,
    hosts: Table<Addr, Habit>,
}

impl Volumes {
    pub(crate) fn new(home: Arc<Home>) -> Self {
        Self { home, hosts: Table::new(CAPACITY, MEMORY_NS) }
    }
}

impl Profile for Volumes {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::Upload]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Active]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Active { entity, flow } = fact else { return };
        let (target, _) = flow.responder();
        let leaves = self.home.contains(entity.addr) && !self.home.contains(target) && is_host(target);
        if entity.role != Role::Source || !leaves {
            return;
        }
        let window = entity.window(Span::S60);
        let habit = self.hosts.touch(entity.addr, now_ns);
        if habit.minute_ns != window.start_ns {
            if habit.minute_ns != 0 {
                habit.close();
            }
            habit.minute_ns = window.start_ns;
        }
        habit.bytes = window.bytes;
        if window.bytes < WORTH_A_LOOK {
            return;
        }
        let sent = 1.0 + window.bytes as f64;
        let values = Values::default()
            .with(Metric::UploadMegabytes, window.bytes as f64 / 1e6)
            .with(Metric::UploadRatio, window.bytes as f64 / (window.reply_bytes.max(1)) as f64)
            .with_some(Metric::UploadTimesUsual, habit.usual().map(|mean| sent / mean.exp2()))
            .with_some(
                Metric::UploadDeviations,
                habit.usual().map(|mean| ((sent.log2() - mean) / habit.deviation()).max(0.0)),
            );
        out.push(Observation::of_flow(Subject::Upload, flow, window.start_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.hosts.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habit(minutes: &[u64]) -> Habit {
        let mut h = Habit::default();
        for bytes in minutes {
            h.bytes = *bytes;
            h.close();
        }
        h
    }

    #[test]
    fn there_is_no_baseline_before_half_an_hour() {
        assert_eq!(habit(&[1000; 29]).usual(), None);
        assert!((habit(&[1023; 40]).usual().unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn one_large_minute_hardly_moves_the_baseline() {
        let mut h = habit(&[1 << 20; 60]);
        let before = h.usual().unwrap();
        h.bytes = 1 << 40;
        h.close();
        assert!(h.usual().unwrap() - before < 0.05);
    }
}
