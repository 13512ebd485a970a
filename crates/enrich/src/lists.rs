//! All reputation lists: read apart, merged into one table, exchanged whole.

use crate::feed::{Feed, FeedFigures, Refreshed};
use crate::list::Parsed;
use crate::shared::Shared;
use crate::table::{Builder, Hit, MAX_PREFIXES, Table};
use crate::{Part, Reputation, config};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Prefixes of all lists together; beyond, whole lists are left out and say so. A table of as many takes a quarter of a
/// gigabyte.
const MAX_TOTAL: usize = 2 * MAX_PREFIXES;

/// What answers are made of.
#[derive(Debug, Default)]
struct Merged {
    /// Of lists that change by the day, and of streams that change by the second: so that the latter are merged anew
    /// without the former.
    tables: [Arc<Table>; 2],
    lists: Vec<Named>,
}

/// A list as answers name it.
#[derive(Debug)]
struct Named {
    name: Arc<str>,
    weight: f64,
    notes: Vec<Arc<str>>,
}

/// The lists.
#[derive(Debug)]
pub(crate) struct Lists {
    merged: Shared<Merged>,
    /// By list; they outlive merges.
    hits: Vec<AtomicU64>,
    feeds: Mutex<Vec<Feed>>,
    /// As of the last merge: a fetch that takes its time holds up nobody who asks for figures.
    figures: Mutex<(Vec<FeedFigures>, usize)>,
}

impl Lists {
    pub(crate) fn new(config: &config::Reputation, copies: &Path) -> Self {
        let feeds: Vec<Feed> = config.lists.iter().map(|l| Feed::new(l.clone(), copies)).collect();
        let lists = Self {
            merged: Shared::new(Merged::default()),
            hits: feeds.iter().map(|_| AtomicU64::new(0)).collect(),
            feeds: Mutex::new(Vec::new()),
            figures: Mutex::default(),
        };
        lists.note_figures(&feeds);
        *lists.feeds() = feeds;
        lists
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    fn feeds(&self) -> MutexGuard<'_, Vec<Feed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has each list do `what`, then merges if any has changed; what came of it, by name.
    fn each(&self, what: impl Fn(&mut Feed) -> Refreshed) -> Vec<(String, Refreshed)> {
        let mut feeds = self.feeds();
        let mut stale = [false; 2];
        let mut outcomes = Vec::new();
        for feed in feeds.iter_mut() {
            let before = feed.parsed.next_change_s;
            let outcome = what(feed);
            // A stream whose source fails still changes by what has ended.
            let changed =
                outcome == Refreshed::Changed || feed.is_stream() && feed.parsed.next_change_s != before;
            stale[usize::from(feed.is_stream())] |= changed;
            outcomes.push((feed.config.name.clone(), outcome));
        }
        if stale.contains(&true) {
            self.merge(&mut feeds, stale);
        }
        self.note_figures(&feeds);
        outcomes
    }

    /// Puts the tables together that are stale.
    fn merge(&self, feeds: &mut [Feed], stale: [bool; 2]) {
        let none = Builder::default();
        let mut room = MAX_TOTAL;
        for feed in feeds.iter_mut() {
            match room.checked_sub(feed.parsed.prefixes.len()) {
                Some(left) => room = left,
                None => {
                    feed.error =
                        Some(format!("left out: all lists together have more than {MAX_TOTAL} prefixes"));
                    feed.parsed = Parsed::default();
                }
            }
        }
        let mut tables = self.merged.read(|m| m.tables.clone());
        for (stream, table) in [false, true].into_iter().zip(&mut tables) {
            if stale[usize::from(stream)] {
                // Each list keeps its number in both tables.
                let own = |f: &Feed| f.is_stream() == stream;
                let of: Vec<_> =
                    feeds.iter().map(|f| if own(f) { &f.parsed.prefixes } else { &none }).collect();
                *table = Arc::new(Table::merge(&of));
            }
        }
        let lists = feeds
            .iter()
            .map(|f| Named {
                name: f.config.name.as_str().into(),
                weight: f.config.weight,
                notes: f.parsed.notes.clone(),
            })
            .collect();
        self.merged.replace(Merged { tables, lists });
    }

    fn note_figures(&self, feeds: &[Feed]) {
        let bytes = feeds.iter().map(|f| f.parsed.prefixes.bytes()).sum::<usize>()
            + self.merged.read(|m| m.tables.iter().map(|t| t.bytes()).sum::<usize>());
        let figures = feeds.iter().map(|f| f.figures(0)).collect();
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = (figures, bytes);
    }

    /// Reads what is on this machine.
    pub(crate) fn load(&self) -> Vec<(String, Refreshed)> {
        self.each(Feed::load)
    }

    /// Does what it is time for.
    pub(crate) fn look(&self) -> Vec<(String, Refreshed)> {
        self.each(Feed::look)
    }

    /// Fetches those that `wanted` says, now.
    pub(crate) fn fetch(&self, wanted: impl Fn(&config::List) -> bool) -> Vec<(String, Refreshed)> {
        self.each(|f| if wanted(&f.config) { f.fetch() } else { Refreshed::Same })
    }

    pub(crate) fn version(&self) -> usize {
        self.merged.version()
    }

    /// What the lists say of an address, and which do.
    pub(crate) fn reputation(&self, addr: IpAddr) -> (Option<Reputation>, Vec<u16>) {
        self.merged.read(|m| {
            let part = |hit: &Hit| {
                let list = m.lists.get(usize::from(hit.list))?;
                let note = usize::from(hit.note).checked_sub(1).and_then(|n| list.notes.get(n)).cloned();
                Some(Part::new(Arc::clone(&list.name), list.weight, f64::from(hit.strength) / 100.0, note))
            };
            let mut lists: Vec<&Hit> = m.tables.iter().flat_map(|t| t.hits(addr)).collect();
            lists.sort_by_key(|h| h.list);
            let parts = lists.iter().copied().filter_map(part).collect();
            (Reputation::of(parts), lists.iter().map(|h| h.list).collect())
        })
    }

    /// Counts an answer in which lists were named.
    pub(crate) fn count(&self, lists: &[u16]) {
        for hits in lists.iter().filter_map(|l| self.hits.get(usize::from(*l))) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Figures of each list, and the bytes all take.
    pub(crate) fn figures(&self) -> (Vec<FeedFigures>, usize) {
        let (mut figures, bytes) = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (figure, hits) in figures.iter_mut().zip(&self.hits) {
            figure.hits = hits.load(Ordering::Relaxed);
        }
        (figures, bytes)
    }
}
