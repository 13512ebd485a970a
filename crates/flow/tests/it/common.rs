//! Packets made by hand, and what tests ask of events.

use flow::tracker::TICK_NS;
use flow::{
    Census, CensusConfig, EndReason, EntityId, Event, FlowKey, FlowRecord, FlowStats, Outcome, Tracker,
    TrackerConfig, What,
};
use wire::packet::protocol;
use wire::{Addr, Fragment, Packet};

/// A whole second, ns.
pub(crate) const S: u64 = 1_000_000_000;
/// A millisecond, ns.
pub(crate) const MS: u64 = 1_000_000;
/// When tests begin, ns: some time in 2026, not on a second.
pub(crate) const T0: u64 = 1_780_000_000_123_456_789;

/// The client's address.
pub(crate) const CLIENT: Addr = Addr::v4([10, 0, 0, 1]);
/// The server's address, above the client's.
pub(crate) const SERVER: Addr = Addr::v4([10, 0, 0, 2]);

/// The `n`th of many addresses.
pub(crate) fn host(n: u32) -> Addr {
    let [a, b, c, d] = (0x0b00_0000 + n).to_be_bytes();
    Addr::v4([a, b, c, d])
}

/// A packet without payload.
pub(crate) fn packet(proto: u8, src: (Addr, u16), dst: (Addr, u16), tcp_flags: u8) -> Packet<'static> {
    Packet {
        src: src.0,
        dst: dst.0,
        src_port: src.1,
        dst_port: dst.1,
        protocol: proto,
        vlan: 0,
        ip_len: 40,
        frame_len: 54,
        payload_len: 0,
        ttl: 64,
        tcp_flags,
        tcp_seq: 7,
        tcp_ack: 0,
        tcp_window: 1024,
        icmp_type: 0,
        icmp_code: 0,
        fragment: Fragment::None,
        fragment_id: 0,
        fragment_offset: 0,
        transport_len: 0,
        tunnel: 0,
        opaque_tunnel: false,
        payload: &[],
    }
}

/// Adds payload.
pub(crate) fn with(p: Packet<'static>, payload: &'static [u8]) -> Packet<'static> {
    let len = payload.len() as u32;
    Packet { ip_len: p.ip_len + len, frame_len: p.frame_len + len, payload_len: len, payload, ..p }
}

/// Control bits from letters: `S`YN, `A`CK, `F`IN, `R`ST, `P`SH, `U`RG.
pub(crate) fn flags(letters: &str) -> u8 {
    letters.chars().fold(0, |bits, c| {
        bits | match c {
            'F' => 0x01,
            'S' => 0x02,
            'R' => 0x04,
            'P' => 0x08,
            'A' => 0x10,
            'U' => 0x20,
            _ => panic!("no control bit {c}"),
        }
    })
}

/// One packet of a conversation between [`CLIENT`] port 40000 and [`SERVER`] port 22: `>SA` is SYN+ACK from the client,
/// `<F` FIN from the server, a trailing `+` adds four bytes of payload.
pub(crate) fn segment(text: &str) -> Packet<'static> {
    let (way, rest) = text.split_at(1);
    let (letters, payload) = rest.strip_suffix('+').map_or((rest, &b""[..]), |l| (l, b"data"));
    let (client, server) = ((CLIENT, 40_000), (SERVER, 22));
    let (src, dst) = if way == ">" { (client, server) } else { (server, client) };
    with(packet(protocol::TCP, src, dst, flags(letters)), payload)
}

/// A tracker and the census behind it.
pub(crate) struct Pair {
    pub(crate) tracker: Tracker,
    pub(crate) census: Census,
    /// Entities to judge, of all calls.
    pub(crate) active: Vec<EntityId>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(TrackerConfig::default(), CensusConfig::default())
    }

    pub(crate) fn with(tracker: TrackerConfig, census: CensusConfig) -> Self {
        Self { tracker: Tracker::new(tracker), census: Census::new(census), active: Vec::new() }
    }

    /// Lets `call` do something to the tracker, and the census take in what is told.
    fn told(&mut self, events: &mut Vec<Event>, call: impl FnOnce(&mut Tracker, &mut Vec<Event>)) {
        let before = events.len();
        call(&mut self.tracker, events);
        events[before..].iter().for_each(|e| self.census.take(e, &mut self.active));
    }

    pub(crate) fn observe(&mut self, now: u64, p: &Packet<'_>, events: &mut Vec<Event>) {
        self.told(events, |t, events| t.observe(now, p, events));
    }

    pub(crate) fn merge(&mut self, now: u64, key: FlowKey, stats: &FlowStats, events: &mut Vec<Event>) {
        self.told(events, |t, events| t.merge(now, key, stats, events));
    }

    pub(crate) fn advance(&mut self, now: u64, events: &mut Vec<Event>) {
        self.told(events, |t, events| t.advance(now, events));
        self.census.advance(now);
    }

    /// Lets pass what time is left until the next tick, so that all packets are told.
    pub(crate) fn tick(&mut self, events: &mut Vec<Event>) {
        self.advance((self.tracker.now_ns() / TICK_NS + 1) * TICK_NS, events);
    }

    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) {
        self.told(events, Tracker::finish);
    }

    /// Feeds packets one millisecond apart from [`T0`] on; returns the time after the last.
    pub(crate) fn feed(&mut self, packets: &[Packet<'_>], events: &mut Vec<Event>) -> u64 {
        let mut end = 0;
        self.told(events, |t, events| end = feed(t, packets, events));
        end
    }
}

/// Feeds packets to a tracker one millisecond apart from [`T0`] on; returns the time after the last.
pub(crate) fn feed(t: &mut Tracker, packets: &[Packet<'_>], events: &mut Vec<Event>) -> u64 {
    let mut now = T0;
    for p in packets {
        t.observe(now, p, events);
        now += MS;
    }
    now
}

/// The records of ended flows with the reasons.
pub(crate) fn ended(events: &[Event]) -> Vec<(FlowRecord, EndReason)> {
    events
        .iter()
        .filter_map(|e| if let What::Ended(r, why) = &e.what { Some((**r, *why)) } else { None })
        .collect()
}

/// Outcomes of ended flows.
pub(crate) fn outcomes(events: &[Event]) -> Vec<Outcome> {
    ended(events).iter().map(|(r, _)| r.outcome).collect()
}

/// How many events `is` holds for.
pub(crate) fn count(events: &[Event], is: fn(&What) -> bool) -> usize {
    events.iter().filter(|e| is(&e.what)).count()
}
