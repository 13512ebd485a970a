//! How fast the agent answers: from the kernel seeing a threshold crossed to the block being in the map.

use std::collections::VecDeque;

/// Answers remembered; older ones make room.
const REMEMBERED: usize = 1024;

/// The latest reaction times.
#[derive(Clone, Debug, Default)]
pub struct Reaction {
    times_ns: VecDeque<u64>,
    total: u64,
}

impl Reaction {
    /// Remembers one answer.
    pub fn note(&mut self, ns: u64) {
        if self.times_ns.len() == REMEMBERED {
            self.times_ns.pop_front();
        }
        self.times_ns.push_back(ns);
        self.total += 1;
    }

    /// Answers so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The time that a share `q` in 0..=1 of the remembered answers did not exceed, s; `None` before the first.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let mut sorted: Vec<u64> = self.times_ns.iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = (q.clamp(0.0, 1.0) * last as f64).ceil() as usize;
        sorted.get(at).map(|ns| *ns as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_latest() {
        let mut r = Reaction::default();
        assert_eq!(r.quantile(0.5), None);
        for n in 1..=2000 {
            r.note(n * 1_000_000);
        }
        assert_eq!(r.total(), 2000);
        assert_eq!(r.quantile(0.0), Some(0.977), "the oldest were forgotten");
        assert_eq!(r.quantile(1.0), Some(2.0));
    }
}
