//! What the agent learns while it runs, and what people tell it.

use super::tap::AgentTap;
use super::wall_ns;
use crate::config::Config;
use crate::learned::Choice;
use crate::learner::feedback::{Entry, Feedback, FeedbackError, Verdict, view};
use crate::learner::{Begin, Learner, Requests, Witness, bundles, whole};
use crate::line::{Line, LineConfig};
use detect::learned::Models;
use detect::learned::ensemble::source_key;
use respond::Prefix;
use serde_json::Value;
use server::control::{AgentError, Code, Request};
use server::view::LearnerView;
use std::sync::Arc;

/// The learner, if there is one, and what was said of incidents.
pub struct Learning {
    learner: Option<Learner>,
    feedback: Feedback,
    /// Models at work.
    models: Models,
    /// Name of their bundle.
    name: String,
}

/// Whether the agent learns: not from traffic that is made up, not where a bundle was chosen for good, and not where a detector
/// elsewhere judges.
pub fn is_on(config: &Config, simulated: bool) -> bool {
    config.learner.enabled && config.models == Choice::Default && !simulated && !config.post.judged_there()
}

impl Learning {
    /// Starts what is configured. In a simulation nothing is learnt and nothing kept.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        config: &Config,
        made: &LineConfig,
        models: &Models,
        requests: &Arc<Requests>,
        line: &mut Line,
        tap: &mut AgentTap,
    ) -> std::io::Result<Self> {
        let simulated = tap.context.simulated;
        let feedback = Feedback::open((!simulated).then_some(config.state_dir.as_path()));
        let origin = bundles::origin(config, models);
        let name = origin.current.name.clone();
        let learner = if is_on(config, simulated) {
            let (learner, witness) = Learner::start(Begin {
                settings: config.learner.settings,
                line: made.clone(),
                current: origin.current,
                anchor: origin.anchor,
                store: bundles::store(config, origin.anchor_name),
                requests: Arc::clone(requests),
                state_dir: Some(config.state_dir.clone()),
            })?;
            tap.witness = witness;
            Some(learner)
        } else {
            None
        };
        let mut learning = Self { learner, feedback, models: models.clone(), name };
        learning.feedback.expire(wall_ns());
        learning.apply(line, &tap.witness);
        Ok(learning)
    }

    /// Puts exceptions in force and tells the learner of what people said of them.
    fn apply(&self, line: &mut Line, witness: &Witness) {
        line.exceptions_mut().replace(self.feedback.exceptions());
        let windows = self.feedback.attack_windows();
        witness.confirmed(windows.filter_map(|(a, w)| Some((source_key(a), whole(w)?))).collect());
        witness.labelled(self.feedback.flows());
    }

    /// Puts finished models in use; whether there were any. To be called between events.
    pub fn turn(&mut self, line: &mut Line) -> bool {
        let mut any = false;
        while let Some((models, name)) = self.learner.as_ref().and_then(Learner::finished) {
            match line.set_models(&models) {
                Ok(()) => {
                    (self.models, self.name) = (models, name);
                    any = true;
                }
                Err(e) => tracing::error!("{name} is not used: {e}"),
            }
        }
        any
    }

    /// The models at work, and the name of their bundle.
    pub fn in_use(&self) -> (Models, String) {
        (self.models.clone(), self.name.clone())
    }

    /// Time passes: exceptions end, the learner hears of it.
    pub fn advance(&mut self, line: &mut Line, witness: &Witness) {
        witness.now(line.now_ns());
        if self.feedback.expire(wall_ns()) {
            self.apply(line, witness);
        }
    }

    /// Models were loaded anew. Others than those at work were put in use by people.
    pub fn reload(&mut self, config: &Config, models: &Models, line: &mut Line, witness: &Witness) {
        // What the learner has just put in use is no word of people.
        self.turn(line);
        let origin = bundles::origin(config, models);
        let name = origin.current.name.clone();
        if name != self.name {
            tracing::info!("models {name} are used instead of {}", self.name);
            witness.vouched(origin.current);
            (self.models, self.name) = (models.clone(), name);
        }
    }

    /// How the learner stands.
    pub fn view(&self) -> Option<LearnerView> {
        // The learner's own word for it comes after its training.
        self.learner.as_ref().map(|l| LearnerView { model: self.name.clone(), ..l.view() })
    }

    /// Answers what is asked of it; `None` if it is not its affair.
    pub fn answer(
        &mut self,
        request: &Request,
        line: &mut Line,
        tap: &mut AgentTap,
    ) -> Option<Result<Value, AgentError>> {
        let answer = match request {
            Request::Confirm { incident, why } => self.say(Verdict::Attack, *incident, None, why, line, tap),
            Request::Dismiss { incident, for_seconds, why } => {
                let until = wall_ns().saturating_add(for_seconds.saturating_mul(1_000_000_000));
                self.say(Verdict::NoAttack, *incident, Some(until), why, line, tap)
            }
            Request::Feedback => Ok(to_value(&self.feedback.entries().iter().map(view).collect::<Vec<_>>())),
            Request::Retract { id } => match self.feedback.remove(*id) {
                Some(entry) => {
                    self.apply(line, &tap.witness);
                    Ok(to_value(&view(&entry)))
                }
                None => Err(AgentError::new(
                    Code::NotFound,
                    format!("nothing has the number {id}; see: autoinmune feedback list"),
                )),
            },
            Request::Labelled => Ok(to_value(&self.feedback.labelled())),
            Request::Learner => self.view().map(|v| to_value(&v)).ok_or_else(|| {
                AgentError::new(
                    Code::Refused,
                    "nothing is learnt: learner.enabled is off, models.bundle is not \"default\", post.learned is \"detector\", or traffic is simulated",
                )
            }),
            _ => return None,
        };
        Some(answer)
    }

    fn say(
        &mut self,
        said: Verdict,
        incident: u64,
        until_ns: Option<u64>,
        why: &str,
        line: &mut Line,
        tap: &mut AgentTap,
    ) -> Result<Value, AgentError> {
        let known = tap.witness.remembered(incident).ok_or_else(|| {
            let why =
                format!("incident {incident} is not among the latest of this run; see: autoinmune status");
            AgentError::new(Code::NotFound, why)
        })?;
        let refused = |e: FeedbackError| AgentError::new(Code::Refused, e.to_string());
        let entry: Entry = self.feedback.add(said, known, wall_ns(), until_ns, why).map_err(refused)?.clone();
        tracing::info!("incident {incident} of {}: {said:?}, {why}", entry.source);
        if said == Verdict::NoAttack {
            tap.witness.pardon(entry.source);
            // A block that policy made of it has lost its reason; one of an operator has not.
            let prefix = Prefix::host(entry.source);
            let its = |b: &respond::Block| b.prefix == prefix && b.incident == Some(incident);
            if line.responder().blocks().any(its)
                && let Ok(decision) = line.responder_mut().unban(prefix, wall_ns())
            {
                crate::line::Tap::decision(tap, &decision);
            }
        }
        self.apply(line, &tap.witness);
        Ok(to_value(&view(&entry)))
    }

    /// Ends the learner.
    pub fn stop(&mut self) {
        if let Some(learner) = self.learner.take() {
            learner.stop();
        }
    }
}

fn to_value(v: &impl serde::Serialize) -> Value {
    // Views are structs of plain values.
    serde_json::to_value(v).unwrap_or_default()
}
