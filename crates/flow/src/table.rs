//! The table of flows and the lists its timers run on.

use crate::event::{EntityId, FlowId};
use crate::index::{Index, NONE};
use crate::sketch::{halves, mix};
use crate::{FlowKey, FlowRecord, Outcome};

/// Log2 of a timer tick, ns: 0.27 s.
const TICK_SHIFT: u32 = 28;
/// Buckets of the timer wheel: it spans 275 s; later deadlines are put off until their turn comes.
const BUCKETS: usize = 1024;
/// List of flows that wait for their first answer.
const WAITING: u16 = BUCKETS as u16;
/// In no list.
const NOWHERE: u16 = u16::MAX;
/// Flows looked at for eviction when the table is full.
const EVICTION_SAMPLE: usize = 16;

/// A flow without a session that may still get one.
pub(crate) const FRESH: u32 = u32::MAX;
/// A flow that gets no session any more.
pub(crate) const OVER: u32 = u32::MAX - 1;

/// A flow and what the tracker keeps beside its record.
pub(crate) struct Slot {
    pub(crate) record: FlowRecord,
    pub(crate) source: EntityId,
    pub(crate) target: EntityId,
    pub(crate) generation: u32,
    prev: u32,
    next: u32,
    /// When it began by the tracker's clock, ms, wrapped.
    pub(crate) begun_ms: u32,
    /// [`crate::Entity`]'s round of sets in which this flow's peer was last inserted, by role; 0 for never.
    pub(crate) peer_rounds: [u32; 2],
    /// Second of the clock, wrapped, in which its addresses last counted.
    pub(crate) counted_second: u16,
    list: u16,
    /// Its session: a place in the table of sessions, [`FRESH`] or [`OVER`].
    pub(crate) session: u32,
    /// Datagrams whose application was looked for.
    pub(crate) looked: u8,
    /// Oddities told of, by bit.
    pub(crate) odd: u8,
    /// A failure was counted.
    pub(crate) failed: bool,
    /// Can't fail (see [`crate::tracker`]).
    pub(crate) exempt: bool,
    /// Fed by snapshots.
    pub(crate) merged: bool,
    live: bool,
}

// Ten cache lines; the memory figure in the tracker's documentation rests on it.
const _: () = assert!(size_of::<Slot>() <= 640);

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// Bounded table of flows. Capacity: `flow_capacity`. When full, of the next [`EVICTION_SAMPLE`] flows in slot order the
/// one idle longest goes, of those never answered if there are any: a flood of forged openings displaces itself
/// rather than conversations.
///
/// A flow that left stays readable until [`Self::free_ended`].
pub(crate) struct Flows {
    seed: u64,
    capacity: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ended: Vec<u32>,
    index: Index,
    lists: Vec<List>,
    pub(crate) live: usize,
    eviction_hand: usize,
    /// The next bucket's tick.
    tick: u64,
}

