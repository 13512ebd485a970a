//! A client of SMB 2.0.2 ([MS-SMB2]), as much as acts need: log in as a guest, open, read, write, rename, list, and call
//! through named pipes. Requests go one by one, unsigned.

use super::actor::Line;
use std::io::{self, Read, Write};

const HEADER: usize = 64;
/// Largest read and write, bytes: what dialect 2.0.2 allows.
pub(super) const MAX_TRANSFER: usize = 65_536;
/// Longest answer.
const MAX_MESSAGE: usize = 1 << 17;
const FSCTL_PIPE_TRANSCEIVE: u32 = 0x0011_c017;
const LOGON_FAILURE: u32 = 0xc000_006d;
const NO_MORE_FILES: u32 = 0x8000_0006;
const MORE_PROCESSING: u32 = 0xc000_0016;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read, write and rename what is there.
    Use,
    /// To write a new one, over an old one if there is.
    Make,
    /// The directory, to list it.
    List,
}

/// An open file, directory or pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    id: [u8; 16],
    /// Size when opened, bytes.
    pub(super) size: u64,
}

/// A session on one connection, with one tree at a time.
pub(super) struct Session<'a> {
    line: Line<'a>,
    message: u64,
    session: u64,
    tree: u32,
}

fn halves(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    crate::serve::utf16(text)
}

