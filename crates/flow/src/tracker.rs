//! Packets and kernel snapshots in, flows and windows kept, events out.
//!
//! # Time
//!
//! The clock is the largest time seen. Slightly older times are counted (`time_went_back`) and treated as now, except that
//! accumulators see them as they are. A time more than [`CLOCK_RESTART_NS`] before the clock is a new beginning: all flows
//! end, all windows are dropped, `clock_restarts` counts it.

use crate::entity::{Entities, Entity};
use crate::event::{EntityId, FlowId, Record};
use crate::fragment::{Finding, Fragments};
use crate::outcome::{Before, is_exempt, opening};
use crate::rates::Rates;
use crate::session::{Outbox, Sessions};
use crate::sketch::addr_hash;
use crate::slot::Mark;
use crate::summary::{Summary, Young};
use crate::table::{Arrival, Flows};
use crate::window::{Allowance, Peer, Role, Share, Span, Window};
use crate::{Ages, Direction, EndReason, Event, FlowKey, FlowRecord, FlowStats, Outcome, Talk, Traffic};
use serde::Serialize;
use std::collections::BTreeMap;
use wire::packet::{protocol, tcp_flag};
use wire::{Addr, Fragment, Packet};

/// A step back in time beyond this, ns (10 s), is a clock set anew or another capture, not reordering.
pub const CLOCK_RESTART_NS: u64 = 10_000_000_000;
/// Most flows or entities a table can be configured for: some 4 GB each.
pub const MAX_CAPACITY: usize = 10_000_000;
const _: () = assert!(MAX_CAPACITY < crate::index::MAX_SLOTS);
/// Failures or handshakes of one second after which not each one asks for judgement, but one in [`JUDGE_THIN`].
const JUDGE_ALL: u32 = 32;
/// See [`JUDGE_ALL`].
const JUDGE_THIN: u32 = 16;
/// Sizes and times of a [`Tracker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrackerConfig {
    /// Most live flows, 1..=[`MAX_CAPACITY`]; about 110 bytes each, 24 more from the second packet and 544 from the third.
    pub flow_capacity: usize,
    /// Most live entities, 2..=[`MAX_CAPACITY`]; about 590 bytes each. A quarter as many windows may hold sets.
    pub entity_capacity: usize,
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
            entity_capacity: 32_768,
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
    /// Entities in the table.
    pub entities_live: u64,
    /// Entities given up because the table was full.
    pub entities_evicted: u64,
    /// Windows that hold sets.
    pub sets_live: u64,
    /// Times a window wanted sets and none were left: its distinct counts are too low.
    pub sets_refused: u64,
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

/// The flow table and the entity table; see the module.
///
/// Memory: `flow_capacity` × 104 bytes, 24 for each flow of two packets and 544 for each of more or with a session
/// ([`crate::session`]), `entity_capacity` × 576 bytes, `entity_capacity` / 4 × at most 1.7 KB of sets, and up to 11 bytes
/// of index per entry. Pages are touched only as entries come to be.
pub struct Tracker {
    pub(crate) config: TrackerConfig,
    pub(crate) flows: Flows,
    pub(crate) entities: Entities,
    pub(crate) rates: Rates,
    pub(crate) counters: TrackerCounters,
    pub(crate) clock: u64,
    /// Of flows that continue one cut by the active timeout: the source's sums at the cut. By slot.
    pub(crate) bases: BTreeMap<u32, FlowStats>,
    pub(crate) sessions: Sessions,
    /// Where sessions put their messages; empty between calls.
    pub(crate) outbox: Outbox,
    fragments: Fragments,
    call: u32,
    woken: Vec<u32>,
}

