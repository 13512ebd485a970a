//! Whether a learner can be taught, slowly, that an attack is normal.
//!
//! Twenty hosts do what hosts do. One of them belongs to an attacker who knows the model in use: each minute it does as
//! much of its attack as just gives no alarm, for a day. A learner that takes whatever gave no alarm follows it all the
//! way; ours must not. Models are the real ones; time is simulated. docs/continuous-learning.md tells the
//! outcome and the bounds tested here.

use learn::anomaly::dbscan::{self, Dbscan};
use learn::anomaly::isolation::Isolation;
use learn::anomaly::zscore::{Collector, Usual};
use learn::calibrate::Conformal;
use learn::life::reservoir::Kept;
use learn::life::{self, Gravity, Life, Sample};
use learn::random::Random;
use learn::{Inline, Matrix};

const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const HOSTS: u64 = 20;
/// The attacker's host: one of them, with a past like theirs.
const ATTACKER: u64 = 7;
/// Before the attack begins.
const CLEAN: u64 = 30 * HOUR;
/// Of the attack.
const ATTACK: u64 = 24 * HOUR;
/// A p-value at or below this is a vote; of three votes two make an alarm.
const LEVEL: f64 = 0.002;
const FEATURES: usize = 6;

/// What a host does in a minute: packets, bytes, flows, failed share, hosts, ports. At `level` 0 what hosts do, at 1 a scan
/// in full swing.
fn minute(entity: u64, level: f64, random: &mut Random) -> [f64; FEATURES] {
    let mut around = |median: f64, spread: f64| median * (random.normal() * spread).exp();
    let size = 1.0 + (entity % 4) as f64;
    let packets = around(40.0 * size, 0.4) * 40_f64.powf(level);
    let bytes = packets * around(300.0, 0.3) * (1.0 - 0.7 * level);
    let flows = around(4.0 * size, 0.3) * 60_f64.powf(level);
    let failed = (around(0.02, 0.7) + 0.9 * level).min(1.0);
    let hosts = around(3.0, 0.3) * 40_f64.powf(level);
    let ports = around(2.5, 0.2) * 60_f64.powf(level);
    [packets, bytes, flows, failed, hosts, ports]
}

fn sample(entity: u64, at_ns: u64, done: &[f64; FEATURES]) -> Sample {
    let hour = (at_ns / HOUR % 168) as u16;
    let row = done.map(|v| if v > 1.0 { v.ln_1p() as f32 } else { v as f32 });
    let rate = (done[0] / 60.0) as f32;
    Sample { entity, at_ns, hour, rate, row: Box::new(row), sequence: Box::new([]) }
}

/// Three views, each with its calibration.
struct Model {
    usual: Usual,
    dense: Dbscan,
    lone: Isolation,
    calibrations: [Conformal; 3],
}

impl Model {
    /// From two of three samples, calibrated on the third.
    fn fit(samples: &[&Sample]) -> Self {
        let (mut train, mut hold): (Vec<&Sample>, Vec<&Sample>) = (Vec::new(), Vec::new());
        for (i, s) in samples.iter().enumerate() {
            if i % 3 == 0 { hold.push(s) } else { train.push(s) }
        }
        let rows = Matrix::new(FEATURES, train.iter().flat_map(|s| s.row.iter().copied()).collect()).unwrap();
        let mut collector = Collector::new(FEATURES, 64, 1);
        train.iter().for_each(|s| collector.add(s.entity, s.hour, &s.row));
        let usual = collector.finish().unwrap();
        let mut places: Vec<usize> = (0..rows.rows()).collect();
        Random::new(1, 1).draw_first(&mut places, 1500);
        places.truncate(1500);
        let options = dbscan::Options { min_points: 2 * FEATURES, eps: None, seed: 1 };
        let dense = Dbscan::fit(&rows.select(&places), &options, &Inline).unwrap();
        let lone = Isolation::fit(&rows, 1).unwrap();
        let scores = hold.iter().map(|s| scores(&usual, &dense, &lone, s)).collect::<Vec<_>>();
        let calibrations = [0, 1, 2].map(|v| Conformal::fit(scores.iter().map(|s| s[v])).unwrap());
        Self { usual, dense, lone, calibrations }
    }

    fn p_values(&self, s: &Sample) -> [f64; 3] {
        let scores = scores(&self.usual, &self.dense, &self.lone, s);
        [0, 1, 2].map(|v| self.calibrations[v].p_value(scores[v]))
    }

    fn alarms(&self, s: &Sample) -> bool {
        self.p_values(s).iter().filter(|p| **p <= LEVEL).count() >= 2
    }

