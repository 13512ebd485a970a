//! One file, followed through rotation and truncation.
//!
//! The file is looked at, not watched: one way that works on every file system, in containers and for files that do not
//! exist yet, at the price of a quarter of a second and two system calls for each look.

use super::lines::Lines;
use auth::MAX_LINE;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes read at once.
const CHUNK: usize = 1 << 16;
/// Bytes of one file read in one look, so that one that grows fast leaves the others their turn.
const BUDGET: usize = 16 << 20;
/// Bytes at the beginning of a file by which a text is told from another in its place: the first line's time and more.
const HEAD: usize = 64;
/// How long a file that was renamed is read on: a logger writes to it until it is told to open the new one.
const LINGER: Duration = Duration::from_secs(60);
/// How often a file that cannot be opened is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Why a file is not read at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not exist (any more, or yet).
    Missing,
    /// It may not be read.
    Forbidden,
    /// Something else, such as a directory in its place.
    Unreadable,
}

/// An open file.
#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    offset: u64,
    /// Its first bytes, up to [`HEAD`].
    head: Vec<u8>,
    lines: Lines,
}

impl Open {
    fn at_start(path: &Path) -> std::io::Result<Self> {
        // A pipe in its place must not hold up the others.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        Ok(Self {
            file,
            identity: (meta.dev(), meta.ino()),
            offset: 0,
            head: Vec::new(),
            lines: Lines::new(MAX_LINE),
        })
    }

    /// Takes all that is there for read.
    fn skip_to_end(&mut self) -> std::io::Result<()> {
        self.learn_head()?;
        self.offset = self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    fn learn_head(&mut self) -> std::io::Result<()> {
        if self.head.len() < HEAD {
            let mut bytes = [0; HEAD];
            let n = self.file.read_at(&mut bytes, 0)?;
            self.head = bytes[..n].to_vec();
        }
        Ok(())
    }

    /// Whether the file was emptied since, even if it has grown again.
    fn is_another_text(&self) -> std::io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            return Ok(true);
        }
        let mut bytes = [0; HEAD];
        let n = self.file.read_at(&mut bytes[..self.head.len()], 0)?;
        Ok(bytes[..n] != self.head[..])
    }

    /// Reads on, up to the budget; says whether the end was reached.
    fn read(&mut self, chunk: &mut [u8], each: &mut impl FnMut(&[u8])) -> std::io::Result<bool> {
        let mut left = BUDGET;
        while left > 0 {
            let n = match self.file.read(chunk) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if n == 0 {
                return Ok(true);
            }
            self.offset += n as u64;
            left = left.saturating_sub(n);
            self.lines.feed(&chunk[..n], each);
        }
        Ok(false)
    }
}

/// A file to follow; see the module.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// The file that had the name before, and since when it has not.
    before: Option<(Open, Instant)>,
    trouble: Option<Trouble>,
    /// Whether the first look is over: what is there then is old.
    begun: bool,
    tried: Option<Instant>,
    /// Times another file came into its place.
    pub rotated: u64,
    /// Times it was emptied.
    pub truncated: u64,
    /// Lines cut, of files closed since.
    cut: u64,
}

impl Tail {
    /// Follows `path` from its present end; one that comes into being later, from its beginning.
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            before: None,
            trouble: None,
            begun: false,
            tried: None,
            rotated: 0,
            truncated: 0,
            cut: 0,
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it is not read at the moment, if it is not.
    pub const fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Lines longer than [`MAX_LINE`].
    pub fn cut(&self) -> u64 {
        let of = |open: &Open| open.lines.cut;
        self.cut + self.open.as_ref().map_or(0, of) + self.before.as_ref().map_or(0, |(open, _)| of(open))
    }

    /// Hands out the lines that were added since the last look; says whether there may be more to read at once.
    pub fn look(&mut self, now: Instant, chunk: &mut [u8], each: &mut impl FnMut(&[u8])) -> bool {
        let more = self.try_look(now, chunk, each).unwrap_or_else(|e| {
            // What could be read once and cannot now is begun anew.
            self.close();
            self.trouble = Some(trouble(&e));
            false
        });
        self.begun = true;
        more
    }

