//! As much of DER (ITU-T X.690) as Kerberos needs: elements with one-byte tags and definite lengths.
//!
//! Nothing here recurses: who reads a structure opens its elements one by one, so the depth is that of the code.

use crate::message::bytes;

/// SEQUENCE and SEQUENCE OF.
pub(super) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
/// GeneralString, of which KerberosString is a restriction (RFC 4120 §5.2.1).
const GENERAL_STRING: u8 = 0x1b;
/// Most bytes of a length. Three hold 16 MB, above anything a message may have.
const MAX_LENGTH_BYTES: usize = 4;

/// Bytes not yet opened. Elements are taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// The next element, its tag and content; `None` at the end, and where the bytes are no element that fits.
    ///
    /// The lengths need not be minimal: implementations that are lax are common, and what they say is plain.
    pub(super) fn next(&mut self) -> Option<(u8, Self)> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        // A tag number above 30 takes more bytes; Kerberos has none.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match *first {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let count = usize::from(long & 0x7f);
                if count == 0 || count > MAX_LENGTH_BYTES {
                    return None;
                }
                let (digits, rest) = rest.split_at_checked(count)?;
                (digits.iter().fold(0, |sum: usize, b| sum << 8 | usize::from(*b)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, Self(content)))
    }

    /// The content of the next element if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Self> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// Whether all is opened.
    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// An INTEGER of at most four bytes.
    pub(super) fn integer(mut self) -> Option<i32> {
        let digits = self.expect(INTEGER)?.0;
        let (first, rest) = digits.split_first()?;
        if rest.len() > 3 {
            return None;
        }
        // The first byte carries the sign.
        let first = i32::from(i8::from_be_bytes([*first]));
        Some(rest.iter().fold(first, |sum, b| sum << 8 | i32::from(*b)))
    }

    /// What an OCTET STRING holds.
    pub(super) fn octets(mut self) -> Option<Self> {
        self.expect(OCTETS)
    }

    /// A KerberosString, at most `most` bytes of it.
    pub(super) fn text(mut self, most: usize) -> Option<Box<str>> {
        self.expect(GENERAL_STRING).map(|content| bytes::text(content.0, most))
    }
}

/// Opens a SEQUENCE and hands each field, by the number of its context tag, to `take`; `None` where the encoding is broken or
/// `take` says so.
pub(super) fn fields<'a>(mut of: Der<'a>, mut take: impl FnMut(u8, Der<'a>) -> Option<()>) -> Option<()> {
    let mut inner = of.expect(SEQUENCE)?;
    while !inner.is_empty() {
        let (tag, content) = inner.next()?;
        // Constructed and context-specific.
        if tag & 0xe0 != 0xa0 {
            return None;
        }
        take(tag & 0x1f, content)?;
    }
    Some(())
}

/// Opens a SEQUENCE OF and hands each element, tag and all, to `take`, at most `most` of them.
pub(super) fn each<'a>(
    mut of: Der<'a>,
    most: usize,
    mut take: impl FnMut(Der<'a>) -> Option<()>,
) -> Option<()> {
    let mut inner = of.expect(SEQUENCE)?;
    for _ in 0..most {
        let before = inner.0;
        if inner.is_empty() {
            break;
        }
        inner.next()?;
        let element = before.get(..before.len() - inner.0.len())?;
        take(Der(element))?;
    }
    Some(())
}
