//! The fast path on real interfaces: a service stays reachable for those it knows while a flood from forged sources is
//! dropped, others connect by SYN cookies, heads of flows come up, and two interfaces are watched at once.

mod support;

use flow::Direction;
use kernel::abi::{Counter, Limit};
use kernel::{AttachChoice, KernelEvent, LimitRates, Sensor, SensorConfig, Tunables};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{DEV, HERE, HERE6, Pair, enter, prefix, root};

const PORT: u16 = 8080;
const LATELY: Duration = Duration::from_secs(2);

/// Answers every connection with one short page until told to stop.
fn serve(namespace: &str, address: &str, stop: &AtomicBool) {
    enter(namespace);
    let listener = TcpListener::bind((address, PORT)).expect("bind");
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

/// Stops the servers when the test ends, also by a failure.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether `url` gives the page to the other side.
fn fetched(pair: &Pair, url: &str) -> bool {
    let out = Command::new("ip")
        .args(["netns", "exec", &pair.peer, "curl", "-s", "--max-time", "3", url])
        .output()
        .expect("curl");
    out.stdout == b"hello\n"
}

fn fetch(pair: &Pair) -> bool {
    fetched(pair, &format!("http://{HERE}:{PORT}/page"))
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
        let _at_the_end = Stop(&stop);
        scope.spawn(|| serve(&pair.here, "0.0.0.0", &stop));
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
            let listed = sensor.excesses(LATELY).expect("list");
            flood.kill().expect("stop the flood");
            flood.wait().expect("the flood's end");
            assert_eq!(fetched, 10, "a known source is let in");
            assert!(listed.iter().any(|e| e.port == PORT && e.packets > 100), "{listed:?}");
            assert!(sensor.counters().expect("counters").get(Counter::LimitedServiceSyn) > 100);

            assert!(sensor.clear_limits(None).expect("clear") > 0);
            assert!(sensor.excesses(LATELY).expect("list").is_empty());
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
    });
}

#[test]
fn strangers_connect_by_syn_cookies_while_a_flood_is_over_the_limit() {
    if !root() || !installed("hping3") || !installed("curl") {
        return;
    }
    let pair = Pair::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = Stop(&stop);
        scope.spawn(|| serve(&pair.here, "0.0.0.0", &stop));
        scope.spawn(|| serve(&pair.here, HERE6, &stop));
        pair.inside(|| {
            let config = |cookies, enforce| SensorConfig {
                interfaces: vec![DEV.to_owned()],
                // On veth, native XDP can only answer where the other end runs XDP too.
                mode: AttachChoice::Generic,
                tunables: Tunables { syn_cookies: cookies, ..Tunables::default() },
                bpffs: None,
                limits: LimitRates { service_syn: 5, known_s: 0, ..LimitRates::OFF },
                enforce,
                ..SensorConfig::default()
            };
            pair.run(&["sysctl", "-q", "-w", "net.ipv4.tcp_syncookies=1"]);
            let sensor = Sensor::attach(&config(true, true)).expect("attach");
            assert!(!sensor.syn_cookies(), "the host would not take them");
            assert!(sensor.notes().iter().any(|n| n.contains("tcp_syncookies is 1")), "{:?}", sensor.notes());
            drop(sensor);
            pair.run(&["sysctl", "-q", "-w", "net.ipv4.tcp_syncookies=2"]);
            let sensor = Sensor::attach(&config(true, false)).expect("attach");
            assert!(!sensor.syn_cookies(), "nothing is answered in shadow mode");
            drop(sensor);

            for (cookies, v6) in [(false, false), (true, false), (true, true)] {
                let sensor = Sensor::attach(&config(cookies, true)).expect("attach");
                assert_eq!(sensor.syn_cookies(), cookies);
                let url =
                    if v6 { format!("http://[{HERE6}]:{PORT}/") } else { format!("http://{HERE}:{PORT}/") };
                // What the forged sources send cannot be answered here, for want of a route.
                assert!(fetched(&pair, &url), "without a flood");
                // hping3 has no IPv6: there the connections of a tool that gives up at once are the flood.
                let mut flood = Command::new("ip")
                    .args(["netns", "exec", &pair.peer])
                    .args(if v6 {
                        vec!["sh", "-c", "for i in $(seq 200); do curl -s -m 0.001 -o /dev/null \"$0\"; done"]
                    } else {
                        vec!["hping3", "-q", "-S", "--rand-source", "-i", "u500", "-c", "20000", "-p"]
                    })
                    .args(if v6 {
                        vec![format!("http://[{HERE6}]:{PORT}/")]
                    } else {
                        vec![PORT.to_string(), HERE.to_owned()]
                    })
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("the flood");
                let over = |s: &Sensor| s.excesses(LATELY).expect("list").iter().any(|e| e.packets > 10);
                let until = Instant::now() + Duration::from_secs(10);
                while !over(&sensor) && Instant::now() < until {
                    std::thread::yield_now();
                }
                assert!(over(&sensor), "the flood is over the limit");
                // Ten at once, so that they cannot all be among the few that the limit lets through.
                let served = std::thread::scope(|all| {
                    let asked: Vec<_> = (0..10).map(|_| all.spawn(|| fetched(&pair, &url))).collect();
                    asked.into_iter().filter_map(|a| a.join().ok()).filter(|served| *served).count()
                });
                // It may be over by itself.
                let _over_anyway = flood.kill();
                flood.wait().expect("the flood's end");
                let counters = sensor.counters().expect("counters");
                let count = |c| counters.get(c);
                if cookies {
                    assert_eq!(served, 10, "IPv6 {v6}: {counters:?}");
                    assert!(count(Counter::CookiesSent) >= 8, "{counters:?}");
                    assert!(count(Counter::CookiesValid) >= 5, "{counters:?}");
                } else {
                    assert!(served < 10, "without cookies a stranger waits for luck");
                    assert_eq!(count(Counter::CookiesSent), 0);
                    assert!(count(Counter::LimitedServiceSyn) > 10);
                }
            }
        });
    });
}
