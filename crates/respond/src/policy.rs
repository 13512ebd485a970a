//! What an administrator may tune.

use crate::{Prefix, Ttl};
use detect::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decide and report, touch nothing.
    #[default]
    Shadow,
    /// Decide and block.
    Enforce,
}

impl Mode {
    /// The name as serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Enforce => "enforce",
        }
    }
}

/// How incidents become blocks.
///
/// Check one with [`Policy::validate`] before use; [`crate::Responder`] holds each value of an unchecked one within its
/// bounds rather than trust it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whether decisions are carried out (`enforce`) or only reported (`shadow`).
    pub mode: Mode,
    /// How long a first block lasts.
    pub ttl: Ttl,
    /// How long a block made by policy lasts at most; not below `ttl`. An operator's ban may last up to 30d.
    pub ttl_max: Ttl,
    /// Each further offence lasts this many times as long as the one before, up to `ttl_max`; 1 to 100.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub escalation: f64,
    /// How long after the end of its last block an offender counts as new again.
    pub forget_after: Ttl,
    /// Blocks in force at once, 1 to 65536. At the limit new ones are refused; those in force stay.
    #[schemars(range(min = 1, max = 65536))]
    pub max_blocks: u32,
    /// New blocks within any 60 s, 1 to 10000; counted apart for policy and for operators, so that an attack cannot use up
    /// an operator's.
    #[schemars(range(min = 1, max = 10000))]
    pub max_blocks_per_minute: u32,
    /// Incidents below this severity are reported and not blocked.
    pub min_severity: Severity,
    /// Incidents below this confidence are reported and not blocked; 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_confidence: f64,
    /// Share of the known-good clients of `known_good_window` that policy may block within that window; 0 to 1. Above 0 it
    /// always allows one, as a share of few clients would otherwise be none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_known_good_share: f64,
    /// How long a client that completed a session without incident counts as known good.
    pub known_good_window: Ttl,
    /// IPv6 prefix length that policy blocks: 128 (one address) or 64 (one network; narrowed to 128 where the network holds
    /// an allowlisted address, is link-local, or would hit more known-good clients than allowed).
    #[schemars(range(min = 64, max = 128))]
    pub ipv6_prefix: u8,
    /// Addresses and prefixes never blocked, beside those the agent finds by itself.
    pub allow: Vec<Prefix>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Shadow,
            ttl: Ttl::minutes(10),
            ttl_max: Ttl::minutes(24 * 60),
            escalation: 4.0,
            forget_after: Ttl::minutes(7 * 24 * 60),
            max_blocks: 10_000,
            max_blocks_per_minute: 120,
            min_severity: Severity::Low,
            min_confidence: 0.5,
            max_known_good_share: 0.1,
            known_good_window: Ttl::minutes(60),
            ipv6_prefix: 128,
            allow: Vec::new(),
        }
    }
}

/// Which value of a [`Policy`] is out of bounds.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// A number outside its range.
    #[error("{field} = {value} is outside {range}")]
    Range {
        /// Key.
        field: &'static str,
        /// As configured.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// `ttl_max` below `ttl`.
    #[error("ttl_max = {ttl_max} is shorter than ttl = {ttl}")]
    TtlOrder {
        /// As configured.
        ttl: Ttl,
        /// As configured.
        ttl_max: Ttl,
    },
    /// `ipv6_prefix` neither 64 nor 128.
    #[error("ipv6_prefix = {0} must be 64 or 128")]
    Ipv6Prefix(u8),
    /// An entry of `allow` of length 0.
    #[error("allow contains {0}, every address there is; to block nothing, use mode = \"shadow\"")]
    AllowsAll(Prefix),
    /// Too many entries in `allow`.
    #[error("allow has {0} entries, more than {MAX_STATIC_ALLOW}; merge neighbours into shorter prefixes")]
    AllowLength(usize),
}

