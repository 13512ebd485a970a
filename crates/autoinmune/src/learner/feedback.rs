//! What operators say of incidents: kept, applied, and learnt from.
//!
//! "It was an attack" makes flows and windows of the incident labelled samples. "It was none" makes them samples of normal
//! traffic, and an exception from the rules that spoke, for that source and a limited time. What was said outlives the
//! process in `feedback.json` of the state directory, can be listed, and can be taken back.

use super::flows::Labelled;
use super::memory::{Remembered, Values};
use crate::keep;
use detect::exception::MAX_EXCEPTIONS;
use detect::{Actor, Class, Exception, Origin};
use serde::{Deserialize, Serialize};
use server::view::{FeedbackView, LabelledView};
use std::path::{Path, PathBuf};
use wire::Addr;

/// Version of the file. Another one is not read.
const VERSION: u32 = 1;
/// Name of the file.
const FILE: &str = "feedback.json";
/// Largest file read: above what [`MOST_CONFIRMED`] and [`MAX_EXCEPTIONS`] entries can have.
const MAX_BYTES: u64 = 64 << 20;
/// Confirmed attacks kept; the oldest makes room.
const MOST_CONFIRMED: usize = 512;

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An attack.
    Attack,
    /// None.
    NoAttack,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::NoAttack => "no_attack",
        }
    }
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Number by which it is taken back.
    pub id: u64,
    /// What.
    pub verdict: Verdict,
    /// Of which incident of that run.
    pub incident: u64,
    /// Whose doing it was.
    pub source: Addr,
    /// Class of threat.
    pub class: Class,
    /// Rules and learned detectors that spoke.
    pub rules: Vec<String>,
    /// When it was said, ns.
    pub at_ns: u64,
    /// Of no attack: until when the rules are not heard about the source, ns.
    pub until_ns: Option<u64>,
    /// Reason.
    pub why: String,
    /// Flows of the incident, by [`super::memory::columns`].
    pub flows: Vec<Values>,
    /// Sequences of windows of it.
    pub windows: Vec<Values>,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    next: u64,
    /// Features that flows have values of. Flows kept by a program with others are not learnt from.
    columns: Vec<String>,
    /// Likewise of windows.
    window_columns: Vec<String>,
    entries: Vec<Entry>,
}

impl Kept {
    fn empty() -> Self {
        Self {
            version: VERSION,
            next: 1,
            columns: super::memory::columns(),
            window_columns: super::memory::window_columns(),
            entries: Vec::new(),
        }
    }
}

/// Why something that was said is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// Nobody to speak of.
    #[error("incident {0} has many or forged senders; there is no source to learn about")]
    NoSource(u64),
    /// Only models said so.
    #[error(
        "incident {0} rests on learned detectors alone; models must not confirm themselves, a rule must have spoken too"
    )]
    OnlyLearned(u64),
    /// Too many.
    #[error(
        "there are {MAX_EXCEPTIONS} exceptions already; take one back (autoinmune feedback list, autoinmune feedback remove)"
    )]
    Full,
}

/// What was said so far. At most [`MOST_CONFIRMED`] attacks and [`MAX_EXCEPTIONS`] exceptions, with as many flows and windows each
/// as [`super::memory`] keeps.
#[derive(Debug)]
pub struct Feedback {
    /// Where it is kept; `None` keeps nothing, as in a simulation.
    path: Option<PathBuf>,
    kept: Kept,
}

impl Feedback {
    /// What is kept in a state directory. A file that is not understood is put aside and reported: exceptions are lost then,
    /// which gives more alarms, not fewer.
    pub fn open(state_dir: Option<&Path>) -> Self {
        let path = state_dir.map(|dir| dir.join(FILE));
        let kept = path.as_deref().and_then(|path| match read(path) {
            Ok(kept) => kept,
            Err(why) => {
                keep::put_aside(path, &why);
                None
            }
        });
        let kept = kept.unwrap_or_else(Kept::empty);
        Self { path, kept }
    }

