//! The table of entities: who does what, in which role.

use crate::event::Share;
use crate::index::Index;
use crate::sketch::addr_hash;
use crate::window::{Allowance, Errors, JUDGE_EVERY, Peer, Role, Span, Tally, Window};
use crate::{Direction, FlowKey};
use wire::Addr;
use wire::packet::protocol;

/// Handle of a live entity (one address in one role); stale handles are detected, not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntityId {
    slot: u32,
    generation: u32,
}

/// Entities looked at for eviction when the table is full: enough to find one that is idle or of no interest, few enough
/// not to be felt.
const EVICTION_SAMPLE: usize = 16;
/// Idle entities are looked for through the whole table once in this many seconds of traffic.
const SWEEP_SECONDS: u64 = 16;

/// One address in one role.
///
/// Its windows are up to date whenever [`crate::Census::take`] has it judged, and at the latest every
/// [`crate::window::JUDGE_EVERY`] packets; between, they lag by up to that much. [`Self::current`] does not.
#[derive(Clone, Debug)]
// A packet touches the first two cache lines and no window.
#[repr(C, align(64))]
pub struct Entity {
    /// Address.
    pub addr: Addr,
    /// Role its windows are about.
    pub role: Role,
    live: bool,
    /// Windows that want peers, by bit.
    wanting: u8,
    /// Packets since it was last reported as active, or so.
    unjudged: u32,
    /// Earliest end of a window, ns: packets from then on are not for the windows as they are.
    fold_by_ns: u64,
    /// Time of its last activity, ns.
    pub last_ns: u64,
    /// Packets not yet in the windows.
    pending: Tally,
    /// The flow that last made it worth judging, and the direction of its initiator's packets.
    pub prompted_by: Option<(FlowKey, Direction)>,
    generation: u32,
    hash: u32,
    /// By [`Span`].
    pub windows: [Window; 3],
}

// The memory figure in the tracker's documentation rests on it.
const _: () = assert!(size_of::<Entity>() <= 576);

impl Entity {
    fn new(addr: Addr, role: Role, now: u64, hash: u32, generation: u32) -> Self {
        Self {
            addr,
            role,
            last_ns: now,
            windows: [Window::opened(now), Window::opened(now), Window::opened(now)],
            pending: Tally::default(),
            fold_by_ns: now.saturating_add(Span::S1.nanos()),
            generation,
            hash,
            prompted_by: None,
            unjudged: 0,
            wanting: 0,
            live: true,
        }
    }

    /// The window of one length. It may have run out: see [`Window::covers`].
    #[must_use]
    pub const fn window(&self, span: Span) -> &Window {
        &self.windows[span as usize]
    }

    /// The window of one length as a copy that lags behind by nothing.
    #[must_use]
    pub fn current(&self, span: Span) -> Window {
        let mut w = self.window(span).clone();
        w.add(&self.pending);
        w
    }

    /// Adds packets, the last of them at `at` and none before `begins`. True once in every
    /// [`crate::window::JUDGE_EVERY`] packets; the windows are then up to date.
    #[inline]
    pub(crate) fn add(
        &mut self,
        (begins, at): (u64, u64),
        (proto, share, errors): (u8, &Share, Errors),
        allowance: &mut Allowance,
    ) -> bool {
        if at >= self.fold_by_ns {
            self.turn(at, begins, allowance);
        }
        self.last_ns = self.last_ns.max(at);
        self.pending.add(proto, share, errors);
        self.unjudged = self.unjudged.saturating_add(share.packets.saturating_add(share.reply_packets));
        let due = self.unjudged >= JUDGE_EVERY;
        if due {
            self.unjudged = 0;
            self.fold();
        }
        due
    }

    /// Brings the windows up to date.
    #[inline]
    pub(crate) fn fold(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.wanting = 0;
        for (bit, w) in self.windows.iter_mut().enumerate() {
            w.add(&pending);
            self.wanting |= u8::from(w.wants_peers(self.role)) << bit;
        }
    }

    /// Brings the windows up to date and starts those over that ran out before `at`.
    pub(crate) fn turn(&mut self, at: u64, begins: u64, allowance: &mut Allowance) {
        self.fold();
        self.last_ns = self.last_ns.max(at);
        if at < self.fold_by_ns {
            return;
        }
        self.fold_by_ns = u64::MAX;
        for (bit, (w, span)) in self.windows.iter_mut().zip(Span::ALL).enumerate() {
            if let Some(mut past) = w.roll(span, at, begins) {
                self.wanting &= !(1 << bit);
                if span == Span::S10 && self.role == Role::Source {
                    allowance.bury(self.addr, past);
                } else {
                    past.release(allowance);
                }
            }
            self.fold_by_ns = self.fold_by_ns.min(w.start_ns.saturating_add(span.nanos()));
        }
    }

