//! Values of a table.

use serde::{Deserialize, Serialize};

/// Type of a column. A column read from CSV has the first of these that every value in it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole number of 64 bits with sign, without leading zeros.
    Integer,
    /// A number of double precision; `NaN`, `inf` and `Infinity` in any case, with sign, are numbers too.
    Real,
    /// A point in time, RFC 3339 or `YYYY-MM-DD hh:mm:ss[.f]` in UTC.
    Time,
    /// Anything.
    Text,
}

impl Kind {
    /// The name, as in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Time => "time",
            Self::Text => "text",
        }
    }
}

/// A value. An absent one is no cell: an empty field in CSV, null in Parquet.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nanoseconds since 1970.
    Time(u64),
    /// A text, or in CSV a value as it stands in the file.
    Text(String),
    /// A word of a closed set.
    Word(&'static str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
}

/// The values of a row, in the order of the columns.
pub type Row = Vec<Option<Cell>>;

impl Cell {
    /// The value as CSV has it. Numbers are the shortest that read back the same.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Time(ns) => rfc3339(*ns),
            Self::Text(t) => t.clone(),
            Self::Word(w) => (*w).to_owned(),
            Self::Integer(n) => n.to_string(),
            Self::Real(x) => x.to_string(),
        }
    }

    /// The text of a text or a word.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(t) => Some(t),
            Self::Word(w) => Some(w),
            Self::Time(_) | Self::Integer(_) | Self::Real(_) => None,
        }
    }

    /// The value as a number, be it one or the text of one; not finite ones included.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(*n as f64),
            Self::Real(x) => Some(*x),
            Self::Time(ns) => Some(*ns as f64),
            Self::Text(t) => number(t),
            Self::Word(_) => None,
        }
    }

    /// The value as a whole number, be it one or the text of one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            Self::Text(t) => integer(t),
            Self::Real(x) if x.fract() == 0.0 && x.abs() < 9e15 => Some(*x as i64),
            Self::Time(_) | Self::Word(_) | Self::Real(_) => None,
        }
    }

    /// The value as a time, ns since 1970. Bare numbers are seconds, milliseconds, microseconds or nanoseconds by their
    /// size: what lies between the years 1973 and 5138 in one unit lies outside in the others.
    #[must_use]
    pub fn as_time(&self) -> Option<u64> {
        match self {
            Self::Time(ns) => Some(*ns),
            Self::Text(t) => parse_time(t).or_else(|| match integer(t) {
                Some(n) => whole_epoch(n),
                None => number(t).and_then(epoch),
            }),
            Self::Integer(n) => whole_epoch(*n),
            Self::Real(x) => epoch(*x),
            Self::Word(_) => None,
        }
    }
}

/// RFC 3339 with microseconds, UTC.
pub(crate) fn rfc3339(at_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(at_ns.into())
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

/// A whole number as CSV may hold it: a minus sign or none, no leading zeros, 64 bits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

/// A number as CSV may hold it; words for what is not finite included.
pub(crate) fn number(text: &str) -> Option<f64> {
    // Texts are the common case in text columns, and no number begins otherwise.
    let first = text.as_bytes().first()?;
    if first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.' | b'n' | b'N' | b'i' | b'I') {
        text.parse().ok()
    } else {
        None
    }
}

/// A point in time, ns since 1970, from RFC 3339, or from date and time with `T` or a space between, which is taken as UTC.
#[must_use]
pub fn parse_time(text: &str) -> Option<u64> {
    // Cheaper than a failed parse: `2026-…`.
    if text.len() < 16 || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
    };
    u64::try_from(at.as_nanosecond()).ok()
}

/// Nanoseconds in the unit of a bare number.
fn unit(value: f64) -> Option<u64> {
    Some(match value {
        v if !v.is_finite() || v < 1e8 => return None,
        v if v < 1e11 => 1_000_000_000,
        v if v < 1e14 => 1_000_000,
        v if v < 1e17 => 1_000,
        v if v < 1.8e19 => 1,
        _ => return None,
    })
}

fn epoch(value: f64) -> Option<u64> {
    unit(value).map(|unit| (value * unit as f64) as u64)
}

fn whole_epoch(value: i64) -> Option<u64> {
    unit(value as f64).and_then(|unit| u64::try_from(value).ok()?.checked_mul(unit))
}

/// Puts a text into a place of a row, in the memory that is there.
pub(crate) fn put_text(place: &mut Option<Cell>, text: &str) {
    if text.is_empty() {
        *place = None;
    } else if let Some(Cell::Text(held)) = place {
        held.clear();
        held.push_str(text);
    } else {
        *place = Some(Cell::Text(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_numbers_and_times_where_they_are() {
        for (text, whole, real) in [
            ("0", Some(0), Some(0.0)),
            ("-12", Some(-12), Some(-12.0)),
            ("007", None, Some(7.0)),
            ("+7", None, Some(7.0)),
            ("1.50", None, Some(1.5)),
            ("1e3", None, Some(1000.0)),
            ("9223372036854775808", None, Some(9.223_372_036_854_776e18)),
            ("inf", None, Some(f64::INFINITY)),
            ("-Infinity", None, Some(f64::NEG_INFINITY)),
            ("", None, None),
            ("-", None, None),
            ("tcp", None, None),
            ("10.0.0.1", None, None),
        ] {
            assert_eq!((integer(text), number(text)), (whole, real), "{text}");
        }
        assert!(number("NaN").is_some_and(f64::is_nan));
        let second = 1_499_345_946_818_901_000;
        for (text, ns) in [
            ("2017-07-06T12:59:06.818901Z", Some(second)),
            ("2017-07-06T14:59:06.818901+02:00", Some(second)),
            ("2017-07-06 12:59:06.818901", Some(second)),
            ("2017-07-06", None),
            ("6/7/2017 12:59", None),
        ] {
            assert_eq!(parse_time(text), ns, "{text}");
        }
        for (cell, ns) in [
            (Cell::Integer(1_499_345_946), Some(1_499_345_946_000_000_000)),
            (Cell::Integer(1_499_345_946_818), Some(1_499_345_946_818_000_000)),
            (Cell::Text("1499345946.5".into()), Some(1_499_345_946_500_000_000)),
            (Cell::Integer(17), None),
        ] {
            assert_eq!(cell.as_time(), ns, "{cell:?}");
        }
    }
}
