//! Rules at work: windows and flows in, signals out.

use crate::bound::Bound;
use crate::count::Counts;
use crate::metric::Metric;
use crate::profile::{self, Fact, Observation, Profile, Subject};
use crate::rule::Rule;
use crate::{Actor, Evidence, Origin, RuleSet, Signal};
use auth::LoginEvent;
use flow::{
    Census, Conversation, Direction, EndReason, EntityId, Event, FlowKey, FlowRecord, Role, Share, Span,
    TcpState, What, Window,
};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::Addr;
use wire::message::arp::Arp;

/// Smallest counts of one source in one second at which a rule may have something to say: the kernel reports a source
/// that reaches one of them at once. `u32::MAX` where no enabled rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KernelThresholds {
    /// TCP connections begun and not completed.
    pub syn_pending: u32,
    /// UDP packets sent.
    pub udp_packets: u32,
    /// ICMP packets sent.
    pub icmp_packets: u32,
    /// Flows begun.
    pub flows: u32,
}

/// What a [`Detector`] counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct DetectCounters {
    /// Signals given.
    pub signals: u64,
    /// Times a rule held and said nothing because it had just spoken about the same entity.
    pub repeated: u64,
    /// Memories of having spoken that were dropped because the table was full: the signal may have come again.
    pub spoken_evicted: u64,
    /// (rule, source, service) counts dropped because the table was full.
    pub counts_evicted: u64,
    /// Entries of profiles dropped because their tables were full.
    pub profiles_evicted: u64,
}

/// Entities and rules a detector remembers having spoken about. When full, those that may speak again anyway are
/// dropped; when that does not help, all are.
const SPOKEN_CAPACITY: usize = 65_536;
/// (rule, source, service) whose flows are counted at once; [`Counts`] says what happens when it is full.
const COUNT_CAPACITY: usize = 8192;
/// Longest time a rule is silent about an entity after a signal, ns. Shorter than the longest window, so that an attack
/// that goes on is not taken for several.
const LONGEST_SILENCE_NS: u64 = 30_000_000_000;
/// How often profiles are told the time, ns.
const TICK_NS: u64 = 1_000_000_000;
/// Confidence never exceeds this: no rule is certain.
const MOST_CONFIDENT: f64 = 0.99;

/// Whom a rule last spoke about: rule, subject, and the target where flows are counted.
type Spoken = (u16, Addr, Addr);

/// Evaluates rules. A rule speaks about an entity at most once in its span (30 s for the 60-s span), not once a packet.
///
/// State beyond the rules is bounded: 65,536 memories of having spoken, and the counts of 8,192 (rule, source,
/// service) with at most 64 times each.
#[derive(Debug)]
pub struct Detector {
    rules: Vec<Compiled>,
    /// Indices of window rules by role and span.
    windows: [[Vec<u16>; 3]; 2],
    /// Indices of flow-count rules.
    flows: Vec<u16>,
    /// Indices of profile rules by subject.
    observed: BTreeMap<Subject, Vec<u16>>,
    /// Profiles that an enabled rule asks for.
    profiles: Vec<Box<dyn Profile>>,
    /// Which of them want which kind of fact.
    wanting: [Vec<usize>; profile::KINDS],
    observations: Vec<Observation>,
    /// Entities to judge; empty between calls.
    active: Vec<EntityId>,
    /// When the profiles were last told the time, ns.
    ticked_ns: u64,
    counts: Counts,
    spoken: FxHashMap<Spoken, u64>,
    counters: DetectCounters,
}

/// A rule ready for use.
#[derive(Debug)]
pub(crate) struct Compiled {
    rule: Rule,
    when: Vec<(Metric, Bound)>,
    silence_ns: u64,
}

/// The flow that gave rise to a judgement.
#[derive(Clone, Copy)]
struct Occasion {
    key: FlowKey,
    initiator: Direction,
    source: Addr,
    target: Addr,
    port: u16,
    protocol: u8,
}

impl Occasion {
    /// Made when a signal is, not before: it costs a hash.
    fn community_id(self) -> String {
        flow::community_id_from(&self.key, self.initiator, 0)
    }

    fn of(flow: &Conversation) -> Self {
        Self::from_key(flow.key, flow.initiator)
    }

    fn from_key(key: FlowKey, initiator: Direction) -> Self {
        let (target, port) = key.source(initiator.reverse());
        Self { key, initiator, source: key.source(initiator).0, target, port, protocol: key.protocol }
    }
}

