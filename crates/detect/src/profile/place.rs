//! Where an address belongs.

use std::net::IpAddr;
use wire::Addr;

/// Whether the address is one that networks use inside: RFC 1918, RFC 6598, loopback, link-local, and IPv6 unique local.
///
/// A host with a public address of its own counts as outside; what profiles say of hosts inside does not hold for it.
pub(crate) fn is_inside(addr: Addr) -> bool {
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
        for (addr, inside) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(addr.parse().map(is_inside), Ok(inside), "{addr}");
        }
    }
}