fn len16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl<'a> Session<'a> {
    /// Negotiates and logs in as `user`; a refusal is an error of kind `PermissionDenied`.
    pub(super) fn open(line: Line<'a>, user: &str) -> io::Result<Self> {
        let mut session = Self { line, message: 0, session: 0, tree: 0 };
        // One dialect, signing enabled, no capabilities, a client identifier.
        let body = [
            halves(&[36, 1, 1, 0]),
            words(&[0]),
            b"autoinmune-lab-c".to_vec(),
            vec![0; 8],
            halves(&[0x0202]),
        ];
        session.ask(0, &body.concat())?;
        // Negotiate: Unicode, request target, NTLM, always sign, extended session security.
        let first = [b"NTLMSSP\0".to_vec(), words(&[1, 0x0008_8205]), vec![0; 16]].concat();
        session.set_up(&first)?;
        session.set_up(&authenticate(user))?;
        Ok(session)
    }

    fn set_up(&mut self, token: &[u8]) -> io::Result<Vec<u8>> {
        let body = [
            halves(&[25]),
            vec![0, 1],
            words(&[0, 0]),
            halves(&[88, len16(token)]),
            vec![0; 8],
            token.to_vec(),
        ];
        self.ask(1, &body.concat())
    }

    /// Connects to a share.
    pub(super) fn connect(&mut self, host: &str, share: &str) -> io::Result<()> {
        let path = utf16(&format!("\\\\{host}\\{share}"));
        self.ask(3, &[halves(&[9, 0, 72, len16(&path)]), path].concat()).map(|_| ())
    }

    /// Opens a file, the directory (an empty name), or a pipe.
    pub(super) fn create(&mut self, name: &str, purpose: Purpose) -> io::Result<Handle> {
        let (disposition, options) = match purpose {
            Purpose::Use => (1, 0x40),
            Purpose::Make => (5, 0x40),
            Purpose::List => (1, 1),
        };
        let name = utf16(name);
        let mut body = [
            halves(&[57, 0]),
            words(&[2]),
            vec![0; 16],
            // Read, write, delete, attributes; normal; shared by all.
            words(&[0x0013_019f, 0, 7, disposition, options]),
            halves(&[120, len16(&name)]),
            words(&[0, 0]),
            name,
        ]
        .concat();
        // The body has one byte at least behind its fixed part.
        body.resize(body.len().max(57), 0);
        let answer = self.ask(5, &body)?;
        let id = answer.get(64..80).and_then(|id| id.try_into().ok()).ok_or_else(cut)?;
        let size = answer.get(48..56).and_then(|s| s.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok(Handle { id, size })
    }

    pub(super) fn close(&mut self, file: Handle) -> io::Result<()> {
        self.ask(6, &[halves(&[24, 0]), words(&[0]), file.id.to_vec()].concat()).map(|_| ())
    }

    /// Reads up to [`MAX_TRANSFER`] bytes; none at the end of the file.
    pub(super) fn read(&mut self, file: Handle, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if offset >= file.size && file.size > 0 {
            return Ok(Vec::new());
        }
        let len = u32::try_from(len.min(MAX_TRANSFER)).unwrap_or(0);
        let body = [
            halves(&[49]),
            vec![80, 0],
            words(&[len]),
            offset.to_le_bytes().to_vec(),
            file.id.to_vec(),
            words(&[0, 0, 0, 0]),
            vec![0],
        ];
        let answer = self.ask(8, &body.concat())?;
        let begin = usize::from(*answer.get(2).ok_or_else(cut)?).saturating_sub(HEADER);
        Ok(answer.get(begin..).unwrap_or_default().to_vec())
    }

    /// Writes up to [`MAX_TRANSFER`] bytes.
    pub(super) fn write(&mut self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = &bytes[..bytes.len().min(MAX_TRANSFER)];
        let body = [
            halves(&[49, 112]),
            words(&[len32(bytes)]),
            offset.to_le_bytes().to_vec(),
            file.id.to_vec(),
            words(&[0, 0, 0, 0]),
            bytes.to_vec(),
        ];
        self.ask(9, &body.concat()).map(|_| ())
    }

    pub(super) fn rename(&mut self, file: Handle, to: &str) -> io::Result<()> {
        let name = utf16(to);
        let info = [vec![1; 1], vec![0; 15], words(&[len32(&name)]), name].concat();
        let body = [halves(&[33]), vec![1, 10], words(&[len32(&info)]), halves(&[96, 0]), words(&[0])];
        self.ask(17, &[body.concat(), file.id.to_vec(), info].concat()).map(|_| ())
    }

    /// Names of the files in the directory.
    pub(super) fn list(&mut self, directory: Handle) -> io::Result<Vec<String>> {
        let pattern = utf16("*");
        let mut names = Vec::new();
        loop {
            let body = [
                halves(&[33]),
                // Names alone.
                vec![12, 0],
                words(&[0]),
                directory.id.to_vec(),
                halves(&[96, len16(&pattern)]),
                words(&[65_536]),
                pattern.clone(),
            ];
            let (status, answer) = self.exchange(14, &body.concat())?;
            if status == NO_MORE_FILES {
                return Ok(names);
            }
            accept(status)?;
            let mut at = 8;
            loop {
                let word = |at: usize| {
                    answer.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_le_bytes)
                };
                let (Some(next), Some(len)) = (word(at), word(at + 8)) else { return Err(cut()) };
                let name = answer.get(at + 12..at + 12 + len as usize).ok_or_else(cut)?;
                let units: Vec<u16> =
                    name.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
                names.push(String::from_utf16_lossy(&units));
                if next == 0 {
                    break;
                }
                at += next as usize;
            }
            names.retain(|n| n != "." && n != "..");
        }
    }

    /// Says something into a pipe and reads the answer.
    pub(super) fn transceive(&mut self, pipe: Handle, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let body = [
            halves(&[57, 0]),
            words(&[FSCTL_PIPE_TRANSCEIVE]),
            pipe.id.to_vec(),
            words(&[120, len32(bytes), 0, 0, 0, 4280, 1, 0]),
            bytes.to_vec(),
        ];
        let answer = self.ask(11, &body.concat())?;
        Ok(answer.get(48..).unwrap_or_default().to_vec())
    }

    fn ask(&mut self, command: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let (status, body) = self.exchange(command, body)?;
        accept(status)?;
        Ok(body)
    }

    /// Sends a request and returns status and body of the answer.
    fn exchange(&mut self, command: u16, body: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        let mut message = vec![0xfe, b'S', b'M', b'B', 64, 0, 1, 0, 0, 0, 0, 0];
        message.extend(halves(&[command, 31]));
        message.extend(words(&[0, 0]));
        message.extend(self.message.to_le_bytes());
        message.extend(words(&[0xfeff, self.tree]));
        message.extend(self.session.to_le_bytes());
        message.extend([0; 16]);
        message.extend(body);
        self.message += 1;
        let mut framed = len32(&message).to_be_bytes().to_vec();
        framed.extend(message);
        self.line.write_all(&framed)?;
        let mut length = [0; 4];
        self.line.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(HEADER..=MAX_MESSAGE).contains(&length) {
            return Err(cut());
        }
        let mut answer = vec![0; length];
        self.line.read_exact(&mut answer)?;
        let word =
            |at: usize| u32::from_le_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]);
        (self.tree, self.session) = (word(36), u64::from(word(40)) | u64::from(word(44)) << 32);
        Ok((word(8), answer.split_off(HEADER)))
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer of the file server is cut")
}

fn accept(status: u32) -> io::Result<()> {
    match status {
        0 | MORE_PROCESSING => Ok(()),
        LOGON_FAILURE => Err(io::ErrorKind::PermissionDenied.into()),
        other => Err(io::Error::other(format!("the file server answers {other:#010x}"))),
    }
}

/// The third NTLM message ([MS-NLMP] §2.2.1.3), with a response that proves nothing.
fn authenticate(user: &str) -> Vec<u8> {
    let parts = [vec![0x5a; 24], vec![0x5a; 24], utf16("LAB"), utf16(user), utf16("CLIENT"), Vec::new()];
    let mut out = [b"NTLMSSP\0".to_vec(), words(&[3])].concat();
    let mut at = 64;
    for part in &parts {
        out.extend(halves(&[len16(part), len16(part)]));
        out.extend(words(&[at]));
        at += len32(part);
    }
    out.extend(words(&[0x0008_8205]));
    out.extend(parts.concat());
    out
}
