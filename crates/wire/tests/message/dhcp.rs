//! DHCP messages.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::Addr;
use wire::message::dhcp::{Dhcp, Dissector};
use wire::message::{Message, Side};

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A message with this operation, file name area, server name area and what follows the magic cookie.
fn message(op: u8, file: &[u8], name: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..8].copy_from_slice(&[op, 1, 6, 0, 1, 2, 3, 4]);
    bytes[28..34].copy_from_slice(&CLIENT);
    bytes[44..44 + name.len()].copy_from_slice(name);
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes.extend([0x63, 0x82, 0x53, 0x63]);
    bytes.extend(options);
    bytes
}

fn tell(bytes: &[u8]) -> Vec<Message> {
    feed::datagram(&mut Dissector::default(), Side::Client, bytes)
}

fn one(bytes: &[u8]) -> Dhcp {
    match tell(bytes).as_slice() {
        [Message::Dhcp(dhcp)] => *dhcp,
        other => panic!("{other:?}"),
    }
}

fn base() -> Dhcp {
    Dhcp { transaction: 0x0102_0304, client: CLIENT, ..Dhcp::default() }
}

const OFFER: &[u8] =
    &[53, 1, 2, 54, 4, 192, 0, 2, 1, 0, 3, 8, 192, 0, 2, 254, 192, 0, 2, 253, 6, 4, 192, 0, 2, 53, 255, 0, 0];

fn offer() -> Vec<u8> {
    let mut bytes = message(2, &[], &[], OFFER);
    bytes[16..20].copy_from_slice(&[192, 0, 2, 77]);
    bytes
}

#[test]
fn options_are_read() {
    assert_eq!(one(&message(1, &[], &[], &[53, 1, 1, 255])), Dhcp { kind: 1, ..base() });
    let expected = Dhcp {
        kind: 2,
        reply: true,
        given: Some(Addr::v4([192, 0, 2, 77])),
        server: Some(Addr::v4([192, 0, 2, 1])),
        router: Some(Addr::v4([192, 0, 2, 254])),
        name_server: Some(Addr::v4([192, 0, 2, 53])),
        ..base()
    };
    assert_eq!(one(&offer()), expected);
}

#[test]
fn options_go_on_where_overload_says() {
    let check = |areas: u8, expected: Dhcp| {
        let file = [3, 4, 192, 0, 2, 254, 255];
        let name = [6, 4, 192, 0, 2, 53, 255];
        assert_eq!(one(&message(2, &file, &name, &[53, 1, 5, 52, 1, areas, 255])), expected);
    };
    let base = Dhcp { kind: 5, reply: true, ..base() };
    let router = Some(Addr::v4([192, 0, 2, 254]));
    let name_server = Some(Addr::v4([192, 0, 2, 53]));
    check(0, base);
    check(1, Dhcp { router, ..base });
    check(2, Dhcp { name_server, ..base });
    check(3, Dhcp { router, name_server, ..base });
}

#[test]
fn plain_bootp_has_no_kind() {
    let mut bytes = message(1, &[], &[], &[]);
    bytes[236] = 0;
    assert_eq!(one(&bytes), base());
    assert_eq!(one(&bytes[..236]), base());
}

#[test]
fn violations_are_told() {
    let check = |bytes: &[u8], expected: &str| {
        let told = tell(bytes);
        assert_eq!(violations(&told), [expected]);
        assert_eq!(told.len(), if bytes.len() < 236 { 1 } else { 2 }, "what was read stands");
    };
    let options = |options: &[u8]| message(1, &[], &[], options);
    check(&[1; 235], "short_message");
    check(&message(3, &[], &[], &[255]), "bad_operation");
    let mut hardware = options(&[255]);
    hardware[2] = 17;
    check(&hardware, "hardware_address_length");
    check(&options(&[53, 1, 1, 12, 9, b'a', b'b']), "option_beyond_message");
    check(&options(&[53, 1, 1, 12]), "option_beyond_message");
    for wrong in [
        &[53, 2, 1, 1, 255][..],
        &[54, 3, 1, 1, 1, 255],
        &[3, 0, 255],
        &[6, 5, 1, 1, 1, 1, 1, 255],
        &[52, 0, 255],
    ] {
        check(&options(wrong), "option_length");
    }
    check(&options(&[53, 1, 1, 52, 1, 4, 255]), "bad_overload");
    check(&options(&[53, 1, 1]), "no_end_option");
    check(&options(&[53, 1, 19, 255]), "unassigned_type");
    check(&options(&[53, 1, 2, 255]), "type_contradicts_operation");
    check(&message(2, &[], &[], &[53, 1, 1, 255]), "type_contradicts_operation");
    // The file name area ends within an option.
    check(&message(1, &[12, 200], &[], &[53, 1, 1, 52, 1, 1, 255]), "option_beyond_message");
}

proptest! {
    #[test]
    fn any_bytes_are_dealt_with(tail in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..240) {
        let bytes = message(1, &[], &[], &tail);
        prop_assert!(tell(&bytes).len() <= 2);
        prop_assert!(tell(&bytes[..length]).len() <= 2);
    }

    #[test]
    fn mutations_are_dealt_with(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = offer();
        for (at, value) in changes {
            *at.get_mut(&mut bytes) = value;
        }
        prop_assert!(tell(&bytes).len() <= 2);
    }
}
