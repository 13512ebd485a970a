//! The labelled Modbus captures: which packets do our incidents name, and which should they?

use super::data::Capture;
use super::replayed::{self, Conversation, Incident, Replayed};
use super::{Findings, Setup, percent, table};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use wire::capture::Reader;

/// Packets: labelled or not, named by us or not.
#[derive(Clone, Copy, Debug, Default)]
struct Matrix {
    hit: u64,
    missed: u64,
    false_alarm: u64,
    quiet: u64,
}

impl Matrix {
    fn add(&mut self, attack: bool, ours: bool) {
        *match (attack, ours) {
            (true, true) => &mut self.hit,
            (true, false) => &mut self.missed,
            (false, true) => &mut self.false_alarm,
            (false, false) => &mut self.quiet,
        } += 1;
    }

    fn row(self, name: &str) -> Vec<String> {
        let Self { hit, missed, false_alarm, quiet } = self;
        vec![
            name.to_owned(),
            (hit + missed + false_alarm + quiet).to_string(),
            (hit + missed).to_string(),
            (hit + false_alarm).to_string(),
            hit.to_string(),
            percent(hit, hit + false_alarm),
            percent(hit, hit + missed),
        ]
    }
}

/// A frame of a capture, as far as it is a packet with addresses.
type Frame = Option<(u64, Conversation)>;

pub(crate) fn compare(setup: &Setup) -> anyhow::Result<Findings> {
    let captures = setup.data.captures("ics-modbus-labelled")?;
    let replays = replayed::all(&setup.program, &captures)?;
    let mut findings = Findings::default();
    let (mut rows, mut groups, mut raised) = (Vec::new(), Vec::new(), Vec::new());
    let mut sum = Matrix::default();
    for (capture, replayed) in captures.iter().zip(&replays) {
        let (frames, labels) = (frames(capture)?, labels(capture)?);
        anyhow::ensure!(
            frames.len() == labels.len(),
            "{}: {} frames, {} labels",
            capture.name,
            frames.len(),
            labels.len()
        );
        let name = capture.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let cover = Cover::new(replayed);
        let mut matrix = Matrix::default();
        let mut by_group: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (frame, attack) in frames.iter().zip(labels) {
            let ours = frame.as_ref().is_some_and(|(at, c)| cover.names(*at, c));
            matrix.add(attack, ours);
            sum.add(attack, ours);
            if attack {
                let group = frame.as_ref().map_or_else(|| "not IP".to_owned(), |(_, c)| group(c));
                let (all, hit) = by_group.entry(group).or_default();
                *all += 1;
                *hit += u64::from(ours);
            }
        }
        rows.push(matrix.row(&name));
        groups.extend(by_group.into_iter().map(|(group, (all, hit))| {
            vec![name.clone(), group, all.to_string(), hit.to_string(), percent(hit, all)]
        }));
        raised.extend(
            replayed
                .incidents
                .iter()
                .map(|i| vec![name.clone(), i.title(), i.rules.join(", "), i.severity.clone()]),
        );
        findings.faults.extend(replayed.failure.iter().map(|f| format!("{name}: {f}")));
    }
    rows.push(sum.row("all"));
    let raised = match raised.as_slice() {
        [] => "No incident.\n".to_owned(),
        rows => table(&["capture", "incident", "rules", "severity"], rows),
    };
    findings.text = format!(
        "The captures of Lemay and Fernandez, with a label for every packet. A packet is ours if an incident names its flow \
         by Community ID, or if it passes between the incident's actor and one of its targets from the first evidence to the \
         last, at the port the incident names, if it names one. Precision is the labelled share of our packets, recall our \
         share of the labelled ones.\n\n{}\nThe labelled packets by conversation. The labels count a NetBIOS name query and \
         an anonymous SMB session of the computer browser (port 137 to 139) as attack, which every Windows network of that \
         time had; the connections on other high ports carry a remote shell and begin before the capture does.\n\n{}\n\
         Incidents:\n\n{raised}",
        table(&["capture", "packets", "labelled", "ours", "both", "precision", "recall"], &rows),
        table(&["capture", "conversation", "labelled", "ours", ""], &groups),
    );
    Ok(findings)
}

/// What the incidents of a replay name.
struct Cover<'a> {
    incidents: &'a [Incident],
    flows: BTreeSet<&'a Conversation>,
}

