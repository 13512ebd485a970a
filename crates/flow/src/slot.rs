//! What the flow table keeps of one flow.

use crate::index::NONE;
use crate::summary::Summary;
use crate::timer::NOWHERE;
use crate::{App, Direction, FlowKey, FlowRecord, Outcome, Talk};
use wire::Addr;

/// A flow without a session that may still get one.
pub(crate) const FRESH: u32 = u32::MAX;
/// A flow that gets no session any more.
pub(crate) const OVER: u32 = u32::MAX - 1;

/// How much of a flow is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The slot is free.
    Free,
    /// Its only packet, in the slot.
    One,
    /// Its two packets, the second one elsewhere.
    Two,
    /// Its sums, elsewhere.
    Full,
}

/// A flow: what every flow has, and its first packet or where the rest is.
pub(crate) struct Slot {
    pub(crate) key: FlowKey,
    /// Slots of its entities, good as long as these have the same address and role.
    pub(crate) entities: [u32; 2],
    pub(crate) generation: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// When it began by the tracker's clock, ms, wrapped.
    pub(crate) begun_ms: u32,
    pub(crate) first: Summary,
    /// Place of what [`Depth`] says.
    pub(crate) more: u32,
    /// The list it is in.
    pub(crate) list: u16,
    pub(crate) depth: Depth,
    pub(crate) outcome: Outcome,
    /// Application of a young flow; that of others is in their record.
    pub(crate) app: App,
    /// Datagrams whose application was looked for.
    pub(crate) looked: u8,
    /// Oddities told of, by bit.
    pub(crate) odd: u8,
    marks: u8,
}

/// What is so of a flow or not, each a bit of [`Slot::marks`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Mark {
    /// In the table; not so of flows that ended in this call.
    Live = 1,
    /// The initiator's packets go from the higher endpoint to the lower one.
    Downwards = 2,
    /// A young flow gets no session any more.
    Over = 4,
    /// A failure was counted.
    Failed = 8,
    /// Can't fail (see [`crate::outcome`]).
    Exempt = 16,
    /// Fed by snapshots.
    Merged = 32,
}

// The memory figure in the tracker's documentation rests on it.
const _: () = assert!(size_of::<Slot>() <= 104);

impl Slot {
    /// A live flow that no list holds yet.
    pub(crate) fn new(record: &FlowRecord, entities: [u32; 2], begun_ms: u32) -> Self {
        let mut slot = Self {
            key: record.key,
            entities,
            generation: 0,
            prev: NONE,
            next: NONE,
            begun_ms,
            first: Summary::BLANK,
            more: NONE,
            list: NOWHERE,
            depth: Depth::Full,
            outcome: record.outcome,
            app: record.talk.app,
            looked: 0,
            odd: 0,
            marks: Mark::Live as u8,
        };
        slot.set_initiator(record.stats.initiator);
        slot
    }

    #[inline]
    pub(crate) const fn is(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    #[inline]
    pub(crate) const fn mark(&mut self, mark: Mark, so: bool) {
        if so {
            self.marks |= mark as u8;
        } else {
            self.marks &= !(mark as u8);
        }
    }

    /// As [`crate::FlowStats::initiator`].
    #[inline]
    pub(crate) const fn initiator(&self) -> Direction {
        if self.is(Mark::Downwards) { Direction::HiToLo } else { Direction::LoToHi }
    }

    pub(crate) fn set_initiator(&mut self, initiator: Direction) {
        self.mark(Mark::Downwards, initiator == Direction::HiToLo);
    }

    /// Address and port of the side that began the flow.
    pub(crate) const fn source(&self) -> (Addr, u16) {
        self.key.source(self.initiator())
    }

    /// Address and port of the side that was contacted.
    pub(crate) const fn target(&self) -> (Addr, u16) {
        self.key.source(self.initiator().reverse())
    }
}

/// What is kept of a flow beyond its first packets.
pub(crate) struct Full {
    pub(crate) record: FlowRecord,
    /// [`crate::Entity`]'s round of sets in which this flow's peer was last inserted, by role; 0 for never.
    pub(crate) peer_rounds: [u32; 2],
    /// A place in the table of sessions, [`FRESH`] or [`OVER`].
    pub(crate) session: u32,
    /// Second of the clock, wrapped, in which its addresses last counted.
    pub(crate) counted_second: u16,
}

// The memory figure in the tracker's documentation rests on it.
const _: () = assert!(size_of::<Full>() <= 544);

/// Values at places that stay until they are freed.
pub(crate) struct Slab<T> {
    places: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = value;
            return at;
        }
        self.places.push(value);
        (self.places.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, at: u32) {
        self.free.push(at);
    }

    #[inline]
    pub(crate) fn at(&self, at: u32) -> &T {
        &self.places[at as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, at: u32) -> &mut T {
        &mut self.places[at as usize]
    }
}

impl Slot {
    /// What was said in a young flow.
    pub(crate) fn talk(&self) -> Talk {
        Talk { app: self.app, ..Talk::NOTHING }
    }
}

impl Full {
    pub(crate) const fn new(record: &FlowRecord, session: u32) -> Self {
        Self { record: *record, peer_rounds: [0; 2], session, counted_second: 0 }
    }
}
