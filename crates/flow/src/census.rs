//! Who does what: events in, windows of entities and rates kept, whom to judge out.
//!
//! A census knows addresses and no flows. What it needs of a flow is in the event, so that it takes in the events of any
//! number of trackers, each in its order.

use crate::entity::{Entities, Entity, EntityId};
use crate::event::{Conversation, Share, What};
use crate::rates::Rates;
use crate::sketch::addr_hash;
use crate::tracker::{CLOCK_RESTART_NS, MAX_CAPACITY, TICK_NS, is_end_of_tick};
use crate::window::{Allowance, Errors, JUDGE_EVERY, PastWindow, Peer, Role, Span, Window};
use crate::{Event, Traffic};
use serde::Serialize;
use wire::Addr;

/// Failures or handshakes of one second after which not each one asks for judgement, but one in [`JUDGE_THIN`].
const JUDGE_ALL: u32 = 32;
/// See [`JUDGE_ALL`].
const JUDGE_THIN: u32 = 16;
/// Packets received that may not have been told when ICMP errors about them are: those of one flow.
const PROVOCATION_LAG: u64 = JUDGE_EVERY as u64;

/// Sizes of a [`Census`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CensusConfig {
    /// Most live entities, 2..=[`MAX_CAPACITY`]; about 590 bytes each. A quarter as many windows may hold sets.
    pub entity_capacity: usize,
    /// Seed of all hashes. Random where the traffic may be hostile, fixed where output is to be reproducible.
    pub seed: u64,
}

impl Default for CensusConfig {
    fn default() -> Self {
        Self { entity_capacity: 32_768, seed: 0 }
    }
}

/// What a [`Census`] counted since it was made; `*_live` are levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CensusCounters {
    /// Entities in the table.
    pub entities_live: u64,
    /// Entities given up because the table was full.
    pub entities_evicted: u64,
    /// Windows that hold sets.
    pub sets_live: u64,
    /// Times a window wanted sets and none were left: its distinct counts are too low.
    pub sets_refused: u64,
}

/// The entity table and the rates; see the module.
///
/// Its clock is the largest [`Event::at_ns`] or time of [`Self::advance`]; it begins anew as that of a tracker does.
///
/// Memory: `entity_capacity` × 576 bytes, `entity_capacity` / 4 × at most 1.7 KB of sets, up to 14 bytes of index per
/// entity, and 10 KB. Pages are touched only as entities come to be.
pub struct Census {
    seed: u64,
    entities: Entities,
    rates: Rates,
    clock: u64,
}

impl Census {
    /// An empty census. The capacity is brought into its range.
    #[must_use]
    pub fn new(config: CensusConfig) -> Self {
        let capacity = config.entity_capacity.clamp(2, MAX_CAPACITY);
        let sets = (capacity / 4).max(64) as u32;
        Self {
            seed: config.seed,
            entities: Entities::new(capacity, sets, config.seed),
            rates: Rates::new(config.seed),
            clock: 0,
        }
    }

    /// Takes in an event. Appends whose windows changed in a way worth judging: by a failure, a handshake, an odd
    /// fragment, or another [`crate::window::JUDGE_EVERY`] packets. Their windows are up to date, and the handles good
    /// until the next call.
    pub fn take(&mut self, event: &Event, active: &mut Vec<EntityId>) {
        self.turn(event.at_ns);
        let flow = &event.flow;
        match &event.what {
            What::Started { opening, share } => {
                let begun_ns = flow.first_ns.min(event.at_ns);
                if let Some(opening) = *opening {
                    self.each_window(flow, begun_ns, |w, peer, allowance| {
                        w.begin_flow(opening, peer, allowance);
                    });
                }
                if !share.is_empty() {
                    self.count(flow, (begun_ns, event.at_ns), share, active);
                }
            }
            What::Opened(opening) => {
                self.each_window(flow, flow.first_ns.min(event.at_ns), |w, peer, allowance| {
                    w.begin_flow(*opening, peer, allowance);
                });
            }
            What::Counted { share, begins_ns, last_ns } => {
                // All that is told at the end of a tick is of the whole tick, so that it does not matter who is told first.
                let tick = is_end_of_tick(*last_ns) && *last_ns == event.at_ns;
                let begins_ns = if tick { (*last_ns + 1 - TICK_NS).min(*begins_ns) } else { *begins_ns };
                self.count(flow, (begins_ns, *last_ns), share, active);
            }
            What::Failed { outcome, due_ns } => {
                self.each_window(flow, *due_ns, |w, peer, allowance| {
                    w.fail_flow(*outcome, flow.key.protocol, peer, allowance);
                });
                self.judge(flow, &Role::BOTH, |w| w.failed_flows, event.at_ns, active);
            }
            What::Handshake { with_syn, age_ns } => {
                self.each_window(flow, event.at_ns, |w, _, _| w.complete(*with_syn, *age_ns, event.at_ns));
                self.judge(flow, &Role::BOTH, |w| w.handshakes, event.at_ns, active);
            }
            What::Fragment(finding) => {
                let (_, e, _) = self.entities.resolve(flow.initiator().0, Role::Source, event.at_ns);
                for w in &mut e.windows {
                    w.note_fragment(*finding);
                }
                let odd = |w: &Window| {
                    u32::from(w.tiny_fragments.max(w.overlapping_fragments).max(w.orphan_fragments))
                };
                self.judge(flow, &[Role::Source], odd, event.at_ns, active);
            }
            What::Recognised
            | What::Message(..)
            | What::Odd(_)
            | What::Grown(_)
            | What::Closed(_)
            | What::Ended(..) => {}
        }
    }

