//! The course of the classifier of flows: what it was trained on, with what people said since.
//!
//! It is trained anew when that changes, from the sample that its bundle holds ([`Ground`]), confirmed attacks and flows of
//! incidents that were none. What is usual to it is calibrated on flows of this network which nobody had reason to doubt and
//! none of which it learns from. Without threads, files or clocks of its own, as [`super::course`].

use super::course::{Meter, ORDINARY, STRANGE, Settings};
use detect::learned::calibrate::{FlowSample, calibrate, hear};
use detect::learned::flows::FlowModel;
use flow::label::BENIGN;
use learn::hybrid::{self, Hybrid, Kind, Scratch, Training, Verdict};
use learn::life::ground::{Case, Ground};
use learn::life::quarantine;
use learn::life::reservoir::{Limits, Memory};
use learn::life::shadow::Verdict as Outcome;
use learn::life::{Figures, Gravity, Quarantine, Refusal, Reservoir, Sample, Schedule, Shadow};
use learn::{LearnError, Matrix, Pool};
use server::view::FlowLearnerView;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Parts of the sample, as many as `autoinmune learn` divided captures into: each is judged by a classifier that did not see it.
const PARTS: u32 = 5;
/// Trainings on the same words of people: what is refused may pass with more usual flows to calibrate with.
const TRIES: u32 = 3;
/// Rows that the flows of one incident make at least, however few they are: no leaf of a tree has fewer than twenty.
const LEAST_ROWS: usize = 32;
/// Times that flows are judged to measure how long that takes; of each the shortest counts.
const ROUNDS: usize = 9;
/// Flows that are judged to measure how long that takes, at most.
const TIMED: usize = 1000;

/// One hour, ns.
const HOUR_NS: u64 = 3_600_000_000_000;
/// Usual flows kept: two weeks, 512 of a source and 64 of its hour.
const USUAL: Limits = Limits {
    capacity: 8192,
    per_entity: 512,
    span_ns: HOUR_NS,
    per_span: 64,
    keep_ns: 14 * 24 * HOUR_NS,
    memory: Memory::Long,
};

/// A flow of which people said what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// What was said, by its number: flows of one incident are of one group.
    pub entry: u64,
    /// Class of threat, or `benign`.
    pub class: String,
    /// Features, as of [`detect::learned::row::schema`].
    pub row: Vec<f32>,
}

/// A model on trial.
struct Candidate {
    model: Arc<FlowModel>,
    figures: Figures,
    named: f64,
    shadow: Option<Shadow>,
    rows: u64,
    labelled: u64,
}

/// A new classifier that passed all gates.
#[derive(Debug)]
pub struct Passed {
    /// The classifier.
    pub model: Arc<FlowModel>,
    /// What the flows whose truth is known say of it.
    pub figures: Figures,
    /// Share of flows of attacks that it gives their family.
    pub named: f64,
    /// How it compared with the one in use.
    pub shadow: Shadow,
    /// Rows that it was trained on.
    pub rows: u64,
    /// Flows of which people said something, by [`mark`].
    pub labelled: u64,
    /// When it passed, ns.
    pub at_ns: u64,
    /// Seed of everything drawn at random in training.
    pub seed: u64,
}

/// Tells sets of flows apart (FNV-1a), so that a restart does not learn the same again.
pub fn mark(labelled: &[Labelled]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for flow in labelled {
        flow.class.bytes().for_each(&mut add);
        flow.row.iter().flat_map(|v| v.to_le_bytes()).for_each(&mut add);
    }
    hash
}

/// Learning under way.
pub struct FlowCourse {
    settings: Settings,
    ground: Option<Arc<Ground>>,
    current: Option<Arc<FlowModel>>,
    anchor: Option<Arc<FlowModel>>,
    labelled: Vec<Labelled>,
    /// What the model in use learnt of people, by [`mark`].
    learnt: u64,
    /// Trainings since people last said something new.
    tries: u32,
    quarantine: Quarantine,
    usual: Reservoir,
    schedule: Schedule,
    candidate: Option<Candidate>,
    view: FlowLearnerView,
    spent_ns: u64,
}

