//! Addresses and prefixes as lists write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Shortest IPv4 prefix taken from a list: nobody owns more than a /8, and a mistake of one would be everybody.
const MIN_V4_LEN: u8 = 8;
/// Shortest IPv6 prefix taken from a list: registries give providers /19 at the most.
const MIN_V6_LEN: u8 = 19;

/// A prefix with all bits beyond its length zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

/// Why a text or prefix is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address or prefix.
    #[error("not an address or prefix")]
    Syntax,
    /// So short that it would name half the world.
    #[error("wider than /{MIN_V4_LEN} (IPv6: /{MIN_V6_LEN})")]
    TooWide,
    /// Private, loopback, link-local, multicast or reserved: nobody out there has such an address.
    #[error("not a public address")]
    NotPublic,
}

impl Prefix {
    /// Makes one; bits beyond `len` are cleared, as lists are careless about them, and IPv4 in IPv6 becomes IPv4.
    ///
    /// # Errors
    /// [`PrefixError::Syntax`] if the address has no such length.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        match addr {
            IpAddr::V4(a) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Ok(Self { addr: IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask)), len })
            }
            IpAddr::V6(a) if len <= 128 => match a.to_ipv4_mapped() {
                Some(v4) if len >= 96 => Self::new(IpAddr::V4(v4), len - 96),
                _ => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                    Ok(Self { addr: IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask)), len })
                }
            },
            _ => Err(PrefixError::Syntax),
        }
    }

    /// One address.
    #[must_use]
    pub fn host(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        Self { addr, len: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// Reads an address or prefix, such as `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`.
    ///
    /// # Errors
    /// [`PrefixError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let Some((addr, len)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| PrefixError::Syntax);
        };
        let addr = addr.parse().map_err(|_| PrefixError::Syntax)?;
        let digits = len.len() <= 3 && len.bytes().all(|b| b.is_ascii_digit());
        let len = len.parse().ok().filter(|_| digits).ok_or(PrefixError::Syntax)?;
        Self::new(addr, len)
    }

    /// First address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Bits that count.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a prefix is never empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether a list may name it.
    ///
    /// # Errors
    /// [`PrefixError::TooWide`] or [`PrefixError::NotPublic`].
    pub fn listable(self) -> Result<Self, PrefixError> {
        let special = match self.addr {
            IpAddr::V4(a) => SPECIAL_V4.iter().any(|(start, len)| {
                self.len >= *len && (a.to_bits() ^ start).leading_zeros() >= u32::from(*len)
            }),
            // Only 2000::/3 has been given out (RFC 4291 §2.4, IANA).
            IpAddr::V6(a) => self.len >= 3 && a.to_bits() >> 125 != 1,
        };
        let shortest = if self.addr.is_ipv4() { MIN_V4_LEN } else { MIN_V6_LEN };
        if special {
            Err(PrefixError::NotPublic)
        } else if self.len < shortest {
            Err(PrefixError::TooWide)
        } else {
            Ok(self)
        }
    }
}

/// IPv4 networks that are not public (IANA's registry of special-purpose addresses, RFC 6890). Those for documentation and
/// benchmarks are left out: no real packet has them, and laboratories play the outside with them.
const SPECIAL_V4: [(u32, u8); 8] = [
    (0x0000_0000, 8),  // this network
    (0x0a00_0000, 8),  // private
    (0x6440_0000, 10), // behind a provider's NAT
    (0x7f00_0000, 8),  // loopback
    (0xa9fe_0000, 16), // link-local
    (0xac10_0000, 12), // private
    (0xc0a8_0000, 16), // private
    (0xe000_0000, 3),  // multicast, and what is reserved beyond it
];

/// Whether an address is one that the world may know: not private, loopback, link-local, multicast or reserved.
#[must_use]
pub fn is_public(addr: IpAddr) -> bool {
    Prefix::host(addr).listable().is_ok()
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let full = if self.addr.is_ipv4() { 32 } else { 128 };
        if self.len == full { self.addr.fmt(f) } else { write!(f, "{}/{}", self.addr, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_as_lists_write_them() {
        let check = |text: &str, expected: Result<&str, PrefixError>| {
            let got = Prefix::parse(text).and_then(Prefix::listable).map(|p| p.to_string());
            assert_eq!(got.as_deref().map_err(|e| *e), expected, "{text}");
        };
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("198.51.100.7/24", "198.51.100.0/24"),
            ("8.0.0.0/8", "8.0.0.0/8"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8:1::/32", "2001:db8::/32"),
            ("172.15.255.255", "172.15.255.255"),
            ("172.32.0.0/16", "172.32.0.0/16"),
        ] {
            check(text, Ok(expected));
        }
        for text in
            ["", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+8", "::/129", "1.2.3.4/0x8", "01.2.3.4"]
        {
            check(text, Err(PrefixError::Syntax));
        }
        for text in [
            "10.1.2.3",
            "10.0.0.0/8",
            "127.0.0.1",
            "0.0.0.0/8",
            "169.254.1.1",
            "172.16.0.0/12",
            "172.31.255.255",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "224.0.0.0/3",
            "224.0.0.5",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::/7",
            "ff02::1",
        ] {
            check(text, Err(PrefixError::NotPublic));
        }
        for text in ["0.0.0.0/0", "128.0.0.0/1", "4.0.0.0/7", "::/0", "2000::/3", "2001::/18"] {
            check(text, Err(PrefixError::TooWide));
        }
    }
}
