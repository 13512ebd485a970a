//! Which captures the learned detectors are trained on: a file, so that a bundle can be made again.

use crate::exit::{Exit, fail};
use anyhow::Context as _;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Sets of captures, in order.
    pub set: Vec<Set>,
}

/// Captures of one directory and everything below it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Which of the directories given on the command line, by its name there.
    pub from: String,
    /// The directory or capture within that one.
    pub path: PathBuf,
    /// Class of all their flows; without it, each capture has labels beside it.
    pub class: Option<String>,
    /// How sure it is that what is benign by that is usual too, 0 to 1.
    #[serde(default = "sure")]
    pub confidence: f32,
    /// What ends the part of a name that tells what a capture is of: captures whose names begin alike are one group. Without it
    /// each capture is a group of its own.
    pub until: Option<String>,
    /// Only captures whose names begin with one of these.
    pub only: Option<Vec<String>>,
}

const fn sure() -> f32 {
    1.0
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| fail(Exit::Input, format!("--plan {}: cannot read: {e}", path.display())))?;
        let plan: Self = toml::from_str(&text)
            .map_err(|e| fail(Exit::Input, format!("--plan {}: {e}", path.display())))?;
        match plan.set.iter().find(|s| !(0.0..=1.0).contains(&s.confidence)) {
            Some(set) => Err(fail(
                Exit::Input,
                format!("--plan {}: confidence = {} is not between 0 and 1", path.display(), set.confidence),
            )),
            None => Ok(plan),
        }
    }
}

impl Set {
    /// Its captures below `root`, in order of name.
    ///
    /// # Errors
    /// There are none, or a directory cannot be read.
    pub fn captures(&self, root: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&root.join(&self.path), &mut found)?;
        found.sort();
        found.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.only.as_ref().is_none_or(|only| only.iter().any(|prefix| name.starts_with(prefix.as_str())))
        });
        if found.is_empty() {
            let place = root.join(&self.path);
            return Err(fail(
                Exit::Input,
                format!("no captures in {}, which the plan names", place.display()),
            ));
        }
        Ok(found)
    }
}

impl Set {
    /// What a capture is of: those of one family are judged by models that saw none of them.
    #[must_use]
    pub fn family(&self, path: &Path) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match &self.until {
            Some(end) => name.split(end.as_str()).next().unwrap_or_default().to_owned(),
            None => path.to_string_lossy().into_owned(),
        }
    }
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        let ending = path.extension().and_then(|e| e.to_str());
        if path.is_file() && matches!(ending, Some("pcap" | "pcapng" | "cap")) {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    for entry in entries {
        walk(&entry.with_context(|| format!("cannot read {}", path.display()))?.path(), found)?;
    }
    Ok(())
}
