//! A number as a user wrote it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Any YAML number. So a number out of range is a wrong *value*, reported with all others, and not an error of the YAML
/// reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// A number with decimals, or beyond 64 bits.
    Real(f64),
}

impl Number {
    /// Returns the number, if it is whole and at least 0.
    pub fn to_u64(self) -> Option<u64> {
        match self {
            Self::Whole(n) => u64::try_from(n).ok(),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: whole and in range"
            )]
            Self::Real(r) if r.fract() == 0.0 && (0.0..9e15).contains(&r) => Some(r as u64),
            Self::Real(_) => None,
        }
    }

    /// Returns the number as floating point.
    #[allow(clippy::cast_precision_loss, reason = "only compared and multiplied as a size")]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Real(r) => r,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(r) => write!(f, "{r}"),
        }
    }
}

/// In JSON Schema, whole numbers are numbers, too.
impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(n) => to.serialize_i64(*n),
            Self::Real(r) => to.serialize_f64(*r),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

#[allow(clippy::cast_precision_loss, reason = "beyond 64 bits it is out of every range anyway")]
impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Number, E> {
        Ok(Number::Whole(n))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
        Ok(i64::try_from(n).map_or(Number::Real(n as f64), Number::Whole))
    }

    fn visit_i128<E: de::Error>(self, n: i128) -> Result<Number, E> {
        Ok(i64::try_from(n).map_or(Number::Real(n as f64), Number::Whole))
    }

    fn visit_u128<E: de::Error>(self, n: u128) -> Result<Number, E> {
        Ok(i64::try_from(n).map_or(Number::Real(n as f64), Number::Whole))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Number, E> {
        Ok(Number::Real(n))
    }
}
