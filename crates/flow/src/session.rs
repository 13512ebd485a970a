//! The sessions of flows: what each side of a TCP connection said, in order, handed to the reader of its protocol.
//!
//! A session begins with a flow's first payload, if its first bytes leave open what it is or a reader wants them. Until
//! the application is recognised by content it keeps what both sides said, the side that spoke first first; then the
//! reader gets everything from the start. It ends when the reader is done, when nothing was recognised, or with its flow.
//!
//! # Limits
//!
//! Each direction holds at most [`crate::stream::MAX_HELD`] bytes out of order and [`MAX_UNCONSUMED`] unread ones, and one
//! payload beyond. All sessions together hold at most [`crate::TrackerConfig::session_bytes`]; beyond, and beyond
//! [`crate::TrackerConfig::session_capacity`] sessions, of the next [`EVICTION_SAMPLE`] in table order the one silent
//! longest goes, of those not recognised if there are any. What readers keep inside is bounded by each of them and not in
//! these sums.

use crate::stream::{Piece, Stream};
use wire::message::app::{Recognition, stream};
use wire::message::{App, Dissector, MAX_UNCONSUMED, Message, Next, Side};
use wire::packet::{protocol, tcp_flag};

/// Sessions looked at when one must go.
pub const EVICTION_SAMPLE: usize = 16;
/// Bytes of one side after which an application not recognised is given up.
pub const LOOK: usize = 1024;

/// Messages reported of one packet: more than any honest pipeline puts into one, and a bound on what one packet can cost
/// later stages.
pub const MESSAGES_PER_PACKET: usize = 64;

/// A payload, or its start, of one direction of a flow, as sources that do the accounting elsewhere report it to
/// [`crate::Tracker::data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Direction of the flow's initiator.
    pub initiator: crate::Direction,
    /// TCP: sequence number of the direction's SYN plus one, if that SYN was seen; it tells where the stream begins.
    pub start: Option<u32>,
    /// TCP sequence number of the packet as its header states it; 0 for other protocols.
    pub seq: u32,
    /// TCP acknowledgement number, where `flags` has ACK.
    pub ack: u32,
    /// TCP control bits; 0 for other protocols.
    pub flags: u8,
    /// Transport payload bytes as the headers state them.
    pub payload_len: u32,
    /// The first of them, as far as they were taken.
    pub payload: &'a [u8],
}

/// What feeding a session brought to light besides messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The application, at the moment it was recognised.
    pub recognised: Option<App>,
    /// Holes given up of which a reader was told.
    pub gaps: u32,
    /// Times more was unread or out of order than the limits allow.
    pub overruns: u32,
    /// Repetitions with other content.
    pub conflicts: u32,
    /// Nothing more is to be learnt from this flow.
    pub over: bool,
}

/// Messages and who sent the bytes that completed each.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In order.
    pub messages: Vec<Message>,
    /// As many.
    pub sides: Vec<Side>,
}

impl Outbox {
    /// Marks the messages that came since as sent by `from`.
    pub fn sign(&mut self, from: Side) {
        self.sides.resize(self.messages.len(), from);
    }
}

/// Hands the bytes of both directions to a dissector and keeps what it leaves.
#[derive(Debug)]
struct Reader {
    dissector: Box<dyn Dissector>,
    halves: [Half; 2],
}

#[derive(Debug, Default)]
struct Half {
    /// Bytes the dissector left.
    unread: Vec<u8>,
    /// Bytes to leave out before it gets more.
    skip: u64,
    /// It wants no more.
    enough: bool,
}

impl Reader {
    fn new(dissector: Box<dyn Dissector>) -> Self {
        Self { dissector, halves: [Half::default(), Half::default()] }
    }

    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Outbox, told: &mut Told) {
        let half = &mut self.halves[from as usize];
        if half.enough {
            return;
        }
        let mut kept = std::mem::take(&mut half.unread);
        let joined = !kept.is_empty();
        if joined {
            kept.extend_from_slice(bytes);
        }
        let all = if joined { kept.as_slice() } else { bytes };
        let mut at = 0;
        loop {
            let left = all.len() - at;
            let skipped = usize::try_from(half.skip).unwrap_or(usize::MAX).min(left);
            half.skip -= skipped as u64;
            at += skipped;
            let Some(rest) = all.get(at..).filter(|r| !r.is_empty()) else { return };
            let progress = self.dissector.data(from, rest, &mut out.messages);
            out.sign(from);
            at += progress.consumed.min(rest.len());
            match progress.next {
                Next::Skip(n) if n > 0 => half.skip = n,
                Next::More | Next::Skip(_) => break,
                Next::Enough => {
                    half.enough = true;
                    return;
                }
                Next::Done => {
                    told.over = true;
                    return;
                }
            }
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let left = all.len() - at;
        if left > MAX_UNCONSUMED {
            told.overruns += 1;
            self.lose(from, left as u64, told);
        } else if left > 0 {
            if joined {
                kept.drain(..at);
            } else {
                kept.extend_from_slice(rest);
            }
            half.unread = kept;
        }
    }

    fn missing(&mut self, from: Side, missing: u64, told: &mut Told) {
        let half = &mut self.halves[from as usize];
        if half.enough {
            return;
        }
        let skipped = half.skip.min(missing);
        half.skip -= skipped;
        if missing > skipped {
            told.gaps += 1;
            let unread = std::mem::take(&mut half.unread).len() as u64;
            self.lose(from, unread + missing - skipped, told);
        }
    }

    fn lose(&mut self, from: Side, lost: u64, told: &mut Told) {
        let half = &mut self.halves[from as usize];
        match self.dissector.gap(from, lost) {
            Next::More => {}
            Next::Skip(n) => half.skip = n,
            Next::Enough => half.enough = true,
            Next::Done => told.over = true,
        }
    }
}

