//! Learned models at work in the line: events and windows in, signals out.

use super::ensemble::{Ensemble, Judged, Reading, hour_of_week, source_key};
use super::evidence::{Evidence as Sum, Grade, Limits, e_value};
use super::exchange::{FlowRow, WindowRow};
use super::finding::{Finding, Found};
use super::flows::{FlowCounters, FlowModel, FlowView, is_due};
use super::habit::Habit;
use super::watch::{Observed, SEQUENCE, Watch, end_of};
use crate::Signal;
use crate::profile::table::Table;
use flow::{Census, Direction, EndReason, Event, FlowKey, PastWindow, Role, What};
use serde::Serialize;
use std::sync::Arc;
use wire::Addr;

/// Identifier of the detector that looks at windows.
pub const RULE: &str = "learned-windows";
/// Numeric identifier (EVE `signature_id`); those of rules begin at 1000001 and 9000000.
pub const SID: u32 = 2_000_002;

/// Sources against which evidence is added up at once.
const SOURCES: usize = 4096;
/// A source without windows for this long is new again, ns.
const FORGET_NS: u64 = 600_000_000_000;
/// A source that is still strange is spoken of again after this, ns.
const SILENCE_NS: u64 = 30_000_000_000;

/// What is learnt, as a bundle holds it. Either may be absent.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Knows windows that are usual.
    pub ensemble: Option<Arc<Ensemble>>,
    /// Knows attacks by their flows.
    pub flows: Option<Arc<FlowModel>>,
}

impl Models {
    /// Whether nothing is learnt.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ensemble.is_none() && self.flows.is_none()
    }
}

/// Why models cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A flow classifier asks for what flows do not have.
    #[error(
        "the model asks for a feature {0:?} that flows do not have; train it on the features of docs/features.md"
    )]
    Feature(String),
    /// An ensemble of other features.
    #[error(
        "the ensemble was trained on other features of windows than this program computes; train it anew"
    )]
    Windows,
}

/// A window that is over, and what was made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedWindow {
    /// The window, with those before it.
    pub observed: Observed,
    /// When it was judged, ns.
    pub at_ns: u64,
    /// What the ensemble made of it; `None` without one, and of sources on the allowlist.
    pub judged: Option<Judged>,
}

/// How evidence against one source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Standing {
    conservative: Sum,
    adaptive: Sum,
    /// Of the conservative and the adaptive model.
    habits: [Habit; 2],
    since_ns: u64,
    spoken: Option<(Grade, u64)>,
}

/// What was counted; `evicted` sources were forgotten before their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct LearnedCounters {
    /// Windows worth judging.
    pub windows: u64,
    /// Of these, those the ensemble judged.
    pub windows_judged: u64,
    /// Signals given, by either.
    pub signals: u64,
    /// Of flows.
    pub flows: FlowCounters,
    /// Sources forgotten before their time.
    pub evicted: u64,
}

/// The learned detectors; see the module. Bounded: see [`Watch`] and [`FlowView`]; standings of 4,096 sources (64 bytes each).
#[derive(Debug)]
pub struct Learned {
    watch: Watch,
    ensemble: Option<(Arc<Ensemble>, [Limits; 2])>,
    flows: Option<FlowView>,
    standings: Table<Addr, Standing>,
    /// Taken from the census; empty between calls.
    past: Vec<PastWindow>,
    /// Windows judged, for who learns from them; `None` if nobody does.
    judged: Option<Vec<JudgedWindow>>,
    counters: LearnedCounters,
}

impl Learned {
    /// Models at work, or none: then windows are watched and not judged. The seed is that of hashes of contacts.
    ///
    /// # Errors
    /// Models made for other features.
    pub fn new(models: &Models, seed: u64) -> Result<Self, ModelError> {
        let mut learned = Self {
            watch: Watch::new(seed),
            ensemble: None,
            flows: None,
            standings: Table::new(SOURCES, FORGET_NS),
            past: Vec::new(),
            judged: None,
            counters: LearnedCounters::default(),
        };
        learned.set_models(models)?;
        Ok(learned)
    }

