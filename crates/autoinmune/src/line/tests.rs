//! What a detector elsewhere finds, in the line: the allowlist, and what it takes for a block.

use super::{Line, LineConfig};
use crate::agent::tap::AgentTap;
use crate::eve::Context;
use detect::learned::ensemble::Reading;
use detect::learned::evidence::Grade;
use detect::learned::{Finding, Found};
use detect::{BookConfig, Class, RuleSet};
use respond::{Mode, Policy};
use wire::Addr;

const S: u64 = 1_000_000_000;
const NOW: u64 = 1_700_000_000 * S;

fn finding(last: u8, found: Found, at_ns: u64) -> Finding {
    Finding {
        source: Addr::v4([203, 0, 113, last]),
        found,
        grade: Grade::Critical,
        at_ns,
        since_ns: at_ns - 10 * S,
        target: None,
        port: None,
        protocol: None,
        community_id: None,
        evidence: Vec::new(),
    }
}

/// Hears of these findings of one source; incidents opened and blocks made.
fn told(findings: &[(Found, u64)]) -> (u64, u64) {
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    let judge = super::JudgeConfig {
        census: flow::CensusConfig::default(),
        rules: RuleSet::builtin(),
        models: detect::learned::Models::default(),
        tell_windows: false,
        book: BookConfig::default(),
        policy: Policy { allow: vec!["203.0.113.5".parse().expect("a prefix")], ..policy },
    };
    let mut line = Line::new(LineConfig { tracker: flow::TrackerConfig::default(), judge });
    let context = Context { interface: None, simulated: false, messages: false, known: None };
    let mut tap = AgentTap::new(None, None, context);
    line.advance(NOW, &mut tap);
    assert!(!line.found(finding(5, findings[0].0, NOW), &mut tap), "the allowlist is not spoken of");
    assert!(tap.incidents.is_empty());
    for (found, at_ns) in findings {
        assert!(line.found(finding(9, *found, *at_ns), &mut tap));
    }
    let blocked = tap.decisions.get("block").copied().unwrap_or(0);
    (tap.incidents.values().sum(), blocked)
}

#[test]
fn findings_from_elsewhere_block_by_agreement_and_in_time_alone() {
    let flows = Found::Flows(Some(Class::PortScan));
    let windows = Found::Windows(Reading::HighConfidenceAttack);
    assert_eq!(told(&[(flows, NOW)]), (1, 0), "one opinion");
    assert_eq!(told(&[(flows, NOW), (flows, NOW)]), (1, 0), "the same opinion twice");
    assert_eq!(told(&[(Found::Flows(None), NOW), (windows, NOW)]), (1, 0), "nothing is named");
    assert_eq!(told(&[(flows, NOW), (Found::Windows(Reading::SubtleAnomaly), NOW)]), (1, 0), "not sure");
    assert_eq!(told(&[(flows, NOW), (windows, NOW)]), (1, 1), "two that agree");
    assert_eq!(told(&[(flows, NOW + 900 * S), (windows, NOW + 900 * S)]), (1, 1), "a clock that is ahead");
    assert_eq!(told(&[(flows, NOW - 3600 * S), (windows, NOW - 3600 * S)]), (1, 0), "an hour late");
    assert_eq!(told(&[(flows, NOW), (windows, NOW - 61 * S)]), (1, 0), "one is late");
}
