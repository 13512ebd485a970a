//! Retraining on request: one at work, one waiting, on a thread of its own.

use super::golden;
use super::judge::{InUse, Service};
use crate::agent::wall_ns;
use anyhow::Context as _;
use detect::snapshot::{Baseline, Options};
use server::api::body::{Job, Progress};
use server::http::problem::Problem;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Retrainings remembered.
const KEPT: usize = 100;
/// Fewest snapshots to learn from: two thirds of an hour at one a second.
const LEAST: usize = 1000;
/// Points of accuracy on the golden set that a new model may lose.
const MAY_LOSE: f64 = 0.005;
/// How often the thread looks whether the service is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The queue.
#[derive(Default)]
pub(super) struct Training {
    jobs: Mutex<VecDeque<Job>>,
    asked: Condvar,
}

fn seconds() -> f64 {
    wall_ns() as f64 / 1e9
}

impl Training {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one.
    pub(super) fn ask(&self) -> Result<Job, Problem> {
        let mut jobs = self.jobs();
        if let Some(waiting) = jobs.iter().find(|j| j.state == Progress::Queued) {
            return Err(Problem::conflict(format!("retraining {} is queued already", waiting.id)));
        }
        let number = jobs.back().and_then(|j| j.id.parse::<u64>().ok()).unwrap_or(0) + 1;
        let job = Job {
            id: number.to_string(),
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
    fn next(&self) -> Option<String> {
        let waits =
            |jobs: &VecDeque<Job>| jobs.iter().find(|j| j.state == Progress::Queued).map(|j| j.id.clone());
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
        let work = move || {
            while let Some(service) = service.upgrade() {
                let training = service.training();
                let Some(id) = training.next() else { continue };
                training.change(&id, |job| job.state = Progress::Running);
                let (state, detail) = retrain(&service, &id);
                training.change(&id, |job| {
                    (job.state, job.detail, job.ended) = (state, Some(detail), Some(seconds()));
                });
            }
        };
        std::thread::Builder::new().name("retraining".into()).spawn(work).context("cannot start a thread")?;
        Ok(())
    }
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
