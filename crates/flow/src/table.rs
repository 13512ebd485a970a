//! The table of flows.

use crate::index::{Index, NONE};
use crate::sketch::{halves, mix};
use crate::slot::{Depth, FRESH, Full, Mark, OVER, Slab, Slot};
use crate::summary::{Summary, Young};
use crate::timer::Timers;
use crate::{Conversation, Direction, FlowKey, FlowRecord, FlowStats, Outcome, Talk};
use wire::Packet;
use wire::packet::protocol;

/// Flows looked at for eviction when the table is full.
const EVICTION_SAMPLE: usize = 16;
/// Records kept for use again: what some batches of events hold, half a megabyte.
const MAX_SPARE: usize = 1024;

/// How a flow enters the table.
#[derive(Clone, Copy, Default)]
pub(crate) struct Arrival {
    /// Its packets, if it is to be kept as these.
    pub(crate) young: Option<Young>,
    /// It continues one cut by the active timeout.
    pub(crate) resumed: bool,
    /// Fed by snapshots.
    pub(crate) merged: bool,
}

/// Bounded table of flows. Capacity: `flow_capacity`. When full, of the next [`EVICTION_SAMPLE`] flows in slot order the
/// one idle longest goes, of those never answered if there are any: a flood of forged openings displaces itself
/// rather than conversations.
///
/// A flow is kept as its packets as long as these are one or two without a session, then as their sums. Which of both is
/// of no consequence but for memory.
pub(crate) struct Flows {
    seed: u64,
    capacity: usize,
    pub(crate) slots: Vec<Slot>,
    /// First of the free slots, which are linked by `next`.
    free: u32,
    seconds: Slab<Summary>,
    full: Slab<Full>,
    /// Record of the young flow in slot `opened`, or of one about to enter.
    draft: FlowRecord,
    /// Records given out and taken back, at most [`MAX_SPARE`].
    #[expect(clippy::vec_box, reason = "it is the boxes that are used again")]
    spare: Vec<Box<FlowRecord>>,
    opened: u32,
    index: Index,
    pub(crate) timers: Timers,
    pub(crate) live: usize,
    /// No slot below is live.
    lowest: u32,
    eviction_hand: usize,
}

impl Flows {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Self {
            seed,
            capacity,
            slots: Vec::with_capacity(capacity),
            free: NONE,
            seconds: Slab::new(capacity),
            full: Slab::new(capacity),
            draft: FlowRecord::NOTHING,
            spare: Vec::new(),
            opened: NONE,
            index: Index::new(),
            timers: Timers::new(),
            live: 0,
            lowest: 0,
            eviction_hand: 0,
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u32 {
        hash(self.seed, key)
    }

    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &FlowKey) -> Option<u32> {
        self.index.find(hash, |s| self.slots[s as usize].key == *key)
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.capacity
    }

    /// The record of a flow about to enter, to be filled in; [`Self::insert`] takes it from here.
    #[inline]
    pub(crate) fn draft(&mut self) -> &mut FlowRecord {
        self.opened = NONE;
        &mut self.draft
    }

    /// Puts the flow of the draft into the table.
    pub(crate) fn insert(&mut self, key_hash: u32, begun_ms: u32, arrival: &Arrival, exempt: bool) -> u32 {
        let mut fresh = Slot::new(&self.draft, begun_ms);
        fresh.mark(Mark::Exempt, exempt);
        fresh.mark(Mark::Merged, arrival.merged);
        match &arrival.young {
            None => fresh.more = self.full.insert(Full::new(&self.draft, FRESH)),
            Some(Young { first, second: None }) => (fresh.first, fresh.depth) = (*first, Depth::One),
            Some(Young { first, second: Some(second) }) => {
                (fresh.first, fresh.depth) = (*first, Depth::Two);
                fresh.more = self.seconds.insert(*second);
            }
        }
        let young = fresh.depth != Depth::Full;
        let slot = self.free;
        let slot = if slot == NONE {
            self.slots.push(fresh);
            (self.slots.len() - 1) as u32
        } else {
            let place = &mut self.slots[slot as usize];
            self.free = place.next;
            *place = fresh;
            slot
        };
        if young {
            self.opened = slot;
        }
        let hash_of = |s: u32| hash(self.seed, &self.slots[s as usize].key);
        self.index.insert(key_hash, slot, hash_of);
        self.lowest = self.lowest.min(slot);
        self.live += 1;
        slot
    }

    // --- records ----------------------------------------------------------------------------------------------

    /// A flow's packets, if it is kept as these.
    #[inline]
    fn young(&self, slot: u32) -> Option<Young> {
        let s = self.at(slot);
        match s.depth {
            Depth::One => Some(Young { first: s.first, second: None }),
            Depth::Two => Some(Young { first: s.first, second: Some(*self.seconds.at(s.more)) }),
            Depth::Free | Depth::Full => None,
        }
    }

