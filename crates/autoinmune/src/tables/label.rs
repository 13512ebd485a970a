//! Where labels come from, and which of them means normal.

use crate::exit::{Exit, fail};
use dataset::{Cell, Schema};

/// Words for traffic in which nothing is wrong, in the data sets there are.
const NORMAL: [&str; 8] =
    ["normal", "benign", "legitimate", "legit", "clean", "background", "good", "no attack"];

/// Where the label of a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// In the column of this name.
    Column(String),
    /// It is the name of the file, without ending.
    File,
    /// It is the name of the directory the file is in.
    Directory,
}

impl Labels {
    /// What `--label` says: `@file`, `@directory` or a column of the schema; the case of its letters counts only if several
    /// columns differ in nothing else.
    ///
    /// # Errors
    /// There is no such column.
    pub fn parse(text: &str, schema: &Schema) -> anyhow::Result<Self> {
        match text {
            "@file" => return Ok(Self::File),
            "@directory" => return Ok(Self::Directory),
            _ => {}
        }
        match column(text, schema) {
            Some(name) => Ok(Self::Column(name.to_owned())),
            None => Err(fail(Exit::Input, format!("--label: {}", schema.no_column(text)))),
        }
    }

    /// The column, if it is one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::File | Self::Directory => None,
        }
    }
}

/// The column that is meant by a name.
pub(super) fn column<'a>(name: &str, schema: &'a Schema) -> Option<&'a str> {
    let name = name.trim();
    let same = |a: &&str| *a == name;
    let alike = |a: &&str| a.eq_ignore_ascii_case(name);
    schema.names().find(same).or_else(|| {
        let mut found = schema.names().filter(alike);
        found.next().filter(|_| found.next().is_none())
    })
}

/// A label as a class's name: without white space around it, and numbers in one form, so that `1`, `1.0` and a whole number
/// of Parquet are one class. None if the cell is absent or not a number.
pub(super) fn class_name(cell: Option<&Cell>) -> Option<String> {
    let cell = cell?;
    match cell.as_number() {
        Some(n) if n.is_nan() => None,
        Some(n) => Some(Cell::Real(n + 0.0).to_text()),
        None => Some(cell.to_text().trim().to_owned()).filter(|t| !t.is_empty()),
    }
}

/// The class that means normal: `asked`, or the one whose name says so.
///
/// # Errors
/// None or several may be meant.
pub fn guess_normal(names: &[String], asked: Option<&str>) -> anyhow::Result<u32> {
    let list = || {
        let shown: Vec<&str> = names.iter().take(20).map(String::as_str).collect();
        let more = if names.len() > 20 { ", …" } else { "" };
        format!("'{}'{more}", shown.join("', '"))
    };
    let at = |found: usize| u32::try_from(found).unwrap_or_default();
    if let Some(asked) = asked {
        let wanted = class_name(Some(&Cell::Text(asked.to_owned()))).unwrap_or_default();
        return names
            .iter()
            .position(|n| *n == wanted)
            .or_else(|| names.iter().position(|n| n.eq_ignore_ascii_case(&wanted)))
            .map(at)
            .ok_or_else(|| {
                fail(Exit::Input, format!("--normal {asked}: no row has this label; there are {}", list()))
            });
    }
    let known = |n: &&String| NORMAL.iter().any(|w| n.eq_ignore_ascii_case(w));
    let found: Vec<&String> = names.iter().filter(known).collect();
    let numbers = names.iter().all(|n| n.parse::<f64>().is_ok());
    match found[..] {
        [one] => Ok(at(names.iter().position(|n| n == one).unwrap_or_default())),
        [] if numbers && names.iter().any(|n| n == "0") => {
            Ok(at(names.iter().position(|n| n == "0").unwrap_or_default()))
        }
        [] => Err(fail(
            Exit::Input,
            format!("which label means that nothing is wrong? Say it with --normal; there are {}", list()),
        )),
        _ => {
            let words: Vec<&str> = found.iter().map(|s| s.as_str()).collect();
            Err(fail(
                Exit::Input,
                format!(
                    "the labels '{}' may all mean that nothing is wrong; say which with --normal",
                    words.join("' and '")
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_class_is_guessed_only_where_one_can_be_meant() {
        let guess = |names: &[&str], asked: Option<&str>| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            guess_normal(&names, asked).ok()
        };
        for (names, asked, expected) in [
            (&["DoS", "Normal"][..], None, Some(1)),
            (&["BENIGN", "Bot"], None, Some(0)),
            (&["0", "1"], None, Some(0)),
            (&["0", "1", "7"], None, Some(0)),
            (&["1", "2"], None, None),
            (&["0", "normal"], None, Some(1)),
            (&["benign", "normal"], None, None),
            (&["benign", "normal"], Some("benign"), Some(0)),
            (&["a", "b"], None, None),
            (&["a", "b"], Some("B"), Some(1)),
            (&["a", "b"], Some("c"), None),
            (&["0", "1"], Some("1.0"), Some(1)),
        ] {
            assert_eq!(guess(names, asked), expected, "{names:?} {asked:?}");
        }
    }

    #[test]
    fn labels_have_one_form() {
        let text = |t: &str| class_name(Some(&Cell::Text(t.to_owned())));
        for (label, name) in
            [(" DoS ", Some("DoS")), ("1", Some("1")), ("1.0", Some("1")), ("nan", None), (" ", None)]
        {
            assert_eq!(text(label).as_deref(), name, "{label}");
        }
        assert_eq!(class_name(Some(&Cell::Integer(1))), text("1"));
        assert_eq!(class_name(None), None);
    }
}
