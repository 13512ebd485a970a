//! What became of the requests: by kind, country and category, failures by their kind, and how long answers took.

use super::sites::{Belonging, Category, Country};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A site's robots.txt.
    Robots,
    /// A page.
    Page,
    /// A part of a page.
    Part,
    /// A resource for programs.
    Api,
    /// The beginning of a file.
    Download,
    /// A piece of a recording.
    Stream,
    /// A question to the name server.
    Dns,
    /// A question to a time server.
    Ntp,
    /// An SSH identification line.
    Ssh,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Robots,
        Self::Page,
        Self::Part,
        Self::Api,
        Self::Download,
        Self::Stream,
        Self::Dns,
        Self::Ntp,
        Self::Ssh,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Robots => "robots",
            Self::Page => "page",
            Self::Part => "part",
            Self::Api => "api",
            Self::Download => "download",
            Self::Stream => "stream",
            Self::Dns => "dns",
            Self::Ntp => "ntp",
            Self::Ssh => "ssh",
        }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("no such name")]
    NoName,
    /// No name server gave a usable answer.
    #[error("no answer from the name server")]
    NameServer,
    /// The name led to an address that must not be visited: in the lab a foreign one, else one that is not public.
    #[error("forbidden address")]
    Address,
    /// No connection: refused or no route.
    #[error("no connection")]
    Connect,
    /// The handshake failed or the certificate is not trusted.
    #[error("TLS")]
    Tls,
    /// It took too long.
    #[error("timed out")]
    Timeout,
    /// The connection broke off.
    #[error("broken off")]
    Broken,
    /// The answer breaks the rules of its protocol.
    #[error("not understood")]
    Protocol,
    /// More redirections than are followed, or one that leads nowhere.
    #[error("redirections")]
    Redirects,
    /// HTTP 429, or an NTP server's kiss of death.
    #[error("asked to slow down")]
    SlowDown,
    /// Another HTTP 4xx.
    #[error("HTTP 4xx")]
    ClientError,
    /// HTTP 5xx.
    #[error("HTTP 5xx")]
    ServerError,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoName,
        Self::NameServer,
        Self::Address,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Protocol,
        Self::Redirects,
        Self::SlowDown,
        Self::ClientError,
        Self::ServerError,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::NameServer => "name_server",
            Self::Address => "forbidden_address",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken_off",
            Self::Protocol => "protocol",
            Self::Redirects => "redirects",
            Self::SlowDown => "slow_down",
            Self::ClientError => "http_4xx",
            Self::ServerError => "http_5xx",
        }
    }

    /// Whether it suggests leaving the site alone for a while.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Connect | Self::Tls | Self::Timeout | Self::Broken | Self::Protocol | Self::ServerError
        )
    }
}

/// Requests of one kind, country or category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Sent.
    pub started: u64,
    /// Answered, to the end or to the limit of bytes.
    pub completed: u64,
    /// Not.
    pub failed: u64,
    /// Bytes of the answers' bodies or datagrams.
    pub bytes: u64,
}

impl Count {
    /// Sent and neither answered nor failed: under way, or given up when the run ended.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.started.saturating_sub(self.completed + self.failed)
    }
}

/// All counts. What was decided not to be requested is under `skipped`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    /// All requests.
    pub total: Count,
    /// By [`Kind`].
    #[serde(serialize_with = "by_kind")]
    pub kinds: [Count; Kind::ALL.len()],
    /// By country of the list's entry.
    pub countries: BTreeMap<Country, Count>,
    /// By [`Category`] of the list's entry.
    #[serde(serialize_with = "by_category")]
    pub categories: [Count; Category::ALL.len()],
    /// By [`Failure`].
    #[serde(serialize_with = "by_failure")]
    pub failures: [u64; Failure::ALL.len()],
    /// What was not requested.
    pub skipped: Skipped,
    /// Answers of which only the beginning was read, because they were longer than is read of their kind.
    pub cut: u64,
    /// Visits begun.
    pub visits: u64,
    /// Time from sending a request to the end of its answer.
    #[serde(serialize_with = "quantiles")]
    pub latency: Latency,
}

/// What was not requested, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The site's robots.txt asks not to.
    pub robots: u64,
    /// The site's turn would have come too late.
    pub busy: u64,
}

impl Statistics {
    /// A request is being sent.
    pub fn start(&mut self, kind: Kind, belonging: Belonging) {
        self.each(kind, belonging, |c| c.started += 1);
    }

    /// A request was answered.
    pub fn complete(&mut self, kind: Kind, belonging: Belonging, bytes: u64, took: Duration) {
        self.each(kind, belonging, |c| {
            c.completed += 1;
            c.bytes += bytes;
        });
        self.latency.note(took);
    }

