//! Shapes of binary protocols that recognition tests for: fields that must agree with each other and with the length.

use super::super::bytes::{be16, be32};

/// How much of a shape is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All that is tested.
    Yes,
    /// As far as the bytes go.
    SoFar,
    /// It is something else.
    No,
}

/// A DNS message of `length` bytes, the first of which are `bytes`: an assigned opcode, a reserved bit of zero, counts of
/// sections that people send, and a first name, type and class that can be.
pub(super) fn dns(bytes: &[u8], length: usize) -> Fit {
    const HEADER: usize = 12;
    let half = |at| be16(bytes, at).unwrap_or_default();
    let (flags, questions) = (half(2), half(4));
    let records = [half(6), half(8), half(10)].map(u32::from);
    let response = flags & 0x8000 != 0;
    let opcode = flags >> 11 & 0xf;
    let plausible = matches!(opcode, 0 | 4 | 5) && flags & 0x0040 == 0 && (response || flags & 0x000f == 0);
    if !plausible || length < HEADER {
        return Fit::No;
    }
    if bytes.len() < HEADER {
        return Fit::SoFar;
    }
    // Multicast queries ask many things at once.
    let plausible = (questions <= 1 || questions <= 32 && opcode == 0)
        && (u32::from(questions) + records.iter().sum::<u32>()) as usize * 5 + HEADER <= length
        && (questions > 0 || response && records.iter().any(|n| *n > 0));
    if !plausible {
        return Fit::No;
    }
    let mut at = HEADER;
    loop {
        match bytes.get(at) {
            None => return if at < length { Fit::SoFar } else { Fit::No },
            Some(0) => break at += 1,
            Some(&n @ 1..=63) => {
                at += usize::from(n) + 1;
                if at > HEADER + 255 {
                    return Fit::No;
                }
            }
            Some(_) => return Fit::No,
        }
    }
    let (Some(rtype), Some(class)) = (be16(bytes, at), be16(bytes, at + 2)) else {
        return if at + 4 <= length { Fit::SoFar } else { Fit::No };
    };
    // The top bit of the class is multicast DNS's.
    if rtype != 0 && matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255) { Fit::Yes } else { Fit::No }
}

/// A DNS header alone: enough where the port says DNS too.
pub(super) fn dns_header(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && be16(bytes, 2).is_some_and(|flags| flags >> 11 & 0xf <= 6 && flags & 0x0040 == 0)
}

/// A first-level encoded NetBIOS name (RFC 1001 §14.1) at `at`: 32 letters from A to P behind their count.
pub(super) fn netbios_name(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 34).is_some_and(|name| {
        name.first() == Some(&32)
            && name.get(1..33).is_some_and(|n| n.iter().all(|b| matches!(b, b'A'..=b'P')))
    })
}

/// A BER element at `at`: its tag, where its content begins, and how long that is. Lengths of up to four bytes.
pub(super) fn ber(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let (tag, first) = (*bytes.get(at)?, *bytes.get(at + 1)?);
    if first < 0x80 {
        return Some((tag, at + 2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = bytes.get(at + 2..at + 2 + count)?.iter().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
    Some((tag, at + 2 + count, length))
}

/// The tag of the operation in an LDAP message, RFC 4511 §4.1.1.
pub(super) fn ldap(bytes: &[u8]) -> Option<u8> {
    let (0x30, body, length) = ber(bytes, 0)? else { return None };
    let (2, id, size @ 1..=4) = ber(bytes, body)? else { return None };
    let (tag, begin, inner) = ber(bytes, id + size)?;
    (matches!(tag, 0x42 | 0x4a | 0x50 | 0x60..=0x7f) && begin + inner <= body + length).then_some(tag)
}

/// A Kerberos message, RFC 4120 §5.10: an application tag, a sequence, and version 5.
pub(super) fn kerberos(bytes: &[u8]) -> bool {
    let test = || {
        let (tag, body, length) = ber(bytes, 0)?;
        let (0x30, inner, rest) = ber(bytes, body)? else { return None };
        let (version @ (0xa0 | 0xa1), number, 3) = ber(bytes, inner)? else { return None };
        let five = bytes.get(number..number + 3)? == [2, 1, 5];
        let fits = inner + rest <= body + length && matches!(tag, 0x6a..=0x6f | 0x74..=0x76 | 0x7e);
        Some(five && fits && (version == 0xa1) == matches!(tag, 0x6a | 0x6c))
    };
    test().unwrap_or(false)
}

/// An SNMP message of version 1, 2c or 3, RFC 3416 §3 and RFC 3412 §6, as long as it says.
pub(super) fn snmp(bytes: &[u8]) -> bool {
    let test = || {
        let (0x30, body, length) = ber(bytes, 0)? else { return None };
        let (2, version, 1) = ber(bytes, body)? else { return None };
        let (tag, begin, size) = ber(bytes, version + 1)?;
        let inner = match *bytes.get(version)? {
            // The community, then a PDU.
            0 | 1 => tag == 4 && matches!(*bytes.get(begin + size)?, 0xa0..=0xa8),
            // Global data begins with the message's number.
            3 => tag == 0x30 && *bytes.get(begin)? == 2,
            _ => false,
        };
        Some(inner && body + length == bytes.len())
    };
    test().unwrap_or(false)
}

/// A DCE/RPC header of 16 bytes, C706 §12.6.3: version 5, a type, a data representation that exists, lengths that fit.
pub(super) fn dcerpc(bytes: &[u8]) -> Fit {
    let known = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|b| test(*b));
    let fits = known(0, |b| b == 5)
        && known(1, |b| b <= 1)
        && known(2, |b| b <= 19)
        && known(4, |b| matches!(b, 0 | 1 | 0x10 | 0x11))
        && known(5, |b| b <= 3)
        && known(6, |b| b == 0)
        && known(7, |b| b == 0);
    let half = |at: usize| {
        let pair = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if bytes.get(4)? & 0xf0 == 0 { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    match (half(8), half(10)) {
        _ if !fits => Fit::No,
        (Some(length), Some(auth)) => {
            if length >= 16 && u32::from(auth) + 16 <= u32::from(length) {
                Fit::Yes
            } else {
                Fit::No
            }
        }
        _ => Fit::SoFar,
    }
}

/// The SMB magic behind a NetBIOS session header (RFC 1002 §4.3.1) at `at`.
pub(super) fn smb(bytes: &[u8], at: usize) -> Fit {
    let Some(head) = bytes.get(at..) else { return Fit::SoFar };
    let known = |i: usize, test: fn(u8) -> bool| head.get(i).is_none_or(|b| test(*b));
    let fits = known(0, |b| b == 0)
        && known(4, |b| b >= 0xfc)
        && known(5, |b| b == b'S')
        && known(6, |b| b == b'M')
        && known(7, |b| b == b'B');
    match be32(head, 0) {
        _ if !fits => Fit::No,
        Some(length) if length < 32 => Fit::No,
        _ if head.len() < 8 => Fit::SoFar,
        _ => Fit::Yes,
    }
}
