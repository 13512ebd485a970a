//! Tables as models take them: columns told apart by their values, labels as classes, rows as one matrix.
//!
//! A table is read twice. The first time says what its columns hold and how often each label occurs ([`survey`]); the second
//! fills the matrix ([`read`]). Neither holds more than [`MAX_VALUES`] values, whatever the size of the table: of a larger
//! one rows are drawn at random, by a hash of seed and place, and the draw is told. docs/learning.md says how each kind of
//! value is treated.

mod captures;
mod label;
mod leak;
mod plan;
mod read;
mod survey;

pub use captures::{LABEL as CAPTURE_LABEL, are_captures, flows_of, labelled};
pub use label::Labels;
pub use leak::{Overlap, overlap, telling};
pub use plan::Plan;
pub use read::{Table, Tally, group, read, read_first};
pub use survey::survey;

use crate::dataset::input;
use crate::exit::{Exit, fail};
use clap::Args;
use dataset::{Cell, Dataset};
use flow::feature::Set;
use std::path::{Path, PathBuf};

/// Most values held at once, about: 400 MB as single-precision numbers.
pub const MAX_VALUES: u64 = 100_000_000;

/// Most classes: more labels than this are something else.
pub const MAX_CLASSES: usize = 255;

/// Which columns to learn from, and how many rows.
#[derive(Clone, Debug, Default, Args)]
pub struct ColumnArgs {
    /// The label that means that nothing is wrong [default: the one that reads normal or benign, or 0]
    #[arg(long, value_name = "VALUE")]
    pub normal: Option<String>,
    /// Columns not to learn from, separated by commas, beside those that say who, when or what by their names
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Columns to learn from though they say who, when or what by their names
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub keep: Vec<String>,
    /// Most rows to read of each table; of more, so many are drawn at random [default: as many as make 100,000,000 values]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_rows: Option<u64>,
    /// Columns that are features, where that is known; others are learnt from if they are kept by name.
    #[arg(skip)]
    pub features: Option<Vec<String>>,
}

impl ColumnArgs {
    /// As asked, for tables of flows of captures: what is beside their features says where and whose a flow was.
    #[must_use]
    pub fn of_flows(&self) -> Self {
        let features = Set::ALL.into_iter().flat_map(Set::features).map(|f| f.name.to_owned());
        Self { features: Some(features.collect()), ..self.clone() }
    }
}

/// One file of a table.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub dataset: Dataset,
    /// Its name without ending.
    pub file: String,
    /// Name of the directory it is in.
    pub directory: String,
}

/// The files of tables, each on its own.
///
/// # Errors
/// There is none, or it cannot be read; files differ in their columns.
pub fn sources(option: &str, paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut all: Vec<Source> = Vec::new();
    for path in paths {
        let files = Dataset::open(path).map_err(input)?.files().to_vec();
        for file in files {
            let dataset = Dataset::open(&file).map_err(input)?;
            all.push(Source { file: stem(&file), directory: directory(&file), dataset });
        }
    }
    let Some(first) = all.first() else {
        return Err(fail(Exit::Input, format!("{option}: there are no tables")));
    };
    for other in &all {
        for name in first.dataset.schema().names() {
            if other.dataset.schema().place(name).is_none() {
                return Err(fail(
                    Exit::Input,
                    format!(
                        "{option}: {} has no column '{name}', as {} has; files read together have the same columns",
                        other.dataset.path().display(),
                        first.dataset.path().display()
                    ),
                ));
            }
        }
    }
    Ok(all)
}

/// The number a cell is, if it is one; white space around it does not count.
fn number(cell: &Cell) -> Option<f64> {
    match cell.as_text() {
        Some(text) if text.len() != text.trim().len() => Cell::Text(text.trim().to_owned()).as_number(),
        _ => cell.as_number(),
    }
}

fn stem(path: &Path) -> String {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

fn directory(path: &Path) -> String {
    let parent = path.parent().and_then(Path::file_name).and_then(|n| n.to_str());
    parent.unwrap_or_default().to_owned()
}
