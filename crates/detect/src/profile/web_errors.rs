//! Things asked for over HTTP that are not there, or that break the server: what looking for weaknesses looks like.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use flow::FlowKey;
use rustc_hash::FxHashSet;
use wire::Addr;
use wire::message::{Message, Side};

/// Pairs of client and server remembered, some 1.3 KB each at most.
const CAPACITY: usize = 4096;
/// Length of the window in which errors are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Connections on which a request waits for its answer, some 70 bytes each.
const WAITING: usize = 4096;
/// Different targets told apart.
const TARGETS: usize = 64;
/// Observations begin with so many.
const ENOUGH: usize = 8;
/// Answers that blame the request, and those of a program that failed on it: bad request, forbidden, not found, method not
/// allowed, not acceptable, URI too long, internal error, not implemented (RFC 9110 §15.5, §15.6). That somebody has to log in,
/// asks too often, or that the server is down, is no fault of what was asked for.
const ERRORS: [u16; 8] = [400, 403, 404, 405, 406, 414, 500, 501];
/// Endings of what pages are made of. A page that is out of order makes every browser ask for many in vain.
const PARTS: [&str; 14] = [
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".ico", ".css", ".js", ".mjs", ".map", ".woff",
    ".woff2", ".ttf",
];

/// What one client asked one server in the running window.
#[derive(Debug, Default)]
struct Asked {
    since_ns: u64,
    answers: u32,
    errors: u32,
    /// Hashes of the targets in error.
    failed: FxHashSet<u64>,
}

/// Errors over HTTP; see the module.
#[derive(Debug)]
pub(crate) struct HttpErrors {
    /// Hash of the target that waits for its answer; 0 for a part of a page.
    waiting: Table<FlowKey, u64>,
    pairs: Table<(Addr, Addr), Asked>,
}

impl Default for HttpErrors {
    fn default() -> Self {
        Self { waiting: Table::new(WAITING, WINDOW_NS), pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

/// Whether a target is a part of a page, whatever its query.
fn is_part(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    PARTS.iter().any(|ending| path.ends_with(ending))
}

impl Profile for HttpErrors {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::HttpErrors]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message } = fact else { return };
        let response = match message {
            Message::HttpRequest(request) => {
                let target = if is_part(&request.target) { 0 } else { hash(&request.target).max(1) };
                *self.waiting.touch(flow.key, now_ns) = target;
                return;
            }
            Message::HttpResponse(response) if response.status >= 200 => response,
            _ => return,
        };
        let Some(target) = self.waiting.get(&flow.key, now_ns).copied() else { return };
        self.waiting.remove(&flow.key);
        let asking = if *from == Side::Server { Side::Client } else { Side::Server };
        let ((client, _), (server, _)) = speaker(flow, asking);
        let pair = self.pairs.touch((client, server), now_ns);
        if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Asked { since_ns: now_ns, ..Asked::default() };
        }
        pair.answers = pair.answers.saturating_add(1);
        if target == 0 || !ERRORS.contains(&response.status) {
            return;
        }
        pair.errors = pair.errors.saturating_add(1);
        let fresh = pair.failed.len() < TARGETS && pair.failed.insert(target);
        if !fresh || pair.failed.len() < ENOUGH {
            return;
        }
        let values = Values::default()
            .with(Metric::HttpFailedTargets, pair.failed.len() as f64)
            .with(Metric::HttpFailedShare, f64::from(pair.errors) / f64::from(pair.answers.max(1)));
        out.push(Observation::of_speaker(Subject::HttpErrors, flow, asking, pair.since_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.waiting.evicted() + self.pairs.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_pages_are_told_by_their_ending() {
        for (target, expected) in [
            ("/logo.png", true),
            ("/app.JS?v=3", true),
            ("/fonts/a.woff2", true),
            ("/.env", false),
            ("/backup.sql", false),
            ("/x?next=/logo.png", false),
        ] {
            assert_eq!(is_part(target), expected, "{target}");
        }
    }
}
