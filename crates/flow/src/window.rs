//! What one entity did in 1, 10 and 60 s.

use crate::Outcome;
use crate::event::{Opening, Share};
use crate::fragment::Finding;
use crate::sketch::{Distinct, pair_hash};
use serde::{Deserialize, Serialize};
use wire::Addr;
use wire::packet::protocol;

/// Packets of an entity, both ways together, after which [`crate::Census::take`] has it judged; and of a flow, after which
/// [`crate::event::What::Grown`] tells of it.
pub const JUDGE_EVERY: u32 = 64;

/// Packets in a window from which on its senders ([`Window::sources`]) and its UDP peers and ports
/// ([`Window::udp_hosts`], [`Window::udp_ports`]) are counted: below, nobody needs to know, and most windows stay below.
pub const SETS_FROM: u32 = 64;

/// Length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Span {
    /// One second.
    #[serde(rename = "1s")]
    S1 = 0,
    /// Ten seconds.
    #[serde(rename = "10s")]
    S10 = 1,
    /// One minute.
    #[serde(rename = "60s")]
    S60 = 2,
}

impl Span {
    /// All spans, shortest first; the discriminant is the index.
    pub const ALL: [Self; 3] = [Self::S1, Self::S10, Self::S60];

    /// Length in nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.seconds() as u64 * 1_000_000_000
    }

    /// Length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::S1 => 1,
            Self::S10 => 10,
            Self::S60 => 60,
        }
    }
}

/// Which side of its flows an entity is judged on. The same address has one set of windows per role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one who begins flows: a possible actor.
    Source = 0,
    /// The one who is contacted: a possible victim.
    Target = 1,
}

impl Role {
    /// Both roles.
    pub(crate) const BOTH: [Self; 2] = [Self::Source, Self::Target];
}

/// Counts of one entity in one role over one window. For [`Role::Source`] "sent" is by the entity and peers are whom it
/// contacted; for [`Role::Target`] "sent" is towards the entity and peers are who contacted it.
///
/// A window opens with the entity's first activity after the previous one ran out, and lasts its span: a burst from a
/// new source is therefore never split. A flow's outcome counts in the window in which it becomes known. Counts
/// saturate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When it opened, ns.
    pub start_ns: u64,
    /// IP bytes from initiator to responder.
    pub bytes: u64,
    /// IP bytes back.
    pub reply_bytes: u64,
    /// Packets from initiator to responder.
    pub packets: u32,
    /// Packets back.
    pub reply_packets: u32,
    /// TCP packets from initiator to responder.
    pub tcp_packets: u32,
    /// UDP packets from initiator to responder.
    pub udp_packets: u32,
    /// UDP packets back.
    pub udp_reply_packets: u32,
    /// ICMP and ICMPv6 packets from initiator to responder; of errors only those beyond what the sender received lately, since
    /// a host that is flooded answers with errors.
    pub icmp_packets: u32,
    /// ICMP and ICMPv6 errors from initiator to responder.
    pub icmp_errors: u32,
    /// Packets with SYN from the initiator, retransmissions included.
    pub syn_packets: u32,
    /// TCP packets with RST from the responder.
    pub reply_resets: u32,
    /// Handshakes completed.
    pub handshakes: u32,
    /// Flows begun.
    pub flows: u32,
    /// Of those, TCP flows begun with a SYN.
    pub syn_flows: u32,
    /// Of `syn_flows`, those whose handshake completed while the window lasted.
    pub completed_flows: u32,
    /// Of `flows`, those that began with an ICMP or ICMPv6 echo request.
    pub echo_flows: u32,
    /// Of `flows`, TCP flows whose first packet had no SYN, RST or ACK (FIN, NULL and Xmas probes).
    pub stealth_flows: u32,
    /// Flows that failed: [`crate::Outcome::Refused`], `Unanswered` or `Aborted`.
    pub failed_flows: u32,
    /// Of `failed_flows`, TCP flows.
    pub failed_tcp_flows: u32,
    /// Of `failed_flows`, UDP flows.
    pub failed_udp_flows: u32,
    /// Of `failed_flows`, refused ones.
    pub refused_flows: u32,
    /// Of `failed_flows`, aborted ones.
    pub aborted_flows: u32,
    /// Fragments sent that were too small for anything but evasion (see [`crate::fragment`]).
    pub tiny_fragments: u16,
    /// Fragments sent that overlap another of their datagram.
    pub overlapping_fragments: u16,
    /// Later fragments sent whose first was not seen.
    pub orphan_fragments: u16,
    /// The first failed flow, the first pinged peer and the first stealth service, as hashes (0: none). With these
    /// the many entities that have one of each need no sets.
    #[serde(skip)]
    first: First,
    /// Sets, allocated on the second item of any kind; `None` before, and when the census's allowance of sets is
    /// used up (counted).
    pub sets: Option<Box<WindowSets>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct First {
    failed_peer: u32,
    echo_peer: u32,
    stealth_service: u32,
    failed_port: u16,
    failed_protocol: u8,
}

