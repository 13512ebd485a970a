//! Bounded traffic, ordinary and hostile.
//!
//! Every generator refuses destinations that are neither loopback nor inside a [`crate::range`], and stops at the
//! first of its three limits: a count, a duration, and a rate it never exceeds. What it sends is run of the mill: the
//! point is to be recognised, not to evade.

pub mod act;
pub mod client;
pub mod dns;
pub mod flood;
pub mod http;
mod link;
pub mod meter;
pub(crate) mod server;
mod socket;
pub mod ssh;

pub use client::{Client, Count, Services, Statistics};
pub use meter::Meter;
pub use server::Server;

use crate::{address, range};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most packets or connections of one generator.
pub const MAX_COUNT: u64 = 1_000_000;
/// Highest rate of one generator, packets or connections a second.
pub const MAX_RATE: u32 = 50_000;
/// Longest run of one generator.
pub const MAX_DURATION: Duration = Duration::from_secs(120);

/// Why traffic was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// An address that is not ours to send to, or from.
    #[error("{0} is neither loopback nor inside a lab range: nothing is sent there")]
    Forbidden(IpAddr),
    /// Source and destination of different IP versions.
    #[error("{0} and {1} are of different IP versions")]
    Versions(IpAddr, IpAddr),
    /// A limit of zero, or beyond the bounds of this module.
    #[error(
        "count must be 1 to {MAX_COUNT}, rate 1 to {MAX_RATE} a second, duration at most {} s",
        MAX_DURATION.as_secs()
    )]
    Limits,
    /// No act or service of that name.
    #[error("there is no {what} '{name}'; there are {known}")]
    Unknown {
        /// Act or service.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Arguments that do not fit.
    #[error(transparent)]
    Argument(#[from] crate::arguments::ArgumentError),
    /// The kernel refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl TrafficError {
    pub(crate) fn io<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { what, source: source.into() }
    }
}

/// When a generator stops, whichever comes first, and how fast it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    count: u64,
    rate: u32,
    duration: Duration,
}

impl Limits {
    /// At most `count` packets or connections, `rate` of them a second, for at most `duration`.
    ///
    /// # Errors
    /// [`TrafficError::Limits`] if one is zero or beyond [`MAX_COUNT`], [`MAX_RATE`] or [`MAX_DURATION`].
    pub fn new(count: u64, rate: u32, duration: Duration) -> Result<Self, TrafficError> {
        let fits = (1..=MAX_COUNT).contains(&count)
            && (1..=MAX_RATE).contains(&rate)
            && !duration.is_zero()
            && duration <= MAX_DURATION;
        if fits { Ok(Self { count, rate, duration }) } else { Err(TrafficError::Limits) }
    }

    /// An equal part of count and rate for each of `parts` that run at once; at least one of each.
    fn part(self, parts: u64) -> Result<Self, TrafficError> {
        let parts = parts.max(1);
        let rate = u32::try_from(u64::from(self.rate) / parts).unwrap_or(1);
        Self::new((self.count / parts).max(1), rate.max(1), self.duration)
    }
}

/// A generator's remote control: stops it early, and tells how far it is. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Control {
    /// A fresh one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the generator to stop; it does within some 20 ms, or after the connection at hand.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Packets sent or connections tried so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps, unless stopped; says whether to go on.
    fn sleep(&self, time: Duration) -> bool {
        let begun = Instant::now();
        while !self.is_stopped() {
            match time.checked_sub(begun.elapsed()) {
                None | Some(Duration::ZERO) => return true,
                Some(left) => std::thread::sleep(left.min(Duration::from_millis(20))),
            }
        }
        false
    }
}

/// Lets a loop run at a rate, within limits.
struct Pace<'a> {
    limits: Limits,
    control: &'a Control,
    begun: Instant,
    /// When the next one is due.
    due: Instant,
    done: u64,
}

/// A late loop catches up at most this much, so that a pause never becomes a burst far above the rate.
const CATCH_UP: Duration = Duration::from_millis(20);

impl<'a> Pace<'a> {
    fn new(limits: Limits, control: &'a Control) -> Self {
        let now = Instant::now();
        Self { limits, control, begun: now, due: now, done: 0 }
    }

    /// Waits until the next one is due and counts it; `None` once a limit is reached or a stop was asked for.
    fn next(&mut self) -> Option<u64> {
        let now = Instant::now();
        let over = self.done >= self.limits.count || now - self.begun >= self.limits.duration;
        if over || self.control.is_stopped() {
            return None;
        }
        match self.due.checked_duration_since(now) {
            Some(wait) if !self.control.sleep(wait) => return None,
            Some(_) => {}
            None if now - self.due > CATCH_UP => self.due = now - CATCH_UP,
            None => {}
        }
        self.due += Duration::from_secs(1) / self.limits.rate;
        self.done += 1;
        self.control.count();
        Some(self.done - 1)
    }
}

/// Passes loopback, and a range's addresses while inside a range. The second condition matters: on the outside,
/// even documentation addresses may be routed somewhere.
pub(crate) fn permit(addr: IpAddr) -> Result<(), TrafficError> {
    if addr.is_loopback() || (address::is_lab(addr) && range::is_inside()) {
        Ok(())
    } else {
        Err(TrafficError::Forbidden(addr))
    }
}

/// As [`permit`] for both ends, which must be of one version.
fn permit_pair(source: IpAddr, target: IpAddr) -> Result<(), TrafficError> {
    permit(target)?;
    permit(source)?;
    if source.is_ipv4() == target.is_ipv4() { Ok(()) } else { Err(TrafficError::Versions(source, target)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bounded() {
        let s = Duration::from_secs(1);
        for (count, rate, duration, fits) in [
            (1, 1, s, true),
            (MAX_COUNT, MAX_RATE, MAX_DURATION, true),
            (0, 1, s, false),
            (1, 0, s, false),
            (1, 1, Duration::ZERO, false),
            (MAX_COUNT + 1, 1, s, false),
            (1, MAX_RATE + 1, s, false),
            (1, 1, MAX_DURATION + s, false),
        ] {
            assert_eq!(Limits::new(count, rate, duration).is_ok(), fits, "{count} {rate} {duration:?}");
        }
    }

    #[test]
    fn pace_keeps_count_rate_and_duration() {
        let control = Control::new();
        let run = |count, rate, ms| {
            let limits = Limits::new(count, rate, Duration::from_millis(ms)).expect("in bounds");
            let begun = Instant::now();
            let mut pace = Pace::new(limits, &control);
            while pace.next().is_some() {}
            (pace.done, begun.elapsed())
        };
        assert_eq!(run(5, MAX_RATE, 1000).0, 5);
        let (done, took) = run(1000, 100, 200);
        assert!((10..=23).contains(&done), "{done} in {took:?}");
        assert!(took < Duration::from_millis(600), "{took:?}");
        control.stop();
        assert_eq!(run(5, 1, 1000).0, 0);
    }

    #[test]
    fn only_loopback_is_permitted_outside_a_range() {
        for (addr, fits) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("192.0.2.110", false),
            ("2001:db8::110", false),
            ("198.51.100.1", false),
            ("8.8.8.8", false),
            ("255.255.255.255", false),
            ("ff02::1", false),
        ] {
            assert_eq!(permit(addr.parse().expect("address")).is_ok(), fits, "{addr}");
        }
    }
}
