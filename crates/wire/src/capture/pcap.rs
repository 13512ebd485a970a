//! The classic pcap format: a file header, then records.

use super::block::Place;
use super::buffer::Buffer;
use super::{CaptureError, Endian, MAX_FRAME};
use crate::LinkType;
use std::io::Read;

pub(super) const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
pub(super) const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's format of old Red Hat systems: eight more bytes in each record header.
pub(super) const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

pub(super) const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const MODIFIED_RECORD_HEADER: usize = 24;

/// When the captured length comes after the original one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exchanged {
    Never,
    /// Version 2.3, written in both ways: where the first is the larger.
    IfLarger,
    Always,
}

/// State of a pcap file being read.
pub(super) struct Pcap {
    endian: Endian,
    dlt: u32,
    link: Option<LinkType>,
    record_header: usize,
    /// Whether the lengths of a record are exchanged, as before version 2.3 of the format.
    exchanged: Exchanged,
    /// Nanoseconds per unit of the second timestamp field.
    unit_ns: u64,
}

impl Pcap {
    /// Whether the first four bytes are one of this format's magic numbers, and in which byte order.
    pub(super) fn recognise(magic: [u8; 4]) -> Option<(Endian, u32)> {
        [Endian::Little, Endian::Big].into_iter().find_map(|endian| match endian.u32(magic) {
            m @ (MAGIC_MICROS | MAGIC_NANOS | MAGIC_MODIFIED) => Some((endian, m)),
            _ => None,
        })
    }

    /// Reads the file header.
    pub(super) fn open<R: Read>(
        buffer: &mut Buffer<R>,
        endian: Endian,
        magic: u32,
    ) -> Result<Self, CaptureError> {
        let Some(header) = buffer.need(FILE_HEADER)?.first_chunk::<FILE_HEADER>() else {
            return Err(CaptureError::Truncated { offset: 0 });
        };
        let major = endian.u16([header[4], header[5]]);
        if major != 2 {
            let why = format!("pcap version {major}; only version 2 is known");
            return Err(CaptureError::Corrupt { offset: 0, why });
        }
        let exchanged = match endian.u16([header[6], header[7]]) {
            0..=2 => Exchanged::Always,
            3 => Exchanged::IfLarger,
            _ => Exchanged::Never,
        };
        // The upper half of the field describes frame check sequences, not the link type.
        let dlt = endian.word(header, 5) & 0xffff;
        buffer.take(FILE_HEADER);
        Ok(Self {
            endian,
            dlt,
            link: LinkType::from_dlt(dlt),
            exchanged,
            record_header: if magic == MAGIC_MODIFIED { MODIFIED_RECORD_HEADER } else { RECORD_HEADER },
            unit_ns: if magic == MAGIC_NANOS { 1 } else { 1000 },
        })
    }

    /// The next record; `None` at the end of the file.
    #[inline]
    pub(super) fn next<R: Read>(&self, buffer: &mut Buffer<R>) -> Result<Option<Place>, CaptureError> {
        let offset = buffer.offset();
        let unread = buffer.need(self.record_header)?;
        let Some(fields) = unread.get(..self.record_header).and_then(|h| h.first_chunk::<RECORD_HEADER>())
        else {
            return if unread.is_empty() { Ok(None) } else { Err(CaptureError::Truncated { offset }) };
        };
        let word = |i: usize| self.endian.u32([fields[i], fields[i + 1], fields[i + 2], fields[i + 3]]);
        let (seconds, fraction, mut captured, mut orig_len) = (word(0), word(4), word(8), word(12));
        match self.exchanged {
            Exchanged::Never => {}
            Exchanged::IfLarger if captured <= orig_len => {}
            Exchanged::IfLarger | Exchanged::Always => std::mem::swap(&mut captured, &mut orig_len),
        }
        let len = captured as usize;
        if len > MAX_FRAME {
            return Err(too_long(offset, len));
        }
        let record = self.record_header + len;
        if buffer.need(record)?.len() < record {
            return Err(CaptureError::Truncated { offset });
        }
        // At most 2^32·10^9 + 2^32·10^3, which is below 2^64.
        let ts_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit_ns;
        let at = buffer.take(record) + self.record_header;
        Ok(Some(Place {
            ts_ns,
            offset,
            at: at as u32,
            len: captured,
            orig_len,
            dlt: self.dlt,
            link: self.link,
        }))
    }
}

#[cold]
fn too_long(offset: u64, len: usize) -> CaptureError {
    CaptureError::Corrupt { offset, why: format!("a frame of {len} bytes, more than {MAX_FRAME}") }
}