/// What a session knows of its application.
#[derive(Debug)]
enum Stage {
    /// Not recognised yet: what each side said so far, and which spoke first.
    Looking([Vec<u8>; 2], Side),
    Reading(Reader),
}

/// The session of one TCP flow.
#[derive(Debug)]
pub struct Session {
    streams: [Stream; 2],
    stage: Stage,
    /// The flow's slot in the table.
    pub(crate) slot: u32,
    /// When it was last fed, ns.
    last_ns: u64,
    /// Bytes it held when last counted.
    counted: usize,
    /// PASS was sent, and no reply came since.
    pub(crate) awaits_login: bool,
}

/// The reader of an application's TCP streams.
fn reader(app: App) -> Option<Box<dyn Dissector>> {
    wire::message::dissector(app, protocol::TCP)
}

/// Looks at the first payload of a flow, sent by `from`: the application, if that is clear already, and a session if there
/// is anything to be learnt.
#[must_use]
pub fn begin(from: Side, bytes: &[u8]) -> (App, Option<Session>) {
    let found = match from {
        Side::Client => stream(bytes, &[]),
        Side::Server => stream(&[], bytes),
    };
    match found {
        Recognition::Is(app) => (app, reader(app).map(Session::reading)),
        Recognition::Undecided if bytes.len() < LOOK => (App::Unknown, Some(Session::looking(from))),
        Recognition::Undecided | Recognition::No => (App::Unknown, None),
    }
}

impl Session {
    /// A session that has seen nothing and knows nothing; `from` speaks first.
    #[must_use]
    pub fn looking(from: Side) -> Self {
        Self::at(Stage::Looking([Vec::new(), Vec::new()], from))
    }

    /// A session whose streams `dissector` reads from their first bytes.
    #[must_use]
    pub fn reading(dissector: Box<dyn Dissector>) -> Self {
        Self::at(Stage::Reading(Reader::new(dissector)))
    }

    fn at(stage: Stage) -> Self {
        Self {
            streams: [Stream::default(), Stream::default()],
            stage,
            slot: u32::MAX,
            last_ns: 0,
            counted: 0,
            awaits_login: false,
        }
    }

    /// Bytes held for the flow beside the value itself and what its reader keeps.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let streams: usize = self.streams.iter().map(Stream::buffered).sum();
        streams
            + match &self.stage {
                Stage::Looking(said, _) => said.iter().map(Vec::capacity).sum::<usize>(),
                Stage::Reading(r) => r.halves.iter().map(|h| h.unread.capacity()).sum(),
            }
    }

    /// Takes a TCP segment sent by `from`.
    pub fn take(&mut self, from: Side, segment: &Segment<'_>, out: &mut Outbox) -> Told {
        let mut told = Told::default();
        let stage = &mut self.stage;
        if segment.flags & tcp_flag::ACK != 0 {
            let [client, server] = &mut self.streams;
            let theirs = if from == Side::Client { server } else { client };
            theirs.acknowledge(segment.ack, &mut |piece| stage.piece(from.other(), piece, out, &mut told));
        }
        if segment.payload_len > 0 && !told.over {
            let seq = segment.seq.wrapping_add(u32::from(segment.flags & tcp_flag::SYN != 0));
            let (start, len) = (segment.start, segment.payload_len);
            let ours = &mut self.streams[from as usize];
            match stage {
                Stage::Reading(r) if r.halves[from as usize].enough => {
                    ours.forget();
                    if ours.pass(start, seq, len) {
                        r.dissector.size(from, len, &mut out.messages);
                        out.sign(from);
                    }
                }
                _ => {
                    let taken = ours.take(start, seq, len, segment.payload, &mut |piece| {
                        stage.piece(from, piece, out, &mut told);
                    });
                    told.conflicts += u32::from(taken.conflict);
                    told.overruns += u32::from(taken.overrun);
                }
            }
        }
        told
    }

    /// The flow ended: holes are given up.
    pub fn finish(&mut self, out: &mut Outbox) -> Told {
        let mut told = Told::default();
        for from in [Side::Client, Side::Server] {
            let stage = &mut self.stage;
            self.streams[from as usize].finish(&mut |piece| stage.piece(from, piece, out, &mut told));
        }
        told
    }
}

