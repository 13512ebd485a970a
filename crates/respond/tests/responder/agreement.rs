//! Who may cause a block: a rule that says so, or two detectors of different kinds that agree; never what is learnt alone.

use crate::world::{SECOND, START, addr};
use detect::incident::AGREE_NS;
use detect::{Actor, BookConfig, Class, IncidentBook, Origin, Severity, Signal};
use proptest::prelude::*;
use respond::{Mode, Outcome, Policy, Responder};

fn signal(origin: Origin, may_block: bool, may_agree: bool, at_ns: u64) -> Signal {
    let rule = match origin {
        Origin::Rule => "scan-vertical",
        Origin::LearnedFlow => detect::learned::flows::RULE,
        Origin::LearnedWindow => detect::learned::RULE,
    };
    Signal {
        origin,
        rule: rule.into(),
        sid: 1,
        rev: 1,
        class: Class::PortScan,
        kind: "k".into(),
        severity: Severity::High,
        technique: "".into(),
        actor: Actor::Source { addr: addr("203.0.113.9") },
        target: None,
        port: None,
        protocol: None,
        community_id: None,
        detail: None,
        at_ns,
        since_ns: at_ns,
        confidence: 0.9,
        may_block,
        may_agree,
        evidence: Vec::new(),
    }
}

/// Whether an enforcing responder blocks after one of the signals.
fn blocks(signals: &[Signal]) -> bool {
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    let (mut responder, mut book) = (Responder::new(policy), IncidentBook::new(BookConfig::default()));
    signals.iter().any(|signal| {
        let update = book.absorb(signal.clone());
        let decision = update.and_then(|u| responder.on_update(&u, signal.at_ns));
        decision.is_some_and(|d| d.outcome == Outcome::Blocked)
    })
}

fn check(signals: &[(Origin, bool, bool, u64)], expected: bool) {
    let all: Vec<Signal> =
        signals.iter().map(|(o, block, agree, at)| signal(*o, *block, *agree, START + at * SECOND)).collect();
    assert_eq!(blocks(&all), expected, "{signals:?}");
}

#[test]
fn a_rule_may_block_by_itself_and_what_is_learnt_may_not() {
    use Origin::{LearnedFlow, LearnedWindow, Rule};
    check(&[(Rule, true, false, 0)], true);
    check(&[(Rule, false, false, 0)], false);
    check(&[(LearnedFlow, false, true, 0)], false);
    check(&[(LearnedWindow, false, true, 0), (LearnedWindow, false, true, 30)], false);
    // The right to block is a rule's: another that claims it has none.
    check(&[(LearnedFlow, true, true, 0)], false);
    check(&[(LearnedFlow, false, true, 0), (LearnedWindow, false, true, 40)], true);
    check(&[(LearnedFlow, false, true, 0), (LearnedWindow, false, false, 40)], false);
    // A rule that may not block is no second opinion.
    check(&[(Rule, false, false, 0), (LearnedWindow, false, true, 1)], false);
    // Further apart than that, they need not be about the same doing.
    check(
        &[(LearnedFlow, false, true, 0), (LearnedFlow, false, false, 50), (LearnedWindow, false, true, 61)],
        false,
    );
}

prop_compose! {
    fn some_signals()(
        list in prop::collection::vec((0_usize..3, any::<bool>(), any::<bool>(), 0_u64..90), 1..12)
    ) -> Vec<Signal> {
        let origins = [Origin::Rule, Origin::LearnedFlow, Origin::LearnedWindow];
        let mut at_ns = START;
        list.into_iter()
            .map(|(origin, may_block, may_agree, later)| {
                at_ns += later * SECOND;
                signal(origins[origin], may_block, may_agree, at_ns)
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_block_has_a_rule_or_two_opinions(signals in some_signals()) {
        let ruled = signals.iter().any(|s| s.origin == Origin::Rule && s.may_block);
        let agreed = signals.iter().enumerate().any(|(i, a)| {
            signals[..i].iter().any(|b| {
                a.origin != b.origin && a.may_agree && b.may_agree && a.at_ns - b.at_ns <= AGREE_NS
            })
        });
        prop_assert_eq!(blocks(&signals), ruled || agreed);
    }
}
