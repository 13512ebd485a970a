//! A geolocation service on the web, asked where no database knows an address.
//!
//! Asking is a matter of its own thread: whoever wants an answer finds it later. Questions are few: each address once a
//! day, within a budget per day that holds over restarts, never about addresses that are not public.

use crate::config::Web;
use crate::database::Place;
use crate::file;
use crate::web::{Client, WebError, secret};
use crate::{Network, is_public};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions waiting; beyond, new ones are dropped, counted, and may be put again.
const QUEUE: usize = 256;
/// Answers and open questions remembered. Full, all are forgotten that are older than those of the last hour, and if that
/// is not enough, no new question is put until they are.
const MAX_KNOWN: usize = 10_000;
/// How long an answer holds, that there is none included.
const HOLDS: Duration = Duration::from_secs(86_400);
/// What may be forgotten for want of room.
const OLD: Duration = Duration::from_secs(3600);
/// Least time between looks for what may be forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 << 10;
/// Pause after an answer that asks for one (429) or a server that fails.
const PAUSE: Duration = Duration::from_secs(600);

/// What the service said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) place: Option<Place>,
    pub(crate) network: Option<Network>,
}

/// Figures of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FallbackFigures {
    /// Questions put.
    pub asked: u64,
    /// Of those, answered with something.
    pub answered: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Questions not put because the queue or the memory was full.
    pub dropped: u64,
    /// Questions not put because the budget of the day was spent, or the service had asked for a pause.
    pub refused: u64,
    /// Questions of this day (UTC).
    pub today: u64,
    /// Questions per day.
    pub daily_budget: u64,
    /// The latest failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Counters {
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

/// Questions put on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Day {
    /// Days since 1970.
    number: u64,
    used: u64,
}

/// When an address was asked about, and what was said; `None` while that is awaited.
type Asked = (Instant, Option<Arc<Said>>);

/// What is remembered.
#[derive(Debug, Default)]
struct Known {
    asked: HashMap<IpAddr, Asked>,
    /// When room was last made: going through all of it is nothing to do for each question.
    swept: Option<Instant>,
}

