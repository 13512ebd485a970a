//! Bundles kept, and which of them is in use.
//!
//! ```text
//! STORE/
//!   active.json     which bundle is in use, and those before it, latest last
//!   bundles/ID/     bundles, each as it was signed
//!   lock            held while something changes
//! ```
//!
//! Which bundle is in use changes by the renaming of one file: whoever reads meanwhile sees the old or the new, never
//! neither.

use crate::files::{write_directory, write_file};
use crate::key::Trust;
use crate::load::Bundle;
use crate::manifest::is_name;
use crate::{Error, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Longest pointer file, bytes.
const MAX_POINTER: u64 = 64 << 10;
/// Bundles remembered for going back.
const MAX_HISTORY: usize = 32;
/// Most bundles listed.
const MAX_BUNDLES: usize = 10_000;

/// Which bundle is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    /// The bundle; none means that built into the program.
    active: Option<String>,
    /// Those in use before, latest last; `null` is the built-in one.
    history: Vec<Option<String>>,
}

/// A directory of bundles.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// A bundle of a store.
#[derive(Debug)]
pub struct Entry {
    /// What it is called.
    pub id: String,
    /// Whether it is in use.
    pub active: bool,
    /// The bundle, or why it would not be loaded.
    pub bundle: Result<Bundle>,
}

