//! What the agent made of a scenario: its events against what was done.

use super::report::{Block, Finding, Judgement, Verdict};
use ::lab::scenario::{Deed, Ended, Scenario, ScenarioKind};
use detect::Severity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Judges a scenario by the events of the agent. `began_ns` is when the first hostile packet was on the wire.
///
/// # Errors
/// A line that is not an event of this program.
pub fn judge(
    scenario: &Scenario,
    deeds: &[Deed],
    began_ns: Option<u64>,
    eve: &str,
) -> anyhow::Result<Judgement> {
    let seen = Seen::read(eve)?;
    let hostile = hostile(deeds);
    let since = |at_ns: u64| began_ns.map(|began| (at_ns as f64 - began as f64) / 1e9);
    let mut judgement = Judgement { incidents: seen.findings(began_ns, &hostile), ..Judgement::default() };
    for (at_ns, address) in &seen.blocks {
        let block = Block { address: *address, seconds: since(*at_ns), innocent: !hostile.contains(address) };
        judgement.blocks.push(block);
    }
    let failed = deeds.iter().filter_map(|d| match &d.ended {
        Ended::Failed(why) => Some((d, why)),
        Ended::Done | Ended::Stopped => None,
    });
    for (deed, why) in failed {
        let line = format!("step {} ({} by {}): {why}", deed.step, deed.what, deed.from);
        if deed.class.is_some() { &mut judgement.failed_steps } else { &mut judgement.harmed_steps }
            .push(line);
    }
    let mut why = Vec::new();
    let innocents = judgement.blocks.iter().filter(|b| b.innocent);
    why.extend(innocents.map(|b| format!("{} was blocked, who did nothing", b.address)));
    match (scenario.kind, &scenario.expect) {
        (ScenarioKind::Attack, Some(expect)) => {
            let first = seen.first(&expect.class, &hostile);
            judgement.detected_seconds = first.and_then(since);
            let blocked = judgement.blocks.iter().find(|b| !b.innocent).map(|b| b.seconds);
            judgement.blocked_seconds = blocked.flatten();
            match (judgement.detected_seconds, &expect.missed) {
                (None, Some(_)) => {}
                (Some(_), Some(_)) => {
                    why.push(format!("{} was recognised although the file says it is missed", expect.class));
                }
                (None, None) => why.push(format!("no incident of {} by an attacker", expect.class)),
                (Some(s), None) if s > expect.within_s => {
                    why.push(format!(
                        "{} was recognised after {s:.1} s, expected within {} s",
                        expect.class, expect.within_s
                    ));
                }
                (Some(_), None) => {}
            }
            if expect.blocked && expect.missed.is_none() && blocked.is_none() {
                why.push("no attacker was blocked".to_owned());
            }
            judgement.verdict = match (why.is_empty(), &expect.missed) {
                (false, _) => Verdict::Failed,
                (true, Some(_)) => Verdict::Missed,
                (true, None) => Verdict::Passed,
            };
        }
        _ => {
            // Whoever is allowed is told of and not blocked: that is what the allowlist is for.
            let allowed = scenario.allow.iter().filter_map(|name| scenario.actor(name));
            let allowed: BTreeSet<String> =
                allowed.flat_map(|a| a.host().addresses()).map(|a| a.to_string()).collect();
            let serious = judgement.incidents.iter().filter(|i| i.severity >= Severity::Medium);
            let serious: Vec<&Finding> = serious.filter(|i| !allowed.contains(&i.actor)).collect();
            match (&scenario.false_alarm, serious.as_slice()) {
                (Some(_), []) => why.push("there was no false alarm although the file says so".to_owned()),
                (Some(_), _) => {}
                (None, some) => {
                    why.extend(
                        some.iter()
                            .map(|i| format!("incident of {} about {}", i.classes.join(", "), i.actor)),
                    );
                }
            }
            why.extend(judgement.harmed_steps.iter().map(|s| format!("it did not go as it should: {s}")));
            judgement.verdict = match (why.is_empty(), &scenario.false_alarm) {
                (false, _) => Verdict::Failed,
                (true, Some(_)) => Verdict::FalseAlarm,
                (true, None) => Verdict::Passed,
            };
        }
    }
    judgement.why = why;
    Ok(judgement)
}

