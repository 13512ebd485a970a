//! Where packets are put at their times: a seeded source of chance, and TCP conversations packet by packet.

use crate::chance::Chance;
use std::time::Duration;
use wire::packet::tcp_flag::{ACK, FIN, PSH, RST, SYN};
use wire::{Addr, craft};

/// An address and a port.
pub(super) type End = (Addr, u16);

/// Largest TCP segment on Ethernet with timestamps, bytes.
const SEGMENT: usize = 1448;
/// TCP window of the hosts.
const WINDOW: u16 = 64_240;

/// Frames with their times, ns since the scenario's beginning.
pub(super) struct Stage {
    frames: Vec<(u64, Vec<u8>)>,
    chance: Chance,
}

impl Stage {
    pub(super) const fn new(seed: u64) -> Self {
        Self { frames: Vec::new(), chance: Chance::new(seed) }
    }

    /// Puts a frame at a time.
    pub(super) fn put(&mut self, at_ns: u64, frame: Vec<u8>) {
        self.frames.push((at_ns, frame));
    }

    /// The frames in order of time; those of equal time in the order they were put.
    pub(super) fn play(mut self) -> impl Iterator<Item = (u64, Vec<u8>)> + Send + use<> {
        self.frames.sort_by_key(|(at, _)| *at);
        self.frames.into_iter()
    }

    /// A number of `range`, whose end is exclusive and above its start.
    pub(super) fn pick(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.chance.pick(range)
    }

    /// A time around `middle`, up to a third away, ns.
    pub(super) fn around(&mut self, middle: Duration) -> u64 {
        let middle = nanos(middle);
        self.pick(middle - middle / 3..middle + middle / 3 + 1)
    }

    /// A sequence number.
    pub(super) fn sequence(&mut self) -> u32 {
        u32::try_from(self.chance.bits() >> 32).unwrap_or(0)
    }

    /// A port of the range Linux takes client ports from.
    pub(super) fn port(&mut self) -> u16 {
        u16::try_from(self.pick(32_768..60_999)).unwrap_or(32_768)
    }

    /// Begins a TCP conversation, with the handshake done; `at_ns` is the time of the SYN.
    pub(super) fn connect(&mut self, at_ns: u64, client: End, server: End) -> Talk<'_> {
        let next = [self.sequence(), self.sequence()];
        let mut talk = Talk { stage: self, ends: [client, server], next, now_ns: at_ns };
        talk.segment(CLIENT, SYN, &[]);
        talk.travel();
        talk.segment(SERVER, SYN | ACK, &[]);
        talk.travel();
        talk.segment(CLIENT, ACK, &[]);
        talk
    }
}

/// A duration in ns; scenarios last seconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Index of the side that connects.
pub(super) const CLIENT: usize = 0;
/// Index of the side that is connected to.
pub(super) const SERVER: usize = 1;

/// An established TCP conversation.
pub(super) struct Talk<'a> {
    stage: &'a mut Stage,
    ends: [End; 2],
    /// Next sequence number of each side.
    next: [u32; 2],
    now_ns: u64,
}

impl Talk<'_> {
    /// Time of the last frame, ns since the beginning.
    pub(super) const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Nothing is said for about `time`.
    pub(super) fn pause(&mut self, time: Duration) {
        self.now_ns += self.stage.around(time);
    }

    /// One side sends `bytes` in segments; the other acknowledges every second one, and the last.
    pub(super) fn say(&mut self, side: usize, bytes: &[u8]) {
        let mut segments = bytes.chunks(SEGMENT).enumerate().peekable();
        while let Some((n, segment)) = segments.next() {
            self.now_ns += self.stage.pick(15_000..40_000);
            let last = segments.peek().is_none();
            self.segment(side, if last { ACK | PSH } else { ACK }, segment);
            if last || n % 2 == 1 {
                self.now_ns += self.stage.pick(10_000..30_000);
                self.segment(1 - side, ACK, &[]);
            }
        }
    }

    /// `side` closes, then the other one does.
    pub(super) fn close(mut self, side: usize) -> u64 {
        self.travel();
        self.segment(side, FIN | ACK, &[]);
        self.travel();
        self.segment(1 - side, FIN | ACK, &[]);
        self.travel();
        self.segment(side, ACK, &[]);
        self.now_ns
    }

    /// Half a round trip: 0.1 to 0.4 ms, as in a local network.
    fn travel(&mut self) {
        self.now_ns += self.stage.pick(100_000..400_000);
    }

    fn segment(&mut self, side: usize, flags: u8, payload: &[u8]) {
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        let ack = if flags & ACK == 0 { 0 } else { self.next[1 - side] };
        let frame = craft::tcp(from, to, flags, self.next[side], ack, WINDOW, payload);
        let occupied = payload.len() + usize::from(flags & (SYN | FIN) != 0);
        self.next[side] = self.next[side].wrapping_add(u32::try_from(occupied).unwrap_or(0));
        self.stage.put(self.now_ns, frame);
    }
}

/// The answer of a closed port to a SYN.
pub(super) fn refusal(from: End, to: End, seq: u32) -> Vec<u8> {
    craft::tcp(from, to, RST | ACK, 0, seq.wrapping_add(1), 0, &[])
}

/// A SYN.
pub(super) fn knock(from: End, to: End, seq: u32) -> Vec<u8> {
    craft::tcp(from, to, SYN, seq, 0, 1024, &[])
}

/// The answer of an open port to a SYN.
pub(super) fn welcome(from: End, to: End, seq: u32, theirs: u32) -> Vec<u8> {
    craft::tcp(from, to, SYN | ACK, seq, theirs.wrapping_add(1), WINDOW, &[])
}

/// The reset of a scanner's own host to an answer it did not ask for.
pub(super) fn reset(from: End, to: End, seq: u32) -> Vec<u8> {
    craft::tcp(from, to, RST, seq.wrapping_add(1), 0, 0, &[])
}
