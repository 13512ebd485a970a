//! Frames by AF_PACKET.

mod support;

use kernel::CaptureError;
use kernel::af_packet::{AfPacket, FrameDirection};
use std::net::UdpSocket;
use std::time::Duration;
use support::{DEV, HERE, HERE6, PEER, PEER6, Pair, root};
use wire::{LinkType, Steering};

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
fn the_sockets_of_a_group_share_an_interface_by_flow() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        // A link that has just come up takes a while to resolve its neighbours.
        while pair.ping(HERE6, 1) == 0 {}
        let steering = Steering::new(0x5eed, 3);
        let mut group = AfPacket::open_group(DEV, 2048, &steering).expect("group");
        assert_eq!(group.len(), 3);
        // Many peers, some with fragments, in both versions, to closed ports.
        for n in 10..60 {
            pair.run(&["ip", "addr", "add", &format!("198.51.100.{n}/24"), "dev", DEV]);
            pair.run(&["ip", "addr", "add", &format!("2001:db8:51::{n}/64"), "dev", DEV, "nodad"]);
        }
        for n in 10..60 {
            for (from, to) in [(format!("198.51.100.{n}"), PEER), (format!("2001:db8:51::{n}"), PEER6)] {
                let sender = UdpSocket::bind((&*from, 0)).expect("socket");
                sender.send_to(&vec![7; if n % 5 == 0 { 4000 } else { 100 }], (to, 9)).expect("send");
            }
        }
        // The peer's errors about closed ports are rate-limited, so that how many come is not known.
        let (mut datagrams, mut fragments, mut errors, mut elsewhere) = (0, 0, 0, 0);
        let mut busy = 0;
        for (index, socket) in group.iter_mut().enumerate() {
            let mut count = 0;
            let mut take = |frame: kernel::af_packet::CapturedFrame<'_>| {
                let Ok(packet) = wire::parse(LinkType::Ethernet, frame.data, frame.orig_len) else { return };
                let route = steering.route(LinkType::Ethernet, frame.data, frame.orig_len);
                elsewhere += usize::from(route.worker != index);
                match (packet.protocol, packet.fragment) {
                    (17, wire::Fragment::None) => datagrams += 1,
                    (17, _) => fragments += 1,
                    (1 | 58, _) if frame.direction == FrameDirection::In => errors += 1,
                    _ => {}
                }
                count += 1;
            };
            while socket.receive(Duration::from_millis(50), &mut take).expect("receive") > 0 {}
            assert_eq!(socket.counts().expect("counts").dropped, 0);
            busy += usize::from(count > 10);
        }
        assert_eq!((datagrams, fragments, elsewhere, busy), (80, 60, 0, 3));
        assert!(errors > 0);
    });
}

#[test]
fn groups_of_two_interfaces_do_not_meet() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let steering = Steering::new(1, 2);
        let mut group = AfPacket::open_group(DEV, 256, &steering).expect("group");
        group.extend(AfPacket::open_group("lo", 256, &steering).expect("another group"));
        let receiver = UdpSocket::bind(("127.0.0.1", 0)).expect("socket");
        receiver.send_to(b"hello", receiver.local_addr().expect("address")).expect("send");
        assert_eq!(pair.ping(HERE, 2), 2);
        let mut seen = Vec::new();
        for socket in &mut group {
            let mut echoes_and_hello = 0;
            let mut take = |frame: kernel::af_packet::CapturedFrame<'_>| {
                let packet = wire::parse(LinkType::Ethernet, frame.data, frame.orig_len);
                echoes_and_hello += usize::from(packet.is_ok_and(|p| matches!(p.protocol, 1 | 17)));
            };
            while socket.receive(Duration::from_millis(50), &mut take).expect("receive") > 0 {}
            seen.push(echoes_and_hello);
        }
        seen[..2].sort_unstable();
        seen[2..].sort_unstable();
        assert_eq!(seen, [0, 4, 0, 1]);
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
