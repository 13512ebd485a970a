//! `learn`: the learned detectors from captures.

use super::collect::{Collected, Request, Truth, collect};
use super::plan::{Plan, Use};
use super::{ALARMS, CALIBRATION, CONFORMAL, ENSEMBLE, FLOW, FLOW_SEEN, HYBRID, WINDOWS};
use crate::cli::Format;
use crate::config;
use crate::exit::{Exit, fail};
use crate::pool::Threads;
use crate::truth::labels_of;
use anyhow::Context as _;
use bundle::{Data, Draft, Lineage, Manifest, Schema, SigningKey};
use clap::{Args, ValueHint};
use detect::learned::calibrate::{FlowReport, FlowSample, calibrate, measure as measure_flows};
use detect::learned::ensemble::{Ensemble, Voting};
use detect::learned::fit::{self, Sample, held_out};
use detect::learned::flows::FlowModel;
use detect::learned::measure::{Known, Report, measure};
use detect::learned::row::{Columns, schema};
use detect::learned::vector;
use flow::label::BENIGN;
use learn::codec::to_bytes;
use learn::hybrid::{self, Hybrid, Kind};
use learn::{Feature, Matrix};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `learn`.
#[derive(Clone, Debug, Args)]
pub struct LearnArgs {
    /// Which captures are learnt from and which are measured with (TOML, see models/default/plan.toml)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// A directory of captures by the name that the plan has for it
    #[arg(long, value_name = "NAME=DIR", value_parser = named)]
    pub from: Vec<(String, PathBuf)>,
    /// Directory to write the bundle to; must not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// What the bundle is called
    #[arg(long, default_value = "default")]
    pub name: String,
    /// Key that signs the bundle, made if absent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// False alarms of one host a day that are accepted
    #[arg(long, default_value_t = 1.0)]
    pub alarms_per_day: f64,
    /// What chance depends on
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Reads `NAME=DIR`.
///
/// # Errors
/// It is not of that form.
pub fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => Ok((name.to_owned(), dir.into())),
        _ => Err("must be NAME=DIR".to_owned()),
    }
}

/// What was measured, on captures that nothing was learnt from.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// How views were combined best on attacks of the training captures, which the ensemble did not learn from.
    pub voting: &'static str,
    /// Hours of captures learnt from.
    pub hours: f64,
    /// By where the captures are from.
    pub tests: BTreeMap<String, Tested>,
}

/// Figures of captures of one origin.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// Hours of captures.
    pub hours: f64,
    /// The classifier of flows.
    pub flows: FlowReport,
    /// The ensemble.
    pub windows: Report,
}

/// `learn`.
///
/// # Errors
/// Wrong arguments, captures that cannot be read, too little to learn from.
pub fn run(args: &LearnArgs) -> anyhow::Result<Exit> {
    if !(args.alarms_per_day > 0.0 && args.alarms_per_day.is_finite()) {
        return Err(fail(Exit::Input, "--alarms-per-day must be above 0"));
    }
    if args.out.exists() {
        return Err(fail(Exit::Input, format!("--out {} exists; name a new directory", args.out.display())));
    }
    let plan = Plan::read(&args.plan)?;
    let (key, _) = SigningKey::read_or_make(&args.key)?;
    let features = schema();
    let columns = Columns::new(&features).map_err(anyhow::Error::msg)?;
    let (train, tests, data) = gather(args, &plan, &columns)?;
    eprintln!("{} flows and {} windows to learn from", train.flows.len(), train.windows.len());
    let flows = flow_model(args, &features, &train)?;
    let (ensemble, voting) = ensemble(args, &train)?;
    let tested = |(from, test): (&String, &Collected)| -> anyhow::Result<(String, Tested)> {
        let tested = Tested {
            hours: test.seconds / 3600.0,
            flows: measure_flows(&flows, &test.flows, &test.classes)?,
            windows: measure(&ensemble, &test.windows),
        };
        Ok((from.clone(), tested))
    };
    let measured = Measured {
        voting: voting.name(),
        hours: train.seconds / 3600.0,
        tests: tests.iter().map(tested).collect::<anyhow::Result<_>>()?,
    };
    let figures = serde_json::to_value(&measured).context("figures")?;
    let manifest = manifest(args, &features, &train, data, &flows, figures.clone());
    let mut draft = Draft::new(manifest);
    draft.add(FLOW, HYBRID, Some(FLOW), to_bytes(&flows.hybrid));
    draft.add(CALIBRATION, CONFORMAL, None, to_bytes(&flows.calibration));
    draft.add(WINDOWS, ENSEMBLE, Some(WINDOWS), to_bytes(&ensemble));
    let bundle = draft.write(&args.out, &key)?;
    match args.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
        Format::Human => {
            print!("{}", super::report::markdown_of(&figures));
            println!("{} written to {} ({} bytes)", bundle.id(), args.out.display(), bundle.bytes());
        }
    }
    Ok(Exit::Ok)
}

