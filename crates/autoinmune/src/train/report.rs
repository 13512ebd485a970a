//! What a training came to, as one page: curves, matrix and importance as pictures, and where it all came from.

use super::chart::{Axis, Curve, STYLE, matrix};
use crate::eval::{Figures, Judged, share};
use dataset::datasheet::{Bars, escape, page, table};
use learn::calibrate::calibration_error;
use learn::metric::Ranking;
use std::fmt::Write as _;

/// Bins of the calibration plot.
const BINS: usize = 10;

/// Everything the page tells.
pub struct Facts<'a> {
    /// Name of the bundle.
    pub title: String,
    /// Name and value of what there is to say in a line each.
    pub summary: Vec<(String, String)>,
    /// The figures.
    pub figures: &'a Figures,
    /// The test, judged.
    pub judged: Judged<'a>,
    /// Mean contribution of each feature, largest first.
    pub importance: Vec<(String, f64)>,
    /// Columns not learnt from, and why.
    pub dropped: Vec<(String, String)>,
    /// What the user should know.
    pub notes: &'a [String],
}

/// The page.
pub fn html(facts: &Facts<'_>) -> String {
    let mut out = String::new();
    let pairs =
        |list: &[(String, String)]| list.iter().map(|(a, b)| vec![a.clone(), b.clone()]).collect::<Vec<_>>();
    let header = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    // Writing to a String does not fail.
    let _ = writeln!(out, "{}", table(&header(&["", ""]), &pairs(&facts.summary)));
    for note in facts.notes {
        let _ = writeln!(out, "<p>{}</p>", escape(note));
    }
    let _ = writeln!(out, "<h2>Normal or not</h2>\n<div class=\"charts\">");
    let ranking = facts.judged.ranking();
    let probabilities = facts.judged.probabilities();
    out.push_str(&roc(&ranking));
    out.push_str(&precision_recall(&ranking));
    out.push_str(&calibration(&probabilities));
    let _ = writeln!(out, "</div>\n<h2>Classes</h2>");
    out.push_str(&matrix(
        "Rows: what it is. Columns: what it was taken for. Colour: share of the row.",
        &facts.figures.classes,
        &facts.figures.confusion,
    ));
    let rows: Vec<Vec<String>> = facts
        .figures
        .per_class
        .iter()
        .map(|(name, c)| {
            let trained = if c.trained { "" } else { " (not in training)" };
            vec![
                format!("{name}{trained}"),
                c.support.to_string(),
                share(c.precision),
                share(c.recall),
                share(c.f1),
            ]
        })
        .collect();
    let _ = writeln!(out, "{}", table(&header(&["class", "rows", "precision", "recall", "F1"]), &rows));
    let _ = writeln!(out, "<h2>Features</h2>");
    let title = "Mean size of a feature's contribution to \"normal or not\", log odds";
    out.push_str(&Bars::named(title, facts.importance.clone()).figure());
    if !facts.dropped.is_empty() {
        let _ = writeln!(
            out,
            "<h2>Not learnt from</h2>\n{}",
            table(&header(&["column", "why"]), &pairs(&facts.dropped))
        );
    }
    page(&facts.title, STYLE, &out)
}

fn roc(ranking: &Ranking) -> String {
    Curve {
        title: "ROC: share of attacks found by share of normal rows taken for attacks",
        x: ("false-positive rate", Axis::Decades(-4)),
        y: ("recall", Axis::Share),
        points: ranking
            .roc()
            .map(|(_, fpr, recall)| (fpr, recall))
            .filter(|p| !p.0.is_nan() && !p.1.is_nan())
            .collect(),
        dots: false,
        diagonal: false,
    }
    .figure()
}

fn precision_recall(ranking: &Ranking) -> String {
    Curve {
        title: "Precision and recall by threshold",
        x: ("recall", Axis::Share),
        y: ("precision", Axis::Share),
        points: ranking.precision_recall().map(|(_, r, p)| (r, p)).filter(|p| !p.0.is_nan()).collect(),
        dots: false,
        diagonal: false,
    }
    .figure()
}

fn calibration(samples: &[(f32, bool)]) -> String {
    let mut bins = [(0.0_f64, 0_u64, 0_u64); BINS];
    for (p, attack) in samples {
        let at = ((f64::from(*p) * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(at) {
            *bin = (bin.0 + f64::from(*p), bin.1 + u64::from(*attack), bin.2 + 1);
        }
    }
    let points =
        bins.iter().filter(|b| b.2 > 0).map(|(p, hits, n)| (p / *n as f64, *hits as f64 / *n as f64));
    let error = calibration_error(samples, BINS);
    Curve {
        title: &format!("Calibration: mean error {error:.4}; on the dashed line probabilities are true"),
        x: ("stated probability of an attack", Axis::Share),
        y: ("share of attacks", Axis::Share),
        points: points.collect(),
        dots: true,
        diagonal: true,
    }
    .figure()
}
