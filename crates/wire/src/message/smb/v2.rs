//! SMB 2 and 3, [MS-SMB2]: the header of 64 bytes, compounds, and the requests and responses that tell something.

use super::super::bytes::{le16, le32};
use super::super::{Message, Side};
use super::table::{Asked, FileId, Tables, names_a_pipe, names_pipes};
use super::{MAX_COMPOUND, Smb, ntlm, part, utf16, violation};

const HEADER: usize = 64;
const RESPONSE: u32 = 1;
const ASYNC: u32 = 2;
const RELATED: u32 = 4;
const DELETE_ON_CLOSE: u32 = 0x1000;
const FSCTL_PIPE_TRANSCEIVE: u32 = 0x0011_c017;
/// More is to come: the exchange of a session setup goes on.
const STATUS_PENDING: u32 = 0x103;
/// The file of the request before this one in a compound.
const SAME_FILE: FileId = [0xff; 16];
const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const CREATE: u16 = 5;
const CLOSE: u16 = 6;
const READ: u16 = 8;
const WRITE: u16 = 9;
const IOCTL: u16 = 11;
const SET_INFO: u16 = 17;

/// One message of a compound.
struct Unit<'a> {
    from: Side,
    /// Kept bytes, header first, and the length on the wire.
    bytes: &'a [u8],
    length: usize,
    id: u64,
    tree: u32,
}

/// Reads a message of `length` bytes that begins with `bytes`.
pub(super) fn message(tables: &mut Tables, from: Side, bytes: &[u8], length: usize, out: &mut Vec<Message>) {
    let (mut at, mut tree) = (0, 0);
    for _ in 0..MAX_COMPOUND {
        let Some(rest) = bytes.get(at..) else { return };
        let left = length - at;
        if left < HEADER {
            out.push(violation("short_message"));
            return;
        }
        // Later messages of a compound may lie beyond what is kept.
        if rest.len() < HEADER {
            return;
        }
        let next = le32(rest, 20).unwrap_or_default() as usize;
        let flags = le32(rest, 16).unwrap_or_default();
        let own = if next == 0 { left } else { next };
        let broken = next != 0 && (next < HEADER || !next.is_multiple_of(8) || next >= left);
        let own = if broken { left } else { own };
        let asynchronous = flags & ASYNC != 0;
        if !(asynchronous || flags & RELATED != 0 && le32(rest, 36) == Some(u32::MAX)) {
            tree = le32(rest, 36).unwrap_or_default();
        }
        let id = u64::from(le32(rest, 24).unwrap_or_default())
            | u64::from(le32(rest, 28).unwrap_or_default()) << 32;
        let bytes = rest.get(..own).unwrap_or(rest);
        let unit = Unit { from, bytes, length: own, id, tree };
        let mut smb = Smb {
            version: 2,
            command: le16(rest, 12).unwrap_or_default(),
            response: flags & RESPONSE != 0,
            status: if flags & RESPONSE != 0 { le32(rest, 8).unwrap_or_default() } else { 0 },
            ..Smb::default()
        };
        let mut inner = Vec::new();
        let mut wrong = if smb.response {
            answer(tables, &unit, &mut smb, &mut inner)
        } else {
            request(tables, &unit, &mut smb, &mut inner)
        }
        .err();
        if le16(rest, 4) != Some(HEADER as u16) {
            wrong = Some("structure_size");
        } else if broken {
            wrong = Some("next_command");
        }
        out.push(Message::Smb(smb));
        out.extend(wrong.map(violation));
        out.append(&mut inner);
        if broken || next == 0 {
            return;
        }
        at += next;
    }
}

impl<'a> Unit<'a> {
    /// Two bytes at an offset of the body.
    fn half(&self, at: usize) -> Option<u16> {
        le16(self.bytes, HEADER + at)
    }

    fn word(&self, at: usize) -> Option<u32> {
        le32(self.bytes, HEADER + at)
    }

    /// The bytes at an offset from the header.
    fn part(&self, at: usize, length: usize) -> Result<&'a [u8], &'static str> {
        if length == 0 { Ok(&[]) } else { part(self.bytes, self.length, at, length) }
    }

    /// The bytes whose offset and length are two 16-bit numbers in the body.
    fn pointed(&self, at: usize) -> Result<&'a [u8], &'static str> {
        let (Some(begin), Some(length)) = (self.half(at), self.half(at + 2)) else {
            return Err("short_message");
        };
        self.part(usize::from(begin), usize::from(length))
    }

    /// A file identifier in the body.
    fn file(&self, at: usize) -> Option<FileId> {
        self.bytes.get(HEADER + at..)?.first_chunk().copied()
    }
}

type Checked = Result<(), &'static str>;

