//! Who lives where in a range: addresses reserved for documentation, so that nothing here can name a real host
//! (RFC 5737 TEST-NET-1 to 3, RFC 3849).

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Everybody else: clients and attackers. 198.51.100.0/24 (TEST-NET-2) and 2001:db8:51::/64.
    Outside,
    /// What is protected: servers and workstations. 192.0.2.0/24 (TEST-NET-1) and 2001:db8::/64.
    Inside,
    /// Controllers and what operates them. 203.0.113.0/24 (TEST-NET-3) and 2001:db8:113::/64.
    Ot,
}

impl Segment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Outside, Self::Inside, Self::Ot];

    /// The name, as in scenario files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
            Self::Ot => "ot",
        }
    }

    /// The first three bytes of its IPv4 network.
    const fn network(self) -> [u8; 3] {
        match self {
            Self::Outside => [198, 51, 100],
            Self::Inside => [192, 0, 2],
            Self::Ot => [203, 0, 113],
        }
    }

    /// The third group of its IPv6 network.
    const fn network6(self) -> u16 {
        match self {
            Self::Outside => 0x51,
            Self::Inside => 0,
            Self::Ot => 0x113,
        }
    }

    /// The IPv4 address of host `number`.
    #[must_use]
    pub const fn host(self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.network();
        Ipv4Addr::new(a, b, c, number)
    }

    /// The IPv6 address of host `number`: the same decimal digits, so that both are recognised at sight (.110 is ::110).
    #[must_use]
    pub const fn host6(self, number: u8) -> Ipv6Addr {
        let number = number as u16;
        let digits = ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10);
        Ipv6Addr::new(0x2001, 0xdb8, self.network6(), 0, 0, 0, 0, digits)
    }

    /// The segment an address lies in.
    #[must_use]
    pub fn of(addr: IpAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|s| match addr {
            IpAddr::V4(a) => a.octets()[..3] == s.network(),
            IpAddr::V6(a) => a.segments()[..4] == [0x2001, 0xdb8, s.network6(), 0],
        })
    }
}

/// The number of the gateway in each segment.
pub const GATEWAY: u8 = 1;

/// The protected host.
pub const VICTIM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 110);
/// The protected host, IPv6.
pub const VICTIM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x110);
/// The ordinary client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 150);
/// The ordinary client, IPv6.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x150);
/// Attackers; each has a stack behind it that answers.
pub const ATTACKERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 0, 2, 201),
    Ipv4Addr::new(192, 0, 2, 202),
    Ipv4Addr::new(192, 0, 2, 203),
    Ipv4Addr::new(192, 0, 2, 204),
];
/// Attackers, IPv6.
pub const ATTACKERS6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x201),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x202),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x203),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x204),
];
/// A source address behind which nothing answers: what it opens stays half open, as with a real SYN flood tool.
pub const SILENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 222);

/// Prefix length of the IPv4 network.
pub const PREFIX_LEN: u8 = 24;
/// Prefix length of the IPv6 network.
pub const PREFIX_LEN6: u8 = 64;

/// MAC address of the victim's interface (locally administered).
pub const VICTIM_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x01, 0x10];
/// MAC address of the outside interface (locally administered).
pub const OUTSIDE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x01, 0x50];

/// Whether `addr` lies in one of a range's networks.
#[must_use]
pub fn is_lab(addr: IpAddr) -> bool {
    Segment::of(addr).is_some()
}

/// Where forged sources lie: the network for benchmarks, 198.18.0.0/15 (RFC 2544, appendix C.2.2).
pub const FORGED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Prefix length of [`FORGED`].
pub const FORGED_PREFIX_LEN: u8 = 15;

/// A MAC address in the usual notation.
#[must_use]
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_same_digits_in_both_versions_and_lies_in_its_segment() {
        for (segment, number, v4, v6) in [
            (Segment::Inside, 110, "192.0.2.110", "2001:db8::110"),
            (Segment::Outside, 9, "198.51.100.9", "2001:db8:51::9"),
            (Segment::Ot, 254, "203.0.113.254", "2001:db8:113::254"),
        ] {
            assert_eq!(segment.host(number).to_string(), v4);
            assert_eq!(segment.host6(number).to_string(), v6);
            assert_eq!(Segment::of(segment.host(number).into()), Some(segment));
            assert_eq!(Segment::of(segment.host6(number).into()), Some(segment));
        }
        assert_eq!((VICTIM, VICTIM6), (Segment::Inside.host(110), Segment::Inside.host6(110)));
    }

    #[test]
    fn other_networks_are_not_the_lab() {
        for addr in
            ["192.0.3.1", "198.51.101.1", "2001:db8:1::1", "2001:db8:0:1::1", "10.0.0.1", "::1", "198.18.0.1"]
        {
            assert!(!is_lab(addr.parse().expect("address")), "{addr}");
        }
    }
}
