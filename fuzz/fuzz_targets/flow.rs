//! Sessions, streams and fragments: packets of a few flows, whatever they claim, in small tables.
//!
//! The input is a series of packets: endpoints, kind, control bits, distance of the sequence number from the last, stated
//! length beyond what follows, length, payload.

#![no_main]

use flow::{Tracker, TrackerConfig};
use wire::{Addr, Fragment, Packet};

const SESSIONS: u64 = 3;
const BYTES: u64 = 8192;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let config = TrackerConfig {
        flow_capacity: 5,
        session_capacity: SESSIONS as usize,
        session_bytes: BYTES as usize,
        ..TrackerConfig::default()
    };
    let mut tracker = Tracker::new(config);
    let mut events = Vec::new();
    let mut rest = input;
    let (mut now, mut seq) = (1_700_000_000_000_000_000, 0_u32);
    while let Some((&[who, kind, flags, step_hi, step_lo, more, len, pause], tail)) = rest.split_first_chunk::<8>() {
        let (payload, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        now += u64::from(pause) << (pause % 32);
        seq = seq.wrapping_add_signed(i32::from(i16::from_be_bytes([step_hi, step_lo])));
        let protocol = [6, 6, 6, 17, 17, 1][usize::from(kind % 6)];
        let fragment = [Fragment::None, Fragment::None, Fragment::First, Fragment::Later][usize::from(kind >> 6)];
        let client = (Addr::v4([10, 0, 0, who & 3]), 1024 + u16::from(who >> 2 & 1));
        let server = (Addr::v4([10, 1, 0, who >> 3 & 1]), [53, 80, 445, 68][usize::from(who >> 4 & 3)]);
        let (src, dst) = if who & 0x80 == 0 { (client, server) } else { (server, client) };
        let packet = Packet {
            src: src.0,
            dst: dst.0,
            src_port: if fragment == Fragment::Later { 0 } else { src.1 },
            dst_port: if fragment == Fragment::Later { 0 } else { dst.1 },
            protocol,
            vlan: 0,
            ip_len: 40 + u32::from(len),
            frame_len: 54 + u32::from(len),
            payload_len: payload.len() as u32 + u32::from(more),
            ttl: 64,
            tcp_flags: flags,
            tcp_seq: seq,
            tcp_ack: seq.wrapping_sub(u32::from(more)),
            tcp_window: 0,
            icmp_type: 0,
            icmp_code: 0,
            fragment,
            fragment_id: u32::from(pause & 3),
            fragment_offset: u16::from(step_lo) * 8,
            transport_len: if protocol == 6 { 20 } else { 8 },
            tunnel: 0,
            opaque_tunnel: false,
            payload,
        };
        tracker.observe(now, &packet, &mut events);
        events.clear();
        let c = tracker.counters();
        assert!(c.sessions_live <= SESSIONS && c.session_bytes <= BYTES && c.flows_live <= 5);
    }
    tracker.finish(&mut events);
    let c = tracker.counters();
    assert_eq!((c.flows_live, c.sessions_live, c.session_bytes), (0, 0, 0));
});
