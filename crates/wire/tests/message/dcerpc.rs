//! DCE/RPC over TCP; `smb.rs` has it in pipes.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Message;
use wire::message::Side::{self, Client, Server};
use wire::message::dcerpc::{DceRpc, Dissector, Kind, MAX_CONTEXTS, interface_name};

/// svcctl, as it is written in little-endian order.
pub(crate) const SVCCTL: [u8; 16] = *b"\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03";
pub(crate) const SVCCTL_TEXT: &str = "367abb81-9844-35f1-ad32-98f038001003";

/// A unit of call 1 in one fragment.
pub(crate) fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
    fragment(kind, 3, body)
}

fn fragment(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u16;
    let mut unit = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    unit.extend(length.to_le_bytes());
    unit.extend([0, 0, 1, 0, 0, 0]);
    unit.extend(body);
    unit
}

/// A bind of one interface as context 0.
pub(crate) fn bind() -> Vec<u8> {
    unit(11, &contexts(&[(0, SVCCTL)]))
}

fn contexts(offered: &[(u16, [u8; 16])]) -> Vec<u8> {
    let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, offered.len() as u8, 0, 0, 0];
    for (id, uuid) in offered {
        body.extend(id.to_le_bytes());
        body.extend([1, 0]);
        body.extend(uuid);
        body.extend([2, 0, 0, 0]);
        body.extend([7; 20]);
    }
    body
}

/// A call of operation 12 in context 0 with four bytes of data.
pub(crate) fn call() -> Vec<u8> {
    unit(0, b"\x04\0\0\0\0\0\x0c\0DATA")
}

fn read(talk: feed::Talk<'_>) -> Vec<Message> {
    feed::stream(&mut Dissector::default(), talk, usize::MAX)
}

fn told(kind: Kind) -> DceRpc {
    DceRpc { kind, call: 1, ..DceRpc::default() }
}

#[test]
fn a_call_has_the_interface_that_was_bound() {
    let talk: feed::Talk<'_> = &[
        (Client, &bind()),
        (Server, &unit(12, &[0; 40])),
        (Client, &call()),
        (Server, &unit(2, b"\x02\0\0\0\0\0\0\0OK")),
        (Client, &call()),
        (Server, &unit(3, b"\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0")),
    ];
    let svcctl = || Some(SVCCTL_TEXT.into());
    let expected = [
        DceRpc { interface: svcctl(), ..told(Kind::Bind) },
        told(Kind::BindAck),
        DceRpc { interface: svcctl(), operation: Some(12), stub_bytes: 4, ..told(Kind::Request) },
        DceRpc { interface: svcctl(), operation: Some(12), stub_bytes: 2, ..told(Kind::Response) },
        DceRpc { interface: svcctl(), operation: Some(12), stub_bytes: 4, ..told(Kind::Request) },
        DceRpc { interface: svcctl(), operation: Some(12), status: Some(5), ..told(Kind::Fault) },
    ];
    assert_eq!(read(talk), expected.map(Message::DceRpc));
}

#[test]
fn an_unseen_bind_leaves_the_operation() {
    let expected = DceRpc { operation: Some(12), stub_bytes: 4, ..told(Kind::Request) };
    assert_eq!(read(&[(Client, &call())]), [Message::DceRpc(expected)]);
}

#[test]
fn of_fragments_the_first_counts() {
    let first = fragment(0, 1, b"\x00\x20\0\0\0\0\x0c\0DATA");
    let last = fragment(0, 2, b"\x00\x10\0\0\0\0\x0c\0DATA");
    let expected = DceRpc { operation: Some(12), stub_bytes: 0x2000, ..told(Kind::Request) };
    assert_eq!(read(&[(Client, &[first, last].concat())]), [Message::DceRpc(expected)]);
}

#[test]
fn long_fragments_are_left_out_unread() {
    let long = unit(0, &[&b"\0\0\0\0\0\0\x0c\0"[..], &[9; 60_000]].concat());
    let told = read(&[(Client, &[long, call()].concat())]);
    let bytes: Vec<u32> =
        told.iter().map(|m| if let Message::DceRpc(call) = m { call.stub_bytes } else { 0 }).collect();
    assert_eq!(bytes, [60_000, 4]);
}

#[test]
fn many_contexts_push_out_the_oldest() {
    let many: Vec<(u16, [u8; 16])> = (0..=MAX_CONTEXTS as u16).map(|id| (id, SVCCTL)).collect();
    let told = read(&[(Client, &[unit(11, &contexts(&many)), call()].concat())]);
    let Some(Message::DceRpc(call)) = told.last() else { panic!("{told:?}") };
    assert_eq!(call.interface, None);
}

#[test]
fn big_endian_units_are_read() {
    let call = b"\x05\0\0\x03\0\0\0\0\0\x1c\0\0\0\0\0\x01\0\0\0\x04\0\0\0\x0cDATA";
    let expected = DceRpc { operation: Some(12), stub_bytes: 4, ..told(Kind::Request) };
    assert_eq!(read(&[(Client, call)]), [Message::DceRpc(expected)]);
}

#[test]
fn broken_units_are_told() {
    let check =
        |bytes: &[u8], what| assert_eq!(violations(&read(&[(Client, bytes)])), [what], "{bytes:02x?}");
    let with = |at: usize, byte: u8| {
        let mut unit = call();
        unit[at] = byte;
        unit
    };
    check(&with(0, 4), "version");
    check(&with(1, 2), "version");
    check(&with(4, 0x20), "data_representation");
    check(&with(8, 15), "fragment_length");
    check(&with(2, 20), "unknown_type");
    check(&with(10, 9), "auth_length");
    check(&unit(0, b"\0\0\0\0"), "short_body");
    let mut more = contexts(&[(0, SVCCTL)]);
    more[8] = 2;
    check(&unit(11, &more), "context_count");
}

#[test]
fn interfaces_have_names() {
    for (uuid, name) in [
        (SVCCTL_TEXT, "svcctl"),
        ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", "drsuapi"),
        ("12345678-1234-abcd-ef00-01234567cffb", "netlogon"),
        ("00000131-0000-0000-c000-000000000046", "IRemUnknown"),
        ("fdb3a030-065f-11d1-bb9b-00a024ea5525", "qmcomm"),
        ("86d35949-83c9-4044-b424-db363231fd0c", "ITaskSchedulerService"),
    ] {
        assert_eq!(interface_name(uuid), Some(name));
    }
    assert_eq!(interface_name("00000000-0000-0000-0000-000000000000"), None);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        units in prop::collection::vec((any::<bool>(), 0u8..22, prop::collection::vec(any::<u8>(), 0..90)), 0..8),
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        piece in 1usize..40,
    ) {
        let mut turns: Vec<(Side, Vec<u8>)> =
            units.into_iter().map(|(c, kind, body)| (if c { Client } else { Server }, unit(kind, &body))).collect();
        turns.push((Client, bind()));
        turns.push((Client, call()));
        for (at, byte) in changed {
            let turn = at.index(turns.len());
            let bytes = &mut turns[turn].1;
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let talk: Vec<(Side, &[u8])> = turns.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
        let whole = feed::stream(&mut Dissector::default(), &talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), &talk, piece), whole);
    }
}
