//! Judgements of logins that somebody else has counted.

use super::{NameKind, Names, is_plain, is_service_account};
use crate::detector::Compiled;
use crate::profile::login::{account_values, name_values, service_values};
use crate::profile::{Observation, Subject, Values};
use crate::{Actor, Metric, RuleSet, Signal};
use serde::{Deserialize, Serialize};
use wire::Addr;

/// From so many addresses on, nobody alone is to blame.
const MANY_SOURCES: u32 = 4;

/// Logins at one service as counted elsewhere, over up to an hour or so.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct LoginSummary {
    /// The user name as typed, where there is one.
    pub user: Option<String>,
    /// What the name is, where the name itself is not told.
    pub user_kind: Option<NameKind>,
    /// Attempts that failed.
    pub failed: u32,
    /// Attempts that succeeded.
    pub successful: u32,
    /// Different addresses they came from, at least 1.
    pub sources: u32,
    /// Different users; without it one if a user or its kind is told, else as many as addresses.
    pub users: Option<u32>,
    /// The address they came from, where it is one.
    pub source: Option<Addr>,
    /// The host that was logged in to.
    pub server: Option<Addr>,
}

/// Judges summaries by the rules about logins: the same rules, thresholds and overrides as for logs. Keeps nothing from one
/// summary to the next.
#[derive(Debug)]
pub struct SummaryJudge {
    rules: Vec<Compiled>,
    names: Names,
}

impl SummaryJudge {
    /// A judge by the enabled rules of a set.
    #[must_use]
    pub fn new(set: RuleSet) -> Self {
        let about_logins = |s: Subject| {
            matches!(
                s,
                Subject::LoginSource | Subject::LoginAccount | Subject::LoginService | Subject::LoginName
            )
        };
        let rules = set.into_rules().into_iter().filter(|r| r.enabled && about_logins(r.subject));
        Self { rules: rules.map(Compiled::new).collect(), names: Names::builtin() }
    }

    /// The classifier of user names.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// What the rules say of a summary, the most severe first, then the surest.
    #[must_use]
    pub fn judge(&self, now_ns: u64, summary: &LoginSummary) -> Vec<Signal> {
        let mut signals: Vec<Signal> = self
            .observations(now_ns, summary)
            .iter()
            .flat_map(|o| self.rules.iter().filter_map(|rule| rule.judge(now_ns, o)))
            .collect();
        signals.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then(b.confidence.total_cmp(&a.confidence)).then(a.sid.cmp(&b.sid))
        });
        signals
    }

    /// A summary as what the profile of logins would have observed.
    fn observations(&self, now_ns: u64, s: &LoginSummary) -> Vec<Observation> {
        let server = s.server.unwrap_or(Addr::v4([127, 0, 0, 1]));
        let attempts = s.failed.saturating_add(s.successful);
        let ratio = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        let success_ratio = ratio(s.successful, attempts);
        let sources = s.sources.max(1);
        let one_user = s.user.is_some() || s.user_kind.is_some();
        let users = s.users.unwrap_or(if one_user { 1 } else { sources });
        let actor = match s.source {
            Some(addr) if sources < MANY_SOURCES => Actor::Source { addr },
            // One unnamed source is the best that can be said; there is nobody to block either way.
            _ => Actor::Distributed { target: server },
        };
        let observed = |subject, values, detail: Option<String>| Observation {
            subject,
            actor,
            target: Some(server),
            port: None,
            protocol: None,
            flow: None,
            detail: detail.map(Into::into),
            since_ns: now_ns,
            values,
        };
        let mut all = Vec::new();
        let shown = s.user.as_deref().filter(|n| is_plain(n)).map(|n| format!("user {n}"));
        if one_user {
            let service = s.user_kind == Some(NameKind::ServiceAccount)
                || s.user.as_deref().is_some_and(is_service_account);
            let values = account_values(s.failed, sources, success_ratio, service);
            all.push(observed(Subject::LoginAccount, values, shown));
        }
        all.push(observed(
            Subject::LoginService,
            service_values(attempts, sources, users, success_ratio),
            None,
        ));
        if sources < MANY_SOURCES {
            let values = Values::default()
                .with(Metric::LoginFailures, f64::from(s.failed))
                .with(Metric::LoginFailuresHour, f64::from(s.failed))
                .with(Metric::LoginUsers, f64::from(users))
                .with_some(Metric::LoginSuccessRatio, success_ratio)
                .with_some(Metric::LoginFailuresPerUser, ratio(s.failed, users))
                .with_some(
                    Metric::LoginFailuresBeforeSuccess,
                    (s.successful > 0).then(|| f64::from(s.failed)),
                );
            all.push(observed(Subject::LoginSource, values, None));
        }
        let reading = match (&s.user, s.user_kind) {
            (Some(name), _) => Some(self.names.read(name)),
            (None, Some(kind)) => Some(super::NameReading {
                command: f32::from(u8::from(matches!(kind, NameKind::Command | NameKind::SqlOrScript))),
                password: f32::from(u8::from(kind == NameKind::PasswordLike)),
            }),
            (None, None) => None,
        };
        if let Some(reading) = reading {
            let detail = s.user.as_ref().filter(|_| reading.shows());
            let detail = detail.map(|n| format!("user {}", auth::clean(n.as_bytes(), auth::MAX_USER)));
            all.push(observed(Subject::LoginName, name_values(&reading), detail));
        }
        all
    }
}
