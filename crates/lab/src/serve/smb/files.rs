//! Files, the directory, and what is asked about them ([MS-SMB2] §2.2.13 to §2.2.40, [MS-FSCC] §2.4 and §2.5).

use super::super::rpc::Talk;
use super::super::store::{Refusal, Store};
use super::message::{Body, Request, le32, status, text, utf16};

/// When everything was made: 2024-01-01, in units of 100 ns since 1601.
pub(super) const TIME: u64 = 133_485_408_000_000_000;
/// Longest answer to one read, listing or question, bytes.
const MAX_ANSWER: usize = 65_536;
/// An ordinary file; a directory.
const ARCHIVE: u32 = 0x20;
const DIRECTORY: u32 = 0x10;
const OPTION_DIRECTORY: u32 = 1;
const OPTION_DELETE: u32 = 0x1000;

/// What is open.
#[derive(Debug)]
pub(super) enum Open {
    /// The only directory.
    Directory {
        /// Whether it was listed to the end.
        listed: bool,
    },
    /// A file.
    File {
        /// Its name.
        name: String,
        /// Whether it goes when it is closed.
        delete: bool,
    },
    /// A named pipe with remote procedure calls.
    Pipe {
        /// What was said.
        talk: Talk,
        /// What waits to be read.
        answer: Vec<u8>,
    },
}

impl Open {
    /// The size of a file; a directory has none.
    fn size(&self, store: &Store) -> Option<u64> {
        match self {
            Self::File { name, .. } => Some(store.size(name).unwrap_or(0) as u64),
            Self::Directory { .. } | Self::Pipe { .. } => None,
        }
    }
}

fn refusal(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Name => status::NAME_INVALID,
        Refusal::Full => status::DISK_FULL,
        Refusal::Missing => status::NAME_NOT_FOUND,
    }
}

/// Opens or makes what a create request names.
pub(super) fn create(store: &Store, name: &str, request: &Request<'_>) -> Result<(Open, Body), u32> {
    let (disposition, options) = (request.word(36), request.word(40));
    let name = name.trim_start_matches('\\');
    if name.is_empty() {
        return Ok((Open::Directory { listed: false }, opened(None, 1)));
    }
    if options & OPTION_DIRECTORY != 0 {
        // There are no others.
        return Err(if disposition == 1 { status::NAME_NOT_FOUND } else { status::ACCESS_DENIED });
    }
    let exists = store.size(name).is_some();
    // Supersede, open, create, open or create, overwrite, overwrite or create; what was done: opened 1, created 2,
    // overwritten 3.
    let action = match (disposition, exists) {
        (1, false) | (4, false) => return Err(status::NAME_NOT_FOUND),
        (2, true) => return Err(status::NAME_COLLISION),
        (1 | 3, true) => 1,
        (_, true) => 3,
        (_, false) => 2,
    };
    if action != 1 {
        store.truncate(name, 0).map_err(refusal)?;
    }
    let open = Open::File { name: name.to_owned(), delete: options & OPTION_DELETE != 0 };
    let size = open.size(store);
    Ok((open, opened(size, action)))
}

/// Four times, the size twice, attributes.
fn facts(size: Option<u64>) -> Body {
    let body = Body::default().long(TIME).long(TIME).long(TIME).long(TIME);
    let body = body.long(size.unwrap_or(0).next_multiple_of(4096)).long(size.unwrap_or(0));
    body.word(if size.is_some() { ARCHIVE } else { DIRECTORY })
}

/// The beginning of the answer to a create request, up to the identifier.
pub(super) fn opened(size: Option<u64>, action: u32) -> Body {
    Body::default().half(89).half(0).word(action).bytes(&facts(size).0).word(0)
}

pub(super) fn close(store: &Store, open: &Open) -> Vec<u8> {
    if let Open::File { name, delete: true } = open {
        // It may have been deleted by somebody else.
        let _ = store.remove(name);
    }
    Body::default().half(60).half(0).word(0).bytes(&facts(open.size(store)).0).0
}

/// The answer that carries data: to a read (17), or to a question (9).
fn data(size: u16, bytes: &[u8]) -> Vec<u8> {
    let body = Body::default().half(size);
    let body =
        if size == 17 { body.half(80).count(bytes.len()).long(0) } else { body.half(72).count(bytes.len()) };
    body.bytes(bytes).0
}

