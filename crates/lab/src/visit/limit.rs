//! How often one site is asked: the promise that no site is visited faster than stated, whatever the number of threads.
//!
//! Per site a token bucket (as GCRA: one time per site instead of a count), a bound on requests under way, and a rest
//! that the site asked for or that its failures suggest. Time is an argument, in nanoseconds.

use std::collections::HashMap;

/// Sites remembered. When full, those are forgotten that could send a whole burst and owe no rest, which changes nothing
/// for them; if there are none, new sites wait.
pub const MAX_SITES: usize = 20_000;
/// How long to wait before asking again whether a request under way has ended, ns.
const POLL: u64 = 20_000_000;
const SECOND: u64 = 1_000_000_000;

/// How often a site may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between requests in the long run, ns.
    pub interval: u64,
    /// Requests at once after a pause.
    pub burst: u32,
    /// Requests under way at once.
    pub in_flight: u32,
}

impl Rate {
    /// Web pages and what belongs to them: one request in 2 s in the long run, four at once for a page with its parts,
    /// two under way. Less than one reader with a browser.
    pub const WEB: Self = Self { interval: 2 * SECOND, burst: 4, in_flight: 2 };
    /// A time server: 64 s is the usual shortest interval of polls (RFC 5905 §7.3; RFC 8633 §3.1 asks not to go below).
    pub const NTP: Self = Self { interval: 64 * SECOND, burst: 1, in_flight: 1 };
    /// A login service whose banner is read: one connection a minute, below what guards against guessing count.
    pub const SSH: Self = Self { interval: 60 * SECOND, burst: 1, in_flight: 1 };
    /// The name server, which is the operator's own or the provider's and caches.
    pub const DNS: Self = Self { interval: SECOND / 50, burst: 50, in_flight: 32 };
}

/// The answer to a request for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Now; [`Limiter::release`] must follow.
    Go,
    /// Not now: ask again after so many ns.
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
struct Site {
    /// Theoretical arrival time of the next request, were all evenly spaced, ns.
    due: u64,
    /// When the last request had its turn, ns.
    last: u64,
    /// The site's own pause, ns; counts where it is longer than ours.
    delay: Option<u64>,
    /// No request before this time, ns.
    rest: u64,
    in_flight: u32,
    /// Failures since the last success.
    failures: u32,
}

/// Turns by site.
#[derive(Debug, Default)]
pub struct Limiter {
    sites: HashMap<String, Site>,
}

impl Limiter {
    /// Asks for one request's turn at `now`.
    pub fn acquire(&mut self, name: &str, rate: Rate, now: u64) -> Grant {
        if !self.sites.contains_key(name) && !self.has_room(now) {
            return Grant::Wait(SECOND);
        }
        let site = self.sites.entry(name.to_owned()).or_insert(Site {
            due: now,
            last: now,
            delay: None,
            rest: 0,
            in_flight: 0,
            failures: 0,
        });
        if site.rest > now {
            return Grant::Wait(site.rest - now);
        }
        let (interval, burst) = match site.delay {
            Some(delay) if delay > rate.interval => (delay, 1),
            _ => (rate.interval, rate.burst),
        };
        let ahead = interval.saturating_mul(u64::from(burst.saturating_sub(1)));
        let earliest = site.due.saturating_sub(ahead);
        if earliest > now {
            return Grant::Wait(earliest - now);
        }
        if site.in_flight >= rate.in_flight {
            return Grant::Wait(POLL);
        }
        site.due = site.due.max(now).saturating_add(interval);
        site.last = now;
        site.in_flight += 1;
        Grant::Go
    }

    /// A request that had its turn has ended.
    pub fn release(&mut self, name: &str) {
        if let Some(site) = self.sites.get_mut(name) {
            site.in_flight = site.in_flight.saturating_sub(1);
        }
    }

    /// The site wants `delay` ns between requests, from the last one on. It counts only where it is longer than the
    /// rate's own interval.
    pub fn delay(&mut self, name: &str, delay: u64) {
        if let Some(site) = self.sites.get_mut(name) {
            site.delay = Some(delay);
            site.due = site.due.max(site.last.saturating_add(delay));
        }
    }

    /// No request to the site before `until`, ns. An earlier end than one already set changes nothing.
    pub fn rest(&mut self, name: &str, until: u64) {
        if let Some(site) = self.sites.get_mut(name) {
            site.rest = site.rest.max(until);
        }
    }

    /// A request to the site failed on its side or on the way; after the third in a row the site rests for `rest` ns.
    pub fn failed(&mut self, name: &str, rest: u64, now: u64) {
        let Some(site) = self.sites.get_mut(name) else { return };
        site.failures += 1;
        if site.failures >= 3 {
            site.failures = 0;
            site.rest = site.rest.max(now.saturating_add(rest));
        }
    }

