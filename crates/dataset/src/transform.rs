//! Datasets into datasets: merged, split, labelled. A row at a time.

use crate::cell::{Cell, put_text};
use crate::firsts::Firsts;
use crate::parts::{Format, PartLimits, Parts};
use crate::schema::{Column, Role, Schema};
use crate::tuple::tuple_digest;
use crate::{Dataset, Error, Result, Row};
use flow::Labels;
use flow::label::Parties;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use wire::Addr;

/// What [`merge`] does with rows that repeat an earlier one, of whichever dataset, in every feature and in class. Equal rows
/// of different classes are no repeats: which of them is wrong nobody can tell from the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// They stay.
    #[default]
    Keep,
    /// They are left out; takes a second pass.
    Drop,
}

/// What merging did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Rows written.
    pub rows: u64,
    /// Rows left out because they repeat an earlier one.
    pub repeats: u64,
}

/// Copies rows of several datasets, one after the other, into one. Columns are matched by name: those of the first come first,
/// others behind them in the order in which they turn up; where a dataset has no such column its values are absent.
///
/// # Errors
/// Of reading or writing; if repeats are to be left out and there is no feature to tell them by.
pub fn merge(from: &[Dataset], to: &Path, format: Format, repeats: Repeats) -> Result<Merged> {
    let mut columns: Vec<Column> = Vec::new();
    for dataset in from {
        for column in dataset_schema(dataset, format)?.columns() {
            match columns.iter_mut().find(|c| c.name == column.name) {
                None => columns.push(column.clone()),
                Some(known) if known.kind != column.kind => known.kind = wider(known.kind, column.kind),
                Some(_) => {}
            }
        }
    }
    let schema = Schema::new(columns).map_err(Error::Request)?;
    let mut told_by = schema.features();
    if repeats == Repeats::Drop && told_by.is_empty() {
        return Err(Error::Request("there is no feature by which rows could repeat each other".into()));
    }
    told_by.extend(schema.class(None)?);
    let mut parts = Parts::create(to, schema.clone(), format, PartLimits::default())?;
    let mut marks = match repeats {
        Repeats::Keep => None,
        Repeats::Drop => {
            let mut firsts = Firsts::new()?;
            merged_rows(from, &schema, |row| firsts.add(&tuple_digest(row, &told_by)))?;
            Some(firsts.finish()?)
        }
    };
    let mut merged = Merged::default();
    merged_rows(from, &schema, |row| {
        if let Some(marks) = &mut marks
            && !marks.next(&tuple_digest(row, &told_by))?
        {
            merged.repeats += 1;
            return Ok(());
        }
        parts.row(row, 0)
    })?;
    merged.rows = parts.finish()?;
    Ok(merged)
}

/// Calls `each` with every row of the datasets, its cells at the places of `schema`.
fn merged_rows(from: &[Dataset], schema: &Schema, mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    let mut out = Row::new();
    for dataset in from {
        let places: Vec<Option<usize>> = schema.names().map(|n| dataset.schema().place(n)).collect();
        dataset.rows(|row| {
            out.clear();
            out.extend(places.iter().map(|p| p.and_then(|p| row.get_mut(p)).and_then(Option::take)));
            each(&out)
        })?;
    }
    Ok(())
}

/// Columns with the types that the format of the output wants: CSV needs none.
pub(crate) fn dataset_schema(dataset: &Dataset, format: Format) -> Result<Schema> {
    match format {
        Format::Csv => Ok(dataset.schema().clone()),
        Format::Parquet => dataset.typed(),
    }
}

const fn wider(a: crate::Kind, b: crate::Kind) -> crate::Kind {
    use crate::Kind::{Integer, Real, Text};
    match (a, b) {
        (Integer | Real, Integer | Real) => Real,
        _ => Text,
    }
}

/// By what a dataset is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// Rows that are equal in all features stay together.
    Features,
    /// Rows that are equal in these columns stay together, such as all flows of an address.
    Columns(Vec<String>),
    /// The earliest flows are learnt from, the latest tested with.
    Time,
}

/// How to split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitOptions {
    /// By what.
    pub by: SplitBy,
    /// Share of rows to test with, above 0 and below 1; groups and equal times are never torn, so it holds roughly.
    pub test: f64,
    /// Which of the possible splits; the same seed gives the same one, on every machine.
    pub seed: u64,
    /// Format of what is written.
    pub format: Format,
}

