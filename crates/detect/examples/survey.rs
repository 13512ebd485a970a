//! Lists what the shipped rules say about capture files or folders of them:
//! `cargo run -p detect --example survey -- [--scale FACTOR] [PATH…]`. A factor below 1 lowers every `at_least` bound on
//! windows and shows how near ordinary traffic comes to the thresholds.

#[path = "../tests/common/mod.rs"]
mod common;

use detect::{Bound, RuleOverride, RuleSet};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rules = RuleSet::builtin();
    let (mut files, mut args) = (Vec::new(), std::env::args_os().skip(1));
    while let Some(arg) = args.next() {
        if arg == "--scale" {
            let factor =
                args.next().and_then(|f| f.to_str()?.parse::<f64>().ok()).ok_or("--scale needs a number")?;
            let changes = scaled(&rules, factor);
            rules.apply(&changes)?;
            continue;
        }
        let path = PathBuf::from(arg);
        if path.is_dir() { files.extend(common::captures(&path)) } else { files.push(path) }
    }
    if files.is_empty() {
        files = common::data().map(|d| common::captures(&d.join("pcap"))).unwrap_or_default();
    }
    for file in files {
        for incident in common::incidents(&file, &rules) {
            println!("{}: {}", file.display(), common::line(&incident));
        }
    }
    Ok(())
}

fn scaled(rules: &RuleSet, factor: f64) -> BTreeMap<String, RuleOverride> {
    let scale =
        |bound: &Bound| Bound { at_least: bound.at_least.map(|n| n * factor), at_most: bound.at_most };
    rules
        .rules()
        .iter()
        .filter(|r| r.flows.is_none())
        .map(|r| {
            let when = r.when.iter().map(|(m, b)| (m.name().to_owned(), scale(b))).collect();
            (r.id.to_string(), RuleOverride { when, ..RuleOverride::default() })
        })
        .collect()
}
