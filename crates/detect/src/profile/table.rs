//! The bounded table that profiles keep their memories in.

use rustc_hash::FxHashMap;
use std::hash::Hash;

/// A memory that can be forgotten.
#[derive(Clone, Debug)]
struct Entry<V> {
    /// When it was last touched, ns.
    last_ns: u64,
    value: V,
}

/// Values by key, each with the time of its last use. Capacity as given to [`Table::new`]. When full, what was not used
/// for the memory's span goes first; if that is not enough, the older half, counted.
///
/// The whole table is walked for that, so a flood of new keys costs one walk for every half a table of them.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    capacity: usize,
    span_ns: u64,
    entries: FxHashMap<K, Entry<V>>,
    evicted: u64,
}

impl<K: Hash + Eq + Copy + Ord, V: Default> Table<K, V> {
    /// An empty table of at most `capacity` entries, each forgotten `span_ns` after its last use.
    pub(crate) fn new(capacity: usize, span_ns: u64) -> Self {
        Self { capacity: capacity.max(2), span_ns, entries: FxHashMap::default(), evicted: 0 }
    }

    /// The value under `key`, used at `now_ns`; a new one if there is none or if it was not used for the span.
    pub(crate) fn touch(&mut self, key: K, now_ns: u64) -> &mut V {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.make_room(now_ns);
        }
        let span_ns = self.span_ns;
        let entry = self.entries.entry(key).or_insert_with(|| Entry { last_ns: now_ns, value: V::default() });
        if now_ns.saturating_sub(entry.last_ns) > span_ns {
            entry.value = V::default();
        }
        entry.last_ns = entry.last_ns.max(now_ns);
        &mut entry.value
    }

    /// The value under `key`, if it was used within the span before `now_ns`.
    pub(crate) fn get(&self, key: &K, now_ns: u64) -> Option<&V> {
        self.entries.get(key).filter(|e| now_ns.saturating_sub(e.last_ns) <= self.span_ns).map(|e| &e.value)
    }

    /// As [`Self::get`], to change; does not count as use.
    pub(crate) fn get_mut(&mut self, key: &K, now_ns: u64) -> Option<&mut V> {
        let span_ns = self.span_ns;
        self.entries
            .get_mut(key)
            .filter(|e| now_ns.saturating_sub(e.last_ns) <= span_ns)
            .map(|e| &mut e.value)
    }

    /// The value under `key`, however long it was not used, to change; does not count as use.
    pub(crate) fn held(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|e| &mut e.value)
    }

    /// Forgets a key and hands out its value, if it was used within the span before `now_ns`.
    pub(crate) fn take(&mut self, key: &K, now_ns: u64) -> Option<V> {
        self.entries.remove(key).filter(|e| now_ns.saturating_sub(e.last_ns) <= self.span_ns).map(|e| e.value)
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Entries held, those past their span included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The values held, those past their span included, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|e| &e.value)
    }

    /// Entries given up before their time.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn make_room(&mut self, now_ns: u64) {
        let span_ns = self.span_ns;
        self.entries.retain(|_, e| now_ns.saturating_sub(e.last_ns) <= span_ns);
        if self.entries.len() < self.capacity / 4 * 3 {
            return;
        }
        let mut order: Vec<(u64, K)> = self.entries.iter().map(|(k, e)| (e.last_ns, *k)).collect();
        order.sort_unstable();
        order.truncate(order.len().div_ceil(2));
        self.evicted += order.len() as u64;
        for (_, key) in order {
            self.entries.remove(&key);
        }
    }
}

/// FNV-1a with a finish that spreads it over all bits: cheap for names. Not keyed; who makes names collide makes himself
/// look like fewer names, within one client's count.
pub(crate) fn hash(text: &str) -> u64 {
    let h =
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let h = (h ^ (h >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64);
    h ^ (h >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_end_with_their_span() {
        let mut t: Table<u8, u32> = Table::new(4, 10);
        *t.touch(1, 0) = 7;
        assert_eq!(t.get(&1, 10), Some(&7));
        assert_eq!(t.get(&1, 11), None);
        assert_eq!(*t.touch(1, 10), 7, "each use prolongs it");
        assert_eq!(*t.touch(1, 21), 0);
        assert_eq!(t.evicted(), 0);
    }

    #[test]
    fn the_older_half_makes_room() {
        let mut t: Table<u32, u32> = Table::new(8, 1000);
        for n in 0..100 {
            *t.touch(n, u64::from(n)) = n;
            assert!(t.entries.len() <= 8);
        }
        assert_eq!(t.get(&99, 99), Some(&99));
        assert!(t.evicted() > 80);
    }
}
