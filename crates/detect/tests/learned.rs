//! The learned detectors on made-up traffic, from packets to signals: trained, put to work, and asked about a flood.

use detect::learned::calibrate::{FlowSample, calibrate, hear};
use detect::learned::ensemble::source_key;
use detect::learned::exchange::{Cell, Ended, FlowRow, Picker, Rows, WindowRow};
use detect::learned::fit::{self, Sample};
use detect::learned::row::{Columns, schema};
use detect::learned::{JudgedWindow, Learned, Models};
use detect::{Actor, Class, Origin, Signal};
use flow::feature::Subject;
use flow::recent::Shared;
use flow::{Census, CensusConfig, FlowRecord, Tracker, TrackerConfig, What};
use learn::hybrid::{self, Hybrid, Kind};
use learn::random::Random;
use learn::{Inline, Matrix};
use std::sync::Arc;
use wire::{Addr, LinkType};

const S: u64 = 1_000_000_000;
const ATTACKER: [u8; 4] = [203, 0, 113, 9];

/// A datagram as a frame.
fn datagram(from: [u8; 4], from_port: u16, to: [u8; 4], to_port: u16, payload: usize) -> Vec<u8> {
    let length = (28 + payload) as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(from.iter().chain(&to));
    frame.extend(from_port.to_be_bytes());
    frame.extend(to_port.to_be_bytes());
    frame.extend((length - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + payload, 0);
    frame
}

/// Hosts that ask and are answered for two minutes; from the first minute on, perhaps, one that floods ever new ports.
fn traffic(seed: u64, flood: bool) -> Vec<(u64, Vec<u8>)> {
    let mut random = Random::new(seed, 0);
    let mut frames = Vec::new();
    for host in 1..=8 {
        let mut at = random.below(1000) as u64 * 1_000_000;
        while at < 120 * S {
            let (own, server) = ([10, 0, 0, host], [192, 0, 2, 1 + random.below(5) as u8]);
            let port = 20_000 + random.below(20_000) as u16;
            for n in 0..1 + random.below(3) as u64 {
                frames.push((at + n * 40_000_000, datagram(own, port, server, 53, 30 + random.below(30))));
                frames.push((
                    at + n * 40_000_000 + 9_000_000,
                    datagram(server, 53, own, port, 80 + random.below(300)),
                ));
            }
            at += 400_000_000 + random.below(1_500_000_000) as u64;
        }
    }
    if flood {
        for n in 0..6000_u64 {
            let port = 1024 + (n % 30_000) as u16;
            frames.push((
                60 * S + n * 10_000_000,
                datagram(ATTACKER, 40_000, [10, 0, 0, 3], port, 800 + random.below(500)),
            ));
        }
    }
    frames.sort();
    frames
}

/// What came of a run.
#[derive(Default)]
struct Run {
    signals: Vec<Signal>,
    windows: Vec<JudgedWindow>,
    flows: Vec<(u64, FlowRecord)>,
    judged: (u64, u64),
}

fn run(frames: &[(u64, Vec<u8>)], models: &Models, allowed: &dyn Fn(Addr) -> bool) -> Run {
    let config = TrackerConfig { idle_ns: 2 * S, ..TrackerConfig::default() };
    let (mut tracker, mut census) = (Tracker::new(config), Census::new(CensusConfig::default()));
    census.keep_past();
    let mut learned = Learned::new(models, 1).expect("models that fit");
    learned.keep_judged();
    let (mut out, mut events, mut active) = (Run::default(), Vec::new(), Vec::new());
    let mut tick = 0;
    let mut hear =
        |events: &mut Vec<flow::Event>, census: &mut Census, out: &mut Run, learned: &mut Learned| {
            for event in events.drain(..) {
                census.take(&event, &mut active);
                active.clear();
                learned.take(&event, census, allowed, &mut out.signals);
                if let What::Ended(record, _) = &event.what {
                    out.flows.push((event.at_ns, **record));
                }
            }
        };
    for (at, frame) in frames {
        while tick + S <= *at {
            tick += S;
            tracker.advance(tick, &mut events);
            hear(&mut events, &mut census, &mut out, &mut learned);
            census.advance(tick);
            learned.advance(tick, &mut census, allowed, &mut out.signals);
        }
        let packet = wire::parse(LinkType::Ethernet, frame, frame.len() as u32).expect("a datagram");
        tracker.observe(*at, &packet, &mut events);
        hear(&mut events, &mut census, &mut out, &mut learned);
    }
    tracker.finish(&mut events);
    hear(&mut events, &mut census, &mut out, &mut learned);
    learned.finish(tick, &mut census, allowed, &mut out.signals);
    learned.take_judged(&mut out.windows);
    let counters = learned.counters();
    out.judged = (counters.windows_judged, counters.flows.judged);
    out
}

fn samples(flows: &[(u64, FlowRecord)], columns: &Columns) -> Vec<FlowSample> {
    let sample = |(at_ns, record): &(u64, FlowRecord)| {
        let mut row = Vec::new();
        columns.fill(&Subject { record, shared: Shared::default() }, &mut row);
        let source = source_key(record.initiator().0);
        FlowSample { source, group: source, at_ns: *at_ns, row }
    };
    flows.iter().map(sample).collect()
}

fn trained() -> Models {
    let columns = Columns::new(&schema()).expect("own features");
    let known = run(&traffic(1, true), &Models::default(), &|_| false);
    let flows = samples(&known.flows, &columns);
    let attacker = source_key(Addr::v4(ATTACKER));
    let classes: Vec<u32> = flows.iter().map(|f| u32::from(f.source == attacker)).collect();
    let rows = Matrix::new(schema().len(), flows.iter().flat_map(|f| f.row.clone()).collect()).expect("rows");
    let names = ["benign".to_owned(), "udp_flood".to_owned()];
    let training = hybrid::Training {
        rows: &rows,
        schema: &schema(),
        classes: &classes,
        names: &names,
        normal: 0,
        weights: None,
        groups: None,
    };
    let options = hybrid::Options { kind: Kind::Boosting, ..hybrid::Options::default() };
    let classifier = Hybrid::train(&training, &options, &Inline, &mut |_| {}).expect("trains");
    let calm: Vec<Run> =
        (20..40).map(|seed| run(&traffic(seed, false), &Models::default(), &|_| false)).collect();
    let usual: Vec<FlowSample> = calm.iter().flat_map(|r| samples(&r.flows, &columns)).collect();
    let heard = hear(&classifier, &usual);
    let windows: Vec<Sample> = calm
        .iter()
        .enumerate()
        .flat_map(|(group, run)| {
            run.windows.iter().map(move |w| Sample {
                source: source_key(w.observed.addr),
                group: group as u64,
                hour: 0,
                start_ns: w.observed.start_ns,
                confidence: 1.0,
                sequence: w.observed.sequence,
            })
        })
        .collect();
    let options = fit::Options {
        sources: 0,
        alarms_per_day: 200.0,
        vae: learn::anomaly::vae::Options { hidden: 16, latent: 3, epochs: 4, ..Default::default() },
        ..fit::Options::default()
    };
    Models {
        flows: Some(Arc::new(calibrate(classifier, &usual, &heard, 200.0).expect("calibrates"))),
        ensemble: Some(Arc::new(fit::fit(&windows, &options, &Inline).expect("trains"))),
    }
}

#[test]
fn a_flood_is_named_by_its_flows_and_strange_by_its_windows_and_nobody_else_is() {
    let models = trained();
    let frames = traffic(7, true);
    let found = run(&frames, &models, &|_| false);
    let attacker = Actor::Source { addr: Addr::v4(ATTACKER) };
    let others: Vec<&Signal> = found.signals.iter().filter(|s| s.actor != attacker).collect();
    assert!(others.is_empty(), "{others:?}");
    let of = |origin: Origin| found.signals.iter().find(|s| s.origin == origin).expect("a signal");
    let (flows, windows) = (of(Origin::LearnedFlow), of(Origin::LearnedWindow));
    assert_eq!((flows.class, windows.class), (Class::UdpFlood, Class::Anomaly));
    assert!(found.signals.iter().all(|s| !s.may_block && !s.evidence.is_empty()));
    assert!(windows.explain().contains("usually"), "{}", windows.explain());
    assert!(found.judged.0 > 50 && found.judged.1 > 500, "{:?}", found.judged);
    let again = run(&frames, &models, &|_| false);
    assert_eq!(found.signals, again.signals, "the same traffic, the same signals");
}

/// What a sensor tells, in its order.
enum Told {
    Flow(FlowRow),
    Window(Box<WindowRow>),
    Time(u64),
}

/// What a sensor without models tells of frames.
fn tell(frames: &[(u64, Vec<u8>)]) -> Vec<Told> {
    let config = TrackerConfig { idle_ns: 2 * S, ..TrackerConfig::default() };
    let (mut tracker, mut census) = (Tracker::new(config), Census::new(CensusConfig::default()));
    census.keep_past();
    let mut watching = Learned::new(&Models::default(), 1).expect("no models fit");
    watching.keep_judged();
    let mut rows = Rows::new(&schema()).expect("own features");
    let (mut told, mut events, mut active, mut none) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut windows = Vec::new();
    let mut tick = 0;
    let mut hear =
        |events: &mut Vec<flow::Event>, census: &mut Census, watching: &mut Learned, told: &mut Vec<Told>| {
            for event in events.drain(..) {
                census.take(&event, &mut active);
                active.clear();
                watching.take(&event, census, &|_| false, &mut none);
                let row = match &event.what {
                    What::Ended(record, reason) if *reason == flow::EndReason::Active => {
                        rows.row(event.at_ns, record, Ended::Aged)
                    }
                    What::Ended(record, _) => rows.row(event.at_ns, record, Ended::ForGood),
                    What::Grown(record) => rows.row(event.at_ns, record, Ended::Grown),
                    _ => None,
                };
                told.extend(row.map(Told::Flow));
            }
        };
    for (at, frame) in frames {
        while tick + S <= *at {
            tick += S;
            tracker.advance(tick, &mut events);
            hear(&mut events, &mut census, &mut watching, &mut told);
            census.advance(tick);
            watching.advance(tick, &mut census, &|_| false, &mut Vec::new());
            watching.take_judged(&mut windows);
            told.extend(windows.drain(..).map(|w| {
                Told::Window(Box::new(WindowRow { at_ns: w.at_ns, observed: w.observed, prompted_by: None }))
            }));
            told.push(Told::Time(tick));
        }
        let packet = wire::parse(LinkType::Ethernet, frame, frame.len() as u32).expect("a datagram");
        tracker.observe(*at, &packet, &mut events);
        hear(&mut events, &mut census, &mut watching, &mut told);
    }
    told
}

#[test]
fn what_a_sensor_tells_is_judged_elsewhere_as_it_would_be_at_the_sensor() {
    let models = trained();
    let frames = traffic(7, true);
    let last = frames.last().expect("frames").0 / S * S;
    // At the end of the input there is judged what a sensor has not told yet.
    let here: Vec<Signal> =
        run(&frames, &models, &|_| false).signals.into_iter().filter(|s| s.at_ns < last).collect();
    let mut elsewhere = Learned::new(&models, 2).expect("models that fit");
    let mut signals = Vec::new();
    for told in tell(&frames) {
        match told {
            Told::Flow(row) => elsewhere.judge_flow(&row, &mut signals),
            Told::Window(row) => elsewhere.judge_window(*row, &mut signals),
            Told::Time(now_ns) => elsewhere.pass(now_ns, &mut signals),
        }
    }
    let gist = |signals: &[Signal]| -> Vec<String> {
        let of = |s: &Signal| {
            format!("{:?} {:?} {} {} {:?} {:?}", s.origin, s.class, s.kind, s.since_ns, s.actor, s.evidence)
        };
        let mut all: Vec<String> = signals.iter().filter(|s| s.at_ns < last).map(of).collect();
        all.sort();
        all
    };
    assert!(here.iter().any(|s| s.origin == Origin::LearnedFlow), "{here:?}");
    assert!(here.iter().any(|s| s.origin == Origin::LearnedWindow), "{here:?}");
    assert_eq!(gist(&signals), gist(&here));
}

#[test]
fn a_row_says_the_same_in_words_and_places() {
    let schema = schema();
    let names: Vec<&str> = schema.iter().map(|f| f.name.as_str()).collect();
    let picker = Picker::new(&schema, &names).expect("all there");
    for told in tell(&traffic(3, true)) {
        let Told::Flow(row) = told else { continue };
        let cells: Vec<Cell<'_>> = row
            .values
            .iter()
            .enumerate()
            .map(|(i, v)| match Rows::word(&schema, i, *v) {
                Some(word) => Cell::Word(word),
                None if v.is_nan() => Cell::Absent,
                None => Cell::Number(*v),
            })
            .collect();
        let back = picker.row(&cells).expect("a row");
        assert!(back.iter().zip(&row.values).all(|(a, b)| a.to_bits() == b.to_bits()), "{back:?}");
    }
}

#[test]
fn whoever_is_allowed_is_not_judged_and_quiet_traffic_is_left_alone() {
    let models = trained();
    let allowed = run(&traffic(7, true), &models, &|addr| addr == Addr::v4(ATTACKER));
    assert_eq!(allowed.signals, []);
    assert!(allowed.windows.iter().all(|w| w.judged.is_some() != (w.observed.addr == Addr::v4(ATTACKER))));
    assert_eq!(run(&traffic(8, false), &models, &|_| false).signals, []);
}

#[test]
fn models_of_other_features_are_refused_by_name() {
    let schema = [learn::Feature { name: "src_port".into(), kind: learn::Kind::Numeric }];
    assert_eq!(Columns::new(&schema).err().as_deref(), Some("src_port"));
}
