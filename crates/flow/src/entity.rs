//! The table of entities: who does what, in which role.

use crate::event::EntityId;
use crate::index::Index;
use crate::sketch::addr_hash;
use crate::window::{Allowance, Role, Span, Window};
use wire::Addr;

/// Entities looked at for eviction when the table is full: enough to find one that is idle or of no interest, few enough
/// not to be felt.
const EVICTION_SAMPLE: usize = 16;
/// Idle entities are looked for through the whole table once in this many seconds of traffic.
const SWEEP_SECONDS: u64 = 16;

/// One address in one role.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Address.
    pub addr: Addr,
    /// Role its windows are about.
    pub role: Role,
    /// Time of its last activity, ns.
    pub last_ns: u64,
    /// By [`Span`].
    pub windows: [Window; 3],
    generation: u32,
    hash: u32,
    pub(crate) judged_call: u32,
    live: bool,
}

impl Entity {
    /// The window of one length. It may have run out: see [`Window::covers`].
    #[must_use]
    pub const fn window(&self, span: Span) -> &Window {
        &self.windows[span as usize]
    }

    /// Whether eviction should rather take another: the entity failed repeatedly or is busy, so it is under
    /// observation, and a flood of one-packet strangers must not push it out.
    fn is_of_interest(&self) -> bool {
        let minute = self.window(Span::S60);
        minute.failed_flows > 1 || minute.packets.saturating_add(minute.reply_packets) > 8
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
    index: Index,
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
            index: Index::new(capacity),
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

    /// The entity behind `id`, or, if it is gone, the one of this address and role, made anew if need be.
    #[inline]
    pub(crate) fn resolve(&mut self, id: &mut EntityId, addr: Addr, role: Role, now: u64) -> usize {
        let slot = id.slot as usize;
        if self.slots.get(slot).is_some_and(|e| e.generation == id.generation && e.live) {
            return slot;
        }
        *id = self.obtain(addr, role, now);
        id.slot as usize
    }

    pub(crate) fn obtain(&mut self, addr: Addr, role: Role, now: u64) -> EntityId {
        let hash = self.hash(&addr, role);
        if let Some(slot) = self.index.find(hash, |s| self.is(s, &addr, role)) {
            return EntityId { slot, generation: self.slots[slot as usize].generation };
        }
        if self.live >= self.capacity {
            self.evict(now);
        }
        let windows = [Window::opened(now), Window::opened(now), Window::opened(now)];
        let fresh =
            Entity { addr, role, last_ns: now, windows, generation: 0, hash, judged_call: 0, live: true };
        let slot = if let Some(slot) = self.free.pop() {
            let old = &mut self.slots[slot as usize];
            let generation = old.generation;
            *old = Entity { generation, ..fresh };
            slot
        } else {
            self.slots.push(fresh);
            (self.slots.len() - 1) as u32
        };
        self.index.insert(hash, slot);
        self.live += 1;
        EntityId { slot, generation: self.slots[slot as usize].generation }
    }

    #[inline]
    pub(crate) fn at(&mut self, slot: usize) -> (&mut Entity, &mut Allowance) {
        (&mut self.slots[slot], &mut self.allowance)
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
        for w in &mut e.windows {
            w.release(&mut self.allowance);
        }
        e.live = false;
        e.generation = e.generation.wrapping_add(1);
        self.index.remove(e.hash, slot as u32);
        self.free.push(slot as u32);
        self.live -= 1;
    }

    /// Removes idle entities, a share of the table proportional to the time since the last call.
    pub(crate) fn sweep(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.swept_ns);
        let n = self.slots.len();
        let share = u128::from(elapsed) * n as u128 / u128::from(SWEEP_SECONDS * 1_000_000_000);
        if share == 0 {
            return;
        }
        self.swept_ns = now;
        for _ in 0..share.min(n as u128) {
            self.sweep_hand = (self.sweep_hand + 1) % n;
            let e = &self.slots[self.sweep_hand];
            if e.live && now.saturating_sub(e.last_ns) > Span::S60.nanos() {
                self.remove(self.sweep_hand);
            }
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
