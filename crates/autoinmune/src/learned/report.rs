//! What was measured of learned detectors, as a page.

use detect::learned::vector::FEATURES;
use serde_json::Value;
use std::fmt::Write as _;

/// What the figures are about.
const ABOUT: &str = "\
# Learned detectors

Two kinds of models judge beside the rules. They come in a bundle (docs/learning.md); the one built in is used unless
`models.bundle` in the configuration, or `replay --models`, names another or `none`.

- **Flows** (`learned-flows`). Each flow that ends, or has had 64, 128, 256, … packets, is asked \"is this normal?\" and, below a
  probability of 0.85, \"which attack is it like?\", or nothing known: class `anomaly`, kind `unknown`.
- **Windows** (`learned-windows`). Each window of 10 s of a source with at least 8 packets or 4 flows is looked at in three ways:
  how far it is from dense regions of usual windows (spatial), how badly a small network rebuilds the last six windows
  (temporal), and how far its features are from their medians (statistical). An isolation forest of the same sequences is the
  baseline for the temporal view. Which of the views decide, and why, is said with the figures below. There is a conservative
  model, of windows that are surely usual, and an adaptive one, of all windows by weight; both finding something reads
  `high_confidence_attack`, one alone `investigate_edge_case` or `subtle_anomaly`.

Scores become p-values against usual traffic that the model did not learn from, and those of one source add up as e-values
(Shiryaev-Roberts). Windows of one source are alike, though: a host of a kind that no model saw is a little strange in all of
them. A window of a source that was strange lately is therefore compared with usual windows that came after strange ones: only
what is stranger than such hosts are adds up further. A signal is given where they exceed what the budget of false alarms
allows: one a day of a host by default, shared by the two kinds. Grades: `ml_low_risk` at the budget, `ml_medium_risk` at a
seventh of it, `ml_high_risk` at a thirtieth, `ml_critical_risk` at a 365th. Signals name the features that had most to do with
it, with what is usual.

What is learnt never blocks by itself. A block needs a rule that may block, or both kinds of learned signals about the same source
within 60 s: the classifier naming a class, and the ensemble reading `high_confidence_attack`, each at least `ml_medium_risk`.
The three views are one opinion.

## Limits

- One window cannot exceed the budget: an attack must last for three windows or more (30 s) to be signalled. Rules are there
  for the quick ones.
- A flow that nobody answers is judged when it is forgotten: after a minute, TCP after five.
- What hosts of kinds that were never seen do can be stranger than all strange hosts of calibration, and is an alarm then. There
  are few of these, so that an attack that goes on evenly may be taken for the habit of an odd host.
- So the shipped models keep quiet rather than find much: of attackers held out they find none (see the figures). What they add
  is seen on attacks that go on for minutes.
- The shipped models know usual traffic of the lab, of household devices and of some captures; hosts and hours of the network
  they watch they learn only with continuous learning.
- Sources on the allowlist are not judged. Memory: 4,096 sources by each kind, sequences of 4,096, contacts of 8,192; what is
  pushed out is counted (`learned_sources_evicted`).

";

/// The page: what learned detectors do, the features of a window, and the figures of the bundle that comes with the program.
///
/// # Errors
/// It is not as it was signed.
pub fn markdown() -> anyhow::Result<String> {
    let mut out = ABOUT.to_owned();
    out.push_str(
        "## Features of a window\n\nOf one source, within 10 s. Counts are seen through log(1 + x).\n\n",
    );
    out.push_str("| name | is | in words |\n|---|---|---|\n");
    for f in &FEATURES {
        let _ = writeln!(out, "| `{}` | {} | {} |", f.name, f.formula, f.label);
    }
    out.push_str(
        "\nFlows are judged by the features that `autoinmune models show default` lists, defined in docs/features.md.\n\n\
         ## Figures of the shipped bundle\n\n\
         Each capture is judged by models that saw none of its group (models/default-plan.toml). `lab` is known attacks played \
         again, with their benign twins; `public` is sources and mostly attacks never seen. What is usual of sources \
         is decided by one half of the groups, drawn by chance; the figures are those of the other half. How views are combined \
         was chosen with all groups in sight, and by more than one criterion before this one, so the comparison of ways is of known \
         ground: by the half that chooses it would be the autoencoder, but an hour of the lab's \
         ordinary traffic, the one capture in which many hosts are active for long, shows that it takes long sequences for \
         strange. Of the ways that stay near the budget there, the spatial view alone tells attacks apart best; two of three does \
         not beat it. The autoencoder does not beat the isolation forest by false alarms in that hour, and neither is used. An attacker \
         is a source of an attack, forged ones of a flood included; in brackets those that attack for three windows or more, as \
         nobody else can be found by adding up. A host-day is 8,640 windows with traffic; `at most` is what the false alarms of a \
         host-day do not exceed with a confidence of 95 %, given how few of them were counted in how little time.\n\n",
    );
    out.push_str(&markdown_of(&super::shipped()?.manifest().figures));
    Ok(out)
}

/// Figures as tables.
#[must_use]
pub fn markdown_of(figures: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Learnt from {} flows; {} windows by the conservative model, {} by the adaptive one. The views are combined by: {}.",
        figures["flows"],
        figures["windows"][0],
        figures["windows"][1],
        figures["voting"].as_str().unwrap_or_default()
    );
    for (from, figures) in figures["tests"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "\n### Measured on `{from}`\n");
        section(&mut out, figures);
    }
    out
}

fn section(out: &mut String, figures: &Value) {
    let windows = &figures["windows"];
    let _ =
        writeln!(out, "{} windows of usual traffic, {} of attacks.\n", windows["normal"], windows["attacks"]);
    let _ = writeln!(
        out,
        "| view | AUC | recall at 1 % false | votes, usual | votes, attacks | attackers found | false alarms | of sources | a host-day | at most |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|---|");
    for q in windows["qualities"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} of {} ({}) | {} | {} | {} | {} |",
            q["name"].as_str().unwrap_or_default(),
            number(&q["auc"]),
            number(&q["recall_at_1_percent"]),
            number(&q["votes_normal"]),
            number(&q["votes_attack"]),
            q["attackers_found"],
            q["attackers"],
            q["lasting"],
            q["false_alarms"],
            q["others"],
            number(&q["false_alarms_per_host_day"]),
            number(&q["at_most_per_host_day"]),
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
         {} of {} attackers ({} lasting) found, {} false alarms of {} sources ({} a host-day, at most {}).\n",
        flows["normal"],
        flows["attacks"],
        number(&flows["auc"]),
        number(&flows["recall_at_1_percent"]),
        number(&flows["normal_kept"]),
        number(&flows["attacks_found"]),
        flows["attackers_found"],
        flows["attackers"],
        flows["lasting"],
        flows["false_alarms"],
        flows["others"],
        number(&flows["false_alarms_per_host_day"]),
        number(&flows["at_most_per_host_day"]),
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
