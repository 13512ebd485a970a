//! The learner's thread.

use super::course::{Course, Meter, Promotion, Settings};
use super::flows::{FlowCourse, Passed};
use super::golden::Golden;
use super::requests::{End, Part, Requests, Stage};
use super::state::State;
use super::witness::{Line, Losses, Vouched, Witness, Word};
use crate::line::LineConfig;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use detect::learned::Models;
use learn::life::{Ground, Sample};
use rustix::time::{ClockId, clock_gettime};
use server::view::{FlowLearnerView, LearnerView};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Windows waiting for the learner: those of a busy minute of training. Further ones are dropped and counted.
const WINDOWS: usize = 8192;
/// Flows waiting, likewise.
const FLOWS: usize = 8192;
/// Words waiting. When an alarm does not fit, nothing of what waits in quarantine is learnt from.
const WORDS: usize = 4096;
/// Finished models waiting for the agent's thread, which looks many times a second.
const FINISHED: usize = 4;
/// How often time is let pass, unless a test is in a hurry.
pub(super) const STEP: Duration = Duration::from_secs(1);
/// How long the end of the agent waits for the learner: a training is not waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Least favourable of nice values (setpriority(2)).
const NICE: i32 = 19;

/// Models to be kept together, one of which is new.
pub struct Finished<'a> {
    /// The models, the new one among them.
    pub models: &'a Models,
    /// What the classifier of flows was trained on.
    pub ground: Option<&'a Ground>,
    /// What it learnt of people ([`super::flows::mark`]).
    pub learnt: u64,
    /// Which is new, and what is to be said of it.
    pub new: New<'a>,
}

