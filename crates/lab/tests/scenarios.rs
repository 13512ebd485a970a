//! Scenario files: those that come with the program are whole, and wrong ones are refused with the place named.

use lab::scenario::{MAX_SECONDS, SHIPPED, Scenario, ScenarioKind, shipped};
use std::collections::BTreeSet;
use std::path::Path;

/// A whole file, for changes.
const GOOD: &str = r#"
title = "t"
about = "a"
kind = "attack"
twin = "u"
[[actor]]
name = "bad"
role = "attacker"
segment = "outside"
number = 201
[[actor]]
name = "web"
role = "victim"
segment = "inside"
number = 10
serve = ["nginx", "dns port=53"]
[[step]]
at = 1.0
from = "bad"
to = ["web"]
tool = "nmap"
with = { kind = "syn", last = 100 }
seconds = 5
class = "port_scan"
technique = "T1046"
[expect]
class = "port_scan"
within_s = 2.0
"#;

#[test]
fn the_folder_and_the_list_name_the_same_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder of scenarios")
        .map(|f| f.expect("a file").file_name().to_string_lossy().trim_end_matches(".toml").to_owned())
        .collect();
    let list: BTreeSet<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, list);
    assert!(SHIPPED.is_sorted_by_key(|(name, _)| *name));
}

#[test]
fn every_scenario_is_whole_and_every_attack_has_a_benign_twin() {
    for (name, _) in SHIPPED {
        let scenario = shipped(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(scenario.length() <= 40.0, "{name} takes {} s; the suite has 20 minutes", scenario.length());
        assert!(scenario.about.ends_with('.'), "{name}: about is a sentence");
        let Some(twin) = &scenario.twin else {
            assert_eq!(scenario.kind, ScenarioKind::Benign, "{name}");
            continue;
        };
        let twin = shipped(twin).unwrap_or_else(|e| panic!("the twin of {name}: {e}"));
        assert_eq!(twin.kind, ScenarioKind::Benign, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    assert!(Scenario::parse(GOOD).is_ok_and(|s| s.length() == 6.0 && s.network().hosts.len() == 2));
    let seconds = format!("seconds = {}", MAX_SECONDS as u32);
    for (from, to, said) in [
        ("title = \"t\"", "titel = \"t\"", "titel"),
        ("twin = \"u\"", "", "names its benign twin"),
        ("kind = \"attack\"", "kind = \"benign\"", "no class, no twin"),
        ("name = \"web\"", "name = \"gateway\"", "taken twice"),
        ("number = 10", "number = 1", "has the number 1"),
        ("\"nginx\"", "\"apache\"", "there is no server 'apache'"),
        ("dns port=53", "dns port=x", "port must be 0 to 65535"),
        ("dns port=53", "dns hole=1", "there is no hole here"),
        ("from = \"bad\"", "from = \"worse\"", "step 1 (nmap): there is no actor 'worse'"),
        ("to = [\"web\"]", "to = [\"here\"]", "there is no actor 'here'"),
        ("to = [\"web\"]", "", "target is missing"),
        ("tool = \"nmap\"", "tool = \"rm\"", "there is no tool 'rm'"),
        ("tool = \"nmap\"", "act = \"dance\"", "there is no act 'dance'"),
        ("tool = \"nmap\"", "", "either an act or a tool"),
        ("kind = \"syn\"", "kind = \"-oN x\"", "kind must be syn"),
        ("last = 100", "last = 70000", "last must be 1 to 65535"),
        ("last = 100", "target = \"8.8.8.8\"", "is not an address of this range"),
        ("last = 100", "target = \"@nobody\"", "there is no actor 'nobody'"),
        ("seconds = 5", &seconds, "ends by 120 s"),
        ("seconds = 5", "seconds = 0", "takes 1 s or more"),
        ("seconds = 5", "seconds = 5\nip = 5", "ip is 4 or 6"),
        ("class = \"port_scan\"\ntechnique = \"T1046\"", "", "has a class"),
        ("class = \"port_scan\"\ntechnique", "class = \"mischief\"\ntechnique", "'mischief' is no class"),
        ("within_s = 2.0", "within_s = 0.0", "within_s"),
        ("[expect]", "allow = [\"nobody\"]\n[expect]", "allow"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let refused = Scenario::parse(&text).expect_err(to);
        assert!(refused.to_string().contains(said), "{to}: {refused}");
    }
}

#[test]
fn the_documented_example_is_a_scenario() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lab.md");
    let page = std::fs::read_to_string(page).expect("docs/lab.md");
    let example =
        page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let example = Scenario::parse(example).unwrap_or_else(|e| panic!("docs/lab.md: {e}"));
    assert!(shipped(&example.twin.expect("a twin")).is_ok());
    // Every key of a shipped scenario is described.
    for (name, text) in SHIPPED {
        for line in text.lines() {
            let key = line.trim_matches(['[', ']']).split([' ', '.']).next().unwrap_or_default();
            assert!(key.is_empty() || page.contains(key), "{name}: docs/lab.md says nothing of '{key}'");
        }
    }
}
