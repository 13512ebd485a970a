//! Ordinary traffic for as long as one likes: false alarms are counted by the hour, and a scenario ends after two minutes.
//!
//! The repertoire is a benign scenario file, `crates/lab/ordinary.toml`, whose steps have no time of their own. It is played
//! in rounds: each draws some of the steps, when they begin, and how much of it they do.

use super::file::{MAX_SECONDS, Scenario, ScenarioError, Step, Word};
use crate::chance::Chance;

/// Longest round, s: as long as a scenario may be.
pub const ROUND_SECONDS: f64 = MAX_SECONDS;
/// Arguments of steps that say how much and how fast; each round varies them.
const AMOUNTS: [&str; 5] = ["count", "rate", "pause_ms", "kilobytes", "visitors"];
/// An amount is from so many percent of the file's to below so many.
const VARIED: std::ops::Range<u64> = 50..150;
/// Of so many steps, about one is played in a round.
const ONE_OF: u64 = 2;

/// The repertoire that comes with the program.
///
/// # Errors
/// The file is wrong, which a test excludes.
pub fn repertoire() -> Result<Scenario, ScenarioError> {
    Scenario::parse(include_str!("../../ordinary.toml"))
}

/// The steps of a round that takes at most `seconds`. Equal seeds draw equal rounds.
#[must_use]
pub fn round(repertoire: &Scenario, seconds: f64, seed: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    let most = seconds.clamp(1.0, ROUND_SECONDS);
    let draw = |step: &Step| {
        // Drawn for every step, so that what one draws does not depend on which others are played.
        let (played, begin, varied) =
            (chance.pick(0..ONE_OF) == 0, chance.pick(0..1_000), chance.pick(VARIED));
        let mut step = step.clone();
        step.seconds = step.seconds.min(most as u32);
        step.at = (most - f64::from(step.seconds)).max(0.0) * begin as f64 / 1_000.0;
        for name in AMOUNTS {
            if let Some(Word::Number(n)) = step.with.get_mut(name) {
                *n = (*n * varied / 100).max(1);
            }
        }
        played.then_some(step)
    };
    repertoire.steps.iter().filter_map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ScenarioKind;
    use std::collections::BTreeSet;

    #[test]
    fn rounds_are_whole_and_differ() {
        let all = repertoire().expect("the repertoire");
        assert_eq!(all.kind, ScenarioKind::Benign);
        let mut played = BTreeSet::new();
        let mut rounds = BTreeSet::new();
        for seed in 0..64 {
            for seconds in [20.0, ROUND_SECONDS] {
                let steps = round(&all, seconds, seed);
                played.extend(steps.iter().map(|s| format!("{} {} {:?}", s.from, s.name(), s.to)));
                rounds.insert(format!("{steps:?}"));
                assert!(steps.iter().all(|s| s.at + f64::from(s.seconds) <= seconds), "{seed}");
                let drawn = Scenario { steps, ..all.clone() };
                drawn.check().unwrap_or_else(|e| panic!("round {seed}: {e}"));
            }
        }
        assert_eq!(rounds.len(), 128);
        let steps = all.steps.iter().map(|s| format!("{} {} {:?}", s.from, s.name(), s.to));
        assert_eq!(played, steps.collect());
    }
}
