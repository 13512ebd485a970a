//! What the flow table keeps of one flow.

use crate::event::Share;
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
    /// In the table.
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
const _: () = assert!(size_of::<Slot>() <= 92);

impl Slot {
    /// A live flow that no list holds yet.
    pub(crate) fn new(record: &FlowRecord, begun_ms: u32) -> Self {
        let mut slot = Self {
            key: record.key,
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
    /// Packets not told yet.
    pub(crate) pending: Pending,
    /// A place in the table of sessions, [`FRESH`] or [`OVER`].
    pub(crate) session: u32,
    /// It is in the list of flows with packets not told yet.
    pub(crate) listed: bool,
}

// The memory figure in the tracker's documentation rests on it.
const _: () = assert!(size_of::<Full>() <= 552);

/// Packets of a flow since the last event about it; fewer than [`crate::window::JUDGE_EVERY`].
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) bytes: u32,
    pub(crate) reply_bytes: u32,
    pub(crate) packets: u16,
    pub(crate) reply_packets: u16,
    pub(crate) syn_packets: u16,
    pub(crate) reply_resets: u16,
}

impl Pending {
    pub(crate) const NONE: Self =
        Self { bytes: 0, reply_bytes: 0, packets: 0, reply_packets: 0, syn_packets: 0, reply_resets: 0 };

    pub(crate) const fn is_empty(&self) -> bool {
        self.packets == 0 && self.reply_packets == 0
    }

    /// Adds a packet: of the initiator or not, its IP bytes, and its SYN or RST, whichever counts on its side.
    #[inline]
    pub(crate) fn add(&mut self, sent: bool, ip_len: u32, flagged: bool) {
        let (packets, bytes, flags) = if sent {
            (&mut self.packets, &mut self.bytes, &mut self.syn_packets)
        } else {
            (&mut self.reply_packets, &mut self.reply_bytes, &mut self.reply_resets)
        };
        *packets = packets.saturating_add(1);
        *bytes = bytes.saturating_add(ip_len);
        *flags = flags.saturating_add(flagged.into());
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            bytes: self.bytes.into(),
            reply_bytes: self.reply_bytes.into(),
            packets: self.packets.into(),
            reply_packets: self.reply_packets.into(),
            syn_packets: self.syn_packets.into(),
            reply_resets: self.reply_resets.into(),
        }
    }
}

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
        Self { record: *record, pending: Pending::NONE, session, listed: false }
    }
}
