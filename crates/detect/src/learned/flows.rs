//! The two-stage classifier of flows, and what adds up against the source of many.
//!
//! A flow is judged when it ends, and when it has had 64, 128, 256, … packets. The first stage's score becomes a p-value
//! against flows of usual traffic that the model did not learn from, and that an e-value ([`super::evidence`]). Flows of one
//! source are alike, so that those of 10 s count as one judgement: the mean of their e-values, which is an e-value however much
//! they depend on each other. How strange such a window is for a source that was strange before, [`super::habit`] knows. A
//! class is what the flows of those windows are mostly taken for, by probability; where that is nothing known, the class is
//! `anomaly` and the kind `unknown`.
//!
//! What the classifier makes of a flow matters when the window of its source ends, and no sooner. So flows wait until
//! [`TOGETHER`] are there or such a window ends, and are judged side by side: the trees come into the cache once for all.

use super::evidence::{Evidence as Sum, Grade, Limits, e_value};
use super::finding::{Finding, Found};
use super::habit::{Habit, Habitual};
use super::row::Columns;
use crate::profile::table::Table;
use crate::{Class, Evidence, Signal};
use flow::feature::Subject;
use flow::recent::Shared;
use flow::window::JUDGE_EVERY;
use flow::{Direction, FlowKey, FlowRecord, Recent, Span};
use learn::calibrate::Conformal;
use learn::codec::{CodecError, Pack, ensure};
use learn::hybrid::{Hybrid, Scratch, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::Addr;

/// Identifier of the detector.
pub const RULE: &str = "learned-flows";
/// Numeric identifier (EVE `signature_id`); those of rules begin at 1000001 and 9000000.
pub const SID: u32 = 2_000_001;

/// Sources whose flows are judged at once.
const SOURCES: usize = 4096;
/// A source of which no flow ended for this long is new again, ns.
const FORGET_NS: u64 = 600_000_000_000;
/// A source that is still at it is spoken of again after this, ns.
const SILENCE_NS: u64 = 30_000_000_000;
/// Features named in an explanation.
const REASONS: usize = 3;
/// Flows judged at once at most: their rows and the trees fit into the first cache together.
const TOGETHER: usize = 32;

/// What usual flows look like to a classifier that did not learn from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowCalibration {
    /// Scores of flows.
    pub flows: Conformal,
    /// Scores of windows of a source's flows ([`window_score`]).
    pub windows: Habitual,
}

impl Pack for FlowCalibration {
    const KIND: [u8; 4] = *b"flca";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.flows.check()?;
        self.windows.check()
    }
}

/// How strange a window of flows is: the logarithm of the mean of their e-values, higher for stranger.
#[must_use]
pub fn window_score(sum: f64, flows: u32) -> f32 {
    (sum / f64::from(flows.max(1))).max(f64::MIN_POSITIVE).ln() as f32
}

/// A trained classifier with what it takes for usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowModel {
    /// The classifier.
    pub hybrid: Hybrid,
    /// What usual flows look like to one that did not learn from them.
    pub calibration: FlowCalibration,
    /// False alarms of one host a day that are accepted.
    pub alarms_per_day: f64,
    /// The most evidence against a usual source at calibration.
    pub seen: f64,
}

impl Pack for FlowModel {
    const KIND: [u8; 4] = *b"flow";
    const VERSION: u16 = 2;

    fn check(&self) -> Result<(), CodecError> {
        self.hybrid.check()?;
        self.calibration.check()?;
        ensure(self.alarms_per_day > 0.0 && self.seen >= 0.0, "a budget and what was seen are no amounts")
    }
}

/// The strangest flow of a window.
#[derive(Clone, Debug)]
struct Example {
    score: f32,
    row: Vec<f32>,
    flow: Named,
}

/// Which flow a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its key.
    pub key: FlowKey,
    /// Who began it.
    pub initiator: Direction,
    /// When it began, ns.
    pub first_ns: u64,
}

impl Named {
    /// That of a record.
    #[must_use]
    pub fn of(record: &FlowRecord) -> Self {
        Self { key: record.key, initiator: record.stats.initiator, first_ns: record.first_ns() }
    }
}

/// A flow whose row waits to be judged.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    source: Addr,
    /// When the window began that it belongs to.
    opened_ns: u64,
    flow: Named,
}

/// What ended of one source within 10 s, and what adds up against it.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// When the running window began; `None` where none runs.
    opened_ns: Option<u64>,
    flows: u32,
    /// Of these, those that wait.
    waiting: u32,
    e_values: f64,
    /// By class of the model: probability given to it by flows that are not normal; the last is "unknown".
    named: Vec<f32>,
    /// Of the running window.
    example: Option<Example>,
    sum: Sum,
    habit: Habit,
    since_ns: u64,
    spoken: Option<(Grade, u64)>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct FlowCounters {
    /// Flows judged.
    pub judged: u64,
    /// Of these, those not taken for normal, as far as they do not wait.
    pub not_normal: u64,
    /// Sources forgotten before their time.
    pub evicted: u64,
}

