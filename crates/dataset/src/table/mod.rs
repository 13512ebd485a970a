//! Tables in files: CSV and Parquet, read and written a row at a time.

mod csv_reader;
mod csv_writer;
mod parquet_reader;
mod parquet_writer;
mod thrift;

pub(crate) use csv_reader::CsvReader;
pub use csv_writer::CsvWriter;
pub(crate) use parquet_reader::ParquetReader;
pub use parquet_writer::{GROUP, ParquetWriter};

use crate::cell::Cell;
use crate::schema::Schema;
use crate::{Result, Row};
use std::io::{self, Write};

/// Where tables go.
pub type Out = Box<dyn Write + Send>;

/// A table being written.
pub trait TableWriter: Send {
    /// Adds a row of as many cells as there are columns.
    ///
    /// # Errors
    /// Those of the destination.
    fn row(&mut self, row: &[Option<Cell>]) -> io::Result<()>;

    /// Hands what was written to the system, as far as the format allows before its end.
    ///
    /// # Errors
    /// Those of the destination.
    fn flush(&mut self) -> io::Result<()>;

    /// Writes what is held back and the end of the table.
    ///
    /// # Errors
    /// Those of the destination.
    fn finish(&mut self) -> io::Result<()>;
}

/// A table being read.
pub(crate) trait TableReader {
    /// Columns; types are known in Parquet, in CSV all are text.
    fn schema(&self) -> &Schema;

    /// Reads the next row into `row`; false at the end.
    fn next(&mut self, row: &mut Row) -> Result<bool>;
}
