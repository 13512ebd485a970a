//! Files of the lab's file servers: in memory, bounded, the same at each start.

use crate::chance::Chance;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Largest file, bytes.
pub(super) const MAX_FILE: usize = 16 * 1024 * 1024;
/// Bytes of all files together: a few uploads of the largest size.
const MAX_TOTAL: usize = 96 * 1024 * 1024;
/// Most files.
const MAX_FILES: usize = 4096;
/// Longest name, bytes.
const MAX_NAME: usize = 255;
/// What text files are made of.
const WORDS: [&str; 12] = [
    "quarter", "invoice", "delivery", "budget", "customer", "meeting", "report", "draft", "order", "plan",
    "contract", "summary",
];
/// Kinds of documents, in turn.
const KINDS: [&str; 4] = ["txt", "csv", "doc", "dat"];

/// Files by name. Names have no directories: `/` and `\` are refused. Clones share the files.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

/// Why a file was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A name that no file may have.
    Name,
    /// One of the bounds above is reached.
    Full,
    /// No file of that name.
    Missing,
}

impl Store {
    /// `count` documents of 2 to 40 kB, named by what is in them.
    pub(super) fn with_documents(count: usize, seed: u64) -> Self {
        let store = Self::default();
        let mut chance = Chance::new(seed);
        for i in 0..count.min(MAX_FILES) {
            let word = WORDS[i % WORDS.len()];
            let name = format!("{word}-{i:03}.{}", KINDS[i % KINDS.len()]);
            let len = usize::try_from(chance.pick(2_000..40_000)).unwrap_or(2_000);
            let mut content = String::with_capacity(len + 16);
            while content.len() < len {
                content.push_str(chance.of(&WORDS).copied().unwrap_or_default());
                content.push(if chance.pick(0..12) == 0 { '\n' } else { ' ' });
            }
            // The bounds are far from reached by so few.
            let _ = store.put(&name, content.into_bytes());
        }
        store
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names and sizes, bytes.
    pub(super) fn list(&self) -> Vec<(String, usize)> {
        self.files().iter().map(|(name, content)| (name.clone(), content.len())).collect()
    }

    pub(super) fn size(&self, name: &str) -> Option<usize> {
        self.files().get(name).map(Vec::len)
    }

    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.files().get(name).cloned()
    }

    /// At most `len` bytes from `offset` on; `None` without such a file.
    pub(super) fn read(&self, name: &str, offset: usize, len: usize) -> Option<Vec<u8>> {
        let files = self.files();
        let rest = files.get(name)?.get(offset..).unwrap_or_default();
        Some(rest[..len.min(rest.len())].to_vec())
    }

    /// Writes a whole file.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) -> Result<(), Refusal> {
        let mut files = self.files();
        room(&files, name, content.len())?;
        files.insert(name.to_owned(), content);
        Ok(())
    }

    /// Writes `bytes` at `offset`, filling a hole with zeros.
    pub(super) fn write(&self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let mut files = self.files();
        let end = offset.checked_add(bytes.len()).ok_or(Refusal::Full)?;
        let size = files.get(name).map_or(0, Vec::len).max(end);
        room(&files, name, size)?;
        let file = files.entry(name.to_owned()).or_default();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Makes a file exactly `size` bytes long.
    pub(super) fn truncate(&self, name: &str, size: usize) -> Result<(), Refusal> {
        let mut files = self.files();
        room(&files, name, size)?;
        files.entry(name.to_owned()).or_default().resize(size, 0);
        Ok(())
    }

    /// Renames a file, over another one if there is.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Refusal> {
        let mut files = self.files();
        if !is_name(to) {
            return Err(Refusal::Name);
        }
        let content = files.remove(from).ok_or(Refusal::Missing)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Refusal> {
        self.files().remove(name).map(|_| ()).ok_or(Refusal::Missing)
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control)
}

/// Whether a file of that name may have `size` bytes.
fn room(files: &BTreeMap<String, Vec<u8>>, name: &str, size: usize) -> Result<(), Refusal> {
    if !is_name(name) {
        return Err(Refusal::Name);
    }
    let others: usize = files.iter().filter(|(n, _)| *n != name).map(|(_, c)| c.len()).sum();
    let new = !files.contains_key(name);
    if size > MAX_FILE || others + size > MAX_TOTAL || (new && files.len() >= MAX_FILES) {
        return Err(Refusal::Full);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_within_bounds() {
        let store = Store::with_documents(5, 1);
        assert_eq!(store.list(), Store::with_documents(5, 1).list());
        assert_eq!(store.write("a", 3, b"xy"), Ok(()));
        assert_eq!(store.get("a"), Some(b"\0\0\0xy".to_vec()));
        assert_eq!(store.read("a", 4, 9), Some(b"y".to_vec()));
        assert_eq!(store.read("a", 9, 9), Some(Vec::new()));
        assert_eq!(store.truncate("a", 1), Ok(()));
        assert_eq!((store.size("a"), store.size("b")), (Some(1), None));
        assert_eq!(store.rename("a", "b"), Ok(()));
        assert_eq!((store.remove("a"), store.remove("b")), (Err(Refusal::Missing), Ok(())));
        for name in ["", ".", "..", "a/b", "a\\b", "a\nb"] {
            assert_eq!(store.put(name, Vec::new()), Err(Refusal::Name), "{name:?}");
        }
        assert_eq!(store.write("big", MAX_FILE, b"x"), Err(Refusal::Full));
        assert_eq!(store.write("big", usize::MAX, b"x"), Err(Refusal::Full));
    }
}
