//! Days of learning, played in seconds: judged windows of a made-up network, real models, real gates.

use super::bundles;
use super::course::{Course, Meter, Promotion, Settings};
use super::golden::Golden;
use super::memory::Memory;
use super::thread::{Begin, Learner};
use super::witness::Vouched;
use crate::config::Config;
use crate::line::{Line, Tap};
use crate::replay;
use detect::learned::ensemble::{Ensemble, hour_of_week};
use detect::learned::vector::{FEATURES, WIDTH};
use detect::learned::watch::{Observed, SEQUENCE, Sequence};
use detect::learned::{JudgedWindow, Models};
use detect::{Signal, Update};
use flow::{Conversation, EndReason, FlowRecord};
use lab::simulation::Simulation;
use learn::Inline;
use learn::anomaly::vae;
use learn::life::Sample;
use learn::random::Random;
use respond::Decision;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::LinkType;
use wire::message::{Message, Side};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A line that tells a memory what passes.
struct Teller<'a>(&'a mut Memory, u64);

impl Tap for Teller<'_> {
    fn flow(&mut self, _: u64, record: &FlowRecord, _: EndReason) {
        self.0.flow(record);
    }

    fn message(&mut self, _: u64, _: &Conversation, _: Side, _: &Message) {}

    fn incident(&mut self, _: u64, update: &Update, _: Option<&Signal>, _: Option<&Decision>) {
        self.0.incident(update);
        self.1 = update.incident.id;
    }

    fn window(&mut self, window: &JudgedWindow) {
        self.0.window(window);
    }

    fn decision(&mut self, _: &Decision) {}

    fn anomaly(&mut self, _: u64, _: &'static str, _: u64) {}
}

fn config() -> Config {
    Config::check(crate::config::RawConfig::default(), None).expect("the default is valid")
}

/// Plays a port scan through the line; the number of the incident that came of it.
pub fn play(memory: &mut Memory) -> u64 {
    let config = config();
    let mut line = Line::new(replay::line_config(&config, config.policy.clone()));
    let mut teller = Teller(memory, 0);
    for (at_ns, frame) in Simulation::PortScan.frames(1) {
        line.frame(at_ns, Some(LinkType::Ethernet), &frame, frame.len() as u32, &mut teller);
    }
    line.finish(&mut teller);
    teller.1
}

/// Clocks by which every judgement takes as long, and training nothing.
struct Still(Cell<u64>);

impl Meter for Still {
    fn time_ns(&self) -> u64 {
        self.0.set(self.0.get() + 5_000);
        self.0.get()
    }

    fn cpu_ns(&self) -> u64 {
        0
    }
}

/// A window of a host that browses.
fn window(entity: u64, at_ns: u64, random: &mut Random) -> Sample {
    let mut sequence = [0.0_f32; SEQUENCE * WIDTH];
    for past in sequence.chunks_exact_mut(WIDTH) {
        let flows = 3.0 + random.unit() * 9.0;
        let packets = flows * (6.0 + random.unit() * 4.0);
        for (feature, place) in FEATURES.iter().zip(past) {
            let value = match feature.name {
                "window_packets" => packets,
                "window_reply_packets" => packets * 1.2,
                "window_bytes" => packets * 120.0,
                "window_reply_bytes" => packets * 800.0,
                "window_flows" | "window_connections" => flows,
                "window_hosts" => flows / 3.0,
                "window_services" => flows / 2.0,
                "window_packet_size" => 120.0,
                "window_reply_size" => 700.0,
                _ => 0.0,
            };
            *place = (if feature.log { value.ln_1p() } else { value }) as f32;
        }
    }
    let row = sequence[(SEQUENCE - 1) * WIDTH..].into();
    let rate = 6.0;
    Sample { entity, at_ns, hour: hour_of_week(at_ns), rate, row, sequence: Box::new(sequence) }
}

fn settings() -> Settings {
    let mut settings = config().learner.settings;
    settings.fit.most = 1024;
    settings.life.schedule.least_samples = 1024;
    settings.fit.vae = vae::Options { hidden: 16, latent: 3, epochs: 6, ..vae::Options::default() };
    settings
}

struct World {
    course: Course,
    random: Random,
    attacks: Vec<Sequence>,
    now_ns: u64,
    promotions: Vec<Promotion>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let config = config();
        let golden = Golden::generate(&replay::line_config(&config, config.policy.clone()));
        assert!((20..500).contains(&golden.attacks()), "{}", golden.attacks());
        let attacks = golden.attacks.iter().map(|(_, _, sequence)| *sequence).collect();
        Self {
            course: Course::new(settings, golden, None, None, 1),
            random: Random::new(1, 0),
            attacks,
            now_ns: 1_000_000 * HOUR,
            promotions: Vec::new(),
        }
    }

    /// Time passes; ten hosts do what they usually do, `attackers` of them what attackers do. Nobody gives an alarm.
    fn pass(&mut self, time_ns: u64, attackers: u64) {
        let until = self.now_ns + time_ns;
        let meter = Still(Cell::new(0));
        while self.now_ns < until {
            for entity in 0..10 {
                let mut sample = window(entity, self.now_ns, &mut self.random);
                if entity < attackers {
                    let attack = self.attacks[self.random.below(self.attacks.len())];
                    sample.row = attack[(SEQUENCE - 1) * WIDTH..].into();
                    sample.sequence = Box::new(attack);
                }
                let p = self.promotions.last().map_or(f64::NAN, |p| judge(&p.ensemble, &sample));
                self.course.window(sample, p);
            }
            self.now_ns += 10 * SECOND;
            if let Some(promotion) = self.course.step(self.now_ns, false, &meter, &Inline) {
                self.course.used(Arc::clone(&promotion.ensemble));
                self.promotions.push(promotion);
            }
        }
    }
}

