//! Packets made by hand, and what tests ask of events.

use flow::{EndReason, Event, FlowRecord, Outcome, Tracker};
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
        .filter_map(|e| if let Event::FlowEnded(r, why) = e { Some((**r, *why)) } else { None })
        .collect()
}

/// Outcomes of ended flows.
pub(crate) fn outcomes(events: &[Event]) -> Vec<Outcome> {
    ended(events).iter().map(|(r, _)| r.outcome).collect()
}

/// How many events `is` holds for.
pub(crate) fn count(events: &[Event], is: fn(&Event) -> bool) -> usize {
    events.iter().filter(|e| is(e)).count()
}
