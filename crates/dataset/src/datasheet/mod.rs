//! The datasheet of a dataset: what it holds, how it came to be, how good it is, and what it is not good for.
//!
//! Its sections answer what T. Gebru et al. ask in "Datasheets for datasets" (Communications of the ACM 64(12), 2021) as far as
//! the data and its manifest tell. One content, written as Markdown and as one HTML file that loads nothing from elsewhere.

mod html;
mod markdown;
mod plot;

pub use html::{html, page, table};
pub use markdown::markdown;
pub use plot::{Bars, escape};

use crate::drift::{CHANGED, Drift, STABLE};
use crate::manifest::Manifest;
use crate::profile::Profile;
use crate::schema::Role;
use crate::score::Score;
use crate::skew::Skew;
use crate::{Dataset, Leakage};

/// Columns listed in tables and plots: more than anybody reads, fewer than a file of megabytes.
const LISTED: usize = 200;

/// Everything that is known of a dataset.
pub struct Facts<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Its columns.
    pub profile: &'a Profile,
    /// Its score.
    pub score: &'a Score,
    /// Flows by hour of the day, UTC.
    pub hours: &'a [u64; 24],
    /// First and last time, ns since 1970.
    pub span: Option<(u64, u64)>,
    /// Equal rows.
    pub leakage: &'a Leakage,
    /// The other side of the split, if one was compared.
    pub split: Option<&'a Dataset>,
    /// Place of the column of classes.
    pub class: Option<usize>,
    /// Its manifest.
    pub manifest: Option<&'a Manifest>,
    /// Difference to a reference, with its name.
    pub drift: Option<(&'a str, &'a Drift)>,
    /// Difference to what is extracted now, with the capture's name.
    pub skew: Option<(&'a str, &'a Skew)>,
}

/// A piece of a datasheet.
enum Block {
    Heading(String),
    Text(String),
    /// Header and rows.
    Table(Vec<String>, Vec<Vec<String>>),
    /// A plot; Markdown leaves it out.
    Plot(Bars),
    /// Plots side by side.
    Plots(Vec<Bars>),
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn figure(x: f64) -> String {
    // Decimals of large numbers are beyond what a sketch knows.
    if x == 0.0 || ((x.fract() == 0.0 || x.abs() >= 1e3) && x.abs() < 1e9) {
        format!("{x:.0}")
    } else if x.abs() >= 1e-3 && x.abs() < 1e9 {
        format!("{x:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{x:.3e}")
    }
}

fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// The datasheet's content, in order.
fn blocks(f: &Facts<'_>) -> Vec<Block> {
    let mut out = Vec::new();
    composition(f, &mut out);
    quality(f, &mut out);
    classes(f, &mut out);
    duplicates(f, &mut out);
    collection(f, &mut out);
    if let Some((name, drift)) = f.drift {
        drifted(name, drift, &mut out);
    }
    if let Some((name, skew)) = f.skew {
        skewed(name, skew, &mut out);
    }
    columns(f, &mut out);
    out.push(Block::Heading("Limits".into()));
    out.push(Block::Text(
        "Figures describe this dataset, not the network it was made in. Quantiles are exact to 1 %. Duplicates are rows equal \
         in every feature; identity, places, times and classes do not count. A high score does not make labels true."
            .into(),
    ));
    out
}

fn composition(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading("Composition".into()));
    let mut rows = vec![
        vec!["rows".into(), f.profile.rows.to_string()],
        vec!["columns".into(), f.profile.columns.len().to_string()],
        vec!["files".into(), f.dataset.files().len().to_string()],
        vec!["format".into(), f.dataset.format().ending().into()],
        vec!["schema".into(), f.dataset.schema().hash()],
    ];
    if let Some((first, last)) = f.span {
        rows.push(vec!["first flow".into(), crate::cell::rfc3339(first)]);
        rows.push(vec!["last flow".into(), crate::cell::rfc3339(last)]);
    }
    out.push(Block::Table(strings(["what", "value"]), rows));
}

