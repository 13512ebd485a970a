//! What the agent itself uses of the processor.

use super::agent::{self, Agent, PUBLISHED};
use super::background::Background;
use super::figure::{Figure, Section, number};
use super::process::{cpu_seconds, wakeups};
use super::{Setup, progress};
use std::time::{Duration, Instant};

/// Packets a second.
const RATES: [u32; 2] = [20_000, 100_000];

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let time = Duration::from_secs(if setup.quick { 3 } else { 10 });
    let range = agent::range()?;
    let agent = Agent::start(setup, &range, "load", true)?;
    let mut section = Section::new(format!(
        "Processor time of the agent's process over {} s each, as a share of one core; the kernel programs run in the \
         network's softirq and are not part of it. The load is datagrams of 64 bytes from 200 addresses, 10,000 flows \
         over and over.",
        time.as_secs()
    ));
    std::thread::sleep(PUBLISHED * 2);
    progress("load, idle");
    let idle = watch(&agent, time)?;
    section.push(Figure::new("idle", idle.percent, "%"));
    section.push(Figure::new("idle, wake-ups", idle.wakeups, "/s"));
    let mut after = agent.status()?;
    for asked in RATES {
        progress("load, busy");
        let background = Background::start(&range, asked)?;
        std::thread::sleep(PUBLISHED * 2);
        let before = agent.status()?;
        let busy = watch(&agent, time)?;
        after = agent.status()?;
        let rate = background.stop()?;
        let what = format!("at {} packets/s", number((rate / 100.0).round() * 100.0));
        section.push(Figure::new(what.clone(), busy.percent, "%"));
        section.push(Figure::new(format!("{what}, wake-ups"), busy.wakeups, "/s"));
        if let Some(ns) = per_packet(&before, &after) {
            section.push(Figure::new(
                format!("{what}, kernel programs, per packet, by their own clock"),
                ns,
                "ns",
            ));
        }
    }
    section.note(format!(
        "The agent sleeps on its ring buffer for at most 20 ms, reads the kernel's flow table once a second and \
         publishes its state once a second. {} flows were live under load; losses: {}.",
        number(after.flows as f64),
        agent::losses(&after)
    ));
    agent.stop()?;
    range.destroy()?;
    Ok(section)
}

/// Time of the kernel programs for each of their runs between two looks, ns.
fn per_packet(before: &server::view::Status, after: &server::view::Status) -> Option<f64> {
    let runs = |s: &server::view::Status| {
        s.programs.iter().fold((0, 0.0), |(n, t), p| (n + p.runs, t + p.run_seconds))
    };
    let ((runs_before, time_before), (runs_after, time_after)) = (runs(before), runs(after));
    (runs_after > runs_before && time_after > time_before)
        .then(|| (time_after - time_before) * 1e9 / (runs_after - runs_before) as f64)
}

struct Use {
    percent: f64,
    /// Per second.
    wakeups: f64,
}

fn watch(agent: &Agent, time: Duration) -> anyhow::Result<Use> {
    let pid = agent.pid();
    let (begun, cpu, woken) = (Instant::now(), cpu_seconds(pid)?, wakeups(pid));
    std::thread::sleep(time);
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Use {
        percent: (cpu_seconds(pid)? - cpu) / seconds * 100.0,
        wakeups: wakeups(pid).saturating_sub(woken) as f64 / seconds,
    })
}
