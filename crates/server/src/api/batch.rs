//! What sensors post to have it judged by learned models, and what they are told.
//!
//! A batch is read straight into these types, never into a tree of values first: it is the one large body of this API. What it
//! may hold is bounded by constants here, and every number is checked as it is read.

use super::body::{Reading, address};
use detect::learned::evidence::Grade;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// Bytes of a batch: twice what the largest one with values of usual length has.
pub const MAX_BYTES: usize = 1 << 20;
/// Flows of a batch.
pub const MAX_FLOWS: usize = 500;
/// Windows of sources of a batch.
pub const MAX_WINDOWS: usize = 100;
/// Features of a flow: more than there are (docs/features.md).
pub const MAX_FEATURES: usize = 256;
/// Windows of one source in a row.
pub const MAX_SEQUENCE: usize = 6;
/// Quantities of a window.
pub const MAX_QUANTITIES: usize = 64;
/// Findings of an answer; further ones are counted.
pub const MAX_FINDINGS: usize = 256;
/// Characters of a name or a word.
pub const LONGEST_NAME: usize = 64;
/// Largest value of a feature of a flow.
const LARGEST: f64 = 1e15;
/// Largest value of a quantity of a window, which is a logarithm or a ratio.
const LARGEST_SCALED: f64 = 64.0;
/// Latest time, s since 1970: the year 2100.
const LATEST: f64 = 4_102_444_800.0;

/// A time, s since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    /// Of ns.
    #[must_use]
    pub const fn of(ns: u64) -> Self {
        Self(ns as f64 / 1e9)
    }

    /// In ns.
    #[must_use]
    pub const fn ns(self) -> u64 {
        (self.0 * 1e9) as u64
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(from)?;
        if (0.0..=LATEST).contains(&value) {
            return Ok(Self(value));
        }
        Err(D::Error::invalid_value(Unexpected::Float(value), &"seconds from 1970 to 2100"))
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": LATEST })
    }
}

/// A value of a feature of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not known.
    Absent,
    /// A number from 0 to 1e15.
    Number(f32),
    /// A word.
    Word(Box<str>),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => to.serialize_none(),
            Self::Number(value) => to.serialize_f32(*value),
            Self::Word(word) => to.serialize_str(word),
        }
    }
}

struct Cells;

impl Visitor<'_> for Cells {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1e15, a word of at most 64 characters, or null")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Cell, E> {
        if (0.0..=LARGEST).contains(&value) {
            return Ok(Cell::Number(value as f32));
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cell, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cell, E> {
        self.visit_f64(value as f64)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Cell, E> {
        if word.chars().count() <= LONGEST_NAME {
            return Ok(Cell::Word(word.into()));
        }
        Err(E::invalid_length(word.len(), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Absent)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Cells)
    }
}

impl JsonSchema for Cell {
    fn schema_name() -> Cow<'static, str> {
        "Cell".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value of a feature: a number, a word, or null where it cannot be known",
            "anyOf": [{ "type": "number", "minimum": 0, "maximum": LARGEST },
                      { "type": "string", "maxLength": LONGEST_NAME }, { "type": "null" }]
        })
    }
}

/// A quantity of a window as models see it; NaN is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled(pub f32);

impl Serialize for Scaled {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { to.serialize_f32(self.0) } else { to.serialize_none() }
    }
}

impl<'de> Deserialize<'de> for Scaled {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Some(value) = Option::<f64>::deserialize(from)? else { return Ok(Self(f32::NAN)) };
        if (0.0..=LARGEST_SCALED).contains(&value) {
            return Ok(Self(value as f32));
        }
        Err(D::Error::invalid_value(Unexpected::Float(value), &"a number from 0 to 64, or null"))
    }
}

impl JsonSchema for Scaled {
    fn schema_name() -> Cow<'static, str> {
        "Scaled".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "number", "minimum": 0, "maximum": LARGEST_SCALED }, { "type": "null" }] })
    }
}

/// A whole number; to JSON Schema, `5.0` is one.
fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    let value = f64::deserialize(from)?;
    let fits = value.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&value);
    let whole = if fits { T::try_from(value as u64).ok() } else { None };
    whole.ok_or_else(|| D::Error::invalid_value(Unexpected::Float(value), &"a whole number in its range"))
}

/// Between whom a flow was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// Who began it.
    #[schemars(schema_with = "address")]
    pub source_ip: IpAddr,
    /// Its port, or of ICMP the type and code that make one.
    #[serde(deserialize_with = "whole")]
    pub source_port: u16,
    /// With whom.
    #[schemars(schema_with = "address")]
    pub target_ip: IpAddr,
    /// Its port.
    #[serde(deserialize_with = "whole")]
    pub target_port: u16,
    /// IP protocol number.
    #[serde(deserialize_with = "whole")]
    pub protocol: u8,
}

/// A flow that ended or has grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowBody {
    /// When it ended or had grown.
    pub at: Seconds,
    /// When it began.
    pub since: Seconds,
    /// Between whom.
    pub ends: Ends,
    /// Its features, one for each name in `features`.
    #[schemars(length(min = 1, max = 256))]
    pub values: Vec<Cell>,
}

