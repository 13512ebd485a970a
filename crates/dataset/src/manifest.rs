//! What a dataset's directory says of itself: how it was made, by what, from when to when, and what was lost on the way.

use crate::parts::Format;
use crate::schema::Schema;
use crate::{Dataset, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Name of the file in the dataset's directory.
pub const FILE: &str = "dataset.toml";

/// Version of the file's format.
pub const VERSION: u32 = 1;

/// Largest file read, bytes: thousands of runs.
const MAX_FILE: u64 = 8 << 20;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`]
    pub manifest: u32,
    /// Program that wrote it, with its version.
    pub program: String,
    /// SHA-256 over names and types of the columns, see [`Schema::hash`].
    pub schema_sha256: String,
    /// Names of the columns with their types.
    pub columns: Vec<String>,
    /// Format of the parts.
    pub format: Format,
    /// Where flows were cut: `adaptive` (1, 10 or 60 s by what they are) or `whole` (at the active timeout).
    pub windows: String,
    /// How addresses were replaced: `none` or `crypto-pan`.
    pub anonymised: String,
    /// Whether and how packets are kept: `none`, or where and up to which size.
    pub payload: String,
    /// How long it is to be kept, in the words of who made it.
    pub retention: String,
    /// Rows of all runs.
    pub rows: u64,
    /// Each time that something was added.
    #[serde(default)]
    pub runs: Vec<Run>,
}

/// A stretch of time in which rows were added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The command line.
    pub command: String,
    /// When it began, RFC 3339.
    pub start: String,
    /// When it ended, RFC 3339.
    pub end: String,
    /// Interfaces or files it watched or read.
    pub interfaces: Vec<String>,
    /// How it watched: `xdp-native`, `af-packet`, …
    pub sensor: String,
    /// Packets seen.
    pub packets: u64,
    /// Rows written.
    pub rows: u64,
    /// Whether it ended as it should; else it was cut off, and figures are those last written.
    pub clean: bool,
    /// What was lost, by reason; zeros included.
    #[serde(default)]
    pub losses: BTreeMap<String, u64>,
}

/// Losses that are packets or flows not seen or not written; others (frames that are no IP, tunnels that are opaque) tell of
/// the traffic, not of the capture.
const LOSSES: [&str; 5] = [
    "af_packet_dropped",
    "kernel_flow_insert_failed",
    "ringbuf_lost",
    "flows_not_written",
    "recorder_dropped",
];

impl Manifest {
    /// Of a dataset that has nothing yet.
    #[must_use]
    pub fn new(schema: &Schema, format: Format) -> Self {
        Self {
            manifest: VERSION,
            program: format!("autoinmune {}", env!("CARGO_PKG_VERSION")),
            schema_sha256: schema.hash(),
            columns: schema.columns().iter().map(|c| format!("{}:{}", c.name, c.kind.name())).collect(),
            format,
            windows: "whole".into(),
            anonymised: "none".into(),
            payload: "none".into(),
            retention: "not stated".into(),
            rows: 0,
            runs: Vec::new(),
        }
    }

    /// The manifest of a directory, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
            Ok(meta) if meta.len() > MAX_FILE => {
                return Err(Error::table(&path, format!("has more than {MAX_FILE} bytes")));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|e| Error::table(&path, format!("is not a manifest: {}", e.message())))?;
        if manifest.manifest != VERSION {
            let what = format!("is of version {}, this program knows {VERSION}", manifest.manifest);
            return Err(Error::table(&path, what));
        }
        Ok(Some(manifest))
    }

    /// The manifest of a dataset; a file alone has none, whatever lies beside it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(dataset: &Dataset) -> Result<Option<Self>> {
        if dataset.path().is_dir() { Self::load(dataset.path()) } else { Ok(None) }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Of the file.
    pub fn save(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(FILE);
        let draft = dir.join(format!("{FILE}.new"));
        let fault = |e| Error::io("write", &path, e);
        let text = toml::to_string(self).map_err(|e| Error::table(&path, e.to_string()))?;
        let mut file = std::fs::File::create(&draft).map_err(fault)?;
        file.write_all(b"# Written by autoinmune; read by `autoinmune dataset`.\n").map_err(fault)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
        std::fs::rename(&draft, &path).map_err(fault)?;
        Ok(path)
    }

    /// Packets seen and lost in all runs.
    #[must_use]
    pub fn packets(&self) -> (u64, u64) {
        let seen = self.runs.iter().map(|r| r.packets).sum();
        let lost = self.runs.iter().map(Run::lost).sum();
        (seen, lost)
    }

    /// When runs began and ended, ns since 1970.
    #[must_use]
    pub fn spans(&self) -> Vec<(u64, u64)> {
        let time = crate::parse_time;
        self.runs.iter().filter_map(|r| Some((time(&r.start)?, time(&r.end)?))).collect()
    }
}

impl Run {
    /// Packets and flows lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.iter().filter(|(name, _)| LOSSES.contains(&name.as_str())).map(|(_, n)| n).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Kind};

    #[test]
    fn what_was_written_reads_back() {
        let dir = crate::parts::scratch_dir("autoinmune-manifest").expect("a directory");
        assert_eq!(Manifest::load(&dir).expect("nothing there"), None);
        let schema = Schema::new(vec![Column { name: "a b".into(), kind: Kind::Real }]).expect("a column");
        let mut m = Manifest::new(&schema, Format::Parquet);
        m.runs.push(Run {
            start: "2026-01-01T00:00:00Z".into(),
            end: "2026-01-01T00:00:01Z".into(),
            packets: 90,
            losses: [("af_packet_dropped".to_owned(), 10), ("not_ip".to_owned(), 5)].into(),
            ..Run::default()
        });
        m.save(&dir).expect("saved");
        let back = Manifest::load(&dir).expect("read").expect("there");
        assert_eq!(back, m);
        assert_eq!((back.packets(), back.spans().len()), ((90, 10), 1));
        std::fs::write(dir.join(FILE), "manifest = 1\nrow = 3\n").expect("written");
        assert!(Manifest::load(&dir).is_err_and(|e| e.to_string().contains("is not a manifest")));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
