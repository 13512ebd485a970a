//! Features of an ended flow: one table, from which code, column names and documentation come.
//!
//! A feature is a function of the flow's record and of what it shares with the connections that ended last. What cannot
//! be known of a flow is absent, not zero: the mean gap of one packet, the window of a datagram, the TTL of a side that
//! never answered. Where a data set writes 0 for such, a reader can put it back; the reverse is impossible.

mod cicids;
mod docs;
mod statistic;
mod unsw;

pub use docs::markdown;

use crate::FlowRecord;
use crate::recent::Shared;

/// A value of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A word of a closed set.
    Text(&'static str),
    /// A count, or an amount in whole units.
    Integer(u64),
    /// A measure; finite.
    Real(f64),
}

/// Which values a feature has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Text`]
    Text,
    /// [`Value::Integer`]
    Integer,
    /// [`Value::Real`]
    Real,
}

/// Where a feature's name and definition come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Set {
    /// UNSW-NB15: Moustafa and Slay 2015, with Argus and Zeek as its sources.
    Unsw,
    /// CICIDS2017: CICFlowMeter as corrected by Engelen, Rimmer and Joosen 2021.
    Cicids,
}

impl Set {
    /// Every set, in the order of columns.
    pub const ALL: [Self; 2] = [Self::Unsw, Self::Cicids];

    /// The features of the set, in the order of the data set's columns.
    #[must_use]
    pub const fn features(self) -> &'static [Feature] {
        match self {
            Self::Unsw => unsw::FEATURES,
            Self::Cicids => cicids::FEATURES,
        }
    }
}

/// A flow that ended.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The flow.
    pub record: &'a FlowRecord,
    /// What it shares with recent ones, see [`crate::Recent::push`].
    pub shared: Shared,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The data set's name for it.
    pub name: &'static str,
    /// Unit; empty for words.
    pub unit: &'static str,
    /// Which values it has.
    pub kind: Kind,
    /// How it is computed, and when it is absent.
    pub formula: &'static str,
    /// Where it differs from the data set's; empty where it does not.
    pub limit: &'static str,
    of: fn(&Subject<'_>) -> Option<Value>,
    number: fn(&Subject<'_>) -> f32,
}

impl Feature {
    /// The value for a flow; `None` where it cannot be known.
    #[must_use]
    pub fn of(&self, subject: &Subject<'_>) -> Option<Value> {
        (self.of)(subject).filter(|v| !matches!(v, Value::Real(x) if !x.is_finite()))
    }

    /// The same as a number, as models take it: NaN for words, and where it cannot be known. Takes half the time.
    #[must_use]
    pub fn number(&self, subject: &Subject<'_>) -> f32 {
        (self.number)(subject)
    }
}

/// Builds a table of [`Feature`]s: `kind "name" "unit" "formula" ["limit"] |subject| value;`, the value an `Option` of
/// what `Kind` holds.
macro_rules! features {
    ($($kind:ident $name:literal $unit:literal $formula:literal [$($limit:literal)?] $value:expr;)*) => {
        pub(super) const FEATURES: &[Feature] = &[$(Feature {
            name: $name,
            unit: $unit,
            kind: Kind::$kind,
            formula: $formula,
            limit: concat!($($limit)?),
            of: |s| {
                let value: fn(&Subject<'_>) -> Option<features!(@type $kind)> = $value;
                value(s).map(Value::$kind)
            },
            number: |s| {
                let value: fn(&Subject<'_>) -> Option<features!(@type $kind)> = $value;
                value(s).map_or(f32::NAN, features!(@number $kind))
            },
        }),*];
    };
    (@number Text) => { |_: &str| f32::NAN };
    (@number Integer) => { |n: u64| n as f32 };
    (@number Real) => { |x: f64| if x.is_finite() { x as f32 } else { f32::NAN } };
    (@type Text) => { &'static str };
    (@type Integer) => { u64 };
    (@type Real) => { f64 };
}
use features;
