//! DNS messages over UDP and TCP.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::Addr;
use wire::message::dns::{Dissector, Dns, MAX_ADDRESSES, MAX_READ};
use wire::message::{Dissector as _, Message, Next, Side};

/// A message: identifier 7, these flags and counts, then `body`.
fn message(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(counts.iter().flat_map(|c| c.to_be_bytes()));
    bytes.extend(body);
    bytes
}

/// `example.com`, type A, class IN.
const QUESTION: &[u8] = b"\x07Example\x03COM\0\0\x01\0\x01";

/// A record named by a pointer to the question.
fn record(rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12];
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn datagram(bytes: &[u8]) -> Vec<Message> {
    feed::datagram(&mut Dissector::datagram(), Side::Client, bytes)
}

fn one(bytes: &[u8]) -> Dns {
    match datagram(bytes).as_slice() {
        [Message::Dns(dns)] => dns.clone(),
        other => panic!("{other:?}"),
    }
}

/// Messages of a stream, each behind its length.
fn prefixed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|m| [&(m.len() as u16).to_be_bytes()[..], m].concat()).collect()
}

#[test]
fn a_query_tells_its_question() {
    let bytes = message(0x0100, [1, 0, 0, 0], QUESTION);
    let expected = Dns {
        id: 7,
        recursion: true,
        name: "example.com".into(),
        qtype: 1,
        qclass: 1,
        questions: 1,
        length: 29,
        ..Dns::default()
    };
    assert_eq!(one(&bytes), expected);
}

#[test]
fn an_answer_tells_addresses_data_and_least_lifetime() {
    let alias = b"\x03www\xc0\x0c";
    let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let body = [
        QUESTION,
        &record(5, 300, alias),
        &record(1, 60, &[192, 0, 2, 1]),
        &record(28, 90, &v6),
        &record(2, 5, b"\x02ns\xc0\x0c"),
        &opt,
    ]
    .concat();
    let dns = one(&message(0x8183, [1, 3, 1, 1], &body));
    assert!(dns.response && dns.recursion && !dns.truncated);
    assert_eq!((dns.rcode, dns.answers, dns.authorities, dns.additionals), (3, 3, 1, 1));
    assert_eq!(dns.answer_bytes, 6 + 4 + 16);
    assert_eq!(dns.min_ttl, Some(60));
    assert_eq!(dns.addresses, [Addr::v4([192, 0, 2, 1]), Addr(v6)]);
    assert_eq!(dns.edns_size, Some(1232));
}

#[test]
fn addresses_are_bounded() {
    let body = [QUESTION.to_vec(), record(1, 1, &[1; 4]).repeat(40)].concat();
    let dns = one(&message(0x8180, [1, 40, 0, 0], &body));
    assert_eq!((dns.addresses.len(), dns.answer_bytes), (MAX_ADDRESSES, 160));
}

#[test]
fn names_are_escaped() {
    let check = |wire: &[u8], expected: &str| {
        let body = [wire, b"\0\x01\0\x01"].concat();
        assert_eq!(&*one(&message(0, [1, 0, 0, 0], &body)).name, expected);
    };
    check(b"\0", "");
    check(b"\x01A\0", "a");
    check(b"\x03a.b\x01c\0", "a\\046b.c");
    check(b"\x03a\\b\0", "a\\092b");
    check(b"\x04\xc3\xa9\0\xff\0", "\\195\\169\\000\\255");
    check(b"\x0dOffice laser!\x04_ipp\0", "office laser!._ipp");
    let longest = [[&[63][..], &[b'x'; 63]].concat().repeat(3), vec![61], vec![b'y'; 61], vec![0]].concat();
    assert_eq!(longest.len(), 255);
    check(&longest, &format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61)));
}

#[test]
fn violations_are_told() {
    let check = |bytes: &[u8], expected: &[&str]| {
        assert_eq!(violations(&datagram(bytes)), expected, "{bytes:02x?}");
    };
    let question = |flags, body: &[u8]| message(flags, [1, 0, 0, 0], body);
    let tail = b"\0\0\x01\0\x01";
    check(&[0; 11], &["short_message"]);
    check(&question(3 << 11, QUESTION), &["unassigned_opcode"]);
    check(&question(15 << 11 | 0x40, QUESTION), &["unassigned_opcode", "reserved_bit"]);
    check(&question(0x40, QUESTION), &["reserved_bit"]);
    check(&question(0, b"\x41aa\0\0\x01\0\x01"), &["bad_label"]);
    check(&question(0, b"\x80aa\0\0\x01\0\x01"), &["bad_label"]);
    // To itself, forwards, into the header, and a loop through a label.
    check(&question(0, b"\xc0\x0c\0\x01\0\x01"), &["bad_pointer"]);
    check(&question(0, b"\xc0\x20\0\x01\0\x01"), &["bad_pointer"]);
    check(&question(0, b"\xc0\x02\0\x01\0\x01"), &["bad_pointer"]);
    check(&question(0, b"\x01a\xc0\x0c\0\x01\0\x01"), &["bad_pointer"]);
    let long = [[&[63][..], &[b'x'; 63]].concat().repeat(3), vec![62], vec![b'y'; 62]].concat();
    check(&question(0, &[&long[..], tail].concat()), &["name_too_long"]);
    check(&question(0, QUESTION.get(..14).unwrap()), &["counts_beyond_message"]);
    check(&message(0, [2, 0, 0, 0], QUESTION), &["counts_beyond_message"]);
    check(&message(0x8000, [0, 1, 0, 0], b"\0\0\x01\0\x01\0\0\0\0\0"), &["counts_beyond_message"]);
    check(&message(0x8000, [0, 1, 0, 0], b"\0\0\x10\0\x01\0\0\0\0\0\x05abcd"), &["record_beyond_message"]);
    check(&message(0x8000, [0, 1, 0, 0], b"\0\0\x01\0\x01\0\0\0\0\0\x03abc"), &["address_length"]);
    check(&question(0, &[QUESTION, b"x"].concat()), &["trailing_bytes"]);
    // Each name points at the one before it: the eighteenth follows seventeen pointers.
    let mut chain = b"\x01a\0\0\x01\0\x01".to_vec();
    let mut before = 12_u16;
    for _ in 0..17 {
        let here = 12 + chain.len() as u16;
        chain.extend((0xc000 | before).to_be_bytes());
        chain.extend([0, 1, 0, 1]);
        before = here;
    }
    check(&message(0, [17, 0, 0, 0], &chain[..chain.len() - 6]), &[]);
    check(&message(0, [18, 0, 0, 0], &chain), &["too_many_pointers"]);
}

