//! `autoinmune dataset check`.

use super::{input, open};
use crate::capture::extraction;
use crate::cli::Format as Output;
use crate::config;
use crate::exit::{Exit, fail};
use crate::replay::Replay;
use crate::scratch::Scratch;
use clap::{Args, ValueHint};
use dataset::drift::{self, Drift};
use dataset::skew::{self, Skew};
use dataset::{
    Dataset, Duplicates, FlowColumns, Format, Goals, Leakage, Manifest, PartLimits, Parts, Place, Profile,
    Role, Row, Score, Scorer, Side, datasheet, tuple_digest,
};
use flow::FlowRecord;
use flow::feature::Set;
use serde::Serialize;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

/// `dataset check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Dataset: a file or a directory
    #[arg(value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub dataset: PathBuf,
    /// Column that says what a flow was [default: class, attack_cat or Label]
    #[arg(long, alias = "class", value_name = "COLUMN")]
    pub label: Option<String>,
    /// The other side of a split: rows of it that are in the dataset too are leaked
    #[arg(long, value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub split: Option<PathBuf>,
    /// A reference whose columns to compare with
    #[arg(long, value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub against: Option<PathBuf>,
    /// Captures the dataset was made of: their flows are extracted again and compared
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pcap: Vec<PathBuf>,
    /// Configuration whose flow table extracts them; windows are those of the dataset's manifest
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "pcap")]
    pub config: Option<PathBuf>,
    /// Directory for the datasheet, Markdown and HTML [default: the dataset's]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    dataset: String,
    rows: u64,
    score: Score,
    missing: Vec<String>,
    duplicates: Leakage,
    classes: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<Drift>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skew: Option<Skew>,
    datasheet: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Of reading the datasets or writing the datasheet.
pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let dataset = open(&args.dataset)?;
    let manifest = Manifest::of(&dataset).map_err(input)?;
    let class = dataset.schema().class(args.label.as_deref()).map_err(input)?;
    let split = args.split.as_deref().map(open).transpose()?;
    let reference = args.against.as_deref().map(open).transpose()?;

    let mut scorer = Scorer::new(dataset.schema(), Goals::default());
    if let Some(m) = &manifest {
        if !m.runs.is_empty() {
            let (seen, lost) = m.packets();
            scorer.set_packets(seen, lost);
        }
        scorer.set_runs(m.spans());
    }
    let mut profile = Profile::new(&dataset.typed().map_err(input)?);
    let mut duplicates = Duplicates::default();
    let places = dataset.schema().features();
    dataset
        .rows(|row| {
            scorer.add(row);
            profile.add(row);
            duplicates.add(tuple_digest(row, &places), class_number(row, class), Side::First)
        })
        .map_err(input)?;
    if let Some(other) = &split {
        compared(&dataset, other, &places, class, &mut duplicates)?;
    }
    let leakage = duplicates.finish().map_err(input)?;
    let is_feature = |name: &str| Role::of(name).is_feature();
    let drift = match &reference {
        Some(reference) => {
            Some(drift::compare(&profile, &Profile::of(reference).map_err(input)?, is_feature))
        }
        None => None,
    };
    let skew = if args.pcap.is_empty() { None } else { Some(skewed(args, &dataset, manifest.as_ref())?) };
    let score = scorer.score();
    let reference_name = args.against.as_deref().map(|p| p.display().to_string()).unwrap_or_default();
    let captures: Vec<String> = args.pcap.iter().map(|p| p.display().to_string()).collect();
    let captures = captures.join(", ");
    let facts = datasheet::Facts {
        dataset: &dataset,
        profile: &profile,
        score: &score,
        hours: scorer.hours(),
        span: scorer.span(),
        leakage: &leakage,
        split: split.as_ref(),
        class,
        manifest: manifest.as_ref(),
        drift: drift.as_ref().map(|d| (reference_name.as_str(), d)),
        skew: skew.as_ref().map(|s| (captures.as_str(), s)),
    };
    let datasheet = write(args, &dataset, &facts)?;
    let column = class.and_then(|at| profile.columns.get(at));
    let classes = column.map(|c| c.categories.sorted()).unwrap_or_default();
    let report = Report {
        dataset: dataset.path().display().to_string(),
        rows: profile.rows,
        missing: score.missing(),
        score,
        duplicates: leakage,
        classes: classes.into_iter().map(|(word, n)| (word.to_owned(), n)).collect(),
        drift,
        skew,
        datasheet,
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Human => print!("{}", human(&report, args)),
    }
    Ok(Exit::Ok)
}

/// A number that tells classes apart.
fn class_number(row: &Row, class: Option<usize>) -> u64 {
    let Some(cell) = class.and_then(|at| row.get(at)).and_then(Option::as_ref) else { return 0 };
    let mut hasher = DefaultHasher::new();
    cell.to_text().hash(&mut hasher);
    hasher.finish()
}

/// Adds the other side of a split, whose columns may stand in another order.
fn compared(
    dataset: &Dataset,
    other: &Dataset,
    places: &[usize],
    class: Option<usize>,
    duplicates: &mut Duplicates,
) -> anyhow::Result<()> {
    let name =
        |place: &usize| dataset.schema().columns().get(*place).map(|c| c.name.as_str()).unwrap_or_default();
    let mut there = Vec::with_capacity(places.len());
    for place in places {
        let found =
            other.schema().place(name(place)).ok_or_else(|| input(other.schema().no_column(name(place))))?;
        there.push(found);
    }
    let class = class.and_then(|c| other.schema().place(name(&c)));
    other
        .rows(|row| duplicates.add(tuple_digest(row, &there), class_number(row, class), Side::Second))
        .map_err(input)
}

