//! One direction of a TCP connection put in order, in bounded memory.
//!
//! Segments come as the network brings them; pieces go out in the order of their sequence numbers, each byte once. A
//! segment that continues the stream while nothing is held passes through without a copy.
//!
//! # Policy
//!
//! - **First bytes win.** Where segments repeat a range, what came first stands, as in Linux for data already queued, and
//!   as it must be for bytes already handed on. A host whose stack prefers later bytes for ranges not yet delivered may
//!   read something else than we do; that is the blind spot, and [`Taken::conflict`] is what tells of it.
//! - **Conflicts** are found in bytes still held, and in the last [`RECENT`] ones handed on. Of a repetition of older bytes
//!   nothing can be said.
//! - **A hole is given up** when the other side acknowledges bytes beyond it (it has them, we never will), when more is
//!   held than [`MAX_HELD`] or [`MAX_HELD_SEGMENTS`], or at the end. Acknowledgements seen before the bytes they cover count
//!   only once a hole shows.
//! - A segment of which less was captured than it states leaves a hole that is given up at once: nobody will send the
//!   rest again.
//! - A SYN takes one sequence number before the data. FIN and RST are not acted on: the flow's end ends the stream, and a
//!   forged one does not blind us. Data beyond a FIN is read.
//! - A stream of unknown beginning begins with its first payload.
//! - One byte just before the next one is a keep-alive probe (RFC 9293 §3.8.4): ignored, whatever it holds. A zero-window
//!   probe carries the next byte and is a segment like others.
//! - Urgent data is read in line, as RFC 6093 recommends to applications; the urgent pointer is ignored. A host that takes
//!   the urgent byte out of line reads one byte less than we do.

/// Most bytes held out of order in one direction: what a window without scaling can have in flight.
pub const MAX_HELD: usize = 64 * 1024;
/// Most segments held out of order in one direction: some 45 KB of full ones, and a bound on what each costs to place.
pub const MAX_HELD_SEGMENTS: usize = 32;
/// Bytes handed on last that repetitions are compared with.
pub const RECENT: usize = 256;
/// Most bytes between the beginning a SYN states and the first payload seen. Beyond, the SYN was another connection's.
const MAX_START: u32 = 1 << 20;

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// This many bytes that will never come.
    Missing(u64),
}

/// What was odd about a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// It repeats bytes with other content.
    pub conflict: bool,
    /// A hole was given up because more was held than the limits allow.
    pub overrun: bool,
}

#[derive(Debug)]
struct Held {
    seq: u32,
    /// Bytes stated, of which `bytes` holds the first.
    len: u32,
    bytes: Box<[u8]>,
}

impl Held {
    const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of the next byte to hand on; set once begun.
    next: u32,
    begun: bool,
    /// Furthest acknowledgement of the other side.
    acked: Option<u32>,
    /// The last bytes before `next`.
    recent: Vec<u8>,
    /// What came too early: disjoint, in order, after `next`.
    held: Vec<Held>,
    held_bytes: usize,
}

/// `a` − `b` in sequence space, RFC 9293 §3.4.
const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// `bytes[from..to]`, as far as it exists.
fn cut(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    let len = bytes.len();
    bytes.get((from as usize).min(len)..(to as usize).min(len)).unwrap_or_default()
}

/// Whether two readings of the same range differ in what both have.
fn differ(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).any(|(a, b)| a != b)
}

