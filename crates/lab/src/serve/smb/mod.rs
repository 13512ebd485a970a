//! An SMB 2 file server, dialects 2.0.2 and 2.1 ([MS-SMB2]): one share of files in memory, and named pipes.
//!
//! Guests may do everything (`USERS` in [`security`]); nothing is signed or encrypted, so that a sensor can read all of it. Of
//! SMB 1 the first negotiation is understood, as clients of long use begin with it (§3.3.5.3).

mod files;
mod message;
mod security;

pub(crate) use message::utf16;

use super::rpc::Talk;
use super::store::Store;
use super::{Parameter, Server, TrafficError, Values, listen, parameter};
use crate::arguments::Kind;
use files::Open;
use message::{Body, Request, command, status, text};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Name of the share.
pub(crate) const SHARE: &str = "share";

/// Longest message: a write of the largest size, with its header.
const MAX_MESSAGE: usize = 1 << 17;
/// Largest read, write and transaction, bytes. Without large credits (dialect 2.0.2) it is the limit anyway.
const MAX_TRANSFER: u32 = 65_536;
/// Files and pipes open at once on one connection.
const MAX_OPEN: usize = 1024;
const DISK: u32 = 1;
const PIPES: u32 = 2;
const FSCTL_PIPE_TRANSCEIVE: u32 = 0x0011_c017;
const FSCTL_DFS_REFERRALS: u32 = 0x0006_0194;

pub(super) const PARAMETERS: &[Parameter] = &[
    parameter::ADDRESS,
    parameter::port("445"),
    Parameter::new("files", Kind::Number(0, 1000), "documents in the share at the start").or("80"),
];

pub(super) fn start(values: &Values) -> Result<Vec<Server>, TrafficError> {
    let store = Store::with_documents(values.size("files"), 445);
    let server = Server::tcp(listen(values), move |stream| serve(stream, store.clone()))?;
    Ok(vec![server])
}

fn serve(mut stream: TcpStream, store: Store) -> io::Result<()> {
    let mut session = Session::new(store);
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        let length = (u32::from_be_bytes(header) & 0x00ff_ffff) as usize;
        match header[0] {
            // A session request (RFC 1002 §4.3.2), as on port 139: granted to any name.
            0x81 if length <= 128 => {
                io::copy(&mut (&stream).take(length as u64), &mut io::sink())?;
                stream.write_all(&[0x82, 0, 0, 0])?;
                continue;
            }
            0 if length <= MAX_MESSAGE => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        let Some(answer) = session.answer(&message) else { return Ok(()) };
        if !answer.is_empty() {
            let mut framed = u32::try_from(answer.len()).unwrap_or(0).to_be_bytes().to_vec();
            framed.extend(answer);
            stream.write_all(&framed)?;
        }
    }
}

/// What one connection knows: whether somebody is logged in, and what is open.
pub(super) struct Session {
    store: Store,
    logged_in: bool,
    opened: HashMap<u64, Open>,
    next: u64,
}

/// The only session of a connection.
const SESSION: u64 = 0x4c41_4221;

type Answer = Result<Vec<u8>, u32>;

impl Session {
    pub(super) fn new(store: Store) -> Self {
        Self { store, logged_in: false, opened: HashMap::new(), next: 1 }
    }

