//! What learned detectors find, before it is a signal: the same whether they judge here or at a detector elsewhere.
//!
//! What a signal may cause follows from the finding alone, and here alone. A detector elsewhere says what it found, never what is
//! to be done about it.

use super::ensemble::Reading;
use super::evidence::Grade;
use super::{flows, judge};
use crate::{Actor, Class, Evidence, Origin, Severity, Signal};
use wire::Addr;

/// Which detector found it, and what it makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Flows are like those of a class of attacks; `None`: not normal, and like nothing known.
    Flows(Option<Class>),
    /// Windows are unusual.
    Windows(Reading),
}

/// What was found of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The source.
    pub source: Addr,
    /// What it is.
    pub found: Found,
    /// How far the evidence exceeds what the budget of false alarms allows.
    pub grade: Grade,
    /// When it was judged, ns.
    pub at_ns: u64,
    /// Beginning of what was judged, ns.
    pub since_ns: u64,
    /// Whom it hits, where it is one address.
    pub target: Option<Addr>,
    /// Port it is aimed at, where it is one.
    pub port: Option<u16>,
    /// IP protocol it came by, where it is one.
    pub protocol: Option<u8>,
    /// Community ID of a flow it was seen in.
    pub community_id: Option<String>,
    /// Features that had most to do with it.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// The signal that it makes. It never blocks by itself; it may agree with another where the class of an attack is named, or
    /// both models of windows are sure.
    #[must_use]
    pub fn signal(self) -> Signal {
        let grade = self.grade;
        let (origin, rule, sid, class, kind, detail, technique) = match self.found {
            Found::Flows(class) => {
                let kind = if class.is_some() { "learned" } else { "unknown" };
                let technique = class.map_or("", Class::technique);
                let class = class.unwrap_or(Class::Anomaly);
                (Origin::LearnedFlow, flows::RULE, flows::SID, class, kind, grade.name(), technique)
            }
            Found::Windows(reading) => {
                let class = Class::Anomaly;
                let technique = class.technique();
                (
                    Origin::LearnedWindow,
                    judge::RULE,
                    judge::SID,
                    class,
                    grade.name(),
                    reading.name(),
                    technique,
                )
            }
        };
        let sure = match self.found {
            Found::Flows(class) => class.is_some(),
            Found::Windows(reading) => reading == Reading::HighConfidenceAttack,
        };
        let severity = match (self.found, sure, grade >= Grade::High) {
            (_, true, true) => Severity::Medium,
            (Found::Flows(_), ..) | (_, true, false) => Severity::Low,
            (Found::Windows(_), false, _) => Severity::Info,
        };
        let confidence = match self.found {
            Found::Windows(_) if !sure => Grade::Low.confidence(),
            _ => grade.confidence(),
        };
        Signal {
            origin,
            rule: rule.into(),
            sid,
            rev: 1,
            class,
            kind: kind.into(),
            severity,
            technique: technique.into(),
            actor: Actor::Source { addr: self.source },
            target: self.target,
            port: self.port,
            protocol: self.protocol,
            community_id: self.community_id,
            detail: Some(detail.into()),
            at_ns: self.at_ns,
            since_ns: self.since_ns.min(self.at_ns),
            confidence,
            may_block: false,
            may_agree: sure && grade >= Grade::Medium,
            evidence: self.evidence,
        }
    }

    /// The finding that a signal was made of; `None` for those of rules.
    #[must_use]
    pub fn of(signal: &Signal) -> Option<Self> {
        let Actor::Source { addr } = signal.actor else { return None };
        let detail = signal.detail.as_deref()?;
        let (found, grade) = match signal.origin {
            Origin::Rule => return None,
            Origin::LearnedFlow => {
                let class = (&*signal.kind != "unknown").then_some(signal.class);
                (Found::Flows(class), Grade::named(detail)?)
            }
            Origin::LearnedWindow => (Found::Windows(Reading::named(detail)?), Grade::named(&signal.kind)?),
        };
        Some(Self {
            source: addr,
            found,
            grade,
            at_ns: signal.at_ns,
            since_ns: signal.since_ns,
            target: signal.target,
            port: signal.port,
            protocol: signal.protocol,
            community_id: signal.community_id.clone(),
            evidence: signal.evidence.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(found: Found, grade: Grade) -> Finding {
        Finding {
            source: Addr::v4([192, 0, 2, 1]),
            found,
            grade,
            at_ns: 20,
            since_ns: 10,
            target: Some(Addr::v4([192, 0, 2, 2])),
            port: Some(22),
            protocol: Some(6),
            community_id: None,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_sure_may_agree_and_nothing_blocks_by_itself() {
        let check = |found, grade, may_agree: bool, severity| {
            let signal = finding(found, grade).signal();
            assert!(!signal.may_block);
            assert_eq!((signal.may_agree, signal.severity), (may_agree, severity), "{found:?} {grade:?}");
            assert_eq!(Finding::of(&signal), Some(finding(found, grade)), "there and back");
        };
        let scan = Found::Flows(Some(Class::PortScan));
        check(scan, Grade::Low, false, Severity::Low);
        check(scan, Grade::Medium, true, Severity::Low);
        check(scan, Grade::High, true, Severity::Medium);
        check(Found::Flows(None), Grade::Critical, false, Severity::Low);
        let sure = Found::Windows(Reading::HighConfidenceAttack);
        check(sure, Grade::Low, false, Severity::Low);
        check(sure, Grade::Critical, true, Severity::Medium);
        check(Found::Windows(Reading::InvestigateEdgeCase), Grade::Critical, false, Severity::Info);
        check(Found::Windows(Reading::SubtleAnomaly), Grade::High, false, Severity::Info);
    }
}
