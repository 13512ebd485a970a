//! Logins over HTTP that can be read: who tries whose, and what the server answers.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use flow::FlowKey;
use rustc_hash::FxHashSet;
use wire::Addr;
use wire::message::http::Response;
use wire::message::{Message, Side};

/// Pairs of client and server remembered, some 1.3 KB each at most.
const CAPACITY: usize = 4096;
/// Length of the window in which logins are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Connections on which a login waits for its answer, some 70 bytes each.
const WAITING: usize = 4096;
/// Different users of one client at one server told apart.
const USERS: usize = 64;
/// What servers answer to a wrong login (RFC 9110 §15.5, RFC 4918 §11.3, RFC 6585 §4): bad request, which is how OAuth
/// refuses (RFC 6749 §5.2), unauthorized, forbidden, unprocessable, locked, too many requests.
const REFUSALS: [u16; 6] = [400, 401, 403, 422, 423, 429];

/// A login that waits for its answer.
#[derive(Debug, Default)]
struct Waiting {
    /// Hash of the user.
    user: u64,
    /// Whether it came in the body of the request.
    form: bool,
}

/// What came of one client's logins in the running window.
#[derive(Debug, Default)]
struct Logins {
    since_ns: u64,
    refused: u32,
    form_again: u32,
    others: u32,
    /// Hashes of the users refused.
    users: FxHashSet<u64>,
}

/// Logins over HTTP; see the module.
#[derive(Debug)]
pub(crate) struct HttpLogins {
    waiting: Table<FlowKey, Waiting>,
    pairs: Table<(Addr, Addr), Logins>,
}

impl Default for HttpLogins {
    fn default() -> Self {
        Self { waiting: Table::new(WAITING, WINDOW_NS), pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

impl Profile for HttpLogins {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::HttpLogins]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message } = fact else { return };
        let (user, form) = match message {
            Message::HttpRequest(request) => (request.user.as_deref(), false),
            Message::HttpBody(body) if body.request && body.user.is_some() => (body.user.as_deref(), true),
            Message::HttpResponse(response) if response.status >= 200 => {
                let asking = if *from == Side::Server { Side::Client } else { Side::Server };
                let Some(login) = self.waiting.get(&flow.key, now_ns) else { return };
                let (user, form) = (login.user, login.form);
                self.waiting.remove(&flow.key);
                let ((client, _), (server, _)) = speaker(flow, asking);
                if let Some((since_ns, values)) =
                    self.answer(now_ns, (client, server), (user, form), response)
                {
                    out.push(Observation::of_speaker(Subject::HttpLogins, flow, asking, since_ns, values));
                }
                return;
            }
            _ => return,
        };
        match user {
            Some(user) => *self.waiting.touch(flow.key, now_ns) = Waiting { user: hash(user), form },
            // The next answer is to another request.
            None => self.waiting.remove(&flow.key),
        }
    }

    fn evicted(&self) -> u64 {
        self.waiting.evicted() + self.pairs.evicted()
    }
}

impl HttpLogins {
    /// Notes the answer to a login. If it was refused: since when is counted, and the counts.
    fn answer(
        &mut self,
        now_ns: u64,
        ends: (Addr, Addr),
        (user, form): (u64, bool),
        response: &Response,
    ) -> Option<(u64, Values)> {
        let pair = self.pairs.touch(ends, now_ns);
        if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Logins { since_ns: now_ns, ..Logins::default() };
        }
        let page = response.content_type.as_deref() == Some("text/html");
        let count = if REFUSALS.contains(&response.status) {
            &mut pair.refused
        } else if form && response.status == 200 && page {
            &mut pair.form_again
        } else {
            pair.others = pair.others.saturating_add(1);
            return None;
        };
        *count = count.saturating_add(1);
        if pair.users.len() < USERS {
            pair.users.insert(user);
        }
        let refused = f64::from(pair.refused) + f64::from(pair.form_again);
        let users = pair.users.len() as f64;
        let values = Values::default()
            .with(Metric::HttpLoginRefusals, f64::from(pair.refused))
            .with(Metric::HttpLoginFormAgain, f64::from(pair.form_again))
            .with(Metric::HttpLoginRefusedShare, refused / (refused + f64::from(pair.others)))
            .with(Metric::HttpLoginUsers, users)
            .with(Metric::HttpLoginsPerUser, refused / users.max(1.0));
        Some((pair.since_ns, values))
    }
}