/// What captures gave: those to learn from, those to measure with by where they are from, and which they were.
type Gathered = (Collected, BTreeMap<String, Collected>, Vec<Data>);

/// Collects the captures of the plan.
fn gather(args: &LearnArgs, plan: &Plan, columns: &Columns) -> anyhow::Result<Gathered> {
    let config = config::resolve(None)?;
    let (mut train, mut tests) = (Collected::default(), BTreeMap::<String, Collected>::new());
    let mut data = Vec::new();
    let mut group = 0;
    for set in &plan.set {
        let root = args.from.iter().find(|(name, _)| *name == set.from).ok_or_else(|| {
            fail(Exit::Input, format!("the plan takes captures from '{0}'; say --from {0}=DIR", set.from))
        })?;
        for path in set.captures(&root.1)? {
            group += 1;
            let truth = match &set.class {
                Some(class) => Truth::Class(class.clone()),
                None => Truth::Labels(labels_of(&path.with_extension("labels.csv"))?),
            };
            let request = Request { path: &path, truth, confidence: set.confidence, group, timeless: true };
            let out = match set.r#use {
                Use::Train => &mut train,
                Use::Test => tests.entry(set.from.clone()).or_default(),
            };
            if let Err(error) = collect(&config, columns, &request, out) {
                eprintln!("autoinmune: left out: {error:#}");
                continue;
            }
            let (sha256, bytes) = bundle::sha256_of_file(&path)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            data.push(Data { file, sha256, bytes });
        }
    }
    Ok((train, tests, data))
}

/// Trains the classifier on three fifths of the captures with benign flows and on all attacks; the other benign flows calibrate.
fn flow_model(args: &LearnArgs, features: &[Feature], train: &Collected) -> anyhow::Result<FlowModel> {
    let mut names: Vec<String> = vec![BENIGN.to_owned()];
    for class in &train.classes {
        if !names.contains(class) {
            names.push(class.clone());
        }
    }
    names.get_mut(1..).unwrap_or_default().sort();
    let held = held_groups(&train.flows, args.seed);
    let (mut rows, mut classes, mut groups, mut usual) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (sample, class) in train.flows.iter().zip(&train.classes) {
        if class == BENIGN && held.contains(&sample.group) {
            usual.push(sample.clone());
            continue;
        }
        rows.extend(&sample.row);
        classes.push(names.iter().position(|n| n == class).unwrap_or_default() as u32);
        groups.push(sample.group);
    }
    let rows = Matrix::new(features.len(), rows)?;
    let training = hybrid::Training {
        rows: &rows,
        schema: features,
        classes: &classes,
        names: &names,
        normal: 0,
        weights: None,
        groups: Some(&groups),
    };
    let options = hybrid::Options { kind: Kind::Boosting, seed: args.seed, ..hybrid::Options::default() };
    let pool = Threads(crate::engine::cores());
    let hybrid = Hybrid::train(&training, &options, &pool, &mut |_| {})
        .context("the classifier of flows cannot be trained")?;
    calibrate(hybrid, &usual, args.alarms_per_day).context("there are no benign flows to calibrate with")
}

