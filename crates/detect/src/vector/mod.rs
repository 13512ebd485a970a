//! Test vectors: traffic in a few words, with the expected outcome.
//!
//! A vector's `traffic` is a list of tables, each one activity (see [`Traffic`] for the words). Every activity is
//! expanded to packets, all packets are put in order of time and driven through a [`flow::Tracker`] and a
//! [`Detector`], exactly as captured packets are. What is said in them passes the real parsers.

pub(crate) mod dns;
mod http;
mod kerberos;
mod login;
mod odd;
mod script;
mod snapshot;

use crate::ruleset::VectorResult;
use crate::snapshot::Judge;
use crate::{Detector, RuleSet, Signal};
use flow::{Census, CensusConfig, Event, Tracker, TrackerConfig};
pub use login::Logins;
use script::Item;
use serde::{Deserialize, Serialize};
pub use snapshot::Figures;
use wire::Addr;

/// Most packets one vector may expand to; the shipped ones stay below a tenth.
pub const MAX_PACKETS: usize = 200_000;

/// Traffic and what a rule must make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What the traffic is.
    pub name: String,
    /// The expected outcome.
    pub expect: Expect,
    /// The activities.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// Logins that logs tell of.
    #[serde(default)]
    pub logins: Vec<Logins>,
    /// Figures counted elsewhere.
    #[serde(default)]
    pub snapshots: Vec<Figures>,
}

/// The expected outcome of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The rule fires.
    Fires,
    /// The rule does not fire; others may.
    Silent,
    /// No rule of the set fires.
    Nothing,
}

/// One activity: someone sends something to someone, a number of times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// The sender, or the first of `sources` senders with consecutive addresses, who take turns.
    pub from: Addr,
    /// Number of senders.
    #[serde(default = "one")]
    pub sources: u32,
    /// The receiver, or the first of `hosts` receivers with consecutive addresses.
    pub to: Addr,
    /// Number of receivers. All ports of one are visited before the next.
    #[serde(default = "one")]
    pub hosts: u32,
    /// The destination port, or the first of `ports` consecutive ones, which are visited in turn.
    #[serde(default)]
    pub port: u16,
    /// Number of destination ports.
    #[serde(default = "one")]
    pub ports: u32,
    /// What is sent.
    pub send: Send,
    /// How the receiver answers.
    #[serde(default)]
    pub answer: Answer,
    /// How often; without it once for each port of each host.
    #[serde(default)]
    pub count: u32,
    /// Milliseconds from one to the next.
    #[serde(default = "gap")]
    pub every_ms: f64,
    /// Milliseconds before the first.
    #[serde(default)]
    pub start_ms: f64,
    /// One source port for all, instead of a new one for each.
    #[serde(default)]
    pub same_port: bool,
    /// Payload bytes of each UDP packet or echo request.
    #[serde(default)]
    pub size: u32,
    /// Payload bytes of each answer to them; without it those of the request.
    #[serde(default)]
    pub reply_size: Option<u32>,
    /// Answers to each datagram or echo request beyond the first.
    #[serde(default)]
    pub more_replies: u32,
    /// The sender's port, instead of one from 32768 up.
    #[serde(default)]
    pub local: u16,
    /// Share of `every_ms` by which each moment is early or late at most, spread evenly.
    #[serde(default)]
    pub jitter: f64,
    /// Hardware address of the sender of ARP, as the last byte of a locally administered one.
    #[serde(default)]
    pub mac: u8,
    /// What the receiver says first in a session, before anything is sent; `hex:` introduces bytes.
    #[serde(default)]
    pub greeting: String,
    /// What the sender says first in a session; `hex:` introduces bytes.
    #[serde(default)]
    pub hello: String,
    /// What sender and receiver say in turn in a session, after greeting and hello; `hex:` introduces bytes, nothing skips a
    /// turn. In each of the texts said `{n}` is the number of the session, in three digits.
    #[serde(default)]
    pub dialogue: Vec<String>,
    /// Payload sizes in bytes, sender and receiver in turn, after greeting and hello; 0 skips a turn.
    #[serde(default)]
    pub exchange: Vec<u32>,
    /// Milliseconds between two turns of `exchange`.
    #[serde(default = "turn")]
    pub turn_ms: f64,
    /// Milliseconds a held connection lasts.
    #[serde(default)]
    pub hold_ms: f64,
    /// Receive window the sender states in TCP; 0 stands for 64,240 bytes.
    #[serde(default)]
    pub window: u16,
    /// Name a DNS query asks for; `{n}` is the number of the query, `{word}` a word, `{hex:8}`, `{letters:8}`, `{base32:8}`, `{spoken:8}`
    /// that many characters drawn by lot, the same in each run.
    #[serde(default)]
    pub query: String,
    /// Type a DNS query asks for.
    #[serde(default = "address_type")]
    pub qtype: u16,
    /// Response code of the answers to DNS queries.
    #[serde(default)]
    pub rcode: u8,
    /// Address in answers to DNS queries of type A.
    #[serde(default = "no_one")]
    pub address: Addr,
    /// Encryption types a Kerberos request offers, the preferred one first.
    #[serde(default = "modern_types")]
    pub offer: Vec<i32>,
    /// Encryption type of the user's part of the first ticket, or of the ticket of a service.
    #[serde(default = "aes")]
    pub etype: i32,
    /// Whether a request for the first ticket proves who asks.
    #[serde(default)]
    pub proof: bool,
    /// Full-sized segments the receiver sends at the end of a session, 1 ms apart, each acknowledged.
    #[serde(default)]
    pub download: u32,
    /// Full-sized segments the sender sends at the end of a session, 1 ms apart, each acknowledged.
    #[serde(default)]
    pub upload: u32,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Send {
    /// One SYN.
    Syn,
    /// One FIN.
    Fin,
    /// One segment without flags.
    Null,
    /// One segment with FIN, PSH and URG.
    Xmas,
    /// One ACK.
    Ack,
    /// One UDP packet.
    Udp,
    /// One ICMP echo request.
    Echo,
    /// One ICMP error of `size` bytes: port unreachable.
    Unreachable,
    /// A whole TCP connection: handshake, greeting, hello, exchange, download, upload, and FIN from both sides.
    Session,
    /// A TCP connection in which the sender says `hello` and then, in the same place of the stream, something else.
    Conflict,
    /// One UDP datagram of `size` bytes in fragments that overlap.
    Overlap,
    /// One UDP datagram of `size` bytes in fragments of eight bytes.
    TinyFragments,
    /// A DNS query for `query` of type `qtype`; its answer has `reply_size` bytes of data, or an address.
    Dns,
    /// A Kerberos request for the first ticket of the user `query`; the answer is the error `rcode` or a ticket.
    KerberosAs,
    /// A Kerberos request for the ticket of the service `query`.
    KerberosTgs,
    /// A TCP connection on which the head of an HTTP request does not end for `hold_ms`.
    SlowHead,
    /// One on which the body of an HTTP request does not end, `size` bytes each turn.
    SlowBody,
    /// One on which an HTTP response does not end, `size` bytes each turn.
    SlowRead,
    /// One on which the HTTP response comes after `hold_ms`.
    LongPoll,
    /// An ARP request for `to` by `from`.
    ArpRequest,
    /// An ARP reply to `to` that claims `from`.
    ArpReply,
}

