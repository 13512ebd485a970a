//! The fast path on real interfaces: a service stays reachable for those it knows while a flood from forged sources is
//! dropped, others connect by SYN cookies, heads of flows come up, and two interfaces are watched at once.

mod support;

use flow::Direction;
use kernel::abi::{Counter, Limit};
use kernel::{AttachChoice, KernelEvent, LimitRates, Sensor, SensorConfig, Tunables};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
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

fn possible() -> bool {
    root() && installed("hping3") && installed("curl")
}

/// Runs `body` on the protected side while these of its addresses are served.
fn serving(pair: &Pair, addresses: &[&str], body: impl FnOnce() + Send) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = Stop(&stop);
        for address in addresses {
            scope.spawn(|| serve(&pair.here, address, &stop));
        }
        pair.inside(body);
    });
}

/// A program of the other side, to be ended.
struct Attack(Child);

impl Attack {
    fn new(pair: &Pair, command: &[&str]) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", &pair.peer])
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("ip netns exec"))
    }

    /// Two thousand SYNs a second to the service, from forged sources.
    fn syn_flood(pair: &Pair, count: &str) -> Self {
        let port = PORT.to_string();
        Self::new(
            pair,
            &["hping3", "-q", "-S", "--rand-source", "-i", "u500", "-c", count, "-p", &port, HERE],
        )
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // It may be over by itself.
        let _over_anyway = self.0.kill();
        let _status = self.0.wait();
    }
}

/// What `look` finds within ten seconds.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("not within ten seconds: {what}")
}

#[test]
fn those_known_keep_their_way_in_under_a_flood_of_forged_sources() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    serving(&pair, &["0.0.0.0"], || {
        let config = SensorConfig {
            interfaces: vec![DEV.to_owned(), "lo".to_owned()],
            bpffs: Some(pair.pins()),
            limits: LimitRates { service_syn: 50, known_s: 3600, ..LimitRates::OFF },
            ..SensorConfig::default()
        };
        let mut sensor = Sensor::attach(&config).expect("attach");
        assert_eq!(sensor.reports().len(), 2);
        assert!(fetch(&pair), "without a flood");

        let requests = until("the request comes up", || {
            let mut requests = 0;
            sensor.poll(Duration::from_millis(20), &mut |_| {}).expect("poll");
            sensor.heads(&mut |_, key, direction, segment| {
                let to = if direction == Direction::LoToHi { key.hi_port } else { key.lo_port };
                requests += u32::from(to == PORT && segment.payload.starts_with(b"GET /page"));
            });
            (requests > 0).then_some(requests)
        });
        assert_eq!(requests, 1);

        let flood = Attack::syn_flood(&pair, "8000");
        let told = until("the excess is told of", || {
            let mut told = None;
            let mut each = |event| {
                if let KernelEvent::Limited(excess) = event {
                    told = Some(excess);
                }
            };
            sensor.poll(Duration::from_millis(20), &mut each).expect("poll");
            told
        });
        assert_eq!((told.limit, told.port, told.enforced), (Some(Limit::ServiceSyn), PORT, true));
        assert_eq!(told.addr, prefix(HERE).addr());
        let fetched = (0..10).filter(|_| fetch(&pair)).count();
        let listed = sensor.excesses(LATELY).expect("list");
        drop(flood);
        assert_eq!(fetched, 10, "a known source is let in");
        assert!(listed.iter().any(|e| e.port == PORT && e.packets > 100), "{listed:?}");
        assert!(sensor.counters().expect("counters").get(Counter::LimitedServiceSyn) > 100);

        assert!(sensor.clear_limits(None).expect("clear") > 0);
        assert!(sensor.excesses(LATELY).expect("list").is_empty());
        let lo = &sensor.interfaces().expect("interfaces")[1];
        assert_eq!(lo.interface, "lo");
        let answered = pair.run(&["ping", "-q", "-c", "2", "-i", "0.05", HERE]);
        assert_eq!(answered.matches("2 received").count(), 1);
        let after = sensor.interfaces().expect("interfaces")[1].packets;
        assert!(after >= lo.packets + 4, "lo is watched too");
        sensor.detach(false).expect("detach");
    });
}

#[test]
fn strangers_connect_by_syn_cookies_while_a_flood_is_over_the_limit() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    serving(&pair, &["0.0.0.0", HERE6], || {
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
            let url = if v6 { format!("http://[{HERE6}]:{PORT}/") } else { format!("http://{HERE}:{PORT}/") };
            // What the forged sources send cannot be answered here, for want of a route.
            assert!(fetched(&pair, &url), "without a flood");
            // hping3 has no IPv6: there the connections of a tool that gives up at once are the flood.
            let flood = if v6 {
                let strangers = "for i in $(seq 200); do curl -s -m 0.001 -o /dev/null \"$0\"; done";
                Attack::new(&pair, &["sh", "-c", strangers, &url])
            } else {
                Attack::syn_flood(&pair, "20000")
            };
            until("the flood is over the limit", || {
                sensor.excesses(LATELY).expect("list").iter().any(|e| e.packets > 10).then_some(())
            });
            // Ten at once, so that they cannot all be among the few that the limit lets through.
            let served = std::thread::scope(|all| {
                let asked: Vec<_> = (0..10).map(|_| all.spawn(|| fetched(&pair, &url))).collect();
                asked.into_iter().filter_map(|a| a.join().ok()).filter(|served| *served).count()
            });
            drop(flood);
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
}
