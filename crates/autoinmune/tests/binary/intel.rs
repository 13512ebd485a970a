//! Databases and lists from the outside: what they change, and above all what they do not. Keeps docs/enrichment.md true.

use crate::common::{autoinmune, repository, scratch, shared, stderr, stdout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who attacks in testdata/story.pcap.
const ATTACKER: &str = "192.0.2.203";

/// A configuration with one list of full trust, and further text.
fn config(dir: &Path, list: &str, more: &str) -> PathBuf {
    let (path, listed, state) = (dir.join("config.toml"), dir.join("list"), dir.join("state"));
    std::fs::write(&listed, list).expect("a list");
    let text = format!(
        "{more}\n[paths]\nstate_dir = {state:?}\n[[reputation.lists]]\nname = \"ours\"\nkind = \"plain\"\npath = {listed:?}\nweight = 0.9\n"
    );
    std::fs::write(&path, text).expect("a configuration");
    path
}

fn json(args: &[&str]) -> Value {
    let output = autoinmune(args);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// Incidents of a capture, under a configuration.
fn incidents(capture: &str, config: Option<&Path>) -> Vec<Value> {
    let capture = repository().join("testdata").join(capture);
    let mut args = vec!["replay", "-o", "json", capture.to_str().expect("a plain path")];
    let config = config.map(|c| c.to_str().expect("a plain path").to_owned());
    if let Some(config) = &config {
        args.extend(["-c", config]);
    }
    json(&args)["incidents"].as_array().expect("a list").clone()
}

fn of<'i>(incidents: &'i [Value], actor: &str) -> &'i Value {
    incidents.iter().find(|i| i["actor"] == actor).expect("an incident")
}

#[test]
fn reputation_makes_an_attack_count_for_more_and_no_other() {
    let dir = scratch("intel-raise");
    let (before, after) =
        (incidents("story.pcap", None), incidents("story.pcap", Some(&config(&dir, ATTACKER, ""))));
    assert_eq!(before.len(), after.len());
    for (b, a) in before.iter().zip(&after) {
        assert_eq!(b["actor"], a["actor"]);
        assert_eq!(b["action"], a["action"], "what was to be blocked is, and nothing else");
        if b["actor"] != ATTACKER {
            assert_eq!(a, b, "others are judged as before");
        }
    }
    let (b, a) = (of(&before, ATTACKER), of(&after, ATTACKER));
    assert!(a["confidence"].as_f64() > b["confidence"].as_f64());
    let evidence = a["evidence"].as_array().expect("a list");
    assert!(evidence.iter().any(|e| e["metric"] == "reputation" && e["observed"] == 90.0), "{evidence:?}");
}

#[test]
fn a_listed_address_that_does_nothing_makes_no_incident() {
    let dir = scratch("intel-quiet");
    // Everybody there is, as wide as a list may say it.
    let everybody: String =
        (1..=223).map(|n| format!("{n}.0.0.0/8\n")).chain(["2001:db8::/32\n".into()]).collect();
    assert_eq!(incidents("ordinary.pcap", Some(&config(&dir, &everybody, ""))), Vec::<Value>::new());
}

#[test]
fn the_allowlist_wins_over_lists() {
    let dir = scratch("intel-allow");
    let allow = format!("respond.allow = [\"{ATTACKER}\"]");
    let unlisted = incidents("story.pcap", Some(&config(&dir, "198.51.100.99\n", &allow)));
    let listed = incidents("story.pcap", Some(&config(&dir, ATTACKER, &allow)));
    assert_eq!(of(&listed, ATTACKER), of(&unlisted, ATTACKER));
    assert_eq!(of(&listed, ATTACKER)["action"], "alert");
    let path = config(&dir, ATTACKER, &allow);
    let test = json(&["intel", "test", ATTACKER, "-c", path.to_str().unwrap(), "-o", "json"]);
    assert!(test["effect"].as_str().unwrap().contains("lists change nothing"), "{test}");
}

