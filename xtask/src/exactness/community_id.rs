//! Community IDs of flow events against the baseline of the specification's own captures.
//!
//! Packet by packet, with the other seed and without base64, the test `flow/tests/it/community_id.rs` compares them; here
//! it is what the program writes for users.

use super::data::Capture;
use super::replayed::{self, Conversation};
use super::{Findings, Setup, table};
use anyhow::Context as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The captures with IP packets, and the protocol each is about.
const CAPTURES: [(&str, &str); 7] = [
    ("icmp", "ICMP"),
    ("icmp6", "IPv6-ICMP"),
    ("ipv6", "TCP"),
    ("rsvp", "46"),
    ("sctp", "SCTP"),
    ("tcp", "TCP"),
    ("udp", "UDP"),
];

pub(crate) fn compare(setup: &Setup) -> anyhow::Result<Findings> {
    let folder = setup.data.path("community-id");
    let baseline = std::fs::read_to_string(folder.join("baseline/baseline_deflt.json"))
        .context("cannot read the baseline")?;
    let baseline: Vec<Value> = serde_json::from_str(&baseline).context("the baseline is no JSON")?;
    let captures: Vec<Capture> = CAPTURES
        .iter()
        .map(|(name, _)| Capture {
            path: folder.join(format!("pcaps/{name}.pcap")),
            name: format!("{name}.pcap"),
        })
        .collect();
    // Identifiers by addresses: which of the two numbers of an ICMP message come first is not the event's to say.
    let mut expected: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for entry in &baseline {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let (a, b, id) = (text("saddr"), text("daddr"), text("communityid"));
        let (a, b, id) = a.zip(b).zip(id).map(|((a, b), id)| (a, b, id)).context("a baseline entry")?;
        expected.entry(if a <= b { (a, b) } else { (b, a) }).or_default().insert(id);
    }
    let mut findings = Findings::default();
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for replayed in replayed::all(&setup.program, &captures)? {
        let mut right = 0;
        for flow in &replayed.flows {
            let Conversation { a, b, .. } = &flow.conversation;
            let (a, b) = (a.0.to_string(), b.0.to_string());
            let ids = expected.get(&if a <= b { (a, b) } else { (b, a) });
            if ids.is_some_and(|ids| ids.contains(&flow.community_id)) {
                right += 1;
                seen.insert(flow.community_id.clone());
            } else {
                findings
                    .faults
                    .push(format!("{}: {:?} is {}", replayed.name, flow.conversation, flow.community_id));
            }
        }
        rows.push(vec![
            replayed.name.clone(),
            replayed.packets.to_string(),
            replayed.flows.len().to_string(),
            right.to_string(),
        ]);
    }
    let all: BTreeSet<&String> = expected.values().flatten().collect();
    let missing: Vec<&&String> = all.iter().filter(|id| !seen.contains(**id)).collect();
    findings.faults.extend(missing.iter().map(|id| format!("no flow has the baseline's {id}")));
    findings.text = format!(
        "The specification's captures and its baseline (default seed), against the identifier in the `flow` events. A test \
         (`crates/flow/tests/it/community_id.rs`) compares every packet with all three baselines (seed 0, seed 1, without \
         base64) and the gathered capture `combined.pcap.gz`; `arp.pcap` must give no flow.\n\n{}\n{} of the {} \
         identifiers of the baseline occur.\n",
        table(&["capture", "packets", "flows", "identifier as in the baseline"], &rows),
        all.len() - missing.len(),
        all.len(),
    );
    Ok(findings)
}
