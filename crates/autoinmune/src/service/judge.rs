//! The detector behind the API: questions in the contract's words to the judges of `detect`, and back.

use super::figures::Figures;
use super::golden;
use super::prometheus::Prometheus;
use super::sensors::{Sensors, Tally};
use super::training::Training;
use crate::learner::Requests;
use detect::learned::{ModelError, Models};
use detect::login::{LoginSummary, NameKind, SummaryJudge};
use detect::snapshot::{Baseline, Held, History, Judge, Snapshot};
use detect::{RuleSet, Signal};
use server::api::Detector;
use server::api::batch::{Batch, BatchAnswer};
use server::api::body::{
    Answer, DetectorStats, Gram, Job, Logins, Model, NameAnswer, Reading, Scores, Target, Traffic,
};
use server::http::problem::Problem;
use server::metrics::detector::{DetectorMetrics, Histogram, processing_seconds};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use wire::Addr;

/// Version of the baseline that comes with the program.
pub(super) const SHIPPED: &str = "shipped";

/// N-grams listed in an answer.
const GRAMS: usize = 12;

/// A baseline in use.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    pub(super) baseline: Arc<Baseline>,
    pub(super) version: String,
    /// Accuracy on the golden set.
    pub(super) accuracy: f64,
}

/// What is behind the API.
pub struct Service {
    started: Instant,
    snapshots: Mutex<Judge>,
    logins: SummaryJudge,
    /// Held while a batch is judged, which takes a while: not to be waited for on the API's thread.
    sensors: Mutex<Sensors>,
    /// Of the sensors; written with that lock held.
    tally: Mutex<Tally>,
    figures: Mutex<Figures>,
    processing: Histogram,
    prometheus: Option<Prometheus>,
    in_use: Mutex<InUse>,
    training: Training,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking thread left behind are counts and memories: using them beats failing.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// A service by these rules, these models (with their version) for what sensors post, and for snapshots what was kept in
    /// `state_dir` or the shipped baseline. It asks `learner` for what the agent's line judges by.
    ///
    /// # Errors
    /// Models that cannot be read or used, or no thread to train on.
    pub fn start(
        rules: &RuleSet,
        (models, version): (Models, String),
        prometheus: Option<Prometheus>,
        learner: Arc<Requests>,
        state_dir: Option<&Path>,
        seed: u64,
    ) -> anyhow::Result<Arc<Self>> {
        let (training, found) = Training::new(learner, state_dir);
        let in_use = match found.in_use {
            Some(in_use) => in_use,
            None => {
                let baseline = Arc::new(golden::shipped()?);
                let accuracy = golden::accuracy(&baseline);
                InUse { baseline, version: SHIPPED.to_owned(), accuracy }
            }
        };
        let mut snapshots = Judge::new(rules.clone(), Some(Arc::clone(&in_use.baseline)), seed);
        snapshots.resume(History::resume(found.history, seed));
        let sensors = Sensors::new(models, version)?;
        let service = Arc::new(Self {
            started: Instant::now(),
            snapshots: Mutex::new(snapshots),
            logins: SummaryJudge::new(rules.clone()),
            tally: Mutex::new(sensors.tally()),
            sensors: Mutex::new(sensors),
            figures: Mutex::default(),
            processing: processing_seconds(),
            prometheus,
            in_use: Mutex::new(in_use),
            training,
        });
        Training::run(&service)?;
        Ok(service)
    }

    pub(super) fn training(&self) -> &Training {
        &self.training
    }

    /// What is to be learnt from.
    pub(super) fn samples(&self) -> Vec<detect::snapshot::Sample> {
        held(&self.snapshots).history().samples()
    }

    /// Keeps what it learnt, to go on with after a restart.
    pub fn keep(&self) {
        self.training.keep(self);
    }

    /// What it remembers, to be kept.
    pub(super) fn held(&self) -> Held {
        held(&self.snapshots).history().held()
    }

