//! Which rows are the first of all that are equal to them, in two passes over a table of any size.
//!
//! The first pass writes each row's hash to a temporary file by its first byte; each file is looked at by itself, which gives
//! one mark per row of it, in the order in which rows came. The second pass hashes the rows again and takes the marks of each
//! file one by one. 17 bytes a row lie in temporary files; in memory is one file of 256 at a time.

use crate::spill::{PARTITIONS, Spill};
use crate::tuple::Digest;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read as _};

const FIRST: u8 = 1;
const REPEAT: u8 = 0;

/// The first pass.
pub(crate) struct Firsts {
    rows: Spill,
}

/// The second pass.
pub(crate) struct Marks {
    files: Vec<BufReader<File>>,
    /// Holds the files.
    marks: Spill,
}

impl Firsts {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { rows: Spill::new("autoinmune-rows")? })
    }

    /// Notes a row by its hash.
    pub(crate) fn add(&mut self, digest: &Digest) -> Result<()> {
        self.rows.write(digest[0], digest)
    }

    /// Ends the first pass.
    pub(crate) fn finish(mut self) -> Result<Marks> {
        self.rows.flush()?;
        let mut marks = Spill::new("autoinmune-marks")?;
        let mut entries: Vec<(Digest, u32)> = Vec::new();
        let mut marked = Vec::new();
        for (partition, first) in (0..PARTITIONS).zip(0..=u8::MAX) {
            entries.clear();
            let mut file = self.rows.read(partition)?;
            let mut digest = Digest::default();
            while read_whole(&mut file, &mut digest).map_err(|e| self.rows.fault(e))? {
                let at = u32::try_from(entries.len()).map_err(|_| {
                    Error::Request("more than a million million rows; merge fewer at a time".into())
                })?;
                entries.push((digest, at));
            }
            // Of equal rows the one that came first is first here too.
            entries.sort_unstable();
            marked.clear();
            marked.resize(entries.len(), REPEAT);
            for same in entries.chunk_by(|a, b| a.0 == b.0) {
                if let Some(mark) = same.first().and_then(|(_, at)| marked.get_mut(*at as usize)) {
                    *mark = FIRST;
                }
            }
            marks.write(first, &marked)?;
        }
        marks.flush()?;
        let files = (0..PARTITIONS).map(|p| marks.read(p)).collect::<Result<_>>()?;
        Ok(Marks { files, marks })
    }
}

impl Marks {
    /// Whether the next row, which hashes to `digest`, is the first of its kind. Rows come as in the first pass.
    pub(crate) fn next(&mut self, digest: &Digest) -> Result<bool> {
        let mut mark = [REPEAT];
        if let Some(file) = self.files.get_mut(usize::from(digest[0]))
            && read_whole(file, &mut mark).map_err(|e| self.marks.fault(e))?
        {
            return Ok(mark == [FIRST]);
        }
        Err(Error::Request("a table changed while it was read; merge what nobody writes to".into()))
    }
}

/// Fills `into`; false at the end of the file.
fn read_whole(file: &mut BufReader<File>, into: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(into) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