/// A new model.
pub enum New<'a> {
    /// An ensemble that knows windows.
    Windows(&'a Promotion),
    /// A classifier of flows.
    Flows(&'a Passed),
}

/// Keeps models that passed all gates and says what they are called; it may also say that they are not to be put in use.
pub type Store = Box<dyn FnMut(&Finished<'_>) -> anyhow::Result<(String, bool)> + Send>;

/// What learning begins with.
pub struct Begin {
    /// How to learn.
    pub settings: Settings,
    /// How the agent's own line is made.
    pub line: LineConfig,
    /// The models in use.
    pub current: Vouched,
    /// The models that people last vouched for.
    pub anchor: Models,
    /// Keeps what was learnt.
    pub store: Store,
    /// Trainings that others ask for.
    pub requests: Arc<Requests>,
    /// Where training windows are kept over a restart.
    pub state_dir: Option<PathBuf>,
}

/// The agent's handle.
pub struct Learner {
    view: Arc<Mutex<LearnerView>>,
    losses: Arc<Losses>,
    finished: Receiver<(Models, String)>,
    requests: Arc<Requests>,
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
}

struct Clocks(Instant);

impl Meter for Clocks {
    fn time_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn cpu_ns(&self) -> u64 {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
    }
}

impl Learner {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(begin: Begin) -> std::io::Result<(Self, Witness)> {
        Self::start_with(begin, STEP)
    }

    pub(super) fn start_with(begin: Begin, step: Duration) -> std::io::Result<(Self, Witness)> {
        let (windows, windows_in) = bounded(WINDOWS);
        let (flows, flows_in) = bounded(FLOWS);
        let (words, words_in) = bounded(WORDS);
        let (finished_out, finished) = bounded(FINISHED);
        let (ended_out, ended) = bounded(1);
        let losses = Arc::new(Losses::default());
        let view = LearnerView {
            state: "collecting".into(),
            model: begin.current.name.clone(),
            ..LearnerView::default()
        };
        let view = Arc::new(Mutex::new(view));
        let stop = Arc::new(AtomicBool::new(false));
        let Begin { settings, line, current, anchor, store, requests, state_dir } = begin;
        let work = Work {
            windows: windows_in,
            flows: flows_in,
            words: words_in,
            finished: finished_out,
            view: Arc::clone(&view),
            losses: Arc::clone(&losses),
            stop: Arc::clone(&stop),
            requests: Arc::clone(&requests),
            store,
            current,
            state: state_dir.as_deref().map(State::new),
            step,
        };
        std::thread::Builder::new().name("learner".into()).spawn(move || {
            work.run(settings, &line, &anchor);
            let _ = ended_out.send(());
        })?;
        requests.hear(true);
        let witness = Witness::new(Line { windows, flows, words, losses: Arc::clone(&losses) });
        Ok((Self { view, losses, finished, requests, stop, ended }, witness))
    }

    /// Models to put in use, and the name of their bundle.
    pub fn finished(&self) -> Option<(Models, String)> {
        self.finished.try_recv().ok()
    }

    /// How it stands.
    pub fn view(&self) -> LearnerView {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dropped = self.losses.flows.load(Ordering::Relaxed);
        LearnerView {
            windows_dropped: self.losses.windows.load(Ordering::Relaxed),
            flows: view.flows.map(|flows| FlowLearnerView { dropped, ..flows }),
            ..view
        }
    }

    /// Ends the thread, or leaves it to the end of the process if it is training: it has nothing open that could be left half
    /// written.
    pub fn stop(self) {
        self.requests.hear(false);
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// What the thread owns.
struct Work {
    windows: Receiver<(Sample, f64)>,
    flows: Receiver<Sample>,
    words: Receiver<Word>,
    finished: Sender<(Models, String)>,
    view: Arc<Mutex<LearnerView>>,
    losses: Arc<Losses>,
    stop: Arc<AtomicBool>,
    requests: Arc<Requests>,
    store: Store,
    /// What is in use, as far as the learner knows.
    current: Vouched,
    state: Option<State>,
    step: Duration,
}

impl Work {
    fn run(mut self, settings: Settings, line: &LineConfig, anchor: &Models) {
        if let Err(e) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!("the learner keeps its ordinary priority: {e}");
        }
        let golden = Golden::generate(line);
        tracing::debug!("{} windows of attacks to measure new models with", golden.attacks());
        let seed = line.judge.census.seed;
        let models = self.current.models.clone();
        let mut course = Course::new(settings, golden, models.ensemble, anchor.ensemble.clone(), seed);
        if let Some(stored) = self.state.as_ref().and_then(State::read) {
            tracing::info!("the learner goes on with {} windows of before", stored.len());
            course.resume(stored, seed);
        }
        let classifiers = [models.flows, anchor.flows.clone()];
        let (ground, learnt) = (self.current.ground.clone(), self.current.learnt);
        let mut flows = FlowCourse::new(settings, ground, classifiers, learnt, seed);
        let clocks = Clocks(Instant::now());
        let (mut now_ns, mut stepped) = (0, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            match self.windows.recv_timeout(self.step.saturating_sub(stepped.elapsed())) {
                Ok((sample, p)) => course.window(sample, p),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if stepped.elapsed() < self.step {
                continue;
            }
            stepped = Instant::now();
            while let Ok(sample) = self.flows.try_recv() {
                flows.flow(sample);
            }
            // Before anything is released: an alarm may be about it.
            self.heed(&mut course, &mut flows, &mut now_ns);
            let asked = self.asked(Part::Windows, course.in_shadow(), || course.hindrance());
            if let Some(promotion) = course.step(now_ns, asked, &clocks, &learn::Inline) {
                self.hand_over_windows(&mut course, &promotion);
            }
            self.answer(Part::Windows, asked, course.in_shadow(), course.because());
            let asked = self.asked(Part::Flows, flows.in_shadow(), || flows.hindrance());
            if let Some(passed) = flows.step(now_ns, asked, &clocks, &learn::Inline) {
                self.hand_over_flows(&mut flows, &passed);
            }
            self.answer(Part::Flows, asked, flows.in_shadow(), flows.because());
            self.show(&course, &flows);
            if let Some(state) = self.state.as_mut().filter(|s| s.is_due()) {
                state.write(&course.store());
            }
        }
        if let Some(state) = &mut self.state {
            state.write(&course.store());
        }
    }

    /// Whether somebody asked for a training that can begin now. What cannot is refused.
    fn asked(&self, part: Part, in_shadow: bool, hindrance: impl FnOnce() -> Option<String>) -> bool {
        if !self.requests.is_waiting(part) {
            return false;
        }
        if in_shadow {
            self.requests.report(part, Stage::Shadow);
            return false;
        }
        match hindrance() {
            None => true,
            Some(why) => {
                self.requests.report(part, Stage::Ended(End::Refused(why)));
                false
            }
        }
    }

    /// Says what became of a training that was asked for, when it was done or when its trial is over.
    fn answer(&self, part: Part, trained: bool, in_shadow: bool, because: &[String]) {
        if in_shadow && trained {
            self.requests.report(part, Stage::Shadow);
        } else if trained || !in_shadow && self.requests.is_in_shadow(part) {
            self.requests.report(part, Stage::Ended(End::Refused(because.join("; "))));
        }
    }

    fn heed(&mut self, course: &mut Course, flows: &mut FlowCourse, now_ns: &mut u64) {
        if self.losses.alarms.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "alarms came faster than the learner takes them; nothing in quarantine is learnt from"
            );
            course.distrust();
            flows.distrust();
        }
        while let Ok(word) = self.words.try_recv() {
            match word {
                Word::Alarm { entity, since_ns, at_ns, gravity } => {
                    course.alarm(entity, since_ns, at_ns, gravity);
                    flows.alarm(entity, since_ns, at_ns, gravity);
                }
                Word::Pardon(entity) => {
                    course.pardon(entity);
                    flows.pardon(entity);
                }
                Word::Confirmed(windows) => course.set_confirmed(windows),
                Word::Labelled(labelled) => flows.set_labelled(labelled),
                Word::Vouched(vouched) => {
                    let Vouched { models, ground, learnt, .. } = (*vouched).clone();
                    course.vouch(models.ensemble);
                    flows.vouch(models.flows, ground, learnt);
                    self.current = *vouched;
                }
                Word::Now(ns) => *now_ns = ns,
            }
        }
    }

    /// Keeps models of which one is new; whether they are put in use.
    fn hand_over(&mut self, part: Part, models: Models, learnt: u64, new: New<'_>) -> bool {
        let what = match part {
            Part::Windows => "a new model of windows",
            Part::Flows => "a new classifier of flows",
        };
        let ground = self.current.ground.clone();
        match (self.store)(&Finished { models: &models, ground: ground.as_deref(), learnt, new }) {
            Ok((name, used)) => {
                if used {
                    tracing::info!("{what} passed all gates and is put in use as {name}");
                    self.current = Vouched { models: models.clone(), ground, learnt, name: name.clone() };
                    // The agent takes them many times a second; if it does not, it is going.
                    let _ = self.finished.try_send((models, name.clone()));
                } else {
                    tracing::info!(
                        "{what} passed all gates and is kept as {name}; put it in use with: autoinmune models promote {name}"
                    );
                }
                self.requests.report(part, Stage::Ended(End::Passed { name, used }));
                used
            }
            Err(e) => {
                tracing::error!("{what} passed all gates and cannot be kept, so it is not used: {e:#}");
                self.requests.report(part, Stage::Ended(End::Refused(format!("cannot be kept: {e:#}"))));
                false
            }
        }
    }

    fn hand_over_windows(&mut self, course: &mut Course, promotion: &Promotion) {
        let ensemble = Arc::clone(&promotion.ensemble);
        let models = Models { ensemble: Some(Arc::clone(&ensemble)), ..self.current.models.clone() };
        if self.hand_over(Part::Windows, models, self.current.learnt, New::Windows(promotion)) {
            course.used(ensemble);
        }
    }

    fn hand_over_flows(&mut self, flows: &mut FlowCourse, passed: &Passed) {
        let models = Models { flows: Some(Arc::clone(&passed.model)), ..self.current.models.clone() };
        if self.hand_over(Part::Flows, models, passed.labelled, New::Flows(passed)) {
            flows.used(passed);
        }
    }

    fn show(&self, course: &Course, flows: &FlowCourse) {
        let view =
            LearnerView { model: self.current.name.clone(), flows: Some(flows.view()), ..course.view() };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}