/// A window of 10 s of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowBody {
    /// When it was over.
    pub at: Seconds,
    /// When it began.
    pub since: Seconds,
    /// The source.
    #[schemars(schema_with = "address")]
    pub source_ip: IpAddr,
    /// It and those before it, the latest last: quantities as docs/learning-ensemble.md lists them, logarithms taken.
    #[schemars(length(min = 1, max = 6), inner(length(min = 1, max = 64)))]
    pub windows: Vec<Vec<Scaled>>,
    /// The flow that the source was seen with last, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Ends>,
}

/// What a sensor posts at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Name of the sensor.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._\-]{1,64}$"))]
    pub sensor: String,
    /// Identifier of this run of the sensor, random.
    #[schemars(regex(pattern = r"^[0-9a-f]{16}$"))]
    pub run: String,
    /// Number of the batch in this run, from 1. A batch that comes again is not judged again.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    pub number: u64,
    /// When everything before it was told.
    pub time: Seconds,
    /// What the features are: a hash over their names and definitions.
    #[schemars(regex(pattern = r"^[0-9a-f]{16}$"))]
    pub schema: String,
    /// Names of features, as docs/features.md lists them.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 64)), extend("uniqueItems" = true))]
    pub features: Vec<String>,
    /// Flows.
    #[schemars(length(max = 500))]
    pub flows: Vec<FlowBody>,
    /// Windows of sources.
    #[schemars(length(max = 100))]
    pub windows: Vec<WindowBody>,
}

fn is_hex(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a sensor may have this name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Batch {
    /// Checks what types do not: lengths and forms.
    ///
    /// # Errors
    /// The field, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let count = |name: &str, n: usize, least: usize, most: usize| {
            if (least..=most).contains(&n) {
                return Ok(());
            }
            Err(format!("`{name}` has {n} items, not {least} to {most}"))
        };
        if !is_name(&self.sensor) {
            return Err("`sensor` is not 1 to 64 letters, digits and .-_".into());
        }
        for (name, text) in [("run", &self.run), ("schema", &self.schema)] {
            if !is_hex(text) {
                return Err(format!("`{name}` is not 16 lower-case hexadecimal digits"));
            }
        }
        if !(1..=9_007_199_254_740_991).contains(&self.number) {
            return Err("`number` is not between 1 and 2^53".into());
        }
        count("features", self.features.len(), 1, MAX_FEATURES)?;
        for (i, name) in self.features.iter().enumerate() {
            if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
                return Err("`features` has a name that is not 1 to 64 characters long".into());
            }
            if self.features.iter().take(i).any(|other| other == name) {
                return Err("`features` has a name twice".into());
            }
        }
        count("flows", self.flows.len(), 0, MAX_FLOWS)?;
        count("windows", self.windows.len(), 0, MAX_WINDOWS)?;
        for flow in &self.flows {
            count("values", flow.values.len(), 1, MAX_FEATURES)?;
        }
        for window in &self.windows {
            count("windows", window.windows.len(), 1, MAX_SEQUENCE)?;
            for one in &window.windows {
                count("windows", one.len(), 1, MAX_QUANTITIES)?;
            }
        }
        Ok(())
    }
}

/// Which kind of model found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finder {
    /// The classifier of flows.
    Flows,
    /// The ensemble that knows windows.
    Windows,
}

/// A feature that had to do with a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Its name.
    pub feature: String,
    /// What was observed.
    pub observed: f64,
    /// What is usual.
    pub usual: f64,
    /// Its share in the judgement, 0 to 1.
    pub contribution: f64,
}

/// What was found of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingBody {
    /// Which kind of model found it.
    pub finder: Finder,
    /// The source.
    #[schemars(schema_with = "address")]
    pub source_ip: IpAddr,
    /// Class of threat; `anomaly` where it is like nothing known.
    pub threat_type: String,
    /// How far the evidence exceeds what the budget of false alarms allows.
    pub grade: Grade,
    /// How sure, from 0 to 1.
    pub confidence: f64,
    /// Of windows: what the two models say together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Reading>,
    /// Beginning of what was judged.
    pub since: Seconds,
    /// When it was judged, by the sensor's clock.
    pub at: Seconds,
    /// Whom it hits, where it is one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ip: Option<IpAddr>,
    /// Port it is aimed at, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Community ID of a flow it was seen in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// Features that had most to do with it.
    pub reasons: Vec<Reason>,
    /// Why, in words.
    pub explanation: String,
}

/// The answer of `POST /detect/flows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchAnswer {
    /// Version of the models that judged.
    pub model_version: String,
    /// Flows judged.
    pub flows: u64,
    /// Windows judged.
    pub windows: u64,
    /// Whether the batch had been judged before, and this is what was answered then.
    pub repeated: bool,
    /// What was found, at most 256.
    pub findings: Vec<FindingBody>,
    /// Findings left out because there were more.
    pub omitted: u64,
}
