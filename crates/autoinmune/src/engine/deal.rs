//! Frames to workers: whose each one is, and what time it is for all.

use super::captures::{Captures, Read};
use crossbeam_channel::{Receiver, Sender};
use flow::tracker::{CLOCK_RESTART_NS, TICK_NS};
use std::sync::Arc;
use wire::Steering;
use wire::capture::Block;

/// Positions of one frame: the tick before it, what the tick means to the judge, the frame, and its quote.
pub const STEPS: u64 = 4;

/// Something for one worker to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Before the frame at this index of the block, the clock is set to `at_ns`.
    Clock {
        /// The time, ns.
        at_ns: u64,
        /// The frame's index.
        before: u32,
        /// Whether all workers are told so, as the clock ticks or begins anew.
        tick: bool,
    },
    /// The frame at this index of the block is the worker's.
    Frame(u32),
    /// The frame at this index quotes a flow of the worker's.
    Quote(u32),
}

/// What one worker has to do with a block.
#[derive(Debug)]
pub struct Deal {
    /// The frames, those of other workers among them.
    pub block: Arc<Block>,
    /// In order.
    pub items: Vec<Item>,
    /// Position of the block's first frame.
    pub position: u64,
    /// The input ends behind this block, at this time.
    pub end_ns: Option<u64>,
}

impl Deal {
    /// Position behind the block.
    pub fn upto(&self) -> u64 {
        self.position + STEPS * self.block.len() as u64
    }
}

/// Memory on its way back.
#[derive(Debug)]
pub struct Spent {
    /// The block, by the last worker that had it.
    pub block: Option<Block>,
    /// Items that were done.
    pub items: Vec<Item>,
}

/// The clock of an input, which ticks as that of [`flow::Tracker`] does.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    now_ns: u64,
    tick_ns: u64,
}

/// What a time means to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It ticks, or begins anew.
    Tick,
    /// It goes on.
    On,
    /// The time is past, and the clock stays.
    Behind,
}

impl Clock {
    #[inline]
    const fn step(&mut self, at_ns: u64) -> Step {
        if at_ns >= self.tick_ns || self.now_ns.saturating_sub(at_ns) > CLOCK_RESTART_NS {
            self.now_ns = at_ns;
            self.tick_ns = (at_ns / TICK_NS).saturating_add(1).saturating_mul(TICK_NS);
            Step::Tick
        } else if at_ns >= self.now_ns {
            self.now_ns = at_ns;
            Step::On
        } else {
            Step::Behind
        }
    }
}

/// Reads an input and deals it out, in order. One at a time, workers do so when they have nothing else to do: what they
/// have read and is theirs is then in their own processor's cache.
pub struct Dealer<'a, 'c> {
    captures: &'c mut Captures<'a>,
    steering: Steering,
    clock: Clock,
    position: u64,
    /// Empty once there is nothing more to deal.
    workers: Vec<Sender<Deal>>,
    spent: Receiver<Spent>,
    blocks: Vec<Block>,
    lists: Vec<Vec<Item>>,
}

impl<'a, 'c> Dealer<'a, 'c> {
    /// Of what comes next of `captures`, to as many workers as `steering` has. Memory comes back by `spent`.
    pub fn new(
        captures: &'c mut Captures<'a>,
        steering: Steering,
        workers: Vec<Sender<Deal>>,
        spent: Receiver<Spent>,
    ) -> Self {
        let clock = Clock::default();
        Self { captures, steering, clock, position: 0, workers, spent, blocks: Vec::new(), lists: Vec::new() }
    }

    /// Reads a block and deals it out, unless a worker still has `waiting` of them or nothing more is to be dealt.
    pub fn deal(&mut self, waiting: usize) {
        if self.workers.is_empty() || self.workers.iter().any(|worker| worker.len() >= waiting) {
            return;
        }
        for Spent { block, items } in self.spent.try_iter() {
            self.blocks.extend(block);
            self.lists.push(items);
        }
        let mut block = self.blocks.pop().unwrap_or_default();
        let more = self.captures.next(&mut block) == Read::Frames;
        let mut items: Vec<Vec<Item>> =
            self.workers.iter().map(|_| self.lists.pop().unwrap_or_default()).collect();
        steer(&block, &mut self.clock, &self.steering, &mut items);
        let block = Arc::new(block);
        let end_ns = if more { None } else { Some(self.clock.now_ns) };
        let position = self.position;
        self.position += STEPS * block.len() as u64;
        let all_there = self.workers.iter().zip(items).all(|(worker, items)| {
            worker.send(Deal { block: Arc::clone(&block), items, position, end_ns }).is_ok()
        });
        if !more || !all_there {
            self.end();
        }
    }

    /// Deals nothing more: workers who wait for something end.
    pub fn end(&mut self) {
        self.workers.clear();
    }
}

/// Lists what each worker has to do with a block.
fn steer(block: &Block, clock: &mut Clock, steering: &Steering, items: &mut [Vec<Item>]) {
    for (index, frame) in (0..).zip(block.iter()) {
        let step = clock.step(frame.ts_ns);
        if step == Step::Tick {
            for list in &mut *items {
                list.push(Item::Clock { at_ns: clock.now_ns, before: index, tick: true });
            }
        }
        let (worker, quoted) = match frame.link {
            Some(link) => {
                let route = steering.route(link, frame.data, frame.orig_len);
                (route.worker, route.quoted)
            }
            None => (0, None),
        };
        if step == Step::Behind {
            // This worker may not have seen what is later.
            items[worker].push(Item::Clock { at_ns: clock.now_ns, before: index, tick: false });
        }
        items[worker].push(Item::Frame(index));
        if let Some(quoted) = quoted {
            items[quoted].push(Item::Quote(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::{Tracker, TrackerConfig};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_clock_ticks_as_a_trackers_does(steps in prop::collection::vec((any::<bool>(), 0_u64..30_000_000_000), 1..60)) {
            let mut tracker = Tracker::new(TrackerConfig::default());
            let mut clock = Clock::default();
            let mut at_ns = 40_000_000_000_u64;
            for (forward, by) in steps {
                // Mostly small steps: the larger they are the rarer.
                let by = by >> (by % 32);
                at_ns = if forward { at_ns + by } else { at_ns.saturating_sub(by) };
                prop_assert_eq!(clock.step(at_ns) == Step::Tick, tracker.ticks_at(at_ns));
                tracker.advance(at_ns, &mut Vec::new());
                prop_assert_eq!(clock.now_ns, tracker.now_ns());
            }
        }
    }
}