impl Detector {
    /// A detector for the enabled rules of `set`.
    #[must_use]
    pub fn new(set: RuleSet) -> Self {
        let mut detector = Self {
            rules: Vec::new(),
            windows: Default::default(),
            flows: Vec::new(),
            observed: BTreeMap::new(),
            profiles: Vec::new(),
            wanting: Default::default(),
            observations: Vec::new(),
            active: Vec::new(),
            ticked_ns: 0,
            counts: Counts::new(COUNT_CAPACITY),
            spoken: FxHashMap::default(),
            counters: DetectCounters::default(),
        };
        let home = Arc::new(set.home().clone());
        for rule in set.into_rules().into_iter().filter(|r| r.enabled) {
            // A set holds at most MAX_RULES.
            let index = detector.rules.len() as u16;
            if rule.flows.is_some() {
                detector.flows.push(index);
            } else if !rule.subject.is_window() {
                detector.observed.entry(rule.subject).or_default().push(index);
            } else {
                detector.windows[rule.role as usize][rule.span as usize].push(index);
            }
            detector.rules.push(Compiled::new(rule));
        }
        let asked = |p: &dyn Profile| p.subjects().iter().any(|s| detector.observed.contains_key(s));
        detector.profiles = profile::all(&home).into_iter().filter(|p| asked(p.as_ref())).collect();
        for (i, p) in detector.profiles.iter().enumerate() {
            for kind in p.wants() {
                detector.wanting[*kind as usize].push(i);
            }
        }
        detector
    }

    /// Has `census` take in events of a tracker, and judges each: what it says of a flow, and the entities whose windows it
    /// made worth judging. Whether events come one by one or many at once makes no difference.
    pub fn judge(&mut self, census: &mut Census, events: &[Event], signals: &mut Vec<Signal>) {
        for event in events {
            census.take(event, &mut self.active);
            self.hear(event, signals);
            if !self.active.is_empty() {
                self.judge_active(census, event, signals);
            }
        }
    }

    /// Learns from what an event says of a flow.
    fn hear(&mut self, event: &Event, signals: &mut Vec<Signal>) {
        let (now_ns, flow) = (event.at_ns, &event.flow);
        match &event.what {
            What::Started { share, .. } => {
                self.learn(now_ns, &Fact::Started(flow), signals);
                self.datagrams(now_ns, flow, share, signals);
            }
            What::Counted { share, .. } => self.datagrams(now_ns, flow, share, signals),
            What::Recognised => self.learn(now_ns, &Fact::Recognised(flow), signals),
            What::Message(from, message) => {
                self.learn(now_ns, &Fact::Message { flow, from: *from, message }, signals);
            }
            What::Odd(oddity) => self.learn(now_ns, &Fact::Odd(flow, *oddity), signals),
            What::Grown(record) => self.learn(now_ns, &Fact::Grown(record), signals),
            What::Closed(record) => {
                self.count(now_ns, record, signals);
                self.learn(now_ns, &Fact::Closed(record), signals);
            }
            What::Ended(record, reason) => {
                let closed = matches!(record.stats.state, TcpState::Closed | TcpState::Reset);
                // A closed flow was counted when it closed; one that goes on after the active timeout has not ended.
                if !closed && *reason != EndReason::Active {
                    self.count(now_ns, record, signals);
                }
                self.learn(now_ns, &Fact::Ended(record, *reason), signals);
            }
            What::Opened(_) | What::Failed { .. } | What::Handshake { .. } | What::Fragment(_) => {}
        }
    }

    /// Learns of a flow's packets, if it is one of UDP.
    fn datagrams(&mut self, now_ns: u64, flow: &Conversation, share: &Share, signals: &mut Vec<Signal>) {
        if flow.key.protocol == wire::packet::protocol::UDP && !share.is_empty() {
            self.learn(now_ns, &Fact::Datagrams(flow, share), signals);
        }
    }

    /// Judges the entities that an event made worth it.
    fn judge_active(&mut self, census: &Census, event: &Event, signals: &mut Vec<Signal>) {
        let active = std::mem::take(&mut self.active);
        let (now_ns, flow) = (event.at_ns, &event.flow);
        for entity in active.iter().filter_map(|id| census.entity(*id)) {
            for span in Span::ALL {
                let (who, window) = ((entity.addr, entity.role), entity.window(span));
                self.window(now_ns, who, span, window, Some(Occasion::of(flow)), signals);
            }
            self.learn(now_ns, &Fact::Active { entity, flow }, signals);
        }
        self.active = active;
        self.active.clear();
    }

    /// Judges an ARP packet seen at `now_ns`.
    pub fn judge_arp(&mut self, now_ns: u64, arp: &Arp, signals: &mut Vec<Signal>) {
        self.learn(now_ns, &Fact::Arp(arp), signals);
    }