    /// Gives up the 10-s window of a source if it is over at `now`: who is silent would otherwise be judged when next heard.
    fn retire(&mut self, now: u64, allowance: &mut Allowance) {
        if self.role == Role::Source && !self.window(Span::S10).covers(now, Span::S10) {
            self.fold();
            let window = &mut self.windows[Span::S10 as usize];
            // What is left has run out too: the next packet begins a new one.
            let left = Window::opened(window.start_ns);
            allowance.bury(self.addr, std::mem::replace(window, left));
        }
    }

    /// Whether a window wants the peer of a flow's packets.
    #[inline]
    pub(crate) fn wants(&self, proto: u8, share: &Share) -> bool {
        let concerned = self.role == Role::Target || proto == protocol::UDP;
        self.wanting != 0 && share.packets > 0 && concerned
    }

    pub(crate) fn insert_peer(&mut self, peer: Peer, proto: u8, allowance: &mut Allowance) {
        let (role, wanting) = (self.role, self.wanting);
        for (_, w) in self.windows.iter_mut().enumerate().filter(|(bit, _)| wanting >> bit & 1 == 1) {
            w.add_peer(role, peer, proto, allowance);
        }
    }

    /// Packets and IP bytes sent in the current window of a length, those not yet in the window included.
    pub(crate) fn sent(&self, span: Span) -> (u64, u64) {
        let w = self.window(span);
        let packets = u64::from(w.packets) + u64::from(self.pending.packets);
        (packets, w.bytes.saturating_add(self.pending.bytes))
    }

    /// Packets received and ICMP errors sent, of an address as a target and the same as a source, in the windows of a length
    /// at `now`.
    pub(crate) fn provocation(
        target: Option<&Self>,
        source: Option<&Self>,
        span: Span,
        now: u64,
    ) -> (u64, u64) {
        let lasts = |e: &Self| e.window(span).covers(now, span);
        let received = target.map_or(0, |e| if lasts(e) { e.sent(span).0 } else { e.pending.packets.into() });
        let told = source.map_or(0, |e| {
            u64::from(e.pending.icmp_errors) + if lasts(e) { e.window(span).icmp_errors.into() } else { 0 }
        });
        (received, told)
    }

    /// Whether eviction should rather take another: the entity failed repeatedly or is busy, so it is under
    /// observation, and a flood of one-packet strangers must not push it out.
    fn is_of_interest(&self) -> bool {
        let minute = self.window(Span::S60);
        let packets = u64::from(minute.packets) + u64::from(minute.reply_packets);
        let pending = u64::from(self.pending.packets) + u64::from(self.pending.reply_packets);
        minute.failed_flows > 1 || packets + pending > 8
    }
}

/// Bounded table of entities. Capacity: `entity_capacity`. When full, of the next [`EVICTION_SAMPLE`] entities in slot
/// order the one idle longest goes, of those without interest if there are any. Entities idle for over a minute, whose
/// windows have all run out, are removed by a sweep that follows the clock.
pub(crate) struct Entities {
    seed: u64,
    capacity: usize,
    slots: Vec<Entity>,
    free: Vec<u32>,
    /// One bit per slot: whether it is live. The sweep looks here, so that slots a flood has left behind cost it nothing.
    occupied: Vec<u64>,
    index: Index,
    /// Slots asked for last, by role: what is told of one flow comes together.
    latest: [u32; 2],
    pub(crate) live: usize,
    pub(crate) evicted: u64,
    pub(crate) allowance: Allowance,
    eviction_hand: usize,
    sweep_hand: usize,
    swept_ns: u64,
}

impl Entities {
    pub(crate) fn new(capacity: usize, set_capacity: u32, seed: u64) -> Self {
        Self {
            seed,
            capacity,
            slots: Vec::with_capacity(capacity),
            free: Vec::new(),
            occupied: Vec::new(),
            index: Index::new(),
            latest: [u32::MAX; 2],
            live: 0,
            evicted: 0,
            allowance: Allowance { capacity: set_capacity, ..Allowance::default() },
            eviction_hand: 0,
            sweep_hand: 0,
            swept_ns: 0,
        }
    }

    fn hash(&self, addr: &Addr, role: Role) -> u32 {
        addr_hash(self.seed ^ role as u64, addr)
    }

    pub(crate) fn get(&self, id: EntityId) -> Option<&Entity> {
        self.slots.get(id.slot as usize).filter(|e| e.live && e.generation == id.generation)
    }

    pub(crate) fn find(&self, addr: Addr, role: Role) -> Option<&Entity> {
        let hash = self.hash(&addr, role);
        let slot = self.index.find(hash, |s| self.is(s, &addr, role))?;
        Some(&self.slots[slot as usize])
    }

    fn is(&self, slot: u32, addr: &Addr, role: Role) -> bool {
        let e = &self.slots[slot as usize];
        e.role == role && e.addr == *addr
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.slots.iter().filter(|e| e.live)
    }

