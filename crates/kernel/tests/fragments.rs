//! Real fragments over a veth pair: whose odd ones are is told, and they are dropped when asked.

mod support;

use flow::fragment::{Finding, OddFragment};
use kernel::{AttachChoice, KernelEvent, LimitRates, Sensor, SensorConfig};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use support::{DEV, HERE, PEER, PEER_DEV, Pair, enter, root};
use wire::Addr;
use wire::craft::Builder;

/// Port of the receiver.
const PORT: u16 = 9000;
/// The other side's MTU while it sends tiny fragments: no more than 176 bytes of content each.
const SMALL_MTU: &str = "200";
/// Bytes of a link header.
const LINK: usize = 14;

fn config(attach: AttachChoice, limits: LimitRates) -> SensorConfig {
    SensorConfig {
        interfaces: vec![DEV.to_owned()],
        mode: attach,
        bpffs: None,
        limits,
        ..SensorConfig::default()
    }
}

/// Runs `body` on the other side.
fn over_there<T: Send>(pair: &Pair, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(&pair.peer);
            body()
        });
        thread.join().expect("the other side")
    })
}

/// Sends a datagram that the other side's own IP cuts to its MTU; from which port.
fn send_large(pair: &Pair) -> u16 {
    over_there(pair, || {
        let socket = UdpSocket::bind((PEER, 0)).expect("socket");
        socket.send_to(&[0x42; 600], (HERE, PORT)).expect("send");
        socket.local_addr().expect("address").port()
    })
}

/// Sends a datagram of which two fragments overlap, from port `from`.
fn send_overlapping(pair: &Pair, from: u16) {
    let (src, dst) = (PEER.parse::<Addr>().expect("address"), HERE.parse::<Addr>().expect("address"));
    let datagram = Builder::new(src, dst).id(from);
    let segment = datagram.udp_segment(from, PORT, &[0x42; 1800]);
    let (coarse, fine) = (datagram.fragments(&segment, 1024), datagram.fragments(&segment, 512));
    over_there(pair, || {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("raw socket");
        let to = SocketAddr::V4(SocketAddrV4::new(HERE.parse().expect("address"), 0));
        for frame in [&coarse[0], &fine[1], &coarse[1]] {
            sendto(&raw, &frame[LINK..], SendFlags::empty(), &to).expect("send");
        }
    });
}

/// Waits for word of an odd fragment.
fn told(sensor: &mut Sensor) -> OddFragment {
    let until = Instant::now() + Duration::from_secs(10);
    let mut odd = None;
    while odd.is_none() && Instant::now() < until {
        let mut each = |event| {
            if let KernelEvent::Odd { odd: o, .. } = event {
                odd.get_or_insert(o);
            }
        };
        sensor.poll(Duration::from_millis(100), &mut each).expect("poll");
    }
    odd.expect("word of an odd fragment")
}

fn sender(odd: &OddFragment) -> (Addr, u16) {
    odd.key.source(odd.direction)
}

#[test]
fn the_sender_is_told_and_the_datagram_arrives() {
    if !root() {
        return;
    }
    for attach in [AttachChoice::Native, AttachChoice::Tcx] {
        let pair = Pair::new();
        pair.inside(|| {
            let receiver = UdpSocket::bind((HERE, PORT)).expect("socket");
            receiver.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
            let mut sensor = Sensor::attach(&config(attach, LimitRates::OFF)).expect("attach");
            pair.over("ip", &["link", "set", PEER_DEV, "mtu", SMALL_MTU]);
            let port = send_large(&pair);
            assert_eq!(receiver.recv(&mut [0; 2000]).expect("the datagram, put together"), 600);
            let odd = told(&mut sensor);
            assert_eq!(sender(&odd), (PEER.parse().expect("address"), port), "{attach:?}");
            assert_eq!(odd.initiator, odd.direction);
            assert_eq!(odd.finding, Finding { tiny: true, overlap: false, orphan: false });
            pair.over("ip", &["link", "set", PEER_DEV, "mtu", "1500"]);
            send_overlapping(&pair, 7000);
            let odd = told(&mut sensor);
            assert_eq!(sender(&odd), (PEER.parse().expect("address"), 7000), "{attach:?}");
            assert_eq!(odd.finding, Finding { tiny: false, overlap: true, orphan: false });
        });
    }
}

#[test]
fn the_sender_is_told_and_the_datagram_does_not_arrive() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let receiver = UdpSocket::bind((HERE, PORT)).expect("socket");
        receiver.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        let limits = LimitRates { block_tiny: true, block_overlapping: true, ..LimitRates::OFF };
        let mut sensor = Sensor::attach(&config(AttachChoice::Native, limits)).expect("attach");
        pair.over("ip", &["link", "set", PEER_DEV, "mtu", SMALL_MTU]);
        let port = send_large(&pair);
        assert_eq!(sender(&told(&mut sensor)).1, port);
        pair.over("ip", &["link", "set", PEER_DEV, "mtu", "1500"]);
        send_overlapping(&pair, 7000);
        assert_eq!(sender(&told(&mut sensor)).1, 7000);
        // What is sent behind them arrives, and they have not.
        let port = send_large(&pair);
        let mut bytes = [0; 2000];
        let (length, from) = receiver.recv_from(&mut bytes).expect("the whole datagram");
        assert_eq!((length, from.port()), (600, port));
        let dropped = sensor.counters().expect("counters").get(kernel::abi::Counter::FragmentsDropped);
        assert_eq!(dropped, 4 + 2, "all of the first datagram, two of the second's three fragments");
    });
}
