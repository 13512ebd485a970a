//! The form of a scenario file, and what must hold of one. docs/lab.md describes it for people.

use super::server;
use super::tool::{self, Doing};
use crate::address::{self, GATEWAY, Segment};
use crate::arguments::{Arguments, Kind};
use crate::range::network::{GATEWAY_PLACE, Host, Link, MAX_ADDRESSES, Network};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest file, bytes: forty actors and steps with room for prose.
const MAX_FILE: usize = 64 * 1024;
/// Latest end of a step, s: a scenario shows one thing and ends.
pub const MAX_SECONDS: f64 = 120.0;
/// Most steps.
const MAX_STEPS: usize = 64;
/// Longest delay of the way outside, ms: a satellite link.
const MAX_DELAY_MS: u32 = 1_000;
/// Highest share of packets lost on the way outside, per mille.
const MAX_LOSS: u32 = 300;

/// Classes of threat: the names used in labels, events and expectations.
pub const CLASSES: [&str; 29] = [
    "anomaly",
    "amplification",
    "arp_spoof",
    "brute_force",
    "c2_beacon",
    "command_injection",
    "credential_access",
    "credential_stuffing",
    "data_exfiltration",
    "ddos",
    "dga",
    "dhcp_spoof",
    "discovery",
    "dns_tunnel",
    "dos",
    "evasion",
    "icmp_flood",
    "icmp_tunnel",
    "lateral_movement",
    "ot_abuse",
    "password_spraying",
    "port_scan",
    "protocol_anomaly",
    "ransomware",
    "service_account_abuse",
    "slow_http",
    "syn_flood",
    "udp_flood",
    "web_attack",
];

/// A scenario: who does what when, on which network, and what is to come of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is, in a few words.
    pub title: String,
    /// What happens and what it stands for; for people.
    pub about: String,
    /// Whether anybody means harm.
    pub kind: ScenarioKind,
    /// Of an attack: the name of the benign scenario that looks alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// The segment whose gateway interface the sensor watches.
    #[serde(default = "outside")]
    pub sensor: Segment,
    /// Actors whose addresses are on the agent's allowlist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Rules of the agent that differ from what they are by default, and why; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Adjustment>,
    /// What the way between outside and gateway is like; a plain wire if absent.
    #[serde(default)]
    pub conditions: Conditions,
    /// Who takes part.
    #[serde(rename = "actor")]
    pub actors: Vec<Cast>,
    /// What they do.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    /// Of a benign scenario: why an incident of severity medium or above is told all the same, so far. If none is, the file is
    /// wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarm: Option<String>,
    /// Of an attack: what is to come of it. Of a benign scenario nothing is: no block, and no incident of severity
    /// medium or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
}

const fn outside() -> Segment {
    Segment::Outside
}

/// Whether anybody in a scenario means harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioKind {
    /// Somebody does.
    Attack,
    /// Nobody does, whatever it looks like.
    Benign,
}

/// Rules that differ from what they are by default: those of slow attacks, played faster than life, get thresholds divided by
/// the same factor where they are about time; others are off until somebody wants them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Why, a sentence; the scoreboard shows it.
    pub why: String,
    /// Changes to rules, as under `[rules]` of the agent's configuration.
    pub rules: toml::Table,
}

/// Network conditions, each direction by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Delay, ms.
    #[serde(default)]
    pub delay_ms: u32,
    /// Packets lost, per mille.
    #[serde(default)]
    pub loss_permille: u32,
}

impl From<Conditions> for Link {
    fn from(c: Conditions) -> Self {
        Self { delay_ms: c.delay_ms, loss_permille: c.loss_permille }
    }
}

/// What somebody is in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Means harm.
    Attacker,
    /// Is attacked, or offers what attackers use.
    Victim,
    /// Uses what others offer.
    Client,
    /// Offers what others use.
    Server,
}

/// Somebody who takes part: one host with one or more addresses.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// Its name, which steps use.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it is.
    pub segment: Segment,
    /// Number of its first address in the segment, 2 to 253.
    pub number: u8,
    /// How many addresses it has, one after the other.
    #[serde(default = "one")]
    pub count: u8,
    /// What it offers: `nginx`, `sshd` and other real servers, or a service of the lab with its arguments, such as
    /// `dns port=53`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serve: Vec<String>,
}

const fn one() -> u8 {
    1
}

impl Cast {
    /// Its place in a network.
    #[must_use]
    pub fn host(&self) -> Host {
        Host { name: self.name.clone(), segment: self.segment, number: self.number, count: self.count }
    }
}

