//! Sends figures to a detector elsewhere. Whatever becomes of them there, the agent judges and answers by itself.

use crate::config::Post;
use anyhow::Context as _;
use enrich::web::{Client, WebError};
use flow::Traffic;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Waits after failures: twice as long each time, from the first to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

#[derive(Default)]
struct Shared {
    waiting: Mutex<VecDeque<Value>>,
    more: Condvar,
    stop: AtomicBool,
    failures: AtomicU64,
    dropped: AtomicU64,
}

/// The sender, with a thread of its own.
pub(super) struct Poster {
    shared: Arc<Shared>,
    capacity: usize,
    interval: Duration,
    seconds: VecDeque<Traffic>,
    window: usize,
    due: Instant,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Poster {
    /// Starts it, if there is a detector to send to.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(post: &Post) -> anyhow::Result<Option<Self>> {
        let Some(url) = post.url.clone() else { return Ok(None) };
        let shared = Arc::new(Shared::default());
        let (client, key, theirs) = (Client::new(PATIENCE), post.key.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("poster".into())
            .spawn(move || send(&theirs, &client, &url, key.as_deref()))
            .context("cannot start a thread")?;
        Ok(Some(Self {
            shared,
            capacity: post.queue,
            interval: post.interval,
            seconds: VecDeque::new(),
            window: (post.window.as_secs_f64().round() as usize).max(1),
            due: Instant::now(),
            thread: Some(thread),
        }))
    }

    /// Takes the figures of the last second, about once a second, and has them sent when it is time.
    pub(super) fn take(&mut self, second: &Traffic) {
        if self.seconds.back().is_none_or(|last| last.start_ns != second.start_ns) {
            self.seconds.push_back(*second);
        }
        while self.seconds.len() > self.window {
            self.seconds.pop_front();
        }
        let now = Instant::now();
        // Figures come once a second, a little early or late.
        if now + Duration::from_millis(100) < self.due {
            return;
        }
        self.due = now + self.interval;
        let figures = figures(self.seconds.make_contiguous());
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.capacity {
            waiting.pop_front();
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back(figures);
        self.shared.more.notify_one();
    }

    /// Attempts to send that failed.
    pub(super) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Figures dropped because too many waited, or because the detector refused them.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends figures panicked");
        }
    }
}

/// Figures of some seconds in the contract's words: rates and counts are means, numbers of different things the most of one
/// second, as what is the same in two seconds is not known.
fn figures(seconds: &[Traffic]) -> Value {
    let n = seconds.len().max(1) as f64;
    let mean = |of: fn(&Traffic) -> u64| seconds.iter().map(|t| of(t) as f64).sum::<f64>() / n;
    let most = |of: fn(&Traffic) -> u32| seconds.iter().map(of).max().unwrap_or(0);
    json!({
        "packets_per_second": mean(|t| t.packets_per_second),
        "bytes_per_second": mean(|t| t.bytes_per_second),
        "unique_ips": most(|t| t.unique_ips),
        "unique_ports": most(|t| t.unique_ports),
        "tcp_packets": mean(|t| t.tcp_packets).round(),
        "udp_packets": mean(|t| t.udp_packets).round(),
        "syn_packets": mean(|t| t.syn_packets).round(),
        "time": seconds.last().map_or(0.0, |t| t.start_ns as f64 / 1e9),
    })
}

fn send(shared: &Shared, client: &Client, url: &str, key: Option<&str>) {
    let mut wait = BACKOFF[0];
    let mut away = false;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(next) = front(shared) else { continue };
        let header = key.map(|k| ("x-api-key", k));
        match client.post(url, header, next.to_string().as_bytes(), MAX_ANSWER) {
            Ok(_) => {
                done(shared);
                if std::mem::take(&mut away) {
                    tracing::info!("the detector takes figures again");
                }
                wait = BACKOFF[0];
            }
            // Sending it again would not make it any better.
            Err(WebError::Status(status))
                if (400..500).contains(&status) && status != 429 && status != 408 =>
            {
                shared.failures.fetch_add(1, Ordering::Relaxed);
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                done(shared);
                if !std::mem::replace(&mut away, true) {
                    tracing::error!(
                        "the detector refuses figures with status {status}; is {url} a detector's, and the key right?"
                    );
                }
            }
            Err(e) => {
                shared.failures.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!("figures cannot be sent to {url}: {e}; judging goes on without");
                }
                pause(shared, wait);
                wait = (wait * 2).min(BACKOFF[1]);
            }
        }
    }
}

/// The oldest that waits, after at most half a second.
fn front(shared: &Shared) -> Option<Value> {
    let waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = waiting.front() {
        return Some(first.clone());
    }
    let half = Duration::from_millis(500);
    let (waiting, _) = shared.more.wait_timeout(waiting, half).unwrap_or_else(PoisonError::into_inner);
    waiting.front().cloned()
}

fn done(shared: &Shared) {
    shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
}

/// Waits, but not beyond the end.
fn pause(shared: &Shared, wait: Duration) {
    let until = Instant::now() + wait;
    while !shared.stop.load(Ordering::Relaxed) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50).min(wait));
    }
}
