//! Tables as Apache Parquet (parquet.apache.org/docs/file-format).
//!
//! As plain as the format allows, so that every reader reads it: all columns optional, one page for each column of a row
//! group, PLAIN values, no compression, no dictionary, no statistics. Writing needs no more than this file; only reading
//! what others wrote takes the crate of the Arrow project.

use super::thrift::Struct;
use super::{Out, TableWriter};
use crate::cell::{Cell, Kind};
use crate::schema::{Column, Schema};
use std::io;

/// Rows of a row group: they are held in memory until written, about 4 MB for all columns.
pub const GROUP: usize = 4096;

const MAGIC: &[u8; 4] = b"PAR1";

// enum Type, ConvertedType, FieldRepetitionType, Encoding of parquet.thrift.
const INT64: i32 = 2;
const DOUBLE: i32 = 5;
const BYTE_ARRAY: i32 = 6;
const UTF8: i32 = 0;
const TIMESTAMP_MICROS: i32 = 10;
const INT_64: i32 = 18;
const OPTIONAL: i32 = 1;
const PLAIN: i32 = 0;
const RLE: i32 = 3;

/// One column of the running row group.
struct Chunked {
    column: Column,
    /// For each row a bit: whether there is a value.
    present: Vec<bool>,
    /// The values there are, PLAIN.
    values: Vec<u8>,
}

/// Where a written column chunk is.
struct Chunk {
    offset: u64,
    length: usize,
}

struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

/// A Parquet file being written.
pub struct ParquetWriter {
    columns: Vec<Chunked>,
    groups: Vec<Group>,
    rows: usize,
    offset: u64,
    out: Out,
}

impl ParquetWriter {
    /// Begins the file.
    ///
    /// # Errors
    /// Those of the destination.
    pub fn new(schema: &Schema, mut out: Out) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let columns = schema.columns().iter().cloned().map(Chunked::new).collect();
        let offset = MAGIC.len() as u64;
        Ok(Self { columns, groups: Vec::new(), rows: 0, offset, out })
    }

    /// Writes the rows held.
    fn end_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut chunks = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let page = column.page();
            self.out.write_all(&page)?;
            chunks.push(Chunk { offset: self.offset, length: page.len() });
            self.offset += page.len() as u64;
        }
        self.groups.push(Group { rows: self.rows, chunks });
        self.rows = 0;
        Ok(())
    }

    /// FileMetaData.
    fn metadata(&self) -> Vec<u8> {
        let rows: usize = self.groups.iter().map(|g| g.rows).sum();
        let mut root = Struct::default();
        root.text(4, "flows").i32(5, self.columns.len() as i32);
        let schema = std::iter::once(root).chain(self.columns.iter().map(Chunked::schema));
        let mut file = Struct::default();
        file.i32(1, 1)
            .list(2, schema.collect())
            .i64(3, rows as i64)
            .list(4, self.groups.iter().map(|g| self.row_group(g)).collect())
            .text(6, concat!("autoinmune version ", env!("CARGO_PKG_VERSION")));
        file.end()
    }

    fn row_group(&self, group: &Group) -> Struct {
        let chunks = self.columns.iter().zip(&group.chunks).map(|(column, chunk)| {
            let length = chunk.length as i64;
            let mut meta = Struct::default();
            meta.i32(1, column.physical())
                .i32s(2, &[PLAIN, RLE])
                .texts(3, &[&column.column.name])
                .i32(4, 0)
                .i64(5, group.rows as i64)
                .i64(6, length)
                .i64(7, length)
                .i64(9, chunk.offset as i64);
            let mut place = Struct::default();
            place.i64(2, chunk.offset as i64).nested(3, meta);
            place
        });
        let mut out = Struct::default();
        out.list(1, chunks.collect())
            .i64(2, group.chunks.iter().map(|c| c.length as i64).sum())
            .i64(3, group.rows as i64);
        out
    }
}