#[test]
fn what_is_legal_is_no_violation() {
    let check = |bytes: &[u8]| assert_eq!(violations(&datagram(bytes)), [""; 0], "{bytes:02x?}");
    // A truncated answer may hold fewer records than counted.
    check(&message(0x8380, [1, 9, 0, 0], QUESTION));
    // What follows the header of a stateful operation are no records.
    check(&message(6 << 11, [0; 4], &[0, 1, 0, 2, 9, 9]));
    // An update names record sets without data.
    check(&message(5 << 11, [1, 1, 0, 0], &[QUESTION, &record(1, 0, &[])].concat()));
}

#[test]
fn records_behind_the_limit_of_followed_pointers_are_still_read() {
    // A name of 120 labels, and many records whose names lead through it.
    let mut body = [[1, b'a'].repeat(120), vec![0, 0, 1, 0, 1]].concat();
    let records = 5000_u16;
    body.extend(record(16, 0, &[1; 3]).repeat(records.into()));
    let bytes = message(0x8000, [1, records, 0, 0], &body);
    assert_eq!(one(&bytes).answer_bytes, 3 * u32::from(records));
}

#[test]
fn a_stream_holds_prefixed_messages() {
    let messages = [message(0x0100, [1, 0, 0, 0], QUESTION), message(0, [0; 4], &[])];
    let bytes = prefixed(&messages);
    let whole = feed::stream(&mut Dissector::stream(), &[(Side::Client, &bytes)], usize::MAX);
    let expected: Vec<Message> = messages.iter().flat_map(|m| datagram(m)).collect();
    assert_eq!(whole, expected);
    let short = feed::stream(&mut Dissector::stream(), &[(Side::Client, &[0, 4, 1, 2, 3, 4])], 1);
    assert_eq!(violations(&short), ["short_message"]);
}

#[test]
fn a_long_message_in_a_stream_is_read_in_part() {
    let body = [QUESTION.to_vec(), record(16, 60, &[9; 1000]).repeat(60)].concat();
    let long = message(0x8000, [1, 60, 0, 0], &body);
    let bytes = prefixed(&[long.clone(), message(0, [1, 0, 0, 0], QUESTION)]);
    let told = feed::stream(&mut Dissector::stream(), &[(Side::Server, &bytes)], 1000);
    let [Message::Dns(first), Message::Dns(second)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(first.length as usize, long.len());
    assert_eq!(first.answer_bytes as usize, MAX_READ / 1012 * 1000);
    assert_eq!(&*second.name, "example.com");
}

#[test]
fn a_gap_ends_a_stream_but_not_datagrams() {
    assert_eq!(Dissector::stream().gap(Side::Server, 9), Next::Enough);
    assert_eq!(Dissector::datagram().gap(Side::Server, 9), Next::More);
}

/// A well-formed answer, to be mutated.
fn sample() -> Vec<u8> {
    let body = [QUESTION, &record(5, 300, b"\x03www\xc0\x0c"), &record(1, 60, &[192, 0, 2, 1])].concat();
    message(0x8180, [1, 2, 0, 0], &body)
}

proptest! {
    #[test]
    fn pieces_tell_what_the_whole_tells(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 12..80), 1..6), piece in 1_usize..20,
    ) {
        let bytes = prefixed(&[bodies, vec![sample()]].concat());
        let tell = |piece| feed::stream(&mut Dissector::stream(), &[(Side::Client, &bytes)], piece);
        prop_assert_eq!(tell(usize::MAX), tell(piece));
    }

    #[test]
    fn any_bytes_are_dealt_with(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(datagram(&bytes).len() <= 4);
        feed::stream(&mut Dissector::stream(), &[(Side::Client, &bytes)], 7);
    }

    #[test]
    fn mutations_are_dealt_with(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sample();
        for (at, value) in changes {
            *at.get_mut(&mut bytes) = value;
        }
        let told = datagram(&bytes);
        prop_assert!(told.len() <= 4);
        for message in &told {
            if let Message::Dns(dns) = message {
                prop_assert!(dns.name.len() <= 4 * 255 && dns.addresses.len() <= MAX_ADDRESSES);
            }
        }
    }
}
