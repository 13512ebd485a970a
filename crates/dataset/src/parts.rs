//! A dataset being written: part files that rotate.
//!
//! A part is written as `part-00001.csv.partial` and loses the last ending when it is whole. So a reader never meets half a
//! part, and who resumes knows which one was cut off: of a CSV its whole lines are kept, a Parquet file without its end is
//! lost and counted.

use crate::cell::Cell;
use crate::schema::Schema;
use crate::table::{CsvWriter, Out, ParquetWriter, TableWriter};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Format of a table, told by the ending of its file. CSV is also read packed by gzip (RFC 1952), from `.csv.gz`; what is
/// written is not packed, so that a part that was cut off can be mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    #[default]
    Csv,
    /// Apache Parquet.
    Parquet,
}

const PARTIAL: &str = "partial";

/// Whether a table is a CSV packed by gzip.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.ends_with(".csv.gz"))
}

impl Format {
    /// By the ending of a path.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "gz" if is_packed(path) => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The ending.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// Begins a table.
    pub(crate) fn writer(self, schema: &Schema, out: Out) -> std::io::Result<Box<dyn TableWriter>> {
        Ok(match self {
            Self::Csv => Box::new(CsvWriter::new(schema.names(), out)?),
            Self::Parquet => Box::new(ParquetWriter::new(schema, out)?),
        })
    }
}

/// When a part is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Most rows.
    pub rows: u64,
    /// Longest time between first and last row, by the rows' own time, ns; `u64::MAX` for none.
    pub span_ns: u64,
}

impl Default for PartLimits {
    /// A million rows: some 500 MB of CSV.
    fn default() -> Self {
        Self { rows: 1_000_000, span_ns: u64::MAX }
    }
}

struct Open {
    writer: Box<dyn TableWriter>,
    path: PathBuf,
    rows: u64,
    since_ns: u64,
}

/// The parts of a dataset being written, or its one file.
pub struct Parts {
    target: PathBuf,
    /// Whether `target` is a directory of parts; else it is the one file.
    many: bool,
    schema: Schema,
    format: Format,
    limits: PartLimits,
    number: u32,
    open: Option<Open>,
    rows: u64,
}

impl Parts {
    /// Writes to `target`: a file if it ends in `.csv` or `.parquet`, which must not exist yet, else a directory, made if
    /// absent, that holds no parts yet.
    ///
    /// # Errors
    /// If something is there already.
    pub fn create(target: &Path, schema: Schema, format: Format, limits: PartLimits) -> Result<Self> {
        let one = Format::of(target);
        if is_packed(target) {
            let what = "tables are read packed, but not written so; name a .csv or .parquet";
            return Err(Error::table(target, what));
        }
        if one.is_some() && target.exists() {
            return Err(Error::Request(format!("{} exists; name another file", target.display())));
        }
        let parts = Self::open(target, one.is_none(), schema, one.unwrap_or(format), limits)?;
        if parts.number > 0 {
            return Err(Error::Request(format!(
                "{} holds parts of a dataset already; name an empty directory",
                target.display()
            )));
        }
        Ok(parts)
    }

    /// Goes on in a directory behind the parts that are there. Also returns how many cut-off parts could not be saved.
    ///
    /// # Errors
    /// If a part has other columns.
    pub fn resume(dir: &Path, schema: Schema, format: Format, limits: PartLimits) -> Result<(Self, u64)> {
        let mut parts = Self::open(dir, true, schema, format, limits)?;
        let lost = parts.recover()?;
        if parts.number > 0
            && let Ok(there) = crate::Dataset::open(dir)
            && let Some(how) = there.schema().differs(&parts.schema)
        {
            return Err(Error::table(
                dir,
                format!("holds another table than would be written ({how}); name another directory"),
            ));
        }
        Ok((parts, lost))
    }

    fn open(target: &Path, many: bool, schema: Schema, format: Format, limits: PartLimits) -> Result<Self> {
        let mut number = 0;
        if many {
            std::fs::create_dir_all(target).map_err(|e| Error::io("make", target, e))?;
            let list = |e| Error::io("list", target, e);
            for entry in std::fs::read_dir(target).map_err(list)? {
                number = number.max(part_number(&entry.map_err(list)?.path()).unwrap_or(0));
            }
        }
        Ok(Self { target: target.to_owned(), many, schema, format, limits, number, open: None, rows: 0 })
    }

