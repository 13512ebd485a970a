//! Scenarios are deterministic, valid, and the captures made from them are those committed.

use lab::address::{ATTACKERS, CLIENT, CLIENT6, SILENT, VICTIM, VICTIM6};
use lab::simulation::{CAPTURES, EPOCH_NS, Simulation, frames, write_capture};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use wire::LinkType;

#[test]
fn same_seed_same_frames_other_seed_other_frames() {
    for scenario in Simulation::ALL {
        let first: Vec<_> = scenario.frames(1).collect();
        assert!(scenario.frames(1).eq(first.iter().cloned()), "{scenario}");
        assert!(!scenario.frames(2).eq(first.iter().cloned()), "{scenario}");
        assert!(frames(scenario.name(), 1).expect("known").eq(first), "{scenario}");
    }
    assert!(frames("picnic", 1).is_err_and(|e| e.to_string().contains("'picnic'")));
}

#[test]
fn frames_parse_in_order_between_known_hosts() {
    let cast: BTreeSet<IpAddr> = [VICTIM, CLIENT, SILENT]
        .into_iter()
        .chain(ATTACKERS)
        .map(IpAddr::from)
        .chain([VICTIM6.into(), CLIENT6.into()])
        .collect();
    for scenario in Simulation::ALL {
        let mut last = EPOCH_NS;
        for (ts, frame) in scenario.frames(7) {
            assert!(ts >= last, "{scenario}: time goes back at {ts}");
            last = ts;
            let len = u32::try_from(frame.len()).expect("small");
            let packet = wire::parse(LinkType::Ethernet, &frame, len).expect("a valid frame");
            assert!(
                cast.contains(&packet.src.ip()) && cast.contains(&packet.dst.ip()),
                "{scenario}: {packet:?}"
            );
        }
        assert!(last - EPOCH_NS < 40_000_000_000, "{scenario} lasts {} ns", last - EPOCH_NS);
    }
}

#[test]
fn the_story_has_its_attackers_and_the_ordinary_day_has_none() {
    let packets = |scenario: Simulation| {
        let mut by_source: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (_, frame) in scenario.frames(1) {
            let packet = wire::parse(LinkType::Ethernet, &frame, 0).expect("a valid frame");
            *by_source.entry(packet.src.ip()).or_default() += 1;
        }
        by_source
    };
    let story = packets(Simulation::Story);
    for (attacker, at_least) in [(ATTACKERS[0], 250), (SILENT, 550), (ATTACKERS[2], 300)] {
        assert!(story.get(&attacker.into()).is_some_and(|n| *n >= at_least), "{attacker}: {story:?}");
    }
    let ordinary = packets(Simulation::Ordinary);
    assert!(
        ordinary.keys().all(|a| [CLIENT.into(), CLIENT6.into(), VICTIM.into(), VICTIM6.into()].contains(a))
    );
}

#[test]
fn committed_captures_are_what_the_scenarios_make() {
    for (name, scenario, seed) in CAPTURES {
        let mut made = Vec::new();
        write_capture(scenario, seed, &mut made).expect("write to memory");
        assert!(made.len() < 200_000, "{name} has {} bytes", made.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == made, "testdata/{name} is out of date; run: cargo run -p lab --example captures");
    }
}
