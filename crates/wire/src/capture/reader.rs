//! Frames out of a capture file of either format.

use super::block::{Block, Place};
use super::buffer::{Buffer, CHUNK};
use super::pcap::Pcap;
use super::pcapng::{self, Pcapng};
use super::{CaptureError, Frame};
use std::io::Read;

/// Reads frames from a capture file or stream, in one pass and in bounded memory: the buffer holds 128 KiB, and more
/// only while a longer record passes ([`super::MAX_BLOCK`] at most).
pub struct Reader<R> {
    buffer: Buffer<R>,
    format: Format,
    done: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl<R: Read> Reader<R> {
    /// Recognises the format and reads the file header.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NotACapture`] if the first bytes are of no known format, else whatever is wrong with the header.
    pub fn new(source: R) -> Result<Self, CaptureError> {
        Self::with_buffer(source, CHUNK)
    }

    /// As [`Self::new`], with a buffer, and thus blocks, of about `bytes`, at least 4 KiB.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_buffer(source: R, bytes: usize) -> Result<Self, CaptureError> {
        let mut buffer = Buffer::new(source, bytes.max(4096));
        let start = buffer.need(4)?;
        let Some(&magic) = start.first_chunk::<4>() else {
            let why = if start.is_empty() { "it is empty" } else { "it is shorter than any capture" };
            return Err(CaptureError::NotACapture { why });
        };
        let format = if magic == pcapng::SECTION_HEADER {
            Format::Pcapng(Pcapng::open(&mut buffer)?)
        } else if let Some((endian, magic)) = Pcap::recognise(magic) {
            Format::Pcap(Pcap::open(&mut buffer, endian, magic)?)
        } else {
            return Err(CaptureError::NotACapture { why: guess(magic) });
        };
        Ok(Self { buffer, format, done: false })
    }

    /// The next frame; `None` at the end of the file, and on every call after an error.
    ///
    /// # Errors
    ///
    /// What is wrong with the next record. All frames before it have been returned.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows the buffer, which an iterator cannot lend"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let place = self.step()?;
        Ok(place.map(|place| place.frame(self.buffer.bytes())))
    }

    /// Replaces what is in `block` by the next frames, at least one, as many as the buffer holds; by none at the end of
    /// the file, and on every call after an error. Calls may alternate with those of [`Self::next`].
    ///
    /// The bytes are not copied: the block takes the buffer and leaves its own. Recycled blocks cost no allocation.
    ///
    /// # Errors
    ///
    /// As [`Self::next`]; the block is empty then.
    pub fn block(&mut self, block: &mut Block) -> Result<(), CaptureError> {
        block.clear();
        let Some(first) = self.step()? else { return Ok(()) };
        block.places.push(first);
        self.buffer.hold(true);
        // What stops this is looked at again by the next call, which may read on.
        while let Ok(Some(place)) = self.parse() {
            block.places.push(place);
        }
        self.buffer.hold(false);
        self.buffer.exchange(&mut block.bytes);
        Ok(())
    }

    /// Where the next frame lies in the buffer.
    #[inline]
    fn step(&mut self) -> Result<Option<Place>, CaptureError> {
        if self.done {
            return Ok(None);
        }
        let place = self.parse();
        self.done = place.is_err();
        place
    }

    #[inline]
    fn parse(&mut self) -> Result<Option<Place>, CaptureError> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.buffer),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.buffer),
        }
    }

    /// Bytes of the file up to the end of the frame returned last.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.buffer.offset()
    }

    /// Bytes of memory held by the buffer.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

/// What a file that is no capture is instead.
const fn guess(magic: [u8; 4]) -> &'static str {
    match magic {
        [0x1f, 0x8b, ..] => "it looks gzip-compressed: decompress it first",
        [0x28, 0xb5, 0x2f, 0xfd] => "it looks zstd-compressed: decompress it first",
        [0xfd, b'7', b'z', b'X'] => "it looks xz-compressed: decompress it first",
        [b'B', b'Z', b'h', _] => "it looks bzip2-compressed: decompress it first",
        [b'P', b'K', 3, 4] => "it looks like a zip archive: unpack it first",
        _ => "its first bytes are neither pcap nor pcapng",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LinkType;
    use crate::capture::{MAX_BLOCK, MAX_FRAME, Writer};

    #[test]
    fn a_length_alone_allocates_nothing() {
        let mut pcap = Writer::new(Vec::new(), LinkType::Ethernet).unwrap().finish().unwrap();
        let at_rest = Reader::new(&pcap[..]).unwrap().capacity();
        pcap.extend([0; 8]);
        pcap.extend((MAX_FRAME as u32).to_le_bytes());
        pcap.extend([0; 4]);
        let mut pcapng = section_header();
        pcapng.extend([0xfe, 0xca, 0xad, 0x0b]);
        pcapng.extend((MAX_BLOCK as u32).to_le_bytes());
        pcapng.extend([0; 64]);
        for file in [&pcap, &pcapng] {
            let mut reader = Reader::new(&file[..]).unwrap();
            assert!(matches!(reader.next(), Err(CaptureError::Truncated { .. })));
            assert!(reader.capacity() <= 2 * at_rest, "{}", reader.capacity());
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut file = section_header();
        for _ in 0..3 {
            file.extend([0xfe, 0xca, 0xad, 0x0b]);
            file.extend((MAX_BLOCK as u32).to_le_bytes());
            file.resize(file.len() + MAX_BLOCK - 12, 0);
            file.extend((MAX_BLOCK as u32).to_le_bytes());
        }
        let mut reader = Reader::new(&file[..]).unwrap();
        assert!(reader.next().unwrap().is_none());
        assert_eq!((reader.offset() as usize, reader.capacity()), (file.len(), MAX_BLOCK));
    }

    /// A little-endian section header.
    fn section_header() -> Vec<u8> {
        let words = [0x0a0d_0d0a_u32, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28];
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }
}
