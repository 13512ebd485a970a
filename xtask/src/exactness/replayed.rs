//! What the program says about a capture: one `replay`, its events and its summary, as values.

use super::data::Capture;
use crate::shell;
use anyhow::Context as _;
use serde_json::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use wire::packet::protocol;

/// Replays at a time.
const AT_ONCE: usize = 2;

/// Names of the counters of frames that did not become packets. The other losses are of tables, not of frames.
const SKIPS: [&str; 9] = [
    "link_truncated",
    "too_many_tags",
    "not_ip",
    "ip_truncated",
    "ip_malformed",
    "too_many_extensions",
    "transport_truncated",
    "transport_malformed",
    "unknown_link_type",
];

/// An address and a port, 0 where the protocol has none.
pub(crate) type Endpoint = (IpAddr, u16);

/// A conversation without direction: protocol by its name in events, lower endpoint first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conversation {
    /// `TCP`, `UDP`, …
    pub(crate) protocol: String,
    /// The lower endpoint.
    pub(crate) a: Endpoint,
    /// The other.
    pub(crate) b: Endpoint,
}

impl Conversation {
    /// The conversation of two endpoints in any order.
    pub(crate) fn new(protocol: &str, x: Endpoint, y: Endpoint) -> Self {
        let (a, b) = if x <= y { (x, y) } else { (y, x) };
        Self { protocol: protocol.to_owned(), a, b }
    }
}

/// A `flow` event.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Who with whom.
    pub(crate) conversation: Conversation,
    /// Application, if recognised.
    pub(crate) app: Option<String>,
    /// Community ID, default seed.
    pub(crate) community_id: String,
    /// Packets in both directions.
    pub(crate) packets: u64,
}

/// What the program says about one incident, from all its `alert` events and the summary.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    /// When the first alert about it was given, µs since 1970.
    pub(crate) alerted_us: u64,
    /// Class of threat.
    pub(crate) class: String,
    /// Finer kinds.
    pub(crate) kinds: Vec<String>,
    /// `low`, `medium`, `high` or `critical`; the last word on it.
    pub(crate) severity: String,
    /// Rules that fired.
    pub(crate) rules: Vec<String>,
    /// Who; `None` when sources are many or forged.
    pub(crate) actor: Option<IpAddr>,
    /// Against whom.
    pub(crate) targets: Vec<IpAddr>,
    /// First evidence, µs since 1970.
    pub(crate) first_us: u64,
    /// Last evidence, µs since 1970.
    pub(crate) last_us: u64,
    /// The services that alerts name.
    pub(crate) ports: BTreeSet<u16>,
    /// Community IDs of the flows that alerts name.
    pub(crate) flows: BTreeSet<String>,
}

impl Incident {
    /// Class and kinds.
    pub(crate) fn title(&self) -> String {
        match self.kinds.as_slice() {
            [] => self.class.clone(),
            kinds => format!("{}/{}", self.class, kinds.join("+")),
        }
    }

    /// Whether it calls for somebody at once.
    pub(crate) fn is_high(&self) -> bool {
        matches!(&*self.severity, "high" | "critical")
    }
}

/// One replay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    /// Path below `pcap/`.
    pub(crate) name: String,
    /// Why the program did not end well, if it did not.
    pub(crate) failure: Option<String>,
    /// Why reading stopped before the end of the file, if it did.
    pub(crate) cut: Option<String>,
    /// Frames read.
    pub(crate) packets: u64,
    /// Every counter of loss.
    pub(crate) losses: BTreeMap<String, u64>,
    /// Flows in the order of their events.
    pub(crate) flows: Vec<Flow>,
    /// Incidents in the order of their beginning.
    pub(crate) incidents: Vec<Incident>,
}

impl Replayed {
    /// Frames that did not become packets, by reason, zeros left out.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SKIPS.into_iter().filter_map(|s| self.losses.get(s).filter(|n| **n > 0).map(|n| (s, *n)))
    }

    /// Frames less packets of flows less frames skipped: what nothing accounts for.
    pub(crate) fn unexplained(&self) -> i128 {
        let in_flows: u64 = self.flows.iter().map(|f| f.packets).sum();
        let skipped: u64 = self.skipped().map(|(_, n)| n).sum();
        i128::from(self.packets) - i128::from(in_flows) - i128::from(skipped)
    }
}

