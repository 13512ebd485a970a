//! Recognition of applications by content.

use proptest::prelude::*;
use wire::message::App;
use wire::message::app::{LOOK, Recognition, Recognition::*, datagram, stream};

fn tcp(client: &[u8], server: &[u8], expected: Recognition) {
    assert_eq!(
        stream(client, server),
        expected,
        "{:?} answered by {:?}",
        String::from_utf8_lossy(client),
        String::from_utf8_lossy(server)
    );
}

fn udp(client: &[u8], server: &[u8], port: u16, expected: Recognition) {
    assert_eq!(datagram(client, server, (50_000, port)), expected, "{client:?} answered by {server:?}");
}

const DNS_QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
const MODBUS_READ: &[u8] = b"\0\x07\0\0\0\x06\x01\x03\0\x10\0\x02";
const MODBUS_ANSWER: &[u8] = b"\0\x07\0\0\0\x07\x01\x03\x04\0\0\0\0";

#[test]
fn one_side_in_words_is_enough() {
    tcp(b"SSH-2.0-OpenSSH_9.2\r\n", b"", Is(App::Ssh));
    tcp(b"", b"SSH-1.99-x", Is(App::Ssh));
    tcp(b"GET / HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"PROPFIND /dav/ HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"VERSION-CONTROL /x HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"BREW /pot HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"CONNECT example.com:443 HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"GET http://example.com/ HTTP/1.1\r\n", b"", Is(App::Http));
    tcp(b"PRI * HTTP/2.0\r\n", b"", Is(App::Http));
    tcp(b"", b"HTTP/1.0 400 Bad Request", Is(App::Http));
    tcp(b"OPTIONS sip:a@example.com SIP/2.0\r\n", b"", Is(App::Sip));
    tcp(b"DESCRIBE rtsp://example.com/1 RTSP/1.0\r\n", b"", Is(App::Rtsp));
    tcp(b"ehlo mail.example\r\n", b"", Is(App::Smtp));
    tcp(b"", b"220 mail.example ESMTP\r\n", Is(App::Smtp));
    tcp(b"", b"220 (vsFTPd 3.0.3)\r\n", Is(App::Ftp));
    tcp(b"NICK joe\r\n", b"", Is(App::Irc));
    tcp(b"", b":irc.example NOTICE * :hello\r\n", Is(App::Irc));
    tcp(b"", b"+OK ready\r\n", Is(App::Pop3));
    tcp(b"", b"* OK IMAP4rev1\r\n", Is(App::Imap));
}

#[test]
fn a_weak_side_needs_the_other() {
    tcp(b"USER joe\r\n", b"", Undecided);
    tcp(b"USER joe\r\n", b"220 hello\r\n", Is(App::Ftp));
    tcp(b"USER joe\r\n", b"+OK hello\r\n", Is(App::Pop3));
    tcp(b"AUTH TLS\r\n", b"220-Hello", Is(App::Ftp));
    tcp(b"", b"220 hello\r\n", Undecided);
    tcp(b"*1\r\n$4\r\nPING\r\n", b"+OK\r\n", No);
    tcp(b"hello\r\n", b"there\r\n", No);
    tcp(MODBUS_READ, b"", Undecided);
    tcp(MODBUS_READ, MODBUS_ANSWER, Is(App::Modbus));
    tcp(MODBUS_READ, b"\0\x08\0\0\0\x07\x01\x03\x04\0\0\0\0", No);
    tcp(MODBUS_READ, b"\0\x07\0\0\0\x03\x01\x83\x02", Is(App::Modbus));
    tcp(b"\0\x07\0\0\0\x06\x01\x5a\0\x10\0\x02", b"\0\x07\0\0\0\x03\x01\xda\x01", Is(App::Modbus));
    tcp(b"\0\x07\0\0\0\x06\x01\x5a\0\x10\0\x02", MODBUS_ANSWER, No);
    tcp(b"\0\x07\0\0\0\x07\x01\x03\0\x10\0\x02\0", MODBUS_ANSWER, No);
    tcp(b"\0\x07\0\0\0\x06\x01\x83\0\x10\0\x02", MODBUS_ANSWER, No);
}

#[test]
fn binary_protocols_have_a_shape() {
    tcp(b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"", Is(App::Tls));
    tcp(b"\x16\x03\x09\x02\0\x01\0\x01\xfc", b"goodbye", No);
    tcp(b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0", b"", Is(App::Rdp));
    tcp(b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0", b"", Is(App::Rdp));
    // S7 over ISO transport, RFC 1006.
    tcp(b"\x03\0\0\x16\x11\xe0\0\0\0\x01\0\xc0\x01\x0a", b"goodbye", No);
    tcp(b"\xff\xfd\x18\xff\xfd\x20", b"", Is(App::Telnet));
    tcp(b"\0\0\0\x54\xfeSMB\x40\0", b"", Is(App::Smb));
    tcp(b"\0\0\0\x54\xffSMB\x72\0", b"", Is(App::Smb));
    tcp(b"\0\0\0\x54\xffSM", b"", Undecided);
    tcp(b"\x05\0\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0", b"", Is(App::DceRpc));
    tcp(b"\x05\0\x0b\x03\x10\0\0\0\x08\0\0\0\x01\0\0\0", b"goodbye", No);
    tcp(b"\x13BitTorrent protocol", b"", Is(App::BitTorrent));
    tcp(b"\x10\x13\0\x04MQTT\x04\x02", b"", Is(App::Mqtt));
    tcp(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", b"", Is(App::Ldap));
    tcp(b"\0\0\0\x10\x6a\x0e\x30\x0c\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\0\0", b"", Is(App::Kerberos));
    let mut dns = vec![0, DNS_QUERY.len() as u8];
    dns.extend_from_slice(DNS_QUERY);
    tcp(&dns, b"", Is(App::Dns));
    dns[4] |= 0x38;
    tcp(&dns, b"goodbye", No);
}

#[test]
fn smb_is_seen_behind_a_netbios_session_request() {
    let mut request = b"\x81\0\0\x44\x20".to_vec();
    request.extend([b'C'; 32]);
    request.extend(b"\0\x20");
    request.extend([b'A'; 32]);
    request.push(0);
    tcp(&request, b"", Undecided);
    request.extend(b"\0\0\0\x54\xffSMB\x72");
    tcp(&request, b"\x82\0\0\0", Is(App::Smb));
}

#[test]
fn nothing_said_is_undecided() {
    tcp(b"", b"", Undecided);
    udp(b"", b"", 53, Undecided);
    tcp(&[b'A'; LOOK], &[b'a'; LOOK], No);
}

#[test]
fn datagrams_are_told_by_shape() {
    udp(DNS_QUERY, b"", 9999, Is(App::Dns));
    udp(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07exam", b"", 9999, Undecided);
    udp(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07exam", b"", 53, Is(App::Dns));
    udp(b"M-SEARCH * HTTP/1.1\r\n", b"", 1900, Is(App::Ssdp));
    udp(b"<34>1 2003-10-11T22:14:15Z host", b"", 514, Is(App::Syslog));
    udp(b"<999>x", b"y", 514, No);
    udp(b"REGISTER sip:example.com SIP/2.0\r\n", b"", 5060, Is(App::Sip));
    udp(b"\0\x01\0\0\0\x01\0\0stats\r\n", b"", 11211, Is(App::Memcached));
    udp(b"\0\x01\0\0\x21\x12\xa4\x42aaaaaaaaaaaa", b"", 3478, Is(App::Stun));
    udp(b"\xc3\0\0\0\x01\x08aaaaaaaa\0\0", b"", 443, Is(App::Quic));
    udp(b"\xc3\x12\0\0\x01\x08aaaaaaaa\0\0", b"x", 443, No);
    udp(b"\x30\x0c\x02\x01\x01\x63\x07aaaaaaa", b"", 389, Is(App::Cldap));
    udp(b"\x30\x10\x02\x01\x01\x04\x06public\xa0\x03\x02\x01\0", b"", 161, Is(App::Snmp));
    udp(b"\x01\x01\0\x17aaaaaaaaaaaaaaaa\x01\x03a", b"", 1812, Is(App::Radius));
    udp(b"\x01\x01\0\x17aaaaaaaaaaaaaaaa\x01\x04a", b"x", 1812, No);
    let mut dhcp = vec![1, 1, 6, 0];
    dhcp.resize(236, 0);
    dhcp.extend(b"\x63\x82\x53\x63\x35\x01\x01\xff");
    udp(&dhcp, b"", 67, Is(App::Dhcp));
    let mut name = b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\x20".to_vec();
    name.extend([b'A'; 32]);
    name.extend(b"\0\0\x20\0\x01");
    udp(&name, b"", 137, Is(App::Nbns));
}

#[test]
fn ntp_needs_its_port_or_an_answer_that_agrees() {
    let mut ask = [0u8; 48];
    ask[0] = 0x23;
    ask[40..].copy_from_slice(b"\xe0abcdefg");
    let mut answer = [0u8; 48];
    answer[0] = 0x24;
    answer[24..32].copy_from_slice(b"\xe0abcdefg");
    udp(&ask, b"", 123, Is(App::Ntp));
    udp(&ask, b"", 4000, Undecided);
    udp(&ask, &answer, 4000, Is(App::Ntp));
    answer[24] = 0;
    udp(&ask, &answer, 4000, No);
}

#[test]
fn names_are_those_that_are_serialised() {
    for app in App::ALL {
        assert!(app.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{app:?}");
    }
    assert_eq!(App::Tls.usual_ports(), &[] as &[u16]);
    assert!(App::Http.usual_ports().contains(&8080));
}

proptest! {
    #[test]
    fn more_bytes_never_change_an_answer(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec![
            &b"GET /index"[..], b"\0\0\0\x54\xfeSMB", b"\x05\0\x0b\x03\x10\0\0\0\x48\0\0\0", b"220 x\r\n", b"\x16\x03\x01",
            b"\x81\0\0\x44\x20", b"USER ", MODBUS_READ, MODBUS_ANSWER, b"\x30\x0c\x02\x01\x01\x60\x07", b"",
        ]),
    ) {
        let whole = [start, &bytes].concat();
        for (client, server) in [(&whole[..], &b""[..]), (b"", &whole)] {
            let mut before = Undecided;
            for end in 0..=whole.len() {
                let now = stream(&client[..end.min(client.len())], &server[..end.min(server.len())]);
                if before != Undecided {
                    prop_assert_eq!(now, before, "at {}", end);
                }
                before = now;
            }
        }
    }

    #[test]
    fn any_bytes_are_taken(client in prop::collection::vec(any::<u8>(), 0..300), server in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (stream(&client, &server), datagram(&client, &server, (53, 123)));
    }
}
