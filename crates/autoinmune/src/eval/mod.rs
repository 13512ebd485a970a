//! `autoinmune eval`: learn from one table, test with another; or test a finished bundle.

mod figures;
mod timing;
mod whole;

pub use figures::{Figures, Judged, as_written, share};
pub use timing::Inference;
use whole::Whole;

use crate::cli::Format as Output;
use crate::exit::{Exit, fail};
use crate::models::{self, TrustArgs};
use crate::pool::Threads;
use crate::scratch::Scratch;
use crate::tables::{self, ColumnArgs, Labels, Overlap, Plan, Source, Table, Tally};
use crate::train::progress::Bar;
use clap::{Args, ValueEnum, ValueHint};
use learn::hybrid::{Hybrid, Kind, Options, Training};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Share of a test's rows that may be among those learnt from before it is said.
const NOTABLE_OVERLAP: f64 = 0.01;

/// What grows the trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// Random forests.
    Forest,
    /// Boosted trees, small and quick.
    Boosting,
    /// Boosted trees, more and larger, checked by four models that each left out a quarter.
    #[default]
    Hybrid,
}

impl From<Model> for Kind {
    fn from(model: Model) -> Self {
        match model {
            Model::Forest => Self::Forest,
            Model::Boosting => Self::Boosting,
            Model::Hybrid => Self::Hybrid,
        }
    }
}

/// `eval`.
#[derive(Clone, Debug, Args)]
pub struct EvalArgs {
    /// Tables to learn from: .csv, .csv.gz, .parquet, or directories of them
    #[arg(long, value_name = "TABLE", num_args = 1.., required_unless_present = "bundle", value_hint = ValueHint::AnyPath)]
    pub train: Vec<PathBuf>,
    /// Tables to test with; with --bundle also captures
    #[arg(long, value_name = "TABLE|CAPTURE", num_args = 1.., required = true, value_hint = ValueHint::AnyPath)]
    pub test: Vec<PathBuf>,
    /// Column with the label; `@file` or `@directory` is the name of each row's file or directory
    #[arg(long, value_name = "COLUMN", required_unless_present_any = ["labels", "bundle"])]
    pub label: Option<String>,
    /// Which columns and rows.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// What grows the trees
    #[arg(long, value_enum, default_value_t, conflicts_with = "bundle")]
    pub model: Model,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads to train with [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Test this bundle in place of training
    #[arg(long, value_name = "DIR|ID", conflicts_with = "train", value_hint = ValueHint::DirPath)]
    pub bundle: Option<String>,
    /// What is known of the flows of the captures [default: x.labels.csv beside each x.pcap] (docs/datasets.md)
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "label", value_hint = ValueHint::FilePath)]
    pub labels: Option<PathBuf>,
    /// Where bundles are and who is trusted.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    figures: Figures,
    model: String,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_seconds: Option<f64>,
    inference_ns_per_row: Inference,
    trees: usize,
    nodes: usize,
    features: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<Tally>,
    test: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Overlap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    telling_features: Option<Vec<String>>,
    /// What the whole line makes of captures with the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<Vec<Whole>>,
    dropped: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// One sentence with the way out; exit code 2 for input that cannot be used.
pub fn run(args: &EvalArgs) -> anyhow::Result<Exit> {
    let report = if args.bundle.is_some() { of_bundle(args)? } else { of_training(args)? };
    for note in &report.notes {
        eprintln!("autoinmune: {note}");
    }
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Human => print!("{}", report.human()),
    }
    Ok(Exit::Ok)
}

/// A table made ready for training, and how.
pub struct Prepared {
    /// How rows are made; complete.
    pub plan: Plan,
    /// The rows.
    pub table: Table,
    /// Features that alone tell the label.
    pub telling: Vec<String>,
}

