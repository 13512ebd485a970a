//! Visits to real web servers on loopback: what they log says whether the visitor kept its promises.

mod invariants;
mod lists;
mod servers;

use lab::visit::names::Scope;
use lab::visit::plan::Mode;
use lab::visit::sites::{SERVICES_HEADER, SITES_HEADER, services, sites};
use lab::visit::statistics::{Failure, Kind};
use lab::visit::{Options, Report, VisitError, limit, page, robots, start, url};
use servers::{Servers, free_port};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Options for visits to these sites of a set of servers.
fn options(servers: &Servers, hosts: &[&str], mode: Mode, seconds: u64) -> Options {
    let port = servers.port();
    let list: String = hosts.iter().map(|h| format!("SE,culture,sv,{h},https://{h}:{port}/\n")).collect();
    Options {
        mode,
        threads: 12,
        duration: Duration::from_secs(seconds),
        seed: 7,
        sites: sites(&format!("{SITES_HEADER}\n{list}")).expect("a list"),
        services: Vec::new(),
        resolver: Some(servers.resolver()),
        scope: Scope::Lab,
        unlimited: false,
        authorities: Some(servers.authority()),
        contact: Some("mailto:noc@example.org".into()),
    }
}

/// Visits until its time is over or its plan done.
fn run(options: Options) -> Report {
    let run = start(options).unwrap_or_else(|e| panic!("{e}"));
    while !run.is_over() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    run.finish()
}

fn accounts_for_every_request(report: &Report) {
    let total = report.statistics.total;
    let failures: u64 = Failure::ALL.iter().map(|f| report.statistics.failures(*f)).sum();
    assert_eq!(total.started, total.completed + total.failed + report.open, "{report:#?}");
    assert_eq!(total.failed, failures);
    let kinds: u64 = Kind::ALL.iter().map(|k| report.statistics.kind(*k).started).sum();
    assert_eq!(kinds, total.started);
}

#[test]
fn a_site_is_never_asked_for_what_it_disallows_nor_faster_than_stated() {
    let Some(servers) = Servers::start("visit_promises") else { return };
    // All visitors want the same three sites all the time.
    let hosts = ["one.example", "two.example", "www.three.example"];
    let report = run(options(&servers, &hosts, Mode::Turbo, 12));
    accounts_for_every_request(&report);
    let log = servers.log();
    assert!(report.statistics.skipped.robots > 0, "something disallowed was found: {report:#?}");
    for entry in &log {
        assert!(!entry.path.starts_with("/private/"), "robots.txt disallows {entry:?}");
        assert!(!entry.path.contains("login"), "{entry:?}");
        assert!(
            entry.agent.starts_with("Autoinmune/") && entry.agent.contains("noc@example.org"),
            "{entry:?}"
        );
    }
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for entry in &log {
        times.entry(entry.host.strip_prefix("www.").unwrap_or(&entry.host)).or_default().push(entry.at);
    }
    assert_eq!(times.len(), hosts.len());
    let rate = limit::Rate::WEB;
    for (host, times) in &times {
        assert!(times.len() >= 8, "{host} was visited as often as allowed: {times:?}");
        // The server notes when a request has ended, in ms; a slow machine may end them late and thus closer together.
        let slack = 0.25;
        for (i, begin) in times.iter().enumerate() {
            for (n, end) in times[i..].iter().enumerate() {
                let due = (end - begin + slack) / (rate.interval as f64 / 1e9);
                assert!(
                    n as f64 <= f64::from(rate.burst - 1) + due,
                    "{host}: {n} after the first in {times:?}"
                );
            }
        }
        let robots = log.iter().filter(|e| e.path == "/robots.txt" && e.host.ends_with(host)).count();
        assert_eq!(robots, 1, "{host}: robots.txt is kept");
    }
    let asked: Vec<&str> = log.iter().map(|e| e.path.as_str()).collect();
    assert!(asked.contains(&"/style.css") && asked.contains(&"/"), "{asked:?}");
}

#[test]
fn what_sites_ask_for_in_other_ways_is_heeded() {
    let Some(servers) = Servers::start("visit_wishes") else { return };
    // In turn: no robots.txt at all, one that cannot be had, a pause asked for, "too many requests", redirections into
    // what is disallowed, in circles, and to a foreign address.
    let hosts = [
        "absent.example",
        "down.example",
        "delay.example",
        "busy.example",
        "moved.example",
        "circle.example",
        "abroad.example",
    ];
    let mut options = options(&servers, &hosts, Mode::Turbo, 6);
    options.threads = 7;
    let report = run(options);
    accounts_for_every_request(&report);
    let log = servers.log();
    let paths =
        |host: &str| log.iter().filter(|e| e.host == host).map(|e| e.path.as_str()).collect::<Vec<_>>();
    assert!(paths("absent.example").contains(&"/"), "{log:#?}");
    assert!(paths("down.example").iter().all(|p| *p == "/robots.txt"), "{log:#?}");
    assert_eq!(paths("delay.example"), ["/robots.txt"], "its first page is due after a minute");
    // Two requests may be under way when the first is answered.
    assert!(
        matches!(paths("busy.example")[..], ["/robots.txt", "/"] | ["/robots.txt", "/", "/"]),
        "{log:#?}"
    );
    assert!(paths("moved.example").iter().all(|p| !p.starts_with("/private/")), "{log:#?}");
    let circle = paths("circle.example").iter().filter(|p| **p == "/").count();
    assert!((4..=7).contains(&circle), "{circle} within burst and rate");
    assert!((1..=2).contains(&report.statistics.failures(Failure::SlowDown)), "{report:#?}");
    assert!(report.statistics.failures(Failure::Address) >= 1, "{report:#?}");
    assert!(report.statistics.skipped.busy + report.open > 0, "{report:#?}");
}

