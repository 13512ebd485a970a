//! The feature table as Apache Parquet (parquet.apache.org/docs/file-format).
//!
//! As plain as the format allows, so that every reader reads it: all columns optional, one page for each column of a row
//! group, PLAIN values, no compression, no dictionary, no statistics. The crate of the Arrow project does all of the
//! format at the price of some forty further packages; what is needed of it is this file.

use super::features::{Cell, Features, Type};
use super::thrift::Struct;
use super::{Out, Table};
use flow::{EndReason, FlowRecord};
use std::io;

/// Rows of a row group: they are held in memory until written, about 4 MB for all columns.
pub(super) const GROUP: usize = 4096;

const MAGIC: &[u8; 4] = b"PAR1";

// enum Type, ConvertedType, FieldRepetitionType, Encoding of parquet.thrift.
const INT64: i32 = 2;
const DOUBLE: i32 = 5;
const BYTE_ARRAY: i32 = 6;
const UTF8: i32 = 0;
const TIMESTAMP_MICROS: i32 = 10;
const UINT_64: i32 = 14;
const OPTIONAL: i32 = 1;
const PLAIN: i32 = 0;
const RLE: i32 = 3;

/// One column of the running row group.
struct Column {
    name: &'static str,
    kind: Type,
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
pub(super) struct Parquet {
    table: Features,
    row: Vec<Option<Cell>>,
    columns: Vec<Column>,
    groups: Vec<Group>,
    rows: usize,
    offset: u64,
    out: Out,
}

impl Parquet {
    /// Begins the file.
    pub(super) fn new(table: Features, mut out: Out) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let columns = table
            .columns()
            .map(|(name, kind)| Column { name, kind, present: Vec::new(), values: Vec::new() })
            .collect();
        let offset = MAGIC.len() as u64;
        Ok(Self { table, row: Vec::new(), columns, groups: Vec::new(), rows: 0, offset, out })
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
        let schema = std::iter::once(root).chain(self.columns.iter().map(Column::schema));
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
                .texts(3, &[column.name])
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

impl Table for Parquet {
    fn row(&mut self, record: &FlowRecord, reason: EndReason) -> io::Result<()> {
        self.table.row(record, reason, &mut self.row);
        for (column, cell) in self.columns.iter_mut().zip(&self.row) {
            column.push(cell.as_ref());
        }
        self.rows += 1;
        if self.rows == GROUP { self.end_group() } else { Ok(()) }
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

impl Column {
    const fn physical(&self) -> i32 {
        match self.kind {
            Type::Time | Type::Integer => INT64,
            Type::Text => BYTE_ARRAY,
            Type::Real => DOUBLE,
        }
    }

    /// SchemaElement.
    fn schema(&self) -> Struct {
        let mut out = Struct::default();
        out.i32(1, self.physical()).i32(3, OPTIONAL).text(4, self.name);
        match self.kind {
            Type::Time => out.i32(6, TIMESTAMP_MICROS),
            Type::Text => out.i32(6, UTF8),
            Type::Integer => out.i32(6, UINT_64),
            Type::Real => &mut out,
        };
        out
    }

    fn push(&mut self, cell: Option<&Cell>) {
        self.present.push(cell.is_some());
        let mut text = |t: &str| {
            self.values.extend((t.len() as u32).to_le_bytes());
            self.values.extend(t.as_bytes());
        };
        match cell {
            None => {}
            Some(Cell::Time(ns)) => self.values.extend((ns / 1000).to_le_bytes()),
            Some(Cell::Text(t)) => text(t),
            Some(Cell::Word(w)) => text(w),
            Some(Cell::Integer(n)) => self.values.extend(n.to_le_bytes()),
            Some(Cell::Real(x)) => self.values.extend(x.to_le_bytes()),
        }
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
        let mut column = Column { name: "n", kind: Type::Integer, present: Vec::new(), values: Vec::new() };
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
