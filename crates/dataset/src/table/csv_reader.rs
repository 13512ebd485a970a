//! CSV, RFC 4180, with line feeds or carriage return and line feed, and a header; as it is or packed by gzip.

use super::TableReader;
use crate::cell::{Kind, put_text};
use crate::parts::is_packed;
use crate::schema::{Column, Schema};
use crate::{Error, Result, Row};
use csv::{ByteRecord, Reader, ReaderBuilder};
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell as Shared;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Longest record, bytes: a quote that is never closed must not read the whole file into memory. Rows of features have some
/// thousand.
const MAX_RECORD: usize = 1 << 20;

/// What the parser reads at a time, bytes.
const BUFFER: usize = 1 << 16;

/// A source that gives no more than a record may have between two records.
struct Limited<R> {
    source: R,
    left: Rc<Shared<usize>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other(format!(
                "a record of more than {MAX_RECORD} bytes; is a quote left open?"
            )));
        }
        let room = into.len().min(left);
        let n = self.source.read(into.get_mut(..room).unwrap_or_default())?;
        self.left.set(left - n);
        Ok(n)
    }
}

/// The bytes of a file, unpacked if its name ends in `.csv.gz`. Members of gzip that follow one another are one file (RFC
/// 1952, section 2.2). Unpacking is a stream: what a small file unfolds to is never held.
fn bytes_of(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    if is_packed(path) {
        let packed = BufReader::with_capacity(BUFFER, file);
        return Ok(Box::new(Unpacked(MultiGzDecoder::new(packed))));
    }
    Ok(Box::new(file))
}

/// A gzip stream whose faults name gzip.
struct Unpacked(MultiGzDecoder<BufReader<File>>);

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("the gzip stream is cut off"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                io::Error::other(format!("is not what gzip wrote: {e}"))
            }
            _ => e,
        })
    }
}

/// A CSV file being read.
pub(crate) struct CsvReader {
    path: PathBuf,
    reader: Reader<Limited<Box<dyn Read>>>,
    left: Rc<Shared<usize>>,
    record: ByteRecord,
    schema: Schema,
}

impl CsvReader {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = bytes_of(path)?;
        let left = Rc::new(Shared::new(MAX_RECORD + BUFFER));
        let source = Limited { source: bytes, left: Rc::clone(&left) };
        // Records of another length are refused here, with a sentence of our own.
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .buffer_capacity(BUFFER)
            .from_reader(source);
        let mut record = ByteRecord::new();
        let any = reader.read_byte_record(&mut record).map_err(|e| fault(path, &e))?;
        if !any {
            return Err(Error::table(path, "is empty; a table begins with a line of column names"));
        }
        let mut columns = Vec::with_capacity(record.len());
        for (i, field) in record.iter().enumerate() {
            let name = std::str::from_utf8(field)
                .map_err(|_| Error::line(path, 1, format!("the name of column {} is not UTF-8", i + 1)))?;
            let name = name.trim_start_matches('\u{feff}').trim();
            columns.push(Column { name: name.to_owned(), kind: Kind::Text });
        }
        let schema = Schema::new(columns).map_err(|what| Error::line(path, 1, what))?;
        if schema.columns().len() == 1 && schema.columns().iter().any(|c| c.name.contains([';', '\t', '|'])) {
            return Err(Error::line(
                path,
                1,
                "the header has one column; fields are separated by commas here",
            ));
        }
        Ok(Self { path: path.to_owned(), reader, left, record, schema })
    }
}

impl TableReader for CsvReader {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn next(&mut self, row: &mut Row) -> Result<bool> {
        self.left.set(MAX_RECORD + BUFFER);
        if !self.reader.read_byte_record(&mut self.record).map_err(|e| fault(&self.path, &e))? {
            return Ok(false);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let width = self.schema.columns().len();
        if self.record.len() != width {
            let what = format!("{} fields where the header has {width}", self.record.len());
            return Err(Error::line(&self.path, line, what));
        }
        row.resize(width, None);
        for ((place, field), column) in row.iter_mut().zip(&self.record).zip(self.schema.columns()) {
            let text = std::str::from_utf8(field).map_err(|_| {
                Error::line(&self.path, line, format!("the field of column '{}' is not UTF-8", column.name))
            })?;
            put_text(place, text);
        }
        Ok(true)
    }
}

fn fault(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Io(e) => e.to_string(),
        _ => error.to_string(),
    };
    Error::Table { path: path.to_owned(), line, what }
}
