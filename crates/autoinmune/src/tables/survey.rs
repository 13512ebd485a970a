//! The first reading: what columns hold, and how often each label occurs.

use super::label::{Labels, class_name};
use super::{MAX_CLASSES, Source, number};
use crate::dataset::input;
use crate::exit::{Exit, fail};
use dataset::{Cell, parse_time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Share of a column's values that must be of a kind for the column to be; the others then count as absent. Real tables
/// have a few strays.
const MOSTLY: f64 = 0.99;
/// Words for an absent value among numbers. In columns of words they are words.
const ABSENT: [&str; 8] = ["-", "?", "na", "n/a", "null", "none", "nil", "undefined"];

/// A column of fewer rows is not said to count them.
const LEAST_COUNTED: u64 = 100;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contents {
    /// Not absent.
    pub present: u64,
    /// Numbers, not finite ones included.
    pub numbers: u64,
    /// Words that mean absent among numbers.
    pub absent_words: u64,
    /// Points in time.
    pub times: u64,
    /// Addresses of IP.
    pub addresses: u64,
    /// The latest number of this file.
    last: Option<f64>,
    /// Whether a number was not above the one before it.
    falls: bool,
}

/// What a column is to be learnt as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// No values.
    Empty,
    /// Numbers; what is none is absent.
    Numeric,
    /// Words.
    Categorical,
    /// Points in time.
    Time,
    /// Addresses.
    Address,
    /// Numbers that only grow from row to row: they number rows, or say when.
    Counter,
}

impl Contents {
    fn add(&mut self, cell: &Cell) {
        self.present += 1;
        let value = number(cell);
        if let Some(value) = value {
            self.falls |= self.last.is_some_and(|last| value.is_nan() || value <= last);
            self.last = Some(value);
        }
        match cell {
            Cell::Integer(_) | Cell::Real(_) => self.numbers += 1,
            Cell::Time(_) => self.times += 1,
            Cell::Text(_) | Cell::Word(_) => {
                let text = cell.as_text().unwrap_or_default().trim();
                if value.is_some() {
                    self.numbers += 1;
                } else if is_absent_word(text) {
                    self.absent_words += 1;
                } else if parse_time(text).is_some() {
                    self.times += 1;
                } else if text.parse::<IpAddr>().is_ok() {
                    self.addresses += 1;
                }
            }
        }
    }

    /// What it is to be learnt as.
    pub fn nature(&self) -> Nature {
        let counted = self.present - self.absent_words;
        let mostly = |n: u64| n > 0 && n as f64 >= MOSTLY * counted as f64;
        match () {
            () if self.present == 0 => Nature::Empty,
            () if self.numbers == self.present && self.numbers >= LEAST_COUNTED && !self.falls => {
                Nature::Counter
            }
            () if mostly(self.numbers) => Nature::Numeric,
            () if mostly(self.times) => Nature::Time,
            () if mostly(self.addresses) => Nature::Address,
            () => Nature::Categorical,
        }
    }

    /// Values that are neither numbers nor words for none.
    pub fn strays(&self) -> u64 {
        self.present - self.numbers - self.absent_words
    }
}

fn is_absent_word(text: &str) -> bool {
    ABSENT.iter().any(|w| text.eq_ignore_ascii_case(w))
}

/// What a table is made of.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Rows, those without a label included.
    pub rows: u64,
    /// Rows without a label.
    pub unlabelled: u64,
    /// Rows by label.
    pub classes: BTreeMap<String, u64>,
    /// What each column holds, in the order of the first file.
    pub columns: Vec<Contents>,
}