pub(super) fn read(store: &Store, open: &mut Open, request: &Request<'_>) -> Result<Vec<u8>, u32> {
    let len = (request.word(4) as usize).min(MAX_ANSWER);
    match open {
        Open::File { name, .. } => {
            let offset = usize::try_from(request.long(8)).unwrap_or(usize::MAX);
            let bytes = store.read(name, offset, len).ok_or(status::NAME_NOT_FOUND)?;
            if bytes.is_empty() && len > 0 { Err(status::END_OF_FILE) } else { Ok(data(17, &bytes)) }
        }
        Open::Pipe { answer, .. } => {
            let bytes: Vec<u8> = answer.drain(..len.min(answer.len())).collect();
            Ok(data(17, &bytes))
        }
        Open::Directory { .. } => Err(status::INVALID_PARAMETER),
    }
}

pub(super) fn write(store: &Store, open: &mut Open, request: &Request<'_>) -> Result<Vec<u8>, u32> {
    let len = request.word(4) as usize;
    let bytes = request.part(usize::from(request.half(2)), len);
    if bytes.len() != len {
        return Err(status::INVALID_PARAMETER);
    }
    match open {
        Open::File { name, .. } => {
            let offset = usize::try_from(request.long(8)).map_err(|_| status::DISK_FULL)?;
            store.write(name, offset, bytes).map_err(refusal)?;
        }
        Open::Pipe { talk, answer } => *answer = talk.answer(bytes).unwrap_or_default(),
        Open::Directory { .. } => return Err(status::INVALID_PARAMETER),
    }
    Ok(Body::default().half(17).half(0).count(len).long(0).0)
}

/// Lists the directory, all at once as far as it fits; a second listing says that there is no more.
pub(super) fn list(store: &Store, open: &mut Open, request: &Request<'_>) -> Result<Vec<u8>, u32> {
    let Open::Directory { listed } = open else { return Err(status::INVALID_PARAMETER) };
    let restart = request.byte(3) & 0x11 != 0;
    if *listed && !restart {
        return Err(status::NO_MORE_FILES);
    }
    *listed = true;
    let pattern = text(request.part(usize::from(request.half(24)), usize::from(request.half(26))));
    let most = (request.word(28) as usize).min(MAX_ANSWER);
    let class = request.byte(2);
    let files = store.list().into_iter().map(|(name, size)| (name, Some(size as u64)));
    let own = [".", ".."].map(|name| (name.to_owned(), None));
    let mut out: Vec<u8> = Vec::new();
    let mut last = 0;
    for (name, size) in own.into_iter().chain(files).filter(|(name, _)| matches(&pattern, name)) {
        let entry = entry(class, &name, size).ok_or(status::NOT_SUPPORTED)?;
        let at = out.len().next_multiple_of(8);
        if at + entry.len() > most {
            break;
        }
        if at > 0 {
            let step = u32::try_from(at - last).unwrap_or(0);
            out[last..last + 4].copy_from_slice(&step.to_le_bytes());
        }
        out.resize(at, 0);
        out.extend(entry);
        last = at;
    }
    if out.is_empty() { Err(status::NAME_NOT_FOUND) } else { Ok(data(9, &out)) }
}

/// Whether a name fits a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    fn fits(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=name.len()).any(|i| fits(rest, &name[i..])),
            (Some(('?', rest)), Some((_, others))) => fits(rest, others),
            (Some((p, rest)), Some((n, others))) => p.eq_ignore_ascii_case(n) && fits(rest, others),
            _ => false,
        }
    }
    // The old way to say all: DOS patterns with translated wildcards. More stars than one make no difference here.
    let mut pattern: Vec<char> = pattern
        .chars()
        .map(|c| match c {
            '<' => '*',
            '>' => '?',
            '"' => '.',
            c => c,
        })
        .collect();
    pattern.dedup_by(|a, b| *a == '*' && *b == '*');
    let stars = pattern.iter().filter(|c| **c == '*').count();
    // Many stars would cost time without limit.
    stars <= 4 && (pattern.is_empty() || fits(&pattern, &name.chars().collect::<Vec<_>>()))
}

/// An entry of a listing; `None` for classes that are not known.
fn entry(class: u8, name: &str, size: Option<u64>) -> Option<Vec<u8>> {
    let name = utf16(name);
    let head = Body::default().word(0).word(0);
    if class == 12 {
        return Some(head.count(name.len()).bytes(&name).0);
    }
    let body = head.long(TIME).long(TIME).long(TIME).long(TIME).long(size.unwrap_or(0));
    let body = body.long(size.unwrap_or(0).next_multiple_of(4096));
    let body = body.word(if size.is_some() { ARCHIVE } else { DIRECTORY }).count(name.len());
    let body = match class {
        1 => body,
        2 => body.word(0),
        3 => body.word(0).bytes(&[0; 26]),
        37 => body.word(0).bytes(&[0; 28]).long(0),
        38 => body.long(0).long(0),
        _ => return None,
    };
    Some(body.bytes(&name).0)
}

