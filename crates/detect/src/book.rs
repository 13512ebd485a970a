//! The open incidents: signals merged by actor.

use crate::{
    Actor, Change, Evidence, Incident, Signal, Update, incident::MAX_DETAILS, incident::MAX_TARGETS,
};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use wire::Addr;

/// Limits of an [`IncidentBook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookConfig {
    /// Most incidents open at once; at least 1 is taken.
    pub capacity: usize,
    /// Quiet time after the last signal that ends an incident, ns.
    pub quiet_ns: u64,
}

impl Default for BookConfig {
    /// 4,096 incidents of about 1 KiB, 60 s.
    fn default() -> Self {
        Self { capacity: 4096, quiet_ns: 60_000_000_000 }
    }
}

/// What an [`IncidentBook`] counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct BookCounters {
    /// Signals absorbed.
    pub signals: u64,
    /// Incidents opened.
    pub opened: u64,
    /// Incidents ended by quiet, by the end of input or by eviction.
    pub ended: u64,
    /// Of those, ended before their time because the book was full.
    pub evicted: u64,
}

/// Open incidents, one for each actor: who scans and then guesses passwords is one incident, not two.
///
/// Capacity: [`BookConfig::capacity`]. A signal that needs a new incident in a full book ends the incident whose last
/// signal is oldest (the lowest id among equals); its [`Change::Ended`] is handed out by the next
/// [`IncidentBook::advance`] or [`IncidentBook::finish`], and counted. Order is deterministic everywhere: by id, which
/// is the order of opening.
#[derive(Debug)]
pub struct IncidentBook {
    config: BookConfig,
    next_id: u64,
    open: BTreeMap<u64, Incident>,
    index: FxHashMap<Actor, u64>,
    /// (last signal, id) of every open incident: the head is the next to fall silent.
    quiet: BTreeSet<(u64, u64)>,
    /// Ended by eviction, not handed out yet.
    displaced: Vec<Update>,
    counters: BookCounters,
}

impl IncidentBook {
    /// An empty book.
    #[must_use]
    pub fn new(config: BookConfig) -> Self {
        Self {
            config: BookConfig { capacity: config.capacity.max(1), ..config },
            next_id: 1,
            open: BTreeMap::new(),
            index: FxHashMap::default(),
            quiet: BTreeSet::new(),
            displaced: Vec::new(),
            counters: BookCounters::default(),
        }
    }

    /// Merges a signal. An update comes back when it opened or escalated an incident, or when the number of its
    /// signals reached a power of two.
    ///
    /// Incidents whose quiet time has passed are not ended here: call [`IncidentBook::advance`] first, or a signal
    /// after a long silence continues the old incident.
    pub fn absorb(&mut self, signal: Signal) -> Option<Update> {
        self.counters.signals += 1;
        let key = signal.actor;
        if let Some(&id) = self.index.get(&key)
            && let Some(incident) = self.open.get_mut(&id)
        {
            self.quiet.remove(&(incident.last_ns, id));
            let change = merge(incident, signal);
            self.quiet.insert((incident.last_ns, id));
            return change.map(|change| Update { change, incident: incident.clone() });
        }
        if self.open.len() >= self.config.capacity {
            self.displace();
        }
        let incident = begin(self.next_id, signal);
        self.next_id += 1;
        self.counters.opened += 1;
        self.index.insert(key, incident.id);
        self.quiet.insert((incident.last_ns, incident.id));
        let update = Update { change: Change::Opened, incident: incident.clone() };
        self.open.insert(incident.id, incident);
        Some(update)
    }

    /// Ends the incidents whose last signal is at least the quiet time before `now_ns`, in order of opening.
    pub fn advance(&mut self, now_ns: u64, updates: &mut Vec<Update>) {
        updates.append(&mut self.displaced);
        let first = updates.len();
        while let Some(&(last_ns, id)) = self.quiet.first()
            && now_ns.saturating_sub(last_ns) >= self.config.quiet_ns
        {
            self.quiet.pop_first();
            self.end(id, updates);
        }
        updates[first..].sort_by_key(|u| u.incident.id);
    }

    /// Ends all incidents, in order of opening: the input is over.
    pub fn finish(&mut self, updates: &mut Vec<Update>) {
        updates.append(&mut self.displaced);
        self.quiet.clear();
        while let Some((&id, _)) = self.open.first_key_value() {
            self.end(id, updates);
        }
    }

