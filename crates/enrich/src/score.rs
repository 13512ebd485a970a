//! From what lists say to one number, explained.
//!
//! Each list that names an address is a witness. List *i* is trusted with its weight *w* (0 to 1, from the configuration) and
//! says it with a strength *s* (0 to 1, from its content). It deserves what is said of it if any witness is right, and
//! witnesses are taken to err independently ("noisy or", Pearl 1988):
//!
//! score = 100 · (1 − Π (1 − wᵢ·sᵢ))
//!
//! So one list gives 100·w·s, lists that agree give more than each alone, and none gives more than 100. Lists that copy from
//! each other are not independent; weigh them lower.

use serde::Serialize;
use std::sync::Arc;

/// What one list adds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Name of the list.
    pub list: Arc<str>,
    /// How far it is trusted, 0..=1.
    pub weight: f64,
    /// How sure it is, 0..=1.
    pub strength: f64,
    /// Score it would give alone, 0..=100.
    pub points: f64,
    /// What it remarks, such as a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// What lists together say of an address that at least one of them names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reputation {
    /// Risk, 0..=100.
    pub score: u8,
    /// Why: each list that names it, in the order of the configuration.
    pub parts: Vec<Part>,
}

impl Reputation {
    /// Of parts; `None` without any.
    #[must_use]
    pub fn of(parts: Vec<Part>) -> Option<Self> {
        if parts.is_empty() {
            return None;
        }
        let wrong: f64 = parts.iter().map(|p| 1.0 - (p.weight * p.strength).clamp(0.0, 1.0)).product();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=100")]
        let score = ((1.0 - wrong) * 100.0).round() as u8;
        Some(Self { score, parts })
    }
}

impl Part {
    /// What a list of this weight says this surely.
    #[must_use]
    pub fn new(list: Arc<str>, weight: f64, strength: f64, note: Option<Arc<str>>) -> Self {
        // Two decimals are what a reader takes in.
        let points = (weight * strength * 10_000.0).round() / 100.0;
        Self { list, weight, strength, points, note }
    }

    /// In words, such as `ipsum: 46.6 points (weight 0.60 × strength 0.78)`.
    #[must_use]
    pub fn explain(&self) -> String {
        let note = self.note.as_ref().map_or_else(String::new, |n| format!(", {n}"));
        format!(
            "{}: {:.1} points (weight {:.2} × strength {:.2}){note}",
            self.list, self.points, self.weight, self.strength
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_agree_count_for_more_and_never_beyond_100() {
        let check = |said: &[(f64, f64)], expected: Option<u8>| {
            let parts = said.iter().map(|(w, s)| Part::new("l".into(), *w, *s, None)).collect();
            assert_eq!(Reputation::of(parts).map(|r| r.score), expected, "{said:?}");
        };
        check(&[], None);
        check(&[(0.5, 1.0)], Some(50));
        check(&[(0.6, 0.5)], Some(30));
        check(&[(0.5, 1.0), (0.5, 1.0)], Some(75));
        check(&[(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], Some(88));
        check(&[(1.0, 1.0), (0.5, 0.2)], Some(100));
        check(&[(0.5, 0.0)], Some(0));
    }

    #[test]
    fn a_part_explains_itself() {
        let part = Part::new("ipsum".into(), 0.6, 0.5, Some("seen by 2 lists".into()));
        assert_eq!(part.explain(), "ipsum: 30.0 points (weight 0.60 × strength 0.50), seen by 2 lists");
    }
}