impl Stage {
    fn piece(&mut self, from: Side, piece: Piece<'_>, out: &mut Outbox, told: &mut Told) {
        if told.over {
            return;
        }
        match (self, piece) {
            (Self::Reading(r), Piece::Bytes(bytes)) => r.bytes(from, bytes, out, told),
            (Self::Reading(r), Piece::Missing(n)) => r.missing(from, n, told),
            // What cannot be recognised from its start is not recognised.
            (Self::Looking(..), Piece::Missing(_)) => {
                told.gaps += 1;
                told.over = true;
            }
            (stage @ Self::Looking(..), Piece::Bytes(bytes)) => stage.look(from, bytes, out, told),
        }
    }

    fn look(&mut self, from: Side, bytes: &[u8], out: &mut Outbox, told: &mut Told) {
        let Self::Looking(said, first) = self else { return };
        let first = *first;
        // Kept bytes are few, so that adding to them costs little; most flows need none.
        if !said[from as usize].is_empty() {
            said[from as usize].extend_from_slice(bytes);
        }
        let all = |side: Side| match said[side as usize].as_slice() {
            [] if side == from => bytes,
            kept => kept,
        };
        match stream(all(Side::Client), all(Side::Server)) {
            Recognition::Is(app) => {
                told.recognised = Some(app);
                let Some(mut reader) = reader(app).map(Reader::new) else {
                    told.over = true;
                    return;
                };
                for side in [first, first.other()] {
                    if !told.over && !all(side).is_empty() {
                        reader.bytes(side, all(side), out, told);
                    }
                }
                *self = Self::Reading(reader);
            }
            Recognition::Undecided if all(from).len() < LOOK => {
                if said[from as usize].is_empty() {
                    said[from as usize].extend_from_slice(bytes);
                }
            }
            Recognition::Undecided | Recognition::No => told.over = true,
        }
    }
}

/// The bounded table of sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    capacity: usize,
    most_bytes: usize,
    list: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    /// Bytes all sessions hold.
    pub(crate) bytes: usize,
    hand: usize,
}

impl Sessions {
    pub(crate) const fn new(capacity: usize, most_bytes: usize) -> Self {
        Self { capacity, most_bytes, list: Vec::new(), free: Vec::new(), bytes: 0, hand: 0 }
    }

    pub(crate) const fn live(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// Whether another session would be one too many, or the sessions hold too much.
    pub(crate) const fn is_full(&self) -> bool {
        self.live() >= self.capacity
    }

    /// Whether the sessions hold more than they may.
    pub(crate) const fn is_heavy(&self) -> bool {
        self.bytes > self.most_bytes
    }

    pub(crate) fn insert(&mut self, session: Session) -> u32 {
        let session = Some(Box::new(session));
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.list.get_mut(at as usize) {
                *place = session;
            }
            return at;
        }
        self.list.push(session);
        (self.list.len() - 1) as u32
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut Session> {
        self.list.get_mut(at as usize)?.as_deref_mut()
    }

    /// Counts what a session holds after it was fed at `now_ns`.
    pub(crate) fn weigh(&mut self, at: u32, now_ns: u64) {
        if let Some(s) = self.list.get_mut(at as usize).and_then(Option::as_deref_mut) {
            let held = s.buffered();
            self.bytes = self.bytes.saturating_add(held).saturating_sub(s.counted);
            s.counted = held;
            s.last_ns = now_ns;
        }
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<Box<Session>> {
        let session = self.list.get_mut(at as usize)?.take()?;
        self.bytes = self.bytes.saturating_sub(session.counted);
        self.free.push(at);
        Some(session)
    }

    /// The session to give up.
    pub(crate) fn victim(&mut self) -> Option<u32> {
        let n = self.list.len();
        let mut best: Option<(bool, u64, usize)> = None;
        let mut seen = 0;
        for _ in 0..n {
            let at = self.hand % n;
            self.hand = at + 1;
            let Some(s) = self.list.get(at).and_then(Option::as_deref) else { continue };
            let rank = (matches!(s.stage, Stage::Reading(_)), s.last_ns, at);
            if best.is_none_or(|b| rank < b) {
                best = Some(rank);
            }
            seen += 1;
            if seen == EVICTION_SAMPLE {
                break;
            }
        }
        best.map(|(_, _, at)| at as u32)
    }
}