    /// Puts other models in place. What was watched stays, evidence begins anew.
    ///
    /// # Errors
    /// Models made for other features; those at work stay.
    pub fn set_models(&mut self, models: &Models) -> Result<(), ModelError> {
        let flows = models.flows.clone().map(FlowView::new).transpose().map_err(ModelError::Feature)?;
        if models.ensemble.as_ref().is_some_and(|e| !e.fits()) {
            return Err(ModelError::Windows);
        }
        self.ensemble = models.ensemble.clone().map(|e| {
            let limits = e.seen().map(|seen| Limits::new(e.alarms_per_day(), seen));
            (e, limits)
        });
        self.flows = flows;
        self.standings = Table::new(SOURCES, FORGET_NS);
        Ok(())
    }

    /// Keeps judged windows for [`Self::take_judged`].
    pub fn keep_judged(&mut self) {
        self.judged.get_or_insert_default();
    }

    /// Moves the windows judged since the last call to the end of `into`; none unless they are kept.
    pub fn take_judged(&mut self, into: &mut Vec<JudgedWindow>) {
        if let Some(judged) = &mut self.judged {
            into.append(judged);
        }
    }

    /// Judges what an event that the census has taken says. Who is allowed is not judged.
    #[inline]
    pub fn take(
        &mut self,
        event: &Event,
        census: &mut Census,
        allowed: &dyn Fn(Addr) -> bool,
        signals: &mut Vec<Signal>,
    ) {
        let before = signals.len();
        self.take_past(event.at_ns, census, allowed, signals);
        match &event.what {
            What::Started { .. } => self.watch.begin(event.at_ns, &event.flow),
            What::Grown(record) if is_due(record) => {
                if let Some(flows) = self.flows.as_mut().filter(|_| !allowed(record.initiator().0)) {
                    flows.judge(event.at_ns, record, false, signals);
                }
            }
            What::Ended(record, reason) => {
                if let Some(flows) = self.flows.as_mut().filter(|_| !allowed(record.initiator().0)) {
                    flows.judge(event.at_ns, record, *reason != EndReason::Active, signals);
                }
            }
            _ => {}
        }
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// Lets time pass, after the census has.
    pub fn advance(
        &mut self,
        now_ns: u64,
        census: &mut Census,
        allowed: &dyn Fn(Addr) -> bool,
        signals: &mut Vec<Signal>,
    ) {
        let before = signals.len();
        self.take_past(now_ns, census, allowed, signals);
        if let Some(flows) = &mut self.flows {
            flows.advance(now_ns, signals);
        }
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// Judges what runs yet: the input is over.
    pub fn finish(
        &mut self,
        now_ns: u64,
        census: &mut Census,
        allowed: &dyn Fn(Addr) -> bool,
        signals: &mut Vec<Signal>,
    ) {
        let before = signals.len();
        census.end_windows();
        self.take_past(now_ns, census, allowed, signals);
        if let Some(flows) = &mut self.flows {
            flows.finish(now_ns, signals);
        }
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// Judges a flow that a sensor elsewhere tells of. Times must not go back from one call to the next.
    pub fn judge_flow(&mut self, flow: &FlowRow, signals: &mut Vec<Signal>) {
        let before = signals.len();
        if let Some(flows) = &mut self.flows {
            flows.judge_row(flow.at_ns, &flow.flow, &flow.values, signals);
        }
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// Judges a window that a sensor elsewhere tells of. Times must not go back from one call to the next.
    pub fn judge_window(&mut self, row: WindowRow, signals: &mut Vec<Signal>) {
        let before = signals.len();
        self.window(row.at_ns, row.observed, row.prompted_by, &|_| false, signals);
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// Lets time pass where sensors elsewhere tell of it.
    pub fn pass(&mut self, now_ns: u64, signals: &mut Vec<Signal>) {
        let before = signals.len();
        if let Some(flows) = &mut self.flows {
            flows.advance(now_ns, signals);
        }
        self.counters.signals += (signals.len() - before) as u64;
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> LearnedCounters {
        LearnedCounters {
            flows: self.flows.as_ref().map(FlowView::counters).unwrap_or_default(),
            evicted: self.watch.evicted() + self.standings.evicted(),
            ..self.counters
        }
    }

    #[inline]
    fn take_past(
        &mut self,
        now_ns: u64,
        census: &mut Census,
        allowed: &dyn Fn(Addr) -> bool,
        signals: &mut Vec<Signal>,
    ) {
        census.take_past(&mut self.past);
        if self.past.is_empty() {
            return;
        }
        let mut past = std::mem::take(&mut self.past);
        // Whatever the order of the table, that of the signals depends on the traffic alone.
        past.sort_by_key(|p| (p.window.start_ns, p.addr));
        for window in past.drain(..) {
            if let Some(observed) = self.watch.end(now_ns, &window) {
                let prompted_by = census.entity_at(observed.addr, Role::Source).and_then(|e| e.prompted_by);
                self.window(now_ns, observed, prompted_by, allowed, signals);
            }
        }
        self.past = past;
    }

    fn window(
        &mut self,
        now_ns: u64,
        observed: Observed,
        prompted_by: Option<(FlowKey, Direction)>,
        allowed: &dyn Fn(Addr) -> bool,
        signals: &mut Vec<Signal>,
    ) {
        self.counters.windows += 1;
        let mut judged = None;
        if let Some((ensemble, limits)) = self.ensemble.as_ref().filter(|_| !allowed(observed.addr)) {
            self.counters.windows_judged += 1;
            let standing = self.standings.touch(observed.addr, now_ns);
            let (found, signal) = hear(ensemble, limits, standing, now_ns, &observed, prompted_by);
            signals.extend(signal);
            judged = Some(found);
        }
        if let Some(kept) = &mut self.judged {
            kept.push(JudgedWindow { observed, at_ns: now_ns, judged });
        }
    }
}

/// Judges a window, adds to the evidence against its source, and says whether that is worth a signal.
fn hear(
    ensemble: &Ensemble,
    limits: &[Limits; 2],
    standing: &mut Standing,
    now_ns: u64,
    observed: &Observed,
    prompted_by: Option<(FlowKey, Direction)>,
) -> (Judged, Option<Signal>) {
    let (source, hour) = (source_key(observed.addr), hour_of_week(observed.start_ns));
    let judged = ensemble.judge(source, hour, &observed.sequence);
    if standing.conservative.value().max(standing.adaptive.value()) < 1.0 {
        standing.since_ns = observed.start_ns;
    }
    let ([sure, all], [habit, habit_of_all]) = (ensemble.habitual(), &mut standing.habits);
    standing.conservative.add(e_value(sure.p_value(habit, judged.conservative.score())));
    standing.adaptive.add(e_value(all.p_value(habit_of_all, judged.adaptive.score())));
    let grades = (limits[0].grade(standing.conservative), limits[1].grade(standing.adaptive));
    let reading = Reading::of(grades.0.is_some(), grades.1.is_some());
    // Where both speak, the more careful of them has the say.
    let grade = match grades {
        (Some(a), Some(b)) => a.min(b),
        (Some(grade), None) | (None, Some(grade)) => grade,
        (None, None) => {
            standing.spoken = None;
            return (judged, None);
        }
    };
    let strange = judged.conservative.combined <= limits[0].vote(SEQUENCE)
        || judged.adaptive.combined <= limits[1].vote(SEQUENCE);
    let again = |(before, at): (Grade, u64)| grade > before || now_ns.saturating_sub(at) >= SILENCE_NS;
    if !strange || !standing.spoken.is_none_or(again) {
        return (judged, None);
    }
    standing.spoken = Some((grade, now_ns));
    let finding = Finding {
        source: observed.addr,
        found: Found::Windows(reading),
        grade,
        at_ns: now_ns,
        since_ns: standing.since_ns.min(end_of(observed.start_ns)),
        target: prompted_by.map(|(key, initiator)| key.source(initiator.reverse()).0),
        port: None,
        protocol: None,
        community_id: prompted_by.map(|(key, initiator)| flow::community_id_from(&key, initiator, 0)),
        evidence: ensemble.explain(source, hour, &observed.sequence),
    };
    (judged, Some(finding.signal()))
}
