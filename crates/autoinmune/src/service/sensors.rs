//! Sensors elsewhere: what each has posted, and what adds up against its sources.
//!
//! Each sensor has learned detectors of its own, the same as in the line, so that what one network does says nothing about an
//! address of the same number in another. All of a batch is checked before anything of it is judged.

use crate::exchange;
use detect::Signal;
use detect::learned::exchange::{FlowRow, WindowRow};
use detect::learned::{Learned, ModelError, Models};
use server::api::batch::{Batch, BatchAnswer, FindingBody, MAX_FINDINGS, Seconds};
use server::api::body::SensorStats;
use server::http::problem::Problem;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Sensors known at once; the one not heard of for longest makes room, counted. Each holds at most 4,096 sources.
const SENSORS: usize = 32;
/// How old a row may be, ns: a sensor posts what waited while the detector was away.
const OLDEST_NS: u64 = 86_400_000_000_000;
/// How far a sensor's clock may go before ours, ns.
const AHEAD_NS: u64 = 300_000_000_000;

/// All sensors, and the models that judge what they post.
pub(super) struct Sensors {
    models: Models,
    version: String,
    known: BTreeMap<String, Sensor>,
    forgotten: u64,
}

/// What others may ask for while a batch is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Whether models judge flows, and windows.
    pub(super) kinds: [bool; 2],
    /// Version of the models.
    pub(super) version: String,
    /// What each sensor posted.
    pub(super) sensors: BTreeMap<String, SensorStats>,
    /// Sensors forgotten.
    pub(super) forgotten: u64,
}

struct Sensor {
    learned: Learned,
    /// Of its run: identifier, number of the latest batch, and what was answered.
    run: String,
    number: u64,
    told: BatchAnswer,
    /// Its time, which does not go back.
    now_ns: u64,
    stats: SensorStats,
}

enum Row {
    Flow(FlowRow),
    Window(Box<WindowRow>),
}

impl Row {
    const fn at_ns(&self) -> u64 {
        match self {
            Self::Flow(row) => row.at_ns,
            Self::Window(row) => row.at_ns,
        }
    }
}

fn in_time(what: &str, at: Seconds, now_ns: u64) -> Result<u64, Problem> {
    let at_ns = at.ns();
    let clocks = "; set the clocks of sensor and detector by the same source";
    if at_ns > now_ns.saturating_add(AHEAD_NS) {
        let by = (at_ns - now_ns) / 1_000_000_000;
        return Err(Problem::conflict(format!("{what} is {by} s ahead of the detector's clock{clocks}")));
    }
    if at_ns < now_ns.saturating_sub(OLDEST_NS) {
        return Err(Problem::conflict(format!(
            "{what} is more than a day before the detector's clock{clocks}"
        )));
    }
    Ok(at_ns)
}

impl Sensors {
    /// No sensors yet, and models for those to come.
    ///
    /// # Errors
    /// Models made for other features.
    pub(super) fn new(models: Models, version: String) -> Result<Self, ModelError> {
        Learned::new(&models, 0)?;
        Ok(Self { models, version, known: BTreeMap::new(), forgotten: 0 })
    }

    /// Puts other models in place; evidence begins anew.
    ///
    /// # Errors
    /// Models made for other features; those at work stay.
    pub(super) fn set_models(&mut self, models: Models, version: String) -> Result<(), ModelError> {
        Learned::new(&models, 0)?;
        for sensor in self.known.values_mut() {
            sensor.learned.set_models(&models)?;
        }
        (self.models, self.version) = (models, version);
        Ok(())
    }