impl Store {
    /// The store in a directory, which is made when something is first kept there.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn place(&self, id: &str) -> PathBuf {
        self.dir.join("bundles").join(id)
    }

    fn pointer(&self) -> Result<Pointer> {
        let path = self.dir.join("active.json");
        let fault = |e| Error::io("read", &path, e);
        match std::fs::symlink_metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Pointer::default()),
            Err(e) => return Err(fault(e)),
            Ok(m) if !m.is_file() || m.len() > MAX_POINTER => {
                return Err(Error::NotAFile { file: path.display().to_string() });
            }
            Ok(_) => {}
        }
        let bytes = std::fs::read(&path).map_err(fault)?;
        let pointer: Pointer = serde_json::from_slice(&bytes).map_err(|e| {
            Error::Store(format!("{}: {e}; remove it to go back to the built-in bundle", path.display()))
        })?;
        for id in pointer.active.iter().chain(pointer.history.iter().flatten()) {
            if !is_name(id) {
                return Err(Error::Name(id.clone()));
            }
        }
        Ok(pointer)
    }

    fn point(&self, pointer: &Pointer) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(pointer).map_err(|e| Error::Store(e.to_string()))?;
        text.push(b'\n');
        write_file(&self.dir.join("active.json"), &text)
    }

    /// Keeps others from changing the store until the result is dropped.
    fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.dir).map_err(|e| Error::io("make", &self.dir, e))?;
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(|e| Error::io("write", &path, e))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| Error::io("lock", &path, e.into()))?;
        Ok(file)
    }

    fn ids(&self) -> Result<Vec<String>> {
        let dir = self.dir.join("bundles");
        let fault = |e| Error::io("list", &dir, e);
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(fault)?,
        };
        let mut ids = Vec::new();
        for entry in entries.take(MAX_BUNDLES) {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().into_string().unwrap_or_default();
            // A link would be a bundle of somewhere else; drafts begin with a dot.
            if is_name(&name) && entry.file_type().map_err(fault)?.is_dir() {
                ids.push(name);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// All bundles by their identifiers, each checked as for loading.
    ///
    /// # Errors
    /// The directory cannot be listed. A bundle that is wrong is no error of the list.
    pub fn list(&self, trust: &Trust) -> Result<Vec<Entry>> {
        let active = self.pointer()?.active;
        let entry = |id: String| {
            let bundle = self.get(&id, trust);
            Entry { active: active.as_ref() == Some(&id), id, bundle }
        };
        Ok(self.ids()?.into_iter().map(entry).collect())
    }

    /// Identifier of the bundle in use; none where it is the built-in one.
    ///
    /// # Errors
    /// The pointer cannot be read.
    pub fn active_id(&self) -> Result<Option<String>> {
        Ok(self.pointer()?.active)
    }

    /// The bundle in use; none where it is the built-in one.
    ///
    /// # Errors
    /// It is not as it should be. Callers say so and go on without it, or with the built-in one.
    pub fn active(&self, trust: &Trust) -> Result<Option<Bundle>> {
        self.pointer()?.active.map(|id| self.get(&id, trust)).transpose()
    }

    /// A bundle by its identifier, or an unambiguous beginning of it.
    ///
    /// # Errors
    /// There is none, several begin so, or it is not as it should be.
    pub fn get(&self, id: &str, trust: &Trust) -> Result<Bundle> {
        let id = self.resolve(id)?;
        let place = self.place(&id);
        let bundle = Bundle::load(&place, trust)?;
        if bundle.id() != id {
            let what = format!("it is bundle {}, under the name of another", bundle.id());
            return Err(Error::Store(what).within(&place));
        }
        Ok(bundle)
    }

    fn resolve(&self, id: &str) -> Result<String> {
        let ids = self.ids()?;
        if ids.iter().any(|i| i == id) {
            return Ok(id.to_owned());
        }
        let found: Vec<&String> = ids.iter().filter(|i| !id.is_empty() && i.starts_with(id)).collect();
        match found[..] {
            [one] => Ok(one.clone()),
            [] => Err(Error::Store(format!(
                "there is no bundle '{id}' in {}; see: autoinmune models list",
                self.dir.display()
            ))),
            _ => Err(Error::Store(format!("{} bundles begin with '{id}'; write more of it", found.len()))),
        }
    }

    /// Keeps a bundle, which does not put it into use. Says what it is called. Keeping it twice changes nothing, but that a
    /// kept copy which was damaged is replaced.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, bundle: &Bundle) -> Result<String> {
        let _lock = self.lock()?;
        let place = self.place(bundle.id());
        let kept = Bundle::load(&place, &Trust::new([bundle.signer()])).is_ok_and(|b| b == *bundle);
        if !kept {
            if place.exists() {
                std::fs::remove_dir_all(&place).map_err(|e| Error::io("remove", &place, e))?;
            }
            write_directory(&place, bundle.files())?;
        }
        Ok(bundle.id().to_owned())
    }

    /// Puts a bundle of the store into use.
    ///
    /// # Errors
    /// There is none, it is not as it should be, or the store cannot be written.
    pub fn promote(&self, id: &str, trust: &Trust) -> Result<Bundle> {
        let _lock = self.lock()?;
        let bundle = self.get(id, trust)?;
        let mut pointer = self.pointer()?;
        if pointer.active.as_deref() != Some(bundle.id()) {
            pointer.history.push(pointer.active.replace(bundle.id().to_owned()));
            let old = pointer.history.len().saturating_sub(MAX_HISTORY);
            pointer.history.drain(..old);
            self.point(&pointer)?;
        }
        Ok(bundle)
    }

    /// Puts the bundle into use that was before; none where that is the built-in one. Bundles that would not be loaded are
    /// passed over.
    ///
    /// # Errors
    /// There was none before, or the store cannot be written.
    pub fn roll_back(&self, trust: &Trust) -> Result<Option<Bundle>> {
        let _lock = self.lock()?;
        let mut pointer = self.pointer()?;
        while let Some(before) = pointer.history.pop() {
            let bundle = match &before {
                None => None,
                Some(id) => match self.get(id, trust) {
                    Ok(bundle) => Some(bundle),
                    Err(_) => continue,
                },
            };
            pointer.active = before;
            self.point(&pointer)?;
            return Ok(bundle);
        }
        Err(Error::Store("there is no bundle before this one to go back to".into()))
    }

    /// Removes bundles that are neither in use nor remembered for going back, but for the `keep` that were kept last.
    /// Returns those removed.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn prune(&self, keep: usize) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        let pointer = self.pointer()?;
        let used = |id: &String| {
            pointer.active.as_ref() == Some(id) || pointer.history.iter().flatten().any(|h| h == id)
        };
        let age = |id: &String| std::fs::metadata(self.place(id)).and_then(|m| m.modified()).ok();
        let mut free: Vec<String> = self.ids()?.into_iter().filter(|id| !used(id)).collect();
        free.sort_by_key(|id| std::cmp::Reverse(age(id)));
        let gone = free.split_off(keep.min(free.len()));
        for id in &gone {
            let place = self.place(id);
            std::fs::remove_dir_all(&place).map_err(|e| Error::io("remove", &place, e))?;
        }
        Ok(gone)
    }
}
