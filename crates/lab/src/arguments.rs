//! Arguments of servers and acts: `key=value` words, checked against a table before anything is sent.
//!
//! Each server ([`crate::serve`]) and act ([`crate::traffic::act`]) lists its parameters as data: what they are, their
//! bounds, and what they are by default. The table is the documentation and the check, and nothing else reads the words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Longest value, bytes: a list of a hundred addresses fits.
const MAX_VALUE: usize = 8192;
/// Most addresses of a list.
pub const MAX_ADDRESSES: usize = 128;
/// Longest domain name in text, RFC 1035 §3.1.
const MAX_NAME: usize = 253;

/// Why arguments were refused: the sentence names the argument and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 or IPv6 address.
    Address,
    /// Addresses separated by commas, at most [`MAX_ADDRESSES`].
    Addresses,
    /// A whole number from the first to the second, both included.
    Number(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A domain name: labels of letters, digits, hyphens and underscores.
    Domain,
}

/// One parameter of a server or an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Its value if it is not given; without one it must be given.
    pub default: Option<&'static str>,
    /// What it means, with its unit.
    pub about: &'static str,
}

impl Parameter {
    /// A parameter that must be given.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, default: None, about }
    }

    /// A parameter that need not be given.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an address"),
            Self::Addresses => write!(f, "up to {MAX_ADDRESSES} addresses separated by commas"),
            Self::Number(least, most) => write!(f, "{least} to {most}"),
            Self::Choice(words) => f.write_str(&words.join(", ")),
            Self::Domain => f.write_str("a domain name"),
        }
    }
}

/// `key=value` words as given, not yet checked against anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads words of the form `key=value`.
    ///
    /// # Errors
    /// A word without `=`, a key given twice, or a value too long.
    pub fn parse<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self, ArgumentError> {
        let mut map = BTreeMap::new();
        for word in words {
            let word = word.as_ref();
            let Some((key, value)) = word.split_once('=') else {
                return Err(ArgumentError(format!("'{word}' is not of the form key=value")));
            };
            if value.len() > MAX_VALUE {
                return Err(ArgumentError(format!("{key} is longer than {MAX_VALUE} bytes")));
            }
            if map.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(ArgumentError(format!("{key} is given twice")));
            }
        }
        Ok(Self(map))
    }

    /// The words again, in order of their keys.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Checks them against `parameters`, and fills in what is not given.
    ///
    /// # Errors
    /// A key that is no parameter, a parameter that must be given and is not, or a value it may not have.
    pub fn check(&self, parameters: &[Parameter]) -> Result<Values, ArgumentError> {
        if let Some(key) = self.0.keys().find(|key| !parameters.iter().any(|p| p.name == *key)) {
            let known: Vec<&str> = parameters.iter().map(|p| p.name).collect();
            return Err(ArgumentError(format!("there is no {key} here; there are {}", known.join(", "))));
        }
        let mut values = BTreeMap::new();
        for parameter in parameters {
            let given = self.0.get(parameter.name).map(String::as_str).or(parameter.default);
            let Some(text) = given else {
                return Err(ArgumentError(format!("{} is missing: {}", parameter.name, parameter.about)));
            };
            let Some(value) = read(parameter.kind, text) else {
                return Err(ArgumentError(format!(
                    "{} must be {}, not '{text}'",
                    parameter.name, parameter.kind
                )));
            };
            values.insert(parameter.name, value);
        }
        Ok(Values(values))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Addresses(Vec<IpAddr>),
    Number(u64),
    Word(String),
}

fn read(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Address => Some(Value::Addresses(vec![text.parse().ok()?])),
        Kind::Addresses => {
            let all: Vec<IpAddr> = text.split(',').map(|a| a.parse().ok()).collect::<Option<_>>()?;
            (all.len() <= MAX_ADDRESSES).then_some(Value::Addresses(all))
        }
        Kind::Number(least, most) => {
            text.parse().ok().filter(|n| (least..=most).contains(n)).map(Value::Number)
        }
        Kind::Choice(words) => words.contains(&text).then(|| Value::Word(text.to_owned())),
        Kind::Domain => is_domain(text).then(|| Value::Word(text.to_ascii_lowercase())),
    }
}

/// Whether `text` is a domain name of letters, digits, hyphens and underscores, in labels of 1 to 63 bytes.
fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= MAX_NAME && text.split('.').all(label)
}

/// Checked arguments: every parameter of the table has a value.
///
/// The getters answer for names that are not in the table as for values of zero, so that no name can bring a run down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// An address.
    #[must_use]
    pub fn addr(&self, name: &str) -> IpAddr {
        self.addrs(name).first().copied().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }

    /// Addresses, at least one.
    #[must_use]
    pub fn addrs(&self, name: &str) -> &[IpAddr] {
        match self.0.get(name) {
            Some(Value::Addresses(all)) => all,
            _ => &[],
        }
    }

    /// A number.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(Value::Number(n)) => *n,
            _ => 0,
        }
    }

    /// A number whose bounds fit 16 bits, such as a port.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.number(name)).unwrap_or(u16::MAX)
    }

    /// A number that counts things in memory.
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    /// A word or a domain name.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Value::Word(word)) => word,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Parameter; 5] = [
        Parameter::new("source", Kind::Address, "where from"),
        Parameter::new("targets", Kind::Addresses, "where to").or("192.0.2.1,192.0.2.2"),
        Parameter::new("count", Kind::Number(1, 10), "how many").or("3"),
        Parameter::new("mode", Kind::Choice(&["fast", "slow"]), "how").or("fast"),
        Parameter::new("domain", Kind::Domain, "below what").or("t.example"),
    ];

    #[test]
    fn what_is_not_given_has_its_default() {
        let values = Arguments::parse(["source=::1", "count=10"]).expect("words").check(&TABLE).expect("fit");
        assert_eq!(values.addr("source"), IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
        assert_eq!(values.addrs("targets").len(), 2);
        assert_eq!((values.number("count"), values.word("mode")), (10, "fast"));
        assert_eq!(values.word("domain"), "t.example");
    }

    #[test]
    fn each_refusal_names_the_argument_and_the_way_out() {
        let check = |words: &[&str], expected: &str| {
            let refusal = Arguments::parse(words).and_then(|a| a.check(&TABLE)).expect_err("refused");
            assert!(refusal.to_string().contains(expected), "{words:?}: {refusal}");
        };
        check(&["source"], "'source' is not of the form key=value");
        check(&["source=::1", "source=::1"], "source is given twice");
        check(&[], "source is missing: where from");
        check(&["source=here"], "source must be an address, not 'here'");
        check(&["source=::1", "count=11"], "count must be 1 to 10, not '11'");
        check(&["source=::1", "count=-1"], "count must be 1 to 10");
        check(&["source=::1", "mode=medium"], "mode must be fast, slow");
        check(&["source=::1", "targets=192.0.2.1,"], "targets must be up to 128 addresses");
        check(&["source=::1", "domain=a..b"], "domain must be a domain name");
        check(&["source=::1", "domain=a b"], "domain must be a domain name");
        check(&["source=::1", "colour=red"], "there is no colour here; there are source, targets");
    }
}
