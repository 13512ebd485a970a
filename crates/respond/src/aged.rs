//! A bounded map whose entries carry a time.

use std::collections::{BTreeMap, BTreeSet};

/// A map of at most `capacity` entries, each with a time in ns.
///
/// Eviction: inserting a new key into a full map removes the entry with the smallest time (ties: the smallest key), which
/// may be the new one. What the time means, last seen or end, is the owner's affair; [`Aged::drop_until`] forgets by it.
#[derive(Clone, Debug)]
pub(crate) struct Aged<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    order: BTreeSet<(u64, K)>,
    capacity: usize,
    evicted: u64,
}

impl<K: Ord + Copy, V> Aged<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeSet::new(), capacity, evicted: 0 }
    }

    /// Puts `value` in under `key` with time `at`, replacing what is there.
    pub(crate) fn insert(&mut self, key: K, at: u64, value: V) {
        if let Some((was, _)) = self.entries.insert(key, (at, value)) {
            self.order.remove(&(was, key));
        }
        self.order.insert((at, key));
        if self.entries.len() > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
            self.evicted += 1;
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, v)| v)
    }

    pub(crate) fn time(&self, key: &K) -> Option<u64> {
        self.entries.get(key).map(|(at, _)| *at)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (at, value) = self.entries.remove(key)?;
        self.order.remove(&(at, *key));
        Some(value)
    }

    pub(crate) fn range(&self, first: K, last: K) -> impl Iterator<Item = K> {
        // `BTreeMap::range` panics on an inverted range.
        let last = last.max(first);
        self.entries.range(first..=last).map(|(k, _)| *k)
    }

    /// Forgets every entry whose time is `until` or earlier.
    pub(crate) fn drop_until(&mut self, until: u64) {
        while let Some((at, key)) = self.order.first().copied() {
            if at > until {
                break;
            }
            self.order.pop_first();
            self.entries.remove(&key);
        }
    }

    /// Moves every time `back` ns into the past.
    pub(crate) fn shift(&mut self, back: u64) {
        for (at, _) in self.entries.values_mut() {
            *at = at.saturating_sub(back);
        }
        self.order = self.entries.iter().map(|(k, (at, _))| (*at, *k)).collect();
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries removed for want of room.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicts_the_smallest_time() {
        let mut m = Aged::new(2);
        m.insert(1, 10, 'a');
        m.insert(2, 20, 'b');
        m.insert(1, 30, 'c');
        m.insert(3, 25, 'd');
        assert_eq!((m.get(&1), m.get(&2), m.get(&3)), (Some(&'c'), None, Some(&'d')));
        assert_eq!((m.len(), m.evicted()), (2, 1));
        m.insert(4, 5, 'e');
        assert!(!m.contains(&4), "the new one is the oldest");
    }

    #[test]
    fn forgets_and_shifts() {
        let mut m = Aged::new(8);
        for k in 0..5_u64 {
            m.insert(k, k * 10, ());
        }
        m.drop_until(10);
        assert_eq!(m.len(), 3);
        m.shift(25);
        assert_eq!((m.time(&2), m.time(&3), m.time(&4)), (Some(0), Some(5), Some(15)));
        m.drop_until(5);
        assert_eq!(m.range(0, 9).collect::<Vec<_>>(), [4]);
        assert_eq!(m.range(9, 0).count(), 0);
        assert_eq!(m.remove(&4), Some(()));
        assert_eq!(m.remove(&4), None);
        m.clear();
        assert_eq!(m.len(), 0);
    }
}
