//! What the agent knows of addresses beyond their traffic.

use super::tap::AgentTap;
use crate::config::Config;
use crate::intel;
use crate::line::Line;
use anyhow::Context as _;
use enrich::{Running, Service};
use serde_json::{Value, json};
use server::view::Known;
use std::sync::Arc;
use wire::Addr;

/// The service and its threads; none of both where nothing is configured.
pub struct Intel(Option<(Arc<Service>, Option<Running>)>);

impl Intel {
    /// Starts what is configured; it loads in the background while traffic is judged.
    pub fn start(config: &Config, line: &mut Line, tap: &mut AgentTap) -> anyhow::Result<Self> {
        let started = match intel::service(config) {
            // Made-up addresses are nobody's to be asked about: a simulation has what is on this machine.
            Some(service) if tap.context.simulated => {
                for wrong in service.load() {
                    tracing::warn!("{wrong}; going on without it");
                }
                Some((service, None))
            }
            Some(service) => {
                let running =
                    service.run().context("cannot start the threads that follow lists and databases")?;
                Some((service, Some(running)))
            }
            None => None,
        };
        let service = started.as_ref().map(|(s, _)| s);
        line.set_reputation(intel::reputation(service));
        tap.context.known = service.cloned();
        Ok(Self(started))
    }

    /// Starts anew if the configuration of it changed.
    pub fn reload(
        &mut self,
        before: &Config,
        next: &Config,
        line: &mut Line,
        tap: &mut AgentTap,
    ) -> anyhow::Result<()> {
        if before.geoip != next.geoip || before.reputation != next.reputation {
            *self = Self::start(next, line, tap)?;
        }
        Ok(())
    }

    /// Figures of everything; empty where nothing is configured.
    pub fn figures(&self) -> Value {
        self.0.as_ref().map_or_else(|| json!({}), |(service, _)| json!(service.figures()))
    }

    /// Counters of what was left out, by name; none where nothing is configured.
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        let Some((service, _)) = &self.0 else { return Vec::new() };
        let figures = service.figures();
        let web = figures.web.unwrap_or_default();
        vec![
            ("list_entries_skipped", figures.lists.iter().map(|l| l.skipped).sum()),
            ("geoip_questions_dropped", web.dropped),
            ("geoip_questions_refused", web.refused),
        ]
    }

    /// What is known of an address.
    pub fn about(&self, addr: Addr) -> Option<Known> {
        let facts = self.0.as_ref()?.0.facts(addr.ip());
        intel::view(&facts)
    }
}
