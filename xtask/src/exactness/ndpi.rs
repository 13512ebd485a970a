//! nDPI's regression captures: is every frame accounted for, and do both name the same protocols?

use super::data::Capture;
use super::evidence::{self, Evidence};
use super::ndpi_results::{self, Named};
use super::replayed::{self, Conversation, Replayed};
use super::{Findings, Setup, percent, table};
use crate::shell;
use std::collections::{BTreeMap, BTreeSet};

/// What nDPI calls a protocol, and what we do. Its names for what one protocol carries come after a dot and do not
/// matter; protocols of their own with a similar name (`MDNS`, `DTLS`, `QUIC`, `HTTP_Proxy`, `DHCPV6`) are not these.
const NAMES: [(&str, &str); 8] = [
    ("DNS", "dns"),
    ("HTTP", "http"),
    ("TLS", "tls"),
    ("SSH", "ssh"),
    ("SMBv1", "smb"),
    ("SMBv23", "smb"),
    ("Modbus", "modbus"),
    ("DHCP", "dhcp"),
];

/// Other names that mean one of ours: the same messages on another port, from one client or below another name.
const ALIASES: [(&str, &str); 10] = [
    ("AVASTSecureDNS", "dns"),
    ("DNScrypt", "dns"),
    ("MDNS", "dns"),
    ("LLMNR", "dns"),
    ("HTTP_Proxy", "http"),
    ("HTTP_Connect", "http"),
    ("DoH_DoT", "tls"),
    ("NetBIOS", "smb"),
    ("OCSP", "http"),
    ("WebSocket", "http"),
];

/// Examples named for each cause of disagreement.
const EXAMPLES: usize = 3;

/// How one protocol fares.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    named: u64,
    agreed: u64,
    missed: u64,
    contradicted: u64,
}

impl Score {
    fn add(&mut self, verdict: &Verdict) {
        self.named += 1;
        match verdict {
            Verdict::Agreed => self.agreed += 1,
            Verdict::Missed(_) => self.missed += 1,
            Verdict::Contradicted(_) => self.contradicted += 1,
        }
    }

    fn cells(self) -> [String; 5] {
        let Self { named, agreed, missed, contradicted } = self;
        [
            named.to_string(),
            agreed.to_string(),
            percent(agreed, named),
            missed.to_string(),
            contradicted.to_string(),
        ]
    }
}

