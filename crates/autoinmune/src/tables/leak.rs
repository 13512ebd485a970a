//! What tells the answer where it should not: features that are labels by another name, and rows of the test that were
//! learnt from.

use super::read::group;
use learn::bins::Binning;
use learn::{Feature, Matrix, Pool};
use serde::Serialize;
use std::collections::HashSet;

/// Rows looked at for features that tell the label.
const ROWS: usize = 20_000;
/// Share of rows, averaged over classes, that one feature must get right to be called telling.
const TELLING: f64 = 0.995;
/// A class with fewer rows says nothing.
const LEAST_ROWS: u64 = 10;

/// Features that alone tell every class, or normal from the rest, nearly without fault: labels by another name, or marks
/// that the making of the data left in it.
pub fn telling(
    matrix: &Matrix,
    schema: &[Feature],
    classes: &[u32],
    normal: u32,
    pool: &dyn Pool,
) -> Vec<String> {
    let step = matrix.rows().div_ceil(ROWS).max(1);
    let places: Vec<usize> = (0..matrix.rows()).step_by(step).collect();
    let rows = matrix.select(&places);
    let Ok(binning) = Binning::fit(&rows, schema, pool) else { return Vec::new() };
    let codes = binning.encode(&rows, pool);
    let of: Vec<u32> = places.iter().filter_map(|p| classes.get(*p).copied()).collect();
    let binary: Vec<u32> = of.iter().map(|c| u32::from(*c != normal)).collect();
    let many = of.iter().max().map_or(0, |c| *c as usize + 1);
    let mut found = Vec::new();
    for (feature, column) in schema.iter().zip(&codes.columns) {
        let told = accuracy(column, &of, many) >= TELLING || accuracy(column, &binary, 2) >= TELLING;
        if told {
            found.push(feature.name.clone());
        }
    }
    found
}

/// Mean share of each class's rows that its bin's majority gets right, learnt from one half of the rows, measured on the
/// other.
fn accuracy(codes: &[u8], classes: &[u32], many: usize) -> f64 {
    let mut counts = vec![0_u64; 256 * many];
    for (code, class) in codes.iter().zip(classes).step_by(2) {
        if let Some(n) = counts.get_mut(usize::from(*code) * many + *class as usize) {
            *n += 1;
        }
    }
    let majority: Vec<usize> = counts
        .chunks(many.max(1))
        .map(|c| (0..c.len()).max_by_key(|i| (c[*i], std::cmp::Reverse(*i))).unwrap_or(0))
        .collect();
    let mut right = vec![(0_u64, 0_u64); many];
    for (code, class) in codes.iter().zip(classes).skip(1).step_by(2) {
        if let Some(cell) = right.get_mut(*class as usize) {
            cell.0 += u64::from(majority.get(usize::from(*code)) == Some(&(*class as usize)));
            cell.1 += 1;
        }
    }
    let shares: Vec<f64> =
        right.iter().filter(|(_, n)| *n >= LEAST_ROWS).map(|(hit, n)| *hit as f64 / *n as f64).collect();
    if shares.len() < 2 { 0.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 }
}

/// Rows of a test that are equal in all features to rows that were learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// Rows of the test that are among those learnt from.
    pub rows: u64,
    /// Their share of the test.
    pub share: f64,
}

/// How many rows of `test` are equal to one of `train`.
pub fn overlap(train: &Matrix, test: &Matrix) -> Overlap {
    let seen: HashSet<u64> = train.iter().map(group).collect();
    let rows = test.iter().filter(|row| seen.contains(&group(row))).count();
    Overlap { rows: rows as u64, share: rows as f64 / test.rows().max(1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use learn::{Inline, Kind};

    fn rows(make: impl Fn(usize) -> [f32; 3]) -> (Matrix, Vec<Feature>) {
        let values = (0..1000).flat_map(make).collect();
        let schema = ["a", "b", "c"].map(|n| Feature { name: n.into(), kind: Kind::Numeric }).to_vec();
        (Matrix::new(3, values).expect("rows"), schema)
    }

    #[test]
    fn a_label_by_another_name_is_noticed_and_a_good_feature_is_not() {
        let class = |r: usize| u32::from(r.is_multiple_of(7)) + u32::from(r.is_multiple_of(21));
        let (matrix, schema) = rows(|r| {
            let good = if r % 25 == 3 { 5.0 } else { class(r) as f32 };
            [r as f32, good, class(r) as f32 * 10.0]
        });
        let classes: Vec<u32> = (0..1000).map(class).collect();
        assert_eq!(telling(&matrix, &schema, &classes, 0, &Inline), ["c"]);
    }

    #[test]
    fn equal_rows_are_found_again() {
        let (a, _) = rows(|r| [r as f32, -0.0, f32::NAN]);
        let (b, _) = rows(|r| [(r * 2) as f32, 0.0, -f32::NAN]);
        assert_eq!(overlap(&a, &b), Overlap { rows: 500, share: 0.5 });
        assert_eq!(overlap(&a, &rows(|r| [r as f32, 1.0, 0.0]).0).rows, 0);
    }
}
