//! The attack captures: what is recognised of each, by which rule, and how soon.

use super::data::Capture;
use super::reasons::{ATTACKS, Attack};
use super::replayed::{self, Incident};
use super::{Findings, Setup, table};
use anyhow::Context as _;
use std::fs::File;
use wire::capture::Reader;

const FOLDERS: [&str; 7] =
    ["bruteforce", "ddos", "dns-tunnel", "ics-modbus-labelled", "lateral", "malware", "scan"];

pub(crate) fn compare(setup: &Setup) -> anyhow::Result<Findings> {
    let mut captures = Vec::new();
    for folder in FOLDERS {
        captures.extend(setup.data.captures(folder)?);
    }
    let replays = replayed::all(&setup.program, &captures)?;
    let mut findings = Findings::default();
    let (mut rows, mut recognised) = (Vec::new(), 0);
    for (capture, replayed) in captures.iter().zip(&replays) {
        findings.faults.extend(replayed.failure.iter().map(|f| format!("{}: {f}", capture.name)));
        let Some(attack) = ATTACKS.iter().find(|a| a.capture == capture.name) else {
            findings.faults.push(format!("{}: not in the table of attacks", capture.name));
            continue;
        };
        let incidents = &replayed.incidents;
        let right = incidents.iter().filter(|i| attack.classes.contains(&&*i.class));
        let found = right.min_by_key(|i| i.alerted_us);
        let others: Vec<String> = incidents
            .iter()
            .filter(|i| found.is_none_or(|f| !std::ptr::eq(*i, f)))
            .map(Incident::title)
            .collect();
        let row = match found {
            Some(incident) => {
                recognised += 1;
                recognition(capture, attack, incident, &others)?
            }
            None => {
                let reason = attack.missed.unwrap_or_else(|| {
                    findings.faults.push(format!("{}: missed", capture.name));
                    "no reason known"
                });
                let mut text = format!("**missed**: {reason}");
                if !others.is_empty() {
                    text.push_str(&format!(" (raised: {})", others.join(", ")));
                }
                let dash = || "–".to_owned();
                vec![capture.name.clone(), attack.what.to_owned(), text, dash(), dash(), dash(), dash()]
            }
        };
        rows.push(row);
    }
    findings.text = format!(
        "{recognised} of {} captures recognised. Packets and seconds are counted from the first frame of the file to the \
         first alert of the incident that counts; what else was raised stands in brackets. Some files hold only the attack, \
         so a late packet is not always a late alert.\n\n{}",
        captures.len(),
        table(&["capture", "what it is", "recognised as", "rules", "severity", "packets", "seconds"], &rows),
    );
    Ok(findings)
}

fn recognition(
    capture: &Capture,
    attack: &Attack,
    incident: &Incident,
    others: &[String],
) -> anyhow::Result<Vec<String>> {
    let (packets, micros) = until(capture, incident.alerted_us)?;
    let also = if others.is_empty() { String::new() } else { format!(" (also {})", others.join(", ")) };
    Ok(vec![
        capture.name.clone(),
        attack.what.to_owned(),
        format!("{}{also}", incident.title()),
        incident.rules.join(", "),
        incident.severity.clone(),
        packets.to_string(),
        match micros {
            ..1000 => "< 0.001".to_owned(),
            _ => format!("{}.{:03}", micros / 1_000_000, micros % 1_000_000 / 1000),
        },
    ])
}

/// Frames of the file up to the one at which the time was reached, and µs from the first frame to it.
fn until(capture: &Capture, at_us: u64) -> anyhow::Result<(u64, u64)> {
    let file = File::open(&capture.path).with_context(|| format!("cannot open {}", capture.name))?;
    let mut reader = Reader::new(file)?;
    let (mut frames, mut first_us) = (0, None);
    while let Some(frame) = reader.next()? {
        frames += 1;
        let now_us = frame.ts_ns / 1000;
        let first = *first_us.get_or_insert(now_us);
        if now_us >= at_us {
            return Ok((frames, at_us.saturating_sub(first)));
        }
    }
    Ok((frames, at_us.saturating_sub(first_us.unwrap_or(at_us))))
}