/// Reads a table for the first time.
///
/// # Errors
/// It cannot be read, has no rows, no labels, or more labels than classes can be.
pub fn survey(option: &str, sources: &[Source], labels: &Labels, empty: bool) -> anyhow::Result<Survey> {
    let Some(first) = sources.first() else { return Ok(Survey::default()) };
    let names: Vec<&str> = first.dataset.schema().names().collect();
    let mut found = Survey { columns: vec![Contents::default(); names.len()], ..Survey::default() };
    for source in sources {
        let schema = source.dataset.schema();
        let places: Vec<Option<usize>> = names.iter().map(|n| schema.place(n)).collect();
        let label = Place::of(labels, source, empty);
        found.columns.iter_mut().for_each(|c| c.last = None);
        source
            .dataset
            .rows(|row| {
                found.rows += 1;
                match label.name(row) {
                    None => found.unlabelled += 1,
                    Some(class) => *found.classes.entry(class).or_insert(0) += 1,
                }
                if found.classes.len() > MAX_CLASSES {
                    return Err(dataset::Error::Request(format!(
                        "the label has more than {MAX_CLASSES} different values; is it a label? Name another with --label"
                    )));
                }
                for (contents, place) in found.columns.iter_mut().zip(&places) {
                    if let Some(cell) = place.and_then(|p| row.get(p)).and_then(Option::as_ref) {
                        contents.add(cell);
                    }
                }
                Ok(())
            })
            .map_err(input)?;
    }
    let name = || first.dataset.path().display();
    if found.rows == 0 {
        return Err(fail(Exit::Input, format!("{option}: {} has a header and no rows", name())));
    }
    if found.classes.is_empty() {
        return Err(fail(Exit::Input, format!("{option}: no row of {} has a label", name())));
    }
    Ok(found)
}

/// Where the label is in the rows of a file.
pub(super) enum Place {
    Column(Option<usize>, bool),
    Fixed(String),
}

impl Place {
    /// `empty`: absent labels are a class, whose name is empty.
    pub(super) fn of(labels: &Labels, source: &Source, empty: bool) -> Self {
        match labels {
            Labels::Column(name) => Self::Column(source.dataset.schema().place(name), empty),
            Labels::File => Self::Fixed(source.file.clone()),
            Labels::Directory => Self::Fixed(source.directory.clone()),
        }
    }

    pub(super) fn name(&self, row: &[Option<Cell>]) -> Option<String> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Column(place, empty) => {
                let cell = place.and_then(|p| row.get(p)).and_then(Option::as_ref);
                class_name(cell).or_else(|| empty.then(String::new))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_grow_count_rows() {
        let of = |values: &[i64]| {
            let mut contents = Contents::default();
            values.iter().for_each(|v| contents.add(&Cell::Integer(*v)));
            contents.nature()
        };
        let mut values: Vec<i64> = (0..100).map(|v| v * 3).collect();
        assert_eq!(of(&values), Nature::Counter);
        assert_eq!(of(&values[1..]), Nature::Numeric, "too few to say");
        values[50] = values[49];
        assert_eq!(of(&values), Nature::Numeric);
    }

    #[test]
    fn a_column_is_what_nearly_all_its_values_are() {
        let check = |values: &[(&str, u32)], expected: Nature| {
            let mut contents = Contents::default();
            for (value, times) in values {
                (0..*times).for_each(|_| contents.add(&Cell::Text((*value).to_owned())));
            }
            assert_eq!(contents.nature(), expected, "{values:?}");
        };
        check(&[], Nature::Empty);
        check(&[("1", 5), ("-2.5", 3), ("inf", 1), ("NaN", 1), (" 7 ", 1)], Nature::Numeric);
        check(&[("1", 5), ("-", 90)], Nature::Numeric);
        check(&[("1", 199), ("0x000b", 1)], Nature::Numeric);
        check(&[("1", 9), ("0x000b", 1)], Nature::Categorical);
        check(&[("tcp", 5), ("-", 5), ("17", 5)], Nature::Categorical);
        check(&[("-", 5)], Nature::Categorical);
        check(&[("10.0.0.1", 5), ("fe80::1", 5)], Nature::Address);
        check(&[("2017-07-06 12:59:06", 5)], Nature::Time);
    }
}
