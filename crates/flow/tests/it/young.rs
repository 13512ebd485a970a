//! Flows of few packets are kept as their packets, others as sums: nobody may see a difference.

use crate::common::*;
use flow::{FlowKey, FlowStats, Tracker, TrackerConfig};
use proptest::prelude::*;
use std::collections::BTreeMap;
use wire::packet::protocol;
use wire::{Fragment, Packet};

#[derive(Clone, Debug)]
struct Step {
    wait: i64,
    client: u32,
    proto: u8,
    back: bool,
    flags: u8,
    payload: &'static [u8],
    stated: u32,
    fragment: Fragment,
    bytes: [u8; 2],
    seq: u32,
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![8 => 0..500_000_000_i64, 1 => -400_000_000..0_i64];
    let proto = prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::ICMP, protocol::SCTP]);
    let payload = prop::sample::select(vec![&b""[..], b"", b"?", b"0123456789", b"\0\0\0"]);
    let stated = prop_oneof![8 => Just(0), 1 => 0..100_u32, 1 => 60_000..70_000_u32];
    let fragment = prop_oneof![8 => Just(Fragment::None), 1 => Just(Fragment::First)];
    // Neither FIN nor RST, as what follows these may be another flow.
    let flags = any::<u8>().prop_map(|f| f & !0x05);
    (wait, 0..3_u32, proto, any::<bool>(), flags, payload, stated, fragment, any::<[u8; 2]>(), any::<u32>())
        .prop_map(|(wait, client, proto, back, flags, payload, stated, fragment, bytes, seq)| Step {
            wait,
            client,
            proto,
            back,
            flags,
            payload,
            stated,
            fragment,
            bytes,
            seq,
        })
}

fn to_packet(s: &Step) -> Packet<'static> {
    let tcp = s.proto == protocol::TCP;
    let (mut src, mut dst) = ((host(s.client), 1000), (host(100), 9));
    if s.proto == protocol::ICMP {
        (src.1, dst.1) = (8, 0);
    }
    if s.back {
        std::mem::swap(&mut src, &mut dst);
    }
    let p = with(packet(s.proto, src, dst, if tcp { s.flags } else { 0 }), s.payload);
    Packet {
        ip_len: p.ip_len + s.stated,
        payload_len: p.payload_len + s.stated,
        ttl: s.bytes[0],
        transport_len: s.bytes[1],
        tcp_seq: if tcp { s.seq } else { 0 },
        tcp_window: if tcp { s.seq as u16 } else { 0 },
        fragment: s.fragment,
        // Of one datagram each.
        fragment_id: s.seq,
        ..p
    }
}

proptest! {
    #[test]
    fn a_flow_is_the_sum_of_its_packets_however_few(steps in prop::collection::vec(step(), 1..16)) {
        let mut by_packet = Tracker::new(TrackerConfig::default());
        let mut by_snapshot = Tracker::new(TrackerConfig::default());
        let (mut now, mut events) = (T0, Vec::new());
        let mut sums: BTreeMap<FlowKey, FlowStats> = BTreeMap::new();
        for s in &steps {
            now = now.saturating_add_signed(s.wait);
            let p = to_packet(s);
            let (key, direction) = FlowKey::of(&p);
            let sum = sums.entry(key).or_insert_with(|| FlowStats::begin(&p, direction));
            sum.account(now, &p, direction);
            by_packet.observe(now, &p, &mut events);
            by_snapshot.merge(now, key, sum, &mut events);
            for (key, sum) in &sums {
                for t in [&by_packet, &by_snapshot] {
                    let record = t.flow(key).expect("it lives");
                    prop_assert_eq!((record.key, record.stats), (*key, *sum));
                }
            }
        }
        events.clear();
        by_packet.finish(&mut events);
        let left: BTreeMap<_, _> = ended(&events).into_iter().map(|(r, _)| (r.key, r.stats)).collect();
        prop_assert_eq!(left, sums);
    }
}
