//! `capture --pcap`: the packets themselves, in captures that rotate within a limit.
//!
//! A socket and a thread for each interface, beside whatever counts the flows, so that keeping packets never slows counting
//! them. What the disk does not take is dropped by the kernel and counted.

use crate::exit::{Exit, fail};
use kernel::af_packet::AfPacket;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::LinkType;
use wire::capture::Writer;

/// Files that an interface's share of the limit is divided into; the oldest makes room for the newest.
const FILES: u64 = 8;
/// Bytes of a frame that are kept: all.
const SNAP: u32 = 65_535;
const POLL: Duration = Duration::from_millis(100);

/// The threads.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    dropped: Arc<AtomicU64>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Recorder {
    /// Starts to keep the packets of interfaces in a directory, at most `megabytes` together.
    ///
    /// # Errors
    /// If a socket cannot be opened or the directory not made.
    pub fn start(dir: &Path, interfaces: &[String], megabytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)
            .map_err(|e| fail(Exit::Input, format!("--pcap: cannot make {}: {e}", dir.display())))?;
        let share = (megabytes * 1_000_000 / interfaces.len().max(1) as u64 / FILES).max(1 << 16);
        let (stop, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        for name in interfaces {
            let socket =
                AfPacket::open(name, SNAP).map_err(|e| fail(Exit::Kernel, format!("--pcap: {e}")))?;
            let ring = Ring::new(dir, name, socket.link_type(), share)?;
            let (stop, dropped) = (Arc::clone(&stop), Arc::clone(&dropped));
            let thread = std::thread::Builder::new()
                .name("recorder".into())
                .spawn(move || record(socket, ring, &stop, &dropped))?;
            threads.push(thread);
        }
        Ok(Self { stop, dropped, threads })
    }

    /// Frames not kept.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Ends the captures.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            match thread.join() {
                Ok(result) => result.map_err(|e| fail(Exit::Failure, format!("--pcap: {e}")))?,
                Err(_) => return Err(fail(Exit::Failure, "--pcap: the recorder panicked")),
            }
        }
        Ok(())
    }
}

fn record(mut socket: AfPacket, mut ring: Ring, stop: &AtomicBool, dropped: &AtomicU64) -> io::Result<()> {
    let mut counted = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut failed = None;
        let received = socket.receive(POLL, &mut |frame| {
            if failed.is_none() {
                failed = ring.write(frame.ts_ns, frame.data, frame.orig_len).err();
            }
        });
        if let Some(e) = failed {
            return Err(e);
        }
        let now = socket.counts().unwrap_or_default().dropped;
        dropped.fetch_add(now.saturating_sub(counted), Ordering::Relaxed);
        counted = now;
        if received.is_err() {
            // The interface is gone; whoever counts flows says so.
            break;
        }
    }
    ring.close()
}

/// Captures of one interface.
struct Ring {
    dir: PathBuf,
    name: String,
    link: LinkType,
    limit: u64,
    number: u64,
    files: VecDeque<PathBuf>,
    open: Option<Writer<BufWriter<File>>>,
    bytes: u64,
}

impl Ring {
    /// Goes on behind the files that are there.
    fn new(dir: &Path, interface: &str, link: LinkType, limit: u64) -> io::Result<Self> {
        let name: String =
            interface.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let number = path
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.strip_prefix(&format!("{name}-"))?.strip_suffix(".pcap")?.parse().ok());
            found.extend(number.map(|n| (n, path)));
        }
        found.sort();
        let number = found.last().map_or(0, |(n, _)| *n);
        let files = found.into_iter().map(|(_, path)| path).collect();
        Ok(Self { dir: dir.to_owned(), name, link, limit, number, files, open: None, bytes: 0 })
    }

    fn write(&mut self, ts_ns: u64, frame: &[u8], orig_len: u32) -> io::Result<()> {
        const RECORD_HEADER: u64 = 16;
        let needed = frame.len() as u64 + RECORD_HEADER;
        if self.open.is_some() && self.bytes + needed > self.limit {
            self.close()?;
        }
        if self.open.is_none() {
            self.number += 1;
            let path = self.dir.join(format!("{}-{:06}.pcap", self.name, self.number));
            self.open =
                Some(Writer::new(BufWriter::with_capacity(1 << 18, File::create(&path)?), self.link)?);
            self.bytes = 24;
            self.files.push_back(path);
            while self.files.len() as u64 > FILES {
                if let Some(oldest) = self.files.pop_front() {
                    std::fs::remove_file(oldest)?;
                }
            }
        }
        self.bytes += needed;
        self.open.as_mut().map_or(Ok(()), |w| w.write_cut(ts_ns, frame, orig_len))
    }

    fn close(&mut self) -> io::Result<()> {
        self.open.take().map_or(Ok(()), |w| w.finish().map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_rotate_within_the_limit_and_resume() {
        let dir = std::env::temp_dir().join(format!("autoinmune-recorder-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        for _ in 0..2 {
            let mut ring = Ring::new(&dir, "eth0.7", LinkType::Ethernet, 1000).expect("a ring");
            for n in 0..200 {
                ring.write(n, &[0; 84], 84).expect("written");
            }
            ring.close().expect("closed");
        }
        let sizes: Vec<u64> = std::fs::read_dir(&dir)
            .expect("a directory")
            .map(|e| e.and_then(|e| e.metadata()).expect("a file").len())
            .collect();
        assert_eq!(sizes.len() as u64, FILES);
        assert!(sizes.iter().all(|n| *n <= 1000), "{sizes:?}");
        assert!(dir.join("eth0-7-000046.pcap").exists(), "twice 23 files of nine frames");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
