//! `autoinmune train`: a classifier from a table with labels, measured on rows it did not learn from, as a signed bundle.

mod chart;
mod live;
pub mod progress;
mod report;
mod split;

use crate::cli::Format as Output;
use crate::eval::{self, Figures, Inference, Judged, Model, Prepared};
use crate::exit::{Exit, fail};
use crate::models::{self, TrustArgs, refused};
use crate::pool::Threads;
use crate::scratch::Scratch;
use crate::tables::{self, ColumnArgs, Overlap, Source, Table};
use bundle::{Bundle, Data, Draft, FORMAT, Lineage, Manifest, Schema};
use clap::{Args, ValueHint};
use learn::hybrid::{Hybrid, Options};
use serde::Serialize;
use split::{Split, divide};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rows over which the importance of features is averaged: each costs about a millisecond.
const IMPORTANCE_ROWS: usize = 500;
/// Features whose importance is told.
const IMPORTANCE_LISTED: usize = 20;

/// `train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// Tables (.csv, .csv.gz, .parquet, or directories of them), or captures
    #[arg(long, value_name = "TABLE|CAPTURE", num_args = 1.., required = true, value_hint = ValueHint::AnyPath)]
    pub data: Vec<PathBuf>,
    /// Column with the label; `@file` or `@directory` is the name of each row's file or directory. Not needed with captures
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// What is known of the flows of the captures [default: x.labels.csv beside each x.pcap] (docs/datasets.md)
    #[arg(long, value_name = "FILE", conflicts_with = "label", value_hint = ValueHint::FilePath)]
    pub labels: Option<PathBuf>,
    /// Which columns and rows.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// What grows the trees
    #[arg(long, value_enum, default_value_t)]
    pub model: Model,
    /// How rows to learn from and rows to test with are told apart
    #[arg(long, value_enum, default_value_t)]
    pub split: Split,
    /// Share of rows to test with
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub test_share: f64,
    /// Tables or captures to test with, for --split given
    #[arg(long, value_name = "TABLE|CAPTURE", num_args = 1.., required_if_eq("split", "given"), value_hint = ValueHint::AnyPath)]
    pub test: Vec<PathBuf>,
    /// Divide rows at random though equal rows then stand on both sides
    #[arg(long)]
    pub accept_leakage: bool,
    /// Precision that alarms shall have, per cent: the threshold follows from it, else from the highest F1
    #[arg(long, value_name = "PERCENT")]
    pub precision_target: Option<f64>,
    /// Probability of being normal from which on a flow is
    #[arg(long, value_name = "P", default_value_t = 0.85)]
    pub normal_at: f32,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads to train with [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Directory to write the bundle to; must not be there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// What the bundle is called
    #[arg(long, default_value = "flow")]
    pub name: String,
    /// Key to sign with, PEM [default: signing-key.pem in the directory of bundles, made on first use]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Write a page with curves, matrix and importance of features here
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Where bundles are and who is trusted.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    bundle: String,
    id: &'a str,
    /// Whether it can judge live.
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_live: Option<&'a str>,
    split: &'static str,
    train_rows: u64,
    #[serde(flatten)]
    figures: &'a Figures,
    train_seconds: f64,
    inference_ns_per_row: Inference,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision_target: Option<f64>,
    overlap: Overlap,
    telling_features: &'a [String],
    importance: BTreeMap<&'a str, f64>,
    dropped: &'a BTreeMap<String, String>,
    notes: &'a [String],
}

/// Rows to learn from and to test with.
struct Sides {
    train: Table,
    test: Table,
}