    /// Takes in what was said of an incident.
    ///
    /// # Errors
    /// Why not.
    pub fn add(
        &mut self,
        said: Verdict,
        about: &Remembered,
        now_ns: u64,
        until_ns: Option<u64>,
        why: &str,
    ) -> Result<&Entry, FeedbackError> {
        let incident = &about.incident;
        let Actor::Source { addr } = incident.actor else {
            return Err(FeedbackError::NoSource(incident.id));
        };
        if said == Verdict::Attack && !incident.origins.contains(&Origin::Rule) {
            return Err(FeedbackError::OnlyLearned(incident.id));
        }
        self.expire(now_ns);
        // The latest word counts.
        let same = |e: &Entry| e.source == addr && e.incident == incident.id && e.rules == incident.rules;
        self.kept.entries.retain(|e| !same(e));
        let of = |v: Verdict, kept: &Kept| kept.entries.iter().filter(|e| e.verdict == v).count();
        match said {
            Verdict::NoAttack if of(said, &self.kept) >= MAX_EXCEPTIONS => return Err(FeedbackError::Full),
            Verdict::Attack if of(said, &self.kept) >= MOST_CONFIRMED => {
                if let Some(oldest) = self.kept.entries.iter().position(|e| e.verdict == said) {
                    self.kept.entries.remove(oldest);
                }
            }
            _ => {}
        }
        self.kept.entries.push(Entry {
            id: self.kept.next,
            verdict: said,
            incident: incident.id,
            source: addr,
            class: incident.class,
            rules: incident.rules.clone(),
            at_ns: now_ns,
            until_ns: until_ns.filter(|_| said == Verdict::NoAttack),
            why: why.to_owned(),
            flows: about.flows.clone(),
            windows: about.windows.clone(),
        });
        self.kept.next += 1;
        self.write();
        self.kept.entries.last().ok_or(FeedbackError::Full)
    }

    /// Takes back what was said.
    pub fn remove(&mut self, id: u64) -> Option<Entry> {
        let at = self.kept.entries.iter().position(|e| e.id == id)?;
        let entry = self.kept.entries.remove(at);
        self.write();
        Some(entry)
    }

    /// Ends exceptions whose time is over. Their samples go with them: what was harmless for a time need not stay so.
    pub fn expire(&mut self, now_ns: u64) -> bool {
        let before = self.kept.entries.len();
        self.kept.entries.retain(|e| e.until_ns.is_none_or(|until| now_ns < until));
        let ended = before != self.kept.entries.len();
        if ended {
            self.write();
        }
        ended
    }

    /// Everything that was said, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.kept.entries
    }

    /// Exceptions in force.
    pub fn exceptions(&self) -> Vec<Exception> {
        let except =
            |e: &Entry| Some(Exception { source: e.source, rules: e.rules.clone(), until_ns: e.until_ns? });
        self.kept.entries.iter().filter_map(except).collect()
    }

    /// Flows with their class, for the classifier of flows to learn.
    pub fn flows(&self) -> Vec<Labelled> {
        let known = self.kept.columns == super::memory::columns();
        let of = |e: &Entry| {
            let class = class(e);
            let entry = e.id;
            let row = |flow: &Values| flow.iter().map(|v| v.unwrap_or(f32::NAN)).collect();
            let labelled = |f: &Values| Labelled { entry, class: class.to_owned(), row: row(f) };
            e.flows.iter().map(labelled).collect::<Vec<_>>()
        };
        self.kept.entries.iter().filter(|_| known).flat_map(of).collect()
    }

    /// Flows with their class, as a table.
    pub fn labelled(&self) -> LabelledView {
        let columns = super::memory::columns();
        let rows =
            self.kept.entries.iter().flat_map(|e| {
                e.flows.iter().map(move |flow| (super::memory::cells(flow), class(e).to_owned()))
            });
        // Of other features, their values would be taken for something else.
        let known = self.kept.columns == columns;
        LabelledView { rows: rows.filter(|_| known).collect(), columns }
    }

    /// Windows of confirmed attacks.
    pub fn attack_windows(&self) -> impl Iterator<Item = (Addr, &Values)> {
        let known = self.kept.window_columns == super::memory::window_columns();
        let attacks = self.kept.entries.iter().filter(move |e| known && e.verdict == Verdict::Attack);
        attacks.flat_map(|e| e.windows.iter().map(|w| (e.source, w)))
    }

    fn write(&self) {
        let Some(path) = &self.path else { return };
        if let Err(e) = write(path, &self.kept) {
            tracing::error!("cannot keep feedback in {}: {e}", path.display());
        }
    }
}

/// What its flows are of.
fn class(e: &Entry) -> &'static str {
    match e.verdict {
        Verdict::Attack => e.class.name(),
        Verdict::NoAttack => flow::label::BENIGN,
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let Some(bytes) = keep::read(path, MAX_BYTES)? else { return Ok(None) };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} where {VERSION} is known", kept.version));
    }
    Ok(Some(kept))
}

fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    keep::write(path, &serde_json::to_vec(kept)?)
}