    /// The open incidents, in order of opening.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// The open incidents in which `addr` is the actor, the distributed attack's target, or a listed target.
    #[must_use]
    pub fn about(&self, addr: Addr) -> Vec<&Incident> {
        self.open
            .values()
            .filter(|i| {
                let (Actor::Source { addr: who } | Actor::Distributed { target: who }) = i.actor;
                who == addr || i.targets.contains(&addr)
            })
            .collect()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &BookCounters {
        &self.counters
    }

    fn displace(&mut self) {
        if let Some((_, id)) = self.quiet.pop_first() {
            let mut ended = Vec::with_capacity(1);
            self.end(id, &mut ended);
            self.displaced.append(&mut ended);
            self.counters.evicted += 1;
        }
    }

    fn end(&mut self, id: u64, updates: &mut Vec<Update>) {
        if let Some(incident) = self.open.remove(&id) {
            self.index.remove(&incident.actor);
            self.counters.ended += 1;
            updates.push(Update { change: Change::Ended, incident });
        }
    }
}

fn begin(id: u64, signal: Signal) -> Incident {
    let mut incident = Incident {
        id,
        actor: signal.actor,
        class: signal.class,
        classes: vec![signal.class],
        kinds: vec![signal.kind.to_string()],
        rules: vec![signal.rule.to_string()],
        severity: signal.severity,
        techniques: Vec::new(),
        targets: signal.target.into_iter().collect(),
        details: signal.detail.iter().map(ToString::to_string).collect(),
        first_ns: signal.since_ns.min(signal.at_ns),
        last_ns: signal.at_ns,
        confidence: signal.confidence,
        may_block: false,
        origins: Vec::new(),
        agreed: false,
        agreeing: Vec::new(),
        signals: 1,
        led_by: signal.confidence,
        evidence: signal.evidence.clone(),
    };
    incident.heed(&signal);
    if !signal.technique.is_empty() {
        incident.techniques.push(signal.technique.to_string());
    }
    incident
}

/// Merges `signal` into `incident` and says whether that is worth a report.
fn merge(incident: &mut Incident, signal: Signal) -> Option<Change> {
    let new_rule = add(&mut incident.rules, &signal.rule);
    add(&mut incident.kinds, &signal.kind);
    if !signal.technique.is_empty() {
        add(&mut incident.techniques, &signal.technique);
    }
    let could_block = incident.may_block;
    incident.heed(&signal);
    let escalated = new_rule || signal.severity > incident.severity || (incident.may_block && !could_block);
    if (signal.severity, signal.confidence) > (incident.severity, incident.led_by) {
        incident.class = signal.class;
        incident.led_by = signal.confidence;
    }
    if !incident.classes.contains(&signal.class) {
        incident.classes.push(signal.class);
    }
    incident.severity = incident.severity.max(signal.severity);
    incident.confidence = incident.confidence.max(signal.confidence);
    incident.first_ns = incident.first_ns.min(signal.since_ns);
    incident.last_ns = incident.last_ns.max(signal.at_ns);
    incident.signals += 1;
    if let Some(detail) = &signal.detail
        && incident.details.len() < MAX_DETAILS
    {
        add(&mut incident.details, detail);
    }
    if let Some(target) = signal.target
        && incident.targets.len() < MAX_TARGETS
        && !incident.targets.contains(&target)
    {
        incident.targets.push(target);
    }
    for evidence in signal.evidence {
        strengthen(&mut incident.evidence, evidence);
    }
    if escalated {
        Some(Change::Escalated)
    } else if incident.signals.is_power_of_two() {
        Some(Change::Continued)
    } else {
        None
    }
}

fn add(list: &mut Vec<String>, name: &str) -> bool {
    let new = !list.iter().any(|n| n == name);
    if new {
        list.push(name.to_owned());
    }
    new
}

/// Keeps, for each metric and sense, the observation farthest beyond its bound.
fn strengthen(list: &mut Vec<Evidence>, new: Evidence) {
    match list.iter_mut().find(|e| e.metric == new.metric && e.at_least == new.at_least) {
        Some(old) if stronger(&new, old) => *old = new,
        Some(_) => {}
        None => list.push(new),
    }
}

fn stronger(new: &Evidence, old: &Evidence) -> bool {
    if new.at_least { new.observed > old.observed } else { new.observed < old.observed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Origin, Severity};

    const S: u64 = 1_000_000_000;

    fn source(n: u8) -> Actor {
        Actor::Source { addr: Addr::v4([192, 0, 2, n]) }
    }

    fn signal(actor: Actor, rule: &str, at_s: u64, observed: f64) -> Signal {
        Signal {
            origin: Origin::Rule,
            rule: rule.into(),
            sid: 1,
            rev: 1,
            class: Class::PortScan,
            kind: rule.into(),
            severity: Severity::Medium,
            technique: "T1046".into(),
            actor,
            target: Some(Addr::v4([198, 51, 100, u8::try_from(at_s % 200).unwrap_or(0)])),
            port: None,
            protocol: None,
            community_id: None,
            detail: None,
            at_ns: at_s * S,
            since_ns: at_s * S,
            confidence: 0.5,
            may_block: false,
            may_agree: false,
            evidence: vec![Evidence {
                metric: "failed_ports",
                observed,
                threshold: 10.0,
                at_least: true,
                contribution: None,
            }],
        }
    }

    #[test]
    fn signals_of_one_actor_are_one_incident() {
        let mut book = IncidentBook::new(BookConfig::default());
        let changes: Vec<_> =
            (0..9).map(|i| book.absorb(signal(source(1), "a", i, i as f64)).map(|u| u.change)).collect();
        let (o, c) = (Some(Change::Opened), Some(Change::Continued));
        assert_eq!(changes, [o, c, None, c, None, None, None, c, None]);
        assert_eq!(book.absorb(signal(source(1), "b", 9, 3.0)).map(|u| u.change), Some(Change::Escalated));
        let mut blockable = signal(source(1), "b", 10, 3.0);
        blockable.may_block = true;
        let update = book.absorb(blockable).expect("escalates");
        assert_eq!(update.change, Change::Escalated);
        assert_eq!(update.incident.rules, ["a", "b"]);
        assert_eq!(update.incident.signals, 11);
        assert_eq!(update.incident.evidence.len(), 1);
        assert_eq!(update.incident.evidence[0].observed, 8.0);
        assert_eq!((update.incident.first_ns, update.incident.last_ns), (0, 10 * S));
    }

    #[test]
    fn the_most_severe_class_leads_and_the_others_are_kept() {
        let mut book = IncidentBook::new(BookConfig::default());
        let of = |class, severity, confidence, at| Signal {
            class,
            severity,
            confidence,
            ..signal(source(1), "r", at, 1.0)
        };
        let mut lead = |class, severity, confidence, at| {
            book.absorb(of(class, severity, confidence, at));
            book.open().next().map(|i| (i.class, i.classes.len()))
        };
        assert_eq!(lead(Class::PortScan, Severity::Medium, 0.9, 1), Some((Class::PortScan, 1)));
        assert_eq!(lead(Class::SynFlood, Severity::Medium, 0.8, 2), Some((Class::PortScan, 2)));
        assert_eq!(lead(Class::BruteForce, Severity::High, 0.6, 3), Some((Class::BruteForce, 3)));
        assert_eq!(lead(Class::PortScan, Severity::Medium, 0.99, 4), Some((Class::BruteForce, 3)));
        assert_eq!(book.open().count(), 1);
    }

    #[test]
    fn quiet_ends_an_incident_and_a_new_one_follows() {
        let mut book = IncidentBook::new(BookConfig::default());
        book.absorb(signal(source(2), "a", 1, 1.0));
        book.absorb(signal(source(1), "a", 0, 1.0));
        let mut updates = Vec::new();
        book.advance(59 * S, &mut updates);
        assert!(updates.is_empty());
        book.advance(61 * S, &mut updates);
        let ids: Vec<_> = updates.iter().map(|u| (u.change, u.incident.id)).collect();
        assert_eq!(ids, [(Change::Ended, 1), (Change::Ended, 2)]);
        let again = book.absorb(signal(source(1), "a", 62, 1.0)).expect("opens");
        assert_eq!((again.change, again.incident.id), (Change::Opened, 3));
    }

    #[test]
    fn a_full_book_ends_the_most_silent_and_counts_it() {
        let mut book = IncidentBook::new(BookConfig { capacity: 2, ..BookConfig::default() });
        book.absorb(signal(source(1), "a", 1, 1.0));
        book.absorb(signal(source(2), "a", 2, 1.0));
        book.absorb(signal(source(1), "a", 3, 1.0));
        book.absorb(signal(source(3), "a", 4, 1.0));
        assert_eq!(book.open().map(|i| i.id).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(book.counters().evicted, 1);
        let mut updates = Vec::new();
        book.finish(&mut updates);
        assert_eq!(updates.iter().map(|u| u.incident.id).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(book.counters().ended, 3);
        assert_eq!(book.open().count(), 0);
    }

    #[test]
    fn about_finds_actors_and_targets() {
        let mut book = IncidentBook::new(BookConfig::default());
        book.absorb(signal(source(1), "a", 7, 1.0));
        let victim = Addr::v4([198, 51, 100, 9]);
        let mut flood = signal(Actor::Distributed { target: victim }, "f", 8, 1.0);
        flood.target = Some(victim);
        book.absorb(flood);
        for (addr, ids) in [
            ([192, 0, 2, 1], vec![1]),
            ([198, 51, 100, 7], vec![1]),
            ([198, 51, 100, 9], vec![2]),
            ([203, 0, 113, 1], vec![]),
        ] {
            assert_eq!(book.about(Addr::v4(addr)).iter().map(|i| i.id).collect::<Vec<_>>(), ids);
        }
    }
}
