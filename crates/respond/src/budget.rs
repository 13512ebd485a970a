//! How many within a minute.

use std::collections::VecDeque;

const MINUTE_NS: u64 = 60_000_000_000;

/// The times of the latest blocks, as many as the budget allows at most; older ones cannot matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(VecDeque<u64>);

impl Budget {
    /// Time until one more is within `per_minute` in any 60 s, ns; 0: now.
    pub(crate) fn wait(&self, per_minute: u32, now: u64) -> u64 {
        let per_minute = per_minute as usize;
        // The one that has to be a minute old before the next may follow.
        match self.0.len().checked_sub(per_minute) {
            None => 0,
            Some(i) => self.0.get(i).map_or(MINUTE_NS, |at| at.saturating_add(MINUTE_NS).saturating_sub(now)),
        }
    }

    pub(crate) fn spend(&mut self, per_minute: u32, now: u64) {
        while self.0.len() >= (per_minute as usize).max(1) {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    pub(crate) fn shift(&mut self, back: u64) {
        for at in &mut self.0 {
            *at = at.saturating_sub(back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sliding_minute() {
        let s = |s: u64| s * 1_000_000_000;
        let mut b = Budget::default();
        for at in [100, 110, 120] {
            assert_eq!(b.wait(3, s(at)), 0);
            b.spend(3, s(at));
        }
        assert_eq!(b.wait(3, s(120)), s(40));
        assert_eq!(b.wait(3, s(160)), 0);
        assert_eq!(b.wait(4, s(120)), 0, "raised");
        assert_eq!(b.wait(1, s(120)), s(60), "lowered: the latest counts");
        assert_eq!(b.wait(0, s(120)), MINUTE_NS);
        b.spend(3, s(160));
        assert_eq!(b.wait(3, s(160)), s(10));
        b.shift(s(100));
        assert_eq!(b.wait(3, s(60)), s(10));
    }
}
