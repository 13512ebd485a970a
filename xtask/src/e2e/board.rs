//! The scoreboard: what came of each scenario, as Markdown and for the terminal.

use super::{Outcome, Row};
use lab::scenario::ScenarioKind;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

const HEAD: &str = "# Lab scoreboard\n\n\
    Written by `cargo xtask e2e`: each scenario of `crates/lab/scenarios` is played in a network of namespaces of its own \
    against the agent in enforce mode with its default configuration, watching one interface of the gateway \
    ([lab.md](lab.md)). Times are seconds from the first hostile packet on the wire to the event and to the block. They \
    depend on the machine and vary by tens of milliseconds from run to run, more where several scenarios share it. A \
    scenario that comes out otherwise than expected is played once more, by itself, and the notes say so. The \
    scenarios were made by the authors of the rules: they show that a rule works on real traffic of real tools, not how \
    well it does on attacks nobody here has seen; for those see [exactness.md](exactness.md).\n";

/// Everything that came of a run.
pub(crate) struct Board {
    rows: Vec<Row>,
    took: Duration,
    jobs: usize,
    cores: usize,
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

pub(super) fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether somebody who did nothing was blocked.
pub(super) fn has_innocent_block(report: &Value) -> bool {
    list(report, "blocks").any(|b| b["innocent"] == true)
}

/// Of some figures by scenario the middle one, and the largest with its scenario.
fn spread(mut figures: Vec<(f64, &str)>) -> Option<(f64, f64, &str)> {
    figures.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((middle, _), (most, name)) = figures.get(figures.len() / 2).zip(figures.last())?;
    Some((*middle, *most, *name))
}

/// Classes of incidents as a list without repetition.
fn classes(report: &Value) -> String {
    let mut all: Vec<&str> = list(report, "incidents").flat_map(|i| words(&i["classes"])).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// One line for the terminal.
pub(crate) fn line(name: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Skipped(why) => format!("--   {name}: {why}"),
        Outcome::Broken(why) => format!("FAIL {name}: {why}"),
        Outcome::Played(r) => {
            let mark = if r["verdict"] == "failed" { "FAIL" } else { "ok  " };
            let mut text = format!("{mark} {name} ({} s): {}", seconds(&r["seconds"]), classes(r));
            if r["kind"] == "attack" {
                let _ = write!(
                    text,
                    "; recognised after {} s, blocked after {} s",
                    seconds(&r["detected_seconds"]),
                    seconds(&r["blocked_seconds"])
                );
            }
            for why in words(&r["why"]) {
                let _ = write!(text, "\n     {why}");
            }
            text
        }
    }
}

impl Board {
    pub(crate) fn new(mut rows: Vec<Row>, took: Duration, jobs: usize, cores: usize) -> Self {
        rows.sort_by_key(|row| row.name);
        Self { rows, took, jobs, cores }
    }

