//! The one way through: packets or kernel snapshots in, flow records, incidents and decisions out.
//!
//! Live traffic, capture files and simulation all pass here; only what feeds the line and what drinks from its taps
//! differs.

use detect::{Actor, BookConfig, Detector, Incident, IncidentBook, RuleSet, Signal, Update};
use flow::{
    Direction, EndReason, Event, FlowKey, FlowRecord, FlowStats, Role, Segment, Span, Tracker, TrackerConfig,
    Window,
};
use respond::{Decision, Policy, Responder};
use std::sync::Arc;
use wire::message::{Message, Side};
use wire::{Addr, LinkType, Skip};

/// Steps back in time up to this long are packets out of order, and time stands still meanwhile; longer ones are a clock
/// that was set, and are followed. Longer than any reordering, shorter than any correction worth the name.
const MAX_DISORDER_NS: u64 = 5_000_000_000;

/// Flows ended at once at the end of input: the records of a full table would double its memory.
const FINISH_PORTION: usize = 4096;

/// How often timers run, ns: fine enough for a grace time of a second, coarse enough to cost nothing.
const ADVANCE_EVERY_NS: u64 = 50_000_000;

/// Who drinks from the line. Calls come in the order in which things happened.
pub trait Tap {
    /// A flow left the table.
    fn flow(&mut self, at_ns: u64, record: &FlowRecord, reason: EndReason);
    /// A message was completed in a flow.
    fn message(&mut self, at_ns: u64, flow: &FlowRecord, from: Side, message: &Message);
    /// An incident opened, changed or ended; with the signal that caused it (none at the end) and what policy decided
    /// about it, if anything.
    fn incident(&mut self, at_ns: u64, update: &Update, signal: Option<&Signal>, decision: Option<&Decision>);
    /// A block was put in force, lifted or ran out; also those passed to `incident`.
    fn decision(&mut self, decision: &Decision);
    /// Frames that could not be parsed: called at the first and at each power of two, with the count so far.
    fn anomaly(&mut self, at_ns: u64, reason: &'static str, count: u64);
}

/// Tells the reputation of an address, 0..=100, higher is worse; `None` where nobody says anything of it.
pub type Reputation = Arc<dyn Fn(Addr) -> Option<u8> + Send + Sync>;

/// What the line is made from.
#[derive(Clone, Debug)]
pub struct LineConfig {
    /// Flow and entity tables.
    pub tracker: TrackerConfig,
    /// Rules.
    pub rules: RuleSet,
    /// Incidents.
    pub book: BookConfig,
    /// Response.
    pub policy: Policy,
}

/// Counts of what entered the line as frames.
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

/// Whether a flow is one that a client without ill intent leaves behind: a TCP session that was set up, carried data
/// both ways and was closed by both sides.
fn is_good(record: &FlowRecord) -> bool {
    record.stats.established_ns != 0
        && record.stats.fin_mask == 3
        && record.stats.dir.iter().all(|d| d.payload_bytes > 0)
}

/// The line.
pub struct Line {
    tracker: Tracker,
    detector: Detector,
    book: IncidentBook,
    responder: Responder,
    reputation: Option<Reputation>,
    intake: Intake,
    now_ns: u64,
    advanced_ns: u64,
    events: Vec<Event>,
    signals: Vec<Signal>,
    updates: Vec<Update>,
    caused: Vec<(Update, Option<Signal>)>,
}

impl Line {
    /// An empty line.
    pub fn new(config: LineConfig) -> Self {
        Self {
            tracker: Tracker::new(config.tracker),
            detector: Detector::new(config.rules),
            book: IncidentBook::new(config.book),
            responder: Responder::new(config.policy),
            reputation: None,
            intake: Intake::default(),
            now_ns: 0,
            advanced_ns: 0,
            events: Vec::new(),
            signals: Vec::new(),
            updates: Vec::new(),
            caused: Vec::new(),
        }
    }

    fn set_time(&mut self, at_ns: u64) {
        if at_ns > self.now_ns || self.now_ns - at_ns > MAX_DISORDER_NS {
            self.now_ns = at_ns;
        }
    }

    /// Takes one frame.
    pub fn frame(
        &mut self,
        at_ns: u64,
        link: Option<LinkType>,
        data: &[u8],
        frame_len: u32,
        tap: &mut impl Tap,
    ) {
        self.intake.packets += 1;
        self.intake.bytes += u64::from(frame_len);
        self.set_time(at_ns);
        let Some(link) = link else {
            self.intake.unknown_link += 1;
            if self.intake.unknown_link.is_power_of_two() {
                tap.anomaly(at_ns, "unknown_link_type", self.intake.unknown_link);
            }
            return;
        };
        match wire::parse(link, data, frame_len) {
            Ok(packet) => {
                self.intake.opaque_tunnels += u64::from(packet.opaque_tunnel);
                self.tracker.observe(at_ns, &packet, &mut self.events);
                if !self.events.is_empty() {
                    self.digest(tap);
                }
            }
            Err(skip) => {
                self.skip(at_ns, skip, tap);
                if skip == Skip::NotIp
                    && let Some(arp) = wire::message::arp::parse(link, data)
                {
                    self.detector.judge_arp(self.now_ns, &arp, &mut self.signals);
                    self.decide(tap);
                }
            }
        }
        if self.now_ns.abs_diff(self.advanced_ns) >= ADVANCE_EVERY_NS {
            self.advance(self.now_ns, tap);
        }
    }