/// What a split made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitReport {
    /// Rows to learn from.
    pub train: u64,
    /// Rows to test with.
    pub test: u64,
    /// Rows without a time, which a split by time leaves out.
    pub left_out: u64,
    /// First time of the test rows, ns since 1970, of a split by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<u64>,
}

/// Whether a row is to test with; `None` if it is to be left out.
type Choice = Box<dyn Fn(&Row) -> Option<bool>>;

/// Splits a dataset into `to/train` and `to/test`.
///
/// # Errors
/// Of reading or writing, or if the columns it goes by are not there.
pub fn split(dataset: &Dataset, to: &Path, options: &SplitOptions) -> Result<SplitReport> {
    if !(options.test > 0.0 && options.test < 1.0) {
        return Err(Error::Request(format!("a test share of {} is not between 0 and 1", options.test)));
    }
    let schema = dataset_schema(dataset, options.format)?;
    let mut report = SplitReport { train: 0, test: 0, left_out: 0, from_ns: None };
    let choose: Choice = match &options.by {
        SplitBy::Time => {
            let place = schema.of_role(Role::Time).ok_or_else(|| {
                Error::Request("no column tells the time (ts, Stime, Timestamp); split by --grouped".into())
            })?;
            let from = time_of_share(dataset, place, 1.0 - options.test)?;
            report.from_ns = Some(from);
            Box::new(move |row| {
                row.get(place).and_then(Option::as_ref).and_then(Cell::as_time).map(|at| at >= from)
            })
        }
        by => {
            let places = match by {
                SplitBy::Columns(names) => names
                    .iter()
                    .map(|n| schema.place(n).ok_or_else(|| schema.no_column(n)))
                    .collect::<Result<Vec<usize>>>()?,
                _ => schema.features(),
            };
            let (seed, share) = (options.seed, options.test);
            Box::new(move |row| {
                let mut sha = Sha256::new();
                sha.update(seed.to_le_bytes());
                sha.update(tuple_digest(row, &places));
                let bits = sha.finalize().first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
                // 53 bits make a number in 0..1 exactly.
                Some(((bits >> 11) as f64) < share * (1_u64 << 53) as f64)
            })
        }
    };
    let limits = PartLimits::default();
    let mut train = Parts::create(&to.join("train"), schema.clone(), options.format, limits)?;
    let mut test = Parts::create(&to.join("test"), schema, options.format, limits)?;
    dataset.rows(|row| match choose(row) {
        Some(true) => test.row(row, 0),
        Some(false) => train.row(row, 0),
        None => {
            report.left_out += 1;
            Ok(())
        }
    })?;
    report.train = train.finish()?;
    report.test = test.finish()?;
    Ok(report)
}

/// The time before which a share `q` of rows began, to 1/65,536 of the dataset's span.
fn time_of_share(dataset: &Dataset, place: usize, q: f64) -> Result<u64> {
    const STEPS: u64 = 65_536;
    let time = |row: &Row| row.get(place).and_then(Option::as_ref).and_then(Cell::as_time);
    let mut span: Option<(u64, u64)> = None;
    dataset.rows(|row| {
        if let Some(at) = time(row) {
            let (first, last) = span.get_or_insert((at, at));
            *first = (*first).min(at);
            *last = (*last).max(at);
        }
        Ok(())
    })?;
    let Some((first, last)) = span else {
        return Err(Error::Request("no row has a time; split by --grouped".into()));
    };
    let step = ((last - first) / STEPS).max(1);
    let mut counts = vec![0_u64; STEPS as usize + 2];
    let mut total = 0_u64;
    dataset.rows(|row| {
        if let Some(at) = time(row) {
            total += 1;
            if let Some(n) = counts.get_mut(((at - first) / step) as usize) {
                *n += 1;
            }
        }
        Ok(())
    })?;
    let wanted = (q * total as f64) as u64;
    let mut below = 0;
    for (at, n) in (0..).zip(&counts) {
        if below >= wanted {
            return Ok(first + at * step);
        }
        below += n;
    }
    Ok(last)
}

/// What labelling did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Labelled {
    /// Rows.
    pub rows: u64,
    /// Of these, rows that a label names, benign ones included.
    pub named: u64,
    /// Rows without time or addresses, which no label can name: they stay as they are.
    pub unreadable: u64,
}