/// Runs the command.
///
/// # Errors
/// One sentence with the way out; exit code 2 for input that cannot be used.
pub fn run(args: &TrainArgs) -> anyhow::Result<Exit> {
    check(args)?;
    // Whatever stands in the way of the result is said before the work.
    let key = args.trust.signing_key(args.key.as_deref())?;
    let pool = eval::threads(args.threads);
    let scratch = Scratch::new("train")?;
    let (sources, label) = read_sources("--data", &args.data, args, &scratch, "data")?;
    let of_captures = tables::are_captures("--data", &args.data)?;
    let columns = if of_captures { args.columns.of_flows() } else { args.columns.clone() };
    let mut prepared = eval::prepare("--data", &sources, &label, &columns, args.seed, pool)?;
    let sides = sides(args, &mut prepared, &scratch)?;
    let options = Options {
        kind: args.model.into(),
        normal_at: args.normal_at,
        precision: args.precision_target.map(|p| p / 100.0),
        seed: args.seed,
    };
    let (model, seconds) = eval::train(&prepared, &sides.train.matrix, &sides.train.classes, &options, pool)?;
    let judgements = model.judge_batch(&sides.test.matrix, &pool);
    let judged = Judged {
        judgements: &judgements,
        classes: &sides.test.classes,
        names: &sides.test.names,
        trained: model.names().len(),
        normal: model.normal(),
        threshold: model.threshold,
    };
    let figures = judged.figures();
    let inference = Inference::measure(&model, &sides.test.matrix);
    let overlap = tables::overlap(&sides.train.matrix, &sides.test.matrix);
    let importance = importance(&model, &sides.test, pool);
    let mut notes = prepared.plan.notes.clone();
    notes.extend(missed_target(args, &figures));
    let mut draft = draft(args, &prepared, &sides, &model, (&figures, inference, overlap))?;
    // Features of another tool's tables may have the names of ours and mean something else.
    let live = if of_captures {
        live::live(&model, &sides.test, &judged)
    } else {
        Err("it learnt from tables; only what learnt from captures can".to_owned())
    };
    if let Ok(live) = &live {
        live.add_to(&mut draft)?;
    }
    let bundle = draft.write(&args.out, &key).map_err(refused)?;
    let summary = summary(args, &bundle, &sides, &figures, (seconds, inference, overlap));
    if let Some(path) = &args.report {
        let facts = report::Facts {
            title: format!("Model bundle {}", bundle.id()),
            summary: summary.clone(),
            figures: &figures,
            judged,
            importance: importance.clone(),
            dropped: prepared.plan.dropped.clone().into_iter().collect(),
            notes: &notes,
        };
        std::fs::write(path, report::html(&facts))
            .map_err(|e| fail(Exit::Failure, format!("--report {}: cannot write: {e}", path.display())))?;
    }
    for note in &notes {
        eprintln!("autoinmune: {note}");
    }
    match args.output {
        Output::Human => {
            let rows: Vec<Vec<String>> = summary.into_iter().map(|(a, b)| vec![a, b]).collect();
            print!("{}\n{}", crate::text::table(&rows), figures.human());
            let listed: Vec<String> =
                importance.iter().take(8).map(|(name, value)| format!("{name} {value:.2}")).collect();
            println!("Features that matter most (log odds): {}", listed.join(", "));
            let out = args.out.display();
            match &live {
                Ok(_) => println!("To use it: autoinmune models promote {out}"),
                Err(why) => println!(
                    "It cannot judge live: {why}. To keep it: autoinmune models promote --keep-only {out}"
                ),
            }
        }
        Output::Json => {
            let report = Report {
                bundle: args.out.display().to_string(),
                id: bundle.id(),
                live: live.is_ok(),
                not_live: live.as_ref().err().map(String::as_str),
                split: args.split.name(),
                train_rows: sides.train.matrix.rows() as u64,
                figures: &figures,
                train_seconds: seconds,
                inference_ns_per_row: inference,
                precision_target: args.precision_target,
                overlap,
                telling_features: &prepared.telling,
                importance: importance.iter().map(|(n, v)| (n.as_str(), *v)).collect(),
                dropped: &prepared.plan.dropped,
                notes: &notes,
            };
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
    }
    Ok(Exit::Ok)
}

fn check(args: &TrainArgs) -> anyhow::Result<()> {
    let wrong = |what: &str| Err(fail(Exit::Input, what.to_owned()));
    if args.out.exists() {
        return wrong(&format!("--out {}: is there already; name a new directory", args.out.display()));
    }
    if !(args.test_share > 0.0 && args.test_share < 1.0) {
        return wrong("--test-share: must lie between 0 and 1");
    }
    if args.precision_target.is_some_and(|p| !(p > 0.0 && p < 100.0)) {
        return wrong("--precision-target: must lie between 0 and 100 per cent");
    }
    if !(args.normal_at > 0.0 && args.normal_at < 1.0) {
        return wrong("--normal-at: must lie between 0 and 1");
    }
    if args.split != Split::Given && !args.test.is_empty() {
        return wrong("--test is for --split given");
    }
    if args.split == Split::Random && !args.accept_leakage {
        return wrong(
            "--split random puts equal rows on both sides, which makes figures too good; use grouped, or say --accept-leakage",
        );
    }
    Ok(())
}

/// Tables or captures, and the column with their label.
fn read_sources(
    option: &str,
    paths: &[PathBuf],
    args: &TrainArgs,
    scratch: &Scratch,
    name: &str,
) -> anyhow::Result<(Vec<Source>, String)> {
    if tables::are_captures(option, paths)? {
        let sources = tables::flows_of(option, paths, args.labels.as_deref(), scratch, name)?;
        return Ok((sources, tables::CAPTURE_LABEL.to_owned()));
    }
    match (&args.label, &args.labels) {
        (Some(label), _) => Ok((tables::sources(option, paths)?, label.clone())),
        (None, Some(_)) => Err(fail(
            Exit::Input,
            "--labels is about captures; name the column with the label of a table with --label",
        )),
        (None, None) => Err(fail(Exit::Input, "which column is the label? Name it with --label")),
    }
}

fn sides(args: &TrainArgs, prepared: &mut Prepared, scratch: &Scratch) -> anyhow::Result<Sides> {
    let table = std::mem::take(&mut prepared.table);
    let (train, test) = divide(&table, args.split, args.test_share, args.seed)?;
    let left_out = table.matrix.rows() - train.len() - test.len();
    if left_out > 0 {
        prepared.plan.notes.push(format!("{left_out} rows without a time are left out"));
    }
    if args.split == Split::Random {
        prepared.plan.notes.push(
            "warning: rows were divided at random: equal rows on both sides make the figures too good"
                .to_owned(),
        );
    }
    let part = |places: &[usize]| Table {
        matrix: table.matrix.select(places),
        classes: places.iter().filter_map(|p| table.classes.get(*p).copied()).collect(),
        names: table.names.clone(),
        times: places.iter().filter_map(|p| table.times.get(*p).copied()).collect(),
        sources: places.iter().filter_map(|p| table.sources.get(*p).copied()).collect(),
        tally: table.tally.clone(),
    };
    let mut sides = Sides { train: part(&train), test: part(&test) };
    if args.split == Split::Given {
        let (sources, _) = read_sources("--test", &args.test, args, scratch, "test")?;
        sides.test = eval::read_test(&mut prepared.plan, &sources)?;
    } else {
        learnt_first(args.split, prepared, &mut sides)?;
    }
    if sides.test.classes.is_empty() {
        return Err(fail(Exit::Input, "there are too few rows to test with; raise --test-share".to_owned()));
    }
    Ok(sides)
}

/// Numbers classes anew so that those with rows to learn from come first, and tells the plan of these alone.
fn learnt_first(split: Split, prepared: &mut Prepared, sides: &mut Sides) -> anyhow::Result<()> {
    let names = sides.train.names.clone();
    let mut learnt = vec![false; names.len()];
    for class in &sides.train.classes {
        if let Some(seen) = learnt.get_mut(*class as usize) {
            *seen = true;
        }
    }
    let seen = |c: &usize| learnt.get(*c).copied().unwrap_or(false);
    let (mut order, rest): (Vec<usize>, Vec<usize>) = (0..names.len()).partition(seen);
    if !seen(&(prepared.plan.normal as usize)) || order.len() < 2 {
        return Err(fail(
            Exit::Input,
            format!(
                "--split {}: the rows to learn from are all normal, or none is; divide otherwise",
                split.name()
            ),
        ));
    }
    prepared.plan.names = order.iter().filter_map(|c| names.get(*c).cloned()).collect();
    order.extend(&rest);
    let place = |class: u32| order.iter().position(|c| *c == class as usize).unwrap_or_default() as u32;
    let all: Vec<String> = order.iter().filter_map(|c| names.get(*c).cloned()).collect();
    let numbers: Vec<u32> = (0..names.len() as u32).map(place).collect();
    prepared.plan.normal = numbers.get(prepared.plan.normal as usize).copied().unwrap_or_default();
    for side in [&mut sides.train, &mut sides.test] {
        side.classes.iter_mut().for_each(|c| *c = numbers.get(*c as usize).copied().unwrap_or(*c));
        side.names.clone_from(&all);
    }
    if !rest.is_empty() {
        let new: Vec<&str> = rest.iter().filter_map(|c| names.get(*c)).map(String::as_str).collect();
        prepared.plan.notes.push(format!("classes with no rows to learn from: {}", new.join(", ")));
    }
    Ok(())
}

/// Mean size of each feature's contribution, largest first.
fn importance(model: &Hybrid, test: &Table, pool: Threads) -> Vec<(String, f64)> {
    let step = test.matrix.rows().div_ceil(IMPORTANCE_ROWS).max(1);
    let places: Vec<usize> = (0..test.matrix.rows()).step_by(step).collect();
    let values = model.importance(&test.matrix.select(&places), &pool);
    let mut all: Vec<(String, f64)> = model.schema().iter().map(|f| f.name.clone()).zip(values).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(IMPORTANCE_LISTED);
    all
}

/// What to say if the precision asked for was not reached.
fn missed_target(args: &TrainArgs, figures: &Figures) -> Option<String> {
    let target = args.precision_target?;
    let reached = figures.binary.precision * 100.0;
    (reached < target).then(|| {
        format!("warning: precision on the test is {reached:.2} %, below the {target} % asked for: the threshold was set on other rows")
    })
}

fn draft(
    args: &TrainArgs,
    prepared: &Prepared,
    sides: &Sides,
    model: &Hybrid,
    measured: (&Figures, Inference, Overlap),
) -> anyhow::Result<Draft> {
    let plan = &prepared.plan;
    let mut data = Vec::new();
    for path in args.data.iter().chain(&args.labels).chain(&args.test) {
        for file in files_of(path) {
            let (sha256, bytes) = bundle::sha256_of_file(&file).map_err(refused)?;
            data.push(Data { file: name_of(&file), sha256, bytes });
        }
    }
    let mut classes = BTreeMap::new();
    for class in &sides.train.classes {
        let name = sides.train.names.get(*class as usize).cloned().unwrap_or_default();
        *classes.entry(name).or_insert(0_u64) += 1;
    }
    let times = || sides.train.times.iter().chain(&sides.test.times).copied().filter(|t| *t > 0);
    let span = times().min().into_iter().chain(times().max()).map(time).collect();
    let (figures, inference, overlap) = measured;
    let mut figures = serde_json::to_value(figures)?;
    figures["inference_ns_per_row"] = serde_json::to_value(inference)?;
    figures["overlap"] = serde_json::to_value(overlap)?;
    let mut draft = Draft::new(Manifest {
        format: FORMAT,
        name: args.name.clone(),
        created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        program: format!("autoinmune {}", env!("CARGO_PKG_VERSION")),
        schemas: [(models::FLOW.to_owned(), Schema::new(model.schema().to_vec()))].into(),
        models: Vec::new(),
        thresholds: [
            ("normal_at", model.normal_at),
            ("attack", model.threshold),
            ("known_at", model.known_at),
        ]
        .map(|(name, value)| (name.to_owned(), eval::as_written(value)))
        .into(),
        lineage: Lineage {
            command: command(),
            seed: args.seed,
            data,
            span,
            rows: [("train", &sides.train), ("test", &sides.test)]
                .map(|(name, side)| (name.to_owned(), side.matrix.rows() as u64))
                .into(),
            classes,
            split: args.split.name().to_owned(),
            label: args.label.clone().unwrap_or_else(|| tables::CAPTURE_LABEL.to_owned()),
            normal: plan.names.get(plan.normal as usize).cloned().unwrap_or_default(),
            dropped: plan.dropped.clone(),
        },
        figures,
    });
    draft.add(models::FLOW, models::HYBRID, Some(models::FLOW), learn::codec::to_bytes(model));
    Ok(draft)
}

/// The files of a table, or the capture itself.
fn files_of(path: &Path) -> Vec<PathBuf> {
    match dataset::Dataset::open(path) {
        Ok(dataset) => dataset.files().to_vec(),
        Err(_) => vec![path.to_owned()],
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The command line, of paths the last part alone: the rest tells of this machine.
fn command() -> String {
    let short = |arg: String| if arg.contains('/') { name_of(Path::new(&arg)) } else { arg };
    std::env::args().map(short).collect::<Vec<_>>().join(" ")
}

fn time(ns: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(ns.into());
    at.map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

fn summary(
    args: &TrainArgs,
    bundle: &Bundle,
    sides: &Sides,
    figures: &Figures,
    (seconds, inference, overlap): (f64, Inference, Overlap),
) -> Vec<(String, String)> {
    let shared = match overlap.rows {
        0 => String::new(),
        n => format!(", of which {n} are equal to one learnt from"),
    };
    let target = args.precision_target.map(|p| format!(", for a precision of {p} %")).unwrap_or_default();
    [
        ("bundle", format!("{} in {}", bundle.id(), args.out.display())),
        ("signed by", bundle.signer().to_string()),
        (
            "learnt from",
            format!("{} rows, {} features", sides.train.matrix.rows(), sides.train.matrix.features()),
        ),
        ("tested with", format!("{} rows, {} split{shared}", sides.test.matrix.rows(), args.split.name())),
        ("trained", format!("{seconds:.2} s")),
        ("judging", format!("{:.0} ns a row, {:.0} ns in a batch", inference.single, inference.batch)),
        ("threshold", format!("{:.3}{target}", figures.binary.threshold)),
        ("size", format!("{} bytes", bundle.bytes())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
