//! Retraining on request: one at work, one waiting, on a thread of its own. The same thread keeps what the service knows.
//!
//! What the API itself judges by is trained here. What the agent's line judges by is trained by the learner, which is asked and
//! watched ([`crate::learner::requests`]).

use super::golden;
use super::judge::{InUse, SHIPPED, Service};
use super::state::{Found, State};
use crate::agent::wall_ns;
use crate::learner::Requests;
use crate::learner::requests::{End, Part, Stage, Ticket};
use anyhow::Context as _;
use detect::snapshot::{Baseline, Options};
use server::api::body::{Job, Progress, Target};
use server::http::problem::Problem;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Retrainings remembered.
const KEPT: usize = 100;
/// Fewest snapshots to learn from: two thirds of an hour at one a second.
const LEAST: usize = 1000;
/// Points of accuracy on the golden set that a new model may lose.
const MAY_LOSE: f64 = 0.005;
/// How often the thread looks whether the service is still there, and how far the learner is.
const LOOK: Duration = Duration::from_millis(500);
/// How long the learner is watched: a trial in a quiet network can take days, and others wait to ask.
const WATCH: Duration = Duration::from_secs(900);
/// How often what the service knows is kept, if it changed.
const KEEP: Duration = Duration::from_secs(60);

/// The queue.
pub(super) struct Training {
    jobs: Mutex<VecDeque<Job>>,
    /// Number of the latest job.
    latest: Mutex<u64>,
    asked: Condvar,
    learner: Arc<Requests>,
    state: Option<State>,
}

fn seconds() -> f64 {
    wall_ns() as f64 / 1e9
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Training {
    /// A queue that asks `learner` for what is not trained here. What is known is kept in `state_dir`, if there is one, and
    /// what was kept there is found.
    pub(super) fn new(learner: Arc<Requests>, state_dir: Option<&Path>) -> (Self, Found) {
        let state = state_dir.map(State::new);
        let found = state.as_ref().map(|s| s.read(MAY_LOSE)).unwrap_or_default();
        let latest = Mutex::new(found.jobs);
        (Self { jobs: Mutex::default(), latest, asked: Condvar::new(), learner, state }, found)
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        held(&self.jobs)
    }

    /// Queues one.
    pub(super) fn ask(&self, target: Target) -> Result<Job, Problem> {
        if matches!(target, Target::Windows | Target::Flows) && !self.learner.is_heard() {
            return Err(Problem::conflict(
                "no agent learns in this process: it is `detector`, or learner.enabled is off, models.bundle is not \
                 \"default\", or traffic is simulated",
            ));
        }
        let mut jobs = self.jobs();
        if let Some(waiting) = jobs.iter().find(|j| j.state == Progress::Queued) {
            return Err(Problem::conflict(format!("retraining {} is queued already", waiting.id)));
        }
        let number = {
            let mut latest = held(&self.latest);
            *latest += 1;
            *latest
        };
        let job = Job {
            id: number.to_string(),
            target,
            state: Progress::Queued,
            asked: seconds(),
            ended: None,
            detail: None,
        };
        jobs.push_back(job.clone());
        while jobs.len() > KEPT {
            jobs.pop_front();
        }
        self.asked.notify_all();
        Ok(job)
    }

    /// One that was asked for.
    pub(super) fn job(&self, id: &str) -> Option<Job> {
        self.jobs().iter().find(|j| j.id == id).cloned()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs().iter_mut().find(|j| j.id == id) {
            change(job);
        }
    }

    /// The next that waits; `None` after a while without one.
    fn next(&self) -> Option<(String, Target)> {
        let waits = |jobs: &VecDeque<Job>| {
            jobs.iter().find(|j| j.state == Progress::Queued).map(|j| (j.id.clone(), j.target))
        };
        let jobs = self.jobs();
        if let Some(id) = waits(&jobs) {
            return Some(id);
        }
        let (jobs, _) = self.asked.wait_timeout(jobs, LOOK).unwrap_or_else(PoisonError::into_inner);
        waits(&jobs)
    }

    /// Works off the queue until the service is gone.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn run(service: &Arc<Service>) -> anyhow::Result<()> {
        let service: Weak<Service> = Arc::downgrade(service);
        let weak = Weak::clone(&service);
        let work = move || {
            let mut keeper = Keeper { due: Instant::now() + KEEP, seen: None, failed: false };
            while let Some(service) = service.upgrade() {
                let training = service.training();
                keeper.turn(&service, false);
                let Some((id, target)) = training.next() else { continue };
                training.change(&id, |job| job.state = Progress::Running);
                let own = matches!(target, Target::All | Target::Snapshots).then(|| retrain(&service, &id));
                keeper.turn(&service, own.is_some());
                let parts: Vec<(Part, Ticket)> =
                    [(Target::Windows, Part::Windows), (Target::Flows, Part::Flows)]
                        .into_iter()
                        .filter(|(t, _)| target == Target::All || target == *t)
                        .filter_map(|(_, part)| Some((part, training.learner.request(part)?)))
                        .collect();
                drop(service);
                watch(&Watched { service: &weak, id: &id, target, own, parts });
            }
        };
        std::thread::Builder::new().name("retraining".into()).spawn(work).context("cannot start a thread")?;
        Ok(())
    }

    /// Keeps what is known, before the service goes.
    pub(super) fn keep(&self, service: &Service) {
        let Some(state) = &self.state else { return };
        if let Err(e) = self.write(state, service) {
            tracing::warn!("what is known of ordinary traffic is not kept: {e}");
        }
    }

    fn write(&self, state: &State, service: &Service) -> std::io::Result<()> {
        let in_use = service.in_use();
        let baseline = (in_use.version != SHIPPED).then_some(&in_use);
        state.write(service.held(), *held(&self.latest), baseline)
    }
}

