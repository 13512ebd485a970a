//! Reading, checking and adjusting rules.

use crate::bound::Bound;
use crate::field::Field;
use crate::home::Home;
use crate::metric::Metric;
use crate::names;
use crate::rule::Rule;
use crate::{Severity, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shipped rules, by file name.
const BUILTIN: &[(&str, &str)] = &[
    ("port_scan.toml", include_str!("../../../rules/port_scan.toml")),
    ("flood.toml", include_str!("../../../rules/flood.toml")),
    ("brute_force.toml", include_str!("../../../rules/brute_force.toml")),
    ("web.toml", include_str!("../../../rules/web.toml")),
    ("login.toml", include_str!("../../../rules/login.toml")),
    ("kerberos.toml", include_str!("../../../rules/kerberos.toml")),
    ("ot_abuse.toml", include_str!("../../../rules/ot_abuse.toml")),
    ("ransomware.toml", include_str!("../../../rules/ransomware.toml")),
    ("discovery.toml", include_str!("../../../rules/discovery.toml")),
    ("credential_access.toml", include_str!("../../../rules/credential_access.toml")),
    ("lateral_movement.toml", include_str!("../../../rules/lateral_movement.toml")),
    ("amplification.toml", include_str!("../../../rules/amplification.toml")),
    ("arp_spoof.toml", include_str!("../../../rules/arp_spoof.toml")),
    ("c2_beacon.toml", include_str!("../../../rules/c2_beacon.toml")),
    ("data_exfiltration.toml", include_str!("../../../rules/data_exfiltration.toml")),
    ("ddos.toml", include_str!("../../../rules/ddos.toml")),
    ("dhcp_spoof.toml", include_str!("../../../rules/dhcp_spoof.toml")),
    ("dga.toml", include_str!("../../../rules/dga.toml")),
    ("dns_tunnel.toml", include_str!("../../../rules/dns_tunnel.toml")),
    ("protocol_anomaly.toml", include_str!("../../../rules/protocol_anomaly.toml")),
    ("slow_http.toml", include_str!("../../../rules/slow_http.toml")),
    ("evasion.toml", include_str!("../../../rules/evasion.toml")),
    ("icmp_tunnel.toml", include_str!("../../../rules/icmp_tunnel.toml")),
    ("snapshot.toml", include_str!("../../../rules/snapshot.toml")),
];

/// Most bytes of one rule file; the shipped ones are about a tenth of it.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Most rules in a set: each is looked at for every judgement.
pub const MAX_RULES: usize = 512;

/// Why rules could not be read or adjusted, with the place where one is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// File, or `None` for an override from the configuration.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, with a suggestion where there is one.
    pub message: String,
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// What configuration may change of a rule. What is not given stays.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleOverride {
    /// Whether the rule is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether the rule alone may cause a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_block: Option<bool>,
    /// Severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Confidence at the thresholds, from 0 to below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// New bounds by metric, of those the rule has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Bound>,
    /// New bounds by flow field, of those a flow-count rule has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub r#where: BTreeMap<String, Bound>,
}

/// Rules, in the order of their `sid`. At most [`MAX_RULES`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    home: Home,
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default, rename = "rule")]
    rules: Vec<toml::Spanned<Rule>>,
}

impl RuleSet {
    /// The shipped rules.
    ///
    /// # Panics
    ///
    /// If the rules this crate was built with are faulty, which a test rules out.
    #[must_use]
    pub fn builtin() -> Self {
        match Self::load(BUILTIN) {
            Ok(set) => set,
            Err(fault) => panic!("the embedded rules are faulty: {fault}"),
        }
    }

    /// The rules of `files`, given as name and text, and no others.
    ///
    /// # Errors
    ///
    /// The first fault, with file and line: bad syntax, unknown keys, metrics or flow fields, contradictory bounds,
    /// identifiers used twice, a file above [`MAX_FILE_BYTES`], more than [`MAX_RULES`] rules.
    pub fn load<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, RuleError> {
        let mut set = Self::default();
        set.extend(files)?;
        Ok(set)
    }

    /// Adds the rules of `files`, given as name and text. On an error the set is as before.
    ///
    /// # Errors
    ///
    /// As [`RuleSet::load`].
    pub fn extend<N: AsRef<str>, T: AsRef<str>>(&mut self, files: &[(N, T)]) -> Result<(), RuleError> {
        let mut rules = self.rules.clone();
        for (name, text) in files {
            read(name.as_ref(), text.as_ref(), &mut rules)?;
        }
        rules.sort_by_key(|r| r.sid);
        self.rules = rules;
        Ok(())
    }