/// What a training came to.
struct Fitted {
    /// The sample, with what classifiers said of it that did not see its part.
    cases: Vec<(Case, Told)>,
    /// The classifier of all of it.
    model: FlowModel,
    /// Rows that this one has seen.
    rows: u64,
}

/// What was said of a flow: whether it is not normal, and whether it was given its family.
type Told = (bool, bool);

/// A flow to measure with.
struct Tested<'a> {
    row: &'a [f32],
    attack: bool,
    class: &'a str,
    /// Of the sample: what the new recipe and the one of before said without having learnt from its group.
    told: Option<[Told; 2]>,
    copies: u32,
}

/// A verdict about a flow of some class.
fn said(verdict: Verdict, names: &[String], class: &str) -> Told {
    let named = matches!(verdict, Verdict::Known(c) if names.get(c as usize).is_some_and(|n| n == class));
    (verdict != Verdict::Normal, named)
}

impl FlowCourse {
    /// Begins with the model in use, the one that people last vouched for, and what the first was trained on. `learnt` is
    /// what it learnt of people, 0 for nothing.
    pub fn new(
        settings: Settings,
        ground: Option<Arc<Ground>>,
        models: [Option<Arc<FlowModel>>; 2],
        learnt: u64,
        seed: u64,
    ) -> Self {
        let [current, anchor] = models;
        let wait = quarantine::Options { ..settings.life.quarantine };
        Self {
            settings,
            ground,
            current,
            anchor,
            labelled: Vec::new(),
            learnt,
            tries: 0,
            quarantine: Quarantine::new(wait, seed.wrapping_add(5)),
            usual: Reservoir::new(USUAL, seed.wrapping_add(6)),
            schedule: Schedule::new(settings.life.schedule),
            candidate: None,
            view: FlowLearnerView::default(),
            spent_ns: 0,
        }
    }

    /// Takes a flow that was judged.
    pub fn flow(&mut self, sample: Sample) {
        self.view.flows += 1;
        self.quarantine.take(sample);
    }

    /// A source gave an alarm; see [`learn::life::Life::alarm`].
    pub fn alarm(&mut self, entity: u64, since_ns: u64, at_ns: u64, gravity: Gravity) {
        self.quarantine.alarm(entity, since_ns, at_ns, gravity);
        self.usual.forget_entity(entity, at_ns.saturating_sub(self.quarantine.shun_ns(gravity)));
    }

    /// A source did no harm after all.
    pub fn pardon(&mut self, entity: u64) {
        self.quarantine.pardon(entity);
    }

    /// Alarms were lost on their way here.
    pub fn distrust(&mut self) {
        self.quarantine.clear();
    }

    /// All flows of which people said something.
    pub fn set_labelled(&mut self, labelled: Vec<Labelled>) {
        if labelled != self.labelled {
            self.labelled = labelled;
            self.tries = 0;
        }
    }

    /// People put a model in use.
    pub fn vouch(&mut self, model: Option<Arc<FlowModel>>, ground: Option<Arc<Ground>>, learnt: u64) {
        self.current.clone_from(&model);
        (self.anchor, self.ground, self.learnt) = (model, ground, learnt);
        (self.candidate, self.tries) = (None, 0);
    }

    /// A model that passed is in use now.
    pub fn used(&mut self, passed: &Passed) {
        self.current = Some(Arc::clone(&passed.model));
        self.learnt = passed.labelled;
        self.view.promoted += 1;
    }

    /// Why nothing can be trained now; `None` if something can.
    pub fn hindrance(&self) -> Option<String> {
        let options = &self.settings.life.schedule;
        if self.ground.is_none() || self.current.is_none() {
            return Some(
                "the bundle in use does not hold what its classifier was trained on; `autoinmune learn` makes one that does"
                    .to_owned(),
            );
        }
        let (flows, sources) = (self.usual.kept().len(), self.sources());
        (flows < options.least_samples || sources < options.least_entities).then(|| {
            format!(
                "{flows} usual flows of {sources} sources were seen, and {} of {} are needed to calibrate with",
                options.least_samples, options.least_entities
            )
        })
    }

