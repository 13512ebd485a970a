//! Everything known of an address, from memory; and the threads that keep the memory up to date.

use crate::cache::Cache;
use crate::config::{GeoIp, List, Reputation as ReputationConfig};
use crate::database::{DatabaseFigures, Place, Role, Source};
use crate::fallback::{Fallback, FallbackFigures};
use crate::feed::{FeedFigures, Refreshed};
use crate::lists::Lists;
use crate::{Network, Reputation};
use serde::Serialize;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often lists are looked at for what is due.
const LISTS_EVERY: Duration = Duration::from_secs(1);

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whose network it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What lists say; absent if none names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reputation: Option<Reputation>,
    /// Whether a service on the web has been asked where it is and has not answered yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// Lists that name it.
    #[serde(skip)]
    lists: Vec<u16>,
}

impl Facts {
    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.place.is_none() && self.network.is_none() && self.reputation.is_none()
    }
}

/// Figures of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheFigures {
    /// Addresses held.
    pub entries: u64,
    /// Addresses held at most.
    pub capacity: u64,
    /// Answers given from it.
    pub hits: u64,
    /// Answers made anew.
    pub misses: u64,
    /// Addresses that made room.
    pub evicted: u64,
}

/// Figures of everything.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Databases.
    pub databases: Vec<DatabaseFigures>,
    /// Reputation lists.
    pub lists: Vec<FeedFigures>,
    /// Bytes the lists take in memory.
    pub list_bytes: u64,
    /// Remembered answers.
    pub cache: CacheFigures,
    /// The service on the web; absent if none is configured or it is not asked here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<FallbackFigures>,
}

/// The whole of it. Shared by all threads; asking waits for nobody.
pub struct Service {
    databases: Vec<Source>,
    lists: Lists,
    cache: Cache<Arc<Facts>>,
    web: Option<Fallback>,
    /// Whether the web is asked: by a running service, never by one that was only loaded.
    asks: AtomicBool,
    poll: Duration,
    /// The end of the web service's queue, until its thread takes it.
    questions: Mutex<Option<Receiver<IpAddr>>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("databases", &self.databases).finish_non_exhaustive()
    }
}

/// Whether threads are to go on, and a way to wake those that wait.
#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    woken: Condvar,
}

impl Stop {
    fn is_set(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_all();
    }

    /// Waits; whether to go on.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) =
            self.woken.wait_timeout_while(stopped, time, |s| !*s).unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

/// The threads of a service; they end with it. A fetch under way is not waited for longer than it takes.
#[derive(Debug)]
pub struct Running {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

impl Service {
    /// A service that knows nothing yet: call [`Self::load`] or [`Self::run`]. Copies of fetched lists and what must
    /// outlive a restart are kept in `dir`. Both configurations are to be checked before.
    #[must_use]
    pub fn new(geoip: &GeoIp, reputation: &ReputationConfig, dir: &Path) -> Self {
        let databases = [(Role::City, &geoip.city), (Role::Country, &geoip.country), (Role::Asn, &geoip.asn)];
        let web = geoip.web.url.is_some().then(|| Fallback::new(geoip.web.clone(), dir.join("web-budget")));
        let (web, questions) = web.unzip();
        Self {
            databases: databases
                .into_iter()
                .filter_map(|(role, path)| Some(Source::new(role, path.clone()?)))
                .collect(),
            lists: Lists::new(reputation, dir),
            cache: Cache::new(geoip.cache as usize),
            web,
            asks: AtomicBool::new(false),
            poll: Duration::from_secs(geoip.poll_s.max(1).into()),
            questions: Mutex::new(questions),
        }
    }

    /// Whether nothing is configured: every answer will be empty.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.databases.is_empty() && self.lists.is_empty() && self.web.is_none()
    }

    /// Reads databases and lists from this machine, now; what cannot be used, in words. Nobody is asked elsewhere.
    pub fn load(&self) -> Vec<String> {
        let mut wrong: Vec<String> =
            self.databases.iter().filter_map(|d| d.load().err()).map(|e| e.to_string()).collect();
        wrong.extend(self.lists.load().into_iter().filter_map(|(name, outcome)| failure(&name, &outcome)));
        wrong
    }

    /// Fetches the lists that `wanted` says, now; what came of each, by name.
    pub fn fetch(&self, wanted: impl Fn(&List) -> bool) -> Vec<(String, Refreshed)> {
        self.lists.fetch(wanted)
    }

    /// Starts the threads that load everything, follow files, fetch lists and ask the web.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn run(self: &Arc<Self>) -> std::io::Result<Running> {
        let mut running = Running { stop: Arc::default(), threads: Vec::new() };
        if !self.databases.is_empty() {
            running.start("geoip", self, Service::follow_databases)?;
        }
        if !self.lists.is_empty() {
            running.start("reputation", self, Service::follow_lists)?;
        }
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(questions) = questions {
            self.asks.store(true, Ordering::Relaxed);
            running.start("geoip-web", self, move |service, stop| {
                if let Some(web) = &service.web {
                    web.serve(&questions, || !stop.is_set());
                }
            })?;
        }
        Ok(running)
    }