#[test]
fn a_country_is_context_and_changes_nothing() {
    let Some(database) =
        shared("a_country_is_context_and_changes_nothing", "geoip/dbip-country/dbip-country.mmdb")
    else {
        return;
    };
    let capture = shared("a_country_is_context_and_changes_nothing", "pcap/scan");
    let dir = scratch("intel-country");
    let path = config(&dir, "", &format!("geoip.country = {database:?}"));
    assert_eq!(incidents("story.pcap", Some(&path)), incidents("story.pcap", None));
    let Some(capture) = capture.and_then(|d| Some(std::fs::read_dir(d).ok()?.next()?.ok()?.path())) else {
        return;
    };
    let (capture, path) = (capture.to_str().unwrap(), path.to_str().unwrap());
    let with = json(&["replay", "-o", "json", capture, "-c", path]);
    assert_eq!(with["incidents"], json(&["replay", "-o", "json", capture])["incidents"]);
}

#[test]
fn events_say_what_is_known_of_both_ends_and_stay_valid() {
    let dir = scratch("intel-events");
    let path = config(&dir, ATTACKER, "");
    let story = repository().join("testdata/story.pcap");
    let output = autoinmune(&["replay", story.to_str().unwrap(), "-c", path.to_str().unwrap(), "-o", "eve"]);
    let events: Vec<Value> =
        stdout(&output).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let schema = shared("events_say_what_is_known_of_both_ends_and_stay_valid", "eve-schema/schema.json");
    let validator = schema.map(|s| {
        let schema = serde_json::from_slice(&std::fs::read(s).unwrap()).unwrap();
        jsonschema::validator_for(&schema).expect("the published schema compiles")
    });
    let mut seen = std::collections::BTreeSet::new();
    for event in &events {
        for (end, ours) in [("src_ip", "src"), ("dest_ip", "dest")] {
            let about = &event["metadata"]["flowints"]["autoinmune"][ours];
            let kind = event["event_type"].as_str().unwrap();
            if event[end] == ATTACKER && ["flow", "alert"].contains(&kind) {
                assert_eq!(about["reputation"], 90, "{event}");
                assert_eq!(about["lists"][0], "ours", "{event}");
                seen.insert((kind.to_owned(), ours));
            } else {
                assert!(about.is_null(), "{event}");
            }
        }
        if let Some(validator) = &validator {
            assert!(validator.is_valid(event), "{event}");
        }
    }
    assert!(seen.contains(&("flow".into(), "src")) && seen.contains(&("alert".into(), "src")), "{seen:?}");
}

