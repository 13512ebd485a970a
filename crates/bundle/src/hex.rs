//! Bytes as hexadecimal digits, and back.

/// Lower-case digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The bytes of exactly `2 N` digits of either case, with white space around them or not.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim().as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let mut out = [0; N];
    for (place, pair) in out.iter_mut().zip(text.chunks(2)) {
        let [high, low] = pair else { return None };
        *place = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_read_back() {
        assert_eq!(encode(&[0, 0x9f, 0xff]), "009fff");
        assert_eq!(decode::<3>(" 009Fff\n"), Some([0, 0x9f, 0xff]));
        for wrong in ["009ff", "009fffff", "00 9ff", "+09fff", ""] {
            assert_eq!(decode::<3>(wrong), None, "{wrong}");
        }
    }
}