/// As shown.
pub fn view(e: &Entry) -> FeedbackView {
    FeedbackView {
        id: e.id,
        verdict: e.verdict.name().to_owned(),
        incident: e.incident,
        source: e.source,
        class: e.class.name().to_owned(),
        rules: e.rules.clone(),
        at_ns: e.at_ns,
        until_ns: e.until_ns,
        why: e.why.clone(),
        flows: e.flows.len() as u64,
        windows: e.windows.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::{incident, remembered};
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aim-feedback-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn what_was_said_outlives_the_process_and_can_be_taken_back() {
        let dir = dir("kept");
        let mut book = Feedback::open(Some(&dir));
        let about = remembered(incident(7, 1, &["scan-vertical"], Origin::Rule));
        let id = book.add(Verdict::Attack, &about, 5, None, "seen in the log").unwrap().id;
        let other = remembered(incident(8, 2, &["ssh-guessing"], Origin::Rule));
        book.add(Verdict::NoAttack, &other, 6, Some(DAY), "our own test").unwrap();
        let mut again = Feedback::open(Some(&dir));
        assert_eq!(again.entries(), book.entries());
        assert_eq!(again.entries()[0].flows, about.flows);
        let exceptions = again.exceptions();
        assert_eq!((exceptions.len(), exceptions[0].until_ns), (1, DAY));
        assert_eq!(exceptions[0].rules, ["ssh-guessing"]);
        let labelled = again.labelled();
        let classes: Vec<&str> = labelled.rows.iter().map(|(_, class)| class.as_str()).collect();
        assert_eq!(classes, ["port_scan", "port_scan", "benign", "benign"]);
        assert!(labelled.rows.iter().all(|(values, _)| values.len() == labelled.columns.len()));
        assert_eq!(again.attack_windows().count(), 1);
        assert!(again.remove(id).is_some() && again.remove(id).is_none());
        assert!(again.expire(DAY) && Feedback::open(Some(&dir)).entries().is_empty());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_latest_word_counts_and_there_are_bounds() {
        let mut book = Feedback::open(None);
        let about = remembered(incident(7, 1, &["scan-vertical"], Origin::Rule));
        book.add(Verdict::NoAttack, &about, 5, Some(DAY), "").unwrap();
        book.add(Verdict::Attack, &about, 6, None, "").unwrap();
        assert_eq!((book.entries().len(), book.exceptions().len()), (1, 0));
        for n in 0..MAX_EXCEPTIONS as u64 {
            let about = remembered(incident(100 + n, 1, &["r"], Origin::Rule));
            book.add(Verdict::NoAttack, &about, 7, Some(DAY), "").unwrap();
        }
        let more = remembered(incident(9, 1, &["r"], Origin::Rule));
        assert_eq!(book.add(Verdict::NoAttack, &more, 8, Some(DAY), ""), Err(FeedbackError::Full));
        assert!(book.add(Verdict::NoAttack, &more, 2 * DAY, Some(3 * DAY), "").is_ok(), "those had ended");
        for n in 0..MOST_CONFIRMED as u64 {
            let about = remembered(incident(1000 + n, 1, &["r"], Origin::Rule));
            book.add(Verdict::Attack, &about, 9, None, "").unwrap();
        }
        let attacks = book.entries().iter().filter(|e| e.verdict == Verdict::Attack);
        assert_eq!(attacks.count(), MOST_CONFIRMED);
    }

    #[test]
    fn models_do_not_confirm_themselves() {
        let mut book = Feedback::open(None);
        let learned = remembered(incident(7, 1, &["learned-windows"], Origin::LearnedWindow));
        assert_eq!(book.add(Verdict::Attack, &learned, 5, None, ""), Err(FeedbackError::OnlyLearned(7)));
        assert!(book.add(Verdict::NoAttack, &learned, 5, Some(DAY), "").is_ok());
        let mut forged = incident(8, 1, &["syn-flood"], Origin::Rule);
        forged.actor = Actor::Distributed { target: Addr::v4([192, 0, 2, 9]) };
        let said = book.add(Verdict::Attack, &remembered(forged), 5, None, "");
        assert_eq!(said, Err(FeedbackError::NoSource(8)));
    }

    #[test]
    fn a_file_that_is_not_understood_is_put_aside() {
        let dir = dir("broken");
        for text in ["{", "{\"version\":2,\"next\":1,\"columns\":[],\"window_columns\":[],\"entries\":[]}"] {
            std::fs::write(dir.join(FILE), text).unwrap();
            assert!(Feedback::open(Some(&dir)).entries().is_empty());
            assert_eq!(std::fs::read_to_string(dir.join("feedback.json.unread")).unwrap(), text);
            assert!(!dir.join(FILE).exists());
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
