//! The thread that writes and scores the rows of a capture.

use super::place::Locate;
use crate::agent::tap::FlowSink;
use crate::exit::{Exit, fail};
use crate::summary::rfc3339;
use crate::truth::labels_of;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use dataset::manifest::Run;
use dataset::{Dataset, FlowColumns, Format, Goals, Manifest, PartLimits, Parts, Row, Score, Scorer};
use flow::feature::Set;
use flow::{EndReason, FlowRecord, Label, Labels};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Flows handed over together.
const BATCH: usize = 512;
/// Batches under way: 128k flows, some 80 MB, which a burst of ten seconds may fill.
const BATCHES: usize = 256;
/// How often rows are handed to the system, the score is taken and the label file is looked at.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the manifest is written.
const KEEP: Duration = Duration::from_secs(10);
/// A part is full after a million rows of CSV, or ten minutes of Parquet, which without its end is lost.
const PARQUET_SPAN_NS: u64 = 600_000_000_000;

type Flow = (FlowRecord, EndReason);

/// What is known of the flows.
pub enum Truthing {
    /// Nothing.
    Unknown,
    /// They are all of one class.
    Class(String),
    /// What a file says, and said when it was last read.
    File(PathBuf, Labels),
}

/// What does not change during a capture.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Interfaces watched.
    pub interfaces: Vec<String>,
    /// How.
    pub sensor: String,
    /// How long the dataset is to be kept.
    pub retention: Option<String>,
    /// Whether packets are kept.
    pub payload: Option<String>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Packets.
    pub packets: u64,
    /// Losses by reason.
    pub losses: BTreeMap<String, u64>,
    /// When this was so, ns since 1970.
    pub at_ns: u64,
}

/// How the capture stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Score of the whole dataset, earlier runs included.
    pub score: Score,
    /// Rows of this run.
    pub rows: u64,
    /// Packets of this run.
    pub packets: u64,
    /// Flows and packets lost in this run.
    pub lost: u64,
    /// Whether writing failed.
    #[serde(skip)]
    pub failed: bool,
}

struct Shared {
    status: Mutex<Status>,
    seen: Mutex<Seen>,
    not_written: AtomicU64,
}

/// The thread, and the way to it.
pub struct Writer {
    outbox: Rc<RefCell<Outbox>>,
    shared: Arc<Shared>,
    thread: JoinHandle<dataset::Result<()>>,
}

struct Outbox {
    sender: Sender<Vec<Flow>>,
    batch: Vec<Flow>,
    /// Whether to wait where the channel is full.
    patient: bool,
    shared: Arc<Shared>,
}

