//! What several workers tell, in one order.
//!
//! Each thing told has a position: its place in the input, or the time where there is no one input. Workers tell theirs in
//! order of position, in batches, and say with each batch how far they are. The merge hands out what comes first by
//! position, as soon as nobody can tell anything earlier any more; where several workers tell something at one position,
//! what comes first is what [`Order`] says, and then who. The order depends on what was told alone, not on who was faster.

use std::collections::VecDeque;

/// What has an order among what several workers tell at one position.
pub trait Order {
    /// Least first; `None` if it belongs to what the same worker told before it.
    fn order(&self) -> Option<(u8, u64)>;
}

/// What one worker told since its last batch.
#[derive(Debug)]
pub struct Batch<T> {
    /// In order.
    pub told: Vec<T>,
    /// Where what was told belongs, in order of position.
    pub marks: Vec<Mark>,
    /// Everything at lower positions has been told.
    pub upto: u64,
}

/// A position of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Place in the input, or time.
    pub position: u64,
    /// Where what was told here ends in [`Batch::told`]; it begins where that of the mark before ends.
    pub end: usize,
    /// The clock, if it ticks here: all that was told before is of an earlier time.
    pub tick_ns: Option<u64>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { told: Vec::new(), marks: Vec::new(), upto: 0 }
    }
}

impl<T> Batch<T> {
    /// Forgets all; the memory stays.
    pub fn clear(&mut self) {
        self.told.clear();
        self.marks.clear();
        self.upto = 0;
    }

    /// Marks the position of what was told since the last mark, if anything was.
    pub fn mark(&mut self, position: u64) {
        let end = self.told.len();
        if self.marks.last().map_or(0, |mark| mark.end) < end {
            self.marks.push(Mark { position, end, tick_ns: None });
        }
    }

    /// Marks a tick of the clock.
    pub fn tick(&mut self, position: u64, tick_ns: u64) {
        self.marks.push(Mark { position, end: self.told.len(), tick_ns: Some(tick_ns) });
    }
}

/// The merge of a number of workers.
#[derive(Debug)]
pub struct Merge<T> {
    workers: Vec<Pending<T>>,
    spent: Vec<(usize, Batch<T>)>,
}

#[derive(Debug)]
struct Pending<T> {
    batches: VecDeque<Batch<T>>,
    /// In the first batch: the next mark, and the next of what it marks.
    next: (usize, usize),
    upto: u64,
}

impl<T: Order> Pending<T> {
    fn mark(&self) -> Option<&Mark> {
        self.batches.front()?.marks.get(self.next.0)
    }

    /// Below this position, it will tell nothing more than what is here.
    fn silent_below(&self) -> u64 {
        self.mark().map_or(self.upto, |mark| mark.position)
    }

    /// The order of what comes next.
    fn order(&self) -> Option<(u8, u64)> {
        self.batches.front()?.told.get(self.next.1)?.order()
    }
}

/// What was told at one position by one worker.
#[derive(Debug, PartialEq, Eq)]
pub struct Next<'a, T> {
    /// In order; may be empty at a tick.
    pub told: &'a [T],
    /// As [`Mark::tick_ns`].
    pub tick_ns: Option<u64>,
}

impl<T: Order> Merge<T> {
    /// Of so many workers, of which each is at position 0.
    pub fn new(workers: usize) -> Self {
        let pending = || Pending { batches: VecDeque::new(), next: (0, 0), upto: 0 };
        Self { workers: (0..workers).map(|_| pending()).collect(), spent: Vec::new() }
    }

    /// Takes a batch.
    pub fn push(&mut self, worker: usize, batch: Batch<T>) {
        let pending = &mut self.workers[worker];
        pending.upto = pending.upto.max(batch.upto);
        if batch.marks.is_empty() {
            self.spent.push((worker, batch));
        } else {
            pending.batches.push_back(batch);
        }
    }

