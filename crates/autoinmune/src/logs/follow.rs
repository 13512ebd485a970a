//! The thread that follows all logs, and what the agent has of it.

use super::journal::Journal;
use super::tail::{self, Tail, Trouble};
use super::{FollowJournal, Settings, clock, formats};
use auth::{Clock, LoginEvent, Parser};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often logs are looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Events handed over at once.
const BATCH: usize = 1024;
/// Batches under way. Beyond, reading waits: what is in a file can still be read later.
const BATCHES: usize = 32;
/// How long reading waits for the agent before events are dropped, counted.
const PATIENCE: Duration = Duration::from_secs(1);
/// Events that the agent takes in one turn, so that packets get theirs.
const PORTION: usize = 16_384;

/// What was counted.
#[derive(Debug, Default)]
struct Counters {
    lines: AtomicU64,
    recognised: AtomicU64,
    events: AtomicU64,
    dropped: AtomicU64,
    cut: AtomicU64,
    untrusted: AtomicU64,
    unreadable: AtomicU64,
}

/// Everything that is followed.
pub struct Follower {
    receiver: Receiver<Vec<LoginEvent>>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts following what the settings say; `None` where there is nothing to follow.
    ///
    /// # Errors
    /// Formats that cannot be used, or a thread that cannot be started.
    pub fn start(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let set = Arc::new(formats(settings.formats_dir.as_deref())?);
        if settings.enabled == super::Enabled::Off {
            return Ok(None);
        }
        let files = settings.files(&set);
        let journal = match settings.journal {
            FollowJournal::On => true,
            FollowJournal::Off => false,
            FollowJournal::Auto => {
                settings.enabled == super::Enabled::Auto
                    && files.iter().all(|(_, format)| format.is_some())
                    && has_journal()
            }
        };
        if files.is_empty() && !journal {
            tracing::info!("no logs to follow: none of the usual files is there, and no journal");
            return Ok(None);
        }
        let named: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        if !named.is_empty() {
            tracing::info!("following {}", named.join(", "));
        }
        if journal {
            tracing::info!("following the journal");
        }
        let mut facilities: Vec<u8> =
            set.formats().iter().flat_map(|f| f.facilities.iter().copied()).collect();
        facilities.sort_unstable();
        facilities.dedup();
        let (sender, receiver) = crossbeam_channel::bounded(BATCHES);
        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let mut reader = Reader {
            parser: Parser::new(set),
            files: files.into_iter().map(|(path, format)| (Tail::new(path), format)).collect(),
            journal: journal.then(|| Journal::new(facilities)),
            sender,
            counters: Arc::clone(&counters),
            told: BTreeMap::new(),
            batch: Vec::with_capacity(BATCH),
        };
        // The present ends are noted before the agent says that it runs.
        reader.turn();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if !reader.turn() {
                    std::thread::sleep(EVERY);
                }
            }
        })?;
        Ok(Some(Self { receiver, counters, stop, thread }))
    }

    /// Hands what was read to `take`, up to what fits a turn.
    pub fn drain(&self, mut take: impl FnMut(&LoginEvent)) {
        let mut left = PORTION;
        while left > 0 {
            match self.receiver.try_recv() {
                Ok(batch) => {
                    left = left.saturating_sub(batch.len());
                    batch.iter().for_each(&mut take);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// What was lost or left out, by name.
    pub fn losses(&self) -> [(&'static str, u64); 4] {
        let of = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let c = &self.counters;
        [
            ("log_events_dropped", of(&c.dropped)),
            ("log_lines_cut", of(&c.cut)),
            ("log_lines_untrusted", of(&c.untrusted)),
            ("log_files_unreadable", of(&c.unreadable)),
        ]
    }

    /// Ends the thread, and says what it did.
    pub fn stop(self) {
        let Self { receiver, counters, stop, thread } = self;
        stop.store(true, Ordering::Relaxed);
        // Whoever waits for room need not wait any longer.
        drop(receiver);
        let _ = thread.join();
        let of = |c: &AtomicU64| c.load(Ordering::Relaxed);
        tracing::info!(
            "logs: {} lines read, {} recognised, {} events of logins",
            of(&counters.lines),
            of(&counters.recognised),
            of(&counters.events)
        );
    }
}

/// Whether there is a journal to be read.
fn has_journal() -> bool {
    ["/run/log/journal", "/var/log/journal"].iter().any(|dir| std::path::Path::new(dir).is_dir())
}

/// What the thread owns.
struct Reader {
    parser: Parser,
    files: Vec<(Tail, Option<usize>)>,
    journal: Option<Journal>,
    sender: Sender<Vec<LoginEvent>>,
    counters: Arc<Counters>,
    /// Trouble that was told, by file, so that it is told once.
    told: BTreeMap<PathBuf, Trouble>,
    batch: Vec<LoginEvent>,
}

impl Reader {
    /// Looks at everything once; says whether there is more to read at once.
    fn turn(&mut self) -> bool {
        let (now, clock) = (Instant::now(), clock());
        let mut chunk = tail::chunk();
        let Self { parser, files, journal, sender, counters, batch, .. } = self;
        let mut take = |reading: auth::Reading| {
            count(&counters.lines, 1);
            count(&counters.recognised, u64::from(reading.line.is_some()));
            count(&counters.untrusted, u64::from(reading.untrusted));
            if let Some(event) = reading.event {
                batch.push(event);
                if batch.len() >= BATCH {
                    send(sender, counters, batch);
                }
            }
        };
        let (mut cut, mut more) = (0, false);
        for (tail, format) in files.iter_mut() {
            let mut each = |line: &[u8]| take(parser.line(line, *format, &clock));
            more |= tail.look(now, &mut chunk, &mut each);
            cut += tail.cut();
        }
        if let Some(journal) = journal {
            let was = journal.trouble.clone();
            journal.look(now, &mut chunk, &mut |line| take(of_journal(parser, line, &clock)));
            if journal.trouble.is_some() && journal.trouble != was {
                tracing::warn!("{}; trying again", journal.trouble.as_deref().unwrap_or_default());
            }
            cut += journal.cut();
        }
        if !batch.is_empty() {
            send(sender, counters, batch);
        }
        counters.cut.store(cut, Ordering::Relaxed);
        self.tell();
        more
    }

    /// Says once what cannot be read and how to change that.
    fn tell(&mut self) {
        let mut unreadable = 0;
        for (tail, _) in &self.files {
            let Some(trouble) = tail.trouble() else {
                self.told.remove(tail.path());
                continue;
            };
            unreadable += u64::from(trouble != Trouble::Missing);
            if self.told.insert(tail.path().to_path_buf(), trouble) == Some(trouble) {
                continue;
            }
            let path = tail.path().display();
            match trouble {
                Trouble::Missing => tracing::info!("{path} does not exist; it is read as soon as it does"),
                Trouble::Forbidden => tracing::warn!(
                    "{path} may not be read; run as root or as a member of its group; other logs are followed"
                ),
                Trouble::Unreadable => {
                    tracing::warn!("{path} cannot be read as a file; other logs are followed");
                }
            }
        }
        self.counters.unreadable.store(unreadable, Ordering::Relaxed);
    }
}

fn of_journal(parser: &mut Parser, line: &[u8], clock: &Clock) -> auth::Reading {
    auth::entry(line).map_or_else(auth::Reading::default, |entry| parser.entry(&entry, clock))
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Hands a batch over, and waits for the agent if it is behind.
fn send(sender: &Sender<Vec<LoginEvent>>, counters: &Counters, batch: &mut Vec<LoginEvent>) {
    let full = std::mem::replace(batch, Vec::with_capacity(BATCH));
    let n = full.len() as u64;
    match sender.send_timeout(full, PATIENCE) {
        Ok(()) => count(&counters.events, n),
        Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Disconnected(_)) => count(&counters.dropped, n),
    }
}
