//! What judging costs, by the models of a bundle on the flows and windows of captures, on one thread, as JSON. For
//! `cargo xtask bench --section learn`:
//!
//! `cargo run --release -p detect --example judging_rate -- BUNDLE CAPTURE…`
//!
//! Times are of the processor, so that what else runs on the machine is in them only as far as it takes caches away.

#![expect(clippy::disallowed_methods, reason = "reads files and a clock")]

use detect::learned::ensemble::{Ensemble, hour_of_week, source_key};
use detect::learned::flows::{FlowCalibration, FlowModel};
use detect::learned::row::Columns;
use detect::learned::{Learned, Models};
use flow::feature::Subject;
use flow::recent::Shared;
use flow::{Census, CensusConfig, FlowRecord, Tracker, TrackerConfig, What};
use learn::hybrid::{Hybrid, Scratch};
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use wire::capture::Reader;

/// Nanoseconds between two ticks of the clock, at least.
const TICK_NS: u64 = 50_000_000;
/// Rows judged at once in the line.
const TOGETHER: usize = 32;
/// How often a time is taken, each of at least so long: the kernel counts a thread's time in steps of milliseconds.
const TURNS: usize = 5;
const LONG_NS: u64 = 200_000_000;
/// Flows and windows that are timed alone: enough to leave the first caches.
const MOST: usize = 20_000;

/// Time of the processor that this thread used, ns.
fn used_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

