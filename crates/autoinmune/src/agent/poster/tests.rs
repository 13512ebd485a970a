//! The poster against detectors on loopback, good and hostile ones.

use super::*;
use crate::config::LearnedBy;
use detect::learned::flows::Named;
use detect::learned::row;
use flow::FlowKey;
use server::api::batch::{Finder, FindingBody};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const SOURCE: [u8; 4] = [192, 0, 2, 9];

/// Reads one request: its path and body.
fn read(stream: &mut TcpStream) -> (String, Value) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = |l: &str| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
            let length: usize = head.lines().find_map(announced).unwrap_or(0);
            if body.len() >= length {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return (path, serde_json::from_str(body).unwrap_or_default());
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend(&buffer[..n]),
            _ => return (String::new(), Value::Null),
        }
    }
}

/// A detector that answers by `answer`, from path and body to status and body; what it was asked comes out of the channel.
fn detector(
    answer: impl Fn(&str, &Value) -> (u16, Vec<u8>) + Send + 'static,
) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://{}/detect", listener.local_addr().expect("an address"));
    let (told, asked) = bounded(10_000);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (path, body) = read(&mut stream);
            let (status, answer) = answer(&path, &body);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&answer);
            if told.send((path, body)).is_err() {
                return;
            }
        }
    });
    (url, asked)
}

fn poster(url: &str, rows: usize) -> Poster {
    let second = Duration::from_secs(1);
    let post = Post {
        url: Some(url.to_owned()),
        key: None,
        interval: second,
        window: second,
        queue: 4,
        learned: Some(LearnedBy::Detector),
        name: "gate".into(),
        rows,
    };
    Poster::start(&post, &row::schema()).expect("starts").expect("a detector")
}

fn gathered(flows: usize) -> Gathered {
    let (key, initiator) = FlowKey::between((Addr::v4(SOURCE), 40_000), (Addr::v4([192, 0, 2, 1]), 22), 6);
    let flow = Named { key, initiator, first_ns: 1_700_000_000_000_000_000 };
    let values = vec![1.0; row::schema().len()];
    let row = FlowRow { at_ns: 1_700_000_001_000_000_000, flow, values };
    Gathered { flows: vec![row; flows], until_ns: 1_700_000_002_000_000_000, ..Gathered::default() }
}

