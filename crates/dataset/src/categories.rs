//! How often each word of a column occurs, in bounded memory.

use std::collections::HashMap;

/// Words told apart; further ones count as others. Columns of protocols, states and classes have tens.
pub const MAX_WORDS: usize = 1024;

/// Longest word kept, bytes; a longer one is told by its beginning.
const MAX_WORD: usize = 64;

/// Counts by word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Categories {
    counts: HashMap<String, u64>,
    others: u64,
    total: u64,
}

impl Categories {
    /// Counts a word.
    pub fn add(&mut self, word: &str) {
        self.total += 1;
        let word = shortened(word);
        if let Some(n) = self.counts.get_mut(word) {
            *n += 1;
        } else if self.counts.len() < MAX_WORDS {
            self.counts.insert(word.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// How often a word occurred.
    #[must_use]
    pub fn get(&self, word: &str) -> u64 {
        self.counts.get(shortened(word)).copied().unwrap_or(0)
    }

    /// Words with their counts, most frequent first, equals in order of the alphabet.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.counts.iter().map(|(w, n)| (w.as_str(), *n)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all
    }

    /// Words told apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// All that was counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// What was counted of words beyond [`MAX_WORDS`].
    #[must_use]
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// How evenly what was counted is spread over the words, see [`evenness`]. Others count as one word.
    #[must_use]
    pub fn evenness(&self) -> f64 {
        evenness(self.counts.values().copied().chain([self.others]))
    }
}

/// Shannon's entropy of counts over its largest possible value: 0 (all in one) to 1 (all equal); 0 for fewer than two counts
/// that are not 0.
pub(crate) fn evenness(counts: impl Iterator<Item = u64>) -> f64 {
    let counts: Vec<f64> = counts.filter(|n| *n > 0).map(|n| n as f64).collect();
    if counts.len() < 2 {
        return 0.0;
    }
    let total: f64 = counts.iter().sum();
    let entropy: f64 = counts.iter().map(|n| n / total).map(|p| -p * p.ln()).sum();
    (entropy / (counts.len() as f64).ln()).clamp(0.0, 1.0)
}

fn shortened(word: &str) -> &str {
    let mut end = word.len().min(MAX_WORD);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    word.get(..end).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_and_bounded() {
        let mut c = Categories::default();
        for n in 0..MAX_WORDS + 5 {
            c.add(&format!("w{n}"));
        }
        c.add("w0");
        assert_eq!((c.len(), c.others(), c.total(), c.get("w0")), (MAX_WORDS, 5, 1030, 2));
        assert_eq!(c.sorted().first(), Some(&("w0", 2)));
        let long = "ä".repeat(100);
        c = Categories::default();
        c.add(&long);
        assert_eq!(c.get(&long), 1);
    }

    #[test]
    fn evenness_is_one_where_all_are_equal() {
        let even = |counts: &[u64]| {
            let mut c = Categories::default();
            for (i, n) in counts.iter().enumerate() {
                (0..*n).for_each(|_| c.add(&i.to_string()));
            }
            c.evenness()
        };
        assert!((even(&[5, 5, 5]) - 1.0).abs() < 1e-12);
        assert_eq!((even(&[]), even(&[9])), (0.0, 0.0));
        assert!(even(&[100, 1]) < 0.1);
    }
}
