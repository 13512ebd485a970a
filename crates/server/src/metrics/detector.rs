//! The detector's metrics, by the names of the API that was there before us.

use super::{Page, series, tame};
use crate::api::body::SensorStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::histogram::exponential_buckets;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

/// Sources with series of their own; the others are summed up as `other`.
pub const TOP_SOURCES: usize = 50;

/// Threats told: how many of a type, at a level of confidence, by a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threats {
    /// By type, level and source; `None` where no source is known, or it fell out.
    counts: BTreeMap<(String, &'static str, Option<IpAddr>), u64>,
}

/// A confidence as a label.
#[must_use]
pub fn level(confidence: f64) -> &'static str {
    match confidence {
        c if c >= 0.9 => "very_high",
        c if c >= 0.75 => "high",
        c if c >= 0.5 => "medium",
        _ => "low",
    }
}

impl Threats {
    /// Counts a threat.
    pub fn add(&mut self, threat: &str, confidence: f64, source: Option<IpAddr>) {
        let key = (tame(threat), level(confidence), source);
        *self.counts.entry(key).or_default() += 1;
        self.bound();
    }

    /// Folds sources beyond the bound into "other": those with the fewest threats, which includes the latest.
    fn bound(&mut self) {
        let mut sources: HashMap<IpAddr, u64> = HashMap::new();
        for ((.., source), count) in &self.counts {
            if let Some(source) = source {
                *sources.entry(*source).or_default() += count;
            }
        }
        // Room is made for several at once, so that it is not made for each.
        if sources.len() <= 2 * TOP_SOURCES {
            return;
        }
        let mut ranked: Vec<(u64, IpAddr)> = sources.into_iter().map(|(s, n)| (n, s)).collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        for (_, gone) in ranked.drain(TOP_SOURCES..) {
            self.fold(gone);
        }
    }

    fn fold(&mut self, gone: IpAddr) {
        let keys: Vec<_> = self.counts.keys().filter(|k| k.2 == Some(gone)).cloned().collect();
        for key in keys {
            let count = self.counts.remove(&key).unwrap_or_default();
            *self.counts.entry((key.0, key.1, None)).or_default() += count;
        }
    }

    /// All threats of a type.
    #[must_use]
    pub fn of(&self, threat: &str) -> u64 {
        self.counts.iter().filter(|(k, _)| k.0 == threat).map(|(_, n)| n).sum()
    }

    /// All threats by type.
    #[must_use]
    pub fn by_type(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for ((threat, ..), count) in &self.counts {
            *all.entry(threat.clone()).or_default() += count;
        }
        all
    }
}

/// The histogram of how long judging takes: 1 µs to 1 s.
#[must_use]
pub fn processing_seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-6, 10f64.sqrt(), 13))
}

/// Everything exposed. Counters count since start.
#[derive(Clone, Debug)]
pub struct DetectorMetrics {
    /// Threats told.
    pub threats: Threats,
    /// Port scans by severity.
    pub port_scans: BTreeMap<String, u64>,
    /// Denials of service by many, by kind.
    pub ddos: BTreeMap<String, u64>,
    /// SYN floods by severity.
    pub syn_floods: BTreeMap<String, u64>,
    /// Anomalies of any grade.
    pub anomalies: u64,
    /// Confidence of the latest threat of each type.
    pub confidence: BTreeMap<String, f64>,
    /// How long judging takes, s.
    pub processing: Histogram,
    /// Accuracy on the golden set, of those models for which it was measured.
    pub accuracy: BTreeMap<String, f64>,
    /// Whether a model judges.
    pub models: BTreeMap<String, bool>,
    /// Share of recent samples that are good enough to learn from; absent before there are any.
    pub data_quality: Option<f64>,
    /// The latest score of DBSCAN: distance to the nearest core over eps.
    pub dbscan: Option<f64>,
    /// The latest reconstruction error of the autoencoder.
    pub vae: Option<f64>,
    /// What sensors posted, by name; bounded by who fills it.
    pub sensors: BTreeMap<String, SensorStats>,
    /// Sensors forgotten to make room for others.
    pub sensors_forgotten: u64,
    /// How suspicious the most active sources are, 0 to 1.
    pub suspicious: Vec<(IpAddr, f64)>,
    /// Packets a second of the most active sources.
    pub packets: Vec<(IpAddr, f64)>,
}

impl Default for DetectorMetrics {
    fn default() -> Self {
        Self {
            threats: Threats::default(),
            port_scans: BTreeMap::new(),
            ddos: BTreeMap::new(),
            syn_floods: BTreeMap::new(),
            anomalies: 0,
            confidence: BTreeMap::new(),
            processing: processing_seconds(),
            accuracy: BTreeMap::new(),
            models: BTreeMap::new(),
            data_quality: None,
            dbscan: None,
            vae: None,
            sensors: BTreeMap::new(),
            sensors_forgotten: 0,
            suspicious: Vec::new(),
            packets: Vec::new(),
        }
    }
}

impl Page<'_> {
    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        key: &'static str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(key, label)])?)?;
        }
        Ok(())
    }
}

/// The sources with the highest values.
fn top(all: &[(IpAddr, f64)]) -> Vec<(String, f64)> {
    let mut all: Vec<(IpAddr, f64)> = all.to_vec();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(TOP_SOURCES);
    all.into_iter().map(|(source, value)| (source.to_string(), value)).collect()
}

