//! Nanoseconds per message of the dissectors, over made exchanges.
//!
//! `cargo run --release -p wire --example message_rate`

#![expect(
    clippy::disallowed_methods,
    reason = "a program that measures; the crate's rules are for its library"
)]

use std::hint::black_box;
use std::time::Instant;
use wire::message::app::{datagram, stream};
use wire::message::{App, Dissector, Side, dissector};
use wire::packet::protocol::{TCP, UDP};

const ROUNDS: u32 = 2_000_000;

fn dns(answers: &[&[u8]]) -> Vec<u8> {
    let flags: u16 = if answers.is_empty() { 0x0100 } else { 0x8180 };
    let counts = [7, flags, 1, answers.len() as u16, 0, 0];
    let mut bytes: Vec<u8> = counts.iter().flat_map(|c: &u16| c.to_be_bytes()).collect();
    bytes.extend(b"\x03www\x07example\x03com\0\0\x01\0\x01");
    bytes.extend(answers.concat());
    bytes
}

fn prefixed<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[4 - N..], bytes].concat()
}

fn client_hello() -> Vec<u8> {
    let extension = |kind: u16, value: &[u8]| [kind.to_be_bytes().to_vec(), prefixed::<2>(value)].concat();
    let ciphers: Vec<u8> = (0..16_u16).flat_map(|c| (0xc02b + c).to_be_bytes()).collect();
    let name = prefixed::<2>(&[vec![0], prefixed::<2>(b"www.example.com")].concat());
    let mut extensions = extension(0, &name);
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    extensions
        .extend(extension(16, &prefixed::<2>(&[prefixed::<1>(b"h2"), prefixed::<1>(b"http/1.1")].concat())));
    extensions.extend(extension(13, &prefixed::<2>(&[4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])));
    extensions.extend(extension(10, &prefixed::<2>(&[0, 29, 0, 23, 0, 24])));
    extensions.extend(extension(11, &[1, 0]));
    for kind in [5, 18, 21, 23, 27, 35, 45, 51, 17513, 65281] {
        extensions.extend(extension(kind, &[0; 12]));
    }
    let body = [&[3, 3][..], &[7; 32], &prefixed::<1>(&[9; 32]), &prefixed::<2>(&ciphers), &[1, 0]].concat();
    let body = [body, prefixed::<2>(&extensions)].concat();
    let message = [vec![1], prefixed::<3>(&body)].concat();
    [vec![22, 3, 1], prefixed::<2>(&message)].concat()
}

fn dhcp() -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes.extend(
        b"\x63\x82\x53\x63\x35\x01\x03\x32\x04\xc0\x00\x02\x4d\x36\x04\xc0\x00\x02\x01\x0c\x04host\xff",
    );
    bytes
}

/// Feeds `bytes` over and over, to one dissector or to a new one each time.
fn measure(name: &str, app: App, protocol: u8, side: Side, bytes: &[u8], fresh: bool) {
    let Some(mut reader) = dissector(app, protocol) else { return };
    let mut out = Vec::with_capacity(8);
    let mut messages = 0_u64;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        if fresh && let Some(new) = dissector(app, protocol) {
            reader = new;
        }
        one(&mut *reader, side, black_box(bytes), &mut out);
        messages += out.len() as u64;
        out.clear();
    }
    let ns = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS);
    println!("{name:<24} {ns:>7.0} ns  ({} bytes, {messages} messages)", bytes.len());
}

/// Recognises a flow over and over from what its sides said first.
fn recognise(name: &str, client: &[u8], server: &[u8]) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(stream(black_box(client), black_box(server)));
    }
    let ns = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS);
    println!("{name:<24} {ns:>7.0} ns");
}

fn one(reader: &mut dyn Dissector, side: Side, bytes: &[u8], out: &mut Vec<wire::message::Message>) {
    black_box(reader.data(side, bytes, out));
}

fn main() {
    let alias: &[u8] = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x06\x03cdn\xc0\x10";
    let address: &[u8] = b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";
    let request = "GET /assets/app.js?v=31 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: http://www.example.com/\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nDate: Mon, 05 Jan 2026 10:00:00 GMT\r\nServer: nginx\r\nContent-Type: text/javascript; charset=utf-8\r\nContent-Length: 0\r\nCache-Control: max-age=3600\r\nETag: \"6789abcd-1234\"\r\nConnection: keep-alive\r\n\r\n";
    measure("DNS query", App::Dns, UDP, Side::Client, &dns(&[]), false);
    measure("DNS answer, 3 records", App::Dns, UDP, Side::Server, &dns(&[alias, address, address]), false);
    measure("HTTP request head", App::Http, TCP, Side::Client, request.as_bytes(), false);
    measure("HTTP response head", App::Http, TCP, Side::Server, response.as_bytes(), false);
    measure("TLS ClientHello", App::Tls, TCP, Side::Client, &client_hello(), true);
    measure("DHCP request", App::Dhcp, UDP, Side::Client, &dhcp(), false);
    let read: &[u8] = b"\0\x07\0\0\0\x06\x01\x03\0\x10\0\x02";
    let values: &[u8] = b"\0\x07\0\0\0\x07\x01\x03\x04\0\0\0\0";
    measure("Modbus request", App::Modbus, TCP, Side::Client, read, false);
    measure("FTP command", App::Ftp, TCP, Side::Client, b"USER anonymous\r\n", false);
    measure("FTP reply", App::Ftp, TCP, Side::Server, b"331 Please specify the password.\r\n", false);
    let call = b"\x05\0\0\x03\x10\0\0\0\x1c\0\0\0\x01\0\0\0\x04\0\0\0\0\0\x0c\0DATA";
    measure("DCE/RPC request", App::DceRpc, TCP, Side::Client, call, false);
    let mut write = [0; 120];
    write[..8].copy_from_slice(b"\0\0\0\x74\xfeSMB");
    (write[8], write[16], write[68], write[70], write[72]) = (64, 9, 49, 112, 4);
    measure("SMB 2 write", App::Smb, TCP, Side::Client, &write, false);
    measure("SSH banner", App::Ssh, TCP, Side::Client, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true);
    recognise("recognise HTTP", request.as_bytes(), b"");
    recognise("recognise TLS", &client_hello(), b"");
    recognise("recognise SSH", b"", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    recognise("recognise SMB", &write, b"");
    recognise("recognise Modbus", read, values);
    recognise("recognise nothing", &[0x99; 300], &[0x77; 300]);
    let query = dns(&[]);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(datagram(black_box(&query), b"", (50_000, 53)));
    }
    println!("{:<24} {:>7.0} ns", "recognise DNS", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}
