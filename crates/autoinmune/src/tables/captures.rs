//! Captures as tables: their flows by our own line, each with what a label file says of it.

use super::Source;
use crate::config;
use crate::dataset::input;
use crate::exit::{Exit, fail};
use crate::replay::Replay;
use crate::scratch::Scratch;
use crate::truth::labels_of;
use dataset::{Dataset, FlowColumns, Format, PartLimits, Parts, Place, Row};
use detect::learned::Models;
use flow::FlowRecord;
use flow::feature::Set;
use flow::label::{Label, Labels};
use std::path::{Path, PathBuf};

/// The column with what a flow was.
pub const LABEL: &str = "class";

/// Whether these are captures by their endings. Captures and tables are not read together.
///
/// # Errors
/// Some are and some are not.
pub fn are_captures(option: &str, paths: &[PathBuf]) -> anyhow::Result<bool> {
    let is = |p: &PathBuf| {
        let ending = p.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        matches!(ending.as_deref(), Some("pcap" | "pcapng" | "cap"))
    };
    match paths.iter().filter(|p| is(p)).count() {
        0 => Ok(false),
        n if n == paths.len() => Ok(true),
        _ => Err(fail(Exit::Input, format!("{option}: captures and tables cannot be read together"))),
    }
}

/// Captures that are of one time and place, with what is known of them: all together by one file, or each by its own beside
/// it, `x.labels.csv` for `x.pcap`.
///
/// # Errors
/// A label file is not there or cannot be read.
pub fn labelled<'a>(
    option: &str,
    captures: &'a [PathBuf],
    labels: Option<&Path>,
) -> anyhow::Result<Vec<(&'a [PathBuf], Labels)>> {
    let groups: Vec<(&[PathBuf], PathBuf)> = match labels {
        Some(labels) => vec![(captures, labels.to_owned())],
        None => captures.iter().map(|c| (std::slice::from_ref(c), c.with_extension("labels.csv"))).collect(),
    };
    let read = |(captures, labels): (&'a [PathBuf], PathBuf)| {
        if labels.exists() {
            return Ok((captures, labels_of(&labels)?));
        }
        let what =
            format!("{} is not there: say with --labels what the flows of {option} were", labels.display());
        Err(fail(Exit::Input, what))
    };
    groups.into_iter().map(read).collect()
}

/// The flows of captures, as a table in `scratch` under `name`. Without a label file each capture has its own beside it:
/// `x.labels.csv` for `x.pcap`. What no row is about is benign.
///
/// # Errors
/// A capture or a label file cannot be read, or the table not be written.
pub fn flows_of(
    option: &str,
    captures: &[PathBuf],
    labels: Option<&Path>,
    scratch: &Scratch,
    name: &str,
) -> anyhow::Result<Vec<Source>> {
    let config = config::resolve(None)?;
    let path = scratch.path().join(format!("{name}.csv"));
    let schema = FlowColumns::with_places_and_labels(&Set::ALL).schema();
    let mut parts = Parts::create(&path, schema, Format::Csv, PartLimits::default()).map_err(input)?;
    for (captures, labels) in labelled(option, captures, labels)? {
        // Captures with labels of their own are of another time and place: counts over the latest flows begin anew.
        let mut columns = FlowColumns::with_places_and_labels(&Set::ALL);
        let (mut row, nowhere, benign) = (Row::new(), Place::default(), Label::default());
        let mut failed = None;
        let mut take = |record: &FlowRecord, reason| {
            let label = labels.of(record).unwrap_or(&benign);
            columns.row(record, reason, [&nowhere; 2], Some(label), &mut row);
            if let Err(e) = parts.row(&row, 0) {
                failed.get_or_insert(e);
            }
        };
        // One worker: some features count over the latest flows, in the order in which they ended.
        let mut replay = Replay::new(&config, 1, None);
        replay.set_flows(&mut take);
        // Nothing is judged here.
        replay.set_models(Models::default());
        let summary = replay.files(captures)?;
        if let Some(file) = summary.files.iter().find(|f| f.error.is_some() && f.packets == 0) {
            let why = file.error.as_deref().unwrap_or_default();
            return Err(fail(Exit::Input, format!("{option} {}: {why}", file.path)));
        }
        if let Some(e) = failed {
            return Err(input(e));
        }
    }
    parts.finish().map_err(input)?;
    let dataset = Dataset::open(&path).map_err(input)?;
    Ok(vec![Source { dataset, file: name.to_owned(), directory: String::new() }])
}