/// What is counted of each sensor: name, help, and where it stands.
type SensorCount = (&'static str, &'static str, fn(&SensorStats) -> u64);
const SENSORS: [SensorCount; 6] = [
    ("ml_detector_sensor_batches", "Batches of flows and windows taken from a sensor", |s| s.batches),
    ("ml_detector_sensor_batches_repeated", "Batches that had been judged before", |s| s.repeated),
    ("ml_detector_sensor_batches_missing", "Batches that a sensor numbered and that did not come", |s| {
        s.missing
    }),
    ("ml_detector_sensor_flows", "Flows of a sensor judged by learned models", |s| s.flows),
    ("ml_detector_sensor_windows", "Windows of sources of a sensor judged by learned models", |s| s.windows),
    ("ml_detector_sensor_findings", "Findings told to a sensor", |s| s.findings),
];

impl Collector for DetectorMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut p = Page(encoder);
        let help = "Threats told, by type, confidence and source; sources beyond the most active are `other`";
        let mut family = p.0.encode_descriptor("ml_detector_threats", help, None, MetricType::Counter)?;
        let mut threats = self.threats.clone();
        threats.bound();
        for ((threat, level, source), count) in &threats.counts {
            let source = source.map_or_else(|| "other".to_owned(), |s| s.to_string());
            let labels = [
                ("threat_type", threat.clone()),
                ("confidence_level", (*level).to_owned()),
                ("source_ip", source),
            ];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let counts = |map: &BTreeMap<String, u64>| series(map.iter().map(|(k, v)| ([k.clone()], *v)));
        let scans = counts(&self.port_scans);
        p.counters("ml_detector_port_scan", "Port scans told, by severity", None, ["severity"], scans)?;
        let ddos = counts(&self.ddos);
        p.counters(
            "ml_detector_ddos",
            "Distributed denials of service told, by kind",
            None,
            ["attack_type"],
            ddos,
        )?;
        let floods = counts(&self.syn_floods);
        p.counters("ml_detector_syn_flood", "SYN floods told, by severity", None, ["severity"], floods)?;
        p.counter("ml_detector_anomaly", "Anomalies told, of any grade", None, self.anomalies)?;
        let labelled =
            |map: &BTreeMap<String, f64>| map.iter().map(|(k, v)| (tame(k), *v)).collect::<Vec<_>>();
        let latest = "Confidence of the latest threat of each type";
        p.gauges("ml_detector_threat_confidence", latest, "threat_type", labelled(&self.confidence))?;
        let family = p.0.encode_descriptor(
            "ml_detector_processing_seconds",
            "How long judging took",
            None,
            Histogram::TYPE,
        )?;
        self.processing.encode(family)?;
        let accuracy = "Accuracy on the golden set; absent where it was never measured";
        p.gauges("ml_detector_model_accuracy", accuracy, "model", labelled(&self.accuracy))?;
        let states = self.models.iter().map(|(k, on)| (tame(k), f64::from(u8::from(*on))));
        p.gauges("ml_detector_advanced_model_status", "1 if the model judges", "model", states)?;
        for (name, help, value) in [
            (
                "ml_detector_training_data_quality",
                "Share of recent samples good enough to learn from",
                self.data_quality,
            ),
            ("ml_detector_dbscan_anomaly_score", "Latest distance to the nearest core over eps", self.dbscan),
            (
                "ml_detector_vae_reconstruction_error",
                "Latest reconstruction error of the autoencoder",
                self.vae,
            ),
        ] {
            if let Some(value) = value {
                p.gauge(name, help, None, value)?;
            }
        }
        for (name, help, of) in SENSORS {
            let counts = series(self.sensors.iter().map(|(sensor, s)| ([sensor.clone()], of(s))));
            p.counters(name, help, None, ["sensor"], counts)?;
        }
        let forgotten = "Sensors forgotten to make room for others";
        p.counter("ml_detector_sensors_forgotten", forgotten, None, self.sensors_forgotten)?;
        let suspicious = "How suspicious the most active sources are, 0 to 1";
        p.gauges("ml_detector_suspicious_ip_activity", suspicious, "source_ip", top(&self.suspicious))?;
        let packets = "Packets a second of the most active sources";
        p.gauges("ml_detector_ip_packet_count", packets, "source_ip", top(&self.packets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Exposition, encode};

    #[test]
    fn sources_are_bounded_and_nothing_is_lost() {
        let mut threats = Threats::default();
        for i in 0..10_000_u32 {
            let source = IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
            threats.add("port_scan", 0.8, Some(source));
            if i % 200 == 0 {
                (0..9).for_each(|_| threats.add("ddos", 0.95, Some(IpAddr::from([192, 0, 2, 1]))));
            }
        }
        assert_eq!((threats.of("port_scan"), threats.of("ddos")), (10_000, 450));
        let metrics = DetectorMetrics { threats, ..DetectorMetrics::default() };
        let text = encode(metrics, Exposition::Prometheus).expect("encodes");
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("ml_detector_threats_total{")).collect();
        assert!(lines.len() <= 2 * TOP_SOURCES + 2, "{}", lines.len());
        let wanted = r#"{threat_type="ddos",confidence_level="very_high",source_ip="192.0.2.1"} 450"#;
        assert!(lines.iter().any(|l| l.ends_with(wanted)), "{lines:?}");
    }

    #[test]
    fn only_the_most_active_sources_are_listed() {
        let packets = (0..200_u8).map(|i| (IpAddr::from([10, 0, 0, i]), f64::from(i))).collect();
        let text = encode(DetectorMetrics { packets, ..DetectorMetrics::default() }, Exposition::OpenMetrics)
            .expect("encodes");
        let lines: Vec<&str> =
            text.lines().filter(|l| l.starts_with("ml_detector_ip_packet_count{")).collect();
        assert_eq!(lines.len(), TOP_SOURCES);
        assert_eq!(lines[0], r#"ml_detector_ip_packet_count{source_ip="10.0.0.199"} 199.0"#);
        assert!(text.contains("ml_detector_processing_seconds_bucket{le=\"0.000001\"} 0"), "{text}");
    }
}
