//! What passes between a sensor that watches and a detector that judges: rows of flows, and windows of sources.
//!
//! Both sides must mean the same by a feature. A row is therefore sent with the names of its features and a hash over their
//! definitions, those of windows included; the detector takes from it what its model asks for. An unknown name, a missing one or
//! another hash is refused: nothing is judged by numbers that mean something else.

use super::flows::{Named, is_due};
use super::row::Columns;
use super::vector::{self, WIDTH};
use super::watch::{Observed, SEQUENCE, Sequence};
use flow::feature::{Feature, Set, Subject};
use flow::recent::Shared;
use flow::{Direction, FlowKey, FlowRecord, Recent};
use learn::matrix::Kind;
use std::fmt::Write as _;

/// Part of the hash; to be changed when rows or windows change in a way that the table of features does not show.
const VERSION: u32 = 1;

/// A flow that ended or has grown, as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// When it ended or had grown, ns.
    pub at_ns: u64,
    /// Which flow.
    pub flow: Named,
    /// Its features, NaN where absent, words by their place among those of the schema.
    pub values: Vec<f32>,
}

/// A window of a source that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowRow {
    /// When it was told, ns.
    pub at_ns: u64,
    /// The window, with those before it.
    pub observed: Observed,
    /// The flow that the source was last seen with.
    pub prompted_by: Option<(FlowKey, Direction)>,
}

impl WindowRow {
    /// Its windows that there were, the latest last.
    pub fn windows(&self) -> impl Iterator<Item = &[f32]> {
        self.observed.sequence.chunks_exact(WIDTH).skip_while(|w| w.iter().all(|v| v.is_nan()))
    }
}

/// A sequence of windows, the latest last; `None` if they are none, too many or of another width.
#[must_use]
pub fn sequence(windows: &[Vec<f32>]) -> Option<Sequence> {
    if windows.is_empty() || windows.len() > SEQUENCE || windows.iter().any(|w| w.len() != WIDTH) {
        return None;
    }
    let mut sequence = [f32::NAN; SEQUENCE * WIDTH];
    for (place, window) in sequence.rchunks_exact_mut(WIDTH).zip(windows.iter().rev()) {
        place.copy_from_slice(window);
    }
    Some(sequence)
}

/// A feature of flows by its name.
#[must_use]
pub fn feature(name: &str) -> Option<&'static Feature> {
    Set::ALL.into_iter().flat_map(Set::features).find(|f| f.name == name)
}

/// A feature of flows or windows by its name, with a name that lasts.
#[must_use]
pub fn metric(name: &str) -> Option<&'static str> {
    let window = vector::FEATURES.iter().find(|f| f.name == name).map(|f| f.name);
    window.or_else(|| feature(name).map(|f| f.name))
}

/// The hash of what these features of flows, and those of windows, are: 16 hexadecimal digits.
///
/// # Errors
/// The first name that no feature has.
pub fn schema_hash<T: AsRef<str>>(names: &[T]) -> Result<String, String> {
    let mut text = format!("{VERSION}\n{SEQUENCE}\n");
    for name in names {
        let name = name.as_ref();
        let f = feature(name).ok_or_else(|| name.to_owned())?;
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}\t{}\t{:?}\t{}", f.name, f.unit, f.kind, f.formula);
    }
    for f in &vector::FEATURES {
        let _ = writeln!(text, "{}\t{}\t{}", f.name, f.log, f.formula);
    }
    Ok(format!("{:016x}", crate::profile::table::hash(&text)))
}

/// Makes rows of flows, at the sensor.
#[derive(Clone, Debug)]
pub struct Rows {
    schema: Vec<learn::Feature>,
    columns: Columns,
    recent: Recent,
}

impl Rows {
    /// Of the features of a schema.
    ///
    /// # Errors
    /// The name of a feature that flows do not have.
    pub fn new(schema: &[learn::Feature]) -> Result<Self, String> {
        Ok(Self { schema: schema.to_vec(), columns: Columns::new(schema)?, recent: Recent::default() })
    }

    /// The features.
    #[must_use]
    pub fn schema(&self) -> &[learn::Feature] {
        &self.schema
    }

    /// The row of a flow that ended (for good, or for its age); `None` of one that has grown and is not due to be judged.
    pub fn row(&mut self, at_ns: u64, record: &FlowRecord, ended: Ended) -> Option<FlowRow> {
        if ended == Ended::Grown && !is_due(record) {
            return None;
        }
        let shared = match (self.columns.wants_shared(), ended) {
            (true, Ended::ForGood) => self.recent.push(record),
            (true, _) => self.recent.clone().push(record),
            (false, _) => Shared::default(),
        };
        let mut values = Vec::with_capacity(self.schema.len());
        self.columns.fill(&Subject { record, shared }, &mut values);
        Some(FlowRow { at_ns, flow: Named::of(record), values })
    }

    /// The word that a value stands for, of features that have words.
    #[must_use]
    pub fn word(schema: &[learn::Feature], column: usize, value: f32) -> Option<&str> {
        match &schema.get(column)?.kind {
            Kind::Numeric => None,
            // Saturates; NaN, which is absent, is caught before.
            Kind::Categorical(words) if value >= 0.0 => words.get(value as usize).map(String::as_str),
            Kind::Categorical(_) => None,
        }
    }
}

/// Why a flow is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended.
    ForGood,
    /// It goes on and is counted anew for its age.
    Aged,
    /// It has grown.
    Grown,
}

