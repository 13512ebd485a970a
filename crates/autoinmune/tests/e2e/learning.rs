//! What people say of incidents, and what becomes of it.

use crate::support::{Host, PATIENCE, text, until};
use lab::address::{ATTACKERS, VICTIM};

const CONFIG: &str = "[incidents]\nquiet_s = 2\n[http]\naddress = 'off'\n";

#[test]
fn what_people_say_of_incidents_is_kept_applied_and_taken_back() {
    let Some(host) = Host::new("what_people_say_of_incidents_is_kept_applied_and_taken_back", &["nmap"])
    else {
        return;
    };
    let agent = host.agent(CONFIG, &[]);
    let scanner = ATTACKERS[0];
    let from = scanner.to_string();
    let to = VICTIM.to_string();
    let args = ["-n", "-Pn", "-sS", "-e", lab::range::OUTSIDE_INTERFACE, "-S", &from, "-p", "1000-1100", &to];
    let attack = || {
        let (good, said) = host.tool("nmap", &args).finish(PATIENCE);
        assert!(good, "{said}");
    };
    attack();
    let incident = until("an incident", PATIENCE, || agent.incident("port_scan", scanner));
    let id = incident["id"].as_u64().expect("a number").to_string();
    // It was one: its flows are kept, for people and for training.
    let said = agent.json(&["feedback", "confirm", &id, "--why", "seen in the firewall's log"]);
    assert_eq!((&said["verdict"], &said["class"]), (&"attack".into(), &"port_scan".into()), "{said}");
    let table = host.path("labelled.csv");
    let table = table.to_str().expect("a plain path");
    assert!(agent.command(&["feedback", "export", table]).status.success());
    let csv = std::fs::read_to_string(table).expect("the table");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("dur,") && lines[0].ends_with(",label"), "{}", lines[0]);
    assert_eq!(lines.len() as u64 - 1, said["flows"].as_u64().expect("a number"));
    assert!(lines[1..].iter().all(|l| l.ends_with(",port_scan")), "{csv}");
    // No, it was our own scanner: the same rules keep quiet about it, and about nobody else.
    let dismissed = agent.json(&["feedback", "dismiss", &id, "--for", "1h", "--why", "our own scanner"]);
    assert_eq!(dismissed["verdict"], "no_attack", "{dismissed}");
    let listed = agent.json(&["feedback", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "the latest word counts: {listed}");
    until("the incident's end", PATIENCE, || agent.incident("port_scan", scanner).is_none().then_some(()));
    // A rule that has spoken is silent about the same source for some seconds anyway.
    until("an exception to apply", PATIENCE, || {
        attack();
        agent.json(&["status"])["losses"]["signals_excepted"].as_u64().filter(|n| *n > 0)
    });
    assert_eq!(agent.incident("port_scan", scanner), None);
    // Taken back, it is heard again.
    let number = dismissed["id"].to_string();
    agent.json(&["feedback", "remove", &number]);
    assert_eq!(agent.json(&["feedback", "list"]), serde_json::json!([]));
    until("an incident again", PATIENCE, || {
        attack();
        agent.incident("port_scan", scanner)
    });
    // What cannot be said, and what the learner says of itself.
    assert!(agent.refusal(&["feedback", "confirm", "999999"], 8).contains("999999"));
    assert!(agent.refusal(&["feedback", "remove", "77"], 8).contains("77"));
    let learner = agent.json(&["feedback", "learner"]);
    assert_eq!(
        (&learner["state"], &learner["model"]),
        (&"collecting".into(), &"built-in".into()),
        "{learner}"
    );
    let status = agent.command(&["status"]);
    assert!(text(&status.stdout).contains("learner: collecting"), "{}", text(&status.stdout));
    agent.stop();
}
