//! Two interfaces at once, for the kernel sensor and for AF_PACKET with its workers.

use crate::support::{Host, PATIENCE, text, until};
use lab::address::{ATTACKERS, CLIENT, VICTIM};
use lab::range::{OUTSIDE_INTERFACE, Side, VICTIM_INTERFACE};
use std::net::Ipv4Addr;
use std::process::Command;

/// The second link, from 203.0.113.0/24 of RFC 5737.
const SECOND: &str = "second0";
const SECOND_OUTSIDE: &str = "second1";
const SECOND_VICTIM: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SECOND_ATTACKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const SECOND_CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip runs");
    assert!(output.status.success(), "ip {args:?}: {}", text(&output.stderr));
}

/// Joins victim and outside by another veth pair, which ends with their namespaces.
fn second_link(host: &Host) {
    let (victim, outside) = (host.range.namespace(Side::Victim), host.range.namespace(Side::Outside));
    let peer = ["peer", "name", SECOND_OUTSIDE, "netns", &outside];
    ip(&[&["-n", &victim, "link", "add", SECOND, "type", "veth"], &peer[..]].concat());
    for (namespace, device, addr) in [
        (&victim, SECOND, SECOND_VICTIM),
        (&outside, SECOND_OUTSIDE, SECOND_ATTACKER),
        (&outside, SECOND_OUTSIDE, SECOND_CLIENT),
    ] {
        ip(&["-n", namespace, "addr", "add", &format!("{addr}/24"), "dev", device]);
        ip(&["-n", namespace, "link", "set", device, "up"]);
    }
}

/// Whether the victim answers an echo request that comes over the second link.
fn answers(host: &Host, from: Ipv4Addr) -> bool {
    let (from, to) = (from.to_string(), SECOND_VICTIM.to_string());
    let ping = host.outside("ping", &["-n", "-q", "-c", "1", "-W", "1", "-I", &from, &to]).output();
    ping.expect("ping runs").status.success()
}

/// Scans over both links at once; both scanners are blocked and nobody else is.
fn both_are_watched(test: &str, config: &str, sensor: &str, workers: usize) {
    let Some(host) = Host::new(test, &["nmap", "nft"]) else { return };
    second_link(&host);
    until("the second link", PATIENCE, || answers(&host, SECOND_CLIENT).then_some(()));
    let agent = host.agent(config, &["--enforce", "--interface", SECOND]);
    let scan = |device: &str, from: Ipv4Addr, to: Ipv4Addr| {
        let (from, to) = (from.to_string(), to.to_string());
        let what = ["-sS", "-Pn", "-n", "-p", "1-1000", "--host-timeout", "20s"];
        host.tool("nmap", &[&what[..], &["-e", device, "-S", &from, &to]].concat())
    };
    let scans =
        [scan(OUTSIDE_INTERFACE, ATTACKERS[0], VICTIM), scan(SECOND_OUTSIDE, SECOND_ATTACKER, SECOND_VICTIM)];
    for attacker in [ATTACKERS[0], SECOND_ATTACKER] {
        let (_, block) = agent.wait_for_block("port_scan", attacker);
        assert_eq!(block["enforced"], true, "{attacker}");
    }
    drop(scans);
    assert!(!host.answers(ATTACKERS[0]) && host.answers(CLIENT));
    assert!(!answers(&host, SECOND_ATTACKER) && answers(&host, SECOND_CLIENT));
    let status = until("packets of both interfaces", PATIENCE, || {
        let status = agent.json(&["status"]);
        let interfaces = status["interfaces"].as_array().expect("a list").clone();
        let seen = |name: &str| {
            interfaces.iter().any(|i| i["name"] == name && i["packets"].as_u64().is_some_and(|n| n > 10))
        };
        (seen(VICTIM_INTERFACE) && seen(SECOND)).then_some(status)
    });
    assert_eq!(status["sensor"], sensor);
    let of_workers: Vec<u64> =
        status["workers"].as_array().expect("a list").iter().filter_map(|w| w["packets"].as_u64()).collect();
    assert_eq!(of_workers.len(), workers, "{status}");
    for loss in ["af_packet_dropped", "worker_frames_undelivered"] {
        assert!(status["losses"][loss].as_u64().unwrap_or(0) == 0, "{status}");
    }
    agent.stop();
    assert_eq!(host.leftovers(), Vec::<String>::new());
}

#[test]
fn the_kernel_sensor_watches_two_interfaces() {
    let test = "the_kernel_sensor_watches_two_interfaces";
    both_are_watched(test, "[sensor]\nattach = 'native'\n", "xdp-native", 0);
}

#[test]
fn workers_watch_two_interfaces() {
    let config = "[sensor]\nattach = 'af_packet'\nworkers = 2\n";
    both_are_watched("workers_watch_two_interfaces", config, "af-packet", 2);
}
