//! A bundle in the whole line: incidents of captures against what is known of them.

use crate::config;
use crate::learned;
use crate::models::TrustArgs;
use crate::replay::Replay;
use crate::tables;
use crate::truth::Evaluation;
use bundle::Bundle;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What became of captures that are of one time and place.
#[derive(Debug, Serialize)]
pub struct Whole {
    /// Their names.
    captures: Vec<String>,
    /// Incidents, rules and learned detectors together.
    incidents: usize,
    /// Found and missed, by class.
    #[serde(flatten)]
    evaluation: Evaluation,
}

impl Whole {
    /// Runs captures through the line with the learned detectors of a bundle, and the rules and settings of the configuration;
    /// or says why the line can use none of them.
    ///
    /// # Errors
    /// A capture, the labels or the configuration cannot be read.
    pub fn of(
        bundle: &Bundle,
        captures: &[PathBuf],
        labels: Option<&Path>,
        trust: &TrustArgs,
    ) -> anyhow::Result<Result<Vec<Self>, String>> {
        let config = config::resolve(trust.config.as_deref())?;
        let models = match learned::models(bundle) {
            Ok(models) => models,
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        let mut all = Vec::new();
        for (captures, labels) in tables::labelled("--test", captures, labels)? {
            let mut replay = Replay::new(&config, 1, None);
            replay.set_labels(labels);
            replay.set_models(models.clone());
            let summary = replay.files(captures)?;
            let name =
                |p: &PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            all.push(Self {
                captures: captures.iter().map(name).collect(),
                incidents: summary.incidents.len(),
                evaluation: summary.labels.unwrap_or_default(),
            });
        }
        Ok(Ok(all))
    }

    /// A report for people.
    pub fn human(&self) -> String {
        format!("{}: {} incidents. {}", self.captures.join(", "), self.incidents, self.evaluation.table())
    }
}
