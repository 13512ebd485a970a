//! What the service knows of ordinary traffic, kept over a restart: its memory of snapshots and the baseline it was trained to.
//!
//! One file in the state directory, written whole and renamed, so that a crash leaves the old one or the new one. What is not
//! understood is put aside and said; the service then begins anew.

use super::golden;
use super::judge::InUse;
use crate::keep;
use detect::snapshot::{Baseline, Held};
use learn::codec::{CodecError, Pack, ensure, from_bytes, to_bytes};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file.
const FILE: &str = "snapshots.state";
/// Largest file read: ten times what it can grow to.
const MAX_BYTES: u64 = 4 << 20;
/// Longest name of a version.
const MAX_NAME: usize = 64;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// The memory.
    history: Held,
    /// Jobs that were asked for so far: versions are named by them.
    jobs: u64,
    /// The retrained baseline in its own format, and its version; nothing where the shipped one is in use.
    baseline: Option<(Vec<u8>, String)>,
}

impl Pack for Kept {
    const KIND: [u8; 4] = *b"know";
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), CodecError> {
        self.history.check()?;
        let fits = self.baseline.as_ref().is_none_or(|(_, version)| version.len() <= MAX_NAME);
        ensure(fits, "the name of a version")
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) history: Held,
    pub(super) jobs: u64,
    pub(super) in_use: Option<InUse>,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
}

impl State {
    /// In a directory, which need not be there.
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Reads what was kept. A baseline that this program cannot use, or that knows attacks less well than the shipped one by
    /// more than `may_lose`, is left.
    pub(super) fn read(&self, may_lose: f64) -> Found {
        let kept = match keep::read(&self.path, MAX_BYTES) {
            Ok(None) => return Found::default(),
            Ok(Some(bytes)) => from_bytes::<Kept>(&bytes).map_err(|e| e.to_string()),
            Err(why) => Err(why),
        };
        let kept = match kept {
            Ok(kept) => kept,
            Err(why) => {
                keep::put_aside(&self.path, &format!("{why}; history begins anew"));
                return Found::default();
            }
        };
        let Kept { history, jobs, baseline } = kept;
        let in_use = baseline.and_then(|(bytes, version)| match usable(&bytes, may_lose) {
            Ok((baseline, accuracy)) => Some(InUse { baseline, version, accuracy }),
            Err(why) => {
                tracing::warn!("the baseline {version} is not used, but the shipped one: {why}");
                None
            }
        });
        Found { history, jobs, in_use }
    }

    /// Keeps what is to be kept. `baseline` is the one in use where it is not the shipped one.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn write(&self, history: Held, jobs: u64, baseline: Option<&InUse>) -> std::io::Result<()> {
        let baseline = baseline.map(|b| (to_bytes(b.baseline.as_ref()), b.version.clone()));
        keep::write(&self.path, &to_bytes(&Kept { history, jobs, baseline }))
    }
}

/// A baseline that this program can use, and its accuracy on the golden set.
fn usable(bytes: &[u8], may_lose: f64) -> Result<(Arc<Baseline>, f64), String> {
    let baseline: Baseline = from_bytes(bytes).map_err(|e| e.to_string())?;
    if !baseline.fits() {
        return Err("it is of other quantities".to_owned());
    }
    let baseline = Arc::new(baseline);
    let accuracy = golden::accuracy(&baseline);
    let shipped = golden::shipped().map_err(|e| e.to_string())?;
    let least = golden::accuracy(&Arc::new(shipped)) - may_lose;
    if accuracy < least {
        return Err(format!("its accuracy on the golden set is {accuracy:.3}, {least:.3} is needed"));
    }
    Ok((baseline, accuracy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aim-service-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn shipped() -> InUse {
        let baseline = Arc::new(golden::shipped().unwrap());
        InUse { accuracy: golden::accuracy(&baseline), baseline, version: "retrained-3".to_owned() }
    }

    #[test]
    fn what_was_kept_is_there_again() {
        let dir = dir("kept");
        let state = State::new(&dir);
        assert!(state.read(0.0).in_use.is_none(), "nothing yet");
        let mut history = detect::snapshot::History::new(1);
        (0..3000).for_each(|i| history.add([i as f32; 8]));
        state.write(history.held(), 3, Some(&shipped())).unwrap();
        let found = state.read(0.005);
        assert_eq!((found.history, found.jobs), (history.held(), 3));
        assert_eq!(found.in_use.unwrap().version, "retrained-3");
        state.write(history.held(), 4, None).unwrap();
        assert!(state.read(0.005).in_use.is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_another_baseline_left() {
        let dir = dir("damaged");
        let state = State::new(&dir);
        state.write(Held::default(), 3, Some(&shipped())).unwrap();
        let good = std::fs::read(&state.path).unwrap();
        let mut other_version = good.clone();
        let baseline = good.windows(4).rposition(|w| w == b"aimn").unwrap();
        other_version[baseline + 8] = 99;
        std::fs::write(&state.path, &other_version).unwrap();
        let found = state.read(0.005);
        assert!(found.in_use.is_none() && found.jobs == 3, "the history is of use nevertheless");
        for bad in [&good[..good.len() - 1], b"{}", b"", &[0xff; 4096]] {
            std::fs::write(&state.path, bad).unwrap();
            assert_eq!(state.read(0.005).jobs, 0);
            assert!(!state.path.exists());
            assert_eq!(std::fs::read(dir.join("snapshots.state.unread")).unwrap(), bad);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