impl Flows {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Self {
            seed,
            capacity,
            slots: Vec::with_capacity(capacity + 1),
            free: Vec::new(),
            ended: Vec::new(),
            index: Index::new(),
            lists: vec![List { head: NONE, tail: NONE }; BUCKETS + 1],
            live: 0,
            eviction_hand: 0,
            tick: 0,
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u32 {
        hash(self.seed, key)
    }

    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &FlowKey) -> Option<u32> {
        self.index.find(hash, |s| self.slots[s as usize].record.key == *key)
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// A flow by handle, until the call after the one that ended it.
    pub(crate) fn get(&self, id: FlowId) -> Option<&Slot> {
        self.slots.get(id.slot as usize).filter(|s| s.generation == id.generation)
    }

    pub(crate) fn id(&self, slot: u32) -> FlowId {
        FlowId { slot, generation: self.slots[slot as usize].generation }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.capacity
    }

    pub(crate) fn insert(
        &mut self,
        key_hash: u32,
        begun_ms: u32,
        record: FlowRecord,
        (source, target): (EntityId, EntityId),
        exempt: bool,
        merged: bool,
    ) -> u32 {
        let mut fresh = Slot {
            record,
            source,
            target,
            generation: 0,
            prev: NONE,
            next: NONE,
            begun_ms,
            peer_rounds: [0; 2],
            counted_second: 0,
            list: NOWHERE,
            session: FRESH,
            looked: 0,
            odd: 0,
            failed: false,
            exempt,
            merged,
            live: true,
        };
        let slot = if let Some(slot) = self.free.pop() {
            fresh.generation = self.slots[slot as usize].generation;
            self.slots[slot as usize] = fresh;
            slot
        } else {
            self.slots.push(fresh);
            (self.slots.len() - 1) as u32
        };
        let hash_of = |s: u32| hash(self.seed, &self.slots[s as usize].record.key);
        self.index.insert(key_hash, slot, hash_of);
        self.live += 1;
        slot
    }

    /// Takes a flow out; its record stays readable until [`Self::free_ended`].
    pub(crate) fn remove(&mut self, slot: u32) {
        self.unlink(slot);
        let hash_of = |s: u32| hash(self.seed, &self.slots[s as usize].record.key);
        self.index.remove(hash_of(slot), slot, hash_of);
        self.slots[slot as usize].live = false;
        self.ended.push(slot);
        self.live -= 1;
    }

    /// Lets go of the flows that ended since the last call; their handles become stale.
    #[inline]
    pub(crate) fn free_ended(&mut self) {
        while let Some(slot) = self.ended.pop() {
            let s = &mut self.slots[slot as usize];
            s.generation = s.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }

    /// The flow to give up for a new one.
    pub(crate) fn victim(&mut self) -> Option<u32> {
        let n = self.slots.len();
        let mut best: Option<(bool, u64, u32)> = None;
        let mut seen = 0;
        // Slots that ended in this call lie between the live ones; step over them without counting.
        for _ in 0..n {
            let at = self.eviction_hand;
            self.eviction_hand = (at + 1) % n;
            let s = &self.slots[at];
            if !s.live {
                continue;
            }
            let rank = (s.record.outcome == Outcome::Answered, s.record.last_ns(), at as u32);
            if best.is_none_or(|b| rank < b) {
                best = Some(rank);
            }
            seen += 1;
            if seen == EVICTION_SAMPLE {
                break;
            }
        }
        best.map(|(_, _, slot)| slot)
    }

    /// A live slot at or after `from`, for walking the table in slot order.
    pub(crate) fn next_live(&self, from: u32) -> Option<u32> {
        self.slots.iter().skip(from as usize).position(|s| s.live).map(|i| from + i as u32)
    }

    // --- timers -----------------------------------------------------------------------------------------------

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
        let head = self.lists[WAITING as usize].head;
        (head != NONE).then_some(head)
    }

    /// Has the flow looked at once `due_ns` has passed, or before.
    pub(crate) fn wake_at(&mut self, slot: u32, due_ns: u64) {
        let tick = (due_ns >> TICK_SHIFT).saturating_add(1).clamp(self.tick, self.tick + BUCKETS as u64 - 1);
        let bucket = (tick % BUCKETS as u64) as u16;
        if self.at(slot).list != bucket {
            self.unlink(slot);
            self.link(slot, bucket);
        }
    }

    /// Turns the wheel to `now`; only while it is empty.
    pub(crate) fn restart_wheel(&mut self, now: u64) {
        self.tick = now >> TICK_SHIFT;
    }

    /// Whether [`Self::next_due`] has a bucket to turn to at `now`.
    #[inline]
    pub(crate) fn is_tick_due(&self, now: u64) -> bool {
        now >> TICK_SHIFT >= self.tick
    }

    /// Empties the next bucket that is due at `now` into `woken`; false when none is left.
    pub(crate) fn next_due(&mut self, now: u64, woken: &mut Vec<u32>) -> bool {
        let current = now >> TICK_SHIFT;
        if current < self.tick {
            return false;
        }
        // After a long silence one turn of the wheel meets every flow.
        if current - self.tick >= BUCKETS as u64 {
            self.tick = current - BUCKETS as u64 + 1;
        }
        let bucket = (self.tick % BUCKETS as u64) as usize;
        self.tick += 1;
        while self.lists[bucket].head != NONE {
            let slot = self.lists[bucket].head;
            self.unlink(slot);
            woken.push(slot);
        }
        true
    }

    fn link(&mut self, slot: u32, list: u16) {
        let tail = self.lists[list as usize].tail;
        let s = &mut self.slots[slot as usize];
        s.list = list;
        s.prev = tail;
        s.next = NONE;
        if tail == NONE {
            self.lists[list as usize].head = slot;
        } else {
            self.slots[tail as usize].next = slot;
        }
        self.lists[list as usize].tail = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        let (list, prev, next) = (s.list, s.prev, s.next);
        if list == NOWHERE {
            return;
        }
        s.list = NOWHERE;
        if prev == NONE {
            self.lists[list as usize].head = next;
        } else {
            self.slots[prev as usize].next = next;
        }
        if next == NONE {
            self.lists[list as usize].tail = prev;
        } else {
            self.slots[next as usize].prev = prev;
        }
    }
}

#[inline]
fn hash(seed: u64, key: &FlowKey) -> u32 {
    let (a, b) = halves(&key.lo);
    let (c, d) = halves(&key.hi);
    let e = u64::from(key.lo_port) << 48 | u64::from(key.hi_port) << 32 | u64::from(key.tunnel);
    let f = u64::from(key.vlan) << 8 | u64::from(key.protocol);
    let h = mix(mix(seed, a, b), mix(!seed, c, d), mix(seed ^ f, e, f));
    (h ^ (h >> 32)) as u32
}