/// Distinct peers, ports and (peer, port) pairs of one kind of failed flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedSets {
    /// Peers.
    pub hosts: Distinct,
    /// Responder ports.
    pub ports: Distinct,
    /// Peers with their ports.
    pub services: Distinct,
}

/// Distinct counts of a window; see [`crate::sketch::Distinct`] for accuracy and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WindowSets {
    /// Failed TCP flows.
    pub failed_tcp: FailedSets,
    /// Failed UDP flows.
    pub failed_udp: FailedSets,
    /// Services probed by stealth flows.
    pub stealth_services: Distinct,
    /// Peers of echo requests.
    pub echo_hosts: Distinct,
    /// Peers of UDP packets from [`SETS_FROM`] UDP packets on.
    pub udp_hosts: Distinct,
    /// Responder ports of UDP packets from [`SETS_FROM`] UDP packets on.
    pub udp_ports: Distinct,
    /// Senders towards a [`Role::Target`], from [`SETS_FROM`] packets on.
    pub sources: Distinct,
}

/// A 10-s window of a source that is over, sets included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastWindow {
    /// Whose.
    pub addr: Addr,
    /// The window.
    pub window: Window,
}

/// What windows take from their table and give back to it: [`WindowSets`] while they run, of which so many may exist at
/// once, and themselves when they are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) capacity: u32,
    pub(crate) used: u32,
    /// Times a set was wanted and not to be had.
    pub(crate) refused: u64,
    /// Whether windows that are over are wanted.
    pub(crate) keep_past: bool,
    /// Those not handed out yet.
    pub(crate) past: Vec<PastWindow>,
}

impl Allowance {
    /// Takes a window that is over, and its sets.
    pub(crate) fn bury(&mut self, addr: Addr, window: Window) {
        if window.sets.is_some() {
            self.used = self.used.saturating_sub(1);
        }
        if self.keep_past && !window.is_empty() {
            self.past.push(PastWindow { addr, window });
        }
    }

    fn take(&mut self) -> bool {
        let granted = self.used < self.capacity;
        if granted {
            self.used += 1;
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        granted
    }
}

/// Of packets of a flow, those that are ICMP errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    pub(crate) packets: u32,
    /// Of them, those that packets which their sender received account for.
    pub(crate) provoked: u32,
}

/// Packets of an entity on their way into its windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    reply_bytes: u64,
    pub(crate) packets: u32,
    pub(crate) reply_packets: u32,
    tcp_packets: u32,
    syn_packets: u32,
    reply_resets: u32,
    udp_packets: u32,
    udp_reply_packets: u32,
    icmp_packets: u32,
    pub(crate) icmp_errors: u32,
}

impl Tally {
    /// Adds packets of a flow, of which `errors` tells how many are ICMP errors.
    #[inline]
    pub(crate) fn add(&mut self, proto: u8, s: &Share, errors: Errors) {
        raise(&mut self.packets, s.packets);
        raise(&mut self.reply_packets, s.reply_packets);
        self.bytes = self.bytes.saturating_add(s.bytes);
        self.reply_bytes = self.reply_bytes.saturating_add(s.reply_bytes);
        match proto {
            protocol::TCP => {
                raise(&mut self.tcp_packets, s.packets);
                raise(&mut self.syn_packets, s.syn_packets);
                raise(&mut self.reply_resets, s.reply_resets);
            }
            protocol::UDP => {
                raise(&mut self.udp_packets, s.packets);
                raise(&mut self.udp_reply_packets, s.reply_packets);
            }
            protocol::ICMP | protocol::ICMPV6 => {
                raise(&mut self.icmp_packets, s.packets.saturating_sub(errors.provoked));
                raise(&mut self.icmp_errors, errors.packets);
            }
            _ => {}
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.packets == 0 && self.reply_packets == 0
    }
}

/// The other side of a flow as its sets know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) seed: u64,
    pub(crate) hash: u32,
    /// The responder's port.
    pub(crate) port: u16,
}