/// Whether the agent has told all that is expected of it, so that nothing is left to wait for.
pub fn is_told(scenario: &Scenario, deeds: &[Deed], eve: &str) -> bool {
    let Some(expect) = scenario.expect.as_ref().filter(|expect| expect.missed.is_none()) else { return true };
    let hostile = hostile(deeds);
    Seen::read(eve).is_ok_and(|seen| {
        let blocked = seen.blocks.iter().any(|(_, address)| hostile.contains(address));
        seen.first(&expect.class, &hostile).is_some() && (blocked || !expect.blocked)
    })
}

/// Incidents and blocks of a time in which nobody meant harm, with seconds since `began_ns`.
///
/// # Errors
/// A line that is not an event of this program.
pub fn alarms(began_ns: u64, eve: &str) -> anyhow::Result<(Vec<Finding>, Vec<Block>)> {
    let seen = Seen::read(eve)?;
    let block = |(at_ns, address): &(u64, IpAddr)| Block {
        address: *address,
        seconds: Some((*at_ns as f64 - began_ns as f64) / 1e9),
        innocent: true,
    };
    Ok((seen.findings(Some(began_ns), &BTreeSet::new()), seen.blocks.iter().map(block).collect()))
}

/// Addresses that hostile deeds came from, by name and as reported.
fn hostile(deeds: &[Deed]) -> BTreeSet<IpAddr> {
    let of = |d: &Deed| {
        let rows = d.report.iter().flat_map(|r| r.flows.iter().map(|f| f.source.addr));
        d.sources.iter().copied().chain(rows).collect::<Vec<_>>()
    };
    deeds.iter().filter(|d| d.class.is_some()).flat_map(of).collect()
}

/// An update of an incident.
struct Told {
    at_ns: u64,
    /// `None` for many or forged sources.
    actor: Option<IpAddr>,
    target: Option<String>,
    classes: Vec<String>,
    severity: Severity,
    rules: Vec<String>,
}

/// What the agent said.
struct Seen {
    /// Updates of incidents by their serial number.
    told: Vec<(u64, Told)>,
    /// Blocks that went into force: when, and of whom.
    blocks: Vec<(u64, IpAddr)>,
}

impl Seen {
    fn read(eve: &str) -> anyhow::Result<Self> {
        let mut seen = Self { told: Vec::new(), blocks: Vec::new() };
        // The last line may be half written if the agent was killed.
        let whole = eve.rfind('\n').map_or("", |end| eve.get(..end).unwrap_or_default());
        for line in whole.lines() {
            // Most lines are flows; only these two kinds are looked at.
            if !line.contains("\"event_type\":\"alert\"") && !line.contains("\"event_type\":\"drop\"") {
                continue;
            }
            let event: Value = serde_json::from_str(line)?;
            let at_ns = timestamp(&event)?;
            let ours = &event["metadata"]["flowints"]["autoinmune"];
            if event["event_type"] == "drop" {
                let address = event["src_ip"].as_str().and_then(|a| a.parse().ok());
                if event["drop"]["reason"] == "block" {
                    seen.blocks.extend(address.map(|a| (at_ns, a)));
                }
                continue;
            }
            let incident = &ours["incident"];
            let words = |key: &str| -> Vec<String> {
                incident[key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|w| w.as_str().map(str::to_owned))
                    .collect()
            };
            let told = Told {
                at_ns,
                actor: incident["actor"]["addr"].as_str().and_then(|a| a.parse().ok()),
                target: incident["actor"]["target"].as_str().map(str::to_owned),
                classes: words("classes"),
                severity: serde_json::from_value(incident["severity"].clone())?,
                rules: words("rules"),
            };
            seen.told.push((incident["id"].as_u64().unwrap_or(0), told));
        }
        Ok(seen)
    }

