//! The latest incidents with some of what was seen of them, for people to say what they were.
//!
//! People speak later than programs: an incident has ended, and its flows are gone, when somebody looks at it.

use detect::learned::JudgedWindow;
use detect::learned::row::{self, Columns};
use detect::learned::vector;
use detect::learned::watch::{SEQUENCE, Sequence};
use detect::{Actor, Change, Incident, Update};
use flow::FlowRecord;
use flow::feature::Subject;
use flow::recent::Shared;
use std::collections::{BTreeMap, HashMap};
use wire::Addr;

/// Incidents remembered; the oldest makes room.
const INCIDENTS: usize = 512;
/// Flows kept of each: those that ended first, after it began.
const FLOWS: usize = 32;
/// Windows kept of each.
const WINDOWS: usize = 8;
/// Flows that end, and windows that begin, this long after the last evidence belong to an incident yet, ns: it stays open as
/// long in silence.
const AFTER_NS: u64 = 60_000_000_000;

/// Numbers as they are kept: absent is what cannot be known.
pub type Values = Vec<Option<f32>>;

/// Names of the values of a flow.
pub fn columns() -> Vec<String> {
    row::schema().into_iter().map(|f| f.name).collect()
}

/// Names of the values of a sequence of windows, the oldest window first.
pub fn window_columns() -> Vec<String> {
    (0..SEQUENCE).flat_map(|_| vector::FEATURES.iter().map(|f| f.name.to_owned())).collect()
}

/// A flow's values as cells of a table, words as words.
pub fn cells(flow: &Values) -> Vec<Option<String>> {
    let cell = |(feature, value): (learn::Feature, &Option<f32>)| {
        value.map(|v| match &feature.kind {
            learn::Kind::Categorical(words) => words.get(v as usize).cloned().unwrap_or_default(),
            learn::Kind::Numeric => v.to_string(),
        })
    };
    row::schema().into_iter().zip(flow).map(cell).collect()
}

/// A sequence of windows as it was kept; `None` if it is of another length.
pub fn whole(values: &Values) -> Option<Sequence> {
    let row: Vec<f32> = values.iter().map(|v| v.unwrap_or(f32::NAN)).collect();
    row.try_into().ok()
}

fn values(row: &[f32]) -> Values {
    row.iter().map(|v| v.is_finite().then_some(*v)).collect()
}

/// An incident and some of what was seen of it.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// As it stood last.
    pub incident: Incident,
    /// Flows, by [`columns`].
    pub flows: Vec<Values>,
    /// Sequences of windows, by [`window_columns`].
    pub windows: Vec<Values>,
}

/// The latest incidents. Memory: 512 of about 15 KiB at most.
pub struct Memory {
    incidents: BTreeMap<u64, Remembered>,
    /// Sources with an incident, and which; only their flows are looked at.
    suspects: HashMap<Addr, u64>,
    columns: Option<Columns>,
    row: Vec<f32>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            incidents: BTreeMap::new(),
            suspects: HashMap::new(),
            // All of them are features of flows, which a test of their table makes sure of.
            columns: Columns::new(&row::schema()).ok(),
            row: Vec::new(),
        }
    }
}

impl Memory {
    /// Takes in what became of an incident.
    pub fn incident(&mut self, update: &Update) {
        let incident = &update.incident;
        if let Some(known) = self.incidents.get_mut(&incident.id) {
            known.incident = incident.clone();
            return;
        }
        if update.change == Change::Ended {
            return;
        }
        let new = Remembered { incident: incident.clone(), flows: Vec::new(), windows: Vec::new() };
        self.incidents.insert(incident.id, new);
        if let Actor::Source { addr } = incident.actor {
            self.suspects.insert(addr, incident.id);
        }
        while self.incidents.len() > INCIDENTS {
            if let Some((id, _)) = self.incidents.pop_first() {
                self.suspects.retain(|_, suspected| *suspected != id);
            }
        }
    }