    /// The answer to a message, empty if it needs none; `None` if it is not SMB.
    pub(super) fn answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.starts_with(b"\xffSMBr") {
            return answer_version_1(message);
        }
        let mut out: Vec<u8> = Vec::new();
        let (mut rest, mut last, mut tree) = (message, u64::MAX, 0);
        while !rest.is_empty() {
            let (request, next) = Request::first(rest)?;
            rest = next;
            if !request.is_related() {
                tree = request.tree();
            }
            if request.command() == command::CANCEL {
                continue;
            }
            let (status, answered_tree, body) = self.one(&request, tree, &mut last);
            let mut answer =
                request.answer(status, if self.greeted(&request) { SESSION } else { 0 }, answered_tree);
            answer.extend(body);
            if !rest.is_empty() {
                answer.resize(answer.len().next_multiple_of(8), 0);
                let length = u32::try_from(answer.len()).unwrap_or(0);
                answer[20..24].copy_from_slice(&length.to_le_bytes());
            }
            out.extend(answer);
        }
        Some(out)
    }

    /// Whether the client has a session, or is getting one.
    fn greeted(&self, request: &Request<'_>) -> bool {
        self.logged_in || request.command() == command::SESSION_SETUP
    }

    /// Status, tree and body of the answer to one request. `last` is the file of the request before, in a compound.
    fn one(&mut self, request: &Request<'_>, tree: u32, last: &mut u64) -> (u32, u32, Vec<u8>) {
        let mut answered_tree = tree;
        let result = match request.command() {
            command::NEGOTIATE => negotiate(request),
            command::SESSION_SETUP => return self.log_in(request),
            command::ECHO => Ok(empty()),
            _ if !self.logged_in => Err(status::ACCESS_DENIED),
            command::TREE_CONNECT => connect(request).map(|(tree, body)| {
                answered_tree = tree;
                body
            }),
            command::TREE_DISCONNECT | command::LOGOFF | command::FLUSH | command::LOCK => Ok(empty()),
            command::CREATE => self.create(request, tree, last),
            command::IOCTL => self.control(request, *last),
            command => self.with_open(request, command, *last),
        };
        match result {
            Ok(body) => (status::SUCCESS, answered_tree, body),
            // An error has a body of its own, §2.2.2.
            Err(status) => (status, answered_tree, Body::default().half(9).half(0).word(0).byte(0).0),
        }
    }

    fn log_in(&mut self, request: &Request<'_>) -> (u32, u32, Vec<u8>) {
        let token = request.part(usize::from(request.half(12)), usize::from(request.half(14)));
        let (status, token) = match security::step(token) {
            security::Step::Continue(token) => (status::MORE_PROCESSING, token),
            security::Step::Accept(token) => {
                self.logged_in = true;
                (status::SUCCESS, token)
            }
            security::Step::Refuse => (status::LOGON_FAILURE, Vec::new()),
        };
        let len = u16::try_from(token.len()).unwrap_or(0);
        // Flags: logged in as a guest.
        let guest = u16::from(status == status::SUCCESS);
        (status, 0, Body::default().half(9).half(guest).half(72).half(len).bytes(&token).0)
    }

    fn create(&mut self, request: &Request<'_>, tree: u32, last: &mut u64) -> Answer {
        if self.opened.len() >= MAX_OPEN {
            return Err(status::TOO_MANY_OPENED);
        }
        let name = text(request.part(usize::from(request.half(44)), usize::from(request.half(46))));
        let (open, body) = match tree {
            PIPES => (Open::Pipe { talk: Talk::default(), answer: Vec::new() }, files::opened(None, 0)),
            _ => files::create(&self.store, &name, request)?,
        };
        let id = self.next;
        self.next += 1;
        *last = id;
        self.opened.insert(id, open);
        // Persistent and volatile half, then no contexts.
        Ok(body.long(id).long(id).long(0).0)
    }

    /// The file that a request names at `at` of its body, or that of the request before it.
    fn file(&mut self, request: &Request<'_>, at: usize, last: u64) -> Result<(u64, &mut Open), u32> {
        let id = match request.long(at + 8) {
            u64::MAX => last,
            id => id,
        };
        self.opened.get_mut(&id).map(|open| (id, open)).ok_or(status::FILE_CLOSED)
    }

    fn with_open(&mut self, request: &Request<'_>, command: u16, last: u64) -> Answer {
        let store = self.store.clone();
        let at = match command {
            command::QUERY_INFO => 24,
            command::READ | command::WRITE | command::SET_INFO => 16,
            _ => 8,
        };
        let (id, open) = self.file(request, at, last)?;
        match command {
            command::READ => files::read(&store, open, request),
            command::WRITE => files::write(&store, open, request),
            command::QUERY_DIRECTORY => files::list(&store, open, request),
            command::QUERY_INFO => files::query(&store, open, request),
            command::SET_INFO => files::set(&store, open, request),
            command::CLOSE => {
                let body = files::close(&store, open);
                self.opened.remove(&id);
                Ok(body)
            }
            _ => Err(status::NOT_SUPPORTED),
        }
    }

    fn control(&mut self, request: &Request<'_>, last: u64) -> Answer {
        let code = request.word(4);
        if code == FSCTL_DFS_REFERRALS {
            return Err(status::NOT_FOUND);
        }
        let (id, open) = self.file(request, 8, last)?;
        let (FSCTL_PIPE_TRANSCEIVE, Open::Pipe { talk, .. }) = (code, open) else {
            return Err(status::NOT_SUPPORTED);
        };
        let input = request.part(request.word(24) as usize, request.word(28) as usize);
        let answer = talk.answer(input).ok_or(status::INVALID_PARAMETER)?;
        let body = Body::default().half(49).half(0).word(code).long(id).long(id);
        Ok(body.word(112).word(0).word(112).count(answer.len()).long(0).bytes(&answer).0)
    }
}

