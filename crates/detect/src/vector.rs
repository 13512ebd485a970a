//! Test vectors: traffic in a few words, with the expected outcome.
//!
//! A vector's `traffic` is a list of tables, each one activity (see [`Traffic`] for the words). Every activity is
//! expanded to packets, all packets are put in order of time and driven through a [`flow::Tracker`] and a
//! [`Detector`], exactly as captured packets are.

use crate::ruleset::VectorResult;
use crate::{Detector, RuleSet, Signal};
use flow::{Tracker, TrackerConfig};
use serde::{Deserialize, Serialize};
use wire::packet::{protocol, tcp_flag};
use wire::{Addr, Fragment, Packet};

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
    pub traffic: Vec<Traffic>,
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
    /// What the receiver says first in a session, before anything is sent; `hex:` introduces bytes.
    #[serde(default)]
    pub greeting: String,
    /// What the sender says first in a session; `hex:` introduces bytes.
    #[serde(default)]
    pub hello: String,
    /// Payload sizes in bytes, sender and receiver in turn, after greeting and hello; 0 skips a turn.
    #[serde(default)]
    pub exchange: Vec<u32>,
    /// Milliseconds between two turns of `exchange`.
    #[serde(default = "turn")]
    pub turn_ms: f64,
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
    /// One UDP packet.
    Udp,
    /// One ICMP echo request.
    Echo,
    /// A whole TCP connection: handshake, greeting, hello, exchange, download, upload, and FIN from both sides.
    Session,
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

const fn turn() -> f64 {
    5.0
}

/// Round-trip time of all connections, ns.
const ROUND_TRIP_NS: u64 = 2_000_000;
/// Payload of a full-sized segment, bytes.
const SEGMENT: u32 = 1448;

/// One packet to be.
struct Item {
    at_ns: u64,
    src: (Addr, u16),
    dst: (Addr, u16),
    protocol: u8,
    flags: u8,
    seq: u32,
    payload_len: u32,
    text: Vec<u8>,
}

impl Item {
    fn packet(&self) -> Packet<'_> {
        let header = match self.protocol {
            protocol::TCP => 52,
            _ => 28,
        };
        let icmp = self.protocol == protocol::ICMP;
        Packet {
            src: self.src.0,
            dst: self.dst.0,
            src_port: self.src.1,
            dst_port: self.dst.1,
            protocol: self.protocol,
            vlan: 0,
            ip_len: header + self.payload_len,
            frame_len: 14 + header + self.payload_len,
            payload_len: self.payload_len,
            ttl: 64,
            tcp_flags: self.flags,
            tcp_seq: self.seq,
            tcp_ack: 0,
            tcp_window: if self.protocol == protocol::TCP { 64240 } else { 0 },
            icmp_type: if icmp { u8::try_from(self.src.1).unwrap_or(0) } else { 0 },
            icmp_code: 0,
            fragment: Fragment::None,
            fragment_id: 0,
            fragment_offset: 0,
            transport_len: 0,
            tunnel: 0,
            payload: &self.text,
        }
    }
}

/// Expands one connection or probe.
struct Script<'a> {
    items: &'a mut Vec<Item>,
    client: (Addr, u16),
    server: (Addr, u16),
    protocol: u8,
    at_ns: u64,
    sent: [u32; 2],
}

