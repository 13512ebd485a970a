//! A seeded source of chance: the same seed gives the same traffic.

use std::ops::Range;
use std::time::Duration;

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). For variety, not for
/// secrets.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// One that depends on nothing but `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`, whose end is exclusive; its start if the range is empty.
    pub fn pick(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % range.end.saturating_sub(range.start).max(1)
    }

    /// One of `all`; `None` of none.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.pick(0..all.len() as u64)).unwrap_or(0);
        all.get(at)
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend(self.bits().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    /// `len` characters of `alphabet`, which is ASCII.
    pub fn text(&mut self, alphabet: &[u8], len: usize) -> String {
        (0..len).filter_map(|_| self.of(alphabet).copied().map(char::from)).collect()
    }

    /// A time around `middle`, up to `percent` of it away, evenly distributed.
    pub fn around(&mut self, middle: Duration, percent: u64) -> Duration {
        let middle = u64::try_from(middle.as_micros()).unwrap_or(u64::MAX / 200);
        let away = middle / 100 * percent.min(100);
        Duration::from_micros(self.pick(middle - away..middle + away + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_agree_and_bounds_hold() {
        let (mut a, mut b) = (Chance::new(7), Chance::new(7));
        assert_eq!(a.bytes(33), b.bytes(33));
        assert_eq!(a.text(b"abc", 9), b.text(b"abc", 9));
        assert_ne!(a.bits(), Chance::new(8).bits());
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            assert!((10..20).contains(&a.pick(10..20)));
            let around = a.around(second, 30);
            assert!(around >= second * 7 / 10 && around <= second * 13 / 10, "{around:?}");
        }
        assert_eq!(a.pick(5..5), 5);
        assert_eq!(a.of::<u8>(&[]), None);
        assert_eq!(a.around(second, 0), second);
    }
}
