//! Flows as tables for other tools: the feature table as CSV or Parquet, and Zeek's conn.log.
//!
//! Rows are written as flows end, in that order, which is a function of the input alone; memory does not grow with rows,
//! but for some kilobytes of Parquet's directory with every [`dataset::table::GROUP`] of them.

mod conn_log;

use crate::exit::{Exit, fail};
use crate::sink;
use anyhow::Context as _;
use conn_log::ConnLog;
use dataset::table::{CsvWriter, ParquetWriter, TableWriter};
use dataset::{FlowColumns, Format, Place, Row};
use flow::feature::Set;
use flow::{EndReason, FlowRecord};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What to export where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Destination of the feature table.
    pub features: Option<&'a Path>,
    /// Sets of features in it.
    pub sets: &'a [Set],
    /// Destination of the conn.log.
    pub conn_log: Option<&'a Path>,
}

/// Whether a destination of features is a word for standard output; a file of that name is `./csv`.
pub fn is_word(path: &Path) -> bool {
    path == Path::new("csv") || path == Path::new("parquet")
}

/// A table of flows being written.
trait Table {
    /// Adds a flow that ended.
    fn row(&mut self, record: &FlowRecord, reason: EndReason) -> io::Result<()>;
    /// Writes what is held back.
    fn finish(&mut self) -> io::Result<()>;
}

/// The feature table being written.
struct Features {
    columns: FlowColumns,
    row: Row,
    writer: Box<dyn TableWriter>,
}

impl Features {
    fn new(sets: &[Set], format: Format, out: Out) -> io::Result<Self> {
        let columns = FlowColumns::new(sets);
        let writer: Box<dyn TableWriter> = match format {
            Format::Csv => Box::new(CsvWriter::new(columns.columns().map(|(name, _)| name), out)?),
            Format::Parquet => Box::new(ParquetWriter::new(&columns.schema(), out)?),
        };
        Ok(Self { columns, row: Row::new(), writer })
    }
}

impl Table for Features {
    fn row(&mut self, record: &FlowRecord, reason: EndReason) -> io::Result<()> {
        let nowhere = Place::default();
        self.columns.row(record, reason, [&nowhere; 2], None, &mut self.row);
        self.writer.row(&self.row)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.finish()
    }
}

/// The open exports of a replay.
pub struct Export {
    tables: Vec<(PathBuf, Box<dyn Table>)>,
    failed: Option<anyhow::Error>,
}

impl Export {
    /// Opens what is asked for.
    ///
    /// # Errors
    /// A path whose ending names no format, or that cannot be written.
    pub fn open(request: Request<'_>) -> anyhow::Result<Self> {
        let mut tables: Vec<(PathBuf, Box<dyn Table>)> = Vec::new();
        if let Some(path) = request.features {
            let word = is_word(path) || sink::is_stdout(path);
            let format = match ending(path) {
                _ if path == Path::new("parquet") => Format::Parquet,
                Some("parquet") => Format::Parquet,
                Some("csv") => Format::Csv,
                None if word => Format::Csv,
                _ => {
                    let what = format!(
                        "--features {}: the format follows from the ending; name a file .csv or .parquet, or say csv or parquet \
                         for standard output",
                        path.display()
                    );
                    return Err(fail(Exit::Input, what));
                }
            };
            let out = sink::open(if word { Path::new("-") } else { path }, false)?;
            let table: Box<dyn Table> = Box::new(Features::new(request.sets, format, out)?);
            tables.push((path.to_owned(), table));
        }
        if let Some(path) = request.conn_log {
            let json = ending(path) == Some("json");
            let log = ConnLog::new(sink::open(path, false)?, json)?;
            tables.push((path.to_owned(), Box::new(log)));
        }
        Ok(Self { tables, failed: None })
    }

    /// Adds a flow that ended. The first failure is kept for [`Self::finish`]; nothing is written after it.
    pub fn flow(&mut self, record: &FlowRecord, reason: EndReason) {
        if self.failed.is_some() {
            return;
        }
        for (path, table) in &mut self.tables {
            if let Err(e) = table.row(record, reason) {
                self.failed = Some(anyhow::Error::new(e).context(format!("cannot write {}", path.display())));
                return;
            }
        }
    }

    /// Ends every table.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(self) -> anyhow::Result<()> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        for (path, mut table) in self.tables {
            table.finish().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|e| e.to_str())
}

/// Where tables go.
type Out = Box<dyn Write + Send>;