    /// Makes parts that were cut off whole, as far as that is possible.
    fn recover(&mut self) -> Result<u64> {
        let mut lost = 0;
        for n in 1..=self.number {
            for format in [Format::Csv, Format::Parquet] {
                let whole = part(&self.target, n, format);
                let cut = partial(&whole);
                if !cut.exists() {
                    continue;
                }
                let saved = format == Format::Csv
                    && keep_whole_lines(&cut).map_err(|e| Error::io("mend", &cut, e))?;
                if saved {
                    std::fs::rename(&cut, &whole).map_err(|e| Error::io("rename", &cut, e))?;
                } else {
                    std::fs::remove_file(&cut).map_err(|e| Error::io("remove", &cut, e))?;
                    lost += 1;
                }
            }
        }
        Ok(lost)
    }

    /// Adds a row that is of the time `at_ns`.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn row(&mut self, row: &[Option<Cell>], at_ns: u64) -> Result<()> {
        if let Some(open) = &self.open
            && self.many
            && (open.rows >= self.limits.rows || at_ns.saturating_sub(open.since_ns) > self.limits.span_ns)
        {
            self.end_part()?;
        }
        if self.open.is_none() {
            self.begin_part(at_ns)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.writer.row(row).map_err(|e| Error::io("write", &open.path, e))?;
        open.rows += 1;
        self.rows += 1;
        Ok(())
    }

    fn begin_part(&mut self, at_ns: u64) -> Result<()> {
        let path = if self.many {
            self.number += 1;
            part(&self.target, self.number, self.format)
        } else {
            self.target.clone()
        };
        let cut = partial(&path);
        let fault = |e| Error::io("write", &cut, e);
        let file = File::create(&cut).map_err(fault)?;
        let out: Out = Box::new(BufWriter::with_capacity(1 << 16, file));
        let writer = self.format.writer(&self.schema, out).map_err(fault)?;
        self.open = Some(Open { writer, path: cut, rows: 0, since_ns: at_ns });
        Ok(())
    }

    fn end_part(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let fault = |e| Error::io("write", &open.path, e);
        open.writer.finish().map_err(fault)?;
        std::fs::rename(&open.path, open.path.with_extension("")).map_err(fault)
    }

    /// Hands what was written to the system.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => open.writer.flush().map_err(|e| Error::io("write", &open.path, e)),
            None => Ok(()),
        }
    }

    /// Rows written by this writer.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns written.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Ends the last part; an empty dataset becomes a part of no rows, so that its columns are known. Returns the rows
    /// written.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn finish(mut self) -> Result<u64> {
        if self.open.is_none() && self.number == 0 {
            self.begin_part(0)?;
        }
        self.end_part()?;
        Ok(self.rows)
    }
}

fn part(dir: &Path, number: u32, format: Format) -> PathBuf {
    dir.join(format!("part-{number:05}.{}", format.ending()))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PARTIAL);
    name.into()
}

fn part_number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let (number, ending) = name.strip_prefix("part-")?.split_once('.')?;
    let ending = ending.strip_suffix(PARTIAL).map_or(ending, |e| e.trim_end_matches('.'));
    matches!(ending, "csv" | "csv.gz" | "parquet").then(|| number.parse().ok()).flatten()
}

/// Cuts a file behind its last line feed; false if there is none.
fn keep_whole_lines(path: &Path) -> std::io::Result<bool> {
    const STEP: u64 = 1 << 16;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|b| *b == b'\n') {
            file.set_len(start + at as u64 + 1)?;
            return Ok(true);
        }
        end = start;
    }
    Ok(false)
}

/// A new directory for temporary files, which nobody else may read.
pub(crate) fn scratch_dir(name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let base = std::env::temp_dir();
    for n in 0..1000 {
        let dir = base.join(format!("{name}-{}-{n}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("make", &dir, e)),
        }
    }
    Err(Error::Request(format!("{} holds a thousand directories named {name}; remove them", base.display())))
}