/// Frames of some captures, one after the other in time.
fn frames(paths: &[String]) -> Vec<(u64, wire::LinkType, u32, Vec<u8>)> {
    let mut all: Vec<(u64, wire::LinkType, u32, Vec<u8>)> = Vec::new();
    for path in paths {
        let file = File::open(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let Ok(mut reader) = Reader::new(file) else { continue };
        let now = all.last().map_or(1_000_000_000_000, |f| f.0 + 1_000_000);
        let mut first = None;
        while let Ok(Some(frame)) = reader.next() {
            let Some(link) = frame.link else { continue };
            let at = now + frame.ts_ns.saturating_sub(*first.get_or_insert(frame.ts_ns));
            all.push((at, link, frame.orig_len, frame.data.to_vec()));
        }
    }
    all
}

/// What the frames were made into.
#[derive(Default)]
struct Found {
    flows: Vec<FlowRecord>,
    windows: Vec<(u64, u16, detect::learned::watch::Sequence)>,
    judged: (u64, u64),
}

/// The line from frames to evidence, without rules.
fn run(frames: &[(u64, wire::LinkType, u32, Vec<u8>)], models: Option<&Models>, keep: bool) -> Found {
    let (mut tracker, mut census) =
        (Tracker::new(TrackerConfig::default()), Census::new(CensusConfig::default()));
    let mut learned = models.map(|m| Learned::new(m, 1).expect("models that fit"));
    if let Some(learned) = &mut learned {
        census.keep_past();
        if keep {
            learned.keep_judged();
        }
    }
    let (mut found, mut events, mut active, mut signals) =
        (Found::default(), Vec::new(), Vec::new(), Vec::new());
    let mut tick = frames.first().map_or(0, |f| f.0);
    let nobody = |_| false;
    let mut hear = |events: &mut Vec<flow::Event>, census: &mut Census, learned: &mut Option<Learned>| {
        for event in events.drain(..) {
            census.take(&event, &mut active);
            active.clear();
            if let Some(learned) = learned {
                learned.take(&event, census, &nobody, &mut signals);
            }
            if let (true, What::Ended(record, _)) = (keep, &event.what) {
                found.flows.push(**record);
            }
        }
    };
    for (at, link, orig_len, data) in frames {
        // Silence is passed in one step: it costs the same with models and without.
        if tick + TICK_NS <= *at {
            tick = *at;
            tracker.advance(tick, &mut events);
            hear(&mut events, &mut census, &mut learned);
            census.advance(tick);
            if let Some(learned) = &mut learned {
                learned.advance(tick, &mut census, &nobody, &mut Vec::new());
            }
        }
        if let Ok(packet) = wire::parse(*link, data, *orig_len) {
            tracker.observe(*at, &packet, &mut events);
            hear(&mut events, &mut census, &mut learned);
        }
    }
    tracker.finish(&mut events);
    hear(&mut events, &mut census, &mut learned);
    if let Some(learned) = &mut learned {
        learned.finish(tick, &mut census, &nobody, &mut Vec::new());
        let mut judged = Vec::new();
        learned.take_judged(&mut judged);
        let plain = |w: detect::learned::JudgedWindow| {
            (source_key(w.observed.addr), hour_of_week(w.observed.start_ns), w.observed.sequence)
        };
        found.windows = judged.into_iter().map(plain).collect();
        let counters = learned.counters();
        found.judged = (counters.flows.judged, counters.windows_judged);
    }
    found
}

/// The least time that each of `n` things takes, ns.
fn least(n: usize, mut turn: impl FnMut()) -> f64 {
    let time = |_| {
        let (begun, mut turns) = (used_ns(), 0);
        loop {
            turn();
            turns += 1;
            let used = used_ns() - begun;
            if used >= LONG_NS {
                break used as f64 / (turns * n.max(1)) as f64;
            }
        }
    };
    (0..TURNS).map(time).fold(f64::INFINITY, f64::min).round()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, captures @ ..] = &args[..] else {
        eprintln!("usage: judging_rate BUNDLE CAPTURE…");
        return;
    };
    let bytes = |name: &str| {
        let path = Path::new(bundle).join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let hybrid: Hybrid = learn::codec::from_bytes(&bytes("flow.model")).expect("a classifier");
    let calibration: FlowCalibration =
        learn::codec::from_bytes(&bytes("flow-calibration.model")).expect("a calibration");
    // How many alarms are accepted has nothing to do with what they cost.
    let flows = FlowModel { hybrid, calibration, alarms_per_day: 1.0, seen: 0.0 };
    let ensemble: Ensemble = learn::codec::from_bytes(&bytes("windows.model")).expect("an ensemble");
    let models = Models { flows: Some(Arc::new(flows)), ensemble: Some(Arc::new(ensemble)) };
    let (Some(flows), Some(ensemble)) = (&models.flows, &models.ensemble) else { return };
    let frames = frames(captures);

    let found = run(&frames, Some(&Models::default()), true);
    let records = &found.flows[..found.flows.len().min(MOST)];
    let hybrid = &flows.hybrid;
    let columns = Columns::new(hybrid.schema()).expect("features of flows");
    let (width, mut rows) = (hybrid.schema().len(), Vec::new());
    let fill = least(records.len(), || {
        rows.clear();
        for record in records {
            columns.append(&Subject { record, shared: Shared::default() }, &mut rows);
        }
    });
    let mut scratch = Scratch::default();
    let single = least(records.len(), || {
        for row in rows.chunks_exact(width) {
            black_box(hybrid.judge(row, &mut scratch).score);
        }
    });
    let together = least(records.len(), || {
        for rows in rows.chunks(width * TOGETHER) {
            hybrid.judge_rows(rows, &mut scratch, |_, judged| {
                black_box(judged.score);
            });
        }
    });
    let mut asked = 0;
    hybrid.judge_rows(&rows, &mut scratch, |_, j| asked += usize::from(j.p_normal < hybrid.normal_at));
    let windows = &found.windows[..found.windows.len().min(MOST)];
    let window = least(windows.len(), || {
        for (source, hour, sequence) in windows {
            black_box(ensemble.judge(*source, *hour, sequence));
        }
    });

    // In place: what the whole line takes with models, less what it takes without.
    let only = Models { flows: models.flows.clone(), ensemble: None };
    let [none, watched, by_flows, all] =
        [None, Some(&Models::default()), Some(&only), Some(&models)].map(|models| {
            least(1, || {
                black_box(run(&frames, models, false).judged);
            })
        });
    let judged = run(&frames, Some(&models), false).judged;
    let each = |with: f64, without: f64, n: u64| ((with - without) / n.max(1) as f64).round();
    println!(
        "{{\"trees\": {}, \"nodes\": {}, \"frames\": {}, \"flows\": {}, \"asked\": {asked}, \"windows\": {}, \
         \"row_ns\": {fill}, \"single_ns\": {single}, \"together_ns\": {together}, \"window_ns\": {window}, \
         \"line_ns\": {none}, \"watched_ns\": {watched}, \"flows_ns\": {by_flows}, \"all_ns\": {all}, \
         \"flows_judged\": {}, \"windows_judged\": {}, \"in_place\": {{\"flow_ns\": {}, \"window_ns\": {}}}}}",
        hybrid.trees(),
        hybrid.nodes(),
        frames.len(),
        records.len(),
        windows.len(),
        judged.0,
        judged.1,
        each(by_flows, watched, judged.0),
        each(all, by_flows, judged.1),
    );
}
