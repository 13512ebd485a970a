//! What the agent shows of its learning, and of what people said of its judgements.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Addr;

/// What was said of an incident: entry of the answer to `feedback`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedbackView {
    /// Number by which it is taken back.
    pub id: u64,
    /// `attack` or `no_attack`.
    pub verdict: String,
    /// Incident it is about; numbers begin anew with each run of the agent.
    pub incident: u64,
    /// Whose doing that was.
    pub source: Addr,
    /// Class of threat.
    pub class: String,
    /// Rules and learned detectors that spoke.
    pub rules: Vec<String>,
    /// When it was said, ns.
    pub at_ns: u64,
    /// Of `no_attack`: until when those rules are not heard about that source, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
    /// Reason.
    pub why: String,
    /// Flows of it that were kept to be learnt from.
    pub flows: u64,
    /// Windows likewise.
    pub windows: u64,
}

/// Flows with what people said of them: answer of `labelled`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelledView {
    /// Names of the features, as in docs/features.md.
    pub columns: Vec<String>,
    /// Values of each flow, in that order, and its class of threat, or `benign`. What cannot be known is absent.
    pub rows: Vec<(Vec<Option<String>>, String)>,
}

/// What is being learnt while the agent runs: answer of `learner`, and part of [`super::Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnerView {
    /// `collecting` samples, or watching a new model in `shadow`.
    pub state: String,
    /// Windows that came to be learnt from.
    pub windows: u64,
    /// Windows lost because the learner was busy.
    pub windows_dropped: u64,
    /// Samples in quarantine.
    pub waiting: u64,
    /// Sources that nothing is learnt from for now.
    pub shunned: u64,
    /// Samples kept out because their source gave an alarm.
    pub alarmed: u64,
    /// Samples kept out because they were near an alarm in time.
    pub near: u64,
    /// Samples of high confidence that can be learnt from.
    pub high: u64,
    /// All samples that can be learnt from.
    pub all: u64,
    /// Mean p-value of the model in use on what it judges, near 0.5 where it fits; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value_mean: Option<f64>,
    /// Times what is normal was found to have changed.
    pub drifts: u64,
    /// Trainings begun.
    pub trainings: u64,
    /// Trainings put off for the budget of processor time.
    pub postponed: u64,
    /// When the latest began, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_ns: Option<u64>,
    /// Processor time spent on training, s.
    pub cpu_seconds: f64,
    /// Models put in use.
    pub promoted: u64,
    /// Models refused, by the gate that did.
    pub refused: BTreeMap<String, u64>,
    /// Why the latest was, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// The model in use: its bundle, or `built-in`, or `none`.
    pub model: String,
    /// The classifier of flows, of which all above says nothing; absent where there is no learner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowLearnerView>,
}

/// What the classifier of flows is learning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowLearnerView {
    /// `collecting` flows, watching a new model in `shadow`, or `off`: the bundle in use does not hold what its classifier
    /// was trained on.
    pub state: String,
    /// Flows that came to be calibrated with.
    pub flows: u64,
    /// Flows lost because the learner was busy.
    pub dropped: u64,
    /// Flows in quarantine.
    pub waiting: u64,
    /// Usual flows that can be calibrated with.
    pub usual: u64,
    /// Flows of which people said what they were.
    pub labelled: u64,
    /// Trainings begun.
    pub trainings: u64,
    /// When the latest began, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_ns: Option<u64>,
    /// Processor time spent on training, s.
    pub cpu_seconds: f64,
    /// Models put in use.
    pub promoted: u64,
    /// Models refused, by the gate that did.
    pub refused: BTreeMap<String, u64>,
    /// Why the latest was, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}
