//! What the reputation of its actor adds to a signal.
//!
//! Reputation is what others say. It makes a judgement of our own surer and weightier, within bounds, and is never one
//! itself: whether a signal may block is the rule's word alone, and where no rule spoke there is no signal to weigh.

use crate::{Evidence, Severity, Signal};

/// Score from which on reputation counts: below, more likely wrong than right.
pub const HEEDED: u8 = 50;
/// Score from which on severity is raised too: several lists agree, or one that is fully trusted is sure.
pub const GRAVE: u8 = 80;
/// Share of what confidence lacks to [`MOST`] that a score of 100 adds.
const SHARE: f64 = 0.5;
/// Confidence never exceeds this.
const MOST: f64 = 0.99;

impl Signal {
    /// Weighs in that the actor has a reputation of `score` (0..=100, higher is worse).
    ///
    /// From [`HEEDED`] on, confidence rises by up to half of what it lacks; from [`GRAVE`] on, low severity becomes medium and
    /// medium high. Information stays information, nothing becomes critical, and what may not block still may not.
    pub fn weigh_reputation(&mut self, score: u8) {
        let score = score.min(100);
        if score < HEEDED {
            return;
        }
        if self.confidence < MOST {
            self.confidence += (MOST - self.confidence) * SHARE * f64::from(score) / 100.0;
        }
        if score >= GRAVE {
            self.severity = match self.severity {
                Severity::Low => Severity::Medium,
                Severity::Medium => Severity::High,
                other => other,
            };
        }
        self.evidence.push(Evidence {
            metric: "reputation",
            observed: score.into(),
            threshold: HEEDED.into(),
            at_least: true,
            contribution: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Class};
    use wire::Addr;

    fn signal(severity: Severity, confidence: f64, may_block: bool) -> Signal {
        Signal {
            origin: crate::Origin::Rule,
            rule: "r".into(),
            sid: 1,
            rev: 1,
            class: Class::PortScan,
            kind: "k".into(),
            severity,
            technique: "T1046".into(),
            actor: Actor::Source { addr: Addr::v4([198, 51, 100, 1]) },
            target: None,
            port: None,
            protocol: None,
            community_id: None,
            detail: None,
            at_ns: 0,
            since_ns: 0,
            confidence,
            may_block,
            may_agree: false,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn confidence_and_severity_rise_within_bounds() {
        let check = |score: u8, before: (Severity, f64), after: (Severity, f64)| {
            let mut s = signal(before.0, before.1, true);
            s.weigh_reputation(score);
            assert_eq!(s.severity, after.0, "{score}");
            assert!((s.confidence - after.1).abs() < 1e-9, "{score}: {}", s.confidence);
            assert_eq!(s.evidence.len(), usize::from(score >= HEEDED));
        };
        use Severity::{Critical, High, Info, Low, Medium};
        check(0, (Low, 0.5), (Low, 0.5));
        check(49, (Low, 0.5), (Low, 0.5));
        check(50, (Low, 0.59), (Low, 0.69));
        check(80, (Low, 0.49), (Medium, 0.69));
        check(100, (Medium, 0.49), (High, 0.74));
        check(255, (High, 0.99), (High, 0.99));
        check(100, (Critical, 1.0), (Critical, 1.0));
        check(100, (Info, 0.0), (Info, 0.495));
    }

    #[test]
    fn what_may_not_block_still_may_not() {
        for score in 0..=100 {
            for may_block in [false, true] {
                let mut s = signal(Severity::Medium, 0.4, may_block);
                s.weigh_reputation(score);
                assert_eq!(s.may_block, may_block);
            }
        }
    }
}