    /// Applies changes from the configuration, by rule identifier. On an error the set is as before.
    ///
    /// # Errors
    ///
    /// Unknown rules, metrics or fields, metrics the rule does not use, and values a rule file could not have.
    pub fn apply(&mut self, overrides: &BTreeMap<String, RuleOverride>) -> Result<(), RuleError> {
        let mut rules = self.rules.clone();
        for (id, change) in overrides {
            let error = |message| RuleError { file: None, line: None, message };
            let Some(rule) = rules.iter_mut().find(|r| *r.id == **id) else {
                let known: Vec<&str> = self.rules.iter().map(|r| &*r.id).collect();
                return Err(error(names::unknown("rule", id, known.iter().copied())));
            };
            adjust(rule, change).map_err(|why| error(format!("rule `{id}`: {why}")))?;
        }
        self.rules = rules;
        Ok(())
    }

    /// What rules that tell inside from outside take for inside.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// As [`Self::home`], to add to.
    pub const fn home_mut(&mut self) -> &mut Home {
        &mut self.home
    }

    /// The rules, in the order of their `sid`.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule called `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| &*r.id == id)
    }

    /// The rules themselves.
    #[must_use]
    pub fn into_rules(self) -> Vec<Rule> {
        self.rules
    }

    /// The same rules, all in use.
    pub(crate) fn all_enabled(&self) -> Self {
        let rules = self.rules.iter().map(|r| Rule { enabled: true, ..r.clone() }).collect();
        Self { rules, home: self.home.clone() }
    }

    /// Runs every vector of every rule through a tracker and a detector, and says what did not come out as stated.
    /// Disabled rules are run as if enabled. A rule without a firing and a silent vector is a fault too.
    #[must_use]
    pub fn check(&self) -> Vec<VectorResult> {
        vector::check(self)
    }
}

/// How one vector came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VectorResult {
    /// Rule.
    pub rule: String,
    /// Vector; empty where the rule itself is at fault.
    pub vector: String,
    /// What happened instead of what was expected; `None` is good.
    pub failure: Option<String>,
}

fn read(file: &str, text: &str, rules: &mut Vec<Rule>) -> Result<(), RuleError> {
    let error = |at: Option<usize>, message: String| RuleError {
        file: Some(file.to_owned()),
        line: at.map(|at| line_of(text, at)),
        message,
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(error(None, format!("{} bytes; at most {MAX_FILE_BYTES} are read", text.len())));
    }
    let parsed: RuleFile =
        toml::from_str(text).map_err(|e| error(e.span().map(|s| s.start), suggest(e.message())))?;
    for spanned in parsed.rules {
        let at = Some(spanned.span().start);
        let rule = spanned.into_inner();
        if let Some(why) = rule.fault() {
            return Err(error(at, format!("rule `{}`: {why}", rule.id)));
        }
        if let Some(other) = rules.iter().find(|r| r.id == rule.id || r.sid == rule.sid) {
            let message =
                format!("rule `{}` (sid {}): rule `{}` has sid {}", rule.id, rule.sid, other.id, other.sid);
            return Err(error(at, message + "; identifiers and sids are used once"));
        }
        if rules.len() >= MAX_RULES {
            return Err(error(at, format!("more than {MAX_RULES} rules")));
        }
        rules.push(rule);
    }
    Ok(())
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&b| b == b'\n').count() + 1
}

/// Adds "did you mean" to the message about an unknown key or variant, which lists the known ones in back-quotes.
fn suggest(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((name, known)) if message.starts_with("unknown ") && !message.contains("did you mean") => {
            match names::closest(name, known.iter().copied()) {
                Some(near) => format!("{message}; did you mean `{near}`?"),
                None => message.to_owned(),
            }
        }
        _ => message.to_owned(),
    }
}

fn adjust(rule: &mut Rule, change: &RuleOverride) -> Result<(), String> {
    for (name, bound) in &change.when {
        let metric: Metric = name.parse()?;
        let used: Vec<&str> = rule.when.keys().map(|m| m.name()).collect();
        match rule.when.get_mut(&metric) {
            Some(old) => old.override_with(*bound),
            None => return Err(format!("it has no condition on `{name}`; it has {}", used.join(", "))),
        }
    }
    for (name, bound) in &change.r#where {
        let field: Field = name.parse()?;
        let filter = rule
            .flows
            .as_mut()
            .ok_or_else(|| "it does not count flows, so `where` means nothing".to_owned())?;
        let used: Vec<&str> = filter.r#where.keys().map(|f| f.name()).collect();
        match filter.r#where.get_mut(&field) {
            Some(old) => old.override_with(*bound),
            None => return Err(format!("it has no bound on `{name}`; it has {}", used.join(", "))),
        }
    }
    rule.enabled = change.enabled.unwrap_or(rule.enabled);
    rule.may_block = change.may_block.unwrap_or(rule.may_block);
    rule.severity = change.severity.unwrap_or(rule.severity);
    rule.confidence = change.confidence.unwrap_or(rule.confidence);
    rule.fault().map_or(Ok(()), Err)
}