    /// What comes next. `None` if a worker has to be heard first.
    pub fn next(&mut self) -> Option<Next<'_, T>> {
        let (mut at, mut worker, mut shared) = (u64::MAX, 0, false);
        for (index, pending) in self.workers.iter_mut().enumerate() {
            if pending.batches.front().is_some_and(|batch| pending.next.0 == batch.marks.len()) {
                pending.next = (0, 0);
                self.spent.extend(pending.batches.pop_front().map(|batch| (index, batch)));
            }
            let below = pending.silent_below();
            shared = below == at || (shared && below > at);
            if below < at {
                (at, worker) = (below, index);
            }
        }
        if shared {
            worker = self.first_at(at)?;
        }
        let pending = &mut self.workers[worker];
        let mark = *pending.mark()?;
        let from = pending.next.1;
        // One by one where others tell something at the same position.
        let to = if shared { mark.end.min(from + 1) } else { mark.end };
        pending.next = (pending.next.0 + usize::from(to == mark.end), to);
        let told = pending.batches.front()?.told.get(from..to)?;
        Some(Next { told, tick_ns: mark.tick_ns })
    }

    /// Of the workers who are at this position, the one whose turn it is. `None` if one of them has to be heard first.
    fn first_at(&self, position: u64) -> Option<usize> {
        let mut first: Option<(Option<(u8, u64)>, usize)> = None;
        for (index, pending) in self.workers.iter().enumerate() {
            if pending.silent_below() == position {
                pending.mark()?;
                let own = (pending.order(), index);
                first = Some(first.map_or(own, |other| other.min(own)));
            }
        }
        first.map(|(_, index)| index)
    }

    /// Batches all of which has been handed out, with their workers, for use again; not yet cleared.
    pub fn spent(&mut self) -> impl Iterator<Item = (usize, Batch<T>)> + '_ {
        self.spent.drain(..)
    }

    /// The worker who holds things up, asked when [`Self::next`] has nothing: the first of those furthest behind. `None`
    /// once all have told everything, that is up to [`u64::MAX`].
    pub fn awaited(&self) -> Option<usize> {
        let behind = self.workers.iter().enumerate().min_by_key(|(_, pending)| pending.silent_below())?;
        (behind.1.silent_below() < u64::MAX).then_some(behind.0)
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

    impl Order for char {
        fn order(&self) -> Option<(u8, u64)> {
            (*self != '+').then_some((u8::from(self.is_uppercase()), u64::from(*self)))
        }
    }

    impl Order for (usize, u64) {
        fn order(&self) -> Option<(u8, u64)> {
            Some((0, self.0 as u64))
        }
    }

    fn batch(told: &[(u64, char)], upto: u64) -> Batch<char> {
        let mut batch = Batch { upto, ..Batch::default() };
        for (position, what) in told {
            batch.told.push(*what);
            batch.mark(*position);
        }
        batch
    }

    fn drain(merge: &mut Merge<char>) -> String {
        let mut all = String::new();
        while let Some(next) = merge.next() {
            all.extend(next.told);
        }
        all
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
    fn at_one_position_things_come_in_their_order() {
        let mut merge = Merge::new(3);
        merge.push(2, batch(&[(3, 'z'), (4, 'b'), (4, '+'), (4, 'A')], 9));
        merge.push(0, batch(&[(4, 'a'), (4, 'c'), (4, 'B')], 9));
        merge.push(1, batch(&[], 4));
        assert_eq!(drain(&mut merge), "z", "the second may still tell something at 4");
        assert_eq!(merge.awaited(), Some(1));
        merge.push(1, batch(&[(5, 'y')], 6));
        assert_eq!(drain(&mut merge), "ab+cABy");
    }

    #[test]
    fn ticks_come_where_they_are_marked() {
        let mut merge = Merge::new(2);
        let mut first = batch(&[(4, 'a')], 0);
        first.tick(5, 100);
        first.upto = 9;
        merge.push(0, first);
        merge.push(1, batch(&[(4, 'b'), (6, 'c')], 9));
        let mut all = String::new();
        while let Some(next) = merge.next() {
            all.extend(next.told);
            all.extend(next.tick_ns.map(|_| '!'));
        }
        assert_eq!(all, "ab!c");
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
            let mut seen: Vec<(usize, u64)> = Vec::new();
            let rest = (0..4).cycle().take(4 * 201);
            for worker in turns.into_iter().chain(rest) {
                let position = queues[worker].pop_front();
                let mut batch = merge.spent().map(|(_, batch)| batch).last().unwrap_or_default();
                batch.clear();
                batch.upto = queues[worker].front().copied().unwrap_or(u64::MAX);
                if let Some(position) = position {
                    batch.told.push((worker, position));
                    batch.mark(position);
                }
                merge.push(worker, batch);
                while let Some(next) = merge.next() {
                    seen.extend(next.told);
                }
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(merge.awaited(), None);
        }
    }
}
