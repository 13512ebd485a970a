//! The part of the line that there may be several of: frames and kernel reports in, reports of what flows did out.
//!
//! A worker sees all packets of its flows and knows of nothing else, so that workers share nothing: see
//! [`flow::tracker`] on what makes several behave like one.

use flow::fragment::OddFragment;
use flow::{Direction, Event, FlowKey, FlowStats, Segment, Tracker, TrackerConfig, TrackerCounters};
use wire::message::arp::Arp;
use wire::{LinkType, Skip};

/// Counts of what entered a worker as frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Frames.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Frames not parsed, by [`Skip`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Frames of an unknown link type.
    pub unknown_link: u64,
    /// Packets that carry a tunnel which could not be opened; they count as what they are outside.
    pub opaque_tunnels: u64,
}

impl std::ops::AddAssign<&Self> for Intake {
    fn add_assign(&mut self, other: &Self) {
        let Self { packets, bytes, skipped, unknown_link, opaque_tunnels } = self;
        *packets += other.packets;
        *bytes += other.bytes;
        for (sum, more) in skipped.iter_mut().zip(other.skipped) {
            *sum += more;
        }
        *unknown_link += other.unknown_link;
        *opaque_tunnels += other.opaque_tunnels;
    }
}

/// What workers counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Frames that entered.
    pub intake: Intake,
    /// Flows.
    pub tracker: TrackerCounters,
}

impl std::ops::AddAssign<&Self> for Worked {
    fn add_assign(&mut self, other: &Self) {
        self.intake += &other.intake;
        self.tracker += other.tracker;
    }
}

/// What a worker has told the judge in one call or more, in order. Kept by the caller, so that its room is used again.
#[derive(Debug, Default)]
pub struct Reports {
    /// What flows did: nearly all there is, and where the tracker put it.
    events: Vec<Event>,
    /// All else, each with how many events were told before.
    asides: Vec<(usize, Aside)>,
}

/// A place in [`Reports`]; at first their beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    events: usize,
    asides: usize,
}

/// What a worker tells of something that is no flow.
#[derive(Debug)]
enum Aside {
    Arp { at_ns: u64, arp: Box<Arp> },
    Anomaly { at_ns: u64, reason: &'static str, count: u64 },
}

/// One thing a worker tells the judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report<'a> {
    /// Something a flow did.
    Flow(&'a Event),
    /// An ARP packet.
    Arp {
        /// When it was seen, ns.
        at_ns: u64,
        /// What it says.
        arp: &'a Arp,
    },
    /// A frame that could not be parsed: the first of its kind, and each whose count is a power of two.
    Anomaly {
        /// When it was seen, ns.
        at_ns: u64,
        /// Why.
        reason: &'static str,
        /// How many of them this worker has seen.
        count: u64,
    },
}

impl Report<'_> {
    /// The worker's clock when it was told, ns.
    pub const fn at_ns(&self) -> u64 {
        match self {
            Self::Flow(event) => event.at_ns,
            Self::Arp { at_ns, .. } | Self::Anomaly { at_ns, .. } => *at_ns,
        }
    }
}

impl Reports {
    /// Whether nothing was told.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.asides.is_empty()
    }

    /// How much was told.
    pub const fn len(&self) -> usize {
        self.events.len() + self.asides.len()
    }

    /// What was told at a place, which moves on.
    #[inline]
    pub fn read(&self, at: &mut Cursor) -> Option<Report<'_>> {
        if let Some((before, aside)) = self.asides.get(at.asides)
            && *before <= at.events
        {
            at.asides += 1;
            return Some(match aside {
                Aside::Arp { at_ns, arp } => Report::Arp { at_ns: *at_ns, arp },
                Aside::Anomaly { at_ns, reason, count } => {
                    Report::Anomaly { at_ns: *at_ns, reason, count: *count }
                }
            });
        }
        let event = self.events.get(at.events)?;
        at.events += 1;
        Some(Report::Flow(event))
    }

    /// All in the order in which it was told. The reports of several workers are to be judged by [`Report::at_ns`], so that
    /// none is judged before an earlier one.
    pub fn iter(&self) -> impl Iterator<Item = Report<'_>> {
        let mut at = Cursor::default();
        std::iter::from_fn(move || self.read(&mut at))
    }

    fn push(&mut self, aside: Aside) {
        self.asides.push((self.events.len(), aside));
    }
}

/// A worker; see the module.
pub struct Worker {
    tracker: Tracker,
    intake: Intake,
}

impl Worker {
    /// A worker with an empty flow table.
    pub fn new(config: TrackerConfig) -> Self {
        Self { tracker: Tracker::new(config), intake: Intake::default() }
    }

