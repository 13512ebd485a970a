//! The second reading: rows as a matrix.

use super::plan::Plan;
use super::survey::Place;
use super::{MAX_CLASSES, Source, number};
use crate::dataset::input;
use crate::exit::{Exit, fail};
use dataset::{Cell, Row};
use detect::learned::ensemble::source_key;
use learn::{Feature, Kind, Matrix};
use serde::Serialize;
use std::collections::HashMap;

/// Words of a column told apart while reading; a column with more says who, not what.
const MAX_WORDS: usize = 65_536;
/// Most categories of a feature that are learnt: as many as a model has bins for. Rarer ones are absent.
const MAX_CATEGORIES: usize = 254;
/// Longest word kept, bytes.
const MAX_WORD: usize = 128;

/// What was made of the cells of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows of the table.
    pub rows_read: u64,
    /// Rows used.
    pub rows_used: u64,
    /// Rows without a label, left out.
    pub unlabelled: u64,
    /// Values that are absent, NaN, or in a numeric column no numbers: models take them as absent.
    pub absent: u64,
    /// Values beyond single precision, infinities included, taken as its largest number.
    pub infinite: u64,
    /// Words that training did not see or that are too rare: models take them as absent.
    pub unknown_categories: u64,
}

/// Rows, ready for a model.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Features.
    pub matrix: Matrix,
    /// Class of each row, a place in `names`.
    pub classes: Vec<u32>,
    /// Names of classes: the plan's first, then those that only this table has.
    pub names: Vec<String>,
    /// When each row was, ns since 1970; 0 if it is not known. Empty without a column of times.
    pub times: Vec<u64>,
    /// Who began each row, as a hash of the address; 0 if it is not known. Empty without a column of addresses.
    pub sources: Vec<u64>,
    /// What was made of the cells.
    pub tally: Tally,
}

/// How the cells of a feature become numbers.
enum Encoder {
    Numeric,
    /// Words get numbers in the order they come.
    Growing(HashMap<String, u32>),
    Fixed(HashMap<String, u32>),
}

struct Reading<'a> {
    plan: &'a Plan,
    encoders: Vec<Encoder>,
    values: Vec<f32>,
    table: Table,
    class_places: HashMap<String, u32>,
    /// Rows are kept whose hash is at most this.
    share: u64,
}

/// Reads the table that a plan was made for, of so many rows, and completes the plan: the categories are known now, and
/// columns whose words name nearly every row are left out.
///
/// # Errors
/// A file cannot be read.
pub fn read_first(plan: &mut Plan, sources: &[Source], rows: u64) -> anyhow::Result<Table> {
    let encoders = plan.schema.iter().map(|f| match f.kind {
        Kind::Numeric => Encoder::Numeric,
        Kind::Categorical(_) => Encoder::Growing(HashMap::new()),
    });
    let mut reading = Reading::new(plan, encoders.collect(), rows);
    for source in sources {
        reading.source(source)?;
    }
    let (encoders, values, mut table) = (reading.encoders, reading.values, reading.table);
    let width = plan.schema.len();
    let n = table.classes.len();
    let mut remaps: Vec<Option<Vec<f32>>> = Vec::with_capacity(width);
    let mut keep = vec![true; width];
    for (f, encoder) in encoders.into_iter().enumerate() {
        let Encoder::Growing(words) = encoder else {
            remaps.push(None);
            continue;
        };
        let mut counts = vec![0_u64; words.len()];
        for value in values.iter().skip(f).step_by(width).filter(|v| !v.is_nan()) {
            if let Some(count) = counts.get_mut(*value as usize) {
                *count += 1;
            }
        }
        let names_rows = words.len() > MAX_CATEGORIES && words.len() * 2 > n || words.len() >= MAX_WORDS;
        let Some(feature) = plan.schema.get_mut(f) else { continue };
        if names_rows {
            keep[f] = false;
            let why = "nearly every row has a word of its own there";
            plan.dropped.insert(feature.name.clone(), why.to_owned());
            plan.notes.push(format!("column '{}' is not learnt from: {why}", feature.name));
            remaps.push(None);
            continue;
        }
        let (categories, remap) = categories(words, &counts);
        let rare: u64 =
            counts.iter().zip(&remap).filter(|(_, to)| to.is_nan()).map(|(count, _)| *count).sum();
        table.tally.unknown_categories += rare;
        feature.kind = Kind::Categorical(categories);
        remaps.push(Some(remap));
    }
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width.max(1)) {
        for ((value, remap), keep) in row.iter().zip(&remaps).zip(&keep) {
            match remap {
                _ if !keep => {}
                Some(remap) if !value.is_nan() => {
                    out.push(remap.get(*value as usize).copied().unwrap_or(f32::NAN));
                }
                _ => out.push(*value),
            }
        }
    }
    let mut kept = keep.iter();
    plan.schema.retain(|_| kept.next().copied().unwrap_or(true));
    table.matrix = matrix(&plan.schema, out)?;
    Ok(table)
}

