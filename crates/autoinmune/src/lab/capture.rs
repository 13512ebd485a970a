//! A capture of what reaches the sensor's interface, and leaves it, before the sensor drops anything.

use anyhow::Context as _;
use kernel::af_packet::{AfPacket, CaptureCounts};
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::capture::{Reader, Writer};

/// Bytes of each frame kept: all of it.
const SNAP: u32 = 65_535;
/// How often it looks whether to end.
const TICK: Duration = Duration::from_millis(50);

/// A capture under way. It ends when dropped; [`Capture::finish`] tells how it went.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<anyhow::Result<CaptureCounts>>>>,
}

impl Capture {
    /// Begins to write frames of an interface in a place of a range to `path`, and returns once it listens.
    ///
    /// # Errors
    /// The file or the interface cannot be opened.
    pub fn start(
        range: &lab::range::Range,
        place: &str,
        interface: &str,
        path: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (told, listening) = std::sync::mpsc::channel();
        let (flag, interface) = (Arc::clone(&stop), interface.to_owned());
        let thread = range.spawn(place, "lab-capture", move || {
            let mut socket = AfPacket::open(&interface, SNAP)?;
            let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file), socket.link_type())?;
            // Nobody waits any more if the other end is gone.
            let _ = told.send(());
            // One more look after the end, for what has arrived.
            loop {
                let last = flag.load(Ordering::Relaxed);
                let mut failed = None;
                let taken = socket.receive(TICK, &mut |frame| {
                    let written = writer.write_cut(frame.ts_ns, frame.data, frame.orig_len);
                    failed = failed.take().or(written.err());
                })?;
                if let Some(e) = failed {
                    return Err(e.into());
                }
                if last && taken == 0 {
                    break;
                }
            }
            writer.finish()?;
            Ok(socket.counts()?)
        })?;
        let mut capture = Self { stop, thread: Some(thread) };
        if listening.recv().is_err() {
            return Err(capture.end().err().unwrap_or_else(|| anyhow::anyhow!("the capture ended at once")));
        }
        Ok(capture)
    }

    /// Ends it, and returns what the kernel counted.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub fn finish(mut self) -> anyhow::Result<CaptureCounts> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<CaptureCounts> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(CaptureCounts::default()) };
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the capture has panicked"))?
            .context("cannot enter the range")?
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Only on the way out of another error, which is what is told.
            let _ = self.end();
        }
    }
}

/// When the first frame from any of `sources` at or after `from_ns` was captured.
///
/// # Errors
/// The file cannot be read.
pub fn first_from(path: &Path, sources: &[IpAddr], from_ns: u64) -> anyhow::Result<Option<u64>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = Reader::new(file)?;
    while let Some(frame) = reader.next()? {
        if frame.ts_ns < from_ns {
            continue;
        }
        let packet = frame.link.and_then(|link| wire::parse(link, frame.data, frame.orig_len).ok());
        if packet.is_some_and(|p| sources.contains(&p.src.ip())) {
            return Ok(Some(frame.ts_ns));
        }
    }
    Ok(None)
}