fn answer(sources: &[[u8; 4]]) -> Vec<u8> {
    let finding = |source: &[u8; 4]| FindingBody {
        finder: Finder::Flows,
        source_ip: (*source).into(),
        threat_type: "port_scan".into(),
        grade: detect::learned::evidence::Grade::High,
        confidence: 0.7,
        verdict: None,
        since: Seconds(1.7e9),
        at: Seconds(1.7e9 + 1.0),
        target_ip: None,
        target_port: None,
        protocol: None,
        community_id: None,
        reasons: Vec::new(),
        explanation: String::new(),
    };
    let findings = sources.iter().map(finding).collect();
    serde_json::to_vec(&BatchAnswer { findings, ..BatchAnswer::default() }).expect("JSON")
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn loss(poster: &Poster, name: &str) -> u64 {
    poster.losses().iter().find(|(n, _)| *n == name).map_or(0, |(_, count)| *count)
}

#[test]
fn many_rows_go_in_batches_of_the_contract_and_findings_come_back() {
    let (url, asked) = detector(|_, _| (200, answer(&[SOURCE])));
    let mut poster = poster(&url, 10_000);
    poster.take_rows(gathered(MAX_FLOWS + 1));
    for (number, flows) in [(1, MAX_FLOWS), (2, 1)] {
        let (path, body) = asked.recv_timeout(Duration::from_secs(30)).expect("a batch");
        assert_eq!(path, "/detect/flows");
        let batch: Batch = serde_json::from_value(body).expect("a batch");
        batch.check().expect("as the contract has it");
        assert_eq!((batch.number, batch.flows.len(), batch.sensor.as_str()), (number, flows, "gate"));
    }
    let mut found = Vec::new();
    until("two findings", || {
        found.extend(poster.found());
        found.len() == 2
    });
    assert_eq!(found[0].source, Addr::v4(SOURCE));
    assert_eq!((poster.failures(), loss(&poster, "findings_refused")), (0, 0));
}

#[test]
fn what_no_row_was_sent_of_is_not_believed() {
    let (url, _asked) = detector(|_, _| (200, answer(&[[203, 0, 113, 1], SOURCE, [203, 0, 113, 2]])));
    let mut poster = poster(&url, 10_000);
    poster.take_rows(gathered(1));
    until("the refusals", || loss(&poster, "findings_refused") == 2);
    assert_eq!(poster.found().map(|f| f.source).collect::<Vec<_>>(), [Addr::v4(SOURCE)]);
}

#[test]
fn answers_that_cannot_be_used_are_counted_and_not_asked_for_again() {
    let endless = vec![b' '; MAX_ANSWER as usize + 1];
    for bad in [b"{}".to_vec(), b"no JSON".to_vec(), b"[[[[".to_vec(), endless, Vec::new()] {
        let (url, asked) = detector(move |_, _| (200, bad.clone()));
        let mut poster = poster(&url, 10_000);
        poster.take_rows(gathered(3));
        until("the loss", || loss(&poster, "flow_rows_dropped") == 3);
        assert_eq!((poster.failures(), poster.found().count()), (1, 0));
        assert_eq!(asked.recv().expect("the batch").1["number"], 1);
    }
}

#[test]
fn more_findings_than_the_contract_has_are_not_taken() {
    let (url, _asked) = detector(|_, _| (200, answer(&[SOURCE; MAX_FINDINGS + 5])));
    let mut poster = poster(&url, 10_000);
    poster.take_rows(gathered(1));
    until("the refusals", || loss(&poster, "findings_refused") == 5);
    assert_eq!(poster.found().count(), MAX_FINDINGS);
}

#[test]
fn a_refusal_drops_what_is_refused_and_a_detector_that_is_away_gets_it_later() {
    let (url, _asked) = detector(|path, _| match path {
        "/detect/flows" => (409, br#"{"detail":"other features"}"#.to_vec()),
        _ => (200, b"{}".to_vec()),
    });
    let mut poster_refused = poster(&url, 10_000);
    poster_refused.take_rows(gathered(7));
    until("the loss", || loss(&poster_refused, "flow_rows_dropped") == 7);
    poster_refused.take(&Traffic::default());
    until("the failure", || poster_refused.failures() == 1);
    // Away: failures count, the queue holds what it can, and what it held arrives.
    let (count, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (n, back) = (Arc::clone(&count), Arc::clone(&seen));
    let (url, asked) = detector(move |_, _| {
        n.fetch_add(1, Ordering::Relaxed);
        if back.load(Ordering::Relaxed) { (200, answer(&[])) } else { (503, Vec::new()) }
    });
    let mut poster = poster(&url, 1000);
    poster.take_rows(gathered(400));
    until("the first attempt", || count.load(Ordering::Relaxed) > 0);
    for _ in 0..4 {
        poster.take_rows(gathered(400));
    }
    assert_eq!(loss(&poster, "flow_rows_dropped"), 800, "of 2,000, 400 are in hand and 1,000 fit");
    assert!(poster.failures() > 0);
    seen.store(true, Ordering::Relaxed);
    let mut numbers = Vec::new();
    until("what waited", || {
        numbers.extend(asked.try_iter().map(|(_, body)| body["number"].as_u64()));
        numbers.last() == Some(&Some(5))
    });
    numbers.dedup();
    assert_eq!(numbers, [Some(1), Some(4), Some(5)], "the oldest that waited made room");
}

#[test]
fn a_detector_that_never_answers_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://{}/detect", listener.local_addr().expect("an address"));
    let mut poster = poster(&url, 1000);
    let begun = Instant::now();
    poster.take_rows(gathered(1));
    assert!(begun.elapsed() < Duration::from_millis(500), "the agent's thread does not wait");
    until("the end of patience", || poster.failures() > 0);
    assert!(begun.elapsed() >= PATIENCE);
    drop(poster);
    assert!(begun.elapsed() < PATIENCE * 4, "nor does its end");
}