fn judge(ensemble: &Ensemble, sample: &Sample) -> f64 {
    let sequence = (*sample.sequence).try_into().expect("whole");
    ensemble.judge(sample.entity, sample.hour, sequence).adaptive.combined
}

#[test]
fn what_was_seen_is_learnt_after_it_has_waited_and_stood_in_shadow() {
    let mut world = World::new(settings());
    world.pass(29 * MINUTE, 0);
    let view = world.course.view();
    assert_eq!((view.trainings, view.high), (0, 0), "all is in quarantine: {view:?}");
    world.pass(5 * HOUR, 0);
    let view = world.course.view();
    assert!(view.promoted >= 2, "and again as long as nothing changes: {view:?}");
    let first = &world.promotions[0];
    assert!(first.figures.recall > 0.9 && first.figures.fpr < 0.02, "{:?}", first.figures);
    assert!(first.shadow.windows >= 500 && first.samples >= 1024, "{first:?}");
    assert!(first.at_ns - first.span_ns.1 >= 30 * MINUTE, "nothing fresh is learnt");
    let mean = view.p_value_mean.expect("a model judges");
    assert!((0.3..0.9).contains(&mean), "{mean}");
}

#[test]
fn the_thread_keeps_what_passed_and_hands_it_to_the_line() {
    let dir = std::env::temp_dir().join(format!("aim-learner-{}", std::process::id()));
    let mut config = config();
    config.state_dir.clone_from(&dir);
    let mut settings = settings();
    settings.life.schedule.budget = 1.0;
    // Whoever else uses this machine must not decide the test.
    settings.gates.latency = 1000.0;
    // One false positive among few normal cases is more than the gate allows.
    settings.gates.fpr = 0.05;
    let made = replay::line_config(&config, config.policy.clone());
    let step = Duration::from_millis(20);
    let begin = Begin {
        settings,
        line: made.clone(),
        current: Vouched { name: "none".into(), ..Vouched::default() },
        anchor: Models::default(),
        store: bundles::store(&config, "built-in".into()),
        requests: Arc::default(),
        state_dir: Some(dir.clone()),
    };
    let started = Learner::start_with(begin, step);
    let (learner, mut witness) = started.expect("a thread");
    let (mut random, mut now_ns) = (Random::new(1, 0), 1_000_000 * HOUR);
    let (begun, mut sent) = (Instant::now(), 0);
    let (models, name) = loop {
        if let Some(finished) = learner.finished() {
            break finished;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", learner.view());
        for entity in 0..10_u8 {
            let sample = window(u64::from(entity), now_ns, &mut random);
            let observed = Observed {
                addr: wire::Addr::v4([10, 0, 0, entity]),
                start_ns: now_ns,
                sequence: (*sample.sequence).try_into().expect("whole"),
            };
            witness.window(&JudgedWindow { observed, at_ns: now_ns, judged: None });
        }
        now_ns += 10 * SECOND;
        witness.now(now_ns);
        sent += 10;
        // No faster than it takes them: what is dropped here would decide the test.
        while learner.view().windows < sent && begun.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let mut line = Line::new(made);
    line.set_models(&models).expect("it fits");
    let loaded = crate::learned::load_promoted(&config).expect("the store");
    assert_eq!(loaded.ensemble, models.ensemble, "a restart has the same");
    let origin = bundles::origin(&config, &loaded);
    assert_eq!((origin.current.name.as_str(), origin.anchor_name.as_str()), (name.as_str(), "built-in"));
    assert!(name.starts_with("learned"), "{name}");
    learner.stop();
    let begun = Instant::now();
    while !dir.join("windows.state").exists() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stored = super::state::State::new(&dir).read().expect("kept");
    assert!(stored.len() >= 512, "{}", stored.len());
    std::fs::remove_dir_all(dir).expect("it was written");
}

#[test]
fn alarms_that_do_not_fit_empty_the_quarantine() {
    let mut world = World::new(settings());
    world.pass(20 * MINUTE, 0);
    assert!(world.course.view().waiting > 1000);
    world.course.distrust();
    let view = world.course.view();
    assert_eq!((view.waiting, view.alarmed), (0, view.windows), "{view:?}");
}

#[test]
fn a_poisoned_set_is_refused() {
    let mut settings = settings();
    // Whatever comes is believed: only the gates are left.
    settings.life.windows.high = 0.0;
    let mut world = World::new(settings);
    world.pass(4 * HOUR, 0);
    let before = world.course.view();
    assert!(before.promoted >= 1, "{before:?}");
    world.pass(5 * HOUR, 4);
    let after = world.course.view();
    println!("{before:?} {after:?}");
    assert!(after.refused.get("recall").is_some_and(|n| *n > 0), "{after:?}");
    assert!(after.because.iter().any(|why| why.contains("recall")), "{after:?}");
    let last = world.promotions.last().expect("one before");
    assert!(last.figures.recall > 0.9, "what is in use still finds them: {last:?}");
}
