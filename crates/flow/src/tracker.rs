//! Packets and kernel snapshots in, flows kept, events out.
//!
//! A tracker knows flows and nothing else, and its events stand for themselves: several trackers may each see the packets
//! of their own flows, and one [`crate::Census`] and what is behind it take in the events of all.
//!
//! # Time
//!
//! The clock is the largest time seen. Slightly older times are counted (`time_went_back`) and treated as now, except that
//! accumulators see them as they are. A time more than [`CLOCK_RESTART_NS`] before the clock is a new beginning: all flows
//! end, `clock_restarts` counts it.
//!
//! The clock ticks at the multiples of [`TICK_NS`]. With the first time at or beyond one, packets that were not told yet
//! are told, by the last time before the tick, and timers run, before anything else. So trackers that see different packets
//! and the same ticks tell together what one tracker would that sees all.

use crate::event::{Share, What};
use crate::fragment::{Finding, Fragments};
use crate::outcome::{Before, is_exempt, opening};
use crate::session::{Outbox, Sessions};
use crate::slot::{Mark, Pending};
use crate::summary::{Summary, Young};
use crate::table::{Arrival, Flows};
use crate::window::JUDGE_EVERY;
use crate::{Ages, Direction, EndReason, Event, FlowKey, FlowRecord, FlowStats, Outcome, Talk};
use serde::Serialize;
use std::collections::BTreeMap;
use wire::packet::{protocol, tcp_flag};
use wire::{Fragment, Packet};

/// A step back in time beyond this, ns (10 s), is a clock set anew or another capture, not reordering.
pub const CLOCK_RESTART_NS: u64 = 10_000_000_000;
/// Most flows or entities a table can be configured for: some 4 GB each.
pub const MAX_CAPACITY: usize = 10_000_000;
const _: () = assert!(MAX_CAPACITY < crate::index::MAX_SLOTS);
/// How often packets not told yet are told and timers run, ns: fine enough for a grace time of a second, coarse enough to
/// cost nothing. A second is a whole number of ticks, so that no packets of two seconds are told together.
pub const TICK_NS: u64 = 50_000_000;
const _: () = assert!(1_000_000_000 % TICK_NS == 0);

/// Sizes and times of a [`Tracker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrackerConfig {
    /// Most live flows, 1..=[`MAX_CAPACITY`]; about 100 bytes each, 24 more from the second packet and 552 from the third.
    pub flow_capacity: usize,
    /// Silence that ends a TCP flow, ns.
    pub idle_tcp_ns: u64,
    /// Silence that ends any other flow, ns.
    pub idle_ns: u64,
    /// Age at which a flow is reported and begun anew, ns.
    pub active_ns: u64,
    /// Windows by what a flow is, in place of `active_ns`.
    pub ages: Option<Ages>,
    /// How long a closed TCP flow stays for its last packets, ns.
    pub linger_ns: u64,
    /// How long a flow may go without an answer, ns; at most `idle_ns` and `idle_tcp_ns`.
    pub grace_ns: u64,
    /// Most sessions, that is TCP flows whose content is read; at least 1. See [`crate::session`].
    pub session_capacity: usize,
    /// Most bytes all sessions together hold out of order or unread.
    pub session_bytes: usize,
    /// Seed of all hashes. Random where the traffic may be hostile, fixed where output is to be reproducible.
    pub seed: u64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            flow_capacity: 131_072,
            idle_tcp_ns: 300 * SECOND,
            idle_ns: 60 * SECOND,
            active_ns: 1800 * SECOND,
            ages: None,
            linger_ns: 2 * SECOND,
            grace_ns: SECOND,
            session_capacity: 65_536,
            session_bytes: 64 << 20,
            seed: 0,
        }
    }
}

impl TrackerConfig {
    /// Age at which a flow with these sums is reported and begun anew, ns.
    pub(crate) fn active_ns(&self, key: &FlowKey, stats: &FlowStats) -> u64 {
        self.ages.map_or(self.active_ns, |ages| ages.of(key, stats))
    }
}