    fn skip(&mut self, at_ns: u64, skip: Skip, tap: &mut impl Tap) {
        let count = &mut self.intake.skipped[skip as usize];
        *count += 1;
        if skip != Skip::NotIp && count.is_power_of_two() {
            tap.anomaly(at_ns, skip.name(), *count);
        }
    }

    /// Takes a flow's counts as the kernel holds them.
    pub fn snapshot(&mut self, at_ns: u64, key: FlowKey, stats: &FlowStats, tap: &mut impl Tap) {
        self.set_time(at_ns);
        self.tracker.merge(at_ns, key, stats, &mut self.events);
        if !self.events.is_empty() {
            self.digest(tap);
        }
    }

    /// Takes the start of a payload as the kernel sends it up; its packet is counted by [`Self::snapshot`].
    pub fn segment(
        &mut self,
        at_ns: u64,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        tap: &mut impl Tap,
    ) {
        self.set_time(at_ns);
        self.tracker.data(self.now_ns, key, direction, segment, &mut self.events);
        if !self.events.is_empty() {
            self.digest(tap);
        }
    }

    /// Takes the kernel's word that a source crossed a tunable within its one-second window.
    pub fn source_over(&mut self, at_ns: u64, addr: Addr, window: &Window, tap: &mut impl Tap) {
        self.set_time(at_ns);
        self.detector.judge_window(
            self.now_ns,
            &self.tracker,
            (addr, Role::Source),
            Span::S1,
            window,
            &mut self.signals,
        );
        self.decide(tap);
    }

    /// Lets time pass: timeouts, ends of incidents, ends of blocks.
    pub fn advance(&mut self, now_ns: u64, tap: &mut impl Tap) {
        self.set_time(now_ns);
        self.advanced_ns = self.now_ns;
        self.tracker.advance(self.now_ns, &mut self.events);
        self.detector.advance(self.now_ns, &mut self.signals);
        self.digest(tap);
        self.book.advance(self.now_ns, &mut self.updates);
        self.report(tap);
        for decision in self.responder.tick(self.now_ns) {
            tap.decision(&decision);
        }
    }

    /// Ends every flow and incident. Blocks stay as they are.
    pub fn finish(&mut self, tap: &mut impl Tap) {
        self.advance(self.now_ns, tap);
        loop {
            let more = self.tracker.finish_some(FINISH_PORTION, &mut self.events);
            self.digest(tap);
            if !more {
                break;
            }
        }
        self.book.finish(&mut self.updates);
        self.report(tap);
    }

    fn digest(&mut self, tap: &mut impl Tap) {
        self.detector.judge(self.now_ns, &self.tracker, &self.events, &mut self.signals);
        for event in self.events.drain(..) {
            if let Event::Message(id, from, message) = &event {
                if let Some(flow) = self.tracker.flow(*id) {
                    tap.message(self.now_ns, &flow, *from, message);
                }
            } else if let Event::FlowEnded(record, reason) = event {
                if is_good(&record) {
                    let (client, _) = record.initiator();
                    if self.book.about(client).is_empty() {
                        self.responder.note_known_good(client, self.now_ns);
                    }
                }
                tap.flow(self.now_ns, &record, reason);
            }
        }
        if !self.signals.is_empty() {
            self.decide(tap);
        }
    }

    fn decide(&mut self, tap: &mut impl Tap) {
        for mut signal in self.signals.drain(..) {
            // Who is on the allowlist is judged by what they do alone.
            if let Some(reputation) = &self.reputation
                && let Actor::Source { addr } = signal.actor
                && !self.responder.is_allowed(addr)
                && let Some(score) = reputation(addr)
            {
                signal.weigh_reputation(score);
            }
            if let Some(update) = self.book.absorb(signal.clone()) {
                self.caused.push((update, Some(signal)));
            }
        }
        self.report(tap);
    }

    fn report(&mut self, tap: &mut impl Tap) {
        self.caused.extend(self.updates.drain(..).map(|u| (u, None)));
        for (update, signal) in self.caused.drain(..) {
            let decision = self.responder.on_update(&update, self.now_ns);
            tap.incident(self.now_ns, &update, signal.as_ref(), decision.as_ref());
            if let Some(decision) = &decision {
                tap.decision(decision);
            }
        }
    }

    /// Time of the latest input, ns.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Flow and entity tables.
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Rules in force and their state.
    pub const fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Incidents.
    pub const fn book(&self) -> &IncidentBook {
        &self.book
    }

    /// Policy and blocks.
    pub const fn responder(&self) -> &Responder {
        &self.responder
    }

    /// Policy and blocks, to command them.
    pub const fn responder_mut(&mut self) -> &mut Responder {
        &mut self.responder
    }

    /// What entered as frames.
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Replaces rules after a reload; the state of rules begins anew, incidents and flows stay.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.detector = Detector::new(rules);
    }

    /// Has signals weighed by the reputation of their actors from now on.
    pub fn set_reputation(&mut self, reputation: Option<Reputation>) {
        self.reputation = reputation;
    }

    /// Open incidents that name an address as actor or target.
    pub fn incidents_about(&self, addr: Addr) -> Vec<&Incident> {
        self.book.about(addr)
    }
}
