//! Metrics for Prometheus: numbers in, exposition text out.
//!
//! The encoder writes OpenMetrics 1.0; scrapers that do not ask for it get the older Prometheus text format 0.0.4,
//! which [`encode`] derives from the same output, so that the two cannot disagree. Label values are bounded in
//! alphabet, length and number whatever the source hands over: a metric must never become a way to fill memory.

pub mod detector;

use crate::view::{LearnedView, LearnerView, ProcessView, ProgramView};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};

/// Series per metric; label sets beyond it are summed into one whose values are all `other`. Far more than there are
/// reasons, classes or programs.
pub const MAX_SERIES: usize = 128;
/// Characters of a label value; longer ones are cut.
pub const MAX_LABEL: usize = 64;

/// Everything exposed, as numbers. Counters count since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Packets per second over the current window.
    pub packets_per_second: f64,
    /// Bytes per second over the current window.
    pub bytes_per_second: f64,
    /// Distinct source addresses in the current window.
    pub unique_ips: u64,
    /// Distinct destination ports in the current window.
    pub unique_ports: u64,
    /// TCP packets of the current window.
    pub tcp_packets: u64,
    /// UDP packets of the current window.
    pub udp_packets: u64,
    /// TCP packets with SYN from initiators, of the current window.
    pub syn_packets: u64,
    /// Attempts to send figures to a detector that failed.
    pub post_failures: u64,
    /// Packets the sensor has processed.
    pub packets_processed: u64,
    /// Bytes the sensor has processed.
    pub bytes_processed: u64,
    /// Events lost because the kernel's ring buffer was full.
    pub ringbuf_lost_events: u64,
    /// Kernel programs.
    pub programs: Vec<ProgramView>,
    /// Everything dropped or not understood, by reason.
    pub losses: BTreeMap<String, u64>,
    /// Flows held now.
    pub flows: u64,
    /// Entities held now.
    pub entities: u64,
    /// Sessions held now: flows whose content is read.
    pub sessions: u64,
    /// Bytes that sessions hold out of order or unread.
    pub session_bytes: u64,
    /// Messages read.
    pub messages: u64,
    /// What was odd about messages, segments and fragments, by kind.
    pub oddities: BTreeMap<String, u64>,
    /// Blocks in force now.
    pub blocks: u64,
    /// Incidents opened.
    pub incidents: Vec<IncidentCount>,
    /// Decisions of the responder, by outcome.
    pub decisions: BTreeMap<String, u64>,
    /// Messages dropped because a tap's channel was full, by tap.
    pub channel_dropped: BTreeMap<String, u64>,
    /// What the learned detectors judged; absent where none are at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedView>,
    /// What is being learnt; absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<LearnerView>,
    /// Own use of the machine.
    pub process: ProcessView,
    /// Version of the agent.
    pub version: String,
    /// Whether the traffic is made up.
    pub simulated: bool,
}

/// Incidents of one class and severity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentCount {
    /// Class of threat.
    pub class: String,
    /// Severity at opening.
    pub severity: String,
    /// Opened since start.
    pub total: u64,
}

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4.
    Prometheus,
}

