//! The benign captures: every incident is a false positive, listed with its reason.

use super::reasons::BENIGN;
use super::replayed::{self, Replayed};
use super::{Findings, Setup, table};

/// Incidents below high that all of pcap/benign may give.
const TOLERATED: usize = 5;

pub(crate) fn compare(setup: &Setup) -> anyhow::Result<Findings> {
    let benign = replayed::all(&setup.program, &setup.data.captures("benign")?)?;
    let mut findings = Findings::default();
    let frames: u64 = benign.iter().map(|r| r.packets).sum();
    let mut rows = Vec::new();
    let (mut high, mut lower) = (0, 0);
    for replayed in &benign {
        findings.faults.extend(replayed.failure.iter().map(|f| format!("{}: {f}", replayed.name)));
        for incident in &replayed.incidents {
            *if incident.is_high() { &mut high } else { &mut lower } += 1;
            let known = BENIGN
                .iter()
                .find(|(name, class, _)| replayed.name.starts_with(name) && incident.class == *class);
            let reason = known.map_or("no reason known", |(.., reason)| reason);
            if known.is_none() {
                findings.faults.push(format!("{}: {} without a reason", replayed.name, incident.title()));
            }
            let mut row = cells(replayed, incident);
            row.push(reason.to_owned());
            rows.push(row);
        }
    }
    if high > 0 {
        findings.faults.push(format!("{high} incidents of severity high or above"));
    }
    if lower > TOLERATED {
        findings.faults.push(format!("{lower} lower incidents, {TOLERATED} are tolerated"));
    }
    let rows = match rows.as_slice() {
        [] => String::new(),
        rows => {
            format!("\n{}", table(&["capture", "incident", "rules", "severity", "actor", "reason"], rows))
        }
    };
    findings.text = format!(
        "Everything below `pcap/benign`: {} captures, {frames} frames of ordinary DNS, of 16 kinds of household devices being \
         set up, and of a video call. Incidents of severity high or above: {high}. Lower ones: {lower} (tolerated: \
         {TOLERATED}).\n{rows}",
        benign.len(),
    );
    findings.text.push_str(&unlabelled(setup)?);
    Ok(findings)
}

fn cells(replayed: &Replayed, incident: &replayed::Incident) -> Vec<String> {
    vec![
        replayed.name.clone(),
        incident.title(),
        incident.rules.join(", "),
        incident.severity.clone(),
        incident.actor.map_or_else(|| "many".to_owned(), |a| a.to_string()),
    ]
}

/// nDPI's captures have no label: nearly all are benign, some are attacks or hold malformed packets on purpose.
fn unlabelled(setup: &Setup) -> anyhow::Result<String> {
    let replays = replayed::all(&setup.program, &setup.data.captures("ndpi")?)?;
    let rows: Vec<Vec<String>> =
        replays.iter().flat_map(|r| r.incidents.iter().map(|i| cells(r, i))).collect();
    let rows = match rows.as_slice() {
        [] => "None.\n".to_owned(),
        rows => table(&["capture", "incident", "rules", "severity", "actor"], rows),
    };
    Ok(format!(
        "\nWhat the {} captures of nDPI give, for a look: they have no label. Nearly all are benign; some are scans, exploits \
         or made of damaged packets.\n\n{rows}",
        replays.len(),
    ))
}
