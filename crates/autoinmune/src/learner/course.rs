//! The course of learning: judged windows in, new models out. Without threads, files or clocks of its own, so that a test can
//! play days of it.

use super::golden::Golden;
use detect::learned::ensemble::Ensemble;
use detect::learned::fit::{self, fit};
use detect::learned::vector::WIDTH;
use detect::learned::watch::{SEQUENCE, Sequence};
use learn::life::reservoir::Kept;
use learn::life::shadow::{self, Verdict};
use learn::life::{self, Figures, Gates, Gravity, Life, Refusal, Sample, Shadow, Stored};
use learn::{LearnError, Pool};
use server::view::LearnerView;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A p-value at or below which a window is strange to a model, in shadow.
pub(super) const STRANGE: f64 = 1e-3;
/// A p-value above which it is not. In between models may differ by chance.
pub(super) const ORDINARY: f64 = 0.02;
/// Time within which 99 of 100 windows must be judged where there is no model to compare with, ns.
const FIRST_P99_NS: u64 = 20_000;
/// Samples of one group are neighbours in time, and either learnt from or calibrated with, ns.
const GROUP_NS: u64 = 600_000_000_000;

/// How to learn.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Samples, drift and schedule.
    pub life: life::Options,
    /// Training.
    pub fit: fit::Options,
    /// What a new model must not be worse by.
    pub gates: Gates,
    /// How long it stands beside the old one.
    pub shadow: shadow::Options,
}

/// Clocks, which only the caller has.
pub trait Meter {
    /// Time that passes, ns.
    fn time_ns(&self) -> u64;
    /// Processor time that this thread has used, ns.
    fn cpu_ns(&self) -> u64;
}

/// A model on trial.
struct Candidate {
    ensemble: Arc<Ensemble>,
    figures: Figures,
    /// From the first step after training, which takes a while.
    shadow: Option<Shadow>,
    samples: u64,
    span_ns: (u64, u64),
}

/// A new model that passed all gates.
#[derive(Debug)]
pub struct Promotion {
    /// The model.
    pub ensemble: Arc<Ensemble>,
    /// What the golden set says of it.
    pub figures: Figures,
    /// How it compared with the one in use.
    pub shadow: Shadow,
    /// Samples that it was trained on.
    pub samples: u64,
    /// The first and the last of them, ns.
    pub span_ns: (u64, u64),
    /// When it passed, ns.
    pub at_ns: u64,
    /// Seed of everything drawn at random in training.
    pub seed: u64,
}

/// Learning under way.
pub struct Course {
    settings: Settings,
    life: Life,
    golden: Golden,
    current: Option<Arc<Ensemble>>,
    anchor: Option<Arc<Ensemble>>,
    candidate: Option<Candidate>,
    windows: u64,
    trainings: u64,
    spent_ns: u64,
    promoted: u64,
    refused: BTreeMap<String, u64>,
    because: Vec<String>,
}

impl Course {
    /// Begins with the model in use and the one that people last vouched for, if there are any.
    pub fn new(
        settings: Settings,
        golden: Golden,
        current: Option<Arc<Ensemble>>,
        anchor: Option<Arc<Ensemble>>,
        seed: u64,
    ) -> Self {
        Self {
            life: Life::new(settings.life, seed),
            settings,
            golden,
            current,
            anchor,
            candidate: None,
            windows: 0,
            trainings: 0,
            spent_ns: 0,
            promoted: 0,
            refused: BTreeMap::new(),
            because: Vec::new(),
        }
    }

    /// Takes a window that was judged, with the p-value of the model in use, NaN if there is none.
    pub fn window(&mut self, sample: Sample, p_value: f64) {
        self.windows += 1;
        if let Some(candidate) = &mut self.candidate
            && let Some(shadow) = &mut candidate.shadow
            && let Some(sequence) = sequence(&sample)
        {
            let p = |e: &Ensemble| e.judge(sample.entity, sample.hour, &sequence).conservative.combined;
            let (old, new) = (self.current.as_deref().map_or(1.0, p), p(&candidate.ensemble));
            // Where one is sure and the other nearly, they agree.
            let either = old.min(new) <= STRANGE;
            shadow.add(either && old <= ORDINARY, either && new <= ORDINARY);
        }
        self.life.judged(sample, p_value);
    }

