//! Numbers from outside, checked as they are read.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// Largest number taken: more bytes a second than any network carries, and exact as a `f64`.
pub const LARGEST: f64 = 1e15;

fn number<'de, D: Deserializer<'de>>(from: D, what: &'static str) -> Result<f64, D::Error> {
    // JSON has no NaN; what overflows a `f64` is refused by the reader of JSON.
    let value = f64::deserialize(from)?;
    if (0.0..=LARGEST).contains(&value) {
        return Ok(value);
    }
    Err(D::Error::invalid_value(Unexpected::Float(value), &what))
}

/// A number from 0 to [`LARGEST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Amount(pub f64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number(from, "a number from 0 to 1e15").map(Self)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": LARGEST })
    }
}

/// A whole number from 0 to [`LARGEST`]; `5.0` is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Count(pub f64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let what = "a whole number from 0 to 1e15";
        let value = number(from, what)?;
        if value.fract() == 0.0 {
            return Ok(Self(value));
        }
        Err(D::Error::invalid_value(Unexpected::Float(value), &what))
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": LARGEST })
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(from)?;
        if (0.0..=1.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(D::Error::invalid_value(Unexpected::Float(value), &"a number from 0 to 1"))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}
