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

/// Where a worker writes what it tells.
pub trait Log: Default {
    /// Something told.
    type Item<'a>: Order
    where
        Self: 'a;
    /// A place in it; at first its beginning.
    type Cursor: Copy + Default + std::fmt::Debug;

    /// How much was told.
    fn len(&self) -> usize;
    /// What was told at a place, which moves on.
    fn read<'a>(&'a self, at: &mut Self::Cursor) -> Option<Self::Item<'a>>;
}

/// What one worker told since its last batch.
#[derive(Debug, Default)]
pub struct Batch<L> {
    /// In order.
    pub told: L,
    /// Where what was told belongs, in order of position.
    marks: Vec<Mark>,
    /// Everything at lower positions has been told.
    pub upto: u64,
}

/// A position of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Place in the input, or time.
    position: u64,
    /// How much of the batch was told up to here.
    end: usize,
    /// The clock, if it ticks here: all that was told before is of an earlier time.
    tick_ns: Option<u64>,
}

impl<L: Log> Batch<L> {
    /// Of a worker who tells nothing more.
    pub fn end() -> Self {
        Self { upto: u64::MAX, ..Self::default() }
    }

    /// For use again, `told` emptied by whoever knows how.
    pub fn again(mut told: Self, empty: impl FnOnce(&mut L)) -> Self {
        empty(&mut told.told);
        told.marks.clear();
        told.upto = 0;
        told
    }

    /// Marks the position of what was told since the last mark, if anything was.
    #[inline]
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
pub struct Merge<L: Log> {
    workers: Vec<Pending<L>>,
    spent: Vec<(usize, Batch<L>)>,
}

#[derive(Debug)]
struct Pending<L: Log> {
    batches: VecDeque<Batch<L>>,
    /// In the first batch: the mark whose turn it is, how much was read, and where reading goes on.
    mark: usize,
    read: usize,
    cursor: L::Cursor,
    upto: u64,
}

impl<L: Log> Pending<L> {
    fn mark(&self) -> Option<&Mark> {
        self.batches.front()?.marks.get(self.mark)
    }

    /// Below this position, it will tell nothing more than what is here.
    fn silent_below(&self) -> u64 {
        self.mark().map_or(self.upto, |mark| mark.position)
    }

    /// The order of what comes next.
    fn order(&self) -> Option<(u8, u64)> {
        self.batches.front()?.told.read(&mut { self.cursor })?.order()
    }
}

/// What comes next of all that was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Something told.
    Told(T),
    /// The clock ticks, ns.
    Tick(u64),
}

impl<L: Log> Merge<L> {
    /// Of so many workers, of which each is at position 0.
    pub fn new(workers: usize) -> Self {
        let pending =
            || Pending { batches: VecDeque::new(), mark: 0, read: 0, cursor: L::Cursor::default(), upto: 0 };
        Self { workers: (0..workers).map(|_| pending()).collect(), spent: Vec::new() }
    }

    /// Takes a batch.
    pub fn push(&mut self, worker: usize, batch: Batch<L>) {
        let pending = &mut self.workers[worker];
        pending.upto = pending.upto.max(batch.upto);
        if batch.marks.is_empty() {
            self.spent.push((worker, batch));
        } else {
            pending.batches.push_back(batch);
        }
    }

    /// What comes next. `None` if a worker has to be heard first.
    pub fn next(&mut self) -> Option<Next<L::Item<'_>>> {
        let (mut at, mut worker, mut shared) = (u64::MAX, 0, false);
        for (index, pending) in self.workers.iter_mut().enumerate() {
            if pending.batches.front().is_some_and(|batch| pending.mark == batch.marks.len()) {
                (pending.mark, pending.read, pending.cursor) = (0, 0, L::Cursor::default());
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
        if let Some(tick_ns) = mark.tick_ns {
            pending.mark += 1;
            return Some(Next::Tick(tick_ns));
        }
        pending.read += 1;
        pending.mark += usize::from(pending.read == mark.end);
        pending.batches.front()?.told.read(&mut pending.cursor).map(Next::Told)
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
    pub fn spent(&mut self) -> impl Iterator<Item = (usize, Batch<L>)> + '_ {
        self.spent.drain(..)
    }

    /// The worker who holds things up, asked when [`Self::next`] has nothing: the first of those furthest behind of whom
    /// nothing is here. `None` once all have told everything, that is up to [`u64::MAX`].
    pub fn awaited(&self) -> Option<usize> {
        let workers = self.workers.iter().enumerate();
        let (_, _, first) = workers.map(|(index, w)| (w.silent_below(), w.mark().is_some(), index)).min()?;
        (self.workers[first].silent_below() < u64::MAX).then_some(first)
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

    impl<T: Order + Copy> Log for Vec<T> {
        type Item<'a>
            = T
        where
            T: 'a;
        type Cursor = usize;

        fn len(&self) -> usize {
            Self::len(self)
        }

        fn read(&self, at: &mut usize) -> Option<T> {
            *at += 1;
            self.get(*at - 1).copied()
        }
    }

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

    fn batch(told: &[(u64, char)], upto: u64) -> Batch<Vec<char>> {
        let mut batch: Batch<Vec<char>> = Batch { upto, ..Batch::default() };
        for (position, what) in told {
            batch.told.push(*what);
            batch.mark(*position);
        }
        batch
    }

    fn drain(merge: &mut Merge<Vec<char>>) -> String {
        let mut all = String::new();
        while let Some(next) = merge.next() {
            all.push(match next {
                Next::Told(told) => told,
                Next::Tick(_) => '!',
            });
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
        assert_eq!(drain(&mut merge), "ab!c");
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
            let mut merge: Merge<Vec<(usize, u64)>> = Merge::new(4);
            let mut seen: Vec<(usize, u64)> = Vec::new();
            let rest = (0..4).cycle().take(4 * 201);
            for worker in turns.into_iter().chain(rest) {
                let position = queues[worker].pop_front();
                let batch = merge.spent().map(|(_, batch)| batch).last().unwrap_or_default();
                let mut batch = Batch::again(batch, Vec::clear);
                batch.upto = queues[worker].front().copied().unwrap_or(u64::MAX);
                if let Some(position) = position {
                    batch.told.push((worker, position));
                    batch.mark(position);
                }
                merge.push(worker, batch);
                while let Some(Next::Told(told)) = merge.next() {
                    seen.push(told);
                }
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(merge.awaited(), None);
        }
    }
}
