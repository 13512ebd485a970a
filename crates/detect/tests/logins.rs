//! Summaries of logins come out as the rules about logs say, and events reach the rules through a detector.

use auth::{LoginEvent, Outcome};
use detect::login::{LoginSummary, NameKind, SummaryJudge};
use detect::{Actor, Class, Detector, RuleSet};
use wire::Addr;

fn first(summary: &LoginSummary) -> Option<Class> {
    SummaryJudge::new(RuleSet::builtin()).judge(1, summary).first().map(|s| s.class)
}

#[test]
fn summaries_are_judged_by_the_rules_about_logs() {
    let summary = |user: &str, failed, successful, sources| LoginSummary {
        user: (!user.is_empty()).then(|| user.to_owned()),
        failed,
        successful,
        sources,
        ..LoginSummary::default()
    };
    let of_kind = |kind, s: LoginSummary| LoginSummary { user_kind: Some(kind), ..s };
    let of_users = |users, s: LoginSummary| LoginSummary { users: Some(users), ..s };
    for (given, expected) in [
        (summary("postgres", 136_963, 0, 34), Some(Class::ServiceAccountAbuse)),
        (of_kind(NameKind::ServiceAccount, summary("", 136_900, 63, 34)), Some(Class::ServiceAccountAbuse)),
        (summary("sudo rm -rf /", 3, 0, 1), Some(Class::CommandInjection)),
        (summary("'; DROP TABLE users; --", 1, 0, 1), Some(Class::CommandInjection)),
        (summary("Summer2024!", 1, 0, 1), Some(Class::UsernameConfusion)),
        (of_kind(NameKind::PasswordLike, summary("", 1, 0, 1)), Some(Class::UsernameConfusion)),
        (of_users(800, summary("", 990, 10, 250)), Some(Class::CredentialStuffing)),
        (of_users(40, summary("", 80, 0, 1)), Some(Class::PasswordSpraying)),
        (of_users(60, summary("", 180, 0, 6)), Some(Class::PasswordSpraying)),
        (summary("alice", 500, 0, 1), Some(Class::BruteForce)),
        (summary("alice", 5_000, 2, 40), Some(Class::BruteForce)),
        (summary("alice", 3, 1, 1), None),
        (summary("postgres", 5, 900, 2), None),
        (of_users(400, summary("", 30, 1_000, 300)), None),
        (LoginSummary::default(), None),
    ] {
        assert_eq!(first(&given), expected, "{given:?}");
    }
}

#[test]
fn a_password_typed_as_a_name_is_shown_nowhere() {
    let judge = SummaryJudge::new(RuleSet::builtin());
    let summary =
        LoginSummary { user: Some("Summer2024!".into()), failed: 30, sources: 1, ..LoginSummary::default() };
    let signals = judge.judge(1, &summary);
    assert!(signals.len() >= 2);
    assert!(signals.iter().all(|s| !format!("{s:?}").contains("Summer")), "{signals:?}");
}

#[test]
fn rules_switched_off_do_not_judge_summaries() {
    let mut set = RuleSet::builtin();
    let off = detect::RuleOverride { enabled: Some(false), ..detect::RuleOverride::default() };
    set.apply(&[("login-name-command".to_owned(), off)].into()).unwrap();
    let summary = LoginSummary { user: Some("sudo rm -rf /".into()), failed: 1, ..LoginSummary::default() };
    assert_eq!(SummaryJudge::new(set).judge(1, &summary), []);
}

#[test]
fn sources_without_number_are_forgotten_and_counted() {
    let mut detector = Detector::new(RuleSet::builtin());
    let mut signals = Vec::new();
    for n in 0..60_000_u32 {
        let [a, b, c, d] = n.to_be_bytes();
        let event = LoginEvent {
            at_ns: 1,
            outcome: Outcome::Failed,
            service: "ssh".into(),
            port: Some(22),
            user: Some(format!("user{n}").into()),
            unknown_user: true,
            source: Some(Addr([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])),
            source_name: None,
            method: None,
            tries: u32::MAX,
        };
        let at_ns = 1_000_000_000 + u64::from(n) * 1000;
        detector.judge_login(at_ns, &event, Addr::v4([198, 51, 100, 5]), &mut signals);
    }
    assert!(detector.counters().profiles_evicted > 60_000);
    let stuffing = signals.iter().find(|s| s.class == Class::CredentialStuffing).unwrap();
    assert_eq!(stuffing.actor, Actor::Distributed { target: Addr::v4([198, 51, 100, 5]) });
}
