//! What one client does to the files of one server over SMB.

use super::table::{Table, hash};
use super::{Fact, Kind, Observation, Profile, Subject, Values, speaker};
use crate::metric::Metric;
use rustc_hash::FxHashSet;
use wire::Addr;
use wire::message::Message;

/// Pairs of client and server remembered, some 6 KB each at most.
const CAPACITY: usize = 2048;
/// Length of the window in which files are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Different names told apart.
const NAMES: usize = 1024;
/// Observations begin with so many files changed.
const ENOUGH: u32 = 8;

/// What happened in the running window.
#[derive(Debug, Default)]
struct Changes {
    since_ns: u64,
    /// Hashes of the names of files opened.
    opened: FxHashSet<u64>,
    writes: u32,
    renames: u32,
    written: u64,
    /// The last name opened, and how many bytes were written since.
    last: u64,
    last_counted: bool,
    files_written: u32,
}

/// Files changed over SMB; see the module.
#[derive(Debug)]
pub(crate) struct FileChanges {
    pairs: Table<(Addr, Addr), Changes>,
}

impl Default for FileChanges {
    fn default() -> Self {
        Self { pairs: Table::new(CAPACITY, WINDOW_NS) }
    }
}

impl Profile for FileChanges {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::FileChanges]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        let Fact::Message { flow, from, message: Message::Smb(smb) } = fact else { return };
        if smb.response || (smb.name.is_none() && smb.written == 0 && !smb.renames) {
            return;
        }
        let ((client, _), (server, _)) = speaker(flow, *from);
        let pair = self.pairs.touch((client, server), now_ns);
        if now_ns.saturating_sub(pair.since_ns) > WINDOW_NS {
            *pair = Changes { since_ns: now_ns, ..Changes::default() };
        }
        if let Some(name) = smb.name.as_deref().filter(|_| !smb.share) {
            let name_hash = hash(name);
            if pair.opened.len() < NAMES {
                pair.opened.insert(name_hash);
            }
            pair.last = name_hash;
            pair.last_counted = false;
        }
        if smb.written > 0 {
            pair.writes = pair.writes.saturating_add(1);
            pair.written = pair.written.saturating_add(u64::from(smb.written));
            if !pair.last_counted {
                pair.last_counted = true;
                pair.files_written = pair.files_written.saturating_add(1);
            }
        }
        pair.renames = pair.renames.saturating_add(u32::from(smb.renames));
        if pair.files_written.max(pair.renames) < ENOUGH {
            return;
        }
        let values = Values::default()
            .with(Metric::FilesOpened, pair.opened.len() as f64)
            .with(Metric::FilesWritten, f64::from(pair.files_written))
            .with(Metric::FilesRenamed, f64::from(pair.renames))
            .with(Metric::RenamesPerFile, f64::from(pair.renames) / f64::from(pair.files_written.max(1)))
            .with(Metric::FileMegabytesWritten, pair.written as f64 / 1e6);
        out.push(Observation::of_speaker(Subject::FileChanges, flow, *from, pair.since_ns, values));
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}
