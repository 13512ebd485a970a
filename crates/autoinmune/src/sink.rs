//! Where event lines go: a file or standard output, directly or behind a bounded queue.

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Whether a path means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a destination for writing; files are truncated, or appended to when `append`.
///
/// # Errors
/// The path and the reason.
pub fn open(path: &Path, append: bool) -> anyhow::Result<Box<dyn Write + Send>> {
    if is_stdout(path) {
        return Ok(Box::new(BufWriter::new(std::io::stdout())));
    }
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(BufWriter::with_capacity(1 << 16, file)))
}

enum Message {
    Line(String),
    Reopen,
}

/// A writer thread behind a bounded queue: a slow disk costs events, which are counted, never packets.
pub struct Queue {
    sender: Option<Sender<Message>>,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Opens `path` and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn start(path: &Path, capacity: usize) -> anyhow::Result<Self> {
        let out = open(path, true)?;
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let path = path.to_path_buf();
        let thread = std::thread::Builder::new()
            .name("eve".into())
            .spawn(move || write_loop(&receiver, out, &path, &lost))
            .context("cannot start the event writer")?;
        Ok(Self { sender: Some(sender), dropped, thread: Some(thread) })
    }

    /// Queues a line, or counts it as dropped when the queue is full.
    pub fn send(&self, line: String) {
        if let Some(sender) = &self.sender
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                sender.try_send(Message::Line(line))
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the writer to close and open its file anew (log rotation).
    pub fn reopen(&self) {
        if let Some(sender) = &self.sender {
            // Waits for a place: a rotation request must not be lost, and comes from a signal, not from traffic.
            let _ = sender.send_timeout(Message::Reopen, Duration::from_secs(2));
        }
    }

    /// Lines lost so far, to a full queue or to failing writes.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_loop(receiver: &Receiver<Message>, mut out: Box<dyn Write + Send>, path: &Path, lost: &AtomicU64) {
    let mut complained = false;
    loop {
        // A quiet second flushes, so that a reader following the file sees the last events.
        let message = match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(m) => m,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                let _ = out.flush();
                continue;
            }
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
        };
        match message {
            Message::Line(mut line) => {
                line.push('\n');
                if let Err(e) = out.write_all(line.as_bytes()) {
                    lost.fetch_add(1, Ordering::Relaxed);
                    if !complained {
                        tracing::error!(
                            "cannot write events to {}: {e}; further events are lost",
                            path.display()
                        );
                        complained = true;
                    }
                }
            }
            Message::Reopen => {
                let _ = out.flush();
                match open(path, true) {
                    Ok(new) => {
                        out = new;
                        complained = false;
                    }
                    Err(e) => tracing::error!("{e:#}; events go on to the old file"),
                }
            }
        }
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_and_rotation_continues_in_a_new_file() {
        let dir = std::env::temp_dir().join(format!("aim-sink-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("eve.json");
        let queue = Queue::start(&path, 64).unwrap();
        queue.send("one".into());
        std::thread::sleep(Duration::from_millis(400));
        std::fs::rename(&path, dir.join("eve.json.1")).unwrap();
        queue.reopen();
        queue.send("two".into());
        assert_eq!(queue.dropped(), 0);
        drop(queue);
        assert_eq!(std::fs::read_to_string(dir.join("eve.json.1")).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
