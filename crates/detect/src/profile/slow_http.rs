//! Requests kept open: HTTP connections that occupy a server by never coming to an end.
//!
//! Three ways are told apart: a head that never ends (Slowloris), a body that never ends (R-U-Dead-Yet), and an answer
//! that is hardly taken (slow read). What is waited for is known from the messages; that it does not come, from the time.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::Actor;
use crate::metric::Metric;
use flow::{App, Conversation, EndReason, FlowKey, Oddity, Role, Span};
use rustc_hash::{FxHashMap, FxHashSet};
use wire::Addr;
use wire::message::{Message, Side};
use wire::packet::protocol;

/// Connections awaited at once, some 130 bytes each, and sources whose rate is known.
const CAPACITY: usize = 16_384;
/// A connection of which nothing is told for so long is forgotten.
const MEMORY_NS: u64 = 3600 * 1_000_000_000;
/// A request or answer that is not complete after this time is held up. Heads fit in a few packets, so that not even a
/// lost one and its retransmissions take so long.
const HELD_NS: u64 = 10_000_000_000;
/// Receive windows below this on the first packet cannot take an answer in one go. Systems of the last twenty years begin
/// with 5,840 bytes or more; stacks of tiny devices with less, but those open few connections.
const TINY_WINDOW: u16 = 4096;
/// Connections held up before anything is observed.
const ENOUGH: usize = 5;
/// A rate over less time than this says nothing.
const RATE_OVER_NS: u64 = 5_000_000_000;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaits {
    /// The rest of a request's head.
    #[default]
    Head,
    /// The rest of a request's body.
    Body,
    /// That the client takes the answer, through a tiny window.
    Read,
}

/// A connection that awaits something.
#[derive(Debug, Default)]
struct Held {
    since_ns: u64,
    awaits: Awaits,
    source: Addr,
    server: Addr,
    port: u16,
}

/// Requests kept open; see the module.
#[derive(Debug)]
pub(crate) struct SlowHttp {
    held: Table<FlowKey, Held>,
    /// Bytes a second of sources with connections in `held`, as their windows last told.
    rates: Table<Addr, Option<f64>>,
    /// Before this time fewer than [`ENOUGH`] connections can be held up.
    quiet_until_ns: u64,
}

impl Default for SlowHttp {
    fn default() -> Self {
        Self {
            held: Table::new(CAPACITY, MEMORY_NS),
            rates: Table::new(CAPACITY, MEMORY_NS),
            quiet_until_ns: 0,
        }
    }
}

/// Connections held up, by what they await.
#[derive(Debug, Default)]
struct Group {
    by_kind: [u32; 3],
    since_ns: u64,
    sources: FxHashSet<Addr>,
}

impl Group {
    fn add(&mut self, held: &Held) {
        if self.total() == 0 {
            self.since_ns = held.since_ns;
        }
        self.since_ns = self.since_ns.min(held.since_ns);
        self.by_kind[held.awaits as usize] += 1;
    }

    fn total(&self) -> u32 {
        self.by_kind.iter().sum()
    }
}