/// Entries of [`Policy::allow`]: as many as the kernel's allowlist holds beside the automatic ones.
pub const MAX_STATIC_ALLOW: usize = 1024;
/// Upper bound of [`Policy::max_blocks`].
pub const MAX_BLOCKS: u32 = 65_536;
/// Upper bound of [`Policy::max_blocks_per_minute`].
pub const MAX_BLOCKS_PER_MINUTE: u32 = 10_000;
/// Upper bound of [`Policy::escalation`].
pub const MAX_ESCALATION: f64 = 100.0;

impl Policy {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// The first value found out of bounds, with the bound.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let number = |field, value: f64, min: f64, max: f64, range| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(PolicyError::Range { field, value, range })
            }
        };
        if self.ttl_max < self.ttl {
            return Err(PolicyError::TtlOrder { ttl: self.ttl, ttl_max: self.ttl_max });
        }
        number("escalation", self.escalation, 1.0, MAX_ESCALATION, "1 to 100")?;
        number("max_blocks", self.max_blocks.into(), 1.0, MAX_BLOCKS.into(), "1 to 65536")?;
        let per_minute = f64::from(self.max_blocks_per_minute);
        number("max_blocks_per_minute", per_minute, 1.0, MAX_BLOCKS_PER_MINUTE.into(), "1 to 10000")?;
        number("min_confidence", self.min_confidence, 0.0, 1.0, "0 to 1")?;
        number("max_known_good_share", self.max_known_good_share, 0.0, 1.0, "0 to 1")?;
        if !matches!(self.ipv6_prefix, 64 | 128) {
            return Err(PolicyError::Ipv6Prefix(self.ipv6_prefix));
        }
        if let Some(all) = self.allow.iter().find(|p| p.is_empty()) {
            return Err(PolicyError::AllowsAll(*all));
        }
        if self.allow.len() > MAX_STATIC_ALLOW {
            return Err(PolicyError::AllowLength(self.allow.len()));
        }
        Ok(())
    }

    /// The policy with every value moved to the nearest within its bounds, on the side of blocking less; the allowlist is
    /// kept whole.
    pub(crate) fn bounded(mut self) -> Self {
        let within = |v: f64, min: f64, max: f64, otherwise: f64| {
            if v.is_nan() { otherwise } else { v.clamp(min, max) }
        };
        self.ttl_max = self.ttl_max.max(self.ttl);
        self.escalation = within(self.escalation, 1.0, MAX_ESCALATION, 1.0);
        self.max_blocks = self.max_blocks.min(MAX_BLOCKS);
        self.max_blocks_per_minute = self.max_blocks_per_minute.min(MAX_BLOCKS_PER_MINUTE);
        self.min_confidence = within(self.min_confidence, 0.0, 1.0, 1.0);
        self.max_known_good_share = within(self.max_known_good_share, 0.0, 1.0, 0.0);
        if self.ipv6_prefix != 64 {
            self.ipv6_prefix = 128;
        }
        self
    }

    /// How long the `offence`th block of an offender lasts, ns; the first is 1.
    #[must_use]
    pub fn ttl_of(&self, offence: u32) -> Ttl {
        let steps = i32::try_from(offence.saturating_sub(1).min(1000)).unwrap_or(1000);
        // Infinity is fine here: the bound below holds it.
        let secs = self.ttl.secs() as f64 * self.escalation.powi(steps);
        let bounded = secs.min(self.ttl_max.secs() as f64) as u64;
        Ttl::from_secs(bounded.max(self.ttl.secs())).unwrap_or(self.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_shadow() {
        let p = Policy::default();
        assert_eq!(p.validate(), Ok(()));
        assert_eq!(p.mode, Mode::Shadow);
        assert_eq!(p.clone().bounded(), p);
        let json = serde_json::to_string(&p).expect("serialises");
        assert_eq!(serde_json::from_str::<Policy>(&json).expect("parses"), p);
        assert_eq!(serde_json::from_str::<Policy>("{}").expect("parses"), p);
    }

    #[test]
    fn bad_values_are_named() {
        let check = |json: &str, expected: &str| {
            let p: Policy = serde_json::from_str(json).expect("parses");
            assert_eq!(p.validate().expect_err(json).to_string(), expected);
        };
        check(r#"{"ttl": "2h", "ttl_max": "1h"}"#, "ttl_max = 1h is shorter than ttl = 2h");
        check(r#"{"escalation": 0.5}"#, "escalation = 0.5 is outside 1 to 100");
        check(r#"{"max_blocks": 0}"#, "max_blocks = 0 is outside 1 to 65536");
        check(r#"{"max_blocks_per_minute": 10001}"#, "max_blocks_per_minute = 10001 is outside 1 to 10000");
        check(r#"{"min_confidence": 1.5}"#, "min_confidence = 1.5 is outside 0 to 1");
        check(r#"{"max_known_good_share": -0.1}"#, "max_known_good_share = -0.1 is outside 0 to 1");
        check(r#"{"ipv6_prefix": 48}"#, "ipv6_prefix = 48 must be 64 or 128");
        check(
            r#"{"allow": ["10.0.0.0/8", "::/0"]}"#,
            "allow contains ::/0, every address there is; to block nothing, use mode = \"shadow\"",
        );
        let p = Policy { min_confidence: f64::NAN, ..Policy::default() };
        assert!(p.validate().is_err());
        let p = Policy {
            allow: vec!["10.0.0.1".parse().expect("prefix"); MAX_STATIC_ALLOW + 1],
            ..Policy::default()
        };
        assert_eq!(p.validate(), Err(PolicyError::AllowLength(MAX_STATIC_ALLOW + 1)));
    }

    #[test]
    fn parse_errors_name_the_key() {
        let check = |json: &str, part: &str| {
            let e = serde_json::from_str::<Policy>(json).expect_err(json).to_string();
            assert!(e.contains(part), "{e}");
        };
        check(r#"{"ttll": "1h"}"#, "unknown field `ttll`");
        check(r#"{"ttl": "1w"}"#, "'1w' is not a length of time such as 90s, 10m, 1h or 7d");
        check(r#"{"allow": ["10.0.0.0/33"]}"#, "prefix length 33 is more than 32");
        check(r#"{"mode": "on"}"#, "unknown variant `on`, expected `shadow` or `enforce`");
    }

    #[test]
    fn unchecked_values_are_bounded() {
        let p = Policy {
            escalation: f64::NAN,
            min_confidence: f64::NAN,
            max_known_good_share: f64::INFINITY,
            max_blocks: u32::MAX,
            max_blocks_per_minute: u32::MAX,
            ipv6_prefix: 0,
            ttl: Ttl::MAX,
            ttl_max: Ttl::MIN,
            ..Policy::default()
        }
        .bounded();
        assert_eq!(p.validate(), Ok(()));
        assert_eq!(p.ipv6_prefix, 128);
    }

    #[test]
    fn escalation() {
        let check = |escalation: f64, offence: u32, expected: &str| {
            let p = Policy { escalation, ..Policy::default() };
            assert_eq!(p.ttl_of(offence).to_string(), expected, "{escalation} {offence}");
        };
        check(4.0, 0, "10m");
        check(4.0, 1, "10m");
        check(4.0, 2, "40m");
        check(4.0, 3, "160m");
        check(4.0, 4, "640m");
        check(4.0, 5, "1d");
        check(100.0, u32::MAX, "1d");
        check(1.0, 50, "10m");
        check(1.5, 2, "15m");
    }

    #[test]
    fn schema_describes_every_key() {
        let schema = serde_json::to_value(schemars::schema_for!(Policy)).expect("serialises");
        let properties = schema["properties"].as_object().expect("object");
        let policy = serde_json::to_value(Policy::default()).expect("serialises");
        for key in policy.as_object().expect("object").keys() {
            let description = properties.get(key).and_then(|p| p["description"].as_str());
            assert!(description.is_some_and(|d| !d.is_empty()), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }
}