    /// When a class was first told of a hostile address, or of many or forged ones.
    fn first(&self, class: &str, hostile: &BTreeSet<IpAddr>) -> Option<u64> {
        let told = self.told.iter().map(|(_, t)| t);
        let right = told.filter(|t| t.classes.iter().any(|c| c == class));
        right.filter(|t| t.actor.is_none_or(|a| hostile.contains(&a))).map(|t| t.at_ns).min()
    }

    /// Each incident once, as last told.
    fn findings(&self, began_ns: Option<u64>, hostile: &BTreeSet<IpAddr>) -> Vec<Finding> {
        let mut findings: BTreeMap<u64, Finding> = BTreeMap::new();
        for (id, told) in &self.told {
            let seconds = began_ns.map(|began| (told.at_ns as f64 - began as f64) / 1e9);
            let actor = match (told.actor, &told.target) {
                (Some(actor), _) => actor.to_string(),
                (None, Some(target)) => format!("many or forged sources, on {target}"),
                (None, None) => "unknown".to_owned(),
            };
            let first = findings.get(id).map_or(seconds, |f| f.seconds);
            let (classes, rules) = (told.classes.clone(), told.rules.clone());
            let innocent = told.actor.is_some_and(|a| !hostile.contains(&a));
            let severity = told.severity;
            findings.insert(*id, Finding { actor, classes, rules, severity, innocent, seconds: first });
        }
        findings.into_values().collect()
    }
}

