//! STIX 2.1 bundles, and the envelopes of TAXII: indicators of addresses that hold at the moment.

use super::pattern;
use super::{ListError, Parsed, Skips};
use crate::Prefix;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Indicators of one bundle; beyond, further ones are left out and counted. As many as a table has prefixes.
const MAX_INDICATORS: usize = crate::table::MAX_PREFIXES;

/// The properties of an object that matter here (STIX 2.1 §4.7). Values, because a wrong type in an object of another kind
/// must not spoil the bundle.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    r#type: Value,
    id: Value,
    name: Value,
    pattern: Value,
    pattern_type: Value,
    modified: Value,
    valid_from: Value,
    valid_until: Value,
    revoked: Value,
    confidence: Value,
}

/// The latest version of an indicator.
#[derive(Debug)]
struct Indicator {
    at: u64,
    modified: i64,
    what: Result<Named, String>,
}

#[derive(Debug)]
struct Named {
    prefixes: Vec<Prefix>,
    name: Option<String>,
    strength: u8,
    from_s: i64,
    until_s: i64,
}

/// Seconds since 1970 of a timestamp (RFC 3339).
fn seconds(value: &Value) -> Option<i64> {
    value.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

impl Object {
    /// What it says, or why nothing of it is taken.
    fn named(&self) -> Result<Named, String> {
        if self.revoked == Value::Bool(true) {
            return Err("revoked".to_owned());
        }
        // Bundles of STIX 2.0 have no pattern type; theirs is STIX.
        if !matches!(self.pattern_type.as_str(), None | Some("stix")) {
            return Err("a pattern of another language than STIX".to_owned());
        }
        let pattern = self.pattern.as_str().ok_or("no pattern")?;
        let prefixes = pattern::addresses(pattern).ok_or("a pattern that is not understood")?;
        if prefixes.is_empty() {
            return Err("no address that alone fulfils the pattern".to_owned());
        }
        let time = |value: &Value, name: &str, absent: i64| match value {
            Value::Null => Ok(absent),
            v => seconds(v).ok_or_else(|| format!("{name} is no time")),
        };
        // STIX 2.1 §3.2: confidence is 0 to 100, and its absence says nothing against the indicator.
        let strength = self.confidence.as_u64().map_or(100, |c| u8::try_from(c.min(100)).unwrap_or(100));
        Ok(Named {
            prefixes,
            name: self.name.as_str().map(str::to_owned),
            strength,
            from_s: time(&self.valid_from, "valid_from", i64::MIN)?,
            until_s: time(&self.valid_until, "valid_until", i64::MAX)?,
        })
    }
}

/// Takes the objects of a bundle one by one.
#[derive(Debug, Default)]
struct Objects {
    seen: u64,
    indicators: BTreeMap<String, Indicator>,
    skips: Skips,
    found: bool,
}

impl Objects {
    fn take(&mut self, object: &Object) {
        self.seen += 1;
        if object.r#type != "indicator" {
            return;
        }
        if self.indicators.len() >= MAX_INDICATORS {
            self.skips.note(self.seen, format_args!("more than {MAX_INDICATORS} indicators"));
            return;
        }
        let id = object.id.as_str().map_or_else(|| format!("object {}", self.seen), str::to_owned);
        let modified = seconds(&object.modified).unwrap_or(i64::MIN);
        // Versions of one object share its id, and the latest holds (STIX 2.1 §3.6).
        if self.indicators.get(&id).is_some_and(|known| known.modified > modified) {
            return;
        }
        self.indicators.insert(id, Indicator { at: self.seen, modified, what: object.named() });
    }
}

impl<'de> DeserializeSeed<'de> for &mut Objects {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Objects {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bundle")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "objects" {
                self.found = true;
                map.next_value_seed(Sequence(self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Sequence<'o>(&'o mut Objects);

impl<'de> DeserializeSeed<'de> for Sequence<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Sequence<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(object) = seq.next_element::<Object>()? {
            self.0.take(&object);
        }
        Ok(())
    }
}

pub(super) fn parse(bytes: &[u8], now_s: u64) -> Result<Parsed, ListError> {
    let wrong = |why: String| ListError::Json { what: "a STIX bundle", why };
    let mut objects = Objects::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    objects.deserialize(&mut json).and_then(|()| json.end()).map_err(|e| wrong(e.to_string()))?;
    if !objects.found {
        return Err(wrong("it has no objects".to_owned()));
    }
    let now = i64::try_from(now_s).unwrap_or(i64::MAX);
    let mut parsed = Parsed { skips: objects.skips, ..Parsed::default() };
    let mut indicators: Vec<Indicator> = objects.indicators.into_values().collect();
    indicators.sort_by_key(|i| i.at);
    for indicator in indicators {
        match indicator.what {
            Err(why) => parsed.skips.note(indicator.at, why),
            Ok(named) if named.until_s <= now => parsed.skips.note(indicator.at, "no longer valid"),
            Ok(named) if named.from_s > now => {
                parsed.changes_at(u64::try_from(named.from_s).unwrap_or(0));
                parsed.skips.note(indicator.at, "not valid yet");
            }
            Ok(named) => {
                if named.until_s != i64::MAX {
                    parsed.changes_at(u64::try_from(named.until_s).unwrap_or(0));
                }
                for prefix in named.prefixes {
                    parsed.add(indicator.at, Ok(prefix), named.strength, named.name.as_deref());
                }
            }
        }
    }
    parsed.finished()
}