/// The classifier at work. Bounded: 4,096 sources of about 400 bytes.
#[derive(Debug)]
pub struct FlowView {
    model: Arc<FlowModel>,
    columns: Columns,
    limits: Limits,
    recent: Recent,
    sources: Table<Addr, Standing>,
    /// Running windows in the order of their begin.
    running: VecDeque<(u64, Addr)>,
    /// Flows that wait, and their rows one after the other.
    waiting: Vec<Waiting>,
    rows: Vec<f32>,
    scratch: Scratch,
    counters: FlowCounters,
}

/// Whether a flow that has grown is to be judged: at 64 packets, 128, 256 and so on.
#[must_use]
pub fn is_due(record: &FlowRecord) -> bool {
    let packets: u64 = record.stats.dir.iter().map(|d| d.packets).sum();
    (packets / u64::from(JUDGE_EVERY)).is_power_of_two()
}

impl FlowView {
    /// The model at work.
    ///
    /// # Errors
    /// The name of a feature that flows do not have: such a model cannot be used.
    pub fn new(model: Arc<FlowModel>) -> Result<Self, String> {
        Ok(Self {
            columns: Columns::new(model.hybrid.schema())?,
            limits: Limits::new(model.alarms_per_day, model.seen),
            model,
            recent: Recent::default(),
            sources: Table::new(SOURCES, FORGET_NS),
            running: VecDeque::new(),
            waiting: Vec::with_capacity(TOGETHER),
            rows: Vec::new(),
            scratch: Scratch::default(),
            counters: FlowCounters::default(),
        })
    }

    /// Judges a flow that ended, or has grown.
    pub fn judge(&mut self, now_ns: u64, record: &FlowRecord, ended: bool, signals: &mut Vec<Signal>) {
        self.close_due(now_ns, signals);
        let shared = match (self.columns.wants_shared(), ended) {
            (true, true) => self.recent.push(record),
            (true, false) => self.recent.clone().push(record),
            (false, _) => Shared::default(),
        };
        self.columns.append(&Subject { record, shared }, &mut self.rows);
        self.hold(now_ns, Named::of(record));
    }

    /// Judges a flow by its row, of the model's features in their order. A row of another length is left out.
    pub fn judge_row(&mut self, now_ns: u64, flow: &Named, row: &[f32], signals: &mut Vec<Signal>) {
        self.close_due(now_ns, signals);
        if row.len() != self.model.hybrid.schema().len() {
            return;
        }
        self.rows.extend_from_slice(row);
        self.hold(now_ns, *flow);
    }

    /// Lets a flow wait whose row has just been added to the others.
    fn hold(&mut self, now_ns: u64, flow: Named) {
        self.counters.judged += 1;
        let source = flow.key.source(flow.initiator).0;
        let standing = self.sources.touch(source, now_ns);
        let opened_ns = *standing.opened_ns.get_or_insert_with(|| {
            self.running.push_back((now_ns, source));
            (standing.flows, standing.e_values, standing.waiting) = (0, 0.0, 0);
            now_ns
        });
        standing.flows += 1;
        standing.waiting += 1;
        self.waiting.push(Waiting { source, opened_ns, flow });
        if self.waiting.len() >= TOGETHER {
            self.judge_waiting();
        }
    }

    /// Judges the flows that wait, in the order in which they came.
    fn judge_waiting(&mut self) {
        let Self { model, waiting, rows, scratch, sources, counters, .. } = self;
        let width = model.hybrid.schema().len();
        model.hybrid.judge_rows(rows, scratch, |place, judgement| {
            let normal = judgement.verdict == Verdict::Normal;
            counters.not_normal += u64::from(!normal);
            let Some(flow) = waiting.get(place) else { return };
            // Forgotten meanwhile, if the table was full.
            let Some(standing) = sources.held(&flow.source).filter(|s| s.opened_ns == Some(flow.opened_ns))
            else {
                return;
            };
            let score = judgement.score;
            standing.waiting = standing.waiting.saturating_sub(1);
            standing.e_values += e_value(model.calibration.flows.p_value(score));
            if normal {
                return;
            }
            standing.named.resize(judgement.probabilities.len() + 1, 0.0);
            let named = match judgement.verdict {
                Verdict::Known(class) => class as usize,
                _ => judgement.probabilities.len(),
            };
            if let Some(named) = standing.named.get_mut(named) {
                *named += 1.0 - judgement.p_normal;
            }
            if standing.example.as_ref().is_none_or(|x| score > x.score) {
                let row = rows.get(place * width..(place + 1) * width).unwrap_or(&[]).to_vec();
                standing.example = Some(Example { score, row, flow: flow.flow });
            }
        });
        waiting.clear();
        rows.clear();
    }

