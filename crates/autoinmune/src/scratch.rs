//! Directories that vanish.

use crate::exit::{Exit, fail};
use std::path::{Path, PathBuf};

/// A directory of its own for temporary files, removed with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new directory, its name beginning with `autoinmune-` and `purpose`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(purpose: &str) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("autoinmune-{purpose}-{}", std::process::id()));
        std::fs::create_dir(&dir)
            .map_err(|e| fail(Exit::Failure, format!("cannot make {}: {e}", dir.display())))?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever clears temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
