//! Sends figures, flows and windows to a detector elsewhere, and takes what it finds. Whatever becomes of them there, the
//! agent's rules judge and answer by themselves.

use super::outbox::Gathered;
use crate::config::Post;
use crate::exchange;
use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, bounded};
use detect::learned::Finding;
use detect::learned::exchange::{FlowRow, WindowRow, schema_hash};
use enrich::web::{Client, WebError};
use flow::Traffic;
use serde_json::{Value, json};
use server::api::batch::{Batch, BatchAnswer, MAX_FINDINGS, MAX_FLOWS, MAX_WINDOWS, Seconds};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::Addr;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Waits after failures: twice as long each time, from the first to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Bytes of an answer: more than the contract's findings have.
const MAX_ANSWER: u64 = 1 << 20;
/// Sources that the detector may speak of, because rows of theirs were sent lately.
const SOURCES: usize = 65_536;
/// How long it may speak of them: flows of a source are judged together after 10 s.
const SPOKEN_OF: Duration = Duration::from_secs(120);
/// Findings waiting for the agent's thread, which looks many times a second.
const FINDINGS: usize = 1024;

/// Flows and windows that go together, with their number in this run.
struct Rows {
    number: u64,
    until_ns: u64,
    flows: Vec<FlowRow>,
    windows: Vec<WindowRow>,
}

impl Rows {
    const fn len(&self) -> usize {
        self.flows.len() + self.windows.len()
    }
}

/// What waits to be sent.
#[derive(Default)]
struct Waiting {
    figures: VecDeque<Value>,
    rows: VecDeque<Rows>,
    /// Flows and windows among `rows`.
    held: usize,
}

/// One thing to send.
enum Parcel {
    Figures(Value),
    Rows(Rows),
}

impl Parcel {
    const fn kind(&self) -> usize {
        match self {
            Self::Figures(_) => 0,
            Self::Rows(_) => 1,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Figures(_) => "figures",
            Self::Rows(_) => "flows and windows",
        }
    }
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
    stop: AtomicBool,
    failures: AtomicU64,
    dropped: AtomicU64,
    rows_dropped: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be sent next, figures first, after at most half a second.
    fn next(&self) -> Option<Parcel> {
        let take = |waiting: &mut Waiting| {
            if let Some(figures) = waiting.figures.pop_front() {
                return Some(Parcel::Figures(figures));
            }
            let rows = waiting.rows.pop_front()?;
            waiting.held -= rows.len();
            Some(Parcel::Rows(rows))
        };
        let mut waiting = self.waiting();
        if let Some(parcel) = take(&mut waiting) {
            return Some(parcel);
        }
        let half = Duration::from_millis(500);
        let (mut waiting, _) = self.more.wait_timeout(waiting, half).unwrap_or_else(PoisonError::into_inner);
        take(&mut waiting)
    }
}

/// The sender, with a thread of its own.
pub(super) struct Poster {
    shared: Arc<Shared>,
    capacity: usize,
    rows_capacity: usize,
    /// Rows dropped before they came here.
    dropped_before: u64,
    number: u64,
    interval: Duration,
    seconds: VecDeque<Traffic>,
    window: usize,
    due: Instant,
    found: Receiver<Finding>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Poster {
    /// Starts it, if there is a detector to send to. `schema` is that of the rows.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(post: &Post, schema: &[learn::Feature]) -> anyhow::Result<Option<Self>> {
        let Some(url) = post.url.clone() else { return Ok(None) };
        let shared = Arc::new(Shared::default());
        let (finds, found) = bounded(FINDINGS);
        let features: Vec<String> = schema.iter().map(|f| f.name.clone()).collect();
        let hash = schema_hash(&features)
            .map_err(|name| anyhow::anyhow!("there is no feature '{name}' of flows"))?;
        let work = Work {
            shared: Arc::clone(&shared),
            client: Client::new(PATIENCE),
            rows_url: format!("{}/flows", url.trim_end_matches('/')),
            url,
            key: post.key.clone(),
            sensor: post.name.clone(),
            run: format!("{:016x}", RandomState::new().build_hasher().finish()),
            features,
            hash,
            schema: schema.to_vec(),
            spoken_of: HashMap::new(),
            finds,
        };
        let thread = std::thread::Builder::new()
            .name("poster".into())
            .spawn(move || work.run())
            .context("cannot start a thread")?;
        Ok(Some(Self {
            shared,
            capacity: post.queue,
            rows_capacity: post.rows,
            dropped_before: 0,
            number: 0,
            interval: post.interval,
            seconds: VecDeque::new(),
            window: (post.window.as_secs_f64().round() as usize).max(1),
            due: Instant::now(),
            found,
            thread: Some(thread),
        }))
    }