/// Answers questions about a file or the file system.
pub(super) fn query(store: &Store, open: &Open, request: &Request<'_>) -> Result<Vec<u8>, u32> {
    let size = open.size(store);
    let length = size.unwrap_or(0);
    let name = match open {
        Open::File { name, .. } => utf16(&format!("\\{name}")),
        _ => utf16("\\"),
    };
    let times = Body::default().long(TIME).long(TIME).long(TIME).long(TIME);
    let attributes = if size.is_some() { ARCHIVE } else { DIRECTORY };
    let basic = times.word(attributes).word(0).0;
    let allocation = length.next_multiple_of(4096);
    let standard = Body::default().long(allocation).long(length).word(1).byte(0);
    let standard = standard.byte(u8::from(size.is_none())).half(0).0;
    let bytes = match (request.byte(2), request.byte(3)) {
        (1, 4) => basic,
        (1, 5) => standard,
        (1, 6) => vec![0; 8],
        (1, 7) => vec![0; 4],
        (1, 8) => Body::default().word(0x001f_01ff).0,
        (1, 9) => Body::default().count(name.len()).bytes(&name).0,
        (1, 14) => vec![0; 8],
        // The short name: there is but one name.
        (1, 21) if name.len() > 2 => Body::default().count(name.len() - 2).bytes(&name[2..]).0,
        (1, 16 | 17) => vec![0; 4],
        // All: basic, standard, internal, extended attributes, access, position, mode, alignment, name.
        (1, 18) => {
            let body = Body::default().bytes(&basic).bytes(&standard).long(0).word(0).word(0x001f_01ff);
            body.long(0).word(0).word(0).count(name.len()).bytes(&name).0
        }
        // The only stream is the unnamed one.
        (1, 22) if size.is_some() => {
            let stream = utf16("::$DATA");
            Body::default().word(0).count(stream.len()).long(length).long(allocation).bytes(&stream).0
        }
        (1, 22) => Vec::new(),
        (1, 34) => [facts(size).0, vec![0; 4]].concat(),
        (1, 35) => Body::default().word(attributes).word(0).0,
        (2, 1) => {
            let label = utf16("lab");
            Body::default().long(TIME).word(1).count(label.len()).half(0).bytes(&label).0
        }
        // Units in all and free, sectors in a unit, bytes in a sector.
        (2, 3) => Body::default().long(24_576).long(20_000).word(8).word(512).0,
        (2, 4) => Body::default().word(7).word(0).0,
        (2, 5) => {
            let kind = utf16("NTFS");
            Body::default().word(3).word(255).count(kind.len()).bytes(&kind).0
        }
        (2, 7) => Body::default().long(24_576).long(20_000).long(20_000).word(8).word(512).0,
        _ => return Err(status::NOT_SUPPORTED),
    };
    let most = (request.word(4) as usize).min(MAX_ANSWER);
    Ok(data(9, &bytes[..bytes.len().min(most)]))
}

/// Renames, deletes, cuts; times and attributes are accepted and forgotten.
pub(super) fn set(store: &Store, open: &mut Open, request: &Request<'_>) -> Result<Vec<u8>, u32> {
    let input = request.part(usize::from(request.half(8)), request.word(4) as usize);
    let Open::File { name, delete } = open else { return Err(status::ACCESS_DENIED) };
    match (request.byte(2), request.byte(3)) {
        (1, 4 | 19) => {}
        (1, 10) => {
            let len = le32(input, 16) as usize;
            let to = text(input.get(20..).map_or(&[][..], |rest| &rest[..len.min(rest.len())]));
            let to = to.trim_start_matches('\\').to_owned();
            if input.first() == Some(&0) && store.size(&to).is_some() {
                return Err(status::NAME_COLLISION);
            }
            store.rename(name, &to).map_err(refusal)?;
            *name = to;
        }
        (1, 13) => *delete = input.first() == Some(&1),
        (1, 20) => {
            let size = u64::from(le32(input, 0)) | u64::from(le32(input, 4)) << 32;
            let size = usize::try_from(size).map_err(|_| status::DISK_FULL)?;
            store.truncate(name, size).map_err(refusal)?;
        }
        _ => return Err(status::NOT_SUPPORTED),
    }
    Ok(vec![2, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_shells_mean_them() {
        for (pattern, name, fits) in [
            ("*", "report.txt", true),
            ("", "report.txt", true),
            ("*.txt", "REPORT.TXT", true),
            ("*.txt", "report.csv", false),
            ("r?port*", "report-1.doc", true),
            ("report.txt", "report.txt", true),
            ("report", "report.txt", false),
            ("**", "x", true),
            ("*a*a*a*a*a*", "aaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
