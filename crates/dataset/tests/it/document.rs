//! docs/datasets.md says what the code does: goals, limits, thresholds, the header of labels.

use dataset::score::GAP_NS;
use dataset::{Goals, Role, drift, duplicates, histogram, skew};
use flow::{Ages, Labels};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/datasets.md");
    std::fs::read_to_string(path).expect("docs/datasets.md")
}

#[test]
fn goals_are_those_of_the_table() {
    let text = document();
    let g = Goals::default();
    for (name, goal) in [
        ("flows", g.flows.to_string()),
        ("countries", g.countries.to_string()),
        ("ASNs", g.asns.to_string()),
        ("hours", g.hours.to_string()),
        ("addresses", g.addresses.to_string()),
        ("protocols", g.protocols.to_string()),
        ("entity balance", g.balance.to_string()),
        ("duplicates", format!("at most {}", g.most_duplicates)),
        ("gaps", format!("at most {}", g.most_gaps)),
        ("losses", format!("at most {}", g.most_losses)),
    ] {
        assert!(text.contains(&format!("| {name} | {goal} |")), "{name} {goal}");
    }
}

#[test]
fn figures_are_those_of_the_code() {
    // Lines are broken anywhere.
    let text = document().split_whitespace().collect::<Vec<_>>().join(" ");
    let ages = Ages::default();
    for words in [
        format!("| {} s | DNS", ages.short_ns / 1_000_000_000),
        format!("| {} s | all others", ages.ordinary_ns / 1_000_000_000),
        format!("| {} s | SSH", ages.long_ns / 1_000_000_000),
        format!("stretches of {} minutes", GAP_NS / 60_000_000_000),
        format!("PSI below {} is stable, from {} on", drift::STABLE, drift::CHANGED),
        format!("Beyond {} million rows", duplicates::HELD >> 20),
        format!("a relative error of {} %", histogram::ALPHA * 100.0),
        format!("(within {} s)", skew::NEAR_NS as f64 / 1e9),
        format!("at most {},000 of them", skew::JOINED / 1000),
        Labels::HEADER.to_owned(),
    ] {
        assert!(text.contains(&words), "{words}");
    }
}

#[test]
fn columns_that_are_no_features_are_known_by_name() {
    for name in
        ["ts", "Src IP", "sport", "Flow ID", "src_country", "dst_asn", "attack_cat", "Label", "scenario"]
    {
        assert!(!Role::of(name).is_feature(), "{name}");
    }
    for name in ["dur", "proto", "Protocol", "Flow Duration", "ct_srv_src", "is_sm_ips_ports"] {
        assert!(Role::of(name).is_feature(), "{name}");
    }
}