    /// Judges a login at `server` that a log told of at `now_ns`.
    pub fn judge_login(&mut self, now_ns: u64, event: &LoginEvent, server: Addr, signals: &mut Vec<Signal>) {
        self.learn(now_ns, &Fact::Login { event, server }, signals);
    }

    /// Lets time pass for the profiles, about once a second.
    pub fn advance(&mut self, now_ns: u64, signals: &mut Vec<Signal>) {
        if now_ns.abs_diff(self.ticked_ns) < TICK_NS {
            return;
        }
        self.ticked_ns = now_ns;
        let mut observations = std::mem::take(&mut self.observations);
        for p in &mut self.profiles {
            p.tick(now_ns, &mut observations);
        }
        self.compare(now_ns, &mut observations, signals);
        self.observations = observations;
    }

    /// Hands a fact to the profiles that want it, and what they observe to the rules.
    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, signals: &mut Vec<Signal>) {
        let wanting = &self.wanting[fact.kind() as usize];
        if wanting.is_empty() {
            return;
        }
        let mut observations = std::mem::take(&mut self.observations);
        for &i in wanting {
            self.profiles[i].learn(now_ns, fact, &mut observations);
        }
        self.compare(now_ns, &mut observations, signals);
        self.observations = observations;
    }

    fn compare(&mut self, now_ns: u64, observations: &mut Vec<Observation>, signals: &mut Vec<Signal>) {
        for observation in observations.drain(..) {
            let rules = self.observed.get(&observation.subject).map_or(0, Vec::len);
            for at in 0..rules {
                let index = self.observed[&observation.subject][at];
                if !self.rules[usize::from(index)].holds(&observation) {
                    continue;
                }
                let (Actor::Source { addr } | Actor::Distributed { target: addr }) = observation.actor;
                if !self.may_speak(now_ns, (index, addr, observation.target.unwrap_or(Addr::UNSPECIFIED))) {
                    continue;
                }
                self.counters.signals += 1;
                signals.push(self.rules[usize::from(index)].observed(now_ns, &observation));
            }
        }
    }

    /// Judges one window on its own, such as the kernel's counts of a source. Whom it hits is taken from what the
    /// census last had judged of the entity, if anything.
    pub fn judge_window(
        &mut self,
        now_ns: u64,
        census: &Census,
        (addr, role): (Addr, Role),
        span: Span,
        window: &Window,
        signals: &mut Vec<Signal>,
    ) {
        let prompted_by = census.entity_at(addr, role).and_then(|e| e.prompted_by);
        let occasion = prompted_by.map(|(key, initiator)| Occasion::from_key(key, initiator));
        self.window(now_ns, (addr, role), span, window, occasion, signals);
    }

    /// The smallest bounds of the enabled 1-s rules about sources, for the kernel program.
    #[must_use]
    pub fn kernel_thresholds(&self) -> KernelThresholds {
        let smallest = |metric: Metric| {
            self.windows[Role::Source as usize][Span::S1 as usize]
                .iter()
                .filter_map(|&i| self.rules[usize::from(i)].rule.when.get(&metric)?.at_least)
                .fold(u32::MAX, |least, bound| least.min(bound.clamp(1.0, f64::from(u32::MAX)) as u32))
        };
        KernelThresholds {
            syn_pending: smallest(Metric::PendingHandshakes),
            udp_packets: smallest(Metric::UdpPacketsPerSecond),
            icmp_packets: smallest(Metric::IcmpPacketsPerSecond),
            flows: smallest(Metric::Flows),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> DetectCounters {
        DetectCounters {
            counts_evicted: self.counts.evicted(),
            profiles_evicted: self.profiles.iter().map(|p| p.evicted()).sum(),
            ..self.counters
        }
    }

    fn window(
        &mut self,
        now_ns: u64,
        (addr, role): (Addr, Role),
        span: Span,
        window: &Window,
        occasion: Option<Occasion>,
        signals: &mut Vec<Signal>,
    ) {
        if !window.covers(now_ns, span) {
            return;
        }
        for at in 0..self.windows[role as usize][span as usize].len() {
            let index = self.windows[role as usize][span as usize][at];
            let compiled = &self.rules[usize::from(index)];
            if !compiled.when.iter().all(|(metric, bound)| bound.holds(metric.of(window, span))) {
                continue;
            }
            if !self.may_speak(now_ns, (index, addr, Addr::UNSPECIFIED)) {
                continue;
            }
            let compiled = &self.rules[usize::from(index)];
            let occasion = occasion.filter(|o| role == Role::Target || o.source == addr);
            let one_port = window.failed_ports().max(window.udp_failed_ports()).max(window.udp_ports()) <= 1;
            let mut signal = compiled.signal(now_ns, window.start_ns, |metric| metric.of(window, span));
            signal.actor = match role {
                Role::Source => Actor::Source { addr },
                Role::Target => Actor::Distributed { target: addr },
            };
            signal.target = match role {
                Role::Source => occasion.map(|o| o.target),
                Role::Target => Some(addr),
            };
            signal.port =
                occasion.filter(|o| one_port && o.port != 0 && has_ports(o.protocol)).map(|o| o.port);
            signal.protocol = occasion.map(|o| o.protocol);
            signal.community_id = occasion.map(Occasion::community_id);
            self.counters.signals += 1;
            signals.push(signal);
        }
    }

    fn count(&mut self, now_ns: u64, record: &FlowRecord, signals: &mut Vec<Signal>) {
        let app = record.app();
        for at in 0..self.flows.len() {
            let index = self.flows[at];
            let compiled = &self.rules[usize::from(index)];
            let Some(filter) = &compiled.rule.flows else { continue };
            if !filter.matches(record, app) {
                continue;
            }
            let occasion = Occasion::from_key(record.key, record.stats.initiator);
            let span_ns = compiled.rule.span.nanos();
            let key = (index, occasion.source, occasion.target, occasion.port);
            let (count, since_ns) = self.counts.add(key, now_ns, span_ns, record.first_ns());
            let value = |metric| (metric == Metric::MatchingFlows).then_some(f64::from(count));
            if !compiled.when.iter().all(|(metric, bound)| bound.holds(value(*metric)))
                || !self.may_speak(now_ns, (index, occasion.source, occasion.target))
            {
                continue;
            }
            let compiled = &self.rules[usize::from(index)];
            let mut signal = compiled.signal(now_ns, since_ns, value);
            signal.actor = Actor::Source { addr: occasion.source };
            signal.target = Some(occasion.target);
            signal.port = Some(occasion.port);
            signal.protocol = Some(occasion.protocol);
            signal.community_id = Some(occasion.community_id());
            self.counters.signals += 1;
            signals.push(signal);
        }
    }

    /// Whether the rule was silent about the subject for long enough; if so it speaks now.
    fn may_speak(&mut self, now_ns: u64, subject: Spoken) -> bool {
        let silence_ns = self.rules[usize::from(subject.0)].silence_ns;
        if self.spoken.get(&subject).is_some_and(|last| now_ns.saturating_sub(*last) < silence_ns) {
            self.counters.repeated += 1;
            return false;
        }
        if self.spoken.len() >= SPOKEN_CAPACITY {
            self.spoken.retain(|_, last| now_ns.saturating_sub(*last) < LONGEST_SILENCE_NS);
            if self.spoken.len() >= SPOKEN_CAPACITY {
                self.counters.spoken_evicted += self.spoken.len() as u64;
                self.spoken.clear();
            }
        }
        self.spoken.insert(subject, now_ns);
        true
    }
}

const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, wire::packet::protocol::TCP | wire::packet::protocol::UDP)
}