/// Reads tables to learn from.
///
/// # Errors
/// They cannot be read, or not be learnt from.
pub fn prepare(
    option: &str,
    sources: &[Source],
    label: &str,
    columns: &ColumnArgs,
    seed: u64,
    pool: Threads,
) -> anyhow::Result<Prepared> {
    let Some(first) = sources.first() else {
        return Err(fail(Exit::Input, format!("{option}: there are no tables")));
    };
    let schema = first.dataset.schema();
    let labels = Labels::parse(label, schema)?;
    let empty = columns.normal.as_deref() == Some("");
    let survey = tables::survey(option, sources, &labels, empty)?;
    let mut plan = Plan::new(option, schema, &survey, labels, columns, seed)?;
    let table = tables::read_first(&mut plan, sources, survey.rows)?;
    note_draw(&mut plan.notes, option, &table);
    if table.classes.iter().all(|c| table.classes.first() == Some(c)) {
        return Err(fail(
            Exit::Input,
            format!("{option}: the rows drawn are all of one class; raise --max-rows"),
        ));
    }
    let telling = tables::telling(&table.matrix, &plan.schema, &table.classes, plan.normal, &pool);
    if !telling.is_empty() {
        plan.notes.push(format!(
            "warning: {} alone tell the label nearly without fault: if they are labels by another name, --drop them",
            telling.join(", ")
        ));
    }
    Ok(Prepared { plan, table, telling })
}

/// Says so if rows were drawn.
pub fn note_draw(notes: &mut Vec<String>, option: &str, table: &Table) {
    let Tally { rows_read, rows_used, unlabelled, .. } = table.tally;
    if rows_used + unlabelled < rows_read {
        notes.push(format!(
            "{option}: {rows_used} of {rows_read} rows were drawn at random, as memory is bounded; see --max-rows"
        ));
    }
}

/// Trains on rows, with a bar on a terminal.
///
/// # Errors
/// The rows are of one class.
pub fn train(
    prepared: &Prepared,
    rows: &learn::Matrix,
    classes: &[u32],
    options: &Options,
    pool: Threads,
) -> anyhow::Result<(Hybrid, f64)> {
    let training = Training {
        rows,
        schema: &prepared.plan.schema,
        classes,
        names: &prepared.plan.names,
        normal: prepared.plan.normal,
        weights: None,
        groups: None,
    };
    let mut bar = Bar::new("training");
    let begun = Instant::now();
    let model = Hybrid::train(&training, options, &pool, &mut |p| bar.training(p))
        .map_err(|e| fail(Exit::Input, format!("cannot train: {e}")))?;
    let seconds = begun.elapsed().as_secs_f64();
    bar.clear();
    Ok((model, (seconds * 1000.0).round() / 1000.0))
}

/// How many threads to train with.
pub fn threads(asked: Option<u16>) -> Threads {
    Threads(asked.map_or_else(crate::engine::cores, usize::from))
}

fn of_training(args: &EvalArgs) -> anyhow::Result<Report> {
    let pool = threads(args.threads);
    let label = args.label.as_deref().unwrap_or_default();
    let train_sources = tables::sources("--train", &args.train)?;
    let test_sources = tables::sources("--test", &args.test)?;
    let mut prepared = prepare("--train", &train_sources, label, &args.columns, args.seed, pool)?;
    let test = read_test(&mut prepared.plan, &test_sources)?;
    let options = Options { kind: args.model.into(), seed: args.seed, ..Options::default() };
    let (model, seconds) = train(&prepared, &prepared.table.matrix, &prepared.table.classes, &options, pool)?;
    let overlap = tables::overlap(&prepared.table.matrix, &test.matrix);
    let mut notes = std::mem::take(&mut prepared.plan.notes);
    if overlap.share > NOTABLE_OVERLAP {
        notes.push(format!(
            "warning: {} of {} rows of --test ({:.1} %) are equal to rows of --train: the figures are too good",
            overlap.rows,
            test.matrix.rows(),
            overlap.share * 100.0
        ));
    }
    let mut report = judged(&model, &test, notes, pool);
    report.seed = args.seed;
    report.train_seconds = Some(seconds);
    report.overlap = Some(overlap);
    report.telling_features = Some(prepared.telling);
    report.dropped = prepared.plan.dropped;
    report.train = Some(prepared.table.tally);
    Ok(report)
}