    fn sources(&self) -> usize {
        self.usual.kept().iter().map(|k| k.sample.entity).collect::<BTreeSet<u64>>().len()
    }

    /// Whether a new model is on trial.
    pub const fn in_shadow(&self) -> bool {
        self.candidate.is_some()
    }

    /// Why the latest model was refused; empty if none was since one passed.
    pub fn because(&self) -> &[String] {
        &self.view.because
    }

    /// Lets time pass: releases flows, trains when people said something new or `asked`, ends a trial.
    pub fn step(&mut self, now_ns: u64, asked: bool, meter: &dyn Meter, pool: &dyn Pool) -> Option<Passed> {
        for sample in self.quarantine.release(now_ns) {
            self.compare(&sample.row);
            self.usual.offer(&sample, 1.0);
        }
        self.usual.expire(now_ns);
        if let Some(candidate) = &mut self.candidate {
            let shadow = candidate.shadow.get_or_insert_with(|| Shadow::new(now_ns));
            match shadow.verdict(now_ns, &self.settings.shadow) {
                Outcome::Open => {}
                Outcome::Fit => return self.pass(now_ns),
                Outcome::Unfit(why) => self.refuse(&[why]),
            }
            return None;
        }
        let new = mark(&self.labelled) != self.learnt && (!self.labelled.is_empty() || self.learnt != 0);
        let wanted = asked || new && self.tries < TRIES;
        let due = wanted
            && self.hindrance().is_none()
            && (asked || self.schedule.due(now_ns, self.usual.kept().len(), self.sources()).is_some());
        if due {
            let begun = meter.cpu_ns();
            self.tries += 1;
            self.view.trainings += 1;
            self.train(meter, pool);
            let spent = meter.cpu_ns().saturating_sub(begun);
            self.spent_ns += spent;
            self.schedule.trained(now_ns, spent);
        }
        None
    }

    /// Both models judge a flow that nobody had reason to doubt.
    fn compare(&mut self, row: &[f32]) {
        let (Some(candidate), Some(current)) = (&mut self.candidate, &self.current) else { return };
        let Some(shadow) = &mut candidate.shadow else { return };
        let mut scratch = Scratch::default();
        let mut p = |model: &FlowModel| {
            let p = model.calibration.flows.p_value(model.hybrid.judge(row, &mut scratch).score);
            // Of few flows no value is as low as that of a strange one.
            if p <= model.calibration.flows.finest() { 0.0 } else { p }
        };
        let (old, new) = (p(current), p(&candidate.model));
        let either = old.min(new) <= STRANGE;
        shadow.add(either && old <= ORDINARY, either && new <= ORDINARY);
    }

