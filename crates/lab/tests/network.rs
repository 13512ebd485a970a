//! A range of three segments, as root: it carries what it should, shows the sensor what it should, and goes.

use lab::address::Segment;
use lab::range::network::{GATEWAY_PLACE, Host, gateway_interface};
use lab::range::{Network, Range, RangeError, kept, remove_kept, sweep};
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

fn host(name: &str, segment: Segment, number: u8, count: u8) -> Host {
    Host { name: name.into(), segment, number, count }
}

fn cast() -> Network {
    Network {
        hosts: vec![
            host("client", Segment::Outside, 10, 3),
            host("attacker", Segment::Outside, 201, 1),
            host("web", Segment::Inside, 10, 1),
            host("desk", Segment::Inside, 50, 1),
            host("plc", Segment::Ot, 5, 1),
        ],
    }
}

fn range(test: &str) -> Option<Range> {
    match Range::network(&cast()) {
        Ok(range) => Some(range),
        Err(e @ (RangeError::NotRoot | RangeError::NoIp)) => {
            println!("skipped: {test}: {e}");
            None
        }
        Err(e) => panic!("{test}: {e}"),
    }
}

/// Whether a datagram from one host's address arrives at another's.
fn arrives(range: &Range, from: (&str, IpAddr), to: (&str, IpAddr)) -> bool {
    let socket = range.enter(to.0, || UdpSocket::bind((to.1, 7007))).expect("enter").expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    range
        .enter(from.0, || UdpSocket::bind((from.1, 0))?.send_to(b"hello", (to.1, 7007)))
        .expect("enter")
        .expect("send");
    let mut buffer = [0; 16];
    socket.recv_from(&mut buffer).is_ok_and(|(len, peer)| &buffer[..len] == b"hello" && peer.ip() == from.1)
}

#[test]
fn hosts_of_all_segments_reach_each_other_in_both_versions() {
    let begun = Instant::now();
    let Some(range) = range("hosts_of_all_segments_reach_each_other_in_both_versions") else { return };
    let up = begun.elapsed();
    let hosts = cast().hosts;
    let find = |name: &str| hosts.iter().find(|h| h.name == name).expect("a host");
    for (from, to) in
        [("client", "web"), ("attacker", "plc"), ("web", "attacker"), ("desk", "web"), ("plc", "desk")]
    {
        let (a, b) = (find(from), find(to));
        assert!(arrives(&range, (from, a.address()), (to, b.address())), "{from} to {to}");
        assert!(arrives(&range, (from, a.address6()), (to, b.address6())), "{from} to {to}, IPv6");
    }
    // Every address of a host is its own, and forged sources arrive.
    assert!(arrives(&range, ("client", Segment::Outside.host(12).into()), ("web", find("web").address())));
    let begun = Instant::now();
    range.destroy().expect("destroy");
    println!("up in {up:?}, down in {:?}", begun.elapsed());
    assert!(up < Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_gateway_sees_what_hosts_of_the_inside_say_to_each_other() {
    let name = "the_gateway_sees_what_hosts_of_the_inside_say_to_each_other";
    let Some(range) = range(name) else { return };
    let counter = format!("/sys/class/net/{}/statistics/rx_bytes", gateway_interface(Segment::Inside));
    let seen = || {
        // The namespace's own /sys.
        let output = range.command(GATEWAY_PLACE, "cat").arg(&counter).output().expect("cat runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().expect("a number")
    };
    let before = seen();
    range
        .enter("desk", || {
            let socket = UdpSocket::bind((Segment::Inside.host(50), 0))?;
            (0..20).try_for_each(|_| socket.send_to(&[0; 1000], (Segment::Inside.host(10), 7008)).map(drop))
        })
        .expect("enter")
        .expect("send");
    let begun = Instant::now();
    while seen() < before + 20_000 && begun.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    assert!(seen() >= before + 20_000);
}

#[test]
fn a_kept_range_outlives_its_handle_and_sweeps_and_goes_when_told() {
    let Some(range) = range("a_kept_range_outlives_its_handle_and_sweeps_and_goes_when_told") else { return };
    let id = range.id().to_owned();
    let name = range.namespace("web");
    let daemon = range.daemon("web", "sleep", ["60"], |_| ()).expect("start");
    let identity = daemon.identity();
    // A program that is not on record is found by the namespace it runs in.
    let mut stray = range.command("web", "sleep").arg("61").spawn().expect("start");
    daemon.leave();
    range.keep().expect("keep");
    assert!(kept().expect("records").iter().any(|k| k.id == id && k.namespaces.contains(&name)));
    assert!(!sweep().expect("sweep").contains(&id));
    assert!(Path::new("/run/netns").join(&name).exists() && identity.is_alive());
    assert_eq!(remove_kept(Some(&id)).expect("remove"), [id]);
    assert!(!Path::new("/run/netns").join(&name).exists() && !identity.is_alive());
    let status = stray.wait().expect("it ended");
    assert!(!status.success());
}
