//! Capture files, one after the other, as blocks of frames.

use crate::summary::FileSummary;
use flow::tracker::CLOCK_RESTART_NS;
use std::fs::File;
use std::path::{Path, PathBuf};
use wire::capture::{Block, Reader};

/// Block size for one thread, bytes: it stays in the processor's second-level cache.
pub const BLOCK_INLINE: usize = 128 * 1024;
/// Block size between threads, bytes: so large that waking a thread for it does not show, so small that who has read it
/// finds it in its cache.
pub const BLOCK_SHARED: usize = 512 * 1024;

/// What comes next of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A block of frames.
    Frames,
    /// Frames of an earlier time: whoever has flows ends them first.
    Earlier,
    /// Nothing more.
    End,
}

/// Files being read. One that begins before the last one ended is of another time; one that follows continues, as rotated
/// captures do.
pub struct Captures<'a> {
    paths: std::slice::Iter<'a, PathBuf>,
    block_bytes: usize,
    reader: Option<Reader<File>>,
    /// First and last time of the file being read.
    span: Option<(u64, u64)>,
    /// The clock of what was read since the last [`Read::Earlier`].
    now_ns: u64,
    /// Frames held back behind a [`Read::Earlier`].
    held: Option<Block>,
    files: Vec<FileSummary>,
    duration_ns: u64,
}

impl<'a> Captures<'a> {
    /// These files, none of them opened, to be read in blocks of this size.
    pub fn new(paths: &'a [PathBuf], block_bytes: usize) -> Self {
        Self {
            paths: paths.iter(),
            block_bytes,
            reader: None,
            span: None,
            now_ns: 0,
            held: None,
            files: Vec::new(),
            duration_ns: 0,
        }
    }

    /// Reads on. The block is empty unless there are frames.
    pub fn next(&mut self, block: &mut Block) -> Read {
        if let Some(held) = self.held.take() {
            *block = held;
            self.account(block);
            return Read::Frames;
        }
        loop {
            if let Some(reader) = &mut self.reader {
                let error = reader.block(block).err();
                if !block.is_empty() {
                    let first = block.frame(0).map_or(0, |frame| frame.ts_ns);
                    if self.span.is_none() && first < self.now_ns {
                        self.now_ns = 0;
                        self.held = Some(std::mem::take(block));
                        return Read::Earlier;
                    }
                    self.account(block);
                    return Read::Frames;
                }
                self.close(error.map(|e| e.to_string()));
            }
            let Some(path) = self.paths.next() else { return Read::End };
            self.open(path);
        }
    }

    fn open(&mut self, path: &Path) {
        let path_name = path.display().to_string();
        self.files.push(FileSummary { path: path_name, packets: 0, bytes: 0, error: None });
        let opened = File::open(path)
            .map_err(|e| format!("cannot open: {e}"))
            .and_then(|file| Reader::with_buffer(file, self.block_bytes).map_err(|e| e.to_string()));
        match opened {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => self.close(Some(error)),
        }
    }

    fn close(&mut self, error: Option<String>) {
        self.reader = None;
        if let Some((first, last)) = self.span.take() {
            self.duration_ns += last - first;
        }
        if let Some(file) = self.files.last_mut() {
            file.error = error;
        }
    }

    fn account(&mut self, block: &Block) {
        let Some(file) = self.files.last_mut() else { return };
        file.packets += block.len() as u64;
        for frame in block.iter() {
            file.bytes += u64::from(frame.orig_len);
            let (first, last) = self.span.get_or_insert((frame.ts_ns, frame.ts_ns));
            *first = (*first).min(frame.ts_ns);
            *last = (*last).max(frame.ts_ns);
            if frame.ts_ns > self.now_ns || self.now_ns - frame.ts_ns > CLOCK_RESTART_NS {
                self.now_ns = frame.ts_ns;
            }
        }
    }

    /// Whether frames of an earlier time wait: [`Self::next`] has said so last.
    pub const fn has_more(&self) -> bool {
        self.held.is_some()
    }

    /// The files read so far.
    pub fn files(&self) -> &[FileSummary] {
        &self.files
    }

    /// First to last time of each file read to its end, added, s.
    #[expect(clippy::cast_precision_loss, reason = "seconds with microsecond precision suffice")]
    pub fn seconds(&self) -> f64 {
        self.duration_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::LinkType;
    use wire::capture::Writer;

    fn file(name: &str, times: &[u64], cut: usize) -> PathBuf {
        let mut writer = Writer::new(Vec::new(), LinkType::Ethernet).expect("a header");
        for at_ns in times {
            writer.write(*at_ns, &[0; 60]).expect("a frame");
        }
        let bytes = writer.finish().expect("a file");
        let path = std::env::temp_dir().join(format!("autoinmune-captures-{}-{name}", std::process::id()));
        std::fs::write(&path, &bytes[..bytes.len() - cut]).expect("written");
        path
    }

    #[test]
    fn files_continue_or_begin_anew_and_errors_are_kept() {
        const S: u64 = 1_000_000_000;
        let paths = [
            file("a", &[S, 3 * S], 0),
            file("b", &[3 * S, 2 * S, 5 * S], 0),
            PathBuf::from("/nonexistent/file"),
            file("c", &[4 * S, 6 * S], 1),
            file("d", &[], 0),
        ];
        let mut captures = Captures::new(&paths, 0);
        let mut block = Block::default();
        let mut seen = Vec::new();
        loop {
            let read = captures.next(&mut block);
            seen.push((read, block.iter().map(|f| f.ts_ns / S).collect::<Vec<_>>()));
            if read == Read::End {
                break;
            }
        }
        let frames = |times: &[u64]| (Read::Frames, times.to_vec());
        let expected =
            [frames(&[1, 3]), frames(&[3, 2, 5]), (Read::Earlier, vec![]), frames(&[4]), (Read::End, vec![])];
        assert_eq!(seen, expected);
        let packets: Vec<u64> = captures.files().iter().map(|f| f.packets).collect();
        let failed: Vec<bool> = captures.files().iter().map(|f| f.error.is_some()).collect();
        assert_eq!((packets, failed), (vec![2, 3, 0, 1, 0], vec![false, false, true, true, false]));
        assert!((captures.seconds() - 5.0).abs() < 1e-9, "{}", captures.seconds());
        for path in paths {
            let _ = std::fs::remove_file(path);
        }
    }
}
