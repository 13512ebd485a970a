//! SMB 1, [MS-CIFS] and [MS-SMB]: parameter words, chained commands, and the requests and responses that tell something.

use super::super::bytes::{le16, le32};
use super::super::{Message, Side};
use super::table::{Asked, FileId, Tables, names_a_pipe, names_pipes};
use super::{Smb, ascii, ntlm, part, utf16, violation};

const HEADER: usize = 32;
const RESPONSE: u8 = 0x80;
const UNICODE: u16 = 0x8000;
const DELETE_ON_CLOSE: u32 = 0x1000;
/// Commands chained in one message that are read; clients chain two.
const MAX_CHAIN: usize = 4;
const DELETE: u8 = 0x06;
const RENAME: u8 = 0x07;
const CLOSE: u8 = 0x04;
const WRITE: u8 = 0x0b;
const TRANSACTION: u8 = 0x25;
const OPEN_ANDX: u8 = 0x2d;
const READ_ANDX: u8 = 0x2e;
const WRITE_ANDX: u8 = 0x2f;
const TRANSACTION2: u8 = 0x32;
const SESSION_SETUP_ANDX: u8 = 0x73;
const TREE_CONNECT_ANDX: u8 = 0x75;
const NT_CREATE_ANDX: u8 = 0xa2;
const NT_RENAME: u8 = 0xa5;
/// Commands that another may follow; their parameters begin with its code and offset.
const CHAINED: [u8; 7] =
    [0x24, OPEN_ANDX, READ_ANDX, WRITE_ANDX, SESSION_SETUP_ANDX, TREE_CONNECT_ANDX, NT_CREATE_ANDX];
const NO_MORE: u8 = 0xff;

/// One command of a chain.
struct Unit<'a> {
    from: Side,
    /// Kept bytes of the message, header first, and the length on the wire.
    bytes: &'a [u8],
    length: usize,
    command: u8,
    /// Parameters.
    words: &'a [u8],
    /// Where the data begins, and the data.
    begin: usize,
    data: &'a [u8],
    id: u64,
    tree: u16,
    unicode: bool,
}

/// Reads a message of `length` bytes that begins with `bytes`.
pub(super) fn message(tables: &mut Tables, from: Side, bytes: &[u8], length: usize, out: &mut Vec<Message>) {
    let header =
        bytes.get(..HEADER).map(|h| (h.get(4), h.get(9), le16(h, 10), le16(h, 24), le16(h, 26), le16(h, 30)));
    let Some((Some(&first), Some(&flags), Some(flags2), Some(tree), Some(process), Some(multiplex))) = header
    else {
        out.push(violation("short_message"));
        return;
    };
    let response = flags & RESPONSE != 0;
    let status = if response { le32(bytes, 5).unwrap_or_default() } else { 0 };
    let (mut command, mut at) = (first, HEADER);
    for _ in 0..MAX_CHAIN {
        let mut smb = Smb { version: 1, command: command.into(), response, status, ..Smb::default() };
        let mut inner = Vec::new();
        let mut next = None;
        let wrong = match split(bytes, length, at) {
            Err(what) => Some(what),
            Ok((words, begin, data)) => {
                let id = u64::from(process) << 32 | u64::from(multiplex) << 16 | u64::from(command);
                let unicode = flags2 & UNICODE != 0;
                let unit = Unit { from, bytes, length, command, words, begin, data, id, tree, unicode };
                if CHAINED.contains(&command) {
                    next = words
                        .first()
                        .copied()
                        .filter(|code| *code != NO_MORE)
                        .zip(le16(words, 2).map(usize::from));
                }
                if response {
                    answer(tables, &unit, &mut smb, &mut inner).err()
                } else {
                    request(tables, &unit, &mut smb, &mut inner).err()
                }
            }
        };
        out.push(Message::Smb(smb));
        out.extend(wrong.map(violation));
        out.append(&mut inner);
        match next {
            // Offsets lead forwards, so that chains end.
            Some((code, offset)) if offset > at && offset < bytes.len() && wrong.is_none() => {
                (command, at) = (code, offset);
            }
            Some((_, offset)) if offset <= at || offset >= length => {
                out.push(violation("next_command"));
                return;
            }
            _ => return,
        }
    }
}

