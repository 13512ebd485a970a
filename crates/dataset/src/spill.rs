//! Temporary files for what does not fit in memory: records go by the first byte of their hash, so that equal ones meet in one
//! file, and each file is looked at by itself.

use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

/// Files. With them a billion records come back 4 million at a time.
pub(crate) const PARTITIONS: usize = 256;

/// Temporary files that vanish with this value. Nobody else may read them.
pub(crate) struct Spill {
    dir: PathBuf,
    files: Vec<BufWriter<File>>,
}

impl Spill {
    /// Makes the files in a directory of their own below the system's temporary one.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let dir = crate::parts::scratch_dir(name)?;
        // From here on the directory goes with the value, also if a file cannot be made.
        let mut spill = Self { dir, files: Vec::with_capacity(PARTITIONS) };
        for at in 0..PARTITIONS {
            let path = spill.dir.join(at.to_string());
            let file = File::create_new(&path).map_err(|e| Error::io("write", &path, e))?;
            spill.files.push(BufWriter::new(file));
        }
        Ok(spill)
    }

    /// Adds a record to the file of a hash that begins with `first`.
    pub(crate) fn write(&mut self, first: u8, record: &[u8]) -> Result<()> {
        match self.files.get_mut(usize::from(first)) {
            Some(file) => file.write_all(record).map_err(|e| Error::io("write", &self.dir, e)),
            None => Ok(()),
        }
    }

    /// Hands to the system what is not written yet.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.files.iter_mut().try_for_each(Write::flush).map_err(|e| Error::io("write", &self.dir, e))
    }

    /// One file from its beginning.
    pub(crate) fn read(&self, partition: usize) -> Result<BufReader<File>> {
        let file = File::open(self.dir.join(partition.to_string()));
        file.map(BufReader::new).map_err(|e| self.fault(e))
    }

    /// The error that a file cannot be read.
    pub(crate) fn fault(&self, source: std::io::Error) -> Error {
        Error::io("read", &self.dir, source)
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever clears temporary files.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
