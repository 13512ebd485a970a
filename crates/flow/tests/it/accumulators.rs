//! Accumulators against a naive recomputation over the whole list of packets.

use crate::common::{CLIENT, SERVER, T0, packet};
use flow::stats::MAX_GAP_US;
use flow::{Accumulator, Direction, FlowKey, FlowStats};
use proptest::prelude::*;
use wire::packet::protocol;
use wire::{Fragment, Packet};

#[derive(Clone, Debug)]
struct Input {
    /// Time since the packet before, ns; may go back.
    step: i64,
    forward: bool,
    flags: u8,
    ip_len: u32,
    payload_len: u32,
    captured: Vec<u8>,
    ttl: u8,
    seq: u32,
    window: u16,
    fragment: Fragment,
}

fn input() -> impl Strategy<Value = Input> {
    let step = prop_oneof![-5_000_000..100_000_000_i64, 59_000_000_000..70_000_000_000_i64, Just(0)];
    let fragment =
        prop_oneof![4 => Just(Fragment::None), 1 => Just(Fragment::First), 1 => Just(Fragment::Later)];
    (
        (
            step,
            any::<bool>(),
            any::<u8>(),
            prop_oneof![20..70_000_u32, 0..100_u32],
            prop_oneof![Just(0), 0..1500_u32],
        ),
        (prop::collection::vec(any::<u8>(), 0..20), any::<u8>(), any::<u32>(), any::<u16>(), fragment),
    )
        .prop_map(
            |((step, forward, flags, ip_len, payload_len), (captured, ttl, seq, window, fragment))| Input {
                step,
                forward,
                flags,
                ip_len,
                captured: captured[..captured.len().min(payload_len as usize)].to_vec(),
                payload_len,
                ttl,
                seq,
                window,
                fragment,
            },
        )
}

fn to_packet(i: &Input, proto: u8) -> Packet<'_> {
    let (a, b) = ((CLIENT, 1000), (SERVER, 2000));
    let (src, dst) = if i.forward { (a, b) } else { (b, a) };
    let tcp = proto == protocol::TCP && i.fragment != Fragment::Later;
    Packet {
        ip_len: i.ip_len,
        payload_len: i.payload_len,
        payload: &i.captured,
        ttl: i.ttl,
        tcp_flags: if tcp { i.flags } else { 0 },
        tcp_seq: if tcp { i.seq } else { 0 },
        tcp_window: if tcp { i.window } else { 0 },
        fragment: i.fragment,
        ..packet(proto, src, dst, 0)
    }
}

/// The module's specification, once more, with nothing incremental about it.
fn naive(packets: &[(u64, Packet<'_>)]) -> Accumulator {
    let mut a = Accumulator::EMPTY;
    let Some((first_ns, first)) = packets.first() else { return a };
    let tcp = first.protocol == protocol::TCP;
    a.packets = packets.len() as u64;
    a.bytes = packets.iter().map(|(_, p)| u64::from(p.ip_len)).sum();
    a.payload_bytes = packets.iter().map(|(_, p)| u64::from(p.payload_len)).sum();
    a.len_squares = packets.iter().map(|(_, p)| u64::from(p.ip_len).pow(2)).sum();
    let lasts: Vec<u64> =
        (0..packets.len()).map(|i| packets[..=i].iter().map(|(t, _)| *t).max().unwrap()).collect();
    let gaps: Vec<u64> = (1..packets.len())
        .map(|i| (packets[i].0.saturating_sub(lasts[i - 1]) / 1000).min(u64::from(MAX_GAP_US)))
        .collect();
    a.gap_squares = gaps.iter().map(|g| g * g).sum();
    a.gap_min_us = gaps.iter().min().map_or(u32::MAX, |&g| g as u32);
    a.gap_max_us = gaps.iter().max().map_or(0, |&g| g as u32);
    a.first_ns = *first_ns;
    a.last_ns = *lasts.last().unwrap();
    for bit in 0..8 {
        a.flags[bit] = packets.iter().filter(|(_, p)| tcp && p.tcp_flags & (1 << bit) != 0).count() as u32;
    }
    a.data_packets = packets.iter().filter(|(_, p)| p.payload_len > 0).count() as u32;
    a.fragments = packets.iter().filter(|(_, p)| p.fragment != Fragment::None).count() as u32;
    if tcp && first.fragment != Fragment::Later {
        a.first_seq = first.tcp_seq;
        a.first_window = first.tcp_window;
    }
    let lens = || packets.iter().map(|(_, p)| p.ip_len.min(65_535) as u16);
    a.len_min = lens().min().unwrap();
    a.len_max = lens().max().unwrap();
    a.ttl_min = packets.iter().map(|(_, p)| p.ttl).min().unwrap();
    a.ttl_max = packets.iter().map(|(_, p)| p.ttl).max().unwrap();
    if let Some((_, p)) = packets.iter().find(|(_, p)| p.payload_len > 0)
        && p.fragment != Fragment::Later
    {
        for (to, from) in a.head.iter_mut().zip(p.payload) {
            *to = *from;
        }
    }
    a
}

proptest! {
    #[test]
    fn sums_equal_a_recomputation(inputs in prop::collection::vec(input(), 1..60), tcp in any::<bool>()) {
        let proto = if tcp { protocol::TCP } else { protocol::UDP };
        let mut now = T0;
        let packets: Vec<(u64, Packet<'_>)> = inputs
            .iter()
            .map(|i| {
                now = now.saturating_add_signed(i.step);
                (now, to_packet(i, proto))
            })
            .collect();
        let mut stats = FlowStats::begin(&packets[0].1, FlowKey::of(&packets[0].1).1);
        for (t, p) in &packets {
            stats.account(*t, p, FlowKey::of(p).1);
        }
        for direction in [Direction::LoToHi, Direction::HiToLo] {
            let own: Vec<_> = packets.iter().filter(|(_, p)| FlowKey::of(p).1 == direction).copied().collect();
            prop_assert_eq!(stats.dir[direction as usize], naive(&own));
        }
    }

    #[test]
    fn both_directions_share_a_key(a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), ports in any::<(u16, u16)>()) {
        let (src, dst) = ((wire::Addr(a), ports.0), (wire::Addr(b), ports.1));
        let (there, d1) = FlowKey::of(&packet(protocol::UDP, src, dst, 0));
        let (back, d2) = FlowKey::of(&packet(protocol::UDP, dst, src, 0));
        prop_assert_eq!(there, back);
        prop_assert!(d1 != d2 || src == dst);
        prop_assert_eq!(there.source(d1), src);
    }
}