/// Parameters, where the data begins, and the data.
fn split(bytes: &[u8], length: usize, at: usize) -> Result<(&[u8], usize, &[u8]), &'static str> {
    let Some(count) = bytes.get(at) else { return Err("short_message") };
    let words = part(bytes, length, at + 1, usize::from(*count) * 2)?;
    let behind = at + 1 + usize::from(*count) * 2;
    let Some(stated) = le16(bytes, behind) else {
        // Some servers leave out the count of no bytes.
        return if length <= behind + 2 { Ok((words, behind, &[])) } else { Ok((words, behind + 2, &[])) };
    };
    // Writes beyond 64 KiB state the count modulo that.
    let data = bytes.get(behind + 2..).unwrap_or_default();
    if behind + 2 + usize::from(stated) > length {
        return Err("beyond_message");
    }
    let data = if length > 0xffff { data } else { data.get(..usize::from(stated)).unwrap_or(data) };
    Ok((words, behind + 2, data))
}

impl<'a> Unit<'a> {
    fn half(&self, at: usize) -> Option<u16> {
        le16(self.words, at)
    }

    fn word(&self, at: usize) -> Option<u32> {
        le32(self.words, at)
    }

    /// Text at an offset of the data, where 16-bit units are aligned within the message.
    fn text(&self, at: usize) -> Box<str> {
        let at = at + if self.unicode { (self.begin + at) % 2 } else { 0 };
        let bytes = self.data.get(at..).unwrap_or_default();
        if self.unicode { utf16(bytes) } else { ascii(bytes) }
    }

    fn file(&self, at: usize) -> Option<FileId> {
        self.half(at).map(file)
    }

    /// Bytes at an offset from the header.
    fn part(&self, at: u16, length: usize) -> Result<&'a [u8], &'static str> {
        part(self.bytes, self.length, at.into(), length)
    }
}

fn file(id: u16) -> FileId {
    let mut file = FileId::default();
    let [.., high, low] = &mut file;
    [*high, *low] = id.to_be_bytes();
    file
}

type Checked = Result<(), &'static str>;