impl<'a> Cover<'a> {
    fn new(replayed: &'a Replayed) -> Self {
        let ids: BTreeSet<&String> = replayed.incidents.iter().flat_map(|i| &i.flows).collect();
        let named = replayed.flows.iter().filter(|f| ids.contains(&f.community_id));
        Self { incidents: &replayed.incidents, flows: named.map(|f| &f.conversation).collect() }
    }

    fn names(&self, at_us: u64, packet: &Conversation) -> bool {
        let Conversation { a, b, .. } = packet;
        let ends = [a.0, b.0];
        self.flows.contains(packet)
            || self.incidents.iter().any(|i| {
                let between = match i.actor {
                    Some(actor) => {
                        let other = if ends[0] == actor { ends[1] } else { ends[0] };
                        ends.contains(&actor) && i.targets.contains(&other)
                    }
                    None => i.targets.iter().any(|t| ends.contains(t)),
                };
                let service = i.ports.is_empty() || i.ports.contains(&a.1) || i.ports.contains(&b.1);
                between && service && (i.first_us..=i.last_us).contains(&at_us)
            })
    }
}

/// A conversation by its service, if one end has a system port (RFC 6335 §6); otherwise with both ports.
fn group(c: &Conversation) -> String {
    let Conversation { protocol, a, b } = c;
    match a.1.min(b.1) {
        service @ ..1024 => format!("{protocol} {} – {}, port {service}", a.0, b.0),
        _ => format!("{protocol} {}:{} – {}:{}", a.0, a.1, b.0, b.1),
    }
}

fn frames(capture: &Capture) -> anyhow::Result<Vec<Frame>> {
    let file = File::open(&capture.path).with_context(|| format!("cannot open {}", capture.name))?;
    let mut reader = Reader::new(file)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next()? {
        let packet = frame.link.and_then(|link| wire::parse(link, frame.data, frame.orig_len).ok());
        frames.push(packet.map(|p| {
            let name = replayed::protocol_name(p.protocol);
            let (src, dst) = ((p.src.ip(), p.src_port), (p.dst.ip(), p.dst_port));
            (frame.ts_ns / 1000, Conversation::new(&name, src, dst))
        }));
    }
    Ok(frames)
}

/// `number;label` for every frame, beside the capture.
fn labels(capture: &Capture) -> anyhow::Result<Vec<bool>> {
    let stem = capture.path.file_stem().unwrap_or_default().to_string_lossy();
    let path = capture.path.with_file_name(format!("{stem}_labeled.csv"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut labels = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let (number, label) = line.trim().split_once(';').with_context(|| format!("no label: {line}"))?;
        let next = number.parse() == Ok(labels.len() + 1);
        anyhow::ensure!(next && matches!(label, "0" | "1"), "not the next label: {line}");
        labels.push(label == "1");
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(from: (&str, u16), to: (&str, u16)) -> Conversation {
        let end = |(a, p): (&str, u16)| (a.parse().expect("an address"), p);
        Conversation::new("TCP", end(from), end(to))
    }

    #[test]
    fn an_incident_names_what_passes_between_actor_and_target_while_it_lasts() {
        let incident = Incident {
            alerted_us: 20,
            class: "ot_abuse".into(),
            kinds: Vec::new(),
            severity: "high".into(),
            rules: Vec::new(),
            actor: "10.0.0.1".parse().ok(),
            targets: vec!["10.0.0.2".parse().expect("an address")],
            first_us: 10,
            last_us: 30,
            ports: BTreeSet::from([502]),
            flows: BTreeSet::new(),
        };
        let replayed = Replayed { incidents: vec![incident], ..Replayed::default() };
        let cover = Cover::new(&replayed);
        let attack = packet(("10.0.0.1", 1631), ("10.0.0.2", 502));
        for (at, named) in [(9, false), (10, true), (30, true), (31, false)] {
            assert_eq!(cover.names(at, &attack), named, "{at}");
        }
        assert!(!cover.names(20, &packet(("10.0.0.1", 1631), ("10.0.0.2", 80))), "another service");
        assert!(!cover.names(20, &packet(("10.0.0.1", 502), ("10.0.0.3", 9))), "no target");
        assert!(!cover.names(20, &packet(("10.0.0.3", 502), ("10.0.0.2", 9))), "not the actor");
    }
}
