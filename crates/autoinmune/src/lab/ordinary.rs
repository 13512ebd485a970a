//! `lab ordinary`: an hour, or as long as one likes, of people and machines who mean no harm; every incident is a false alarm.

use super::agent::{Agent, Setup};
use super::capture::Capture;
use super::judge::alarms;
use super::report::{Block, Finding};
use super::run::{SETTLE, configuration};
use super::{ATTACH, OrdinaryArgs, range_error, stage_error, stop_flag};
use crate::cli::Format;
use crate::exit::{Exit, fail};
use ::lab::address::Segment;
use ::lab::range::network::{GATEWAY_PLACE, WIRES, gateway_interface, tap_interface};
use ::lab::range::sweep;
use ::lab::scenario::ordinary::{ROUND_SECONDS, repertoire, round};
use ::lab::scenario::{Ended, Scenario, Stage, labels};
use anyhow::Context as _;
use respond::Ttl;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest run: a day.
const MOST: u64 = 24 * 3600;
/// The watched interface: what people outside and inside want of each other passes it.
const SENSOR: Segment = Segment::Outside;
/// False alarms accepted in an hour; in less than one, none.
const ALARMS_PER_HOUR: f64 = 1.0;
/// Steps that failed and are named in the report.
const NAMED: usize = 10;

/// How often a thing was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count {
    done: u64,
    failed: u64,
}

/// `lab ordinary -o json`, and `ordinary.report.json` of `--out`.
#[derive(Debug, Serialize)]
struct Report {
    /// What chance depended on.
    seed: u64,
    /// How the sensor was attached.
    sensor: String,
    /// For how long it was played, s.
    seconds: f64,
    /// Rounds drawn from the repertoire.
    rounds: u64,
    /// Steps by act or tool.
    steps: BTreeMap<String, Count>,
    /// The first that failed, and why.
    failed: Vec<String>,
    /// Packets that the agent saw.
    packets: u64,
    /// Mean of them a second.
    packets_per_second: f64,
    /// What the agent did not see or keep, by reason; zeros left out.
    losses: BTreeMap<String, u64>,
    /// False alarms accepted.
    accepted: u64,
    /// All incidents, whatever their severity.
    incidents: Vec<Finding>,
    /// All blocks.
    blocks: Vec<Block>,
    /// Whether there were no more incidents than accepted, and no blocks.
    passed: bool,
}

/// `lab ordinary`.
///
/// # Errors
/// It cannot be played here. Too many false alarms are [`Exit::Failure`].
pub fn run(args: &OrdinaryArgs) -> anyhow::Result<Exit> {
    let duration: Ttl = args.duration.parse().map_err(|e| fail(Exit::Input, format!("--duration: {e}")))?;
    if duration.secs() > MOST {
        return Err(fail(Exit::Input, "--duration is at most 24h"));
    }
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)
            .map_err(|e| fail(Exit::Input, format!("cannot make the directory {}: {e}", dir.display())))?;
    }
    let scenario = repertoire()?;
    sweep().map_err(range_error)?;
    let stop = stop_flag()?;
    let program = std::env::current_exe().context("cannot tell the path of this program")?;
    let stage = Stage::set(&scenario, &program).map_err(stage_error)?;
    let played = play(&stage, &scenario, args, Duration::from_secs(duration.secs()), &stop);
    stage.strike().map_err(range_error)?;
    let report = played?;
    if stop.load(Ordering::Relaxed) {
        return Err(fail(Exit::Failure, "interrupted; the network is removed"));
    }
    let json = serde_json::to_string_pretty(&report)?;
    if let Some(dir) = &args.out {
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        // Nobody meant harm: no rows.
        write("ordinary.labels.csv", &labels("ordinary", &[]).to_text())?;
        write("ordinary.report.json", &json)?;
    }
    match args.output {
        Format::Json => println!("{json}"),
        Format::Human => print!("{}", report.text()),
    }
    Ok(if report.passed { Exit::Ok } else { Exit::Failure })
}

