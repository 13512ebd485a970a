//! Why something is not blocked or lifted.

use crate::ttl::{Ttl, rough};
use crate::{Allowed, Decision, Outcome, Prefix};
use detect::Severity;

/// Why a command or an incident leads to nothing; displays as one sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A command to block while nothing is blocked.
    #[error(
        "the agent runs in shadow mode and blocks nothing; start it with --enforce, or set respond.mode = \"enforce\""
    )]
    Shadow,
    /// Whom the command or incident is about is allowlisted, or holds someone who is.
    #[error("{}", allowlisted(prefix, allowed))]
    Allowlisted {
        /// Whom it is about.
        prefix: Prefix,
        /// The entry in the way.
        allowed: Allowed,
    },
    /// A length of time outside [`Ttl::MIN`]..=[`Ttl::MAX`].
    #[error("a block lasts {} to {}, not {}", Ttl::MIN, Ttl::MAX, rough(*ttl_ns))]
    Ttl {
        /// As asked for, ns.
        ttl_ns: u64,
    },
    /// As many blocks in force as policy allows.
    #[error("{max_blocks} blocks are in force, as many as max_blocks allows")]
    Capacity {
        /// The bound.
        max_blocks: u32,
    },
    /// As many new blocks within a minute as policy allows.
    #[error("{per_minute} blocks within a minute is as many as max_blocks_per_minute allows; the next is free in {}", rough(*wait_ns))]
    Budget {
        /// The bound.
        per_minute: u32,
        /// Time until the next, ns.
        wait_ns: u64,
    },
    /// Blocking would hit more known-good clients than policy allows.
    #[error("would block {would_hit} of {known} known-good clients; max_known_good_share allows {allowed}")]
    KnownGood {
        /// Known-good clients blocked within the window, those of this block included.
        would_hit: usize,
        /// Known-good clients within the window.
        known: usize,
        /// As many may be blocked.
        allowed: usize,
    },
    /// An operator lifted a block on it.
    #[error("an operator lifted the block on {prefix}; policy does not block it again for {}", rough(*wait_ns))]
    Pardoned {
        /// Whom.
        prefix: Prefix,
        /// Time until policy may block again, ns.
        wait_ns: u64,
    },
    /// The incident rests on evidence that may not block by itself.
    #[error("the evidence may alert and may not block by itself")]
    Evidence,
    /// The incident is not severe enough.
    #[error("severity {} is below min_severity {}", word(*severity), word(*min))]
    Severity {
        /// The incident's.
        severity: Severity,
        /// The bound.
        min: Severity,
    },
    /// The incident is not certain enough.
    #[error("confidence {confidence} is below min_confidence {min}")]
    Confidence {
        /// The incident's, with two decimals.
        confidence: String,
        /// The bound, with two decimals.
        min: String,
    },
    /// There is no one address to block.
    #[error(
        "the sources are many or forged: blocking their addresses would not stop it and could hit bystanders"
    )]
    Distributed,
    /// A command to lift what is not in force.
    #[error("{0} is not blocked")]
    NotBlocked(Prefix),
    /// A command to lift an address that is blocked as part of a prefix.
    #[error("{prefix} is blocked as part of {by}; unban that")]
    PartOf {
        /// Whom the command is about.
        prefix: Prefix,
        /// What is in force.
        by: Prefix,
    },
    /// A command to lift a prefix of which parts are blocked.
    #[error(
        "{prefix} is not blocked as such, but {count} blocks within it are, such as {example}; unban those"
    )]
    PartsBlocked {
        /// Whom the command is about.
        prefix: Prefix,
        /// One of the blocks in force.
        example: Prefix,
        /// How many.
        count: usize,
    },
}

impl Refusal {
    /// The line for the audit log: that something about `prefix` was refused at `at_ns`, wall-clock ns.
    #[must_use]
    pub fn decision(&self, prefix: Prefix, at_ns: u64) -> Decision {
        Decision {
            at_ns,
            prefix,
            outcome: Outcome::Refused,
            why: self.to_string(),
            incident: None,
            block: None,
            effect: None,
        }
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn allowlisted(prefix: &Prefix, Allowed { prefix: allowed, why }: &Allowed) -> String {
    if prefix == allowed {
        format!("{prefix} is on the allowlist: {why}")
    } else if allowed.covers(prefix) {
        format!("{prefix} is within {allowed}, which is on the allowlist: {why}")
    } else {
        format!("{prefix} contains {allowed}, which is on the allowlist: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowlist_sentences() {
        let check = |prefix: &str, allowed: &str, expected: &str| {
            let allowed = Allowed { prefix: allowed.parse().expect("prefix"), why: "gateway of eth0".into() };
            let refusal = Refusal::Allowlisted { prefix: prefix.parse().expect("prefix"), allowed };
            assert_eq!(refusal.to_string(), expected);
        };
        check("203.0.113.5", "203.0.113.5", "203.0.113.5 is on the allowlist: gateway of eth0");
        check(
            "203.0.113.5",
            "203.0.113.0/24",
            "203.0.113.5 is within 203.0.113.0/24, which is on the allowlist: gateway of eth0",
        );
        check(
            "203.0.113.0/24",
            "203.0.113.5",
            "203.0.113.0/24 contains 203.0.113.5, which is on the allowlist: gateway of eth0",
        );
    }
}
