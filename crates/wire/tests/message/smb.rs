//! SMB 1, 2 and 3, and DCE/RPC in their pipes.

use crate::dcerpc::{SVCCTL_TEXT, bind, call};
use crate::feed::{self, violations};
use proptest::prelude::*;
use wire::message::Message;
use wire::message::Side::{self, Client, Server};
use wire::message::dcerpc::{DceRpc, Kind};
use wire::message::smb::{Dissector, Smb};

const FILE: [u8; 16] = [5; 16];

/// Behind a session header.
fn session(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// A message of SMB 2 in tree 3.
fn v2(command: u16, response: bool, id: u64, body: &[u8]) -> Vec<u8> {
    let mut header = b"\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
    header.extend(command.to_le_bytes());
    header.extend([0, 0, response.into(), 0, 0, 0, 0, 0, 0, 0]);
    header.extend(id.to_le_bytes());
    header.extend([0, 0, 0, 0, 3, 0, 0, 0]);
    header.resize(64, 0);
    [header, body.to_vec()].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A body of `size` bytes with these fields, then a buffer.
fn body(size: usize, fields: &[(usize, &[u8])], buffer: &[u8]) -> Vec<u8> {
    let mut body = vec![0; size & !1];
    body[..2].copy_from_slice(&(size as u16).to_le_bytes());
    for (at, bytes) in fields {
        body[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    body.extend(buffer);
    body
}

fn tree_connect(id: u64, share: &str) -> Vec<u8> {
    let name = wide(share);
    v2(3, false, id, &body(9, &[(4, &[72, 0]), (6, &(name.len() as u16).to_le_bytes())], &name))
}

fn create(id: u64, name: &str, options: u32) -> Vec<u8> {
    let name = wide(name);
    let fields: &[(usize, &[u8])] =
        &[(40, &options.to_le_bytes()), (44, &[120, 0]), (46, &(name.len() as u16).to_le_bytes())];
    v2(5, false, id, &body(57, fields, &name))
}

fn created(id: u64) -> Vec<u8> {
    v2(5, true, id, &body(89, &[(64, &FILE)], &[]))
}

fn write(id: u64, data: &[u8]) -> Vec<u8> {
    let fields: &[(usize, &[u8])] = &[(2, &[112, 0]), (4, &(data.len() as u32).to_le_bytes()), (16, &FILE)];
    v2(9, false, id, &body(49, fields, data))
}

fn set_info(class: u8, data: &[u8]) -> Vec<u8> {
    let fields: &[(usize, &[u8])] =
        &[(2, &[1, class]), (4, &(data.len() as u32).to_le_bytes()), (8, &[96, 0]), (16, &FILE)];
    v2(17, false, 9, &body(33, fields, data))
}

/// The AUTHENTICATE message of NTLM.
fn ntlm(domain: &str, user: &str) -> Vec<u8> {
    let (domain, user) = (wide(domain), wide(user));
    let mut blob = b"NTLMSSP\0\x03\0\0\0".to_vec();
    blob.resize(72, 0);
    let mut put = |at: usize, length: usize, offset: usize| {
        blob[at..at + 2].copy_from_slice(&(length as u16).to_le_bytes());
        blob[at + 4..at + 8].copy_from_slice(&(offset as u32).to_le_bytes());
    };
    put(28, domain.len(), 72);
    put(36, user.len(), 72 + domain.len());
    blob[60] = 1;
    [&blob[..], &domain, &user].concat()
}

fn read(talk: &[(Side, Vec<u8>)]) -> Vec<Message> {
    let talk: Vec<(Side, Vec<u8>)> = talk.iter().map(|(side, message)| (*side, session(message))).collect();
    let talk: Vec<(Side, &[u8])> = talk.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
    feed::stream(&mut Dissector::default(), &talk, usize::MAX)
}

fn one(message: Vec<u8>) -> Smb {
    match &read(&[(Client, message)])[..] {
        [Message::Smb(smb)] => smb.clone(),
        other => panic!("{other:?}"),
    }
}

fn smb2(command: u16) -> Smb {
    Smb { version: 2, command, ..Smb::default() }
}

#[test]
fn requests_of_version_2_tell_names_and_sizes() {
    let named = |name: &str| Some(name.into());
    assert_eq!(one(tree_connect(1, r"\\srv\C$")), Smb { name: named("//srv/C$"), share: true, ..smb2(3) });
    assert_eq!(one(create(1, r"a\b.txt", 0)), Smb { name: named("a/b.txt"), ..smb2(5) });
    assert_eq!(one(create(1, "x", 0x1000)), Smb { name: named("x"), renames: true, ..smb2(5) });
    assert_eq!(one(write(1, b"12345")), Smb { written: 5, ..smb2(9) });
    assert_eq!(one(set_info(13, &[1])), Smb { renames: true, ..smb2(17) });
    assert_eq!(one(set_info(13, &[0])), smb2(17));
    let rename = [&[0; 16][..], &[4, 0, 0, 0], &wide("ab")].concat();
    assert_eq!(one(set_info(10, &rename)), Smb { renames: true, target: named("ab"), ..smb2(17) });
    assert_eq!(one(set_info(4, &[0; 40])), smb2(17));
}

#[test]
fn a_session_names_its_user_and_its_outcome() {
    let blob = ntlm("CORP", "joe");
    let setup =
        v2(1, false, 4, &body(25, &[(12, &[88, 0]), (14, &(blob.len() as u16).to_le_bytes())], &blob));
    let mut refused = v2(1, true, 4, &body(9, &[], &[]));
    refused[8..12].copy_from_slice(&0xc000_006d_u32.to_le_bytes());
    let user = Smb { user: Some("joe".into()), domain: Some("CORP".into()), ..smb2(1) };
    let expected = [user.clone(), Smb { response: true, status: 0xc000_006d, ..user }];
    assert_eq!(read(&[(Client, setup), (Server, refused)]), expected.map(Message::Smb));
}

#[test]
fn a_negotiation_tells_the_dialect() {
    let answer = v2(0, true, 0, &body(65, &[(4, &[0x11, 3])], &[]));
    let expected = Smb { response: true, dialect: Some(0x0311), ..smb2(0) };
    assert_eq!(read(&[(Server, answer)]), [Message::Smb(expected)]);
}

#[test]
fn calls_in_pipes_are_read() {
    let talk = [
        (Client, tree_connect(1, r"\\srv\IPC$")),
        (Server, v2(3, true, 1, &body(16, &[(2, &[2])], &[]))),
        (Client, create(2, "odd", 0)),
        (Server, created(2)),
        (Client, write(3, &bind())),
        (Client, write(4, &call())),
    ];
    let calls: Vec<DceRpc> = read(&talk)
        .into_iter()
        .filter_map(|m| if let Message::DceRpc(call) = m { Some(call) } else { None })
        .collect();
    let rpc = DceRpc {
        call: 1,
        interface: Some(SVCCTL_TEXT.into()),
        pipe: Some("odd".into()),
        ..DceRpc::default()
    };
    let request = DceRpc { kind: Kind::Request, operation: Some(12), stub_bytes: 4, ..rpc.clone() };
    assert_eq!(calls, [DceRpc { kind: Kind::Bind, ..rpc }, request]);
}

#[test]
fn a_transaction_in_a_pipe_is_read_both_ways() {
    let data = call();
    let length = (data.len() as u32).to_le_bytes();
    let ask: &[(usize, &[u8])] =
        &[(4, &0x0011_c017_u32.to_le_bytes()), (8, &FILE), (24, &[120, 0]), (28, &length)];
    let answer = crate::dcerpc::unit(2, b"\x02\0\0\0\0\0\0\0OK");
    let length = (answer.len() as u32).to_le_bytes();
    let told: &[(usize, &[u8])] =
        &[(4, &0x0011_c017_u32.to_le_bytes()), (8, &FILE), (32, &[112, 0]), (36, &length)];
    let talk = [
        (Client, create(2, "svcctl", 0)),
        (Server, created(2)),
        (Client, v2(11, false, 3, &body(57, ask, &data))),
        (Server, v2(11, true, 3, &body(49, told, &answer))),
    ];
    let kinds: Vec<(Kind, Option<u16>)> = read(&talk)
        .iter()
        .filter_map(|m| if let Message::DceRpc(call) = m { Some((call.kind, call.operation)) } else { None })
        .collect();
    assert_eq!(kinds, [(Kind::Request, Some(12)), (Kind::Response, Some(12))]);
}

#[test]
fn a_file_is_no_pipe() {
    let talk = [(Client, create(2, "a.doc", 0)), (Server, created(2)), (Client, write(3, &call()))];
    assert!(read(&talk).iter().all(|m| matches!(m, Message::Smb(_))));
}

#[test]
fn compounds_are_read_one_by_one() {
    let mut first = create(1, "abcd", 0);
    first.resize(first.len().next_multiple_of(8), 0);
    let next = (first.len() as u32).to_le_bytes();
    first[20..24].copy_from_slice(&next);
    let commands: Vec<u16> = read(&[(Client, [first, write(2, b"x")].concat())])
        .iter()
        .map(|m| if let Message::Smb(smb) = m { smb.command } else { panic!("{m:?}") })
        .collect();
    assert_eq!(commands, [5, 9]);
}

#[test]
fn large_writes_are_left_out_unread() {
    let told = read(&[(Client, write(1, &[0; 100_000])), (Client, write(2, b"x"))]);
    let sizes: Vec<u32> =
        told.iter().map(|m| if let Message::Smb(smb) = m { smb.written } else { 0 }).collect();
    assert_eq!(sizes, [100_000, 1]);
}

#[test]
fn encrypted_messages_are_told_once_a_direction() {
    let sealed = || [&b"\xfdSMB"[..], &[0; 60]].concat();
    let told = read(&[(Client, sealed()), (Client, sealed()), (Server, sealed())]);
    let smb = Smb { version: 3, ..Smb::default() };
    assert_eq!(told, [Message::Smb(smb.clone()), Message::Smb(Smb { response: true, ..smb })]);
}

/// A message of SMB 1: words and data, text in 16-bit units.
fn v1(command: u8, response: bool, words: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = b"\xffSMB".to_vec();
    message.push(command);
    message.resize(32, 0);
    message[9] = if response { 0x80 } else { 0 };
    message[11] = 0x80;
    message.push((words.len() / 2) as u8);
    message.extend(words);
    message.extend((data.len() as u16).to_le_bytes());
    message.extend(data);
    message
}

fn padded(length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut words = vec![0; length];
    words[0] = 0xff;
    for (at, bytes) in fields {
        words[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    words
}

#[test]
fn requests_of_version_1_tell_names_and_sizes() {
    let smb1 = |command: u16| Smb { version: 1, command, ..Smb::default() };
    let tree = v1(
        0x75,
        false,
        &padded(8, &[(6, &[1, 0])]),
        &[&[0][..], &wide("\\\\srv\\IPC$\0"), b"?????\0"].concat(),
    );
    assert_eq!(one(tree), Smb { name: Some("//srv/IPC$".into()), share: true, ..smb1(0x75) });
    let create = v1(0xa2, false, &padded(48, &[]), &[&[0][..], &wide("\\svcctl\0")].concat());
    assert_eq!(one(create), Smb { name: Some("/svcctl".into()), ..smb1(0xa2) });
    let write = v1(0x2f, false, &padded(24, &[(20, &[3, 0]), (22, &[59, 0])]), b"abc");
    assert_eq!(one(write), Smb { written: 3, ..smb1(0x2f) });
    let delete = v1(0x06, false, &[0, 0], &[&[4][..], &wide("\\a\0")].concat());
    assert_eq!(one(delete), Smb { name: Some("/a".into()), renames: true, ..smb1(0x06) });
    let names = [wide("joe\0"), wide("CORP\0")].concat();
    let setup = v1(0x73, false, &padded(26, &[]), &[&[0][..], &names].concat());
    assert_eq!(one(setup), Smb { user: Some("joe".into()), domain: Some("CORP".into()), ..smb1(0x73) });
}

#[test]
fn pipes_of_version_1_are_read() {
    let data = bind();
    let length = (data.len() as u16).to_le_bytes();
    let open = v1(0xa2, false, &padded(48, &[]), &[&[0][..], &wide("\\svcctl\0")].concat());
    let opened = v1(0xa2, true, &padded(68, &[(5, &[7, 0x40])]), &[]);
    let fields: &[(usize, &[u8])] =
        &[(0, &[0]), (22, &length), (24, &[67, 0]), (26, &[2]), (28, &[0x26, 0]), (30, &[7, 0x40])];
    let ask = v1(0x25, false, &padded(32, fields), &data);
    let talk = [(Client, open), (Server, opened), (Client, ask)];
    let bound = read(&talk)
        .into_iter()
        .find_map(|m| if let Message::DceRpc(call) = m { call.interface } else { None });
    assert_eq!(bound.as_deref(), Some(SVCCTL_TEXT));
}

#[test]
fn what_netbios_says_before_is_passed() {
    let request = [&[0x81, 0, 0, 68][..], &[b'A'; 68]].concat();
    let bytes = [request, vec![0x85, 0, 0, 0], session(&write(1, b"x"))].concat();
    assert_eq!(feed::stream(&mut Dissector::default(), &[(Client, &bytes)], usize::MAX).len(), 1);
}

#[test]
fn broken_messages_are_told() {
    let check = |message: Vec<u8>, what| assert_eq!(violations(&read(&[(Client, message)])), [what]);
    let with = |mut message: Vec<u8>, at: usize, byte: u8| {
        message[at] = byte;
        message
    };
    check(b"\xfeSMB\x40".to_vec(), "short_message");
    check(b"\xffSMB\x72".to_vec(), "short_message");
    check(b"\xfcSMB\x40".to_vec(), "short_message");
    check([&b"\xfcSMB\x10\0\0\0\x01\0\0\0\xff\xff\xff\xff"[..], &[0; 20]].concat(), "compression_offset");
    check(b"XSMB\x40".to_vec(), "magic");
    check(with(write(1, b"x"), 4, 65), "structure_size");
    check(with(write(1, b"x"), 64, 48), "structure_size");
    check(with(write(1, b"x"), 20, 3), "next_command");
    check(with(write(1, b"x"), 70, 9), "beyond_message");
    check(v2(9, false, 1, &[49, 0, 1]), "short_message");
    check(v1(0x75, false, &padded(8, &[(0, &[0x73, 0, 1, 0])]), &[0; 9]), "next_command");
    check(with(v1(0x2f, false, &padded(24, &[]), b""), 32, 200), "beyond_message");
    let odd = feed::stream(&mut Dissector::default(), &[(Client, b"\x07\0\0\x04abcd")], usize::MAX);
    assert_eq!(violations(&odd), ["session_type"]);
}

proptest! {
    #[test]
    fn pieces_do_not_matter_and_nothing_breaks(
        picks in prop::collection::vec(0usize..12, 0..8),
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        piece in 1usize..200,
    ) {
        let all = [
            (Client, tree_connect(1, r"\\srv\IPC$")), (Server, v2(3, true, 1, &body(16, &[], &[]))),
            (Client, create(2, "svcctl", 0)), (Server, created(2)), (Client, write(3, &bind())),
            (Client, write(4, &call())), (Client, write(5, &[0; 9000])), (Client, set_info(10, &[9; 60])),
            (Client, v1(0x73, false, &padded(26, &[]), &wide(" joe\0CORP\0"))),
            (Client, v1(0x2f, false, &padded(24, &[(20, &[3, 0]), (22, &[59, 0])]), b"abc")),
            (Server, v1(0x25, true, &padded(20, &[]), b"abc")), (Client, v1(0x32, false, &padded(30, &[]), b"abcd")),
        ];
        let mut turns: Vec<(Side, Vec<u8>)> =
            picks.iter().map(|pick| (all[*pick].0, session(&all[*pick].1))).collect();
        for (at, byte) in changed {
            if !turns.is_empty() {
                let turn = at.index(turns.len());
                let at = at.index(turns[turn].1.len());
                turns[turn].1[at] = byte;
            }
        }
        let talk: Vec<(Side, &[u8])> = turns.iter().map(|(side, bytes)| (*side, &bytes[..])).collect();
        let whole = feed::stream(&mut Dissector::default(), &talk, usize::MAX);
        prop_assert_eq!(feed::stream(&mut Dissector::default(), &talk, piece), whole);
    }
}