/// One thing that somebody does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When it begins, s after the beginning.
    #[serde(default)]
    pub at: f64,
    /// Who does it.
    pub from: String,
    /// To whom, or with whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// By which act of the lab…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// …or by which program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Over which IP version.
    #[serde(default = "four")]
    pub ip: u8,
    /// Arguments by name, see the tables in docs/lab.md. `@NAME` is an actor's first address of the step's IP version, and
    /// `@gateway` that of the gateway in the actor's own segment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Word>,
    /// It is ended if it takes longer, s.
    pub seconds: u32,
    /// Of hostile steps: the class of threat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Of hostile steps: the MITRE ATT&CK technique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
}

const fn four() -> u8 {
    4
}

impl Step {
    /// What it runs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.act.as_deref().or(self.tool.as_deref()).unwrap_or("nothing")
    }
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Word {
    /// A whole number.
    Number(u64),
    /// Anything else.
    Text(String),
}

/// What is to come of an attack.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The class that is to be among those of an incident.
    pub class: String,
    /// At most so long after the beginning of the first hostile step, s.
    pub within_s: f64,
    /// Whether an attacker is to be blocked.
    #[serde(default)]
    pub blocked: bool,
    /// Why it is not recognised so far. Such an attack is listed as missed, and if it is recognised the file is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// Why a file is no scenario: a sentence that names the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(pub String);

