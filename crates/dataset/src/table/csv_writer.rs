//! Tables as CSV, RFC 4180 with line feeds: a header, then rows. Absent values are empty.

use super::{Out, TableWriter};
use crate::cell::{Cell, rfc3339};
use std::fmt::Write as _;
use std::io;

/// A CSV file being written.
pub struct CsvWriter {
    line: String,
    out: Out,
}

impl CsvWriter {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, out: Out) -> io::Result<Self> {
        let mut writer = Self { line: String::new(), out };
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                writer.line.push(',');
            }
            writer.text(name);
        }
        writer.end_line()?;
        Ok(writer)
    }

    fn text(&mut self, text: &str) {
        if text.contains(['"', ',', '\n', '\r']) {
            self.line.push('"');
            self.line.push_str(&text.replace('"', "\"\""));
            self.line.push('"');
        } else {
            self.line.push_str(text);
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        let written = self.out.write_all(self.line.as_bytes());
        self.line.clear();
        written
    }
}

impl TableWriter for CsvWriter {
    fn row(&mut self, row: &[Option<Cell>]) -> io::Result<()> {
        if let [None] = row {
            // An empty line is no row to readers.
            self.line.push_str("\"\"");
        }
        for (i, cell) in row.iter().enumerate() {
            if i > 0 {
                self.line.push(',');
            }
            // Writing to a String does not fail. Numbers are the shortest that read back the same.
            let _ = match cell {
                None => Ok(()),
                Some(Cell::Time(ns)) => self.line.write_str(&rfc3339(*ns)),
                Some(Cell::Text(t)) => {
                    self.text(t);
                    Ok(())
                }
                Some(Cell::Word(w)) => self.line.write_str(w),
                Some(Cell::Integer(n)) => write!(self.line, "{n}"),
                Some(Cell::Real(x)) => write!(self.line, "{x}"),
            };
        }
        self.end_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