impl Stream {
    /// Bytes of memory in use beside the value itself.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.held_bytes + self.held.capacity() * size_of::<Held>() + self.recent.capacity()
    }

    /// Takes a segment whose data begins at `seq`: `stated` bytes, of which `bytes` are the first. `start` is where the
    /// stream begins, if known. Pieces go to `sink` in order.
    pub fn take(
        &mut self,
        start: Option<u32>,
        mut seq: u32,
        mut stated: u32,
        bytes: &[u8],
        sink: &mut impl FnMut(Piece<'_>),
    ) -> Taken {
        let mut taken = Taken::default();
        let mut bytes = cut(bytes, 0, stated);
        if stated == 0 {
            return taken;
        }
        self.begin(start, seq);
        let early = distance(seq, self.next);
        if early < 0 {
            let old = early.unsigned_abs();
            if old == 1 && stated == 1 {
                return taken;
            }
            taken.conflict = self.repeats_differently(old, bytes);
            if stated <= old {
                return taken;
            }
            seq = self.next;
            stated -= old;
            bytes = cut(bytes, old, u32::MAX);
        }
        if seq == self.next {
            let room = self.held.first().map_or(stated, |h| stated.min(h.seq.wrapping_sub(seq)));
            self.hand_on(room, cut(bytes, 0, room), sink);
            if room < stated {
                taken.conflict |= self.hold(seq.wrapping_add(room), stated - room, cut(bytes, room, stated));
            }
            self.drain(sink);
        } else {
            taken.conflict |= self.hold(seq, stated, bytes);
        }
        if !self.held.is_empty() {
            self.give_up_acknowledged(sink);
            while self.held.len() > MAX_HELD_SEGMENTS || self.held_bytes > MAX_HELD {
                taken.overrun = true;
                self.give_up_hole(sink);
            }
        }
        taken
    }

    /// Passes over a segment without looking at it. True if it brought anything new.
    pub fn pass(&mut self, start: Option<u32>, seq: u32, stated: u32) -> bool {
        self.begin(start, seq);
        let end = seq.wrapping_add(stated);
        let new = distance(end, self.next) > 0;
        if new {
            self.next = end;
        }
        new
    }

    /// Notes that the other side acknowledged all before `ack`.
    pub fn acknowledge(&mut self, ack: u32, sink: &mut impl FnMut(Piece<'_>)) {
        if self.acked.is_none_or(|known| distance(ack, known) > 0) {
            self.acked = Some(ack);
            if !self.held.is_empty() {
                self.give_up_acknowledged(sink);
            }
        }
    }

    /// The end: holes are given up, what is held goes on.
    pub fn finish(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            self.give_up_hole(sink);
        }
    }

    /// Forgets what is held: nobody wants it any more.
    pub fn forget(&mut self) {
        self.held = Vec::new();
        self.held_bytes = 0;
        self.recent = Vec::new();
    }

    fn begin(&mut self, start: Option<u32>, seq: u32) {
        if !self.begun {
            self.begun = true;
            self.next = start.filter(|s| seq.wrapping_sub(*s) <= MAX_START).unwrap_or(seq);
        }
    }

    /// Whether a segment that begins `old` bytes before the next one contradicts what was handed on.
    fn repeats_differently(&self, old: u32, bytes: &[u8]) -> bool {
        let known = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(old);
        let repeated = cut(bytes, old - known, old);
        let from = self.recent.len() - known as usize;
        differ(self.recent.get(from..).unwrap_or_default(), repeated)
    }

    fn hand_on(&mut self, stated: u32, bytes: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        if !bytes.is_empty() {
            sink(Piece::Bytes(bytes));
            self.remember(bytes);
        }
        self.next = self.next.wrapping_add(stated);
        if let Some(missing) = (stated as usize).checked_sub(bytes.len()).filter(|n| *n > 0) {
            sink(Piece::Missing(missing as u64));
            self.recent.clear();
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        // All at once: a vector that grows by itself takes twice as much.
        self.recent.reserve_exact(RECENT - self.recent.len().min(RECENT));
        if bytes.len() >= RECENT {
            self.recent.clear();
            self.recent.extend_from_slice(bytes.get(bytes.len() - RECENT..).unwrap_or_default());
        } else {
            let over = (self.recent.len() + bytes.len()).saturating_sub(RECENT);
            self.recent.drain(..over);
            self.recent.extend_from_slice(bytes);
        }
    }

    /// Holds what of a segment is not held yet. Whether it contradicts what is.
    fn hold(&mut self, seq: u32, len: u32, bytes: &[u8]) -> bool {
        let end = seq.wrapping_add(len);
        let mut conflict = false;
        let (mut at, mut place) = (seq, 0);
        while distance(end, at) > 0 {
            let Some(held) = self.held.get(place) else {
                self.insert(place, at, end, cut(bytes, at.wrapping_sub(seq), len));
                break;
            };
            let (from, to) = (held.seq, held.end());
            if distance(at, to) >= 0 {
                place += 1;
                continue;
            }
            if distance(from, at) > 0 {
                let until = if distance(end, from) > 0 { from } else { end };
                let part = cut(bytes, at.wrapping_sub(seq), until.wrapping_sub(seq));
                self.insert(place, at, until, part);
                at = until;
            } else {
                let known = cut(&held.bytes, at.wrapping_sub(from), u32::MAX);
                conflict |= differ(known, cut(bytes, at.wrapping_sub(seq), u32::MAX));
                at = to;
            }
            place += 1;
        }
        conflict
    }

    fn insert(&mut self, place: usize, from: u32, to: u32, bytes: &[u8]) {
        self.held_bytes += bytes.len();
        self.held.insert(place, Held { seq: from, len: to.wrapping_sub(from), bytes: bytes.into() });
    }

    /// Hands on what is held right after the last byte handed on.
    fn drain(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while self.held.first().is_some_and(|h| h.seq == self.next) {
            let h = self.held.remove(0);
            self.held_bytes -= h.bytes.len();
            self.hand_on(h.len, &h.bytes, sink);
        }
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    fn give_up_acknowledged(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let Some(acked) = self.acked else { return };
        while self.held.first().is_some_and(|h| distance(acked, h.seq) >= 0) {
            self.give_up_hole(sink);
        }
    }

    fn give_up_hole(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        if let Some(first) = self.held.first().map(|h| h.seq) {
            sink(Piece::Missing(u64::from(first.wrapping_sub(self.next))));
            self.recent.clear();
            self.next = first;
            self.drain(sink);
        }
    }
}