/// Reads the tables to test with.
///
/// # Errors
/// They cannot be read, lack a column, or have no label.
pub fn read_test(plan: &mut Plan, sources: &[Source]) -> anyhow::Result<Table> {
    if let Some(column) = plan.labels.column() {
        for source in sources {
            if source.dataset.schema().place(column).is_none() {
                return Err(fail(
                    Exit::Input,
                    format!("--test: {}", source.dataset.schema().no_column(column)),
                ));
            }
        }
    }
    let survey = tables::survey("--test", sources, &plan.labels, plan.empty_label)?;
    let table = tables::read("--test", plan, sources, survey.rows)?;
    note_draw(&mut plan.notes, "--test", &table);
    if table.matrix.rows() == 0 {
        return Err(fail(Exit::Input, "--test: no row has a label".to_owned()));
    }
    let new = table.names.get(plan.names.len()..).unwrap_or_default();
    if !new.is_empty() {
        plan.notes.push(format!(
            "classes of --test that training did not have count as not normal, and are never decided for: {}",
            new.join(", ")
        ));
    }
    Ok(table)
}

fn judged(model: &Hybrid, test: &Table, notes: Vec<String>, pool: Threads) -> Report {
    let judgements = model.judge_batch(&test.matrix, &pool);
    let judged = Judged {
        judgements: &judgements,
        classes: &test.classes,
        names: &test.names,
        trained: model.names().len(),
        normal: model.normal(),
        threshold: model.threshold,
    };
    Report {
        figures: judged.figures(),
        model: name_of(model.kind()).to_owned(),
        seed: 0,
        train_seconds: None,
        inference_ns_per_row: Inference::measure(model, &test.matrix),
        trees: model.trees(),
        nodes: model.nodes(),
        features: model.schema().iter().map(|f| f.name.clone()).collect(),
        train: None,
        test: test.tally.clone(),
        overlap: None,
        telling_features: None,
        line: None,
        dropped: BTreeMap::new(),
        notes,
    }
}

/// The name of a kind of model, as `--model` has it.
pub const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Forest => "forest",
        Kind::Boosting => "boosting",
        Kind::Hybrid => "hybrid",
    }
}

/// Tests a finished bundle.
fn of_bundle(args: &EvalArgs) -> anyhow::Result<Report> {
    let pool = threads(args.threads);
    let bundle = models::find(args.bundle.as_deref().unwrap_or_default(), &args.trust)?;
    let model = models::flow_model(&bundle)?;
    let scratch = Scratch::new("eval")?;
    let captures = tables::are_captures("--test", &args.test)?;
    let (sources, label) = if captures {
        let labels = args.labels.as_deref();
        (tables::flows_of("--test", &args.test, labels, &scratch, "test")?, tables::CAPTURE_LABEL.to_owned())
    } else {
        let label = args.label.clone().ok_or_else(|| {
            fail(Exit::Input, "which column of the table is the label? Name it with --label")
        })?;
        (tables::sources("--test", &args.test)?, label)
    };
    let Some(first) = sources.first() else { return Err(fail(Exit::Input, "--test: there are no tables")) };
    let labels = Labels::parse(&label, first.dataset.schema())?;
    let mut plan = Plan::of_model(&model, labels, &args.columns, args.seed);
    let test = read_test(&mut plan, &sources)?;
    let mut report = judged(&model, &test, plan.notes, pool);
    report.seed = bundle.manifest().lineage.seed;
    if captures {
        match Whole::of(&bundle, &args.test, args.labels.as_deref(), &args.trust)? {
            Ok(whole) => report.line = Some(whole),
            Err(why) => report
                .notes
                .push(format!("flows alone were judged, as the line cannot use the bundle: {why}")),
        }
    }
    Ok(report)
}

impl Report {
    fn human(&self) -> String {
        let mut out = self.figures.human();
        if let Some(seconds) = self.train_seconds {
            out.push_str(&format!("Trained in {seconds:.2} s ({}). ", self.model));
        }
        out.push_str(&format!(
            "{} trees; judging takes {:.0} ns a row, {:.0} ns in a batch, on one core.\n",
            self.trees, self.inference_ns_per_row.single, self.inference_ns_per_row.batch
        ));
        for whole in self.line.iter().flatten() {
            out.push_str(&format!("\nIn the whole line, rules included: {}", whole.human()));
        }
        out
    }
}