/// What a [`Tracker`] counted since it was made; `*_live` are levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrackerCounters {
    /// Packets observed or, in snapshots, accounted.
    pub packets: u64,
    /// Their IP bytes.
    pub bytes: u64,
    /// Snapshots merged.
    pub snapshots: u64,
    /// Snapshots ignored: older than what is known, or of a flow that ended.
    pub snapshots_stale: u64,
    /// Flows begun.
    pub flows_total: u64,
    /// Flows in the table.
    pub flows_live: u64,
    /// Flows given up because the table was full.
    pub flows_evicted: u64,
    /// Flows that failed.
    pub flows_failed: u64,
    /// Sessions: TCP flows whose content is being read.
    pub sessions_live: u64,
    /// Sessions given up because there were too many or they held too much; nothing more is learnt of their flows.
    pub sessions_evicted: u64,
    /// Bytes the sessions hold out of order or unread.
    pub session_bytes: u64,
    /// Flows whose application was recognised by content.
    pub recognised: u64,
    /// Messages completed, those not reported included.
    pub messages: u64,
    /// Of these, messages not reported: more than [`crate::session::MESSAGES_PER_PACKET`] came of one packet.
    pub messages_dropped: u64,
    /// Of `messages`, broken rules of protocols.
    pub violations: u64,
    /// Holes in the streams of sessions that will never be filled.
    pub stream_gaps: u64,
    /// Times a session had more out of order or unread than one direction may.
    pub stream_overruns: u64,
    /// TCP segments that repeat bytes with other content.
    pub segment_conflicts: u64,
    /// Datagrams of a known application not read because they were fragments or cut by the capture.
    pub datagrams_cut: u64,
    /// Fragments too small for anything but evasion.
    pub fragments_tiny: u64,
    /// Fragments that overlap another of their datagram.
    pub fragments_overlapping: u64,
    /// Later fragments whose first was not seen.
    pub fragments_orphaned: u64,
    /// Times that were before the clock.
    pub time_went_back: u64,
    /// Times so far before the clock that everything was begun anew.
    pub clock_restarts: u64,
}

impl std::ops::AddAssign for TrackerCounters {
    /// What two trackers counted that each saw a part of the same traffic. Both saw the clock begin anew.
    fn add_assign(&mut self, other: Self) {
        let clock_restarts = self.clock_restarts.max(other.clock_restarts);
        for (sum, more) in [
            (&mut self.packets, other.packets),
            (&mut self.bytes, other.bytes),
            (&mut self.snapshots, other.snapshots),
            (&mut self.snapshots_stale, other.snapshots_stale),
            (&mut self.flows_total, other.flows_total),
            (&mut self.flows_live, other.flows_live),
            (&mut self.flows_evicted, other.flows_evicted),
            (&mut self.flows_failed, other.flows_failed),
            (&mut self.sessions_live, other.sessions_live),
            (&mut self.sessions_evicted, other.sessions_evicted),
            (&mut self.session_bytes, other.session_bytes),
            (&mut self.recognised, other.recognised),
            (&mut self.messages, other.messages),
            (&mut self.messages_dropped, other.messages_dropped),
            (&mut self.violations, other.violations),
            (&mut self.stream_gaps, other.stream_gaps),
            (&mut self.stream_overruns, other.stream_overruns),
            (&mut self.segment_conflicts, other.segment_conflicts),
            (&mut self.datagrams_cut, other.datagrams_cut),
            (&mut self.fragments_tiny, other.fragments_tiny),
            (&mut self.fragments_overlapping, other.fragments_overlapping),
            (&mut self.fragments_orphaned, other.fragments_orphaned),
            (&mut self.time_went_back, other.time_went_back),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.clock_restarts = clock_restarts;
    }
}

/// The flow table; see the module.
///
/// Memory: `flow_capacity` × 92 bytes, 24 for each flow of two packets and 552 for each of more or with a session
/// ([`crate::session`]), and up to 14 bytes of index per entry. Pages are touched only as entries come to be.
pub struct Tracker {
    pub(crate) config: TrackerConfig,
    pub(crate) flows: Flows,
    pub(crate) counters: TrackerCounters,
    pub(crate) clock: u64,
    /// The next tick, ns: the first multiple of [`TICK_NS`] after the clock.
    tick: u64,
    /// Slots with packets not told yet, or that had some since the last tick; at most as many as there may be flows.
    dirty: Vec<(u64, u32)>,
    /// Of flows that continue one cut by the active timeout: the source's sums at the cut. By slot.
    pub(crate) bases: BTreeMap<u32, FlowStats>,
    pub(crate) sessions: Sessions,
    /// Where sessions put their messages; empty between calls.
    pub(crate) outbox: Outbox,
    fragments: Fragments,
    woken: Vec<u32>,
}

impl Tracker {
    /// An empty tracker. Capacities and the grace time are brought into their ranges.
    #[must_use]
    pub fn new(config: TrackerConfig) -> Self {
        let config = TrackerConfig {
            flow_capacity: config.flow_capacity.clamp(1, MAX_CAPACITY),
            grace_ns: config.grace_ns.min(config.idle_ns).min(config.idle_tcp_ns),
            ..config
        };
        Self {
            config,
            flows: Flows::new(config.flow_capacity, config.seed),
            counters: TrackerCounters::default(),
            clock: 0,
            tick: 0,
            dirty: Vec::new(),
            bases: BTreeMap::new(),
            sessions: Sessions::new(config.session_capacity.max(1), config.session_bytes),
            outbox: Outbox::default(),
            fragments: Fragments::new(config.seed),
            woken: Vec::new(),
        }
    }

