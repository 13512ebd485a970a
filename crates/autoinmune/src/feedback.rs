//! `autoinmune feedback …`: what people say of incidents, and what the running agent learns.

use crate::cli::ClientArgs;
use crate::client::{ask, show};
use crate::exit::{Exit, fail};
use crate::learned::labelled::LABEL;
use crate::text::{span, table};
use anyhow::Context as _;
use clap::{Subcommand, ValueHint};
use respond::Ttl;
use serde_json::Value;
use server::control::Request;
use server::view::{FeedbackView, LabelledView, LearnerView};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

/// `feedback …`.
#[derive(Debug, Subcommand)]
pub enum FeedbackCommand {
    /// Say that an incident was an attack: its flows become labelled samples, its source is not learnt from
    Confirm {
        /// Number of the incident, as in alerts and logs of this run
        incident: u64,
        /// Reason, kept with it
        #[arg(long, default_value = "confirmed by operator")]
        why: String,
        /// Where the agent is and how to print.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Say that an incident was no attack: its rules are not heard about its source for a time, and a block made of it is lifted
    Dismiss {
        /// Number of the incident, as in alerts and logs of this run
        incident: u64,
        /// How long the exception lasts, such as 1h, 7d
        #[arg(long = "for", value_name = "TIME", default_value = "30d")]
        duration: String,
        /// Reason, kept with it
        #[arg(long, default_value = "dismissed by operator")]
        why: String,
        /// Where the agent is and how to print.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List what was said
    List(ClientArgs),
    /// Take back what was said
    Remove {
        /// Number, as in the list
        id: u64,
        /// Where the agent is and how to print.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Write the flows of confirmed and dismissed incidents as a table to train on: `autoinmune learn --labelled FILE`
    Export {
        /// CSV file to write, or `-`
        #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Where the agent is and how to print.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what is being learnt
    Learner(ClientArgs),
}

/// Runs the command.
///
/// # Errors
/// Bad input, no agent, or the agent's refusal.
pub fn run(command: &FeedbackCommand) -> anyhow::Result<Exit> {
    match command {
        FeedbackCommand::Confirm { incident, why, client } => {
            let data = ask(client, &Request::Confirm { incident: *incident, why: why.clone() })?;
            show(client, data, |f: &FeedbackView| {
                format!(
                    "incident {incident}: {} by {} is an attack; {} flows and {} windows of it are kept\n",
                    f.class, f.source, f.flows, f.windows
                )
            })
        }
        FeedbackCommand::Dismiss { incident, duration, why, client } => {
            let ttl: Ttl = duration.parse().map_err(|e| fail(Exit::Input, format!("--for: {e}")))?;
            let request = Request::Dismiss { incident: *incident, for_seconds: ttl.secs(), why: why.clone() };
            let data = ask(client, &request)?;
            show(client, data, |f: &FeedbackView| {
                format!(
                    "incident {incident}: no attack; {} about {} is not heard for {}\n",
                    f.rules.join(", "),
                    f.source,
                    span(ttl.secs() as f64)
                )
            })
        }
        FeedbackCommand::List(client) => {
            let data = ask(client, &Request::Feedback)?;
            show(client, data, |all: &Vec<FeedbackView>| list(all))
        }
        FeedbackCommand::Remove { id, client } => {
            let data = ask(client, &Request::Retract { id: *id })?;
            show(client, data, |f: &FeedbackView| {
                format!("taken back: incident {} of {}, {}\n", f.incident, f.source, f.verdict)
            })
        }
        FeedbackCommand::Export { file, client } => {
            let data = ask(client, &Request::Labelled)?;
            let labelled: LabelledView =
                serde_json::from_value(data.clone()).context("the answer is no table")?;
            let text = csv(&labelled);
            if file.as_os_str() == "-" {
                std::io::stdout().write_all(text.as_bytes())?;
                return Ok(Exit::Ok);
            }
            std::fs::write(file, text)
                .map_err(|e| fail(Exit::Failure, format!("cannot write {}: {e}", file.display())))?;
            let rows = labelled.rows.len();
            show(client, data, |_: &Value| format!("{rows} flows written to {}\n", file.display()))
        }
        FeedbackCommand::Learner(client) => {
            let data = ask(client, &Request::Learner)?;
            show(client, data, learner)
        }
    }
}

fn list(all: &[FeedbackView]) -> String {
    if all.is_empty() {
        return "Nothing was said of any incident.\n".into();
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let header = ["ID", "VERDICT", "SOURCE", "CLASS", "RULES", "ENDS IN", "FLOWS", "REASON"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for f in all {
        let left = |until: u64| span(until as f64 / 1e9 - now.as_secs_f64());
        rows.push(vec![
            f.id.to_string(),
            f.verdict.clone(),
            f.source.to_string(),
            f.class.clone(),
            f.rules.join(","),
            f.until_ns.map_or("-".into(), left),
            f.flows.to_string(),
            f.why.clone(),
        ]);
    }
    table(&rows)
}

/// A table with a header (RFC 4180). No cell needs quotes but names of features and words, which have no quotes themselves.
fn csv(labelled: &LabelledView) -> String {
    let cell = |text: &str| {
        if text.contains([',', '"', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let header = labelled.columns.iter().map(String::as_str).chain([LABEL]);
    let mut out = header.map(cell).collect::<Vec<_>>().join(",") + "\n";
    for (values, class) in &labelled.rows {
        let values = values.iter().map(|v| v.as_deref().unwrap_or("")).chain([class.as_str()]);
        out.push_str(&values.map(cell).collect::<Vec<_>>().join(","));
        out.push('\n');
    }
    out
}

/// The learner in a few lines.
pub fn learner(l: &LearnerView) -> String {
    let mut out = format!(
        "learner: {}, model {}, {} windows to learn from ({} of high confidence), {} in quarantine, {} kept out\n",
        l.state,
        l.model,
        l.all,
        l.high,
        l.waiting,
        l.alarmed + l.near
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if let Some(at) = l.trained_ns {
        let refused: Vec<String> = l.refused.iter().map(|(gate, n)| format!("{gate} {n}")).collect();
        let _ = writeln!(
            out,
            "  trained {} times, last {} ago, {:.1} s of processor time; {} put in use, refused: {}",
            l.trainings,
            span(now.as_secs_f64() - at as f64 / 1e9),
            l.cpu_seconds,
            l.promoted,
            if refused.is_empty() { "none".into() } else { refused.join(", ") }
        );
    }
    for why in &l.because {
        let _ = writeln!(out, "  refused: {why}");
    }
    if let Some(f) = &l.flows {
        let _ = writeln!(
            out,
            "  flows: {}, {} said by people, {} usual to calibrate with, trained {} times, {} put in use{}",
            f.state,
            f.labelled,
            f.usual,
            f.trainings,
            f.promoted,
            if f.because.is_empty() { String::new() } else { format!(", refused: {}", f.because.join("; ")) }
        );
    }
    if let Some(mean) = l.p_value_mean {
        let _ = writeln!(out, "  mean p-value {mean:.2}, drifts {}", l.drifts);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_flows_has_a_header_and_a_class_in_each_row() {
        let labelled = LabelledView {
            columns: vec!["dur".into(), "Fwd, odd".into(), "proto".into()],
            rows: vec![
                (vec![Some("1.5".into()), None, Some("tcp".into())], "port_scan".into()),
                (vec![Some("2".into()), Some("3".into()), None], "benign".into()),
            ],
        };
        assert_eq!(csv(&labelled), "dur,\"Fwd, odd\",proto,label\n1.5,,tcp,port_scan\n2,3,,benign\n");
    }
}
