//! Why a bundle is refused: one sentence that names the file and the way out.

use std::io;
use std::path::{Path, PathBuf};

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to read, write or list.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is longer than any bundle's is.
    #[error("{file} has more than {most} bytes, the most that is read")]
    TooLong {
        /// Its name.
        file: String,
        /// Limit, bytes.
        most: u64,
    },
    /// A file is a link, a directory, a pipe or a device.
    #[error("{file} is no ordinary file; links and the like are not followed in a bundle")]
    NotAFile {
        /// Its name.
        file: String,
    },
    /// A file is not there.
    #[error(
        "{file} is not there; a bundle is a directory with manifest.json, signature and the models it lists"
    )]
    Missing {
        /// Its name.
        file: String,
    },
    /// The signature is no signature, or not one of these bytes.
    #[error(
        "the signature is not that of the manifest: the bundle was changed or damaged; make or fetch it again"
    )]
    Signature,
    /// It is signed by somebody who is not trusted here.
    #[error(
        "it is signed by {key}, which is not among the {trusted} trusted keys; to trust it, add it to models.trust"
    )]
    Untrusted {
        /// Public key that the bundle names.
        key: String,
        /// How many keys are trusted.
        trusted: usize,
    },
    /// It is of a version that this program does not know.
    #[error(
        "the bundle's format is {found}, this program knows {known}; use the program it was made with, or train anew"
    )]
    Version {
        /// Version of the bundle.
        found: u64,
        /// Version known here.
        known: u32,
    },
    /// The manifest is not one.
    #[error("manifest.json: {0}")]
    Manifest(String),
    /// A name would lead out of the bundle, or is no name.
    #[error(
        "'{0}' is no name: 1 to 64 lower-case letters, digits, '-', '_' and '.', of which the first is a letter or digit"
    )]
    Name(String),
    /// A model is not what the manifest says.
    #[error("{file} is not the file that was signed ({what}); make or fetch the bundle again")]
    Content {
        /// Its name.
        file: String,
        /// What differs.
        what: &'static str,
    },
    /// The features are not those that are expected.
    #[error("the schema '{schema}' is not that of this program: {how}; train anew with this program")]
    Schema {
        /// Its name.
        schema: String,
        /// What differs.
        how: String,
    },
    /// It has no such model.
    #[error("the bundle has no model '{name}' of kind '{kind}'; it has {has}")]
    NoModel {
        /// Name asked for.
        name: String,
        /// Kind asked for.
        kind: String,
        /// What there is.
        has: String,
    },
    /// A key file holds no key.
    #[error("{}: {what}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// What is asked of the store cannot be.
    #[error("{0}")]
    Store(String),
    /// Fault of one bundle among several.
    #[error("{}: {source}", path.display())]
    In {
        /// Directory of the bundle.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn within(self, path: &Path) -> Self {
        match self {
            Self::Io { .. } | Self::In { .. } => self,
            other => Self::In { path: path.to_owned(), source: Box::new(other) },
        }
    }

    /// The fault itself, without the bundle's place.
    #[must_use]
    pub fn root(&self) -> &Self {
        match self {
            Self::In { source, .. } => source.root(),
            other => other,
        }
    }
}
