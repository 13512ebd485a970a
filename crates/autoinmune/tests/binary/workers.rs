//! Several workers make of a capture what one makes of it.

use crate::common::{autoinmune, repository, scratch, shared, stderr, stdout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use wire::capture::Writer;
use wire::craft::{self, Builder, Tcp, tunnel};
use wire::packet::tcp_flag::{ACK, FIN, PSH, SYN};
use wire::{Addr, LinkType};

const MS: u64 = 1_000_000;

/// What a replay says: the summary without what differs from run to run, all events, and the flows among them in a
/// sorted order.
struct Replayed {
    summary: Value,
    events: String,
    flows: Vec<String>,
}

fn replay(files: &[&Path], workers: usize) -> Replayed {
    let name = files[0].file_stem().expect("a name").display();
    let dir = scratch(&format!("workers-{workers}-{}-{name}", files.len()));
    let [eve, summary] = ["eve.json", "summary.json"].map(|name| dir.join(name).display().to_string());
    let workers = workers.to_string();
    let mut args = vec!["replay", "--workers", &workers, "--eve", &eve, "--summary", &summary];
    args.extend(files.iter().map(|f| f.to_str().expect("a plain path")));
    let output = autoinmune(&args);
    assert!(output.status.success(), "{args:?}: {}{}", stdout(&output), stderr(&output));
    let read = |path| std::fs::read_to_string(path).expect("it was written");
    let mut summary: Value = serde_json::from_str(&read(&summary)).expect("JSON");
    summary.as_object_mut().expect("an object").remove("seconds");
    let events = read(&eve);
    let is_flow = |line: &&str| line.contains(r#""event_type":"flow""#);
    let mut flows: Vec<String> = events.lines().filter(is_flow).map(str::to_owned).collect();
    flows.sort();
    Replayed { summary, events, flows }
}

/// Replays with one worker and with several, which must agree; gives what the one says.
#[track_caller]
fn agrees(files: &[&Path]) -> Replayed {
    let one = replay(files, 1);
    for workers in [2, 4] {
        let several = replay(files, workers);
        assert_eq!(several.summary, one.summary, "{workers} workers: {files:?}");
        assert!(several.flows == one.flows, "{workers} workers make other flows: {files:?}");
        let again = replay(files, workers);
        assert!(several.events == again.events, "{workers} workers differ from run to run: {files:?}");
    }
    one
}

fn host(network: u8, n: u8) -> Addr {
    Addr::v4([10, network, 0, n])
}

/// An HTTP exchange, as frames of `client` and of `server`.
fn exchange(client: &Builder, server: &Builder, port: u16) -> Vec<Vec<u8>> {
    let (up, down) = (|| (port, 80), || (80, port));
    let header = |(src_port, dst_port), flags, seq, ack| Tcp {
        src_port,
        dst_port,
        flags,
        seq,
        ack,
        window: 64_000,
        ..Tcp::default()
    };
    let ask = b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n";
    let say = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (a, b) = (1001 + ask.len() as u32, 5001 + say.len() as u32);
    vec![
        client.tcp(&header(up(), SYN, 1000, 0), &[]),
        server.tcp(&header(down(), SYN | ACK, 5000, 1001), &[]),
        client.tcp(&header(up(), ACK | PSH, 1001, 5001), ask),
        server.tcp(&header(down(), ACK | PSH, 5001, a), say),
        client.tcp(&header(up(), ACK | FIN, a, b), &[]),
        server.tcp(&header(down(), ACK | FIN, b, a + 1), &[]),
    ]
}

/// What reaches workers in every way: flows in tunnels, fragments, errors of routers, tags, scans; and times out of order.
fn everything(test: &str, late: bool) -> PathBuf {
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    for n in 1..=60_u8 {
        let at = 1_700_000_000_000 * MS + u64::from(n) * 7 * MS;
        let (client, server) = (host(1, n), host(2, n % 7 + 1));
        let (c, s) = (Builder::new(client, server), Builder::new(server, client));
        let mut push = |after: u64, frame: Vec<u8>| frames.push((at + after, frame));
        for (i, frame) in (0..).zip(exchange(&c, &s, 30_000 + u16::from(n))) {
            push(i * 3 * MS, frame);
        }
        // The same addresses inside a tunnel are other flows, and the tunnel's ends are the same for all.
        let (left, right) = (Builder::new(host(9, 1), host(9, 2)), Builder::new(host(9, 2), host(9, 1)));
        for (i, frame) in (0..).zip(exchange(&c, &s, 40_000 + u16::from(n))) {
            let outer = if i % 2 == 0 { &left } else { &right };
            push(i * 5 * MS + 1, outer.frame(&tunnel::vxlan(outer, tunnel::VXLAN_PORT, 42, &frame)));
        }
        // Fragments, some of them with the later one first.
        let pieces = c.clone().id(u16::from(n)).fragments(&c.udp_segment(5000, 6000, &[n; 3000]), 1400);
        for (i, piece) in (0_u64..).zip(&pieces) {
            let i = if n % 3 == 0 { pieces.len() as u64 - i } else { i };
            push(100 * MS + i * 1000, piece.clone());
        }
        // A router says that nobody answers there, about a flow of other addresses than its own.
        let question = craft::udp((client, 7000), (host(3, n), 53), &[7; 20]);
        push(200 * MS, question.clone());
        let router = Builder::new(host(8, 254), client);
        push(210 * MS, router.icmp(3, 1, [0; 4], &question[14..]));
        // A scan of one host, and one of a network.
        push(
            300 * MS,
            craft::tcp((host(4, 4), 50_000), (host(2, 1), 1000 + u16::from(n)), SYN, 1, 0, 1024, &[]),
        );
        push(301 * MS, craft::tcp((host(5, 5), 50_000), (host(6, n), 445), SYN, 1, 0, 1024, &[]));
        push(302 * MS, c.clone().vlan(7).udp(9, 9, b"tagged"));
        push(303 * MS, craft::icmp_echo(client, server, true, u16::from(n), 1, &[0; 8]));
        push(304 * MS, vec![0xff; 30]);
    }
    frames.sort_by_key(|(at, _)| *at);
    // Some come late, by a little.
    for i in (5..frames.len()).step_by(17).filter(|_| late) {
        frames.swap(i, i - 3);
    }
    let mut writer = Writer::new(Vec::new(), LinkType::Ethernet).expect("a header");
    for (at, frame) in &frames {
        writer.write(*at, frame).expect("a frame");
    }
    let path = scratch(&format!("everything-{test}")).join("everything.pcap");
    std::fs::write(&path, writer.finish().expect("a capture")).expect("written");
    path
}

#[test]
fn flows_of_every_kind_stay_with_their_worker() {
    let path = everything("kinds", true);
    let found = agrees(&[&path]);
    assert!(found.flows.len() > 400, "{}", found.flows.len());
    assert!(found.summary["losses"]["time_went_back"].as_u64().is_some_and(|n| n > 0), "{}", found.summary);
    assert!(!found.summary["incidents"].as_array().expect("a list").is_empty());
    let errors = found.flows.iter().filter(|f| f.contains("\"refused\"")).count();
    assert!(errors >= 60, "{errors} of 60 flows refused by a router's word");
}

#[test]
fn lines_begin_anew_for_several_workers_too() {
    let story = repository().join("testdata/story.pcap");
    // The second file is of an earlier time, and the third goes on behind a silence of years.
    let found = agrees(&[&story, &everything("lines", false), &story]);
    assert_eq!(found.summary["files"].as_array().map(Vec::len), Some(3));
}

#[test]
fn real_captures_come_out_the_same() {
    let test = "real_captures_come_out_the_same";
    let mut files = Vec::new();
    for folder in ["pcap/scan", "pcap/bruteforce", "pcap/ddos", "pcap/lateral", "pcap/ics-modbus-labelled"] {
        let Some(folder) = shared(test, folder) else { return };
        files.extend(std::fs::read_dir(folder).expect("a folder").map(|f| f.expect("a file").path()));
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in &files {
        agrees(&[file]);
    }
}

#[test]
fn their_number_is_checked() {
    for (workers, says) in [("0", "1..=1024"), ("many", "invalid"), ("1025", "1..=1024")] {
        let output = autoinmune(&["replay", "--workers", workers, "x.pcap"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}
