//! The learner's thread.

use super::course::{Course, Meter, Promotion, Settings};
use super::golden::Golden;
use super::witness::{Line, Losses, Witness, Word};
use crate::line::LineConfig;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use detect::learned::ensemble::Ensemble;
use learn::life::Sample;
use rustix::time::{ClockId, clock_gettime};
use server::view::LearnerView;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Windows waiting for the learner: those of a busy minute of training. Further ones are dropped and counted.
const WINDOWS: usize = 8192;
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

/// Keeps a model that passed all gates and says what it is called; it may also say that it is not to be put in use.
pub type Store = Box<dyn FnMut(&Promotion) -> anyhow::Result<(String, bool)> + Send>;

/// The agent's handle.
pub struct Learner {
    view: Arc<Mutex<LearnerView>>,
    losses: Arc<Losses>,
    finished: Receiver<(Arc<Ensemble>, String)>,
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
    /// Starts the thread. `line` is how the agent's own line is made, `models` the one in use and the one that people last
    /// vouched for, and `name` that of the first.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        settings: Settings,
        line: LineConfig,
        models: [Option<Arc<Ensemble>>; 2],
        name: &str,
        store: Store,
    ) -> std::io::Result<(Self, Witness)> {
        Self::start_with(settings, line, models, name, store, STEP)
    }

    pub(super) fn start_with(
        settings: Settings,
        line: LineConfig,
        models: [Option<Arc<Ensemble>>; 2],
        name: &str,
        store: Store,
        step: Duration,
    ) -> std::io::Result<(Self, Witness)> {
        let (windows, windows_in) = bounded(WINDOWS);
        let (words, words_in) = bounded(WORDS);
        let (finished_out, finished) = bounded(FINISHED);
        let (ended_out, ended) = bounded(1);
        let losses = Arc::new(Losses::default());
        let view =
            LearnerView { state: "collecting".into(), model: name.to_owned(), ..LearnerView::default() };
        let view = Arc::new(Mutex::new(view));
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            windows: windows_in,
            words: words_in,
            finished: finished_out,
            view: Arc::clone(&view),
            losses: Arc::clone(&losses),
            stop: Arc::clone(&stop),
            store,
            name: name.to_owned(),
            step,
        };
        std::thread::Builder::new().name("learner".into()).spawn(move || {
            work.run(settings, &line, models);
            let _ = ended_out.send(());
        })?;
        let witness = Witness::new(Line { windows, words, losses: Arc::clone(&losses) });
        Ok((Self { view, losses, finished, stop, ended }, witness))
    }

    /// A model to put in use, and its name.
    pub fn finished(&self) -> Option<(Arc<Ensemble>, String)> {
        self.finished.try_recv().ok()
    }

    /// How it stands.
    pub fn view(&self) -> LearnerView {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LearnerView { windows_dropped: self.losses.windows.load(Ordering::Relaxed), ..view }
    }

    /// Ends the thread, or leaves it to the end of the process if it is training: it has nothing open that could be left half
    /// written.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// What the thread owns.
struct Work {
    windows: Receiver<(Sample, f64)>,
    words: Receiver<Word>,
    finished: Sender<(Arc<Ensemble>, String)>,
    view: Arc<Mutex<LearnerView>>,
    losses: Arc<Losses>,
    stop: Arc<AtomicBool>,
    store: Store,
    name: String,
    step: Duration,
}

impl Work {
    fn run(mut self, settings: Settings, line: &LineConfig, [current, anchor]: [Option<Arc<Ensemble>>; 2]) {
        if let Err(e) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!("the learner keeps its ordinary priority: {e}");
        }
        let golden = Golden::generate(line);
        tracing::debug!("{} windows of attacks to measure new models with", golden.attacks());
        let seed = line.judge.census.seed;
        let mut course = Course::new(settings, golden, current, anchor, seed);
        let clocks = Clocks(Instant::now());
        let (mut now_ns, mut stepped) = (0, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            match self.windows.recv_timeout(self.step.saturating_sub(stepped.elapsed())) {
                Ok((sample, p)) => course.window(sample, p),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if stepped.elapsed() < self.step {
                continue;
            }
            stepped = Instant::now();
            // Before anything is released: an alarm may be about it.
            self.heed(&mut course, &mut now_ns);
            if let Some(promotion) = course.step(now_ns, &clocks, &learn::Inline) {
                self.hand_over(&mut course, promotion);
            }
            self.show(&course);
        }
    }

    fn heed(&mut self, course: &mut Course, now_ns: &mut u64) {
        if self.losses.alarms.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "alarms came faster than the learner takes them; nothing in quarantine is learnt from"
            );
            course.distrust();
        }
        while let Ok(word) = self.words.try_recv() {
            match word {
                Word::Alarm { entity, since_ns, at_ns, gravity } => {
                    course.alarm(entity, since_ns, at_ns, gravity);
                }
                Word::Pardon(entity) => course.pardon(entity),
                Word::Confirmed(windows) => course.set_confirmed(windows),
                Word::Vouched(ensemble, name) => {
                    course.vouch(ensemble);
                    self.name = name;
                }
                Word::Now(ns) => *now_ns = ns,
            }
        }
    }

    fn hand_over(&mut self, course: &mut Course, promotion: Promotion) {
        match (self.store)(&promotion) {
            Ok((name, true)) => {
                tracing::info!(
                    "a new model passed all gates and is put in use as {name}: recall {:.3}, false positives {:.4}",
                    promotion.figures.recall,
                    promotion.figures.fpr
                );
                self.name.clone_from(&name);
                course.used(Arc::clone(&promotion.ensemble));
                // The agent takes them many times a second; if it does not, it is going.
                let _ = self.finished.try_send((promotion.ensemble, name));
            }
            Ok((name, false)) => {
                tracing::info!(
                    "a new model passed all gates and is kept as {name}; put it in use with: autoinmune models promote {name}"
                );
            }
            Err(e) => {
                tracing::error!("a new model passed all gates and cannot be kept, so it is not used: {e:#}");
            }
        }
    }

    fn show(&self, course: &Course) {
        let view = LearnerView { model: self.name.clone(), ..course.view() };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}