    /// A source gave an alarm; see [`Life::alarm`].
    pub fn alarm(&mut self, entity: u64, since_ns: u64, at_ns: u64, gravity: Gravity) {
        self.life.alarm(entity, since_ns, at_ns, gravity);
    }

    /// A source did no harm after all.
    pub fn pardon(&mut self, entity: u64) {
        self.life.pardon(entity);
    }

    /// Alarms were lost on their way here.
    pub fn distrust(&mut self) {
        self.life.distrust();
    }

    /// Windows of attacks that people confirmed are to be recognised from now on.
    pub fn set_confirmed(&mut self, windows: Vec<(u64, Sequence)>) {
        self.golden.set_confirmed(windows);
    }

    /// People put a model in use: it is what new ones are compared with.
    pub fn vouch(&mut self, ensemble: Option<Arc<Ensemble>>) {
        self.current.clone_from(&ensemble);
        self.anchor = ensemble;
        self.candidate = None;
        self.life.replaced();
    }

    /// What is to outlive the program.
    pub fn store(&self) -> Stored {
        self.life.store()
    }

    /// Goes on with what was stored.
    pub fn resume(&mut self, stored: Stored, seed: u64) {
        self.life.resume(stored, seed);
    }

    /// Whether a new model is on trial.
    pub const fn in_shadow(&self) -> bool {
        self.candidate.is_some()
    }

    /// Why the latest model was refused; empty if none was since one passed.
    pub fn because(&self) -> &[String] {
        &self.because
    }

    /// Why nothing can be trained now; `None` if something can.
    pub fn hindrance(&self) -> Option<String> {
        let options = &self.settings.life.schedule;
        let high = self.life.windows().high();
        let sources = high.iter().map(|k| k.sample.entity).collect::<BTreeSet<u64>>().len();
        (high.len() < options.least_samples || sources < options.least_entities).then(|| {
            format!(
                "{} windows of {sources} sources can be learnt from, and {} of {} are needed",
                high.len(),
                options.least_samples,
                options.least_entities
            )
        })
    }

    /// Lets time pass: releases samples, trains when it is time or `asked`, ends a trial.
    pub fn step(
        &mut self,
        now_ns: u64,
        asked: bool,
        meter: &dyn Meter,
        pool: &dyn Pool,
    ) -> Option<Promotion> {
        self.life.advance(now_ns);
        if let Some(candidate) = &mut self.candidate {
            let shadow = candidate.shadow.get_or_insert_with(|| Shadow::new(now_ns));
            match shadow.verdict(now_ns, &self.settings.shadow) {
                Verdict::Open => {}
                Verdict::Fit => return self.pass(now_ns),
                Verdict::Unfit(why) => self.refuse(&[why]),
            }
            return None;
        }
        let cause = self.life.due(now_ns);
        if cause.is_some() || asked && self.hindrance().is_none() {
            let begun = meter.cpu_ns();
            tracing::debug!(?cause, asked, "training anew");
            self.trainings += 1;
            self.train(now_ns, meter, pool);
            let spent = meter.cpu_ns().saturating_sub(begun);
            self.spent_ns += spent;
            self.life.trained(now_ns, spent);
        }
        None
    }