    /// Accounts one packet seen at `now_ns`. Events are appended in the order things happened.
    pub fn observe(&mut self, now_ns: u64, packet: &Packet<'_>, events: &mut Vec<Event>) {
        if packet.fragment == Fragment::None {
            self.take(now_ns, packet, None, events);
        } else {
            let mut packet = *packet;
            let finding = self.fragments.resolve(now_ns, &mut packet);
            self.take(now_ns, &packet, Some(finding), events);
        }
    }

    #[inline]
    fn take(&mut self, now_ns: u64, packet: &Packet<'_>, fragment: Option<Finding>, events: &mut Vec<Event>) {
        let now = self.begin_call(now_ns, events);
        self.counters.packets += 1;
        self.counters.bytes = self.counters.bytes.saturating_add(packet.ip_len.into());
        let (key, direction) = FlowKey::of(packet);
        let hash = self.flows.hash(&key);
        let found = self.flows.find(hash, &key).and_then(|slot| self.keep(slot, now_ns, packet, events));
        let (slot, before) = match found {
            Some(Kept::Same(slot, before)) => {
                self.flows.account(slot, now_ns, packet, direction);
                self.count(slot, now, packet, direction, events);
                (slot, before)
            }
            Some(Kept::Cut(earlier, session)) => {
                let mut stats = FlowStats::resume(&earlier.stats);
                stats.account(now_ns, packet, direction);
                let share = single(packet, direction == stats.initiator);
                *self.flows.draft() = FlowRecord { stats, talk: earlier.talk.resumed(), ..*earlier };
                let arrival = Arrival { resumed: true, ..Arrival::default() };
                let slot = self.begin_flow(hash, now, &arrival, share, events);
                self.attach(slot, session);
                (slot, Before::of(&stats))
            }
            None => {
                self.make_room(events);
                let draft = self.flows.draft();
                (draft.key, draft.outcome, draft.talk) = (key, Outcome::Pending, Talk::NOTHING);
                draft.stats = FlowStats::begin(packet, direction);
                draft.stats.account(now_ns, packet, direction);
                let share = single(packet, direction == draft.stats.initiator);
                let young = Summary::of(now_ns, packet, direction).map(|first| Young { first, second: None });
                let arrival = Arrival { young, ..Arrival::default() };
                (self.begin_flow(hash, now, &arrival, share, events), Before::default())
            }
        };
        if let Some(finding) = fragment {
            self.note_fragment(slot, direction, finding, events);
        }
        self.listen(slot, now, direction, packet, events);
        self.settle(slot, now, before, events);
        self.end_call();
    }

    /// Lets time pass: overdue answers become failures, idle and closed flows end.
    pub fn advance(&mut self, now_ns: u64, events: &mut Vec<Event>) {
        self.begin_call(now_ns, events);
        self.end_call();
    }

    /// The input has ended: what still waits for an answer is judged as if silence went on, then every flow ends with
    /// [`EndReason::Shutdown`], in table order. Counters stay.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.finish_some(usize::MAX, events);
    }

