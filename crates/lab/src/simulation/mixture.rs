//! A mixed load to measure with: pages, sessions with TLS hellos, name lookups, bulk transfers over TCP and UDP, and a scan,
//! whole frames with whole payloads, deterministic by seed.

use super::EPOCH_NS;
use super::stage::{CLIENT as ASKS, SERVER as ANSWERS, Stage, knock, refusal};
use crate::traffic::dns;
use std::net::Ipv4Addr;
use wire::{Addr, craft};

/// Length of a slice: the mixture is made slice by slice, so that only one is in memory, ns.
const SLICE_NS: u64 = 250_000_000;
/// Clients and servers, consecutive addresses.
const CLIENTS: u64 = 400;
const SERVERS: u64 = 60;
/// In a slice.
const PAGES: u64 = 120;
const HELLOS: u64 = 100;
const LOOKUPS: u64 = 500;
const TRANSFERS: u64 = 3;
const STREAMS: u64 = 3;
const PROBES: u64 = 400;
/// Datagrams of a bulk stream in a slice, and their payload bytes.
const DATAGRAMS: u64 = 1200;
const DATAGRAM_BYTES: usize = 1200;

fn address(base: [u8; 2], n: u64) -> Addr {
    let [.., high, low] = n.to_be_bytes();
    Addr::v4([base[0], base[1], high, low])
}

fn client(stage: &mut Stage) -> (Addr, u16) {
    (address([10, 20], 1 + stage.pick(0..CLIENTS)), stage.port())
}

fn server(stage: &mut Stage, port: u16) -> (Addr, u16) {
    (address([198, 18], 1 + stage.pick(0..SERVERS)), port)
}

/// Slices without end, each in order of time and after the one before: ns since 1970, Ethernet frame; about 28,000 frames
/// of 830 bytes in a quarter of a second. Same seed, same frames. A third of the pages shares its connection with the
/// one before.
pub fn mixture(seed: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    (0_u64..).flat_map(move |n| {
        let mut stage = Stage::new(seed.wrapping_add(n));
        slice(&mut stage);
        let begin = EPOCH_NS + n * SLICE_NS;
        // What runs over the end of the slice is moved to it, so that times never go back.
        stage.play().map(move |(at, frame)| (begin + at.min(SLICE_NS - 1), frame))
    })
}

fn slice(stage: &mut Stage) {
    for n in 0..PAGES {
        page(stage, n);
    }
    for _ in 0..HELLOS {
        hello(stage);
    }
    for n in 0..LOOKUPS {
        lookup(stage, n);
    }
    for n in 0..TRANSFERS {
        transfer(stage, n);
    }
    for n in 0..STREAMS {
        stream(stage, n);
    }
    for n in 0..PROBES {
        probe(stage, n);
    }
}

