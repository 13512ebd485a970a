//! What the detector's API counts.

use detect::snapshot::{Snapshot, Verdict};
use detect::{Actor, Class, Origin, Severity, Signal};
use server::metrics::detector::Threats;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Sources with figures of their own; when full, those asked about least lately are forgotten.
const SOURCES: usize = 1024;

/// Totals since start, and the latest values.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) questions: BTreeMap<String, u64>,
    pub(super) readings: BTreeMap<String, u64>,
    pub(super) threats: Threats,
    pub(super) confidence: BTreeMap<String, f64>,
    pub(super) port_scans: BTreeMap<String, u64>,
    pub(super) ddos: BTreeMap<String, u64>,
    pub(super) syn_floods: BTreeMap<String, u64>,
    pub(super) anomalies: u64,
    pub(super) dbscan: Option<f64>,
    pub(super) vae: Option<f64>,
    /// Snapshots that became history, and all.
    pub(super) learnt: (u64, u64),
    sources: HashMap<IpAddr, Source>,
    asked: u64,
}

/// The latest of one source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    packets: f64,
    suspicion: f64,
    asked: u64,
}

impl Figures {
    pub(super) fn question(&mut self, path: &str) {
        *self.questions.entry(path.to_owned()).or_default() += 1;
    }

    pub(super) fn reading(&mut self, reading: &str) {
        *self.readings.entry(reading.to_owned()).or_default() += 1;
    }

    pub(super) fn threat(&mut self, kind: &str, confidence: f64, source: Option<IpAddr>) {
        self.threats.add(kind, confidence, source);
        self.confidence.insert(kind.to_owned(), confidence);
    }

    pub(super) fn signal(&mut self, signal: &Signal, source: Option<IpAddr>) {
        self.threat(signal.class.name(), signal.confidence, source);
        let severity = |s: Severity| format!("{s:?}").to_ascii_lowercase();
        match signal.class {
            Class::PortScan => *self.port_scans.entry(severity(signal.severity)).or_default() += 1,
            Class::SynFlood => *self.syn_floods.entry(severity(signal.severity)).or_default() += 1,
            Class::Ddos => *self.ddos.entry(signal.kind.to_string()).or_default() += 1,
            _ => {}
        }
    }

    pub(super) fn snapshot(&mut self, snapshot: &Snapshot, verdict: &Verdict, source: Option<IpAddr>) {
        if let Some(s) = verdict.strangeness {
            self.dbscan = Some(f64::from(s.scores[0]));
            self.vae = Some(f64::from(s.scores[1]));
        }
        self.learnt.0 += u64::from(verdict.signals.is_empty());
        self.learnt.1 += 1;
        self.asked += 1;
        let Some(source) = source else { return };
        let suspicion = if verdict.alerts() { verdict.confidence() } else { verdict.strange() };
        self.of_source(source, |s| (s.packets, s.suspicion) = (snapshot.packets_per_second, suspicion));
    }

    /// Takes in what a learned detector found of a sensor's source: under its class if there is one, else under its grade.
    pub(super) fn learned(&mut self, signal: &Signal) {
        let Actor::Source { addr } = signal.actor else { return };
        let source = addr.ip();
        let detail = signal.detail.as_deref().unwrap_or_default();
        match (signal.origin, signal.class) {
            (Origin::LearnedFlow, Class::Anomaly) => self.anomaly(detail, signal.confidence, source),
            (Origin::LearnedWindow, _) => {
                self.anomaly(&signal.kind, signal.confidence, source);
                self.reading(detail);
            }
            _ => self.signal(signal, Some(source)),
        }
        self.asked += 1;
        self.of_source(source, |s| s.suspicion = signal.confidence);
    }

    fn anomaly(&mut self, grade: &str, confidence: f64, source: IpAddr) {
        self.anomalies += 1;
        self.threat(grade, confidence, Some(source));
    }

    fn of_source(&mut self, source: IpAddr, change: impl FnOnce(&mut Source)) {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            let oldest = self.asked.saturating_sub(SOURCES as u64 / 2);
            self.sources.retain(|_, s| s.asked >= oldest);
        }
        let latest = self.sources.entry(source).or_default();
        latest.asked = self.asked;
        change(latest);
    }

    pub(super) fn suspicious(&self) -> Vec<(IpAddr, f64)> {
        self.sources.iter().map(|(ip, s)| (*ip, s.suspicion)).collect()
    }

    pub(super) fn packets(&self) -> Vec<(IpAddr, f64)> {
        self.sources.iter().map(|(ip, s)| (*ip, s.packets)).collect()
    }

    /// Share of snapshots that were good enough to become history.
    pub(super) fn quality(&self) -> Option<f64> {
        (self.learnt.1 > 0).then(|| self.learnt.0 as f64 / self.learnt.1 as f64)
    }
}
