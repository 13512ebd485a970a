//! Rows that are equal in all their features: within a dataset, and across a split of it.
//!
//! Each row is remembered as 25 bytes. Up to [`HELD`] rows stay in memory; more go to temporary files by the first byte of
//! their hash, so that equal rows meet in one of them, and each is looked at by itself.

use crate::Result;
use crate::spill::{PARTITIONS, Spill};
use crate::tuple::Digest;
use serde::Serialize;
use std::io::Read as _;

/// Rows held in memory: 64 MB.
pub const HELD: usize = 2 << 20;

/// Bytes of a row in a temporary file.
const RECORD: usize = 16 + 8 + 1;

/// Which part of a split a row is in; all rows of a dataset that is not split are of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Side {
    /// The dataset, or what is learnt from.
    First = 0,
    /// What is tested with.
    Second = 1,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    digest: Digest,
    class: u64,
    side: Side,
}

/// What was found; pairs are the first and the second side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leakage {
    /// Rows.
    pub rows: [u64; 2],
    /// Different rows, by their features.
    pub unique: [u64; 2],
    /// Different rows that are on both sides.
    pub shared: u64,
    /// Rows of the second side that are also on the first: what a test would find known already.
    pub leaked: u64,
    /// Different rows that have more than one class: whatever is learnt of them is wrong for some.
    pub contradictory: u64,
}

impl Leakage {
    /// Share of rows of the first side that repeat another one of it.
    #[must_use]
    pub fn duplicate_share(&self) -> f64 {
        let [rows, _] = self.rows;
        let [unique, _] = self.unique;
        if rows == 0 { 0.0 } else { (rows - unique.min(rows)) as f64 / rows as f64 }
    }

    /// Share of rows of the second side that are on the first too.
    #[must_use]
    pub fn leaked_share(&self) -> f64 {
        let [_, rows] = self.rows;
        if rows == 0 { 0.0 } else { self.leaked as f64 / rows as f64 }
    }
}

/// Counts equal rows.
pub struct Duplicates {
    entries: Vec<Entry>,
    held: usize,
    spill: Option<Spill>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::holding(HELD)
    }
}

impl Duplicates {
    /// Holds at most so many rows in memory.
    #[must_use]
    pub const fn holding(rows: usize) -> Self {
        Self { entries: Vec::new(), held: rows, spill: None }
    }

    /// Adds a row by the hash of its features; `class` is any number that tells classes apart.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn add(&mut self, digest: Digest, class: u64, side: Side) -> Result<()> {
        self.entries.push(Entry { digest, class, side });
        if self.entries.len() >= self.held { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<()> {
        if self.spill.is_none() {
            self.spill = Some(Spill::new("autoinmune-duplicates")?);
        }
        let Some(spill) = &mut self.spill else { return Ok(()) };
        for e in self.entries.drain(..) {
            let mut record = [0; RECORD];
            record[..16].copy_from_slice(&e.digest);
            record[16..24].copy_from_slice(&e.class.to_le_bytes());
            record[24] = e.side as u8;
            spill.write(e.digest[0], &record)?;
        }
        Ok(())
    }

    /// Ends the counting.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn finish(mut self) -> Result<Leakage> {
        let mut found = Leakage::default();
        if self.spill.is_some() {
            self.write_out()?;
        } else {
            tally(&mut self.entries, &mut found);
        }
        let Some(mut spill) = self.spill.take() else { return Ok(found) };
        spill.flush()?;
        let mut entries = Vec::new();
        for at in 0..PARTITIONS {
            entries.clear();
            let mut file = spill.read(at)?;
            let mut record = [0; RECORD];
            while file.read_exact(&mut record).is_ok() {
                let mut digest = Digest::default();
                digest.copy_from_slice(&record[..16]);
                let class = record[16..24].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
                let side = if record[24] == 0 { Side::First } else { Side::Second };
                entries.push(Entry { digest, class, side });
            }
            tally(&mut entries, &mut found);
        }
        Ok(found)
    }
}

fn tally(entries: &mut [Entry], found: &mut Leakage) {
    entries.sort_unstable();
    for same in entries.chunk_by(|a, b| a.digest == b.digest) {
        let second = same.iter().filter(|e| e.side == Side::Second).count() as u64;
        let counts = [same.len() as u64 - second, second];
        for ((rows, unique), n) in found.rows.iter_mut().zip(&mut found.unique).zip(counts) {
            *rows += n;
            *unique += u64::from(n > 0);
        }
        if !counts.contains(&0) {
            found.shared += 1;
            found.leaked += second;
        }
        let classes = same.iter().map(|e| e.class);
        let (least, most) = (classes.clone().min(), classes.max());
        found.contradictory += u64::from(least != most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    fn digest(n: u32) -> Digest {
        let mut out = Digest::default();
        out.copy_from_slice(&sha2::Sha256::digest(n.to_le_bytes())[..16]);
        out
    }

    #[test]
    fn files_and_memory_count_the_same() {
        let count = |held: usize| {
            let mut d = Duplicates::holding(held);
            for n in 0..5000 {
                d.add(digest(n % 4000), u64::from(n % 4000 == 7 && n > 4000), Side::First).expect("added");
                if n % 5 == 0 {
                    d.add(digest(n + 3000), 0, Side::Second).expect("added");
                }
            }
            d.finish().expect("counted")
        };
        let expected =
            Leakage { rows: [5000, 1000], unique: [4000, 1000], shared: 200, leaked: 200, contradictory: 1 };
        assert_eq!(count(HELD), expected);
        assert_eq!(count(64), expected);
        assert_eq!(expected.duplicate_share(), 0.2);
        assert_eq!(expected.leaked_share(), 0.2);
    }
}