impl Tracker {
    /// An empty tracker. Capacities and the grace time are brought into their ranges.
    #[must_use]
    pub fn new(config: TrackerConfig) -> Self {
        let config = TrackerConfig {
            flow_capacity: config.flow_capacity.clamp(1, MAX_CAPACITY),
            entity_capacity: config.entity_capacity.clamp(2, MAX_CAPACITY),
            grace_ns: config.grace_ns.min(config.idle_ns).min(config.idle_tcp_ns),
            ..config
        };
        let sets = (config.entity_capacity / 4).max(64) as u32;
        Self {
            config,
            flows: Flows::new(config.flow_capacity, config.seed),
            entities: Entities::new(config.entity_capacity, sets, config.seed),
            rates: Rates::new(config.seed),
            counters: TrackerCounters::default(),
            clock: 0,
            bases: BTreeMap::new(),
            sessions: Sessions::new(config.session_capacity.max(1), config.session_bytes),
            outbox: Outbox::default(),
            fragments: Fragments::new(config.seed),
            call: 0,
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
        let (key, direction) = FlowKey::of(packet);
        let hash = self.flows.hash(&key);
        let found = self.flows.find(hash, &key).and_then(|slot| self.keep(slot, now_ns, packet, events));
        let (slot, before) = match found {
            Some(Kept::Same(slot, before)) => {
                self.flows.account(slot, now_ns, packet, direction);
                (slot, before)
            }
            Some(Kept::Cut(earlier, session)) => {
                let mut stats = FlowStats::resume(&earlier.stats);
                stats.account(now_ns, packet, direction);
                *self.flows.draft() = FlowRecord { stats, talk: earlier.talk.resumed(), ..*earlier };
                let slot =
                    self.begin_flow(hash, now, &Arrival { resumed: true, ..Arrival::default() }, events);
                self.attach(slot, session);
                (slot, Before::of(&stats))
            }
            None => {
                self.make_room(events);
                let draft = self.flows.draft();
                (draft.key, draft.outcome, draft.talk) = (key, Outcome::Pending, Talk::NOTHING);
                draft.stats = FlowStats::begin(packet, direction);
                draft.stats.account(now_ns, packet, direction);
                let young = Summary::of(now_ns, packet, direction).map(|first| Young { first, second: None });
                let arrival = Arrival { young, ..Arrival::default() };
                (self.begin_flow(hash, now, &arrival, events), Before::default())
            }
        };
        let mut share = Share { protocol: packet.protocol, ..Share::default() };
        if direction == self.flows.at(slot).initiator() {
            share.packets = 1;
            share.bytes = u64::from(packet.ip_len);
            share.syn_packets = u32::from(packet.tcp_flags & tcp_flag::SYN != 0);
        } else {
            share.reply_packets = 1;
            share.reply_bytes = u64::from(packet.ip_len);
            share.reply_resets = u32::from(packet.tcp_flags & tcp_flag::RST != 0);
        }
        self.count(slot, now, now, &share, events);
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
    /// [`EndReason::Shutdown`], in table order. Entities and counters stay.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.finish_some(usize::MAX, events);
    }

    /// As [`Self::finish`], but ends at most `flows` flows, so that a caller who hands events on in portions never holds
    /// the records of a full table. Returns whether flows are left.
    pub fn finish_some(&mut self, flows: usize, events: &mut Vec<Event>) -> bool {
        self.begin_call(self.clock, events);
        self.expire_waiting(0, events);
        self.end_some(flows, EndReason::Shutdown, events);
        self.end_call();
        self.flows.live > 0
    }

    /// A flow by its handle: live, or ended by the latest call.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<Record<'_>> {
        self.flows.get(id).map(|slot| self.flows.record(slot))
    }

    /// Whose flow it is, and the direction of its initiator's packets. Costs less than [`Self::flow`].
    #[must_use]
    pub fn flow_key(&self, id: FlowId) -> Option<(FlowKey, Direction)> {
        let slot = self.flows.at(self.flows.get(id)?);
        Some((slot.key, slot.initiator()))
    }

    /// An entity by its handle.
    #[must_use]
    pub fn entity(&self, id: EntityId) -> Option<&Entity> {
        self.entities.get(id)
    }

    /// An entity by address and role.
    #[must_use]
    pub fn entity_at(&self, addr: Addr, role: Role) -> Option<&Entity> {
        self.entities.find(addr, role)
    }

    /// The source and the target entity of a flow. Either handle may be stale if the entity was evicted since.
    #[must_use]
    pub fn flow_entities(&self, id: FlowId) -> Option<(EntityId, EntityId)> {
        let s = self.flows.at(self.flows.get(id)?);
        let [source, target] = s.entities;
        Some((
            self.entities.id(source, &s.source().0, Role::Source),
            self.entities.id(target, &s.target().0, Role::Target),
        ))
    }

    /// The live flow under a key.
    #[must_use]
    pub fn flow_at(&self, key: &FlowKey) -> Option<FlowId> {
        self.flows.find(self.flows.hash(key), key).map(|slot| self.flows.id(slot))
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

    /// Rates of the last whole second of the clock; of the running one if there is none yet.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.rates.completed().unwrap_or_else(|| self.rates.running())
    }

    /// Counts of the running second so far.
    #[must_use]
    pub fn traffic_running(&self) -> Traffic {
        self.rates.running()
    }

