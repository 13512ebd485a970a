//! A hash index from keys held elsewhere to slot numbers.

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Cell {
    hash: u32,
    slot: u32,
}

/// Open addressing with linear probing and backward-shift deletion over a fixed number of cells, at most half of them
/// used. It holds 32 bits of each key's hash beside the slot number, so that a probe touches a slot only on a likely
/// match. The owner keeps the number of entries within the capacity given at creation.
pub(crate) struct Index {
    cells: Vec<Cell>,
    mask: usize,
}

impl Index {
    pub(crate) fn new(capacity: usize) -> Self {
        let cells = capacity.max(4).saturating_mul(2).next_power_of_two();
        Self { cells: vec![Cell { hash: 0, slot: NONE }; cells], mask: cells - 1 }
    }

    /// The slot under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask;
        loop {
            let cell = self.cells[at];
            if cell.slot == NONE {
                return None;
            }
            if cell.hash == hash && is_it(cell.slot) {
                return Some(cell.slot);
            }
            at = (at + 1) & self.mask;
        }
    }

    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        let mut at = hash as usize & self.mask;
        while self.cells[at].slot != NONE {
            at = (at + 1) & self.mask;
        }
        self.cells[at] = Cell { hash, slot };
    }

    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let mut hole = hash as usize & self.mask;
        loop {
            match self.cells[hole].slot {
                NONE => return,
                s if s == slot => break,
                _ => hole = (hole + 1) & self.mask,
            }
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let cell = self.cells[at];
            if cell.slot == NONE {
                break;
            }
            // The cell may fill the hole unless its home lies after the hole.
            let home = cell.hash as usize & self.mask;
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(hole) & self.mask) {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole].slot = NONE;
    }
}