/// How the receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Not at all.
    #[default]
    None,
    /// RST to TCP.
    Rst,
    /// SYN+ACK, which the sender resets: a half-open probe of an open port.
    HalfOpen,
    /// SYN+ACK, which the sender acknowledges and then resets: a connect probe of an open port.
    Abort,
    /// A packet of the same size (UDP) or an echo reply.
    Reply,
}

const fn one() -> u32 {
    1
}

const fn gap() -> f64 {
    10.0
}

/// An address of a test network (RFC 5737).
const fn no_one() -> Addr {
    Addr::v4([192, 0, 2, 1])
}

const fn address_type() -> u16 {
    1
}

/// AES with keys of 256 and 128 bits, and RC4.
fn modern_types() -> Vec<i32> {
    vec![18, 17, 23]
}

const fn aes() -> i32 {
    18
}

const fn turn() -> f64 {
    5.0
}

/// What is said: the text itself, or the bytes of `hex:…`. `None` where that is not hexadecimal.
pub(crate) fn spoken(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("hex:") else { return Some(text.as_bytes().to_vec()) };
    let digits: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.filter(|d| d.len() % 2 == 0).map(|d| d.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Time of the first packet, ns: some time well after 0, so that no window reaches before it.
const EPOCH_NS: u64 = 1_000_000_000_000;
/// How often the tracker is told the time between packets, and for how long after the last, ns.
const TICK_NS: u64 = 250_000_000;
const TAIL_NS: u64 = 5_000_000_000;

/// Drives the traffic of `vector` through a tracker and `detector`.
///
/// # Errors
///
/// Traffic that expands to more than [`MAX_PACKETS`].
pub fn run(vector: &Vector, detector: &mut Detector) -> Result<Vec<Signal>, String> {
    let mut items: Vec<Item> = Vec::new();
    for traffic in &vector.traffic {
        traffic.expand(&mut items);
    }
    if items.len() > MAX_PACKETS {
        return Err(format!("expands to more than {MAX_PACKETS} packets"));
    }
    let mut told = Vec::new();
    for logins in &vector.logins {
        logins.expand(&mut told);
    }
    if told.len() > MAX_PACKETS {
        return Err(format!("expands to more than {MAX_PACKETS} logins"));
    }
    told.sort_by_key(|l| l.at_ns);
    let mut told = told.into_iter().peekable();
    items.sort_by_key(|i| i.at_ns);
    let config = TrackerConfig { flow_capacity: MAX_PACKETS, ..TrackerConfig::default() };
    let mut bench = Bench {
        tracker: Tracker::new(config),
        census: Census::new(CensusConfig::default()),
        detector,
        clock: EPOCH_NS,
        events: Vec::new(),
        signals: Vec::new(),
    };
    for item in &items {
        while let Some(login) = told.next_if(|l| l.at_ns <= item.at_ns) {
            bench.login(&login);
        }
        bench.pass(item.at_ns);
        if let Some(arp) = &item.arp {
            bench.detector.judge_arp(item.at_ns, arp, &mut bench.signals);
        } else {
            bench.tracker.observe(item.at_ns, &item.packet(), &mut bench.events);
            bench.judge();
        }
    }
    told.for_each(|login| bench.login(&login));
    let last_ns = items.last().map_or(EPOCH_NS, |i| i.at_ns);
    bench.pass(last_ns.max(bench.clock) + TAIL_NS);
    bench.tracker.finish(&mut bench.events);
    bench.judge();
    Ok(bench.signals)
}

/// What a vector's traffic passes through.
struct Bench<'a> {
    tracker: Tracker,
    census: Census,
    detector: &'a mut Detector,
    clock: u64,
    events: Vec<Event>,
    signals: Vec<Signal>,
}

impl Bench<'_> {
    /// Lets time pass in steps of [`TICK_NS`].
    fn pass(&mut self, until: u64) {
        while self.clock < until {
            self.tracker.advance(self.clock, &mut self.events);
            self.judge();
            self.census.advance(self.clock);
            self.detector.advance(self.clock, &mut self.signals);
            self.clock += TICK_NS;
        }
    }

    fn login(&mut self, event: &auth::LoginEvent) {
        self.pass(event.at_ns);
        self.detector.judge_login(event.at_ns, event, login::SERVER, &mut self.signals);
    }

    fn judge(&mut self) {
        self.detector.judge(&mut self.census, &self.events, &mut self.signals);
        self.events.clear();
    }
}

