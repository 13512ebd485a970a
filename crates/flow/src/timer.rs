//! The timers of flows: lists through their slots.
//!
//! One list holds the flows that wait for an answer, all for the same time, so that the first is always the next due. All
//! others are in a wheel of buckets, one for each tick.

use crate::index::NONE;
use crate::table::Flows;

/// Log2 of a timer tick, ns: 0.27 s.
const TICK_SHIFT: u32 = 28;
/// Buckets of the timer wheel: it spans 275 s; later deadlines are put off until their turn comes.
const BUCKETS: usize = 1024;
/// List of flows that wait for their first answer.
const WAITING: u16 = BUCKETS as u16;
/// In no list.
pub(crate) const NOWHERE: u16 = u16::MAX;
#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// The lists, and where the wheel stands.
pub(crate) struct Timers {
    lists: Vec<List>,
    /// The next bucket's tick.
    tick: u64,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { lists: vec![List { head: NONE, tail: NONE }; BUCKETS + 1], tick: 0 }
    }
}

impl Flows {
    /// Appends the flow to the list of those that wait for an answer, all for the same time.
    pub(crate) fn wait_for_answer(&mut self, slot: u32) {
        self.unlink(slot);
        self.link(slot, WAITING);
    }

    pub(crate) fn is_waiting(&self, slot: u32) -> bool {
        self.at(slot).list == WAITING
    }

    /// The flow that has waited longest.
    #[inline]
    pub(crate) fn longest_waiting(&self) -> Option<u32> {
        let head = self.timers.lists[WAITING as usize].head;
        (head != NONE).then_some(head)
    }

    /// Has the flow looked at once `due_ns` has passed, or before.
    pub(crate) fn wake_at(&mut self, slot: u32, due_ns: u64) {
        let tick = (due_ns >> TICK_SHIFT)
            .saturating_add(1)
            .clamp(self.timers.tick, self.timers.tick + BUCKETS as u64 - 1);
        let bucket = (tick % BUCKETS as u64) as u16;
        if self.at(slot).list != bucket {
            self.unlink(slot);
            self.link(slot, bucket);
        }
    }

    /// Turns the wheel to `now`; only while it is empty.
    pub(crate) fn restart_wheel(&mut self, now: u64) {
        self.timers.tick = now >> TICK_SHIFT;
    }

    /// Whether [`Self::next_due`] has a bucket to turn to at `now`.
    #[inline]
    pub(crate) fn is_tick_due(&self, now: u64) -> bool {
        now >> TICK_SHIFT >= self.timers.tick
    }

    /// Empties the next bucket that is due at `now` into `woken`; false when none is left.
    pub(crate) fn next_due(&mut self, now: u64, woken: &mut Vec<u32>) -> bool {
        let current = now >> TICK_SHIFT;
        if current < self.timers.tick {
            return false;
        }
        // After a long silence one turn of the wheel meets every flow.
        if current - self.timers.tick >= BUCKETS as u64 {
            self.timers.tick = current - BUCKETS as u64 + 1;
        }
        let bucket = (self.timers.tick % BUCKETS as u64) as usize;
        self.timers.tick += 1;
        while self.timers.lists[bucket].head != NONE {
            let slot = self.timers.lists[bucket].head;
            self.unlink(slot);
            woken.push(slot);
        }
        true
    }

    fn link(&mut self, slot: u32, list: u16) {
        let tail = self.timers.lists[list as usize].tail;
        let s = &mut self.slots[slot as usize];
        s.list = list;
        s.prev = tail;
        s.next = NONE;
        if tail == NONE {
            self.timers.lists[list as usize].head = slot;
        } else {
            self.slots[tail as usize].next = slot;
        }
        self.timers.lists[list as usize].tail = slot;
    }

    /// Takes the flow out of the list it is in.
    pub(crate) fn unlink(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        let (list, prev, next) = (s.list, s.prev, s.next);
        if list == NOWHERE {
            return;
        }
        s.list = NOWHERE;
        if prev == NONE {
            self.timers.lists[list as usize].head = next;
        } else {
            self.slots[prev as usize].next = next;
        }
        if next == NONE {
            self.timers.lists[list as usize].tail = prev;
        } else {
            self.slots[next as usize].prev = prev;
        }
    }
}
