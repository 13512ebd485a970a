//! The feature table as CSV, RFC 4180 with line feeds: a header, then a row for each flow. Absent values are empty.

use super::features::{Cell, Features};
use super::{Out, Table};
use crate::summary::rfc3339;
use flow::{EndReason, FlowRecord};
use std::io;

/// A CSV file being written.
pub(super) struct Csv {
    columns: Features,
    row: Vec<Option<Cell>>,
    line: String,
    out: Out,
}

impl Csv {
    /// Writes the header.
    pub(super) fn new(columns: Features, mut out: Out) -> io::Result<Self> {
        let header: Vec<&str> = columns.columns().map(|(name, _)| name).collect();
        writeln!(out, "{}", header.join(","))?;
        Ok(Self { columns, row: Vec::new(), line: String::new(), out })
    }
}

impl Table for Csv {
    fn row(&mut self, record: &FlowRecord, reason: EndReason) -> io::Result<()> {
        self.columns.row(record, reason, &mut self.row);
        self.line.clear();
        for (i, cell) in self.row.iter().enumerate() {
            if i > 0 {
                self.line.push(',');
            }
            if let Some(cell) = cell {
                self.line.push_str(&text(cell));
            }
        }
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// No text of the table holds a comma, quote or line end: addresses, Community IDs and closed sets of words. Numbers are
/// the shortest that read back the same.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Time(ns) => rfc3339(*ns),
        Cell::Text(t) => t.clone(),
        Cell::Word(w) => (*w).to_owned(),
        Cell::Integer(n) => n.to_string(),
        Cell::Real(x) => x.to_string(),
    }
}
