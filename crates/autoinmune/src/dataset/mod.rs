//! `autoinmune dataset …`: what can be done with tables of flows once there are some.

mod check;

use crate::capture::TableFormat;
use crate::cli::Format as Output;
use crate::exit::{Exit, fail};
use crate::truth::labels_of;
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};
use dataset::anonymise::{self, CryptoPan};
use dataset::{Dataset, Format, Manifest, Repeats, SplitBy, SplitOptions};
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Environment variable with the key of pseudonyms.
const KEY: &str = "AUTOINMUNE_ANONYMISE_KEY";

/// `dataset …`.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Score a dataset, look for duplicates, leakage, drift and skew, and write its datasheet
    Check(check::CheckArgs),
    /// Put datasets together, row after row; columns are matched by name
    Merge(MergeArgs),
    /// Divide a dataset into one to learn from and one to test with
    Split(SplitArgs),
    /// Say of each row what it was
    Label(LabelArgs),
    /// Replace addresses by pseudonyms that keep who shares a network with whom (Crypto-PAn), in a dataset or a capture
    Anonymise(AnonymiseArgs),
}

/// Where a command writes.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Where to: a new .csv or .parquet file, or a directory without parts
    #[arg(long, alias = "to", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: PathBuf,
    /// Format of parts in a directory [default: that of the input]
    #[arg(long, value_enum)]
    pub format: Option<TableFormat>,
    /// Output format of the report
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `dataset merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Datasets: files or directories
    #[arg(required = true, value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub from: Vec<PathBuf>,
    /// Leave out rows that repeat an earlier one in every feature and in class
    #[arg(long)]
    pub dedupe: bool,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
}

/// `dataset split`.
#[derive(Clone, Debug, Args)]
pub struct SplitArgs {
    /// Dataset: a file or a directory
    #[arg(value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub from: PathBuf,
    /// Keep rows together that are equal in all features, or in the columns of --group
    #[arg(long, required_unless_present = "time", conflicts_with = "time")]
    pub grouped: bool,
    /// Columns by which rows belong together, separated by commas
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "grouped")]
    pub group: Vec<String>,
    /// Learn from the earliest flows, test with the latest
    #[arg(long)]
    pub time: bool,
    /// Share of rows to test with
    #[arg(long, alias = "test", value_name = "SHARE", default_value_t = 0.3)]
    pub test_share: f64,
    /// Which of the possible splits
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
}

/// `dataset label`.
#[derive(Clone, Debug, Args)]
pub struct LabelArgs {
    /// Dataset: a file or a directory
    #[arg(value_name = "DATASET", value_hint = ValueHint::AnyPath)]
    pub from: PathBuf,
    /// What is known of its flows
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "class")]
    pub labels: Option<PathBuf>,
    /// The class of every row, such as benign
    #[arg(long, value_name = "NAME", conflicts_with = "labels")]
    pub class: Option<String>,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
}

/// `dataset anonymise`.
#[derive(Clone, Debug, Args)]
pub struct AnonymiseArgs {
    /// Dataset (a file or a directory), or a capture (.pcap, .pcapng)
    #[arg(value_name = "DATASET|CAPTURE", value_hint = ValueHint::AnyPath)]
    pub from: PathBuf,
    /// File with the key, 64 hexadecimal digits (openssl rand -hex 32) [default: the environment variable
    /// AUTOINMUNE_ANONYMISE_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// Further columns that hold addresses, separated by commas
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub column: Vec<String>,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
}

/// Runs the command.
///
/// # Errors
/// One sentence with file and line; exit code 2 for input that cannot be read.
pub fn run(command: &DatasetCommand) -> anyhow::Result<Exit> {
    match command {
        DatasetCommand::Check(args) => check::run(args),
        DatasetCommand::Merge(args) => merge(args),
        DatasetCommand::Split(args) => split(args),
        DatasetCommand::Label(args) => label(args),
        DatasetCommand::Anonymise(args) => anonymise(args),
    }
}

/// An error of the dataset crate with its exit code.
pub fn input(error: dataset::Error) -> anyhow::Error {
    let exit = match error {
        dataset::Error::Io { doing: "write" | "make" | "rename" | "remove", .. } => Exit::Failure,
        _ => Exit::Input,
    };
    fail(exit, error.to_string())
}

impl Target {
    fn format(&self, from: &Dataset) -> Format {
        // A file's ending says it.
        Format::of(&self.out).unwrap_or_else(|| self.format.map_or_else(|| from.format(), Into::into))
    }

    fn report(&self, text: &str, data: &impl Serialize) -> anyhow::Result<Exit> {
        match self.output {
            Output::Human => println!("{text}"),
            Output::Json => println!("{}", serde_json::to_string_pretty(data)?),
        }
        Ok(Exit::Ok)
    }
}

/// Says of a new dataset what it was made of.
fn inherit(from: &[Dataset], to: &Path, change: impl Fn(&mut Manifest)) -> anyhow::Result<()> {
    if !to.is_dir() {
        // A single file has no place for it.
        return Ok(());
    }
    let made = Dataset::open(to).map_err(input)?;
    let mut manifest = Manifest::new(&made.typed().map_err(input)?, made.format());
    made.rows(|_| {
        manifest.rows += 1;
        Ok(())
    })
    .map_err(input)?;
    let mut first = true;
    for dataset in from {
        let Some(known) = Manifest::of(dataset).map_err(input)? else { continue };
        manifest.runs.extend(known.runs);
        for (field, value) in [
            (&mut manifest.windows, known.windows),
            (&mut manifest.anonymised, known.anonymised),
            (&mut manifest.retention, known.retention),
        ] {
            if !first && *field != value {
                field.push_str("; ");
                field.push_str(&value);
            } else {
                *field = value;
            }
        }
        first = false;
    }
    change(&mut manifest);
    manifest.save(to).map_err(input).map(drop)
}

fn open(path: &Path) -> anyhow::Result<Dataset> {
    Dataset::open(path).map_err(input)
}

fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    let from = args.from.iter().map(|p| open(p)).collect::<anyhow::Result<Vec<Dataset>>>()?;
    let Some(first) = from.first() else { return Ok(Exit::Input) };
    let repeats = if args.dedupe { Repeats::Drop } else { Repeats::Keep };
    let merged =
        dataset::merge(&from, &args.target.out, args.target.format(first), repeats).map_err(input)?;
    inherit(&from, &args.target.out, |_| {})?;
    let mut text =
        format!("{} rows of {} datasets written to {}", merged.rows, from.len(), args.target.out.display());
    if args.dedupe {
        text.push_str(&format!("; {} repeats left out", merged.repeats));
    }
    let data = serde_json::json!({"rows": merged.rows, "repeats": merged.repeats, "datasets": from.len()});
    args.target.report(&text, &data)
}

fn split(args: &SplitArgs) -> anyhow::Result<Exit> {
    let from = open(&args.from)?;
    let to = &args.target.out;
    if Format::of(to).is_some() {
        return Err(fail(
            Exit::Input,
            format!("--out {}: a split makes a directory with train and test", to.display()),
        ));
    }
    let by = match (args.time, args.group.is_empty()) {
        (true, _) => SplitBy::Time,
        (false, true) => SplitBy::Features,
        (false, false) => SplitBy::Columns(args.group.clone()),
    };
    let options =
        SplitOptions { by, test: args.test_share, seed: args.seed, format: args.target.format(&from) };
    let report = dataset::split(&from, to, &options).map_err(input)?;
    for side in ["train", "test"] {
        inherit(std::slice::from_ref(&from), &to.join(side), |_| {})?;
    }
    let left_out = match report.left_out {
        0 => String::new(),
        n => format!("; {n} rows without a time left out"),
    };
    let text = format!(
        "{} rows to learn from in {}, {} to test with in {}{left_out}",
        report.train,
        to.join("train").display(),
        report.test,
        to.join("test").display()
    );
    args.target.report(&text, &report)
}

fn label(args: &LabelArgs) -> anyhow::Result<Exit> {
    let from = open(&args.from)?;
    let labels = args.labels.as_deref().map(labels_of).transpose()?;
    let class = args.class.as_deref().unwrap_or(flow::label::BENIGN);
    let format = args.target.format(&from);
    let report = dataset::label(&from, labels.as_ref(), class, &args.target.out, format).map_err(input)?;
    inherit(std::slice::from_ref(&from), &args.target.out, |_| {})?;
    let text = match labels {
        Some(_) => format!(
            "{} of {} rows named by labels, {} not readable as flows and left as they were, all others benign",
            report.named, report.rows, report.unreadable
        ),
        None => format!("{} rows labelled {class}", report.rows),
    };
    args.target.report(&text, &report)
}

/// The key, from a file or the environment: on the command line everybody on the machine could read it.
fn key(file: Option<&Path>) -> anyhow::Result<CryptoPan> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| fail(Exit::Input, format!("--key-file {}: cannot read: {e}", path.display())))?,
        None => std::env::var(KEY).map_err(|_| {
            fail(
                Exit::Input,
                format!("no key: give --key-file FILE or set {KEY}; make one with: openssl rand -hex 32"),
            )
        })?,
    };
    let place = file.map_or_else(|| KEY.to_owned(), |p| format!("--key-file {}", p.display()));
    CryptoPan::from_hex(&text).map_err(|e| fail(Exit::Input, format!("{place}: {e}")))
}

fn anonymise(args: &AnonymiseArgs) -> anyhow::Result<Exit> {
    let pan = key(args.key_file.as_deref())?;
    let ending = args.from.extension().and_then(|e| e.to_str());
    if matches!(ending, Some("pcap" | "pcapng" | "cap")) {
        return anonymise_capture(args, &pan);
    }
    let from = open(&args.from)?;
    let format = args.target.format(&from);
    let report = anonymise::table(&from, &pan, &args.column, &args.target.out, format).map_err(input)?;
    inherit(std::slice::from_ref(&from), &args.target.out, |m| {
        m.anonymised = "crypto-pan".into();
        m.payload = "none".into();
        // Command lines and interfaces may name people and places.
        m.runs.iter_mut().for_each(|r| {
            r.command.clear();
            r.interfaces.clear();
        });
    })?;
    let emptied = match report.emptied.as_slice() {
        [] => String::new(),
        columns => format!("; emptied: {}", columns.join(", ")),
    };
    let text = format!(
        "{} addresses replaced in {} rows (columns {}){emptied}",
        report.addresses,
        report.rows,
        report.columns.join(", ")
    );
    args.target.report(&text, &report)
}

fn anonymise_capture(args: &AnonymiseArgs, pan: &CryptoPan) -> anyhow::Result<Exit> {
    let (from, to) = (&args.from, &args.target.out);
    let source =
        File::open(from).map_err(|e| fail(Exit::Input, format!("cannot read {}: {e}", from.display())))?;
    let sink = File::create_new(to)
        .map_err(|e| fail(Exit::Input, format!("cannot write {}: {e}; name a new file", to.display())))?;
    let mut sink = BufWriter::with_capacity(1 << 18, sink);
    let copied = anonymise::capture(BufReader::new(source), &mut sink, pan);
    let report = match copied {
        Ok(report) => report,
        Err(e) => {
            // Nothing came of it.
            let _ = std::fs::remove_file(to);
            return Err(fail(Exit::Input, format!("{}: {e}", from.display())));
        }
    };
    sink.flush().with_context(|| format!("cannot write {}", to.display()))?;
    if let Some(error) = &report.error {
        eprintln!("autoinmune: {}: {error} (what came before was copied)", from.display());
    }
    let text = format!(
        "{} of {} frames written to {}, {} bytes of payload cut off, {} frames of other protocols left out",
        report.written,
        report.frames,
        to.display(),
        report.payload_bytes,
        report.left_out
    );
    args.target.report(&text, &report)
}