    /// The entity of an address and role, made if there is none, and its handle.
    #[inline]
    pub(crate) fn resolve(
        &mut self,
        addr: Addr,
        role: Role,
        now: u64,
    ) -> (EntityId, &mut Entity, &mut Allowance) {
        let mut slot = self.latest[role as usize];
        if !self.is_at(slot, &addr, role) {
            slot = self.obtain(addr, role, now);
            self.latest[role as usize] = slot;
        }
        let e = &mut self.slots[slot as usize];
        (EntityId { slot, generation: e.generation }, e, &mut self.allowance)
    }

    /// Whether the entity of an address and role lives in a slot.
    #[inline]
    fn is_at(&self, slot: u32, addr: &Addr, role: Role) -> bool {
        self.slots.get(slot as usize).is_some_and(|e| e.live && e.role == role && e.addr == *addr)
    }

    fn obtain(&mut self, addr: Addr, role: Role, now: u64) -> u32 {
        let hash = self.hash(&addr, role);
        if let Some(slot) = self.index.find(hash, |s| self.is(s, &addr, role)) {
            return slot;
        }
        if self.live >= self.capacity {
            self.evict(now);
        }
        let slot = if let Some(slot) = self.free.pop() {
            let old = &mut self.slots[slot as usize];
            *old = Entity::new(addr, role, now, hash, old.generation);
            slot
        } else {
            self.slots.push(Entity::new(addr, role, now, hash, 0));
            (self.slots.len() - 1) as u32
        };
        let word = slot as usize / 64;
        if word == self.occupied.len() {
            self.occupied.push(0);
        }
        self.occupied[word] |= 1 << (slot % 64);
        self.index.insert(hash, slot, |s| self.slots[s as usize].hash);
        self.live += 1;
        slot
    }

    fn evict(&mut self, now: u64) {
        let mut best: Option<(bool, u64, usize)> = None;
        for _ in 0..EVICTION_SAMPLE.min(self.slots.len()) {
            let at = self.eviction_hand;
            self.eviction_hand = (at + 1) % self.slots.len();
            let e = &self.slots[at];
            if e.live {
                let kept = e.is_of_interest() && now.saturating_sub(e.last_ns) < Span::S60.nanos();
                let rank = (kept, e.last_ns, at);
                if best.is_none_or(|b| rank < b) {
                    best = Some(rank);
                }
            }
        }
        // A table at its capacity has no free slots, so the sample found one.
        if let Some((_, _, slot)) = best {
            self.remove(slot);
            self.evicted += 1;
        }
    }

    fn remove(&mut self, slot: usize) {
        let e = &mut self.slots[slot];
        e.retire(u64::MAX, &mut self.allowance);
        for w in &mut e.windows {
            w.release(&mut self.allowance);
        }
        e.live = false;
        e.generation = e.generation.wrapping_add(1);
        let hash = e.hash;
        self.index.remove(hash, slot as u32, |s| self.slots[s as usize].hash);
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        self.free.push(slot as u32);
        self.live -= 1;
    }

    /// Removes idle entities, a share of the table proportional to the time since the last call.
    pub(crate) fn sweep(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.swept_ns);
        let n = self.slots.len();
        let whole = SWEEP_SECONDS * 1_000_000_000;
        // At most 16e9 times the largest capacity, which fits.
        let share = if elapsed >= whole { n } else { (elapsed * n as u64 / whole) as usize };
        if share == 0 {
            return;
        }
        self.swept_ns = now;
        let begin = (self.sweep_hand + 1) % n;
        self.sweep_hand = (self.sweep_hand + share) % n;
        self.sweep_range(begin, (begin + share).min(n), now);
        self.sweep_range(0, (begin + share).saturating_sub(n), now);
    }

    /// Removes what is idle among the slots `from..to`.
    fn sweep_range(&mut self, from: usize, to: usize, now: u64) {
        let mut at = from;
        while at < to {
            let word = self.occupied[at / 64] >> (at % 64);
            if word == 0 {
                at = (at / 64 + 1) * 64;
                continue;
            }
            at += word.trailing_zeros() as usize;
            if at < to {
                if now.saturating_sub(self.slots[at].last_ns) > Span::S60.nanos() {
                    self.remove(at);
                } else if self.allowance.keep_past {
                    self.slots[at].retire(now, &mut self.allowance);
                }
            }
            at += 1;
        }
    }

    /// Gives up the 10-s windows of all sources.
    pub(crate) fn retire_all(&mut self) {
        for e in self.slots.iter_mut().filter(|e| e.live) {
            e.retire(u64::MAX, &mut self.allowance);
        }
    }

    pub(crate) fn clear(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].live {
                self.remove(slot);
            }
        }
        self.swept_ns = 0;
    }
}
