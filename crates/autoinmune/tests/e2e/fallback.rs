//! Every way to attach, down to hosts without XDP, where AF_PACKET sees and nftables blocks.

use crate::support::{Host, PATIENCE, text};
use lab::address::{ATTACKERS, ATTACKERS6, CLIENT, VICTIM};
use lab::range::{OUTSIDE_INTERFACE, VICTIM_INTERFACE};

#[test]
fn af_packet_sees_and_nftables_blocks() {
    let Some(host) = Host::new("af_packet_sees_and_nftables_blocks", &["nmap", "nft"]) else { return };
    let config = "[sensor]\nattach = 'af_packet'\n[respond]\nttl = '10s'\nescalation = 1.0\n";
    let agent = host.agent(config, &["--enforce"]);
    let (_, ready) = host.get("/ready");
    assert!(ready.contains("af-packet"), "{ready}");
    let tables = || text(&host.victim("nft", &["list", "tables"]).output().expect("nft").stdout);
    assert!(tables().contains("inet autoinmune"), "{}", tables());
    let (from, target) = (ATTACKERS[0].to_string(), VICTIM.to_string());
    let args = [
        "-sS",
        "-Pn",
        "-n",
        "-e",
        OUTSIDE_INTERFACE,
        "-S",
        &from,
        "-p",
        "1-1000",
        "--host-timeout",
        "20s",
        &target,
    ];
    let scan = host.tool("nmap", &args);
    let (_, block) = agent.wait_for_block("port_scan", ATTACKERS[0]);
    assert_eq!(block["enforced"], true);
    drop(scan);
    assert!(!host.answers(ATTACKERS[0]) && host.answers(CLIENT));
    host.wait_for_answer(ATTACKERS[0], true, "the end of the block");
    crate::support::until("the block to leave the list", PATIENCE, || {
        agent.block(ATTACKERS[0]).is_none().then_some(())
    });
    agent.json(&["ban", &ATTACKERS6[0].to_string()]);
    assert!(!host.answers(ATTACKERS6[0]));
    let status = agent.json(&["status"]);
    assert_eq!(status["sensor"], "af-packet");
    assert_eq!(status["interfaces"][0]["name"], VICTIM_INTERFACE);
    agent.stop();
    assert_eq!(tables(), "", "the table goes with the agent");
    assert!(host.answers(ATTACKERS6[0]));
}

#[test]
fn every_way_to_attach_blocks_and_leaves_nothing() {
    let Some(host) = Host::new("every_way_to_attach_blocks_and_leaves_nothing", &[]) else { return };
    for (attach, sensor, mode) in
        [("native", "xdp-native", "native"), ("generic", "xdp-generic", "generic"), ("tcx", "tcx", "tcx")]
    {
        let agent = host.agent(&format!("[sensor]\nattach = '{attach}'\n"), &["--enforce"]);
        let (code, ready) = host.get("/ready");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        assert_eq!((code, &ready["sensor"]), (200, &sensor.into()), "{attach}: {ready}");
        assert_eq!(ready["interfaces"][0]["mode"], mode, "{attach}: {ready}");
        for attacker in [ATTACKERS[1].into(), std::net::IpAddr::from(ATTACKERS6[1])] {
            assert!(host.answers(attacker), "{attach}: before the ban");
            agent.json(&["ban", &attacker.to_string()]);
            assert!(!host.answers(attacker), "{attach}: {attacker} is blocked and still answered");
            let block = agent.block(attacker).expect("listed");
            assert!(block["dropped_packets"].as_u64().is_some_and(|n| n > 0), "{attach}: {block}");
        }
        assert!(host.answers(CLIENT));
        agent.stop();
        assert!(host.answers(ATTACKERS[1]), "{attach}: after the agent");
        assert_eq!(host.leftovers(), Vec::<String>::new(), "{attach}");
    }
}
