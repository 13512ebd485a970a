//! A hash index from keys held elsewhere to slot numbers.

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;
/// Slots a cell can name: 24 bits, the highest value reserved.
pub(crate) const MAX_SLOTS: usize = (1 << 24) - 1;

/// A free cell.
const FREE: u32 = u32::MAX;
const SLOT_MASK: u32 = (1 << 24) - 1;

/// Open addressing with linear probing and backward-shift deletion, at most three quarters of the cells used. A cell is
/// four bytes: 24 bits of slot number and 8 of the key's hash, so that a probe looks at a slot only on a likely match.
/// Beside each cell is how far it lies from its home, so that a removal looks at no slot but its own: in a large table each
/// is a cache miss. The number of cells doubles with the number of entries, so that an index of few entries stays in cache;
/// it never shrinks. The owner bounds the number of entries and keeps slot numbers below [`MAX_SLOTS`].
pub(crate) struct Index {
    cells: Vec<u32>,
    /// Of each cell used, the distance from its home; [`FAR`] for that or more.
    distances: Vec<u8>,
    mask: usize,
    used: usize,
}

/// A distance that is not known exactly: the owner is asked for the hash.
const FAR: u8 = u8::MAX;
/// Cells to begin with.
const LEAST: usize = 64;

const fn cell(hash: u32, slot: u32) -> u32 {
    (hash & !SLOT_MASK) | slot
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { cells: vec![FREE; LEAST], distances: vec![0; LEAST], mask: LEAST - 1, used: 0 }
    }

    /// The slot under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask;
        loop {
            let found = self.cells[at];
            if found == FREE {
                return None;
            }
            if (found ^ hash) & !SLOT_MASK == 0 && is_it(found & SLOT_MASK) {
                return Some(found & SLOT_MASK);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Inserts `slot` under `hash`; `hash_of` tells the hash of every slot already in the index.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        self.used += 1;
        if self.used > self.cells.len() / 4 * 3 {
            let cells = self.cells.len() * 2;
            let old = std::mem::replace(&mut self.cells, vec![FREE; cells]);
            self.distances = vec![0; cells];
            self.mask = cells - 1;
            for moving in old.into_iter().filter(|&c| c != FREE) {
                self.place(hash_of(moving & SLOT_MASK), moving & SLOT_MASK);
            }
        }
        self.place(hash, slot);
    }

    fn place(&mut self, hash: u32, slot: u32) {
        let mut at = hash as usize & self.mask;
        let mut distance = 0_usize;
        while self.cells[at] != FREE {
            at = (at + 1) & self.mask;
            distance += 1;
        }
        self.put(at, cell(hash, slot), distance);
    }

    fn put(&mut self, at: usize, cell: u32, distance: usize) {
        self.cells[at] = cell;
        self.distances[at] = u8::try_from(distance).unwrap_or(FAR);
    }

    /// Removes `slot`, found under `hash`; `hash_of` tells the hash of every slot still in the index.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        let gone = cell(hash, slot);
        let mut hole = hash as usize & self.mask;
        while self.cells[hole] != gone {
            if self.cells[hole] == FREE {
                return;
            }
            hole = (hole + 1) & self.mask;
        }
        self.used -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let moving = self.cells[at];
            if moving == FREE {
                break;
            }
            // The cell may fill the hole unless its home lies after the hole.
            let distance = match self.distances[at] {
                FAR => at.wrapping_sub(hash_of(moving & SLOT_MASK) as usize) & self.mask,
                near => near.into(),
            };
            let gap = at.wrapping_sub(hole) & self.mask;
            if distance >= gap {
                self.put(hole, moving, distance - gap);
                hole = at;
            }
        }
        self.cells[hole] = FREE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list, with hashes that collide on purpose.
        #[test]
        fn finds_what_is_in_and_nothing_else(ops in prop::collection::vec((0..90_u32, any::<bool>()), 0..200)) {
            let hash_of = |slot: u32| ((slot % 3) << 24) | (slot % 5);
            let mut index = Index::new();
            let mut model = Vec::new();
            for (slot, insert) in ops {
                let at = model.iter().position(|&s| s == slot);
                match (insert, at) {
                    (true, None) => {
                        index.insert(hash_of(slot), slot, hash_of);
                        model.push(slot);
                    }
                    (false, Some(i)) => {
                        index.remove(hash_of(slot), slot, hash_of);
                        model.swap_remove(i);
                    }
                    _ => {}
                }
                for slot in 0..90 {
                    let found = index.find(hash_of(slot), |s| s == slot);
                    prop_assert_eq!(found, model.contains(&slot).then_some(slot));
                }
            }
        }
    }
}
