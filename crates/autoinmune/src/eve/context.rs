//! What is known of the two ends of a flow or alert, under `src` and `dest` among our own fields.

use super::Context;
use enrich::Facts;
use serde_json::{Map, Value, json};
use wire::Addr;

impl Context {
    /// Adds what is known of the ends, to `ours`; nothing where nothing is known.
    pub(super) fn about(&self, ours: &mut Map<String, Value>, source: Option<Addr>, target: Option<Addr>) {
        let Some(known) = &self.known else { return };
        for (end, addr) in [("src", source), ("dest", target)] {
            if let Some(about) = addr.and_then(|a| facts(&known.facts(a.ip()))) {
                ours.insert(end.into(), about);
            }
        }
    }
}

/// Facts in the flat form of events.
fn facts(facts: &Facts) -> Option<Value> {
    let mut about = Map::new();
    if let Some(place) = &facts.place {
        for (key, value) in [("country", &place.country), ("region", &place.region), ("city", &place.city)] {
            if let Some(value) = value {
                about.insert(key.into(), json!(value));
            }
        }
    }
    if let Some(network) = &facts.network {
        about.insert("asn".into(), json!(network.asn));
        if let Some(organisation) = &network.organisation {
            about.insert("organisation".into(), json!(organisation));
        }
        about.insert("network".into(), json!(network.kind));
    }
    if let Some(reputation) = &facts.reputation {
        about.insert("reputation".into(), json!(reputation.score));
        let lists: Vec<_> = reputation.parts.iter().map(|p| &p.list).collect();
        about.insert("lists".into(), json!(lists));
    }
    (!about.is_empty()).then_some(Value::Object(about))
}
