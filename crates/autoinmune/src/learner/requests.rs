//! Trainings that somebody asks for, as the API does: what was asked and how far it is, for threads that do not wait for each
//! other.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What of the learner is to be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The ensemble that knows windows.
    Windows,
    /// The classifier of flows.
    Flows,
}

/// What became of a training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A new model passed all gates, and is kept by that name; put in use, or left to people.
    Passed {
        /// Its bundle.
        name: String,
        /// Whether it is in use.
        used: bool,
    },
    /// There is no new model, and why.
    Refused(String),
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The learner has not begun.
    Waiting,
    /// A new model judges beside the one in use.
    Shadow,
    /// It is over.
    Ended(End),
}

/// One that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    part: Part,
    number: u64,
}

#[derive(Debug, Default)]
struct Asked {
    number: u64,
    stage: Option<Stage>,
}

impl Asked {
    const fn is_open(&self) -> bool {
        matches!(self.stage, Some(Stage::Waiting | Stage::Shadow))
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether a learner is there to hear.
    heard: bool,
    windows: Asked,
    flows: Asked,
}

impl Inner {
    const fn part(&mut self, part: Part) -> &mut Asked {
        match part {
            Part::Windows => &mut self.windows,
            Part::Flows => &mut self.flows,
        }
    }
}

/// The latest request for each part. Who asks for what is under way gets the same ticket.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Inner>);

impl Requests {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a learner hears what is asked.
    pub fn is_heard(&self) -> bool {
        self.inner().heard
    }

    /// A learner is there, or no more: then nothing that is open will come to an end.
    pub fn hear(&self, heard: bool) {
        let mut inner = self.inner();
        inner.heard = heard;
        if !heard {
            for part in [Part::Windows, Part::Flows] {
                let asked = inner.part(part);
                if asked.is_open() {
                    asked.stage = Some(Stage::Ended(End::Refused("the agent stopped learning".into())));
                }
            }
        }
    }

    /// Asks for a training; `None` if nobody learns here.
    pub fn request(&self, part: Part) -> Option<Ticket> {
        let mut inner = self.inner();
        if !inner.heard {
            return None;
        }
        let asked = inner.part(part);
        if !asked.is_open() {
            asked.number += 1;
            asked.stage = Some(Stage::Waiting);
        }
        Some(Ticket { part, number: asked.number })
    }

    /// How far a training is; what a later one came to, if that one was asked for meanwhile.
    pub fn stage(&self, ticket: Ticket) -> Stage {
        let mut inner = self.inner();
        inner.part(ticket.part).stage.clone().unwrap_or(Stage::Waiting)
    }

    /// Whether a training was asked for and has not begun.
    pub fn is_waiting(&self, part: Part) -> bool {
        self.inner().part(part).stage == Some(Stage::Waiting)
    }

    /// Whether the new model that was asked for is on trial.
    pub fn is_in_shadow(&self, part: Part) -> bool {
        self.inner().part(part).stage == Some(Stage::Shadow)
    }

    /// Says how far what was asked for is; nothing if nothing is open.
    pub fn report(&self, part: Part, stage: Stage) {
        let mut inner = self.inner();
        let asked = inner.part(part);
        if asked.is_open() {
            asked.stage = Some(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_its_way_once_and_is_told_to_all_who_asked() {
        let requests = Requests::default();
        assert_eq!(requests.request(Part::Flows), None, "nobody learns");
        requests.hear(true);
        let ticket = requests.request(Part::Flows).expect("heard");
        assert_eq!(requests.request(Part::Flows), Some(ticket), "one at a time");
        assert!(requests.is_waiting(Part::Flows) && !requests.is_waiting(Part::Windows));
        requests.report(Part::Flows, Stage::Shadow);
        assert_eq!(requests.stage(ticket), Stage::Shadow);
        let end = Stage::Ended(End::Refused("too little".into()));
        requests.report(Part::Flows, end.clone());
        requests.report(Part::Flows, Stage::Waiting);
        assert_eq!(requests.stage(ticket), end, "what is over is over");
        assert_ne!(requests.request(Part::Flows), Some(ticket));
        requests.hear(false);
        assert!(!requests.is_waiting(Part::Flows) && requests.request(Part::Windows).is_none());
    }
}