    fn train(&mut self, meter: &dyn Meter, pool: &dyn Pool) {
        let (Some(ground), Some(current)) = (self.ground.clone(), self.current.clone()) else { return };
        let Fitted { cases, model, rows } = match self.fit(&ground, &current, pool) {
            Ok(fitted) => fitted,
            Err(why) => {
                *self.view.refused.entry("training".to_owned()).or_default() += 1;
                self.view.because = vec![format!("training failed: {why}")];
                tracing::info!("no new classifier of flows: {why}");
                return;
            }
        };
        let tested = self.tested(&ground, &cases);
        let anchor = self.anchor.clone().unwrap_or_else(|| Arc::clone(&current));
        let mut scratch = Scratch::default();
        let mut judge = |m: &FlowModel, new: bool| -> Vec<Told> {
            let of = |t: &Tested<'_>| match t.told {
                Some([by_new, before]) => {
                    if new {
                        by_new
                    } else {
                        before
                    }
                }
                None => said(m.hybrid.judge(t.row, &mut scratch).verdict, m.hybrid.names(), t.class),
            };
            tested.iter().map(of).collect()
        };
        let judged = [judge(&model, true), judge(&current, false), judge(&anchor, false)];
        let times = timed([&model, &current, &anchor], &tested, meter);
        let [new, current, anchor]: [(Figures, f64); 3] = {
            let mut times = times.into_iter();
            judged.map(|told| figures(&tested, &told, &mut times.next().unwrap_or_default()))
        };
        tracing::debug!(?new, ?current, ?anchor, "a new classifier of flows before the gates");
        let mut refusals = self.settings.gates.check(&new.0, &current.0, &anchor.0);
        refusals.extend(self.settings.gates.check_naming(new.1, current.1, anchor.1));
        if !refusals.is_empty() {
            return self.refuse(&refusals);
        }
        self.candidate = Some(Candidate {
            model: Arc::new(model),
            figures: new.0,
            named: new.1,
            shadow: None,
            rows,
            labelled: mark(&self.labelled),
        });
    }

    /// Flows whose truth is known: the sample, what people said were attacks, and usual ones of this network.
    fn tested<'a>(&'a self, ground: &'a Ground, cases: &'a [(Case, Told)]) -> Vec<Tested<'a>> {
        let of_sample = cases.iter().map(|(c, by_new)| {
            let class = ground.names().get(c.class as usize).map_or(BENIGN, String::as_str);
            Tested {
                row: &c.row,
                attack: c.class != ground.normal(),
                class,
                told: Some([*by_new, said(c.taken, ground.names(), class)]),
                copies: c.copies,
            }
        });
        let attacks = self.labelled.iter().filter(|l| l.class != BENIGN);
        let of_people =
            attacks.map(|l| Tested { row: &l.row, attack: true, class: &l.class, told: None, copies: 1 });
        let usual = self.usual.kept().iter().map(|k| Tested {
            row: &k.sample.row,
            attack: false,
            class: BENIGN,
            told: None,
            copies: 1,
        });
        of_sample.chain(of_people).chain(usual).collect()
    }

    /// What classifiers say of parts of the sample that they did not see, and one of all of it, calibrated, with how many rows
    /// it has seen.
    fn fit(&self, ground: &Ground, current: &FlowModel, pool: &dyn Pool) -> Result<Fitted, LearnError> {
        let (mut cases, mut scratch) = (Vec::new(), Scratch::default());
        for part in 0..PARTS {
            let own = ground.cases(part, PARTS);
            // Where captures are few, a part may have none.
            if own.is_empty() {
                continue;
            }
            let (blind, _) = self.hybrid(ground, Some((part, PARTS)), pool)?;
            cases.extend(own.into_iter().map(|case| {
                let class = ground.names().get(case.class as usize).map_or(BENIGN, String::as_str);
                let told = said(blind.judge(&case.row, &mut scratch).verdict, blind.names(), class);
                (case, told)
            }));
        }
        let (hybrid, rows) = self.hybrid(ground, None, pool)?;
        let flow =
            |s: &Sample| FlowSample { source: s.entity, group: 0, at_ns: s.at_ns, row: s.row.to_vec() };
        let usual: Vec<FlowSample> = self.usual.kept().iter().map(|k| flow(&k.sample)).collect();
        let heard = hear(&hybrid, &usual);
        let model = calibrate(hybrid, &usual, &heard, current.alarms_per_day)?;
        Ok(Fitted { cases, model, rows })
    }

    fn hybrid(
        &self,
        ground: &Ground,
        without: Option<(u32, u32)>,
        pool: &dyn Pool,
    ) -> Result<(Hybrid, u64), LearnError> {
        let mut names = ground.names().to_vec();
        let mut rows = ground.rows(without);
        let mut of_entry: BTreeMap<u64, usize> = BTreeMap::new();
        self.labelled.iter().for_each(|l| *of_entry.entry(l.entry).or_default() += 1);
        for flow in self.labelled.iter().filter(|l| l.row.len() == ground.schema().len()) {
            let class = if flow.class == BENIGN {
                ground.normal()
            } else {
                let place = names.iter().position(|n| *n == flow.class).unwrap_or_else(|| {
                    names.push(flow.class.clone());
                    names.len() - 1
                });
                place as u32
            };
            let copies = LEAST_ROWS.div_ceil(of_entry.get(&flow.entry).copied().unwrap_or(1).max(1));
            for _ in 0..copies {
                rows.values.extend(&flow.row);
                rows.classes.push(class);
                rows.weights.push(1.0);
            }
        }
        let matrix = Matrix::new(ground.schema().len(), rows.values)?;
        let training = Training {
            rows: &matrix,
            schema: ground.schema(),
            classes: &rows.classes,
            names: &names,
            normal: ground.normal(),
            weights: Some(&rows.weights),
            // By equal rows: captures are so unlike in size that whole ones, set aside to stop early by, mislead.
            groups: None,
        };
        let options = hybrid::Options {
            kind: Kind::Boosting,
            seed: self.settings.fit.seed,
            ..hybrid::Options::default()
        };
        let rows = rows.classes.len() as u64;
        Ok((Hybrid::train(&training, &options, pool, &mut |_| {})?, rows))
    }

    fn pass(&mut self, now_ns: u64) -> Option<Passed> {
        let candidate = self.candidate.take()?;
        self.view.because.clear();
        Some(Passed {
            model: candidate.model,
            figures: candidate.figures,
            named: candidate.named,
            shadow: candidate.shadow.unwrap_or_default(),
            rows: candidate.rows,
            labelled: candidate.labelled,
            at_ns: now_ns,
            seed: self.settings.fit.seed,
        })
    }

    fn refuse(&mut self, refusals: &[Refusal]) {
        self.candidate = None;
        self.view.because = refusals.iter().map(ToString::to_string).collect();
        for refusal in refusals {
            *self.view.refused.entry(refusal.name().to_owned()).or_default() += 1;
        }
        tracing::info!("a new classifier of flows is refused: {}", self.view.because.join("; "));
    }

    /// What is shown of it; losses are the caller's.
    pub fn view(&self) -> FlowLearnerView {
        FlowLearnerView {
            state: match (&self.candidate, &self.ground) {
                (Some(_), _) => "shadow",
                (None, Some(_)) => "collecting",
                (None, None) => "off",
            }
            .to_owned(),
            waiting: self.quarantine.len() as u64,
            usual: self.usual.kept().len() as u64,
            labelled: self.labelled.len() as u64,
            cpu_seconds: self.spent_ns as f64 / 1e9,
            trained_ns: self.schedule.last_ns(),
            ..self.view.clone()
        }
    }
}