impl Compiled {
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            when: rule.when.iter().map(|(m, b)| (*m, *b)).collect(),
            silence_ns: rule.span.nanos().min(LONGEST_SILENCE_NS),
            rule,
        }
    }

    /// Whether all conditions hold for what a profile observed.
    fn holds(&self, observation: &Observation) -> bool {
        self.when.iter().all(|(metric, bound)| bound.holds(observation.values.get(*metric)))
    }

    /// The signal about what a profile observed.
    fn observed(&self, now_ns: u64, observation: &Observation) -> Signal {
        let mut signal = self.signal(now_ns, observation.since_ns, |m| observation.values.get(m));
        signal.actor = observation.actor;
        signal.target = observation.target;
        signal.port = observation.port;
        signal.protocol = observation.protocol;
        signal.community_id = observation.flow.as_ref().map(|f| Occasion::of(f).community_id());
        signal.detail.clone_from(&observation.detail);
        signal
    }

    /// The signal about an observation, if it is of the rule's subject and all conditions hold.
    pub(crate) fn judge(&self, now_ns: u64, observation: &Observation) -> Option<Signal> {
        (self.rule.subject == observation.subject && self.holds(observation))
            .then(|| self.observed(now_ns, observation))
    }

    /// A signal with the rule's part and the evidence; the caller fills in whom it is about.
    fn signal(&self, now_ns: u64, since_ns: u64, value: impl Fn(Metric) -> Option<f64>) -> Signal {
        let rule = &self.rule;
        let mut evidence = Vec::with_capacity(self.when.len());
        for (metric, bound) in &self.when {
            let Some(observed) = value(*metric) else { continue };
            for (threshold, at_least) in [(bound.at_least, true), (bound.at_most, false)] {
                if let Some(threshold) = threshold {
                    evidence.push(Evidence {
                        metric: metric.name(),
                        observed,
                        threshold,
                        at_least,
                        contribution: None,
                    });
                }
            }
        }
        Signal {
            origin: Origin::Rule,
            rule: rule.id.clone(),
            sid: rule.sid,
            rev: rule.rev,
            class: rule.class,
            kind: rule.kind.clone(),
            severity: rule.severity,
            technique: rule.technique.clone(),
            actor: Actor::Source { addr: Addr::UNSPECIFIED },
            target: None,
            port: None,
            protocol: None,
            community_id: None,
            detail: None,
            at_ns: now_ns,
            since_ns: since_ns.min(now_ns),
            confidence: confidence(rule.confidence, &evidence),
            may_block: rule.may_block,
            may_agree: false,
            evidence,
        }
    }
}

