//! A classifier that has never seen a family of attacks, and people who say what it is. Flows of generated traffic through the
//! line, real models, real gates.

use super::super::feedback::{Feedback, FeedbackError, Verdict as Said};
use super::super::memory::tests::{incident, remembered};
use super::*;
use crate::config::{Config, RawConfig};
use crate::line::{Line, Tap};
use crate::replay;
use detect::learned::JudgedWindow;
use detect::learned::ensemble::source_key;
use detect::learned::row::{Columns, schema};
use detect::{Origin, Signal, Update};
use flow::feature::Subject;
use flow::recent::Shared;
use flow::{Conversation, EndReason, FlowRecord};
use lab::address::ATTACKERS;
use lab::simulation::Simulation;
use learn::Inline;
use learn::life::ground::Known;
use respond::Decision;
use std::cell::Cell;
use wire::message::{Message, Side};
use wire::{Addr, LinkType};

const SECOND: u64 = 1_000_000_000;
/// What the classifier knows; guessing is what it has never seen.
const FAMILIES: [(Simulation, &str); 5] = [
    (Simulation::Ordinary, BENIGN),
    (Simulation::PortScan, "port_scan"),
    (Simulation::SynFlood, "syn_flood"),
    (Simulation::UdpFlood, "udp_flood"),
    (Simulation::IcmpFlood, "icmp_flood"),
];
/// Flows of one play that are learnt from.
const MOST: usize = 120;

/// Takes rows of flows: of attackers, or of everybody else.
struct Rows {
    columns: Columns,
    of_attackers: bool,
    rows: Vec<Vec<f32>>,
}

impl Tap for Rows {
    fn flow(&mut self, _: u64, record: &FlowRecord, _: EndReason) {
        let attacker =
            |ip: &std::net::Ipv4Addr| Addr::from(std::net::IpAddr::V4(*ip)) == record.initiator().0;
        if ATTACKERS.iter().any(attacker) == self.of_attackers && self.rows.len() < MOST {
            let mut row = Vec::new();
            self.columns.fill(&Subject { record, shared: Shared::default() }, &mut row);
            self.rows.push(row);
        }
    }

    fn message(&mut self, _: u64, _: &Conversation, _: Side, _: &Message) {}

    fn incident(&mut self, _: u64, _: &Update, _: Option<&Signal>, _: Option<&Decision>) {}

    fn window(&mut self, _: &JudgedWindow) {}

    fn decision(&mut self, _: &Decision) {}

    fn anomaly(&mut self, _: u64, _: &'static str, _: u64) {}
}

fn config() -> Config {
    Config::check(RawConfig::default(), None).expect("the default is valid")
}

fn play(what: Simulation, seed: u64) -> Vec<Vec<f32>> {
    let config = config();
    let mut line = Line::new(replay::line_config(&config, config.policy.clone()));
    let columns = Columns::new(&schema()).expect("known");
    let mut rows = Rows { columns, of_attackers: what != Simulation::Ordinary, rows: Vec::new() };
    for (at_ns, frame) in what.frames(seed) {
        line.frame(at_ns, Some(LinkType::Ethernet), &frame, frame.len() as u32, &mut rows);
    }
    line.finish(&mut rows);
    rows.rows
}

struct Still(Cell<u64>);

impl Meter for Still {
    fn time_ns(&self) -> u64 {
        self.0.set(self.0.get() + 500);
        self.0.get()
    }

