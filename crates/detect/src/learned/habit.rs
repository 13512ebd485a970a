//! How strange a window is for a source that has been strange before.
//!
//! Windows of one source are alike. A host of a kind that no model saw is a little strange in all of them, and were each taken
//! for new evidence, it would be an attacker within a minute. What is calibrated is therefore not only how strange windows are,
//! but how strange they are after some that were strange: conformal p-values by category (Mondrian; Vovk, Gammerman and Shafer,
//! "Algorithmic Learning in a Random World", 2005), where the category is how many of a source's latest windows were strange. A
//! window that is as strange as those before it then says little, whatever it is about.

use learn::LearnError;
use learn::calibrate::Conformal;
use learn::codec::{CodecError, Pack, ensure};
use serde::{Deserialize, Serialize};

/// Share of usual windows that count as strange when a source's habits are asked for. The more, the finer the categories of
/// those that have some; at one in twenty each has about as many windows as can be told apart.
const STRANGE: f64 = 0.05;
/// Categories: none of the latest windows was strange, one was, more were.
const STATES: usize = 3;

/// Which of a source's latest eight windows were strange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habit(u8);

impl Habit {
    fn state(self) -> usize {
        (self.0.count_ones() as usize).min(STATES - 1)
    }

    fn push(&mut self, strange: bool) {
        self.0 = self.0 << 1 | u8::from(strange);
    }
}

/// Scores of usual windows that nothing was learnt from, by what their sources showed before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Habitual {
    /// The score from which on a window is strange.
    strange: f32,
    /// By state. `None` where no usual source came into it.
    states: [Option<Conformal>; STATES],
}

impl Habitual {
    /// Of scores, higher for stranger, of usual sources: each the windows of one source in order of time.
    ///
    /// # Errors
    /// No windows.
    pub fn fit(sources: &[Vec<f32>]) -> Result<Self, LearnError> {
        let mut all: Vec<f32> = sources.iter().flatten().copied().collect();
        all.sort_unstable_by(|a, b| b.total_cmp(a));
        let strange = *all.get((all.len() as f64 * STRANGE) as usize).ok_or(LearnError::Empty)?;
        let mut scores: [Vec<f32>; STATES] = Default::default();
        for source in sources {
            let mut habit = Habit::default();
            for score in source {
                if let Some(scores) = scores.get_mut(habit.state()) {
                    scores.push(*score);
                }
                habit.push(*score > strange);
            }
        }
        let states = scores.map(|scores| Conformal::fit(scores).ok());
        Ok(Self { strange, states })
    }

    /// The p-value of a source's next window, given those before it. Where no usual source ever came to, being there is strange
    /// by itself: the window is then compared with those of the state before.
    pub fn p_value(&self, habit: &mut Habit, score: f32) -> f64 {
        let known = self.states.get(..=habit.state()).unwrap_or(&self.states);
        habit.push(score > self.strange);
        known.iter().rev().flatten().next().map_or(f64::NAN, |usual| usual.p_value(score))
    }
}

impl Pack for Habitual {
    const KIND: [u8; 4] = *b"habi";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        ensure(!self.strange.is_nan(), "the score of what is strange")?;
        self.states.iter().flatten().try_for_each(Pack::check)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::{Evidence, Limits, e_value};
    use super::*;
    use learn::random::Random;

    /// Windows of a source that is `shift` stranger than most in all of them.
    fn source(random: &mut Random, windows: usize, shift: f64) -> Vec<f32> {
        (0..windows).map(|_| (random.normal() + shift) as f32).collect()
    }

    /// 200 sources of 40 windows, one in twenty of a strange kind.
    fn usual(seed: u64) -> Vec<Vec<f32>> {
        let mut random = Random::new(seed, 0);
        (0..200).map(|n| source(&mut random, 40, if n % 20 == 0 { 3.0 } else { 0.0 })).collect()
    }

    /// The most evidence against a source.
    fn most(scores: &[f32], mut p_value: impl FnMut(f32) -> f64) -> f64 {
        let mut evidence = Evidence::default();
        scores.iter().fold(0.0, |most, score| {
            evidence.add(e_value(p_value(*score)));
            evidence.value().max(most)
        })
    }

    #[test]
    fn a_source_that_is_steadily_strange_is_no_attacker() {
        let habitual = Habitual::fit(&usual(1)).expect("fits");
        let marginal = Conformal::fit(usual(1).concat()).expect("fits");
        let low = Limits::new(1.0, 0.0).low();
        let strangers: Vec<Vec<f32>> = usual(2).into_iter().step_by(20).collect();
        let alone = strangers.iter().filter(|s| most(s, |x| marginal.p_value(x)) >= low).count();
        assert_eq!(alone, strangers.len(), "without habits each of them is taken for one");
        for scores in &strangers {
            let mut habit = Habit::default();
            assert!(most(scores, |x| habitual.p_value(&mut habit, x)) < low);
        }
    }

    #[test]
    fn what_is_stranger_than_any_stranger_adds_up() {
        let habitual = Habitual::fit(&usual(1)).expect("fits");
        let mut habit = Habit::default();
        let attack = [9.0; 6];
        assert!(most(&attack, |x| habitual.p_value(&mut habit, x)) >= Limits::new(1.0, 0.0).low());
    }

    #[test]
    fn where_nobody_came_the_state_before_is_compared_with() {
        let habitual = Habitual::fit(&[vec![0.0, 0.0, 0.0]]).expect("fits");
        let mut habit = Habit::default();
        for _ in 0..3 {
            assert!((habitual.p_value(&mut habit, 5.0) - 0.25).abs() < 1e-9);
        }
        assert!(Habitual::fit(&[]).is_err());
    }
}