    /// Snapshots remembered so far.
    pub(super) fn seen(&self) -> u64 {
        held(&self.snapshots).history().seen()
    }

    pub(super) fn in_use(&self) -> InUse {
        held(&self.in_use).clone()
    }

    /// Judges by another baseline from now on.
    pub(super) fn promote(&self, next: InUse) {
        held(&self.snapshots).set_baseline(Some(Arc::clone(&next.baseline)));
        *held(&self.in_use) = next;
    }

    /// Judges what sensors post by other models from now on.
    ///
    /// # Errors
    /// Models made for other features; those at work stay.
    pub fn set_models(&self, models: Models, version: String) -> Result<(), ModelError> {
        let mut sensors = held(&self.sensors);
        sensors.set_models(models, version)?;
        *held(&self.tally) = sensors.tally();
        Ok(())
    }

    fn version(&self) -> String {
        held(&self.in_use).version.clone()
    }

    /// Judges a snapshot: the API's answer.
    pub fn judge(&self, snapshot: &Snapshot) -> Answer {
        let begun = Instant::now();
        let verdict = held(&self.snapshots).judge(snapshot);
        let source = snapshot.source.map(|a| a.ip());
        let mut types = types(&verdict.signals);
        let mut figures = held(&self.figures);
        verdict.signals.iter().for_each(|s| figures.signal(s, source));
        if let Some(grade) = verdict.grade {
            figures.threat(grade.name(), grade.confidence(), source);
            figures.anomalies += 1;
            types.push(grade.name().to_owned());
        }
        figures.snapshot(snapshot, &verdict, source);
        figures.reading(verdict.reading.name());
        drop(figures);
        self.processing.observe(begun.elapsed().as_secs_f64());
        Answer {
            threat_detected: verdict.alerts(),
            confidence: verdict.confidence(),
            threat_types: types,
            scores: Scores {
                rule_based: verdict.signals.iter().map(|s| s.confidence).fold(0.0, f64::max),
                ml_based: verdict.strange(),
                conservative: verdict.strange(),
                adaptive: verdict.unaccustomed(),
                statistical: verdict.deviates(),
            },
            verdict: verdict.reading,
            attacking_ips: if verdict.alerts() { source.into_iter().collect() } else { Vec::new() },
            explanation: verdict.explanation,
            model_version: self.version(),
        }
    }
}

/// Figures of the contract as a snapshot.
fn snapshot(t: &Traffic, at_ns: u64) -> Snapshot {
    let (tcp, udp_share) = match (t.tcp_packets, t.udp_packets, t.tcp_ratio) {
        (Some(tcp), Some(udp), _) if tcp.0 + udp.0 > 0.0 => (tcp.0, udp.0 / (tcp.0 + udp.0)),
        (None, None, Some(ratio)) => (ratio.0 * t.packets_per_second.0, 1.0 - ratio.0),
        _ => (0.0, 0.0),
    };
    Snapshot {
        at_ns,
        packets_per_second: t.packets_per_second.0,
        bytes_per_second: t.bytes_per_second.0,
        addresses: t.unique_ips.0,
        ports: t.unique_ports.0,
        udp_share,
        syn_packets: t.syn_packets.0,
        tcp_packets: tcp,
        source: t.source_ip.map(Addr::from),
    }
}

/// A count of the contract, as summaries have it.
fn count(value: f64) -> u32 {
    // Saturates, which is what is wanted.
    value as u32
}

fn summary(l: &Logins) -> LoginSummary {
    let total = l.total_attempts.0;
    let (failed, successful) = match (l.failed_attempts, l.successful_attempts) {
        (Some(failed), Some(successful)) => (failed.0, successful.0),
        (Some(failed), None) => (failed.0, (total - failed.0).max(0.0)),
        (None, Some(successful)) => ((total - successful.0).max(0.0), successful.0),
        (None, None) => (total, 0.0),
    };
    LoginSummary {
        user: l.username_text.clone(),
        user_kind: l.username_type,
        failed: count(failed),
        successful: count(successful),
        sources: l.unique_source_ips.map_or(1, |n| count(n.0)).max(1),
        users: l.unique_usernames.map(|n| count(n.0)),
        source: l.source_ip.map(Addr::from),
        server: None,
    }
}