/// A value as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Not known.
    Absent,
    /// A number.
    Number(f32),
    /// A word.
    Word(&'a str),
}

/// Why rows cannot be taken. Each names the feature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The model needs more.
    #[error("the model needs the feature {0:?}; give sensor and detector the same models.bundle")]
    Missing(String),
    /// A word where a number is to be, or the other way about.
    #[error("feature {0:?} is not a {1}")]
    Kind(String, &'static str),
    /// Another number of values than of names.
    #[error("{0} values, and {1} features are named")]
    Width(usize, usize),
}

/// Takes from rows, at the detector, what its model asks for.
#[derive(Clone, Debug)]
pub struct Picker {
    width: usize,
    picks: Vec<(usize, learn::Feature)>,
}

impl Picker {
    /// For a model of this schema, out of rows with features of these names.
    ///
    /// # Errors
    /// A feature of the model that is not among them.
    pub fn new<T: AsRef<str>>(model: &[learn::Feature], names: &[T]) -> Result<Self, Mismatch> {
        let pick = |f: &learn::Feature| {
            let place = names.iter().position(|n| n.as_ref() == f.name);
            place.map(|p| (p, f.clone())).ok_or_else(|| Mismatch::Missing(f.name.clone()))
        };
        Ok(Self { width: names.len(), picks: model.iter().map(pick).collect::<Result<_, _>>()? })
    }

    /// The values that the model asks for. A word that the model never saw is absent to it.
    ///
    /// # Errors
    /// Too few or too many values; a word for a number, or a number for a word.
    pub fn row(&self, cells: &[Cell<'_>]) -> Result<Vec<f32>, Mismatch> {
        if cells.len() != self.width {
            return Err(Mismatch::Width(cells.len(), self.width));
        }
        let pick = |(place, feature): &(usize, learn::Feature)| match (
            cells.get(*place).copied().unwrap_or(Cell::Absent),
            &feature.kind,
        ) {
            (Cell::Absent, _) => Ok(f32::NAN),
            (Cell::Number(value), Kind::Numeric) => Ok(value),
            (Cell::Word(word), Kind::Categorical(words)) => {
                Ok(words.iter().position(|w| w == word).map_or(f32::NAN, |place| place as f32))
            }
            (_, Kind::Numeric) => Err(Mismatch::Kind(feature.name.clone(), "number")),
            (_, Kind::Categorical(_)) => Err(Mismatch::Kind(feature.name.clone(), "word")),
        };
        self.picks.iter().map(pick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learned::row;

    fn names() -> Vec<&'static str> {
        row::SHIPPED.to_vec()
    }

    #[test]
    fn the_hash_is_of_names_order_and_meaning() {
        let whole = schema_hash(&names()).expect("known");
        assert_eq!(whole.len(), 16);
        let mut turned = names();
        turned.swap(0, 4);
        assert_ne!(schema_hash(&turned).expect("known"), whole);
        assert_ne!(schema_hash(&names()[1..]).expect("known"), whole);
        assert_eq!(schema_hash(&["dur", "phase of the moon"]), Err("phase of the moon".to_owned()));
    }

    #[test]
    fn a_model_takes_its_features_in_its_order_and_says_what_it_misses() {
        let schema = row::schema();
        let mut other: Vec<learn::Feature> = schema.iter().take(4).cloned().collect();
        other.reverse();
        let picker = Picker::new(&other, &names()).expect("all there");
        let mut cells = vec![Cell::Absent; names().len()];
        (cells[0], cells[1], cells[3]) = (Cell::Number(2.5), Cell::Word("udp"), Cell::Word("no such state"));
        let row = picker.row(&cells).expect("a row");
        assert!(row[0].is_nan() && row[1].is_nan(), "{row:?}");
        assert_eq!(row[2..], [1.0, 2.5]);
        assert_eq!(picker.row(&cells[1..]), Err(Mismatch::Width(39, 40)));
        cells[0] = Cell::Word("tcp");
        assert_eq!(picker.row(&cells), Err(Mismatch::Kind("dur".into(), "number")));
        (cells[0], cells[1]) = (Cell::Absent, Cell::Number(1.0));
        assert_eq!(picker.row(&cells), Err(Mismatch::Kind("proto".into(), "word")));
        assert!(matches!(Picker::new(&schema, &names()[1..]), Err(Mismatch::Missing(name)) if name == "dur"));
    }

    #[test]
    fn a_sequence_is_what_was_sent_of_it() {
        let windows = vec![vec![1.0; WIDTH], vec![2.0; WIDTH]];
        let sequence = sequence(&windows).expect("a sequence");
        let observed = Observed { addr: wire::Addr::v4([10, 0, 0, 1]), start_ns: 0, sequence };
        let row = WindowRow { at_ns: 1, observed, prompted_by: None };
        assert_eq!(row.windows().map(<[f32]>::to_vec).collect::<Vec<_>>(), windows);
        assert_eq!(super::sequence(&[]), None);
        assert_eq!(super::sequence(&vec![vec![0.0; WIDTH]; SEQUENCE + 1]), None);
        assert_eq!(super::sequence(&[vec![0.0; WIDTH - 1]]), None);
    }

    #[test]
    fn every_name_in_an_explanation_is_known() {
        assert_eq!(metric("window_packets"), Some("window_packets"));
        assert_eq!(metric("Flow IAT Max"), Some("Flow IAT Max"));
        assert_eq!(metric("window_packets; rm -rf /"), None);
    }
}