    /// Takes the figures of the last second, about once a second, and has them sent when it is time.
    pub(super) fn take(&mut self, second: &Traffic) {
        if self.seconds.back().is_none_or(|last| last.start_ns != second.start_ns) {
            self.seconds.push_back(*second);
        }
        while self.seconds.len() > self.window {
            self.seconds.pop_front();
        }
        let now = Instant::now();
        // Figures come once a second, a little early or late.
        if now + Duration::from_millis(100) < self.due {
            return;
        }
        self.due = now + self.interval;
        let figures = figures(self.seconds.make_contiguous());
        let mut waiting = self.shared.waiting();
        if waiting.figures.len() >= self.capacity {
            waiting.figures.pop_front();
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.figures.push_back(figures);
        self.shared.more.notify_one();
    }

    /// Takes what was gathered, about once a second, and has it sent. That there was nothing is told, too, as time passes by
    /// it; but not before what waits.
    pub(super) fn take_rows(&mut self, gathered: Gathered) {
        let Gathered { mut flows, mut windows, until_ns, dropped } = gathered;
        self.dropped_before = dropped;
        // Before anything was seen there is no time to tell.
        if until_ns == 0 {
            return;
        }
        let mut waiting = self.shared.waiting();
        if flows.is_empty() && windows.is_empty() && !waiting.rows.is_empty() {
            return;
        }
        let mut more = true;
        while more {
            let rest = Rows {
                number: self.number + 1,
                until_ns,
                flows: front(&mut flows, MAX_FLOWS),
                windows: front(&mut windows, MAX_WINDOWS),
            };
            self.number += 1;
            waiting.held += rest.len();
            waiting.rows.push_back(rest);
            more = !flows.is_empty() || !windows.is_empty();
        }
        // What is new says more than what is old.
        while waiting.held > self.rows_capacity && waiting.rows.len() > 1 {
            if let Some(oldest) = waiting.rows.pop_front() {
                waiting.held -= oldest.len();
                self.shared.rows_dropped.fetch_add(oldest.len() as u64, Ordering::Relaxed);
            }
        }
        self.shared.more.notify_one();
    }

    /// What the detector found since the last call.
    pub(super) fn found(&self) -> impl Iterator<Item = Finding> {
        self.found.try_iter()
    }

    /// Counts a finding that was not believed.
    pub(super) fn refuse(&self) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts to send that failed.
    pub(super) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// What was lost, by name: figures, and flows and windows, dropped because too many waited or the detector refused them;
    /// findings that the detector had no ground for, or that too many came of.
    pub(super) fn losses(&self) -> [(&'static str, u64); 3] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("figures_dropped", of(&self.shared.dropped)),
            ("flow_rows_dropped", of(&self.shared.rows_dropped) + self.dropped_before),
            ("findings_refused", of(&self.shared.refused)),
        ]
    }
}

/// The first of a list, at most `most`; the others stay.
fn front<T>(all: &mut Vec<T>, most: usize) -> Vec<T> {
    let rest = all.split_off(all.len().min(most));
    std::mem::replace(all, rest)
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends figures panicked");
        }
        let waiting = self.shared.waiting();
        if waiting.held > 0 {
            tracing::warn!("{} flows and windows were not sent to the detector any more", waiting.held);
        }
    }
}

/// Figures of some seconds in the contract's words: rates and counts are means, numbers of different things the most of one
/// second, as what is the same in two seconds is not known.
fn figures(seconds: &[Traffic]) -> Value {
    let n = seconds.len().max(1) as f64;
    let mean = |of: fn(&Traffic) -> u64| seconds.iter().map(|t| of(t) as f64).sum::<f64>() / n;
    let most = |of: fn(&Traffic) -> u32| seconds.iter().map(of).max().unwrap_or(0);
    json!({
        "packets_per_second": mean(|t| t.packets_per_second),
        "bytes_per_second": mean(|t| t.bytes_per_second),
        "unique_ips": most(|t| t.unique_ips),
        "unique_ports": most(|t| t.unique_ports),
        "tcp_packets": mean(|t| t.tcp_packets).round(),
        "udp_packets": mean(|t| t.udp_packets).round(),
        "syn_packets": mean(|t| t.syn_packets).round(),
        "time": seconds.last().map_or(0.0, |t| t.start_ns as f64 / 1e9),
    })
}

/// What the thread owns.
struct Work {
    shared: Arc<Shared>,
    client: Client,
    url: String,
    rows_url: String,
    key: Option<String>,
    sensor: String,
    run: String,
    features: Vec<String>,
    hash: String,
    schema: Vec<learn::Feature>,
    /// Sources of rows that were sent, and when.
    spoken_of: HashMap<Addr, Instant>,
    finds: Sender<Finding>,
}