/// Confidence of a rule that holds: what the prior leaves open shrinks with the square root of the excess, where the
/// excess is the smallest observed/threshold over the `at_least` bounds; at most 0.99. Thresholds reached exactly give
/// the prior, four times the thresholds halve the doubt.
#[must_use]
pub fn confidence(prior: f64, evidence: &[Evidence]) -> f64 {
    let excess = evidence
        .iter()
        .filter(|e| e.at_least && e.threshold > 0.0)
        .map(|e| e.observed / e.threshold)
        .fold(f64::INFINITY, f64::min);
    let excess = if excess.is_finite() { excess.max(1.0) } else { 1.0 };
    (1.0 - (1.0 - prior) / excess.sqrt()).min(MOST_CONFIDENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> RuleSet {
        RuleSet::builtin()
    }

    #[test]
    fn confidence_grows_with_the_smallest_excess() {
        let evidence = |observed: f64, at_least: bool| Evidence {
            metric: "m",
            observed,
            threshold: 10.0,
            at_least,
            contribution: None,
        };
        for (list, expected) in [
            (vec![evidence(10.0, true)], 0.8),
            (vec![evidence(40.0, true)], 0.9),
            (vec![evidence(40.0, true), evidence(10.0, true)], 0.8),
            (vec![evidence(40.0, true), evidence(0.0, false)], 0.9),
            (vec![evidence(1e9, true)], 0.99),
            (vec![], 0.8),
        ] {
            assert!((confidence(0.8, &list) - expected).abs() < 1e-9, "{list:?}");
        }
    }

    #[test]
    fn kernel_thresholds_are_the_smallest_one_second_bounds() {
        let thresholds = Detector::new(set()).kernel_thresholds();
        assert!((1..10_000).contains(&thresholds.syn_pending), "{thresholds:?}");
        assert!((1..100_000).contains(&thresholds.udp_packets), "{thresholds:?}");
        assert!((1..10_000).contains(&thresholds.icmp_packets), "{thresholds:?}");
        let none = Detector::new(RuleSet::default()).kernel_thresholds();
        assert_eq!(none.syn_pending, u32::MAX);
    }

    #[test]
    fn kernel_counts_alone_are_enough_for_a_flood_and_it_is_told_once_a_second() {
        let mut detector = Detector::new(set());
        let need = detector.kernel_thresholds().syn_pending;
        let window = |n: u32, at: u64| {
            Window::from_source(&flow::window::SourceCounts {
                start_ns: at,
                packets: n,
                tcp_packets: n,
                syn_packets: n,
                flows: n,
                bytes: u64::from(n) * 60,
                ..flow::window::SourceCounts::default()
            })
        };
        let addr = Addr::v4([192, 0, 2, 1]);
        let census = Census::new(flow::CensusConfig::default());
        let mut signals = Vec::new();
        let mut judge = |n: u32, at: u64, now: u64| {
            signals.clear();
            detector.judge_window(now, &census, (addr, Role::Source), Span::S1, &window(n, at), &mut signals);
            signals.iter().map(|s| s.class).collect::<Vec<_>>()
        };
        assert_eq!(judge(need - 1, 0, 400_000_000), []);
        assert_eq!(judge(need, 0, 500_000_000), [crate::Class::SynFlood]);
        assert_eq!(judge(need + 9, 0, 600_000_000), []);
        assert_eq!(judge(need, 1_000_000_000, 1_600_000_000), [crate::Class::SynFlood]);
        assert_eq!(judge(need, 1_000_000_000, 2_600_000_000), [], "the window ran out");
    }
}
