//! From the kernel seeing a threshold crossed to the block being in its map.

use super::agent::{self, Agent, PUBLISHED};
use super::background::Background;
use super::figure::{Aim, Figure, Section};
use super::{Setup, capture, progress};
use lab::address::VICTIM;
use lab::range::{Range, Side};
use lab::traffic::{Control, Limits, flood};
use server::view::Status;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// SYNs of each attacker and their rate a second: half as many again as the rule's 200 within a second.
const SYNS: u64 = 300;
const RATE: u32 = 10_000;
/// Quiet between attackers, so that the agent is asleep when the next one comes.
const PAUSE: Duration = Duration::from_millis(7);
const PORT: u16 = 80;
/// Datagrams a second of the background.
const BACKGROUND: u32 = 20_000;

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let mut attackers = capture::sources4();
    if setup.quick {
        attackers.truncate(50);
    }
    let range = agent::range()?;
    let _listener = range.enter(Side::Victim, || TcpListener::bind((VICTIM, PORT)))??;
    let mut section = Section::new(format!(
        "The agent enforces in one network namespace, on a veth interface; {} addresses in another each flood it with \
         {SYNS} SYNs at {RATE} a second, one after the other. The time of a block is from the kernel's clock at the \
         packet that crossed the threshold to the return of the write to the block map, as the agent shows it \
         (`status -o json`, `reaction`). `max_blocks_per_minute` is raised to let all be blocked.",
        attackers.len()
    ));
    for (load, name) in [(None, "alone"), (Some(BACKGROUND), "loaded")] {
        progress(&format!("reaction, {name}"));
        let (status, rate) = attack(setup, &range, name, &attackers, load)?;
        let beside = rate.map_or_else(String::new, |r| {
            format!(", beside {} other packets/s", super::figure::number((r / 1000.0).round() * 1000.0))
        });
        let reaction = status.reaction;
        for (q, time, aim) in [
            ("half of the blocks", reaction.p50_seconds, None),
            ("99 of 100", reaction.p99_seconds, Some(5.0)),
        ] {
            let Some(seconds) = time else { continue };
            let figure = Figure::new(format!("{q} within{beside}"), seconds * 1e3, "ms");
            section.push(match aim {
                Some(ms) => figure.aim(Aim::AtMost(ms)),
                None => figure,
            });
        }
        section.note(format!(
            "{}{beside}: {} attackers, {} blocks measured, {} in force; sensor {}; losses: {}.",
            if rate.is_some() { "Under load" } else { "Alone" },
            attackers.len(),
            reaction.blocks,
            status.blocks,
            status.sensor,
            agent::losses(&status)
        ));
    }
    range.destroy()?;
    Ok(section)
}

/// One agent, attacked by everybody in turn; its state afterwards, and the rate of the background.
fn attack(
    setup: &Setup,
    range: &Range,
    name: &str,
    attackers: &[Ipv4Addr],
    load: Option<u32>,
) -> anyhow::Result<(Status, Option<f64>)> {
    let agent = Agent::start(setup, range, name, true)?;
    let background = load.map(|rate| Background::start(range, rate)).transpose()?;
    std::thread::sleep(PUBLISHED);
    let control = Control::new();
    range.enter(Side::Outside, || {
        let limits = Limits::new(SYNS, RATE, Duration::from_secs(1))?;
        for attacker in attackers {
            flood::syn_flood((*attacker).into(), SocketAddr::new(VICTIM.into(), PORT), limits, &control)?;
            std::thread::sleep(PAUSE);
        }
        Ok::<_, anyhow::Error>(())
    })??;
    std::thread::sleep(PUBLISHED);
    let status = agent.status()?;
    let rate = background.map(Background::stop).transpose()?;
    agent.stop()?;
    Ok((status, rate))
}