    fn follow_databases(&self, stop: &Stop) {
        let mut first = true;
        while first || stop.wait(self.poll) {
            for database in &self.databases {
                match if first { Some(database.load()) } else { database.reload() } {
                    None => {}
                    Some(Ok(())) => {
                        tracing::info!(
                            "{} database {} loaded",
                            database.role().name(),
                            database.path().display()
                        );
                    }
                    Some(Err(e)) => {
                        let rest = if database.is_loaded() {
                            "the old one stays in use"
                        } else {
                            "going on without it"
                        };
                        tracing::warn!("{} database: {e}; {rest}", database.role().name());
                    }
                }
            }
            first = false;
        }
    }

    fn follow_lists(&self, stop: &Stop) {
        let mut said: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        let mut outcomes = self.lists.load();
        loop {
            for (name, outcome) in outcomes {
                match failure(&name, &outcome) {
                    // The same failure again is no news.
                    Some(why) if said.get(&name) == Some(&why) => {}
                    Some(why) => {
                        tracing::warn!("{why}; what was known before stays in use");
                        said.insert(name, why);
                    }
                    None if outcome == Refreshed::Changed => {
                        tracing::debug!("reputation list {name} read");
                        said.remove(&name);
                    }
                    None => {}
                }
            }
            if !stop.wait(LISTS_EVERY) {
                return;
            }
            outcomes = self.lists.look();
        }
    }

    /// Which state of the world answers are of.
    fn version(&self) -> usize {
        // Each part only grows, so that the sum is another whenever one is.
        self.databases.iter().map(Source::version).sum::<usize>() + self.lists.version()
    }

    /// What is known of an address: from the cache, or found now and remembered.
    #[must_use]
    pub fn facts(&self, addr: IpAddr) -> Arc<Facts> {
        let addr = addr.to_canonical();
        let version = self.version();
        let facts = self.cache.get(&addr, version).unwrap_or_else(|| {
            let facts = Arc::new(self.find(addr));
            // An answer that is awaited is not remembered: the next question looks again.
            if !facts.pending {
                self.cache.put(addr, version, Arc::clone(&facts));
            }
            facts
        });
        self.lists.count(&facts.lists);
        facts
    }

    /// As [`Self::facts`], without the cache.
    #[must_use]
    pub fn find(&self, addr: IpAddr) -> Facts {
        let mut facts = Facts::default();
        for database in &self.databases {
            match database.role() {
                Role::City => facts.place = database.place(addr),
                // Less than a city, and of use where the other database does not know the address.
                Role::Country if facts.place.as_ref().is_none_or(|p| p.country.is_none()) => {
                    facts.place = database.place(addr).or(facts.place);
                }
                Role::Country => {}
                Role::Asn => facts.network = database.network(addr),
            }
        }
        if let Some(web) = &self.web
            && self.asks.load(Ordering::Relaxed)
            && facts.place.as_ref().is_none_or(|p| p.country.is_none())
        {
            match web.look(addr) {
                Ok(Some(said)) => {
                    facts.place = said.place.clone().or(facts.place);
                    facts.network = facts.network.or_else(|| said.network.clone());
                }
                Ok(None) => {}
                Err(_) => facts.pending = true,
            }
        }
        (facts.reputation, facts.lists) = self.lists.reputation(addr);
        facts
    }

    /// Risk of an address by reputation lists, 0..=100; `None` where none names it. Asks the lists alone: no cache is needed.
    #[must_use]
    pub fn score(&self, addr: IpAddr) -> Option<u8> {
        let (reputation, lists) = self.lists.reputation(addr);
        self.lists.count(&lists);
        reputation.map(|r| r.score)
    }

    /// Figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (lists, list_bytes) = self.lists.figures();
        let (entries, hits, misses, evicted) = self.cache.figures();
        Figures {
            databases: self.databases.iter().map(Source::figures).collect(),
            lists,
            list_bytes: list_bytes as u64,
            cache: CacheFigures {
                entries: entries as u64,
                capacity: self.cache.capacity() as u64,
                hits,
                misses,
                evicted,
            },
            web: self.web.as_ref().filter(|_| self.asks.load(Ordering::Relaxed)).map(Fallback::figures),
        }
    }
}

fn failure(name: &str, outcome: &Refreshed) -> Option<String> {
    match outcome {
        Refreshed::Failed(why) => Some(format!("reputation list {name}: {why}")),
        _ => None,
    }
}

impl Running {
    fn start(
        &mut self,
        name: &str,
        service: &Arc<Service>,
        work: impl FnOnce(&Service, &Stop) + Send + 'static,
    ) -> std::io::Result<()> {
        let (service, stop) = (Arc::clone(service), Arc::clone(&self.stop));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(&service, &stop))?;
        self.threads.push(thread);
        Ok(())
    }
}
