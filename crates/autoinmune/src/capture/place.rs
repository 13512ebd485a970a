//! Where addresses are: the one thing a capture asks of GeoIP.

use crate::config::Config;
use dataset::Place;
use enrich::Service;
use enrich::config::Reputation;
use std::sync::Arc;
use wire::Addr;

/// Says where an address is.
pub trait Locate: Send {
    /// Its country and network; empty where nothing is known.
    fn place(&self, addr: Addr) -> Place;
}

/// The configured databases, or none.
pub struct Places {
    service: Option<Arc<Service>>,
}

impl Places {
    /// Opens the databases; what cannot be used is said, and its columns stay empty.
    pub fn open(config: &Config) -> Self {
        let service = Service::new(&config.geoip, &Reputation::default(), &config.state_dir);
        if service.is_idle() {
            tracing::info!("no GeoIP database is configured (geoip.city, geoip.asn): places stay empty");
            return Self { service: None };
        }
        for problem in service.load() {
            tracing::warn!("{problem}");
        }
        Self { service: Some(Arc::new(service)) }
    }
}

impl Locate for Places {
    fn place(&self, addr: Addr) -> Place {
        let Some(service) = &self.service else { return Place::default() };
        let facts = service.facts(addr.ip());
        Place {
            country: facts.place.as_ref().and_then(|p| p.country.as_deref()).map(str::to_owned),
            asn: facts.network.as_ref().map(|n| n.asn),
        }
    }
}
