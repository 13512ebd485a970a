//! Bounds on observed quantities: the only comparison rules make.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition on one number. Both sides, where given, must hold; at least one must be given.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Holds from this value up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Holds up to this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

impl Bound {
    /// Whether `value` satisfies the bound. A number that cannot be computed satisfies none.
    #[must_use]
    pub fn holds(&self, value: Option<f64>) -> bool {
        match value {
            Some(v) => self.at_least.is_none_or(|t| v >= t) && self.at_most.is_none_or(|t| v <= t),
            None => false,
        }
    }

    /// Takes over what `change` states and keeps the rest.
    pub(crate) fn override_with(&mut self, change: Self) {
        self.at_least = change.at_least.or(self.at_least);
        self.at_most = change.at_most.or(self.at_most);
    }

    /// Why the bound cannot be used, if it cannot.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let sides = [self.at_least, self.at_most];
        if sides.iter().flatten().any(|v| !v.is_finite() || *v < 0.0) {
            return Some("bounds are finite and not negative");
        }
        match sides {
            [None, None] => Some("neither `at_least` nor `at_most` is given"),
            [Some(low), Some(high)] if low > high => {
                Some("`at_least` is above `at_most`: nothing can satisfy both")
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(low), Some(high)) => write!(f, "from {low} to {high}"),
            (Some(low), None) => write!(f, "at least {low}"),
            (None, Some(high)) => write!(f, "at most {high}"),
            (None, None) => f.write_str("unbounded"),
        }
    }
}
