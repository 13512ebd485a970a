//! `lab run`: one scenario against the real agent, from making its network to removing it.

use super::agent::{Agent, Setup};
use super::capture::{Capture, first_from};
use super::judge::{is_told, judge};
use super::report::{Report, Verdict};
use super::{ATTACH, RunArgs, range_error, scenario, stage_error, stop_flag};
use crate::cli::Format;
use crate::exit::{Exit, fail};
use ::lab::address::{PREFIX_LEN, PREFIX_LEN6, Segment};
use ::lab::range::network::{GATEWAY_PLACE, WIRES, gateway_interface, tap_interface};
use ::lab::range::sweep;
use ::lab::scenario::{Deed, Scenario, Stage, labels};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After the last step, so that what is judged once a second is judged.
pub(super) const SETTLE: Duration = Duration::from_millis(2_500);
/// How long after that an attack may still be told: on a machine that is slow the agent lags behind.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at what the agent has told.
const LOOK: Duration = Duration::from_millis(500);

/// `lab run`.
///
/// # Errors
/// The scenario cannot be played here. That it came out otherwise than expected is [`Exit::Failure`].
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let (name, scenario) = scenario(&args.scenario)?;
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)
            .map_err(|e| fail(Exit::Input, format!("cannot make the directory {}: {e}", dir.display())))?;
    }
    sweep().map_err(range_error)?;
    let stop = stop_flag()?;
    let program = std::env::current_exe().context("cannot tell the path of this program")?;
    let stage = Stage::set(&scenario, &program).map_err(stage_error)?;
    let up_seconds = begun.elapsed().as_secs_f64();
    let dir = args.out.clone().unwrap_or_else(|| stage.range().scratch().to_owned());
    let files =
        Files { capture: dir.join(format!("{name}.pcap")), eve: dir.join(format!("{name}.eve.json")) };
    let played = play(&stage, &scenario, &files, args.seed, &stop);
    let ending = Instant::now();
    // Judged before the range goes: without --out its scratch directory holds the files.
    let result = played.and_then(|played| {
        let began = began_ns(&played.deeds, &files.capture)?;
        let eve = std::fs::read_to_string(&files.eve)
            .with_context(|| format!("cannot read {}", files.eve.display()))?;
        let judgement = judge(&scenario, &played.deeds, began, &eve)?;
        Ok((played, judgement))
    });
    let judged = ending.elapsed();
    stage.strike().map_err(range_error)?;
    let (played, judgement) = result?;
    if stop.load(Ordering::Relaxed) {
        return Err(fail(Exit::Failure, "interrupted; the network is removed"));
    }
    let report = Report {
        scenario: name.clone(),
        title: scenario.title.clone(),
        kind: scenario.kind,
        twin: scenario.twin.clone(),
        expect: scenario.expect.clone(),
        false_alarm: scenario.false_alarm.clone(),
        seed: args.seed,
        judgement,
        sensor: played.sensor,
        frames: played.frames,
        frames_lost: played.frames_lost,
        losses: played.losses,
        up_seconds,
        down_seconds: (ending.elapsed() - judged).as_secs_f64(),
        seconds: begun.elapsed().as_secs_f64(),
        deeds: played.deeds,
    };
    let json = serde_json::to_string_pretty(&report)?;
    if let Some(dir) = &args.out {
        let write = |name: String, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(format!("{name}.labels.csv"), &labels(&name, &report.deeds).to_text())?;
        write(format!("{name}.report.json"), &json)?;
    }
    match args.output {
        Format::Json => println!("{json}"),
        Format::Human => print!("{}", report.text()),
    }
    Ok(if report.judgement.verdict == Verdict::Failed { Exit::Failure } else { Exit::Ok })
}

struct Files {
    capture: PathBuf,
    eve: PathBuf,
}

/// What playing left, beside files.
struct Played {
    deeds: Vec<Deed>,
    sensor: String,
    frames: u64,
    frames_lost: u64,
    losses: BTreeMap<String, u64>,
}

fn play(
    stage: &Stage,
    scenario: &Scenario,
    files: &Files,
    seed: u64,
    stop: &AtomicBool,
) -> anyhow::Result<Played> {
    let range = stage.range();
    let interface = gateway_interface(scenario.sensor);
    let setup = Setup {
        place: GATEWAY_PLACE,
        interface: &interface,
        enforce: true,
        config: &configuration(scenario),
        eve: Some(files.eve.clone()),
    };
    let mut agent = Agent::start(range, &setup)?;
    let sensor = agent.wait(ATTACH)?.sensor;
    let capture = Capture::start(range, WIRES, &tap_interface(scenario.sensor), &files.capture)?;
    let deeds = stage.play(seed, stop);
    let settling = Instant::now();
    while settling.elapsed() < SETTLE && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = || std::fs::read_to_string(&files.eve).is_ok_and(|eve| is_told(scenario, &deeds, &eve));
    while settling.elapsed() < SETTLE + PATIENCE && !stop.load(Ordering::Relaxed) && !told() {
        std::thread::sleep(LOOK);
    }
    let mut losses = agent.status().map(|s| s.losses).unwrap_or_default();
    losses.retain(|_, n| *n > 0);
    let counts = capture.finish()?;
    agent.stop()?;
    Ok(Played { deeds, sensor, frames: counts.packets, frames_lost: counts.dropped, losses })
}

/// The agent's configuration: whose networks are whose, who is allowed, and the rules that the scenario adjusts. All else is as
/// it comes.
pub fn configuration(scenario: &Scenario) -> String {
    let networks: Vec<String> = [Segment::Inside, Segment::Ot]
        .into_iter()
        .flat_map(|s| [format!("'{}/{PREFIX_LEN}'", s.host(0)), format!("'{}/{PREFIX_LEN6}'", s.host6(0))])
        .collect();
    let allowed = scenario.allow.iter().filter_map(|name| scenario.actor(name));
    let allowed: Vec<String> = allowed.flat_map(|a| a.host().addresses()).map(|a| format!("'{a}'")).collect();
    let rules = scenario.adjusted.as_ref().map_or_else(String::new, |adjusted| {
        toml::Table::from_iter([("rules".to_owned(), adjusted.rules.clone().into())]).to_string()
    });
    format!(
        "[networks]\ninside = [{}]\n[respond]\nallow = [{}]\n{rules}",
        networks.join(", "),
        allowed.join(", ")
    )
}

/// When the first hostile packet was on the wire: what an act reports, and for programs the first packet captured of
/// their addresses.
fn began_ns(deeds: &[Deed], capture: &Path) -> anyhow::Result<Option<u64>> {
    let mut began: Option<u64> = None;
    for deed in deeds.iter().filter(|d| d.class.is_some()) {
        let reported = deed.report.as_ref().and_then(|r| r.flows.iter().map(|f| f.start_ns).min());
        let first = match reported {
            Some(at_ns) => at_ns,
            None => first_from(capture, &deed.sources, deed.start_ns)?.unwrap_or(deed.start_ns),
        };
        began = Some(began.map_or(first, |b| b.min(first)));
    }
    Ok(began)
}
