//! What is remembered of sources so that their windows can be judged.

use super::vector::{Facts, Vector, WIDTH, vector};
use crate::profile::table::Table;
use flow::sketch::{Distinct, addr_hash, pair_hash};
use flow::{Conversation, PastWindow, Span};
use std::collections::VecDeque;
use wire::Addr;

/// Windows that make a sequence: a minute of activity.
pub const SEQUENCE: usize = 6;

/// A sequence as models see it: the windows of a source, the latest last; NaN where there was none.
pub type Sequence = [f32; SEQUENCE * WIDTH];

/// Packets, both ways together, below which a window is not judged: there is nothing to tell it by, and a flood of forged
/// senders consists of such.
pub const LEAST_PACKETS: u32 = 8;
/// Flows begun from which on it is judged whatever the packets.
pub const LEAST_FLOWS: u32 = 4;

/// Sources whose contacts are counted at once.
const CONTACTS: usize = 8192;
/// A window and the time until it is handed out at the latest, ns.
const CONTACTS_NS: u64 = 60_000_000_000;
/// Sources whose latest windows are remembered. Only those with windows worth judging are.
const SOURCES: usize = 4096;
/// Windows older than this are no part of a sequence, ns.
const LONG_AGO_NS: u64 = 600_000_000_000;

/// Whom a source contacted within its running window.
#[derive(Clone, Debug, Default)]
struct Contacts {
    hosts: Distinct,
    services: Distinct,
}

/// Memory of sources. Bounded: contacts of 8,192 sources (up to 350 bytes each), sequences of 4,096 (600 bytes each). What is
/// full forgets the half that was silent longest, counted.
#[derive(Clone, Debug)]
pub struct Watch {
    seed: u64,
    contacts: Table<Addr, Contacts>,
    sources: Table<Addr, VecDeque<(u64, Vector)>>,
}

/// A window worth judging, with those before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Whose.
    pub addr: Addr,
    /// When it began, ns.
    pub start_ns: u64,
    /// It and those before it.
    pub sequence: Sequence,
}

impl Observed {
    /// The window alone.
    #[must_use]
    pub fn latest(&self) -> &[f32] {
        latest(&self.sequence)
    }
}

/// The last window of a sequence.
#[must_use]
pub fn latest(sequence: &Sequence) -> &[f32] {
    sequence.get((SEQUENCE - 1) * WIDTH..).unwrap_or(&[])
}

impl Watch {
    /// A memory of nobody. The seed is that of the hashes by which contacts are counted: random where traffic may be hostile.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, contacts: Table::new(CONTACTS, CONTACTS_NS), sources: Table::new(SOURCES, LONG_AGO_NS) }
    }

    /// Takes in that a flow began.
    pub fn begin(&mut self, now_ns: u64, flow: &Conversation) {
        let (source, (target, port)) = (flow.initiator().0, flow.responder());
        let contacts = self.contacts.touch(source, now_ns);
        let host = addr_hash(self.seed, &target);
        contacts.hosts.insert(host);
        contacts.services.insert(pair_hash(self.seed, host, port));
    }

    /// Takes in a window that is over. What is to be judged of it, if it is worth it.
    pub fn end(&mut self, now_ns: u64, past: &PastWindow) -> Option<Observed> {
        let PastWindow { addr, window } = past;
        let contacts = self.contacts.take(addr, now_ns);
        let packets = window.packets.saturating_add(window.reply_packets);
        if packets < LEAST_PACKETS && window.flows < LEAST_FLOWS {
            return None;
        }
        let hosts = contacts.as_ref().map_or(0, |c| c.hosts.estimate());
        let services = contacts.as_ref().map_or(0, |c| c.services.estimate());
        // Without a flow begun there is nobody newly contacted; with one and no count, nobody counted.
        let known = contacts.is_some() || window.flows == 0;
        let facts = Facts { window, hosts: known.then_some(hosts), services: known.then_some(services) };
        let windows = self.sources.touch(*addr, now_ns);
        windows.retain(|(start, _)| window.start_ns.saturating_sub(*start) <= LONG_AGO_NS);
        if windows.len() == SEQUENCE {
            windows.pop_front();
        }
        windows.push_back((window.start_ns, vector(&facts)));
        let mut sequence = [f32::NAN; SEQUENCE * WIDTH];
        for (place, (_, v)) in sequence.rchunks_exact_mut(WIDTH).zip(windows.iter().rev()) {
            place.copy_from_slice(v);
        }
        Some(Observed { addr: *addr, start_ns: window.start_ns, sequence })
    }

    /// Sources forgotten before their time.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.contacts.evicted() + self.sources.evicted()
    }
}

