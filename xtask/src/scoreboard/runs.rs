//! Training and testing within one source.

use super::{Setup, asked, progress};
use crate::exactness::table;
use crate::shell;
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};

const UNSW: &str = "flows/unsw-nb15/train.csv.gz";
const CICIDS: &str = "flows/cicids2017-corrected/train.csv.gz";
const USTC: &str = "flows/ustc-tfc2016";
const MODELS: [&str; 3] = ["forest", "boosting", "hybrid"];

/// What the program printed of one model.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its kind.
    pub(crate) model: String,
    /// The whole object.
    pub(crate) printed: Value,
}

impl Outcome {
    /// A number of it; NaN if there is none.
    pub(crate) fn figure(&self, pointer: &str) -> f64 {
        self.printed.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn cell(&self, pointer: &str) -> String {
        let value = self.figure(pointer);
        if value.is_nan() { "–".to_owned() } else { format!("{value:.4}") }
    }

    /// The columns of every table.
    pub(crate) fn cells(&self) -> Vec<String> {
        let whole = |pointer: &str| format!("{:.0}", self.figure(pointer));
        vec![
            self.model.clone(),
            whole("/train_rows"),
            whole("/rows"),
            self.cell("/binary/auc"),
            self.cell("/binary/recall_at_fpr/0.01"),
            self.cell("/binary/recall_at_fpr/0.001"),
            self.cell("/binary/precision"),
            self.cell("/binary/recall"),
            self.cell("/binary/f1"),
            self.cell("/binary/fpr"),
            self.cell("/macro_f1"),
            format!("{:.1}", self.figure("/train_seconds")),
            format!(
                "{:.0} / {:.0}",
                self.figure("/inference_ns_per_row/single"),
                self.figure("/inference_ns_per_row/batch")
            ),
        ]
    }
}

/// Names of the columns of [`Outcome::cells`].
pub(crate) const COLUMNS: [&str; 13] = [
    "model",
    "learnt from",
    "tested with",
    "AUC",
    "recall at 1 %",
    "recall at 0.1 %",
    "precision",
    "recall",
    "F1",
    "false positives",
    "macro F1",
    "trained in s",
    "ns a row, single / batch",
];

/// Runs the program and reads what it prints.
pub(crate) fn asks(setup: &Setup, what: &str, model: &str, args: &[&str]) -> anyhow::Result<Outcome> {
    progress(what);
    let program = setup.program.to_str().context("the program's path is not UTF-8")?;
    let printed = shell::output(shell::command(program, args)).with_context(|| what.to_owned())?;
    let printed = serde_json::from_slice(&printed).with_context(|| format!("{what}: no JSON"))?;
    Ok(Outcome { model: model.to_owned(), printed })
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

/// Trains on a table divided by a split.
pub(crate) fn train(
    setup: &Setup,
    data: &[PathBuf],
    label: &str,
    model: &str,
    split: &str,
    more: &[&str],
) -> anyhow::Result<Outcome> {
    let (bundle, store) = (setup.scratch.join("bundle"), setup.scratch.join("store"));
    let _ = std::fs::remove_dir_all(&bundle);
    let mut args = vec!["train", "--data"];
    for path in data {
        args.push(text(path)?);
    }
    args.extend(["--label", label, "--model", model, "--split", split, "--out", text(&bundle)?]);
    args.extend(["--store", text(&store)?, "-o", "json"]);
    args.extend(more);
    asks(setup, &format!("{model} on {label}, {split} split"), model, &args)
}

/// Trains on tables and tests with others.
pub(crate) fn eval(
    setup: &Setup,
    train: &[PathBuf],
    test: &[PathBuf],
    label: &str,
    model: &str,
) -> anyhow::Result<Outcome> {
    let mut args = vec!["eval", "--train"];
    for path in train {
        args.push(text(path)?);
    }
    args.push("--test");
    for path in test {
        args.push(text(path)?);
    }
    args.extend(["--label", label, "--model", model, "-o", "json"]);
    asks(setup, &format!("{model} from one table to another"), model, &args)
}

fn rows(outcomes: &[(Vec<String>, Outcome)]) -> Vec<Vec<String>> {
    outcomes.iter().map(|(first, outcome)| [first.clone(), outcome.cells()].concat()).collect()
}

fn head<'a>(first: &[&'a str]) -> Vec<&'a str> {
    [first, &COLUMNS].concat()
}

/// Both large tables, a share of the feature tuples held out.
pub(crate) fn grouped(setup: &Setup) -> anyhow::Result<String> {
    let mut out = String::from(
        "30 % of the different rows are held out by a hash of their features: copies of a row stand on one side. \
         *Asked* are the figures of the project's goals.\n\n",
    );
    for (name, path, label, goals) in [
        ("UNSW-NB15, ten classes", UNSW, "attack_cat", &asked::UNSW[..]),
        ("CICIDS2017 corrected, sixteen classes", CICIDS, "Label", &asked::CICIDS[..]),
    ] {
        let data = [setup.data.path(path)];
        let outcomes: Vec<Outcome> = MODELS
            .iter()
            .map(|model| train(setup, &data, label, model, "grouped", &[]))
            .collect::<anyhow::Result<_>>()?;
        let cells: Vec<Vec<String>> = outcomes.iter().map(Outcome::cells).collect();
        out.push_str(&format!("### {name}\n\n{}\n", table(&COLUMNS, &cells)));
        out.push_str(&format!("{}\n\n", asked::sentence(name, goals, &outcomes)));
        if let Some(best) = outcomes.last() {
            out.push_str(&worst(best));
        }
    }
    Ok(out)
}

