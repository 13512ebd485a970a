//! Scratch directories and small tables.

use dataset::{Cell, Dataset, Row};
use std::path::{Path, PathBuf};

/// A directory that vanishes with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("dataset-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a scratch directory");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory");
        }
        std::fs::write(&path, content).expect("written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(path: &Path) -> Dataset {
    Dataset::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// Header and rows as comma-separated lines.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let d = open(path);
    let mut out = vec![d.schema().names().collect::<Vec<_>>().join(",")];
    d.rows(|row| {
        out.push(line(row));
        Ok(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    out
}

fn line(row: &Row) -> String {
    let cells = row.iter().map(|c| c.as_ref().map(Cell::to_text).unwrap_or_default());
    cells.collect::<Vec<_>>().join(",")
}
