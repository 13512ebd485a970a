//! One reputation list: where it comes from, when it is read again, and its figures.

use crate::config::List;
use crate::file::{self, Watch};
use crate::list::crowdsec::Decisions;
use crate::list::{self, Kind, Parsed, Skipped};
use crate::web::{Client, Fetched, Version, secret};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a list, from connecting to its last byte.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Wait after a failure where the usual one is longer.
const RETRY: Duration = Duration::from_secs(300);
/// Deltas of decisions after which all of them are asked for again: whatever went astray is put right within the hour.
const DELTAS: u32 = 360;

/// What a look at a list brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing: it is not time, or it is as it was.
    Same,
    /// New content.
    Changed,
    /// It could not be had or read; what was read before stays in use.
    Failed(String),
}

/// Figures of one list.
#[derive(Clone, Debug, Serialize)]
pub struct FeedFigures {
    /// Its name.
    pub name: String,
    /// How it is written.
    pub kind: &'static str,
    /// File or address it comes from.
    pub source: String,
    /// How far it is trusted, 0..=1.
    pub weight: f64,
    /// Prefixes in use.
    pub entries: u64,
    /// Lines, objects or decisions left out.
    pub skipped: u64,
    /// The first of them, with reasons.
    pub first_skipped: Vec<Skipped>,
    /// Answers in which it was named.
    pub hits: u64,
    /// Since when its content has been as it is, s since 1970; of a file, when that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of_s: Option<u64>,
    /// Why the latest try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A list, its content, and when to look again.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) config: List,
    /// The file, or the copy of what was fetched; none of a stream.
    file: Option<PathBuf>,
    watch: Watch,
    version: Version,
    decisions: Decisions,
    /// Deltas taken since all decisions were; `None` before that and after a failure.
    deltas: Option<u32>,
    fetch_at: Option<Instant>,
    pub(crate) parsed: Parsed,
    pub(crate) as_of_s: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Feed {
    /// One that keeps what it fetches in `copies`.
    pub(crate) fn new(config: List, copies: &Path) -> Self {
        let file = match (&config.path, config.kind) {
            (Some(path), _) => Some(path.clone()),
            (None, Kind::Crowdsec) => None,
            (None, _) => Some(copies.join(format!("{}.list", config.name))),
        };
        Self {
            config,
            file,
            watch: Watch::default(),
            version: Version::default(),
            decisions: Decisions::default(),
            deltas: None,
            fetch_at: None,
            parsed: Parsed::default(),
            as_of_s: None,
            error: None,
        }
    }

    /// Reads what is on this machine: the file, or the copy of the last fetch.
    pub(crate) fn load(&mut self) -> Refreshed {
        let Some(file) = self.file.clone() else { return Refreshed::Same };
        if self.config.url.is_some() && !file.exists() {
            return Refreshed::Same;
        }
        let taken = self.watch.read(&file, list::MAX_BYTES).and_then(|(bytes, identity)| {
            let parsed = list::parse(self.config.kind, &bytes, crate::now_s());
            parsed.map(|p| (p, identity)).map_err(|e| format!("{} {e}", file.display()))
        });
        let outcome = taken.map(|(parsed, identity)| {
            self.parsed = parsed;
            self.as_of_s = Some(identity.modified_s());
        });
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Result<(), String>) -> Refreshed {
        self.error = outcome.err();
        self.error.clone().map_or(Refreshed::Changed, Refreshed::Failed)
    }

    /// Fetches it now, whether it is time or not, and keeps a copy. Nothing is kept that cannot be read.
    pub(crate) fn fetch(&mut self) -> Refreshed {
        let Some(url) = self.config.url.clone() else { return Refreshed::Same };
        let client = Client::new(TIMEOUT);
        let (outcome, ended) = match self.file.clone() {
            None => {
                let outcome = self.follow(&client, &url);
                (outcome, self.parsed.next_change_s.is_some_and(|at| at <= crate::now_s()))
            }
            Some(file) => (self.download(&client, &url, &file), false),
        };
        // What has ended is dropped whether the API answers or not.
        if self.file.is_none() && (ended || outcome == Ok(true)) {
            self.parsed = self.decisions.parsed(crate::now_s());
        }
        let wait = Duration::from_secs(self.config.refresh_s().into());
        let wait = if outcome.is_ok() { wait } else { wait.min(RETRY) };
        self.fetch_at = Some(Instant::now() + wait);
        match outcome {
            Ok(false) if !ended => {
                self.error = None;
                Refreshed::Same
            }
            Ok(_) => self.settle(Ok(())),
            Err(why) => self.settle(Err(why)),
        }
    }

    /// Whether what it says is to be held apart from other lists, because it changes every few seconds.
    pub(crate) const fn is_stream(&self) -> bool {
        self.file.is_none()
    }

    /// Fetches a list; whether it is another.
    fn download(&mut self, client: &Client, url: &str, copy: &Path) -> Result<bool, String> {
        let known = if self.as_of_s.is_some() { self.version.clone() } else { Version::default() };
        match client.fetch(url, &known, list::MAX_BYTES).map_err(|e| format!("{url}: {e}"))? {
            Fetched::Same => Ok(false),
            Fetched::New(bytes, version) => {
                let now = crate::now_s();
                let parsed = list::parse(self.config.kind, &bytes, now).map_err(|e| format!("{url} {e}"))?;
                file::replace(copy, &bytes)?;
                // Read once more to know the copy from one that another process puts there.
                self.watch.read(copy, list::MAX_BYTES)?;
                (self.parsed, self.version, self.as_of_s) = (parsed, version, Some(now));
                Ok(true)
            }
        }
    }

    /// Asks for decisions: all of them at first, after a failure and from time to time, else those since the last answer.
    /// Whether they are others now.
    fn follow(&mut self, client: &Client, url: &str) -> Result<bool, String> {
        let all = self.deltas.is_none_or(|n| n >= DELTAS);
        let key = secret(self.config.key_file.as_deref(), self.config.key_env.as_deref());
        // Of what an answer that got lost would have said, only a full one tells.
        let before = self.deltas.take();
        let key = key.map_err(|e| e.to_string())?.unwrap_or_default();
        let address =
            format!("{}/v1/decisions/stream?startup={all}&scopes=ip,range", url.trim_end_matches('/'));
        let answer = client
            .ask(&address, Some(("X-Api-Key", &key)), list::MAX_BYTES)
            .map_err(|e| format!("{url}: {e}"))?;
        let now = crate::now_s();
        let changed = self.decisions.apply(&answer, all, now).map_err(|e| format!("{url} {e}"))?;
        self.deltas = Some(if all { 0 } else { before.map_or(0, |n| n + 1) });
        self.as_of_s = Some(now);
        Ok(changed)
    }

    /// Does what it is time for: reads a file that changed, fetches what is due, drops what has ended.
    pub(crate) fn look(&mut self) -> Refreshed {
        if let Some(file) = self.file.clone()
            && self.watch.changed(&file)
        {
            return self.load();
        }
        if self.config.url.is_some() && self.fetch_at.is_none_or(|at| at <= Instant::now()) {
            if self.fetch_at.is_none() && self.is_fresh() {
                let age = crate::now_s().saturating_sub(self.as_of_s.unwrap_or(0));
                let wait = u64::from(self.config.refresh_s()).saturating_sub(age);
                self.fetch_at = Some(Instant::now() + Duration::from_secs(wait));
                return Refreshed::Same;
            }
            return self.fetch();
        }
        // Decisions end when they are asked for, every few seconds.
        let now = crate::now_s();
        if self.file.is_some() && self.parsed.next_change_s.is_some_and(|at| at <= now) {
            let outcome = self.load();
            if matches!(outcome, Refreshed::Failed(_)) {
                // The file is gone or broken: what it said stays, and is tried again in a while.
                self.parsed.next_change_s = Some(now + RETRY.as_secs());
            }
            return outcome;
        }
        Refreshed::Same
    }

    /// Whether the copy is younger than a fetch would make sense of.
    fn is_fresh(&self) -> bool {
        let now = crate::now_s();
        self.as_of_s.is_some_and(|at| now.saturating_sub(at) < u64::from(self.config.refresh_s()))
    }

    pub(crate) fn source(&self) -> String {
        match (&self.config.url, &self.config.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => String::new(),
        }
    }

    pub(crate) fn figures(&self, hits: u64) -> FeedFigures {
        FeedFigures {
            name: self.config.name.clone(),
            kind: self.config.kind.name(),
            source: self.source(),
            weight: self.config.weight,
            entries: self.parsed.prefixes.len() as u64,
            skipped: self.parsed.skips.count,
            first_skipped: self.parsed.skips.first.clone(),
            hits,
            as_of_s: self.as_of_s,
            error: self.error.clone(),
        }
    }
}
