//! Replays a capture file through wire, flow and detect.

#![expect(clippy::disallowed_methods, reason = "reads captures from files")]

use detect::{BookConfig, Change, Detector, Incident, IncidentBook, RuleSet};
use flow::{Census, CensusConfig, Tracker, TrackerConfig};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use wire::capture::Reader;

/// The folder with real captures, if it is there.
pub(crate) fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("AUTOINMUNE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The capture files below `folder`, in order of name.
pub(crate) fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All incidents of a capture by the rules of `set`, as they ended, in order of opening. What cannot be read is left out.
pub(crate) fn incidents(path: &Path, set: &RuleSet) -> Vec<Incident> {
    let Ok(mut reader) =
        File::open(path).map_err(|_| ()).and_then(|f| Reader::new(BufReader::new(f)).map_err(|_| ()))
    else {
        return Vec::new();
    };
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut census = Census::new(CensusConfig::default());
    let mut detector = Detector::new(set.clone());
    let mut book = IncidentBook::new(BookConfig::default());
    let (mut events, mut signals, mut updates, mut now) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while let Ok(Some(frame)) = reader.next() {
        let Some(link) = frame.link else { continue };
        let Ok(packet) = wire::parse(link, frame.data, frame.orig_len) else { continue };
        now = now.max(frame.ts_ns);
        tracker.observe(now, &packet, &mut events);
        detector.judge(&mut census, &events, &mut signals);
        events.clear();
        if !signals.is_empty() {
            book.advance(now, &mut updates);
            signals.drain(..).for_each(|s| drop(book.absorb(s)));
        }
    }
    tracker.finish(&mut events);
    detector.judge(&mut census, &events, &mut signals);
    signals.drain(..).for_each(|s| drop(book.absorb(s)));
    book.finish(&mut updates);
    let mut ended: Vec<_> =
        updates.into_iter().filter(|u| u.change == Change::Ended).map(|u| u.incident).collect();
    ended.sort_by_key(|i| i.id);
    ended
}

/// An incident on one line.
pub(crate) fn line(incident: &Incident) -> String {
    let who = match incident.actor {
        detect::Actor::Source { addr } => addr.to_string(),
        detect::Actor::Distributed { target } => format!("many against {target}"),
    };
    let evidence: Vec<String> =
        incident.evidence.iter().map(|e| format!("{}={:.2}", e.metric, e.observed)).collect();
    format!(
        "{} {:?} by {who}, {} signals, targets {:?}, {:.2}, {}",
        incident.class.name(),
        incident.rules,
        incident.signals,
        incident.targets,
        incident.confidence,
        evidence.join(" ")
    )
}
