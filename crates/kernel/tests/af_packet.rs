//! Frames by AF_PACKET.

mod support;

use kernel::CaptureError;
use kernel::af_packet::{AfPacket, FrameDirection};
use std::net::UdpSocket;
use std::time::Duration;
use support::{DEV, HERE, PEER, Pair, root};
use wire::LinkType;

#[test]
fn both_directions_with_time_and_length() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut socket = AfPacket::open(DEV, 256).expect("open");
        assert_eq!(socket.link_type(), LinkType::Ethernet);
        assert_eq!(pair.ping(HERE, 3), 3);
        // Larger than what is asked for of each frame.
        let sender = UdpSocket::bind((HERE, 0)).expect("socket");
        sender.send_to(&[7; 1000], (PEER, 9)).expect("send");
        let now = kernel::clock::wall_ns();
        let (mut echoes, mut cut) = ([0, 0], 0);
        while socket
            .receive(Duration::from_millis(50), &mut |frame| {
                assert!(frame.ts_ns.abs_diff(now) < 10_000_000_000);
                if let Ok(packet) = wire::parse(LinkType::Ethernet, frame.data, frame.orig_len) {
                    match packet.protocol {
                        1 => echoes[usize::from(frame.direction == FrameDirection::Out)] += 1,
                        17 => {
                            assert_eq!(
                                (frame.data.len(), frame.orig_len, packet.payload_len),
                                (256, 1042, 1000)
                            );
                            cut += 1;
                        }
                        _ => {}
                    }
                }
            })
            .expect("receive")
            > 0
        {}
        // The port is closed: its ICMP error comes in too.
        assert!(echoes[0] >= 3 && echoes[1] == 3 && cut == 1, "{echoes:?} {cut}");
        let counts = socket.counts().expect("counts");
        assert!(counts.packets >= 7 && counts.dropped == 0, "{counts:?}");
        assert_eq!(socket.counts().expect("counts"), counts, "cumulative");
    });
}

#[test]
fn a_loopback_shows_each_frame_once() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut socket = AfPacket::open("lo", 2048).expect("open");
        let receiver = UdpSocket::bind(("127.0.0.1", 0)).expect("socket");
        receiver.send_to(b"hello", receiver.local_addr().expect("address")).expect("send");
        let mut seen = 0;
        while socket.receive(Duration::from_millis(50), &mut |_| seen += 1).expect("receive") > 0 {}
        assert_eq!(seen, 1);
    });
}

#[test]
fn losses_are_counted() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut socket = AfPacket::open("lo", 256).expect("open");
        let receiver = UdpSocket::bind(("127.0.0.1", 0)).expect("socket");
        let to = receiver.local_addr().expect("address");
        for _ in 0..20_000 {
            receiver.send_to(&[0; 1400], to).expect("send");
        }
        let counts = socket.counts().expect("counts");
        assert!(counts.packets >= 20_000 && counts.dropped > 0, "{counts:?}");
        let mut seen = 0_u64;
        while socket.receive(Duration::from_millis(50), &mut |_| seen += 1).expect("receive") > 0 {}
        assert!(seen > 0 && seen <= counts.packets - counts.dropped, "{seen} of {counts:?}");
    });
}

#[test]
fn refusals() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let error = AfPacket::open("nosuch0", 256).expect_err("no such interface");
        assert_eq!(error.to_string(), "there is no interface 'nosuch0': there are lo, here0");
        let mut socket = AfPacket::open(DEV, 256).expect("open");
        pair.run(&["ip", "link", "set", DEV, "down"]);
        let gone = socket.receive(Duration::from_millis(500), &mut |_| {}).and_then(|_| {
            // What had arrived before comes first.
            socket.receive(Duration::from_millis(500), &mut |_| {})
        });
        assert!(matches!(gone, Err(CaptureError::Gone(_))), "{gone:?}");
    });
}
