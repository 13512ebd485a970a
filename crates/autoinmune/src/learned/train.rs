//! `learn`: the learned detectors from captures.

use super::collect::{Collected, Request, Truth, collect};
use super::plan::Plan;
use super::{ALARMS, CALIBRATION, CONFORMAL, ENSEMBLE, FLOW_SEEN, GROUND, SAMPLE, WINDOWS};
use crate::cli::Format;
use crate::config;
use crate::exit::{Exit, fail};
use crate::models::{FLOW, HYBRID};
use crate::pool::Threads;
use crate::truth::labels_of;
use anyhow::Context as _;
use bundle::{Data, Draft, Lineage, Manifest, Schema, SigningKey};
use clap::{Args, ValueHint};
use detect::learned::calibrate::{self, FlowReport, FlowSample, Heard, calibrate, hear};
use detect::learned::fit::{self, Fitted, chooses};
use detect::learned::flows::FlowModel;
use detect::learned::measure::{self, Report};
use detect::learned::row::{Columns, schema};
use detect::learned::vector;
use flow::label::BENIGN;
use learn::codec::to_bytes;
use learn::hybrid::{self, Hybrid, Kind, Verdict};
use learn::life::{Ground, ground};
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
    /// Flows that people said something of, for the classifier of flows to learn too (autoinmune feedback export)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub labelled: Vec<PathBuf>,
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

/// Parts into which groups of captures are divided: each is judged by models that did not see it.
const FOLDS: u64 = 5;

/// What was measured, on captures that the judging models did not learn from.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// How views are combined: what tells attacks and usual windows apart best here.
    pub voting: &'static str,
    /// Windows learnt from by the conservative and the adaptive model.
    pub windows: [u64; 2],
    /// Flows learnt from.
    pub flows: u64,
    /// By where the captures are from.
    pub tests: BTreeMap<String, Tested>,
}