/// Reads another table by a completed plan. It may have further columns, in any order, and classes that the plan lacks.
///
/// # Errors
/// A file cannot be read, or lacks a column.
pub fn read(option: &str, plan: &Plan, sources: &[Source], rows: u64) -> anyhow::Result<Table> {
    let encoders = plan.schema.iter().map(|f| match &f.kind {
        Kind::Numeric => Encoder::Numeric,
        Kind::Categorical(names) => {
            let places =
                names.iter().enumerate().map(|(i, n)| (n.clone(), u32::try_from(i).unwrap_or(u32::MAX)));
            Encoder::Fixed(places.collect())
        }
    });
    let mut reading = Reading::new(plan, encoders.collect(), rows);
    for source in sources {
        let schema = source.dataset.schema();
        let lacks: Vec<&str> =
            plan.schema.iter().map(|f| f.name.as_str()).filter(|n| schema.place(n).is_none()).collect();
        if !lacks.is_empty() {
            return Err(fail(
                Exit::Input,
                format!(
                    "{option}: {} lacks {} of the columns that were learnt from: {}; it needs the same header",
                    source.dataset.path().display(),
                    lacks.len(),
                    lacks.join(", ")
                ),
            ));
        }
        reading.source(source)?;
    }
    let mut table = reading.table;
    table.matrix = matrix(&plan.schema, reading.values)?;
    Ok(table)
}

fn matrix(schema: &[Feature], values: Vec<f32>) -> anyhow::Result<Matrix> {
    Matrix::new(schema.len(), values)
        .map_err(|_| fail(Exit::Input, "no column is left to learn from".to_owned()))
}

/// The most frequent words in the order of the alphabet, and the place of each number that was given to a word.
fn categories(words: HashMap<String, u32>, counts: &[u64]) -> (Vec<String>, Vec<f32>) {
    let count = |code: u32| counts.get(code as usize).copied().unwrap_or(0);
    let mut list: Vec<(String, u32)> = words.into_iter().collect();
    let total = list.len();
    list.sort_unstable_by(|a, b| count(b.1).cmp(&count(a.1)).then(a.0.cmp(&b.0)));
    list.truncate(MAX_CATEGORIES);
    list.sort_unstable();
    let mut remap = vec![f32::NAN; total];
    for (place, (_, code)) in list.iter().enumerate() {
        if let Some(to) = remap.get_mut(*code as usize) {
            *to = place as f32;
        }
    }
    (list.into_iter().map(|(word, _)| word).collect(), remap)
}

impl<'a> Reading<'a> {
    fn new(plan: &'a Plan, encoders: Vec<Encoder>, rows: u64) -> Self {
        let names = plan.names.clone();
        let class_places =
            names.iter().enumerate().map(|(i, n)| (n.clone(), u32::try_from(i).unwrap_or(u32::MAX)));
        let share = plan.max_rows as f64 / rows.max(1) as f64;
        Self {
            class_places: class_places.collect(),
            share: if share >= 1.0 { u64::MAX } else { (share * u64::MAX as f64) as u64 },
            table: Table { names, ..Table::default() },
            values: Vec::new(),
            plan,
            encoders,
        }
    }

