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

/// Deals out all of one input. Ends early if a worker is gone.
pub fn deal(
    captures: &mut Captures<'_>,
    steering: &Steering,
    workers: &[Sender<Deal>],
    spent: &Receiver<Spent>,
) {
    let mut clock = Clock::default();
    let mut position = 0;
    let (mut blocks, mut lists): (Vec<Block>, Vec<Vec<Item>>) = (Vec::new(), Vec::new());
    loop {
        for Spent { block, items } in spent.try_iter() {
            blocks.extend(block);
            lists.push(items);
        }
        let mut block = blocks.pop().unwrap_or_default();
        let more = captures.next(&mut block) == Read::Frames;
        let mut items: Vec<Vec<Item>> = workers.iter().map(|_| lists.pop().unwrap_or_default()).collect();
        steer(&block, &mut clock, steering, &mut items);
        let block = Arc::new(block);
        let end_ns = if more { None } else { Some(clock.now_ns) };
        for (worker, items) in workers.iter().zip(items) {
            let deal = Deal { block: Arc::clone(&block), items, position, end_ns };
            if worker.send(deal).is_err() {
                return;
            }
        }
        position += STEPS * block.len() as u64;
        if !more {
            return;
        }
    }
}

/// Lists what each worker has to do with a block.
fn steer(block: &Block, clock: &mut Clock, steering: &Steering, items: &mut [Vec<Item>]) {
    for (index, frame) in (0..).zip(block.iter()) {
        let past_ns = clock.now_ns;
        let step = clock.step(frame.ts_ns);
        if step == Step::Tick {
            for list in &mut *items {
                // What a worker has not told yet is told by the time of then, which is that of all frames before.
                if past_ns > 0 {
                    list.push(Item::Clock { at_ns: past_ns, before: index, tick: false });
                }
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