/// One to three requests on a connection, with answers of some kilobytes.
fn page(stage: &mut Stage, n: u64) {
    let (from, to) = (client(stage), server(stage, 80));
    let at = stage.pick(0..SLICE_NS / 2);
    let sizes: Vec<usize> =
        (0..=n % 3).map(|_| usize::try_from(stage.pick(600..24_000)).unwrap_or(0)).collect();
    let mut talk = stage.connect(at, from, to);
    for size in sizes {
        let request = format!(
            "GET /assets/{n}/{size}.css HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
             Accept: text/css,*/*;q=0.1\r\nAccept-Encoding: gzip\r\nReferer: http://www.example.org/\r\n\r\n"
        );
        talk.say(ASKS, request.as_bytes());
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/css\r\nContent-Length: {size}\r\nCache-Control: max-age=600\r\n\r\n"
        )
        .into_bytes();
        answer.resize(answer.len() + size, b'.');
        talk.say(ANSWERS, &answer);
    }
    talk.close(ASKS);
}

/// A TLS session: hellos as a browser and a server send them, then opaque records.
fn hello(stage: &mut Stage) {
    let (from, to) = (client(stage), server(stage, 443));
    let at = stage.pick(0..SLICE_NS / 2);
    let size = usize::try_from(stage.pick(2_000..30_000)).unwrap_or(0);
    let mut talk = stage.connect(at, from, to);
    talk.say(ASKS, &client_hello("www.example.org"));
    talk.say(ANSWERS, &server_hello());
    talk.say(ASKS, &record(0x17, &[0x5a; 90]));
    for chunk in vec![0xa5; size].chunks(16_000) {
        talk.say(ANSWERS, &record(0x17, chunk));
    }
    talk.close(ASKS);
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend(u16::try_from(content.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(content);
    bytes
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = vec![kind];
    bytes.extend(length);
    bytes.extend(body);
    record(0x16, &bytes)
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(content.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(content);
    bytes
}

/// RFC 8446 §4.1.2, with the extensions that browsers send.
fn client_hello(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(0);
    let mut sni = (length + 3).to_be_bytes().to_vec();
    sni.push(0);
    sni.extend(length.to_be_bytes());
    sni.extend(name.as_bytes());
    let extensions: Vec<u8> = [
        extension(0, &sni),
        extension(10, &[0, 6, 0, 29, 0, 23, 0, 24]),
        extension(11, &[1, 0]),
        extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]),
        extension(16, b"\x00\x0c\x02h2\x08http/1.1"),
        extension(43, &[4, 3, 4, 3, 3]),
        extension(51, &[[0, 36, 0, 29, 0, 32].as_slice(), &[7; 32]].concat()),
    ]
    .concat();
    let ciphers: [u16; 8] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0x009c];
    let mut body = vec![3, 3];
    body.extend([0x11; 32]);
    body.push(32);
    body.extend([0x22; 32]);
    body.extend(u16::try_from(ciphers.len() * 2).unwrap_or(0).to_be_bytes());
    body.extend(ciphers.iter().flat_map(|c| c.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes());
    body.extend(extensions);
    handshake(1, &body)
}

/// RFC 8446 §4.1.3.
fn server_hello() -> Vec<u8> {
    let extensions =
        [extension(43, &[3, 4]), extension(51, &[[0, 29, 0, 32].as_slice(), &[9; 32]].concat())].concat();
    let mut body = vec![3, 3];
    body.extend([0x33; 32]);
    body.push(32);
    body.extend([0x22; 32]);
    body.extend([0x13, 0x01, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes());
    body.extend(extensions);
    handshake(2, &body)
}

/// A name asked and answered.
fn lookup(stage: &mut Stage, n: u64) {
    let (from, to) = (client(stage), (address([198, 18], 53), 53));
    let at = stage.pick(0..SLICE_NS - 2_000_000);
    let id = u16::try_from(n).unwrap_or(0);
    let name = format!("host{}.example.org", stage.pick(0..5_000));
    let question = dns::query(id, &name);
    let wait = stage.pick(200_000..1_500_000);
    stage.put(at, craft::udp(from, to, &question));
    if let Some(answer) = dns::reply(&question, Ipv4Addr::new(198, 18, 1, 7)) {
        stage.put(at + wait, craft::udp(to, from, &answer));
    }
}

/// A download that takes the whole slice.
fn transfer(stage: &mut Stage, n: u64) {
    let (from, to) = (client(stage), server(stage, 8000 + u16::try_from(n).unwrap_or(0)));
    let mut talk = stage.connect(n * 1000, from, to);
    talk.say(ASKS, b"\x01bulk\x00\x00\x00");
    talk.say(ANSWERS, &vec![0xc3; 4_500_000]);
    talk.close(ASKS);
}

/// Datagrams at an even pace, in a flow that goes on through the slices.
fn stream(stage: &mut Stage, n: u64) {
    let from = (address([10, 20], 1 + n), 40_000 + u16::try_from(n).unwrap_or(0));
    let to = (address([198, 18], 1 + n), 5004);
    for turn in 0..DATAGRAMS {
        let at = turn * (SLICE_NS / DATAGRAMS) + stage.pick(0..50_000);
        stage.put(at, craft::udp(from, to, &[0x80; DATAGRAM_BYTES]));
    }
}

/// One of many ports tried on one server, and refused.
fn probe(stage: &mut Stage, n: u64) {
    let from = (address([203, 0], 0x7107), stage.port());
    let to = (address([198, 18], 9), u16::try_from(1 + (n * 37) % 10_000).unwrap_or(1));
    let (at, seq) = (stage.pick(0..SLICE_NS - 1_000_000), stage.sequence());
    stage.put(at, knock(from, to, seq));
    stage.put(at + 200_000, refusal(to, from, seq));
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::packet::protocol;
    use wire::{LinkType, parse};

    #[test]
    fn a_slice_is_mixed_ordered_and_the_same_again() {
        let take = || mixture(3).take(30_000);
        let (mut last, mut bytes, mut tcp) = (0, 0, 0);
        for (at, frame) in take() {
            assert!(at >= last);
            last = at;
            bytes += frame.len();
            let packet = parse(LinkType::Ethernet, &frame, frame.len() as u32).unwrap();
            tcp += u32::from(packet.protocol == protocol::TCP);
        }
        assert!((600..1000).contains(&(bytes / 30_000)), "{} bytes a frame", bytes / 30_000);
        assert!((18_000..28_000).contains(&tcp), "{tcp} TCP");
        assert!(take().take(500).eq(take().take(500)));
    }
}
