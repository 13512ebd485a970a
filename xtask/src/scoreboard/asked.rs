//! What figures were to be reached, and which were not.

use super::runs::Outcome;

/// A figure that was asked for.
pub(crate) struct Asked {
    /// What it is called in the document.
    name: &'static str,
    /// At least so much.
    least: f64,
    /// Where it is in what the program prints.
    pointer: &'static str,
}

const fn asked(name: &'static str, least: f64, pointer: &'static str) -> Asked {
    Asked { name, least, pointer }
}

/// Of UNSW-NB15, grouped.
pub(crate) const UNSW: [Asked; 5] = [
    asked("AUC", 0.998, "/binary/auc"),
    asked("recall at 1 %", 0.970, "/binary/recall_at_fpr/0.01"),
    asked("recall at 0.1 %", 0.910, "/binary/recall_at_fpr/0.001"),
    asked("F1", 0.982, "/binary/f1"),
    asked("macro F1", 0.60, "/macro_f1"),
];

/// Of the corrected CICIDS2017, grouped.
pub(crate) const CICIDS: [Asked; 1] = [asked("macro F1", 0.989, "/macro_f1")];

/// One sentence: what was asked for, and what of it was reached.
pub(crate) fn sentence(source: &str, asked: &[Asked], outcomes: &[Outcome]) -> String {
    let wanted: Vec<String> = asked.iter().map(|a| format!("{} ≥ {}", a.name, a.least)).collect();
    let mut words = Vec::new();
    for outcome in outcomes {
        let missed: Vec<String> = asked
            .iter()
            .filter_map(|a| {
                let found = outcome.figure(a.pointer);
                // Not so that a figure that is missing passes.
                let reached = found >= a.least;
                (!reached).then(|| format!("{} {found:.4}", a.name))
            })
            .collect();
        words.push(match missed.as_slice() {
            [] => format!("{} reaches all of it", outcome.model),
            _ => format!("{} misses {}", outcome.model, missed.join(", ")),
        });
    }
    format!("Asked of {source}: {}. {}.", wanted.join(", "), words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missed_or_missing_is_said() {
        let outcome = |macro_f1: serde_json::Value| Outcome {
            model: "boosting".into(),
            printed: json!({"macro_f1": macro_f1}),
        };
        assert!(sentence("x", &CICIDS, &[outcome(json!(0.99))]).ends_with("boosting reaches all of it."));
        assert!(
            sentence("x", &CICIDS, &[outcome(json!(0.98))]).ends_with("boosting misses macro F1 0.9800.")
        );
        assert!(sentence("x", &CICIDS, &[outcome(json!(null))]).ends_with("misses macro F1 NaN."));
    }
}