fn request(tables: &mut Tables, unit: &Unit<'_>, smb: &mut Smb, inner: &mut Vec<Message>) -> Checked {
    let Some(command) = known_body(unit, smb.command)? else { return Ok(()) };
    match command {
        SESSION_SETUP => {
            if let Some((domain, user)) = ntlm::user(unit.pointed(12)?) {
                (smb.user, smb.domain) = (Some(user), Some(domain));
                tables.ask(unit.id, Asked::Session { user: smb.user.clone(), domain: smb.domain.clone() });
            }
        }
        TREE_CONNECT => {
            let name = utf16(unit.pointed(4)?);
            tables.ask(unit.id, Asked::Tree { name: name.clone(), pipes: names_pipes(&name) });
            (smb.name, smb.share) = (Some(name), true);
        }
        CREATE => {
            let name = utf16(unit.pointed(44)?);
            smb.renames = unit.word(40).is_some_and(|options| options & DELETE_ON_CLOSE != 0);
            let pipe = tables.is_pipes(unit.tree) || names_a_pipe(&name);
            tables.ask(unit.id, Asked::File { name: name.clone(), pipe });
            smb.name = Some(name);
        }
        CLOSE => {
            if let Some(file) = unit.file(8) {
                tables.close(&file);
            }
        }
        READ => {
            if let Some(file) = unit.file(16).filter(|file| tables.is_pipe(file)) {
                tables.ask(unit.id, Asked::Read { file });
            }
        }
        WRITE => {
            let (begin, length) = (unit.half(2).unwrap_or_default(), unit.word(4).unwrap_or_default());
            smb.written = length;
            let data = unit.part(usize::from(begin), length as usize)?;
            if let Some(file) = unit.file(16).filter(|file| *file != SAME_FILE && !data.is_empty()) {
                tables.said(unit.from, &file, data, length as usize, inner);
            }
        }
        IOCTL if unit.word(4) == Some(FSCTL_PIPE_TRANSCEIVE) => {
            let (begin, length) = (unit.word(24).unwrap_or_default(), unit.word(28).unwrap_or_default());
            let data = unit.part(begin as usize, length as usize)?;
            if let Some(file) = unit.file(8) {
                tables.said(unit.from, &file, data, length as usize, inner);
                tables.ask(unit.id, Asked::Read { file });
            }
        }
        SET_INFO => {
            let (kind, class) = (unit.bytes.get(HEADER + 2), unit.bytes.get(HEADER + 3));
            let (length, begin) = (unit.word(4).unwrap_or_default(), unit.half(8).unwrap_or_default());
            let data = unit.part(usize::from(begin), length as usize)?;
            // [MS-FSCC] §2.4: rename and disposition, each in two forms.
            match (kind, class) {
                (Some(1), Some(10 | 65)) => {
                    smb.renames = true;
                    let length = le32(data, 16).unwrap_or_default() as usize;
                    let name = data.get(20..).unwrap_or_default();
                    smb.target = Some(utf16(name.get(..length).unwrap_or(name)));
                }
                (Some(1), Some(13 | 64)) => smb.renames = data.first().is_some_and(|delete| delete & 1 != 0),
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn answer(tables: &mut Tables, unit: &Unit<'_>, smb: &mut Smb, inner: &mut Vec<Message>) -> Checked {
    if smb.status == STATUS_PENDING {
        return Ok(());
    }
    let asked = tables.answered(unit.id);
    let file = (smb.command == CREATE).then(|| unit.file(64)).flatten();
    match asked {
        Some(Asked::Read { file }) if matches!(smb.command, READ | IOCTL) => {
            // An answer may be cut: the rest comes with the next read.
            const BUFFER_OVERFLOW: u32 = 0x8000_0005;
            if matches!(smb.status, 0 | BUFFER_OVERFLOW) {
                let (begin, length) = if smb.command == READ {
                    (unit.bytes.get(HEADER + 2).map(|b| u32::from(*b)), unit.word(4))
                } else {
                    (unit.word(32), unit.word(36))
                };
                let (begin, length) =
                    (begin.unwrap_or_default() as usize, length.unwrap_or_default() as usize);
                let data = unit.part(begin, length)?;
                tables.said(unit.from, &file, data, length, inner);
            }
        }
        Some(asked) => tables.fill(asked, unit.tree, file, smb),
        None => {}
    }
    if smb.command == NEGOTIATE && smb.status == 0 {
        smb.dialect = unit.half(4);
    }
    Ok(())
}

/// The command, if its request's body is as large as it must be: [MS-SMB2] §2.2 states the size in its first two bytes.
fn known_body(unit: &Unit<'_>, command: u16) -> Result<Option<u16>, &'static str> {
    let size = match command {
        NEGOTIATE => 36,
        SESSION_SETUP => 25,
        TREE_CONNECT => 9,
        CREATE | IOCTL => 57,
        CLOSE => 24,
        READ | WRITE => 49,
        SET_INFO => 33,
        _ => return Ok(None),
    };
    if unit.half(0) != Some(size) {
        return Err("structure_size");
    }
    // The last byte stands for what follows.
    if unit.length < HEADER + usize::from(size & !1) {
        return Err("short_message");
    }
    Ok(Some(command))
}
