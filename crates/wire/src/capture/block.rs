//! Many frames at once, in memory that can be given away.

use super::Frame;
use crate::LinkType;

/// Where a frame lies in the bytes around it; as [`Frame`] else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ts_ns: u64,
    pub(super) offset: u64,
    pub(super) at: u32,
    pub(super) len: u32,
    pub(super) orig_len: u32,
    pub(super) dlt: u32,
    pub(super) link: Option<LinkType>,
}

impl Place {
    #[inline]
    pub(super) fn frame(self, bytes: &[u8]) -> Frame<'_> {
        let Self { ts_ns, offset, at, len, orig_len, dlt, link } = self;
        let data = bytes.get(at as usize..).and_then(|b| b.get(..len as usize)).unwrap_or_default();
        Frame { ts_ns, link, dlt, data, orig_len, offset }
    }
}

/// Frames of a capture, in order, with the bytes they lie in: what [`super::Reader::block`] read at once. It owns its
/// memory, so that it can be shared with other threads.
#[derive(Debug, Default)]
pub struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) places: Vec<Place>,
}

impl Block {
    /// The number of frames.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The frame at an index.
    #[must_use]
    #[inline]
    pub fn frame(&self, index: usize) -> Option<Frame<'_>> {
        self.places.get(index).map(|place| place.frame(&self.bytes))
    }

    /// All frames.
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        self.places.iter().map(|place| place.frame(&self.bytes))
    }

    /// Forgets the frames; their memory is kept for the next ones.
    pub fn clear(&mut self) {
        self.places.clear();
    }
}
