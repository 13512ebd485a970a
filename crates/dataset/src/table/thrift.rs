//! The part of Thrift's compact protocol that Parquet's metadata needs: structs of numbers, texts, lists and structs.

/// Types of fields.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A struct being written; fields in ascending order of their number.
#[derive(Default)]
pub(super) struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

/// Appends an unsigned LEB128.
pub(super) fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn zigzag(out: &mut Vec<u8>, n: i64) {
    varint(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

fn text(out: &mut Vec<u8>, t: &str) {
    varint(out, t.len() as u64);
    out.extend(t.as_bytes());
}

impl Struct {
    /// The short form of a field header: fields here are never more than 15 apart.
    fn field(&mut self, id: u8, kind: u8) -> &mut Vec<u8> {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
        &mut self.bytes
    }

    fn elements(&mut self, id: u8, kind: u8, count: usize) -> &mut Vec<u8> {
        let out = self.field(id, LIST);
        if count < 15 {
            out.push((count as u8) << 4 | kind);
        } else {
            out.push(0xf0 | kind);
            varint(out, count as u64);
        }
        out
    }

    pub(super) fn i32(&mut self, id: u8, n: i32) -> &mut Self {
        zigzag(self.field(id, I32), n.into());
        self
    }

    pub(super) fn i64(&mut self, id: u8, n: i64) -> &mut Self {
        zigzag(self.field(id, I64), n);
        self
    }

    pub(super) fn text(&mut self, id: u8, t: &str) -> &mut Self {
        text(self.field(id, BINARY), t);
        self
    }

    pub(super) fn nested(&mut self, id: u8, inner: Self) -> &mut Self {
        self.field(id, STRUCT).extend(inner.end());
        self
    }

    pub(super) fn i32s(&mut self, id: u8, numbers: &[i32]) -> &mut Self {
        let out = self.elements(id, I32, numbers.len());
        numbers.iter().for_each(|&n| zigzag(out, n.into()));
        self
    }

    pub(super) fn texts(&mut self, id: u8, texts: &[&str]) -> &mut Self {
        let out = self.elements(id, BINARY, texts.len());
        texts.iter().for_each(|t| text(out, t));
        self
    }

    pub(super) fn list(&mut self, id: u8, structs: Vec<Self>) -> &mut Self {
        let out = self.elements(id, STRUCT, structs.len());
        structs.into_iter().for_each(|s| out.extend(s.end()));
        self
    }

    /// The bytes, with the mark of the end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_are_written_as_the_compact_protocol_wants() {
        let mut inner = Struct::default();
        inner.i32(1, -1);
        let mut outer = Struct::default();
        outer.i64(1, 300).text(3, "ab").i32s(4, &[1, 2]).nested(6, inner);
        let expected: &[u8] = &[
            0x16, 0xd8, 0x04, // 1: i64 300, zigzag 600
            0x28, 0x02, b'a', b'b', // 3: binary
            0x19, 0x25, 0x02, 0x04, // 4: list of two i32
            0x2c, 0x15, 0x01, 0x00, // 6: struct { 1: i32 -1 }
            0x00,
        ];
        assert_eq!(outer.end(), expected);
    }
}
