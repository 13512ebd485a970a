//! The shipped rules hold their own vectors, and the page about them is what they generate.

#![expect(clippy::disallowed_methods, reason = "compares a document with its source")]

use detect::{Bound, RuleOverride, RuleSet};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_vector_comes_out_as_stated() {
    let results = RuleSet::builtin().check();
    let failures: Vec<String> = results
        .iter()
        .filter_map(|r| r.failure.as_ref().map(|why| format!("{} / {}: {why}", r.rule, r.vector)))
        .collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), results.len(), failures.join("\n"));
    assert!(results.len() > 40);
}

#[test]
fn the_page_about_the_rules_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let generated = detect::docs::rules_markdown();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/rules.md is not what the rules generate; regenerate it: UPDATE_GOLDEN=1 cargo test -p detect"
    );
}

fn rule(edit: impl Fn(&str) -> String) -> String {
    edit(concat!(
        "[[rule]]\nid = \"own\"\nsid = 9000001\nrev = 1\nname = \"n\"\nclass = \"port_scan\"\nkind = \"k\"\n",
        "severity = \"low\"\ntechnique = \"T1046\"\ntactic = \"Discovery\"\nrole = \"source\"\nspan = \"10s\"\n",
        "confidence = 0.5\nmay_block = false\nwhen.failed_ports = { at_least = 5 }\n",
        "doc = { sees = \"s\", hostile = \"h\", benign = \"b\", blind = \"b\" }\n",
    ))
}

#[test]
fn faults_in_rule_files_are_named_with_their_line() {
    for (from, to, expected) in [
        ("", "", ""),
        (
            "failed_ports",
            "failed_prots",
            "own.toml:15: unknown metric `failed_prots`; did you mean `failed_ports`?",
        ),
        ("severity", "severty", "own.toml:8: unknown field `severty`, expected one of"),
        ("severity", "severty", "did you mean `severity`?"),
        ("\"low\"", "\"loww\"", "did you mean `low`?"),
        ("at_least = 5", "at_lest = 5", "did you mean `at_least`?"),
        (
            "at_least = 5",
            "at_least = 5, at_most = 4",
            "own.toml:1: rule `own`: `when.failed_ports`: `at_least` is above",
        ),
        ("at_least = 5", "at_least = nan", "finite"),
        ("at_least = 5", "at_most = 5", "no condition in `when` has `at_least`"),
        ("at_least = 5", "", "neither `at_least` nor `at_most`"),
        ("failed_ports =", "matching_flows =", "needs a `flows` table"),
        ("confidence = 0.5", "confidence = 1.0", "is not from 0 to below 1"),
        ("id = \"own\"", "id = \"Own\"", "is not lower-case"),
        ("sid = 9000001", "sid = 1000001", "identifiers and sids are used once"),
        ("doc = {", "doc = { seees = \"\",", "did you mean `sees`?"),
        ("[[rule]]", "[[rule]", "own.toml:1: "),
    ] {
        let text = rule(|r| if from.is_empty() { r.to_owned() } else { r.replace(from, to) });
        let mut set = RuleSet::builtin();
        let before = set.rules().len();
        match set.extend(&[("own.toml", text)]) {
            Ok(()) => {
                assert_eq!(expected, "", "{from} -> {to} was accepted");
                assert_eq!(set.rules().len(), before + 1);
            }
            Err(e) => {
                assert!(!expected.is_empty() && e.to_string().contains(expected), "{from} -> {to}: {e}");
                assert_eq!(set, RuleSet::builtin(), "an error leaves the set as it was");
            }
        }
    }
}

#[test]
fn configuration_changes_thresholds_and_nothing_it_should_not() {
    let bound = |at_least| Bound { at_least: Some(at_least), at_most: None };
    let change = |metric: &str, n: f64| RuleOverride {
        when: BTreeMap::from([(metric.to_owned(), bound(n))]),
        ..RuleOverride::default()
    };
    let mut set = RuleSet::builtin();
    set.apply(&BTreeMap::from([(
        "scan-vertical".to_owned(),
        RuleOverride { enabled: Some(false), ..change("failed_ports", 99.0) },
    )]))
    .unwrap();
    let rule = set.get("scan-vertical").unwrap();
    assert!(!rule.enabled);
    assert!(rule.condition().contains("failed_ports at least 99"), "{}", rule.condition());
    for (id, metric, n, expected) in [
        ("scan-vertcal", "failed_ports", 1.0, "did you mean `scan-vertical`?"),
        ("scan-vertical", "failed_prts", 1.0, "did you mean `failed_ports`?"),
        ("scan-vertical", "flows", 1.0, "it has no condition on `flows`"),
        ("scan-vertical", "failed_ports", -1.0, "finite and not negative"),
        ("ssh-guess", "matching_flows", 65.0, "from 1 to 64"),
    ] {
        let before = set.clone();
        let error = set.apply(&BTreeMap::from([(id.to_owned(), change(metric, n))])).unwrap_err();
        assert!(error.to_string().contains(expected), "{id}: {error}");
        assert_eq!(set, before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_rule_files_are_refused_or_read_but_never_panic(
        cut in 0usize..12_000,
        length in 0usize..40,
        put in "[ -~]{0,6}",
    ) {
        let text = include_str!("../../../rules/brute_force.toml");
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let (from, to) = (boundary(cut), boundary(cut + length));
        let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
        if let Err(e) = RuleSet::load(&[("damaged.toml", damaged)]) {
            prop_assert!(e.to_string().starts_with("damaged.toml:"), "{}", e);
        }
    }
}
