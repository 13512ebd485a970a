//! What must be remembered between messages: requests without their response, shares of pipes, open files.

use super::super::dcerpc::Association;
use super::super::{Message, Side};
use super::{MAX_NAME, Smb};
use std::collections::VecDeque;

/// Requests waiting for their response that are kept; the oldest goes first. Clients have some dozens at most.
const MAX_PENDING: usize = 64;
/// Shares of pipes that are kept; clients connect one a user.
const MAX_TREES: usize = 16;
/// Pipes that are kept; the oldest goes first. Clients open one for each service they call.
const MAX_PIPES: usize = 32;

/// A file's identifier: that of SMB 1 behind zeros.
pub(super) type FileId = [u8; 16];

/// What a response needs to know of its request.
#[derive(Debug)]
pub(super) enum Asked {
    /// A session for a user.
    Session { user: Option<Box<str>>, domain: Option<Box<str>> },
    /// A share; whether it is that of pipes.
    Tree { name: Box<str>, pipes: bool },
    /// A file; whether it is a pipe.
    File { name: Box<str>, pipe: bool },
    /// Data of a pipe.
    Read { file: FileId },
}

#[derive(Debug)]
struct Pipe {
    file: FileId,
    name: Box<str>,
    said: Association,
}

/// Bounded tables of one connection.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pending: VecDeque<(u64, Asked)>,
    trees: VecDeque<u32>,
    pipes: VecDeque<Pipe>,
}

fn push<T>(list: &mut VecDeque<T>, most: usize, item: T) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

impl Tables {
    pub(super) fn ask(&mut self, id: u64, asked: Asked) {
        push(&mut self.pending, MAX_PENDING, (id, asked));
    }

    /// The request that a response answers, once.
    pub(super) fn answered(&mut self, id: u64) -> Option<Asked> {
        let at = self.pending.iter().position(|(known, _)| *known == id)?;
        self.pending.remove(at).map(|(_, asked)| asked)
    }

    /// Puts a request's names into its response.
    pub(super) fn fill(&mut self, asked: Asked, tree: u32, file: Option<FileId>, smb: &mut Smb) {
        let success = smb.status == 0;
        match asked {
            Asked::Session { user, domain } => (smb.user, smb.domain) = (user, domain),
            Asked::Tree { name, pipes } => {
                if pipes && success {
                    push(&mut self.trees, MAX_TREES, tree);
                }
                (smb.name, smb.share) = (Some(name), true);
            }
            Asked::File { name, pipe } => {
                if let Some(file) = file.filter(|_| pipe && success) {
                    self.close(&file);
                    push(
                        &mut self.pipes,
                        MAX_PIPES,
                        Pipe { file, name: name.clone(), said: Association::default() },
                    );
                }
                smb.name = Some(name);
            }
            Asked::Read { .. } => {}
        }
    }

    /// Whether a tree is known as the share of pipes.
    pub(super) fn is_pipes(&self, tree: u32) -> bool {
        self.trees.contains(&tree)
    }

    pub(super) fn close(&mut self, file: &FileId) {
        self.pipes.retain(|pipe| pipe.file != *file);
    }

    /// Takes what was written to or read from a file: `length` bytes that begin with `bytes`. Whether it is a pipe.
    pub(super) fn said(
        &mut self,
        from: Side,
        file: &FileId,
        bytes: &[u8],
        length: usize,
        out: &mut Vec<Message>,
    ) -> bool {
        let known = self.pipes.iter().any(|pipe| pipe.file == *file);
        if !known {
            // A pipe opened before the connection was watched: a bind of just this length is hardly anything else.
            let bind = matches!(bytes, [5, 0, 11, 3, 0x10, 0, 0, 0, ..]) && length <= MAX_NAME * 16;
            let fits = super::super::bytes::le16(bytes, 8).map(usize::from) == Some(length);
            if !(bind && fits) {
                return false;
            }
            let pipe = Pipe { file: *file, name: Box::default(), said: Association::default() };
            push(&mut self.pipes, MAX_PIPES, pipe);
        }
        if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.file == *file) {
            pipe.said.payload(from, bytes, length, &pipe.name, out);
        }
        true
    }

    /// Whether this file is a pipe.
    pub(super) fn is_pipe(&self, file: &FileId) -> bool {
        self.pipes.iter().any(|pipe| pipe.file == *file)
    }
}

/// Whether a share's path is that of pipes.
pub(super) fn names_pipes(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|share| share.eq_ignore_ascii_case("IPC$"))
}

/// Whether a name that a client opens is a pipe where the share is not known: SMB 1 writes the directory before it.
pub(super) fn names_a_pipe(name: &str) -> bool {
    const WELL_KNOWN: [&str; 14] = [
        "atsvc", "browser", "efsrpc", "epmapper", "eventlog", "lsarpc", "lsass", "netdfs", "netlogon",
        "samr", "spoolss", "srvsvc", "svcctl", "wkssvc",
    ];
    let name = name.trim_start_matches('/');
    let name =
        name.get(..5).filter(|d| d.eq_ignore_ascii_case("PIPE/")).and_then(|_| name.get(5..)).unwrap_or(name);
    WELL_KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) || name.eq_ignore_ascii_case("winreg")
}