impl Peer {
    fn service(self) -> u32 {
        pair_hash(self.seed, self.hash, self.port)
    }

    fn port_hash(self) -> u32 {
        pair_hash(self.seed, 0, self.port)
    }
}

fn raise(count: &mut u32, by: u32) {
    *count = count.saturating_add(by);
}

impl Window {
    /// An empty window that opens at `start_ns`.
    #[must_use]
    pub fn opened(start_ns: u64) -> Self {
        Self { start_ns, ..Self::default() }
    }

    /// Whether the window still ran at `now_ns`; counts of one that ran out are history.
    #[must_use]
    pub const fn covers(&self, now_ns: u64, span: Span) -> bool {
        now_ns < self.start_ns.saturating_add(span.nanos())
    }

    /// Starts over if the window ran out before `at`; the new one opens at `begins`, which is not after `at`, or as far
    /// back as its span allows. The one that is over, if it is.
    pub(crate) fn roll(&mut self, span: Span, at: u64, begins: u64) -> Option<Self> {
        let over = !self.covers(at, span);
        over.then(|| std::mem::replace(self, Self::opened(begins.max(at.saturating_sub(span.nanos() - 1)))))
    }

    /// Whether nothing happened in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0 && self.reply_packets == 0 && self.flows == 0 && self.failed_flows == 0
    }

    /// Gives the sets back.
    pub(crate) fn release(&mut self, allowance: &mut Allowance) {
        if self.sets.take().is_some() {
            allowance.used = allowance.used.saturating_sub(1);
        }
    }

    fn sets(&mut self, allowance: &mut Allowance) -> Option<&mut WindowSets> {
        if self.sets.is_none() && allowance.take() {
            self.sets = Some(Box::default());
        }
        self.sets.as_deref_mut()
    }

    pub(crate) fn add(&mut self, t: &Tally) {
        raise(&mut self.packets, t.packets);
        raise(&mut self.reply_packets, t.reply_packets);
        self.bytes = self.bytes.saturating_add(t.bytes);
        self.reply_bytes = self.reply_bytes.saturating_add(t.reply_bytes);
        raise(&mut self.tcp_packets, t.tcp_packets);
        raise(&mut self.syn_packets, t.syn_packets);
        raise(&mut self.reply_resets, t.reply_resets);
        raise(&mut self.udp_packets, t.udp_packets);
        raise(&mut self.udp_reply_packets, t.udp_reply_packets);
        raise(&mut self.icmp_packets, t.icmp_packets);
        raise(&mut self.icmp_errors, t.icmp_errors);
    }

    /// Whether peers of further packets are to be inserted with [`Self::add_peer`].
    pub(crate) const fn wants_peers(&self, role: Role) -> bool {
        match role {
            Role::Source => self.udp_packets > SETS_FROM,
            Role::Target => self.packets > SETS_FROM,
        }
    }

    pub(crate) fn add_peer(&mut self, role: Role, peer: Peer, proto: u8, allowance: &mut Allowance) {
        let udp = proto == protocol::UDP && self.udp_packets > SETS_FROM;
        let Some(sets) = self.sets(allowance) else { return };
        if udp {
            sets.udp_hosts.insert(peer.hash);
            sets.udp_ports.insert(peer.port_hash());
        }
        if role == Role::Target {
            sets.sources.insert(peer.hash);
        }
    }

    pub(crate) fn begin_flow(&mut self, opening: Opening, peer: Peer, allowance: &mut Allowance) {
        raise(&mut self.flows, 1);
        raise(&mut self.syn_flows, u32::from(opening.syn));
        if opening.stealth {
            raise(&mut self.stealth_flows, 1);
            let service = peer.service();
            if self.first.stealth_service == 0 {
                self.first.stealth_service = service;
            } else if self.first.stealth_service != service {
                let first = self.first.stealth_service;
                if let Some(sets) = self.sets(allowance) {
                    sets.stealth_services.insert(first);
                    sets.stealth_services.insert(service);
                }
            }
        }
        if opening.echo {
            raise(&mut self.echo_flows, 1);
            if self.first.echo_peer == 0 {
                self.first.echo_peer = peer.hash;
            } else if self.first.echo_peer != peer.hash {
                let first = self.first.echo_peer;
                if let Some(sets) = self.sets(allowance) {
                    sets.echo_hosts.insert(first);
                    sets.echo_hosts.insert(peer.hash);
                }
            }
        }
    }

    pub(crate) fn note_fragment(&mut self, finding: Finding) {
        for (count, odd) in [
            (&mut self.tiny_fragments, finding.tiny),
            (&mut self.overlapping_fragments, finding.overlap),
            (&mut self.orphan_fragments, finding.orphan),
        ] {
            *count = count.saturating_add(u16::from(odd));
        }
    }

    /// A handshake completed at `at`, of a flow of age `age_ns`, begun with a SYN or not.
    pub(crate) fn complete(&mut self, with_syn: bool, age_ns: u64, at: u64) {
        raise(&mut self.handshakes, 1);
        // The age is in whole milliseconds, so it may be one too many.
        let begun_here = age_ns <= at.saturating_sub(self.start_ns).saturating_add(1_000_000);
        if with_syn && begun_here && self.completed_flows < self.syn_flows {
            self.completed_flows += 1;
        }
    }

    pub(crate) fn fail_flow(&mut self, outcome: Outcome, proto: u8, peer: Peer, allowance: &mut Allowance) {
        raise(&mut self.failed_flows, 1);
        match outcome {
            Outcome::Refused => raise(&mut self.refused_flows, 1),
            Outcome::Aborted => raise(&mut self.aborted_flows, 1),
            _ => {}
        }
        match proto {
            protocol::TCP => raise(&mut self.failed_tcp_flows, 1),
            protocol::UDP => raise(&mut self.failed_udp_flows, 1),
            _ => return,
        }
        let first = self.first;
        if first.failed_peer == 0 {
            self.first =
                First { failed_peer: peer.hash, failed_port: peer.port, failed_protocol: proto, ..first };
        } else if (first.failed_peer, first.failed_port, first.failed_protocol)
            != (peer.hash, peer.port, proto)
            && let Some(sets) = self.sets(allowance)
        {
            let first_peer = Peer { hash: first.failed_peer, port: first.failed_port, ..peer };
            sets.insert_failed(first.failed_protocol, first_peer);
            sets.insert_failed(proto, peer);
        }
    }

    fn failed(&self, proto: u8, pick: fn(&FailedSets) -> &Distinct) -> u32 {
        let first = u32::from(self.first.failed_peer != 0 && self.first.failed_protocol == proto);
        let Some(sets) = &self.sets else { return first };
        let trio = if proto == protocol::TCP { &sets.failed_tcp } else { &sets.failed_udp };
        pick(trio).estimate().max(first)
    }

    /// Distinct peers of failed TCP flows.
    #[must_use]
    pub fn failed_hosts(&self) -> u32 {
        self.failed(protocol::TCP, |s| &s.hosts)
    }

    /// Distinct responder ports of failed TCP flows.
    #[must_use]
    pub fn failed_ports(&self) -> u32 {
        self.failed(protocol::TCP, |s| &s.ports)
    }

    /// Distinct (peer, responder port) pairs of failed TCP flows.
    #[must_use]
    pub fn failed_services(&self) -> u32 {
        self.failed(protocol::TCP, |s| &s.services)
    }

    /// Distinct peers of failed UDP flows.
    #[must_use]
    pub fn udp_failed_hosts(&self) -> u32 {
        self.failed(protocol::UDP, |s| &s.hosts)
    }

    /// Distinct responder ports of failed UDP flows.
    #[must_use]
    pub fn udp_failed_ports(&self) -> u32 {
        self.failed(protocol::UDP, |s| &s.ports)
    }

    /// Distinct (peer, responder port) pairs of failed UDP flows.
    #[must_use]
    pub fn udp_failed_services(&self) -> u32 {
        self.failed(protocol::UDP, |s| &s.services)
    }

    /// Distinct (peer, responder port) pairs probed by stealth flows.
    #[must_use]
    pub fn stealth_services(&self) -> u32 {
        let first = u32::from(self.first.stealth_service != 0);
        self.sets.as_ref().map_or(0, |s| s.stealth_services.estimate()).max(first)
    }

    /// Distinct peers of echo requests.
    #[must_use]
    pub fn echo_hosts(&self) -> u32 {
        let first = u32::from(self.first.echo_peer != 0);
        self.sets.as_ref().map_or(0, |s| s.echo_hosts.estimate()).max(first)
    }

    /// Distinct peers of UDP packets, counted from [`SETS_FROM`] UDP packets on; 0 before.
    #[must_use]
    pub fn udp_hosts(&self) -> u32 {
        self.sets.as_ref().map_or(0, |s| s.udp_hosts.estimate())
    }

    /// Distinct responder ports of UDP packets, counted from [`SETS_FROM`] UDP packets on; 0 before.
    #[must_use]
    pub fn udp_ports(&self) -> u32 {
        self.sets.as_ref().map_or(0, |s| s.udp_ports.estimate())
    }

    /// Distinct senders towards a [`Role::Target`], counted from [`SETS_FROM`] packets on; 0 before.
    #[must_use]
    pub fn sources(&self) -> u32 {
        self.sets.as_ref().map_or(0, |s| s.sources.estimate())
    }

    /// TCP flows begun with a SYN in this window whose handshake has not completed. Retransmitted SYN do not count.
    #[must_use]
    pub const fn pending_handshakes(&self) -> u32 {
        self.syn_flows.saturating_sub(self.completed_flows)
    }

    /// Share of `syn_flows` whose handshake completed, 0..=1; 1 without any.
    #[must_use]
    pub fn completion_ratio(&self) -> f64 {
        ratio_or(self.completed_flows, self.syn_flows, 1.0)
    }

    /// Failed flows over flows begun; 0 without flows. Above 1 where flows failed that began in an earlier window.
    #[must_use]
    pub fn failure_ratio(&self) -> f64 {
        ratio_or(self.failed_flows, self.flows.max(u32::from(self.failed_flows > 0)), 0.0)
    }

    /// Packets back per packet sent; 1 if none was sent.
    #[must_use]
    pub fn reply_ratio(&self) -> f64 {
        ratio_or(self.reply_packets, self.packets, 1.0)
    }

    /// UDP packets back per UDP packet sent; 1 if none was sent.
    #[must_use]
    pub fn udp_reply_ratio(&self) -> f64 {
        ratio_or(self.udp_reply_packets, self.udp_packets, 1.0)
    }

    /// Mean packets per second sent, over the whole span.
    #[must_use]
    pub fn packets_per_second(&self, span: Span) -> f64 {
        f64::from(self.packets) / f64::from(span.seconds())
    }

    /// Mean IP bytes per second sent, over the whole span.
    #[must_use]
    pub fn bytes_per_second(&self, span: Span) -> f64 {
        self.bytes as f64 / f64::from(span.seconds())
    }

    /// The window of a source that the kernel counted. It has no sets and no outcomes; `syn_flows` is at most
    /// the flows and at most the SYN packets, and every handshake is taken as one of theirs.
    #[must_use]
    pub fn from_source(c: &SourceCounts) -> Self {
        let syn_flows = c.syn_packets.min(c.flows);
        Self {
            start_ns: c.start_ns,
            bytes: c.bytes,
            reply_bytes: c.reply_bytes,
            packets: c.packets,
            reply_packets: c.reply_packets,
            tcp_packets: c.tcp_packets,
            udp_packets: c.udp_packets,
            udp_reply_packets: c.udp_reply_packets,
            icmp_packets: c.icmp_packets,
            syn_packets: c.syn_packets,
            reply_resets: c.reply_resets,
            handshakes: c.handshakes,
            flows: c.flows,
            syn_flows,
            completed_flows: c.handshakes.min(syn_flows),
            ..Self::default()
        }
    }
}