#[derive(Clone, Debug)]
enum Verdict {
    Agreed,
    /// Why, as far as the capture tells.
    Missed(&'static str),
    /// What we call it instead.
    Contradicted(String),
}

/// Sums over all captures.
#[derive(Debug, Default)]
struct Tally {
    inspected: BTreeMap<&'static str, Score>,
    guessed: BTreeMap<&'static str, Score>,
    /// Disagreements on what nDPI inspected: protocol and cause, then flows by capture.
    causes: BTreeMap<(&'static str, String), BTreeMap<String, u64>>,
    /// Flows that we name: by our name, all, those that nDPI names likewise, and nDPI's names for the others.
    ours: BTreeMap<&'static str, (u64, u64, BTreeMap<String, u64>)>,
}

pub(crate) fn compare(setup: &Setup) -> anyhow::Result<Findings> {
    let captures = setup.data.captures("ndpi")?;
    let replays = replayed::all(&setup.program, &captures)?;
    let mut findings = Findings::default();
    findings.text = accounting(&captures, &replays, &mut findings.faults);
    let mut tally = Tally::default();
    let (mut without, mut compared) = (Vec::new(), 0);
    for (capture, replayed) in captures.iter().zip(&replays) {
        let file = capture.path.file_name().unwrap_or_default().to_string_lossy();
        let results = setup.data.path(&format!("pcap/ndpi/result/{file}.out"));
        let Ok(named) = ndpi_results::read(&results) else {
            without.push(file.into_owned());
            continue;
        };
        compared += 1;
        tally.capture(&file, &named, replayed, &evidence::of(&capture.path).unwrap_or_default());
    }
    findings.text.push_str(&tally.text());
    let without = if without.is_empty() { "none".to_owned() } else { without.join(", ") };
    findings
        .text
        .push_str(&format!("\nCaptures compared: {compared}. Captures without a result file: {without}.\n"));
    Ok(findings)
}

/// Whether every frame of every capture is in a flow or skipped for a reason.
fn accounting(captures: &[Capture], replays: &[Replayed], faults: &mut Vec<String>) -> String {
    let mut skips: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let (mut frames, mut in_flows, mut cut) = (0, 0, Vec::new());
    let counted = capinfos(captures);
    for (replayed, capture) in replays.iter().zip(captures) {
        if let Some(failure) = &replayed.failure {
            faults.push(format!("{}: {failure}", replayed.name));
        }
        if replayed.unexplained() != 0 {
            faults.push(format!("{}: {} frames unexplained", replayed.name, replayed.unexplained()));
        }
        if let Some(n) = counted.get(&*capture.path.to_string_lossy())
            && *n != replayed.packets
            && replayed.cut.is_none()
        {
            faults.push(format!("{}: {} frames read, capinfos counts {n}", replayed.name, replayed.packets));
        }
        if let Some(why) = &replayed.cut {
            cut.push(format!("{} ({why})", replayed.name));
        }
        frames += replayed.packets;
        in_flows += replayed.flows.iter().map(|f| f.packets).sum::<u64>();
        for (reason, n) in replayed.skipped() {
            let (files, all) = skips.entry(reason).or_default();
            *files += 1;
            *all += n;
        }
    }
    let unexplained: i128 = replays.iter().map(Replayed::unexplained).sum();
    let rows: Vec<Vec<String>> = skips
        .iter()
        .map(|(reason, (files, n))| vec![format!("`{reason}`"), n.to_string(), files.to_string()])
        .collect();
    let failed = replays.iter().filter(|r| r.failure.is_some()).count();
    let cut = if cut.is_empty() { "none".to_owned() } else { cut.join("; ") };
    format!(
        "{} captures of nDPI's regression tests, {frames} frames. Replays that did not end well: {failed}. Frames in flows: \
         {in_flows}; skipped for a reason: {}; unexplained: {unexplained}. Captures that end inside a record: {cut}. Where \
         `capinfos` is installed the run compares the number of frames with it and fails on a difference.\n\n{}\n",
        replays.len(),
        skips.values().map(|(_, n)| n).sum::<u64>(),
        table(&["skipped because", "frames", "captures"], &rows),
    )
}

/// Frames of each capture as `capinfos` counts them; nothing where it is not installed.
fn capinfos(captures: &[Capture]) -> BTreeMap<String, u64> {
    let mut args: Vec<&str> = vec!["-T", "-r", "-m", "-c", "-M"];
    let paths: Vec<String> = captures.iter().map(|c| c.path.to_string_lossy().into_owned()).collect();
    args.extend(paths.iter().map(String::as_str));
    // It fails as a whole when one file is damaged, and still tells about the others.
    let Ok(output) = shell::command("capinfos", &args).output() else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| {
            let (path, count) = line.split_once(',')?;
            Some((path.to_owned(), count.trim().parse().ok()?))
        })
        .collect()
}

fn ours_for(named: &Named) -> Option<(&'static str, &'static str)> {
    named.names.iter().find_map(|n| NAMES.into_iter().find(|(theirs, _)| theirs == n))
}

impl Tally {
    fn capture(
        &mut self,
        file: &str,
        named: &[Named],
        replayed: &Replayed,
        evidence: &BTreeMap<Conversation, Evidence>,
    ) {
        let mut apps: BTreeMap<&Conversation, BTreeSet<&str>> = BTreeMap::new();
        for flow in &replayed.flows {
            apps.entry(&flow.conversation).or_default().extend(flow.app.as_deref());
        }
        for flow in named {
            let Some((theirs, ours)) = ours_for(flow) else { continue };
            let verdict = match apps.get(&flow.conversation) {
                None if evidence.contains_key(&flow.conversation) => Verdict::Missed("not among our flows"),
                None => Verdict::Missed("no packet has these addresses: a tunnel not followed, or damaged"),
                Some(apps) if apps.contains(ours) => Verdict::Agreed,
                Some(apps) => match apps.first() {
                    Some(other) => Verdict::Contradicted((*other).to_owned()),
                    None => Verdict::Missed(
                        evidence.get(&flow.conversation).map_or("not among the packets", |e| {
                            e.cause(flow.conversation.protocol == "TCP")
                        }),
                    ),
                },
            };
            let scores = if flow.inspected { &mut self.inspected } else { &mut self.guessed };
            scores.entry(theirs).or_default().add(&verdict);
            if !flow.inspected {
                continue;
            }
            let cause = match verdict {
                Verdict::Agreed => continue,
                Verdict::Missed(why) => why.to_owned(),
                Verdict::Contradicted(other) => format!("we say `{other}`"),
            };
            *self.causes.entry((theirs, cause)).or_default().entry(file.to_owned()).or_default() += 1;
        }
        self.other_way_round(named, &apps);
    }