impl TableWriter for ParquetWriter {
    fn row(&mut self, row: &[Option<Cell>]) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(cell.as_ref());
        }
        self.rows += 1;
        if self.rows == GROUP { self.end_group() } else { Ok(()) }
    }

    /// Row groups that are full; without its end the file cannot be read.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group()?;
        let metadata = self.metadata();
        self.out.write_all(&metadata)?;
        self.out.write_all(&(metadata.len() as u32).to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        self.out.flush()
    }
}

impl Chunked {
    const fn new(column: Column) -> Self {
        Self { column, present: Vec::new(), values: Vec::new() }
    }

    const fn physical(&self) -> i32 {
        match self.column.kind {
            Kind::Time | Kind::Integer => INT64,
            Kind::Text => BYTE_ARRAY,
            Kind::Real => DOUBLE,
        }
    }

    /// SchemaElement.
    fn schema(&self) -> Struct {
        let mut out = Struct::default();
        out.i32(1, self.physical()).i32(3, OPTIONAL).text(4, &self.column.name);
        match self.column.kind {
            Kind::Time => out.i32(6, TIMESTAMP_MICROS),
            Kind::Text => out.i32(6, UTF8),
            Kind::Integer => out.i32(6, INT_64),
            Kind::Real => &mut out,
        };
        out
    }

    /// Takes a value; one that does not fit the column's type is absent.
    fn push(&mut self, cell: Option<&Cell>) {
        let values = &mut self.values;
        let fits = match self.column.kind {
            Kind::Time => cell.and_then(Cell::as_time).map(|ns| values.extend((ns / 1000).to_le_bytes())),
            Kind::Integer => cell.and_then(Cell::as_integer).map(|n| values.extend(n.to_le_bytes())),
            Kind::Real => cell.and_then(Cell::as_number).map(|x| values.extend(x.to_le_bytes())),
            Kind::Text => cell.map(|cell| {
                let mut text = |t: &str| {
                    values.extend((t.len() as u32).to_le_bytes());
                    values.extend(t.as_bytes());
                };
                match cell.as_text() {
                    Some(t) => text(t),
                    None => text(&cell.to_text()),
                }
            }),
        };
        self.present.push(fits.is_some());
    }

    /// The page of what was pushed, which is forgotten: header, definition levels, values.
    fn page(&mut self) -> Vec<u8> {
        // One bit-packed run of the RLE/bit-packing hybrid: its length in groups of eight levels, then a bit each.
        let groups = self.present.len().div_ceil(8);
        let mut levels = Vec::with_capacity(groups + 4);
        super::thrift::varint(&mut levels, (groups as u64) << 1 | 1);
        for eight in self.present.chunks(8) {
            levels.push(eight.iter().enumerate().fold(0, |byte, (i, &p)| byte | u8::from(p) << i));
        }
        let size = 4 + levels.len() + self.values.len();
        let mut data = Struct::default();
        data.i32(1, self.present.len() as i32).i32(2, PLAIN).i32(3, RLE).i32(4, RLE);
        let mut header = Struct::default();
        header.i32(1, 0).i32(2, size as i32).i32(3, size as i32).nested(5, data);
        let mut page = header.end();
        page.reserve(size);
        page.extend((levels.len() as u32).to_le_bytes());
        page.append(&mut levels);
        page.append(&mut self.values);
        self.present.clear();
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as another reader (Apache Arrow) accepts them.
    #[test]
    fn a_page_has_header_levels_and_the_values_there_are() {
        let mut column = Chunked::new(Column { name: "n".into(), kind: Kind::Integer });
        for cell in [Some(Cell::Integer(7)), None, Some(Cell::Integer(1))] {
            column.push(cell.as_ref());
        }
        let expected: &[u8] = &[
            0x15, 0x00, // type = data page
            0x15, 0x2c, 0x15, 0x2c, // 22 bytes, twice
            0x2c, 0x15, 0x06, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06,
            0x00, // three values, PLAIN, levels RLE
            0x00, // end of header
            0x02, 0x00, 0x00, 0x00, 0x03,
            0b101, // two bytes of levels: one group of eight, first and third there
            7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(column.page(), expected);
        assert!(column.present.is_empty() && column.values.is_empty());
    }
}
