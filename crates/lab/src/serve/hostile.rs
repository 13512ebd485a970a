//! Tests: requests changed by chance bring no server down, and cost no more than others.

use super::{datagram, dns, modbus, rpc, smb};
use crate::chance::Chance;
use crate::traffic::dns::{kind, question};
use std::time::{Duration, Instant};

/// Changes of each request.
const ROUNDS: u64 = 3000;

/// `whole` with some bytes set, cut out, doubled or cut off.
fn changed(whole: &[u8], chance: &mut Chance) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
    let mut out = whole.to_vec();
    for _ in 0..chance.pick(1..5) {
        let at = usize::try_from(chance.pick(0..out.len() as u64 + 1)).unwrap_or(0);
        let len = usize::try_from(chance.pick(0..9)).unwrap_or(0).min(out.len() - at);
        match chance.pick(0..6) {
            0 => out.truncate(at),
            1 => drop(out.drain(at..at + len)),
            2 => {
                let piece = out[at..at + len].to_vec();
                out.splice(at..at, piece);
            }
            3 => out[at..at + len].fill(0xff),
            _ => {
                let byte = chance.of(&EDGES).copied().unwrap_or(0);
                if let Some(b) = out.get_mut(at) {
                    *b = byte;
                }
            }
        }
    }
    out
}

/// Feeds changed requests, several in turn to one conversation, which `begin` opens anew each time.
fn feed<T>(requests: &[Vec<u8>], begin: impl Fn() -> T, mut answer: impl FnMut(&mut T, &[u8])) {
    let (mut chance, begun) = (Chance::new(7), Instant::now());
    for _ in 0..ROUNDS {
        let mut talk = begin();
        for request in requests {
            let request =
                if chance.pick(0..3) == 0 { changed(request, &mut chance) } else { request.clone() };
            answer(&mut talk, &request);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

fn smb_request(command: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfe, b'S', b'M', b'B', 64, 0, 0, 0, 0, 0, 0, 0, command];
    out.resize(64, 0);
    out[36] = 1;
    out.extend(body);
    out
}

#[test]
fn changed_smb_requests_do_no_harm() {
    let name = smb::utf16("budget-003.dat");
    let mut create = vec![57, 0];
    create.resize(56, 0);
    (create[36], create[44], create[46]) = (3, 120, u8::try_from(name.len()).expect("short"));
    create.extend(&name);
    let sized = |size: u8, with: &[(usize, u8)], rest: usize| {
        let mut body = vec![size, 0];
        body.resize(48 + rest, 0x41);
        body[2..48].fill(0);
        for (at, value) in with {
            body[*at] = *value;
        }
        body
    };
    let login = [&[25, 0][..], &[0; 10], &[88, 0, 12, 0], &[0; 8], b"NTLMSSP\0\x03\0\0\0"].concat();
    let requests = [
        smb_request(0, &[36, 0, 1, 0, 0, 0, 0, 0]),
        smb_request(1, &login),
        smb_request(5, &create),
        smb_request(9, &sized(49, &[(2, 112), (4, 9), (16, 1), (24, 1)], 9)),
        smb_request(8, &sized(49, &[(4, 200), (16, 1), (24, 1)], 1)),
        smb_request(14, &sized(33, &[(2, 37), (8, 1), (16, 1), (28, 255), (29, 255)], 0)),
        smb_request(16, &sized(41, &[(2, 1), (3, 18), (4, 255), (24, 1), (32, 1)], 0)),
        smb_request(17, &sized(33, &[(2, 1), (3, 10), (4, 30), (8, 96), (16, 1), (24, 1)], 40)),
        smb_request(11, &sized(57, &[(4, 0x17), (5, 0xc0), (6, 0x11), (8, 1), (16, 1)], 20)),
    ];
    let store = super::store::Store::with_documents(3, 1);
    feed(&requests, || smb::Session::new(store.clone()), |session, request| drop(session.answer(request)));
}

#[test]
fn changed_calls_queries_and_datagrams_do_no_harm() {
    let mut bind = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0];
    bind.extend([9; 20]);
    bind.extend(rpc::NDR);
    let calls = [rpc::pdu(11, &[1, 0, 0, 0], &bind), rpc::pdu(0, &[2, 0, 0, 0], &[0; 40])];
    feed(&calls, rpc::Talk::default, |talk, unit| drop(talk.answer(unit)));

    let registers = [
        vec![1, 0, 0, 0, 9],
        vec![3, 0, 0, 0, 9],
        vec![15, 0, 0, 0, 9, 2, 1, 1],
        vec![16, 0, 0, 0, 1, 2, 1, 1],
        vec![43, 14, 1, 0],
    ];
    feed(&registers, modbus::Plant::new, |plant, request| drop(plant.answer(request)));

    let zone = dns::Zone { a: None, aaaa: None, wildcard: true };
    let queries =
        [question(1, "a.t.example", kind::TXT, Some(512)), question(2, "large.example", kind::ANY, None)];
    feed(&queries, || (), |(), message| drop(zone.answer(message, Some(4096))));

    let mut client = vec![0x23];
    client.resize(48, 0);
    let datagrams = [
        client,
        vec![0x17, 0, 3, 42],
        b"\0\x01\0\0\0\x01\0\0get a\r\n".to_vec(),
        b"\x30\x10\x04\x06public\xa5\x06\x02\x04abcd".to_vec(),
    ];
    feed(
        &datagrams,
        || (),
        |(), datagram| {
            for answer in
                [datagram::time, datagram::monitored, datagram::bulk, datagram::cached, datagram::discovered]
            {
                drop(answer(datagram));
            }
        },
    );
}