/// Extracts the flows of captures as a table beside, compares, and removes it.
fn skewed(args: &CheckArgs, dataset: &Dataset, manifest: Option<&Manifest>) -> anyhow::Result<Skew> {
    let mut config = config::resolve(args.config.as_deref())?;
    let own = config.tracker;
    extraction(&mut config);
    if manifest.is_none_or(|m| m.windows != "adaptive") {
        config.tracker = own;
    }
    let scratch = Scratch::new("check")?;
    let path = scratch.path().join("again.csv");
    let mut columns = FlowColumns::new(&Set::ALL);
    let mut parts =
        Parts::create(&path, columns.schema(), Format::Csv, PartLimits::default()).map_err(input)?;
    let (mut row, nowhere) = (Row::new(), Place::default());
    let mut failed = None;
    let mut take = |record: &FlowRecord, reason| {
        columns.row(record, reason, [&nowhere; 2], None, &mut row);
        if let Err(e) = parts.row(&row, 0) {
            failed.get_or_insert(e);
        }
    };
    let mut replay = Replay::new(&config, 1, None);
    replay.set_flows(&mut take);
    let summary = replay.files(&args.pcap)?;
    if let Some(file) = summary.files.iter().find(|f| f.error.is_some() && f.packets == 0) {
        let why = file.error.as_deref().unwrap_or_default();
        return Err(fail(Exit::Input, format!("--pcap {}: {why}", file.path)));
    }
    if let Some(e) = failed {
        return Err(input(e));
    }
    parts.finish().map_err(input)?;
    skew::compare(dataset, &open(&path)?).map_err(input)
}

fn write(args: &CheckArgs, dataset: &Dataset, facts: &datasheet::Facts<'_>) -> anyhow::Result<Vec<String>> {
    let dir: &Path = args.out.as_deref().unwrap_or_else(|| dataset.directory());
    std::fs::create_dir_all(dir)
        .map_err(|e| fail(Exit::Failure, format!("cannot make {}: {e}", dir.display())))?;
    let stem = match dataset.path().file_stem().and_then(|s| s.to_str()) {
        Some(stem) if !dataset.path().is_dir() => format!("{stem}.datasheet"),
        _ => "datasheet".to_owned(),
    };
    let mut written = Vec::new();
    for (ending, text) in [("md", datasheet::markdown(facts)), ("html", datasheet::html(facts))] {
        let path = dir.join(format!("{stem}.{ending}"));
        std::fs::write(&path, text).map_err(|e| {
            fail(
                Exit::Failure,
                format!("cannot write {}: {e}; name another place with --out", path.display()),
            )
        })?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

fn human(report: &Report, args: &CheckArgs) -> String {
    let mut out = format!(
        "{}: {} rows, quality {:.0}/100, {}\n",
        report.dataset,
        report.rows,
        report.score.percent,
        if report.score.complete { "complete" } else { "not complete" }
    );
    for item in &report.score.items {
        out.push_str(&format!("  {:7} {}\n", item.state(), item.text()));
    }
    let d = &report.duplicates;
    out.push_str(&format!(
        "Duplicates: {} different of {} rows ({:.1} % repeat another); {} different rows have more than one class.\n",
        d.unique[0],
        d.rows[0],
        d.duplicate_share() * 100.0,
        d.contradictory
    ));
    if let Some(split) = &args.split {
        out.push_str(&format!(
            "Leakage: {} of {} rows of {} ({:.1} %) are in the dataset too.\n",
            d.leaked,
            d.rows[1],
            split.display(),
            d.leaked_share() * 100.0
        ));
    }
    if !report.classes.is_empty() {
        let mut classes: Vec<(&String, &u64)> = report.classes.iter().collect();
        classes.sort_by(|a, b| b.1.cmp(a.1));
        let words: Vec<String> = classes.iter().take(20).map(|(w, n)| format!("{w} {n}")).collect();
        out.push_str(&format!("Classes: {}.\n", words.join(", ")));
    }
    if let Some(drift) = &report.drift {
        let worst: Vec<String> =
            drift.changed().take(5).map(|c| format!("{} (PSI {:.2})", c.column, c.psi)).collect();
        let list = if worst.is_empty() { String::new() } else { format!(": {}", worst.join(", ")) };
        let (changed, of) = (drift.changed().count(), drift.columns.len());
        out.push_str(&format!("Drift: {changed} of {of} columns changed{list}.\n"));
    }
    if let Some(skew) = &report.skew {
        let worst: Vec<String> =
            skew.columns.iter().take(5).map(|c| format!("{} ({} rows)", c.column, c.differing)).collect();
        let list = if worst.is_empty() { "none differs".to_owned() } else { worst.join(", ") };
        out.push_str(&format!(
            "Skew: {} rows joined with what is extracted now, {} not found again, {} extra; features: {list}.\n",
            skew.joined, skew.missing, skew.extra
        ));
    }
    out.push_str(&format!("Datasheet: {}\n", report.datasheet.join(", ")));
    out
}