/// Why logins that were summed up are a threat. The words of a signal are about packets that were seen, at a server and within a
/// time that a summary does not tell.
fn explain(signal: &Signal, l: &Logins) -> String {
    let mut text = format!("{} ({})", signal.class.name(), signal.kind);
    match (l.source_ip, l.unique_source_ips) {
        (Some(source), _) => text.push_str(&format!(" by {source}")),
        (None, Some(n)) if n.0 > 1.0 => text.push_str(&format!(" by {} addresses", n.0)),
        _ => {}
    }
    if let Some(detail) = &signal.detail {
        text.push_str(&format!(", {detail}"));
    }
    let parts: Vec<String> = signal.evidence.iter().map(detect::Evidence::explain).collect();
    format!("{text}: {} [{}, confidence {:.2}]", parts.join("; "), signal.rule, signal.confidence)
}

/// Threat types of signals, each once, in their order.
fn types(signals: &[Signal]) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for name in signals.iter().map(|s| s.class.name()) {
        if !types.iter().any(|t| t == name) {
            types.push(name.to_owned());
        }
    }
    types
}

impl Detector for Service {
    fn detect_traffic(&self, traffic: &Traffic, at_ns: u64) -> Answer {
        held(&self.figures).question("/detect");
        self.judge(&snapshot(traffic, at_ns))
    }

    fn detect_logins(&self, logins: &Logins, at_ns: u64) -> Answer {
        let begun = Instant::now();
        let signals = self.logins.judge(at_ns, &summary(logins));
        let source: Option<IpAddr> = logins.source_ip;
        let strange = logins.username_text.as_deref().map_or(0.0, |name| {
            let read = self.logins.names().read(name);
            f64::from(read.command.max(read.password))
        });
        let verdict = if signals.is_empty() { Reading::NormalTraffic } else { Reading::HighConfidenceAttack };
        let mut figures = held(&self.figures);
        figures.question("/detect");
        figures.reading(if signals.is_empty() { "normal_traffic" } else { "high_confidence_attack" });
        signals.iter().for_each(|s| figures.signal(s, source));
        drop(figures);
        self.processing.observe(begun.elapsed().as_secs_f64());
        let confidence = signals.iter().map(|s| s.confidence).fold(0.0, f64::max);
        let reasons: Vec<String> = signals.iter().map(|s| explain(s, logins)).collect();
        Answer {
            threat_detected: !signals.is_empty(),
            confidence,
            threat_types: types(&signals),
            scores: Scores { rule_based: confidence, ml_based: strange, ..Scores::default() },
            verdict,
            attacking_ips: if signals.is_empty() { Vec::new() } else { source.into_iter().collect() },
            explanation: if reasons.is_empty() {
                "No rule about logins holds.".to_owned()
            } else {
                reasons.join(". ")
            },
            model_version: self.version(),
        }
    }

    fn detect_flows(&self, batch: &Batch, at_ns: u64) -> Result<BatchAnswer, Problem> {
        let begun = Instant::now();
        let mut found = Vec::new();
        let mut sensors = held(&self.sensors);
        let answer = sensors.judge(batch, at_ns, &mut found);
        *held(&self.tally) = sensors.tally();
        drop(sensors);
        let mut figures = held(&self.figures);
        figures.question("/detect/flows");
        found.iter().for_each(|signal| figures.learned(signal));
        drop(figures);
        self.processing.observe(begun.elapsed().as_secs_f64());
        answer
    }

