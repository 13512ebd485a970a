//! Ordinary traffic for an hour, say: how many incidents the agent tells of, each of them a false alarm.

use super::{DOCUMENT, board};
use crate::shell;
use anyhow::Context as _;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// Heading of the section of the document.
pub(super) const HEADING: &str = "\n## Ordinary traffic\n";

/// Plays it, says what came of it, and writes that into the document if asked to. Whether there were no more false alarms than
/// are accepted.
pub(super) fn run(program: &Path, time: &str, write: bool) -> anyhow::Result<bool> {
    let args = ["lab", "ordinary", "--duration", time, "-o", "json"];
    let output =
        shell::command(&program.to_string_lossy(), &args).output().context("cannot start the program")?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("no report: {}", said.lines().last().unwrap_or_default())
    })?;
    let section = section(&report);
    print!("{section}");
    if write {
        let path = shell::root().join(DOCUMENT);
        let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
        let scenarios = old.split(HEADING).next().unwrap_or_default();
        std::fs::write(&path, format!("{}\n{section}", scenarios.trim_end()))
            .with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("wrote {DOCUMENT}");
    }
    Ok(report["passed"] == true)
}

/// A new text of the scenarios, with the section of an old document.
pub(super) fn kept(new: &str, old: &str) -> String {
    match old.split_once(HEADING) {
        Some((_, section)) => format!("{}\n{HEADING}{section}", new.trim_end()),
        None => new.to_owned(),
    }
}

fn section(report: &Value) -> String {
    let list = |key: &str| report[key].as_array().map_or(0, Vec::len);
    let mut out = format!(
        "{HEADING}\nWritten by `cargo xtask e2e --ordinary TIME`: a branch office, partners, customers and machines use servers of the \
         lab, drawn anew every two minutes from `crates/lab/ordinary.toml`, against the agent in enforce mode with its default \
         configuration. Every incident, whatever its severity, is a false alarm; one an hour is accepted.\n\n\
         {} false alarms and {} blocks in {:.0} minutes ({} accepted): {} packets, {:.0} a second, {} on the wire, seed {}.\n",
        list("incidents"),
        list("blocks"),
        report["seconds"].as_f64().unwrap_or_default() / 60.0,
        report["accepted"],
        report["packets"],
        report["packets_per_second"].as_f64().unwrap_or_default(),
        report["sensor"].as_str().unwrap_or_default(),
        report["seed"],
    );
    if list("incidents") > 0 {
        out.push_str("\n| after s | severity | class | rules | who |\n|---|---|---|---|---|\n");
    }
    for i in report["incidents"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "| {:.0} | {} | {} | {} | {} |",
            i["seconds"].as_f64().unwrap_or_default(),
            i["severity"].as_str().unwrap_or_default(),
            board::words(&i["classes"]).join(", "),
            board::words(&i["rules"]).join(", "),
            i["actor"].as_str().unwrap_or_default(),
        );
    }
    out.push_str("\n| what was done | times | failed |\n|---|---|---|\n");
    for (what, count) in report["steps"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "| `{what}` | {} | {} |", count["done"], count["failed"]);
    }
    let losses: Vec<String> =
        report["losses"].as_object().into_iter().flatten().map(|(why, n)| format!("{why} {n}")).collect();
    if !losses.is_empty() {
        let _ = writeln!(out, "\nWhat the agent did not see or keep: {}.", losses.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_names_false_alarms_and_outlives_new_scenarios() {
        let report = serde_json::json!({
            "seconds": 3600.0, "accepted": 1, "packets": 10, "packets_per_second": 2.6, "sensor": "xdp", "seed": 1,
            "incidents": [{"seconds": 12.4, "severity": "low", "classes": ["dos"], "rules": ["r"], "actor": "192.0.2.1"}],
            "blocks": [], "steps": {"curl": {"done": 3, "failed": 1}}, "losses": {},
        });
        let section = section(&report);
        assert!(section.contains("1 false alarms and 0 blocks in 60 minutes"), "{section}");
        assert!(
            section.contains("| 12 | low | dos | r | 192.0.2.1 |") && section.contains("| `curl` | 3 | 1 |")
        );
        let old = format!("# Old\n{section}");
        assert_eq!(kept("# New\n", &old), format!("# New\n{section}"));
        assert_eq!(kept("# New\n", "# Old\n"), "# New\n");
    }
}
