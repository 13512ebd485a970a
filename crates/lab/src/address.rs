//! Who lives where in the range and in the scenarios: addresses reserved for documentation, so that nothing here can
//! name a real host (RFC 5737 TEST-NET-1, RFC 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether `addr` lies in the range's networks.
#[must_use]
pub fn is_lab(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => a.octets()[..3] == VICTIM.octets()[..3],
        IpAddr::V6(a) => a.segments()[..4] == VICTIM6.segments()[..4],
    }
}

/// A MAC address in the usual notation.
#[must_use]
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}
