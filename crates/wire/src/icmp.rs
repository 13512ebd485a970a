//! The two-way ICMP message types, which give an ICMP exchange its pair of "ports".
//!
//! Community ID v1 (as Zeek before it) lets the type of a message stand for its source port and the type of the
//! message that answers it for its destination port. Request and reply then share one flow key, as both directions of
//! a TCP connection do. Types outside these tables are one-way: type and code stand for the ports, and the two
//! directions are different flows.

use crate::packet::protocol;

/// ICMPv4 pairs of request and reply type: echo (RFC 792), router solicitation and advertisement (RFC 1256),
/// timestamp, information (RFC 792), address mask (RFC 950).
pub const PAIRS_V4: [(u8, u8); 5] = [(8, 0), (10, 9), (13, 14), (15, 16), (17, 18)];

/// ICMPv6 pairs of request and reply type: echo (RFC 4443), multicast listener query and report (RFC 2710), router
/// and neighbour solicitation and advertisement (RFC 4861), node information (RFC 4620), home agent address
/// discovery (RFC 6275).
pub const PAIRS_V6: [(u8, u8); 6] = [(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)];

/// The type that answers (or asks for) ICMP type `kind`, where `protocol` is ICMP or ICMPv6 and the type is two-way.
/// `None` for one-way types and for every other protocol.
#[must_use]
#[inline]
pub const fn icmp_counterpart(protocol: u8, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (protocol::ICMP, 8) => Some(0),
        (protocol::ICMP, 0) => Some(8),
        (protocol::ICMP, 9) => Some(10),
        (protocol::ICMP, 10) => Some(9),
        (protocol::ICMP, 13 | 15 | 17) | (protocol::ICMPV6, 128 | 130 | 144) => Some(kind + 1),
        (protocol::ICMP, 14 | 16 | 18) | (protocol::ICMPV6, 129 | 131 | 145) => Some(kind - 1),
        (protocol::ICMPV6, 133 | 135 | 139) => Some(kind + 1),
        (protocol::ICMPV6, 134 | 136 | 140) => Some(kind - 1),
        _ => None,
    }
}

/// Whether ICMP type `kind` tells of an error, so that it answers a packet of whoever it is sent to, which it quotes: of
/// ICMP destination unreachable, source quench, redirect, time exceeded and parameter problem (RFC 792, RFC 1122 §3.2.2), of
/// ICMPv6 the types below 128 (RFC 4443 §2.1).
#[must_use]
#[inline]
pub const fn is_icmp_error(protocol: u8, kind: u8) -> bool {
    match protocol {
        protocol::ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
        protocol::ICMPV6 => kind < 128,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counterparts_are_exactly_the_tables() {
        for (protocol, pairs) in [(protocol::ICMP, &PAIRS_V4[..]), (protocol::ICMPV6, &PAIRS_V6[..])] {
            for kind in 0..=255 {
                let expected = pairs.iter().find_map(|&(request, reply)| match kind {
                    k if k == request => Some(reply),
                    k if k == reply => Some(request),
                    _ => None,
                });
                assert_eq!(icmp_counterpart(protocol, kind), expected, "protocol {protocol} type {kind}");
            }
        }
        assert_eq!(icmp_counterpart(protocol::TCP, 8), None);
    }

    #[test]
    fn errors_are_told_from_questions() {
        for (protocol, kind, expected) in [
            (protocol::ICMP, 3, true),
            (protocol::ICMP, 11, true),
            (protocol::ICMP, 8, false),
            (protocol::ICMP, 0, false),
            (protocol::ICMPV6, 1, true),
            (protocol::ICMPV6, 128, false),
            (protocol::UDP, 3, false),
        ] {
            assert_eq!(is_icmp_error(protocol, kind), expected, "{protocol} {kind}");
        }
    }
}
