//! Steady datagrams from many addresses, each of which stays far below every threshold of its own.

use super::capture::SOURCES6;
use anyhow::Context as _;
use lab::address::VICTIM6;
use lab::range::{Range, Side};
use lab::traffic::{Control, Limits, MAX_RATE, flood};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Port of the victim that takes datagrams and never answers.
pub(crate) const SINK: u16 = 9;
/// Senders taking turns.
const SENDERS: u32 = 200;
/// Datagrams of a turn.
const TURN: u32 = 50;
/// Longest run.
const LONGEST: Duration = Duration::from_secs(60);

/// The n-th source.
pub(crate) fn source(n: u32) -> IpAddr {
    Ipv6Addr::from_bits(SOURCES6.to_bits() + u128::from(n)).into()
}

/// A socket of the victim, so that datagrams are not answered by errors.
pub(crate) fn sink(range: &Range) -> anyhow::Result<UdpSocket> {
    range.enter(Side::Victim, || UdpSocket::bind((VICTIM6, SINK)))?.context("cannot bind the sink")
}

/// Sends `count` datagrams from `source`, from as many ports, at `rate` a second.
pub(crate) fn send(source: IpAddr, count: u32, rate: u32, control: &Control) -> anyhow::Result<u64> {
    let limits = Limits::new(count.into(), rate.min(MAX_RATE), Duration::from_secs(20))?;
    let target =
        SocketAddr::new(if source.is_ipv4() { lab::address::VICTIM.into() } else { VICTIM6.into() }, SINK);
    Ok(flood::udp_flood(source, target, 64, limits, control)?)
}

/// Background traffic under way; stops when dropped.
pub(crate) struct Background {
    control: Control,
    begun: Instant,
    thread: Option<JoinHandle<std::io::Result<anyhow::Result<()>>>>,
    _sink: UdpSocket,
}

impl Background {
    /// Starts some `rate` datagrams a second.
    pub(crate) fn start(range: &Range, rate: u32) -> anyhow::Result<Self> {
        let sink = sink(range)?;
        let control = Control::new();
        let theirs = control.clone();
        let thread = range.spawn(Side::Outside, "bench-background", move || {
            let begun = Instant::now();
            // Behind what is due by the clock it sends at full rate, so that the average is kept.
            for n in (0..SENDERS).cycle() {
                if theirs.is_stopped() || begun.elapsed() > LONGEST {
                    break;
                }
                send(source(n), TURN, MAX_RATE, &theirs)?;
                let due = Duration::from_secs_f64(theirs.sent() as f64 / f64::from(rate));
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            Ok(())
        })?;
        Ok(Self { control, begun: Instant::now(), thread: Some(thread), _sink: sink })
    }

    /// Ends it; datagrams per second as sent.
    ///
    /// # Errors
    /// It had failed.
    pub(crate) fn stop(mut self) -> anyhow::Result<f64> {
        let rate = self.control.sent() as f64 / self.begun.elapsed().as_secs_f64();
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the background traffic panicked"))???;
        }
        Ok(rate)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            // What it failed at is told by `stop`; here something else has failed already.
            let _ = thread.join();
        }
    }
}
