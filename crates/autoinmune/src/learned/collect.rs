//! Flows and windows of captures through the one line, with what is known of them: what the learned detectors train on.

use crate::config::Config;
use crate::engine::{self, Captures};
use crate::exit::{Exit, fail};
use crate::line::{Line, Tap};
use crate::replay;
use detect::learned::JudgedWindow;
use detect::learned::calibrate::FlowSample;
use detect::learned::ensemble::{hour_of_week, source_key};
use detect::learned::fit::{Known, Sample};
use detect::learned::flows::is_due;
use detect::learned::row::Columns;
use detect::learned::watch::end_of;
use detect::{Signal, Update};
use flow::feature::Subject;
use flow::label::BENIGN;
use flow::{Conversation, EndReason, FlowRecord, Labels, Recent};
use learn::random::Random;
use respond::Decision;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use wire::Addr;
use wire::message::{Message, Side};

/// Flows of one class kept of a capture: a flood has hundreds of thousands that are all alike.
const MOST_FLOWS: usize = 2000;

/// What is known of a capture.
#[derive(Clone, Debug)]
pub enum Truth {
    /// A label file says it of each flow.
    Labels(Labels),
    /// All of it is of one class.
    Class(String),
}

/// How a capture is collected.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The capture.
    pub path: &'a Path,
    /// What is known of it.
    pub truth: Truth,
    /// How sure it is that what is benign by that is usual too, 0..=1.
    pub confidence: f32,
    /// What stands for the capture in samples.
    pub group: u64,
    /// Hours of the week mean nothing where captures are of other networks: all windows then are of hour 0.
    pub timeless: bool,
}

/// What came of captures.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Flows that ended or had grown.
    pub flows: Vec<FlowSample>,
    /// The class of each.
    pub classes: Vec<String>,
    /// Windows worth judging.
    pub windows: Vec<Known>,
}

struct Collector<'a> {
    request: &'a Request<'a>,
    columns: &'a Columns,
    recent: Recent,
    random: Random,
    /// Flows by class: how many there were, and those kept.
    flows: BTreeMap<String, (usize, Vec<FlowSample>)>,
    /// Times of flows that are of attacks, by who began them.
    attacks: HashMap<Addr, Vec<(u64, u64)>>,
    windows: Vec<JudgedWindow>,
    row: Vec<f32>,
}

impl Collector<'_> {
    fn add(&mut self, at_ns: u64, record: &FlowRecord, ended: bool) {
        let class = match &self.request.truth {
            Truth::Class(class) => class.as_str(),
            Truth::Labels(labels) => labels.of(record).map_or(BENIGN, |l| l.class.as_str()),
        };
        let source = record.initiator().0;
        if class != BENIGN {
            self.attacks.entry(source).or_default().push((record.first_ns(), record.last_ns()));
        }
        let shared = if ended { self.recent.push(record) } else { self.recent.clone().push(record) };
        self.columns.fill(&Subject { record, shared }, &mut self.row);
        let sample = FlowSample {
            source: source_key(source),
            group: self.request.group,
            at_ns,
            row: self.row.clone(),
        };
        if !self.flows.contains_key(class) {
            self.flows.insert(class.to_owned(), (0, Vec::new()));
        }
        if let Some((seen, kept)) = self.flows.get_mut(class) {
            *seen += 1;
            // A reservoir: each flow is kept with the same chance (Vitter, 1985).
            let place = if kept.len() < MOST_FLOWS { kept.len() } else { self.random.below(*seen) };
            if place == kept.len() {
                kept.push(sample);
            } else if let Some(old) = kept.get_mut(place) {
                *old = sample;
            }
        }
    }

    fn finish(self, out: &mut Collected) {
        for (class, (_, flows)) in self.flows {
            out.classes.extend(std::iter::repeat_n(class, flows.len()));
            out.flows.extend(flows);
        }
        for JudgedWindow { observed, .. } in self.windows {
            let within =
                |(first, last): &(u64, u64)| *first < end_of(observed.start_ns) && *last >= observed.start_ns;
            let attack = self.attacks.get(&observed.addr).is_some_and(|times| times.iter().any(within));
            let hour = if self.request.timeless { 0 } else { hour_of_week(observed.start_ns) };
            out.windows.push(Known {
                sample: Sample {
                    source: source_key(observed.addr),
                    group: self.request.group,
                    hour,
                    start_ns: observed.start_ns,
                    confidence: self.request.confidence,
                    sequence: observed.sequence,
                },
                attack,
            });
        }
    }
}

impl Tap for Collector<'_> {
    fn flow(&mut self, at_ns: u64, record: &FlowRecord, reason: EndReason) {
        self.add(at_ns, record, reason != EndReason::Active);
    }

    fn grown(&mut self, at_ns: u64, record: &FlowRecord) {
        if is_due(record) {
            self.add(at_ns, record, false);
        }
    }

    fn window(&mut self, window: &JudgedWindow) {
        self.windows.push(window.clone());
    }

    fn message(&mut self, _: u64, _: &Conversation, _: Side, _: &Message) {}

    fn incident(&mut self, _: u64, _: &Update, _: Option<&Signal>, _: Option<&Decision>) {}

    fn decision(&mut self, _: &Decision) {}

    fn anomaly(&mut self, _: u64, _: &'static str, _: u64) {}
}

/// Collects the flows and windows of a capture.
///
/// # Errors
/// Nothing of the capture can be read.
pub fn collect(
    config: &Config,
    columns: &Columns,
    request: &Request<'_>,
    out: &mut Collected,
) -> anyhow::Result<()> {
    let paths = [request.path.to_path_buf()];
    let mut captures = Captures::new(&paths, engine::BLOCK_INLINE);
    let mut line_config = replay::shadow_line_config(config);
    line_config.judge.models = detect::learned::Models::default();
    line_config.judge.tell_windows = true;
    let mut collector = Collector {
        request,
        columns,
        recent: Recent::default(),
        random: Random::new(request.group, 0),
        flows: BTreeMap::new(),
        attacks: HashMap::new(),
        windows: Vec::new(),
        row: Vec::new(),
    };
    replay::inline(&mut captures, Line::new(line_config), &mut collector);
    collector.finish(out);
    match captures.files() {
        [file, ..] if file.packets == 0 => {
            let why = file.error.clone().unwrap_or_else(|| "it holds no packets".into());
            Err(fail(Exit::Input, format!("{}: {why}", request.path.display())))
        }
        _ => Ok(()),
    }
}
