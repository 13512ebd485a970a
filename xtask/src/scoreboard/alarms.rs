//! What the shipped bundle's own figures say of false alarms: what an operator pays for its detection.

use super::Setup;
use crate::exactness::table;
use crate::shell;
use anyhow::Context as _;
use serde_json::Value;

/// The bundle that is built in.
const MANIFEST: &str = "models/default/manifest.json";

/// False alarms of the shipped bundle on ordinary traffic that the measured models did not learn from.
pub(crate) fn shipped(_: &Setup) -> anyhow::Result<String> {
    let path = shell::root().join(MANIFEST);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {MANIFEST}"))?;
    let manifest: Value = serde_json::from_str(&text).with_context(|| format!("{MANIFEST} is not JSON"))?;
    let rows = rows(&manifest["figures"]);
    anyhow::ensure!(!rows.is_empty(), "{MANIFEST} has no measured figures");
    let head =
        ["tested with", "model", "AUC", "false alarms", "ordinary sources", "a host-day", "attackers found"];
    Ok(format!(
        "Of the shipped bundle, by the figures that its manifest was signed with: signals about ordinary sources of traffic \
         that the measured models did not learn from, and what they amount to for a host that is busy all day (8,640 windows \
         of 10 s). The budget is one a day for both models together; *live* are the models that judge unless configured \
         otherwise, the rest are views that were measured beside them. Few hours of traffic stand behind these figures: one \
         alarm more or less moves them by several a day. docs/learning-ensemble.md has all of them, with recall by class.\n\n{}",
        table(&head, &rows)
    ))
}

/// One row for each model and each traffic it was tested with.
fn rows(figures: &Value) -> Vec<Vec<String>> {
    let voting = figures["voting"].as_str().unwrap_or_default();
    let mut rows = Vec::new();
    for (tested, found) in figures["tests"].as_object().into_iter().flatten() {
        rows.push(row(tested, "flows (live)", &found["flows"]));
        for quality in found["windows"]["qualities"].as_array().into_iter().flatten() {
            let name = quality["name"].as_str().unwrap_or_default();
            let live = if name == voting { " (live)" } else { "" };
            rows.push(row(tested, &format!("windows, {name}{live}"), quality));
        }
    }
    rows
}

fn row(tested: &str, model: &str, found: &Value) -> Vec<String> {
    let number = |key: &str, digits: usize| {
        found[key].as_f64().map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    vec![
        tested.to_owned(),
        model.to_owned(),
        number("auc", 3),
        number("false_alarms", 0),
        number("others", 0),
        number("false_alarms_per_host_day", 2),
        format!("{} of {}", number("attackers_found", 0), number("attackers", 0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_model_and_test_has_a_row_and_what_is_missing_is_no_number() {
        let quality = |name: &str| {
            json!({"name": name, "auc": 0.9, "false_alarms": 2, "others": 7, "false_alarms_per_host_day": 6.0525,
                   "attackers": 3, "attackers_found": 1})
        };
        let figures = json!({
            "voting": "two of three",
            "tests": {"lab": {"flows": {"auc": 0.5}, "windows": {"qualities": [quality("two of three"), quality("spatial")]}}}
        });
        let rows = rows(&figures);
        assert_eq!(rows[0], ["lab", "flows (live)", "0.500", "–", "–", "–", "– of –"]);
        assert_eq!(rows[1], ["lab", "windows, two of three (live)", "0.900", "2", "7", "6.05", "1 of 3"]);
        assert_eq!(rows[2][1], "windows, spatial");
        assert_eq!(rows.len(), 3);
    }
}