/// Replays every capture, each in a process of its own; results in the order of the captures.
///
/// # Errors
/// The program cannot be started, or says what it should not.
pub(crate) fn all(program: &Path, captures: &[Capture]) -> anyhow::Result<Vec<Replayed>> {
    let scratch = shell::root().join("target/exactness");
    fs::create_dir_all(&scratch).context("cannot make target/exactness")?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(captures.len()));
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let summary = scratch.join(format!("summary-{worker}.json"));
            let (next, done) = (&next, &done);
            scope.spawn(move || {
                while let Some((i, capture)) = {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    captures.get(i).map(|c| (i, c))
                } {
                    let result = one(program, capture, &summary);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Replays one capture. The stats event at the end of the stream has the totals; when an incident ended, only the
/// summary tells.
fn one(program: &Path, capture: &Capture, summary: &Path) -> anyhow::Result<Replayed> {
    let output = Command::new(program)
        .args(["replay", "--eve", "-", "--summary"])
        .args([summary, &capture.path])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut replayed = Replayed { name: capture.name.clone(), ..Replayed::default() };
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        replayed.failure = Some(format!("{}: {last}", output.status));
        return Ok(replayed);
    }
    let mut incidents = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        take(&mut replayed, &mut incidents, &event)
            .with_context(|| format!("{}: not as expected: {line}", capture.name))?;
    }
    let summary: Value = serde_json::from_slice(&fs::read(summary).context("cannot read the summary")?)?;
    replayed.cut = text(&summary["files"][0]["error"]);
    let ends = summary["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    anyhow::ensure!(ends.len() == incidents.len(), "{}: events and summary disagree", capture.name);
    // Both are in the order of the incidents' numbers.
    replayed.incidents = incidents.into_values().collect();
    for (incident, end) in replayed.incidents.iter_mut().zip(ends) {
        incident.last_us =
            end["last_seen"].as_str().and_then(micros).context("an incident without an end")?;
    }
    Ok(replayed)
}

fn take(
    replayed: &mut Replayed,
    incidents: &mut BTreeMap<u64, Incident>,
    event: &Value,
) -> anyhow::Result<()> {
    let ours = &event["metadata"]["flowints"]["autoinmune"];
    match event["event_type"].as_str() {
        Some("flow") => replayed.flows.push(flow(event).context("a flow event")?),
        Some("alert") => {
            let (id, incident) = alert(event, &ours["incident"]).context("an alert event")?;
            match incidents.entry(id) {
                Entry::Vacant(e) => drop(e.insert(incident)),
                Entry::Occupied(mut e) => {
                    let before = e.insert(incident);
                    let now = e.get_mut();
                    now.alerted_us = before.alerted_us;
                    now.ports.extend(before.ports);
                    now.flows.extend(before.flows);
                }
            }
        }
        Some("stats") => {
            replayed.packets +=
                event["stats"]["capture"]["kernel_packets"].as_u64().context("a stats event")?;
            for (name, n) in ours["losses"].as_object().into_iter().flatten() {
                *replayed.losses.entry(name.clone()).or_default() += n.as_u64().unwrap_or(0);
            }
        }
        _ => {}
    }
    Ok(())
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

fn flow(event: &Value) -> Option<Flow> {
    // ICMP has type and code where others have ports; Community ID's baselines use the same two numbers.
    let port = |name: &str, icmp: &str| {
        [&event[name], &event[icmp]].into_iter().find_map(Value::as_u64).and_then(|p| u16::try_from(p).ok())
    };
    let src = (address(&event["src_ip"])?, port("src_port", "icmp_type").unwrap_or(0));
    let dst = (address(&event["dest_ip"])?, port("dest_port", "icmp_code").unwrap_or(0));
    Some(Flow {
        conversation: Conversation::new(event["proto"].as_str()?, src, dst),
        app: text(&event["app_proto"]),
        community_id: text(&event["community_id"])?,
        packets: event["flow"]["pkts_toserver"].as_u64()? + event["flow"]["pkts_toclient"].as_u64()?,
    })
}

/// The number of an incident and what one event says about it.
fn alert(event: &Value, incident: &Value) -> Option<(u64, Incident)> {
    let alerted_us = micros(event["timestamp"].as_str()?)?;
    let actor = &incident["actor"];
    let targets = incident["targets"].as_array().into_iter().flatten().chain([&actor["target"]]);
    let said = Incident {
        alerted_us,
        class: text(&incident["class"])?,
        kinds: texts(&incident["kinds"]),
        severity: text(&incident["severity"])?,
        rules: texts(&incident["rules"]),
        actor: address(&actor["addr"]),
        targets: targets.filter_map(address).collect(),
        first_us: incident["first_ns"].as_u64()? / 1000,
        last_us: incident["last_ns"].as_u64()? / 1000,
        ports: event["dest_port"].as_u64().and_then(|p| u16::try_from(p).ok()).into_iter().collect(),
        flows: text(&event["community_id"]).into_iter().collect(),
    };
    Some((incident["id"].as_u64()?, said))
}

/// A protocol as events name it.
pub(crate) fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "ICMP".to_owned(),
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        protocol::ICMPV6 => "IPv6-ICMP".to_owned(),
        protocol::SCTP => "SCTP".to_owned(),
        other => other.to_string(),
    }
}

/// A time in UTC with six digits of a second, as events or the summary write it, as µs since 1970.
fn micros(time: &str) -> Option<u64> {
    let (date, clock) = time.split_once('T')?;
    let clock = clock.strip_suffix("+0000").or_else(|| clock.strip_suffix('Z'))?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = clock.split_once('.')?;
    let mut clock = clock.splitn(3, ':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    // Years from March on, so that the day that leap years add is the last; 719,468 days lie before 1970 then.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00.000000+0000", 0),
            ("2000-02-29T23:59:59.000000+0000", 951_868_799),
            ("2026-03-22T22:47:16.000000+0000", 1_774_219_636),
        ] {
            assert_eq!(micros(time), Some(seconds * 1_000_000), "{time}");
        }
        assert_eq!(micros("1970-01-01T00:00:01.000002Z"), Some(1_000_002));
        assert_eq!(micros("yesterday"), None);
    }

    #[test]
    fn a_conversation_has_no_direction() {
        let (x, y) =
            (("10.0.0.1".parse().expect("an address"), 5), ("10.0.0.2".parse().expect("an address"), 1));
        assert_eq!(Conversation::new("TCP", x, y), Conversation::new("TCP", y, x));
        assert_ne!(Conversation::new("TCP", x, y), Conversation::new("UDP", x, y));
    }

    #[test]
    fn frames_that_nothing_accounts_for_are_seen() {
        let mut replayed = Replayed { packets: 3, ..Replayed::default() };
        assert_eq!(replayed.unexplained(), 3);
        replayed.losses.insert("not_ip".into(), 2);
        replayed.losses.insert("time_went_back".into(), 7);
        assert_eq!(replayed.unexplained(), 1);
    }
}