    /// Lets time pass: windows come to their end.
    pub fn advance(&mut self, now_ns: u64, signals: &mut Vec<Signal>) {
        if self.running.front().is_some_and(|(begun, _)| *begun > now_ns) {
            // The clock began anew.
            self.running.clear();
            self.waiting.clear();
            self.rows.clear();
            self.sources = Table::new(SOURCES, FORGET_NS);
        }
        self.close_due(now_ns, signals);
    }

    /// Ends all windows: the input is over.
    pub fn finish(&mut self, now_ns: u64, signals: &mut Vec<Signal>) {
        while let Some((_, source)) = self.running.pop_front() {
            self.close(now_ns, source, signals);
        }
        // What is left is of sources forgotten before their time.
        self.judge_waiting();
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> FlowCounters {
        FlowCounters { evicted: self.sources.evicted(), ..self.counters }
    }

    fn close_due(&mut self, now_ns: u64, signals: &mut Vec<Signal>) {
        while let Some((begun, source)) = self.running.front().copied()
            && now_ns.saturating_sub(begun) >= Span::S10.nanos()
        {
            self.running.pop_front();
            self.close(now_ns, source, signals);
        }
    }

    fn close(&mut self, now_ns: u64, source: Addr, signals: &mut Vec<Signal>) {
        if self.sources.get(&source, now_ns).is_some_and(|s| s.waiting > 0) {
            self.judge_waiting();
        }
        let Some(standing) = self.sources.get_mut(&source, now_ns) else { return };
        let Some(opened_ns) = standing.opened_ns.take() else { return };
        let score = window_score(standing.e_values, standing.flows);
        let e = e_value(self.model.calibration.windows.p_value(&mut standing.habit, score));
        let example = standing.example.take();
        if standing.sum.value() < 1.0 {
            standing.since_ns = example.as_ref().map_or(opened_ns, |x| x.flow.first_ns);
        }
        standing.sum.add(e);
        let Some(grade) = self.limits.grade(standing.sum) else {
            if standing.sum.value() < 1.0 {
                standing.named.clear();
            }
            standing.spoken = None;
            return;
        };
        let again =
            |(before, at): (Grade, u64)| grade > before || e > 1.0 && now_ns.saturating_sub(at) >= SILENCE_NS;
        let Some(example) = example.filter(|_| standing.spoken.is_none_or(again)) else { return };
        standing.spoken = Some((grade, now_ns));
        let class = class_of(&self.model.hybrid, &standing.named);
        let since_ns = standing.since_ns;
        signals.push(self.signal(now_ns, since_ns, source, grade, class, &example));
    }

    fn signal(
        &self,
        now_ns: u64,
        since_ns: u64,
        source: Addr,
        grade: Grade,
        class: Option<Class>,
        example: &Example,
    ) -> Signal {
        let Named { key, initiator, .. } = example.flow;
        let (target, port) = key.source(initiator.reverse());
        let ports = matches!(key.protocol, wire::packet::protocol::TCP | wire::packet::protocol::UDP);
        let finding = Finding {
            source,
            found: Found::Flows(class),
            grade,
            at_ns: now_ns,
            since_ns,
            target: Some(target),
            port: ports.then_some(port),
            protocol: Some(key.protocol),
            community_id: Some(flow::community_id_from(&key, initiator, 0)),
            evidence: self.reasons(&example.row),
        };
        finding.signal()
    }

    /// The features that speak most for "not normal". Words cannot stand beside what is usual, and are left out.
    fn reasons(&self, row: &[f32]) -> Vec<Evidence> {
        let all = self.model.hybrid.explain(row);
        let whole: f64 = all.iter().map(|r| f64::from(r.contribution.abs())).sum::<f64>().max(1e-9);
        all.iter()
            .filter(|r| r.contribution > 0.0 && r.value.is_finite() && !self.columns.is_words(r.feature))
            .filter_map(|r| {
                let usual = if r.usual.is_finite() { f64::from(r.usual) } else { 0.0 };
                Some(Evidence {
                    metric: self.columns.name(r.feature)?,
                    observed: r.value.into(),
                    threshold: usual,
                    at_least: f64::from(r.value) >= usual,
                    contribution: Some(f64::from(r.contribution) / whole),
                })
            })
            .take(REASONS)
            .collect()
    }
}

/// What the flows are mostly taken for; `None` for nothing known.
fn class_of(hybrid: &Hybrid, named: &[f32]) -> Option<Class> {
    let place = learn::metric::largest(named);
    let name = hybrid.names().get(place)?;
    Class::ALL.into_iter().find(|c| c.name() == name)
}
