//! Decisions of CrowdSec's local API: the answers of `GET /v1/decisions/stream`.
//!
//! The first answer (`startup=true`) names every decision in force, each later one what was added and deleted since. What is
//! kept ends by itself when its duration is over, as the API does not always tell of that.

use super::{ListError, Parsed, Skips};
use crate::Prefix;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// Decisions kept; beyond, further ones are left out and counted.
const MAX_DECISIONS: usize = crate::table::MAX_PREFIXES;

#[derive(Debug, Deserialize)]
struct Stream {
    #[serde(default)]
    new: Option<Vec<Decision>>,
    #[serde(default)]
    deleted: Option<Vec<Decision>>,
}

/// A decision, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Decision {
    id: Option<u64>,
    duration: Option<String>,
    scenario: Option<String>,
    scope: Option<String>,
    r#type: Option<String>,
    value: Option<String>,
}

#[derive(Clone, Debug)]
struct Kept {
    prefix: Prefix,
    strength: u8,
    scenario: Option<String>,
    until_s: u64,
}

/// Decisions in force.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// By identifier; those without one get numbers from the top.
    kept: BTreeMap<u64, Kept>,
    nameless: u64,
    skips: Skips,
}

/// Seconds of a duration as Go writes it, such as `3h59m49.5s` or `-1m2s` (0, as it is over).
fn duration_s(text: &str) -> Option<u64> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |r| (true, r));
    let mut seconds = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        parts += 1;
        rest = next;
    }
    if parts == 0 || !(0.0..1e12).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    Some(if negative { 0 } else { seconds.ceil() as u64 })
}

impl Decision {
    fn prefix(&self) -> Result<Prefix, String> {
        // Decisions about countries and networks as a whole exist; neither is ever held against an address here.
        let scope = self.scope.as_deref().unwrap_or("");
        if !["ip", "range"].iter().any(|s| scope.eq_ignore_ascii_case(s)) {
            return Err(format!(
                "scope '{}' is not about addresses",
                scope.chars().take(40).collect::<String>()
            ));
        }
        let value = self.value.as_deref().unwrap_or("");
        Prefix::parse(value).and_then(Prefix::listable).map_err(|e| e.to_string())
    }

    /// How sure the API is, percent: a ban is its full word, a captcha asks, anything else is between.
    fn strength(&self) -> u8 {
        match self.r#type.as_deref() {
            Some(t) if t.eq_ignore_ascii_case("ban") => 100,
            Some(t) if t.eq_ignore_ascii_case("captcha") => 60,
            _ => 50,
        }
    }
}

impl Decisions {
    /// Takes an answer: all decisions there are (`all`), or what changed. Whether there was anything to change.
    ///
    /// # Errors
    /// Where it is no such answer; nothing has changed then.
    pub fn apply(&mut self, bytes: &[u8], all: bool, now_s: u64) -> Result<bool, ListError> {
        let stream: Stream = serde_json::from_slice(bytes)
            .map_err(|e| ListError::Json { what: "a stream of decisions", why: e.to_string() })?;
        let changes = |list: &Option<Vec<Decision>>| list.as_ref().is_some_and(|l| !l.is_empty());
        let changed = all || changes(&stream.new) || changes(&stream.deleted);
        if all {
            self.kept.clear();
            self.nameless = 0;
            self.skips = Skips::default();
        }
        // A decision the API has known under another identifier ends by its address; all such in one pass.
        let mut gone = HashSet::new();
        for decision in stream.deleted.unwrap_or_default() {
            let known = decision.id.and_then(|id| self.kept.remove(&id));
            if known.is_none()
                && let Ok(prefix) = decision.prefix()
            {
                gone.insert(prefix);
            }
        }
        if !gone.is_empty() {
            self.kept.retain(|_, k| !gone.contains(&k.prefix));
        }
        for (at, new) in (1..).zip(stream.new.unwrap_or_default()) {
            let until = new.duration.as_deref().and_then(duration_s);
            match (new.prefix(), until) {
                (Err(why), _) => self.skips.note(at, why),
                (_, None) => self.skips.note(at, "a duration that is not understood"),
                _ if self.kept.len() >= MAX_DECISIONS => {
                    self.skips.note(at, format_args!("more than {MAX_DECISIONS} decisions"));
                }
                (Ok(prefix), Some(seconds)) => {
                    let id = new.id.unwrap_or_else(|| {
                        self.nameless += 1;
                        u64::MAX - self.nameless
                    });
                    let kept = Kept {
                        prefix,
                        strength: new.strength(),
                        scenario: new.scenario,
                        until_s: now_s.saturating_add(seconds),
                    };
                    self.kept.insert(id, kept);
                }
            }
        }
        Ok(changed)
    }

    /// What they say at the moment; what has ended is forgotten.
    pub fn parsed(&mut self, now_s: u64) -> Parsed {
        self.kept.retain(|_, k| k.until_s > now_s);
        let mut parsed = Parsed { skips: self.skips.clone(), ..Parsed::default() };
        for kept in self.kept.values() {
            parsed.changes_at(kept.until_s);
            parsed.add(0, Ok(kept.prefix), kept.strength, kept.scenario.as_deref());
        }
        parsed.prefixes.finish();
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, seconds) in [
            ("3h59m49.5s", Some(14_390)),
            ("1h", Some(3600)),
            ("250ms", Some(1)),
            ("87m3.2s", Some(5224)),
            ("1µs", Some(1)),
            ("-1m2s", Some(0)),
            ("", None),
            ("5", None),
            ("h", None),
            ("1d", None),
            ("1e300h", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(duration_s(text), seconds, "{text}");
        }
    }
}
