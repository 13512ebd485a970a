//! Traffic inside a range, as root: it arrives, at the rate and in the amount asked for.

use lab::address::{ATTACKERS, ATTACKERS6, CLIENT, SILENT, VICTIM, VICTIM6};
use lab::range::{Range, RangeError, Side};
use lab::traffic::{Client, Control, Limits, Meter, Services, dns, flood, http, ssh};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

fn range(test: &str) -> Option<Range> {
    match Range::create() {
        Ok(range) => Some(range),
        Err(e @ (RangeError::NotRoot | RangeError::NoIp)) => {
            println!("skipped: {test}: {e}");
            None
        }
        Err(e) => panic!("{test}: {e}"),
    }
}

/// Waits until the meter has seen `n` packets from `source`, at most a second, and returns how many it has.
fn seen(meter: &Meter, source: Ipv4Addr, n: u64) -> u64 {
    let begun = Instant::now();
    while meter.packets(source) < n && begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(5));
    }
    meter.packets(source)
}

#[test]
fn attacks_arrive_in_the_amount_asked_for() {
    let Some(range) = range("traffic_attacks") else { return };
    let sources = [SILENT, ATTACKERS[0], ATTACKERS[1], ATTACKERS[2]];
    let meter = range.enter(Side::Victim, || Meter::start(&sources)).expect("enter").expect("meter");
    let limits = Limits::new(500, 2000, Duration::from_secs(5)).expect("in bounds");
    let control = Control::new();
    let victim = IpAddr::from(VICTIM);
    let ports: Vec<u16> = (1..=100).collect();
    let begun = Instant::now();
    range
        .enter(Side::Outside, || {
            flood::syn_flood(SILENT.into(), SocketAddr::new(victim, 80), limits, &control)?;
            flood::port_scan(ATTACKERS[0].into(), victim, &ports, limits, &control)?;
            flood::udp_flood(ATTACKERS[1].into(), SocketAddr::new(victim, 9), 64, limits, &control)?;
            flood::icmp_flood(ATTACKERS[2].into(), victim, 64, limits, &control)?;
            flood::icmp_flood(ATTACKERS6[0].into(), VICTIM6.into(), 64, limits, &control)
        })
        .expect("enter")
        .expect("send");
    let took = begun.elapsed();
    assert_eq!(control.sent(), 2500);
    assert!(took >= Duration::from_millis(1000), "2500 packets at 2000/s took only {took:?}");
    // No answer comes back to the silent source, so exactly what was sent arrives.
    assert_eq!(seen(&meter, SILENT, 500), 500);
    // Scanned ports are closed: no resets of the scanner's own.
    assert_eq!(seen(&meter, ATTACKERS[0], 500), 500);
    assert_eq!(seen(&meter, ATTACKERS[1], 500), 500);
    assert_eq!(seen(&meter, ATTACKERS[2], 500), 500);
    assert_eq!(meter.packets(CLIENT), 0);
}

#[test]
fn the_ordinary_client_loses_nothing_beside_a_flood() {
    let Some(range) = range("traffic_client") else { return };
    let at = |port| SocketAddr::new(VICTIM.into(), port);
    let servers = range
        .enter(Side::Victim, || {
            Ok::<_, lab::traffic::TrafficError>([
                http::serve(at(80))?,
                dns::serve(at(53), VICTIM)?,
                ssh::serve(at(22))?,
            ])
        })
        .expect("enter")
        .expect("serve");
    let services = Services { http: at(80), dns: at(53), ssh: at(22) };
    let client = range
        .enter(Side::Outside, || Client::start(CLIENT.into(), services, Duration::from_secs(10)))
        .expect("enter")
        .expect("client");
    let limits = Limits::new(10_000, 4000, Duration::from_secs(1)).expect("in bounds");
    let guesses = Limits::new(5, 20, Duration::from_secs(2)).expect("in bounds");
    let guesses = range
        .enter(Side::Outside, || {
            flood::syn_flood(SILENT.into(), at(80), limits, &Control::new())?;
            ssh::guess(ATTACKERS[2].into(), at(22), 2, guesses, &Control::new())
        })
        .expect("enter")
        .expect("send");
    assert_eq!(guesses, ssh::Guesses { connections: 5, refused: 10, failed: 0 });
    std::thread::sleep(Duration::from_millis(500));
    let end = client.finish();
    let total = end.total();
    assert_eq!((total.failed, total.tried), (0, total.completed), "{end:?}");
    assert!(end.http.completed >= 3 && end.dns.completed >= 3 && end.ssh.completed >= 3, "{end:?}");
    drop(servers);
}
