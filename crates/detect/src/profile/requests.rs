//! HTTP requests in quantity: one source against one server.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use wire::Addr;
use wire::message::{Message, Side};

/// Pairs of client and server remembered, some 40 bytes each.
const CAPACITY: usize = 16_384;
/// Length of the window in which requests are counted.
const WINDOW_NS: u64 = 10_000_000_000;
/// Requests in the window before anything is observed.
const ENOUGH: u32 = 100;
/// Observations are made once in so many requests.
const EVERY: u32 = 64;

/// Requests of one client to one server in the running window.
#[derive(Debug, Default)]
struct Requests {
    since_ns: u64,
    requests: u32,
    /// Answers with a status of 400 or more.
    errors: u32,
    answers: u32,
    /// Requests for the target of the window's first request, told by a hash.
    first_target: u64,
    same_target: u32,
}

/// HTTP requests by client and server; see the module.
#[derive(Debug)]
pub(crate) struct HttpRequests {
    pairs: Table<(Addr, Addr), Requests>,
}

impl Default for HttpRequests {
    fn default() -> Self {
        Self { pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

impl Profile for HttpRequests {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::HttpRequests]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message } = fact else { return };
        let key = (flow.initiator().0, flow.responder().0);
        match (from, message) {
            (Side::Client, Message::HttpRequest(request)) => {
                let target = hash(&request.target);
                let pair = self.pairs.touch(key, now_ns);
                if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
                    *pair = Requests { since_ns: now_ns, first_target: target, ..Requests::default() };
                }
                pair.requests = pair.requests.saturating_add(1);
                pair.same_target += u32::from(target == pair.first_target);
                if pair.requests < ENOUGH || !pair.requests.is_multiple_of(EVERY) {
                    return;
                }
                let values = Values::default()
                    .with(Metric::HttpRequestsPerSecond, f64::from(pair.requests) * 1e9 / WINDOW_NS as f64)
                    .with(Metric::HttpSameTargetShare, f64::from(pair.same_target) / f64::from(pair.requests))
                    .with_some(
                        Metric::HttpErrorShare,
                        (pair.answers > 0).then(|| f64::from(pair.errors) / f64::from(pair.answers)),
                    );
                out.push(Observation::of_flow(Subject::HttpRequests, flow, pair.since_ns, values));
            }
            (Side::Server, Message::HttpResponse(response)) => {
                if let Some(pair) = self.pairs.get_mut(&key, now_ns) {
                    pair.answers = pair.answers.saturating_add(1);
                    pair.errors = pair.errors.saturating_add(u32::from(response.status >= 400));
                }
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}
