//! What several workers tell, in one order.
//!
//! Each thing told has a position: its place in the input, or the time where there is no one input. Workers tell theirs in
//! order of position, in batches, and say with each batch how far they are. The merge hands out what comes first by
//! position and then by worker, as soon as nobody can tell anything earlier any more. The order depends on what was told
//! alone, not on who was faster.

use std::collections::VecDeque;

/// What one worker told since its last batch.
#[derive(Debug)]
pub struct Batch<T> {
    /// In order of position.
    pub told: VecDeque<(u64, T)>,
    /// Everything at lower positions has been told.
    pub upto: u64,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { told: VecDeque::new(), upto: 0 }
    }
}

/// The merge of a number of workers.
#[derive(Debug)]
pub struct Merge<T> {
    workers: Vec<Pending<T>>,
}

#[derive(Debug)]
struct Pending<T> {
    batches: VecDeque<Batch<T>>,
    upto: u64,
}

impl<T> Pending<T> {
    fn first(&self) -> Option<u64> {
        self.batches.front().and_then(|batch| batch.told.front()).map(|(position, _)| *position)
    }

    /// Below this position, it will tell nothing more than what is here.
    fn silent_below(&self) -> u64 {
        self.first().unwrap_or(self.upto)
    }
}

impl<T> Merge<T> {
    /// Of so many workers, of which each is at position 0.
    pub fn new(workers: usize) -> Self {
        let pending = || Pending { batches: VecDeque::new(), upto: 0 };
        Self { workers: (0..workers).map(|_| pending()).collect() }
    }

    /// Takes a batch. A batch with nothing told only says how far its worker is; it comes back at once, for use again.
    pub fn push(&mut self, worker: usize, batch: Batch<T>) -> Option<Batch<T>> {
        let pending = &mut self.workers[worker];
        pending.upto = pending.upto.max(batch.upto);
        if batch.told.is_empty() {
            return Some(batch);
        }
        pending.batches.push_back(batch);
        None
    }

    /// What comes next: the worker, the position, what was told, and the batch it was the last of, for use again.
    /// `None` if a worker has to be heard first.
    pub fn next(&mut self) -> Option<(usize, u64, T, Option<Batch<T>>)> {
        let (mut at, mut worker) = (u64::MAX, 0);
        for (index, pending) in self.workers.iter().enumerate() {
            let below = pending.silent_below();
            if below < at {
                (at, worker) = (below, index);
            }
        }
        let pending = &mut self.workers[worker];
        let batch = pending.batches.front_mut()?;
        let (position, told) = batch.told.pop_front()?;
        let spent = if batch.told.is_empty() { pending.batches.pop_front() } else { None };
        Some((worker, position, told, spent))
    }

    /// The worker who holds things up: the first of those furthest behind. `None` once all have told everything.
    pub fn awaited(&self) -> Option<usize> {
        let behind = self.workers.iter().enumerate().min_by_key(|(_, pending)| pending.silent_below())?;
        (behind.1.batches.is_empty() && behind.1.upto < u64::MAX).then_some(behind.0)
    }

    /// Below this position, nothing more will come.
    pub fn upto(&self) -> u64 {
        self.workers.iter().map(Pending::silent_below).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(told: &[(u64, char)], upto: u64) -> Batch<char> {
        Batch { told: told.iter().copied().collect(), upto }
    }

    fn drain(merge: &mut Merge<char>) -> String {
        std::iter::from_fn(|| merge.next()).map(|(_, _, told, _)| told).collect()
    }

    #[test]
    fn nothing_comes_before_all_who_could_tell_something_earlier_were_heard() {
        let mut merge = Merge::new(2);
        assert_eq!(merge.awaited(), Some(0));
        merge.push(0, batch(&[(1, 'a'), (5, 'c')], 6));
        assert_eq!((drain(&mut merge), merge.awaited()), (String::new(), Some(1)));
        merge.push(1, batch(&[], 3));
        assert_eq!((drain(&mut merge), merge.awaited(), merge.upto()), ("a".into(), Some(1), 3));
        merge.push(1, batch(&[(3, 'b')], u64::MAX));
        assert_eq!((drain(&mut merge), merge.awaited()), ("bc".into(), Some(0)));
        merge.push(0, batch(&[], u64::MAX));
        assert_eq!((merge.awaited(), merge.upto()), (None, u64::MAX));
    }

    #[test]
    fn at_one_position_workers_come_in_order() {
        let mut merge = Merge::new(3);
        merge.push(2, batch(&[(4, 'c')], 9));
        merge.push(0, batch(&[(4, 'a'), (4, 'b')], 9));
        merge.push(1, batch(&[], 4));
        assert_eq!(drain(&mut merge), "ab", "the second may still tell something at 4");
        merge.push(1, batch(&[], 5));
        assert_eq!(drain(&mut merge), "c");
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_positions_whoever_is_faster(
            told in prop::collection::vec((0_usize..4, 0_u64..50), 0..200),
            turns in prop::collection::vec(0_usize..4, 0..400),
        ) {
            let mut told = told;
            told.sort_by_key(|(worker, position)| (*position, *worker));
            let expected: Vec<(usize, u64)> = told.clone();
            // Each worker tells one thing per batch, in the order of `turns`, and ends when nobody wants to go on.
            let mut queues: Vec<VecDeque<u64>> = vec![VecDeque::new(); 4];
            for (worker, position) in told {
                queues[worker].push_back(position);
            }
            let mut merge = Merge::new(4);
            let mut seen = Vec::new();
            let rest = (0..4).cycle().take(4 * 201);
            for worker in turns.into_iter().chain(rest) {
                let position = queues[worker].pop_front();
                let told = position.map(|p| (p, ())).into_iter().collect();
                let upto = queues[worker].front().copied().unwrap_or(u64::MAX);
                merge.push(worker, Batch { told, upto });
                seen.extend(std::iter::from_fn(|| merge.next()).map(|(w, p, ..)| (w, p)));
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(merge.awaited(), None);
        }
    }
}