    #[inline]
    fn full(&self, slot: u32) -> Option<&Full> {
        let s = self.at(slot);
        (s.depth == Depth::Full).then(|| self.full.at(s.more))
    }

    #[inline]
    pub(crate) fn full_mut(&mut self, slot: u32) -> Option<&mut Full> {
        let s = &self.slots[slot as usize];
        if s.depth == Depth::Full { Some(self.full.at_mut(s.more)) } else { None }
    }

    /// Sums of a flow, as they stand.
    #[inline]
    pub(crate) fn stats(&mut self, slot: u32) -> &FlowStats {
        let s = &self.slots[slot as usize];
        if s.depth == Depth::Full {
            return &self.full.at(s.more).record.stats;
        }
        self.open(slot);
        &self.draft.stats
    }

    /// Makes the record of a young flow, if it is not the one at hand.
    #[inline]
    fn open(&mut self, slot: u32) {
        if self.opened != slot
            && let Some(young) = self.young(slot)
        {
            let s = &self.slots[slot as usize];
            self.draft.key = s.key;
            self.draft.outcome = s.outcome;
            self.draft.talk = s.talk();
            young.sum_up(s.key.protocol, &mut self.draft.stats);
            self.opened = slot;
        }
    }

    /// A copy of a flow as it stands.
    pub(crate) fn record(&mut self, slot: u32) -> Box<FlowRecord> {
        let mut record = self.spare.pop().unwrap_or_else(|| Box::new(FlowRecord::NOTHING));
        self.copy_record(slot, &mut record);
        record
    }

    /// Puts a flow's record into `to`.
    pub(crate) fn copy_record(&self, slot: u32, to: &mut FlowRecord) {
        match self.full(slot) {
            Some(full) => *to = full.record,
            None if self.opened == slot => *to = self.draft,
            None => self.make_record(slot, to),
        }
    }

    #[inline(never)]
    fn make_record(&self, slot: u32, to: &mut FlowRecord) {
        let s = self.at(slot);
        *to = FlowRecord { key: s.key, outcome: s.outcome, talk: s.talk(), ..FlowRecord::NOTHING };
        if let Some(young) = self.young(slot) {
            young.sum_up(s.key.protocol, &mut to.stats);
        }
    }

