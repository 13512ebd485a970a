//! The learning core beside LightGBM, scikit-learn and ONNX runtime, on UNSW-NB15.

use super::figure::{Aim, Figure, Section};
use super::{Setup, capture, progress};
use crate::shell;
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What asks the libraries of Python.
const BASELINES: &str = "xtask/src/bench/learn.py";
/// Both sides train on as many threads, those of the machine that figures are stated for.
const THREADS: &str = "2";

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(_: &Setup) -> anyhow::Result<Section> {
    let packed = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| shell::root().join("../shared/data"), PathBuf::from)
        .join("flows/unsw-nb15/train.csv.gz");
    anyhow::ensure!(packed.exists(), "there is no {} (AUTOINMUNE_DATA)", packed.display());
    let scratch = Scratch::new()?;
    let table = scratch.path("flows.csv");
    let unpacked = shell::output(shell::command("gzip", &["-dc", &packed.to_string_lossy()]))?;
    std::fs::write(&table, unpacked).context("cannot write the flows")?;
    let program = example("learn", "flows")?;
    let flows = |what: [&str; 3], kind: &str, more: &[&str]| -> anyhow::Result<Value> {
        progress(&format!("learn: {kind}, {}", what[0]));
        let table = table.to_string_lossy();
        let args = [&[&*table][..], &what, &[kind], more].concat();
        let said = shell::output(shell::command(&program.to_string_lossy(), &args))?;
        serde_json::from_slice(&said).context("the example flows printed no JSON")
    };
    let (classes, two) = (["attack_cat", "Normal", "id,label"], ["label", "0", "id,attack_cat"]);
    let split = scratch.0.to_string_lossy().into_owned();
    let many = flows(classes, "boosting", &[&split])?;
    let python = baselines(&scratch, classes);
    let trees = scratch.path("forest.json");
    let trees = trees.to_string_lossy();
    let more: &[&str] = if python.is_ok() { &[&split, &trees] } else { &[] };
    let forest = flows(two, "forest", more)?;
    let boosting = flows(two, "boosting", &[])?;
    let hybrid = flows(classes, "hybrid", &[])?;

    let mut section = Section::new(format!(
        "The example `flows` of the crate `learn` on the public training part of UNSW-NB15, {} rows without the three in \
         ten that a hash of their features holds out, on {THREADS} threads. Beside it, in the same run on the same rows and \
         as many threads, the libraries of Python with their defaults. Times of training are those of the clock on the wall, \
         times to judge those of the processor on one thread, of 4,096 rows at once and of 1,024 one by one; what else runs on \
         the machine is in the former, and in the latter as far as it takes caches away. Figures of merit are of the rows held out. Options were chosen on rows held out of the others, but this split was \
         looked at several times while the code was written.",
        many["rows"][0]
    ));
    let of = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let (said, python_missing) = match python {
        Ok(said) => (said, None),
        Err(why) => (Value::Null, Some(why)),
    };
    let ratio = |what: &str, own: &Value, other: &Value, name: &'static str, aim: Aim| {
        let (own, other) = (of(own), of(other));
        match aim {
            Aim::AtMost(times) => {
                Figure::new(what, own, "s").baseline(other, name).aim(Aim::AtMost(other * times))
            }
            Aim::AtLeast(times) => {
                Figure::new(what, own, "s").baseline(other, name).aim(Aim::AtMost(other / times))
            }
        }
    };
    if !said.is_null() {
        let (lightgbm, sklearn) = (&said["lightgbm"], &said["scikit_learn"]);
        for (what, own, other) in [
            ("train boosting, two classes", &boosting, &lightgbm["binary"]),
            ("train boosting, ten classes", &many, &lightgbm["classes"]),
        ] {
            section.push(ratio(what, &own["train_seconds"], other, "LightGBM", Aim::AtMost(1.5)));
        }
        let aim = Aim::AtLeast(5.0);
        section.push(ratio(
            "train a forest of 200 trees",
            &forest["train_seconds"],
            &sklearn["binary"],
            "scikit-learn",
            aim,
        ));
        let (own, onnx) = (of(&forest["ns_per_row"]["forest"]), of(&said["onnx_ns_per_row"]));
        section.push(
            Figure::new("judge a row of 4,096 by scikit-learn's forest", own, "ns")
                .baseline(onnx, "ONNX runtime, the same trees")
                .aim(Aim::AtMost(onnx / 5.0)),
        );
    }
    section.push(Figure::new("train a hybrid, ten classes", of(&hybrid["train_seconds"]), "s"));
    for (what, key) in
        [("judge a row alone, both stages", "single"), ("judge a row of 4,096, both stages", "batch")]
    {
        let figure = Figure::new(what, of(&hybrid["ns_per_row"][key]), "ns");
        section.push(figure.aim(Aim::AtMost(2000.0)));
    }
    shipped(&mut section)?;
    for (what, value, aim) in [
        ("hybrid: area under the ROC curve", &hybrid["auc"], 0.998),
        ("hybrid: recall at 1 % false positives", &hybrid["recall_at_fpr"]["0.01"], 0.970),
        ("hybrid: recall at 0.1 % false positives", &hybrid["recall_at_fpr"]["0.001"], 0.910),
        ("hybrid: F1 at its own threshold", &hybrid["f1"], 0.982),
        ("hybrid: mean F1 of ten classes", &hybrid["macro_f1"], 0.60),
    ] {
        // Thousandths, as three digits would round away what matters.
        section.push(Figure::new(what, of(value) * 1000.0, "‰").aim(Aim::AtLeast(aim * 1000.0)));
    }
    if let Some(why) = python_missing {
        section.note(format!("The libraries of Python were skipped: {why:#}."));
    }
    Ok(section)
}

