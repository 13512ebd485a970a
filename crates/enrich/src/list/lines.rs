//! Lists of one address or prefix a line.

use super::{ListError, Parsed};
use crate::Prefix;

/// Longest line looked at, bytes: an address with a remark is far shorter, and what is longer is no list.
const MAX_LINE: usize = 1024;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// An address or prefix; what follows after a blank or comma is ignored.
    Address,
    /// An address and how many lists have it.
    AddressAndCount,
}

/// How sure ipsum is of an address on `count` of its source lists, percent: each taken as right with probability 0.3,
/// independently, 1 − 0.7^count. One list gives 30, three (the least its authors advise to block on) 66, eight 94.
fn ipsum_strength(count: u32) -> u8 {
    let wrong = 0.7_f64.powi(i32::try_from(count.min(100)).unwrap_or(100));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=100")]
    let strength = ((1.0 - wrong) * 100.0).round() as u8;
    strength
}

pub(super) fn parse(bytes: &[u8], columns: Columns) -> Result<Parsed, ListError> {
    let mut parsed = Parsed::default();
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        if line.len() > MAX_LINE {
            parsed.skips.note(number, format_args!("longer than {MAX_LINE} bytes"));
            continue;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            parsed.skips.note(number, "not UTF-8");
            continue;
        };
        // Some editors begin a file with a byte order mark.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let said = line.split(['#', ';']).next().unwrap_or("").trim();
        if said.is_empty() {
            continue;
        }
        let mut fields = said.split(|c: char| c.is_whitespace() || c == ',').filter(|f| !f.is_empty());
        let address = fields.next().unwrap_or("");
        let strength = match columns {
            Columns::Address => 100,
            Columns::AddressAndCount => match fields.next().and_then(|c| c.parse().ok()) {
                Some(count) if count > 0 => ipsum_strength(count),
                _ => {
                    parsed.skips.note(number, "no count of lists after the address");
                    continue;
                }
            },
        };
        parsed.add(number, Prefix::parse(address), strength, None);
    }
    parsed.finished()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_grows_with_the_count() {
        for (count, strength) in [(1, 30), (2, 51), (3, 66), (8, 94), (10, 97), (u32::MAX, 100)] {
            assert_eq!(ipsum_strength(count), strength, "{count}");
        }
    }
}