    fn cpu_ns(&self) -> u64 {
        0
    }
}

/// A classifier of [`FAMILIES`], what it was trained on, and flows of ordinary traffic that it has not seen.
fn beginning() -> (Arc<Ground>, Arc<FlowModel>, Vec<Vec<f32>>) {
    let names: Vec<String> = FAMILIES.iter().map(|(_, name)| (*name).to_owned()).collect();
    let (mut values, mut classes, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (class, (what, _)) in FAMILIES.iter().enumerate() {
        for seed in 0..10 {
            for row in play(*what, seed) {
                values.extend(row);
                classes.push(class as u32);
                groups.push(seed);
            }
        }
    }
    let rows = Matrix::new(schema().len(), values).expect("rows");
    let train = |keep: &dyn Fn(u64) -> bool| {
        let places: Vec<usize> = (0..rows.rows()).filter(|r| keep(groups[*r])).collect();
        let own: Vec<u32> = places.iter().map(|r| classes[*r]).collect();
        let training = Training {
            rows: &rows.select(&places),
            schema: &schema(),
            classes: &own,
            names: &names,
            normal: 0,
            weights: None,
            groups: None,
        };
        let options = hybrid::Options { kind: Kind::Boosting, ..hybrid::Options::default() };
        Hybrid::train(&training, &options, &Inline, &mut |_| {}).expect("trains")
    };
    let mut taken = vec![Verdict::Unknown; rows.rows()];
    let mut scratch = Scratch::default();
    for part in 0..u64::from(PARTS) {
        let blind = train(&|group| group % u64::from(PARTS) != part);
        for row in (0..rows.rows()).filter(|r| groups[*r] % u64::from(PARTS) == part) {
            taken[row] = blind.judge(rows.row(row), &mut scratch).verdict;
        }
    }
    let known = Known {
        rows: &rows,
        schema: &schema(),
        classes: &classes,
        names: &names,
        normal: 0,
        groups: &groups,
        taken: &taken,
    };
    let ground = Ground::draw(&known, 1).expect("drawn");
    let usual: Vec<Vec<f32>> = (20..60).flat_map(|seed| play(Simulation::Ordinary, seed)).collect();
    let samples: Vec<FlowSample> = usual
        .iter()
        .enumerate()
        .map(|(i, row)| FlowSample {
            source: i as u64 % 9,
            group: 0,
            at_ns: i as u64 * SECOND,
            row: row.clone(),
        })
        .collect();
    let hybrid = train(&|_| true);
    let heard = hear(&hybrid, &samples);
    let model = calibrate(hybrid, &samples, &heard, 1.0).expect("calibrated");
    (Arc::new(ground), Arc::new(model), usual)
}

/// Shares of guessing that were not seen before: found, and named.
fn guessing(model: &FlowModel) -> (f64, f64) {
    let mut scratch = Scratch::default();
    let rows: Vec<Vec<f32>> = (100..104).flat_map(|seed| play(Simulation::SshGuessing, seed)).collect();
    assert!(rows.len() >= 20, "{}", rows.len());
    let judged: Vec<(bool, bool)> = rows
        .iter()
        .map(|row| said(model.hybrid.judge(row, &mut scratch).verdict, model.hybrid.names(), "brute_force"))
        .collect();
    let share = |n: usize| n as f64 / rows.len() as f64;
    (share(judged.iter().filter(|j| j.0).count()), share(judged.iter().filter(|j| j.1).count()))
}

/// Lets six hours pass in which ten hosts do what is usual; what passed, if something did.
fn pass(course: &mut FlowCourse, usual: &[Vec<f32>], from_ns: u64) -> Option<Passed> {
    let meter = Still(Cell::new(0));
    for tick in 0..6 * 360 {
        let now = from_ns + tick * 10 * SECOND;
        for host in 0..10 {
            let row = &usual[(tick as usize * 10 + host) % usual.len()];
            course.flow(Sample {
                entity: source_key(Addr::v4([10, 0, 0, host as u8])),
                at_ns: now,
                hour: 0,
                rate: 0.0,
                row: row.as_slice().into(),
                sequence: Box::default(),
            });
        }
        if let Some(passed) = course.step(now, false, &meter, &Inline) {
            course.used(&passed);
            return Some(passed);
        }
    }
    None
}

fn labelled(class: &str, rows: impl IntoIterator<Item = (u64, Vec<f32>)>) -> Vec<Labelled> {
    rows.into_iter().map(|(entry, row)| Labelled { entry, class: class.to_owned(), row }).collect()
}

#[test]
fn a_family_that_people_confirmed_is_named_afterwards_and_what_is_wrong_is_refused() {
    let (ground, model, usual) = beginning();
    let before = guessing(&model);
    assert!(before.1 < 0.01, "it has no such family: {before:?}");
    let course = || {
        let models = [Some(Arc::clone(&model)), Some(Arc::clone(&model))];
        FlowCourse::new(config().learner.settings, Some(Arc::clone(&ground)), models, 0, 1)
    };
    let start = 1_000_000 * HOUR_NS;

    let mut quiet = course();
    assert!(quiet.hindrance().is_some_and(|why| why.contains("0 usual flows")));
    assert!(pass(&mut quiet, &usual, start).is_none(), "nobody said anything");
    assert_eq!((quiet.view().trainings, quiet.hindrance()), (0, None));

    let mut taught = course();
    let seen =
        (1..4).flat_map(|seed| play(Simulation::SshGuessing, seed).into_iter().map(move |r| (seed, r)));
    taught.set_labelled(labelled("brute_force", seen));
    let passed = pass(&mut taught, &usual, start).unwrap_or_else(|| panic!("{:?}", taught.view()));
    let after = guessing(&passed.model);
    println!("brute force found and named: before {before:?}, after {after:?}; {:?}", passed.figures);
    assert!(after.1 > 0.9, "{after:?}");
    assert!(passed.shadow.windows >= 500 && passed.figures.fpr < 0.05, "{passed:?}");
    assert!(pass(&mut taught, &usual, start + 7 * HOUR_NS).is_none(), "the same is not learnt twice");
    assert_eq!(taught.view().trainings, 1);

    // Somebody confirms what everybody does.
    let mut poisoned = course();
    let rows = usual.iter().step_by(2).enumerate().map(|(i, row)| (i as u64 / 8, row.clone()));
    poisoned.set_labelled(labelled("port_scan", rows));
    assert!(pass(&mut poisoned, &usual, start).is_none());
    let view = poisoned.view();
    assert!(
        view.refused.contains_key("fpr") && view.because.iter().any(|w| w.contains("false positive")),
        "{view:?}"
    );
    assert!(view.trainings >= 2 && view.trainings <= u64::from(TRIES), "and tried again: {view:?}");

    let mut groundless = FlowCourse::new(config().learner.settings, None, [Some(model), None], 0, 1);
    assert!(groundless.hindrance().is_some_and(|why| why.contains("autoinmune learn")));
    assert!(pass(&mut groundless, &usual, start).is_none());
}

#[test]
fn models_do_not_teach_each_other() {
    let mut book = Feedback::open(None);
    let learned = remembered(incident(7, 1, &["learned-flows"], Origin::LearnedFlow));
    assert_eq!(book.add(Said::Attack, &learned, 5, None, ""), Err(FeedbackError::OnlyLearned(7)));
    assert!(book.flows().is_empty());
    let ruled = remembered(incident(8, 1, &["scan-vertical"], Origin::Rule));
    book.add(Said::Attack, &ruled, 5, None, "").expect("a rule spoke");
    book.add(Said::NoAttack, &learned, 5, Some(u64::MAX), "").expect("taken");
    let classes: Vec<String> = book.flows().into_iter().map(|l| l.class).collect();
    assert_eq!(classes, ["port_scan", "port_scan", BENIGN, BENIGN]);
    assert_ne!(mark(&book.flows()), mark(&[]));
}