/// Builds an example; its place.
fn example(package: &str, name: &str) -> anyhow::Result<PathBuf> {
    progress(&format!("learn: building the example {name}"));
    let build = ["build", "--quiet", "--release", "--package", package, "--example", name];
    shell::output(shell::cargo(&build))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    Ok(target.join("release/examples").join(name))
}

/// What the shipped models take for the flows and windows of ordinary captures.
fn shipped(section: &mut Section) -> anyhow::Result<()> {
    let captures = capture::ordinary();
    if captures.is_empty() {
        section.note("The shipped models were not measured: there is no shared data (AUTOINMUNE_DATA).");
        return Ok(());
    }
    let program = example("detect", "judging_rate")?;
    progress("learn: the shipped models");
    let mut command = shell::command(&program.to_string_lossy(), &["models/default"]);
    command.args(&captures);
    let said: Value = serde_json::from_slice(&shell::output(command)?)
        .context("the example judging_rate printed no JSON")?;
    let of = |key: &str| said.pointer(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let mut row = |what: &str, ns: f64, most: f64| {
        section.push(Figure::new(format!("shipped models: {what}"), ns, "ns").aim(Aim::AtMost(most)));
    };
    row("a flow's features and both stages, one by one", of("/row_ns") + of("/single_ns"), 2000.0);
    row("a flow's features and both stages, 32 at once", of("/row_ns") + of("/together_ns"), 2000.0);
    row("a flow in place, with all that its judgement adds to the line", of("/in_place/flow_ns"), 2000.0);
    row("a window of a source, the whole ensemble", of("/window_ns"), 20_000.0);
    row("a window in place", of("/in_place/window_ns"), 20_000.0);
    section.push(
        Figure::new("shipped models: the line without rules, a packet", of("/all_ns") / of("/frames"), "ns")
            .baseline(of("/line_ns") / of("/frames"), "no models"),
    );
    section.note(format!(
        "The shipped classifier has {} trees of {} nodes. It and the ensemble judged {} flows and {} windows of {} ordinary \
         captures, {} packets; stage 2 was asked about {} of {} flows. \"In place\" is the time of the processor from frames \
         to evidence with the models, less that without, so that cold caches are in it.",
        said["trees"],
        said["nodes"],
        said["flows_judged"],
        said["windows_judged"],
        captures.len(),
        said["frames"],
        said["asked"],
        said["flows"]
    ));
    Ok(())
}

/// What LightGBM, scikit-learn and ONNX runtime take for the same rows.
fn baselines(scratch: &Scratch, [label, normal, drop]: [&str; 3]) -> anyhow::Result<Value> {
    let python = std::env::var("AUTOINMUNE_PYTHON").ok().context(
        "AUTOINMUNE_PYTHON does not name a Python with lightgbm, scikit-learn, onnxruntime, skl2onnx and pandas",
    )?;
    progress("learn: the libraries of Python");
    let [train, test, forest] = ["train.csv", "test.csv", "forest.json"].map(|n| scratch.path(n));
    let paths = [&train, &test, &forest].map(|p| p.to_string_lossy().into_owned());
    let [train, test, forest] = &paths;
    let args = [BASELINES, train, test, label, normal, drop, forest, THREADS];
    let said = shell::output(shell::command(&python, &args)).ok().context("the script for them failed")?;
    let mut all = serde_json::Map::new();
    for line in String::from_utf8_lossy(&said).lines() {
        let one: Value = serde_json::from_str(line).context("the script printed no JSON")?;
        all.extend(one.as_object().cloned().unwrap_or_default());
    }
    Ok(Value::Object(all))
}

/// A directory of this run alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("autoinmune-bench-learn-{}", std::process::id()));
        std::fs::create_dir_all(&path).context("cannot make a directory")?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.0).join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over is of no use and harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
