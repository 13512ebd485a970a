//! Who performs an act: arguments, limits, sockets from the right address, and the account.

use super::account::{Account, Net, Protocol, Report, now_ns};
use crate::arguments::Values;
use crate::chance::Chance;
use crate::traffic::{Control, Limits, MAX_COUNT, MAX_DURATION, Pace, TrafficError, socket};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long connecting, and any read or write, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Performs one act.
pub(super) struct Actor<'a> {
    /// Its arguments.
    pub(super) values: &'a Values,
    control: &'a Control,
    account: Account,
    begun: Instant,
}

impl<'a> Actor<'a> {
    pub(super) fn new(values: &'a Values, control: &'a Control) -> Self {
        Self { values, control, account: Account::default(), begun: Instant::now() }
    }

    pub(super) fn report(&self, act: &str, start_ns: u64) -> Report {
        self.account.report(act, start_ns)
    }

    pub(super) fn control(&self) -> &'a Control {
        self.control
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn source(&self) -> IpAddr {
        self.values.addr("source")
    }

    /// Address and port of the target.
    pub(super) fn target(&self) -> SocketAddr {
        SocketAddr::new(self.values.addr("target"), self.values.port("port"))
    }

    /// Chance by the argument `seed`; `branch` keeps threads and purposes apart.
    pub(super) fn chance(&self, branch: u64) -> Chance {
        Chance::new(self.values.number("seed") ^ branch.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// The arguments `count`, `rate` and `seconds` as limits; an act without one of the first two has no such limit of
    /// its own.
    pub(super) fn limits(&self) -> Result<Limits, TrafficError> {
        let count = match self.values.number("count") {
            0 => MAX_COUNT,
            n => n,
        };
        let rate = u32::try_from(self.values.number("rate")).unwrap_or(u32::MAX);
        Limits::new(count, rate.max(1), Duration::from_secs(self.values.number("seconds")).min(MAX_DURATION))
    }

    pub(super) fn pace(&self) -> Result<Pace<'a>, TrafficError> {
        Ok(Pace::new(self.limits()?, self.control))
    }

    /// Whether the argument `seconds` is over, or a stop was asked for.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero() || self.control.is_stopped()
    }

    /// What is left of the argument `seconds`.
    pub(super) fn left(&self) -> Duration {
        let all = Duration::from_secs(self.values.number("seconds")).min(MAX_DURATION);
        all.saturating_sub(self.begun.elapsed())
    }

    /// Sleeps, but not beyond the end; says whether to go on.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let whole = time < self.left();
        self.control.sleep(time.min(self.left())) && whole
    }

    /// A TCP connection, noted in the account whether it succeeds or not.
    pub(super) fn connect(&self, source: IpAddr, target: SocketAddr) -> io::Result<Line<'_>> {
        self.connect_with(source, target, None)
    }

    /// As [`Actor::connect`], with a receive buffer of so many bytes.
    pub(super) fn connect_with(
        &self,
        source: IpAddr,
        target: SocketAddr,
        buffer: Option<usize>,
    ) -> io::Result<Line<'_>> {
        if source.is_ipv4() != target.is_ipv4() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "addresses of different IP versions"));
        }
        let start = now_ns();
        let result = socket::connect_with(source, target, PATIENCE.min(self.left()), buffer);
        let port = result.as_ref().ok().and_then(|s| s.local_addr().ok()).map_or(0, |a| a.port());
        let ends = ((Net::from(source), port), (Net::from(target.ip()), target.port()));
        self.account.note(Protocol::Tcp, ends.0, ends.1, start, 1);
        let stream = result?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Line { stream, ends, account: &self.account })
    }

    /// A UDP socket from `source` to `target`. Whoever sends notes it, with [`Actor::datagram`].
    pub(super) fn udp(&self, source: IpAddr, target: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// Sends a datagram and notes it.
    pub(super) fn datagram(&self, socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
        self.account.flow(Protocol::Udp, socket.local_addr()?, socket.peer_addr()?);
        self.account.sent(socket.send(bytes)?);
        Ok(())
    }

    /// Sends a datagram and waits for an answer, at most `patience`.
    pub(super) fn ask(&self, socket: &UdpSocket, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
        self.datagram(socket, bytes)?;
        socket.set_read_timeout(Some(patience))?;
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer)?;
        self.account.received(len);
        buffer.truncate(len);
        Ok(buffer)
    }

    /// Does one thing and counts what became of it. A failure is the peer's (or the block's), and no reason to end.
    pub(super) fn attempt<T>(&self, what: impl FnOnce() -> io::Result<T>) -> Option<T> {
        self.account.tried(1);
        match what() {
            Ok(done) => {
                self.account.completed();
                Some(done)
            }
            Err(error) => {
                tracing::debug!(%error, "an attempt failed");
                self.account.failed();
                None
            }
        }
    }

    /// Runs `work` in `n` threads at once, each with its number, and waits for all.
    pub(super) fn together(&self, n: u64, work: impl Fn(u64) + Sync) -> Result<(), TrafficError> {
        let work = &work;
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for i in 0..n {
                let thread = std::thread::Builder::new().name(format!("lab-act-{i}"));
                threads.push(
                    thread
                        .spawn_scoped(scope, move || work(i))
                        .map_err(TrafficError::io("start a thread"))?,
                );
            }
            Ok(())
        })
    }
}

/// A TCP connection that counts its bytes in the account, and tells it when it ends.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) stream: TcpStream,
    /// Source and target, each with its port.
    ends: ((Net, u16), (Net, u16)),
    account: &'a Account,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.account.note(Protocol::Tcp, self.ends.0, self.ends.1, now_ns(), 0);
    }
}

impl Read for Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(buffer)?;
        self.account.received(len);
        Ok(len)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.stream.write(bytes)?;
        self.account.sent(len);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
