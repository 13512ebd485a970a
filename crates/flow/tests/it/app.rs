//! Applications by their first bytes.

use crate::common::{CLIENT, SERVER, T0, packet};
use flow::{App, FlowKey, FlowStats};
use wire::Packet;
use wire::packet::protocol;

fn check(proto: u8, port: u16, client: &'static [u8], server: &'static [u8], app: App) {
    let say = |payload: &'static [u8], p: Packet<'static>| Packet {
        payload,
        payload_len: payload.len() as u32,
        ..p
    };
    let ask = say(client, packet(proto, (CLIENT, 40_000), (SERVER, port), 0));
    let answer = say(server, packet(proto, (SERVER, port), (CLIENT, 40_000), 0));
    let (key, d) = FlowKey::of(&ask);
    let mut stats = FlowStats::begin(&ask, d);
    stats.account(T0, &ask, d);
    stats.account(T0, &answer, d.reverse());
    assert_eq!(flow::app::of_head(&stats, &key), app, "port {port}: {client:?} {server:?}");
}

#[test]
fn content_decides_whatever_the_port() {
    let tcp = |client, server, app| check(protocol::TCP, 4711, client, server, app);
    tcp(b"SSH-2.0-OpenSSH_9.2\r\n", b"", App::Ssh);
    tcp(b"", b"SSH-2.0-dropbear\r\n", App::Ssh);
    tcp(b"GET / HTTP/1.1\r\n", b"", App::Http);
    tcp(b"", b"HTTP/1.0 400 Bad Request", App::Http);
    tcp(b"\x16\x03\x01\x02\x00\x01\x00\x01", b"", App::Tls);
    tcp(b"\x16\x03\x09\x02\x00\x01\x00\x01", b"", App::Unknown);
    tcp(b"\x03\x00\x00\x13\x0e\xe0\x00\x00", b"", App::Rdp);
    tcp(b"\x03\x00\x00\x13\x0e\xd0\x00\x00", b"", App::Unknown);
    tcp(b"", b"\xff\xfd\x18\xff\xfd\x20", App::Telnet);
    tcp(b"EHLO mail.example\r\n", b"220 mail.example ESMTP", App::Smtp);
    tcp(b"ehlo mail.example\r\n", b"220 mail.example ESMTP", App::Smtp);
    tcp(b"USER anonymous\r\n", b"220 Welcome", App::Ftp);
    tcp(b"AUTH TLS\r\n", b"220-Hello", App::Ftp);
    tcp(b"", b"220 (vsFTPd 3.0.3)\r\n", App::Ftp);
    tcp(b"USER joe\r\n", b"+OK POP3", App::Pop3);
    tcp(b"", b"220 something", App::Unknown);
    tcp(b"\x00\x01\x02", b"", App::Unknown);
    tcp(b"", b"", App::Unknown);
}

#[test]
fn the_port_decides_only_for_dns() {
    check(protocol::UDP, 53, b"\x12\x34\x01\x00\x00\x01", b"", App::Dns);
    check(protocol::TCP, 53, b"\x00\x1d\x12\x34\x01\x00", b"", App::Dns);
    check(protocol::TCP, 53, b"SSH-2.0-x", b"", App::Ssh);
    check(protocol::TCP, 22, b"\x01\x02", b"", App::Unknown);
    check(protocol::UDP, 443, b"GET / HT", b"", App::Unknown);
}