/// Figures of captures of one origin.
#[derive(Debug, Serialize)]
pub struct Tested {
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
    let (all, origins, data) = gather(args, &plan, &columns)?;
    eprintln!("{} flows and {} windows", all.flows.len(), all.windows.len());
    let (flows, heard) = flow_model(args, &features, &all)?;
    let options = fit::Options {
        seed: args.seed,
        alarms_per_day: args.alarms_per_day,
        // Those of other networks are nobody's hosts.
        sources: 0,
        way: None,
        folds: FOLDS as usize,
        ..fit::Options::default()
    };
    let fitted = fit::fit_known(&all.windows, &options, &Threads(crate::engine::cores()))
        .context("the ensemble cannot be trained; it needs more windows")?;
    let ensemble = &fitted.ensemble;
    let mut tests = BTreeMap::new();
    for from in args.from.iter().map(|(name, _)| name) {
        let is_of = |group: u64| origins.get(group as usize) == Some(from);
        tests.insert(from.clone(), tested(&is_of, &all, &flows, &heard, &fitted)?);
    }
    let measured = Measured {
        voting: ensemble.way().name(),
        windows: ensemble.windows(),
        flows: all.flows.len() as u64,
        tests,
    };
    let figures = serde_json::to_value(&measured).context("figures")?;
    let manifest = manifest(args, &features, &all, data, &flows, figures.clone());
    let mut draft = Draft::new(manifest);
    draft.add(FLOW, HYBRID, Some(FLOW), to_bytes(&flows.hybrid));
    draft.add(CALIBRATION, CONFORMAL, None, to_bytes(&flows.calibration));
    draft.add(WINDOWS, ENSEMBLE, Some(WINDOWS), to_bytes(ensemble));
    draft.add(GROUND, SAMPLE, Some(FLOW), to_bytes(&sample(args.seed, &all, &flows.hybrid, &heard)?));
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

/// Measures with those groups of one origin that had no part in choosing; what is usual is known by those that had, of all
/// origins.
fn tested(
    is_of: &dyn Fn(u64) -> bool,
    all: &Collected,
    model: &FlowModel,
    heard: &[Heard],
    fitted: &Fitted,
) -> anyhow::Result<Tested> {
    let flows = all.flows.iter().zip(&all.classes).zip(heard);
    let (calibrating, rest): (Vec<_>, Vec<_>) = flows
        .map(|((flow, class), heard)| calibrate::Case { flow, class, heard: *heard })
        .partition(|case| chooses(case.flow.group));
    let own: Vec<_> = rest.into_iter().filter(|case| is_of(case.flow.group)).collect();
    let flows = calibrate::measure(model, &calibrating, &own)?;
    let windows = all.windows.iter().zip(&fitted.out_of_fold);
    let (calibrating, rest): (Vec<_>, Vec<_>) = windows
        .map(|(k, heard)| fit::Case { sample: &k.sample, attack: k.attack, heard: *heard })
        .partition(|case| chooses(case.sample.group));
    let own: Vec<_> = rest.into_iter().filter(|case| is_of(case.sample.group)).collect();
    let windows = measure::measure(&calibrating, &own, fitted.ensemble.alarms_per_day())?;
    Ok(Tested { flows, windows })
}

/// Collects the captures of the plan, and where each group of them is from.
fn gather(
    args: &LearnArgs,
    plan: &Plan,
    columns: &Columns,
) -> anyhow::Result<(Collected, Vec<String>, Vec<Data>)> {
    let config = config::resolve(None)?;
    let mut all = Collected::default();
    let (mut families, mut origins, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for set in &plan.set {
        let root = args.from.iter().find(|(name, _)| *name == set.from).ok_or_else(|| {
            fail(Exit::Input, format!("the plan takes captures from '{0}'; say --from {0}=DIR", set.from))
        })?;
        for path in set.captures(&root.1)? {
            let family = set.family(&path);
            let group = families.iter().position(|f| *f == family).unwrap_or_else(|| {
                families.push(family);
                origins.push(set.from.clone());
                families.len() - 1
            });
            let truth = match &set.class {
                Some(class) => Truth::Class(class.clone()),
                None => Truth::Labels(labels_of(&path.with_extension("labels.csv"))?),
            };
            let request = Request {
                path: &path,
                truth,
                confidence: set.confidence,
                group: group as u64,
                timeless: true,
            };
            if let Err(error) = collect(&config, columns, &request, &mut all) {
                eprintln!("autoinmune: left out: {error:#}");
                continue;
            }
            let (sha256, bytes) = bundle::sha256_of_file(&path)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            data.push(Data { file, sha256, bytes });
        }
    }
    for path in &args.labelled {
        data.push(super::labelled::read(path, &schema(), origins.len() as u64, &mut all)?);
        origins.push("feedback".to_owned());
    }
    Ok((all, origins, data))
}

/// Trains the classifier on all flows. What it is measured and calibrated by is what others, which did not see the captures of
/// a flow's group, make of it.
fn flow_model(
    args: &LearnArgs,
    features: &[Feature],
    all: &Collected,
) -> anyhow::Result<(FlowModel, Vec<Heard>)> {
    let mut names: Vec<String> = vec![BENIGN.to_owned()];
    for class in &all.classes {
        if !names.contains(class) {
            names.push(class.clone());
        }
    }
    names.get_mut(1..).unwrap_or_default().sort();
    let train = |keep: &dyn Fn(&FlowSample) -> bool| -> anyhow::Result<Hybrid> {
        let (mut rows, mut classes, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, class) in all.flows.iter().zip(&all.classes).filter(|(f, _)| keep(f)) {
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
        Hybrid::train(&training, &options, &Threads(crate::engine::cores()), &mut |_| {})
            .context("the classifier of flows cannot be trained")
    };
    let mut heard = vec![Heard { score: f32::NAN, verdict: Verdict::Unknown }; all.flows.len()];
    for fold in 0..FOLDS {
        let is_in = |f: &FlowSample| f.group % FOLDS == fold;
        let hybrid = train(&|f| !is_in(f))?;
        let places: Vec<usize> = (0..all.flows.len()).filter(|i| is_in(&all.flows[*i])).collect();
        let said = hear(&hybrid, places.iter().map(|i| &all.flows[*i]));
        for (place, said) in places.into_iter().zip(said) {
            heard[place] = said;
        }
    }
    let usual: Vec<usize> = (0..all.flows.len()).filter(|i| all.classes[*i] == BENIGN).collect();
    let flows: Vec<FlowSample> = usual.iter().map(|i| all.flows[*i].clone()).collect();
    let said: Vec<Heard> = usual.iter().map(|i| heard[*i]).collect();
    let model = calibrate(train(&|_| true)?, &flows, &said, args.alarms_per_day)
        .context("there are no benign flows to calibrate with")?;
    Ok((model, heard))
}

/// What an agent trains the classifier anew on.
fn sample(seed: u64, all: &Collected, hybrid: &Hybrid, heard: &[Heard]) -> anyhow::Result<Ground> {
    let rows = Matrix::new(hybrid.schema().len(), all.flows.iter().flat_map(|f| f.row.clone()).collect())?;
    let place = |class: &String| hybrid.names().iter().position(|n| n == class).unwrap_or_default() as u32;
    let classes: Vec<u32> = all.classes.iter().map(place).collect();
    let groups: Vec<u64> = all.flows.iter().map(|f| f.group).collect();
    let taken: Vec<Verdict> = heard.iter().map(|h| h.verdict).collect();
    let known = ground::Known {
        rows: &rows,
        schema: hybrid.schema(),
        classes: &classes,
        names: hybrid.names(),
        normal: hybrid.normal(),
        groups: &groups,
        taken: &taken,
    };
    Ground::draw(&known, seed).context("a sample of the flows")
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
        created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
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