    /// What there is to be said of models and sensors.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            kinds: [self.models.flows.is_some(), self.models.ensemble.is_some()],
            version: self.version.clone(),
            sensors: self.known.iter().map(|(name, s)| (name.clone(), s.stats.clone())).collect(),
            forgotten: self.forgotten,
        }
    }

    /// Judges a batch that came at `now_ns`; signals go to the end of `found`.
    pub(super) fn judge(
        &mut self,
        batch: &Batch,
        now_ns: u64,
        found: &mut Vec<Signal>,
    ) -> Result<BatchAnswer, Problem> {
        if self.models.is_empty() {
            return Err(Problem::not_found(
                "no learned model judges here: models.bundle is \"none\"; set it, or post.learned = \"local\" at the sensor",
            ));
        }
        let schema = self.models.flows.as_ref().map_or(&[][..], |m| m.hybrid.schema());
        let (flows, windows) = exchange::rows(batch, schema).map_err(|e| Problem::conflict(e.to_string()))?;
        let until_ns = in_time("`time`", batch.time, now_ns)?;
        for (i, flow) in batch.flows.iter().enumerate() {
            in_time(&format!("`at` of flow {i}"), flow.at, now_ns)?;
        }
        for (i, window) in batch.windows.iter().enumerate() {
            in_time(&format!("`at` of window {i}"), window.at, now_ns)?;
        }
        let model_version = self.version.clone();
        let sensor = self.sensor(&batch.sensor).map_err(|e| Problem::unavailable(e.to_string()))?;
        sensor.stats.last_heard = now_ns as f64 / 1e9;
        if sensor.run == batch.run && batch.number <= sensor.number {
            sensor.stats.repeated += 1;
            let told =
                if batch.number == sensor.number { sensor.told.clone() } else { BatchAnswer::default() };
            return Ok(BatchAnswer { repeated: true, model_version, ..told });
        }
        if sensor.run == batch.run {
            sensor.stats.missing += batch.number - sensor.number - 1;
        }
        let (n_flows, n_windows) = (flows.len() as u64, windows.len() as u64);
        let rows =
            flows.into_iter().map(Row::Flow).chain(windows.into_iter().map(|w| Row::Window(Box::new(w))));
        let signals = sensor.judge(rows.collect(), until_ns);
        let mut findings: Vec<FindingBody> = signals.iter().filter_map(exchange::finding_body).collect();
        let omitted = findings.len().saturating_sub(MAX_FINDINGS) as u64;
        findings.truncate(MAX_FINDINGS);
        found.extend(signals);
        sensor.stats.batches += 1;
        sensor.stats.flows += n_flows;
        sensor.stats.windows += n_windows;
        sensor.stats.findings += findings.len() as u64;
        let answer = BatchAnswer {
            model_version,
            flows: n_flows,
            windows: n_windows,
            repeated: false,
            findings,
            omitted,
        };
        sensor.run.clone_from(&batch.run);
        sensor.number = batch.number;
        sensor.told = answer.clone();
        Ok(answer)
    }

    fn sensor(&mut self, name: &str) -> Result<&mut Sensor, ModelError> {
        if !self.known.contains_key(name) && self.known.len() >= SENSORS {
            let heard = |s: &Sensor| s.stats.last_heard;
            let oldest = self.known.iter().min_by(|a, b| heard(a.1).total_cmp(&heard(b.1)));
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
                self.forgotten += 1;
            }
        }
        match self.known.entry(name.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Sensor {
                learned: Learned::new(&self.models, 0)?,
                run: String::new(),
                number: 0,
                told: BatchAnswer::default(),
                now_ns: 0,
                stats: SensorStats::default(),
            })),
        }
    }
}

impl Sensor {
    /// Judges rows in the order of their times, and lets time pass.
    fn judge(&mut self, mut rows: Vec<Row>, until_ns: u64) -> Vec<Signal> {
        rows.sort_by_key(Row::at_ns);
        let mut signals = Vec::new();
        for row in rows {
            self.now_ns = self.now_ns.max(row.at_ns());
            let at_ns = self.now_ns;
            match row {
                Row::Flow(row) => self.learned.judge_flow(&FlowRow { at_ns, ..row }, &mut signals),
                Row::Window(row) => self.learned.judge_window(WindowRow { at_ns, ..*row }, &mut signals),
            }
        }
        self.now_ns = self.now_ns.max(until_ns);
        self.learned.pass(self.now_ns, &mut signals);
        signals
    }
}
