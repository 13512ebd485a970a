//! Flows as tables for other tools: the feature table as CSV or Parquet, and Zeek's conn.log.
//!
//! Rows are written as flows end, in that order, which is a function of the input alone; memory does not grow with rows,
//! but for some kilobytes of Parquet's directory with every [`parquet::GROUP`] of them.

mod conn_log;
mod csv;
mod features;
mod parquet;
mod thrift;

use crate::exit::{Exit, fail};
use crate::sink;
use anyhow::Context as _;
use conn_log::ConnLog;
use features::Features;
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
            let columns = Features::new(request.sets);
            let stdout = Path::new("-");
            let table: Box<dyn Table> = match ending(path) {
                _ if path == Path::new("csv") => {
                    Box::new(csv::Csv::new(columns, sink::open(stdout, false)?)?)
                }
                _ if path == Path::new("parquet") => {
                    Box::new(parquet::Parquet::new(columns, sink::open(stdout, false)?)?)
                }
                Some("csv") => Box::new(csv::Csv::new(columns, sink::open(path, false)?)?),
                None if sink::is_stdout(path) => Box::new(csv::Csv::new(columns, sink::open(path, false)?)?),
                Some("parquet") => Box::new(parquet::Parquet::new(columns, sink::open(path, false)?)?),
                _ => {
                    let what = format!(
                        "--features {}: the format follows from the ending; name a file .csv or .parquet, or say csv or parquet \
                         for standard output",
                        path.display()
                    );
                    return Err(fail(Exit::Input, what));
                }
            };
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