    fn try_look(
        &mut self,
        now: Instant,
        chunk: &mut [u8],
        each: &mut impl FnMut(&[u8]),
    ) -> std::io::Result<bool> {
        if let Some((old, since)) = &mut self.before {
            let over = now.duration_since(*since) >= LINGER;
            if old.read(chunk, each)? && over {
                self.cut += old.lines.cut;
                self.before = None;
            }
        }
        if self.open.is_none() && !self.try_open(now)? {
            return Ok(false);
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        if open.is_another_text()? {
            open.file.rewind()?;
            open.lines.restart();
            (open.offset, open.head) = (0, Vec::new());
            self.truncated += 1;
        }
        if !open.read(chunk, each)? {
            return Ok(true);
        }
        open.learn_head()?;
        // The name may belong to another file by now; while it belongs to none, the old one is read on.
        let named = match std::fs::metadata(&self.path) {
            Ok(meta) => Some((meta.dev(), meta.ino())),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if named.is_some_and(|identity| identity != open.identity) {
            let next = Open::at_start(&self.path)?;
            if let Some((gone, _)) = self.before.take() {
                self.cut += gone.lines.cut;
            }
            self.before = self.open.replace(next).map(|old| (old, now));
            self.rotated += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Opens the file if it can be; after the first look, from its beginning.
    fn try_open(&mut self, now: Instant) -> std::io::Result<bool> {
        if self.tried.is_some_and(|at| now.duration_since(at) < RETRY)
            && self.trouble != Some(Trouble::Missing)
        {
            return Ok(false);
        }
        self.tried = Some(now);
        match Open::at_start(&self.path) {
            Ok(mut open) => {
                // Whoever may read a file from now on is not to be told its past.
                if !self.begun || self.trouble.is_some_and(|t| t != Trouble::Missing) {
                    open.skip_to_end()?;
                }
                self.open = Some(open);
                self.trouble = None;
                Ok(true)
            }
            Err(e) => {
                self.trouble = Some(trouble(&e));
                Ok(false)
            }
        }
    }

    fn close(&mut self) {
        self.cut = self.cut();
        (self.open, self.before) = (None, None);
    }
}

fn trouble(error: &std::io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound => Trouble::Missing,
        ErrorKind::PermissionDenied => Trouble::Forbidden,
        _ => Trouble::Unreadable,
    }
}

/// Room for [`Tail::look`].
pub fn chunk() -> Vec<u8> {
    vec![0; CHUNK]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A file in a folder of its own, followed.
    struct Bench {
        folder: PathBuf,
        tail: Tail,
        now: Instant,
        chunk: Vec<u8>,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("aim-tail-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let tail = Tail::new(folder.join("log"));
            Self { folder, tail, now: Instant::now(), chunk: chunk() }
        }

        fn path(&self) -> PathBuf {
            self.folder.join("log")
        }

        fn append(&self, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// Lines of a look, a quarter of a second after the last.
        fn look(&mut self) -> Vec<String> {
            let mut out = Vec::new();
            self.now += Duration::from_millis(250);
            let mut each = |l: &[u8]| out.push(String::from_utf8_lossy(l).into_owned());
            while self.tail.look(self.now, &mut self.chunk, &mut each) {}
            out
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn what_is_there_at_first_is_old_and_what_follows_is_read_once() {
        let mut b = Bench::new("append");
        b.append("old\n");
        assert!(b.look().is_empty());
        b.append("one\ntw");
        assert_eq!(b.look(), ["one"]);
        b.append("o\n");
        assert_eq!(b.look(), ["two"]);
        assert!(b.look().is_empty());
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let mut b = Bench::new("later");
        assert!(b.look().is_empty());
        assert_eq!(b.tail.trouble(), Some(Trouble::Missing));
        b.append("one\n");
        assert_eq!(b.look(), ["one"]);
        assert_eq!(b.tail.trouble(), None);
    }

    #[test]
    fn rotation_by_renaming_loses_nothing_of_either_file() {
        let mut b = Bench::new("rename");
        b.append("");
        assert!(b.look().is_empty());
        b.append("one\n");
        let old = b.folder.join("log.1");
        std::fs::rename(b.path(), &old).unwrap();
        // The logger still writes to the old file.
        File::options().append(true).open(&old).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(b.look(), ["one", "two"]);
        b.append("four\n");
        File::options().append(true).open(&old).unwrap().write_all(b"three\n").unwrap();
        assert_eq!(b.look(), ["three", "four"]);
        File::options().append(true).open(&old).unwrap().write_all(b"late\n").unwrap();
        b.append("five\n");
        assert_eq!(b.look(), ["late", "five"]);
        assert_eq!((b.tail.rotated, b.tail.truncated), (1, 0));
        b.now += LINGER;
        assert!(b.look().is_empty());
        assert!(b.tail.before.is_none(), "the old file is let go");
    }

    #[test]
    fn truncation_is_seen_even_if_the_file_has_grown_again() {
        let mut b = Bench::new("truncate");
        b.append("");
        assert!(b.look().is_empty());
        b.append("Nov 21 10:00:00 one\nNov 21 10:00:01 two\n");
        assert_eq!(b.look().len(), 2);
        File::options().write(true).open(b.path()).unwrap().set_len(0).unwrap();
        b.append("Nov 21 10:00:02 three\n");
        assert_eq!(b.look(), ["Nov 21 10:00:02 three"]);
        File::options().write(true).open(b.path()).unwrap().set_len(0).unwrap();
        b.append("Nov 21 10:00:03 four\nNov 21 10:00:04 five\nNov 21 10:00:05 six\n");
        assert_eq!(b.look().len(), 3);
        assert_eq!(b.tail.truncated, 2);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory_and_is_counted() {
        let mut b = Bench::new("long");
        b.append("");
        b.look();
        b.append(&"a".repeat(1 << 20));
        b.append("\nshort\n");
        let lines = b.look();
        assert_eq!((lines[0].len(), lines[1].as_str(), lines.len()), (MAX_LINE, "short", 2));
        assert_eq!(b.tail.cut(), 1);
    }

    #[test]
    fn a_folder_in_its_place_is_trouble_that_passes() {
        let mut b = Bench::new("folder");
        std::fs::create_dir(b.path()).unwrap();
        assert!(b.look().is_empty());
        assert_eq!(b.tail.trouble(), Some(Trouble::Unreadable));
        std::fs::remove_dir(b.path()).unwrap();
        b.now += RETRY;
        assert!(b.look().is_empty());
        b.append("one\n");
        assert_eq!(b.look(), ["one"]);
    }
}
