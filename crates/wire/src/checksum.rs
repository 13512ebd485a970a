//! The Internet checksum, RFC 1071.

use crate::Addr;

/// Checksum over `parts` laid end to end; all but the last must have even lengths. 0 over data that contains its
/// correct checksum.
#[must_use]
pub fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        let words = part.chunks_exact(2);
        if let [last] = words.remainder() {
            sum += u64::from(*last) << 8;
        }
        sum += words.map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum::<u64>();
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Checksum of a transport segment with its pseudo header: that of IPv4 (RFC 9293 §3.1) if both addresses are IPv4,
/// else that of IPv6 (RFC 8200 §8.1).
#[must_use]
pub fn transport(src: Addr, dst: Addr, protocol: u8, segment: &[u8]) -> u16 {
    let len = (segment.len() as u32).to_be_bytes();
    let tail = [len[0], len[1], len[2], len[3], 0, 0, 0, protocol];
    if src.is_v4() && dst.is_v4() {
        internet(&[&src.0[12..], &dst.0[12..], &tail, segment])
    } else {
        internet(&[&src.0, &dst.0, &tail, segment])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_rfc() {
        // RFC 1071 §3: the sum is ddf2, of which the checksum is the complement.
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(internet(&[&[0xab]]), !0xab00);
        assert_eq!(internet(&[]), 0xffff);
    }
}
