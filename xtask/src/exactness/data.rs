//! Where the captures are that the figures come from, and which of them there are.

use crate::shell;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Endings of capture files; folders hold read-me and label files as well.
const ENDINGS: [&str; 3] = ["pcap", "pcapng", "cap"];

/// The shared data.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    root: PathBuf,
}

/// One capture.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path below `pcap/`, by which the document names it.
    pub(crate) name: String,
}

impl Data {
    /// The directory that `AUTOINMUNE_DATA` names, or the usual place beside the repository; `None` without captures.
    pub(crate) fn find() -> Option<Self> {
        let root = std::env::var_os("AUTOINMUNE_DATA")
            .map_or_else(|| shell::root().join("../shared/data"), PathBuf::from);
        root.join("pcap").is_dir().then_some(Self { root })
    }

    /// A path below the root.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Every capture below `pcap/FOLDER`, in the order of names.
    ///
    /// # Errors
    /// There is none, or the folder cannot be read.
    pub(crate) fn captures(&self, folder: &str) -> anyhow::Result<Vec<Capture>> {
        let base = self.root.join("pcap");
        let mut found = Vec::new();
        collect(&base.join(folder), &mut found)?;
        anyhow::ensure!(!found.is_empty(), "there is no capture below pcap/{folder}");
        found.sort();
        Ok(found
            .into_iter()
            .map(|path| Capture {
                name: path.strip_prefix(&base).unwrap_or(&path).to_string_lossy().into_owned(),
                path,
            })
            .collect())
    }
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|known| e == *known)) {
            found.push(path);
        }
    }
    Ok(())
}
