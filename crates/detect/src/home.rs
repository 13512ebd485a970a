//! Which addresses are ours.

use std::net::IpAddr;
use wire::Addr;

/// Addresses that count as inside: those that networks use for themselves (RFC 1918, RFC 6598, loopback, link-local, IPv6
/// unique local), and prefixes named beside them, such as a server's own public address. What leaves the inside is an
/// upload or a call home; what stays there is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    prefixes: Vec<(Addr, u8)>,
}

impl Home {
    /// Adds a prefix: `bits` of `addr` count, from 0 to 128, an IPv4 prefix counted from the mapped address (96 more).
    pub fn add(&mut self, addr: Addr, bits: u8) {
        self.prefixes.push((addr, bits.min(128)));
    }

    /// Whether `addr` is inside.
    #[must_use]
    pub fn contains(&self, addr: Addr) -> bool {
        is_private(addr) || self.prefixes.iter().any(|(prefix, bits)| covers(*prefix, *bits, addr))
    }
}

fn covers(prefix: Addr, bits: u8, addr: Addr) -> bool {
    let differ = u128::from_be_bytes(prefix.0) ^ u128::from_be_bytes(addr.0);
    bits == 0 || differ >> (128 - u32::from(bits)) == 0
}

fn is_private(addr: Addr) -> bool {
    match addr.ip() {
        IpAddr::V4(a) => {
            let [b0, b1, ..] = a.octets();
            a.is_private() || a.is_loopback() || a.is_link_local() || (b0 == 100 && b1 & 0xc0 == 64)
        }
        IpAddr::V6(a) => a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local(),
    }
}

/// Whether the address stands for one host on some network: not unspecified, multicast or broadcast.
pub(crate) fn is_host(addr: Addr) -> bool {
    !addr.is_multicast() && !addr.ip().is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_and_outside() {
        let mut home = Home::default();
        home.add(Addr::v4([203, 0, 113, 0]), 96 + 24);
        home.add("2001:db8:1::1".parse().unwrap(), 128);
        for (addr, inside) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("203.0.113.77", true),
            ("203.0.114.1", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("2001:db8:1::1", true),
            ("2001:db8:1::2", false),
        ] {
            assert_eq!(addr.parse().map(|a| home.contains(a)), Ok(inside), "{addr}");
        }
        home.add(Addr::UNSPECIFIED, 0);
        assert!(home.contains(Addr::v4([8, 8, 8, 8])));
    }
}
