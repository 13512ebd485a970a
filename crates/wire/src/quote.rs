//! The packet that an ICMP error quotes: whose traffic could not be delivered.
//!
//! Errors carry the IP header and at least the first 8 bytes behind it of the packet they are about (RFC 792, RFC 4443
//! §3.1): enough for the ports, and for the sequence number of a TCP segment. Quotes of later fragments, of IPv6 packets
//! with extension headers and of protocols other than TCP and UDP are not read.

use crate::Addr;
use crate::packet::protocol;

/// What of a quoted packet tells its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its source address.
    pub src: Addr,
    /// Its destination address.
    pub dst: Addr,
    /// Its source port.
    pub src_port: u16,
    /// Its destination port.
    pub dst_port: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// TCP sequence number; 0 for UDP.
    pub tcp_seq: u32,
}

/// Whether an ICMP or ICMPv6 error of this type and code says that its destination cannot be reached at all: RFC 792 type
/// 3 except "fragmentation needed" (code 4) and the codes on type of service (11, 12), RFC 4443 §3.1 type 1.
#[must_use]
pub const fn is_unreachable(protocol: u8, kind: u8, code: u8) -> bool {
    match (protocol, kind) {
        (protocol::ICMP, 3) => !matches!(code, 4 | 11 | 12),
        (protocol::ICMPV6, 1) => true,
        _ => false,
    }
}

/// The packet quoted by an ICMP (or, `v6`, ICMPv6) error with this payload: what follows the 8 bytes of its header.
#[must_use]
pub fn quote(v6: bool, payload: &[u8]) -> Option<Quote> {
    let (src, dst, protocol, transport) = if v6 {
        let h: &[u8; 40] = payload.first_chunk()?;
        let address = |at: usize| Some(Addr(*h.get(at..)?.first_chunk()?));
        (h[0] >> 4 == 6).then_some(())?;
        (address(8)?, address(24)?, h[6], payload.get(40..)?)
    } else {
        let h: &[u8; 20] = payload.first_chunk()?;
        let header = usize::from(h[0] & 0x0f) * 4;
        let later = u16::from_be_bytes([h[6], h[7]]) & 0x1fff != 0;
        (h[0] >> 4 == 4 && header >= 20 && !later).then_some(())?;
        let address = |at: usize| Some(Addr::v4(*h.get(at..)?.first_chunk()?));
        (address(12)?, address(16)?, h[9], payload.get(header..)?)
    };
    let t: &[u8; 8] = transport.first_chunk()?;
    let tcp_seq = match protocol {
        protocol::TCP => u32::from_be_bytes([t[4], t[5], t[6], t[7]]),
        protocol::UDP => 0,
        _ => return None,
    };
    let (src_port, dst_port) = (u16::from_be_bytes([t[0], t[1]]), u16::from_be_bytes([t[2], t[3]]));
    Some(Quote { src, dst, src_port, dst_port, protocol, tcp_seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: [u8; 8] = [0x9c, 0x40, 0, 22, 1, 2, 3, 4];

    fn v4(first: u8, fragment: u8, protocol: u8) -> Vec<u8> {
        let mut h = vec![first, 0, 0, 60, 0, 1, 0, fragment, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        h.resize(usize::from(first & 0x0f) * 4, 0);
        h
    }

    #[test]
    fn quotes_are_read_and_what_is_none_is_not() {
        let (src, dst) = (Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]));
        let quoted = Quote { src, dst, src_port: 40_000, dst_port: 22, protocol: 6, tcp_seq: 0x0102_0304 };
        let check = |v6: bool, header: Vec<u8>, expected: Option<Quote>| {
            let whole = [header, TCP.to_vec()].concat();
            assert_eq!(quote(v6, &whole), expected, "{whole:?}");
            for n in 0..whole.len() {
                assert_eq!(quote(v6, &whole[..n]), None, "cut at {n}");
            }
        };
        check(false, v4(0x45, 0, 6), Some(quoted));
        check(false, v4(0x47, 0, 6), Some(quoted));
        check(false, v4(0x45, 0, 17), Some(Quote { protocol: 17, tcp_seq: 0, ..quoted }));
        check(false, v4(0x45, 9, 6), None);
        check(false, v4(0x45, 0, 1), None);
        check(false, v4(0x65, 0, 6), None);
        let mut h = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        h.extend([0x20; 16]);
        h.extend([0x30; 16]);
        let (src, dst) = (Addr([0x20; 16]), Addr([0x30; 16]));
        check(true, h.clone(), Some(Quote { src, dst, ..quoted }));
        h[6] = 44;
        check(true, h, None);
    }

    #[test]
    fn only_errors_about_reaching_count() {
        let yes = [(1, 3, 0), (1, 3, 3), (1, 3, 13), (58, 1, 0), (58, 1, 4)];
        let no = [(1, 3, 4), (1, 3, 11), (1, 11, 0), (1, 8, 0), (58, 2, 0), (58, 3, 0), (6, 3, 3)];
        for ((p, kind, code), expected) in yes.map(|e| (e, true)).into_iter().chain(no.map(|e| (e, false))) {
            assert_eq!(is_unreachable(p, kind, code), expected, "{p} {kind} {code}");
        }
    }
}
