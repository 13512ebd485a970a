//! The same frames through the kernel program and through `wire` and `flow`: equal keys, equal accumulators.
//!
//! Captures and made-up traffic are run with the program's clock set to each frame's time, so that times and gaps are
//! compared too. Flow reuse is the tables' affair and follows the one rule written in `bpf/account.h`.

use crate::testrun::{PASS, SECOND, START, Sensor};
use flow::fragment::Fragments;
use flow::{Direction, FlowKey, FlowStats, TcpState};
use kernel::abi::{Counter, Event, ODD_OVERLAP, ODD_TINY, direction};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use wire::craft::{Builder, Segment, Tcp};
use wire::packet::{protocol, tcp_flag};
use wire::{LinkType, Skip};

/// Frames taken from one capture.
const FRAMES_PER_CAPTURE: usize = 2000;
/// A jumbo frame; longer captures are offload artefacts.
const LONGEST_FRAME: usize = 9018;

/// The Rust side: one map of flows with the reuse rule of the kernel's table.
struct Table {
    flows: HashMap<FlowKey, FlowStats>,
    fragments: Fragments,
    skipped: [u64; Skip::ALL.len()],
    reused: u64,
    tiny: u64,
    overlapping: u64,
    orphaned: u64,
    odd: HashSet<Odd>,
    tunnelled: u64,
    opaque: u64,
}

/// Whose fragments are odd, and how: flow, direction, kind.
type Odd = (FlowKey, Direction, u8);

/// The kinds among some bits of an event.
fn kinds(found: u8) -> impl Iterator<Item = u8> {
    [ODD_TINY, ODD_OVERLAP].into_iter().filter(move |kind| found & kind != 0)
}

impl Default for Table {
    fn default() -> Self {
        Self {
            flows: HashMap::new(),
            fragments: Fragments::new(1),
            skipped: [0; Skip::ALL.len()],
            reused: 0,
            tiny: 0,
            overlapping: 0,
            orphaned: 0,
            odd: HashSet::new(),
            tunnelled: 0,
            opaque: 0,
        }
    }
}

impl Table {
    fn frame(&mut self, now: u64, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("short");
        let mut packet = match wire::parse(LinkType::Ethernet, frame, length) {
            Ok(packet) => packet,
            Err(skip) => {
                self.skipped[skip as usize] += 1;
                return;
            }
        };
        self.tunnelled += u64::from(packet.tunnel != 0);
        self.opaque += u64::from(packet.opaque_tunnel);
        let finding = self.fragments.resolve(now, &mut packet);
        self.tiny += u64::from(finding.tiny);
        self.overlapping += u64::from(finding.overlap);
        self.orphaned += u64::from(finding.orphan);
        let (key, direction) = FlowKey::of(&packet);
        let found = (u8::from(finding.tiny) * ODD_TINY) | (u8::from(finding.overlap) * ODD_OVERLAP);
        self.odd.extend(kinds(found).map(|kind| (key, direction, kind)));
        let tcp = packet.protocol == protocol::TCP;
        let over = self.flows.get(&key).is_some_and(|f| {
            let opens = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
            let last = f.dir[0].last_ns.max(f.dir[1].last_ns);
            let idle = if tcp { 300 * SECOND } else { 60 * SECOND };
            (tcp && opens && matches!(f.state, TcpState::Closed | TcpState::Reset))
                || now.saturating_sub(last) > idle
        });
        if over {
            self.flows.remove(&key);
            self.reused += 1;
        }
        let stats = self.flows.entry(key).or_insert_with(|| FlowStats::begin(&packet, direction));
        stats.account(now, &packet, direction);
    }
}

/// Runs all frames through both and compares everything that both know.
pub(crate) fn compare<'a>(
    what: &str,
    sensor: &mut Sensor,
    pass: u32,
    frames: impl Iterator<Item = (u64, &'a [u8])>,
) {
    let mut table = Table::default();
    sensor.events();
    let before = sensor.counters();
    for (count, (now, frame)) in frames.enumerate() {
        sensor.at(now);
        assert_eq!(sensor.run(frame), pass, "{what}: frame {count}");
        table.frame(now, frame);
    }
    let after = sensor.counters();
    for skip in Skip::ALL {
        let kernel = after.skipped(skip) - before.skipped(skip);
        assert_eq!(kernel, table.skipped[skip as usize], "{what}: {}", skip.name());
    }
    assert_eq!(
        after.get(Counter::FlowsReused) - before.get(Counter::FlowsReused),
        table.reused,
        "{what}: reused"
    );
    for (counter, expected) in [
        (Counter::FragmentsTiny, table.tiny),
        (Counter::FragmentsOverlapping, table.overlapping),
        (Counter::FragmentsOrphaned, table.orphaned),
        (Counter::TunnelPackets, table.tunnelled),
        (Counter::TunnelOpaque, table.opaque),
        (Counter::TunnelUserOnly, 0),
    ] {
        assert_eq!(after.get(counter) - before.get(counter), expected, "{what}: {}", counter.name());
    }
    let told: HashSet<Odd> = sensor
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Odd(odd) = event { Some(odd) } else { None })
        .flat_map(|odd| kinds(odd.found).map(move |kind| (odd.key.into(), direction(odd.direction), kind)))
        .collect();
    assert!(told.is_subset(&table.odd), "{what}: told of {told:?}, odd are {:?}", table.odd);
    if after.get(Counter::OddLost) == before.get(Counter::OddLost) {
        assert_eq!(told.len(), table.odd.len(), "{what}: odd are {:?}", table.odd);
    }
    let kernel: HashMap<FlowKey, FlowStats> =
        sensor.flows().into_iter().map(|(k, s)| (k.into(), s.to_flow(0))).collect();
    for (key, stats) in &table.flows {
        assert_eq!(kernel.get(key), Some(stats), "{what}: {key:?}");
    }
    assert_eq!(kernel.len(), table.flows.len(), "{what}: flows");
    sensor.clear();
}

