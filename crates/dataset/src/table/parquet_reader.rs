//! Parquet, by the crate of the Arrow project without Arrow: flat tables, uncompressed or with
//! Snappy, gzip or Zstandard.

use super::TableReader;
use crate::cell::{Cell, Kind, put_text};
use crate::schema::{Column, Schema};
use crate::{Error, Result, Row};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A Parquet file being read. Memory is that of a page of each column.
pub(crate) struct ParquetReader {
    path: PathBuf,
    rows: RowIter<'static>,
    schema: Schema,
    row: u64,
}

impl ParquetReader {
    /// Opens a file and reads its metadata.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let reader = SerializedFileReader::new(file)
            .map_err(|e| Error::table(path, format!("is not a Parquet file, or not a whole one: {e}")))?;
        let meta = reader.metadata().file_metadata();
        let mut columns = Vec::new();
        for field in meta.schema().get_fields() {
            if !field.is_primitive() {
                let what = format!("column '{}' is nested; only flat tables are read", field.name());
                return Err(Error::table(path, what));
            }
            let info = field.get_basic_info();
            let time = matches!(info.logical_type_ref(), Some(LogicalType::Timestamp { .. }))
                || matches!(
                    info.converted_type(),
                    ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS
                );
            let kind = match field.get_physical_type() {
                Physical::INT96 => Kind::Time,
                Physical::INT64 if time => Kind::Time,
                Physical::INT32 | Physical::INT64 | Physical::BOOLEAN => Kind::Integer,
                Physical::FLOAT | Physical::DOUBLE => Kind::Real,
                Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => Kind::Text,
            };
            columns.push(Column { name: field.name().to_owned(), kind });
        }
        let schema = Schema::new(columns).map_err(|what| Error::table(path, what))?;
        Ok(Self { path: path.to_owned(), rows: RowIter::from_file_into(Box::new(reader)), schema, row: 0 })
    }
}

impl TableReader for ParquetReader {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn next(&mut self, row: &mut Row) -> Result<bool> {
        self.row += 1;
        let record = match self.rows.next() {
            None => return Ok(false),
            Some(Ok(record)) => record,
            Some(Err(e)) => return Err(Error::line(&self.path, self.row, e.to_string())),
        };
        row.resize(self.schema.columns().len(), None);
        for (place, (name, field)) in row.iter_mut().zip(record.get_column_iter()) {
            if !put(place, field) {
                let what = format!("column '{name}' holds {field}, which is no number, text or time");
                return Err(Error::line(&self.path, self.row, what));
            }
        }
        Ok(true)
    }
}

/// Puts a field into a place; false if it is of no type known here.
fn put(place: &mut Option<Cell>, field: &Field) -> bool {
    let micros = |us: i64| u64::try_from(us).ok().map(|us| Cell::Time(us.saturating_mul(1000)));
    *place = match field {
        Field::Null => None,
        Field::Bool(b) => Some(Cell::Integer((*b).into())),
        Field::Byte(n) => Some(Cell::Integer((*n).into())),
        Field::Short(n) => Some(Cell::Integer((*n).into())),
        Field::Int(n) => Some(Cell::Integer((*n).into())),
        Field::Long(n) => Some(Cell::Integer(*n)),
        Field::UByte(n) => Some(Cell::Integer((*n).into())),
        Field::UShort(n) => Some(Cell::Integer((*n).into())),
        Field::UInt(n) => Some(Cell::Integer((*n).into())),
        // Beyond 2^63 only as a number of double precision.
        Field::ULong(n) => Some(i64::try_from(*n).map_or(Cell::Real(*n as f64), Cell::Integer)),
        Field::Float(x) => Some(Cell::Real((*x).into())),
        Field::Double(x) => Some(Cell::Real(*x)),
        Field::TimestampMillis(ms) => micros(ms.saturating_mul(1000)),
        Field::TimestampMicros(us) => micros(*us),
        Field::Str(text) => {
            put_text(place, text);
            return true;
        }
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => {
                put_text(place, text);
                return true;
            }
            Err(_) => return false,
        },
        _ => return false,
    };
    true
}