    /// A request to the site succeeded.
    pub fn succeeded(&mut self, name: &str) {
        if let Some(site) = self.sites.get_mut(name) {
            site.failures = 0;
        }
    }

    fn has_room(&mut self, now: u64) -> bool {
        if self.sites.len() >= MAX_SITES {
            self.sites.retain(|_, s| s.in_flight > 0 || s.due > now || s.rest > now || s.delay.is_some());
        }
        self.sites.len() < MAX_SITES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { interval: 100, burst: 3, in_flight: 10 };

    /// Asks at each time and lets a granted request end at once.
    fn granted(limiter: &mut Limiter, rate: Rate, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut out = Vec::new();
        for now in times {
            if limiter.acquire("a", rate, now) == Grant::Go {
                limiter.release("a");
                out.push(now);
            }
        }
        out
    }

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let mut limiter = Limiter::default();
        assert_eq!(granted(&mut limiter, RATE, 1000..1400), [1000, 1001, 1002, 1100, 1200, 1300]);
        assert_eq!(limiter.acquire("a", RATE, 1400), Grant::Go);
        assert_eq!(limiter.acquire("a", RATE, 1401), Grant::Wait(99), "says how long");
        assert_eq!(limiter.acquire("b", RATE, 1401), Grant::Go, "sites do not share");
        assert_eq!(granted(&mut limiter, RATE, 9000..9050), [9000, 9001, 9002], "a pause earns one burst");
    }

    #[test]
    fn requests_under_way_are_bounded() {
        let mut limiter = Limiter::default();
        let rate = Rate { in_flight: 2, ..RATE };
        assert_eq!(limiter.acquire("a", rate, 0), Grant::Go);
        assert_eq!(limiter.acquire("a", rate, 0), Grant::Go);
        assert!(matches!(limiter.acquire("a", rate, 0), Grant::Wait(_)));
        limiter.release("a");
        assert_eq!(limiter.acquire("a", rate, 0), Grant::Go);
    }

    #[test]
    fn a_site_may_ask_for_less_but_not_for_more() {
        let mut limiter = Limiter::default();
        assert_eq!(granted(&mut limiter, RATE, [0]), [0]);
        limiter.delay("a", 500);
        assert_eq!(granted(&mut limiter, RATE, (0..1200).step_by(10)), [500, 1000]);
        limiter.delay("a", 1);
        assert_eq!(granted(&mut limiter, RATE, 5000..5010).len(), 3, "less than ours changes nothing");
    }

    #[test]
    fn a_rest_is_kept_and_comes_by_itself_after_three_failures() {
        let mut limiter = Limiter::default();
        assert_eq!(granted(&mut limiter, RATE, [0]), [0]);
        limiter.rest("a", 1000);
        limiter.rest("a", 500);
        assert_eq!(limiter.acquire("a", RATE, 999), Grant::Wait(1));
        assert_eq!(granted(&mut limiter, RATE, [1000]), [1000]);
        limiter.failed("a", 5000, 1000);
        limiter.failed("a", 5000, 1000);
        limiter.succeeded("a");
        limiter.failed("a", 5000, 1000);
        limiter.failed("a", 5000, 1000);
        assert_eq!(granted(&mut limiter, RATE, [1200]), [1200]);
        limiter.failed("a", 5000, 1200);
        assert_eq!(limiter.acquire("a", RATE, 1300), Grant::Wait(4900));
    }

    #[test]
    fn memory_is_bounded_and_forgetting_frees_nobody() {
        let mut limiter = Limiter::default();
        for i in 0..MAX_SITES {
            let name = i.to_string();
            assert_eq!(limiter.acquire(&name, RATE, 0), Grant::Go);
        }
        assert!(matches!(limiter.acquire("new", RATE, 10), Grant::Wait(_)), "all are under way");
        for i in 0..MAX_SITES {
            limiter.release(&i.to_string());
        }
        limiter.rest("7", 5000);
        assert_eq!(limiter.acquire("new", RATE, 1000), Grant::Go);
        assert_eq!(limiter.acquire("7", RATE, 1000), Grant::Wait(4000), "a rest is not forgotten");
        assert_eq!(limiter.sites.len(), 2);
    }

    proptest! {
        /// In any span of time t, a site gets at most its burst and t / interval requests more.
        #[test]
        fn no_span_holds_more_than_the_rate(
            steps in prop::collection::vec(0_u64..200, 1..300),
            interval in 1_u64..150,
            burst in 1_u32..6,
        ) {
            let rate = Rate { interval, burst, in_flight: 1 };
            let mut now = 0;
            let times = steps.into_iter().map(|step| { now += step; now }).collect::<Vec<_>>();
            let times = granted(&mut Limiter::default(), rate, times);
            for (i, begin) in times.iter().enumerate() {
                for (n, end) in times[i..].iter().enumerate() {
                    prop_assert!(n as u64 <= u64::from(burst) - 1 + (end - begin) / interval);
                }
            }
        }
    }
}
