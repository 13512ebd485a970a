//! Logs of services: which there are, how they are followed, and `logs`.
//!
//! [`Follower`] reads what is appended to files, or to the journal, on a thread of its own and hands login events to the
//! agent through a bounded channel; `auth` knows what lines mean.

mod command;
mod follow;
mod journal;
mod lines;
mod tail;

pub use command::{LogsCommand, run};
pub use follow::Follower;

use crate::exit::{Exit, fail};
use auth::{Clock, FormatSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use wire::Addr;

/// Largest number of files followed: each is looked at four times a second.
const MAX_FILES: usize = 256;

/// Who is logged in to where nothing more is known.
const THIS_HOST: Addr = Addr::v4([127, 0, 0, 1]);

/// The address of this host that logins are taken to be at: the first that others can reach, or the loopback address.
pub fn server() -> Addr {
    let reachable = |a: &Addr| match a.ip() {
        std::net::IpAddr::V4(a) => !a.is_loopback() && !a.is_link_local(),
        std::net::IpAddr::V6(a) => !a.is_loopback() && a.segments()[0] & 0xffc0 != 0xfe80,
    };
    let mut own: Vec<Addr> =
        kernel::host::own_addresses().into_iter().map(|(a, _)| a).filter(reachable).collect();
    own.sort_by_key(|a| (!a.is_v4(), *a));
    own.first().copied().unwrap_or(THIS_HOST)
}

/// Logs of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether logs are followed. "auto": the usual files of all known formats, as far as they exist, and those below.
    pub enabled: Enabled,
    /// Further files, each with `path` and, if it is not syslog, `format` (see `autoinmune logs list`). A file listed here is
    /// not also followed as a usual one. It need not exist yet.
    pub files: Vec<LogFile>,
    /// Whether the journal is followed, by `journalctl`. "auto": if no syslog file is there to be followed.
    pub journal: FollowJournal,
    /// Directory of further formats (`*.toml`), which take the place of shipped ones of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formats_dir: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: Enabled::Auto, files: Vec::new(), journal: FollowJournal::Auto, formats_dir: None }
    }
}

/// Whether logs are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enabled {
    /// The usual files as far as they exist, and those named.
    #[default]
    Auto,
    /// The files named, and the journal if it is "on"; nothing else.
    Named,
    /// None.
    Off,
}

/// Whether the journal is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FollowJournal {
    /// If no syslog file is there to be followed.
    #[default]
    Auto,
    /// Beside files. What stands in both then counts twice.
    On,
    /// Not at all.
    Off,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Path.
    pub path: PathBuf,
    /// Format of its lines, by name; without it, that whose usual file it is, else syslog, in which the program that wrote a
    /// line decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// The shipped formats, and those of a directory.
///
/// # Errors
/// A directory or file that cannot be read, or a faulty definition, with file and line; exit code [`Exit::Config`].
pub fn formats(dir: Option<&Path>) -> anyhow::Result<FormatSet> {
    let mut set = FormatSet::builtin();
    let Some(dir) = dir else { return Ok(set) };
    let cannot = |e: std::io::Error| {
        fail(Exit::Config, format!("logs.formats_dir: cannot read {}: {e}", dir.display()))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .map_err(|e| fail(Exit::Config, format!("cannot read {}: {e}", path.display())))?;
        set.add(&path.display().to_string(), &text).map_err(|e| fail(Exit::Config, e.to_string()))?;
    }
    Ok(set)
}

impl Settings {
    /// Why the settings cannot be used, if they cannot: the key and the reason.
    pub fn fault(&self) -> Option<String> {
        if self.files.len() > MAX_FILES {
            return Some(format!(
                "files: {} are too many; at most {MAX_FILES} are followed",
                self.files.len()
            ));
        }
        let set = match formats(self.formats_dir.as_deref()) {
            Ok(set) => set,
            Err(e) => return Some(format!("{e:#}")),
        };
        self.files.iter().find_map(|f| {
            let name = f.format.as_deref().filter(|name| set.find(name).is_none())?;
            let known: Vec<&str> = set.formats().iter().map(|f| &*f.id).collect();
            Some(format!("files: unknown format '{name}'; known are {}", known.join(", ")))
        })
    }

    /// The files to follow, with the place of their format in `set`; none: syslog.
    fn files(&self, set: &FormatSet) -> Vec<(PathBuf, Option<usize>)> {
        let mut all: Vec<(PathBuf, Option<usize>)> = Vec::new();
        if self.enabled == Enabled::Off {
            return all;
        }
        for file in &self.files {
            let format = match &file.format {
                Some(name) => set.find(name),
                None => usual(set, &file.path),
            };
            all.push((file.path.clone(), format));
        }
        if self.enabled == Enabled::Auto {
            for (at, format) in set.formats().iter().enumerate() {
                for path in format.files.iter().map(PathBuf::from) {
                    if path.exists() && all.iter().all(|(p, _)| *p != path) && all.len() < MAX_FILES {
                        all.push((path, (!format.is_syslog()).then_some(at)));
                    }
                }
            }
        }
        all
    }
}

/// The format whose usual file this is, if it is not one of syslog.
fn usual(set: &FormatSet, path: &Path) -> Option<usize> {
    set.formats().iter().position(|f| !f.is_syslog() && f.files.iter().any(|p| Path::new(p) == path))
}

/// The clock for reading lines: now, and this machine's zone.
pub fn clock() -> Clock {
    let now = jiff::Timestamp::now();
    Clock {
        now_ns: u64::try_from(now.as_nanosecond()).unwrap_or_default(),
        utc_offset_s: jiff::tz::TimeZone::system().to_offset(now).seconds(),
    }
}