fn quality(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading(format!(
        "Quality: {:.0} of 100, {}",
        f.score.percent,
        if f.score.complete { "complete" } else { "not complete" }
    )));
    let rows = f
        .score
        .items
        .iter()
        .map(|i| vec![i.text(), i.share().map_or_else(|| "–".into(), percent), i.state().to_owned()]);
    out.push(Block::Table(strings(["figure", "share of goal", "goal"]), rows.collect()));
    let shares =
        f.score.items.iter().map(|i| (i.name.to_owned(), (i.share().unwrap_or(0.0) * 1000.0).round() / 10.0));
    out.push(Block::Plot(Bars::named("Share of each goal, %", shares.collect())));
    if f.span.is_some() {
        let hours = f.hours.iter().enumerate().map(|(h, n)| (format!("{h:02}"), *n as f64));
        out.push(Block::Plot(Bars::upright("Flows by hour of the day, UTC", hours.collect())));
    }
}

fn classes(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading("Classes".into()));
    let Some(column) = f.class.and_then(|at| f.profile.columns.get(at)) else {
        out.push(Block::Text("No column says what a flow was (class, attack_cat, Label).".into()));
        return;
    };
    let words = column.categories.sorted();
    let mut counts: Vec<(String, u64)> = if words.is_empty() {
        column
            .histogram
            .bars(LISTED)
            .into_iter()
            .map(|(x, n)| (figure(x.round()), n))
            .filter(|b| b.1 > 0)
            .collect()
    } else {
        words.into_iter().map(|(w, n)| (w.to_owned(), n)).collect()
    };
    counts.truncate(LISTED);
    if column.absent > 0 {
        counts.push(("(absent)".into(), column.absent));
    }
    let total: u64 = counts.iter().map(|(_, n)| n).sum();
    let share = |n: u64| if total == 0 { 0.0 } else { n as f64 / total as f64 };
    out.push(Block::Text(format!(
        "Column `{}`, {} classes, evenness {:.2} (0: all of one class, 1: all equally often). {} different rows have more than \
         one class.",
        column.column.name,
        counts.len(),
        crate::categories::evenness(counts.iter().map(|c| c.1)),
        f.leakage.contradictory
    )));
    let rows = counts.iter().map(|(w, n)| vec![w.clone(), n.to_string(), percent(share(*n))]);
    out.push(Block::Table(strings(["class", "rows", "share"]), rows.collect()));
    out.push(Block::Plot(Bars::named(
        "Rows by class",
        counts.into_iter().map(|(w, n)| (w, n as f64)).collect(),
    )));
}

fn duplicates(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading("Duplicates and leakage".into()));
    let [rows, other_rows] = f.leakage.rows;
    let [unique, other_unique] = f.leakage.unique;
    out.push(Block::Text(format!(
        "{unique} of {rows} rows are different in their features; {} repeat another one.",
        percent(f.leakage.duplicate_share())
    )));
    if let Some(split) = f.split {
        out.push(Block::Text(format!(
            "Against {} ({other_rows} rows, {other_unique} different): {} of its rows ({}) are in this dataset too, {} different \
             ones. A test with them asks for what was learnt by heart.",
            split.path().display(),
            f.leakage.leaked,
            percent(f.leakage.leaked_share()),
            f.leakage.shared
        )));
    }
}

fn collection(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading("Collection, privacy and retention".into()));
    let Some(m) = f.manifest else {
        out.push(Block::Text("There is no manifest: how it was made, what was lost and how long it is to be kept is not known.".into()));
        return;
    };
    let (seen, lost) = m.packets();
    out.push(Block::Table(
        strings(["what", "value"]),
        vec![
            vec!["made by".into(), m.program.clone()],
            vec!["addresses replaced".into(), m.anonymised.clone()],
            vec!["packets kept".into(), m.payload.clone()],
            vec!["retention".into(), m.retention.clone()],
            vec![
                "packets seen".into(),
                if m.runs.is_empty() { "not stated".into() } else { seen.to_string() },
            ],
            vec!["lost".into(), if m.runs.is_empty() { "not stated".into() } else { lost.to_string() }],
        ],
    ));
    if m.runs.is_empty() {
        return;
    }
    let rows = m.runs.iter().rev().take(LISTED).map(|r| {
        vec![
            r.start.clone(),
            if r.clean { r.end.clone() } else { format!("{} (cut off)", r.end) },
            r.interfaces.join(", "),
            r.sensor.clone(),
            r.packets.to_string(),
            r.rows.to_string(),
            r.lost().to_string(),
        ]
    });
    let header = ["from", "to", "interfaces", "sensor", "packets", "rows", "lost"];
    out.push(Block::Table(strings(header), rows.collect()));
}