/// See [`RuleSet::check`].
pub(crate) fn check(set: &RuleSet) -> Vec<VectorResult> {
    let mut results = Vec::new();
    let all_on = set.all_enabled();
    let snapshots = Judge::new(all_on.clone(), None, 0);
    for rule in set.rules() {
        let states = |wanted: fn(Expect) -> bool| rule.vectors.iter().any(|v| wanted(v.expect));
        if !states(|e| e == Expect::Fires) || !states(|e| e != Expect::Fires) {
            results.push(VectorResult {
                rule: rule.id.to_string(),
                vector: String::new(),
                failure: Some("a rule needs at least one vector that fires and one that does not".to_owned()),
            });
        }
        for vector in &rule.vectors {
            let mut detector = Detector::new(all_on.clone());
            results.push(VectorResult {
                rule: rule.id.to_string(),
                vector: vector.name.clone(),
                failure: run(vector, &mut detector).map_or_else(Some, |mut signals| {
                    vector.snapshots.iter().for_each(|s| signals.extend(snapshots.signals(&s.snapshot())));
                    failure(&rule.id, vector.expect, &signals)
                }),
            });
        }
    }
    results
}

fn failure(rule: &str, expect: Expect, signals: &[Signal]) -> Option<String> {
    let own = signals.iter().find(|s| &*s.rule == rule);
    match (expect, own, signals.first()) {
        (Expect::Fires, None, None) => Some("expected to fire; nothing fired".to_owned()),
        (Expect::Fires, None, Some(other)) => Some(format!("expected to fire; instead: {}", other.explain())),
        (Expect::Silent, Some(s), _) | (Expect::Nothing, _, Some(s)) => {
            Some(format!("expected silence; `{}` fired: {}", s.rule, s.explain()))
        }
        _ => None,
    }
}
