//! Looking into bytes from the network: integers, a scan by eight, and text that is bounded and valid.

/// Two bytes at `at` in network order.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Four bytes at `at` in network order.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// Two bytes at `at`, the lowest first.
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// Four bytes at `at`, the lowest first.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// An IPv4 address at `at`.
pub(super) fn v4(bytes: &[u8], at: usize) -> Option<crate::Addr> {
    bytes.get(at..)?.first_chunk().map(|b| crate::Addr::v4(*b))
}

/// At most `most` bytes as text, what is not UTF-8 replaced.
pub(super) fn text(bytes: &[u8], most: usize) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into()
}

/// As [`text`], ASCII letters in lower case.
pub(super) fn lower(bytes: &[u8], most: usize) -> Box<str> {
    let mut text = text(bytes, most);
    text.make_ascii_lowercase();
    text
}

/// The first byte at or after `from` that is less than `limit`, which is at most 128.
///
/// Eight bytes at a time: a byte borrows into its top bit exactly if it is below `limit`, and borrows from a byte reach
/// only bytes behind it, so the first mark is true.
pub(super) fn find_below(bytes: &[u8], from: usize, limit: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let tail = bytes.get(from..)?;
    let (eights, rest) = tail.as_chunks::<8>();
    for (i, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let marks = word.wrapping_sub(ONES * u64::from(limit)) & !word & (ONES * 0x80);
        if marks != 0 {
            return Some(from + i * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let behind = from + eights.len() * 8;
    rest.iter().position(|b| *b < limit).map(|i| behind + i)
}