impl Profile for SlowHttp {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::SlowHttp, Subject::SlowHttpTarget]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Recognised, Kind::Message, Kind::Odd, Kind::Closed, Kind::Ended, Kind::Active]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, _out: &mut Vec<Observation>) {
        match fact {
            // Only the answer is looked at: where counts come as snapshots, they lag behind what was recognised. An answer
            // that has been read but not counted is told as a message next.
            Fact::Recognised(flow)
                if flow.app == App::Http && flow.key.protocol == protocol::TCP && !flow.replied =>
            {
                self.await_from(now_ns, flow, Awaits::Head);
            }
            Fact::Message { flow, from, message } => self.message(now_ns, flow, *from, message),
            // What is missing may be what was awaited.
            Fact::Odd(flow, Oddity::StreamGap | Oddity::StreamOverrun) => {
                self.held.remove(&flow.key);
            }
            Fact::Closed(flow) => {
                self.held.remove(&flow.key);
            }
            Fact::Ended(flow, reason) if *reason != EndReason::Active => {
                self.held.remove(&flow.key);
            }
            Fact::Active { entity, .. } if entity.role == Role::Source => {
                if let Some(rate) = self.rates.get_mut(&entity.addr, now_ns) {
                    let window = entity.window(Span::S60);
                    let over_ns = now_ns.saturating_sub(window.start_ns);
                    if over_ns >= RATE_OVER_NS {
                        *rate = Some(window.bytes as f64 * 1e9 / over_ns as f64);
                    }
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, now_ns: u64, out: &mut Vec<Observation>) {
        if !self.enough_held_up(now_ns) {
            return;
        }
        let mut by_source: FxHashMap<(Addr, Addr, u16), Group> = FxHashMap::default();
        let mut by_server: FxHashMap<(Addr, u16), Group> = FxHashMap::default();
        for held in self.held.values().filter(|h| now_ns.saturating_sub(h.since_ns) >= HELD_NS) {
            by_source.entry((held.source, held.server, held.port)).or_default().add(held);
            // Of many sources together it is not known how fast bodies come, and uploads take their time.
            if held.awaits == Awaits::Body {
                continue;
            }
            let server = by_server.entry((held.server, held.port)).or_default();
            server.add(held);
            server.sources.insert(held.source);
        }
        let begin = out.len();
        for ((source, server, port), group) in by_source {
            let rate = self.rates.get(&source, now_ns).copied().flatten();
            let [heads, bodies, reads] = group.by_kind.map(f64::from);
            let values = Values::default()
                .with(Metric::SlowHeads, heads)
                .with(Metric::SlowBodies, bodies)
                .with(Metric::SlowReads, reads)
                .with_some(Metric::SlowBytesPerSecond, rate.map(|r| r / f64::from(group.total().max(1))));
            let actor = Actor::Source { addr: source };
            out.extend(observation(Subject::SlowHttp, actor, (server, port), now_ns, &group, values));
        }
        for ((server, port), group) in by_server {
            let values = Values::default()
                .with(Metric::SlowConnections, f64::from(group.total()))
                .with(Metric::SlowSources, group.sources.len() as f64);
            let actor = Actor::Distributed { target: server };
            out.extend(observation(Subject::SlowHttpTarget, actor, (server, port), now_ns, &group, values));
        }
        // The order of a hash map is no order to report in.
        if let Some(own) = out.get_mut(begin..) {
            own.sort_by_key(|o| (o.subject, o.since_ns, o.target));
        }
    }

    fn evicted(&self) -> u64 {
        self.held.evicted() + self.rates.evicted()
    }
}

fn observation(
    subject: Subject,
    actor: Actor,
    (server, port): (Addr, u16),
    now_ns: u64,
    group: &Group,
    values: Values,
) -> Option<Observation> {
    let oldest = now_ns.saturating_sub(group.since_ns) / 1_000_000_000;
    (group.total() as usize >= ENOUGH).then(|| Observation {
        subject,
        actor,
        target: Some(server),
        port: Some(port),
        protocol: Some(protocol::TCP),
        flow: None,
        detail: Some(format!("the oldest request is open for {oldest} s").into()),
        since_ns: group.since_ns,
        values,
    })
}

impl SlowHttp {
    /// Whether [`ENOUGH`] connections are held up. All that are awaited are looked at only when that may be so: when enough
    /// of the last look are old enough. Those that come later are due later still, and those that go make fewer.
    fn enough_held_up(&mut self, now_ns: u64) -> bool {
        // More than HELD_NS ahead it can only be from before the clock was set back.
        let quiet = self.quiet_until_ns > now_ns && self.quiet_until_ns - now_ns <= HELD_NS;
        if quiet || self.held.len() < ENOUGH {
            return false;
        }
        let mut begun: Vec<u64> = self.held.values().map(|h| h.since_ns).collect();
        let (_, decisive, _) = begun.select_nth_unstable(ENOUGH - 1);
        self.quiet_until_ns = decisive.saturating_add(HELD_NS);
        self.quiet_until_ns <= now_ns
    }

    fn await_from(&mut self, now_ns: u64, flow: &Conversation, awaits: Awaits) {
        let ((source, _), (server, port)) = (flow.initiator(), flow.responder());
        *self.held.touch(flow.key, now_ns) = Held { since_ns: now_ns, awaits, source, server, port };
        self.rates.touch(source, now_ns);
    }

    /// The request is complete: with a tiny window its answer is awaited, else nothing.
    fn asked(&mut self, now_ns: u64, flow: &Conversation) {
        // Only a SYN tells the window without its scale.
        if flow.syn_window.is_some_and(|window| window < TINY_WINDOW) {
            self.await_from(now_ns, flow, Awaits::Read);
        } else {
            self.held.remove(&flow.key);
        }
    }

    fn message(&mut self, now_ns: u64, flow: &Conversation, from: Side, message: &Message) {
        let awaits = |s: &Self| s.held.get(&flow.key, now_ns).map(|h| h.awaits);
        match message {
            Message::HttpRequest(request) => {
                if request.chunked || request.content_length.is_some_and(|n| n > 0) {
                    self.await_from(now_ns, flow, Awaits::Body);
                } else {
                    self.asked(now_ns, flow);
                }
            }
            Message::HttpBody(body) if body.request && awaits(self) == Some(Awaits::Body) => {
                self.asked(now_ns, flow);
            }
            Message::HttpResponse(response) if response.status >= 200 => {
                let empty = response.content_length == Some(0) || matches!(response.status, 204 | 304);
                if empty || awaits(self) != Some(Awaits::Read) {
                    self.held.remove(&flow.key);
                }
            }
            Message::HttpBody(body) if !body.request => {
                self.held.remove(&flow.key);
            }
            // No longer HTTP/1, or never was.
            Message::Violation(_) if from == Side::Client => {
                self.held.remove(&flow.key);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const NEVER: [u64; 0] = [];

    fn key(n: u16) -> FlowKey {
        FlowKey {
            lo: Addr::v4([192, 0, 2, 1]),
            hi: Addr::v4([198, 51, 100, 1]),
            lo_port: 80,
            hi_port: n,
            vlan: 0,
            protocol: protocol::TCP,
            tunnel: 0,
        }
    }

    fn await_since(profile: &mut SlowHttp, n: u16, since_ns: u64) {
        *profile.held.touch(key(n), since_ns) = Held { since_ns, ..Held::default() };
    }

    /// Seconds of `range` in which something is observed.
    fn observed(profile: &mut SlowHttp, range: std::ops::Range<u64>) -> Vec<u64> {
        range
            .filter(|second| {
                let mut out = Vec::new();
                profile.tick(second * S, &mut out);
                !out.is_empty()
            })
            .collect()
    }

    #[test]
    fn connections_are_observed_as_soon_as_enough_are_held_up_and_as_long() {
        let mut profile = SlowHttp::default();
        for n in 0..4 {
            await_since(&mut profile, n, 100 * S);
        }
        assert_eq!(observed(&mut profile, 100..105), NEVER);
        await_since(&mut profile, 4, 105 * S);
        // Those that are answered in time, between looks.
        for second in 105..113 {
            await_since(&mut profile, 1000, second * S);
            assert_eq!(observed(&mut profile, second..second + 1), NEVER);
            profile.held.remove(&key(1000));
        }
        await_since(&mut profile, 0, 112 * S);
        assert_eq!(observed(&mut profile, 113..122), NEVER, "one of them began anew");
        assert_eq!(observed(&mut profile, 122..125), [122, 123, 124]);
        profile.held.remove(&key(1));
        assert_eq!(observed(&mut profile, 125..127), NEVER);
    }

    #[test]
    fn a_clock_set_back_does_not_silence() {
        let mut profile = SlowHttp::default();
        for n in 0..5 {
            await_since(&mut profile, n, 1000 * S);
        }
        assert_eq!(observed(&mut profile, 1000..1001), NEVER);
        for n in 0..5 {
            await_since(&mut profile, n, 100 * S);
        }
        assert_eq!(observed(&mut profile, 100..112), [110, 111]);
    }
}
