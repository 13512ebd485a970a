//! The live detector under clients that mean it harm: bodies of 100 MB, thousands of connections, and clients that take their
//! time. Whoever asks an ordinary question beside them gets the right answer soon.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for the answer to an ordinary question. Machines may be slow and busy; a client that had to wait for the
/// others to time out would wait longer.
const SOON: Duration = Duration::from_secs(4);
/// Connections that ask for nothing; three times as many as are served at once.
const MANY: usize = 3000;
/// What a test and its own descriptors need beside its connections.
const RESERVED: u64 = 200;
/// Bytes of a body that nobody wants.
const HUGE: usize = 100_000_000;

/// A detector that may have so many descriptors, as a service manager would give it.
struct Detector {
    child: Child,
    address: String,
}

impl Drop for Detector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Detector {
    fn start(descriptors: &str) -> Self {
        let script = format!("ulimit {descriptors} && exec \"$0\" detector --listen 127.0.0.1:0");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_autoinmune")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .env("NO_COLOR", "1")
            .spawn()
            .expect("sh runs");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| Some(l.split("detector on http://").nth(1)?.split(';').next()?.to_owned()))
            .expect("it says where it listens");
        // What it says later would fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    }

    /// Asks of a port scan, which must be told, soon.
    fn judges(&self, beside: &str) {
        let begun = Instant::now();
        let body = r#"{"packets_per_second":1200,"bytes_per_second":1500000,"unique_ips":30,"unique_ports":50,"tcp_ratio":0.95,"syn_packets":800}"#;
        let mut stream = self.connect();
        let request = format!(
            "POST /detect HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"port_scan\""),
            "{beside}: {answer}"
        );
        assert!(begun.elapsed() < SOON, "{beside}: {:?}", begun.elapsed());
    }

    /// The most resident memory so far, MB.
    fn most_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0 / 1e6
    }
}

/// The status of what came back before the server hung up; `None` where it hung up without a word.
fn status(mut stream: TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    // A reset ends it, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[test]
fn bodies_of_100_mb_are_refused_and_cost_nothing() {
    let detector = Detector::start("-n 1024");
    detector.judges("before");
    let before = detector.most_memory();
    let head = "POST /detect HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let piece = vec![b'['; 1 << 20];
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    for (what, length, piece) in [
        ("announced", format!("content-length: {HUGE}\r\n\r\n"), &piece),
        ("in chunks", "transfer-encoding: chunked\r\n\r\n".to_owned(), &chunk),
    ] {
        let mut stream = detector.connect();
        stream.write_all((head.to_owned() + &length).as_bytes()).expect("writes");
        let mut sent = 0;
        // Until it has had enough.
        while sent < HUGE && stream.write_all(piece).is_ok() {
            sent += piece.len();
        }
        let status = status(stream);
        assert!(matches!(status, Some(413) | None), "{what}: {status:?} after {sent} bytes");
        detector.judges(what);
    }
    let grown = detector.most_memory() - before;
    assert!(grown < 10.0, "{grown} MB more");
}

/// Whether this process may have as many connections; else a line that says so.
fn possible(test: &str) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let needed = MANY as u64 + RESERVED;
    let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let enough = limit.current.is_none_or(|now| now >= needed)
        || (current >= needed
            && setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum })
                .is_ok());
    if !enough {
        println!("skipped: {test}: this process may not have {needed} descriptors");
    }
    enough
}

#[test]
fn thousands_of_connections_that_ask_nothing_keep_nobody_waiting() {
    if !possible("thousands_of_connections_that_ask_nothing_keep_nobody_waiting") {
        return;
    }
    // What service managers give by default, and less than the connections that are promised, soft and hard.
    for descriptors in ["-Sn 1024", "-n 300"] {
        let detector = Detector::start(descriptors);
        let mut held = Vec::with_capacity(MANY);
        for n in 0..MANY {
            let mut stream = detector.connect();
            // Some say nothing, some begin.
            if n % 2 == 0 {
                let _ = stream.write_all(b"POST /detect HTTP/1.1\r\nhost: local");
            }
            held.push(stream);
            if n % 1000 == 999 {
                detector.judges(descriptors);
            }
        }
        drop(held);
        detector.judges("after");
    }
}

#[test]
fn slow_clients_are_hung_up_on_and_keep_nobody_waiting() {
    let detector = Detector::start("-Sn 1024");
    let begun = Instant::now();
    let head = "POST /detect HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let mut slow: Vec<TcpStream> = (0..100).map(|_| detector.connect()).collect();
    for (n, stream) in slow.iter_mut().enumerate() {
        // Half of them take their time with the head, half with the body.
        let rest = if n % 2 == 0 { "" } else { "content-length: 60000\r\n\r\n" };
        stream.write_all((head.to_owned() + rest).as_bytes()).expect("writes");
    }
    // A byte now and then gains no time: heads have 5 s, whole requests 10 s.
    while !slow.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(40), "{} are still served", slow.len());
        slow.retain_mut(|stream| stream.write_all(b"x").is_ok());
        detector.judges("slow clients");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "nobody had time to ask anything");
}