impl Script<'_> {
    fn send(&mut self, by_client: bool, flags: u8, payload_len: u32, text: &[u8]) {
        let (src, dst) = if by_client { (self.client, self.server) } else { (self.server, self.client) };
        let side = &mut self.sent[usize::from(by_client)];
        let seq = 1000u32.wrapping_add(*side);
        *side = side.wrapping_add(payload_len);
        self.items.push(Item {
            at_ns: self.at_ns,
            src,
            dst,
            protocol: self.protocol,
            flags,
            seq,
            payload_len,
            text: text.to_vec(),
        });
    }

    fn wait(&mut self, ns: u64) {
        self.at_ns += ns;
    }

    fn say(&mut self, by_client: bool, payload_len: u32, text: &[u8]) {
        self.send(by_client, tcp_flag::ACK | tcp_flag::PSH, payload_len, text);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(!by_client, tcp_flag::ACK, 0, &[]);
    }

    fn session(&mut self, t: &Traffic) {
        self.handshake();
        for (by_client, text) in [(false, &t.greeting), (true, &t.hello)] {
            if !text.is_empty() {
                let bytes = spoken(text).unwrap_or_default();
                self.say(by_client, u32::try_from(bytes.len()).unwrap_or(u32::MAX), &bytes);
            }
        }
        for (turn, &size) in t.exchange.iter().enumerate() {
            if size > 0 {
                self.wait(nanos(t.turn_ms));
                self.say(turn % 2 == 0, size, &[]);
            }
        }
        for (by_client, segments) in [(false, t.download), (true, t.upload)] {
            for _ in 0..segments {
                self.wait(1_000_000);
                self.say(by_client, SEGMENT, &[]);
            }
        }
        self.wait(ROUND_TRIP_NS);
        self.send(true, tcp_flag::FIN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(false, tcp_flag::FIN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(true, tcp_flag::ACK, 0, &[]);
    }

    fn handshake(&mut self) {
        self.send(true, tcp_flag::SYN, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(false, tcp_flag::SYN | tcp_flag::ACK, 0, &[]);
        self.wait(ROUND_TRIP_NS / 2);
        self.send(true, tcp_flag::ACK, 0, &[]);
    }

    fn probe(&mut self, flags: u8, answer: Answer) {
        match answer {
            Answer::Abort => {
                self.handshake();
                self.send(true, tcp_flag::RST | tcp_flag::ACK, 0, &[]);
                return;
            }
            _ => self.send(true, flags, 0, &[]),
        }
        self.wait(ROUND_TRIP_NS / 2);
        match answer {
            Answer::Rst => self.send(false, tcp_flag::RST | tcp_flag::ACK, 0, &[]),
            Answer::HalfOpen => {
                self.send(false, tcp_flag::SYN | tcp_flag::ACK, 0, &[]);
                self.wait(ROUND_TRIP_NS / 2);
                self.send(true, tcp_flag::RST, 0, &[]);
            }
            Answer::None | Answer::Reply | Answer::Abort => {}
        }
    }

    fn datagram(&mut self, size: u32, answer: Answer) {
        self.send(true, 0, size, &[]);
        if answer == Answer::Reply {
            self.wait(ROUND_TRIP_NS / 2);
            self.send(false, 0, size, &[]);
        }
    }
}

/// What is said: the text itself, or the bytes of `hex:…`. `None` where that is not hexadecimal.
pub(crate) fn spoken(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("hex:") else { return Some(text.as_bytes().to_vec()) };
    let digits: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.filter(|d| d.len() % 2 == 0).map(|d| d.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Milliseconds to ns; anything that is no time is 0.
fn nanos(ms: f64) -> u64 {
    (ms.clamp(0.0, 86_400_000.0) * 1e6) as u64
}

/// The `n`-th address after `first`, within its last four bytes.
fn nth(first: Addr, n: u32) -> Addr {
    let mut bytes = first.0;
    if let Some(last) = bytes.last_chunk_mut::<4>() {
        *last = u32::from_be_bytes(*last).wrapping_add(n).to_be_bytes();
    }
    Addr(bytes)
}

impl Traffic {
    fn expand(&self, items: &mut Vec<Item>) {
        let (sources, hosts, ports) = (self.sources.max(1), self.hosts.max(1), self.ports.max(1));
        let count = if self.count > 0 { self.count } else { hosts.saturating_mul(ports) };
        for n in 0..count {
            if items.len() > MAX_PACKETS {
                return;
            }
            let port = (u32::from(self.port) + n % ports) as u16;
            let local = if self.same_port { 40_000 } else { (32_768 + n % 28_000) as u16 };
            let (client, server, protocol) = match self.send {
                Send::Udp => (local, port, protocol::UDP),
                Send::Echo => (8, 0, protocol::ICMP),
                _ => (local, port, protocol::TCP),
            };
            let mut script = Script {
                items,
                client: (nth(self.from, n % sources), client),
                server: (nth(self.to, n / ports % hosts), server),
                protocol,
                at_ns: EPOCH_NS + nanos(self.start_ms) + nanos(self.every_ms * f64::from(n)),
                sent: [0; 2],
            };
            match self.send {
                Send::Syn => script.probe(tcp_flag::SYN, self.answer),
                Send::Fin => script.probe(tcp_flag::FIN, self.answer),
                Send::Null => script.probe(0, self.answer),
                Send::Xmas => script.probe(tcp_flag::FIN | tcp_flag::PSH | tcp_flag::URG, self.answer),
                Send::Udp | Send::Echo => script.datagram(self.size, self.answer),
                Send::Session => script.session(self),
            }
        }
    }
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
    let mut items = Vec::new();
    for traffic in &vector.traffic {
        traffic.expand(&mut items);
    }
    if items.len() > MAX_PACKETS {
        return Err(format!("expands to more than {MAX_PACKETS} packets"));
    }
    items.sort_by_key(|i| i.at_ns);
    let config = TrackerConfig { flow_capacity: MAX_PACKETS, ..TrackerConfig::default() };
    let mut tracker = Tracker::new(config);
    let (mut events, mut signals) = (Vec::new(), Vec::new());
    let mut clock = EPOCH_NS;
    let mut tick = |until: u64, tracker: &mut Tracker, detector: &mut Detector, signals: &mut Vec<Signal>| {
        let mut events = Vec::new();
        while clock < until {
            tracker.advance(clock, &mut events);
            detector.judge(clock, tracker, &events, signals);
            events.clear();
            clock += TICK_NS;
        }
    };
    for item in &items {
        tick(item.at_ns, &mut tracker, detector, &mut signals);
        tracker.observe(item.at_ns, &item.packet(), &mut events);
        detector.judge(item.at_ns, &tracker, &events, &mut signals);
        events.clear();
    }
    let end = items.last().map_or(EPOCH_NS, |i| i.at_ns) + TAIL_NS;
    tick(end, &mut tracker, detector, &mut signals);
    tracker.finish(&mut events);
    detector.judge(end, &tracker, &events, &mut signals);
    Ok(signals)
}

/// See [`RuleSet::check`].
pub(crate) fn check(set: &RuleSet) -> Vec<VectorResult> {
    let mut results = Vec::new();
    let all_on = set.all_enabled();
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
                failure: run(vector, &mut detector)
                    .map_or_else(Some, |s| failure(&rule.id, vector.expect, &s)),
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
