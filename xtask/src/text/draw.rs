//! Choices that grammars make, the same on every machine.

use learn::random::Random;

/// A source of choices.
pub(super) struct Draw(Random);

impl Draw {
    /// One for a seed and a stream within it.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(Random::new(seed, stream))
    }

    /// One of the items.
    pub(super) fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.0.below(items.len())].clone()
    }

    /// A number below `most`.
    pub(super) fn number(&mut self, most: usize) -> usize {
        self.0.below(most)
    }

    /// Whether it is the one time in `n`.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.0.below(n) == 0
    }

    /// Characters drawn by lot.
    pub(super) fn characters(&mut self, alphabet: &str, len: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..len).map(|_| self.of(&letters)).collect()
    }
}

/// FNV-1a with a finish, so that every fifth family is any fifth.
pub(super) fn family(text: &str) -> u64 {
    let h = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (h ^ (h >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}
