//! What a service keeps of its throughput while SYNs from forged sources flood it.

use super::agent::{self, Agent, PUBLISHED};
use super::figure::{Figure, Section, median, number};
use super::{Setup, progress};
use crate::shell;
use anyhow::Context as _;
use lab::address::{CLIENT, VICTIM};
use lab::range::{Range, Side};
use lab::traffic::{Control, Limits, MAX_RATE, Server, flood, http};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PORT: u16 = 8080;
/// Rates tried, packets per second. Above [`MAX_RATE`] several generators share the rate.
const STEPS: [u32; 6] = [5_000, 10_000, 25_000, 50_000, 100_000, 150_000];
/// The rate at which processor time is compared.
const COMPARED: u32 = 25_000;
/// Clients in a closed loop: each asks again when it has its answer and has thought.
const CLIENTS: usize = 4;
const THINK: Duration = Duration::from_millis(5);
/// Bytes of a page.
const PAGE: u64 = 1000;
/// Share of the undisturbed throughput that counts as kept.
const KEPT: f64 = 0.99;
/// SYNs per second that the service takes from strangers, as configured for this section.
const LIMIT: u32 = 1000;

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let time = Duration::from_millis(if setup.quick { 1000 } else { 2000 });
    let mut section = Section::new(format!(
        "{CLIENTS} clients in a closed loop fetch a page of {} bytes over a new connection each and think for {} ms, while \
         SYNs from random addresses in {}/{} go to the same port, {} s per rate. Kept is what is at least {} % of the pages \
         per second without a flood. Protected means the agent, enforcing, with `limits.service_syn` at {}. Server, \
         clients, agent and the flood's generators share the same two processors, and a packet over veth is received on \
         its sender's processor: the rates are those of this machine as a whole, and the processor time per SYN says more.",
        number(PAGE as f64),
        THINK.as_millis(),
        flood::FORGED,
        flood::FORGED_PREFIX_LEN,
        time.as_secs(),
        KEPT * 100.0,
        number(f64::from(LIMIT)),
    ));
    let range = agent::range()?;
    // Answers to forged sources go somewhere, as they would on a real network.
    let network = format!("{}/{}", flood::FORGED, flood::FORGED_PREFIX_LEN);
    let mut route = range.command(Side::Victim, "ip");
    route.args(["route", "add", &network, "via", &CLIENT.to_string()]);
    shell::output(route).context("cannot route the forged sources")?;
    let target = SocketAddrV4::new(VICTIM, PORT);
    let server = range.enter(Side::Victim, || http::serve(target.into()))??;

    let bare = stand(&range, &server, target, time, "unprotected")?;
    let agent =
        Agent::start_with(setup, &range, "flood", true, &format!("[limits]\nservice_syn = {LIMIT}\n"))?;
    std::thread::sleep(PUBLISHED);
    let guarded = stand(&range, &server, target, time, "protected")?;
    let status = agent.status()?;
    agent.stop()?;
    drop(server);
    range.destroy()?;

    for (what, stand) in [("unprotected", &bare), ("protected", &guarded)] {
        section.push(Figure::new(format!("{what}: pages without a flood"), stand.undisturbed, "/s"));
        section.push(Figure::new(
            format!("{what}: largest flood at which {:.0} % are kept", KEPT * 100.0),
            stand.kept,
            "SYN/s",
        ));
    }
    let name = format!("processor time per SYN at {}/s, generator included", number(f64::from(COMPARED)));
    if guarded.per_syn_us > 0.0 && bare.per_syn_us > 0.0 {
        section.push(
            Figure::new(format!("protected: {name}"), guarded.per_syn_us, "µs")
                .baseline(bare.per_syn_us, "unprotected"),
        );
    } else {
        section
            .note("The processor time per SYN was not measured: all processors were busy without a flood.");
    }
    for (what, stand) in [("Unprotected", &bare), ("Protected", &guarded)] {
        let steps: Vec<String> = stand
            .steps
            .iter()
            .map(|s| format!("{:.1} % at {} sent/s", s.share * 100.0, number(s.sent)))
            .collect();
        section.note(format!("{what}, pages kept: {}.", steps.join(", ")));
    }
    let totals = status.limits.unwrap_or_default();
    section.note(format!(
        "The limits dropped {} packets; losses: {}. Unprotected, the host's own SYN cookies \
         (`net.ipv4.tcp_syncookies`, as the system sets it) keep the service reachable too; the difference is in what a \
         SYN costs.",
        number(totals.dropped_packets as f64),
        agent::losses(&status)
    ));
    Ok(section)
}

/// One rate.
struct Step {
    /// SYNs per second as sent.
    sent: f64,
    /// Of the undisturbed throughput.
    share: f64,
}

