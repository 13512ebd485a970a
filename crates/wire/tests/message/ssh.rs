//! SSH: banners, key exchange, and outcomes by sizes.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Side::{self, Client, Server};
use wire::message::ssh::{Auth, Banner, Dissector};
use wire::message::{Dissector as _, Message};

/// A packet of the key exchange.
fn packet(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = ((content.len() + 6) as u32).to_be_bytes().to_vec();
    packet.extend([4, kind]);
    packet.extend(content);
    packet.extend([0; 4]);
    packet
}

/// A key exchange offer of one cipher and code.
fn offer(cipher: &str, code: &str, compression: &str) -> Vec<u8> {
    let mut content = vec![7; 16];
    for list in ["kex", "key", cipher, cipher, code, code, compression, compression, "", ""] {
        content.extend((list.len() as u32).to_be_bytes());
        content.extend(list.as_bytes());
    }
    content.extend([0; 5]);
    packet(20, &content)
}

/// A connection up to its encryption, then payloads of these sizes, each of the other side, the client's first.
fn outcome(cipher: &str, code: &str, compression: &str, sizes: &[u32]) -> Vec<Auth> {
    let mut reader = Dissector::default();
    let hello = [&b"SSH-2.0-x\r\n"[..], &offer(cipher, code, compression)].concat();
    let keys = packet(21, b"");
    let told = feed::stream(
        &mut reader,
        &[(Client, &hello), (Server, &hello), (Server, &keys), (Client, &keys)],
        usize::MAX,
    );
    assert_eq!(told.len(), 2, "two banners: {told:?}");
    let mut out = Vec::new();
    for (i, size) in sizes.iter().enumerate() {
        reader.size(if i % 2 == 0 { Client } else { Server }, *size, &mut out);
    }
    out.into_iter().map(|m| if let Message::SshAuth(auth) = m { auth } else { panic!("{m:?}") }).collect()
}

const FAILED: fn(u16) -> Auth = |failures| Auth { success: false, failures };

#[test]
fn banners_are_told() {
    let talk: feed::Talk<'_> = &[
        (Server, b"Hello\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        (Client, b"SSH-1.99-a-b\n"),
        (Client, b"\0\0"),
    ];
    let banner = |from, protocol: &str, software: &str| {
        Message::SshBanner(Banner { from, protocol: protocol.into(), software: software.into() })
    };
    let expected = [banner(Server, "2.0", "OpenSSH_9.2p1 Debian-2"), banner(Client, "1.99", "a-b")];
    assert_eq!(feed::stream(&mut Dissector::default(), talk, usize::MAX), expected);
}

#[test]
fn a_login_with_a_key_succeeds() {
    let told = outcome(
        "chacha20-poly1305@openssh.com",
        "hmac-sha2-256",
        "none",
        &[44, 44, 68, 52, 140, 100, 308, 28, 112, 248, 52, 176],
    );
    assert_eq!(told, [FAILED(1), Auth { success: true, failures: 1 }]);
}

#[test]
fn wrong_passwords_are_refused() {
    let told = outcome("aes256-gcm@openssh.com", "x", "none", &[52, 52, 84, 52, 84, 52, 84, 52]);
    assert_eq!(told, [FAILED(1), FAILED(2), FAILED(3)]);
}

#[test]
fn sizes_follow_the_cipher() {
    let success = |cipher, code, accept, size| {
        let told = outcome(cipher, code, "zlib@openssh.com", &[60, accept, 100, size]);
        assert_eq!(told, [Auth { success: true, failures: 0 }], "{cipher} {code}");
    };
    success("aes128-ctr", "hmac-sha2-256", 64, 48);
    success("aes128-ctr", "hmac-sha2-256-etm@openssh.com", 68, 52);
    success("aes128-ctr", "umac-64-etm@openssh.com", 44, 28);
    success("aes256-ctr", "hmac-sha2-512", 96, 80);
    success("3des-cbc", "hmac-sha1", 52, 36);
    success("aes256-gcm@openssh.com", "", 52, 36);
}

#[test]
fn unknown_sizes_tell_nothing() {
    for (cipher, code, compression) in [
        ("rot13", "hmac-sha1", "none"),
        ("aes128-ctr", "crc", "none"),
        ("aes256-gcm@openssh.com", "x", "zlib"),
    ] {
        assert_eq!(outcome(cipher, code, compression, &[52, 52, 84, 36]), []);
    }
}

#[test]
fn what_nobody_asked_for_is_no_answer() {
    let mut reader = Dissector::default();
    let mut out = Vec::new();
    reader.size(Server, 28, &mut out);
    assert_eq!(out, []);
}

#[test]
fn broken_openings_are_told() {
    let check = |side: Side, bytes: &[u8], what| {
        assert_eq!(
            violations(&feed::stream(&mut Dissector::default(), &[(side, bytes)], usize::MAX)),
            [what]
        );
    };
    check(Client, b"hello\r\n", "no_banner");
    check(Server, &b"hello\r\n".repeat(40), "no_banner");
    check(Client, &[b'S'; 300], "banner_too_long");
    check(Client, b"SSH-2.0-x\r\n\0\0\0\x01\0", "packet_length");
    check(Client, b"SSH-2.0-x\r\n\xff\0\0\x01\0", "packet_length");
    check(Client, b"SSH-2.0-x\r\n\0\0\0\x04\x09\x14\0\0", "padding_length");
}

#[test]
fn version_1_ends_after_its_banner() {
    let told = feed::stream(&mut Dissector::default(), &[(Client, b"SSH-1.5-x\r\n\0\0\0\x01\0")], usize::MAX);
    assert_eq!(told.len(), 1);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        piece in 1usize..60,
    ) {
        let mut bytes = [&b"SSH-2.0-x\r\n"[..], &offer("aes128-ctr", "hmac-sha1", "none"), &packet(30, b"abc")].concat();
        for (at, byte) in changed {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let talk: feed::Talk<'_> = &[(Server, &bytes), (Client, &bytes)];
        let whole = feed::stream(&mut Dissector::default(), talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), talk, piece), whole);
    }
}
