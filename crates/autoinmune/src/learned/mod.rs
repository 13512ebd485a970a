//! The learned detectors in the program: trained from captures, kept in bundles, put into the line.

pub mod collect;
pub mod labelled;
pub mod plan;
mod report;
mod train;

pub use report::markdown;
pub use train::{LearnArgs, named, run};

use crate::config::Config;
use crate::exit::{Exit, fail};
use crate::models::{FLOW, HYBRID};
use anyhow::Context as _;
use bundle::{Bundle, PublicKey, Store, Trust};
use detect::learned::Models;
use detect::learned::ensemble::Ensemble;
use detect::learned::flows::{FlowCalibration, FlowModel};
use learn::codec::from_bytes;
use learn::hybrid::Hybrid;
use learn::life::Ground;
use std::path::PathBuf;
use std::sync::Arc;

/// Name of the scores of usual flows.
pub const CALIBRATION: &str = "flow-calibration";
/// Their kind.
pub const CONFORMAL: &str = "conformal";
/// Name of the ensemble that knows windows, and of its schema.
pub const WINDOWS: &str = "windows";
/// Its kind.
pub const ENSEMBLE: &str = "ensemble";
/// Name of what the classifier of flows was trained on, in small ([`learn::life::Ground`]). A bundle need not have it; without
/// it an agent does not train the classifier anew.
pub const GROUND: &str = "flow-ground";
/// Its kind.
pub const SAMPLE: &str = "sample";
/// Threshold: false alarms of one host a day.
pub const ALARMS: &str = "alarms_per_day";
/// Threshold: the most evidence that flows gave against a usual source.
pub const FLOW_SEEN: &str = "flow_seen";

/// The bundle that comes with the program, by names of files.
macro_rules! shipped {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../../../../models/default/", $name)))),*]
    };
}
const SHIPPED: &[(&str, &[u8])] = shipped!(
    "manifest.json",
    "signature",
    "public-key",
    "flow.model",
    "flow-calibration.model",
    "flow-ground.model",
    "windows.model"
);

/// The key that signed what comes with the program.
#[must_use]
pub fn shipped_key() -> Option<PublicKey> {
    let (_, key) = SHIPPED.iter().find(|(name, _)| *name == bundle::PUBLIC_KEY)?;
    PublicKey::parse(std::str::from_utf8(key).ok()?.trim())
}

/// The bundle that comes with the program.
///
/// # Errors
/// It was changed since it was signed.
pub fn shipped() -> anyhow::Result<Bundle> {
    Bundle::from_files(SHIPPED, &Trust::new(shipped_key())).context("the models built into this program")
}

/// Which models the line works with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Those that come with the program; an agent takes what was promoted, if something was.
    #[default]
    Default,
    /// None: nothing learned speaks.
    None,
    /// A bundle in a directory.
    Directory(PathBuf),
}

impl Choice {
    /// Of `default`, `none`, or a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "default" => Self::Default,
            "none" => Self::None,
            path => Self::Directory(path.into()),
        }
    }
}

/// Loads what a configuration chose.
///
/// # Errors
/// A bundle that is not as it should be, or that this program has no use for.
pub fn load(config: &Config) -> anyhow::Result<Models> {
    match &config.models {
        Choice::None => Ok(Models::default()),
        Choice::Default => models(&shipped()?),
        Choice::Directory(dir) => {
            let trust = shipped_key().into_iter().fold(trust(config).1, Trust::and);
            let wrong = |e: String| fail(Exit::Config, format!("models.bundle: {}: {e}", dir.display()));
            let bundle = Bundle::load(dir, &trust).map_err(|e| wrong(e.to_string()))?;
            models(&bundle).map_err(|e| wrong(e.to_string()))
        }
    }
}

/// As [`load`], for an agent: where the default was chosen, what was promoted comes first. A promoted bundle that is not as it
/// should be is said and not used: an agent works rather with what it was built with than not at all.
///
/// # Errors
/// As [`load`].
pub fn load_promoted(config: &Config) -> anyhow::Result<Models> {
    if config.models == Choice::Default {
        let (store, trust) = trust(config);
        match store
            .active(&trust)
            .map_err(anyhow::Error::from)
            .and_then(|b| b.as_ref().map(models).transpose())
        {
            Ok(Some(models)) => return Ok(models),
            Ok(None) => {}
            Err(error) => tracing::warn!("the promoted models are not used, but those built in: {error:#}"),
        }
    }
    load(config)
}

/// The store of this machine, and whose bundles it trusts.
pub fn trust(config: &Config) -> (Store, Trust) {
    let store = Store::new(config.state_dir.join(crate::models::STORE));
    let trust = crate::models::trusted(config, store.dir());
    (store, trust)
}

/// What the classifier of a bundle was trained on, if the bundle holds it.
///
/// # Errors
/// It cannot be read, or is of other features than the classifier.
pub fn ground(bundle: &Bundle) -> anyhow::Result<Option<Ground>> {
    if !bundle.manifest().models.iter().any(|m| m.name == GROUND) {
        return Ok(None);
    }
    let ground: Ground = from_bytes(bundle.model(GROUND, SAMPLE, None)?).context(GROUND)?;
    let schema = bundle.manifest().schemas.get(FLOW);
    anyhow::ensure!(
        schema.is_some_and(|s| s.features == ground.schema()),
        "{}: '{GROUND}' has other features than '{FLOW}'",
        bundle.id()
    );
    Ok(Some(ground))
}

/// The learned detectors of a bundle. Either kind may be absent, but not both.
///
/// # Errors
/// Models that cannot be read, that are of other features, or that are not calibrated: what is not stays silent, and that is
/// said rather than found out.
pub fn models(bundle: &Bundle) -> anyhow::Result<Models> {
    let has = |name: &str| bundle.manifest().models.iter().any(|m| m.name == name);
    let threshold = |name: &str| bundle.manifest().thresholds.get(name).copied();
    let mut models = Models::default();
    if has(WINDOWS) {
        let ensemble: Ensemble = from_bytes(bundle.model(WINDOWS, ENSEMBLE, None)?).context(WINDOWS)?;
        models.ensemble = Some(Arc::new(ensemble));
    }
    if has(FLOW) && has(CALIBRATION) {
        let hybrid: Hybrid = from_bytes(bundle.model(FLOW, HYBRID, None)?).context(FLOW)?;
        let calibration: FlowCalibration =
            from_bytes(bundle.model(CALIBRATION, CONFORMAL, None)?).context(CALIBRATION)?;
        let alarms = threshold(ALARMS).unwrap_or(1.0);
        let seen = threshold(FLOW_SEEN).unwrap_or(0.0);
        models.flows = Some(Arc::new(FlowModel { hybrid, calibration, alarms_per_day: alarms, seen }));
    }
    anyhow::ensure!(
        !models.is_empty(),
        "{}: no calibrated detectors in it: there must be an ensemble '{WINDOWS}', or a classifier '{FLOW}' with its \
         '{CALIBRATION}', as `autoinmune train` makes of captures, and `autoinmune learn`",
        bundle.id()
    );
    // Whatever does not fit is found now and not when traffic comes.
    detect::learned::Learned::new(&models, 0).map_err(|e| anyhow::anyhow!("{}: {e}", bundle.id()))?;
    Ok(models)
}