    fn other_way_round(&mut self, named: &[Named], apps: &BTreeMap<&Conversation, BTreeSet<&str>>) {
        let mut theirs: BTreeMap<&Conversation, Vec<&Named>> = BTreeMap::new();
        for flow in named {
            theirs.entry(&flow.conversation).or_default().push(flow);
        }
        for (conversation, apps) in apps {
            for (_, ours) in NAMES.into_iter().filter(|(theirs, _)| *theirs != "SMBv23") {
                if !apps.contains(ours) {
                    continue;
                }
                let (all, likewise, others) = self.ours.entry(ours).or_default();
                *all += 1;
                let theirs = theirs.get(conversation).map_or(&[][..], Vec::as_slice);
                let means = |name: &String| {
                    NAMES.iter().chain(&ALIASES).any(|(theirs, means)| theirs == name && *means == ours)
                };
                if theirs.iter().any(|n| n.names.iter().any(means)) {
                    *likewise += 1;
                    continue;
                }
                let word = match theirs.first() {
                    None => "no such flow".to_owned(),
                    Some(n) if n.inspected => n.names.join("."),
                    Some(_) => "guessed or unknown".to_owned(),
                };
                *others.entry(word).or_default() += 1;
            }
        }
    }

    fn text(&self) -> String {
        let scores = |scores: &BTreeMap<&'static str, Score>| -> String {
            let rows: Vec<Vec<String>> = NAMES
                .iter()
                .filter_map(|(theirs, ours)| {
                    let score = scores.get(theirs)?;
                    let mut row = vec![(*theirs).to_owned(), format!("`{ours}`")];
                    row.extend(score.cells());
                    Some(row)
                })
                .collect();
            table(&["nDPI", "ours", "flows", "agreed", "", "missed", "contradicted"], &rows)
        };
        let mut causes: Vec<_> = self.causes.iter().map(|(k, f)| (f.values().sum::<u64>(), k, f)).collect();
        causes.sort_by_key(|(n, key, _)| (std::cmp::Reverse(*n), *key));
        let causes: Vec<Vec<String>> = causes
            .iter()
            .map(|(n, (theirs, cause), files)| {
                vec![(*theirs).to_owned(), cause.clone(), n.to_string(), largest(files)]
            })
            .collect();
        let ours: Vec<Vec<String>> = self
            .ours
            .iter()
            .map(|(ours, (all, likewise, others))| {
                vec![format!("`{ours}`"), all.to_string(), likewise.to_string(), largest(others)]
            })
            .collect();
        format!(
            "Flows are matched by protocol, addresses and ports within a capture; where several share them, one of ours with \
             the right name is enough. What nDPI saw by inspection (confidence `DPI…`):\n\n{}\nDisagreements on these, by what \
             the capture holds of the flow:\n\n{}\nWhat nDPI only guessed, by port or address, is no measure: content decides \
             with us. For completeness:\n\n{}\nThe other way round, flows that we name; nDPI's names for the same messages \
             (such as MDNS, LLMNR, DNScrypt with its TXT queries, HTTP_Proxy) count as likewise:\n\n{}",
            scores(&self.inspected),
            table(&["nDPI", "cause", "flows", "most in"], &causes),
            scores(&self.guessed),
            table(&["ours", "flows", "likewise", "nDPI's words for the others, most frequent first"], &ours),
        )
    }
}

/// The keys with the highest counts.
fn largest(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), *name));
    let mut text: Vec<String> =
        sorted.iter().take(EXAMPLES).map(|(name, n)| format!("{name} ({n})")).collect();
    if sorted.len() > EXAMPLES {
        text.push(format!("{} more", sorted.len() - EXAMPLES));
    }
    text.join(", ")
}