impl WindowSets {
    fn insert_failed(&mut self, proto: u8, peer: Peer) {
        let trio = if proto == protocol::TCP { &mut self.failed_tcp } else { &mut self.failed_udp };
        trio.hosts.insert(peer.hash);
        trio.ports.insert(peer.port_hash());
        trio.services.insert(peer.service());
    }
}

fn ratio_or(part: u32, whole: u32, without: f64) -> f64 {
    if whole == 0 { without } else { f64::from(part) / f64::from(whole) }
}

/// What the kernel counts of one source in one second (`struct source_stats`), times in wall-clock ns. "Reply" is what
/// came back to the initiator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// When the window opened, ns.
    pub start_ns: u64,
    /// IP bytes sent.
    pub bytes: u64,
    /// IP bytes back.
    pub reply_bytes: u64,
    /// Packets sent.
    pub packets: u32,
    /// TCP packets sent.
    pub tcp_packets: u32,
    /// UDP packets sent.
    pub udp_packets: u32,
    /// ICMP and ICMPv6 packets sent, without errors.
    pub icmp_packets: u32,
    /// SYN without ACK sent.
    pub syn_packets: u32,
    /// Flows that became established.
    pub handshakes: u32,
    /// Flows begun.
    pub flows: u32,
    /// Packets back.
    pub reply_packets: u32,
    /// UDP packets back.
    pub udp_reply_packets: u32,
    /// RST back.
    pub reply_resets: u32,
}
