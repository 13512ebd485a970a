//! Community IDs against the specification's own captures and baselines.

#![expect(
    clippy::disallowed_methods,
    reason = "the captures are files, where they are is told by the environment, and one must be unpacked by a program"
)]

use flow::{FlowKey, FlowRecord, FlowStats, Outcome, Talk};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};
use wire::Packet;
use wire::capture::Reader;

fn record(packet: &Packet<'_>) -> FlowRecord {
    let (key, direction) = FlowKey::of(packet);
    FlowRecord {
        key,
        stats: FlowStats::begin(packet, direction),
        outcome: Outcome::Pending,
        talk: Talk::default(),
    }
}

/// The folder of the conformance data, if it is here.
fn data(test: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("AUTOINMUNE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = shared.join("community-id");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {test}: no Community ID conformance data at {}", folder.display());
    None
}

/// A baseline: protocol, addresses and ports of a packet to its identifier.
struct Baseline(BTreeMap<Tuple, String>);

type Tuple = (u64, String, String, u64, u64);

impl Baseline {
    fn read(folder: &Path, name: &str) -> Self {
        let text = fs::read_to_string(folder.join("baseline").join(name)).expect("a baseline");
        let entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let number = |v: &Value| v.as_u64().unwrap_or(0);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let mut all = BTreeMap::new();
        for e in entries {
            // Protocols without ports have none in the baseline.
            let tuple = (
                number(&e["proto"]),
                text(&e["saddr"]),
                text(&e["daddr"]),
                number(&e["sport"]),
                number(&e["dport"]),
            );
            all.insert(tuple, text(&e["communityid"]));
        }
        Self(all)
    }

    fn of(&self, tuple: &Tuple) -> &str {
        self.0.get(tuple).unwrap_or_else(|| panic!("not in the baseline: {tuple:?}"))
    }
}

/// Compares every packet of a capture with all baselines and takes the tuples seen; the number of packets.
fn compare(
    name: &str,
    source: impl Read,
    baselines: &[Baseline; 3],
    unseen: &mut BTreeMap<Tuple, String>,
) -> usize {
    let mut reader = Reader::new(source).expect("a capture");
    let mut packets = 0;
    while let Some(frame) = reader.next().expect("a whole capture") {
        let link = frame.link.expect("a known link type");
        let p = match wire::parse(link, frame.data, frame.orig_len) {
            Ok(packet) => packet,
            Err(skip) => {
                assert_eq!(skip, wire::Skip::NotIp, "{name}: only ARP has no identifier");
                continue;
            }
        };
        let record = record(&p);
        let tuple =
            (p.protocol.into(), p.src.to_string(), p.dst.to_string(), p.src_port.into(), p.dst_port.into());
        let got = [record.community_id(0), record.community_id(1), record.community_id_hex(0)];
        for (got, baseline) in got.iter().zip(baselines) {
            assert_eq!(got, baseline.of(&tuple), "{name}: {p:?}");
        }
        unseen.remove(&tuple);
        packets += 1;
    }
    packets
}

#[test]
fn every_packet_of_every_capture_has_the_identifier_of_the_baselines() {
    let Some(folder) = data("community_id") else { return };
    let baselines = ["baseline_deflt.json", "baseline_seed1.json", "baseline_nob64.json"]
        .map(|name| Baseline::read(&folder, name));
    let mut unseen = baselines[0].0.clone();
    assert_eq!(unseen.len(), 23, "the baseline's entries are distinct");
    let mut sum = 0;
    for (name, packets) in [
        ("arp", 0),
        ("icmp", 4),
        ("icmp6", 20),
        ("ipv6", 17),
        ("rsvp", 2),
        ("sctp", 5),
        ("tcp", 12),
        ("udp", 2),
    ] {
        let file = fs::File::open(folder.join("pcaps").join(format!("{name}.pcap"))).expect("a capture");
        assert_eq!(compare(name, file, &baselines, &mut unseen), packets, "{name}");
        sum += packets;
    }
    assert!(unseen.is_empty(), "no packet has {unseen:?}");

    let combined = folder.join("pcaps/combined.pcap.gz");
    match Command::new("gzip").arg("-dc").arg(combined).output() {
        Ok(output) => {
            assert!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
            let bytes = io::Cursor::new(output.stdout);
            assert_eq!(compare("combined", bytes, &baselines, &mut unseen), sum);
        }
        Err(why) => println!("skipped: community_id: combined.pcap.gz: gzip: {why}"),
    }
}

#[test]
fn both_directions_agree_unless_icmp_is_one_way() {
    use crate::common::{CLIENT, SERVER, packet};
    use wire::packet::protocol;
    for (proto, a, b, agree) in [
        (protocol::TCP, 1000, 80, true),
        (protocol::UDP, 53, 53, true),
        (protocol::ICMP, 8, 0, true),
        (protocol::ICMP, 3, 1, false),
    ] {
        let there = record(&packet(proto, (CLIENT, a), (SERVER, b), 0)).community_id(0);
        // The same type and code from the other side, or the answer.
        let back = match agree {
            true => packet(proto, (SERVER, b), (CLIENT, a), 0),
            false => packet(proto, (SERVER, a), (CLIENT, b), 0),
        };
        assert_eq!(there == record(&back).community_id(0), agree, "protocol {proto} {a} {b}");
    }
}