/// What judging takes each model, ns, of the same flows, the shortest of several times.
fn timed<const N: usize>(models: [&FlowModel; N], tested: &[Tested<'_>], meter: &dyn Meter) -> [Vec<u64>; N] {
    let step = tested.len().div_ceil(TIMED).max(1);
    let rows: Vec<&[f32]> = tested.iter().step_by(step).map(|t| t.row).collect();
    let mut times = [(); N].map(|()| vec![u64::MAX; rows.len()]);
    let mut scratch = Scratch::default();
    for _ in 0..ROUNDS {
        for (model, times) in models.iter().zip(&mut times) {
            for (row, time) in rows.iter().zip(times) {
                let begun = meter.time_ns();
                std::hint::black_box(model.hybrid.judge(row, &mut scratch).score);
                *time = meter.time_ns().saturating_sub(begun).min(*time);
            }
        }
    }
    times
}

/// What is to be said of judgements (found, named), and the share of attacks that were given their family.
fn figures(tested: &[Tested<'_>], told: &[Told], times: &mut [u64]) -> (Figures, f64) {
    let all = || tested.iter().zip(told).flat_map(|(t, told)| (0..t.copies).map(move |_| (t.attack, *told)));
    let attacks = all().filter(|(attack, _)| *attack).count();
    let named = all().filter(|(attack, (_, named))| *attack && *named).count();
    let found = Figures::of(all().map(|(attack, (found, _))| (attack, found)), times);
    (found, named as f64 / attacks.max(1) as f64)
}

#[cfg(test)]
mod tests;
