//! The ordinary client: downloads, name lookups and a long interactive session, all at once, every one checked.

use super::{Control, MAX_DURATION, TrafficError, dns, http, permit_pair, ssh};
use serde::Serialize;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sizes of the files downloaded, in turn, bytes.
const FILES: [u64; 5] = [2_000, 40_000, 10_000, 400_000, 90_000];
/// Pause between downloads.
const READING: Duration = Duration::from_millis(150);
/// Pause between lookups.
const LOOKUPS: Duration = Duration::from_millis(200);
/// Pauses between keystrokes, in turn, ms: typing, and thinking now and then.
const TYPING: [u64; 8] = [90, 140, 70, 210, 110, 60, 480, 130];
/// Pause before logging in again after a session broke.
const RECONNECT: Duration = Duration::from_millis(500);

/// Where the victim's services are.
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// [`http::serve`].
    pub http: SocketAddr,
    /// [`dns::serve`].
    pub dns: SocketAddr,
    /// [`ssh::serve`].
    pub ssh: SocketAddr,
}

/// What became of one kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Begun.
    pub tried: u64,
    /// Answered in full, every byte as expected.
    pub completed: u64,
    /// Not.
    pub failed: u64,
    /// Application bytes received by the completed ones.
    pub bytes: u64,
}

/// What became of the ordinary client's requests. Between two snapshots `tried` may exceed the sum of the others by
/// those under way; after [`Client::finish`] it never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Downloads.
    pub http: Count,
    /// Lookups.
    pub dns: Count,
    /// Keystrokes, and logins.
    pub ssh: Count,
}

impl Statistics {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Count {
        [self.http, self.dns, self.ssh].into_iter().fold(Count::default(), |a, b| Count {
            tried: a.tried + b.tried,
            completed: a.completed + b.completed,
            failed: a.failed + b.failed,
            bytes: a.bytes + b.bytes,
        })
    }
}

#[derive(Debug, Default)]
struct Tally {
    tried: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Does one request and counts what became of it.
    fn run<T>(&self, request: impl FnOnce() -> io::Result<T>, bytes: impl FnOnce(&T) -> u64) -> Option<T> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        match request() {
            Ok(done) => {
                self.completed.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes(&done), Ordering::Relaxed);
                Some(done)
            }
            Err(error) => {
                tracing::debug!(%error, "an ordinary request failed");
                self.failed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn count(&self) -> Count {
        Count {
            tried: self.tried.load(Ordering::Relaxed),
            completed: self.completed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug, Default)]
struct Tallies {
    http: Tally,
    dns: Tally,
    ssh: Tally,
}

/// A running ordinary client. It lives in the network namespace of the thread that started it, and stops when dropped.
#[derive(Debug)]
pub struct Client {
    control: Control,
    tallies: Arc<Tallies>,
    threads: Vec<JoinHandle<()>>,
}

impl Client {
    /// Starts downloading, looking up and typing, for at most `duration`: about six downloads, five lookups and six
    /// keystrokes a second.
    ///
    /// # Errors
    /// A forbidden address, a duration of zero or beyond [`MAX_DURATION`], or no thread to be had.
    pub fn start(source: IpAddr, services: Services, duration: Duration) -> Result<Self, TrafficError> {
        for service in [services.http, services.dns, services.ssh] {
            permit_pair(source, service.ip())?;
        }
        if duration.is_zero() || duration > MAX_DURATION {
            return Err(TrafficError::Limits);
        }
        let end = Instant::now() + duration;
        let mut client = Self { control: Control::new(), tallies: Arc::default(), threads: Vec::new() };
        client.run("lab-http", end, move |tallies, turn| {
            let size = FILES[usize::try_from(turn).unwrap_or(0) % FILES.len()];
            tallies.http.run(|| http::download(source, services.http, size), |bytes| *bytes);
            READING
        })?;
        client.run("lab-dns", end, move |tallies, turn| {
            let id = u16::try_from(turn & 0xffff).unwrap_or(0);
            tallies.dns.run(|| dns::lookup(source, services.dns, id, "www.example"), |bytes| *bytes);
            LOOKUPS
        })?;
        let mut session = None;
        client.run("lab-ssh", end, move |tallies, turn| {
            let mut open = match session.take() {
                Some(open) => open,
                None => match tallies.ssh.run(|| ssh::Session::open(source, services.ssh), |_| 0) {
                    Some(open) => open,
                    None => return RECONNECT,
                },
            };
            let key = b'a' + u8::try_from(turn % 26).unwrap_or(0);
            if tallies.ssh.run(|| open.press(key), |bytes| *bytes).is_some() {
                session = Some(open);
            }
            Duration::from_millis(TYPING[usize::try_from(turn).unwrap_or(0) % TYPING.len()])
        })?;
        Ok(client)
    }

    /// Starts a thread that calls `act` with the number of the turn, and pauses as long as it says, until the end.
    fn run(
        &mut self,
        name: &str,
        end: Instant,
        mut act: impl FnMut(&Tallies, u64) -> Duration + Send + 'static,
    ) -> Result<(), TrafficError> {
        let (control, tallies) = (self.control.clone(), Arc::clone(&self.tallies));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut turn = 0;
                while Instant::now() < end && control.sleep(act(&tallies, turn)) {
                    turn += 1;
                }
            })
            .map_err(TrafficError::io("start a client thread"))?;
        self.threads.push(thread);
        Ok(())
    }

    /// What became of the requests so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let Tallies { http, dns, ssh } = &*self.tallies;
        Statistics { http: http.count(), dns: dns.count(), ssh: ssh.count() }
    }

    /// Stops after the requests under way, and tells what became of all of them.
    #[must_use]
    pub fn finish(mut self) -> Statistics {
        self.end();
        self.statistics()
    }

    fn end(&mut self) {
        self.control.stop();
        for thread in self.threads.drain(..) {
            // A panic in the thread has been printed where it happened, and shows as requests never finished.
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn everything_completes_on_a_quiet_network_and_failures_are_counted() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let any = SocketAddr::new(loopback, 0);
        let http = http::serve(any).expect("http");
        let dns = dns::serve(any, Ipv4Addr::LOCALHOST).expect("dns");
        let ssh = ssh::serve(any).expect("ssh");
        let services = Services { http: http.addr(), dns: dns.addr(), ssh: ssh.addr() };
        let client = Client::start(loopback, services, Duration::from_secs(5)).expect("start");
        std::thread::sleep(Duration::from_millis(700));
        let good = client.statistics();
        drop(http);
        std::thread::sleep(Duration::from_millis(400));
        let end = client.finish();
        for count in [good.http, good.dns, good.ssh] {
            assert!(count.completed >= 2 && count.failed == 0 && count.bytes > 0, "{good:?}");
        }
        assert!(end.http.failed > 0 && end.dns.failed == 0 && end.ssh.failed == 0, "{end:?}");
        let total = end.total();
        assert_eq!(total.tried, total.completed + total.failed);
    }
}
