//! Incidents, prefixes and times to test with.

use detect::{Actor, Change, Class, Evidence, Incident, Origin, Severity, Update};
use respond::{Allowed, Decision, Prefix};
use wire::Addr;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
/// A moment of 2023, to start from.
pub(crate) const START: u64 = 1_700_000_000 * SECOND;

pub(crate) fn addr(s: &str) -> Addr {
    s.parse().expect(s)
}

pub(crate) fn prefix(s: &str) -> Prefix {
    s.parse().expect(s)
}

pub(crate) fn allowed(s: &str, why: &str) -> Allowed {
    Allowed { prefix: prefix(s), why: why.to_owned() }
}

/// A report of a scan by `source` that may cause a block.
pub(crate) fn scan(source: &str) -> Update {
    update(Change::Opened, Actor::Source { addr: addr(source) })
}

pub(crate) fn update(change: Change, actor: Actor) -> Update {
    let incident = Incident {
        id: 7,
        actor,
        class: Class::PortScan,
        kinds: vec!["vertical".into()],
        rules: vec!["scan-vertical".into()],
        severity: Severity::Medium,
        techniques: vec!["T1046".into()],
        classes: Vec::new(),
        led_by: 0.0,
        targets: Vec::new(),
        details: Vec::new(),
        first_ns: 0,
        last_ns: 0,
        confidence: 0.9,
        may_block: true,
        origins: vec![Origin::Rule],
        agreed: false,
        agreeing: Vec::new(),
        signals: 1,
        evidence: vec![Evidence {
            metric: "distinct_ports",
            observed: 120.0,
            threshold: 30.0,
            at_least: true,
            contribution: None,
        }],
    };
    Update { change, incident }
}

/// A decision in one line: outcome, prefix, minutes given, effect, and why.
pub(crate) fn line(d: &Decision) -> String {
    let minutes = d.block.as_ref().map(|b| (b.until_ns.saturating_sub(d.at_ns) / MINUTE).to_string());
    let effect = d.effect.as_ref().map(|e| match e {
        respond::Effect::Insert(_) => "insert",
        respond::Effect::Remove(_) => "remove",
    });
    format!(
        "{:?} {} {} {}: {}",
        d.outcome,
        d.prefix,
        minutes.unwrap_or_else(|| "-".into()),
        effect.unwrap_or("-"),
        d.why
    )
}