#[test]
fn a_certificate_of_a_stranger_is_not_trusted() {
    let Some(servers) = Servers::start("visit_trust") else { return };
    let Some(other) = Servers::start("visit_trust_other") else { return };
    let mut options = options(&servers, &["one.example"], Mode::SingleBatch, 20);
    options.authorities = Some(other.authority());
    let report = run(options);
    assert_eq!(report.statistics.kind(Kind::Page).started, 0, "robots.txt could not be had");
    assert_eq!(report.statistics.failures(Failure::Tls), 1, "{report:#?}");
    assert!(servers.log().is_empty());
}

#[test]
fn services_are_used_as_their_protocols_demand() {
    let Some(servers) = Servers::start("visit_services") else { return };
    let port = servers.port();
    // A time server of one answer, and one that asks to be left alone.
    let time = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let ntp = time.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, peer)) = time.recv_from(&mut packet) {
            let mut reply = packet;
            reply[0] = 4 << 3 | 4;
            reply[1] = 2;
            reply.copy_within(40..48, 24);
            let _ = time.send_to(&reply[..length], peer);
        }
    });
    let ssh = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let banner = ssh.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in ssh.incoming().flatten() {
            use std::io::Write as _;
            let _ = (&stream).write_all(b"SSH-2.0-Test\r\n");
        }
    });
    let mut options = options(&servers, &["one.example"], Mode::SingleBatch, 30);
    let list = format!(
        "{SERVICES_HEADER}\n\
         api,SE,technology,A,https://api.example:{port}/data.json\n\
         download,DE,technology,B,https://files.example:{port}/large.bin\n\
         stream,NO,culture,C,https://media.example:{port}/large.bin\n\
         ntp,SE,technology,D,ntp://time.example:{ntp}\n\
         ssh,SE,technology,E,ssh://git.example:{banner}\n"
    );
    options.services = services(&list).expect("a list");
    options.unlimited = true;
    let report = run(options);
    accounts_for_every_request(&report);
    let statistics = &report.statistics;
    for kind in [Kind::Api, Kind::Download, Kind::Ntp, Kind::Ssh] {
        let count = statistics.kind(kind);
        assert_eq!((count.started, count.completed), (1, 1), "{}: {report:#?}", kind.name());
    }
    let stream = statistics.kind(Kind::Stream);
    assert!(stream.completed >= 4 && stream.failed == 0, "pieces of a recording: {report:#?}");
    assert!(statistics.kind(Kind::Download).bytes >= 64 << 10);
    let ranges: Vec<_> = servers.log().into_iter().filter(|e| e.path == "/large.bin").collect();
    assert!(ranges.iter().all(|e| e.status == 206), "{ranges:?}");
    assert_eq!(
        statistics.countries.keys().map(lab::visit::sites::Country::code).collect::<Vec<_>>(),
        ["DE", "NO", "SE"]
    );
}

#[test]
fn the_same_seed_asks_for_the_same() {
    let asked = |test: &str| {
        let servers = Servers::start(test)?;
        let mut options =
            options(&servers, &["one.example", "two.example", "absent.example"], Mode::SingleBatch, 30);
        options.unlimited = true;
        options.threads = 1;
        let report = run(options);
        accounts_for_every_request(&report);
        let log = servers.log();
        let connections: BTreeSet<u64> = log.iter().map(|e| e.connection).collect();
        assert_eq!(connections.len(), 3, "one connection a host carries all its requests: {log:#?}");
        Some(log.into_iter().map(|e| (e.host, e.path)).collect::<Vec<_>>())
    };
    let Some(first) = asked("visit_seed_1") else { return };
    assert_eq!(Some(&first), asked("visit_seed_2").as_ref());
    assert!(first.len() > 5, "{first:?}");
}

#[test]
fn a_run_ends_within_a_second_whatever_servers_do() {
    let Some(servers) = Servers::start("visit_end") else { return };
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("an address").port();
    let mut options = options(&servers, &["one.example"], Mode::Turbo, 600);
    let list: String =
        (0..40).map(|i| format!("SE,news,sv,{i},https://silent{i}.example:{port}/\n")).collect();
    options.sites = sites(&format!("{SITES_HEADER}\n{list}")).expect("a list");
    options.threads = 40;
    let run = start(options).unwrap_or_else(|e| panic!("{e}"));
    let begun = Instant::now();
    while run.report().statistics.kind(Kind::Robots).started < 20 {
        assert!(begun.elapsed() < Duration::from_secs(20), "visitors begin");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let begun = Instant::now();
    let report = run.finish();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(report.open >= 20 && report.statistics.total.failed == 0, "{report:#?}");
}

#[test]
fn without_a_name_server_nothing_begins() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let deaf = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    for (server, scope) in
        [(silent.local_addr().expect("an address"), Scope::Lab), (deaf, Scope::Lab), (deaf, Scope::Internet)]
    {
        let error = start(Options {
            mode: Mode::Turbo,
            threads: 1,
            duration: Duration::from_secs(5),
            seed: 1,
            sites: sites(&format!("{SITES_HEADER}\nSE,news,sv,A,https://a.example/")).expect("a list"),
            services: Vec::new(),
            resolver: Some(server),
            scope,
            unlimited: false,
            authorities: None,
            contact: None,
        });
        match error {
            Err(VisitError::Silent(asked)) => assert_eq!(asked, server.to_string()),
            other => panic!("{other:?}"),
        }
    }
}