impl Exposition {
    /// What to answer to a request with this `Accept` header.
    #[must_use]
    pub fn negotiate(accept: &str) -> Self {
        let wants = |item: &str| {
            let mut parts = item.split(';').map(str::trim);
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"))
                && !parts.any(|p| matches!(p, "q=0" | "q=0.0" | "version=0.0.1"))
        };
        if accept.split(',').any(wants) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Encodes `metrics`.
///
/// # Errors
/// Only if the encoder fails to write to memory, which it does not.
pub fn encode(metrics: impl Collector, form: Exposition) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let mut text = String::with_capacity(8192);
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    match form {
        Exposition::OpenMetrics => Ok(text),
        Exposition::Prometheus => classic(&text),
    }
}

/// docs/metrics.md: every metric of both APIs, by what they say of themselves.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated by `cargo xtask docs`. Numbers of series are bounded: labels with many values keep the most \
         active and sum up the rest.\n",
    );
    let detector = detector::DetectorMetrics {
        data_quality: Some(0.0),
        dbscan: Some(0.0),
        vae: Some(0.0),
        ..detector::DetectorMetrics::default()
    };
    let pages = [
        (
            "Of the sensor (`http.address`, 127.0.0.1:8800)",
            encode(Metrics::default(), Exposition::Prometheus),
        ),
        ("Of the detector (`api.address`, 127.0.0.1:5000)", encode(detector, Exposition::Prometheus)),
    ];
    for (title, text) in pages {
        let text = text.unwrap_or_default();
        let described = |what: &str| -> BTreeMap<String, String> {
            let lines =
                text.lines().filter_map(|l| l.strip_prefix("# ")?.strip_prefix(what)?.trim().split_once(' '));
            lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
        };
        let kinds = described("TYPE");
        let _ = write!(page, "\n## {title}\n\n| metric | type | what |\n|---|---|---|\n");
        for (name, help) in described("HELP") {
            let kind = kinds.get(&name).map_or("", String::as_str);
            let _ = writeln!(page, "| `{name}` | {kind} | {} |", help.trim_end_matches('.'));
        }
    }
    page
}

/// OpenMetrics names a counter's family without `_total` and an info's without `_info`, and knows UNIT and EOF; the
/// older format describes samples by their full name and knows neither.
fn classic(open: &str) -> Result<String, fmt::Error> {
    let described = |line: &str| {
        let rest = line.strip_prefix("# TYPE ")?;
        let (name, kind) = rest.split_once(' ')?;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some((name.to_owned(), suffix))
    };
    let suffixes: HashMap<String, &str> = open.lines().filter_map(described).collect();
    let full = |name: &str| format!("{name}{}", suffixes.get(name).copied().unwrap_or(""));
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described = line.strip_prefix("# HELP ").map(|rest| ("HELP", rest));
        let described = described.or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("TYPE", rest)));
        match described.and_then(|(what, rest)| rest.split_once(' ').map(|(name, tail)| (what, name, tail))) {
            Some((what, name, tail)) => {
                let tail = if (what, tail) == ("TYPE", "info") { "gauge" } else { tail };
                writeln!(text, "# {what} {} {tail}", full(name))?;
            }
            None => writeln!(text, "{line}")?,
        }
    }
    Ok(text)
}

/// A label value with a bounded alphabet and length.
fn tame(value: &str) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() || "_-.:/".contains(c) { c } else { '_' };
    let value: String = value.chars().take(MAX_LABEL).map(tame).collect();
    if value.is_empty() { "unknown".into() } else { value }
}