struct Stand {
    /// Pages per second without a flood.
    undisturbed: f64,
    /// The largest rate at which the share was kept, SYNs per second as sent; 0 if none. Lower ones may have missed it by
    /// chance: the steps are listed beside it.
    kept: f64,
    steps: Vec<Step>,
    /// Processor time of the whole machine per SYN beyond that of the clients alone, µs.
    per_syn_us: f64,
}

/// Floods at each rate until the service no longer keeps its throughput.
fn stand(
    range: &Range,
    server: &Server,
    target: SocketAddrV4,
    time: Duration,
    what: &str,
) -> anyhow::Result<Stand> {
    progress(&format!("flood, {what}: undisturbed"));
    let alone: Vec<(f64, f64)> =
        (0..3).map(|_| pages(range, server, target, time)).collect::<anyhow::Result<_>>()?;
    let undisturbed = median(&alone.iter().map(|a| a.0).collect::<Vec<_>>());
    let busy_alone = median(&alone.iter().map(|a| a.1).collect::<Vec<_>>());
    anyhow::ensure!(undisturbed > 0.0, "no page was served without a flood");
    let mut stand = Stand { undisturbed, kept: 0.0, steps: Vec::new(), per_syn_us: 0.0 };
    for rate in STEPS {
        progress(&format!("flood, {what}: {rate} SYN/s"));
        let flood = Flood::start(range, target, rate)?;
        let measured = pages(range, server, target, time);
        let sent = flood.stop()?;
        let (served, busy) = measured?;
        let share = served / undisturbed;
        stand.steps.push(Step { sent, share });
        if rate == COMPARED && sent > 0.0 {
            stand.per_syn_us = (busy - busy_alone).max(0.0) / sent * 1e6;
        }
        if share >= KEPT {
            stand.kept = stand.kept.max(sent);
        }
        if share < 0.5 && stand.per_syn_us > 0.0 {
            break;
        }
    }
    Ok(stand)
}

/// Pages per second that the clients get, and processors busy meanwhile.
fn pages(range: &Range, server: &Server, target: SocketAddrV4, time: Duration) -> anyhow::Result<(f64, f64)> {
    let (over, got) = (AtomicBool::new(false), AtomicU64::new(0));
    range.enter(Side::Outside, || {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                // Threads take the namespace of the one that starts them.
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        if http::download(CLIENT.into(), target.into(), PAGE).is_ok() {
                            got.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(THINK);
                    }
                });
            }
            // What begins now may still suffer from what was before.
            std::thread::sleep(Duration::from_millis(100));
            let (before, busy, begun) = (got.load(Ordering::Relaxed), busy_seconds()?, Instant::now());
            let served = server.served();
            std::thread::sleep(time);
            let seconds = begun.elapsed().as_secs_f64();
            let pages = got.load(Ordering::Relaxed) - before;
            let busy = (busy_seconds()? - busy) / seconds;
            over.store(true, Ordering::Relaxed);
            anyhow::ensure!(pages == 0 || server.served() > served, "the server counts no connection");
            Ok((pages as f64 / seconds, busy))
        })
    })?
}

/// Processor time that all processors have spent on anything, s (proc_stat(5): user, nice, system, irq, softirq).
fn busy_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat is not understood")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> =
        stat.strip_prefix("cpu ")?.lines().next()?.split_whitespace().map_while(|f| f.parse().ok()).collect();
    [0, 1, 2, 5, 6].into_iter().map(|i| fields.get(i).copied()).sum()
}

/// A flood under way; stops when dropped.
struct Flood {
    control: Control,
    begun: Instant,
    threads: Vec<std::thread::JoinHandle<std::io::Result<anyhow::Result<u64>>>>,
}

impl Flood {
    fn start(range: &Range, target: SocketAddrV4, rate: u32) -> anyhow::Result<Self> {
        let generators = rate.div_ceil(MAX_RATE);
        let limits = Limits::new(1_000_000, rate / generators, Duration::from_secs(10))?;
        let mut flood = Self { control: Control::new(), begun: Instant::now(), threads: Vec::new() };
        for series in 0..generators {
            let control = flood.control.clone();
            let series = u16::try_from(series)?;
            flood.threads.push(range.spawn(Side::Outside, "bench-flood", move || {
                Ok(flood::forged_syn_flood(target, series, limits, &control)?)
            })?);
        }
        Ok(flood)
    }

    /// Ends it; SYNs per second as sent.
    ///
    /// # Errors
    /// It had failed.
    fn stop(mut self) -> anyhow::Result<f64> {
        let rate = self.control.sent() as f64 / self.begun.elapsed().as_secs_f64();
        self.control.stop();
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a generator panicked"))???;
        }
        Ok(rate)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.control.stop();
        for thread in self.threads.drain(..) {
            // What it failed at is told by `stop`; here something else has failed already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idling_and_waiting() {
        assert_eq!(busy_ticks("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1 1 1\n"), Some(1 + 2 + 4 + 32 + 64));
        assert_eq!(busy_ticks("intr 5\n"), None);
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
    }
}
