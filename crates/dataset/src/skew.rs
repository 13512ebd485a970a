//! Train-serve skew: whether the features of a dataset are those that the extractor computes now from the same packets.
//!
//! The dataset's rows are joined with those extracted anew, by who spoke with whom and when the flow began, and compared
//! column by column. Of more rows than [`JOINED`] a sample is joined, the same on both sides: those whose key has the least
//! hashes.

use crate::cell::Cell;
use crate::schema::{Role, Schema};
use crate::tuple::{Digest, tuple_digest};
use crate::{Dataset, Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows joined: 50 MB for all features.
pub const JOINED: usize = 50_000;

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

    /// Times in whole microseconds, as files have them.
    fn digest(&self, row: &[Option<Cell>]) -> Digest {
        let mut key: Vec<Option<Cell>> =
            self.rest.iter().map(|place| row.get(*place).cloned().flatten()).collect();
        let at = row.get(self.time).and_then(Option::as_ref).and_then(Cell::as_time);
        key.push(at.map(|ns| Cell::Integer(i64::try_from(ns / 1000).unwrap_or(i64::MAX))));
        let places: Vec<usize> = (0..key.len()).collect();
        tuple_digest(&key, &places)
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
    let mut held: BTreeMap<Digest, Box<[Brief]>> = BTreeMap::new();
    let mut greatest: Option<Digest> = None;
    dataset.rows(|row| {
        let digest = key.digest(row);
        if greatest.is_none_or(|g| digest < g) {
            held.insert(digest, briefs(row, &mut pairs.iter().map(|p| p.0)));
        }
        if held.len() > JOINED
            && let Some((last, _)) = held.pop_last()
        {
            skew.sampled = true;
            greatest = Some(last);
        }
        Ok(())
    })?;
    let mut found: Vec<(u64, f64)> = vec![(0, 0.0); pairs.len()];
    again.rows(|row| {
        let digest = again_key.digest(row);
        match held.remove(&digest) {
            None => skew.extra += u64::from(greatest.is_none_or(|g| digest < g)),
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
    skew.missing = held.len() as u64;
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