    fn source(&mut self, source: &Source) -> anyhow::Result<()> {
        let schema = source.dataset.schema();
        let places: Vec<Option<usize>> = self.plan.schema.iter().map(|f| schema.place(&f.name)).collect();
        let label = Place::of(&self.plan.labels, source, self.plan.empty_label);
        let time = self.plan.time.as_deref().map(|name| schema.place(name));
        let who = self.plan.source.as_deref().map(|name| schema.place(name));
        source.dataset.rows(|row| self.row(row, &places, &label, time, who)).map_err(input)
    }

    fn row(
        &mut self,
        row: &Row,
        places: &[Option<usize>],
        label: &Place,
        time: Option<Option<usize>>,
        who: Option<Option<usize>>,
    ) -> dataset::Result<()> {
        let number = self.table.tally.rows_read;
        self.table.tally.rows_read += 1;
        if mix(self.plan.seed ^ mix(number)) > self.share {
            return Ok(());
        }
        let Some(name) = label.name(row) else {
            self.table.tally.unlabelled += 1;
            return Ok(());
        };
        let class = match self.class_places.get(&name) {
            Some(class) => *class,
            None if self.table.names.len() >= MAX_CLASSES => {
                let what = format!("the label has more than {MAX_CLASSES} different values");
                return Err(dataset::Error::Request(what));
            }
            None => {
                let class = u32::try_from(self.table.names.len()).unwrap_or(u32::MAX);
                self.table.names.push(name.clone());
                self.class_places.insert(name, class);
                class
            }
        };
        self.table.classes.push(class);
        if let Some(place) = time {
            let at = place.and_then(|p| row.get(p)).and_then(Option::as_ref).and_then(Cell::as_time);
            self.table.times.push(at.unwrap_or(0));
        }
        if let Some(place) = who {
            let cell = place.and_then(|p| row.get(p)).and_then(Option::as_ref);
            let hash = cell.and_then(|c| with_word(c, |w| w.parse::<wire::Addr>().ok().map(source_key)));
            self.table.sources.push(hash.unwrap_or(0));
        }
        for (encoder, place) in self.encoders.iter_mut().zip(places) {
            let cell = place.and_then(|p| row.get(p)).and_then(Option::as_ref);
            self.values.push(encoder.encode(cell, &mut self.table.tally));
        }
        self.table.tally.rows_used += 1;
        Ok(())
    }
}

impl Encoder {
    fn encode(&mut self, cell: Option<&Cell>, tally: &mut Tally) -> f32 {
        let Some(cell) = cell else {
            tally.absent += 1;
            return f32::NAN;
        };
        match self {
            Self::Numeric => match number(cell) {
                Some(n) if !n.is_nan() => {
                    let value = n as f32;
                    if value.is_infinite() {
                        tally.infinite += 1;
                        return f32::MAX.copysign(value);
                    }
                    value
                }
                _ => {
                    tally.absent += 1;
                    f32::NAN
                }
            },
            Self::Growing(words) => with_word(cell, |word| {
                if let Some(code) = words.get(word) {
                    return *code as f32;
                }
                if words.len() >= MAX_WORDS {
                    return f32::NAN;
                }
                let code = u32::try_from(words.len()).unwrap_or(u32::MAX);
                words.insert(word.to_owned(), code);
                code as f32
            }),
            Self::Fixed(words) => match with_word(cell, |word| words.get(word).copied()) {
                Some(code) => code as f32,
                None => {
                    tally.unknown_categories += 1;
                    f32::NAN
                }
            },
        }
    }
}

/// Calls `f` with the cell as a word: without white space around it, numbers as they stand, long ones cut.
fn with_word<T>(cell: &Cell, f: impl FnOnce(&str) -> T) -> T {
    let made;
    let text = match cell.as_text() {
        Some(text) => text,
        None => {
            made = cell.to_text();
            &made
        }
    };
    let text = text.trim();
    let mut end = text.len().min(MAX_WORD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    f(text.get(..end).unwrap_or(text))
}

/// Bits of a number well mixed (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A number that equal rows share and different ones hardly ever do.
pub fn group(row: &[f32]) -> u64 {
    row.iter().fold(0, |hash, value| {
        // One zero and one NaN.
        let bits = if value.is_nan() { f32::NAN.to_bits() } else { (value + 0.0).to_bits() };
        mix(hash ^ u64::from(bits))
    })
}
