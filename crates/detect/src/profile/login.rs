//! Logins as services tell them in their logs: by source, by account, by service, and by what was typed as a name.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::login::{NameReading, Names};
use crate::{Actor, Metric};
use auth::{LoginEvent, Outcome};
use flow::sketch::Distinct;
use wire::Addr;

/// Sources remembered, some 150 to 300 bytes each.
const SOURCES: usize = 16_384;
/// Accounts (user and service) remembered, some 80 to 200 bytes each.
const ACCOUNTS: usize = 16_384;
/// Services remembered: a host has few, and names come from its own configuration.
const SERVICES: usize = 256;
/// Names remembered with what they look like, so that one tried again and again is looked at once.
const NAMES: usize = 4096;
const MINUTE_NS: u64 = 60_000_000_000;
const TEN_MINUTES_NS: u64 = 10 * MINUTE_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;
/// Failures of a source before anything is observed of it: people mistype.
const ENOUGH_OF_SOURCE: u32 = 3;
/// Failures at an account, and attempts at a service, before anything is observed of them.
const ENOUGH_OF_ACCOUNT: u32 = 8;
/// See [`ENOUGH_OF_ACCOUNT`].
const ENOUGH_OF_SERVICE: u32 = 16;
/// A service is observed once in so many events.
const EVERY: u32 = 8;

/// What came of logins in a running window.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    since_ns: u64,
    /// Failures of users that exist, or of whom nothing is said.
    failed: u32,
    /// Failures of users that do not exist.
    failed_unknown: u32,
    /// Users that do not exist, told on a line of their own beside the failure or in its place.
    unknown: u32,
    accepted: u32,
}

impl Tally {
    /// Begins anew where the window is over; says whether it did.
    fn roll(&mut self, now_ns: u64, length_ns: u64) -> bool {
        let over = now_ns.saturating_sub(self.since_ns) > length_ns || self.since_ns == 0;
        if over {
            *self = Self { since_ns: now_ns, ..Self::default() };
        }
        over
    }

    fn add(&mut self, event: &LoginEvent) {
        let place = match (event.outcome, event.unknown_user) {
            (Outcome::Failed, false) => &mut self.failed,
            (Outcome::Failed, true) => &mut self.failed_unknown,
            (Outcome::UnknownUser, _) => &mut self.unknown,
            (Outcome::Accepted, _) => &mut self.accepted,
            (Outcome::Note, _) => return,
        };
        *place = place.saturating_add(event.tries);
    }

    /// Failures: each at an unknown user is told on one line or on two.
    fn failures(&self) -> u32 {
        self.failed.saturating_add(self.failed_unknown.max(self.unknown))
    }

    fn attempts(&self) -> u32 {
        self.failures().saturating_add(self.accepted)
    }

    fn success_ratio(&self) -> Option<f64> {
        ratio(self.accepted, self.attempts())
    }
}

fn ratio(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

/// What one source did.
#[derive(Debug, Default)]
struct Source {
    minute: Tally,
    ten: Tally,
    hour: Tally,
    /// Users it failed to be, in the ten minutes.
    users: Distinct,
}

/// What was done to one account.
#[derive(Debug, Default)]
struct Account {
    hour: Tally,
    sources: Distinct,
    /// Its only source so far.
    only: Option<Addr>,
}

/// What was done to one service.
#[derive(Debug, Default)]
struct Service {
    ten: Tally,
    events: u32,
    sources: Distinct,
    users: Distinct,
}

/// Logins from logs; see the module.
#[derive(Debug)]
pub(crate) struct Logins {
    sources: Table<Addr, Source>,
    accounts: Table<u64, Account>,
    services: Table<u64, Service>,
    /// What names look like, by their hash.
    read: Table<u64, Option<NameReading>>,
    /// Read when the first name needs it: most hosts never see one.
    names: Option<Names>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            sources: Table::new(SOURCES, HOUR_NS),
            accounts: Table::new(ACCOUNTS, HOUR_NS),
            services: Table::new(SERVICES, HOUR_NS),
            read: Table::new(NAMES, HOUR_NS),
            names: None,
        }
    }
}