    /// The `n` sources with the most packets sent in their current 10-s windows: (address, packets, IP bytes), most first,
    /// equals by address. Walks the entity table.
    #[must_use]
    pub fn top_sources(&self, n: usize) -> Vec<(Addr, u64, u64)> {
        let mut all: Vec<_> = self
            .entities
            .iter()
            .filter(|e| e.role == Role::Source && e.window(Span::S10).covers(self.clock, Span::S10))
            .map(|e| {
                let (packets, bytes) = e.sent(Span::S10);
                (e.addr, packets, bytes)
            })
            .collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(n);
        all
    }

    // --- calls and time ---------------------------------------------------------------------------------------

    /// Opens a call: stale handles are let go, the clock moves, timers fire. Returns the clock.
    pub(crate) fn begin_call(&mut self, now_ns: u64, events: &mut Vec<Event>) -> u64 {
        self.flows.free_ended();
        self.call = self.call.wrapping_add(1).max(1);
        if now_ns >= self.clock {
            self.clock = now_ns;
        } else if self.clock - now_ns > CLOCK_RESTART_NS {
            self.restart(now_ns, events);
        } else {
            self.counters.time_went_back += 1;
        }
        self.rates.turn(self.clock);
        self.expire_waiting(self.config.grace_ns, events);
        if self.flows.is_tick_due(self.clock) {
            self.expire_idle(events);
            self.entities.sweep(self.clock);
        }
        self.clock
    }

    pub(crate) fn end_call(&mut self) {
        let c = &mut self.counters;
        c.flows_live = self.flows.live as u64;
        c.entities_live = self.entities.live as u64;
        c.entities_evicted = self.entities.evicted;
        c.sets_live = u64::from(self.entities.allowance.used);
        c.sets_refused = self.entities.allowance.refused;
        c.sessions_live = self.sessions.live() as u64;
        c.session_bytes = self.sessions.bytes as u64;
    }

    fn restart(&mut self, now: u64, events: &mut Vec<Event>) {
        self.counters.clock_restarts += 1;
        self.end_all(EndReason::Shutdown, events);
        self.entities.clear();
        self.flows.restart_wheel(now);
        self.clock = now;
    }

    /// Fails the flows that have waited for `patience_ns`.
    #[inline]
    fn expire_waiting(&mut self, patience_ns: u64, events: &mut Vec<Event>) {
        while let Some(slot) = self.flows.longest_waiting() {
            if self.age_ns(slot) < patience_ns {
                break;
            }
            let due = self.flows.first_ns(slot).saturating_add(self.config.grace_ns);
            self.watch_idle(slot);
            self.fail(slot, Outcome::Unanswered, due, events);
        }
    }

