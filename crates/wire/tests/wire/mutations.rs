//! A fuzzing run of fixed seed and length, for where no fuzzer is at hand. `fuzz/` has the open-ended ones, with the
//! same invariants.

use crate::blocks::Order;
use crate::{invariants, tunnels};
use std::collections::BTreeSet;
use wire::craft::{Builder, Segment, Tcp, tunnel};
use wire::{Addr, LinkType, Skip, parse};

const FRAMES: usize = 200_000;
const FILES: usize = 2_000;

/// The splitmix64 generator: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes `bytes` in one to four places: bits, bytes, lengths, cuts, repetitions.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const EDGES: [u32; 14] =
        [0, 1, 4, 7, 8, 19, 20, 0x7f, 0xff, 0x7fff, 0xffff, 0x4_0001, 0x7fff_ffff, 0xffff_ffff];
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Headers are at the front, so that is where most changes go.
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(80) };
        let at = random.below(reach);
        let edge = EDGES[random.below(EDGES.len())];
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = edge as u8,
            3 if at + 2 <= bytes.len() => bytes[at..at + 2].copy_from_slice(&(edge as u16).to_be_bytes()),
            4 if at + 4 <= bytes.len() => bytes[at..at + 4].copy_from_slice(&edge.to_le_bytes()),
            5 if at + 4 <= bytes.len() => bytes[at..at + 4].copy_from_slice(&edge.to_be_bytes()),
            6 => bytes.truncate(at),
            7 => {
                let end = (at + random.below(40)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                let to = random.below(reach);
                bytes.splice(to..to, again);
            }
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

/// Frames of every shape the parser knows.
fn seeds() -> Vec<(LinkType, Vec<u8>)> {
    let v4 = Builder::new(Addr::v4([192, 0, 2, 1]), Addr::v4([198, 51, 100, 2]));
    let v6 = Builder::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let builders = [
        v4.clone(),
        v4.clone().options(&[1; 13]).pad(),
        v4.service_vlan(1).vlan(2).vlan(3).vlan(4),
        v6.clone(),
        v6.clone().extension(0, &[]).extension(43, &[1; 20]).extension(60, &[]).extension(51, &[1; 10]),
        (0..8).fold(v6, |b, i| b.extension([60, 135, 139, 140][i % 4], &[])),
    ];
    let tcp = Tcp {
        src_port: 4000,
        dst_port: 22,
        flags: 0x12,
        seq: 1,
        ack: 2,
        options: vec![1; 7],
        ..Tcp::default()
    };
    let mut seeds = Vec::new();
    for builder in &builders {
        for link in LinkType::ALL {
            let builder = builder.clone().link(link);
            let segments = [
                builder.tcp_segment(&tcp, b"SSH-2.0-x\r\n"),
                builder.udp_segment(53, 4000, &[7; 60]),
                builder.icmp_segment(8, 0, [0; 4], &[1; 20]),
                Segment { protocol: 59, bytes: vec![1; 30] },
            ];
            for segment in &segments {
                seeds.push((link, builder.frame(segment)));
                seeds.extend(builder.fragments(segment, 40).into_iter().map(|f| (link, f)));
            }
            for (_, segment, _) in tunnels::segments(&builder, &builders[0]) {
                seeds.push((link, builder.frame(&segment)));
            }
            let datagram = builders[3].clone().link(LinkType::RawIp).udp(1, 2, &[3; 20]);
            let frame = builders[2].udp(1, 2, &[3; 20]);
            seeds.push((link, tunnel::mpls(&builder, &[16, 17], &datagram)));
            seeds.push((link, tunnel::pseudowire(&builder, &[16], &frame)));
            seeds.push((link, tunnel::pppoe(&builder, 5, &datagram)));
        }
    }
    seeds
}

#[test]
fn mutated_frames() {
    let seeds = seeds();
    let mut random = Random(1);
    let mut reached = BTreeSet::new();
    let mut packets = 0;
    for i in 0..FRAMES {
        let (link, seed) = &seeds[i % seeds.len()];
        let mut frame = seed.clone();
        mutate(&mut random, &mut frame);
        let frame_len = if random.below(2) == 0 { frame.len() as u32 } else { random.next() as u32 };
        invariants::packet(&frame, frame_len);
        match parse(*link, &frame, frame_len) {
            Ok(_) => packets += 1,
            Err(skip) => _ = reached.insert(skip),
        }
    }
    // The run means something: it ended in every way there is.
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), Skip::ALL);
    assert!((FRAMES / 5..FRAMES * 4 / 5).contains(&packets), "{packets}");
}

/// Capture files of every kind the reader knows.
fn files() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for o in Order::BOTH {
        for (magic, extra) in [(0xa1b2_c3d4, 0), (0xa1b2_3c4d, 0), (0xa1b2_cd34, 8)] {
            let mut file = o.pcap(magic, 4, 1);
            for n in 0..6 {
                file.extend(o.record([n, n, n * 9, 80], &vec![n as u8; (n * 9 + extra) as usize]));
            }
            files.push(file);
        }
        let mut file = o.section();
        file.extend(o.interface(1, 96, &[(2, b"eth0"), (9, &[9]), (14, &o.u64(1))]));
        for n in 0..4 {
            file.extend(o.enhanced(0, n, &vec![n as u8; n as usize * 7], 60));
            file.extend(o.simple(&[5; 12], 12));
            file.extend(o.obsolete(0, n, &[6; 9]));
        }
        file.extend(o.block(5, &[0; 24]));
        let other = if o == Order::Big { Order::Little } else { Order::Big };
        file.extend(
            [other.section(), other.interface(113, 0, &[]), other.enhanced(0, 1, &[1; 30], 30)].concat(),
        );
        files.push(file);
    }
    files
}

#[test]
fn mutated_captures() {
    let seeds = files();
    let mut random = Random(2);
    let mut frames = 0;
    for i in 0..FILES {
        let mut file = seeds[i % seeds.len()].clone();
        mutate(&mut random, &mut file);
        frames += invariants::capture(&file);
    }
    assert!(frames > FILES, "{frames}");
}
