//! Accumulators against a naive recomputation over the whole list of packets.

use crate::common::{CLIENT, SERVER, T0, packet};
use flow::stats::{MAX_GAP_US, Periods};
use flow::{Accumulator, Direction, FlowKey, FlowStats};
use proptest::prelude::*;
use wire::packet::{protocol, tcp_flag};
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
    transport_len: u8,
    fragment: Fragment,
}

/// Sequence numbers close to each other and to the wrap, so that segments meet, overlap and leave gaps.
fn sequence() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..3000_u32, 2 => (u32::MAX - 1500)..=u32::MAX, 1 => any::<u32>()]
}

fn input() -> impl Strategy<Value = Input> {
    let step = prop_oneof![
        6 => -5_000_000..100_000_000_i64,
        1 => 4_999_900_000..5_000_100_000_i64,
        1 => 290_000_000_000..310_000_000_000_i64,
        1 => Just(0),
    ];
    let fragment =
        prop_oneof![4 => Just(Fragment::None), 1 => Just(Fragment::First), 1 => Just(Fragment::Later)];
    (
        (
            step,
            any::<bool>(),
            any::<u8>(),
            prop_oneof![20..70_000_u32, 0..100_u32],
            prop_oneof![Just(0), 0..1500_u32, 60_000..70_000_u32],
        ),
        (
            prop::collection::vec(any::<u8>(), 0..20),
            any::<u8>(),
            sequence(),
            any::<u16>(),
            0..61_u8,
            fragment,
        ),
    )
        .prop_map(
            |(
                (step, forward, flags, ip_len, payload_len),
                (captured, ttl, seq, window, transport_len, fragment),
            )| Input {
                step,
                forward,
                flags,
                ip_len,
                captured: captured[..captured.len().min(payload_len as usize)].to_vec(),
                payload_len,
                ttl,
                seq,
                window,
                transport_len,
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
        transport_len: if i.fragment == Fragment::Later { 0 } else { i.transport_len },
        tcp_flags: if tcp { i.flags } else { 0 },
        tcp_seq: if tcp { i.seq } else { 0 },
        tcp_window: if tcp { i.window } else { 0 },
        fragment: i.fragment,
        ..packet(proto, src, dst, 0)
    }
}

/// Next sequence number, repeats and losses, with sequence numbers unrolled to 64 bits instead of wrapped comparisons.
fn followed(packets: &[(u64, Packet<'_>)]) -> (u32, u32, u32) {
    let (mut next, mut repeats, mut losses) = (0_i64, 0, 0);
    for (i, (_, p)) in packets.iter().enumerate() {
        if p.fragment == Fragment::Later {
            continue;
        }
        let has = |flag| i64::from(p.tcp_flags & flag != 0);
        let length = i64::from(p.payload_len) + has(tcp_flag::SYN) + has(tcp_flag::FIN);
        let near = |to: i64, seq: u32| {
            let ahead = (i64::from(seq) - to).rem_euclid(1 << 32);
            to + if ahead >= 1 << 31 { ahead - (1 << 32) } else { ahead }
        };
        let end = near(next, p.tcp_seq.wrapping_add(length as u32));
        if i == 0 {
            next = end;
        } else if length > 0 && has(tcp_flag::RST) == 0 {
            if end <= next {
                repeats += 1;
            } else {
                losses += u32::from(near(next, p.tcp_seq) > next);
                next = end;
            }
        }
    }
    (next.rem_euclid(1 << 32) as u32, repeats, losses)
}

/// Gaps and periods of both directions together.
fn naive_flow(packets: &[(u64, Packet<'_>)]) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let (mut gaps, mut active, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let (mut start, mut last) = (packets[0].0, packets[0].0);
    for (t, _) in &packets[1..] {
        let gap = (t.saturating_sub(last) / 1000).min(u64::from(MAX_GAP_US));
        gaps.push(gap);
        if gap > 5_000_000 {
            active.push((last - start) / 1000);
            idle.push(gap);
            start = *t;
        }
        last = last.max(*t);
    }
    active.retain(|&p| p > 0);
    (gaps, active, idle)
}

fn periods(of: &[u64]) -> Periods {
    Periods {
        sum_us: of.iter().sum(),
        squares: of.iter().map(|p| p * p).sum(),
        count: of.len() as u32,
        min_us: of.iter().min().map_or(u32::MAX, |&p| p as u32),
        max_us: of.iter().max().map_or(0, |&p| p as u32),
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
    a.payload_squares = packets.iter().map(|(_, p)| u64::from(p.payload_len).pow(2)).sum();
    a.header_bytes = packets.iter().map(|(_, p)| u64::from(p.transport_len)).sum();
    a.transport_min = packets.iter().map(|(_, p)| p.transport_len).filter(|&l| l > 0).min().unwrap_or(255);
    let lasts: Vec<u64> =
        (0..packets.len()).map(|i| packets[..=i].iter().map(|(t, _)| *t).max().unwrap()).collect();
    let gaps: Vec<u64> = (1..packets.len())
        .map(|i| (packets[i].0.saturating_sub(lasts[i - 1]) / 1000).min(u64::from(MAX_GAP_US)))
        .collect();
    a.gap_sum_us = gaps.iter().sum();
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
    let lens = || packets.iter().map(|(_, p)| p.payload_len.min(65_535) as u16);
    a.payload_min = lens().min().unwrap();
    a.payload_max = lens().max().unwrap();
    if tcp {
        (a.next_seq, a.retransmitted, a.lost) = followed(packets);
    }
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
        let (gaps, active, idle) = naive_flow(&packets);
        prop_assert_eq!(stats.gap_sum_us, gaps.iter().sum::<u64>());
        prop_assert_eq!(stats.gap_squares, gaps.iter().map(|g| g * g).sum::<u64>());
        prop_assert_eq!(stats.gap_min_us, gaps.iter().min().map_or(u32::MAX, |&g| g as u32));
        prop_assert_eq!(stats.gap_max_us, gaps.iter().max().map_or(0, |&g| g as u32));
        prop_assert_eq!((stats.active, stats.idle), (periods(&active), periods(&idle)));
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
