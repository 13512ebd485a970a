//! How many different values there are, exactly up to a limit.

use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// Values told apart; beyond, the count says "at least". Goals are far below.
pub const MAX_DISTINCT: usize = 65_536;

/// A set of values, kept as 64-bit hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    seen: HashSet<u64>,
    overflowed: bool,
}

impl Distinct {
    /// Adds a value.
    pub fn add(&mut self, value: &[u8]) {
        let hash = Sha256::digest(value);
        if let Some(first) = hash.first_chunk() {
            self.add_hash(u64::from_le_bytes(*first));
        }
    }

    /// Adds a value by its hash.
    pub fn add_hash(&mut self, hash: u64) {
        if self.seen.len() < MAX_DISTINCT {
            self.seen.insert(hash);
        } else if !self.overflowed && !self.seen.contains(&hash) {
            self.overflowed = true;
        }
    }

    /// Different values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Whether there were more than [`Self::count`] says.
    #[must_use]
    pub const fn is_lower_bound(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_up_to_the_limit() {
        let mut d = Distinct::default();
        for n in 0..1000_u32 {
            d.add(&(n % 700).to_le_bytes());
        }
        assert_eq!((d.count(), d.is_lower_bound()), (700, false));
        (0..MAX_DISTINCT as u64 + 9).for_each(|n| d.add_hash(n));
        assert_eq!((d.count(), d.is_lower_bound()), (MAX_DISTINCT as u64, true));
    }
}
