//! Reputation on a running agent: it is followed, shown, and blocks nobody.

use crate::support::{Host, PATIENCE, until};
use lab::address::ATTACKERS;
use serde_json::Value;

#[test]
fn a_listed_address_is_known_followed_and_left_alone() {
    let Some(host) = Host::new("a_listed_address_is_known_followed_and_left_alone", &[]) else { return };
    let list = host.path("bad.txt");
    let [first, second] = [ATTACKERS[0].to_string(), ATTACKERS[1].to_string()];
    std::fs::write(&list, &first).expect("a list");
    // As eager to block as policy can be.
    let config = format!(
        "[respond]\nmin_severity = 'info'\nmin_confidence = 0\n[http]\naddress = 'off'\n\
         [[reputation.lists]]\nname = 'bad'\nkind = 'plain'\nweight = 1\npath = '{}'\n",
        list.display()
    );
    let agent = host.agent(&config, &["--enforce"]);
    let score = |addr: &str| agent.json(&["explain", addr])["known"]["reputation"].as_u64();
    until("the list to be read", PATIENCE, || score(&first).filter(|s| *s == 100));
    assert_eq!(score(&second), None);
    for _ in 0..3 {
        assert!(host.answers(ATTACKERS[0]));
    }
    assert_eq!(agent.json(&["bans"]), serde_json::json!([]));
    assert_eq!(agent.json(&["explain", &first])["incidents"], serde_json::json!([]));
    // Another list in its place, then none at all.
    std::fs::write(&list, &second).expect("a list");
    until("the new list", PATIENCE, || score(&second));
    assert_eq!(score(&first), None);
    std::fs::write(&list, "<!DOCTYPE html>\n").expect("a list");
    let figures = || agent.json(&["intel", "list"])["lists"][0].clone();
    let failed = until("the complaint", PATIENCE, || Some(figures()).filter(|l| l["error"].is_string()));
    assert_eq!((&failed["entries"], score(&second)), (&1.into(), Some(100)), "{failed}");
    assert!(failed["hits"].as_u64() > Some(0), "{failed}");
    assert!(host.answers(ATTACKERS[1]));
    agent.stop();
    let events = std::fs::read_to_string(host.path("eve.json")).expect("events");
    let flows: Vec<Value> = events.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let flow = flows.iter().find(|e| e["event_type"] == "flow" && e["src_ip"] == second.as_str());
    let about = &flow.expect("a flow")["metadata"]["flowints"]["autoinmune"]["src"];
    assert_eq!(about, &serde_json::json!({"reputation": 100, "lists": ["bad"]}));
    assert!(!flows.iter().any(|e| e["event_type"] == "alert" || e["event_type"] == "drop"));
}