impl Outbox {
    fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if self.patient {
            // Fails only if the thread has ended, which says why.
            let _ = self.sender.send(batch);
        } else if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) =
            self.sender.try_send(batch)
        {
            self.shared.not_written.fetch_add(lost.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// Opens the dataset and starts the thread.
    ///
    /// # Errors
    /// If the directory holds something else, or cannot be written.
    pub fn start(
        dir: &Path,
        format: Format,
        truth: Truthing,
        places: impl Locate + 'static,
        facts: Facts,
    ) -> anyhow::Result<Self> {
        let input = |e: dataset::Error| fail(Exit::Input, e.to_string());
        let columns = FlowColumns::with_places_and_labels(&Set::ALL);
        let limits = match format {
            Format::Csv => PartLimits::default(),
            Format::Parquet => PartLimits { span_ns: PARQUET_SPAN_NS, ..PartLimits::default() },
        };
        let (parts, lost) = Parts::resume(dir, columns.schema(), format, limits).map_err(input)?;
        if lost > 0 {
            tracing::warn!(
                "{}: {lost} parts of an earlier capture were cut off and could not be saved",
                dir.display()
            );
        }
        let mut manifest =
            Manifest::load(dir).map_err(input)?.unwrap_or_else(|| Manifest::new(&columns.schema(), format));
        if manifest.anonymised != "none" {
            let what =
                format!("{} is anonymised; addresses in the clear may not be added to it", dir.display());
            return Err(fail(Exit::Input, what));
        }
        manifest.windows = "adaptive".into();
        if let Some(text) = &facts.retention {
            manifest.retention.clone_from(text);
        }
        if let Some(text) = &facts.payload {
            manifest.payload.clone_from(text);
        }
        let mut scorer = Scorer::new(&columns.schema(), Goals::default());
        if Dataset::open(dir).is_ok_and(|d| !d.files().is_empty()) {
            Dataset::open(dir)
                .and_then(|d| {
                    d.rows(|row| {
                        scorer.add(row);
                        Ok(())
                    })
                })
                .map_err(input)?;
        }
        manifest.rows = scorer.rows();
        manifest.runs.push(Run {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            start: rfc3339(crate::agent::wall_ns()),
            end: rfc3339(crate::agent::wall_ns()),
            interfaces: facts.interfaces,
            sensor: facts.sensor,
            ..Run::default()
        });
        let status = Status { score: scorer.score(), rows: 0, packets: 0, lost: 0, failed: false };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            seen: Mutex::new(Seen { at_ns: crate::agent::wall_ns(), ..Seen::default() }),
            not_written: AtomicU64::new(0),
        });
        let (sender, receiver) = crossbeam_channel::bounded(BATCHES);
        let work = Work {
            dir: dir.to_owned(),
            columns,
            parts,
            scorer,
            manifest,
            truth,
            labels_read: SystemTime::now(),
            places: Box::new(places),
            shared: Arc::clone(&shared),
        };
        work.manifest.save(dir).map_err(input)?;
        let failed = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("dataset".into()).spawn(move || {
            let result = work.run(&receiver);
            if result.is_err() {
                failed.status.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
            }
            result
        })?;
        let outbox =
            Outbox { sender, batch: Vec::with_capacity(BATCH), patient: false, shared: Arc::clone(&shared) };
        Ok(Self { outbox: Rc::new(RefCell::new(outbox)), shared, thread })
    }

    /// Takes flows that ended.
    pub fn sink(&self) -> FlowSink {
        let outbox = Rc::clone(&self.outbox);
        Box::new(move |record, reason| {
            let mut outbox = outbox.borrow_mut();
            outbox.batch.push((*record, reason));
            if outbox.batch.len() >= BATCH {
                outbox.send();
            }
        })
    }

    /// Hands over what is left of a batch.
    pub fn hand_over(&self) {
        self.outbox.borrow_mut().send();
    }

    /// From now on the writer is waited for: there is no traffic to lose any more.
    pub fn be_patient(&self) {
        self.outbox.borrow_mut().patient = true;
    }

    /// Tells what was seen.
    pub fn tell(&self, seen: Seen) {
        *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the dataset.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(self) -> anyhow::Result<Status> {
        let Self { outbox, shared, thread } = self;
        outbox.borrow_mut().send();
        // The tap's end of it is gone; with this one the channel closes and the thread ends.
        drop(outbox);
        match thread.join() {
            Ok(result) => result.map_err(|e| fail(Exit::Failure, e.to_string()))?,
            Err(_) => return Err(fail(Exit::Failure, "the writer of the dataset panicked")),
        }
        Ok(shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What the thread owns.
struct Work {
    dir: PathBuf,
    columns: FlowColumns,
    parts: Parts,
    scorer: Scorer,
    manifest: Manifest,
    truth: Truthing,
    labels_read: SystemTime,
    places: Box<dyn Locate>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self, receiver: &Receiver<Vec<Flow>>) -> dataset::Result<()> {
        let one_class = match &self.truth {
            Truthing::Class(class) => Some(Label { class: class.clone(), ..Label::default() }),
            _ => None,
        };
        let benign = Label::default();
        let (mut flushed, mut kept) = (Instant::now(), Instant::now());
        let mut row = Row::new();
        loop {
            match receiver.recv_timeout(FLUSH) {
                Ok(batch) => {
                    for (record, reason) in &batch {
                        let places =
                            [record.initiator().0, record.responder().0].map(|a| self.places.place(a));
                        let label = match &self.truth {
                            Truthing::Unknown => None,
                            Truthing::Class(_) => one_class.as_ref(),
                            Truthing::File(_, labels) => Some(labels.of(record).unwrap_or(&benign)),
                        };
                        self.columns.row(record, *reason, [&places[0], &places[1]], label, &mut row);
                        self.scorer.add(&row);
                        self.parts.row(&row, record.last_ns())?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if flushed.elapsed() >= FLUSH {
                flushed = Instant::now();
                self.parts.flush()?;
                self.look_at_labels();
                self.publish();
                if kept.elapsed() >= KEEP {
                    kept = Instant::now();
                    self.manifest.save(&self.dir)?;
                }
            }
        }
        self.publish();
        if let Some(run) = self.manifest.runs.last_mut() {
            run.clean = true;
        }
        self.manifest.save(&self.dir)?;
        self.parts.finish().map(drop)
    }

    /// Reads the label file again if it changed; one that is half written is left for the next look.
    fn look_at_labels(&mut self) {
        let Truthing::File(path, labels) = &mut self.truth else { return };
        let changed = std::fs::metadata(&*path).and_then(|m| m.modified());
        if changed.is_ok_and(|at| at > self.labels_read) {
            let now = SystemTime::now();
            match labels_of(path) {
                Ok(read) => {
                    *labels = read;
                    self.labels_read = now;
                }
                Err(e) => tracing::debug!("{e:#}"),
            }
        }
    }

    fn publish(&mut self) {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.losses.insert("flows_not_written".into(), self.shared.not_written.load(Ordering::Relaxed));
        let rows = self.parts.rows();
        self.manifest.rows = self.scorer.rows();
        let mut lost = 0;
        if let Some(run) = self.manifest.runs.last_mut() {
            run.end = rfc3339(seen.at_ns);
            run.packets = seen.packets;
            run.rows = rows;
            run.losses = seen.losses;
            lost = run.lost();
        }
        let (packets, all_lost) = self.manifest.packets();
        self.scorer.set_packets(packets, all_lost);
        self.scorer.set_runs(self.manifest.spans());
        let score = self.scorer.score();
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = Status { score, rows, packets: seen.packets, lost, failed: status.failed };
    }
}
