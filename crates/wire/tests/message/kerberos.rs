//! Kerberos 5.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Side::{Client, Server};
use wire::message::kerberos::{Dissector, Kerberos, Kind, MAX_LIST, MAX_MESSAGE, MAX_NAME, etype};
use wire::message::{Dissector as _, Message, Next};

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..0x80 => bytes.push(short as u8),
        long => bytes.extend_from_slice(&[0x82, (long >> 8) as u8, long as u8]),
    }
    bytes.extend_from_slice(content);
    bytes
}

fn field(n: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | n, content)
}

fn integer(digits: &[u8]) -> Vec<u8> {
    element(2, digits)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

fn text(text: &str) -> Vec<u8> {
    element(0x1b, text.as_bytes())
}

fn name(parts: &[&str]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts.iter().map(|p| text(p)).collect();
    sequence(&[field(0, &integer(&[1])), field(1, &sequence(&parts))])
}

fn sealed(etype: u8, length: usize) -> Vec<u8> {
    sequence(&[field(0, &integer(&[etype])), field(2, &element(4, &vec![7; length]))])
}

fn padata(kind: &[u8], held: &[u8]) -> Vec<u8> {
    sequence(&[field(1, &integer(kind)), field(2, &element(4, held))])
}

/// AS-REQ of `ada` with the given data, offering AES-256, RC4 and -135.
fn as_req(preauth: &[Vec<u8>]) -> Vec<u8> {
    let body = sequence(&[
        field(0, &element(3, &[0, 0x40, 0x81, 0, 0x10])),
        field(1, &name(&["ada"])),
        field(2, &text("EXAMPLE.COM")),
        field(3, &name(&["krbtgt", "EXAMPLE.COM"])),
        field(7, &integer(&[1, 2, 3, 4])),
        field(8, &sequence(&[integer(&[18]), integer(&[23]), integer(&[0xff, 0x79])])),
    ]);
    let parts =
        [field(1, &integer(&[5])), field(2, &integer(&[10])), field(3, &sequence(preauth)), field(4, &body)];
    element(0x6a, &sequence(&parts))
}

fn as_rep() -> Vec<u8> {
    let ticket = sequence(&[
        field(0, &integer(&[5])),
        field(1, &text("EXAMPLE.COM")),
        field(2, &name(&["krbtgt", "EXAMPLE.COM"])),
        field(3, &sealed(18, 300)),
    ]);
    element(
        0x6b,
        &sequence(&[
            field(0, &integer(&[5])),
            field(1, &integer(&[11])),
            field(2, &sequence(&[padata(&[19], &sequence(&[sequence(&[field(0, &integer(&[23]))])]))])),
            field(3, &text("EXAMPLE.COM")),
            field(4, &name(&["ada"])),
            field(5, &element(0x61, &ticket)),
            field(6, &sealed(23, 100)),
        ]),
    )
}

fn refusal(data: &[u8]) -> Vec<u8> {
    element(
        0x7e,
        &sequence(&[
            field(0, &integer(&[5])),
            field(1, &integer(&[30])),
            field(6, &integer(&[25])),
            field(9, &text("EXAMPLE.COM")),
            field(10, &name(&["krbtgt", "EXAMPLE.COM"])),
            field(12, &element(4, data)),
        ]),
    )
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

fn told(messages: Vec<Message>) -> Vec<Kerberos> {
    messages
        .into_iter()
        .map(|m| match m {
            Message::Kerberos(told) => *told,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn read(bytes: &[u8]) -> Vec<Message> {
    feed::datagram(&mut Dissector::datagram(), Client, bytes)
}

#[test]
fn requests_tell_who_asks_what_and_with_which_proof() {
    let proof = [padata(&[2], &sealed(23, 52)), padata(&[0, 128], &[0x30, 5, 0xa0, 3, 1, 1, 0xff])];
    let request = Kerberos {
        kind: Kind::AsReq,
        realm: Some("EXAMPLE.COM".into()),
        client: Some("ada".into()),
        server: Some("krbtgt/EXAMPLE.COM".into()),
        offered: vec![18, 23, -135],
        preauth: vec![2, 128],
        etype: Some(23),
        ..Kerberos::default()
    };
    assert_eq!(told(read(&as_req(&proof))), [request]);
}

#[test]
fn replies_tell_what_was_encrypted_how() {
    let talk: feed::Talk<'_> = &[(Client, &framed(&as_req(&[]))), (Server, &framed(&as_rep()))];
    let told = told(feed::stream(&mut Dissector::stream(), talk, usize::MAX));
    let reply = Kerberos {
        kind: Kind::AsRep,
        realm: Some("EXAMPLE.COM".into()),
        client: Some("ada".into()),
        server: Some("krbtgt/EXAMPLE.COM".into()),
        preauth: vec![19],
        keys: vec![23],
        etype: Some(23),
        ticket_etype: Some(18),
        ..Kerberos::default()
    };
    assert_eq!(told[1..], [reply]);
}

#[test]
fn refusals_tell_the_error_and_the_keys_there_are() {
    let list = sequence(&[
        padata(
            &[19],
            &sequence(&[sequence(&[field(0, &integer(&[18]))]), sequence(&[field(0, &integer(&[23]))])]),
        ),
        padata(&[2], &[]),
    ]);
    for (data, preauth, keys) in [
        (&list[..], vec![19, 2], vec![18, 23]),
        (b"no list at all", vec![], vec![]),
        (&list[..list.len() - 4], vec![], vec![]),
    ] {
        let mut reader = Dissector::datagram();
        let told = told(feed::datagram(&mut reader, Server, &refusal(data)));
        assert_eq!((told[0].kind, told[0].error), (Kind::Error, Some(25)));
        assert_eq!((&told[0].preauth, &told[0].keys), (&preauth, &keys));
    }
}

#[test]
fn broken_messages_are_told() {
    let good = as_req(&[]);
    let set = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let five = good.windows(3).position(|w| w == [2, 1, 5]).unwrap() + 2;
    let ten = good.windows(3).position(|w| w == [2, 1, 10]).unwrap() + 2;
    let etypes = good.windows(2).position(|w| w[0] == 0xa8).unwrap();
    let trailing = [&good[..], &[0]].concat();
    for (bytes, what) in [
        (vec![], "tag"),
        (set(0, 0x30), "tag"),
        (good[..good.len() - 1].to_vec(), "encoding"),
        (set(1, 0x80), "encoding"),
        (set(1, 0x85), "encoding"),
        (set(five, 4), "version"),
        (set(ten, 12), "type"),
        (set(etypes, 0xa9), "missing"),
        (set(five - 3, 0xbf), "encoding"),
        (trailing, "trailing"),
    ] {
        assert_eq!(violations(&read(&bytes)), [what], "{:02x?}", &bytes[..bytes.len().min(12)]);
    }
    assert!(violations(&read(&good)).is_empty());
}

#[test]
fn a_length_that_cannot_be_ends_its_direction() {
    for prefix in [[0, 0, 0, 0], [0x80, 0, 0, 9]] {
        let bad = [&framed(&as_req(&[])), &prefix[..], &as_req(&[])].concat();
        let talk: feed::Talk<'_> =
            &[(Client, &bad), (Client, &framed(&as_req(&[]))), (Server, &framed(&as_rep()))];
        let all = feed::stream(&mut Dissector::stream(), talk, usize::MAX);
        assert_eq!(violations(&all), ["length"]);
        assert_eq!(all.len(), 3, "the request, the violation, and the reply");
    }
}

#[test]
fn a_message_too_long_is_told_by_its_kind_and_left_out() {
    let long = element(0x6c, &vec![0; MAX_MESSAGE]);
    let sent = [framed(&long), framed(&as_req(&[]))].concat();
    let told = told(feed::stream(&mut Dissector::stream(), &[(Client, &sent)], 100));
    assert_eq!(
        told.iter().map(|t| (t.kind, t.too_long)).collect::<Vec<_>>(),
        [(Kind::TgsReq, true), (Kind::AsReq, false)]
    );
}

#[test]
fn lists_and_names_are_bounded() {
    let many: Vec<Vec<u8>> = (0..100).map(|_| padata(&[2], &[])).collect();
    let list = sequence(&many);
    let told_error = told(read(&refusal(&list)));
    assert_eq!(told_error[0].preauth.len(), MAX_LIST);
    let long = "x".repeat(2000);
    let message = element(
        0x7e,
        &sequence(&[
            field(0, &integer(&[5])),
            field(1, &integer(&[30])),
            field(6, &integer(&[6])),
            field(9, &text(&long)),
            field(10, &name(&vec![long.as_str(); 30])),
        ]),
    );
    let told = told(read(&message[..]));
    assert_eq!(told[0].realm.as_ref().map(|r| r.len()), Some(MAX_NAME));
    assert!(told[0].server.as_ref().is_some_and(|s| s.len() <= MAX_NAME + MAX_LIST));
}

#[test]
fn after_a_gap_a_message_is_taken_and_no_rule_broken() {
    let midst: feed::Talk<'_> = &[(Server, b"\0\0\0\0in the midst of a ticket")];
    assert!(feed::stream(&mut Dissector::stream(), midst, usize::MAX).is_empty(), "a sensor that came late");
    let mut reader = Dissector::stream();
    let mut out = Vec::new();
    assert_eq!(reader.gap(Server, 30), Next::More);
    reader.data(Server, &framed(&as_rep()), &mut out);
    assert_eq!(told(out.clone()).len(), 1);
    reader.gap(Server, 30);
    assert_eq!(reader.data(Server, b"\0\0\x01\0in the midst of a ticket", &mut out).next, Next::Enough);
    assert_eq!(out.len(), 1);
}

#[test]
fn computers_and_kinds_of_encryption_are_told_apart() {
    for (name, computer) in [
        ("PC7$", true),
        ("johnson-pc$@EXAMPLE.COM", true),
        ("host/mus", true),
        ("ada", false),
        ("ada@x$", false),
    ] {
        assert_eq!(Kerberos::is_computer(name), computer, "{name}");
    }
    assert!(etype::is_aes(18) && !etype::is_aes(23) && etype::is_weak(-135) && !etype::is_weak(17));
}

proptest! {
    #[test]
    fn pieces_and_mutations_do_not_matter(
        change in prop::collection::vec((0usize..1500, any::<u8>()), 0..6),
        cut in 0usize..1500,
        piece in 1usize..200,
    ) {
        let mut sent = [framed(&as_req(&[padata(&[2], &sealed(23, 52))])), framed(&as_rep()), framed(&refusal(b"x"))].concat();
        for (at, byte) in change {
            let length = sent.len();
            sent[at % length] = byte;
        }
        sent.truncate(cut.max(1));
        let whole = feed::stream(&mut Dissector::stream(), &[(Client, &sent)], usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::stream(), &[(Client, &sent)], piece), whole);
        feed::bounded(&mut Dissector::datagram(), &sent);
    }
}