/// The classes that a model does worst on.
fn worst(outcome: &Outcome) -> String {
    let Some(classes) = outcome.printed["per_class"].as_object() else { return String::new() };
    let mut list: Vec<(&String, f64, u64)> = classes
        .iter()
        .map(|(name, c)| (name, c["f1"].as_f64().unwrap_or(0.0), c["support"].as_u64().unwrap_or(0)))
        .collect();
    list.sort_by(|a, b| a.1.total_cmp(&b.1));
    let words: Vec<String> =
        list.iter().take(5).map(|(n, f1, rows)| format!("{n} {f1:.2} ({rows} rows)")).collect();
    format!("Lowest F1 of {}: {}.\n\n", outcome.model, words.join(", "))
}

/// The same rows divided at random, to show what such figures are worth.
pub(crate) fn random(setup: &Setup) -> anyhow::Result<String> {
    let data = [setup.data.path(UNSW)];
    let mut outcomes = Vec::new();
    for (split, more) in [("grouped", &[][..]), ("random", &["--accept-leakage"][..])] {
        let outcome = train(setup, &data, "attack_cat", "forest", split, more)?;
        let shared = format!("{:.1} %", outcome.figure("/overlap/share") * 100.0);
        outcomes.push((vec![split.to_owned(), shared], outcome));
    }
    Ok(format!(
        "UNSW-NB15 is full of copies. Divided at random, many rows of the test are equal to one that was learnt from, and \
         the figures say how well a model remembers. Both rows are of the same forest.\n\n{}",
        table(&head(&["split", "copies in the test"]), &rows(&outcomes))
    ))
}

/// The week of CICIDS2017, its end held out.
pub(crate) fn time(setup: &Setup) -> anyhow::Result<String> {
    let data = [setup.data.path(CICIDS)];
    let outcome = train(setup, &data, "Label", "hybrid", "time", &[])?;
    let classes = outcome.printed["per_class"].as_object();
    let new: Vec<String> = classes
        .into_iter()
        .flatten()
        .filter(|(_, c)| c["trained"] == false)
        .map(|(name, c)| format!("{name} ({} rows)", c["support"]))
        .collect();
    let unknown = format!(
        "Of {} rows of classes never seen, {} were called unknown; of known classes {} rows were.",
        outcome.figure("/unknown/new_rows"),
        outcome.figure("/unknown/new_classes"),
        outcome.figure("/unknown/known_classes")
    );
    Ok(format!(
        "CICIDS2017 plays one kind of attack after the other, so its last 30 % are mostly attacks that training never \
         saw: {}. They count as attacks, and a class never learnt has recall 0.\n\n{}\n{unknown}\n",
        if new.is_empty() { "none".to_owned() } else { new.join(", ") },
        table(&COLUMNS, &[outcome.cells()])
    ))
}

/// Tables of USTC-TFC2016 in the order of their names, benign and malware.
fn ustc(setup: &Setup) -> anyhow::Result<[Vec<PathBuf>; 2]> {
    let list = |folder: &str| -> anyhow::Result<Vec<PathBuf>> {
        let dir = setup.data.path(USTC).join(folder);
        let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.sort();
        Ok(files)
    };
    Ok([list("Benign")?, list("Malware")?])
}

/// Malware of families that training did not have.
pub(crate) fn families(setup: &Setup) -> anyhow::Result<String> {
    let kinds = ustc(setup)?;
    let half = |odd: usize| -> Vec<PathBuf> {
        kinds.iter().flat_map(|files| files.iter().skip(odd).step_by(2).cloned()).collect()
    };
    let names = |files: &[PathBuf]| -> String {
        let stem = |p: &PathBuf| {
            let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.split('.').next().unwrap_or_default().to_owned()
        };
        files.iter().map(stem).collect::<Vec<_>>().join(", ")
    };
    let mut outcomes = Vec::new();
    for (trained, tested) in [(half(0), half(1)), (half(1), half(0))] {
        let mut outcome = eval(setup, &trained, &tested, "@directory", "hybrid")?;
        outcome.printed["train_rows"] = outcome.printed["train"]["rows_used"].clone();
        outcomes.push((vec![names(&trained)], outcome));
    }
    let all: Vec<PathBuf> = kinds.iter().flatten().cloned().collect();
    // Its label is the family, none of which is normal by its name.
    let same = train(setup, &all, "@directory", "hybrid", "grouped", &[])?;
    Ok(format!(
        "USTC-TFC2016: conversations of ten malware and eight benign programs, each described by packets, bytes, rates \
         and duration alone. Every second family is learnt from, the others are tested with, and the other way round: what \
         counts as malware is what the captures' names say, and most conversations are ordinary for what they are. The last \
         row has all families on both sides, other rows of them.\n\n{}",
        table(
            &head(&["learnt families"]),
            &[rows(&outcomes), rows(&[(vec!["all".to_owned()], same)])].concat()
        )
    ))
}
