//! Lengths of time as people write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A length of time in whole seconds, 1 s to 30 d, written `90s`, `10m`, `1h`, `7d` or as a bare number of seconds.
///
/// Bounded on both sides so that nothing configured by it is instant or for ever: every block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u64);

/// Why a text or number is not a [`Ttl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Not a number with an optional unit.
    #[error("'{0}' is not a length of time such as 90s, 10m, 1h or 7d")]
    Syntax(String),
    /// Outside [`Ttl::MIN`]..=[`Ttl::MAX`].
    #[error("'{0}' is outside 1s to 30d")]
    Range(String),
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
const NS: u64 = 1_000_000_000;

impl Ttl {
    /// One second.
    pub const MIN: Self = Self(1);
    /// Thirty days.
    pub const MAX: Self = Self(30 * 86_400);

    /// A length of `secs` seconds.
    ///
    /// # Errors
    /// [`TtlError::Range`] outside [`Ttl::MIN`]..=[`Ttl::MAX`].
    pub fn from_secs(secs: u64) -> Result<Self, TtlError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&secs) {
            Ok(Self(secs))
        } else {
            Err(TtlError::Range(secs.to_string()))
        }
    }

    /// A length of `minutes`, held within the bounds.
    pub(crate) const fn minutes(minutes: u64) -> Self {
        let secs = minutes.saturating_mul(60);
        Self(if secs < Self::MIN.0 {
            Self::MIN.0
        } else if secs > Self::MAX.0 {
            Self::MAX.0
        } else {
            secs
        })
    }

    /// Seconds.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0 * NS
    }
}

impl FromStr for Ttl {
    type Err = TtlError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let text = s.trim();
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(c, secs)| text.strip_suffix(*c).map(|rest| (rest, *secs)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TtlError::Syntax(s.to_owned()));
        }
        // Only too many digits can fail here.
        let range = || TtlError::Range(s.to_owned());
        let count: u64 = digits.parse().map_err(|_| range())?;
        Self::from_secs(count.checked_mul(unit).ok_or_else(range)?).map_err(|_| range())
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, secs) =
            UNITS.into_iter().find(|(_, secs)| self.0.is_multiple_of(*secs)).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / secs)
    }
}

impl Serialize for Ttl {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Ttl;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"10m\", or a number of seconds")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Ttl, E> {
                v.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Ttl, E> {
                Ttl::from_secs(v).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Ttl, E> {
                u64::try_from(v)
                    .map_err(|_| TtlError::Range(v.to_string()))
                    .and_then(Ttl::from_secs)
                    .map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for Ttl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ttl".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Length of time, 1s to 30d: a number with s, m, h or d, or a number of seconds",
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]+[smhd]?$"},
                {"type": "integer", "minimum": Ttl::MIN.0, "maximum": Ttl::MAX.0}
            ]
        })
    }
}

/// `ns` as people write it, rounded down to the unit that leaves two digits of it at most; for sentences, not for data.
pub(crate) fn rough(ns: u64) -> String {
    let secs = ns / NS;
    match secs {
        0..=119 => format!("{secs}s"),
        120..=7199 => format!("{}m", secs / 60),
        7200..=172_799 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let check = |text: &str, expected: Result<u64, &str>| {
            let got = text.parse::<Ttl>().map(Ttl::secs).map_err(|e| e.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        };
        check("90s", Ok(90));
        check("10m", Ok(600));
        check("1h", Ok(3600));
        check("7d", Ok(604_800));
        check("30d", Ok(2_592_000));
        check("45", Ok(45));
        check(" 5m ", Ok(300));
        check("0s", Err("'0s' is outside 1s to 30d"));
        check("31d", Err("'31d' is outside 1s to 30d"));
        check("99999999999999999999999d", Err("'99999999999999999999999d' is outside 1s to 30d"));
        check("18446744073709551615d", Err("'18446744073709551615d' is outside 1s to 30d"));
        for bad in ["", "s", "m", "-1s", "+1s", "1.5h", "1 h", "1w", "ten minutes", "1hh", "١s"] {
            assert!(matches!(bad.parse::<Ttl>(), Err(TtlError::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn display_parses_back() {
        for (secs, text) in
            [(1, "1s"), (59, "59s"), (60, "1m"), (90, "90s"), (5400, "90m"), (86_400, "1d"), (90_000, "25h")]
        {
            let ttl = Ttl::from_secs(secs).expect("in range");
            assert_eq!(ttl.to_string(), text);
            assert_eq!(text.parse(), Ok(ttl));
        }
    }

    #[test]
    fn json_forms() {
        let check = |json: &str, expected: Option<u64>| {
            assert_eq!(serde_json::from_str::<Ttl>(json).ok().map(Ttl::secs), expected, "{json}");
        };
        check("\"10m\"", Some(600));
        check("600", Some(600));
        check("0", None);
        check("-5", None);
        check("1.5", None);
        check("true", None);
        check("2592001", None);
        assert_eq!(serde_json::to_string(&Ttl::minutes(10)).expect("serialises"), "\"10m\"");
    }

    #[test]
    fn rough_words() {
        for (secs, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")] {
            assert_eq!(rough(secs * NS), text);
        }
    }
}