    /// Time since the flow began, by the clock, in whole milliseconds.
    pub(crate) fn age_ns(&self, slot: u32) -> u64 {
        u64::from(millis(self.clock).wrapping_sub(self.flows.at(slot).begun_ms)) * 1_000_000
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
            let earlier = self.flows.record(slot).into_box();
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

    /// Puts the flow of the draft into the table, for which there is room, its first packets already accounted, and counts
    /// its beginning.
    pub(crate) fn begin_flow(
        &mut self,
        hash: u32,
        begun_ns: u64,
        arrival: &Arrival,
        events: &mut Vec<Event>,
    ) -> u32 {
        let record = self.flows.draft();
        let (source, target) = (record.initiator().0, record.responder().0);
        let opening = opening(&record.key, &record.stats);
        let exempt = arrival.resumed || is_exempt(&record.key, opening, &target);
        let entities = [
            self.entities.obtain(source, Role::Source, begun_ns),
            self.entities.obtain(target, Role::Target, begun_ns),
        ];
        let slot = self.flows.insert(hash, millis(begun_ns), arrival, entities, exempt);
        self.counters.flows_total += 1;
        events.push(Event::FlowStarted(self.flows.id(slot)));
        if exempt || arrival.merged {
            self.watch_idle(slot);
        } else {
            self.flows.wait_for_answer(slot);
        }
        if !arrival.resumed {
            self.each_window(slot, begun_ns, begun_ns, |w, peer, allowance| {
                w.begin_flow(opening, peer, allowance);
            });
        }
        slot
    }

    pub(crate) fn end(&mut self, slot: u32, reason: EndReason, events: &mut Vec<Event>) {
        self.conclude(slot, events);
        events.push(Event::FlowEnded(self.flows.record(slot).into_box(), reason));
        self.flows.remove(slot);
        self.bases.remove(&slot);
    }

    fn end_all(&mut self, reason: EndReason, events: &mut Vec<Event>) {
        self.end_some(usize::MAX, reason, events);
    }

    fn end_some(&mut self, flows: usize, reason: EndReason, events: &mut Vec<Event>) {
        for _ in 0..flows {
            let Some(slot) = self.flows.lowest_live() else { break };
            self.end(slot, reason, events);
        }
    }

    // --- windows ----------------------------------------------------------------------------------------------

    /// Calls `f` for every window of both entities of a flow, up to date and turned to `at`.
    pub(crate) fn each_window(
        &mut self,
        slot: u32,
        at: u64,
        begins: u64,
        mut f: impl FnMut(&mut Window, Peer, &mut Allowance),
    ) {
        let seed = self.config.seed;
        let mut rounds = self.flows.peer_rounds(slot);
        let s = self.flows.at_mut(slot);
        let ((source, _), (target, port)) = (s.source(), s.target());
        let ([source_at, target_at], [source_round, target_round]) = (&mut s.entities, &mut rounds);
        for (role, place, round, addr, peer) in [
            (Role::Source, source_at, source_round, source, target),
            (Role::Target, target_at, target_round, target, source),
        ] {
            let peer = Peer { seed, hash: addr_hash(seed, &peer), port };
            let (e, allowance) = self.entities.resolve(place, round, addr, role, at);
            e.turn(at, begins, allowance);
            for w in &mut e.windows {
                f(w, peer, allowance);
            }
        }
        self.flows.set_peer_rounds(slot, rounds);
    }

    /// Adds packets of a flow, the last of them at `at` and none before `begins`, to its entities and to the rates.
    #[inline]
    pub(crate) fn count(&mut self, slot: u32, at: u64, begins: u64, share: &Share, events: &mut Vec<Event>) {
        let (seed, call, flow) = (self.config.seed, self.call, self.flows.id(slot));
        let (mut rounds, second) = (self.flows.peer_rounds(slot), self.rates.second());
        let begins_second = self.flows.begins_second(slot, second);
        let s = self.flows.at_mut(slot);
        let ((source, _), (target, port)) = (s.source(), s.target());
        let packets = u64::from(share.packets) + u64::from(share.reply_packets);
        let bytes = share.bytes.saturating_add(share.reply_bytes);
        self.counters.packets += packets;
        self.counters.bytes = self.counters.bytes.saturating_add(bytes);
        self.rates.count(share.protocol, packets, bytes, u64::from(share.syn_packets));
        if begins_second {
            self.rates.count_flow([&source, &target], share.protocol, port);
        }
        let ([source_at, target_at], [source_round, target_round]) = (&mut s.entities, &mut rounds);
        for (role, place, round, addr, peer) in [
            (Role::Source, source_at, source_round, source, &target),
            (Role::Target, target_at, target_round, target, &source),
        ] {
            let (e, allowance) = self.entities.resolve(place, round, addr, role, at);
            let due = e.add(at, begins, share, allowance);
            if let Some(now) = e.wants(share)
                && *round != now
            {
                *round = now;
                e.insert_peer(Peer { seed, hash: addr_hash(seed, peer), port }, share, allowance);
            }
            if due && e.judged_call != call {
                e.judged_call = call;
                e.prompted_by = flow;
                events.push(Event::Active(e.id(*place)));
            }
        }
        self.flows.set_peer_rounds(slot, rounds);
    }

    /// Where the entities of a flow are, or were: place, address and role.
    fn ends(&self, slot: u32) -> [(u32, Addr, Role); 2] {
        let s = self.flows.at(slot);
        let [source, target] = s.entities;
        [(source, s.source().0, Role::Source), (target, s.target().0, Role::Target)]
    }

    /// Asks for both entities of a flow to be judged, thinned out where `count` says there is a lot to judge.
    pub(crate) fn judge_both(&mut self, slot: u32, count: impl Fn(&Entity) -> u32, events: &mut Vec<Event>) {
        let flow = self.flows.id(slot);
        for (place, addr, role) in self.ends(slot) {
            if let Some(e) = self.entities.at_mut(place, &addr, role) {
                let n = count(e);
                if (n <= JUDGE_ALL || n.is_multiple_of(JUDGE_THIN)) && e.judged_call != self.call {
                    e.fold();
                    e.judged_call = self.call;
                    e.prompted_by = flow;
                    events.push(Event::Active(e.id(place)));
                }
            }
        }
    }
}

/// Milliseconds of a time, wrapped.
pub(crate) const fn millis(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

/// What became of the flow a packet's key led to.
enum Kept {
    /// The packet is one of its own.
    Same(u32, Before),
    /// It was cut by the active timeout; the packet continues it and its session.
    Cut(Box<FlowRecord>, u32),
}