impl Work {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut wait = BACKOFF[0];
        // Of figures and of rows: either may be refused while the other is taken.
        let mut away = [false; 2];
        let mut held = None;
        while !shared.stop.load(Ordering::Relaxed) {
            let Some(parcel) = held.take().or_else(|| shared.next()) else { continue };
            let failed = match self.send(&parcel) {
                Ok(()) => {
                    if std::mem::take(&mut away[parcel.kind()]) {
                        tracing::info!("the detector takes {} again", parcel.name());
                    }
                    wait = BACKOFF[0];
                    continue;
                }
                Err(e) => e,
            };
            shared.failures.fetch_add(1, Ordering::Relaxed);
            let told = std::mem::replace(&mut away[parcel.kind()], true);
            // Sending it again would not make it any better.
            if let WebError::Refused(status, why) = &failed
                && (400..500).contains(status)
                && *status != 429
                && *status != 408
            {
                if !told {
                    let url = if parcel.kind() == 0 { &self.url } else { &self.rows_url };
                    let hint = match status {
                        401 | 403 => "; is the key of post.key_file right?",
                        404 | 405 => "; is that a detector's?",
                        _ => "",
                    };
                    tracing::error!("{url} refuses {} with status {status}: {why}{hint}", parcel.name());
                }
                self.drop_parcel(&parcel);
            } else if let WebError::Answer(why) = &failed {
                if !told {
                    tracing::error!("what {} answers cannot be used: {why}", self.url);
                }
                self.drop_parcel(&parcel);
            } else {
                if !told {
                    tracing::warn!(
                        "{} cannot be sent to {}: {failed}; judging goes on without",
                        parcel.name(),
                        self.url
                    );
                }
                held = Some(parcel);
                pause(&shared, wait);
                wait = (wait * 2).min(BACKOFF[1]);
            }
        }
        if let Some(Parcel::Rows(rows)) = held {
            shared.waiting().held += rows.len();
        }
    }

    fn drop_parcel(&self, parcel: &Parcel) {
        match parcel {
            Parcel::Figures(_) => self.shared.dropped.fetch_add(1, Ordering::Relaxed),
            Parcel::Rows(rows) => self.shared.rows_dropped.fetch_add(rows.len() as u64, Ordering::Relaxed),
        };
    }

    fn send(&mut self, parcel: &Parcel) -> Result<(), WebError> {
        let header = self.key.as_deref().map(|k| ("x-api-key", k));
        match parcel {
            Parcel::Figures(figures) => {
                self.client.post(&self.url, header, figures.to_string().as_bytes(), MAX_ANSWER).map(drop)
            }
            Parcel::Rows(rows) => {
                let batch = Batch {
                    sensor: self.sensor.clone(),
                    run: self.run.clone(),
                    number: rows.number,
                    time: Seconds::of(rows.until_ns),
                    schema: self.hash.clone(),
                    features: self.features.clone(),
                    flows: rows.flows.iter().map(|r| exchange::flow_body(&self.schema, r)).collect(),
                    windows: rows.windows.iter().map(exchange::window_body).collect(),
                };
                let body = serde_json::to_vec(&batch).map_err(|e| WebError::Answer(e.to_string()))?;
                let answer = self.client.post(&self.rows_url, header, &body, MAX_ANSWER)?;
                self.sent(rows);
                self.answered(&answer)
            }
        }
    }

    /// Remembers whose rows were sent.
    fn sent(&mut self, rows: &Rows) {
        let now = Instant::now();
        let flows = rows.flows.iter().map(|r| r.flow.key.source(r.flow.initiator).0);
        for source in flows.chain(rows.windows.iter().map(|w| w.observed.addr)) {
            if self.spoken_of.len() >= SOURCES && !self.spoken_of.contains_key(&source) {
                self.spoken_of.retain(|_, at| now.duration_since(*at) <= SPOKEN_OF);
                if self.spoken_of.len() >= SOURCES {
                    // So many at once are forged ones; what is found of them is refused, and counted.
                    continue;
                }
            }
            self.spoken_of.insert(source, now);
        }
    }

    /// Takes what was found, as far as it can be believed: of sources whose rows were sent lately, in words that are known.
    fn answered(&self, answer: &[u8]) -> Result<(), WebError> {
        let answer: BatchAnswer = serde_json::from_slice(answer)
            .map_err(|_| WebError::Answer("it is no answer to flows".to_owned()))?;
        let mut refused = answer.findings.len().saturating_sub(MAX_FINDINGS) as u64;
        for body in answer.findings.iter().take(MAX_FINDINGS) {
            let known =
                |f: &Finding| self.spoken_of.get(&f.source).is_some_and(|at| at.elapsed() <= SPOKEN_OF);
            let taken = exchange::finding(body).filter(known).is_some_and(|f| self.finds.try_send(f).is_ok());
            refused += u64::from(!taken);
        }
        self.shared.refused.fetch_add(refused, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits, but not beyond the end.
fn pause(shared: &Shared, wait: Duration) {
    let until = Instant::now() + wait;
    while !shared.stop.load(Ordering::Relaxed) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50).min(wait));
    }
}

#[cfg(test)]
mod tests;
