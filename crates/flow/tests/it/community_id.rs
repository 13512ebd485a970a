//! Community IDs against the specification's own captures and baselines.

#![expect(
    clippy::disallowed_methods,
    reason = "the captures are files, and where they are is told by the environment"
)]

use flow::{FlowKey, FlowRecord, FlowStats, Outcome, Talk};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
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
fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("AUTOINMUNE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = shared.join("community-id");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no Community ID conformance data at {}", folder.display());
    None
}

#[test]
fn conformance() {
    let Some(folder) = data() else { return };
    let baseline = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.join("baseline").join(name)).expect("a baseline");
        serde_json::from_str(&text).expect("JSON")
    };
    let baselines =
        [baseline("baseline_deflt.json"), baseline("baseline_seed1.json"), baseline("baseline_nob64.json")];
    let expected = |all: &[Value], p: &Packet<'_>| -> Option<String> {
        let entry = all.iter().find(|e| {
            e["proto"] == p.protocol
                && e["saddr"] == p.src.to_string()
                && e["daddr"] == p.dst.to_string()
                && e["sport"] == p.src_port
                && e["dport"] == p.dst_port
        })?;
        entry["communityid"].as_str().map(str::to_owned)
    };
    let mut checked = 0;
    for name in ["tcp", "udp", "icmp", "icmp6", "ipv6"] {
        let file = fs::File::open(folder.join("pcaps").join(format!("{name}.pcap"))).expect("a capture");
        let mut reader = Reader::new(file).expect("a capture");
        while let Some(frame) = reader.next().expect("a whole capture") {
            let link = frame.link.expect("a known link type");
            let Ok(packet) = wire::parse(link, frame.data, frame.orig_len) else { continue };
            let record = record(&packet);
            let got = [record.community_id(0), record.community_id(1), record.community_id_hex(0)];
            for (got, all) in got.iter().zip(&baselines) {
                match expected(all, &packet) {
                    Some(id) => assert_eq!(*got, id, "{name}: {packet:?}"),
                    None => panic!("{name}: not in the baseline: {packet:?}"),
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked} checks");
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
