//! The part of the line that there may be several of: frames and kernel reports in, reports of what flows did out.
//!
//! A worker sees all packets of its flows and knows of nothing else, so that workers share nothing: see
//! [`flow::tracker`] on what makes several behave like one.

use flow::fragment::OddFragment;
use flow::{Direction, Event, FlowKey, FlowStats, Segment, Tracker, TrackerConfig};
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

/// What a worker tells the judge. Reports of one worker are to be judged in their order; those of several by
/// [`Self::at_ns`], so that no time is judged before an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Something a flow did.
    Flow(Event),
    /// An ARP packet.
    Arp {
        /// When it was seen, ns.
        at_ns: u64,
        /// What it says.
        arp: Box<Arp>,
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

impl Report {
    /// The worker's clock when it was told, ns.
    pub const fn at_ns(&self) -> u64 {
        match self {
            Self::Flow(event) => event.at_ns,
            Self::Arp { at_ns, .. } | Self::Anomaly { at_ns, .. } => *at_ns,
        }
    }
}

/// A worker; see the module.
pub struct Worker {
    tracker: Tracker,
    intake: Intake,
    /// What the tracker told in this call.
    events: Vec<Event>,
}

impl Worker {
    /// A worker with an empty flow table.
    pub fn new(config: TrackerConfig) -> Self {
        Self { tracker: Tracker::new(config), intake: Intake::default(), events: Vec::new() }
    }

    /// Takes one frame.
    pub fn frame(
        &mut self,
        at_ns: u64,
        link: Option<LinkType>,
        data: &[u8],
        frame_len: u32,
        out: &mut Vec<Report>,
    ) {
        self.intake.packets += 1;
        self.intake.bytes += u64::from(frame_len);
        let Some(link) = link else {
            self.intake.unknown_link += 1;
            let count = self.intake.unknown_link;
            self.anomaly(at_ns, "unknown_link_type", count, out);
            return;
        };
        match wire::parse(link, data, frame_len) {
            Ok(packet) => {
                self.intake.opaque_tunnels += u64::from(packet.opaque_tunnel);
                self.tracker.observe(at_ns, &packet, &mut self.events);
                self.hand_on(out);
            }
            Err(skip) => {
                let count = &mut self.intake.skipped[skip as usize];
                *count += 1;
                let count = *count;
                if skip != Skip::NotIp {
                    self.anomaly(at_ns, skip.name(), count, out);
                } else if let Some(arp) = wire::message::arp::parse(link, data) {
                    let at_ns = self.time(at_ns, out);
                    out.push(Report::Arp { at_ns, arp: Box::new(arp) });
                }
            }
        }
    }

    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64, out: &mut Vec<Report>) {
        if count.is_power_of_two() {
            let at_ns = self.time(at_ns, out);
            out.push(Report::Anomaly { at_ns, reason, count });
        }
    }

    /// The time of something that is no packet, by the worker's clock, which ticks if it is to.
    fn time(&mut self, at_ns: u64, out: &mut Vec<Report>) -> u64 {
        if self.tracker.ticks_at(at_ns) {
            self.advance(at_ns, out);
        }
        at_ns.max(self.tracker.now_ns())
    }

    /// Takes a flow's counts as the kernel holds them.
    pub fn snapshot(&mut self, at_ns: u64, key: FlowKey, stats: &FlowStats, out: &mut Vec<Report>) {
        self.tracker.merge(at_ns, key, stats, &mut self.events);
        self.hand_on(out);
    }

    /// Takes the start of a payload as the kernel sends it up; its packet is counted by [`Self::snapshot`].
    pub fn segment(
        &mut self,
        at_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        out: &mut Vec<Report>,
    ) {
        let now_ns = self.time(at_ns, out);
        self.tracker.data(now_ns, key, direction, segment, &mut self.events);
        self.hand_on(out);
    }

    /// Takes the kernel's word of an odd fragment; its packet is counted by [`Self::snapshot`] unless it was dropped.
    pub fn odd_fragment(&mut self, at_ns: u64, odd: &OddFragment, out: &mut Vec<Report>) {
        let now_ns = self.time(at_ns, out);
        self.tracker.odd_fragment(now_ns, odd, &mut self.events);
        self.hand_on(out);
    }

    /// Lets time pass: packets not told yet are told, timers run.
    pub fn advance(&mut self, now_ns: u64, out: &mut Vec<Report>) {
        let now_ns = if self.tracker.ticks_at(now_ns) { now_ns } else { now_ns.max(self.tracker.now_ns()) };
        self.tracker.advance(now_ns, &mut self.events);
        self.hand_on(out);
    }

    /// Ends at most `flows` flows; whether some are left.
    pub fn finish_some(&mut self, flows: usize, out: &mut Vec<Report>) -> bool {
        let more = self.tracker.finish_some(flows, &mut self.events);
        self.hand_on(out);
        more
    }

    #[inline]
    fn hand_on(&mut self, out: &mut Vec<Report>) {
        if !self.events.is_empty() {
            out.extend(self.events.drain(..).map(Report::Flow));
        }
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

    /// What entered as frames.
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }
}

// Workers run on threads of their own, and so does the judge of their reports.
const _: () = {
    const fn sendable<T: Send>() {}
    sendable::<Worker>();
    sendable::<Report>();
};
