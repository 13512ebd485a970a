//! Train-serve skew: whether the features of a dataset are those that the extractor computes now from the same packets.
//!
//! The dataset's rows are joined with those extracted anew, by who spoke with whom, and of several by when the flow began: the
//! nearest within [`NEAR_NS`], as the clocks of two ways to see a packet differ a little. Of more rows than [`JOINED`] a
//! sample is joined, the same on both sides: those whose key has the least hashes.

use crate::cell::Cell;
use crate::schema::{Role, Schema};
use crate::tuple::{Digest, tuple_digest};
use crate::{Dataset, Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows joined: 50 MB for all features.
pub const JOINED: usize = 50_000;

/// Beginnings up to so far apart may be one, ns: half of the shortest window.
pub const NEAR_NS: u64 = 500_000_000;

/// Relative difference up to which two numbers are equal: what is lost when they are written as text and read again.
pub const TOLERANCE: f64 = 1e-9;

/// One column's difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnSkew {
    /// Its name.
    pub column: String,
    /// Joined rows in which it differs.
    pub differing: u64,
    /// Largest relative difference of two numbers, 0..=2; 2 where one is absent, or words differ.
    pub largest: f64,
}

/// The difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Skew {
    /// Rows joined.
    pub joined: u64,
    /// Rows of the dataset that were looked for and not extracted again.
    pub missing: u64,
    /// Rows extracted again that the dataset does not have; counted where all rows are joined.
    pub extra: u64,
    /// Whether a sample was joined instead of all rows.
    pub sampled: bool,
    /// Columns that differ in any row, most rows first.
    pub columns: Vec<ColumnSkew>,
    /// Features of the dataset that the extractor does not know.
    pub unknown: Vec<String>,
}

impl Skew {
    /// Whether every row was found again and none differs.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.columns.is_empty() && self.missing == 0 && self.extra == 0
    }
}

/// A value in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Brief {
    Absent,
    Number(f64),
    Word(u32),
}

fn brief(cell: Option<&Cell>) -> Brief {
    match cell {
        None => Brief::Absent,
        Some(cell) => cell.as_number().map_or_else(|| Brief::Word(word(cell)), Brief::Number),
    }
}

/// FNV-1a: words of closed sets, some tens in a column.
fn word(cell: &Cell) -> u32 {
    let text = cell.as_text().unwrap_or_default();
    text.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// Relative difference of two values.
fn difference(a: Brief, b: Brief) -> f64 {
    match (a, b) {
        (Brief::Number(a), Brief::Number(b)) if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        (Brief::Number(a), Brief::Number(b)) if a.is_finite() && b.is_finite() => {
            (a - b).abs() / a.abs().max(b.abs())
        }
        _ if a == b => 0.0,
        _ => 2.0,
    }
}

/// Where a table keeps who spoke with whom and when.
struct Key {
    time: usize,
    rest: Vec<usize>,
}

impl Key {
    fn of(schema: &Schema) -> Option<Self> {
        let place = |role| schema.of_role(role);
        Some(Self {
            time: place(Role::Time)?,
            rest: vec![
                place(Role::Source)?,
                place(Role::SourcePort)?,
                place(Role::Target)?,
                place(Role::TargetPort)?,
                place(Role::Protocol)?,
            ],
        })
    }

    /// Who spoke with whom, and when, ns since 1970.
    fn of_row(&self, row: &[Option<Cell>]) -> (Digest, u64) {
        let at = row.get(self.time).and_then(Option::as_ref).and_then(Cell::as_time);
        (tuple_digest(row, &self.rest), at.unwrap_or(0))
    }
}

/// When a row's flow began, ns since 1970, and its values.
type Waiting = (u64, Box<[Brief]>);

/// Rows of the dataset that wait for theirs, by key.
#[derive(Default)]
struct Held {
    rows: BTreeMap<Digest, Vec<Waiting>>,
    count: usize,
    /// Keys from here on are left out.
    end: Option<Digest>,
}

impl Held {
    fn wants(&self, key: &Digest) -> bool {
        self.end.is_none_or(|end| *key < end)
    }

    fn add(&mut self, key: Digest, at: u64, row: Box<[Brief]>) {
        self.rows.entry(key).or_default().push((at, row));
        self.count += 1;
        while self.count > JOINED
            && let Some((last, rows)) = self.rows.pop_last()
        {
            self.count -= rows.len();
            self.end = Some(last);
        }
    }

    /// The row of this key that began nearest to `at`.
    fn take(&mut self, key: &Digest, at: u64) -> Option<Box<[Brief]>> {
        let rows = self.rows.get_mut(key)?;
        let nearest = rows.iter().enumerate().min_by_key(|(_, (t, _))| t.abs_diff(at))?;
        let (place, (t, _)) = nearest;
        if t.abs_diff(at) > NEAR_NS {
            return None;
        }
        self.count -= 1;
        Some(rows.swap_remove(place).1)
    }
}

/// Compares a dataset with `again`, extracted anew from the capture it was made of.
///
/// # Errors
/// If a table does not say who spoke with whom and when, or cannot be read.
pub fn compare(dataset: &Dataset, again: &Dataset) -> Result<Skew> {
    let unkeyed = |d: &Dataset| {
        Error::Request(format!(
            "{} has no columns for time, addresses, ports and protocol; skew cannot be told without them",
            d.path().display()
        ))
    };
    let key = Key::of(dataset.schema()).ok_or_else(|| unkeyed(dataset))?;
    let again_key = Key::of(again.schema()).ok_or_else(|| unkeyed(again))?;
    let mut skew = Skew::default();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for place in dataset.schema().features() {
        let Some(column) = dataset.schema().columns().get(place) else { continue };
        // The flow's protocol is part of the key.
        match again.schema().place(&column.name) {
            Some(other) => pairs.push((place, other)),
            None => skew.unknown.push(column.name.clone()),
        }
    }
    let briefs = |row: &[Option<Cell>], places: &mut dyn Iterator<Item = usize>| -> Box<[Brief]> {
        places.map(|p| brief(row.get(p).and_then(Option::as_ref))).collect()
    };
    let mut held = Held::default();
    dataset.rows(|row| {
        let (digest, at) = key.of_row(row);
        if held.wants(&digest) {
            held.add(digest, at, briefs(row, &mut pairs.iter().map(|p| p.0)));
        }
        Ok(())
    })?;
    skew.sampled = held.end.is_some();
    let mut found: Vec<(u64, f64)> = vec![(0, 0.0); pairs.len()];
    again.rows(|row| {
        let (digest, at) = again_key.of_row(row);
        match held.take(&digest, at) {
            None => skew.extra += u64::from(held.wants(&digest)),
            Some(there) => {
                skew.joined += 1;
                let here = briefs(row, &mut pairs.iter().map(|p| p.1));
                for ((count, largest), (a, b)) in found.iter_mut().zip(there.iter().zip(&here)) {
                    let d = difference(*a, *b);
                    if d > TOLERANCE {
                        *count += 1;
                        *largest = largest.max(d);
                    }
                }
            }
        }
        Ok(())
    })?;
    skew.missing = held.count as u64;
    for ((place, _), (differing, largest)) in pairs.iter().zip(found) {
        if differing > 0
            && let Some(column) = dataset.schema().columns().get(*place)
        {
            skew.columns.push(ColumnSkew { column: column.name.clone(), differing, largest });
        }
    }
    skew.columns.sort_by(|a, b| b.differing.cmp(&a.differing).then_with(|| a.column.cmp(&b.column)));
    Ok(skew)
}
