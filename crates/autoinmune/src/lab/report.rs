//! The result of a scenario as data, and for people.

use crate::text::table;
use ::lab::scenario::{Deed, Expectation, ScenarioKind};
use detect::Severity;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// How a scenario came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As expected.
    Passed,
    /// An attack that is known not to be recognised was not.
    Missed,
    /// A benign scenario that is known to be mistaken was; nobody was blocked.
    FalseAlarm,
    /// Otherwise than expected.
    #[default]
    Failed,
}

/// One incident.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Who.
    pub actor: String,
    /// Every class seen.
    pub classes: Vec<String>,
    /// Rules that fired.
    pub rules: Vec<String>,
    /// The most severe.
    pub severity: Severity,
    /// Whether it is about an address that did nothing hostile.
    pub innocent: bool,
    /// When it was told first, s after the first hostile packet; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// One block that went into force.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// Whom.
    pub address: IpAddr,
    /// When, s after the first hostile packet; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Whether it did nothing hostile.
    pub innocent: bool,
}

/// What the agent made of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judgement {
    /// How it came out.
    pub verdict: Verdict,
    /// Why it failed, one sentence each.
    pub why: Vec<String>,
    /// First incident of the class expected, s after the first hostile packet.
    pub detected_seconds: Option<f64>,
    /// First block of an attacker, s after the first hostile packet.
    pub blocked_seconds: Option<f64>,
    /// All incidents.
    pub incidents: Vec<Finding>,
    /// All blocks.
    pub blocks: Vec<Block>,
    /// Hostile steps that could not do what they were to do. What is blocked often cannot.
    pub failed_steps: Vec<String>,
    /// Harmless steps that could not.
    pub harmed_steps: Vec<String>,
}

/// `lab run -o json`, and `report.json` of `lab run --out`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// Whether anybody means harm.
    pub kind: ScenarioKind,
    /// Name of the benign scenario that looks alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
    /// Why a false alarm was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_alarm: Option<String>,
    /// What chance depended on.
    pub seed: u64,
    /// What came of it.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// How the sensor was attached.
    pub sensor: String,
    /// Frames captured.
    pub frames: u64,
    /// Frames the capture lost.
    pub frames_lost: u64,
    /// What the agent did not see or keep, by reason; zeros left out.
    pub losses: BTreeMap<String, u64>,
    /// Making the network and its servers, s.
    pub up_seconds: f64,
    /// Removing them, s.
    pub down_seconds: f64,
    /// All of it, s.
    pub seconds: f64,
    /// What was done.
    pub deeds: Vec<Deed>,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("{}: {}\n\n", self.scenario, self.title);
        let mut rows = vec![["STEP", "WHO", "WHAT", "CLASS", "SECONDS", "ENDED"].map(str::to_owned).to_vec()];
        for deed in &self.deeds {
            let ended = match &deed.ended {
                ::lab::scenario::Ended::Done => "done".to_owned(),
                ::lab::scenario::Ended::Stopped => "at its time".to_owned(),
                ::lab::scenario::Ended::Failed(why) => format!("failed: {why}"),
            };
            rows.push(vec![
                deed.step.to_string(),
                deed.from.clone(),
                deed.what.clone(),
                deed.class.clone().unwrap_or_else(|| "benign".to_owned()),
                format!("{:.1}", deed.end_ns.saturating_sub(deed.start_ns) as f64 / 1e9),
                ended,
            ]);
        }
        out += &table(&rows);
        out.push('\n');
        if self.judgement.incidents.is_empty() {
            out += "No incidents.\n";
        }
        for i in &self.judgement.incidents {
            let when = i.seconds.map_or_else(String::new, |s| format!(" after {s:.2} s"));
            let severity = format!("{:?}", i.severity).to_lowercase();
            let _ = writeln!(
                out,
                "Incident ({severity}): {} by {}{when}; {}",
                i.classes.join(", "),
                i.actor,
                i.rules.join(", ")
            );
        }
        for b in &self.judgement.blocks {
            let when = b.seconds.map_or_else(String::new, |s| format!(" after {s:.2} s"));
            let who = if b.innocent { ", who did nothing" } else { "" };
            let _ = writeln!(out, "Blocked: {}{when}{who}", b.address);
        }
        for step in &self.judgement.harmed_steps {
            let _ = writeln!(out, "Harmed: {step}");
        }
        let verdict = match self.judgement.verdict {
            Verdict::Passed => "As expected".to_owned(),
            Verdict::Missed => {
                let why = self.expect.as_ref().and_then(|e| e.missed.clone()).unwrap_or_default();
                format!("Missed, as is known: {why}")
            }
            Verdict::FalseAlarm => {
                format!("A false alarm, as is known: {}", self.false_alarm.clone().unwrap_or_default())
            }
            Verdict::Failed => format!("Not as expected: {}", self.judgement.why.join("; ")),
        };
        let _ = writeln!(
            out,
            "\n{verdict}\n{} on the wire, {} frames, {:.1} s; up in {:.2} s, down in {:.2} s",
            self.sensor, self.frames, self.seconds, self.up_seconds, self.down_seconds
        );
        out
    }
}