/// The body of answers that say nothing.
fn empty() -> Vec<u8> {
    vec![4, 0, 0, 0]
}

/// The answer to an SMB 1 negotiation: SMB 2 if the client speaks it, with whatever dialect it will say (0x02ff) if it
/// knows more than the first.
fn answer_version_1(message: &[u8]) -> Option<Vec<u8>> {
    let offers = |dialect: &[u8]| message.windows(dialect.len()).any(|w| w == dialect);
    let dialect = if offers(b"SMB 2.???") {
        0x02ff
    } else if offers(b"SMB 2.002") {
        0x0202
    } else {
        return None;
    };
    let mut blank = vec![0; message::HEADER + 2];
    blank[..4].copy_from_slice(&message::MAGIC);
    let (request, _) = Request::first(&blank)?;
    let mut out = request.answer(status::SUCCESS, 0, 0);
    out.extend(negotiated(dialect));
    Some(out)
}

fn negotiate(request: &Request<'_>) -> Answer {
    let offered: Vec<u16> =
        (0..usize::from(request.half(2).min(64))).map(|i| request.half(36 + 2 * i)).collect();
    let dialect = [0x0210, 0x0202].into_iter().find(|d| offered.contains(d));
    dialect.map(negotiated).ok_or(status::NOT_SUPPORTED)
}

fn negotiated(dialect: u16) -> Vec<u8> {
    let offer = security::offer();
    let body = Body::default().half(65).half(1).half(dialect).half(0).bytes(b"autoinmune-lab--").word(0);
    let body = body.word(MAX_TRANSFER).word(MAX_TRANSFER).word(MAX_TRANSFER);
    let body = body.long(files::TIME).long(files::TIME).half(128);
    body.half(u16::try_from(offer.len()).unwrap_or(0)).word(0).bytes(&offer).0
}

/// The tree, which is the kind of share, and the body of the answer.
fn connect(request: &Request<'_>) -> Result<(u32, Vec<u8>), u32> {
    let path = text(request.part(usize::from(request.half(4)), usize::from(request.half(6))));
    let share = path.rsplit('\\').next().unwrap_or_default();
    let (tree, kind) = match share.to_ascii_lowercase().as_str() {
        "ipc$" => (PIPES, 2),
        SHARE | "admin$" | "c$" => (DISK, 1),
        _ => return Err(status::BAD_NETWORK_NAME),
    };
    // No caching and no capabilities; all rights.
    Ok((tree, Body::default().half(16).byte(kind).byte(0).word(0x30).word(0).word(0x001f_01ff).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_not_smb_is_answered_and_cut_messages_do_no_harm() {
        let store = Store::with_documents(3, 1);
        assert!(Session::new(store.clone()).answer(b"GET / HTTP/1.1\r\n\r\n").is_none());
        assert!(Session::new(store.clone()).answer(b"\xffSMBr old").is_none());
        let mut whole = [0; 200];
        whole[..4].copy_from_slice(&message::MAGIC);
        for command in 0..=20_u8 {
            whole[12] = command;
            for fill in [0, 1, 0x40, 0xff] {
                whole[message::HEADER..].fill(fill);
                for cut in 0..whole.len() {
                    let mut session = Session::new(store.clone());
                    session.logged_in = true;
                    session.opened.insert(u64::MAX, Open::Directory { listed: false });
                    let _ = session.answer(&whole[..cut]);
                }
            }
        }
    }
}