    /// As [`Self::finish`], but ends at most `flows` flows, so that a caller who hands events on in portions never holds
    /// the records of a full table. Returns whether flows are left.
    pub fn finish_some(&mut self, flows: usize, events: &mut Vec<Event>) -> bool {
        self.begin_call(self.clock, events);
        self.tell_pending(events);
        self.expire_waiting(self.clock, 0, events);
        self.end_some(flows, EndReason::Shutdown, events);
        self.end_call();
        self.flows.live > 0
    }

    /// The live flow under a key, as it stands.
    #[must_use]
    pub fn flow(&self, key: &FlowKey) -> Option<Box<FlowRecord>> {
        let slot = self.flows.find(self.flows.hash(key), key)?;
        let mut record = Box::new(FlowRecord::NOTHING);
        self.flows.copy_record(slot, &mut record);
        Some(record)
    }

    /// Empties a list of events that nobody needs any more. Their memory is used for further ones: where many events wait
    /// before they are dropped, on another thread say, the allocator is a good part of what they cost.
    pub fn recycle(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            if let What::Grown(record) | What::Closed(record) | What::Ended(record, _) = event.what {
                self.flows.take_back(record);
            }
        }
    }

    /// Whether the clock would tick, or begin anew, if told `now_ns`: whoever has others to tell the time does so first.
    #[inline]
    #[must_use]
    pub const fn ticks_at(&self, now_ns: u64) -> bool {
        now_ns >= self.tick || self.clock.saturating_sub(now_ns) > CLOCK_RESTART_NS
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &TrackerCounters {
        &self.counters
    }

    /// The clock: the largest time seen, ns.
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.clock
    }

    // --- calls and time ---------------------------------------------------------------------------------------

    /// Opens a call: the clock moves, and ticks. Returns the clock.
    #[inline]
    pub(crate) fn begin_call(&mut self, now_ns: u64, events: &mut Vec<Event>) -> u64 {
        if self.ticks_at(now_ns) {
            self.turn(now_ns, events);
        } else if now_ns >= self.clock {
            self.clock = now_ns;
        } else {
            self.counters.time_went_back += 1;
        }
        self.clock
    }

    pub(crate) fn end_call(&mut self) {
        let c = &mut self.counters;
        c.flows_live = self.flows.live as u64;
        c.sessions_live = self.sessions.live() as u64;
        c.session_bytes = self.sessions.bytes as u64;
    }

    /// Moves the clock to a tick, or sets it back.
    #[inline(never)]
    fn turn(&mut self, now_ns: u64, events: &mut Vec<Event>) {
        // What was not told yet happened in the tick that ends: it is told by the time of then.
        self.clock = self.clock.max(self.tick.saturating_sub(1));
        self.tell_pending(events);
        if now_ns < self.clock {
            self.counters.clock_restarts += 1;
            self.end_some(usize::MAX, EndReason::Shutdown, events);
            self.flows.restart_wheel(now_ns);
            self.clock = now_ns;
        }
        self.expire_waiting(now_ns, self.config.grace_ns, events);
        self.clock = now_ns;
        self.tick = (now_ns / TICK_NS).saturating_add(1).saturating_mul(TICK_NS);
        if self.flows.is_tick_due(self.clock) {
            self.expire_idle(events);
        }
    }

    /// Fails the flows that have waited for `patience_ns` at `now_ns`, each by the time its answer was due if that is after
    /// the clock, which moves there: so what several trackers tell is in order.
    #[inline]
    fn expire_waiting(&mut self, now_ns: u64, patience_ns: u64, events: &mut Vec<Event>) {
        while let Some(slot) = self.flows.longest_waiting() {
            if since(now_ns, self.flows.at(slot).begun_ms) < patience_ns {
                break;
            }
            let due_ns = self.flows.first_ns(slot).saturating_add(self.config.grace_ns);
            self.clock = self.clock.max(due_ns.min(now_ns));
            self.watch_idle(slot);
            self.fail(slot, Outcome::Unanswered, self.clock, events);
        }
    }

    /// Time since the flow began, by the clock, in whole milliseconds.
    pub(crate) fn age_ns(&self, slot: u32) -> u64 {
        since(self.clock, self.flows.at(slot).begun_ms)
    }

    fn expire_idle(&mut self, events: &mut Vec<Event>) {
        let mut woken = std::mem::take(&mut self.woken);
        while self.flows.next_due(self.clock, &mut woken) {
            for slot in woken.drain(..) {
                let (due, reason) = self.deadline(slot);
                if self.clock > due {
                    self.end(slot, reason, events);
                } else {
                    self.flows.wake_at(slot, due);
                }
            }
        }
        self.woken = woken;
    }

    /// When and why the flow ends if nothing more comes.
    fn deadline(&mut self, slot: u32) -> (u64, EndReason) {
        let last = self.flows.last_ns(slot);
        let over = self.flows.is_over(slot);
        let s = self.flows.at(slot);
        let slack = if s.is(Mark::Merged) { crate::merge::SNAPSHOT_SLACK_NS } else { 0 };
        if over {
            (last.saturating_add(self.config.linger_ns), EndReason::Closed)
        } else {
            (last.saturating_add(self.idle_ns(s.key.protocol)).saturating_add(slack), EndReason::Idle)
        }
    }

    pub(crate) fn watch_idle(&mut self, slot: u32) {
        let (due, _) = self.deadline(slot);
        self.flows.wake_at(slot, due);
    }

    pub(crate) const fn idle_ns(&self, proto: u8) -> u64 {
        if proto == protocol::TCP { self.config.idle_tcp_ns } else { self.config.idle_ns }
    }

    // --- flows ------------------------------------------------------------------------------------------------

    /// Whether `packet` belongs to the flow its key leads to. If not, ends that flow.
    fn keep(&mut self, slot: u32, now_ns: u64, packet: &Packet<'_>, events: &mut Vec<Event>) -> Option<Kept> {
        let key = self.flows.at(slot).key;
        let idle_ns = self.idle_ns(key.protocol);
        let stats = self.flows.stats(slot);
        let syn = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        let reason = if syn && stats.is_over() {
            EndReason::Reused
        } else if now_ns.saturating_sub(stats.last_ns()) > idle_ns {
            EndReason::Idle
        } else if now_ns.saturating_sub(stats.first_ns()) > self.config.active_ns(&key, stats) {
            let earlier = self.flows.record(slot);
            let session = self.detach(slot);
            self.end(slot, EndReason::Active, events);
            return Some(Kept::Cut(earlier, session));
        } else {
            return Some(Kept::Same(slot, Before::of(stats)));
        };
        self.end(slot, reason, events);
        None
    }

    /// Gives up a flow if there is no room for another one.
    pub(crate) fn make_room(&mut self, events: &mut Vec<Event>) {
        if self.flows.is_full()
            && let Some(victim) = self.flows.victim()
        {
            self.counters.flows_evicted += 1;
            self.end(victim, EndReason::Evicted, events);
        }
    }

    /// Puts the flow of the draft into the table, for which there is room, its first packets already accounted, and tells
    /// of it.
    pub(crate) fn begin_flow(
        &mut self,
        hash: u32,
        begun_ns: u64,
        arrival: &Arrival,
        share: Share,
        events: &mut Vec<Event>,
    ) -> u32 {
        let record = self.flows.draft();
        let opening = opening(&record.key, &record.stats);
        let exempt = arrival.resumed || is_exempt(&record.key, &record.stats, opening, &record.responder().0);
        let slot = self.flows.insert(hash, millis(begun_ns), arrival, exempt);
        self.counters.flows_total += 1;
        let opening = (!arrival.resumed).then_some(opening);
        self.tell(slot, What::Started { opening, share }, events);
        if exempt || arrival.merged {
            self.watch_idle(slot);
        } else {
            self.flows.wait_for_answer(slot);
        }
        slot
    }

    pub(crate) fn end(&mut self, slot: u32, reason: EndReason, events: &mut Vec<Event>) {
        self.conclude(slot, events);
        let record = self.flows.record(slot);
        self.tell(slot, What::Ended(record, reason), events);
        self.flows.remove(slot);
        self.bases.remove(&slot);
    }

    fn end_some(&mut self, flows: usize, reason: EndReason, events: &mut Vec<Event>) {
        for _ in 0..flows {
            let Some(slot) = self.flows.lowest_live() else { break };
            self.end(slot, reason, events);
        }
    }

    // --- telling ----------------------------------------------------------------------------------------------

    /// Tells something about a flow, after its packets that were not told yet.
    pub(crate) fn tell(&mut self, slot: u32, what: What, events: &mut Vec<Event>) {
        self.tell_packets(slot, events);
        events.push(Event { at_ns: self.clock, flow: self.flows.conversation(slot), what });
    }

    /// Tells the packets of a flow that were not told yet.
    #[inline]
    pub(crate) fn tell_packets(&mut self, slot: u32, events: &mut Vec<Event>) {
        let Some(full) = self.flows.full_mut(slot).filter(|full| !full.pending.is_empty()) else { return };
        let share = std::mem::replace(&mut full.pending, Pending::NONE).share();
        // The time of each is not kept, and that of the tick is the same for all trackers.
        let begins_ns = self.tick.saturating_sub(TICK_NS).min(self.clock);
        let what = What::Counted { share, begins_ns, last_ns: self.clock };
        events.push(Event { at_ns: self.clock, flow: self.flows.conversation(slot), what });
    }

    /// Tells all packets that were not told yet.
    fn tell_pending(&mut self, events: &mut Vec<Event>) {
        let at_tick = is_end_of_tick(self.clock);
        let mut dirty = std::mem::take(&mut self.dirty);
        for (since_ns, slot) in dirty.drain(..) {
            let first = events.len();
            self.tell_packets(slot, events);
            if at_tick
                && let Some(Event { what: What::Counted { begins_ns, .. }, .. }) = events.get_mut(first)
            {
                *begins_ns = since_ns;
            }
            if let Some(full) = self.flows.full_mut(slot) {
                full.listed = false;
            }
        }
        self.dirty = dirty;
    }

    /// Counts a packet just accounted: it is told later, together with others of its flow.
    #[inline]
    fn count(
        &mut self,
        slot: u32,
        now: u64,
        packet: &Packet<'_>,
        direction: Direction,
        events: &mut Vec<Event>,
    ) {
        let sent = direction == self.flows.at(slot).initiator();
        let Some(full) = self.flows.full_mut(slot) else {
            let what = What::Counted { share: single(packet, sent), begins_ns: now, last_ns: now };
            events.push(Event { at_ns: now, flow: self.flows.conversation(slot), what });
            return;
        };
        let flag = if sent { tcp_flag::SYN } else { tcp_flag::RST };
        full.pending.add(sent, packet.ip_len, packet.tcp_flags & flag != 0);
        let listed = std::mem::replace(&mut full.listed, true);
        let [a, b] = &full.record.stats.dir;
        if (a.packets + b.packets).is_multiple_of(JUDGE_EVERY.into()) {
            let record = self.flows.record(slot);
            self.tell(slot, What::Grown(record), events);
        }
        if !listed {
            self.dirty.push((now, slot));
            if self.dirty.len() > self.config.flow_capacity {
                // Time stands still, and flows come and go.
                self.tell_pending(events);
            }
        }
    }
}

/// Whether a time is the last before a tick.
pub(crate) const fn is_end_of_tick(ns: u64) -> bool {
    ns.wrapping_add(1).is_multiple_of(TICK_NS)
}

/// What one packet adds to windows.
fn single(packet: &Packet<'_>, sent: bool) -> Share {
    let mut pending = Pending::NONE;
    let flag = if sent { tcp_flag::SYN } else { tcp_flag::RST };
    pending.add(sent, packet.ip_len, packet.tcp_flags & flag != 0);
    pending.share()
}

/// Milliseconds of a time, wrapped.
pub(crate) const fn millis(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

/// Time from `begun_ms` to `now_ns` in whole milliseconds, ns.
const fn since(now_ns: u64, begun_ms: u32) -> u64 {
    millis(now_ns).wrapping_sub(begun_ms) as u64 * 1_000_000
}

/// What became of the flow a packet's key led to.
enum Kept {
    /// The packet is one of its own.
    Same(u32, Before),
    /// It was cut by the active timeout; the packet continues it and its session.
    Cut(Box<FlowRecord>, u32),
}