fn play(
    stage: &Stage,
    scenario: &Scenario,
    args: &OrdinaryArgs,
    duration: Duration,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    let range = stage.range();
    let dir = args.out.as_deref().unwrap_or_else(|| range.scratch());
    let eve = dir.join("ordinary.eve.json");
    let interface = gateway_interface(SENSOR);
    let setup = Setup {
        place: GATEWAY_PLACE,
        interface: &interface,
        enforce: true,
        config: &configuration(scenario),
        eve: Some(eve.clone()),
    };
    let mut agent = Agent::start(range, &setup)?;
    let sensor = agent.wait(ATTACH)?.sensor;
    // An hour is hundreds of megabytes: kept where somebody asked for it.
    let capture = args
        .out
        .as_deref()
        .map(|dir: &Path| Capture::start(range, WIRES, &tap_interface(SENSOR), &dir.join("ordinary.pcap")));
    let capture = capture.transpose()?;
    let began_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let begun = Instant::now();
    let (mut rounds, mut steps, mut failed) = (0, BTreeMap::<String, Count>::new(), Vec::new());
    while begun.elapsed() < duration && !stop.load(Ordering::Relaxed) {
        let left = (duration - begun.elapsed()).as_secs_f64().min(ROUND_SECONDS);
        let seed = args.seed.wrapping_mul(1_000_000_007).wrapping_add(rounds);
        for deed in stage.play_steps(&round(scenario, left, seed), seed, stop) {
            let count = steps.entry(deed.what.clone()).or_default();
            match deed.ended {
                Ended::Done | Ended::Stopped => count.done += 1,
                Ended::Failed(why) => {
                    count.failed += 1;
                    let said = deed.said.lines().last().unwrap_or_default();
                    failed.push(format!("{} by {}: {why} {said}", deed.what, deed.from).trim().to_owned());
                    failed.truncate(NAMED);
                }
            }
        }
        rounds += 1;
        // A round that draws little leaves time of its own.
        let over =
            duration.min(Duration::from_secs_f64(ROUND_SECONDS) * u32::try_from(rounds).unwrap_or(u32::MAX));
        while begun.elapsed() < over && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let settling = Instant::now();
    while settling.elapsed() < SETTLE && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = agent.status()?;
    if let Some(capture) = capture {
        capture.finish()?;
    }
    agent.stop()?;
    let text = std::fs::read_to_string(&eve).with_context(|| format!("cannot read {}", eve.display()))?;
    let (incidents, blocks) = alarms(u64::try_from(began_ns).unwrap_or(u64::MAX), &text)?;
    let accepted = (seconds.round() / 3600.0 * ALARMS_PER_HOUR) as u64;
    let packets = status.interfaces.iter().map(|i| i.packets).sum();
    let mut losses = status.losses;
    losses.retain(|_, n| *n > 0);
    Ok(Report {
        seed: args.seed,
        sensor,
        seconds,
        rounds,
        steps,
        failed,
        packets,
        packets_per_second: packets as f64 / seconds.max(1.0),
        losses,
        accepted,
        passed: incidents.len() as u64 <= accepted && blocks.is_empty(),
        incidents,
        blocks,
    })
}

impl Report {
    fn text(&self) -> String {
        let mut rows = vec![["WHAT", "DONE", "FAILED"].map(str::to_owned).to_vec()];
        for (what, count) in &self.steps {
            rows.push(vec![what.clone(), count.done.to_string(), count.failed.to_string()]);
        }
        let mut out = crate::text::table(&rows);
        for why in &self.failed {
            let _ = writeln!(out, "Failed: {why}");
        }
        for i in &self.incidents {
            let after = i.seconds.unwrap_or_default();
            let severity = format!("{:?}", i.severity).to_lowercase();
            let _ = writeln!(
                out,
                "Incident ({severity}): {} by {} after {after:.0} s; {}",
                i.classes.join(", "),
                i.actor,
                i.rules.join(", ")
            );
        }
        for b in &self.blocks {
            let _ = writeln!(out, "Blocked: {} after {:.0} s", b.address, b.seconds.unwrap_or_default());
        }
        let _ = writeln!(
            out,
            "\n{} false alarms ({} accepted) and {} blocks in {:.0} s; {} packets ({:.0} a second), {} on the wire",
            self.incidents.len(),
            self.accepted,
            self.blocks.len(),
            self.seconds,
            self.packets,
            self.packets_per_second,
            self.sensor
        );
        out
    }
}