    fn detect_prometheus(&self) -> Result<Answer, Problem> {
        held(&self.figures).question("/detect/prom");
        let Some(prometheus) = &self.prometheus else {
            return Err(Problem::not_found(
                "no Prometheus server is configured; set api.prometheus, such as http://127.0.0.1:9090",
            ));
        };
        Ok(self.judge(&prometheus.snapshot(crate::agent::wall_ns())?))
    }

    fn classify(&self, name: &str) -> NameAnswer {
        held(&self.figures).question("/classify_username");
        let names = self.logins.names();
        let read = names.classify(name);
        let shares = NameKind::ALL.iter().zip(read.probabilities);
        let grams = names.reasons(name, read.kind, GRAMS);
        NameAnswer {
            predicted_type: read.kind,
            confidence: f64::from(read.confidence),
            probabilities: shares.map(|(k, p)| (k.name().to_owned(), f64::from(p))).collect(),
            n_gram_analysis: grams
                .into_iter()
                .map(|g| Gram { text: g.text, weight: f64::from(g.weight) })
                .collect(),
        }
    }

    fn train(&self, target: Target) -> Result<Job, Problem> {
        self.training.ask(target)
    }

    fn job(&self, id: &str) -> Option<Job> {
        self.training.job(id)
    }

    fn models(&self) -> Vec<Model> {
        let in_use = self.in_use();
        let names = Model {
            name: "usernames".to_owned(),
            version: "shipped".to_owned(),
            in_use: true,
            about: "Kinds of user names by their n-grams".to_owned(),
            figures: BTreeMap::new(),
        };
        let figures = [
            ("golden_accuracy".to_owned(), in_use.accuracy),
            ("calibration_snapshots".to_owned(), in_use.baseline.calibrated() as f64),
        ];
        let snapshots = Model {
            name: "snapshots".to_owned(),
            version: in_use.version,
            in_use: true,
            about: "What ordinary traffic looks like in three views".to_owned(),
            figures: figures.into(),
        };
        let mut models = vec![snapshots, names];
        let tally = held(&self.tally);
        let kinds = [
            ("flows", "Flows that sensors post: normal, like a known attack, or neither"),
            ("windows", "Windows of sources that sensors post: how unusual in three views"),
        ];
        for ((name, about), in_use) in kinds.into_iter().zip(tally.kinds) {
            models.push(Model {
                name: name.to_owned(),
                version: tally.version.clone(),
                in_use,
                about: about.to_owned(),
                figures: BTreeMap::new(),
            });
        }
        models
    }

    fn stats(&self) -> DetectorStats {
        let Tally { sensors, forgotten, .. } = held(&self.tally).clone();
        let figures = held(&self.figures);
        DetectorStats {
            sensors,
            sensors_forgotten: forgotten,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            questions: figures.questions.clone(),
            threats: figures.threats.by_type(),
            readings: figures.readings.clone(),
            history: held(&self.snapshots).history().len() as u64,
            model_version: self.version(),
        }
    }

    fn metrics(&self) -> DetectorMetrics {
        let accuracy = held(&self.in_use).accuracy;
        let Tally { sensors, forgotten, kinds: [flows, windows], .. } = held(&self.tally).clone();
        let f = held(&self.figures);
        DetectorMetrics {
            threats: f.threats.clone(),
            port_scans: f.port_scans.clone(),
            ddos: f.ddos.clone(),
            syn_floods: f.syn_floods.clone(),
            anomalies: f.anomalies,
            confidence: f.confidence.clone(),
            processing: self.processing.clone(),
            accuracy: [("snapshots".to_owned(), accuracy)].into(),
            models: [("snapshots", true), ("usernames", true), ("flows", flows), ("windows", windows)]
                .map(|(name, on)| (name.to_owned(), on))
                .into(),
            sensors,
            sensors_forgotten: forgotten,
            data_quality: f.quality(),
            dbscan: f.dbscan,
            vae: f.vae,
            suspicious: f.suspicious(),
            packets: f.packets(),
        }
    }

    fn not_ready(&self) -> Option<String> {
        None
    }
}