/// The lower half of a hash, for counting.
const fn low(hash: u64) -> u32 {
    hash as u32
}

impl Logins {
    fn source(
        &mut self,
        now_ns: u64,
        event: &LoginEvent,
        server: Addr,
        user: u64,
        out: &mut Vec<Observation>,
    ) {
        let Some(addr) = event.source else { return };
        let source = self.sources.touch(addr, now_ns);
        source.minute.roll(now_ns, MINUTE_NS);
        source.hour.roll(now_ns, HOUR_NS);
        if source.ten.roll(now_ns, TEN_MINUTES_NS) {
            source.users = Distinct::default();
        }
        for tally in [&mut source.minute, &mut source.ten, &mut source.hour] {
            tally.add(event);
        }
        if event.outcome != Outcome::Accepted && event.user.is_some() {
            source.users.insert(low(user));
        }
        let failures = source.ten.failures();
        if source.hour.failures() < ENOUGH_OF_SOURCE {
            return;
        }
        let users = source.users.estimate();
        let values = Values::default()
            .with(Metric::LoginFailures, f64::from(failures))
            .with(Metric::LoginFailuresMinute, f64::from(source.minute.failures()))
            .with(Metric::LoginFailuresHour, f64::from(source.hour.failures()))
            .with(Metric::LoginUsers, f64::from(users))
            .with_some(Metric::LoginSuccessRatio, source.hour.success_ratio())
            .with_some(Metric::LoginFailuresPerUser, ratio(failures, users))
            .with_some(
                Metric::LoginFailuresBeforeSuccess,
                (event.outcome == Outcome::Accepted).then(|| f64::from(source.hour.failures())),
            );
        let actor = Actor::Source { addr };
        out.push(observed(Subject::LoginSource, actor, event, server, source.ten.since_ns, values));
    }

    fn account(
        &mut self,
        now_ns: u64,
        event: &LoginEvent,
        server: Addr,
        user: u64,
        out: &mut Vec<Observation>,
    ) {
        let Some(name) = event.user.as_deref().filter(|n| !n.is_empty()) else { return };
        let account = self.accounts.touch(user ^ hash(&event.service).rotate_left(17), now_ns);
        if account.hour.roll(now_ns, HOUR_NS) {
            (account.sources, account.only) = (Distinct::default(), None);
        }
        account.hour.add(event);
        if let Some(source) = from(event) {
            let first = account.sources.estimate() == 0;
            account.sources.insert(source);
            if first {
                account.only = event.source;
            }
        }
        let failures = account.hour.failures();
        if failures < ENOUGH_OF_ACCOUNT || event.outcome == Outcome::Accepted {
            return;
        }
        let sources = account.sources.estimate();
        let actor = match account.only {
            Some(addr) if sources == 1 => Actor::Source { addr },
            _ => Actor::Distributed { target: server },
        };
        let service_account = crate::login::is_service_account(name);
        let values = account_values(failures, sources, account.hour.success_ratio(), service_account);
        let mut observation =
            observed(Subject::LoginAccount, actor, event, server, account.hour.since_ns, values);
        // A name that may be somebody's password is not shown.
        if crate::login::is_plain(name) {
            observation.detail = Some(format!("user {name} at {}", event.service).into());
        }
        out.push(observation);
    }

    fn service(
        &mut self,
        now_ns: u64,
        event: &LoginEvent,
        server: Addr,
        user: u64,
        out: &mut Vec<Observation>,
    ) {
        let service = self.services.touch(hash(&event.service), now_ns);
        if service.ten.roll(now_ns, TEN_MINUTES_NS) {
            *service = Service { ten: service.ten, ..Service::default() };
        }
        service.ten.add(event);
        service.events = service.events.wrapping_add(1);
        if let Some(source) = from(event) {
            service.sources.insert(source);
        }
        if event.user.is_some() {
            service.users.insert(low(user));
        }
        let attempts = service.ten.attempts();
        if attempts < ENOUGH_OF_SERVICE || !service.events.is_multiple_of(EVERY) {
            return;
        }
        let (sources, users) = (service.sources.estimate(), service.users.estimate());
        let values = service_values(attempts, sources, users, service.ten.success_ratio());
        let actor = Actor::Distributed { target: server };
        out.push(observed(Subject::LoginService, actor, event, server, service.ten.since_ns, values));
    }