/// End of a window that began at `start_ns`, ns.
#[must_use]
pub const fn end_of(start_ns: u64) -> u64 {
    start_ns.saturating_add(Span::S10.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::{Direction, FlowKey, SourceCounts, Window};

    const S: u64 = 1_000_000_000;

    fn contact(watch: &mut Watch, host: u8, port: u16) {
        let (lo, hi) = (Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 1, host]));
        let key = FlowKey { lo, hi, lo_port: 40_000, hi_port: port, vlan: 0, protocol: 6, tunnel: 0 };
        let flow = Conversation {
            key,
            first_ns: 0,
            syn_window: None,
            initiator: Direction::LoToHi,
            app: flow::App::Unknown,
            replied: false,
        };
        watch.begin(S, &flow);
    }

    fn window(start_ns: u64, packets: u32) -> Window {
        Window::from_source(&SourceCounts { start_ns, packets, flows: 1, ..SourceCounts::default() })
    }

    fn past(at_s: u64, packets: u32) -> PastWindow {
        PastWindow { addr: Addr::v4([10, 0, 0, 1]), window: window(at_s * S, packets) }
    }

    fn place(name: &str) -> usize {
        super::super::vector::FEATURES.iter().position(|f| f.name == name).expect(name)
    }

    #[test]
    fn contacts_are_those_of_the_window() {
        let mut watch = Watch::new(7);
        for host in 0..9 {
            contact(&mut watch, host, 80);
            contact(&mut watch, host, 443);
        }
        let of = |o: &Observed, name: &str| (o.latest()[place(name)].exp_m1()).round();
        let first = watch.end(11 * S, &past(1, 100)).expect("judged");
        assert_eq!((of(&first, "window_hosts"), of(&first, "window_services")), (9.0, 18.0));
        contact(&mut watch, 1, 80);
        let second = watch.end(21 * S, &past(11, 100)).expect("judged");
        assert_eq!(of(&second, "window_hosts"), 1.0);
    }

    #[test]
    fn a_sequence_is_the_latest_windows_and_nothing_before_the_first() {
        let mut watch = Watch::new(7);
        let packets = |o: &Observed| -> Vec<f32> {
            o.sequence.chunks_exact(WIDTH).map(|w| w[place("window_packets")].exp_m1().round()).collect()
        };
        let o = watch.end(0, &past(0, 10)).expect("judged");
        assert!(packets(&o)[..5].iter().all(|p| p.is_nan()) && packets(&o)[5] == 10.0);
        for n in 1..8 {
            watch.end(n * 10 * S, &past(n * 10, 10 + n as u32));
        }
        let o = watch.end(80 * S, &past(80, 18)).expect("judged");
        assert_eq!(packets(&o), [13.0, 14.0, 15.0, 16.0, 17.0, 18.0]);
        // A long silence begins a new sequence.
        let o = watch.end(2000 * S, &past(1990, 20)).expect("judged");
        assert!(packets(&o)[4].is_nan());
    }

    #[test]
    fn strangers_with_a_packet_each_are_not_judged_and_push_nobody_out() {
        let mut watch = Watch::new(7);
        watch.end(0, &past(0, 10));
        for n in 0..20_000_u32 {
            let stranger = PastWindow { addr: Addr::v4(n.to_be_bytes()), window: window(0, 1) };
            assert_eq!(watch.end(S, &stranger), None);
        }
        let o = watch.end(10 * S, &past(10, 11)).expect("judged");
        assert!(!o.sequence[4 * WIDTH].is_nan());
    }
}
