//! The detector as a service: the API of `detector`, and inside `run`.

mod figures;
pub mod golden;
mod judge;
mod learn;
mod prometheus;
mod sensors;
mod state;
mod training;

pub use self::learn::run as learn_snapshots;
pub use judge::Service;
pub use prometheus::Prometheus;

use crate::cli::DetectorArgs;
use crate::config::{self, Api};
use crate::exit::{Exit, fail};
use crate::learned;
use crate::learner::{Requests, bundles};
use anyhow::Context as _;
use detect::RuleSet;
use detect::learned::Models;
use server::api::{ApiConfig, ApiError, Detector};
use server::http::Http;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::Path;
use std::sync::Arc;

/// The API in service; dropping it stops it.
pub struct Running {
    /// What listens.
    pub http: Http,
    /// What judges.
    pub service: Arc<Service>,
}

impl Running {
    /// Stops it, and keeps what was learnt.
    pub fn stop(self) {
        self.http.stop();
        self.service.keep();
    }
}

/// Starts the API. The models judge what sensors post, and have a version to be named by. It asks `learner` for trainings that
/// are not its own, and keeps what it learns in `state_dir`, if there is one.
///
/// # Errors
/// The address cannot be had; models cannot be read.
pub fn start(
    api: Api,
    rules: &RuleSet,
    models: (Models, String),
    learner: Arc<Requests>,
    state_dir: Option<&Path>,
) -> anyhow::Result<Running> {
    let service = Service::start(rules, models, api.prometheus, learner, state_dir, 0)?;
    let config = ApiConfig {
        address: api.address,
        credentials: api.credentials,
        requests_per_second: api.requests_per_second,
        ..ApiConfig::default()
    };
    let http = server::api::start(config, Arc::clone(&service) as Arc<dyn Detector>).map_err(|e| {
        let exit = if matches!(e, ApiError::Open(_)) { Exit::Config } else { Exit::Busy };
        fail(exit, format!("{e}; see --api, or --listen of `detector`"))
    })?;
    Ok(Running { http, service })
}

/// `detector`: the API alone, until a signal ends it.
///
/// # Errors
/// Wrong configuration, an address that cannot be had.
pub fn run(args: &DetectorArgs) -> anyhow::Result<Exit> {
    let mut config = config::resolve(args.config.as_deref())?;
    crate::logging(&config.log);
    if let Some(address) = &args.listen {
        let Some(api) = &mut config.api else {
            return Err(fail(
                Exit::Config,
                "api.address is \"off\" in the configuration; --listen needs the rest of it",
            ));
        };
        api.address = address.parse().map_err(|_| {
            fail(Exit::Input, format!("--listen: '{address}' is no address with port such as 127.0.0.1:5000"))
        })?;
    }
    let Some(api) = config.api.clone() else {
        return Err(fail(
            Exit::Config,
            "api.address is \"off\": there is nothing to run; set it or use --listen",
        ));
    };
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    let models = learned::load_promoted(&config)?;
    let version = bundles::version(&config, &models);
    let running = start(api, &config.rules, (models, version), Arc::default(), Some(&config.state_dir))?;
    tracing::info!("detector on http://{}; its contract is at /openapi.json", running.http.address());
    signals.forever().next();
    running.stop();
    tracing::info!("stopped");
    Ok(Exit::Ok)
}
