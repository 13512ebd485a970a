//! Clients that did no wrong, and how many of them blocks hit.

use crate::aged::Aged;
use crate::{Prefix, Refusal};
use wire::Addr;

/// Known-good clients remembered; beyond, the one seen longest ago is forgotten. So many hits too.
pub(crate) const MAX_KNOWN_GOOD: usize = 16_384;

/// Known-good clients of the window, and those among them that were blocked within it.
#[derive(Clone, Debug)]
pub(crate) struct KnownGood {
    clients: Aged<Addr, ()>,
    hits: Aged<Addr, ()>,
}

impl Default for KnownGood {
    fn default() -> Self {
        Self { clients: Aged::new(MAX_KNOWN_GOOD), hits: Aged::new(MAX_KNOWN_GOOD) }
    }
}

impl KnownGood {
    pub(crate) fn note(&mut self, addr: Addr, now: u64) {
        self.clients.insert(addr, now, ());
    }

    pub(crate) fn knows(&self, addr: Addr) -> bool {
        self.clients.contains(&addr)
    }

    /// Whether a block of `prefix` keeps the clients hit within `share` of those known; above 0, one may always be hit.
    pub(crate) fn check(&self, prefix: &Prefix, share: f64) -> Result<(), Refusal> {
        let further = self.within(prefix).filter(|a| !self.hits.contains(a)).count();
        if further == 0 {
            return Ok(());
        }
        let known = self.clients.len();
        let allowed = if share > 0.0 { ((known as f64 * share) as usize).max(1) } else { 0 };
        let would_hit = self.hits.len() + further;
        if would_hit <= allowed { Ok(()) } else { Err(Refusal::KnownGood { would_hit, known, allowed }) }
    }

    /// Notes that `prefix` is blocked.
    pub(crate) fn hit(&mut self, prefix: &Prefix, now: u64) {
        let hit: Vec<_> = self.within(prefix).collect();
        for addr in hit {
            self.hits.insert(addr, now, ());
        }
    }

    /// Forgets what lies `window` ns or longer back.
    pub(crate) fn forget(&mut self, now: u64, window: u64) {
        if let Some(until) = now.checked_sub(window) {
            self.clients.drop_until(until);
            self.hits.drop_until(until);
        }
    }

    pub(crate) fn shift(&mut self, back: u64) {
        self.clients.shift(back);
        self.hits.shift(back);
    }

    /// Clients and hits forgotten for want of room.
    pub(crate) const fn evicted(&self) -> (u64, u64) {
        (self.clients.evicted(), self.hits.evicted())
    }

    fn within(&self, prefix: &Prefix) -> impl Iterator<Item = Addr> {
        // IPv4 lies within the range of short IPv6 prefixes without being of them.
        let prefix = *prefix;
        self.clients.range(prefix.addr(), prefix.last()).filter(move |a| prefix.contains(*a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(s: &str) -> Prefix {
        s.parse().expect(s)
    }

    fn known(n: u8) -> KnownGood {
        let mut k = KnownGood::default();
        for i in 0..n {
            k.note(Addr::v4([192, 0, 2, i]), 10);
        }
        k
    }

    #[test]
    fn share_of_those_known() {
        let check = |n: u8, share: f64, prefix: &str, expected: bool| {
            assert_eq!(known(n).check(&p(prefix), share).is_ok(), expected, "{n} {share} {prefix}");
        };
        check(1, 0.1, "192.0.2.0", true);
        check(1, 0.0, "192.0.2.0", false);
        check(1, 0.0, "198.51.100.1", true);
        check(20, 0.1, "192.0.2.0/31", true);
        check(20, 0.1, "192.0.2.0/30", false);
        check(20, 1.0, "192.0.2.0/24", true);
    }

    #[test]
    fn hits_count_until_forgotten() {
        let mut k = known(10);
        assert_eq!(k.check(&p("192.0.2.1"), 0.1), Ok(()));
        k.hit(&p("192.0.2.1"), 20);
        assert_eq!(k.check(&p("192.0.2.1"), 0.1), Ok(()), "hit already");
        let refusal = k.check(&p("192.0.2.2"), 0.1).expect_err("second of ten");
        assert_eq!(
            refusal.to_string(),
            "would block 2 of 10 known-good clients; max_known_good_share allows 1"
        );
        for i in 0..10 {
            k.note(Addr::v4([192, 0, 2, i]), 100);
        }
        k.forget(60, 40);
        assert_eq!(k.check(&p("192.0.2.2"), 0.1), Ok(()));
        assert!(k.knows(Addr::v4([192, 0, 2, 1])));
        k.forget(140, 40);
        assert!(!k.knows(Addr::v4([192, 0, 2, 1])));
    }

    #[test]
    fn ipv4_is_not_within_ipv6() {
        let k = known(3);
        assert_eq!(k.check(&p("::/1"), 0.0), Ok(()));
    }
}
