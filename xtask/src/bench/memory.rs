//! Resident memory with 100,000 live flows in the agent, and with a million in a replay.

use super::agent::{self, Agent, PUBLISHED};
use super::background::{self, send};
use super::figure::{Aim, Figure, Section, number};
use super::{Setup, capture, process, progress};
use crate::shell;
use lab::address::VICTIM;
use lab::range::{Range, Side};
use lab::traffic::Control;
use std::net::{IpAddr, UdpSocket};

const FLOWS: u32 = 104_000;
const RATE: u32 = 50_000;
const MANY: u32 = 26_000;
const AIM: Aim = Aim::AtMost(60.0);
/// Of a replay.
const REPLAY_FLOWS: u32 = 1_000_000;
const REPLAY_AIM: Aim = Aim::AtMost(150.0);

/// Measures.
///
/// # Errors
/// Why it cannot be done here.
pub(crate) fn measure(setup: &Setup) -> anyhow::Result<Section> {
    let few = capture::sources4();
    let each = FLOWS.div_ceil(u32::try_from(few.len())?);
    let mut section = Section::new(format!(
        "UDP flows, each from another port, all live when memory is read. Through the range, of one packet each: from {} \
         addresses with {each} ports each, and from {} addresses with {} each. The agent runs in shadow mode, as \
         otherwise it would block the senders. MB are 10⁶ bytes of resident memory, shared pages of the program \
         included; maps in the kernel are not.",
        few.len(),
        number(f64::from(MANY)),
        FLOWS / MANY
    ));
    match agent::range() {
        Err(e) => section.note(format!("The agent's memory was not measured: {e:#}.")),
        Ok(range) => {
            let _sinks = (
                background::sink(&range)?,
                range.enter(Side::Victim, || UdpSocket::bind((VICTIM, background::SINK)))??,
            );
            let few: Vec<IpAddr> = few.into_iter().map(IpAddr::V4).collect();
            let many: Vec<IpAddr> = (0..MANY).map(background::source).collect();
            live(setup, &range, &mut section, &few, each)?;
            live(setup, &range, &mut section, &many, FLOWS / MANY)?;
            range.destroy()?;
        }
    }
    let config = capture::directory()?.join("million.toml");
    std::fs::write(&config, format!("[sensor]\nflow_capacity = {REPLAY_FLOWS}\n"))?;
    for (sources, answered) in [(252, false), (MANY, false), (252, true), (MANY, true)] {
        progress(&format!("memory of replay, {sources} sources"));
        let capture = capture::flows("flows.pcap", REPLAY_FLOWS, sources, answered)?;
        let peak = |workers: &str| -> anyhow::Result<f64> {
            let options = ["replay", "--workers", workers, "--config"];
            let mut command = shell::command(&setup.program.to_string_lossy(), &options);
            command.arg(&config).arg(&capture.path);
            Ok(process::run(command)?.peak_bytes as f64 / 1e6)
        };
        let what = format!(
            "replay, {} live flows of {} sources, {}, at most",
            number(f64::from(REPLAY_FLOWS)),
            number(f64::from(sources)),
            if answered { "answered" } else { "one packet each" }
        );
        let figure = Figure::new(what, peak("1")?, "MB").baseline(peak("2")?, "two workers");
        section.push(if answered { figure } else { figure.aim(REPLAY_AIM) });
    }
    section.explain_missed(
        "a flow takes 92 bytes in the table, 24 more with a second packet and 552 with a third; an entity takes 576, \
         beside what the agent takes without traffic.",
    );
    Ok(section)
}

/// One agent with many flows.
fn live(
    setup: &Setup,
    range: &Range,
    section: &mut Section,
    sources: &[IpAddr],
    ports: u32,
) -> anyhow::Result<()> {
    let count = number(sources.len() as f64);
    progress(&format!("memory of the agent, {count} sources"));
    let agent = Agent::start(setup, range, &format!("memory-{}", sources.len()), false)?;
    std::thread::sleep(PUBLISHED);
    let before = agent.status()?.process.resident_bytes;
    let control = Control::new();
    range.enter(Side::Outside, || {
        sources.iter().try_for_each(|source| send(*source, ports, RATE, &control).map(|_| ()))
    })??;
    // Two snapshots, and the publication of what they brought.
    std::thread::sleep(PUBLISHED * 3);
    let status = agent.status()?;
    let flows = number(status.flows as f64);
    let resident = status.process.resident_bytes as f64 / 1e6;
    let what = format!("agent, {flows} live flows of {count} sources");
    let figure = Figure::new(what, resident, "MB").baseline(before as f64 / 1e6, "without flows");
    section.push(if status.flows >= 100_000 { figure.aim(AIM) } else { figure });
    let peak = process::peak_bytes(agent.pid()).unwrap_or(0) as f64 / 1e6;
    section.note(format!(
        "Agent with {count} sources: {} datagrams sent, {flows} flows and {} entities live, {} MB at its highest; \
         losses: {}.",
        number(control.sent() as f64),
        number(status.entities as f64),
        number(peak),
        agent::losses(&status)
    ));
    if status.flows < 100_000 {
        section.note("Fewer than 100,000 flows were live: the aim is not judged by this row.");
    }
    agent.stop()
}