/// When to keep what is known.
struct Keeper {
    due: Instant,
    /// Snapshots seen when it was kept last.
    seen: Option<u64>,
    /// Whether it was said that it cannot be kept.
    failed: bool,
}

impl Keeper {
    fn turn(&mut self, service: &Service, now: bool) {
        let training = service.training();
        let Some(state) = &training.state else { return };
        let seen = service.seen();
        let due = Instant::now() >= self.due && self.seen.unwrap_or(0) != seen;
        if !now && !due {
            return;
        }
        (self.due, self.seen) = (Instant::now() + KEEP, Some(seen));
        match training.write(state, service) {
            Ok(()) => self.failed = false,
            // Said once: whoever runs `detector` without a state directory knows.
            Err(e) if !self.failed => {
                self.failed = true;
                tracing::warn!("what is known of ordinary traffic is not kept over a restart: {e}");
            }
            Err(_) => {}
        }
    }
}

/// A job that the learner has a part in.
struct Watched<'a> {
    service: &'a Weak<Service>,
    id: &'a str,
    target: Target,
    /// What became of what the API judges by.
    own: Option<(Progress, String)>,
    parts: Vec<(Part, Ticket)>,
}

/// Follows the learner until it is done with all that was asked, or long enough, and says how far it is.
fn watch(watched: &Watched<'_>) {
    let begun = Instant::now();
    while let Some(service) = watched.service.upgrade() {
        let training = service.training();
        let stages: Vec<(Part, Stage)> =
            watched.parts.iter().map(|(part, t)| (*part, training.learner.stage(*t))).collect();
        let open = stages.iter().any(|(_, s)| !matches!(s, Stage::Ended(_)));
        let (state, detail) = sum_up(watched.target, watched.own.as_ref(), &stages);
        let over = !open || begun.elapsed() >= WATCH;
        training.change(watched.id, |job| {
            job.detail = Some(detail);
            if over {
                (job.state, job.ended) = (state, Some(seconds()));
            }
        });
        drop(service);
        if over {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// The state and the detail of a job.
fn sum_up(target: Target, own: Option<&(Progress, String)>, stages: &[(Part, Stage)]) -> (Progress, String) {
    let mut states: Vec<Progress> = own.iter().map(|(state, _)| *state).collect();
    let mut details: Vec<String> = match own {
        Some((_, detail)) if target == Target::Snapshots || stages.is_empty() => vec![detail.clone()],
        Some((_, detail)) => vec![format!("snapshots: {detail}")],
        None => Vec::new(),
    };
    for (part, stage) in stages {
        let (state, said) = match stage {
            Stage::Waiting => (Progress::Refused, "the learner has not begun".to_owned()),
            Stage::Shadow => (
                Progress::Refused,
                "a new model judges beside the one in use; `autoinmune feedback learner` tells what comes of it"
                    .to_owned(),
            ),
            Stage::Ended(End::Passed { name, used: true }) => (Progress::Promoted, format!("{name} is in use")),
            Stage::Ended(End::Passed { name, used: false }) => (
                Progress::Refused,
                format!("{name} passed all gates and is kept: learner.promote is off"),
            ),
            Stage::Ended(End::Refused(why)) => (Progress::Refused, why.clone()),
        };
        states.push(state);
        details.push(match part {
            Part::Windows => format!("windows: {said}"),
            Part::Flows => format!("flows: {said}"),
        });
    }
    let any = |state| states.contains(&state).then_some(state);
    let state = any(Progress::Promoted).or(any(Progress::Failed)).unwrap_or(Progress::Refused);
    (state, details.join("; "))
}

/// Learns what is ordinary from what was asked lately, and puts it to use if it knows attacks as well as before.
fn retrain(service: &Service, id: &str) -> (Progress, String) {
    let samples = service.samples();
    if samples.len() < LEAST {
        let why =
            format!("{} snapshots are held and {LEAST} are needed; the model in use stays", samples.len());
        return (Progress::Refused, why);
    }
    let baseline = match Baseline::fit(&samples, &Options::default(), &learn::Inline) {
        Ok(baseline) => Arc::new(baseline),
        Err(e) => return (Progress::Failed, e.to_string()),
    };
    let (before, now) = (service.in_use().accuracy, golden::accuracy(&baseline));
    if now < before - MAY_LOSE {
        let why = format!(
            "accuracy on the golden set would fall from {before:.3} to {now:.3}; the model in use stays"
        );
        return (Progress::Refused, why);
    }
    let detail = format!("learnt from {} snapshots; accuracy on the golden set {now:.3}", samples.len());
    let next = InUse { baseline, version: format!("retrained-{id}"), accuracy: now };
    service.promote(next);
    (Progress::Promoted, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_what_became_of_each_part() {
        let own = (Progress::Refused, "10 snapshots are held".to_owned());
        let ended = |end| Stage::Ended(end);
        let used = End::Passed { name: "learned-1".into(), used: true };
        let refused = || End::Refused("too few".into());
        for (target, own, stages, state, detail) in [
            (Target::Snapshots, Some(&own), vec![], Progress::Refused, "10 snapshots are held"),
            (Target::All, Some(&own), vec![], Progress::Refused, "10 snapshots are held"),
            (
                Target::All,
                Some(&own),
                vec![(Part::Windows, ended(used)), (Part::Flows, ended(refused()))],
                Progress::Promoted,
                "snapshots: 10 snapshots are held; windows: learned-1 is in use; flows: too few",
            ),
            (Target::Flows, None, vec![(Part::Flows, ended(refused()))], Progress::Refused, "flows: too few"),
        ] {
            assert_eq!(sum_up(target, own, &stages), (state, detail.to_owned()), "{target:?}");
        }
    }

    #[test]
    fn what_nobody_trains_is_not_queued() {
        let requests = Arc::new(Requests::default());
        let (training, _) = Training::new(Arc::clone(&requests), None);
        assert!(training.ask(Target::Flows).is_err());
        assert_eq!(training.ask(Target::All).map(|j| j.id).ok().as_deref(), Some("1"));
        assert!(training.ask(Target::Snapshots).is_err(), "one waits");
        requests.hear(true);
        let (training, _) = Training::new(requests, None);
        assert!(training.ask(Target::Flows).is_ok());
    }
}
