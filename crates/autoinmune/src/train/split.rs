//! Rows to learn from and rows to test with.

use crate::exit::{Exit, fail};
use crate::tables::{Table, group};
use clap::ValueEnum;

/// How rows are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// Rows that are equal in all features stay together.
    #[default]
    Grouped,
    /// Learn from the earliest, test with the latest.
    Time,
    /// Test with the tables of --test.
    Given,
    /// Any row anywhere: equal rows on both sides make figures too good. Needs --accept-leakage.
    Random,
}

impl Split {
    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grouped => "grouped",
            Self::Time => "time",
            Self::Given => "given",
            Self::Random => "random",
        }
    }
}

/// Places of the rows to learn from and of those to test with; rows without a time are in neither where time divides.
///
/// # Errors
/// The table has no times.
pub fn divide(
    table: &Table,
    split: Split,
    share: f64,
    seed: u64,
) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
    let all = 0..table.matrix.rows();
    let falls = |hash: u64| (hash as f64 / u64::MAX as f64) < share;
    // The seed goes through the same hash as the values, so that each seed has its own split.
    let salted =
        |hash: u64| group(&[f32::from_bits(hash as u32), f32::from_bits((hash >> 32) as u32), seed as f32]);
    Ok(match split {
        Split::Given => (all.collect(), Vec::new()),
        Split::Grouped => {
            let (test, train) = all.partition(|r| falls(salted(group(table.matrix.row(*r)))));
            (train, test)
        }
        Split::Random => {
            let (test, train) = all.partition(|r| falls(salted(group(&[*r as f32, (*r >> 24) as f32]))));
            (train, test)
        }
        Split::Time => {
            let mut dated: Vec<usize> = all.filter(|r| table.times.get(*r).is_some_and(|t| *t > 0)).collect();
            if dated.is_empty() {
                return Err(fail(
                    Exit::Input,
                    "--split time: no column says when a row was; use --split grouped".to_owned(),
                ));
            }
            let time = |r: &usize| table.times.get(*r).copied().unwrap_or(0);
            dated.sort_by_key(time);
            let cut = ((1.0 - share) * dated.len() as f64) as usize;
            let from = dated.get(cut).map_or(u64::MAX, time);
            // What was at one moment stays together.
            let (test, train) = dated.into_iter().partition(|r| time(r) >= from);
            (train, test)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use learn::Matrix;

    fn table() -> Table {
        let values = (0..1000).flat_map(|r| [(r / 4) as f32, 1.0]).collect();
        Table {
            matrix: Matrix::new(2, values).expect("rows"),
            classes: vec![0; 1000],
            times: (0..1000).map(|r| if r == 5 { 0 } else { 1000 - r / 10 }).collect(),
            ..Table::default()
        }
    }

    #[test]
    fn equal_rows_stay_on_one_side() {
        let table = table();
        for seed in 0..3 {
            let (train, test) = divide(&table, Split::Grouped, 0.3, seed).expect("divided");
            assert!((200..400).contains(&test.len()) && train.len() + test.len() == 1000, "{}", test.len());
            assert!(test.iter().all(|r| !train.contains(&(r ^ 1))), "seed {seed}");
        }
        let first = divide(&table, Split::Grouped, 0.3, 1).expect("divided");
        assert_eq!(first, divide(&table, Split::Grouped, 0.3, 1).expect("divided"));
        assert_ne!(first, divide(&table, Split::Grouped, 0.3, 2).expect("divided"));
        let (train, test) = divide(&table, Split::Random, 0.3, 1).expect("divided");
        assert!(test.iter().any(|r| train.contains(&(r ^ 1))));
    }

    #[test]
    fn the_latest_rows_are_tested_with() {
        let table = table();
        let (train, test) = divide(&table, Split::Time, 0.3, 1).expect("divided");
        let latest = train.iter().map(|r| table.times[*r]).max();
        assert!(latest < test.iter().map(|r| table.times[*r]).min());
        assert!(!train.contains(&5) && !test.contains(&5), "no time, no side");
        assert!((250..350).contains(&test.len()), "{}", test.len());
        assert!(divide(&Table { times: Vec::new(), ..table }, Split::Time, 0.3, 1).is_err());
    }
}
