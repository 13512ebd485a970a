//! What the agent's thread tells the learner, without waiting for it.

use super::memory::{Memory, Remembered};
use crossbeam_channel::{Sender, TrySendError};
use detect::learned::JudgedWindow;
use detect::learned::ensemble::{Ensemble, hour_of_week, source_key};
use detect::learned::vector::FEATURES;
use detect::learned::watch::Sequence;
use detect::{Actor, Change, Origin, Severity, Update};
use flow::FlowRecord;
use learn::life::{Gravity, Sample};
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
    /// People put a model in use, by its name.
    Vouched(Option<Arc<Ensemble>>, String),
    /// What time it is, ns.
    Now(u64),
}

/// What did not fit.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Windows.
    pub(super) windows: AtomicU64,
    /// Whether an alarm was among what did not.
    pub(super) alarms: AtomicBool,
}

/// The agent's end of the channels.
pub(super) struct Line {
    pub(super) windows: Sender<(Sample, f64)>,
    pub(super) words: Sender<Word>,
    pub(super) losses: Arc<Losses>,
}

/// Sees what passes the line, remembers incidents, and tells the learner if there is one.
#[derive(Default)]
pub struct Witness {
    memory: Memory,
    line: Option<Line>,
}

impl Witness {
    /// One that tells somebody.
    pub(super) fn new(line: Line) -> Self {
        Self { memory: Memory::default(), line: Some(line) }
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

    /// People put a model in use.
    pub fn vouched(&self, ensemble: Option<Arc<Ensemble>>, name: &str) {
        self.say(Word::Vouched(ensemble, name.to_owned()));
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