/// Copies a dataset with `class`, `technique`, `scenario` and `label` (1 for attacks) as labels say; what no label names is
/// benign. With `class` instead of labels, every row is of this class.
///
/// # Errors
/// Of reading or writing, or if the table does not say who spoke with whom and when.
pub fn label(
    dataset: &Dataset,
    labels: Option<&Labels>,
    class: &str,
    to: &Path,
    format: Format,
) -> Result<Labelled> {
    let mut columns = dataset_schema(dataset, format)?.columns().to_vec();
    let mut place = |name: &str, kind| {
        let at = columns.iter().position(|c| c.name == name).unwrap_or_else(|| {
            columns.push(Column { name: name.to_owned(), kind });
            columns.len() - 1
        });
        if let Some(column) = columns.get_mut(at) {
            column.kind = kind;
        }
        at
    };
    let places = [
        place("class", crate::Kind::Text),
        place("technique", crate::Kind::Text),
        place("scenario", crate::Kind::Text),
    ];
    let truth = place("label", crate::Kind::Integer);
    let reader = PartiesReader::of(dataset.schema());
    if labels.is_some() && reader.is_none() {
        return Err(Error::Request(format!(
            "{} has no columns for time, addresses and protocol; rows cannot be told by labels",
            dataset.path().display()
        )));
    }
    let schema = Schema::new(columns).map_err(Error::Request)?;
    let width = schema.columns().len();
    let mut parts = Parts::create(to, schema, format, PartLimits::default())?;
    let mut report = Labelled::default();
    dataset.rows(|row| {
        report.rows += 1;
        row.resize(width, None);
        let found = match (labels, &reader) {
            (Some(labels), Some(reader)) => match reader.read(row) {
                None => {
                    report.unreadable += 1;
                    return parts.row(row, 0);
                }
                Some(parties) => {
                    let found = labels.find(&parties);
                    report.named += u64::from(found.is_some());
                    found.map(|l| [l.class.as_str(), &l.technique, &l.scenario])
                }
            },
            _ => None,
        };
        let words = found.unwrap_or([class, "", ""]);
        for (at, word) in places.iter().zip(words) {
            if let Some(cell) = row.get_mut(*at) {
                put_text(cell, word);
            }
        }
        if let Some(cell) = row.get_mut(truth) {
            *cell = Some(Cell::Integer((words.first() != Some(&flow::label::BENIGN)).into()));
        }
        parts.row(row, 0)
    })?;
    parts.finish()?;
    Ok(report)
}

/// Who spoke with whom and when, out of rows.
struct PartiesReader {
    time: usize,
    ends: [usize; 2],
    ports: [Option<usize>; 2],
    protocol: usize,
    duration: Option<(usize, f64)>,
}

impl PartiesReader {
    fn of(schema: &Schema) -> Option<Self> {
        let role = |r| schema.of_role(r);
        let seconds = schema.place("dur").map(|p| (p, 1e9));
        Some(Self {
            time: role(Role::Time)?,
            ends: [role(Role::Source)?, role(Role::Target)?],
            ports: [role(Role::SourcePort), role(Role::TargetPort)],
            protocol: role(Role::Protocol).or_else(|| schema.place("proto"))?,
            duration: seconds.or_else(|| schema.place("Flow Duration").map(|p| (p, 1e3))),
        })
    }

    fn read(&self, row: &[Option<Cell>]) -> Option<Parties> {
        let cell = |place: usize| row.get(place).and_then(Option::as_ref);
        let addr = |place| cell(place)?.as_text()?.parse::<Addr>().ok();
        let port = |place: Option<usize>| {
            let number = place.and_then(cell).and_then(Cell::as_integer);
            number.and_then(|n| u16::try_from(n).ok()).unwrap_or(0)
        };
        let protocol = cell(self.protocol)?;
        let [source, target] = self.ends;
        let [source_port, target_port] = self.ports;
        let first_ns = cell(self.time)?.as_time()?;
        let lasted = self.duration.and_then(|(place, unit)| cell(place)?.as_number().map(|n| n * unit));
        Some(Parties {
            source: (addr(source)?, port(source_port)),
            target: (addr(target)?, port(target_port)),
            protocol: match protocol.as_integer() {
                Some(n) => u8::try_from(n).ok()?,
                None => match protocol.as_text()? {
                    "tcp" => 6,
                    "udp" => 17,
                    "icmp" => 1,
                    _ => 0,
                },
            },
            first_ns,
            last_ns: first_ns.saturating_add(lasted.unwrap_or(0.0).max(0.0) as u64),
        })
    }
}
