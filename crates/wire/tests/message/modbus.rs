//! Modbus/TCP.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Side::{self, Client, Server};
use wire::message::modbus::{Dissector, Modbus};
use wire::message::{Dissector as _, Message, Next};

/// A frame of transaction 7 to unit 1: function and data.
fn frame(pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 7, 0, 0, 0, pdu.len() as u8 + 1, 1];
    frame.extend_from_slice(pdu);
    frame
}

fn read(side: Side, bytes: &[u8]) -> Vec<Message> {
    feed::stream(&mut Dissector::default(), &[(side, bytes)], usize::MAX)
}

fn check(side: Side, pdu: &[u8], expected: Modbus) {
    let told = read(side, &frame(pdu));
    assert_eq!(
        told,
        [Message::Modbus(Modbus { transaction: 7, unit: 1, response: side == Server, ..expected })]
    );
}

fn wrong(side: Side, pdu: &[u8], what: &str) {
    assert_eq!(violations(&read(side, &frame(pdu))), [what], "{pdu:02x?}");
}

#[test]
fn requests_tell_what_they_address() {
    for function in 1..=6 {
        let at = Modbus { function, address: Some(0x10), quantity: Some(2), ..Modbus::default() };
        check(Client, &[function, 0, 0x10, 0, 2], at);
    }
    let many = |function| Modbus { function, address: Some(3), quantity: Some(2), ..Modbus::default() };
    check(Client, &[15, 0, 3, 0, 2, 1, 3], many(15));
    check(Client, &[16, 0, 3, 0, 2, 4, 0, 1, 0, 2], many(16));
    check(Client, &[23, 0, 9, 0, 1, 0, 3, 0, 2, 4, 0, 1, 0, 2], many(23));
    check(Client, &[22, 0, 3, 0, 1, 0, 1], Modbus { function: 22, address: Some(3), ..Modbus::default() });
    check(Client, &[43, 14, 1, 0], Modbus { function: 43, subfunction: Some(14), ..Modbus::default() });
    check(Client, &[8, 0, 4, 0, 0], Modbus { function: 8, subfunction: Some(4), ..Modbus::default() });
    check(Client, &[17], Modbus { function: 17, ..Modbus::default() });
    check(Client, &[100, 1, 2, 3], Modbus { function: 100, ..Modbus::default() });
}

#[test]
fn responses_tell_what_they_echo_or_refuse() {
    check(Server, &[3, 4, 0, 1, 0, 2], Modbus { function: 3, ..Modbus::default() });
    let echo = Modbus { function: 16, address: Some(3), quantity: Some(2), ..Modbus::default() };
    check(Server, &[16, 0, 3, 0, 2], echo);
    check(Server, &[0x83, 2], Modbus { function: 3, exception: Some(2), ..Modbus::default() });
}

#[test]
fn broken_data_is_told_behind_the_message() {
    wrong(Client, &[0], "function_zero");
    wrong(Client, &[0x83, 1], "function_reserved");
    wrong(Client, &[3, 0, 1], "short_data");
    wrong(Client, &[3, 0, 1, 0, 1, 9], "trailing_data");
    wrong(Client, &[3, 0, 1, 0, 0], "quantity");
    wrong(Client, &[3, 0, 1, 0, 126], "quantity");
    wrong(Client, &[1, 0, 1, 0x07, 0xd1], "quantity");
    wrong(Client, &[15, 0, 3, 0, 9, 1, 3], "byte_count");
    wrong(Client, &[16, 0, 3, 0, 2, 4, 0, 1, 0], "byte_count");
    wrong(Client, &[23, 0, 9, 0, 126, 0, 3, 0, 1, 2, 0, 1], "quantity");
    wrong(Server, &[0x83], "short_data");
    wrong(Server, &[0x83, 9], "exception_code");
    wrong(Server, &[0x83, 1, 1], "trailing_data");
    wrong(Server, &[3, 4, 0, 1], "byte_count");
    wrong(Server, &[3], "short_data");
    wrong(Server, &[6, 0, 1, 0, 1, 1], "trailing_data");
}

#[test]
fn a_broken_header_ends_its_direction() {
    let good = frame(&[3, 0, 1, 0, 1]);
    for (bytes, what) in [
        (&b"\0\x07\0\x01\0\x06\x01\x03\0\x01\0\x01"[..], "protocol_identifier"),
        (b"\0\x07\0\0\0\x01\x01\x03\0\x01\0\x01", "length"),
        (b"\0\x07\0\0\0\xff\x01\x03\0\x01\0\x01", "length"),
    ] {
        let talk: feed::Talk<'_> =
            &[(Client, &good), (Client, bytes), (Client, &good), (Server, &frame(&[3, 2, 0, 1]))];
        let told = feed::stream(&mut Dissector::default(), talk, usize::MAX);
        assert_eq!(violations(&told), [what]);
        assert_eq!(told.len(), 3, "a request, the violation, the response");
    }
}

#[test]
fn after_a_gap_a_message_is_taken_and_no_rule_broken() {
    let mut reader = Dissector::default();
    let mut out = Vec::new();
    assert_eq!(reader.gap(Client, 3), Next::More);
    reader.data(Client, &frame(&[3, 0, 1, 0, 1]), &mut out);
    assert_eq!(out.len(), 1);
    reader.gap(Client, 3);
    assert_eq!(reader.data(Client, b"\x01\x02\x03\x04\x05\x06\x07\x08", &mut out).next, Next::Enough);
    assert_eq!(out.len(), 1);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        pdus in prop::collection::vec((any::<bool>(), 0u8..60, prop::collection::vec(any::<u8>(), 0..30)), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        piece in 1usize..20,
    ) {
        let mut turns: Vec<(Side, Vec<u8>)> = pdus
            .into_iter()
            .map(|(client, function, data)| {
                (if client { Client } else { Server }, frame(&[&[function][..], &data].concat()))
            })
            .collect();
        turns.push((Client, noise));
        let talk: Vec<(Side, &[u8])> = turns.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
        let whole = feed::stream(&mut Dissector::default(), &talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), &talk, piece), whole);
    }
}