impl Scenario {
    /// Reads and checks a file's text.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > MAX_FILE {
            return Err(ScenarioError(format!("longer than {MAX_FILE} bytes")));
        }
        let scenario: Self =
            toml::from_str(text).map_err(|e| ScenarioError(e.to_string().trim().to_owned()))?;
        scenario.check().map_err(ScenarioError)?;
        Ok(scenario)
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network { hosts: self.actors.iter().map(Cast::host).collect() }
    }

    /// An actor by name.
    #[must_use]
    pub fn actor(&self, name: &str) -> Option<&Cast> {
        self.actors.iter().find(|a| a.name == name)
    }

    /// When the last step has ended at the latest, s after the beginning.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.steps.iter().map(|s| s.at + f64::from(s.seconds)).fold(0.0, f64::max)
    }

    /// Programs that are needed and not installed here, each with the Debian package that has it.
    #[must_use]
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let of_steps = self.steps.iter().filter_map(|s| s.tool.as_deref()).filter_map(tool::find);
        let of_services = self.actors.iter().flat_map(|a| &a.serve).filter_map(|s| server::find(s));
        let mut needed: Vec<_> =
            of_steps.flat_map(|t| t.needs).chain(of_services.flat_map(|s| s.needs)).copied().collect();
        needed.sort_unstable();
        needed.dedup();
        needed.retain(|(program, _)| !tool::is_installed(program));
        needed
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.network().check()?;
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Err(format!("{} steps; a scenario has 1 to {MAX_STEPS}", self.steps.len()));
        }
        if self.conditions.delay_ms > MAX_DELAY_MS || self.conditions.loss_permille > MAX_LOSS {
            return Err(format!("conditions: at most {MAX_DELAY_MS} ms and {MAX_LOSS} per mille"));
        }
        if self.adjusted.as_ref().is_some_and(|a| a.why.is_empty() || a.rules.is_empty()) {
            return Err("adjusted: the rules, and why".to_owned());
        }
        for name in &self.allow {
            self.known(name).map_err(|e| format!("allow: {e}"))?;
        }
        for actor in &self.actors {
            for service in &actor.serve {
                server::check(service)
                    .map_err(|e| format!("actor {}: serve '{service}': {e}", actor.name))?;
            }
        }
        for (step, n) in self.steps.iter().zip(1..) {
            self.check_step(step).map_err(|e| format!("step {n} ({}): {e}", step.name()))?;
        }
        self.check_purpose()
    }

    fn known(&self, name: &str) -> Result<&Cast, String> {
        self.actor(name).ok_or_else(|| format!("there is no actor '{name}'"))
    }

    fn check_class(class: &str) -> Result<(), String> {
        if CLASSES.contains(&class) {
            Ok(())
        } else {
            Err(format!("'{class}' is no class; there are {}", CLASSES.join(", ")))
        }
    }

    fn check_purpose(&self) -> Result<(), String> {
        let hostile = self.steps.iter().any(|s| s.class.is_some());
        match (self.kind, &self.expect) {
            (ScenarioKind::Attack, Some(expect)) => {
                if !hostile {
                    return Err("an attack has at least one step with a class".to_owned());
                }
                if self.false_alarm.is_some() {
                    return Err("a false alarm is one about a benign scenario".to_owned());
                }
                if self.twin.is_none() {
                    return Err("an attack names its benign twin".to_owned());
                }
                Self::check_class(&expect.class)?;
                if !(expect.within_s > 0.0 && expect.within_s <= MAX_SECONDS) {
                    return Err(format!("expect.within_s is above 0 and at most {MAX_SECONDS}"));
                }
                Ok(())
            }
            (ScenarioKind::Attack, None) => Err("an attack says what it expects".to_owned()),
            (ScenarioKind::Benign, None) if !hostile && self.twin.is_none() => Ok(()),
            (ScenarioKind::Benign, _) => {
                Err("a benign scenario has no class, no twin and no [expect]".to_owned())
            }
        }
    }

    fn check_step(&self, step: &Step) -> Result<(), String> {
        let from = self.known(&step.from)?;
        for name in &step.to {
            self.known(name)?;
        }
        if !(step.at >= 0.0 && step.seconds >= 1 && step.at + f64::from(step.seconds) <= MAX_SECONDS) {
            return Err(format!("begins at 0 or later, takes 1 s or more, and ends by {MAX_SECONDS} s"));
        }
        if step.ip != 4 && step.ip != 6 {
            return Err(format!("ip is 4 or 6, not {}", step.ip));
        }
        if step.class.is_some() != (from.role == Role::Attacker) {
            return Err("what an attacker does has a class, and nothing else has".to_owned());
        }
        step.class.as_deref().map_or(Ok(()), Self::check_class)?;
        if step.technique.is_some() && step.class.is_none() {
            return Err("a technique belongs to a class".to_owned());
        }
        let doing = Doing::of(step)?;
        let arguments = self.arguments(step, &doing, 1)?;
        let values = arguments.check(doing.parameters()).map_err(|e| e.to_string())?;
        // Acts and servers refuse what lies elsewhere by themselves; programs do not, and nothing leads there anyway.
        let named = doing.parameters().iter().filter(|p| matches!(p.kind, Kind::Address | Kind::Addresses));
        let elsewhere = named.flat_map(|p| values.addrs(p.name)).find(|a| !address::is_lab(**a));
        elsewhere.map_or(Ok(()), |a| Err(format!("{a} is not an address of this range")))
    }

    /// The arguments of a step: those of the file, and what follows from its actors.
    pub(super) fn arguments(&self, step: &Step, doing: &Doing, seed: u64) -> Result<Arguments, String> {
        let mut words = BTreeMap::new();
        for (key, value) in &step.with {
            let text = match value {
                Word::Number(n) => n.to_string(),
                Word::Text(text) => self.resolve(step, text)?,
            };
            words.insert(key.as_str(), text);
        }
        let from = self.known(&step.from)?;
        let to: Vec<&Cast> = step.to.iter().map(|name| self.known(name)).collect::<Result<_, _>>()?;
        let list = |hosts: &[&Cast]| {
            let all: Vec<String> =
                hosts.iter().flat_map(|h| addresses(h, step.ip)).map(|a| a.to_string()).collect();
            all.join(",")
        };
        let first = |host: &Cast| addresses(host, step.ip).first().map(ToString::to_string);
        for parameter in doing.parameters() {
            let given = match (parameter.name, parameter.kind) {
                ("source", Kind::Address) => first(from),
                ("sources", Kind::Addresses) => Some(list(&[from])),
                ("target", Kind::Address) => to.first().and_then(|host| first(host)),
                ("targets", Kind::Addresses) if !to.is_empty() => Some(list(&to)),
                ("seed", Kind::Number(..)) => Some(seed.to_string()),
                ("seconds", Kind::Number(..)) => Some(step.seconds.to_string()),
                _ => None,
            };
            if let Some(text) = given {
                words.entry(parameter.name).or_insert(text);
            }
        }
        let words = words.iter().map(|(key, value)| format!("{key}={value}"));
        Arguments::parse(words).map_err(|e| e.to_string())
    }

    /// A value with `@NAME` replaced by that actor's address; several are separated by commas.
    fn resolve(&self, step: &Step, text: &str) -> Result<String, String> {
        if !text.starts_with('@') {
            return Ok(text.to_owned());
        }
        let one = |word: &str| {
            let name = word.strip_prefix('@').ok_or_else(|| format!("'{word}' is not of the form @NAME"))?;
            if name == GATEWAY_PLACE {
                let segment = self.known(&step.from)?.segment;
                let (v4, v6) = (segment.host(GATEWAY), segment.host6(GATEWAY));
                return Ok(if step.ip == 4 { v4.to_string() } else { v6.to_string() });
            }
            let host = self.known(name)?;
            let address = addresses(host, step.ip).first().map(ToString::to_string);
            address.ok_or_else(|| format!("'{name}' has no address"))
        };
        let all: Vec<String> = text.split(',').map(one).collect::<Result<_, _>>()?;
        Ok(all.join(","))
    }
}

/// The addresses of an actor in one IP version, at most [`MAX_ADDRESSES`].
pub(super) fn addresses(actor: &Cast, version: u8) -> Vec<IpAddr> {
    let host = actor.host();
    let all = host.addresses();
    debug_assert!(all.len() <= 2 * usize::from(MAX_ADDRESSES), "checked by the network");
    all.into_iter().filter(|a| a.is_ipv4() == (version == 4)).collect()
}
