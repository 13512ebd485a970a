//! The classic pcap format: a file header, then records.

use super::buffer::Buffer;
use super::{CaptureError, Endian, Found, MAX_FRAME};
use std::io::Read;

pub(super) const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
pub(super) const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's format of old Red Hat systems: eight more bytes in each record header.
pub(super) const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

pub(super) const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const MODIFIED_RECORD_HEADER: usize = 24;

/// State of a pcap file being read.
pub(super) struct Pcap {
    endian: Endian,
    dlt: u32,
    record_header: usize,
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
        // The upper half of the field describes frame check sequences, not the link type.
        let dlt = endian.word(header, 5) & 0xffff;
        buffer.consume(FILE_HEADER);
        Ok(Self {
            endian,
            dlt,
            record_header: if magic == MAGIC_MODIFIED { MODIFIED_RECORD_HEADER } else { RECORD_HEADER },
            unit_ns: if magic == MAGIC_NANOS { 1 } else { 1000 },
        })
    }

    /// The next record, left unread in the buffer, and its whole length; `None` at the end of the file.
    #[inline]
    pub(super) fn next<R: Read>(
        &self,
        buffer: &mut Buffer<R>,
    ) -> Result<Option<(Found, usize)>, CaptureError> {
        let offset = buffer.offset();
        let header = buffer.need(self.record_header)?;
        if header.len() < self.record_header {
            return if header.is_empty() { Ok(None) } else { Err(CaptureError::Truncated { offset }) };
        }
        let [seconds, fraction, captured, orig_len] = [0, 1, 2, 3].map(|i| self.endian.word(header, i));
        let len = captured as usize;
        if len > MAX_FRAME {
            let why = format!("a frame of {len} bytes, more than {MAX_FRAME}");
            return Err(CaptureError::Corrupt { offset, why });
        }
        let record = self.record_header + len;
        if buffer.need(record)?.len() < record {
            return Err(CaptureError::Truncated { offset });
        }
        // At most 2^32·10^9 + 2^32·10^3, which is below 2^64.
        let ts_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit_ns;
        Ok(Some((Found { data: self.record_header, len, ts_ns, dlt: self.dlt, orig_len, offset }, record)))
    }
}
