//! Frames into a pcap file.

use super::{MAX_FRAME, pcap};
use crate::LinkType;
use std::io::{self, Write};

/// Writes a pcap file with nanosecond timestamps, little-endian on every host, so that equal input gives equal bytes.
///
/// Writes go straight to the sink in small pieces: hand in a buffered one.
pub struct Writer<W> {
    sink: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn new(mut sink: W, link: LinkType) -> io::Result<Self> {
        let mut header = [0; pcap::FILE_HEADER];
        header[..4].copy_from_slice(&pcap::MAGIC_NANOS.to_le_bytes());
        header[4..6].copy_from_slice(&2_u16.to_le_bytes());
        header[6..8].copy_from_slice(&4_u16.to_le_bytes());
        header[16..20].copy_from_slice(&(MAX_FRAME as u32).to_le_bytes());
        header[20..].copy_from_slice(&link.dlt().to_le_bytes());
        sink.write_all(&header)?;
        Ok(Self { sink })
    }

    /// Writes one whole frame, captured at `ts_ns` nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write_cut`].
    pub fn write(&mut self, ts_ns: u64, frame: &[u8]) -> io::Result<()> {
        self.write_cut(ts_ns, frame, u32::try_from(frame.len()).unwrap_or(u32::MAX))
    }

    /// Writes one frame of which only `captured` is at hand; it had `orig_len` bytes on the wire.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a frame longer than [`MAX_FRAME`] or a time after 2106, which the format cannot hold; nothing
    /// is written then. Else those of the sink.
    pub fn write_cut(&mut self, ts_ns: u64, captured: &[u8], orig_len: u32) -> io::Result<()> {
        let refuse = |why: &'static str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if captured.len() > MAX_FRAME {
            return refuse("a frame longer than 256 KiB");
        }
        let Ok(seconds) = u32::try_from(ts_ns / 1_000_000_000) else {
            return refuse("a time after 2106, which pcap cannot hold");
        };
        let fraction = (ts_ns % 1_000_000_000) as u32;
        let mut header = [0; 16];
        for (field, value) in
            header.chunks_exact_mut(4).zip([seconds, fraction, captured.len() as u32, orig_len])
        {
            field.copy_from_slice(&value.to_le_bytes());
        }
        self.sink.write_all(&header)?;
        self.sink.write_all(captured)
    }

    /// Flushes and gives the sink back.
    ///
    /// # Errors
    ///
    /// Those of the sink's flush.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.flush()?;
        Ok(self.sink)
    }
}
