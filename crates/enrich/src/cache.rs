//! Answers remembered, for many threads at once, in bounded memory.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Parts with a lock each, so that threads seldom meet.
const SHARDS: usize = 16;

struct Slot<V> {
    key: IpAddr,
    /// Of which state of the world it is.
    version: usize,
    value: V,
    /// Whether it was asked for since the hand last passed.
    used: bool,
}

/// One part: a ring of slots over which a hand goes, sparing once what was asked for ("clock", second chance).
struct Shard<V> {
    places: HashMap<IpAddr, usize, RandomState>,
    slots: Vec<Slot<V>>,
    hand: usize,
}

/// The cache. Full, those not asked for lately make room; keys come from the network, so that hashes are seeded.
pub(crate) struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
    hasher: RandomState,
    /// Slots of each part.
    room: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

impl<V: Clone> Cache<V> {
    /// One of at most `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let hasher = RandomState::new();
        let shard = || Shard { places: HashMap::with_hasher(hasher.clone()), slots: Vec::new(), hand: 0 };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            hasher: RandomState::new(),
            room: (capacity / SHARDS).max(1),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: &IpAddr) -> Option<std::sync::MutexGuard<'_, Shard<V>>> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards.get(at).map(|s| s.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is remembered of `key` as of `version`.
    pub(crate) fn get(&self, key: &IpAddr, version: usize) -> Option<V> {
        let found = self.shard(key).and_then(|mut shard| {
            let at = *shard.places.get(key)?;
            let slot = shard.slots.get_mut(at).filter(|s| s.version == version)?;
            slot.used = true;
            Some(slot.value.clone())
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Remembers.
    pub(crate) fn put(&self, key: IpAddr, version: usize, value: V) {
        let Some(mut shard) = self.shard(&key) else { return };
        let shard = &mut *shard;
        let slot = Slot { key, version, value, used: false };
        if let Some(known) = shard.places.get(&key).and_then(|at| shard.slots.get_mut(*at)) {
            *known = slot;
            return;
        }
        if shard.slots.len() < self.room {
            shard.places.insert(key, shard.slots.len());
            shard.slots.push(slot);
            return;
        }
        // Ends after one round at the latest: the hand clears each mark it passes.
        loop {
            shard.hand = (shard.hand + 1) % shard.slots.len();
            let Some(old) = shard.slots.get_mut(shard.hand) else { return };
            if std::mem::take(&mut old.used) {
                continue;
            }
            shard.places.remove(&old.key);
            shard.places.insert(key, shard.hand);
            *old = slot;
            self.evicted.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }

    /// Entries at the moment, hits, misses, evicted.
    pub(crate) fn figures(&self) -> (usize, u64, u64, u64) {
        let entries =
            self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).slots.len()).sum();
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        (entries, read(&self.hits), read(&self.misses), read(&self.evicted))
    }

    /// Entries it holds at most.
    pub(crate) const fn capacity(&self) -> usize {
        self.room * SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn addr(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    #[test]
    fn it_stays_within_bounds_and_keeps_what_is_asked_for() {
        let cache = Cache::new(160);
        assert_eq!(cache.capacity(), 160);
        cache.put(addr(7), 1, 7);
        for n in 100..5000 {
            cache.put(addr(n), 1, n);
            assert_eq!(cache.get(&addr(7), 1), Some(7), "after {n}");
        }
        let (entries, hits, misses, evicted) = cache.figures();
        assert_eq!(entries, 160);
        assert_eq!((hits, misses), (4900, 0));
        assert_eq!(evicted, 4901 - 160);
    }

    #[test]
    fn another_version_of_the_world_is_not_answered_with_the_old_one() {
        let cache = Cache::new(16);
        cache.put(addr(1), 1, "old");
        assert_eq!(cache.get(&addr(1), 2), None);
        cache.put(addr(1), 2, "new");
        assert_eq!(cache.get(&addr(1), 2), Some("new"));
        assert_eq!(cache.figures().0, 1);
    }
}
