//! What operators declared to be no attack: some rules, about one source, for some time.
//!
//! An exception is as narrow as what was looked at. Whatever else the source does is judged as ever.

use crate::{Actor, Signal};
use wire::Addr;

/// Most exceptions in force; each signal is compared with all of them.
pub const MAX_EXCEPTIONS: usize = 256;

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// About whom.
    pub source: Addr,
    /// Rules and learned detectors whose signals about the source are not heard.
    pub rules: Vec<String>,
    /// Until when, ns.
    pub until_ns: u64,
}

/// Exceptions in force, at most [`MAX_EXCEPTIONS`]; further ones are left out.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    list: Vec<Exception>,
    applied: u64,
}

impl Exceptions {
    /// Those of a list.
    #[must_use]
    pub fn new(list: impl IntoIterator<Item = Exception>) -> Self {
        Self { list: list.into_iter().take(MAX_EXCEPTIONS).collect(), applied: 0 }
    }

    /// Puts others in force; the count goes on.
    pub fn replace(&mut self, list: impl IntoIterator<Item = Exception>) {
        *self = Self { applied: self.applied, ..Self::new(list) };
    }

    /// Whether a signal is excepted, which is counted.
    pub fn covers(&mut self, signal: &Signal) -> bool {
        let Actor::Source { addr } = signal.actor else { return false };
        let covered = self.list.iter().any(|e| {
            e.source == addr && signal.at_ns < e.until_ns && e.rules.iter().any(|r| **r == *signal.rule)
        });
        self.applied += u64::from(covered);
        covered
    }

    /// Signals that were excepted.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Origin, Severity};

    fn signal(addr: Addr, rule: &str, at_ns: u64) -> Signal {
        Signal {
            origin: Origin::Rule,
            rule: rule.into(),
            sid: 1,
            rev: 1,
            class: Class::PortScan,
            kind: "vertical".into(),
            severity: Severity::Medium,
            technique: "T1046".into(),
            actor: Actor::Source { addr },
            target: None,
            port: None,
            protocol: None,
            community_id: None,
            detail: None,
            at_ns,
            since_ns: at_ns,
            confidence: 0.5,
            may_block: true,
            may_agree: false,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn an_exception_is_as_narrow_as_it_says() {
        let (scanner, other) = (Addr::v4([192, 0, 2, 1]), Addr::v4([192, 0, 2, 2]));
        let rules = vec!["scan-vertical".to_owned(), "scan-horizontal".to_owned()];
        let mut e = Exceptions::new([Exception { source: scanner, rules, until_ns: 100 }]);
        for (addr, rule, at_ns, expected) in [
            (scanner, "scan-vertical", 99, true),
            (scanner, "scan-horizontal", 0, true),
            (scanner, "scan-vertical", 100, false),
            (scanner, "scan-verticals", 99, false),
            (scanner, "ssh-guessing", 99, false),
            (other, "scan-vertical", 99, false),
        ] {
            assert_eq!(e.covers(&signal(addr, rule, at_ns)), expected, "{addr} {rule} {at_ns}");
        }
        let mut many = signal(scanner, "scan-vertical", 0);
        many.actor = Actor::Distributed { target: scanner };
        assert!(!e.covers(&many));
        assert_eq!(e.applied(), 2);
        e.replace([]);
        assert!(!e.covers(&signal(scanner, "scan-vertical", 0)));
        assert_eq!(e.applied(), 2);
    }

    #[test]
    fn there_is_a_bound() {
        let one = |n: usize| Exception {
            source: Addr::v4((n as u32).to_be_bytes()),
            rules: vec!["r".into()],
            until_ns: 1,
        };
        let mut e = Exceptions::new((0..1000).map(one));
        assert!(e.covers(&signal(Addr::v4(255_u32.to_be_bytes()), "r", 0)));
        assert!(!e.covers(&signal(Addr::v4(256_u32.to_be_bytes()), "r", 0)));
    }
}