    /// A request failed.
    pub fn fail(&mut self, kind: Kind, belonging: Belonging, failure: Failure) {
        self.each(kind, belonging, |c| c.failed += 1);
        self.failures[failure as usize] += 1;
    }

    fn each(&mut self, kind: Kind, belonging: Belonging, change: impl Fn(&mut Count)) {
        change(&mut self.total);
        change(&mut self.kinds[kind as usize]);
        change(&mut self.categories[belonging.category as usize]);
        // Bounded by the number of countries there are.
        change(self.countries.entry(belonging.country).or_default());
    }

    /// Requests of one kind.
    #[must_use]
    pub const fn kind(&self, kind: Kind) -> Count {
        self.kinds[kind as usize]
    }

    /// Failures of one kind.
    #[must_use]
    pub const fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize]
    }
}

fn by_kind<S: Serializer>(counts: &[Count], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(Kind::ALL.iter().map(|k| k.name()).zip(counts))
}

fn by_category<S: Serializer>(counts: &[Count], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(Category::ALL.iter().map(|c| c.name()).zip(counts))
}

fn by_failure<S: Serializer>(counts: &[u64], s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(Failure::ALL.iter().map(|f| f.name()).zip(counts))
}

fn quantiles<S: Serializer>(latency: &Latency, s: S) -> Result<S::Ok, S::Error> {
    let names = [("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)];
    s.collect_map(names.map(|(name, q)| (name, latency.quantile(q).map(|d| d.as_secs_f64() * 1000.0))))
}

/// Bins for each doubling of the time: quantiles are exact to 19 %.
const BINS_PER_DOUBLING: u32 = 4;
/// Bins, from 1 µs on; the last takes everything from about half an hour on.
const BINS: usize = 124;

/// A histogram of times.
#[derive(Clone)]
pub struct Latency([u64; BINS]);

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles = [0.5, 0.95, 0.99].map(|q| self.quantile(q));
        f.debug_tuple("Latency").field(&quantiles).finish()
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self([0; BINS])
    }
}

impl Latency {
    /// Counts one time.
    pub fn note(&mut self, took: Duration) {
        let micros = (took.as_nanos() as f64 / 1000.0).max(1.0);
        let bin = (micros.log2() * f64::from(BINS_PER_DOUBLING)) as usize;
        self.0[bin.min(BINS - 1)] += 1;
    }

    /// The upper end of the bin in which the share `q` of the times is reached; `None` without any.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        let wanted = (total as f64 * q).ceil().max(1.0) as u64;
        let mut below = 0;
        let bin = self.0.iter().position(|n| {
            below += n;
            below >= wanted
        })?;
        let micros = ((bin + 1) as f64 / f64::from(BINS_PER_DOUBLING)).exp2();
        Some(Duration::from_secs_f64(micros / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kinds_are_in_the_order_of_their_counts() {
        assert!(Kind::ALL.iter().enumerate().all(|(i, k)| *k as usize == i));
        assert!(Failure::ALL.iter().enumerate().all(|(i, f)| *f as usize == i));
        assert!(Category::ALL.iter().enumerate().all(|(i, c)| *c as usize == i));
    }

    #[test]
    fn a_request_is_counted_in_every_view_of_it() {
        let belonging =
            Belonging { country: Country::parse("SE").expect("country"), category: Category::News };
        let mut s = Statistics::default();
        for _ in 0..3 {
            s.start(Kind::Page, belonging);
        }
        s.complete(Kind::Page, belonging, 100, Duration::from_millis(10));
        s.fail(Kind::Page, belonging, Failure::Tls);
        let expected = Count { started: 3, completed: 1, failed: 1, bytes: 100 };
        assert_eq!(s.total, expected);
        assert_eq!(s.kind(Kind::Page), expected);
        assert_eq!(s.total.open(), 1);
        let json = serde_json::to_value(&s).expect("JSON");
        for pointer in ["/total", "/kinds/page", "/countries/SE", "/categories/news"] {
            assert_eq!(json.pointer(&format!("{pointer}/started")), Some(&3.into()), "{pointer}");
        }
        assert_eq!(json["failures"]["tls"], 1);
    }

    #[test]
    fn quantiles_are_near() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(0.5), None);
        for ms in 1..=1000 {
            latency.note(Duration::from_millis(ms));
        }
        latency.note(Duration::from_secs(1_000_000));
        for (q, ms) in [(0.5, 500.0), (0.95, 950.0)] {
            let got = latency.quantile(q).expect("some").as_secs_f64() * 1000.0;
            assert!(got >= ms && got < ms * 1.2, "{q}: {got}");
        }
    }
}
