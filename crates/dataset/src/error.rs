//! Why a dataset could not be read or written: one sentence that names the file and, where there is one, the line.

use std::io;
use std::path::{Path, PathBuf};

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to read, write or list.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `list`, …
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is not the table it should be.
    #[error("{}{}: {what}", path.display(), line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Table {
        /// Which file.
        path: PathBuf,
        /// Line, from 1, in CSV; row, from 1, in Parquet.
        line: Option<u64>,
        /// What is wrong there, and what is expected.
        what: String,
    },
    /// What is asked for cannot be done with this dataset.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// A failure of the system.
    #[must_use]
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// A fault of a file as a whole.
    #[must_use]
    pub fn table(path: &Path, what: impl Into<String>) -> Self {
        Self::Table { path: path.to_owned(), line: None, what: what.into() }
    }

    /// A fault in a line.
    #[must_use]
    pub fn line(path: &Path, line: u64, what: impl Into<String>) -> Self {
        Self::Table { path: path.to_owned(), line: Some(line), what: what.into() }
    }
}
