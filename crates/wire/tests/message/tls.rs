//! TLS hellos and their fingerprints.

use crate::feed::{self, Talk, violations};
use Side::{Client, Server};
use proptest::prelude::*;
use wire::message::tls::{ClientHello, Dissector, MAX_HELLO, MAX_RECORD, ServerHello};
use wire::message::{Dissector as _, Message, Next, Side};

/// The messages of `talk`, which must be the same in one piece and byte by byte.
fn tell(talk: Talk<'_>) -> Vec<Message> {
    let whole = feed::stream(&mut Dissector::default(), talk, usize::MAX);
    assert_eq!(feed::stream(&mut Dissector::default(), talk, 1), whole);
    whole
}

/// `bytes` behind their length in `N` bytes.
fn prefixed<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[4 - N..], bytes].concat()
}

fn shorts(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), prefixed::<2>(value)].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], prefixed::<3>(body)].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [vec![22, 3, 1], prefixed::<2>(fragment)].concat()
}

fn client_body(ciphers: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &prefixed::<1>(&[9; 32])].concat();
    body.extend(prefixed::<2>(&shorts(ciphers)));
    body.extend([1, 0]);
    body.extend(prefixed::<2>(&extensions.concat()));
    body
}

/// What a browser of 2023 offers, GREASE and shuffled extensions included.
fn browser() -> Vec<u8> {
    let ciphers = [
        0x7a7a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
    let sni = prefixed::<2>(&[vec![0], prefixed::<2>(b"WWW.Example.com")].concat());
    let alpn = prefixed::<2>(&[prefixed::<1>(b"h2"), prefixed::<1>(b"http/1.1")].concat());
    let extensions = [
        extension(0x5a5a, &[]),
        extension(0x001b, &[2, 0, 2]),
        extension(0x0000, &sni),
        extension(0x0033, &[0, 0]),
        extension(0x0010, &alpn),
        extension(0x4469, &[]),
        extension(0x0017, &[]),
        extension(0x002d, &[1, 1]),
        extension(0x000d, &prefixed::<2>(&shorts(&signatures))),
        extension(0x0005, &[1, 0, 0, 0, 0]),
        extension(0x0023, &[]),
        extension(0x0012, &[]),
        extension(0x002b, &prefixed::<1>(&shorts(&[0x3a3a, 0x0304, 0x0303]))),
        extension(0xff01, &[0]),
        extension(0x000b, &prefixed::<1>(&[0])),
        extension(0x000a, &prefixed::<2>(&shorts(&[0x1a1a, 29, 23, 24]))),
        extension(0x0015, &[0; 64]),
        extension(0xcaca, &[0]),
    ];
    handshake(1, &client_body(&ciphers, &extensions))
}

fn browser_hello() -> Message {
    Message::TlsClientHello(ClientHello {
        version: 0x0304,
        sni: Some("www.example.com".into()),
        alpn: Some("h2".into()),
        ciphers: 15,
        extensions: 16,
        ja3: "c000e2caf3a25423f9de6c8a4b12a975".into(),
        // The example of the JA4 specification.
        ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1".into(),
    })
}

fn server_hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body =
        [&[3, 3][..], &[8; 32], &prefixed::<1>(&[]), &[0x13, 0x01, 0], &prefixed::<2>(&extensions.concat())];
    handshake(2, &body.concat())
}

