//! ARP packets in frames.

use proptest::prelude::*;
use wire::message::arp::{Arp, parse};
use wire::{Addr, LinkType};

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The packet itself.
fn packet() -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 2][..], &CLIENT, &[192, 0, 2, 1], &SERVER, &[192, 0, 2, 2]].concat()
}

/// The packet in an Ethernet frame behind `tags`.
fn frame(tags: &[[u8; 4]]) -> Vec<u8> {
    [&SERVER[..], &CLIENT, &tags.concat(), &[8, 6], &packet(), &[0; 18]].concat()
}

fn expected(vlan: u16, frame_source: [u8; 6]) -> Option<Arp> {
    Some(Arp {
        operation: 2,
        frame_source,
        sender: CLIENT,
        sender_ip: Addr::v4([192, 0, 2, 1]),
        target: SERVER,
        target_ip: Addr::v4([192, 0, 2, 2]),
        vlan,
    })
}

#[test]
fn frames_of_each_link_are_read() {
    let check = |link, frame: &[u8], expected: Option<Arp>| assert_eq!(parse(link, frame), expected);
    check(LinkType::Ethernet, &frame(&[]), expected(0, CLIENT));
    check(LinkType::Ethernet, &frame(&[[0x81, 0, 0xe0, 5]]), expected(5, CLIENT));
    check(LinkType::Ethernet, &frame(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 5]]), expected(7, CLIENT));
    check(LinkType::Ethernet, &frame(&[[0x81, 0, 0, 1]; 4]), None);
    let cooked = [&[0, 0, 0, 1, 0, 6][..], &CLIENT, &[0, 0, 8, 6], &packet()].concat();
    check(LinkType::LinuxSll, &cooked, expected(0, CLIENT));
    let cooked = [&[8, 6, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6][..], &CLIENT, &[0, 0], &packet()].concat();
    check(LinkType::LinuxSll2, &cooked, expected(0, CLIENT));
    let nameless = [&[8, 6, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0][..], &[0; 8], &packet()].concat();
    check(LinkType::LinuxSll2, &nameless, expected(0, [0; 6]));
    check(LinkType::RawIp, &frame(&[]), None);
    check(LinkType::BsdLoopback, &frame(&[]), None);
}

#[test]
fn other_packets_are_none() {
    let change = |at: usize, value: u8| {
        let mut frame = frame(&[]);
        frame[at] = value;
        parse(LinkType::Ethernet, &frame)
    };
    for (at, value) in [(12, 0x09), (13, 0x00), (15, 6), (16, 0x86), (18, 8), (19, 16)] {
        assert_eq!(change(at, value), None, "byte {at}");
    }
}

#[test]
fn cut_frames_are_none() {
    let tagged = frame(&[[0x81, 0, 0, 5]]);
    for length in 0..tagged.len() - 18 {
        assert_eq!(parse(LinkType::Ethernet, &tagged[..length]), None, "{length} bytes");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_dealt_with(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for link in LinkType::ALL {
            let arp = parse(link, &bytes);
            prop_assert!(arp.is_none() || bytes.len() >= 42);
        }
    }
}
