//! `learn-snapshots`: the baseline of snapshots and the golden set, from captures by a plan.

use super::golden::{self, HEADER};
use crate::cli::LearnSnapshotsArgs;
use crate::exit::{Exit, fail};
use crate::learned::plan::{Plan, Use};
use crate::truth::labels_of;
use anyhow::Context as _;
use detect::snapshot::{Baseline, Options, Sample, Snapshot};
use flow::label::BENIGN;
use flow::{Census, CensusConfig, Labels, Tracker, TrackerConfig, Traffic};
use learn::random::Random;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use wire::capture::Reader;

/// Packets a second at which it is as likely as not that a second is no more than ordinary. Busier ones are ordinary to many
/// hosts, but not surely: what is busy here is learnt from history, there.
const BUSY: f64 = 400.0;
/// Seconds of the golden set, of each side, at most.
const GOLDEN: usize = 400;

/// A second of a capture.
struct Second {
    snapshot: Snapshot,
    start_ns: u64,
    attack: bool,
}

fn snapshot(t: &Traffic) -> Snapshot {
    let both = (t.tcp_packets + t.udp_packets) as f64;
    Snapshot {
        at_ns: t.start_ns,
        packets_per_second: t.packets_per_second as f64,
        bytes_per_second: t.bytes_per_second as f64,
        addresses: t.unique_ips.into(),
        ports: t.unique_ports.into(),
        udp_share: if both > 0.0 { t.udp_packets as f64 / both } else { 0.0 },
        syn_packets: t.syn_packets as f64,
        tcp_packets: t.tcp_packets as f64,
        source: None,
    }
}

/// The whole seconds of a capture.
fn seconds(path: &Path, attack: impl Fn(u64) -> bool) -> anyhow::Result<Vec<Second>> {
    let file = File::open(path).with_context(|| format!("{}: cannot open", path.display()))?;
    let mut reader = Reader::new(file).with_context(|| path.display().to_string())?;
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut census = Census::new(CensusConfig::default());
    let (mut events, mut active, mut all) = (Vec::new(), Vec::new(), Vec::<Second>::new());
    // The first second is rarely whole.
    let mut last = None;
    loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(e) => {
                eprintln!("{}: {e}; what came before is used", path.display());
                break;
            }
        };
        let Some(Ok(packet)) = frame.link.map(|link| wire::parse(link, frame.data, frame.orig_len)) else {
            continue;
        };
        tracker.observe(frame.ts_ns, &packet, &mut events);
        for event in events.drain(..) {
            census.take(&event, &mut active);
            active.clear();
        }
        census.advance(frame.ts_ns);
        let traffic = census.traffic();
        match last {
            Some(start) if start != traffic.start_ns && traffic.packets_per_second > 0 => {
                let (start_ns, snapshot) = (traffic.start_ns, snapshot(&traffic));
                all.push(Second { snapshot, start_ns, attack: attack(start_ns) });
                last = Some(traffic.start_ns);
            }
            None => last = Some(traffic.start_ns),
            _ => {}
        }
    }
    Ok(all)
}

/// Samples of a capture: each second with those before it.
fn samples(group: u64, seconds: &[Second], random: &mut Random, out: &mut Vec<Sample>) {
    for (i, second) in seconds.iter().enumerate() {
        let busy = (second.snapshot.packets_per_second.max(1.0) / BUSY).ln() / 0.25;
        if second.attack || random.unit() > 1.0 / (1.0 + busy.exp()) {
            continue;
        }
        let before = |back: usize| {
            let at = &seconds[i.saturating_sub(back)];
            // A gap is no sequence.
            let near = second.start_ns.saturating_sub(at.start_ns) <= 2_000_000_000 * back as u64;
            if near { at.snapshot.vector() } else { second.snapshot.vector() }
        };
        out.push(Sample { group, sequence: [before(3), before(2), before(1), before(0)] });
    }
}

/// `learn-snapshots`.
///
/// # Errors
/// Wrong arguments, captures that cannot be read, too little to learn from.
pub fn run(args: &LearnSnapshotsArgs) -> anyhow::Result<Exit> {
    let plan = Plan::read(&args.plan)?;
    let mut random = Random::new(args.seed, 9);
    let (mut ordinary, mut golden) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut group = 0;
    for set in &plan.set {
        let Some((_, root)) = args.from.iter().find(|(name, _)| *name == set.from) else {
            return Err(fail(
                Exit::Input,
                format!("the plan has captures of '{0}'; say where with --from {0}=DIR", set.from),
            ));
        };
        // What nobody vouches for is not surely ordinary; and of what is measured with, only our own lab is kept.
        if (set.r#use == Use::Train && set.confidence < 1.0)
            || (set.r#use == Use::Test && set.from != args.golden)
        {
            continue;
        }
        for path in set.captures(root)? {
            let labels: Option<Labels> =
                if set.class.is_some() { None } else { Some(labels_of(&path.with_extension("labels.csv"))?) };
            let hostile = |start_ns: u64| match (&labels, &set.class) {
                (Some(labels), _) => labels.rows().iter().any(|l| {
                    l.class != BENIGN && l.start_ns < start_ns + 1_000_000_000 && l.end_ns > start_ns
                }),
                (None, class) => class.as_deref() != Some(BENIGN),
            };
            let seconds = seconds(&path, hostile)?;
            group += 1;
            match set.r#use {
                Use::Train => samples(group, &seconds, &mut random, &mut ordinary),
                Use::Test => {
                    for second in &seconds {
                        golden[usize::from(second.attack)]
                            .push(golden::line(second.attack, &second.snapshot));
                    }
                }
            }
        }
    }
    let options = Options { seed: args.seed, ..Options::default() };
    let baseline = Arc::new(Baseline::fit(&ordinary, &options, &learn::Inline)?);
    std::fs::create_dir_all(&args.out)?;
    let mut text = format!("{HEADER}\n");
    for side in &mut golden {
        random.shuffle(side);
        side.truncate(GOLDEN);
        side.iter().for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
    }
    std::fs::write(args.out.join("golden.csv"), &text)?;
    std::fs::write(args.out.join("baseline.model"), learn::codec::to_bytes(baseline.as_ref()))?;
    println!(
        "{} ordinary seconds learnt from and calibrated with ({}); golden set {} + {} seconds, judged rightly {:.3}",
        ordinary.len(),
        baseline.calibrated(),
        golden[0].len(),
        golden[1].len(),
        golden::accuracy_on(&baseline, &text),
    );
    Ok(Exit::Ok)
}
