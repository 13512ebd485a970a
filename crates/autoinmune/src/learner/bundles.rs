//! Models that were learnt here, as bundles of the store.

use super::course::Promotion;
use super::thread::Store;
use crate::config::Config;
use crate::learned::{self, Choice};
use crate::models;
use anyhow::Context as _;
use bundle::{Bundle, Draft, Lineage, Manifest, Schema, SigningKey};
use detect::learned::Models;
use detect::learned::ensemble::Ensemble;
use detect::learned::flows::FlowModel;
use detect::learned::vector;
use learn::codec::{from_bytes, to_bytes};
use learn::{Feature, Kind};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What bundles made here are called.
const NAME: &str = "learned";
/// Bundles of no use that are kept nevertheless.
const KEPT: usize = 8;
/// Figure that names the bundle which people last put in use.
const ANCHOR: &str = "anchor";
/// Name of the built-in bundle where a bundle is named.
const BUILT_IN: &str = "built-in";

/// Where the models in use come from.
pub struct Origin {
    /// Name of their bundle.
    pub name: String,
    /// The ensemble that people last put in use.
    pub anchor: Option<Arc<Ensemble>>,
    /// Name of its bundle.
    pub anchor_name: String,
}

/// What models are called: their bundle's identifier, or the directory that a configuration names.
pub fn version(config: &Config, models: &Models) -> String {
    match &config.models {
        Choice::Directory(dir) => dir.display().to_string(),
        _ => origin(config, models).name,
    }
}

/// Where the models of a configuration come from. What was learnt here says in its figures with what it was compared.
pub fn origin(config: &Config, models: &Models) -> Origin {
    let (store, trust) = learned::trust(config);
    let itself = |name: &str| Origin {
        name: name.to_owned(),
        anchor: models.ensemble.clone(),
        anchor_name: name.to_owned(),
    };
    let promoted = if config.models == Choice::Default { store.active(&trust).ok().flatten() } else { None };
    let Some(active) = promoted else {
        return itself(if models.is_empty() { "none" } else { BUILT_IN });
    };
    let Some(anchor_name) = active.manifest().figures[ANCHOR].as_str() else { return itself(active.id()) };
    let ensemble = |bundle: &Bundle| -> Option<Arc<Ensemble>> {
        from_bytes(bundle.model(learned::WINDOWS, learned::ENSEMBLE, None).ok()?).ok().map(Arc::new)
    };
    let anchor = match anchor_name {
        BUILT_IN => learned::shipped().ok().as_ref().and_then(ensemble),
        id => store.get(id, &trust).ok().as_ref().and_then(ensemble),
    };
    Origin { name: active.id().to_owned(), anchor, anchor_name: anchor_name.to_owned() }
}

/// How finished models are kept: signed by the key of the store, and put in use there if that is configured. The classifier
/// of flows, if there is one, goes on as it is.
pub fn store(config: &Config, flows: Option<Arc<FlowModel>>, anchor: String) -> Store {
    let config = config.clone();
    Box::new(move |promotion| {
        let (store, trust) = learned::trust(&config);
        let (key, made) = SigningKey::read_or_make(&store.dir().join(models::SIGNING_KEY))?;
        if made {
            tracing::info!("made a key to sign models with in {}", store.dir().display());
        }
        let draft = draft(promotion, flows.as_deref(), &anchor);
        let files = draft.sign(&key)?;
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        let trust = trust.and(key.public());
        let bundle = Bundle::from_files(&files, &trust).context("what was just signed")?;
        let id = store.keep(&bundle)?;
        if config.learner.promote {
            store.promote(&id, &trust)?;
        }
        store.prune(KEPT)?;
        Ok((id, config.learner.promote))
    })
}

fn draft(promotion: &Promotion, flows: Option<&FlowModel>, anchor: &str) -> Draft {
    let time = |ns: u64| {
        i64::try_from(ns / 1_000_000_000)
            .ok()
            .and_then(|s| jiff::Timestamp::from_second(s).ok())
            .map(|t| t.to_string())
            .unwrap_or_default()
    };
    let windows: Vec<Feature> =
        vector::FEATURES.iter().map(|f| Feature { name: f.name.to_owned(), kind: Kind::Numeric }).collect();
    let mut schemas = BTreeMap::from([(learned::WINDOWS.to_owned(), Schema::new(windows))]);
    let mut thresholds = BTreeMap::from([(learned::ALARMS.to_owned(), promotion.ensemble.alarms_per_day())]);
    if let Some(flows) = flows {
        schemas.insert(models::FLOW.to_owned(), Schema::new(flows.hybrid.schema().to_vec()));
        thresholds.insert(learned::FLOW_SEEN.to_owned(), flows.seen);
    }
    let mut draft = Draft::new(Manifest {
        format: bundle::FORMAT,
        name: NAME.to_owned(),
        created: time(promotion.at_ns),
        program: concat!("autoinmune ", env!("CARGO_PKG_VERSION")).to_owned(),
        schemas,
        models: Vec::new(),
        thresholds,
        lineage: Lineage {
            command: "autoinmune run".to_owned(),
            seed: promotion.seed,
            span: vec![time(promotion.span_ns.0), time(promotion.span_ns.1)],
            rows: BTreeMap::from([("windows".to_owned(), promotion.samples)]),
            split: "three fifths of the spans of ten minutes learnt from, two fifths to calibrate with"
                .to_owned(),
            ..Lineage::default()
        },
        figures: json!({
            ANCHOR: anchor,
            "golden": promotion.figures,
            "shadow": promotion.shadow,
        }),
    });
    draft.add(learned::WINDOWS, learned::ENSEMBLE, Some(learned::WINDOWS), to_bytes(&*promotion.ensemble));
    if let Some(flows) = flows {
        draft.add(models::FLOW, models::HYBRID, Some(models::FLOW), to_bytes(&flows.hybrid));
        draft.add(learned::CALIBRATION, learned::CONFORMAL, None, to_bytes(&flows.calibration));
    }
    draft
}