fn data() -> PathBuf {
    std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from)
}

fn captures(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            captures(&path, found);
        } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
            found.push(path);
        }
    }
}

/// The Ethernet frames at the beginning of a capture, cut to what TEST_RUN takes.
fn frames(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut frames = Vec::new();
    let Ok(file) = std::fs::File::open(path) else { return frames };
    let Ok(mut reader) = wire::capture::Reader::new(std::io::BufReader::new(file)) else { return frames };
    while let Ok(Some(frame)) = reader.next() {
        // 14 bytes are the least that TEST_RUN takes; 0 is no time a kernel clock shows.
        if frame.link == Some(LinkType::Ethernet) && frame.data.len() >= 14 {
            frames.push((frame.ts_ns.max(1), frame.data[..frame.data.len().min(LONGEST_FRAME)].to_vec()));
        }
        if frames.len() == FRAMES_PER_CAPTURE {
            break;
        }
    }
    frames
}

#[test]
fn captures_give_equal_accumulators() {
    let root = data().join("pcap");
    let mut paths = Vec::new();
    captures(&root, &mut paths);
    if paths.is_empty() {
        println!("skipped: no captures under {}", root.display());
        return;
    }
    paths.sort();
    let Some(mut sensor) = Sensor::load(&[]) else { return };
    let (mut total, mut used) = (0, 0);
    for path in paths {
        let frames = frames(&path);
        if frames.is_empty() {
            continue;
        }
        compare(
            &path.display().to_string(),
            &mut sensor,
            PASS,
            frames.iter().map(|(t, f)| (*t, f.as_slice())),
        );
        total += frames.len();
        used += 1;
    }
    println!("{total} frames of {used} captures");
}

/// A frame between few hosts and ports, of any shape the builder makes, sometimes with a byte changed or cut short.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let shape = (0..3_u8, 0..3_u8, any::<bool>(), 0..6_u8, any::<u8>(), 0..3_usize, 0..5_u8);
    let damage = (
        proptest::option::weighted(0.2, (0..80_usize, any::<u8>())),
        proptest::option::weighted(0.1, 14..70_usize),
    );
    (shape, proptest::collection::vec(any::<u8>(), 0..40), damage).prop_map(
        |((a, b, v6, kind, flags, tags, extra), payload, (change, cut))| {
            let host = |n: u8| if v6 { format!("2001:db8::{n}") } else { format!("10.0.0.{n}") };
            let mut builder =
                Builder::new(host(a).parse().expect("address"), host(b).parse().expect("address"))
                    .ttl(flags.wrapping_mul(7));
            for id in 0..tags {
                builder = builder.vlan(u16::try_from(id).unwrap_or(0) + 5);
            }
            for kind in [0, 60, 43, 51].into_iter().take(usize::from(extra)) {
                builder = builder.extension(kind, &payload);
            }
            let ports = (u16::from(a) + 1000, u16::from(b) + 1000);
            let segment = match kind {
                0..=2 => {
                    let tcp = Tcp {
                        src_port: ports.0,
                        dst_port: ports.1,
                        flags: if kind == 0 { flags } else { flags & 0x17 },
                        // Near enough to meet and overlap, or far apart.
                        seq: u32::from(flags) << if extra < 3 { 0 } else { 20 },
                        window: u16::from(flags) << 4,
                        options: payload[..payload.len().min(usize::from(extra) * 4)].to_vec(),
                        ..Tcp::default()
                    };
                    builder.tcp_segment(&tcp, &payload)
                }
                3 => builder.udp_segment(ports.0, ports.1, &payload),
                4 => builder.icmp_segment(flags, extra, [0; 4], &payload),
                _ => Segment { protocol: flags, bytes: payload.clone() },
            };
            let mut fragments = if extra == 4 { builder.fragments(&segment, 16) } else { Vec::new() };
            let mut frame = if fragments.is_empty() {
                builder.frame(&segment)
            } else {
                fragments.swap_remove(usize::from(flags) % fragments.len())
            };
            if let Some((at, value)) = change
                && let Some(byte) = frame.get_mut(at)
            {
                *byte = value;
            }
            frame.truncate(cut.unwrap_or(usize::MAX));
            frame
        },
    )
}

/// Times that stand still, move on, jump over idle timeouts and go back.
fn any_step() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..5_000_000_i64,
        1 => Just(0),
        1 => 0..400_000_000_000_i64,
        1 => -2_000_000_000..0_i64,
    ]
}

#[test]
fn made_up_traffic_gives_equal_accumulators() {
    let Some(sensor) = Sensor::load(&[]) else { return };
    let sensor = RefCell::new(sensor);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec((any_step(), any_frame()), 1..120))| {
        let mut now = START;
        let timed: Vec<(u64, &[u8])> = steps.iter().map(|(step, frame)| {
            now = now.saturating_add_signed(*step);
            (now, frame.as_slice())
        }).collect();
        let mut sensor = sensor.borrow_mut();
        sensor.clear();
        compare("made up", &mut sensor, PASS, timed.into_iter());
    });
}
