//! The fast path on real interfaces: a service stays reachable for those it knows while a flood from forged sources is
//! dropped, heads of flows come up, and two interfaces are watched at once.

mod support;

use flow::Direction;
use kernel::abi::{Counter, Limit};
use kernel::{KernelEvent, LimitRates, Sensor, SensorConfig};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{DEV, HERE, Pair, enter, prefix, root};

const PORT: u16 = 8080;

/// Answers every connection with one short page until told to stop.
fn serve(namespace: &str, stop: &AtomicBool) {
    enter(namespace);
    let listener = TcpListener::bind(("0.0.0.0", PORT)).expect("bind");
    listener.set_nonblocking(true).expect("non-blocking");
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).expect("blocking");
                stream.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
                // A client that has gone is its own affair.
                let _asked = stream.read(&mut [0; 1024]);
                let _told = stream
                    .write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Whether the page is fetched from the other side.
fn fetch(pair: &Pair) -> bool {
    let url = format!("http://{HERE}:{PORT}/page");
    let out = Command::new("ip")
        .args(["netns", "exec", &pair.peer, "curl", "-s", "--max-time", "2", &url])
        .output()
        .expect("curl");
    out.stdout == b"hello\n"
}

fn installed(tool: &str) -> bool {
    let there = Command::new("which").arg(tool).stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there {
        println!("skipped: needs {tool}");
    }
    there
}

#[test]
fn those_known_keep_their_way_in_under_a_flood_of_forged_sources() {
    if !root() || !installed("hping3") || !installed("curl") {
        return;
    }
    let pair = Pair::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&pair.here, &stop));
        pair.inside(|| {
            let config = SensorConfig {
                interfaces: vec![DEV.to_owned(), "lo".to_owned()],
                bpffs: Some(pair.pins()),
                limits: LimitRates { service_syn: 50, known_s: 3600, ..LimitRates::OFF },
                ..SensorConfig::default()
            };
            let mut sensor = Sensor::attach(&config).expect("attach");
            assert_eq!(sensor.reports().len(), 2);
            assert!(fetch(&pair), "without a flood");

            let mut requests = 0;
            let until = Instant::now() + Duration::from_secs(5);
            while requests == 0 && Instant::now() < until {
                sensor.poll(Duration::from_millis(20), &mut |_| {}).expect("poll");
                sensor.heads(&mut |_, key, direction, segment| {
                    let to = if direction == Direction::LoToHi { key.hi_port } else { key.lo_port };
                    requests += u32::from(to == PORT && segment.payload.starts_with(b"GET /page"));
                });
            }
            assert_eq!(requests, 1, "the request comes up");

            let mut flood = Command::new("ip")
                .args(["netns", "exec", &pair.peer, "hping3", "-q", "-S", "--rand-source", "-i", "u500"])
                .args(["-c", "8000", "-p", &PORT.to_string(), HERE])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("hping3");
            let mut told = None;
            let until = Instant::now() + Duration::from_secs(5);
            while told.is_none() && Instant::now() < until {
                sensor
                    .poll(Duration::from_millis(20), &mut |event| {
                        if let KernelEvent::Limited(excess) = event {
                            told = Some(excess);
                        }
                    })
                    .expect("poll");
            }
            let told = told.expect("the excess is told of");
            assert_eq!((told.limit, told.port, told.enforced), (Some(Limit::ServiceSyn), PORT, true));
            assert_eq!(told.addr, prefix(HERE).addr());
            let fetched = (0..10).filter(|_| fetch(&pair)).count();
            let listed = sensor.excesses().expect("list");
            flood.kill().expect("stop the flood");
            flood.wait().expect("the flood's end");
            assert_eq!(fetched, 10, "a known source is let in");
            assert!(listed.iter().any(|e| e.port == PORT && e.packets > 100), "{listed:?}");
            assert!(sensor.counters().expect("counters").get(Counter::LimitedServiceSyn) > 100);

            assert!(sensor.clear_limits().expect("clear") > 0);
            assert!(sensor.excesses().expect("list").is_empty());
            let lo = &sensor.interfaces().expect("interfaces")[1];
            assert_eq!(lo.interface, "lo");
            assert_eq!(
                pair.run(&["ping", "-q", "-c", "2", "-i", "0.05", HERE]).matches("2 received").count(),
                1
            );
            assert!(
                sensor.interfaces().expect("interfaces")[1].packets >= lo.packets + 4,
                "lo is watched too"
            );
            sensor.detach(false).expect("detach");
        });
        stop.store(true, Ordering::Relaxed);
    });
}