    /// Takes one frame.
    pub fn frame(
        &mut self,
        at_ns: u64,
        link: Option<LinkType>,
        data: &[u8],
        frame_len: u32,
        out: &mut Reports,
    ) {
        self.intake.packets += 1;
        self.intake.bytes += u64::from(frame_len);
        let Some(link) = link else {
            self.intake.unknown_link += 1;
            let count = self.intake.unknown_link;
            self.advance(at_ns, out);
            self.anomaly(at_ns, "unknown_link_type", count, out);
            return;
        };
        match wire::parse(link, data, frame_len) {
            Ok(packet) => {
                self.intake.opaque_tunnels += u64::from(packet.opaque_tunnel);
                self.tracker.observe(at_ns, &packet, &mut out.events);
            }
            Err(skip) => {
                let count = &mut self.intake.skipped[skip as usize];
                *count += 1;
                let count = *count;
                // Time passes with every frame, read or not: several workers are told so, and cannot tell the difference.
                self.advance(at_ns, out);
                if skip != Skip::NotIp {
                    self.anomaly(at_ns, skip.name(), count, out);
                } else if let Some(arp) = wire::message::arp::parse(link, data) {
                    let at_ns = self.time(at_ns, out);
                    out.push(Aside::Arp { at_ns, arp: Box::new(arp) });
                }
            }
        }
    }

    /// Takes a frame that another worker accounts, but that quotes a flow of this one's: see [`wire::steer`].
    pub fn quote(&mut self, at_ns: u64, link: LinkType, data: &[u8], frame_len: u32, out: &mut Reports) {
        if let Ok(packet) = wire::parse(link, data, frame_len) {
            let now_ns = self.time(at_ns, out);
            self.tracker.hear_error(now_ns, &packet, &mut out.events);
        }
    }

    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64, out: &mut Reports) {
        if count.is_power_of_two() {
            let at_ns = self.time(at_ns, out);
            out.push(Aside::Anomaly { at_ns, reason, count });
        }
    }

    /// The time of something that is no packet, by the worker's clock, which ticks if it is to.
    fn time(&mut self, at_ns: u64, out: &mut Reports) -> u64 {
        if self.tracker.ticks_at(at_ns) {
            self.advance(at_ns, out);
        }
        at_ns.max(self.tracker.now_ns())
    }

    /// Takes a flow's counts as the kernel holds them.
    pub fn snapshot(&mut self, at_ns: u64, key: FlowKey, stats: &FlowStats, out: &mut Reports) {
        self.tracker.merge(at_ns, key, stats, &mut out.events);
    }

    /// Takes the start of a payload as the kernel sends it up; its packet is counted by [`Self::snapshot`].
    pub fn segment(
        &mut self,
        at_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        out: &mut Reports,
    ) {
        let now_ns = self.time(at_ns, out);
        self.tracker.data(now_ns, key, direction, segment, &mut out.events);
    }

    /// Takes the kernel's word of an odd fragment; its packet is counted by [`Self::snapshot`] unless it was dropped.
    pub fn odd_fragment(&mut self, at_ns: u64, odd: &OddFragment, out: &mut Reports) {
        let now_ns = self.time(at_ns, out);
        self.tracker.odd_fragment(now_ns, odd, &mut out.events);
    }

    /// Lets time pass: packets not told yet are told, timers run.
    pub fn advance(&mut self, now_ns: u64, out: &mut Reports) {
        let now_ns = if self.tracker.ticks_at(now_ns) { now_ns } else { now_ns.max(self.tracker.now_ns()) };
        self.tracker.advance(now_ns, &mut out.events);
    }

    /// Ends at most `flows` flows; whether some are left.
    pub fn finish_some(&mut self, flows: usize, out: &mut Reports) -> bool {
        self.tracker.finish_some(flows, &mut out.events)
    }

    /// Empties what this worker told; its memory is used again.
    pub fn clear(&mut self, told: &mut Reports) {
        self.tracker.recycle(&mut told.events);
        told.asides.clear();
    }

    /// Whether something at `at_ns` comes with a tick of the clock: then whoever has others to tell the time does so first.
    #[inline]
    pub const fn ticks_at(&self, at_ns: u64) -> bool {
        self.tracker.ticks_at(at_ns)
    }

    /// The flow table.
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// What was counted so far.
    pub fn worked(&self) -> Worked {
        Worked { intake: self.intake.clone(), tracker: *self.tracker.counters() }
    }
}

// Workers run on threads of their own, and so does the judge of their reports.
const _: () = {
    const fn sendable<T: Send>() {}
    sendable::<Worker>();
    sendable::<Reports>();
};