    fn name(&mut self, now_ns: u64, event: &LoginEvent, server: Addr, user: u64, out: &mut Vec<Observation>) {
        let (Some(name), Some(addr)) = (event.user.as_deref(), event.source) else { return };
        // Whoever was let in typed a name.
        if event.outcome == Outcome::Accepted || !crate::login::is_odd(name) {
            return;
        }
        let names = self.names.get_or_insert_with(Names::builtin);
        let reading = *self.read.touch(user, now_ns).get_or_insert_with(|| names.read(name));
        let values = name_values(&reading);
        let mut observation =
            observed(Subject::LoginName, Actor::Source { addr }, event, server, now_ns, values);
        if reading.shows() {
            observation.detail = Some(format!("{} user {name}", event.service).into());
        }
        out.push(observation);
    }
}

/// A hash of where an event came from, if it says.
fn from(event: &LoginEvent) -> Option<u32> {
    match (&event.source, &event.source_name) {
        (Some(addr), _) => {
            let half = |at: usize| addr.0[at..at + 8].iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
            let mixed = (half(0) ^ half(8).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Some((mixed >> 32) as u32)
        }
        (None, Some(name)) => Some(low(hash(name))),
        (None, None) => None,
    }
}

/// The values of [`Subject::LoginAccount`].
pub(crate) fn account_values(
    failures: u32,
    sources: u32,
    success_ratio: Option<f64>,
    service_account: bool,
) -> Values {
    Values::default()
        .with(Metric::AccountFailures, f64::from(failures))
        .with(Metric::AccountSources, f64::from(sources))
        .with(Metric::AccountIsService, f64::from(u8::from(service_account)))
        .with_some(Metric::AccountSuccessRatio, success_ratio)
}

/// The values of [`Subject::LoginService`].
pub(crate) fn service_values(attempts: u32, sources: u32, users: u32, success_ratio: Option<f64>) -> Values {
    Values::default()
        .with(Metric::ServiceAttempts, f64::from(attempts))
        .with(Metric::ServiceSources, f64::from(sources))
        .with(Metric::ServiceUsers, f64::from(users))
        .with_some(Metric::ServiceAttemptsPerUser, ratio(attempts, users))
        .with_some(Metric::ServiceSuccessRatio, success_ratio)
}

/// The values of [`Subject::LoginName`].
pub(crate) fn name_values(reading: &NameReading) -> Values {
    Values::default()
        .with(Metric::NameCommand, f64::from(reading.command))
        .with(Metric::NamePassword, f64::from(reading.password))
}

fn observed(
    subject: Subject,
    actor: Actor,
    event: &LoginEvent,
    server: Addr,
    since_ns: u64,
    values: Values,
) -> Observation {
    Observation {
        subject,
        actor,
        target: Some(server),
        port: event.port,
        protocol: None,
        flow: None,
        detail: Some(event.service.as_ref().into()),
        since_ns,
        values,
    }
}

impl Profile for Logins {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::LoginSource, Subject::LoginAccount, Subject::LoginService, Subject::LoginName]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Login]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Login { event, server } = fact else { return };
        let user = hash(event.user.as_deref().unwrap_or_default());
        self.name(now_ns, event, *server, user, out);
        self.source(now_ns, event, *server, user, out);
        self.account(now_ns, event, *server, user, out);
        self.service(now_ns, event, *server, user, out);
    }

    fn evicted(&self) -> u64 {
        // Names are read again: nothing is lost with one.
        self.sources.evicted() + self.accounts.evicted() + self.services.evicted()
    }
}
