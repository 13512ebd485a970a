//! A row's features as one number, by which rows are equal.
//!
//! SHA-256 over the values in the order of the columns, each in one canonical form, so that a row hashes the same in CSV and
//! in Parquet, whatever types its columns happen to have: numbers are equal by value (`1`, `1.0` and `1e0` are one), an
//! absent value differs from every other.

use crate::cell::Cell;
use sha2::{Digest as _, Sha256};

/// The first 128 bits of the hash: among 10⁹ rows two different ones agree with a probability of 10⁻²¹.
pub type Digest = [u8; 16];

/// The hash of the cells at `places` of a row.
#[must_use]
pub fn tuple_digest(row: &[Option<Cell>], places: &[usize]) -> Digest {
    // One buffer and one call: SHA-256 costs by the block.
    let mut bytes = Vec::with_capacity(places.len() * 9);
    for place in places {
        canonical(row.get(*place).and_then(Option::as_ref), &mut bytes);
    }
    let mut out = Digest::default();
    out.copy_from_slice(&Sha256::digest(bytes)[..16]);
    out
}

/// Type and value. No form is the beginning of another, so that rows of different cells have different bytes.
fn canonical(cell: Option<&Cell>, out: &mut Vec<u8>) {
    const ABSENT: u8 = 0;
    const NUMBER: u8 = 1;
    const LARGE: u8 = 2;
    const TEXT: u8 = 3;
    /// Whole numbers up to here are the same in double precision.
    const EXACT: u64 = 1 << 53;
    let Some(cell) = cell else {
        out.push(ABSENT);
        return;
    };
    match (cell.as_integer(), cell.as_number(), cell) {
        (Some(n), ..) if n.unsigned_abs() > EXACT => {
            out.push(LARGE);
            out.extend(n.to_le_bytes());
        }
        (_, Some(x), Cell::Text(_) | Cell::Real(_) | Cell::Integer(_)) => {
            // One zero and one NaN.
            let x = if x.is_nan() { f64::NAN } else { x + 0.0 };
            out.push(NUMBER);
            out.extend(x.to_le_bytes());
        }
        _ => {
            let text = cell.to_text();
            out.push(TEXT);
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_hash_the_same_in_whatever_form() {
        let digest = |cells: &[Option<Cell>]| tuple_digest(cells, &(0..cells.len()).collect::<Vec<_>>());
        let text = |t: &str| Some(Cell::Text(t.to_owned()));
        let one = digest(&[text("1"), None]);
        for same in [text("1.0"), text("1e0"), Some(Cell::Integer(1)), Some(Cell::Real(1.0)), text("01")] {
            assert_eq!(digest(&[same.clone(), None]), one, "{same:?}");
        }
        assert_eq!(digest(&[text("-0")]), digest(&[text("0.0")]));
        assert_ne!(digest(&[text("9007199254740993")]), digest(&[text("9007199254740992")]));
        for other in [text("1.5"), text("x"), None, text("-1")] {
            assert_ne!(digest(&[other.clone(), None]), one, "{other:?}");
        }
        assert_ne!(digest(&[None, text("1")]), one);
        assert_eq!(digest(&[Some(Cell::Word("tcp"))]), digest(&[text("tcp")]));
        assert_eq!(digest(&[text("nan")]), digest(&[Some(Cell::Real(f64::NAN))]));
    }
}