    /// Takes back what [`Self::record`] gave out.
    pub(crate) fn take_back(&mut self, record: Box<FlowRecord>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(record);
        }
    }

    /// What is worth knowing of a flow.
    #[inline]
    pub(crate) fn conversation(&self, slot: u32) -> Conversation {
        let s = self.at(slot);
        if let Some(full) = self.full(slot) {
            return Conversation::from_parts(&s.key, &full.record.stats, full.record.talk.app);
        }
        let (initiator, young) = (s.initiator(), self.young(slot));
        Conversation {
            key: s.key,
            first_ns: young.map_or(0, |y| y.first_ns()),
            syn_window: young
                .filter(|_| s.key.protocol == protocol::TCP)
                .and_then(|y| y.syn_window(initiator)),
            initiator,
            app: s.app,
            replied: young.is_some_and(|y| y.replied(initiator)),
        }
    }

    /// Whether a flow's connection is over.
    #[inline]
    pub(crate) fn is_over(&mut self, slot: u32) -> bool {
        if self.young(slot).is_some_and(|y| !y.may_be_over(self.at(slot).key.protocol)) {
            return false;
        }
        self.stats(slot).is_over()
    }

    pub(crate) fn set_outcome(&mut self, slot: u32, outcome: Outcome) {
        self.slots[slot as usize].outcome = outcome;
        if let Some(full) = self.full_mut(slot) {
            full.record.outcome = outcome;
        } else if self.opened == slot {
            self.draft.outcome = outcome;
        }
    }

    /// Time of a flow's first packet, ns.
    pub(crate) fn first_ns(&self, slot: u32) -> u64 {
        match (self.young(slot), self.full(slot)) {
            (Some(young), _) => young.first_ns(),
            (None, Some(full)) => full.record.first_ns(),
            (None, None) => 0,
        }
    }

    /// Time of a flow's last packet, ns.
    pub(crate) fn last_ns(&self, slot: u32) -> u64 {
        match (self.young(slot), self.full(slot)) {
            (Some(young), _) => young.last_ns(),
            (None, Some(full)) => full.record.last_ns(),
            (None, None) => 0,
        }
    }

    /// Adds a packet to a flow.
    #[inline]
    pub(crate) fn account(&mut self, slot: u32, now_ns: u64, packet: &Packet<'_>, direction: Direction) {
        if let Some(full) = self.full_mut(slot) {
            full.record.stats.account(now_ns, packet, direction);
            return;
        }
        self.open(slot);
        self.draft.stats.account(now_ns, packet, direction);
        let s = &mut self.slots[slot as usize];
        match Summary::of(now_ns, packet, direction) {
            Some(second) if s.depth == Depth::One => {
                s.depth = Depth::Two;
                s.more = self.seconds.insert(second);
            }
            _ => self.grow(slot),
        }
    }

    /// Keeps the record at hand instead of the packets they are of.
    fn grow(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        if s.depth == Depth::Two {
            self.seconds.remove(s.more);
        }
        let session = if s.is(Mark::Over) { OVER } else { FRESH };
        s.more = self.full.insert(Full::new(&self.draft, session));
        s.depth = Depth::Full;
        self.opened = NONE;
    }

    /// The flow's full record, which it gets if it has none.
    fn grown(&mut self, slot: u32) -> &mut Full {
        if self.slots[slot as usize].depth != Depth::Full {
            self.open(slot);
            self.grow(slot);
        }
        self.full.at_mut(self.slots[slot as usize].more)
    }

    /// Replaces the sums of a flow.
    pub(crate) fn set_stats(&mut self, slot: u32, stats: &FlowStats) {
        let s = self.at(slot);
        let young = Young::of_stats(stats, s.key.protocol).filter(|_| self.is_plain(slot));
        self.slots[slot as usize].set_initiator(stats.initiator);
        let Some(young) = young else {
            self.grown(slot).record.stats = *stats;
            return;
        };
        let (talk, session) = (self.talk(slot), self.session(slot));
        self.free_rest(slot);
        let more = young.second.map(|second| self.seconds.insert(second));
        let s = &mut self.slots[slot as usize];
        (s.first, s.depth) = (young.first, if more.is_some() { Depth::Two } else { Depth::One });
        (s.more, s.app) = (more.unwrap_or(NONE), talk.app);
        s.mark(Mark::Over, session == OVER);
        self.open(slot);
    }

    /// Whether there is nothing to a flow but its packets.
    fn is_plain(&self, slot: u32) -> bool {
        let talk = self.talk(slot);
        self.session(slot) >= OVER && talk == (Talk { app: talk.app, ..Talk::NOTHING })
    }

    /// Frees what a flow has beside its slot.
    fn free_rest(&mut self, slot: u32) {
        let s = &self.slots[slot as usize];
        match s.depth {
            Depth::Two => self.seconds.remove(s.more),
            Depth::Full => self.full.remove(s.more),
            Depth::Free | Depth::One => {}
        }
        if self.opened == slot {
            self.opened = NONE;
        }
    }

    /// What was said in a flow.
    pub(crate) fn talk(&self, slot: u32) -> Talk {
        self.full(slot).map_or_else(|| self.at(slot).talk(), |full| full.record.talk)
    }

    pub(crate) fn set_talk(&mut self, slot: u32, talk: Talk) {
        if let Some(full) = self.full_mut(slot) {
            full.record.talk = talk;
        } else if talk == (Talk { app: talk.app, ..Talk::NOTHING }) {
            self.at_mut(slot).app = talk.app;
            if self.opened == slot {
                self.draft.talk = talk;
            }
        } else {
            self.grown(slot).record.talk = talk;
        }
    }

    /// A flow's session: a place in the table of sessions, [`FRESH`] or [`OVER`].
    #[inline]
    pub(crate) fn session(&self, slot: u32) -> u32 {
        match self.full(slot) {
            Some(full) => full.session,
            None if self.at(slot).is(Mark::Over) => OVER,
            None => FRESH,
        }
    }

    pub(crate) fn set_session(&mut self, slot: u32, session: u32) {
        if let Some(full) = self.full_mut(slot) {
            full.session = session;
        } else if session >= OVER {
            self.at_mut(slot).mark(Mark::Over, session == OVER);
        } else {
            self.grown(slot).session = session;
        }
    }

    // --- ends -------------------------------------------------------------------------------------------------

    /// Takes a flow out.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.unlink(slot);
        let hash_of = |s: u32| hash(self.seed, &self.slots[s as usize].key);
        self.index.remove(hash_of(slot), slot, hash_of);
        self.free_rest(slot);
        let s = &mut self.slots[slot as usize];
        s.mark(Mark::Live, false);
        s.depth = Depth::Free;
        s.next = std::mem::replace(&mut self.free, slot);
        self.live -= 1;
    }

    /// The flow to give up for a new one.
    pub(crate) fn victim(&mut self) -> Option<u32> {
        let n = self.slots.len();
        let mut best: Option<(bool, u64, u32)> = None;
        let mut seen = 0;
        // Free slots may lie between the live ones; step over them without counting.
        for _ in 0..n {
            let at = self.eviction_hand;
            self.eviction_hand = (at + 1) % n;
            let s = &self.slots[at];
            if !s.is(Mark::Live) {
                continue;
            }
            let rank = (s.outcome == Outcome::Answered, self.last_ns(at as u32), at as u32);
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

    /// The live flow in the lowest slot.
    pub(crate) fn lowest_live(&mut self) -> Option<u32> {
        let above = self.slots.iter().skip(self.lowest as usize).position(|s| s.is(Mark::Live));
        self.lowest = above.map_or(self.slots.len(), |i| self.lowest as usize + i) as u32;
        above.map(|_| self.lowest)
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