/// The service, as others see it.
#[derive(Debug)]
pub(crate) struct Fallback {
    config: Web,
    queue: SyncSender<IpAddr>,
    known: Mutex<Known>,
    counters: Counters,
    day: Mutex<Day>,
    /// Where the day's questions are kept.
    budget_file: PathBuf,
    error: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fallback {
    /// The service, and the end of the queue that [`Self::serve`] takes.
    pub(crate) fn new(config: Web, budget_file: PathBuf) -> (Self, Receiver<IpAddr>) {
        let (queue, receiver) = sync_channel(QUEUE);
        let day = std::fs::read_to_string(&budget_file).ok().and_then(|t| parse_day(&t)).unwrap_or_default();
        let fallback = Self {
            config,
            queue,
            known: Mutex::default(),
            counters: Counters::default(),
            day: Mutex::new(day),
            budget_file,
            error: Mutex::default(),
        };
        (fallback, receiver)
    }

    /// What is known of an address; if nothing is, it is asked about, and `Err` says that an answer may come.
    pub(crate) fn look(&self, addr: IpAddr) -> Result<Option<Arc<Said>>, Pending> {
        if !is_public(addr) {
            return Ok(None);
        }
        let mut known = lock(&self.known);
        match known.asked.get(&addr) {
            Some((at, said)) if at.elapsed() < HOLDS => {
                return said.clone().map_or(Err(Pending), |said| Ok(Some(said)));
            }
            _ => {}
        }
        if known.asked.len() >= MAX_KNOWN && known.swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            known.asked.retain(|_, (at, _)| at.elapsed() < OLD);
            known.swept = Some(Instant::now());
        }
        let queued = known.asked.len() < MAX_KNOWN
            && !matches!(
                self.queue.try_send(addr),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
            );
        if queued {
            known.asked.insert(addr, (Instant::now(), None));
        } else {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Err(Pending)
    }

    /// Asks what is in the queue, as long as `go_on` says so.
    pub(crate) fn serve(&self, queue: &Receiver<IpAddr>, go_on: impl Fn() -> bool) {
        let client = Client::new(Duration::from_millis(self.config.timeout_ms.into()));
        let mut paused_until: Option<Instant> = None;
        while go_on() {
            let Ok(addr) = queue.recv_timeout(Duration::from_millis(200)) else { continue };
            if paused_until.is_some_and(|until| Instant::now() < until) || !self.spend() {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                // As if never asked, so that it may be once there is budget again.
                lock(&self.known).asked.remove(&addr);
                continue;
            }
            self.counters.asked.fetch_add(1, Ordering::Relaxed);
            let said = match self.ask(&client, addr) {
                Ok(said) => {
                    paused_until = None;
                    said
                }
                Err(why) => {
                    self.counters.failed.fetch_add(1, Ordering::Relaxed);
                    if matches!(why, WebError::Status(429 | 500..) | WebError::Transport(_)) {
                        paused_until = Some(Instant::now() + PAUSE);
                    }
                    *lock(&self.error) = Some(why.to_string());
                    Said::default()
                }
            };
            if said != Said::default() {
                self.counters.answered.fetch_add(1, Ordering::Relaxed);
            }
            lock(&self.known).asked.insert(addr, (Instant::now(), Some(Arc::new(said))));
        }
    }

    fn ask(&self, client: &Client, addr: IpAddr) -> Result<Said, WebError> {
        let token = secret(self.config.token_file.as_deref(), self.config.token_env.as_deref())?;
        let template = self.config.url.as_deref().unwrap_or_default();
        let url =
            template.replace("{ip}", &addr.to_string()).replace("{token}", token.as_deref().unwrap_or(""));
        let answer = client.ask(&url, None, MAX_ANSWER)?;
        read_answer(&answer)
    }

    /// Takes one question from the day's budget.
    fn spend(&self) -> bool {
        let today = crate::now_s() / 86_400;
        let mut day = lock(&self.day);
        if day.number != today {
            *day = Day { number: today, used: 0 };
        }
        if day.used >= u64::from(self.config.daily_budget) {
            return false;
        }
        day.used += 1;
        if let Err(why) =
            file::replace(&self.budget_file, format!("{} {}\n", day.number, day.used).as_bytes())
        {
            *lock(&self.error) = Some(why);
        }
        true
    }

    pub(crate) fn figures(&self) -> FallbackFigures {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let day = *lock(&self.day);
        FallbackFigures {
            asked: read(&self.counters.asked),
            answered: read(&self.counters.answered),
            failed: read(&self.counters.failed),
            dropped: read(&self.counters.dropped),
            refused: read(&self.counters.refused),
            today: if day.number == crate::now_s() / 86_400 { day.used } else { 0 },
            daily_budget: self.config.daily_budget.into(),
            error: lock(&self.error).clone(),
        }
    }
}

/// No answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending;

fn parse_day(text: &str) -> Option<Day> {
    let (number, used) = text.trim().split_once(' ')?;
    Some(Day { number: number.parse().ok()?, used: used.parse().ok()? })
}

/// Reads an answer by the names that ipapi.co, ipapi.com, ip-api.com and ipinfo.io use.
fn read_answer(bytes: &[u8]) -> Result<Said, WebError> {
    let answer: Value = serde_json::from_slice(bytes)
        .map_err(|_| WebError::Transport("the answer is not JSON".to_owned()))?;
    let failed = answer["error"] == true || answer["success"] == false || answer["status"] == "fail";
    if failed {
        let why = ["reason", "message"].iter().find_map(|k| answer[*k].as_str());
        let why = why.or_else(|| answer["error"]["info"].as_str()).unwrap_or("without a reason");
        return Err(WebError::Transport(format!(
            "the service refused: {}",
            why.chars().filter(|c| !c.is_control()).take(120).collect::<String>()
        )));
    }
    let text = |names: &[&str]| -> Option<&str> {
        names.iter().find_map(|n| answer[*n].as_str()).filter(|t| !t.is_empty() && t.len() <= 200)
    };
    let number = |names: &[&str]| names.iter().find_map(|n| answer[*n].as_f64()).filter(|n| n.is_finite());
    let country = text(&["country_code", "countryCode", "country"])
        .filter(|c| c.len() == 2 && c.bytes().all(|b| b.is_ascii_alphabetic()))
        .map(|c| c.to_ascii_uppercase().into_boxed_str());
    let place = Place {
        country,
        region: text(&["region_name", "regionName", "region"]).map(Box::from),
        city: text(&["city"]).map(Box::from),
        latitude: number(&["latitude", "lat"]),
        longitude: number(&["longitude", "lon"]),
    };
    // "AS15169", "AS15169 Google LLC" or a number.
    let system = text(&["asn", "as"]).or_else(|| answer["connection"]["asn"].as_str());
    let digits = system.and_then(|s| s.trim_start_matches("AS").split_whitespace().next());
    let asn = digits.and_then(|d| d.parse().ok()).or_else(|| {
        let number = answer["asn"].as_u64().or_else(|| answer["connection"]["asn"].as_u64())?;
        u32::try_from(number).ok()
    });
    let organisation = text(&["asname", "org", "isp"])
        .or_else(|| system.and_then(|s| s.split_once(' ')).map(|(_, name)| name))
        .or_else(|| answer["connection"]["isp"].as_str());
    Ok(Said {
        place: (place != Place::default()).then_some(place),
        network: asn.map(|asn| Network::new(asn, organisation)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_several_services() {
        let check = |json: &str, expected: Result<(Option<&str>, Option<u32>), &str>| {
            let got = read_answer(json.as_bytes());
            let got = got.as_ref().map(|s| {
                (s.place.as_ref().and_then(|p| p.country.as_deref()), s.network.as_ref().map(|n| n.asn))
            });
            assert_eq!(got.map_err(ToString::to_string), expected.map_err(str::to_owned), "{json}");
        };
        check(
            r#"{"ip":"192.0.2.1","city":"X","country_code":"de","latitude":1.5,"asn":"AS64496","org":"Example"}"#,
            Ok((Some("DE"), Some(64496))),
        );
        check(
            r#"{"status":"success","countryCode":"FR","regionName":"R","lat":1,"lon":2,"as":"AS64497 Example Host"}"#,
            Ok((Some("FR"), Some(64497))),
        );
        check(
            r#"{"country_code":"US","connection":{"asn":64498,"isp":"Example"}}"#,
            Ok((Some("US"), Some(64498))),
        );
        check(r#"{"country":"Germany"}"#, Ok((None, None)));
        check("{}", Ok((None, None)));
        check("[1]", Ok((None, None)));
        check(r#"{"error":true,"reason":"RateLimited"}"#, Err("the service refused: RateLimited"));
        check(r#"{"status":"fail","message":"private range"}"#, Err("the service refused: private range"));
        check(r#"{"success":false,"error":{"info":"no key"}}"#, Err("the service refused: no key"));
        check("<html>", Err("the answer is not JSON"));
    }
}