    /// Lets time pass: idle entities are forgotten, seconds come to an end.
    pub fn advance(&mut self, now_ns: u64) {
        self.turn(now_ns);
        self.rates.turn(self.clock);
        self.entities.sweep(self.clock);
    }

    /// Has 10-s windows of sources handed out by [`Self::take_past`] when they are over: when the source is next heard, else
    /// within 16 s of [`Self::advance`], or when the table gives the source up.
    pub const fn keep_past(&mut self) {
        self.entities.allowance.keep_past = true;
    }

    /// Moves the windows that are over to the end of `into`. To be called after each [`Self::take`] and [`Self::advance`]: what is
    /// not taken stays in memory.
    #[inline]
    pub fn take_past(&mut self, into: &mut Vec<PastWindow>) {
        into.append(&mut self.entities.allowance.past);
    }

    /// Ends the 10-s windows of all sources, at the end of input.
    pub fn end_windows(&mut self) {
        if self.entities.allowance.keep_past {
            self.entities.retire_all();
        }
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

    /// Seed of all hashes.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> CensusCounters {
        let e = &self.entities;
        CensusCounters {
            entities_live: e.live as u64,
            entities_evicted: e.evicted,
            sets_live: e.allowance.used as u64,
            sets_refused: e.allowance.refused,
        }
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

    /// Moves the clock, or begins anew.
    #[inline]
    fn turn(&mut self, now_ns: u64) {
        if now_ns >= self.clock {
            self.clock = now_ns;
        } else if self.clock - now_ns > CLOCK_RESTART_NS {
            self.entities.clear();
            self.rates.restart(now_ns);
            self.clock = now_ns;
        }
    }

    /// Calls `f` for every window of both entities of a flow, up to date and turned to `at`.
    fn each_window(
        &mut self,
        flow: &Conversation,
        at: u64,
        mut f: impl FnMut(&mut Window, Peer, &mut Allowance),
    ) {
        for (role, addr, peer) in ends(flow) {
            let peer = self.peer(flow, &peer);
            let (_, e, allowance) = self.entities.resolve(addr, role, at);
            e.turn(at, at, allowance);
            for w in &mut e.windows {
                f(w, peer, allowance);
            }
        }
    }

    /// Adds packets of a flow to its entities and to the rates.
    fn count(
        &mut self,
        flow: &Conversation,
        (begins, last): (u64, u64),
        share: &Share,
        active: &mut Vec<EntityId>,
    ) {
        let proto = flow.key.protocol;
        let [(_, source, target), _] = ends(flow);
        self.rates.turn(last);
        self.rates.count(proto, share);
        self.rates.count_flow([&source, &target], proto, flow.responder().1);
        let errors = self.errors(flow, share, last);
        for (role, addr, peer) in ends(flow) {
            let (seed, port) = (self.seed, flow.responder().1);
            let (id, e, allowance) = self.entities.resolve(addr, role, last);
            let due = e.add((begins, last), (proto, share, errors), allowance);
            if e.wants(proto, share) {
                e.insert_peer(Peer { seed, hash: addr_hash(seed, &peer), port }, proto, allowance);
            }
            if due {
                e.prompted_by = Some((flow.key, flow.initiator));
                active.push(id);
            }
        }
    }

    /// How many of a flow's packets are ICMP errors, and how many of these its sender was provoked to: an error answers a
    /// packet, so nobody sends more of them than he receives, unless they are the attack.
    fn errors(&self, flow: &Conversation, share: &Share, now: u64) -> Errors {
        let (source, kind) = flow.initiator();
        if !wire::is_icmp_error(flow.key.protocol, u8::try_from(kind).unwrap_or(u8::MAX)) {
            return Errors::default();
        }
        let target = self.entities.find(source, Role::Target);
        let own = self.entities.find(source, Role::Source);
        let left = |span| {
            let (received, told) = Entity::provocation(target, own, span, now);
            received.saturating_add(PROVOCATION_LAG).saturating_sub(told)
        };
        // The windows of both roles do not begin at the same moment: where one has just begun, the longer one tells.
        let provoked = u64::from(share.packets).min(left(Span::S10).max(left(Span::S60))) as u32;
        Errors { packets: share.packets, provoked }
    }

    /// Has entities of a flow judged, thinned out where `count` says of the shortest window that there is a lot to judge.
    fn judge(
        &mut self,
        flow: &Conversation,
        roles: &[Role],
        count: impl Fn(&Window) -> u32,
        now: u64,
        active: &mut Vec<EntityId>,
    ) {
        for (role, addr, _) in ends(flow).into_iter().filter(|(role, ..)| roles.contains(role)) {
            let (id, e, _) = self.entities.resolve(addr, role, now);
            let n = count(e.window(Span::S1));
            if n <= JUDGE_ALL || n.is_multiple_of(JUDGE_THIN) {
                e.fold();
                e.prompted_by = Some((flow.key, flow.initiator));
                active.push(id);
            }
        }
    }

    fn peer(&self, flow: &Conversation, addr: &Addr) -> Peer {
        Peer { seed: self.seed, hash: addr_hash(self.seed, addr), port: flow.responder().1 }
    }
}

/// Both ends of a flow: role, address, and that of the other one.
#[inline]
fn ends(flow: &Conversation) -> [(Role, Addr, Addr); 2] {
    let (source, target) = (flow.initiator().0, flow.responder().0);
    [(Role::Source, source, target), (Role::Target, target, source)]
}
