//! `generate` from the outside: what it refuses, and how it ends. All traffic is on loopback.

use crate::common::{autoinmune, scratch, stderr, stdout};
use lab::arguments::Arguments;
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn what_cannot_be_used_is_refused_in_one_sentence() {
    let dir = scratch("generate_refusals");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let good = file("good.csv", "country,category,language,name,url\nSE,news,sv,A,https://a.example/\n");
    let bad = file("bad.csv", "country,category,language,name,url\nSE,news,sv,A,a.example\n");
    // Nobody listens there once the socket is closed.
    let deaf = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    for (args, code, parts) in [
        (&["--sites", &bad][..], 2, &["--sites", "bad.csv: line 2", "no http or https address"][..]),
        (&["--sites", "/nonexistent.csv"], 2, &["--sites /nonexistent.csv"]),
        (&["--services", &good], 2, &["--services", "the first line must be kind"]),
        (&["--duration", "soon"], 2, &["--duration", "'soon'"]),
        (&["--threads", "0"], 2, &["between 1 and 256 threads"]),
        (&["--resolver", "dns.example"], 2, &["--resolver", "is no address"]),
        (&["--lab", "--resolver", "198.51.100.1"], 2, &["198.51.100.1 is not an address of the lab"]),
        (&["--ca", &good, "--resolver", &deaf], 1, &["no name server answers"]),
        (&["--contact", "é", "--resolver", &deaf], 2, &["contact"]),
        // No internet: the name server that the machine was told of does not answer.
        (&["--resolver", &deaf], 1, &["no name server answers", &deaf, "without internet", "--lab"]),
        (&["--lab", "--resolver", &deaf], 1, &["no name server answers", "the lab's name server"]),
    ] {
        let output = autoinmune(&[&["generate"], args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{args:?} says {part}: {said}");
        }
        assert!(said.starts_with("autoinmune: ") && said.lines().count() == 1, "{args:?}: {said}");
        assert!(stdout(&output).is_empty());
    }
    let output = autoinmune(&["generate", "--lab"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--resolver"));
}

#[test]
fn an_interrupt_ends_it_within_a_second_with_the_report() {
    let words = ["address=127.0.0.1", "port=0", "answer=127.0.0.1", "wildcard=yes"];
    let names =
        lab::serve::start("dns", &Arguments::parse(words).expect("arguments")).expect("a name server");
    let resolver = names.addresses()[0].to_string();
    // Accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    silent.set_nonblocking(true).expect("non-blocking");
    let port = silent.local_addr().expect("an address").port();
    let dir = scratch("generate_interrupt");
    let list: String = (0..30).map(|i| format!("SE,news,sv,{i},http://s{i}.example:{port}/\n")).collect();
    let sites = dir.join("sites.csv");
    std::fs::write(&sites, format!("country,category,language,name,url\n{list}")).expect("a file");
    for output in ["json", "human"] {
        // Those of the last round that nobody took must not be held for visitors of this one.
        while silent.accept().is_ok() {}
        let child = Command::new(env!("CARGO_BIN_EXE_autoinmune"))
            .args(["generate", "--lab", "--mode", "turbo", "--threads", "20", "--resolver", &resolver])
            .args(["-o", output, "--sites"])
            .arg(&sites)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        let mut held = Vec::new();
        while held.len() < 10 {
            assert!(begun.elapsed() < Duration::from_secs(30), "visitors connect");
            match silent.accept() {
                Ok((stream, _)) => held.push(stream),
                Err(_) => std::thread::park_timeout(Duration::from_millis(10)),
            }
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::INT).expect("the interrupt is sent");
        let begun = Instant::now();
        let done = child.wait_with_output().expect("it ends");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        let said = stdout(&done);
        if output == "json" {
            let report: serde_json::Value = serde_json::from_str(&said).expect("JSON alone");
            assert_eq!(report["interrupted"], true);
            assert_eq!(report["lab"], true);
            assert!(report["open"].as_u64().is_some_and(|n| n >= 10), "{said}");
            assert!(report["kinds"]["dns"]["completed"].as_u64().is_some_and(|n| n >= 10), "{said}");
        } else {
            assert!(said.starts_with("Interrupted after ") && said.contains("KIND"), "{said}");
        }
    }
}

#[test]
fn a_run_without_a_single_answer_fails_and_says_why() {
    let words = ["address=127.0.0.1", "port=0", "answer=127.0.0.1", "wildcard=yes"];
    let names =
        lab::serve::start("dns", &Arguments::parse(words).expect("arguments")).expect("a name server");
    let resolver = names.addresses()[0].to_string();
    let deaf = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let sites = scratch("generate_unanswered").join("sites.csv");
    let list =
        format!("country,category,language,name,url\nSE,news,sv,A,http://a.example:{}/\n", deaf.port());
    std::fs::write(&sites, list).expect("a file");
    let path = sites.to_str().expect("a plain path");
    let args = ["generate", "--lab", "--resolver", &resolver, "--mode", "single-batch", "--sites", path];
    let output = autoinmune(&args);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("no site answered, most often: no connection; check the lab's servers"), "{said}");
    assert!(stdout(&output).contains("no connection"), "the report is there all the same");
}