/// Series of one metric by label values: tamed, merged, bounded in number.
fn series<const N: usize, V>(items: impl IntoIterator<Item = ([String; N], V)>) -> BTreeMap<[String; N], V>
where
    V: Default + std::ops::AddAssign,
{
    let mut all: BTreeMap<[String; N], V> = BTreeMap::new();
    for (labels, value) in items {
        let mut labels = labels.map(|l| tame(&l));
        if all.len() >= MAX_SERIES && !all.contains_key(&labels) {
            labels = std::array::from_fn(|_| "other".to_owned());
        }
        *all.entry(labels).or_default() += value;
    }
    all
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge<V>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: V) -> fmt::Result
    where
        ConstGauge<V>: EncodeMetric,
    {
        let into = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(into)
    }

    fn counter<V>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: V) -> fmt::Result
    where
        ConstCounter<V>: EncodeMetric,
    {
        let into = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(value).encode(into)
    }

    /// A family without series is still described, so that dashboards can know it.
    fn counters<const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        keys: [&'static str; N],
        values: BTreeMap<[String; N], V>,
    ) -> fmt::Result
    where
        ConstCounter<V>: EncodeMetric,
    {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            let labels: Vec<(&str, String)> = keys.into_iter().zip(labels).collect();
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn one(map: &BTreeMap<String, u64>) -> BTreeMap<[String; 1], u64> {
    series(map.iter().map(|(k, v)| ([k.clone()], *v)))
}

impl Page<'_> {
    fn learned(&mut self, l: &LearnedView) -> fmt::Result {
        let judged = [("flow", l.flows), ("window", l.windows)].map(|(what, n)| ([what.to_owned()], n));
        let help = "Flows and windows of sources that the learned detectors judged";
        self.counters("autoinmune_learned_judged", help, None, ["what"], judged.into())?;
        let help = "Flows that the learned classifier did not take for normal";
        self.counter("autoinmune_learned_flows_not_normal", help, None, l.flows_not_normal)?;
        let help = "Signals of the learned detectors";
        self.counter("autoinmune_learned_signals", help, None, l.signals)?;
        let help = "Sources whose evidence was forgotten before its time";
        self.counter("autoinmune_learned_sources_evicted", help, None, l.sources_evicted)
    }

    fn learner(&mut self, l: &LearnerView) -> fmt::Result {
        let waiting = "Windows in quarantine, not yet learnt from";
        self.gauge("autoinmune_learner_quarantine", waiting, None, l.waiting)?;
        self.gauge("autoinmune_learner_samples", "Windows that can be learnt from", None, l.all)?;
        let out = "Windows not learnt from because of an alarm of their source or near them";
        self.counter("autoinmune_learner_kept_out", out, None, l.alarmed + l.near)?;
        self.counter("autoinmune_learner_trainings", "Trainings begun", None, l.trainings)?;
        self.counter("autoinmune_learner_drifts", "Times what is normal changed", None, l.drifts)?;
        self.counter("autoinmune_learner_promotions", "New models put in use", None, l.promoted)?;
        let refused = "New models refused, by gate";
        self.counters("autoinmune_learner_refusals", refused, None, ["gate"], one(&l.refused))?;
        let cpu = "Processor time spent on training";
        self.counter("autoinmune_learner_cpu", cpu, Some(&Unit::Seconds), l.cpu_seconds)?;
        if let Some(at_ns) = l.trained_ns {
            let last = "When the latest training began, since 1970";
            self.gauge("autoinmune_learner_trained", last, Some(&Unit::Seconds), at_ns as f64 / 1e9)?;
        }
        if let Some(mean) = l.p_value_mean {
            let help = "Mean p-value of the model in use on what it judges, near 0.5 where it fits";
            self.gauge("autoinmune_learner_p_value", help, None, mean)?;
        }
        Ok(())
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut p = Page(encoder);
        let seconds = Some(&Unit::Seconds);
        p.gauge(
            "ebpf_packets_per_second",
            "Packets per second over the current window",
            None,
            self.packets_per_second,
        )?;
        p.gauge(
            "ebpf_bytes_per_second",
            "Bytes per second over the current window",
            None,
            self.bytes_per_second,
        )?;
        p.gauge("ebpf_unique_ips", "Distinct source addresses in the current window", None, self.unique_ips)?;
        p.gauge(
            "ebpf_unique_ports",
            "Distinct destination ports in the current window",
            None,
            self.unique_ports,
        )?;
        let tcp = "TCP packets of the current window";
        p.gauge("ebpf_tcp_packets", tcp, None, self.tcp_packets)?;
        let udp = "UDP packets of the current window";
        p.gauge("ebpf_udp_packets", udp, None, self.udp_packets)?;
        let syn = "TCP packets that ask for a connection, of the current window";
        p.gauge("ebpf_syn_packets", syn, None, self.syn_packets)?;
        let failed = "Attempts to send figures to a detector that failed";
        p.counter("ebpf_ml_post_failures", failed, None, self.post_failures)?;
        p.counter("ebpf_packets_processed", "Packets processed by the sensor", None, self.packets_processed)?;
        p.counter("ebpf_bytes_processed", "Bytes processed by the sensor", None, self.bytes_processed)?;
        p.counter(
            "ebpf_ringbuf_lost_events",
            "Events lost because the kernel ring buffer was full, counted in the kernel",
            None,
            self.ringbuf_lost_events,
        )?;
        p.counters(
            "ebpf_program_run",
            "Processor time spent in a kernel program",
            seconds,
            ["program"],
            series(self.programs.iter().map(|x| ([x.name.clone()], x.run_seconds))),
        )?;
        p.counters(
            "ebpf_program_runs",
            "Times a kernel program ran",
            None,
            ["program"],
            series(self.programs.iter().map(|x| ([x.name.clone()], x.runs))),
        )?;
        let loss = "Packets, events or table entries dropped or not understood, by reason";
        p.counters("autoinmune_loss", loss, None, ["reason"], one(&self.losses))?;
        p.gauge("autoinmune_flows", "Flows held in the flow table", None, self.flows)?;
        p.gauge("autoinmune_entities", "Entities held in the entity table", None, self.entities)?;
        p.gauge("autoinmune_sessions", "Flows whose content is being read", None, self.sessions)?;
        let held = "Bytes that sessions hold out of order or unread";
        p.gauge("autoinmune_session_memory", held, Some(&Unit::Bytes), self.session_bytes)?;
        p.counter("autoinmune_messages", "Messages of applications read", None, self.messages)?;
        let odd = "Broken messages, contradicting segments and odd fragments, by kind";
        p.counters("autoinmune_oddities", odd, None, ["kind"], one(&self.oddities))?;
        p.gauge("autoinmune_blocks", "Blocks in force", None, self.blocks)?;
        p.counters(
            "autoinmune_incidents",
            "Incidents opened",
            None,
            ["class", "severity"],
            series(self.incidents.iter().map(|i| ([i.class.clone(), i.severity.clone()], i.total))),
        )?;
        let decisions = "Decisions of the responder by outcome";
        p.counters("autoinmune_decisions", decisions, None, ["outcome"], one(&self.decisions))?;
        let dropped = "Messages dropped because the channel to a tap was full";
        p.counters("autoinmune_channel_dropped", dropped, None, ["tap"], one(&self.channel_dropped))?;
        if let Some(learned) = &self.learned {
            p.learned(learned)?;
        }
        if let Some(learner) = &self.learner {
            p.learner(learner)?;
        }
        p.gauge("autoinmune_simulated", "1 if the traffic is made up", None, u64::from(self.simulated))?;
        p.counter(
            "process_cpu",
            "Processor time used by the agent, all threads",
            seconds,
            self.process.cpu_seconds,
        )?;
        p.gauge(
            "process_resident_memory",
            "Resident memory of the agent",
            Some(&Unit::Bytes),
            self.process.resident_bytes,
        )?;
        let build = Info::new(vec![("version", tame(&self.version))]);
        build.encode(p.0.encode_descriptor(
            "autoinmune_build",
            "What is running",
            None,
            build.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metrics {
        Metrics {
            packets_per_second: 1234.5,
            bytes_per_second: 1e9,
            unique_ips: 7,
            unique_ports: 3,
            tcp_packets: 900,
            udp_packets: 300,
            syn_packets: 40,
            post_failures: 3,
            packets_processed: 10,
            bytes_processed: u64::MAX,
            ringbuf_lost_events: 2,
            programs: vec![
                ProgramView { name: "ingress".into(), runs: 5, run_seconds: 0.25 },
                ProgramView { name: "ingress".into(), runs: 1, run_seconds: 0.5 },
            ],
            losses: [("flow_map_full".to_owned(), 3), ("bad \"label\"\n{x}".to_owned(), 1)].into(),
            flows: 100,
            entities: 20,
            sessions: 7,
            session_bytes: 4096,
            messages: 9,
            oddities: [("violation".to_owned(), 2)].into(),
            blocks: 1,
            incidents: vec![IncidentCount { class: "port_scan".into(), severity: "medium".into(), total: 4 }],
            decisions: [("blocked".to_owned(), 4)].into(),
            channel_dropped: [("eve".to_owned(), 0)].into(),
            learned: Some(LearnedView { flows: 11, windows: 4, signals: 1, ..LearnedView::default() }),
            learner: Some(LearnerView {
                waiting: 12,
                trained_ns: Some(2_500_000_000),
                p_value_mean: Some(0.5),
                refused: [("recall".to_owned(), 2)].into(),
                ..LearnerView::default()
            }),
            process: ProcessView { cpu_seconds: 1.5, cpu_percent: 2.0, resident_bytes: 1 << 20 },
            version: "0.1.0".into(),
            simulated: true,
        }
    }

    /// A strict reader of the text formats: every sample belongs to a described family of the right type.
    fn parse(text: &str, form: Exposition) -> BTreeMap<String, f64> {
        let mut kinds: HashMap<&str, &str> = HashMap::new();
        let mut helps: HashMap<&str, &str> = HashMap::new();
        let mut samples = BTreeMap::new();
        let mut ended = false;
        for line in text.lines() {
            assert!(!ended, "nothing follows EOF: {line}");
            if line == "# EOF" {
                ended = true;
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("HELP has a text");
                assert!(
                    !help.is_empty() && helps.insert(name, help).is_none(),
                    "one HELP per family: {line}"
                );
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("TYPE has a kind");
                assert!(kinds.insert(name, kind).is_none() && helps.contains_key(name), "{line}");
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect("UNIT has a unit");
                assert!(form == Exposition::OpenMetrics && name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (key, value) = line.rsplit_once(' ').expect("a sample has a value");
                let name = key.split('{').next().expect("a name");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
                if let Some((_, labels)) = key.split_once('{') {
                    for label in labels.strip_suffix('}').expect("closed").split(',') {
                        let (k, v) = label.split_once('=').expect("key=value");
                        assert!(!k.is_empty() && v.len() > 2, "{label}");
                        assert!(v.starts_with('"') && v.ends_with('"'), "{label}");
                        assert!(!v[1..v.len() - 1].contains(['"', '\\', '{', '}']), "{label}");
                    }
                }
                let kind = match form {
                    Exposition::Prometheus => kinds.get(name).copied(),
                    Exposition::OpenMetrics => [("_total", "counter"), ("_info", "info"), ("", "gauge")]
                        .iter()
                        .find_map(|(s, k)| name.strip_suffix(s).map(|family| (family, *k)))
                        .and_then(|(family, k)| kinds.get(family).copied().filter(|x| *x == k)),
                };
                assert!(kind.is_some(), "sample without TYPE: {line}");
                let counts = kind == Some("counter");
                assert_eq!(
                    counts,
                    name.ends_with("_total"),
                    "counters, and only they, end in _total: {line}"
                );
                let value: f64 = value.parse().expect("a number");
                assert!(samples.insert(key.to_owned(), value).is_none(), "twice: {key}");
            }
        }
        assert_eq!(ended, form == Exposition::OpenMetrics);
        samples
    }

    #[test]
    fn both_formats_carry_the_promised_names() {
        let expected = [
            ("ebpf_packets_per_second", 1234.5),
            ("ebpf_bytes_per_second", 1e9),
            ("ebpf_unique_ips", 7.0),
            ("ebpf_unique_ports", 3.0),
            ("ebpf_tcp_packets", 900.0),
            ("ebpf_udp_packets", 300.0),
            ("ebpf_syn_packets", 40.0),
            ("ebpf_ml_post_failures_total", 3.0),
            ("ebpf_packets_processed_total", 10.0),
            ("ebpf_ringbuf_lost_events_total", 2.0),
            ("autoinmune_learned_judged_total{what=\"flow\"}", 11.0),
            ("autoinmune_learned_judged_total{what=\"window\"}", 4.0),
            ("autoinmune_learned_flows_not_normal_total", 0.0),
            ("autoinmune_learned_signals_total", 1.0),
            ("autoinmune_learned_sources_evicted_total", 0.0),
            ("autoinmune_learner_quarantine", 12.0),
            ("autoinmune_learner_samples", 0.0),
            ("autoinmune_learner_kept_out_total", 0.0),
            ("autoinmune_learner_trainings_total", 0.0),
            ("autoinmune_learner_drifts_total", 0.0),
            ("autoinmune_learner_promotions_total", 0.0),
            ("autoinmune_learner_cpu_seconds_total", 0.0),
            ("autoinmune_learner_p_value", 0.5),
            ("autoinmune_learner_trained_seconds", 2.5),
            ("autoinmune_learner_refusals_total{gate=\"recall\"}", 2.0),
            ("ebpf_program_run_seconds_total{program=\"ingress\"}", 0.75),
            ("ebpf_program_runs_total{program=\"ingress\"}", 6.0),
            ("autoinmune_loss_total{reason=\"flow_map_full\"}", 3.0),
            ("autoinmune_loss_total{reason=\"bad__label___x_\"}", 1.0),
            ("autoinmune_flows", 100.0),
            ("autoinmune_entities", 20.0),
            ("autoinmune_sessions", 7.0),
            ("autoinmune_session_memory_bytes", 4096.0),
            ("autoinmune_messages_total", 9.0),
            ("autoinmune_oddities_total{kind=\"violation\"}", 2.0),
            ("autoinmune_blocks", 1.0),
            ("autoinmune_incidents_total{class=\"port_scan\",severity=\"medium\"}", 4.0),
            ("autoinmune_decisions_total{outcome=\"blocked\"}", 4.0),
            ("autoinmune_channel_dropped_total{tap=\"eve\"}", 0.0),
            ("autoinmune_simulated", 1.0),
            ("process_cpu_seconds_total", 1.5),
            ("process_resident_memory_bytes", 1_048_576.0),
            ("autoinmune_build_info{version=\"0.1.0\"}", 1.0),
        ];
        for form in [Exposition::OpenMetrics, Exposition::Prometheus] {
            let text = encode(sample(), form).expect("encodes");
            let mut samples = parse(&text, form);
            assert!(samples.remove("ebpf_bytes_processed_total").is_some());
            assert!(text.contains("ebpf_bytes_processed_total 18446744073709551615"), "integers stay exact");
            for (name, value) in expected {
                assert_eq!(samples.remove(name), Some(value), "{name} in\n{text}");
            }
            assert_eq!(samples, BTreeMap::new(), "nothing undocumented");
        }
    }

    #[test]
    fn labels_are_bounded() {
        let losses = (0..10_000).map(|i| (format!("{i:05}{}", "x".repeat(500)), 1)).collect();
        let text = encode(Metrics { losses, ..Metrics::default() }, Exposition::Prometheus).expect("encodes");
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("autoinmune_loss_total{")).collect();
        assert_eq!(lines.len(), MAX_SERIES + 1);
        assert!(lines.iter().all(|l| l.len() < MAX_LABEL + 60));
        let other = format!("autoinmune_loss_total{{reason=\"other\"}} {}", 10_000 - MAX_SERIES);
        assert!(lines.contains(&other.as_str()), "what is folded together is still counted");
        parse(&text, Exposition::Prometheus);
    }

    #[test]
    fn accept_decides_the_format() {
        let check = |accept, expected| assert_eq!(Exposition::negotiate(accept), expected, "{accept}");
        check("", Exposition::Prometheus);
        check("*/*", Exposition::Prometheus);
        check("text/plain;version=0.0.4", Exposition::Prometheus);
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            Exposition::OpenMetrics,
        );
        check("application/openmetrics-text;version=0.0.1,text/plain", Exposition::Prometheus);
        check("application/openmetrics-text;q=0", Exposition::Prometheus);
    }
}