fn drifted(name: &str, drift: &Drift, out: &mut Vec<Block>) {
    out.push(Block::Heading(format!("Drift against {name}")));
    let (changed, of) = (drift.changed().count(), drift.columns.len());
    out.push(Block::Text(format!(
        "{changed} of {of} columns changed (PSI of {CHANGED} and more; below {STABLE} is stable). KS is the largest difference of \
         the cumulative distributions."
    )));
    let one_sided = [("Only here", &drift.only_here), ("Only there", &drift.only_there)];
    for (where_, columns) in one_sided.into_iter().filter(|(_, c)| !c.is_empty()) {
        out.push(Block::Text(format!("{where_}: {}.", columns.join(", "))));
    }
    let rows = drift.columns.iter().take(LISTED).map(|c| {
        let number = |x: Option<f64>| x.map_or_else(|| "–".into(), figure);
        vec![c.column.clone(), format!("{:.4}", c.psi), number(c.ks), number(c.ks_p)]
    });
    out.push(Block::Table(strings(["column", "PSI", "KS", "p"]), rows.collect()));
    let top = drift.columns.iter().take(20).map(|c| (c.column.clone(), c.psi));
    out.push(Block::Plot(Bars::named("PSI, the twenty largest", top.collect())));
}

fn skewed(name: &str, skew: &Skew, out: &mut Vec<Block>) {
    out.push(Block::Heading("Train-serve skew".into()));
    out.push(Block::Text(format!(
        "Flows of {name} extracted again: {} joined{}, {} of the dataset not found again, {} extracted that the dataset does not \
         have.",
        skew.joined,
        if skew.sampled { " (a sample)" } else { "" },
        skew.missing,
        skew.extra
    )));
    if !skew.unknown.is_empty() {
        out.push(Block::Text(format!("Features the extractor does not know: {}.", skew.unknown.join(", "))));
    }
    if skew.columns.is_empty() {
        out.push(Block::Text("No feature differs.".into()));
        return;
    }
    let rows = skew.columns.iter().take(LISTED).map(|c| {
        vec![
            c.column.clone(),
            c.differing.to_string(),
            if c.largest >= 2.0 { "other value or absent".into() } else { figure(c.largest) },
        ]
    });
    out.push(Block::Table(
        strings(["feature", "rows that differ", "largest relative difference"]),
        rows.collect(),
    ));
}

fn columns(f: &Facts<'_>, out: &mut Vec<Block>) {
    out.push(Block::Heading("Columns".into()));
    let rows = f.profile.columns.iter().take(LISTED).map(|c| {
        let range = c.histogram.range();
        let quantile = |q| c.histogram.quantile(q).map_or_else(String::new, figure);
        let common = c.categories.sorted();
        let common: Vec<String> = common.iter().take(3).map(|(w, n)| format!("{w} ({n})")).collect();
        let absent = if f.profile.rows == 0 { 0.0 } else { c.absent as f64 / f.profile.rows as f64 };
        vec![
            c.column.name.clone(),
            c.column.kind.name().into(),
            percent(absent),
            c.not_finite.to_string(),
            range.map_or_else(String::new, |r| figure(r.0)),
            quantile(0.5),
            quantile(0.99),
            range.map_or_else(String::new, |r| figure(r.1)),
            if common.is_empty() && c.is_constant() { "constant".into() } else { common.join(", ") },
        ]
    });
    let header =
        ["column", "type", "absent", "not finite", "least", "median", "99 %", "largest", "most frequent"];
    out.push(Block::Table(strings(header), rows.collect()));
    let feature =
        |c: &&crate::ColumnProfile| Role::of(&c.column.name).is_feature() && c.histogram.count() > 0;
    let plots = f.profile.columns.iter().filter(feature).filter(|c| !c.is_constant()).take(LISTED).map(|c| {
        let mut bars: Vec<(String, f64)> =
            c.histogram.bars(40).into_iter().map(|(x, n)| (figure(x), n as f64)).collect();
        // The ends are named by the true least and largest value.
        if let Some((least, largest)) = c.histogram.range() {
            if let Some(last) = bars.last_mut() {
                last.0 = figure(largest);
            }
            if let Some(first) = bars.first_mut() {
                first.0 = figure(least);
            }
        }
        Bars::upright(&c.column.name, bars)
    });
    out.push(Block::Plots(plots.collect()));
}
