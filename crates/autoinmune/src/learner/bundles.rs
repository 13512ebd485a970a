//! Models that were learnt here, as bundles of the store.

use super::thread::{Finished, New, Store};
use super::witness::Vouched;
use crate::config::Config;
use crate::learned::{self, Choice};
use crate::models;
use anyhow::Context as _;
use bundle::{Bundle, Draft, Lineage, Manifest, Schema, SigningKey};
use detect::learned::Models;
use detect::learned::vector;
use learn::codec::to_bytes;
use learn::life::Ground;
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
/// Figure that tells what the classifier of flows learnt of people ([`super::flows::mark`]), as hexadecimal digits.
const LEARNT: &str = "labelled_flows";
/// Name of the built-in bundle where a bundle is named.
const BUILT_IN: &str = "built-in";

/// Where the models in use come from.
pub struct Origin {
    /// They themselves.
    pub current: Vouched,
    /// Those that people last put in use.
    pub anchor: Models,
    /// Name of their bundle.
    pub anchor_name: String,
}

/// What the classifier of a bundle was trained on. What cannot be read is said, and missed.
fn ground(bundle: &Bundle) -> Option<Arc<Ground>> {
    learned::ground(bundle)
        .unwrap_or_else(|e| {
            tracing::warn!("the classifier of flows is not trained anew: {e:#}");
            None
        })
        .map(Arc::new)
}

/// What models are called: their bundle's identifier, or the directory that a configuration names.
pub fn version(config: &Config, models: &Models) -> String {
    origin(config, models).current.name
}

/// Where the models of a configuration come from. What was learnt here says in its figures with what it was compared.
pub fn origin(config: &Config, models: &Models) -> Origin {
    let (store, trust) = learned::trust(config);
    let shipped = || learned::shipped().ok();
    let itself = |name: &str, ground: Option<Arc<Ground>>| Origin {
        current: Vouched { models: models.clone(), ground, learnt: 0, name: name.to_owned() },
        anchor: models.clone(),
        anchor_name: name.to_owned(),
    };
    if let Choice::Directory(dir) = &config.models {
        return itself(&dir.display().to_string(), None);
    }
    if config.models == Choice::None {
        return itself("none", None);
    }
    let Some(active) = store.active(&trust).ok().flatten() else {
        return match models.is_empty() {
            true => itself("none", None),
            false => itself(BUILT_IN, shipped().as_ref().and_then(ground)),
        };
    };
    let own = ground(&active);
    let figures = &active.manifest().figures;
    let Some(anchor_name) = figures[ANCHOR].as_str() else { return itself(active.id(), own) };
    let anchor = match anchor_name {
        BUILT_IN => shipped(),
        id => store.get(id, &trust).ok(),
    };
    let learnt = figures[LEARNT].as_str().and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    Origin {
        current: Vouched {
            models: models.clone(),
            ground: own.or_else(|| anchor.as_ref().and_then(ground)),
            learnt,
            name: active.id().to_owned(),
        },
        anchor: anchor.as_ref().and_then(|a| learned::models(a).ok()).unwrap_or_default(),
        anchor_name: anchor_name.to_owned(),
    }
}

/// How finished models are kept: signed by the key of the store, and put in use there if that is configured.
pub fn store(config: &Config, anchor: String) -> Store {
    let config = config.clone();
    Box::new(move |finished| {
        let (store, trust) = learned::trust(&config);
        let (key, made) = SigningKey::read_or_make(&store.dir().join(models::SIGNING_KEY))?;
        if made {
            tracing::info!("made a key to sign models with in {}", store.dir().display());
        }
        let files = draft(finished, &anchor).sign(&key)?;
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

fn draft(finished: &Finished<'_>, anchor: &str) -> Draft {
    let time = |ns: u64| {
        i64::try_from(ns / 1_000_000_000)
            .ok()
            .and_then(|s| jiff::Timestamp::from_second(s).ok())
            .map(|t| t.to_string())
            .unwrap_or_default()
    };
    let Finished { models: Models { ensemble, flows }, ground, learnt, new } = finished;
    let mut schemas = BTreeMap::new();
    let mut thresholds = BTreeMap::new();
    if let Some(ensemble) = ensemble {
        let feature = |f: &vector::Feature| Feature { name: f.name.to_owned(), kind: Kind::Numeric };
        let windows = vector::FEATURES.iter().map(feature).collect();
        schemas.insert(learned::WINDOWS.to_owned(), Schema::new(windows));
        thresholds.insert(learned::ALARMS.to_owned(), ensemble.alarms_per_day());
    }
    if let Some(flows) = flows {
        schemas.insert(models::FLOW.to_owned(), Schema::new(flows.hybrid.schema().to_vec()));
        thresholds.insert(learned::FLOW_SEEN.to_owned(), flows.seen);
        thresholds.entry(learned::ALARMS.to_owned()).or_insert(flows.alarms_per_day);
    }
    let lineage = Lineage { command: "autoinmune run".to_owned(), ..Lineage::default() };
    let (at_ns, lineage, mut figures) = match new {
        New::Windows(p) => {
            let lineage = Lineage {
                seed: p.seed,
                span: vec![time(p.span_ns.0), time(p.span_ns.1)],
                rows: BTreeMap::from([("windows".to_owned(), p.samples)]),
                split: "three fifths of the spans of ten minutes learnt from, two fifths to calibrate with"
                    .to_owned(),
                ..lineage
            };
            (p.at_ns, lineage, json!({ "golden": p.figures, "shadow": p.shadow }))
        }
        New::Flows(p) => {
            let lineage = Lineage {
                seed: p.seed,
                rows: BTreeMap::from([("flows".to_owned(), p.rows)]),
                split: "measured by a model that did not see a fifth of the captures".to_owned(),
                ..lineage
            };
            (p.at_ns, lineage, json!({ "golden_flows": p.figures, "named": p.named, "shadow": p.shadow }))
        }
    };
    figures[ANCHOR] = anchor.into();
    figures[LEARNT] = format!("{learnt:x}").into();
    let mut draft = Draft::new(Manifest {
        format: bundle::FORMAT,
        name: NAME.to_owned(),
        created: time(at_ns),
        program: concat!("autoinmune ", env!("CARGO_PKG_VERSION")).to_owned(),
        schemas,
        models: Vec::new(),
        thresholds,
        lineage,
        figures,
    });
    if let Some(ensemble) = ensemble {
        draft.add(learned::WINDOWS, learned::ENSEMBLE, Some(learned::WINDOWS), to_bytes(&**ensemble));
    }
    if let Some(flows) = flows {
        draft.add(models::FLOW, models::HYBRID, Some(models::FLOW), to_bytes(&flows.hybrid));
        draft.add(learned::CALIBRATION, learned::CONFORMAL, None, to_bytes(&flows.calibration));
        if let Some(ground) = ground {
            draft.add(learned::GROUND, learned::SAMPLE, Some(models::FLOW), to_bytes(*ground));
        }
    }
    draft
}