    /// Whether every scenario that was played came out as its file expects.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| match &row.outcome {
            Outcome::Played(r) => r["verdict"] != "failed",
            Outcome::Skipped(_) => true,
            Outcome::Broken(_) => false,
        })
    }

    /// Scenarios that could not be played here, each with the reason.
    pub(crate) fn skipped(&self) -> String {
        let why = |row: &Row| match &row.outcome {
            Outcome::Skipped(why) => Some(format!("{} ({why})", row.name)),
            Outcome::Played(_) | Outcome::Broken(_) => None,
        };
        self.rows.iter().filter_map(why).collect::<Vec<_>>().join(", ")
    }

    fn of(&self, kind: ScenarioKind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.scenario.kind == kind)
    }

    /// How long networks took to come and go, where any did.
    fn ranges(&self) -> Option<String> {
        let figures = |key: &str| {
            let of = |row: &Row| match &row.outcome {
                Outcome::Played(report) => Some((report[key].as_f64()?, row.name)),
                Outcome::Skipped(_) | Outcome::Broken(_) => None,
            };
            spread(self.rows.iter().filter_map(of).collect())
        };
        let (up, up_most, slowest) = figures("up_seconds")?;
        let (down, down_most, last) = figures("down_seconds")?;
        Some(format!(
            "Networks with their servers were up after {up:.2} s in the middle and {up_most:.2} s at most (`{slowest}`; asked: 3 s), \
             and down after {down:.2} s and {down_most:.2} s (`{last}`; asked: 1 s), several beginning at the same time.\n"
        ))
    }

    fn count(&self, kind: ScenarioKind, is: impl Fn(&Value) -> bool) -> usize {
        self.of(kind).filter(|row| matches!(&row.outcome, Outcome::Played(r) if is(r))).count()
    }

    /// What it comes to, in sentences.
    pub(crate) fn summary(&self) -> String {
        let (attacks, benign) = (ScenarioKind::Attack, ScenarioKind::Benign);
        let verdict = |what: &'static str| move |r: &Value| r["verdict"] == what;
        let skipped = self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Skipped(_))).count();
        let broken = self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Broken(_))).count();
        let again = self.rows.iter().filter(|row| row.first.is_some()).count();
        let blocks: usize = self
            .of(benign)
            .map(|row| match &row.outcome {
                Outcome::Played(r) => list(r, "blocks").count(),
                _ => 0,
            })
            .sum();
        format!(
            "{} attacks: {} recognised as expected, {} missed as is known, {} otherwise. {} benign scenarios: {} as \
             expected, {} with a known false alarm, {} otherwise, {blocks} blocks. {skipped} skipped, {broken} could not be played, {again} played twice. {:.0} s, {} at a time on {} \
             processors.\n{}",
            self.of(attacks).count(),
            self.count(attacks, verdict("passed")),
            self.count(attacks, verdict("missed")),
            self.count(attacks, verdict("failed")),
            self.of(benign).count(),
            self.count(benign, verdict("passed")),
            self.count(benign, verdict("false_alarm")),
            self.count(benign, verdict("failed")),
            self.took.as_secs_f64(),
            self.jobs,
            self.cores,
            self.ranges().map_or_else(String::new, |text| format!("\n{text}")),
        )
    }

    /// The document.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("{HEAD}\n{}\n", self.summary());
        out += "## Attacks\n\n| scenario | what | expected | recognised | after s | blocked after s | others told of | others blocked | twin |\n\
                |---|---|---|---|---|---|---|---|---|\n";
        for Row { name, scenario, outcome, .. } in self.of(ScenarioKind::Attack) {
            let expected = scenario.expect.as_ref().map_or("-", |e| e.class.as_str());
            let twin = scenario.twin.as_deref().unwrap_or("-");
            let came = match outcome {
                Outcome::Played(r) => {
                    let others = list(r, "blocks").filter(|b| b["innocent"] == true).count();
                    let told = list(r, "incidents").filter(|i| i["innocent"] == true).count();
                    let recognised = match r["verdict"].as_str() {
                        Some("missed") => "missed".to_owned(),
                        Some("passed") => classes(r),
                        _ => format!("{} (otherwise than expected)", classes(r)),
                    };
                    let (after, blocked) = (seconds(&r["detected_seconds"]), seconds(&r["blocked_seconds"]));
                    format!("{recognised} | {after} | {blocked} | {told} | {others}")
                }
                Outcome::Skipped(why) => format!("skipped: {why} | - | - | - | -"),
                Outcome::Broken(why) => format!("could not be played: {why} | - | - | - | -"),
            };
            let _ = writeln!(out, "| `{name}` | {} | {expected} | {came} | `{twin}` |", scenario.title);
        }
        out += "\n## Benign\n\nNone may be blocked, and no incident of severity medium or above may be told of anybody but \
                who is on the allowlist.\n\n| scenario | what | incidents | blocks |\n|---|---|---|---|\n";
        for Row { name, scenario, outcome, .. } in self.of(ScenarioKind::Benign) {
            let came = match outcome {
                Outcome::Played(r) => {
                    let incidents: Vec<String> = list(r, "incidents").map(incident).collect();
                    let incidents =
                        if incidents.is_empty() { "none".to_owned() } else { incidents.join("; ") };
                    format!("{incidents} | {}", list(r, "blocks").count())
                }
                Outcome::Skipped(why) => format!("skipped: {why} | -"),
                Outcome::Broken(why) => format!("could not be played: {why} | -"),
            };
            let _ = writeln!(out, "| `{name}` | {} | {came} |", scenario.title);
        }
        self.notes(&mut out);
        out
    }

    /// What a table cannot say: second tries, known misses, time compressed, and failures.
    fn notes(&self, out: &mut String) {
        let mut notes = Vec::new();
        for Row { name, scenario, outcome, first } in &self.rows {
            if let Some(why) = first {
                notes.push(format!("- `{name}` was played twice; the first time: {why}."));
            }
            if let Some(why) = scenario.expect.as_ref().and_then(|e| e.missed.as_deref()) {
                notes.push(format!("- `{name}` is missed: {why}."));
            }
            if let Some(why) = &scenario.false_alarm {
                notes.push(format!("- `{name}` is a known false alarm: {why}."));
            }
            if let Some(a) = &scenario.adjusted {
                let rules: Vec<&str> = a.rules.keys().map(String::as_str).collect();
                notes.push(format!("- `{name}` changes the rule `{}`: {}", rules.join("`, `"), a.why));
            }
            if let Outcome::Played(r) = outcome {
                notes.extend(
                    words(&r["harmed_steps"])
                        .iter()
                        .map(|s| format!("- In `{name}` somebody harmless failed: {s}.")),
                );
            }
            if let Outcome::Played(r) = outcome
                && r["verdict"] == "failed"
            {
                notes.push(format!(
                    "- `{name}` came out otherwise than expected: {}.",
                    words(&r["why"]).join("; ")
                ));
            }
        }
        if !notes.is_empty() {
            let _ = write!(out, "\n## Notes\n\n{}\n", notes.join("\n"));
        }
    }
}

fn incident(i: &Value) -> String {
    let text = |key: &str| i[key].as_str().unwrap_or_default().to_owned();
    format!("{} {} of {}", text("severity"), words(&i["classes"]).join(", "), text("actor"))
}
