//! Real captures: the attacks are named with the right actor, and ordinary traffic is left alone.

mod common;

use detect::{Actor, Class, Incident, RuleSet};
use wire::Addr;

fn source(addr: [u8; 4]) -> Actor {
    Actor::Source { addr: Addr::v4(addr) }
}

fn incidents(name: &str) -> Option<Vec<Incident>> {
    let path = common::data()?.join("pcap").join(name);
    if path.is_file() {
        Some(common::incidents(&path, &RuleSet::builtin()))
    } else {
        println!("skipped: no {name} in the data folder (AUTOINMUNE_DATA)");
        None
    }
}

#[test]
fn attacks_are_named_with_their_actor() {
    if common::data().is_none() {
        println!("skipped: no data folder (AUTOINMUNE_DATA)");
    }
    let victim = Actor::Distributed { target: Addr::v4([10, 10, 10, 10]) };
    for (name, class, actor) in [
        ("scan/nmap_80_vanilla.pcap", Class::PortScan, source([10, 87, 1, 10])),
        ("scan/nmap_80_w_service_detection.pcap", Class::PortScan, source([10, 87, 1, 10])),
        ("scan/icmp-sweep.pcap", Class::PortScan, source([192, 168, 1, 109])),
        ("ndpi/pcap/tcp_scan.pcapng", Class::PortScan, source([192, 168, 1, 178])),
        ("ddos/pkt.TCP.synflood.spoofed.pcap", Class::SynFlood, victim),
        ("dns-tunnel/dnscat2-cname.pcap", Class::DnsTunnel, source([192, 168, 68, 62])),
        ("dns-tunnel/iodine-cname.pcap", Class::DnsTunnel, source([192, 168, 117, 128])),
        ("malware/ustc-tinba.pcap", Class::Dga, source([10, 0, 2, 108])),
        ("bruteforce/ssh-bruteforce.pcap", Class::BruteForce, source([147, 32, 80, 40])),
    ] {
        let Some(found) = incidents(name) else { continue };
        let named: Vec<(Class, Actor)> = found.iter().map(|i| (i.class, i.actor)).collect();
        assert_eq!(named, [(class, actor)], "{name}: {}", report(&found));
    }
}

fn report(incidents: &[Incident]) -> String {
    incidents.iter().map(common::line).collect::<Vec<_>>().join("\n")
}

#[test]
fn ordinary_traffic_is_left_alone() {
    let Some(data) = common::data() else {
        println!("skipped: no data folder (AUTOINMUNE_DATA)");
        return;
    };
    let rules = RuleSet::builtin();
    let mut files = 0;
    for folder in ["benign"] {
        for file in common::captures(&data.join("pcap").join(folder)) {
            let found = common::incidents(&file, &rules);
            assert!(found.is_empty(), "{}: {}", file.display(), report(&found));
            files += 1;
        }
    }
    println!("{files} captures without an alert");
}