fn request(tables: &mut Tables, unit: &Unit<'_>, smb: &mut Smb, inner: &mut Vec<Message>) -> Checked {
    match (unit.command, unit.words.len()) {
        (SESSION_SETUP_ANDX, length) => {
            let named = if length == 24 {
                ntlm::user(unit.data)
            } else {
                let hashes = usize::from(unit.half(14).unwrap_or_default())
                    + usize::from(unit.half(16).unwrap_or_default());
                plain_user(unit, hashes)
            };
            if let Some((domain, user)) = named {
                (smb.user, smb.domain) = (Some(user), Some(domain));
                tables.ask(unit.id, Asked::Session { user: smb.user.clone(), domain: smb.domain.clone() });
            }
        }
        (TREE_CONNECT_ANDX, 8..) => {
            let name = unit.text(usize::from(unit.half(6).unwrap_or_default()));
            tables.ask(unit.id, Asked::Tree { name: name.clone(), pipes: names_pipes(&name) });
            (smb.name, smb.share) = (Some(name), true);
        }
        (NT_CREATE_ANDX | OPEN_ANDX, _) => {
            let options = (unit.command == NT_CREATE_ANDX).then(|| unit.word(39)).flatten();
            smb.renames = options.is_some_and(|options| options & DELETE_ON_CLOSE != 0);
            let name = unit.text(0);
            let pipe = tables.is_pipes(unit.tree.into()) || names_a_pipe(&name);
            tables.ask(unit.id, Asked::File { name: name.clone(), pipe });
            smb.name = Some(name);
        }
        (DELETE | RENAME | NT_RENAME, _) => {
            smb.renames = true;
            // A byte says that text follows.
            smb.name = Some(unit.text(1));
        }
        (CLOSE, _) => {
            if let Some(file) = unit.file(0) {
                tables.close(&file);
            }
        }
        (READ_ANDX, _) => {
            if let Some(file) = unit.file(4).filter(|file| tables.is_pipe(file)) {
                tables.ask(unit.id, Asked::Read { file });
            }
        }
        (WRITE, _) => smb.written = u32::from(unit.half(2).unwrap_or_default()),
        (WRITE_ANDX, 24..) => {
            let half = |at| u32::from(unit.half(at).unwrap_or_default());
            smb.written = half(18) << 16 | half(20);
            let data = unit.part(unit.half(22).unwrap_or_default(), smb.written as usize)?;
            // The first of several writes to a pipe may begin with the length of all.
            let skip = if half(14) & 8 != 0 && data.first() != Some(&5) { 2.min(data.len()) } else { 0 };
            if let Some(file) = unit.file(4) {
                let rest = data.get(skip..).unwrap_or_default();
                tables.said(unit.from, &file, rest, (smb.written as usize).saturating_sub(skip), inner);
            }
        }
        (TRANSACTION, 32..) => {
            // TransactNmPipe.
            if let (Some(0x26), Some(file)) = (unit.half(28), unit.file(30)) {
                let length = usize::from(unit.half(22).unwrap_or_default());
                let data = unit.part(unit.half(24).unwrap_or_default(), length)?;
                tables.said(unit.from, &file, data, length, inner);
                tables.ask(unit.id, Asked::Read { file });
            }
        }
        (TRANSACTION2, 30..) => {
            let begin = usize::from(unit.half(20).unwrap_or_default());
            // Set path and set file information: a level behind nothing or a file; [MS-FSCC] §2.4 plus 1000 passes through.
            let level = match unit.half(28) {
                Some(6) => le16(unit.bytes, begin),
                Some(8) => le16(unit.bytes, begin + 2),
                _ => None,
            };
            smb.renames = matches!(level, Some(0x0102 | 1010 | 1013));
        }
        _ => {}
    }
    Ok(())
}

/// Domain and user of a session setup without SPNEGO: behind the two hashes.
fn plain_user(unit: &Unit<'_>, hashes: usize) -> Option<(Box<str>, Box<str>)> {
    let user = unit.text(hashes);
    if user.is_empty() {
        return None;
    }
    // How long the user is on the wire is not how long its text is: look for its end.
    let begin = hashes + if unit.unicode { (unit.begin + hashes) % 2 } else { 0 };
    let rest = unit.data.get(begin..)?;
    let end = if unit.unicode {
        rest.as_chunks::<2>().0.iter().position(|pair| *pair == [0, 0]).map(|at| at * 2 + 2)
    } else {
        rest.iter().position(|b| *b == 0).map(|at| at + 1)
    };
    Some((end.map(|end| unit.text(begin + end)).unwrap_or_default(), user))
}

fn answer(tables: &mut Tables, unit: &Unit<'_>, smb: &mut Smb, inner: &mut Vec<Message>) -> Checked {
    let file = match unit.command {
        NT_CREATE_ANDX => unit.file(5),
        OPEN_ANDX => unit.file(4),
        _ => None,
    };
    match tables.answered(unit.id) {
        Some(Asked::Read { file }) => {
            let half = |at| usize::from(unit.half(at).unwrap_or_default());
            let (begin, length) = match unit.command {
                READ_ANDX => (unit.half(12), half(10) | half(14) << 16),
                _ => (unit.half(14), half(12)),
            };
            let data = unit.part(begin.unwrap_or_default(), length)?;
            tables.said(unit.from, &file, data, length, inner);
        }
        Some(asked) => tables.fill(asked, unit.tree.into(), file, smb),
        None => {}
    }
    Ok(())
}
