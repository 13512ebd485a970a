//! FTP control connections.

use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Message;
use wire::message::Side::{self, Client, Server};
use wire::message::ftp::{Dissector, Ftp, MAX_LINE};

fn read(talk: feed::Talk<'_>) -> Vec<Message> {
    feed::stream(&mut Dissector::default(), talk, usize::MAX)
}

fn command(verb: &str, user: Option<&str>) -> Message {
    Message::Ftp(Ftp::Command { verb: verb.into(), user: user.map(Into::into) })
}

fn reply(code: u16) -> Message {
    Message::Ftp(Ftp::Reply { code })
}

#[test]
fn a_login_is_read() {
    let talk: feed::Talk<'_> = &[
        (Server, b"220-Welcome\r\n to 220 hosts\r\n220-still\r\n220 ready\r\n"),
        (Client, b"user joe\r\n"),
        (Server, b"331 password?\n"),
        (Client, b"PASS secret\r\n"),
        (Server, b"530\r\n"),
        (Client, b"\xff\xf4\xff\xf2ABOR\r\n\xff\xfd\x18QUIT\r\n"),
    ];
    let expected = [
        reply(220),
        command("USER", Some("joe")),
        reply(331),
        command("PASS", None),
        reply(530),
        command("ABOR", None),
        command("QUIT", None),
    ];
    assert_eq!(read(talk), expected);
}

#[test]
fn nothing_is_read_once_tls_was_agreed() {
    let talk: feed::Talk<'_> =
        &[(Client, b"AUTH TLS\r\n"), (Server, b"234 go\r\n"), (Client, b"\x16\x03\x01\n\x16\x03\n")];
    assert_eq!(read(talk), [command("AUTH", None), reply(234)]);
}

#[test]
fn a_refused_auth_goes_on() {
    let talk: feed::Talk<'_> = &[(Client, b"AUTH TLS\r\n"), (Server, b"502 no\r\n"), (Client, b"USER a\r\n")];
    assert_eq!(read(talk).last(), Some(&command("USER", Some("a"))));
}

#[test]
fn broken_lines_are_told() {
    let long = [&vec![b'a'; MAX_LINE + 1][..], b"\r\nNOOP\r\n"].concat();
    let check = |side, bytes: &[u8], what: &[&str]| {
        assert_eq!(violations(&read(&[(side, bytes)])), what, "{bytes:?}");
    };
    check(Client, &long, &["line_too_long"]);
    check(Client, b"!!! x\r\n", &["command"]);
    check(Client, b"VERYLONGVERBINDEED\r\n", &["command"]);
    check(Client, b"\r\nNOOP\r\n", &[]);
    check(Server, b"hello\r\n", &["reply_code"]);
    check(Server, b"999 hello\r\n", &["reply_code"]);
    check(Server, b"220x\r\n", &["reply_code"]);
    assert_eq!(read(&[(Client, &long)]).last(), Some(&command("NOOP", None)));
}

#[test]
fn user_names_are_cut() {
    let told = read(&[(Client, &[b"USER ", &[b'u'; 1000][..], b"\r\n"].concat())]);
    assert_eq!(told, [command("USER", Some(&"u".repeat(64)))]);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        turns in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
            &b"USER joe\r\n"[..], b"220 x\r\n", b"220-x\r\n", b"AUTH TLS\r\n", b"234 x\r\n", b"\xff\xfdx\r\n", b"\r\n", b"x",
            b"\n", &[b'y'; MAX_LINE], b"331 ",
        ])), 0..20),
        piece in 1usize..40,
    ) {
        let talk: Vec<(Side, &[u8])> =
            turns.into_iter().map(|(client, bytes)| (if client { Client } else { Server }, bytes)).collect();
        let whole = feed::stream(&mut Dissector::default(), &talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), &talk, piece), whole);
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&[(Client, &bytes), (Server, &bytes)]);
    }
}
