//! Capture files: pcap and pcapng in, pcap out.
//!
//! The reader is our own. Every replayed packet passes it, and what it does with a damaged file is part of what this
//! project promises: frames come out as slices of one bounded buffer, all that can be read is returned before the
//! error is, and the error names the byte where the file went wrong. Capture files are the one input in which an
//! attacker can choose every length, so the reader is small enough to be read whole, and is fuzzed.
//!
//! Read: pcap in both byte orders with microsecond, nanosecond and "modified" (Kuznetzov) records; pcapng with several
//! sections, byte orders and interfaces, `if_tsresol` and `if_tsoffset`, enhanced, simple and old packet blocks; other
//! blocks are stepped over. Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

mod block;
mod buffer;
mod pcap;
mod pcapng;
mod reader;
mod writer;

pub use block::Block;
pub use reader::Reader;
pub use writer::Writer;

use crate::LinkType;

/// Longest frame accepted, bytes: libpcap's largest snap length, and no offload makes a larger one.
pub const MAX_FRAME: usize = 256 * 1024;

/// Longest pcapng block accepted, bytes: what Wireshark accepts; real blocks other than packets (name resolution, TLS
/// secrets) stay far below. It also bounds the reader's buffer.
pub const MAX_BLOCK: usize = 16 * 1024 * 1024;

/// Most interfaces in one pcapng section: more than a host has, and it bounds the reader's table.
pub const MAX_INTERFACES: usize = 4096;

/// One frame of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, nanoseconds since 1970-01-01 UTC. A simple packet block has no time of its own: it takes
    /// that of the frame before it (0 at the start of the file).
    pub ts_ns: u64,
    /// How the frame begins, `None` for a link type this crate does not parse.
    pub link: Option<LinkType>,
    /// The link type's number in the file.
    pub dlt: u32,
    /// What was captured.
    pub data: &'a [u8],
    /// Bytes the frame had on the wire.
    pub orig_len: u32,
    /// Where its record or block begins in the file, bytes.
    pub offset: u64,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The first bytes are not those of a capture file.
    #[error("not a capture file: {why}")]
    NotACapture {
        /// What it is instead, as far as that can be told.
        why: &'static str,
    },
    /// The file ends inside the record or block that begins here.
    #[error("the capture is cut off: it ends inside the record at byte {offset}")]
    Truncated {
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// The record or block that begins here contradicts the format or a limit of this module.
    #[error("the capture is corrupt at byte {offset}: {why}")]
    Corrupt {
        /// Bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The source of the bytes failed.
    #[error("reading failed at byte {offset}: {source}")]
    Io {
        /// Bytes from the start of the file.
        offset: u64,
        /// The failure.
        source: std::io::Error,
    },
}

impl CaptureError {
    /// Bytes from the start of the file to where reading stopped.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::NotACapture { .. } => 0,
            Self::Truncated { offset } | Self::Corrupt { offset, .. } | Self::Io { offset, .. } => *offset,
        }
    }
}

/// Byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endian {
    Little,
    Big,
}

impl Endian {
    #[inline]
    const fn u16(self, b: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(b),
            Self::Big => u16::from_be_bytes(b),
        }
    }

    #[inline]
    const fn u32(self, b: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(b),
            Self::Big => u32::from_be_bytes(b),
        }
    }

    /// The `index`-th aligned 32-bit word of `b`; 0 beyond its end.
    #[inline]
    fn word(self, b: &[u8], index: usize) -> u32 {
        b.get(index * 4..).and_then(|b| b.first_chunk()).map_or(0, |&b| self.u32(b))
    }
}