    /// How much of the attack gives no alarm: the most of what is tried.
    fn reach(&self, at_ns: u64, random: &Random) -> f64 {
        (0..=20)
            .map(|step| f64::from(step) / 20.0)
            .rfind(|level| {
                let done = minute(ATTACKER, *level, &mut random.clone());
                !self.alarms(&sample(ATTACKER, at_ns, &done))
            })
            .unwrap_or(0.0)
    }
}

fn scores(usual: &Usual, dense: &Dbscan, lone: &Isolation, s: &Sample) -> [f32; 3] {
    [usual.score(s.entity, s.hour, &s.row), dense.score(&s.row).0, lone.score(&s.row)]
}

/// Who learns, and how.
trait Learner {
    /// Takes what was judged.
    fn judged(&mut self, sample: Sample, p: f64, alarm: bool);
    /// What to train on now, if it is time.
    fn training(&mut self, now_ns: u64) -> Option<Vec<Sample>>;
}

/// Learns every half hour from whatever gave no alarm in the latest two hours.
struct Naive {
    taken: Vec<Sample>,
    last_ns: u64,
}

impl Learner for Naive {
    fn judged(&mut self, sample: Sample, _: f64, alarm: bool) {
        if !alarm {
            self.taken.push(sample);
        }
    }

    fn training(&mut self, now_ns: u64) -> Option<Vec<Sample>> {
        (now_ns - self.last_ns >= HOUR / 2).then(|| {
            self.last_ns = now_ns;
            self.taken.retain(|s| s.at_ns + 2 * HOUR > now_ns);
            self.taken.clone()
        })
    }
}

/// Ours: what the conservative model learns from.
struct Ours(Life);

impl Learner for Ours {
    fn judged(&mut self, sample: Sample, p: f64, alarm: bool) {
        let (entity, at_ns) = (sample.entity, sample.at_ns);
        self.0.judged(sample, p);
        if alarm {
            self.0.alarm(entity, at_ns, at_ns, Gravity::Attack);
        }
    }

    fn training(&mut self, now_ns: u64) -> Option<Vec<Sample>> {
        self.0.advance(now_ns);
        self.0.due(now_ns)?;
        self.0.trained(now_ns, 0);
        Some(self.0.windows().high().iter().map(|k: &Kept| k.sample.clone()).collect())
    }
}

/// What came of an attack.
#[derive(Debug)]
struct Outcome {
    /// Share of the attack that gave no alarm when it began, on average over an hour.
    before: f64,
    /// And when it had gone on for its time.
    after: f64,
    /// Share of windows of innocent hosts that gave an alarm during the attack.
    false_alarms: f64,
}

fn attack(learner: &mut dyn Learner) -> Outcome {
    let mut random = Random::new(5, 0);
    let mut model: Option<Model> = None;
    let (mut reaches, mut innocent, mut alarmed) = (Vec::new(), 0_u32, 0_u32);
    for m in 0..(CLEAN + ATTACK) / MINUTE {
        let at_ns = m * MINUTE;
        for entity in 0..HOSTS {
            let mut level = 0.0;
            if at_ns >= CLEAN
                && entity == ATTACKER
                && let Some(model) = &model
            {
                level = model.reach(at_ns, &random);
                reaches.push(level);
            }
            let s = sample(entity, at_ns, &minute(entity, level, &mut random));
            let (p, alarm) = model.as_ref().map_or((0.5, false), |model| {
                (model.p_values(&s).iter().sum::<f64>() / 3.0, model.alarms(&s))
            });
            if at_ns >= CLEAN && entity != ATTACKER {
                innocent += 1;
                alarmed += u32::from(alarm);
            }
            learner.judged(s, p, alarm);
        }
        if let Some(samples) = learner.training(at_ns + MINUTE) {
            // Nothing is lost by not training before anybody attacks, but for the last model before.
            if at_ns + 2 * HOUR > CLEAN {
                model = Some(Model::fit(&samples.iter().collect::<Vec<_>>()));
            }
        }
    }
    let hour = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    Outcome {
        before: hour(&reaches[..60]),
        after: hour(&reaches[reaches.len() - 60..]),
        false_alarms: f64::from(alarmed) / f64::from(innocent),
    }
}

#[test]
fn a_slow_attacker_who_knows_the_model_does_not_become_normal() {
    let naive = attack(&mut Naive { taken: Vec::new(), last_ns: 0 });
    println!("naive {naive:?}");
    let options = life::Options::default();
    let mut life = Ours(Life::new(options, 1));
    let ours = attack(&mut life);
    println!("ours {ours:?} {:?}", life.0.counters());
    assert!(naive.before < 0.2 && naive.false_alarms < 4.0 * LEVEL, "it sees what is sudden: {naive:?}");
    assert!(naive.after > 0.9, "a learner that takes everything is taught everything: {naive:?}");
    assert!(ours.after < 0.15, "{ours:?}");
    assert!(ours.false_alarms < 4.0 * LEVEL, "nor is everybody else an attacker: {ours:?}");
}
