//! The window of the file that is in memory.

use super::CaptureError;
use std::io::{ErrorKind, Read};

/// What is read at a time, bytes: stays in the second-level cache together with the flow table's hot part, and is large
/// enough that system calls do not show.
pub(super) const CHUNK: usize = 128 * 1024;

/// A growing window over a stream. It holds at most twice what was asked for at once, and grows only as bytes really
/// arrive, so a length field alone cannot make it allocate.
pub(super) struct Buffer<R> {
    source: R,
    /// What is read at a time, bytes.
    chunk: usize,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// File offset of `start`.
    offset: u64,
    /// Nothing may move or be read: what lies before `start` is still wanted.
    held: bool,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(source: R, chunk: usize) -> Self {
        Self { source, chunk, bytes: vec![0; chunk], start: 0, end: 0, offset: 0, held: false }
    }

    /// File offset of the next unread byte.
    #[inline]
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes `count` unread bytes available and returns all that are; fewer are there only if the stream has ended or the
    /// window is held.
    #[inline]
    pub(super) fn need(&mut self, count: usize) -> Result<&[u8], CaptureError> {
        if self.end - self.start < count {
            self.fill(count)?;
        }
        Ok(&self.bytes[self.start..self.end])
    }

    /// Steps over `count` bytes, or as many as are in memory, and returns where the first of them is in [`Self::bytes`].
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> usize {
        let from = self.start;
        self.start = (from + count).min(self.end);
        self.offset += (self.start - from) as u64;
        from
    }

    /// All of the window. What was taken stays in its place until [`Self::need`] is called, unless the window is held.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps what is taken in its place, or no longer.
    pub(super) const fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Exchanges the window for `other`, into which what is unread is moved.
    pub(super) fn exchange(&mut self, other: &mut Vec<u8>) {
        let unread = &self.bytes[self.start..self.end];
        other.resize(self.chunk.max(unread.len()), 0);
        // One long record must not make every window of its length.
        other.shrink_to(self.chunk);
        if let Some(room) = other.get_mut(..unread.len()) {
            room.copy_from_slice(unread);
        }
        self.end -= self.start;
        self.start = 0;
        std::mem::swap(&mut self.bytes, other);
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    #[cold]
    fn fill(&mut self, count: usize) -> Result<(), CaptureError> {
        if self.held {
            return Ok(());
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < count {
            if self.end == self.bytes.len() {
                let longer = count.min(self.bytes.len() * 2);
                self.bytes.resize(longer, 0);
            }
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Ok(()),
                // A reader that claims more than it was given room for breaks its own contract; it gains nothing.
                Ok(n) => self.end = (self.end + n).min(self.bytes.len()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(CaptureError::Io { offset: self.offset + self.end as u64, source });
                }
            }
        }
        Ok(())
    }
}