#[test]
fn lists_are_shown_with_their_figures_and_an_address_with_its_reasons() {
    let dir = scratch("intel-show");
    let path = config(&dir, "198.51.100.0/24\nnonsense\n10.0.0.0/8\n", "geoip.asn = \"/nowhere.mmdb\"");
    let path = path.to_str().unwrap();
    let output = autoinmune(&["intel", "list", "-c", path]);
    let text = stdout(&output);
    for part in [
        "ours",
        "plain",
        "0.9",
        "skipped 2: not an address or prefix",
        "skipped 3: not a public address",
        "/nowhere.mmdb",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(stderr(&output).contains("cannot read /nowhere.mmdb"), "{}", stderr(&output));
    let list = json(&["intel", "list", "-c", path, "-o", "json"]);
    assert_eq!((&list["lists"][0]["entries"], &list["lists"][0]["skipped"]), (&1.into(), &2.into()));
    let test = json(&["intel", "test", "198.51.100.7", "-c", path, "-o", "json"]);
    assert_eq!(test["reputation"]["score"], 90);
    assert_eq!(test["reputation"]["parts"][0]["list"], "ours");
    let text = stdout(&autoinmune(&["intel", "test", "198.51.100.7", "-c", path]));
    assert!(text.contains("reputation 90 of 100"), "{text}");
    assert!(text.contains("ours: 90.0 points (weight 0.90 × strength 1.00)"), "{text}");
    let text = stdout(&autoinmune(&["intel", "test", "10.1.2.3", "-c", path]));
    assert!(text.contains("nothing is known of it") && text.contains("not a public address"), "{text}");
    let update = json(&["intel", "update", "-c", path, "-o", "json", "--run-dir", dir.to_str().unwrap()]);
    assert_eq!(update[0]["outcome"], "file");
}

/// A server of OpenSSL, ended with the test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn lists_are_fetched_over_tls_from_who_the_host_trusts() {
    let dir = scratch("intel-tls");
    let openssl =
        |args: &[&str]| Command::new("openssl").args(args).current_dir(&dir).stdin(Stdio::null()).output();
    let Ok(version) = openssl(&["version"]) else {
        println!("skipped: lists_are_fetched_over_tls_from_who_the_host_trusts: needs the program 'openssl'");
        return;
    };
    assert!(version.status.success());
    std::fs::write(dir.join("ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    for args in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out leaf.csr -subj /CN=localhost",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile ext",
    ] {
        let made = openssl(&args.split(' ').collect::<Vec<_>>()).expect("openssl runs");
        assert!(made.status.success(), "{args}: {}", stderr(&made));
    }
    std::fs::write(dir.join("list.txt"), "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n198.51.100.7\n")
        .unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let accept = port.to_string();
    let server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &accept, "-cert", "leaf.pem", "-key", "key.pem", "-HTTP"])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(server.expect("openssl runs"));
    let path = dir.join("config.toml");
    let text = format!(
        "[paths]\nstate_dir = {:?}\n[[reputation.lists]]\nname = \"tls\"\nkind = \"plain\"\nurl = \"https://localhost:{port}/list.txt\"\n",
        dir.join("state")
    );
    std::fs::write(&path, text).unwrap();
    let update = |authority: &str| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_autoinmune"))
            .args(["intel", "update", "-o", "json", "--run-dir"])
            .arg(&dir)
            .arg("-c")
            .arg(&path)
            .env("SSL_CERT_FILE", dir.join(authority))
            .output()
            .expect("the binary runs");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")[0].clone()
    };
    // The server may need a moment.
    let begun = std::time::Instant::now();
    let good = loop {
        let answer = update("ca.pem");
        if answer["outcome"] == "updated" || begun.elapsed().as_secs() > 20 {
            break answer;
        }
    };
    assert_eq!((&good["outcome"], &good["entries"]), (&"updated".into(), &1.into()), "{good}");
    // Another authority, which did not sign it.
    let made = openssl(
        &"req -x509 -newkey rsa:2048 -nodes -keyout o.key -out other.pem -subj /CN=other -days 2"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    assert!(made.expect("openssl runs").status.success());
    let bad = update("other.pem");
    assert_eq!(bad["outcome"], "failed", "{bad}");
    assert!(bad["why"].as_str().unwrap().contains("certificate"), "{bad}");
    assert_eq!(bad["entries"], 1, "the copy of the first fetch stays in use");
}

#[test]
fn mistakes_are_named_with_the_way_out() {
    let dir = scratch("intel-mistakes");
    let path = dir.join("config.toml");
    let check = |text: &str, code: i32, expected: &str| {
        std::fs::write(&path, text).expect("a configuration");
        let output = autoinmune(&["intel", "list", "-c", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let said = stderr(&output) + &stdout(&output);
        assert!(said.contains(expected), "{said}");
    };
    check("", 0, "No database and no list is configured");
    check(
        "[[reputation.lists]]\nname = \"a\"\nkind = \"plain\"\n",
        3,
        "reputation.lists.0.path: give path or url",
    );
    check("[[reputation.lists]]\nname = \"a\"\nkind = \"plian\"\n", 3, "did you mean `plain`?");
    check("[geoip]\npoll_s = 0\n", 3, "geoip.poll_s: 0 is not between 1 and 86400");
    let output = autoinmune(&["intel", "test", "example.org"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The page gives the configuration as it is: its examples are valid, and the bounds it states are those of the code.
#[test]
fn the_page_on_enrichment_is_true() {
    let page = std::fs::read_to_string(repository().join("docs/enrichment.md")).expect("docs/enrichment.md");
    let dir = scratch("intel-page");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|t| t.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    let path = dir.join("config.toml");
    std::fs::write(&path, examples.concat()).expect("a configuration");
    let output = autoinmune(&["config", "check", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    for (words, value) in [
        ("at most 2,000,000 prefixes", enrich::MAX_PREFIXES == 2_000_000),
        ("256 MiB", enrich::list::MAX_BYTES == 256 << 20),
        ("at most 64 lists and 4,000,000 prefixes", enrich::config::MAX_LISTS == 64),
        ("the first five", enrich::list::MAX_REASONS == 5),
        ("whose score is 50 or\n  more", detect::reputation::HEEDED == 50),
        ("From 80 on", detect::reputation::GRAVE == 80),
    ] {
        assert!(page.contains(words) && value, "{words}");
    }
}