    fn train(&mut self, now_ns: u64, meter: &dyn Meter, pool: &dyn Pool) {
        let windows = self.life.windows();
        let from = self.settings.life.windows.high;
        // What is doubted is in the set of all; what is not is there twice.
        let doubted = windows.all().iter().filter(|k| k.confidence < from);
        let samples: Vec<fit::Sample> = windows.high().iter().chain(doubted).filter_map(training).collect();
        let options = fit::Options { confident: from, ..self.settings.fit };
        let ensemble = match fit(&samples, &options, pool) {
            Ok(ensemble) => ensemble,
            Err(why) => return self.failed(&why),
        };
        let normal: Vec<(u64, u16, Sequence)> = windows
            .aside()
            .iter()
            .filter_map(|k| Some((k.sample.entity, k.sample.hour, sequence(&k.sample)?)))
            .collect();
        let contenders = [Some(&ensemble), self.current.as_deref(), self.anchor.as_deref()];
        let silent = |of: &Figures| Figures {
            attacks: of.attacks,
            normal: of.normal,
            p99_ns: FIRST_P99_NS,
            ..Figures::default()
        };
        let [new, current, anchor] = self.golden.figures(contenders, &normal, meter);
        let new = new.unwrap_or_default();
        let (current, anchor) =
            (current.unwrap_or_else(|| silent(&new)), anchor.unwrap_or_else(|| silent(&new)));
        tracing::debug!(?new, ?current, ?anchor, "a new model before the gates");
        let refusals = self.settings.gates.check(&new, &current, &anchor);
        if !refusals.is_empty() {
            return self.refuse(&refusals);
        }
        let times = || samples.iter().map(|s| s.start_ns);
        self.candidate = Some(Candidate {
            ensemble: Arc::new(ensemble),
            figures: new,
            shadow: None,
            samples: samples.len() as u64,
            span_ns: (times().min().unwrap_or(now_ns), times().max().unwrap_or(now_ns)),
        });
    }

    /// A model that passed is in use now.
    pub fn used(&mut self, ensemble: Arc<Ensemble>) {
        // Where nobody vouched for any, the first is what later ones are compared with.
        self.anchor.get_or_insert_with(|| Arc::clone(&ensemble));
        self.current = Some(ensemble);
        self.promoted += 1;
        self.life.replaced();
    }

    fn pass(&mut self, now_ns: u64) -> Option<Promotion> {
        let candidate = self.candidate.take()?;
        self.because.clear();
        Some(Promotion {
            ensemble: candidate.ensemble,
            figures: candidate.figures,
            shadow: candidate.shadow.unwrap_or_default(),
            samples: candidate.samples,
            span_ns: candidate.span_ns,
            at_ns: now_ns,
            seed: self.settings.fit.seed,
        })
    }

    fn refuse(&mut self, refusals: &[Refusal]) {
        self.candidate = None;
        self.because = refusals.iter().map(ToString::to_string).collect();
        for refusal in refusals {
            *self.refused.entry(refusal.name().to_owned()).or_default() += 1;
        }
        tracing::info!("a new model is refused: {}", self.because.join("; "));
    }

    fn failed(&mut self, why: &LearnError) {
        *self.refused.entry("training".to_owned()).or_default() += 1;
        self.because = vec![format!("training failed: {why}")];
        tracing::info!("no new model: {why}");
    }

    /// What is shown of it; losses and the name of the model in use are the caller's.
    pub fn view(&self) -> LearnerView {
        let counters = self.life.counters();
        let mean = self.life.p_value_mean();
        LearnerView {
            state: if self.candidate.is_some() { "shadow" } else { "collecting" }.to_owned(),
            windows: self.windows,
            windows_dropped: 0,
            waiting: counters.waiting,
            shunned: counters.shunned,
            alarmed: counters.quarantine.alarmed + counters.forgotten,
            near: counters.quarantine.near,
            high: counters.high,
            all: counters.all,
            p_value_mean: (mean.is_finite() && self.current.is_some()).then_some(mean),
            drifts: counters.drifts,
            trainings: self.trainings,
            postponed: counters.postponed,
            trained_ns: self.life.last_trained_ns(),
            cpu_seconds: self.spent_ns as f64 / 1e9,
            promoted: self.promoted,
            refused: self.refused.clone(),
            because: self.because.clone(),
            model: String::new(),
            flows: None,
        }
    }
}

fn sequence(sample: &Sample) -> Option<Sequence> {
    <&[f32; SEQUENCE * WIDTH]>::try_from(&*sample.sequence).ok().copied()
}

fn training(kept: &Kept) -> Option<fit::Sample> {
    let sample = &kept.sample;
    Some(fit::Sample {
        source: sample.entity,
        group: sample.at_ns / GROUP_NS,
        hour: sample.hour,
        start_ns: sample.at_ns,
        confidence: kept.confidence,
        sequence: sequence(sample)?,
    })
}
