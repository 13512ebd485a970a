//! CIDR prefixes over both IP versions.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use wire::Addr;

/// An address prefix; host bits are zero (those given are cleared). `len` counts within the address's own version: 0..=32 for IPv4, 0..=128 for
/// IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: Addr,
    len: u8,
}

/// Why a text or a pair is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address.
    #[error("'{0}' is not an IP address or CIDR prefix such as 192.0.2.7 or 2001:db8::/32")]
    Syntax(String),
    /// Length beyond the address's width.
    #[error("prefix length {0} is more than {1}")]
    Length(u8, u8),
}

impl Prefix {
    /// The prefix of `len` bits that contains `addr`; host bits are cleared.
    ///
    /// # Errors
    /// [`PrefixError::Length`] if `len` is beyond the version's width.
    pub fn new(addr: Addr, len: u8) -> Result<Self, PrefixError> {
        let (width, base) = if addr.is_v4() { (32, 96) } else { (128, 0) };
        if len > width {
            return Err(PrefixError::Length(len, width));
        }
        let mut bytes = addr.0;
        for (i, b) in bytes.iter_mut().enumerate() {
            let keep = (usize::from(len) + base).saturating_sub(i * 8).min(8);
            *b &= u8::try_from(0xff00_u16 >> keep & 0xff).unwrap_or(0);
        }
        Ok(Self { addr: Addr(bytes), len })
    }

    /// The prefix of exactly one address.
    #[must_use]
    pub fn host(addr: Addr) -> Self {
        Self { addr, len: if addr.is_v4() { 32 } else { 128 } }
    }

    /// First address.
    #[must_use]
    pub const fn addr(&self) -> Addr {
        self.addr
    }

    /// Length in bits, within the address's own version.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether the prefix is every address of its version.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `addr` lies inside.
    #[must_use]
    pub fn contains(&self, addr: Addr) -> bool {
        addr.is_v4() == self.addr.is_v4() && Self::new(addr, self.len).is_ok_and(|p| p.addr == self.addr)
    }

    /// Whether every address of `other` lies inside.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// Last address.
    #[must_use]
    pub fn last(&self) -> Addr {
        let base = if self.addr.is_v4() { 96 } else { 0 };
        let mut bytes = self.addr.0;
        for (i, b) in bytes.iter_mut().enumerate() {
            let keep = (usize::from(self.len) + base).saturating_sub(i * 8).min(8);
            *b |= u8::try_from(0xff_u16 >> keep).unwrap_or(0);
        }
        Addr(bytes)
    }

    /// Whether the two share an address (one contains the other).
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.len <= other.len { self.contains(other.addr) } else { other.contains(self.addr) }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(s.to_owned());
        let (addr, len) = match s.split_once('/') {
            // `parse` alone would take a sign.
            Some((a, l)) if l.bytes().all(|b| b.is_ascii_digit()) => {
                (a, Some(l.parse::<u8>().map_err(|_| syntax())?))
            }
            Some(_) => return Err(syntax()),
            None => (s, None),
        };
        let addr: Addr = addr.parse().map_err(|_| syntax())?;
        len.map_or_else(|| Ok(Self::host(addr)), |len| Self::new(addr, len))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::host(self.addr) {
            self.addr.fmt(f)
        } else {
            write!(f, "{}/{}", self.addr, self.len)
        }
    }
}

impl Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Prefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prefix".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "IP address or CIDR prefix"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(s: &str) -> Prefix {
        s.parse().expect(s)
    }

    #[test]
    fn text_forms() {
        let check = |text: &str, expected: &str| {
            let got = text.parse::<Prefix>().map_or_else(|e| e.to_string(), |p| p.to_string());
            assert_eq!(got, expected, "{text}");
        };
        check("192.0.2.7", "192.0.2.7");
        check("192.0.2.7/32", "192.0.2.7");
        check("192.0.2.7/24", "192.0.2.0/24");
        check("192.0.2.255/31", "192.0.2.254/31");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("2001:db8::1", "2001:db8::1");
        check("2001:db8:ffff::1/33", "2001:db8:8000::/33");
        check("::/0", "::/0");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("192.0.2.7/33", "prefix length 33 is more than 32");
        check("2001:db8::/129", "prefix length 129 is more than 128");
        for bad in [
            "",
            "/",
            "192.0.2.7/",
            "192.0.2.7/+8",
            "192.0.2.7/-1",
            "192.0.2.7/256",
            "192.0.2",
            "x",
            "192.0.2.7/8/8",
        ] {
            assert!(matches!(bad.parse::<Prefix>(), Err(PrefixError::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn relations() {
        let check = |a: &str, b: &str, covers: bool, overlaps: bool| {
            let (a, b) = (p(a), p(b));
            assert_eq!(
                (a.covers(&b), a.overlaps(&b), b.overlaps(&a)),
                (covers, overlaps, overlaps),
                "{a} {b}"
            );
        };
        check("192.0.2.0/24", "192.0.2.9", true, true);
        check("192.0.2.9", "192.0.2.0/24", false, true);
        check("192.0.2.0/25", "192.0.2.128/25", false, false);
        check("192.0.2.0/24", "192.0.2.0/24", true, true);
        check("0.0.0.0/0", "255.255.255.255", true, true);
        check("::/0", "192.0.2.1", false, false);
        check("0.0.0.0/0", "::1", false, false);
        check("2001:db8::/32", "2001:db8:1::/48", true, true);
    }

    #[test]
    fn last_addresses() {
        for (prefix, last) in [
            ("192.0.2.0/24", "192.0.2.255"),
            ("192.0.2.7", "192.0.2.7"),
            ("0.0.0.0/0", "255.255.255.255"),
            ("2001:db8::/33", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(p(prefix).last().to_string(), last);
        }
    }
}
