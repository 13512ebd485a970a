//! What still reaches a host: packets per source as its IP layer delivers them, behind XDP, tc and the firewall.
//!
//! Raw IP sockets (raw(7)) see exactly the packets that pass all of those, so that a block by any of them shows.

use super::{TrafficError, socket};
use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, ipproto, recv, socket_with, sockopt,
};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Receive buffer asked for, bytes: a second of a flood while the thread waits for a processor.
const BUFFER: usize = 4 * 1024 * 1024;
/// How often the thread looks whether to end.
const TICK: Duration = Duration::from_millis(50);

/// Counts IPv4 packets by source, in the network namespace of the thread that started it. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    counts: Vec<(Ipv4Addr, AtomicU64)>,
}

impl Meter {
    /// Starts counting TCP, UDP and ICMP packets from each of `sources`.
    ///
    /// # Errors
    /// Raw sockets are not permitted, or no thread could be had.
    pub fn start(sources: &[Ipv4Addr]) -> Result<Self, TrafficError> {
        let counts = sources.iter().map(|s| (*s, AtomicU64::new(0))).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), counts });
        let mut meter = Self { shared, threads: Vec::new() };
        for protocol in [ipproto::TCP, ipproto::UDP, ipproto::ICMP] {
            let fd = open(protocol).map_err(TrafficError::io("open a raw socket"))?;
            let shared = Arc::clone(&meter.shared);
            let thread = std::thread::Builder::new()
                .name("lab-meter".into())
                .spawn(move || count(&fd, &shared))
                .map_err(TrafficError::io("start a meter thread"))?;
            meter.threads.push(thread);
        }
        Ok(meter)
    }

    /// Packets from `source` so far; 0 for one not asked for.
    #[must_use]
    pub fn packets(&self, source: Ipv4Addr) -> u64 {
        self.shared.counts.iter().find(|(s, _)| *s == source).map_or(0, |(_, n)| n.load(Ordering::Relaxed))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in the thread has been printed where it happened.
            let _ = thread.join();
        }
    }
}

fn open(protocol: Protocol) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(protocol))?;
    // The default buffer also works, with a chance of counting too few at high rates.
    let _ = sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER);
    Ok(fd)
}

fn count(fd: &OwnedFd, shared: &Shared) {
    let mut buffer = [0_u8; 20];
    while !shared.stop.load(Ordering::Relaxed) {
        match recv(fd, &mut buffer, RecvFlags::empty()) {
            Ok((len, _)) => {
                let Some(&[a, b, c, d]) = buffer.get(..len).and_then(|h| h.get(12..16)) else { continue };
                let source = Ipv4Addr::new(a, b, c, d);
                if let Some((_, n)) = shared.counts.iter().find(|(s, _)| *s == source) {
                    n.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(rustix::io::Errno::AGAIN) => {
                // A failed wait is a short one.
                let _ = socket::wait(fd, PollFlags::IN, TICK);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "the meter stops counting");
                return;
            }
        }
    }
}