/// Groups held out for calibration, drawn as for windows.
fn held_groups(flows: &[FlowSample], seed: u64) -> Vec<u64> {
    let mut groups: Vec<u64> = flows.iter().map(|f| f.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let sample = |group: &u64| Sample {
        source: *group,
        group: *group,
        hour: 0,
        start_ns: 0,
        confidence: 1.0,
        sequence: [0.0; vector::WIDTH * detect::learned::watch::SEQUENCE],
    };
    let samples: Vec<Sample> = groups.iter().map(sample).collect();
    let held = held_out(&samples, seed);
    groups.into_iter().zip(held).filter(|(_, held)| *held).map(|(group, _)| group).collect()
}

/// Trains the ensemble on windows of sources that did not attack, and lets the attacks of the same captures, from which it learns
/// nothing, say how views are combined best.
fn ensemble(args: &LearnArgs, train: &Collected) -> anyhow::Result<(Ensemble, Voting)> {
    let pool = Threads(crate::engine::cores());
    let samples: Vec<Sample> = train.windows.iter().filter(|k| !k.attack).map(|k| k.sample.clone()).collect();
    let options = |voting| fit::Options {
        seed: args.seed,
        alarms_per_day: args.alarms_per_day,
        // Those of other networks are nobody's hosts.
        sources: 0,
        voting,
        ..fit::Options::default()
    };
    let train_one = |voting| {
        fit::fit(&samples, &options(voting), &pool)
            .context("the ensemble cannot be trained; it needs more windows")
    };
    let first = train_one(Voting::TwoOfThree)?;
    let held = held_out(&samples, args.seed);
    let calm = samples.iter().zip(&held).filter(|(_, held)| **held);
    let mut known: Vec<Known> = calm.map(|(s, _)| Known { sample: s.clone(), attack: false }).collect();
    known.extend(train.windows.iter().filter(|k| k.attack).cloned());
    let report = measure(&first, &known);
    let best = report.best().map_or("", |q| q.name);
    let voting = Voting::ALL.into_iter().find(|v| v.name() == best).unwrap_or(Voting::TwoOfThree);
    let ensemble = if voting == Voting::TwoOfThree { first } else { train_one(voting)? };
    Ok((ensemble, voting))
}

fn manifest(
    args: &LearnArgs,
    features: &[Feature],
    train: &Collected,
    data: Vec<Data>,
    flows: &FlowModel,
    figures: serde_json::Value,
) -> Manifest {
    let windows = vector::FEATURES
        .iter()
        .map(|f| Feature { name: f.name.to_owned(), kind: learn::Kind::Numeric })
        .collect();
    let mut classes = BTreeMap::new();
    for class in &train.classes {
        *classes.entry(class.clone()).or_default() += 1;
    }
    let rows = BTreeMap::from([
        ("flows".to_owned(), train.flows.len() as u64),
        ("windows".to_owned(), train.windows.len() as u64),
    ]);
    Manifest {
        format: bundle::FORMAT,
        name: args.name.clone(),
        // The same captures and seed are to give the same bytes.
        created: String::new(),
        program: format!("autoinmune {}", env!("CARGO_PKG_VERSION")),
        schemas: BTreeMap::from([
            (FLOW.to_owned(), Schema::new(features.to_vec())),
            (WINDOWS.to_owned(), Schema::new(windows)),
        ]),
        models: Vec::new(),
        thresholds: BTreeMap::from([
            (ALARMS.to_owned(), args.alarms_per_day),
            (FLOW_SEEN.to_owned(), flows.seen),
        ]),
        lineage: Lineage {
            command: "autoinmune learn, see models/README.md".to_owned(),
            seed: args.seed,
            data,
            rows,
            classes,
            split: "by capture, as the plan says".to_owned(),
            label: "class".to_owned(),
            normal: BENIGN.to_owned(),
            ..Lineage::default()
        },
        figures,
    }
}
