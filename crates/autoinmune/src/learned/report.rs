//! What was measured of learned detectors, as a page.

use serde_json::Value;
use std::fmt::Write as _;

/// The figures of the bundle that comes with the program.
///
/// # Errors
/// It is not as it was signed.
pub fn markdown() -> anyhow::Result<String> {
    Ok(markdown_of(&super::shipped()?.manifest().figures))
}

/// Figures as tables.
#[must_use]
pub fn markdown_of(figures: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Learnt from {} h of captures. The views are combined by: {}.",
        number(&figures["hours"]),
        figures["voting"].as_str().unwrap_or_default()
    );
    for (from, figures) in figures["tests"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "\n## Measured on `{from}`\n");
        section(&mut out, figures);
    }
    out
}

fn section(out: &mut String, figures: &Value) {
    let windows = &figures["windows"];
    let _ = writeln!(
        out,
        "{} h of captures, {} windows of usual traffic, {} of attacks.\n",
        number(&figures["hours"]),
        windows["normal"],
        windows["attacks"]
    );
    let _ = writeln!(
        out,
        "| view | AUC | recall at 1 % false | votes, usual | votes, attacks | attackers found | false alarms | of sources | a host-day |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|");
    for q in windows["qualities"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} of {} | {} | {} | {} |",
            q["name"].as_str().unwrap_or_default(),
            number(&q["auc"]),
            number(&q["recall_at_1_percent"]),
            number(&q["votes_normal"]),
            number(&q["votes_attack"]),
            q["attackers_found"],
            q["attackers"],
            q["false_alarms"],
            q["others"],
            number(&q["false_alarms_per_host_day"]),
        );
    }
    let _ = writeln!(out, "\nA vote is a p-value of at most {}.\n", number(&windows["level"]));
    let _ = writeln!(out, "| correlation of votes (φ) | usual windows | windows of attacks |");
    let _ = writeln!(out, "|---|---|---|");
    for (i, pair) in
        ["spatial and temporal", "spatial and statistical", "temporal and statistical"].iter().enumerate()
    {
        let (normal, attack) = (&windows["correlation_normal"][i], &windows["correlation_attack"][i]);
        let _ = writeln!(out, "| {pair} | {} | {} |", number(normal), number(attack));
    }
    let flows = &figures["flows"];
    let _ = writeln!(
        out,
        "\nFlows: {} usual and {} of attacks; AUC {}, recall at 1 % false {}, usual flows kept {}, attacks found {}; \
         {} of {} attackers found, {} false alarms of {} sources ({} a host-day).\n",
        flows["normal"],
        flows["attacks"],
        number(&flows["auc"]),
        number(&flows["recall_at_1_percent"]),
        number(&flows["normal_kept"]),
        number(&flows["attacks_found"]),
        flows["attackers_found"],
        flows["attackers"],
        flows["false_alarms"],
        flows["others"],
        number(&flows["false_alarms_per_host_day"]),
    );
    let _ = writeln!(out, "| class | flows | found | named rightly | called unknown |");
    let _ = writeln!(out, "|---|---|---|---|---|");
    for (class, c) in flows["classes"].as_object().into_iter().flatten() {
        let _ = writeln!(
            out,
            "| {class} | {} | {} | {} | {} |",
            c["flows"],
            number(&c["found"]),
            number(&c["named"]),
            number(&c["unknown"])
        );
    }
}

/// Three digits behind the point; `-` for what is none.
fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"))
}
