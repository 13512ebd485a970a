//! Who is never blocked.

use crate::Prefix;
use serde::{Deserialize, Serialize};
use wire::Addr;

/// A prefix that no block may touch, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Allowed {
    /// Whom.
    pub prefix: Prefix,
    /// Why, in words that complete "is on the allowlist: …", such as `gateway of eth0`.
    pub why: String,
}

/// What is always allowed: no remote attacker has such a source address, and blocking one would hit this host itself.
///
/// Link-local addresses are not here: an attacker on the same link has one, and the gateway's is found by itself.
const ALWAYS: [(Addr, u8, &str); 7] = [
    (Addr::v4([127, 0, 0, 0]), 8, "loopback"),
    (Addr::v4([0, 0, 0, 0]), 8, "unspecified"),
    (Addr::v4([224, 0, 0, 0]), 4, "multicast"),
    (Addr::v4([255, 255, 255, 255]), 32, "broadcast"),
    (Addr::UNSPECIFIED, 128, "unspecified"),
    (Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), 128, "loopback"),
    (Addr([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 8, "multicast"),
];

/// The union of what is always allowed, what policy allows and what the caller found.
///
/// It has no capacity of its own and evicts nothing, since a forgotten entry would be an unprotected one: it is as long as the
/// lists it was made from, of which policy's is bounded by [`crate::policy::MAX_STATIC_ALLOW`].
#[derive(Clone, Debug)]
pub(crate) struct Allowlist(Vec<Allowed>);

impl Allowlist {
    pub(crate) fn new(policy: &[Prefix], given: &[Allowed]) -> Self {
        let always = ALWAYS.into_iter().filter_map(|(addr, len, why)| {
            Some(Allowed { prefix: Prefix::new(addr, len).ok()?, why: why.to_owned() })
        });
        let policy = policy.iter().map(|p| Allowed { prefix: *p, why: "configured".to_owned() });
        let mut all: Vec<_> = always.chain(policy).chain(given.iter().cloned()).collect();
        // Stable, so that of several reasons for one prefix the first in the order above stays.
        all.sort_by_key(|a| a.prefix);
        all.dedup_by_key(|a| a.prefix);
        Self(all)
    }

    /// The entry that `prefix` would touch: one that covers it rather than one inside it.
    pub(crate) fn touched_by(&self, prefix: &Prefix) -> Option<&Allowed> {
        let touched = || self.0.iter().filter(|a| a.prefix.overlaps(prefix));
        touched().find(|a| a.prefix.covers(prefix)).or_else(|| touched().next())
    }

    pub(crate) fn entries(&self) -> &[Allowed] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_allowed() {
        let list = Allowlist::new(&[], &[]);
        assert_eq!(list.entries().len(), ALWAYS.len());
        let check = |prefix: &str, expected: Option<&str>| {
            let prefix: Prefix = prefix.parse().expect("prefix");
            assert_eq!(list.touched_by(&prefix).map(|a| a.why.as_str()), expected, "{prefix}");
        };
        check("127.0.0.1", Some("loopback"));
        check("127.255.255.255", Some("loopback"));
        check("::1", Some("loopback"));
        check("0.0.0.0", Some("unspecified"));
        check("0.1.2.3", Some("unspecified"));
        check("::", Some("unspecified"));
        check("224.0.0.251", Some("multicast"));
        check("239.255.255.250", Some("multicast"));
        check("255.255.255.255", Some("broadcast"));
        check("ff02::1", Some("multicast"));
        check("0.0.0.0/0", Some("unspecified"));
        check("::/0", Some("unspecified"));
        check("126.0.0.0/7", Some("loopback"));
        check("128.0.0.0/2", None);
        check("192.0.2.1", None);
        check("fe80::1", None);
        check("2001:db8::/32", None);
    }

    #[test]
    fn covering_entry_is_named_first() {
        let allowed = |prefix: &str, why: &str| Allowed {
            prefix: prefix.parse().expect("prefix"),
            why: why.to_owned(),
        };
        let list = Allowlist::new(
            &["198.51.100.0/24".parse().expect("prefix")],
            &[
                allowed("203.0.113.5", "gateway of eth0"),
                allowed("203.0.113.5", "again"),
                allowed("198.51.100.9", "DNS server"),
            ],
        );
        let why = |prefix: &str| list.touched_by(&prefix.parse().expect("prefix")).map(|a| a.why.as_str());
        assert_eq!(why("203.0.113.5"), Some("gateway of eth0"));
        assert_eq!(why("203.0.113.0/24"), Some("gateway of eth0"));
        assert_eq!(why("198.51.100.9"), Some("configured"));
        assert_eq!(why("203.0.113.6"), None);
    }
}
