//! What the agent's thread tells the learner, without waiting for it.

use super::flows::Labelled;
use super::memory::{Memory, Remembered};
use crossbeam_channel::{Sender, TrySendError};
use detect::learned::ensemble::{hour_of_week, source_key};
use detect::learned::row::{self, Columns};
use detect::learned::vector::FEATURES;
use detect::learned::watch::Sequence;
use detect::learned::{JudgedWindow, Models};
use detect::{Actor, Change, Origin, Severity, Update};
use flow::FlowRecord;
use flow::feature::Subject;
use flow::recent::Shared;
use learn::life::{Gravity, Ground, Sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is said beside windows. None of it may be lost unnoticed.
pub(super) enum Word {
    /// A source gave an alarm.
    Alarm { entity: u64, since_ns: u64, at_ns: u64, gravity: Gravity },
    /// A source did no harm after all.
    Pardon(u64),
    /// Windows of confirmed attacks, all there are.
    Confirmed(Vec<(u64, Sequence)>),
    /// Flows of which people said something, all there are.
    Labelled(Vec<Labelled>),
    /// People put models in use.
    Vouched(Box<Vouched>),
    /// What time it is, ns.
    Now(u64),
}

/// Models that people put in use.
#[derive(Clone, Debug, Default)]
pub struct Vouched {
    /// The models.
    pub models: Models,
    /// What the classifier of flows was trained on.
    pub ground: Option<Arc<Ground>>,
    /// What that learnt of people ([`super::flows::mark`]).
    pub learnt: u64,
    /// Name of their bundle.
    pub name: String,
}

/// What did not fit.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Windows.
    pub(super) windows: AtomicU64,
    /// Flows.
    pub(super) flows: AtomicU64,
    /// Whether an alarm was among what did not.
    pub(super) alarms: AtomicBool,
}

/// The agent's end of the channels.
pub(super) struct Line {
    pub(super) windows: Sender<(Sample, f64)>,
    pub(super) flows: Sender<Sample>,
    pub(super) words: Sender<Word>,
    pub(super) losses: Arc<Losses>,
}

/// Sources told apart when flows are thinned out. Two that share a place share what may be told of them.
const PLACES: usize = 1024;
/// Flows of a place that are told in ten seconds: what is usual is seen from few, and a busy host is not to fill the quarantine.
const FLOWS: u8 = 2;
/// Time in which so many are told, ns.
const THIN_NS: u64 = 10_000_000_000;

/// Which flows are told.
struct Thin {
    columns: Columns,
    /// The latest ten seconds of each place, and flows told in it.
    told: Box<[(u64, u8); PLACES]>,
}

impl Thin {
    /// A flow as a sample, if it is one to be told.
    fn sample(&mut self, record: &FlowRecord) -> Option<Sample> {
        let (entity, at_ns) = (source_key(record.initiator().0), record.last_ns());
        let place = self.told.get_mut(entity as usize % PLACES)?;
        if place.0 != at_ns / THIN_NS {
            *place = (at_ns / THIN_NS, 0);
        }
        if place.1 >= FLOWS {
            return None;
        }
        place.1 += 1;
        let mut row = Vec::new();
        self.columns.fill(&Subject { record, shared: Shared::default() }, &mut row);
        Some(Sample { entity, at_ns, hour: 0, rate: 0.0, row: row.into(), sequence: Box::default() })
    }
}

/// Sees what passes the line, remembers incidents, and tells the learner if there is one.
#[derive(Default)]
pub struct Witness {
    memory: Memory,
    line: Option<Line>,
    thin: Option<Thin>,
}

impl Witness {
    /// One that tells somebody.
    pub(super) fn new(line: Line) -> Self {
        let columns = Columns::new(&row::schema()).ok();
        let thin = columns.map(|columns| Thin { columns, told: Box::new([(0, 0); PLACES]) });
        Self { memory: Memory::default(), line: Some(line), thin }
    }

    fn say(&self, word: Word) {
        let Some(line) = &self.line else { return };
        if let Err(TrySendError::Full(Word::Alarm { .. })) = line.words.try_send(word) {
            line.losses.alarms.store(true, Ordering::Relaxed);
        }
    }

    /// A flow ended.
    pub fn flow(&mut self, record: &FlowRecord) {
        self.memory.flow(record);
        let Some(line) = &self.line else { return };
        if let Some(sample) = self.thin.as_mut().and_then(|t| t.sample(record))
            && line.flows.try_send(sample).is_err()
        {
            line.losses.flows.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An incident opened, changed or ended.
    pub fn incident(&mut self, at_ns: u64, update: &Update) {
        self.memory.incident(update);
        let incident = &update.incident;
        if update.change == Change::Ended {
            return;
        }
        // What many or forged senders did to somebody is seen through that one.
        let (Actor::Source { addr } | Actor::Distributed { target: addr }) = incident.actor;
        let is_source = matches!(incident.actor, Actor::Source { .. });
        let grave = incident.origins.contains(&Origin::Rule) || incident.severity >= Severity::Medium;
        let gravity = if is_source && grave { Gravity::Attack } else { Gravity::Doubt };
        self.say(Word::Alarm { entity: source_key(addr), since_ns: incident.first_ns, at_ns, gravity });
    }

    /// A window is over.
    pub fn window(&mut self, window: &JudgedWindow) {
        self.memory.window(window);
        let Some(line) = &self.line else { return };
        let p = window.judged.map_or(f64::NAN, |j| j.adaptive.combined);
        if line.windows.try_send((sample(window), p)).is_err() {
            line.losses.windows.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Time passed.
    pub fn now(&self, now_ns: u64) {
        self.say(Word::Now(now_ns));
    }

    /// A source did no harm after all.
    pub fn pardon(&self, addr: wire::Addr) {
        self.say(Word::Pardon(source_key(addr)));
    }

    /// All windows of confirmed attacks.
    pub fn confirmed(&self, windows: Vec<(u64, Sequence)>) {
        self.say(Word::Confirmed(windows));
    }

    /// All flows of which people said something.
    pub fn labelled(&self, flows: Vec<Labelled>) {
        self.say(Word::Labelled(flows));
    }

    /// People put models in use.
    pub fn vouched(&self, vouched: Vouched) {
        self.say(Word::Vouched(Box::new(vouched)));
    }

    /// An incident by its number.
    pub fn remembered(&self, id: u64) -> Option<&Remembered> {
        self.memory.get(id)
    }
}

/// A window as a sample.
pub(super) fn sample(window: &JudgedWindow) -> Sample {
    let observed = &window.observed;
    let row = observed.latest();
    let packets = FEATURES.iter().position(|f| f.name == "window_packets").and_then(|at| row.get(at));
    Sample {
        entity: source_key(observed.addr),
        at_ns: observed.start_ns,
        hour: hour_of_week(observed.start_ns),
        // A window has ten seconds.
        rate: packets.map_or(0.0, |p| p.exp_m1() / 10.0),
        row: row.into(),
        sequence: observed.sequence.as_slice().into(),
    }
}