    /// The incident of a source, if it was still going on at some time.
    fn of(&mut self, source: Addr, begin_ns: u64, end_ns: u64) -> Option<&mut Remembered> {
        let known = self.incidents.get_mut(self.suspects.get(&source)?)?;
        let Incident { first_ns, last_ns, .. } = known.incident;
        let during = begin_ns <= last_ns.saturating_add(AFTER_NS) && end_ns >= first_ns;
        during.then_some(known)
    }

    /// Takes in a flow that ended.
    pub fn flow(&mut self, record: &FlowRecord) {
        // Nearly always nobody is suspected, and this is all there is to do.
        if self.suspects.is_empty() {
            return;
        }
        let Some(columns) = self.columns.take() else { return };
        let mut row = std::mem::take(&mut self.row);
        let (begin, end) = (record.first_ns(), record.stats.last_ns());
        if let Some(known) = self.of(record.initiator().0, begin, end).filter(|k| k.flows.len() < FLOWS) {
            columns.fill(&Subject { record, shared: Shared::default() }, &mut row);
            known.flows.push(values(&row));
        }
        self.row = row;
        self.columns = Some(columns);
    }

    /// Takes in a window that is over.
    pub fn window(&mut self, window: &JudgedWindow) {
        let observed = &window.observed;
        let (begin, end) = (observed.start_ns, window.at_ns);
        if !self.suspects.is_empty()
            && let Some(known) = self.of(observed.addr, begin, end).filter(|k| k.windows.len() < WINDOWS)
        {
            known.windows.push(values(&observed.sequence));
        }
    }

    /// An incident by its number.
    pub fn get(&self, id: u64) -> Option<&Remembered> {
        self.incidents.get(&id)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use detect::{Class, Origin, Severity};

    pub fn incident(id: u64, host: u8, rules: &[&str], origin: Origin) -> Incident {
        Incident {
            id,
            actor: Actor::Source { addr: Addr::v4([192, 0, 2, host]) },
            class: Class::PortScan,
            classes: vec![Class::PortScan],
            kinds: Vec::new(),
            rules: rules.iter().map(|r| (*r).to_owned()).collect(),
            severity: Severity::Medium,
            techniques: Vec::new(),
            targets: Vec::new(),
            details: Vec::new(),
            first_ns: 1_000,
            last_ns: 2_000,
            confidence: 0.9,
            may_block: true,
            origins: vec![origin],
            agreed: false,
            agreeing: Vec::new(),
            signals: 1,
            led_by: 0.9,
            evidence: Vec::new(),
        }
    }

    pub fn remembered(incident: Incident) -> Remembered {
        let flow: Values = columns().iter().enumerate().map(|(i, _)| (i > 3).then_some(1.0)).collect();
        let window = window_columns().iter().map(|_| Some(0.5)).collect();
        Remembered { incident, flows: vec![flow.clone(), flow], windows: vec![window] }
    }

    #[test]
    fn incidents_are_remembered_after_their_end_and_the_oldest_makes_room() {
        let mut memory = Memory::default();
        for id in 1..=600 {
            let mut incident = incident(id, (id % 200) as u8, &["r"], Origin::Rule);
            memory.incident(&Update { change: Change::Opened, incident: incident.clone() });
            incident.signals = 9;
            memory.incident(&Update { change: Change::Ended, incident });
        }
        assert!(memory.get(1).is_none() && memory.get(600).is_some_and(|r| r.incident.signals == 9));
        assert_eq!((memory.incidents.len(), memory.suspects.len()), (INCIDENTS, 200));
        assert!(memory.columns.is_some(), "all shipped features are features of flows");
    }

    #[test]
    fn flows_of_a_story_are_kept_with_the_incident_they_belong_to() {
        let mut memory = Memory::default();
        let found = super::super::tests::play(&mut memory);
        let known = memory.get(found).expect("remembered");
        assert!((1..=FLOWS).contains(&known.flows.len()), "{}", known.flows.len());
        let cells = cells(&known.flows[0]);
        assert_eq!(cells.len(), columns().len());
        assert!(cells.iter().any(|c| c.as_deref() == Some("tcp")), "{cells:?}");
    }
}
