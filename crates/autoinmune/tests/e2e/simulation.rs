//! `run --simulate`: no privileges, everything marked.

use crate::support::{PATIENCE, Unprivileged, get, text, until};
use serde_json::Value;
use std::process::{Child, Stdio};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_simulation_needs_no_privileges_and_says_what_it_is() {
    let user = Unprivileged::new("simulation");
    let path = |name: &str| user.dir.join(name).to_str().expect("plain").to_owned();
    let (run, eve, log) = (path("run"), path("eve.json"), path("log"));
    let args = [
        "run",
        "--simulate",
        "story",
        "--seed",
        "1",
        "--run-dir",
        &run,
        "--state-dir",
        &path("state"),
        "--eve",
        &eve,
        "--http",
        "127.0.0.1:0",
    ];
    let output = std::fs::File::create(&log).expect("a log");
    let child = user.command(&args).stdout(Stdio::null()).stderr(output).spawn().expect("it starts");
    let mut running = Running(child);
    let ask = |args: &[&str]| -> Option<Value> {
        let output =
            user.command(&[args, &["-o", "json", "--run-dir", &run]].concat()).output().expect("it runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let status = until("the simulation to answer", PATIENCE, || ask(&["status"]));
    assert_eq!((&status["simulated"], &status["sensor"]), (&true.into(), &"simulation".into()), "{status}");
    assert_eq!(status["mode"], "shadow", "a simulation blocks nothing");
    let http = status["http"].as_str().expect("an address").trim_start_matches("http://").to_owned();
    let (code, ready) = get(&http, "/ready");
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!(
        (code, &ready["sensor"], &ready["simulated"]),
        (200, &"simulation".into(), &true.into()),
        "{ready}"
    );
    assert_eq!(serde_json::from_str::<Value>(&get(&http, "/stats").1).expect("JSON")["simulated"], true);
    assert!(get(&http, "/metrics").1.contains("autoinmune_simulated 1"));
    let events = || -> Vec<Value> {
        let file = std::fs::read_to_string(&eve).unwrap_or_default();
        let whole = file.rfind('\n').map_or("", |end| &file[..end]);
        whole.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
    };
    until("an alert", PATIENCE, || events().iter().any(|e| e["event_type"] == "alert").then_some(()));
    let bans = ask(&["bans"]).expect("an answer");
    for block in bans.as_array().expect("a list") {
        assert_eq!(block["enforced"], false, "{block}");
    }
    for event in events() {
        assert_eq!(event["metadata"]["flowints"]["autoinmune"]["simulated"], true, "{event}");
        assert_ne!(event["event_type"], "drop", "{event}");
    }
    assert!(said().contains("simulation"), "{}", said());
    let human = user.command(&["status", "--run-dir", &run]).output().expect("it runs");
    assert!(text(&human.stdout).contains("SIMULATED"), "{}", text(&human.stdout));
    let pid = i32::try_from(running.0.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    assert!(running.0.wait().expect("it ends").success(), "{}", said());
}

#[test]
fn an_unknown_scenario_names_those_there_are() {
    let user = Unprivileged::new("scenario");
    let dir = user.dir.to_str().expect("plain");
    let output = user.command(&["run", "--simulate", "storm", "--run-dir", dir, "--http", "off"]).output();
    let why = crate::support::one_sentence(&output.expect("runs"), 2);
    assert!(why.contains("storm") && why.contains("story"), "{why}");
}