/// An event's time, ns since 1970.
fn timestamp(event: &Value) -> anyhow::Result<u64> {
    let text = event["timestamp"].as_str().unwrap_or_default();
    let time = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text)?;
    Ok(u64::try_from(time.as_nanosecond())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "198.51.100.201";
    const GOOD: &str = "198.51.100.10";
    /// When the attack begins: 2026-01-01 00:00:00 UTC.
    const BEGAN: u64 = 1_767_225_600_000_000_000;

    fn alert(second: u32, id: u32, actor: &str, class: &str, severity: &str) -> String {
        format!(
            "{{\"timestamp\":\"2026-01-01T00:00:{second:02}.500000+0000\",\"event_type\":\"alert\",\"metadata\":{{\"flowints\":\
             {{\"autoinmune\":{{\"incident\":{{\"id\":{id},\"actor\":{{\"type\":\"source\",\"addr\":\"{actor}\"}},\
             \"classes\":[\"{class}\"],\"rules\":[\"r\"],\"severity\":\"{severity}\"}}}}}}}}}}\n"
        )
    }

    fn block(second: u32, address: &str) -> String {
        format!(
            "{{\"timestamp\":\"2026-01-01T00:00:{second:02}.500000+0000\",\"event_type\":\"drop\",\"src_ip\":\"{address}\",\
             \"drop\":{{\"reason\":\"block\"}}}}\n"
        )
    }

    fn judged(shipped: &str, change: impl FnOnce(&mut Scenario), eve: &str) -> Judgement {
        let mut scenario = ::lab::scenario::shipped(shipped).expect("a scenario");
        change(&mut scenario);
        let hostile = scenario.kind == ScenarioKind::Attack;
        let deed = |from: &str, class: Option<&str>| Deed {
            class: class.map(str::to_owned),
            sources: vec![from.parse().expect("an address")],
            ..Deed::default()
        };
        let deeds = [deed(GOOD, None), deed(BAD, hostile.then_some("port_scan"))];
        judge(&scenario, &deeds, hostile.then_some(BEGAN), eve).expect("events")
    }

    #[test]
    fn an_attack_is_to_be_recognised_in_time_and_nobody_else_blocked() {
        let told = alert(1, 1, BAD, "port_scan", "medium");
        let good = judged("scan-syn", |_| (), &(told.clone() + &block(2, BAD)));
        assert_eq!(
            (good.verdict, good.detected_seconds, good.blocked_seconds),
            (Verdict::Passed, Some(1.5), Some(2.5))
        );
        for (what, eve, why) in [
            ("no block", told.clone(), "no attacker was blocked"),
            ("nothing", String::new(), "no incident of port_scan"),
            (
                "another class",
                alert(1, 1, BAD, "discovery", "high") + &block(1, BAD),
                "no incident of port_scan",
            ),
            (
                "another actor",
                alert(1, 1, GOOD, "port_scan", "high") + &block(1, BAD),
                "no incident of port_scan",
            ),
            ("too late", alert(40, 1, BAD, "port_scan", "medium") + &block(40, BAD), "expected within"),
            ("others", told.clone() + &block(2, BAD) + &block(3, GOOD), "who did nothing"),
        ] {
            let bad = judged("scan-syn", |_| (), &eve);
            assert_eq!(bad.verdict, Verdict::Failed, "{what}");
            assert!(bad.why.iter().any(|w| w.contains(why)), "{what}: {:?}", bad.why);
        }
        let known = |s: &mut Scenario| s.expect.as_mut().expect("an attack").missed = Some("because".into());
        assert_eq!(judged("scan-syn", known, "").verdict, Verdict::Missed);
        assert_eq!(judged("scan-syn", known, &told).verdict, Verdict::Failed);
    }

    #[test]
    fn a_benign_scenario_is_to_pass_quietly() {
        let serious = alert(1, 1, GOOD, "dos", "medium");
        for (eve, verdict) in [
            (String::new(), Verdict::Passed),
            (alert(1, 1, GOOD, "dos", "low"), Verdict::Passed),
            (serious.clone(), Verdict::Failed),
            (block(1, GOOD), Verdict::Failed),
            // Who is on the allowlist is told of, and must not be blocked.
            (alert(1, 1, "198.51.100.30", "port_scan", "medium"), Verdict::Passed),
            (block(1, "198.51.100.30"), Verdict::Failed),
        ] {
            assert_eq!(judged("vulnerability-scanner", |_| (), &eve).verdict, verdict, "{eve}");
        }
        let known = |s: &mut Scenario| s.false_alarm = Some("because".into());
        assert_eq!(judged("crawler", known, &serious).verdict, Verdict::FalseAlarm);
        assert_eq!(judged("crawler", known, "").verdict, Verdict::Failed);
        assert_eq!(judged("crawler", known, &(serious + &block(1, GOOD))).verdict, Verdict::Failed);
    }

    #[test]
    fn what_is_expected_is_waited_for() {
        let hostile = |class: &str| Deed {
            class: Some(class.to_owned()),
            sources: vec![BAD.parse().expect("an address")],
            ..Deed::default()
        };
        let told = |shipped: &str, eve: &str| {
            let scenario = ::lab::scenario::shipped(shipped).expect("a scenario");
            is_told(&scenario, &[hostile("port_scan")], eve)
        };
        let alert = alert(1, 1, BAD, "port_scan", "medium");
        assert!(!told("scan-syn", ""));
        assert!(!told("scan-syn", &alert), "a block is expected too");
        assert!(told("scan-syn", &(alert + &block(2, BAD))));
        assert!(told("crawler", ""), "nothing is expected");
    }

    #[test]
    fn an_incident_is_listed_once_as_last_told() {
        let eve = alert(1, 7, BAD, "port_scan", "low") + &alert(3, 7, BAD, "port_scan", "high");
        let all = judged("scan-syn", |_| (), &eve).incidents;
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].severity, all[0].seconds, all[0].innocent), (Severity::High, Some(1.5), false));
    }
}