fn one_client(message: &[u8]) -> ClientHello {
    match tell(&[(Client, &record(message))]).as_slice() {
        [Message::TlsClientHello(hello)] => hello.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_hellos_are_read_and_then_reading_ends() {
    let server = server_hello(&[extension(43, &[3, 4]), extension(51, &[0, 29, 0, 0])]);
    let more = [record(&server), vec![23, 3, 3, 0, 1, 0]].concat();
    let told = tell(&[(Client, &record(&browser())), (Server, &more), (Server, b"anything")]);
    let expected = Message::TlsServerHello(ServerHello {
        version: 0x0304,
        cipher: 0x1301,
        ja3s: "f4febc55ea12b31ae17cfb7e614afda8".into(),
    });
    assert_eq!(told, [browser_hello(), expected]);
    let mut dissector = Dissector::default();
    let progress = dissector.data(Server, &more, &mut Vec::new());
    assert_eq!((progress.consumed, progress.next), (more.len(), Next::Done));
}

#[test]
fn old_hellos_have_no_extensions() {
    let body = [&[3, 1][..], &[7; 32], &[0], &prefixed::<2>(&shorts(&[5, 10])), &[1, 0]].concat();
    let expected = ClientHello {
        version: 0x0301,
        ciphers: 2,
        ja3: "6f48c2cf5284d77ff4710643719f2eaf".into(),
        ja4: "t10i020000_ecbe99380d04_000000000000".into(),
        ..ClientHello::default()
    };
    assert_eq!(one_client(&handshake(1, &body)), expected);
}

#[test]
fn the_readable_part_of_ja4_follows_the_offer() {
    let check = |extensions: &[Vec<u8>], expected: &str| {
        let hello = one_client(&handshake(1, &client_body(&[0x1301], extensions)));
        assert_eq!(hello.ja4.split('_').next(), Some(expected));
    };
    let alpn = |name: &[u8]| vec![extension(16, &prefixed::<2>(&prefixed::<1>(name)))];
    check(&[], "t12i010000");
    check(&alpn(b"http/1.1"), "t12i0101h1");
    check(&alpn(b"x"), "t12i0101xx");
    check(&alpn(&[0xab, b'a', 0xcd]), "t12i0101ad");
    check(&alpn(b"h2\x30\xaf"), "t12i01016f");
    check(&[extension(43, &prefixed::<1>(&shorts(&[0x0302, 0x0301])))], "t11i010100");
    check(&[extension(43, &prefixed::<1>(&shorts(&[0x7f1c])))], "t00i010100");
    check(&(0..120).map(|kind| extension(kind + 100, &[])).collect::<Vec<_>>(), "t12i019900");
}

#[test]
fn hellos_are_put_together() {
    let message = browser();
    for cut in [1, 3, 4, 5, 100, message.len() - 1] {
        let (a, b) = message.split_at(cut);
        let bytes = [record(a), record(b)].concat();
        assert_eq!(tell(&[(Client, &bytes)]), [browser_hello()], "split at {cut}");
    }
    let singles: Vec<u8> = message.iter().flat_map(|b| record(&[*b])).collect();
    assert_eq!(tell(&[(Client, &singles)]), [browser_hello()]);
    // Another handshake message in the same record.
    let bytes = record(&[message, handshake(4, b"ticket")].concat());
    assert_eq!(tell(&[(Client, &bytes)]), [browser_hello()]);
}

#[test]
fn a_hello_with_a_gap_is_not_told() {
    let mut dissector = Dissector::default();
    let mut out = Vec::new();
    let bytes = record(&browser());
    dissector.data(Client, &bytes[..200], &mut out);
    assert_eq!(dissector.gap(Client, 10), Next::Enough);
    dissector.data(Client, &bytes[210..], &mut out);
    assert_eq!(out, []);
    dissector.data(Server, &record(&server_hello(&[])), &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn an_alert_in_place_of_a_hello_ends_reading() {
    let told = tell(&[(Client, &record(&browser())), (Server, &[21, 3, 3, 0, 2, 2, 40])]);
    assert_eq!(told, [browser_hello()]);
}

#[test]
fn violations_are_told() {
    let check = |side, bytes: &[u8], expected: &str| {
        assert_eq!(violations(&tell(&[(side, bytes)])), [expected], "{bytes:02x?}");
    };
    let hello = |body: &[u8], expected| check(Client, &record(&handshake(1, body)), expected);
    check(Client, &[22, 2, 0, 0, 9], "bad_record_version");
    check(
        Client,
        &[[22, 3, 1].as_slice(), &(MAX_RECORD as u16 + 1).to_be_bytes()].concat(),
        "record_too_long",
    );
    check(Client, &[22, 3, 1, 0, 0], "empty_record");
    check(Client, &[23, 3, 3, 0, 9], "unexpected_record");
    check(Server, &[20, 3, 3, 0, 1], "unexpected_record");
    check(Client, &record(&server_hello(&[])), "unexpected_handshake");
    check(Server, &record(&browser()), "unexpected_handshake");
    let long = [vec![1], (MAX_HELLO as u32 + 1).to_be_bytes()[1..].to_vec()].concat();
    check(Client, &record(&long), "hello_too_long");
    let good = client_body(&[0x1301], &[]);
    hello(&good[..33], "hello_cut_short");
    hello(&good[..40], "hello_cut_short");
    hello(&[&good[..34], &prefixed::<1>(&[0; 33]), &good[67..]].concat(), "session_id_length");
    hello(&[&good[..67], &[0, 3, 1, 2, 3, 1, 0]].concat(), "cipher_list_length");
    hello(&[&good[..67], &[0, 0, 1, 0]].concat(), "cipher_list_length");
    hello(&[&good[..67], &[0, 9, 1, 2]].concat(), "cipher_list_length");
    hello(&good[..71], "hello_cut_short");
    hello(&[&good[..73], &[0, 9, 1]].concat(), "extension_list_length");
    hello(&[&good[..73], &[0, 5, 0, 0, 0, 2, 1]].concat(), "extension_length");
    hello(&[&good[..73], &[0, 1, 0]].concat(), "extension_length");
    hello(&[&good[..], &[0]].concat(), "trailing_bytes");
    check(Server, &record(&handshake(2, &server_hello(&[])[4..41])), "hello_cut_short");
}

proptest! {
    #[test]
    fn pieces_tell_what_the_whole_tells(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), piece in 1_usize..60,
        cut in 1_usize..400,
    ) {
        let message = browser();
        let (a, b) = message.split_at(cut.min(message.len() - 1));
        let mut bytes = [record(a), record(b)].concat();
        for (at, value) in changes {
            *at.get_mut(&mut bytes) = value;
        }
        let talk: Talk<'_> = &[(Client, &bytes), (Server, &record(&server_hello(&[])))];
        let whole = feed::stream(&mut Dissector::default(), talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), talk, piece), whole);
    }

    #[test]
    fn any_body_is_dealt_with(body in prop::collection::vec(any::<u8>(), 0..400), client in any::<bool>()) {
        let (side, kind) = if client { (Client, 1) } else { (Server, 2) };
        prop_assert!(tell(&[(side, &record(&handshake(kind, &body)))]).len() == 1);
        tell(&[(side, &body)]);
    }
}
